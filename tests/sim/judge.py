"""The auditor of a seed: what the clients know, held against the records, and the records against its own arithmetic.

It shares nothing with what it judges but the shape of a record. Laws
1. Every request that was answered with weight has exactly one record of exactly its content, and no request has two.
2. Repetitions are answered alike; what the answer granted is what the record says.
3. What was used is posted or set aside, once; a client that behaves has nothing set aside.
4. Every service of every session costs what its units cost, rounded once; what is held is what the grant would cost on top.
5. A book's credits are its opening and its top-ups, each once; its posted money is the sum of its records; nothing is held at the end.
6. A grant never takes more than is available.
7. Terminations that were acknowledged without the store are on record, or set aside for a human.
8. No clock that is wrong has written a record.
9. Where nothing breaks, whoever has an open session hears of every top-up (RAR).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ocs import records
from ocs.limits import SKEW_MS_MAX
from ocs.outcomes import RESULT_CODES, Code, Note
from tests.sim.ledger import (
    CHECK,
    CONFLICT,
    EVENT,
    EVENTS,
    OCTETS,
    PRICE,
    REFUND,
    SECONDS,
    SUCCESS,
    TERMINATION,
    UNKNOWN_SESSION,
    Answer,
    Key,
    Ledger,
    Sent,
)

_PRICES: Final = {OCTETS: (10_000, 12_345, 70_000), SECONDS: (7, 57_100, 60), EVENTS: (1, 90_000, 1)}
"""Kind of unit: block, and so many micro-units per so many units (tariff.yaml)."""

_APART_S: Final = 0.5


def cost(unit: int, units: int) -> int:
    """What so many units of one service cost: whole blocks, rounded half up once."""
    block, price, per = _PRICES[unit]
    whole = -(-units // block) * block
    return (2 * whole * price + per) // (2 * per)


class BookSeen(NamedTuple):
    """A book as it stands at the end."""

    credits_micros: int
    posted_micros: int
    pending_micros: int
    floor_micros: int
    sessions_open: int


class Evidence(NamedTuple):
    """What the world ends with: records by partition in the order of their streams, books by number, and what spools have set aside."""

    streams: list[list[records.Record]]
    books: Mapping[str, BookSeen]
    accounts: Mapping[str, str]
    """Account names by number."""
    floors: Mapping[str, int]
    """Floors by account name."""
    set_aside: list[tuple[Key, tuple[tuple[str, int], ...]]]
    """Identities, with keys of services and what they report."""

    told_time: bool
    """Whether the store's own clock was right all the time: who is as wrong as the store may write."""

    @property
    def records(self) -> list[records.Record]:
        """Return the records of all partitions."""
        return [record for stream in self.streams for record in stream]


def judge(ledger: Ledger, evidence: Evidence, *, fair: bool) -> list[str]:
    """Return what does not hold; `fair` where nothing was broken."""
    charges: dict[Key, list[records.Charge]] = defaultdict(list)
    for record in evidence.records:
        if isinstance(record, records.Charge):
            charges[record.session_id, record.kind, record.number].append(record)
    found = list(ledger.wrong)
    found += [f"{key}: on record and never sent" for key in sorted(charges.keys() - ledger.sent.keys())]
    for key, contents in ledger.sent.items():
        found += _judge_identity(key, contents, charges.get(key, []), evidence)
    found += _sessions(evidence.records, evidence.floors)
    found += _money(ledger, evidence)
    found += _times(evidence)
    found += _refunds(charges)
    if fair:
        found += _told(ledger)
    return found


# -- one identity


def _judge_identity(
    key: Key, contents: list[Sent], charged: list[records.Charge], evidence: Evidence
) -> Iterable[str]:
    if len(charged) > 1:
        yield f"{key}: charged {len(charged)} times"
        return
    record = charged[0] if charged else None
    weighty = 0
    for sent in contents:
        answers = [each for each in sent.answers if each.weighs]
        if sent.malformed:
            yield from _malformed(key, sent)
            continue
        weighty += bool(answers)
        if sent.request.action in {CHECK, PRICE}:
            if record is not None:
                yield f"{key}: an enquiry is on record"
            continue
        if key[1] == TERMINATION:
            yield from _termination(key, sent, record, answers, evidence)
            continue
        if len({_spoken(each) for each in answers}) > 1:
            yield f"{key}: answered differently: {answers}"
        if answers and record is None:
            yield f"{key}: answered {answers[0].code} and not on record"
        elif answers and record is not None:
            yield from _agree(key, sent, record, answers[0])
    if weighty > 1 and key[1] != TERMINATION:
        yield f"{key}: two contents of one identity were both answered with weight"
    if record is not None and not any(_carries(sent, record) for sent in contents):
        yield f"{key}: on record with units that nobody reported: {record.lines}"
    if record is not None:
        yield from _set_aside_wrongly(key, contents, record)


def _spoken(answer: Answer) -> tuple[object, ...]:
    return answer.code, tuple(sorted(answer.services.items()))


def _malformed(key: Key, sent: Sent) -> Iterable[str]:
    for each in sent.answers:
        if not 5000 <= each.code < 6000 and each.code != 3004:
            yield f"{key}: used units that cannot be read were answered {each.code}"


def _reported(sent: Sent) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((str(each.group), each.used or 0) for each in sent.request.services))


def _carries(sent: Sent, record: records.Charge) -> bool:
    """Tell whether a record is of this content: what was used is posted or set aside, all of it."""
    if sent.malformed:
        return False
    if record.kind == EVENT:
        return True
    said = tuple(sorted((line.key, line.posted_units + line.quarantined_units) for line in record.lines))
    return said == _reported(sent)


def _agree(key: Key, sent: Sent, record: records.Charge, answer: Answer) -> Iterable[str]:
    if RESULT_CODES[Code(record.code)] != answer.code:
        yield f"{key}: answered {answer.code}, on record with {Code(record.code).name}"
    if not _carries(sent, record):
        yield f"{key}: answered {answer.code}; reported {_reported(sent)}, on record {record.lines}"
    lines = {line.key: line for line in record.lines}
    for group, granted in answer.services.items():
        line = lines.get(str(group))
        if line is None or (granted.units != line.granted_units and record.kind != EVENT):
            yield f"{key}: granted {granted}, on record {line}"


def _termination(
    key: Key, sent: Sent, record: records.Charge | None, answers: list[Answer], evidence: Evidence
) -> Iterable[str]:
    """One that finds no store is kept on disk and answered 2001 before anybody knows what becomes of it."""
    if not answers:
        return
    if any(each.code != SUCCESS for each in answers):
        yield f"{key}: a termination was answered {answers}"
    if record is not None and _carries(sent, record):
        return
    if (key, _reported(sent)) in evidence.set_aside or not any(used for _, used in _reported(sent)):
        return
    if any(
        isinstance(each, records.Charge)
        and each.session_id == key[0]
        and each.kind == 1
        and each.code != Code.SUCCESS
        for each in evidence.records
    ):
        return  # its Initial was refused: there is nothing to end
    yield f"{key}: acknowledged, and neither on record nor set aside: {_reported(sent)}"


def _set_aside_wrongly(key: Key, contents: list[Sent], record: records.Charge) -> Iterable[str]:
    behaved = all(sent.behaved and not sent.malformed for sent in contents)
    if behaved and not record.notes & Note.LATE and any(line.quarantined_units for line in record.lines):
        yield f"{key}: a client that behaved has units set aside: {record.lines}"


# -- the records by themselves


def _sessions(found: list[records.Record], floors: Mapping[str, int]) -> Iterable[str]:
    """Follow every service of every session with our own arithmetic, in the order of the records."""
    used: Counter[tuple[str, str]] = Counter()
    for record in found:
        if not isinstance(record, records.Charge):
            continue
        available = record.credits_micros - record.posted_micros - record.pending_micros
        for line in record.lines:
            if record.kind == EVENT:
                expected = cost(line.unit, abs(line.posted_units)) if line.posted_units else 0
                if abs(line.amount_micros) != expected or line.hold_micros:
                    yield f"{record.session_id} {record.number}: {line} should cost {expected}"
                continue
            place = record.session_id, line.key
            before = used[place]
            used[place] += line.posted_units
            expected = _posted(line.unit, used[place]) - _posted(line.unit, before)
            if line.amount_micros != expected:
                yield f"{record.session_id} {record.number}: {line} should cost {expected}"
            held = _posted(line.unit, used[place] + line.granted_units) - _posted(line.unit, used[place])
            opened = record.state == records.SessionState.OPEN
            fresh = opened and not record.notes & Note.STANDING and line.granted_units > 0
            if fresh and line.hold_micros != held:
                yield f"{record.session_id} {record.number}: {line} should hold {held}"
            floor = floors.get(record.account, 0)
            if fresh and line.hold_micros and available < floor:
                yield f"{record.session_id} {record.number}: granted beyond the floor by {floor - available}: {line}"


def _posted(unit: int, units: int) -> int:
    return cost(unit, units) if units and unit in _PRICES else 0


def _money(ledger: Ledger, evidence: Evidence) -> Iterable[str]:
    posted: Counter[str] = Counter()
    came_in: Counter[str] = Counter()
    topups: Counter[str] = Counter()
    for record in evidence.records:
        if isinstance(record, records.Charge):
            posted[record.account] += sum(line.amount_micros for line in record.lines)
        elif isinstance(record, records.Topup):
            came_in[record.account] += record.amount_micros
            topups[record.id] += 1
    for name, topup in ledger.topups.items():
        if topups[name] > 1 or (topup.acknowledged and topups[name] != 1):
            yield f"top-up {name} ({topup}): added {topups[name]} times"
    for msisdn, (credit, floor) in ledger.opened.items():
        account, book = evidence.accounts.get(msisdn, ""), evidence.books.get(msisdn)
        if book is None:
            yield f"{msisdn}: has no account"
            continue
        known = credit + sum(
            each.amount_micros
            for name, each in ledger.topups.items()
            if each.msisdn == msisdn and topups[name]
        )
        expected = BookSeen(known, posted[account], 0, floor, 0)
        if book != expected or came_in[account] != known:
            yield f"{msisdn}: the book ends as {book}, should be {expected}"


def _times(evidence: Evidence) -> Iterable[str]:
    """No clock that is wrong by more than is allowed has written anything: times go back by twice that at most."""
    for stream in evidence.streams if evidence.told_time else ():
        newest_ms = 0
        for record in stream:
            if isinstance(record, records.Epoch):
                continue  # it carries the store's own time, whatever that says
            if record.now_ms < newest_ms - 2 * SKEW_MS_MAX:
                yield f"a record is {newest_ms - record.now_ms} ms behind one before it: {record}"
            newest_ms = max(newest_ms, record.now_ms)


def _refunds(charges: Mapping[Key, list[records.Charge]]) -> Iterable[str]:
    """What is given back is never more than was taken."""
    units: Counter[tuple[str, str]] = Counter()
    micros: Counter[tuple[str, str]] = Counter()
    for (session, kind, _), found in charges.items():
        for record in found if kind == EVENT else ():
            for line in record.lines:
                units[session, line.key] += line.posted_units
                micros[session, line.key] += line.amount_micros
    for place, left in units.items():
        if left < 0 or micros[place] != (cost(EVENTS, left) if left else 0):
            yield f"{place}: {left} units stand at {micros[place]}"


def _told(ledger: Ledger) -> Iterable[str]:
    """A session that was open for a while around a top-up was asked to report."""
    for name, topup in ledger.topups.items():
        begun_s, done_s = topup.span_s
        for session, life in ledger.lives.items():
            was_open = life.opened_s + _APART_S < begun_s and (
                not life.ended_s or life.ended_s > done_s + _APART_S
            )
            told = any(begun_s <= at_s <= done_s + _APART_S for at_s in life.told_s)
            if topup.acknowledged and life.msisdn == topup.msisdn and life.opened_s and was_open and not told:
                yield f"{session}: was not told of top-up {name}"


__all__ = ["CONFLICT", "REFUND", "UNKNOWN_SESSION", "BookSeen", "Evidence", "cost", "judge"]
