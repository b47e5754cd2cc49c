"""POST /oauth/token: a client's credentials become a token (RFC 6749 section 4.4).

Laws
1. The client shows client_id and client_secret by HTTP Basic or in the body, never both (RFC 6749 section 2.3).
2. Errors are those of RFC 6749 section 5.2, in its own body; only what is refused for its rate is a problem (429), as everywhere.
3. No answer is kept by any cache (section 5.1), and none says whether the id or the secret was wrong.
"""

import base64
import binascii
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote_plus

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from ocs.api_limits import API_CREDENTIAL_CHARS_MAX, OAUTH_PARAMETERS_MAX
from ocs.http.access import TOKEN_PATH, Caller, Doorkeeper, address_of, too_many
from ocs.http.audit_log import AuditLog, Change
from ocs.http.keys import ApiKey, ApiKeys
from ocs.http.problems import Problem
from ocs.http.tokens import Tokens, TokensFull

_FORM: Final = "application/x-www-form-urlencoded"
_NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_GRANT: Final = "client_credentials"


class Token(BaseModel):
    """A token (RFC 6749 section 5.1); ``expires_in`` is seconds."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - its kind
    expires_in: int
    scope: str


class OAuthError(BaseModel):
    """Why there is no token (RFC 6749 section 5.2)."""

    error: str
    error_description: str


class OAuthFault(Exception):
    """There is no token."""

    def __init__(self, error: str, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.error, self.why, self.status = error, why, status


class Shown(NamedTuple):
    """What a client shows, and what it wants."""

    client_id: str
    secret: str
    scope: str | None


_FIELDS: Final = {
    "grant_type": {"type": "string", "enum": [_GRANT]},
    "client_id": {"type": "string", "description": "The id of a key `ocs_<id>_<secret>`; or by HTTP Basic."},
    "client_secret": {"type": "string", "description": "Its secret."},
    "scope": {
        "type": "string",
        "description": "Some of the key's scopes, with blanks between; all, if left out.",
    },
}
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            _FORM: {
                "schema": {"type": "object", "properties": _FIELDS, "required": ["grant_type"]},
                "example": {"grant_type": _GRANT, "client_id": "0123456789ab", "client_secret": "…"},
            }
        },
    },
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": OAuthError},
    401: {"model": OAuthError},
    429: {"model": Problem, "content": {"application/problem+json": {}}},
    503: {"model": Problem, "content": {"application/problem+json": {}}},
}


def router(keys: ApiKeys, tokens: Tokens, door: Doorkeeper, audit: AuditLog | None) -> APIRouter:
    """Build the route."""
    routes = APIRouter(tags=["oauth"])

    @routes.post(TOKEN_PATH, response_model=Token, responses=_ANSWERS, openapi_extra=_BODY)
    async def token(request: Request) -> JSONResponse:
        """Get a token for a client's credentials, shown in the body or by HTTP Basic; it is shown as `Authorization: Bearer …`."""
        change = request.state.change = Change.of(request, audit, door.clock)
        try:
            asked = await _asked(request)
            key = await _client(keys, door, asked, request, change)
            scopes = _narrowed(key, asked.scope)
        except OAuthFault as fault:
            return _refused(request, fault)
        await change.begins("token.issue", resource=key.id)
        try:
            made, seconds = await tokens.issue(key, scopes, door.clock.now_ms())
        except TokensFull as full:
            raise too_many(full.wait_ms, str(full)) from None
        door.trust(made)  # else it would wait behind an address from which others guess
        said = Token(access_token=made, expires_in=seconds, scope=" ".join(sorted(scopes)))
        return JSONResponse(said.model_dump(), headers=_NO_STORE)

    return routes


async def _client(keys: ApiKeys, door: Doorkeeper, asked: Shown, request: Request, change: Change) -> ApiKey:
    """Return the key that credentials belong to; OAuthFault for wrong ones, HTTPException (429) for too many calls."""
    shown, address = f"ocs_{asked.client_id}_{asked.secret}", address_of(request)
    try:
        door.refuse_stranger(address, shown)
        fits = len(shown) <= API_CREDENTIAL_CHARS_MAX
        key = await keys.of_pair(asked.client_id, asked.secret, door.clock.now_ms()) if fits else None
        if key is not None:
            door.passed(key, shown)
    except Exception:
        change.forget()
        raise
    if key is None:
        door.failed(address, shown)
        raise OAuthFault("invalid_client", "the client is unknown, revoked, or its secret is wrong", 401)
    change.caller = Caller(key.id, key.channel, key.granted)
    return key


def _narrowed(key: ApiKey, wanted: str | None) -> frozenset[str]:
    """Return the scopes of a token: those that were named, or all of its key's."""
    if wanted is None:
        return key.granted
    scopes = frozenset(wanted.split())
    if not scopes or scopes - key.granted:
        raise OAuthFault("invalid_scope", f"the client may have: {' '.join(sorted(key.granted))}")
    return scopes


async def _asked(request: Request) -> Shown:
    """Read a request (RFC 6749 sections 2.3.1, 3.2 and 4.4.2)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise OAuthFault("invalid_request", f"send {_FORM}")
    try:
        text = (await request.body()).decode("ascii")
        pairs = parse_qsl(
            text, strict_parsing=bool(text), max_num_fields=OAUTH_PARAMETERS_MAX, errors="strict"
        )
    except ValueError:
        raise OAuthFault("invalid_request", "the body is no form") from None
    said = dict(pairs)
    if len(said) != len(pairs):
        raise OAuthFault("invalid_request", "a parameter is there twice")
    basic = _basic(request)
    if basic is not None and "client_secret" in said:
        raise OAuthFault("invalid_request", "show credentials by HTTP Basic or in the body, not both")
    client_id, secret = basic or (said.get("client_id", ""), said.get("client_secret", ""))
    if said.get("client_id", client_id) != client_id:
        raise OAuthFault("invalid_request", "client_id is not that of HTTP Basic")
    if "grant_type" not in said:
        raise OAuthFault("invalid_request", "grant_type is missing")
    if said["grant_type"] != _GRANT:
        raise OAuthFault("unsupported_grant_type", f"grant_type is {_GRANT}")
    return Shown(client_id, secret, said.get("scope"))


def _basic(request: Request) -> tuple[str, str] | None:
    """Read credentials of HTTP Basic, each of them form-encoded within (RFC 6749 section 2.3.1); None where there are none."""
    told = request.headers.getlist("authorization")
    if not told:
        return None
    scheme, _, coded = told[0].partition(" ")
    wrong = OAuthFault("invalid_client", "show credentials by HTTP Basic or in the body", 401)
    if len(told) != 1 or scheme.lower() != "basic":
        raise wrong
    try:
        name, colon, secret = base64.b64decode(coded.strip(), validate=True).decode("ascii").partition(":")
    except (ValueError, binascii.Error):
        raise wrong from None
    if not colon:
        raise wrong
    return unquote_plus(name), unquote_plus(secret)


def _refused(request: Request, fault: OAuthFault) -> JSONResponse:
    headers = dict(_NO_STORE)
    if fault.status == 401 and "authorization" in request.headers:
        headers["WWW-Authenticate"] = 'Basic realm="ocs", charset="UTF-8"'
    body = OAuthError(error=fault.error, error_description=fault.why)
    return JSONResponse(body.model_dump(), fault.status, headers)
