"""Random accounting records, and the player who plays them on a store and a model side by side."""

from typing import Any, NamedTuple

from hypothesis import strategies as st

from ocs.balance.accounting import AccountingRules
from ocs.balance.book import Book
from ocs.balance.model_accounting import Records
from ocs.charging.accounting import AccountingRecord, read
from ocs.outcomes import Note
from ocs.records import ACCOUNTING, Status
from tests.accounting_records import CONTEXTS, EVENT, INTERIM, START, STOP, container, message
from tests.charged_store import StoreRoom
from tests.property.offers import OFFERS
from tests.property.pair import MSISDNS, Pair
from tests.property.script_words import told
from tests.property.wallets import BUCKETS, period

RULES = AccountingRules(age_s=300, supervision_s=100)
GROUPS = (None, 10, 20)
PLACES = ("26201", "26201", "", "20801", "310410")
CALLED = ("+4930111", "15551234", "112", "received", "")


class Told(NamedTuple):
    """One record: of a session of its account, as much before now as it says.

    ``kind`` 0 is what fits the session, ``number`` a way to choose it. ``containers`` of data are (group's place, octets, seconds,
    seconds before the record's own time).
    """

    account: int
    session: int
    about: tuple[str, str]
    kind: int
    number: str
    back_s: int
    containers: tuple[tuple[int, int, int, int], ...]
    length_s: int
    messages: int


class Again(NamedTuple):
    """An earlier record again; ``other`` of another content under the same identity."""

    back: int
    other: bool


class Wait(NamedTuple):
    ms: int


class Bar(NamedTuple):
    account: int
    status: Status


class Forget(NamedTuple):
    """Another worker answers from here on, who knows of no session."""


class Expire(NamedTuple):
    account: int
    family: str


_containers = st.lists(
    st.tuples(
        st.integers(0, len(GROUPS) - 1),
        st.one_of(st.integers(0, 300), st.integers(0, 3_000), st.just(-1)),
        st.one_of(st.just(-1), st.just(-1), st.integers(0, 60)),
        st.one_of(st.just(-1), st.integers(0, 60)),
    ).filter(lambda each: each[1] >= 0 or each[2] >= 0),
    min_size=1,
    max_size=3,
).map(tuple)
_kinds = st.sampled_from((*[0] * 10, START, INTERIM, INTERIM, STOP, STOP, EVENT))
_numbers = st.sampled_from((*["next"] * 4, "skip", "skip", "far", "fill", "fill", "fill", "same", "zero"))
_about = st.sampled_from(
    (
        *[("data", place) for place in PLACES],
        *[("voice", number) for number in CALLED],
        ("sms", ""),
        ("sms", "112"),
    )
)
_told = st.builds(
    Told,
    st.sampled_from((0, 0, 0, 1, 2)),
    st.sampled_from((0, 0, 0, 1)),
    _about,
    _kinds,
    _numbers,
    st.one_of(st.just(0), st.integers(0, 30), st.integers(0, 400), st.sampled_from((-20, -7_201, -90_001))),
    _containers,
    st.one_of(st.just(-1), st.just(-1), st.just(-1), st.integers(0, 90)),
    st.integers(0, 3),
)
_waits = st.builds(Wait, st.sampled_from((0, 1_000, 7_000, 20_000, 31_000)))
_others = st.one_of(
    st.builds(Again, st.integers(0, 5), st.booleans()),
    st.builds(
        Bar,
        st.sampled_from((0, 1, 2)),
        st.sampled_from((Status.BARRED, Status.ACTIVE, Status.ACTIVE, Status.TERMINATED)),
    ),
    st.builds(Forget),
    st.builds(Expire, st.sampled_from((0, 0, 1, 2)), st.sampled_from(("data", "voice"))),
)
scripts = st.lists(st.one_of(_told, _told, _told, _told, _waits, _waits, _others), min_size=15, max_size=30)
openings = st.tuples(
    st.tuples(*[st.sampled_from((*range(len(OFFERS)), 4, 4, 4, 6, 6, 6))] * 2),
    st.sampled_from((0, -100, -5_000)),
    st.sampled_from((0, 50, 3_000)),
    st.sampled_from((0, -1, 40_000)),
    st.tuples(*[st.sampled_from((0, 40, 300))] * len(BUCKETS)),
)


def session_of(account: int, family: str, session: int = 0) -> str:
    """The Session-Id of one of an account's sessions of a family."""
    return f"gw;{account};{family};{session}"


class Player:
    """Plays steps on both sides."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.records = [Records(model, RULES.age_s, RULES.supervision_s) for model in pair.models]
        self.told: list[tuple[int, AccountingRecord]] = []
        self.numbers: dict[str, list[int]] = {}

    @classmethod
    async def made(cls, room: StoreRoom, opening: Any) -> "Player":
        offers, floor_micros, credit_micros, life_ms, amounts = opening
        pair = await Pair.made(room)
        book: Any = pair.charged.book
        pair.charged.book = Book(book.parts, book.tariffs, book.rules._replace(accounting=RULES), book.clock)
        pair.charged.book.wallets = book.wallets
        for place in offers:
            await pair.open(OFFERS[place], floor_micros, credit_micros, life_ms)
        await pair.join(0, OFFERS[offers[1]])
        now_ms = pair.charged.now_ms
        rows = [
            (id_, bucket.unit, *period(now_ms, bucket.length_ms), amount)
            for (id_, bucket), amount in zip(BUCKETS.items(), amounts, strict=True)
            if amount
        ]
        for home in (0, 2):
            if mine := [row for row in rows if BUCKETS[row[0]].own == int(home == 2)]:
                await pair.open_rows(home, mine, 0)
        return cls(pair)

    async def play(self, step: Any) -> None:
        """Do one step to both."""
        pair = self.pair
        if isinstance(step, Told):
            record = self.record_of(step)
            await self.account(step.account, record)
        elif isinstance(step, Again) and self.told:
            index, record = self.told[-1 - step.back % len(self.told)]
            if step.other:
                record = record._replace(ask=record.ask._replace(digest=record.ask.digest ^ 1))
            await self.account(index, record, remember=False)
        elif isinstance(step, Wait):
            await pair.charged.move_time(step.ms)
        elif isinstance(step, Bar):
            await pair.amend(step.account, status=step.status)
        elif isinstance(step, Forget):
            pair.charged.book.accounted.rated.clear()
        elif isinstance(step, Expire):
            await pair.expire(step.account, ACCOUNTING + session_of(step.account, step.family), forced=True)
        await pair.agree()

    def record_of(self, step: Told) -> AccountingRecord:
        """The record of a step, as its client tells it."""
        at_s = self.pair.charged.clock.wall_ms // 1000 - step.back_s
        family, about = step.about
        told_s = at_s if family != "data" or step.back_s % 4 else 0  # some records of data tell no time
        session = session_of(step.account, family, step.session)
        numbers = self.numbers.setdefault(session, [])
        kind = EVENT if family == "sms" else step.kind or (INTERIM if numbers else START)
        information: dict[str, Any] = dict(told(about) or {})
        more: dict[str, Any] = {}
        number = 0 if kind == START and step.number != "same" else self.number_of(step.number, numbers)
        if kind != EVENT:
            numbers.append(number)
        if family == "data":
            groups = [
                container(octets, GROUPS[group], seconds=seconds, at_s=at_s - before if before >= 0 else 0)
                for group, octets, seconds, before in step.containers
            ]
            information["PS-Information"] = information.get("PS-Information", {}) | {
                "Service-Data-Container": groups
            }
        elif family == "sms":
            information["SMS-Information"] = {"Number-of-Messages-Sent": step.messages}
        elif step.length_s >= 0 and kind != EVENT:
            more["Acct_Session_Time"] = step.length_s
        return read(
            message(
                kind, number, family=CONTEXTS[family], session=session,
                msisdn=MSISDNS[step.account], at_s=told_s, information=information, **more,
            )
        )  # fmt: skip

    @staticmethod
    def number_of(way: str, numbers: list[int]) -> int:
        """Choose a number, by those that were told of its session."""
        top = max(numbers, default=0)
        missing = [each for each in range(top) if each not in numbers]
        return {
            "next": top + 1, "skip": top + 2, "far": top + 5, "same": top, "zero": 0,
            "fill": missing[len(missing) // 2] if missing else top + 1,
        }[way]  # fmt: skip

    async def account(self, index: int, record: AccountingRecord, *, remember: bool = True) -> None:
        """Post one record on both sides."""
        pair, charged = self.pair, self.pair.charged
        accounted = charged.book.accounted
        before = accounted.gaps_opened, accounted.gaps_closed
        actual = await charged.account(record)
        partition, account, member = pair.homes[index]
        expected = self.records[partition].account(
            account, record.shifted(charged.offset_ms), charged.now_ms, member
        )
        assert actual == expected.outcome, f"\nstore {actual}\nmodel {expected.outcome}"
        gaps = accounted.gaps_opened - before[0], accounted.gaps_closed - before[1]
        assert gaps == (expected.opened, expected.closed)
        if remember and not actual.notes & Note.REPLAY:
            self.told.append((index, record))
