"""Shapes: a message whose AVP headers all came before, in the same order, is read in one step.

A network element sends a handful of layouts, millions of times: walking one of some forty AVPs costs 20 µs and more,
reading a known one 7. The walker in codec.py stays the one that judges; a shape is what it has judged already.

Laws
1. A shape is learnt from a message that the walker has read without a fault, and stands for the octets of every AVP
   header in it. A message that differs in one of them is walked.
2. What the walker decides by a header is decided when the shape is learnt. What it decides by a value (text that is no
   UTF-8, a closed enumeration, an identity that was not met yet) is decided for each message: the reader raises
   ``Unlike``'s members, the message is walked, and the walker names the fault. A reader never refuses by itself.
3. What is compiled is made of the dictionary's names and of numbers; no octet of a message gets into it, but for those
   it is compared with.
4. Memory is bounded, and so is the time spent on learning: a layout has to come often before it is learnt, and where
   learning has pushed out what was learnt before, the next layout has to come twice as often.
5. Traffic of which no two messages are laid out alike costs hardly more than the walker: one walked message in a few is
   looked at, and one header tells a shape from those that look alike.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from ocs import limits
from ocs.diameter.faults import DecodeFault
from ocs.diameter.message import Message

Reader = Callable[[bytes], Message | None]
"""Reads a frame of one shape; None when it has another."""

Unlike: Final = (KeyError, UnicodeDecodeError, DecodeFault, struct.error)
"""What a reader raises for a message that the walker has to judge."""

# How the walker reads an AVP, the most frequent first.
(
    NUMBER,
    TEXT,
    CHOICE,
    GROUP,
    IDENTITY,
    OCTETS,
    IPV4,
    ADDRESS,
    TIME,
    WHOLE,
    PASSED,
    PASSED_COUNTED,
) = range(12)


class Leaf(NamedTuple):
    """One AVP as it lies in a message: offsets in octets; ``below`` are the members of a group."""

    kind: int
    name: str
    at: int
    head: int
    length: int
    padded: int
    reads_with: Any
    listed_most: int
    below: "tuple[Leaf, ...]"


_NOWHERE: Final = -1


class Shape(NamedTuple):
    """What one layout is read by. ``frame[at:end] == head`` is a header of it that its neighbours do not have there; ``end`` 0: it has none.

    ``heads`` are all its headers: where they stand and what they are; ``frame`` is the message that it was learnt from.
    """

    at: int
    end: int
    head: bytes
    read: Reader
    heads: tuple[tuple[int, bytes], ...]
    frame: bytes


class _Unlearnable(Exception):
    """A layout that is left to the walker."""


class Shapes:
    """The shapes that one codec knows."""

    __slots__ = ("_came", "_known", "_often", "_walked", "count")

    def __init__(self) -> None:
        self._known: dict[bytes, list[Shape]] = {}
        self._often: dict[bytes, int] = {}
        self._came: dict[int, int] = {}
        self._walked = 0
        self.count = 0

    def alike(self, frame: bytes) -> Sequence[Shape]:
        """Return the shapes that may fit: same header up to the command, same first AVP header."""
        return self._known.get(frame[:8] + frame[20:28], ())

    def is_looked_at(self) -> bool:
        """Count a message that was walked; tell whether its layout is to be counted."""
        self._walked += 1
        return self._walked % limits.SHAPE_LOOKS_EVERY == 0

    def came_often(self, frame: bytes, heads: bytes) -> bool:
        """Count the layout of a message by the octets of its AVP headers; tell when it has come often enough to be learnt."""
        every = limits.SHAPE_LOOKS_EVERY
        if len(self._came) >= limits.SHAPES_KEPT_MAX:
            self._came = {each: times // 2 for each, times in self._came.items() if times > every}
        digest, came = hash((frame[4:8], heads)), self._came
        times = came[digest] = came.get(digest, 0) + every
        if times < self._often.get(frame[:8] + frame[20:28], limits.SHAPE_WALKS):
            return False
        del came[digest]
        return True

    def learn(self, frame: bytes, layout: tuple[Leaf, ...], namespace: dict[str, Any]) -> None:
        """Learn the shape of a frame that was read without a fault; ``namespace`` is what readers may use (see _Source)."""
        try:
            source = _Source(frame, namespace)
            read = source.reader(layout)
        except _Unlearnable:
            return
        key = frame[:8] + frame[20:28]
        if self.count >= limits.SHAPES_KEPT_MAX:
            for each in self._known:
                self._back_off(each)
            self._known.clear()
            self.count = 0
        shapes = self._known.get(key, [])
        if len(shapes) >= limits.SHAPES_ALIKE_MAX:
            self.count -= 1
            shapes = shapes[:-1]
            self._back_off(key)
        self._known[key] = _told_apart([Shape(0, 0, b"", read, source.heads, frame), *shapes])
        self.count += 1

    def _back_off(self, key: bytes) -> None:
        """Demand that a layout comes twice as often, where what was learnt has been pushed out."""
        often = min(2 * self._often.get(key, limits.SHAPE_WALKS), limits.SHAPE_WALKS_MAX)
        if len(self._often) >= limits.SHAPES_KEPT_MAX:
            self._often.clear()
        self._often[key] = often


def _told_apart(shapes: list[Shape]) -> list[Shape]:
    """Give each shape that header which fewest of the others have in the same place: a glance instead of a whole reading."""
    if len(shapes) == 1:
        return shapes
    told = []
    for shape in shapes:
        others = [each.frame for each in shapes if each is not shape]

        def met(head: tuple[int, bytes], others: list[bytes] = others) -> int:
            return sum(frame.startswith(head[1], head[0]) for frame in others)

        at, octets = min(shape.heads, key=met, default=(0, b""))
        told.append(shape._replace(at=at, end=at + len(octets), head=octets))
    return told


class _Source:
    """The source of one reader: what it takes out of a frame, what it compares, what it makes of it.

    The namespace holds ``identities`` (octets to text), ``seldom`` (the walker's reader of rare forms) and ``ignored``
    (told how many AVPs were passed over).
    """

    def __init__(self, frame: bytes, namespace: dict[str, Any]) -> None:
        self._frame = frame
        self._names = {**namespace, "Message": Message}
        self._form = [">8x", "4s", "II"]
        self._head_ends = _NOWHERE
        self._taken = ["h0", "hop_by_hop", "end_to_end"]
        self._heads = ["h0"]
        self._expected = [frame[8:12]]
        self._seconds: list[str] = []
        self._compared: list[tuple[int, bytes]] = []
        self._avps = 0
        self._passed = 0

    @property
    def heads(self) -> tuple[tuple[int, bytes], ...]:
        """What is compared: where it stands, and what it is."""
        return tuple(self._compared)

    def reader(self, layout: tuple[Leaf, ...]) -> Reader:
        """Compile the reader."""
        frame = self._frame
        avps = self._group(layout)
        flags, command = frame[4], int.from_bytes(frame[5:8])
        application = int.from_bytes(frame[8:12])
        made = f"Message({flags}, {command}, {application}, hop_by_hop, end_to_end, {avps})"
        lines = [
            "def read(frame):",
            f"    {', '.join(self._taken)}, = unpack(frame)",
            f"    if ({', '.join(self._heads)},) != expected:",
            "        return None",
            *(f"    {value}" for value in self._seconds),
            f"    message = {made}",
            *([f"    ignored({self._passed})"] if self._passed else []),
            "    return message",
        ]
        self._names |= {
            "unpack": struct.Struct("".join(self._form)).unpack,
            "expected": tuple(self._expected),
        }
        exec("\n".join(lines), self._names)  # noqa: S102 - law 3
        read: Reader = self._names.pop("read")  # its globals would hold it, and so itself
        return read

    def _group(self, layout: tuple[Leaf, ...]) -> str:
        """Return the expression of a group's dict."""
        made: dict[str, list[str]] = {}
        listed: set[str] = set()
        for leaf in layout:
            value = self._value(leaf)
            if value is None:
                continue
            if leaf.listed_most > 0:
                listed.add(leaf.name)
            elif leaf.name in made:
                self._seconds.append(value)  # the first counts (CLIENTS 6), but the second is judged too
                continue
            made.setdefault(leaf.name, []).append(value)
        members = [
            f"{name!r}: [{', '.join(values)}]" if name in listed else f"{name!r}: {values[0]}"
            for name, values in made.items()
        ]
        return f"{{{', '.join(members)}}}"

    def _value(self, leaf: Leaf) -> str | None:
        """Return the expression of one AVP's value, or None when it is passed over."""
        self._avps += 1
        if self._avps > limits.SHAPE_AVPS_MAX:
            raise _Unlearnable
        payload = leaf.length - leaf.head
        name = f"v{self._avps}"
        if leaf.kind == GROUP:
            self._compare(leaf.at, leaf.head)
            return self._group(leaf.below)
        if leaf.kind == IPV4:
            if self._frame[leaf.at + leaf.head : leaf.at + leaf.head + 2] != b"\0\1":
                raise _Unlearnable
            self._compare(leaf.at, leaf.head + 2)
            self._form.append("4B")
            parts = [f"{name}{letter}" for letter in "abcd"]
            self._taken += parts
            value = f'f"{".".join(f"{{{part}}}" for part in parts)}"'
        else:
            self._compare(leaf.at, leaf.head)
            code, value = self._plain(leaf, name, payload)
            self._form.append(code)
            if not code.endswith("x"):
                self._taken.append(name)
        self._head_ends = _NOWHERE  # a value stands behind this head, be it empty
        if leaf.padded > leaf.length:
            self._form.append(f"{leaf.padded - leaf.length}x")
        return value or None

    def _plain(self, leaf: Leaf, name: str, payload: int) -> tuple[str, str]:
        """Return how a value is taken out of the frame, and the expression that is made of it ("" when passed over)."""
        kind = leaf.kind
        if kind == NUMBER:
            return leaf.reads_with.__self__.format[-1:], name
        if kind == TEXT:
            return f"{payload}s", f"{name}.decode()"
        if kind == CHOICE:
            self._names[f"choice{self._avps}"] = leaf.reads_with
            return "4s", f"choice{self._avps}[{name}]"
        if kind == IDENTITY:
            return f"{payload}s", f"identities[{name}]"
        if kind == OCTETS:
            return f"{payload}s", name
        if kind >= PASSED:
            self._passed += kind == PASSED_COUNTED
            return f"{payload}x", ""
        start = leaf.at + leaf.head
        return f"{payload}x", f"seldom({kind}, frame, {leaf.at}, {leaf.length}, {start}, {leaf.name!r})"

    def _compare(self, at: int, octets: int) -> None:
        """Demand that these octets are the same in every message of the shape; neighbours are compared in one."""
        self._compared.append((at, self._frame[at : at + octets]))
        octets_before = 0
        if at == self._head_ends:
            octets_before = len(self._expected.pop())
            self._form.pop()
        else:
            name = f"h{len(self._heads)}"
            self._taken.append(name)
            self._heads.append(name)
        self._form.append(f"{octets_before + octets}s")
        self._expected.append(self._frame[at - octets_before : at + octets])
        self._head_ends = at + octets
