"""JSON of answers, written exactly: a Decimal digit by digit, never through a float; exact.py reads so."""

from collections.abc import Iterable
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

from fastapi import Response


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
