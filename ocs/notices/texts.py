"""Texts of mails and short messages: templates by language and type, from files; amounts and times as a language writes them.

Law: a type that a language has no text for is told by that language's text "any"; a name in a template that the notice has not is left
empty. Nothing in a template is ever executed.
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from string import Template
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from ocs.notices.notice import TYPES, Notice

ANY: Final = "any"
_KEYS: Final = frozenset({"subject", "body", "short"})
_AMOUNT: Final = re.compile(r"-?[0-9]+\.[0-9]{2,6}")
_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z")
_FORMED: Final = frozenset({"amount", "balance", "ends", "price", "threshold", "until", "used"})
"""Facts that are amounts or instants, as a language writes them."""
_POINTS: Final = {"de": ",", "en": "."}
_DAYS: Final = {"de": "%d.%m.%Y %H:%M", "en": "%d %b %Y %H:%M"}
_OCTETS: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


class TextFault(ValueError):
    """A file of texts cannot be used; the message says where and why."""


class Text(NamedTuple):
    """What people read: a mail's subject and body, and a short message."""

    subject: str
    body: str
    short: str


class Texts:
    """The texts of all languages."""

    __slots__ = ("_languages", "_zone")

    def __init__(self, languages: Mapping[str, Mapping[str, Text]], zone: ZoneInfo) -> None:
        self._languages = languages
        self._zone = zone

    @property
    def languages(self) -> tuple[str, ...]:
        """Return the languages that there are texts in."""
        return tuple(sorted(self._languages))

    def write(self, notice: Notice, language: str) -> Text:
        """Write a notice in a language; raises KeyError for a language without texts."""
        texts = self._languages[language]
        chosen = texts.get(notice.type) or texts[ANY]
        told = {name: self._told(name, value, notice, language) for name, value in notice.facts.items()}
        told |= {"account": notice.account, "type": notice.type, "time": self._time(notice.time_ms, language)}
        lines = "\n".join(f"{name}: {value}" for name, value in told.items())
        words = _Empty({**told, "facts": lines})
        subject, body, short = (Template(each).substitute(words) for each in chosen)
        return Text(" ".join(subject.split()), body, " ".join(short.split()))

    def _told(self, name: str, value: str | int, notice: Notice, language: str) -> str:
        if name in {"used", "amount"} and notice.facts.get("unit") == "octets":
            return octets(int(value), language)
        text = str(value)
        if name not in _FORMED or not isinstance(
            value, str
        ):  # ids and names are others' words, whatever they look like
            return text
        if _AMOUNT.fullmatch(value):
            return text.replace(".", _POINTS.get(language, "."))
        if _INSTANT.fullmatch(value):
            return self._time(int(datetime.fromisoformat(value).timestamp() * 1000), language)
        return text

    def _time(self, milliseconds: int, language: str) -> str:
        at = datetime.fromtimestamp(milliseconds / 1000, self._zone)
        return at.strftime(_DAYS.get(language, "%Y-%m-%d %H:%M"))


class _Empty(dict[str, str]):
    """What a template may name; what is not there is empty."""

    def __missing__(self, _name: str) -> str:
        return ""


def octets(count: int, language: str) -> str:
    """Write so many octets as people say it, in the greatest unit of which there is a whole one, with one decimal."""
    for each, unit in _OCTETS:
        if count >= each:
            whole, rest = divmod(count * 10 // each, 10)
            point = _POINTS.get(language, ".")
            return f"{whole}{point}{rest} {unit}" if rest else f"{whole} {unit}"
    return f"{count} B"


def read_texts(folder: Path, zone: ZoneInfo) -> Texts:
    """Read the texts of a folder, a file a language ("en.toml"); raises TextFault with all that is wrong."""
    problems: list[str] = []
    languages = {file.stem: _read_file(file, problems) for file in sorted(folder.glob("*.toml"))}
    if not languages:
        problems.append(f"{folder}: holds no texts; put a file a language there, such as en.toml")
    if problems:
        raise TextFault("\n".join(problems))
    return Texts(languages, zone)


def _read_file(file: Path, problems: list[str]) -> dict[str, Text]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        problems.append(f"{file}: cannot be read: {fault}")
        return {}
    texts: dict[str, Text] = {}
    for kind, parts in content.items():
        if kind != ANY and kind not in TYPES:
            problems.append(f"{file}: {kind}: is no type; types are {', '.join(TYPES)}, {ANY}")
        elif not isinstance(parts, dict) or set(parts) != _KEYS or not all(map(_is_template, parts.values())):
            problems.append(f"{file}: {kind}: write subject, body and short; a dollar sign itself is $$")
        else:
            texts[kind] = Text(parts["subject"], parts["body"], parts["short"])
    if ANY not in content:
        problems.append(f"{file}: lacks the text {ANY!r}")
    return texts


def _is_template(text: object) -> bool:
    return isinstance(text, str) and Template(text).is_valid()
