"""What is right: any octets lead to a correct answer or a closed connection, and never to an unhandled error, a leak, or a change of
money that no request justifies.

Laws
1. Nothing of ocs.diameter or ocs.charging is used to judge: messages are read by the naive reader of tests/contract/mutations.py,
   and what is kept is read by python-diameter too (test_corpus.py).
2. What is judged is the answer and the money; how the server came by them is its own business.
3. A request that was charged must be readable, and say each thing as often and as long as the RFC lets it: what is lax is found here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from ocs import limits
from tests.contract.mutations import (
    GROUPS,
    VENDOR_BIT,
    Avp,
    Frame,
    Stream,
    identity,
    justified_micros,
    read_avps,
    stream_of,
)
from tests.fuzz.wire import CREDIT_MICROS, Played

SESSION_ID, ORIGIN_HOST, ORIGIN_REALM, RESULT_CODE, FAILED_AVP = 263, 264, 296, 268, 279
CHARGED = frozenset({2001, 4010, 4012, 5031})
"""Result-Codes of a CCA whose request was looked at by the store."""
POSTED = CHARGED | {5002}
NAMES_ITS_FAULT = frozenset({5001, 5004, 5005, 5007, 5008, 5009, 5014, 5031})
"""RFC 6733 section 7.1.5, RFC 8506 section 9.2: answers with these hold the AVP that is wrong."""
QUOTES_THE_REQUEST = frozenset({5001, 5004, 5009})
"""Those whose Failed-AVP is of a code that the request has."""
ONCE = (263, 416, 415, 461)
"""What a request that is charged has exactly once (RFC 8506 section 3.1): its session, type, number and context."""
LENGTHS = {415: 4, 416: 4, 432: 4, 420: 4, 412: 8, 414: 8, 417: 8, 421: 8}
"""Octets of the numbers that money is made of (RFC 8506 section 8); 431, 437 and 446 hold the units."""
UNITS = (420, 412, 414, 417, 421)
RESERVED_BITS = 0x1F

Harmless = Callable[[Frame], bool]
"""Tells whether a base message ends no connection."""


def judge(octets: bytes, played: Played, harmless: Harmless) -> None:
    """Hold one input and what became of it to the law of this page."""
    assert played.faults == (), played.faults
    assert played.left == (), f"left behind: {played.left}"
    asked = stream_of(octets, limits.MESSAGE_OCTETS_MAX)
    answered = stream_of(played.answered, 2**24)
    assert not answered.broken, "what we say is not whole"
    answers = [each for each in answered.frames if not each.is_request]
    requests: defaultdict[tuple[int, bytes], list[Frame]] = defaultdict(list)
    for frame in asked.frames:
        if frame.is_request:
            requests[frame.command, frame.ids].append(frame)
    _count(asked, answers, played, harmless)
    for answer in answers:
        _judge_answer(answer, requests[answer.command, answer.ids])
    _judge_money(asked, answers, played)


def _count(asked: Stream, answers: list[Frame], played: Played, harmless: Harmless) -> None:
    """Nothing is answered that was not asked; all is answered until the connection had to be closed, or its peer took leave."""
    frames = asked.frames
    said = Counter((each.command, each.ids) for each in answers)
    due = _due(frames)
    assert not said - due, f"answers that nobody asked for: {said - due}"
    leaves = (at + 1 for at, each in enumerate(frames) if (each.application, each.command) == (0, 282))
    end = next(leaves, len(frames))
    if played.closed:
        begun = bool(frames) and frames[0].application == 0 and harmless(frames[0])
        ends = (at for at, each in enumerate(frames[:end]) if at and not harmless(each))
        end = next(ends, end) if begun else 0
    missing = _due(frames[:end]) - said
    assert not missing, (
        f"not answered{' before the connection was closed' if played.closed else ''}: {missing}"
    )


def _due(frames: Sequence[Frame]) -> Counter[tuple[int, bytes]]:
    return Counter((each.command, each.ids) for each in frames if each.is_request)


def _judge_answer(answer: Frame, requests: list[Frame]) -> None:
    """Well formed, with the request's identifiers and Session-Id, and the fault named where the RFC wants that."""
    avps = read_avps(answer.octets[20:])
    assert avps is not None, "an answer that cannot be read"
    codes = [each.code for each in avps]
    assert answer.octets[0] == 1
    assert answer.octets[4] & 0x90 == 0, "an answer with R or T"
    assert answer.application in {each.application for each in requests}
    assert codes.count(RESULT_CODE) == 1, "an answer without a Result-Code, or with two"
    result = _number(avps, RESULT_CODE)
    assert bool(answer.octets[4] & 0x20) == (3000 <= result < 4000), f"E-bit with {result}"
    assert _only(avps, ORIGIN_HOST) == b"ocs.example.org"
    assert _only(avps, ORIGIN_REALM) == b"example.org"
    if SESSION_ID in codes:
        assert codes.index(SESSION_ID) == 0
        assert codes.count(SESSION_ID) == 1
        session = next(each.payload for each in avps if each.code == SESSION_ID)
        assert any(session in each.octets for each in requests), "a Session-Id that nobody said"
    elif answer.command == 272 and result not in {3001, 3007, 5011, 5015}:
        assert not all(_has_session(each) for each in requests), "an answer without its Session-Id"
    if result in NAMES_ITS_FAULT:
        _judge_failed_avp(avps, result, requests)
    if answer.command == 272 and result in CHARGED:
        assert all(codes.count(code) == 1 for code in (263, 258, 415, 416))
        assert any(is_strict(each) for each in requests), f"{result} for a request that is wrong"
        for service in avps:
            if service.code == 456:
                inside = [each.code for each in service.members or ()]
                assert inside.count(RESULT_CODE) == 1, "a service without a Result-Code"
                assert _number(avps, 416) == 4 or (431 in inside) == (448 in inside), "CLIENTS 21"


def _has_session(request: Frame) -> bool:
    avps = read_avps(request.octets[20:])
    sessions = [
        each for each in avps or () if each.code == SESSION_ID and not int.from_bytes(each.vendor, "big")
    ]
    return len(sessions) == 1 and not sessions[0].flags & RESERVED_BITS and _is_text(sessions[0].payload)


def _is_text(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _judge_failed_avp(avps: tuple[Avp, ...], result: int, requests: list[Frame]) -> None:
    failed = [each for each in avps if each.code == FAILED_AVP]
    assert len(failed) == 1, f"{result} without a Failed-AVP"
    inside = failed[0].members if failed[0].members is not None else read_avps(failed[0].payload)
    assert inside is not None, f"the Failed-AVP of {result} cannot be read"
    assert len(inside) == 1, f"the Failed-AVP of {result} has {len(inside)} AVPs"
    (wrong,) = inside
    if result in QUOTES_THE_REQUEST:
        quoted = wrong.code.to_bytes(4, "big")
        assert any(quoted in each.octets for each in requests), (
            f"{result} names {wrong.code}, which nobody said"
        )
    if result == 5005 and wrong.code not in GROUPS:
        for request in requests:
            top = read_avps(request.octets[20:]) or ()
            if not any((each.code, each.vendor) == (wrong.code, wrong.vendor) for each in top):
                return
        raise AssertionError(f"5005 for {wrong.code}, which is there")


def is_strict(request: Frame) -> bool:
    """Whether a request that was charged may be: readable, once what is once, numbers of their length, no reserved bits."""
    avps = read_avps(request.octets[20:])
    if avps is None or request.octets[0] != 1 or request.octets[4] & 0x20:
        return False
    ours = [each for each in avps if not int.from_bytes(each.vendor, "big")]
    counted = Counter(each.code for each in ours)
    return (
        all(counted[code] == 1 for code in ONCE)
        and not any(each.flags & RESERVED_BITS for each in avps)
        and all(len(each.payload) == LENGTHS[each.code] for each in ours if each.code in {415, 416})
        and all(_units_are_strict(each) for each in ours)
        and not _has_twins(ours)
    )


def _has_twins(avps: list[Avp]) -> bool:
    """Whether two services have one name: which of them counts would be a guess (RFC 8506 section 8.16)."""
    names = Counter(
        tuple(sorted((each.code, each.payload) for each in avp.members or () if each.code in {432, 439}))
        for avp in avps
        if avp.code == 456
    )
    return any(count > 1 for count in names.values())


def _units_are_strict(avp: Avp) -> bool:
    """Whether a service, or the units at message level, has numbers of the right length, each kind once."""
    if avp.code == 456:
        inside = [each for each in avp.members or () if not int.from_bytes(each.vendor, "big")]
        groups = [each for each in inside if each.code == 432]
        return (
            avp.members is not None
            and len(groups) <= 1
            and all(len(each.payload) == LENGTHS[432] for each in groups)
            and all(_units_are_strict(each) for each in inside)
        )
    if avp.code not in {437, 446}:
        return True
    units = [
        each for each in avp.members or () if not int.from_bytes(each.vendor, "big") and each.code in UNITS
    ]
    return (
        avp.members is not None
        and all(len(each.payload) == LENGTHS[each.code] and not each.flags & RESERVED_BITS for each in units)
        and len({each.code for each in units}) == len(units)
    )


def _judge_money(asked: Stream, answers: list[Frame], played: Played) -> None:
    """No account gains; what is debited was reported by a request that was charged, once; refunds give back no more."""
    debited = 0
    for credits_micros, posted_micros, pending_micros in played.money:
        assert credits_micros == CREDIT_MICROS, "credit came from nowhere"
        assert posted_micros >= 0, "an account has got back more than it paid"
        assert pending_micros >= 0
        debited += posted_micros
    refused = Counter(each.ids for each in answers if each.command == 272 and _result(each) not in POSTED)
    due = Counter(each.ids for each in asked.frames if each.is_request and each.command == 272)
    justified: dict[bytes, int] = {}
    for frame in asked.frames:
        if frame.is_request and frame.command == 272 and refused[frame.ids] < due[frame.ids]:
            name = identity(frame)
            justified[name] = max(justified.get(name, 0), justified_micros(frame))
    assert debited <= sum(justified.values()), f"{debited} debited, {sum(justified.values())} justified"


def _result(answer: Frame) -> int:
    return _number(read_avps(answer.octets[20:]) or (), RESULT_CODE)


def _number(avps: tuple[Avp, ...], code: int) -> int:
    return int.from_bytes(_only(avps, code), "big")


def _only(avps: tuple[Avp, ...], code: int) -> bytes:
    found = [each.payload for each in avps if each.code == code and not each.flags & VENDOR_BIT]
    assert len(found) == 1, f"AVP {code} comes {len(found)} times"
    return found[0]
