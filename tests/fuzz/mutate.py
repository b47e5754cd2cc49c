"""How the fuzzer changes an input: messages first, AVPs next, octets last, so that most of what it tries is read beyond the header."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from ocs import limits
from tests.contract.mutations import (
    GROUPS,
    LARGE,
    NUMBERS,
    ON_AVPS,
    ON_OCTETS,
    VENDOR_BIT,
    Mutation,
    fitted,
    mutated,
    read_avps,
    stream_of,
)
from tests.fuzz.seeds import CER, pool

LONG_OCTETS = 3_000
"""A longer conversation is rather cut than told more: what is short is played more often."""
Blind = Callable[[bytes, int], bytes]
"""Changes octets without a thought (libFuzzer's own way), to at most so many."""


def frames_of(octets: bytes) -> tuple[list[bytes], bytes]:
    """Return the whole messages of an input, and what is left."""
    frames = [each.octets for each in stream_of(octets, limits.MESSAGE_OCTETS_MAX).frames]
    return frames, octets[sum(map(len, frames)) :]


def random_mutation(chance: Random) -> Mutation:
    """Draw one change of one message."""
    kind = chance.choice(ON_AVPS) if chance.random() < 0.85 else chance.choice(ON_OCTETS)
    number = chance.choice(NUMBERS + LARGE) if chance.random() < 0.7 else chance.getrandbits(64)
    return Mutation(
        kind,
        chance.randrange(16),
        chance.randrange(401),
        chance.randrange(401),
        number,
        chance.randbytes(chance.randrange(24)),
    )


def mutate(octets: bytes, octets_max: int, seed: int, blind: Blind) -> bytes:
    """Change an input in one to three places."""
    chance = Random(seed)
    if chance.random() < 0.06:
        return blind(octets, octets_max)
    frames, rest = frames_of(octets)
    if not frames:
        frames = [CER]
    if chance.random() < 0.9:
        rest = b""
    for _ in range(chance.choice((1, 1, 2, 3))):
        frames = _step(frames, chance, blind)
    found = b"".join(frames) + rest
    return found if len(found) <= octets_max else octets[:octets_max]


def _step(frames: list[bytes], chance: Random, blind: Blind) -> list[bytes]:
    what = chance.random()
    place = chance.randrange(len(frames))
    if len(frames) > 2 and sum(map(len, frames)) > LONG_OCTETS and chance.random() < 0.5:
        return frames[:1] + [each for each in frames[1:] if chance.random() < 0.6]
    if what < 0.12:
        return [*frames[: place + 1], chance.choice(pool()), *frames[place + 1 :]]
    if what < 0.18:
        return [*frames[: place + 1], frames[place], *frames[place + 1 :]]
    if what < 0.24 and len(frames) > 2:
        return [*frames[:place], *frames[place + 1 :]] if place else frames
    if what < 0.28 and len(frames) > 2:
        other = chance.randrange(1, len(frames))
        row = list(frames)
        row[place or 1], row[other] = row[other], row[place or 1]
        return row
    if what < 0.34:
        return [_nudged(each, chance) if at == place else each for at, each in enumerate(frames)]
    if what < 0.46:
        return [_payload(each, chance, blind) if at == place else each for at, each in enumerate(frames)]
    return mutated(frames, random_mutation(chance))


def _nudged(frame: bytes, chance: Random) -> bytes:
    """Change one length a little: the message's own, or that of an AVP that can be found."""
    starts, at = [1], 20
    while at + 8 <= len(frame):
        starts.append(at + 5)
        if int.from_bytes(frame[at : at + 4], "big") in GROUPS:
            at += 12 if frame[at + 4] & VENDOR_BIT else 8
        else:
            at += max(8, int.from_bytes(frame[at + 5 : at + 8], "big")) + 3 & ~3
    place = chance.choice(starts)
    length = int.from_bytes(frame[place : place + 3], "big") + chance.choice((-8, -4, -2, -1, 1, 2, 3, 4, 8))
    return frame[:place] + (length & 0xFFFFFF).to_bytes(3, "big") + frame[place + 3 :]


def _payload(frame: bytes, chance: Random, blind: Blind) -> bytes:
    """Change the content of one AVP of a message blindly, with all lengths right again."""
    avps = read_avps(frame[20:])
    if not avps:
        return frame
    at = chance.randrange(len(avps))
    changed = avps[at]
    inside = changed.members
    if inside:
        deeper = chance.randrange(len(inside))
        leaf = inside[deeper]
        body = b"".join(each.octets() for each in leaf.members) if leaf.members is not None else leaf.payload
        made = leaf._replace(payload=blind(body, len(body) + 16), members=None)
        changed = changed._replace(members=(*inside[:deeper], made, *inside[deeper + 1 :]))
    else:
        changed = changed._replace(payload=blind(changed.payload, len(changed.payload) + 16), members=None)
    return fitted(frame, (*avps[:at], changed, *avps[at + 1 :]))


def crossed(first: bytes, second: bytes, octets_max: int, seed: int) -> bytes:
    """Join the beginning of one conversation with messages of another."""
    chance = Random(seed)
    ours, theirs = frames_of(first)[0], frames_of(second)[0]
    if not ours or not theirs:
        return first
    cut, start = chance.randrange(1, len(ours) + 1), chance.randrange(len(theirs))
    found = b"".join(ours[:cut] + theirs[start:])
    return found if len(found) <= min(octets_max, LONG_OCTETS) else first
