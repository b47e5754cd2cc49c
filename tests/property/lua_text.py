"""The function library as text: where it writes first, and the same library broken on purpose under another name."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from ocs.balance.functions import NAME, VERSION, loadable, source

WRITES = (
    "XADD",
    "SET",
    "MSET",
    "ZADD",
    "ZREM",
    "ZREMRANGEBYSCORE",
    "DEL",
    "PEXPIRE",
    "XTRIM",
    "HSET",
    "SADD",
    "SREM",
    "LPUSH",
    "LTRIM",
)
_WRITE = re.compile(rf"\bcall\('({'|'.join(WRITES)})'")
_PLAIN_WRITE = re.compile(rf"\bcall\('({'|'.join(WRITES)})'((?:[^()]|values_of\(\w+\))*)\)")
_CALL = re.compile(r"\bcall\('([A-Z]+)'")
READS = frozenset({"GET", "TIME", "EXISTS", "XINFO", "ZRANGE", "ZSCORE", "MGET", "HGET", "HMGET"})


class LuaFunction(NamedTuple):
    """One function of the outermost level: its lines with their numbers in the library's text."""

    name: str
    lines: tuple[tuple[int, str], ...]

    def writes(self) -> list[tuple[int, str]]:
        return [(number, line) for number, line in self.lines if _WRITE.search(line)]


def lua_functions(text: str) -> list[LuaFunction]:
    """Return all functions of the outermost level; they end with an `end` in the first column."""
    found: list[LuaFunction] = []
    name, lines = "", list[tuple[int, str]]()
    for number, line in enumerate(text.splitlines()):
        opened = re.match(r"local function (\w+)\(", line)
        if opened:
            name, lines = opened.group(1), []
        elif name and line == "end":
            found.append(LuaFunction(name, tuple(lines)))
            name = ""
        elif name:
            lines.append((number, line))
    return found


def registered(text: str) -> dict[str, bool]:
    """Return the registered functions by their Lua name, and whether they may write."""
    plain = re.findall(rf"register_function\('(\w+)_{VERSION}', (\w+)\)", text)
    reading = re.findall(r"callback = (\w+), flags = \{ 'no-writes' \}", text)
    return {callback: True for _, callback in plain} | dict.fromkeys(reading, False)


def depth(line: str) -> int:
    """Return how far a line is indented."""
    return len(line) - len(line.lstrip())


def tails(function: LuaFunction) -> Iterator[list[tuple[int, str]]]:
    """Yield, for each way through a function that writes, its lines from the first write on.

    A way that writes inside a block and returns there ends with the block; the lines behind it are another way.
    """
    tail: list[tuple[int, str]] = []
    for number, line in function.lines:
        if tail and depth(line) < depth(tail[0][1]) and tail[-1][1].strip().startswith("return"):
            yield tail
            tail = []
            if line.strip() == "end":
                continue
        if (tail or _WRITE.search(line)) and line.strip():
            tail.append((number, line))
    if tail:
        yield tail


def without_calls_of_the_store(line: str) -> str:
    """Return a line in which a write whose arguments call nothing is the word WRITE, followed by them."""
    return _PLAIN_WRITE.sub(r"WRITE \2", line)


def store_calls(line: str) -> list[str]:
    """Return the commands that a line gives to the store."""
    return _CALL.findall(line)


def renamed(text: str, version: int) -> bytes:
    """Return a library under another name, its functions under another version."""
    text = text.replace(f"name={NAME}", f"name=ocs_{version}", 1)
    return loadable(re.sub(rf"_{VERSION}'", f"_{version}'", text))


def injected(version: int) -> bytes:
    """Return the library with an error before the first write of every way through every function."""
    lines = source().splitlines()
    for function in reversed(lua_functions("\n".join(lines))):
        for tail in reversed(list(tails(function))):
            lines.insert(tail[0][0], "error('injected')")
    return renamed("\n".join(lines) + "\n", version)


def mutated(version: int, *changes: tuple[str, str]) -> bytes:
    """Return the library with passages replaced, each of which has to be there exactly once."""
    text = source()
    for before, after in changes:
        assert text.count(before) == 1, f"{text.count(before)} times in the library: {before}"
        text = text.replace(before, after)
    return renamed(text, version)


def places(prefix: str) -> dict[str, int]:
    """Return where the fields of a packed row are, counted from 0; prefix "S_" for a session, "V_" for a service."""
    found: dict[str, int] = {}
    for names, numbers in re.findall(rf"local ({prefix}\w+(?:, {prefix}\w+)*) = ([\d, ]+)\n", source()):
        for name, number in zip(names.split(", "), numbers.split(", "), strict=True):
            if name not in {"S_FIXED", "V_WIDTH"}:
                found[name.removeprefix(prefix).lower()] = int(number) - 1
    return found
