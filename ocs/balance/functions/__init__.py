"""The Redis Function library: Lua files of this folder, joined in one order under one versioned name.

Words in capitals that the sources give a whole number (``local B_CREDITS, B_POSTED = 1, 2``) reach the store as that
number: Lua 5.1 would look each up where it is used, and they are used at every access to an array.
"""

import re
from importlib.resources import files

VERSION = 10
"""Version of the library and of every function's name: a change of what a function takes or does raises it."""

NAME = f"ocs_{VERSION}"

_PARTS = (
    "words.lua",
    "ladder.lua",
    "session.lua",
    "sources.lua",
    "plan.lua",
    "rows.lua",
    "pools.lua",
    "grants.lua",
    "charge.lua",
    "event.lua",
    "refund.lua",
)
_BLOCKS = (
    ("accounting.lua",),
    ("account.lua",),
    ("lives.lua", "moves.lua", "holds.lua", "reversals.lua"),
    ("vouchers.lua",),
)
"""Parts that no other needs, in blocks of their own: Lua 5.1 knows at most 200 local names at a time."""


_CONSTANTS = re.compile(r"^local ([A-Z][A-Z_0-9]*(?:, [A-Z][A-Z_0-9]*)*) = (\d+(?:, \d+)*)$", re.MULTILINE)
_WORD = re.compile(r"'[^'\n]*'|--[^\n]*|\b[A-Z][A-Z_0-9]*\b")


def source() -> str:
    """Return the library as it is written, its parts joined."""
    texts = [_text(part) for part in _PARTS]
    texts += [f"do\n{''.join(map(_text, block))}end\n" for block in _BLOCKS]
    return f"#!lua name={NAME}\n{''.join(texts)}".replace("_VERSION'", f"_{VERSION}'")


def _text(part: str) -> str:
    return files(__package__).joinpath(part).read_text(encoding="utf-8")


def constants(text: str) -> dict[str, int]:
    """Return the words that a source gives a whole number; raises ValueError for one that is given two."""
    found: dict[str, int] = {}
    for names, numbers in _CONSTANTS.findall(text):
        for name, number in zip(names.split(", "), numbers.split(", "), strict=True):
            if found.setdefault(name, int(number)) != int(number):
                raise ValueError(
                    f"{name} is {found[name]} in one place of the library and {number} in another"
                )
    return found


def loadable(text: str) -> bytes:
    """Return a source as FUNCTION LOAD takes it: numbers in the place of constants, on the lines of the source."""
    known = constants(text)

    def number(match: re.Match[str]) -> str:
        word = match.group()  # a quoted text or a comment is no word of the library and stays as it is
        return str(known[word]) if word in known else word

    return _WORD.sub(number, _CONSTANTS.sub("", text)).encode()


def library() -> bytes:
    """Return the library as FUNCTION LOAD takes it."""
    return loadable(source())


def function(name: str) -> str:
    """Return the versioned name of one function: charge -> charge_1."""
    return f"{name}_{VERSION}"
