"""What the fuzzer kept is played by every run of the tests, without it: any octets lead to a correct answer or a closed connection."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Iterator

import pytest
from diameter.message import Message

from ocs import limits
from tests.contract.mutations import Frame, stream_of
from tests.fuzz import seeds
from tests.fuzz.judge import NAMES_ITS_FAULT, judge
from tests.fuzz.targets import CORPUS, TARGETS
from tests.fuzz.wire import World
from tests.house.source import ROOT

PROXY_INFO = 284
ALLOWED_OCTETS = 64 * 1_024
"""What may be held more after one round more of the corpus: less than an octet for each input played."""


def kept(name: str) -> dict[str, bytes]:
    """The inputs of a target by their names, the captures and what else it begins with among them."""
    found = {path.name: path.read_bytes() for path in sorted((ROOT / CORPUS / name).iterdir())}
    return found | {f"seed {place}": octets for place, octets in enumerate(TARGETS[name].seeds())}


def play_all(name: str) -> Iterator[str]:
    """Play every input of a target; which of them break the invariant, and how."""
    for path, octets in kept(name).items():
        try:
            TARGETS[name].play(octets)
        except Exception as fault:  # noqa: BLE001 - whatever it is, it is what is looked for
            yield f"{path}: {fault!r}"


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_kept_input_holds_the_invariant(name: str) -> None:
    assert len(kept(name)) > len(TARGETS[name].seeds()), "a target without a corpus"
    assert list(play_all(name)) == []


def test_no_kept_folder_is_of_a_target_that_is_gone() -> None:
    assert sorted(path.name for path in (ROOT / CORPUS).iterdir()) == sorted(TARGETS)


def test_the_store_and_the_model_answer_every_kept_conversation_alike() -> None:
    for octets in kept("wire").values():
        TARGETS["store"].play(octets)


@pytest.mark.parametrize("cut", [1, 7, 100_000])
def test_the_answers_are_the_same_however_the_octets_are_cut(cut: int) -> None:
    world = World()
    for path, octets in kept("wire").items():
        whole = world.play(octets, len(octets))
        judge(octets, whole, seeds.harmless)
        parted = world.play(octets, cut)
        judge(octets, parted, seeds.harmless)
        if not whole.closed:  # of a connection that closes, more may be said before the end is seen
            assert sorted(_octets(parted.answered)) == sorted(_octets(whole.answered)), path


def test_a_worker_that_has_seen_everything_answers_as_one_that_has_seen_nothing() -> None:
    old = World()
    for octets in kept("wire").values():
        old.play(octets)
    for path, octets in kept("wire").items():
        assert old.play(octets) == World().play(octets), path


def test_a_stranger_reads_every_answer_and_finds_it_right() -> None:
    world, read = World(), 0
    for path, octets in kept("wire").items():
        asked = {
            (each.command, each.ids)
            for each in stream_of(octets, limits.MESSAGE_OCTETS_MAX).frames
            if each.is_request
        }
        for frame in stream_of(world.play(octets).answered, 2**24).frames:
            plain = Message.from_bytes(frame.octets, plain_msg=True)
            values = {avp.code: avp.value for avp in plain.avps if avp.code != PROXY_INFO}
            if PROXY_INFO not in {
                avp.code for avp in plain.avps
            }:  # which goes back as it came, readable or not
                assert Message.from_bytes(frame.octets).header.length == len(frame.octets), path
            head = plain.header
            assert (head.is_request, head.length) == (False, len(frame.octets)), path
            ids = head.hop_by_hop_identifier.to_bytes(4, "big") + head.end_to_end_identifier.to_bytes(
                4, "big"
            )
            assert (head.command_code, ids) in asked, path
            assert head.is_error == (3000 <= values[268] < 4000), path
            assert values[268] not in NAMES_ITS_FAULT or len(values[279]) == 1, path
            read += 1
    assert read > 100


@pytest.mark.slow
@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer holds memory of its own")
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_playing_the_corpus_again_and_again_holds_no_more_memory(name: str) -> None:
    inputs = list(kept(name).values())

    def rounds(count: int) -> None:
        for _ in range(count):
            for octets in inputs:
                TARGETS[name].play(octets)
        gc.collect()

    rounds(1)  # what is remembered up to a bound is remembered by now
    tracemalloc.start()
    try:
        rounds(1)
        before = tracemalloc.get_traced_memory()[0]
        rounds(1)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < ALLOWED_OCTETS


def _octets(answered: bytes) -> list[bytes]:
    return [Frame(each.octets).octets for each in stream_of(answered, 2**24).frames]
