"""Senders: how a notice leaves the house. A webhook, a mail, a short message; each a small class behind one protocol.

Laws
1. A sender is done when the other side has taken the notice over (2xx; 250 after DATA), and raises Undelivered otherwise.
2. It waits no longer than its time-out in all, reads no more of an answer than it needs, and keeps nothing.
3. What it says of a failure names no number, no address and no content: it stands in the log and in the dead-letter list.
"""

import asyncio
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from ipaddress import IPv6Address
from typing import Final, NamedTuple, Protocol

import aiosmtplib
import httpx

from ocs.notices.callbacks import CallbackRefused, Callbacks, Target
from ocs.notices.forms import Forms
from ocs.notices.notice import Notice
from ocs.notices.signature import signed_headers
from ocs.notices.subscriptions import Subscription
from ocs.notices.texts import Text

_GONE: Final = 410
_LATER: Final = frozenset({429, 503})
_AGENT: Final = "ocs-events/1"


class Undelivered(Exception):
    """A try that failed: why, whether another one is of no use (``final``), and how long the other side wants us to wait."""

    def __init__(self, why: str, *, final: bool = False, after_s: int = 0) -> None:
        self.why, self.final, self.after_s = why, final, after_s
        super().__init__(why)


class Sender(Protocol):
    """Whatever sends: registered by the form of a subscription."""

    async def send(self, notice: Notice, subscription: Subscription) -> None:
        """Send one notice; raises Undelivered."""


class Webhooks:
    """Posts signed webhooks."""

    __slots__ = ("_callbacks", "_client", "_forms", "_now_ms", "_timeout_s")

    def __init__(
        self,
        callbacks: Callbacks,
        forms: Forms,
        now_ms: Callable[[], int],
        timeout_s: float,
        ca: ssl.SSLContext | None = None,
    ) -> None:
        self._callbacks = callbacks
        self._forms = forms
        self._now_ms = now_ms
        self._timeout_s = timeout_s
        self._client = client_of(timeout_s, ca)

    async def send(self, notice: Notice, subscription: Subscription) -> None:
        """Post one notice in its subscription's form."""
        if subscription.form not in self._forms:
            raise Undelivered(f"this server writes no events of the form {subscription.form}")
        content = await self._forms.write(notice, subscription)
        if content is None:
            return
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            async with asyncio.timeout(self._timeout_s):
                target = await self._callbacks.target(subscription.callback)
                await self._post(target, notice.id, subscription.secret, body)
        except CallbackRefused as fault:
            raise Undelivered(str(fault)) from fault
        except TimeoutError:
            raise Undelivered(f"no answer within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, OSError, ssl.SSLError) as fault:
            raise Undelivered(f"no answer: {type(fault).__name__}") from fault

    async def _post(self, target: Target, name: str, secret: str, body: bytes) -> None:
        request = signed_request(self._client, target, name, secret, self._now_ms() // 1000, body)
        answer = await self._client.send(request, stream=True)
        try:
            judge_answer(answer.status_code, answer.headers.get("retry-after", ""))
        finally:
            await answer.aclose()

    async def close(self) -> None:
        """End all connections."""
        await self._client.aclose()


def signed_request(
    client: httpx.AsyncClient, target: Target, name: str, secret: str, at_s: int, body: bytes
) -> httpx.Request:
    """Build a signed POST to the address that was judged, whatever the callback's name leads to by now."""
    url, address = target.url, target.address
    shown = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    pinned = url._replace(netloc=f"{shown}:{target.port}")
    headers = signed_headers(secret, name, at_s, body)
    headers |= {"content-type": "application/json", "user-agent": _AGENT, "host": url.netloc}
    return client.build_request(
        "POST", pinned.geturl(), content=body, headers=headers, extensions=_named(target)
    )


def client_of(timeout_s: float, ca: ssl.SSLContext | None) -> httpx.AsyncClient:
    """Build what callbacks are posted with; no connection is kept: one that is kept was judged by an address of before."""
    return httpx.AsyncClient(
        verify=ca or True,
        trust_env=False,
        follow_redirects=False,
        timeout=timeout_s,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
    )


def _named(target: Target) -> dict[str, str]:
    """Let TLS ask for, and check, the host that the callback names and not the address that it is pinned to."""
    return {"sni_hostname": target.host} if target.url.scheme == "https" else {}


def judge_answer(status: int, retry_after: str = "") -> None:
    """Raise Undelivered for an answer that is no success; a redirect is none."""
    if 200 <= status < 300:
        return
    wanted = retry_after.strip()
    after_s = min(int(wanted), 86_400) if status in _LATER and wanted.isdecimal() and len(wanted) < 8 else 0
    raise Undelivered(f"answered {status}", final=status == _GONE, after_s=after_s)


class Mail(NamedTuple):
    """How mail is sent: ``tls`` is "starttls", "implicit" or "none"."""

    host: str
    port: int
    tls: str
    sender: str
    user: str = ""
    password: str = ""
    timeout_s: float = 10
    context: ssl.SSLContext | None = None


class Smtp:
    """Sends mail over SMTP (RFC 5321), one connection a message; to the address that the subscription's callback names (mailto:…)."""

    __slots__ = ("_mail", "_text")

    def __init__(self, mail: Mail, text: Callable[[Notice, Subscription], Text]) -> None:
        self._mail = mail
        self._text = text

    async def send(self, notice: Notice, subscription: Subscription) -> None:
        """Send one mail."""
        mail, text = self._mail, self._text(notice, subscription)
        message = EmailMessage()
        message["From"], message["To"] = mail.sender, subscription.callback.removeprefix("mailto:")
        message["Subject"] = text.subject
        message["Date"] = format_datetime(datetime.fromtimestamp(notice.time_ms / 1000, UTC))
        # the same id for every try: a mailbox that knows it shows the message once
        message["Message-ID"] = f"<{_token(notice.id)}.{subscription.id}@{mail.sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        message.set_content(text.body)
        try:
            await hand_over(mail, message)
        except Undelivered as fault:
            raise Undelivered(
                fault.why
            ) from fault  # another address may be set for a subscription that lives


async def hand_over(mail: Mail, message: EmailMessage) -> None:
    """Hand a message over to the mail server, on a connection of its own; raises Undelivered, ``final`` where the recipient or the message
    is refused for good (5xx of RCPT or DATA), and not where we are (greeting, STARTTLS, log-in).
    """
    try:
        async with asyncio.timeout(mail.timeout_s):
            await aiosmtplib.send(
                message,
                hostname=mail.host,
                port=mail.port,
                use_tls=mail.tls == "implicit",
                start_tls=mail.tls == "starttls",
                username=mail.user or None,
                password=mail.password or None,
                timeout=mail.timeout_s,
                tls_context=mail.context,
            )
    except TimeoutError:
        raise Undelivered(f"no answer within {mail.timeout_s:g} s") from None
    except aiosmtplib.SMTPRecipientsRefused as fault:
        final = all(each.code >= 500 for each in fault.recipients)
        raise Undelivered("the mail server refused the recipient", final=final) from fault
    except aiosmtplib.SMTPDataError as fault:
        raise Undelivered(f"the mail server answered {fault.code}", final=fault.code >= 500) from fault
    except aiosmtplib.SMTPResponseException as fault:
        raise Undelivered(f"the mail server answered {fault.code}") from fault
    except (aiosmtplib.SMTPException, OSError) as fault:
        raise Undelivered(f"no answer: {type(fault).__name__}") from fault


def _token(text: str) -> str:
    return "".join(each if (each.isascii() and each.isalnum()) or each in "._-" else "-" for each in text)


class Gateway(NamedTuple):
    """A gateway of short messages: JSON {id, to, text} is posted to it, signed as our webhooks are."""

    url: str
    secret: str
    timeout_s: float = 10
    context: ssl.SSLContext | None = None


class ShortMessages:
    """Sends short messages to subscribers, over an operator's gateway."""

    __slots__ = ("_client", "_gateway", "_now_ms", "_number", "_text")

    def __init__(
        self,
        gateway: Gateway,
        number: "NumberOf",
        text: Callable[[Notice, Subscription, str], Text],
        now_ms: Callable[[], int],
    ) -> None:
        self._gateway = gateway
        self._number = number
        self._text = text
        self._now_ms = now_ms
        self._client = httpx.AsyncClient(
            verify=gateway.context or True, trust_env=False, follow_redirects=False, timeout=gateway.timeout_s
        )

    async def send(self, notice: Notice, subscription: Subscription) -> None:
        """Send one message to the subscriber's number; who has none any more gets none."""
        gateway = self._gateway
        number = await self._number(notice.partition, notice.account)
        if not number:
            return
        text = self._text(notice, subscription, number).short
        content = {"id": notice.id, "to": f"+{number}", "text": text}
        body = json.dumps(content, ensure_ascii=False).encode()
        headers = signed_headers(gateway.secret, notice.id, self._now_ms() // 1000, body)
        headers |= {"content-type": "application/json", "user-agent": _AGENT}
        try:
            async with asyncio.timeout(gateway.timeout_s):
                request = self._client.build_request("POST", gateway.url, content=body, headers=headers)
                answer = await self._client.send(request, stream=True)
                try:
                    judge_answer(answer.status_code, answer.headers.get("retry-after", ""))
                finally:
                    await answer.aclose()
        except TimeoutError:
            raise Undelivered(f"no answer within {gateway.timeout_s:g} s") from None
        except (httpx.HTTPError, OSError) as fault:
            raise Undelivered(f"no answer: {type(fault).__name__}") from fault

    async def close(self) -> None:
        """End all connections."""
        await self._client.aclose()


class NumberOf(Protocol):
    """Finds a subscriber's number."""

    async def __call__(self, partition: int, path: str) -> str:
        """Return the number of a subscriber by its partition and path, "" where it has none (any more)."""
