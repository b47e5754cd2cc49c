r"""How documents write money, days, amounts of usage and strange characters (pure; money and dates by babel).

Laws
1. What customers and networks have written is shown as it is, character by character. It is never read as markup: it reaches typst as
   JSON, not as source. What cannot be printed is written out (\\x07), so that no direction mark turns a bill around.
2. Amounts are whole cents or micro-units; no float.
"""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal, format_percent

from ocs.units import Unit

__all__ = ["cents", "clean", "cleaned", "day", "fine", "iban", "month", "percent", "span", "units", "when"]

LOCALES: Mapping[str, Locale] = {"de": Locale("de", "DE"), "en": Locale("en", "GB")}
"""A language's way of writing; whoever has another one than German reads English."""
_WORD_CHARS_MAX = 28
BREAK = "\u200b"
"""A place at which a word that is longer than any column may break."""


def locale(language: str) -> Locale:
    """Return how a language writes."""
    return LOCALES.get(language, LOCALES["en"])


@lru_cache(maxsize=65_536)
def cents(amount: int, currency: str, language: str) -> str:
    """Return an amount in cents as money."""
    return format_currency(Decimal(amount) / 100, currency, locale=locale(language))


@lru_cache(maxsize=65_536)
def fine(micros: int, currency: str, language: str) -> str:
    """Return micro-units as money with the decimals that it has, two at least, four at most."""
    pattern = "#,##0.00##\xa0¤" if language == "de" else "¤#,##0.00##"
    said = Decimal(micros) / 1_000_000
    return format_currency(said, currency, pattern, locale=locale(language), currency_digits=False)


@lru_cache(maxsize=4_096)
def day(of: date, language: str) -> str:
    """Return a day."""
    return format_date(of, "dd.MM.yyyy" if language == "de" else "d MMM yyyy", locale=locale(language))


def month(of: date, language: str) -> str:
    """Return a month's short name."""
    return format_date(of, "LLL yy", locale=locale(language))


def span(since: date, before: date, language: str) -> str:
    """Return the days [since, before); one day as itself."""
    last = date.fromordinal(before.toordinal() - 1)
    return day(since, language) if last <= since else f"{day(since, language)} – {day(last, language)}"


@lru_cache(maxsize=65_536)
def when(at: str, language: str) -> str:
    """Return a local time (ISO)."""
    found = datetime.fromisoformat(at)
    return f"{day(found.date(), language)} {found:%H:%M:%S}"


@lru_cache(maxsize=1_024)
def percent(micros: int, language: str) -> str:
    """Return micro-per cent."""
    return format_percent(
        Decimal(micros) / 100_000_000,
        "#,##0.##\xa0%" if language == "de" else "#,##0.##%",
        locale=locale(language),
    )


@lru_cache(maxsize=65_536)
def units(count: int, unit: int, language: str) -> str:
    """Return an amount of usage: octets as kB, MB or GB, seconds as h:mm:ss, events as they are."""
    if unit == Unit.SECONDS:
        return f"{count // 3600}:{count // 60 % 60:02}:{count % 60:02}"
    if unit == Unit.OCTETS:
        for size, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
            if count >= size:
                return f"{_decimal(count, size, language)}\xa0{name}"
        return f"{count}\xa0B"
    if unit == Unit.MONEY:
        return ""
    return format_decimal(count, locale=locale(language))


def _decimal(count: int, size: int, language: str) -> str:
    return format_decimal(
        (Decimal(count) / size).quantize(Decimal("0.01")), "#,##0.00", locale=locale(language)
    )


def iban(text: str) -> str:
    """Return an IBAN in groups of four."""
    text = text.replace(BREAK, "")
    return " ".join(text[place : place + 4] for place in range(0, len(text), 4))


def clean(text: str) -> str:
    """Return a text as it is printed (law 1): blanks of all kinds as one, what cannot be printed written out; endless words may break."""
    if not text.isprintable():
        text = "".join(
            each if each.isprintable() else " " if each.isspace() else ascii(each)[1:-1] for each in text
        )
    if len(text) <= _WORD_CHARS_MAX:
        return text
    return " ".join(_breakable(word) for word in text.split(" "))


def _breakable(word: str) -> str:
    return BREAK.join(word[place : place + _WORD_CHARS_MAX] for place in range(0, len(word), _WORD_CHARS_MAX))


def cleaned(found: Any) -> Any:
    """Return lists and objects of texts, all of them ``clean``."""
    if isinstance(found, str):
        return clean(found)
    if isinstance(found, Mapping):
        return {key: cleaned(each) for key, each in found.items()}
    if isinstance(found, tuple | list):
        made = [cleaned(each) for each in found]
        return type(found)(*made) if hasattr(found, "_fields") else type(found)(made)
    return found
