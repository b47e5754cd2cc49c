"""What went wrong, as TM Forum's APIs tell it: the Error body of the definition (TMF630 part 1, section "Error representation").

Laws
1. ``code`` is one word that a program can go by; ``reason`` says what is wrong, ``message`` that and what would be right.
2. No value that may be personal is repeated.
"""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

ROOT: Final = "/tmf-api/"
"""Under it errors are told so."""

CODES: Final = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "notFound",
    405: "methodNotAllowed",
    408: "requestTimeout",
    409: "conflict",
    413: "contentTooLarge",
    415: "unsupportedMediaType",
    429: "tooManyRequests",
    500: "internalError",
    503: "unavailable",
}
"""The word of a status where nothing says it better."""


class Error(BaseModel):
    """Error of the definition."""

    model_config = ConfigDict(populate_by_name=True)

    code: str = Field(description="One word that a program can go by.")
    reason: str = Field(description="What is wrong.")
    message: str | None = Field(None, description="What is wrong, and what would be right.")
    status: str | None = Field(None, description="The HTTP status, as text.")


class Told(HTTPException):
    """A fault whose code is known: ``status``, one word, and the text (what is wrong; what would be right)."""

    def __init__(self, status: int, code: str, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, text, headers)
        self.code = code


def bad(code: str, text: str) -> Told:
    """Return what a request that cannot be done as it is written is told: 400."""
    return Told(400, code, text)


def error_body(status: int, text: str, code: str = "") -> dict[str, Any]:
    """Build the body of an answer that is an error."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Error"
    return {
        "code": code or CODES.get(status, "error"),
        "reason": text.partition("; ")[0] or phrase,
        "message": text or phrase,
        "status": str(status),
    }


def unreadable(faults: Iterable[Mapping[str, Any]]) -> str:
    """Say where a request cannot be read and why, without the values."""
    said = []
    for each in faults:
        ctx = each.get("ctx") or {}
        text = each["msg"].removeprefix("Value error, ")
        if each["type"] == "json_invalid":
            said.append(f"body: no JSON: {ctx.get('error', '')}")
            continue
        if each["type"] == "extra_forbidden":
            text = "unknown attribute; leave it out"
        said.append(f"{_where(each['loc'])}: {text}")
    return "; ".join(said)


def _where(loc: Sequence[int | str]) -> str:
    """Write a path as clients do: amount.units, logicalResource[0].id."""
    named = loc[1:] if len(loc) > 1 and loc[0] in {"body", "query", "path", "header"} else loc
    return "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in named).lstrip(".")
