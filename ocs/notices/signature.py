"""Signatures of webhooks after Standard Webhooks (standardwebhooks.com, version 1.0.0): HMAC-SHA256 over id, time and body; pure."""

import base64
import hashlib
import hmac


def key_of(secret: str) -> bytes:
    """Return the octets that a secret is written for; raises ValueError for what is no base64, or none."""
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    if not key:
        raise ValueError("the secret is empty")
    return key


def sign(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the value of webhook-signature; ``secret`` is "whsec_" and base64, as its owner was shown it."""
    key = key_of(secret)
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def signed_headers(secret: str, message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the headers that a signed message has: its id, when it was sent, and the signature of both and the body."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": sign(secret, message_id, timestamp_s, body),
    }
