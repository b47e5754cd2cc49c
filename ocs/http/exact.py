"""JSON whose numbers are exact both ways: read as int and Decimal, written digit by digit, never through a float.

Laws
1. What JSON does not know is no number: NaN and Infinity are refused, and so is a name that stands twice in an object.
2. A number is bounded before anything is computed with it: digits and exponent (1e999999999 is ten characters).
"""

import json
from collections.abc import Callable, Coroutine, Iterable
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

_DIGITS_MAX: Final = 40
"""Of a number, the zeros of its exponent counted: no amount has more."""


def read_json(octets: bytes) -> Any:
    """Read a JSON document; raises json.JSONDecodeError for what is none, and for what law 1 and 2 refuse."""
    try:
        text = octets.decode("utf-8")
        return json.loads(
            text, parse_float=_decimal, parse_int=_whole, parse_constant=_no_number, object_pairs_hook=_once
        )
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
    except ValueError as fault:
        raise json.JSONDecodeError(str(fault), "", 0) from None


def _whole(text: str) -> int:
    if len(text) > _DIGITS_MAX:
        raise ValueError(f"a number has at most {_DIGITS_MAX} digits")
    return int(text)


def _decimal(text: str) -> Decimal:
    if len(text) > _DIGITS_MAX or abs(Decimal(text).adjusted()) > _DIGITS_MAX:
        raise ValueError(f"a number has at most {_DIGITS_MAX} digits")
    return Decimal(text)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def write_json(content: Any) -> str:
    """Write a document of dict, list, str, bool, int, Decimal and None; a Decimal keeps its digits, without an exponent."""
    return "".join(_written(content))


def _written(content: Any) -> Iterable[str]:
    if isinstance(content, dict):
        for place, (name, value) in enumerate(content.items()):
            yield f"{',' if place else '{'}{encode_basestring(name)}:"
            yield from _written(value)
        yield "}" if content else "{}"
    elif isinstance(content, list | tuple):
        for place, value in enumerate(content):
            yield "," if place else "["
            yield from _written(value)
        yield "]" if content else "[]"
    elif isinstance(content, str):
        yield encode_basestring(content)
    elif content is None or isinstance(content, bool):
        yield {None: "null", True: "true", False: "false"}[content]
    elif isinstance(content, int):
        yield int.__repr__(content)
    elif isinstance(content, Decimal):
        yield format(content, "f")
    else:
        raise TypeError(f"{type(content).__name__} has no place in an exact document")


class ExactAnswer(Response):
    """A JSON answer of ``write_json``."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Write the body."""
        return write_json(content).encode()


class _ExactRequest(Request):
    async def json(self) -> Any:
        """Read the body as ``read_json`` does."""
        return read_json(await self.body())


class ExactRoute(APIRoute):
    """A route whose body is read exactly, and has to be JSON: anything else is 415 before it is looked at."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Put the exact request before FastAPI's own handler."""
        handle = super().get_route_handler()
        takes = self.body_field is not None

        async def exact(request: Request) -> Response:
            if takes:
                _judge(request.headers.get("content-type", ""))
            return await handle(_ExactRequest(request.scope, request.receive))

        return exact


def _judge(content_type: str) -> None:
    """Let in application/json and what ends in +json, such as application/merge-patch+json (RFC 7396), in UTF-8."""
    kind, *rest = (each.strip().lower() for each in content_type.split(";"))
    named = [each.partition("=")[2].strip('"') for each in rest if each.startswith("charset=")]
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    if not is_json or any(each not in {"utf-8", "utf8"} for each in named):
        raise HTTPException(415, "content-type: the body is not JSON in UTF-8; write application/json")
