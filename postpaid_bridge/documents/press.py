"""The press: a page -> PDF, by typst.

Laws
1. The same page gives the same bytes: the document's date is the issue day, fonts are those in typst, nothing of the machine is looked at.
2. A page is JSON beside the source, never source: what a customer is called cannot be read as markup.
3. PDF/A-3b (ISO 19005-3). What no font has is written as its code point ([U+674E]) rather than left out. Raises PressFault with the reason.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

import typst

__all__ = ["STANDARD", "Press", "PressFault"]

STANDARD: Final = "a-3b"
_Form = Literal["pdf", "png"]
_NO_FONT = "could not be displayed with font"
_FONTED = re.compile(
    "[^\u0020-\u024f\u0300-\u036f\u0370-\u03ff\u0400-\u04ff\u1e00-\u1fff\u2000-\u206f\u20ac\u2116\u2122\u2212]"
)
"""Beyond these (Latin, Greek, Cyrillic, punctuation) the embedded fonts have holes."""


class PressFault(Exception):
    """A document that cannot be made; the message says why."""


@cache
def _source(kind: str) -> bytes:
    """Return a template behind its ground."""
    room = files("postpaid_bridge.documents")
    return b"\n".join((room / f"{each}.typ").read_bytes() for each in ("ground", kind))


class Press:
    """Makes documents; keep one for each thread, since it keeps what it has set before."""

    __slots__ = ("_compiler",)

    def __init__(self) -> None:
        self._compiler = typst.Compiler(ignore_system_fonts=True)

    def bill(self, page: Mapping[str, Any]) -> bytes:
        """Return a bill's or credit note's page (page.bill_page) as PDF."""
        return self._made("bill", page)

    def letter(self, page: Mapping[str, Any]) -> bytes:
        """Return a letter's page (letter.letter_page) as PDF."""
        return self._made("letter", page)

    def _made(self, kind: str, page: Mapping[str, Any]) -> bytes:
        try:
            return _one(self._set(kind, page))
        except typst.TypstError as fault:
            if _NO_FONT not in fault.message:
                raise PressFault(fault.message[:300]) from fault
        try:
            return _one(self._set(kind, _fonted(page)))
        except typst.TypstError as fault:
            raise PressFault(fault.message[:300]) from fault

    def _set(self, kind: str, page: Mapping[str, Any], form: _Form = "pdf") -> bytes | list[bytes]:
        day = date.fromisoformat(page["issued"])
        at = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
        said = json.dumps(page, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        found = self._compiler.compile(
            _source(kind),
            format=form,
            ppi=110,
            sys_inputs={"page": said},
            timestamp=at,
            pdf_standards=STANDARD if form == "pdf" else [],
            pdf_tags=False,
        )
        return found or b""

    def pictures(self, kind: str, page: Mapping[str, Any]) -> list[bytes]:
        """Return the pages as PNG, to be looked at."""
        found = self._set(kind, page, "png")
        return found if isinstance(found, list) else [found]


def _one(made: bytes | list[bytes]) -> bytes:
    return made if isinstance(made, bytes) else b"".join(made)


def _fonted(found: Any) -> Any:
    """Return a page in whose texts what no font may have is written as its code point (law 3)."""
    if isinstance(found, str):
        return _FONTED.sub(lambda each: f"[U+{ord(each[0]):04X}]", found)
    if isinstance(found, Mapping):
        return {key: _fonted(each) for key, each in found.items()}
    if isinstance(found, list):
        return [_fonted(each) for each in found]
    return found
