"""What is fuzzed: each target takes octets and raises where the invariant does not hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from tests.fuzz import documents, frames, mutate, rows, seeds, store
from tests.fuzz.judge import judge
from tests.fuzz.wire import World

CORPUS = "tests/fuzz/corpus"
"""One folder a target, its files named by what they hold; all are played by every run of the tests."""

FOLDER = ".fuzz"
"""What runs of the fuzzer find on the way; not in the clone."""


class Target(NamedTuple):
    """``play`` holds one input to the invariant; ``seeds`` are good inputs; ``mutate`` takes octets, most octets, a seed and libFuzzer's way."""

    play: Callable[[bytes], None]
    seeds: Callable[[], tuple[bytes, ...]]
    mutate: Callable[[bytes, int, int, mutate.Blind], bytes]
    crossed: Callable[[bytes, bytes, int, int], bytes] | None
    octets_max: int


@cache
def _world() -> World:
    return World()


@cache
def _reader() -> frames.Reader:
    return frames.Reader()


def play_wire(octets: bytes) -> None:
    """Say octets on a connection, and judge what comes of it."""
    judge(octets, _world().play(octets), seeds.harmless)


def play_frame(octets: bytes) -> None:
    """Read octets as one message."""
    _reader().read(octets)


def _one_message(octets: bytes, octets_max: int, seed: int, blind: mutate.Blind) -> bytes:
    found = mutate.mutate(octets, octets_max, seed, blind)
    kept = mutate.frames_of(found)[0]
    return kept[seed % len(kept)] if kept else found


TARGETS = {
    "wire": Target(play_wire, seeds.seeds, mutate.mutate, mutate.crossed, 6_400),
    "store": Target(store.play, seeds.seeds, mutate.mutate, mutate.crossed, 6_400),
    "frame": Target(play_frame, seeds.pool, _one_message, None, 4_096),
    "rows": Target(rows.read, rows.seeds, rows.mutate, None, 4_096),
    "tariff": Target(documents.read, documents.seeds, documents.mutate, None, 8_192),
}
