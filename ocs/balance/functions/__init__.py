"""The Redis Function library: Lua files of this folder, joined in one order under one versioned name."""

from importlib.resources import files

VERSION = 1
"""Version of the library and of every function's name: a change of what a function takes or does raises it."""

NAME = f"ocs_{VERSION}"

_PARTS = ("words.lua", "ladder.lua", "session.lua", "charge.lua", "account.lua")


def library() -> bytes:
    """Return the library's source as FUNCTION LOAD takes it."""
    texts = [files(__package__).joinpath(part).read_text(encoding="utf-8") for part in _PARTS]
    return f"#!lua name={NAME}\n{''.join(texts)}".replace("_VERSION'", f"_{VERSION}'").encode()


def function(name: str) -> str:
    """Return the versioned name of one function: charge -> charge_1."""
    return f"{name}_{VERSION}"
