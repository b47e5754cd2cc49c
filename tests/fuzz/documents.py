"""Tariffs as an operator types them: any text is a tariff, or a fault that names file and line; nothing else comes of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

from ocs.rating.document import DocumentFault
from ocs.rating.tariff import read_tariff
from tests.house.source import ROOT

Blind = Callable[[bytes, int], bytes]
ODD = (
    "", "0", "-1", "1.5", '"0.01"', '"-1"', "99999999999999999999", "1e400", ".nan", ".inf", "null", "true", "[]", "{}", "&a [*a]", "*a",
    "2026-02-31", "2026-01-01T00:00:00Z", "!!python/object:x {}", "!!binary x", "1 MiB", "60 s", "[a, b]", "{a: b}", "? x", "'\\u0000'", "😀",
)  # fmt: skip


def read(octets: bytes) -> None:
    """Read one input as a tariff's text; a fault has at least one problem, and each names the file."""
    text = octets.decode(errors="replace")
    problems = ["x.yaml: a tariff"]
    try:
        read_tariff(text, "x.yaml")
    except DocumentFault as fault:
        problems = fault.problems
    assert problems, "a fault without a problem"
    assert all(each.startswith("x.yaml:") for each in problems), problems


@cache
def seeds() -> tuple[bytes, ...]:
    """The tariffs of config, and one of each service alone."""
    return tuple(path.read_bytes() for path in sorted((ROOT / "config" / "tariffs").glob("*.yaml")))


def mutate(octets: bytes, octets_max: int, seed: int, blind: Blind) -> bytes:
    """Change a value, a line or the depth of a line; else octets blindly."""
    chance = Random(seed)
    if chance.random() < 0.2:
        return blind(octets, octets_max)
    lines = octets.decode(errors="replace").split("\n")
    at, what = chance.randrange(len(lines)), chance.random()
    key, colon, value = lines[at].partition(":")
    if what < 0.5 and colon:
        lines[at] = f"{key}: {_value(value, chance)}"
    elif what < 0.6:
        lines.insert(at, lines[chance.randrange(len(lines))])
    elif what < 0.75 and len(lines) > 1:
        del lines[at]
    elif what < 0.85:
        lines[at] = "  " + lines[at] if chance.random() < 0.5 else lines[at][2:]
    else:
        other = seeds()[chance.randrange(len(seeds()))].decode().split("\n")
        start = chance.randrange(len(other))
        lines[at:at] = other[start : start + chance.randrange(1, 6)]
    found = "\n".join(lines).encode(errors="replace")
    return found if len(found) <= octets_max else octets


def _value(text: str, chance: Random) -> str:
    """Another value, or the same with one word of a flow mapping changed."""
    words = text.split(",")
    if len(words) > 1 and chance.random() < 0.7:
        at = chance.randrange(len(words))
        key, colon, _ = words[at].partition(":")
        end = "}" if words[at].rstrip().endswith("}") else ""
        words[at] = f"{key}{colon} {chance.choice(ODD)}{end}" if colon else chance.choice(ODD)
        return ",".join(words).strip()
    return chance.choice(ODD)
