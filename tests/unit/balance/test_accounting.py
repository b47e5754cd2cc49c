"""Accounting records on a real store, one by one: what is posted, once; what is missing, late, repeated, or nobody's."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ocs.balance.accounting import AccountingRules
from ocs.balance.audit import audit
from ocs.balance.book import Book, Rules
from ocs.balance.unbilled import Unbilled
from ocs.charging.accounting import AccountingRecord
from ocs.charging.ask import INITIAL, ask
from ocs.charging.outcome import Outcome
from ocs.charging.plan import QuotaRules
from ocs.limits import SESSIONS_PER_SUBSCRIBER_MAX
from ocs.names import E164, SubscriberId
from ocs.outcomes import Code, Note
from ocs.rating.tariff import read_tariff
from ocs.records import ACCOUNTING, Charge, Expire, SessionState, Status
from ocs.roof.build import read_tariffs
from ocs.sessions.search import open_sessions
from ocs.sessions.sweep import Sweeper
from ocs.settings import config_folder
from tests.accounting_records import EVENT, INTERIM, START, STOP, call, container, sms, traffic
from tests.charged_store import ChargedStore, StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.charging.ccr import ccr, service, services

MIB = 1_048_576
CENT = 10_000
TARIFFS = read_tariffs(config_folder() / "tariffs")
RULES = Rules(
    QuotaRules(10 * MIB, 60, 1, 3_600, 1_250_000_000, 2, 100),
    7_200_000,
    300_000,
    1_000,
    accounting=AccountingRules(age_s=3_600, supervision_s=600),
)


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


class Client:
    """One subscriber, whose records come in the order that the test says."""

    def __init__(self, charged: ChargedStore, account: Any) -> None:
        self.charged, self.account = charged, account
        self.now_s = charged.now_ms // 1000

    @classmethod
    async def made(
        cls, room: StoreRoom, tariff: str = "flat-data", floor: int = 0, credit: int = 0
    ) -> "Client":
        charged = await room.charged(TARIFFS, RULES)
        return cls(
            charged, await charged.subscriber("491700000001", "262010000000001", tariff, floor, credit)
        )

    async def send(self, record: AccountingRecord) -> Outcome:
        return await self.charged.account(record)

    async def told(self, record: AccountingRecord) -> Note:
        """Send a record that counts; its notes."""
        outcome = await self.send(record)
        assert outcome.code == Code.SUCCESS
        return outcome.notes

    async def book(self) -> Any:
        found = await self.charged.accounts.read(self.account.profile.partition, self.account.profile.account)
        assert found is not None
        return found.book

    async def posted(self) -> int:
        return int((await self.book()).posted_micros)

    async def records(self) -> list[Charge]:
        keys = self.charged.parts.keys[self.account.profile.partition]
        seen = await self.charged.look(keys.partition, [keys.part])
        return [each for each in seen.records if isinstance(each, Charge)]

    async def clean(self) -> None:
        assert (await audit(self.charged.parts)).faults == []


def test_start_interim_and_stop_cost_what_all_of_it_costs_rounded_once(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room)
        assert await client.told(traffic(START, 0)) == Note(0)
        await client.told(traffic(INTERIM, 1, container(600_000)))
        assert await client.posted() == CENT
        await client.told(traffic(STOP, 2, container(600_000)))
        assert (
            await client.posted() == 2 * CENT
        )  # 1,200,000 octets are two MiB begun, as one report of them is
        assert (await client.book()).sessions_open == 0
        await client.clean()

    room.run(session())


def test_what_is_told_again_counts_once_also_by_another_worker_and_after_the_stop(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room)
        told = [
            traffic(START, 0),
            traffic(INTERIM, 1, container(MIB)),
            traffic(STOP, 2, container(MIB)),
            sms(7),
        ]
        first = [await client.send(each) for each in told]
        client.charged.book = Book(
            client.charged.parts, client.charged.book.tariffs, RULES, client.charged.clock
        )
        posted = await client.posted()
        for each, before in zip(told, first, strict=True):
            again = await client.send(each)
            assert again == before._replace(notes=Note.REPLAY)
        assert await client.posted() == posted
        assert len(await client.records()) == len(told)

    room.run(session())


def test_other_content_under_the_same_identity_is_a_conflict_and_moves_nothing(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room)
        await client.told(traffic(START, 0))
        await client.told(traffic(INTERIM, 1, container(MIB)))
        assert (await client.send(traffic(INTERIM, 1, container(MIB + 1)))).code == Code.CONFLICT
        assert await client.posted() == CENT

    room.run(session())


def test_a_session_begins_and_ends_once(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room)
        await client.told(traffic(START, 0))
        assert (await client.send(traffic(START, 1, container(MIB)))).code == Code.CONFLICT
        await client.told(traffic(STOP, 2))
        assert (await client.send(traffic(STOP, 3, container(MIB)))).code == Code.CONFLICT
        assert await client.posted() == 0

    room.run(session())


def test_numbers_that_are_missing_are_noted_and_closed_when_they_come(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room)
        counted = client.charged.book.accounted
        await client.told(traffic(START, 0))
        assert await client.told(traffic(INTERIM, 5, container(MIB))) == Note.OVERRUN | Note.GAP
        assert (counted.gaps_opened, counted.gaps_closed) == (4, 0)
        assert await client.told(traffic(INTERIM, 3, container(MIB))) == Note.OVERRUN | Note.LATE
        assert await client.told(traffic(STOP, 7)) == Note.GAP
        for number in (1, 2, 4, 6):
            assert Note.LATE in await client.told(traffic(INTERIM, number, container(MIB)))
        assert (counted.gaps_opened, counted.gaps_closed) == (5, 5)
        assert await client.posted() == 6 * CENT
        await client.clean()

    room.run(session())


def test_an_interim_or_a_stop_without_a_start_is_posted_and_noted(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room)
        counted = client.charged.book.accounted
        assert Note.GAP in await client.told(traffic(INTERIM, 2, container(MIB), session="one"))
        assert Note.GAP in await client.told(traffic(STOP, 1, container(MIB), session="two"))
        assert await client.posted() == 2 * CENT
        assert counted.gaps_opened == 3
        assert Note.LATE in await client.told(traffic(START, 0, session="one"))
        assert Note.LATE in await client.told(traffic(START, 0, session="two"))
        assert counted.gaps_closed == 2
        assert len([each async for each in open_sessions(client.charged.parts)]) == 1
        await client.clean()

    room.run(session())


def test_a_call_lasts_from_the_answer_of_its_start_to_that_of_its_stop(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room, "flat-voice")
        start_s = client.now_s - 500
        await client.told(call(START, 0, start_s, called="+4930111"))
        await client.told(call(INTERIM, 1, start_s + 60))
        await client.told(call(STOP, 2, start_s + 132))
        (*_, last) = await client.records()
        assert last.lines[0].position == 132
        whole = await client.posted()
        other = await Client.made(room, "flat-voice")
        await other.told(call(STOP, 1, length_s=132))
        assert await other.posted() == whole > 0

    room.run(session())


def test_a_call_never_becomes_shorter_and_a_late_start_tells_how_long_it_was(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room, "flat-voice")
        start_s = client.now_s - 500
        assert Note.QUARANTINE in await client.told(call(STOP, 2, start_s + 90))
        assert await client.posted() == 0  # nobody knows yet how long it was
        await client.told(call(START, 0, start_s, called="+4930111"))
        whole = await client.posted()
        assert whole > 0
        assert Note.LATE in await client.told(call(INTERIM, 1, start_s + 30))
        assert await client.posted() == whole
        assert [each.lines[0].position for each in await client.records()] == [0, 90, 90]

    room.run(session())


def test_a_length_that_nobody_believes_is_set_aside_and_takes_nothing_from_the_true_one(
    room: StoreRoom,
) -> None:
    async def session() -> None:
        client = await Client.made(room, "flat-voice")
        start_s = client.now_s - 100
        await client.told(call(START, 0, start_s, called="+4930111"))
        absurd = call(INTERIM, 1, start_s + 50, length_s=50_000)  # in milliseconds, as one client tells it
        assert Note.QUARANTINE in await client.told(absurd)
        assert await client.posted() == 0
        await client.told(call(STOP, 2, start_s + 60, length_s=60))
        lines = [each.lines[0] for each in await client.records()]
        assert [(each.posted_units, each.quarantined_units) for each in lines] == [
            (0, 0),
            (0, 50_000),
            (60, 0),
        ]
        assert await client.posted() > 0
        await client.clean()

    room.run(session())


def test_messages_are_events_and_cost_as_many_as_were_sent(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room, "flat-sms")
        await client.told(sms(0))
        one = await client.posted()
        await client.told(sms(1, messages=3))
        assert await client.posted() == 4 * one > 0
        assert all(each.is_event and each.is_accounting for each in await client.records())
        assert (await client.book()).sessions_open == 0
        await client.clean()

    room.run(session())


def test_usage_below_the_floor_is_posted_and_marked(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room, floor=-CENT)
        assert await client.told(traffic(EVENT, 0, container(MIB))) == Note(0)
        assert await client.told(traffic(EVENT, 1, container(3 * MIB))) == Note.OVERRUN
        book = await client.book()
        assert book.credits_micros - book.posted_micros == -4 * CENT
        await client.clean()

    room.run(session())


def test_a_barred_account_is_posted_to_and_told_so(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room)
        await client.charged.accounts.amend(client.account, status=Status.BARRED)
        outcome = await client.send(traffic(EVENT, 0, container(MIB)))
        assert (outcome.code, [each.code for each in outcome.services]) == (Code.SUCCESS, [Code.BARRED])
        assert await client.posted() == CENT

    room.run(session())


def test_a_terminated_account_pays_what_its_session_used_and_nothing_that_begins_later(
    room: StoreRoom,
) -> None:
    async def session() -> None:
        client = await Client.made(room)
        await client.told(traffic(START, 0))
        await client.charged.accounts.amend(client.account, status=Status.TERMINATED)
        await client.told(traffic(STOP, 1, container(MIB)))
        assert await client.posted() == CENT
        assert (await client.send(traffic(START, 0, session="new"))).code == Code.UNKNOWN_SUBSCRIBER

    room.run(session())


def test_what_no_tariff_prices_or_nobody_believes_is_set_aside_in_the_record(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room)
        assert await client.told(sms(0)) == Note.QUARANTINE  # flat-data sells no messages
        await client.told(traffic(START, 0, at_s=client.now_s - 1))
        assert await client.told(traffic(STOP, 1, container(10**13), at_s=client.now_s)) == Note.QUARANTINE
        unrated, _, absurd = await client.records()
        assert (unrated.lines[0].code, unrated.lines[0].quarantined_units) == (Code.UNRATED, 1)
        assert absurd.lines[0].quarantined_units == 10**13
        assert await client.posted() == 0

    room.run(session())


def test_a_record_that_is_too_old_is_not_posted_unless_it_was_before(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room)
        told = traffic(EVENT, 0, container(MIB), at_s=client.now_s - 3_590)
        await client.told(told)
        await client.charged.move_time(60_000)
        shifted = told.shifted(-60_000)  # its clock stood still, the calendar did not
        assert (await client.send(shifted)).notes == Note.REPLAY
        old = traffic(EVENT, 1, container(MIB), at_s=client.now_s - 3_700)
        assert (await client.send(old)).code == Code.LIMIT
        assert await client.posted() == CENT

    room.run(session())


def test_a_record_of_the_future_is_priced_now(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room)
        await client.told(traffic(EVENT, 0, container(MIB), at_s=client.now_s + 80_000))
        (record,) = await client.records()
        assert record.at_ms <= record.now_ms

    room.run(session())


def test_the_version_of_its_own_time_prices_a_record_whenever_it_comes(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room)
        first = client.charged.book.tariffs.versions("flat-data")[0]
        text = (config_folder() / "tariffs" / "flat-data.yaml").read_text(encoding="utf-8")
        later = read_tariff(
            text.replace("version: 1", "version: 2").replace('"0.01"', '"0.05"'), "later.yaml"
        )
        client.charged.book.tariffs.add([replace(later, effective_ms=1000 * (client.now_s - 100))])
        await client.told(traffic(EVENT, 0, container(MIB), at_s=client.now_s - 50))
        await client.told(traffic(EVENT, 1, container(MIB), at_s=client.now_s - 150))
        await client.told(traffic(START, 0, at_s=client.now_s - 150))
        await client.told(traffic(STOP, 1, container(MIB), at_s=client.now_s))  # a session keeps its version
        assert [each.tariff for each in await client.records()] == ["flat-data@2", *[first.key] * 3]
        assert await client.posted() == 5 * CENT + CENT + CENT

    room.run(session())


def test_supervision_ends_a_session_that_gets_no_stop_and_what_comes_later_is_posted(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room)
        charged = client.charged
        await client.told(traffic(START, 0))
        await client.told(traffic(INTERIM, 1, container(600_000)))
        assert [each.via async for each in open_sessions(charged.parts)] == [
            ""
        ]  # nobody is asked to re-authorise
        await charged.move_time(700_000)
        sweeper = Sweeper(charged.parts, charged.accounts, charged.clock, 1)
        sweeper.accounting_ms = RULES.accounting.kept_ms
        assert (await sweeper.once()).expired == 1
        keys = charged.parts.keys[client.account.profile.partition]
        seen = await charged.look(keys.partition, [keys.part])
        (ended,) = [each for each in seen.records if isinstance(each, Expire)]
        assert (ended.session_id.startswith(ACCOUNTING), ended.held_micros) == (True, 0)
        late = await client.told(traffic(STOP, 2, container(600_000), at_s=client.now_s))
        assert late == Note.OVERRUN | Note.LATE
        assert await client.posted() == 2 * CENT
        (record,) = await client.records()
        assert record.state == SessionState.CLOSED
        await client.clean()

    room.run(session())


def test_a_session_of_credit_control_of_the_same_name_is_none_of_it(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room)
        await client.told(traffic(START, 0, session="gw;1"))
        found = [each async for each in open_sessions(client.charged.parts)]
        assert [each.session_id for each in found] == ["rf gw;1"]

    room.run(session())


def test_sessions_without_a_stop_take_no_place_of_those_that_ask(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room, credit=CENT)
        for at in range(SESSIONS_PER_SUBSCRIBER_MAX):
            await client.told(traffic(START, 0, session=f"gw;{at}"))
        assert (await client.book()).sessions_open == 0
        opening = ask(ccr(INITIAL, 0, **services(service(requested={}))))._replace(
            ids=(SubscriberId(E164, "491700000001"),)
        )
        assert (await client.charged.charge(opening)).code == Code.SUCCESS
        assert (await client.book()).sessions_open == 1
        await client.clean()
        async for each in open_sessions(client.charged.parts):
            if each.session_id.startswith(ACCOUNTING):
                await client.charged.expire(each.partition, each.account, each.session_id, 1_000, forced=True)
        assert (await client.book()).sessions_open == 1
        await client.clean()

    room.run(session())


def test_records_that_name_nobody_belong_to_the_session_that_began(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room)
        await client.told(traffic(START, 0))
        await client.told(traffic(STOP, 1, container(MIB), msisdn=""))
        assert await client.posted() == CENT
        unknown = await client.send(traffic(STOP, 1, container(MIB), msisdn="", session="other"))
        assert unknown.code == Code.UNKNOWN_SESSION

    room.run(session())


# ---------------------------------------------------------------- what nobody can be billed for


async def set_aside(unbilled: Unbilled, record: AccountingRecord, frame: bytes) -> int:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    unbilled.account(record, frame, lambda result, _outcome: future.set_result(result))
    return await future


def test_what_nobody_can_be_billed_for_is_kept_whole_and_answered_as_kept(
    room: StoreRoom, tmp_path: Path
) -> None:
    async def session() -> None:
        client = await Client.made(room)
        client.charged.clock.keep_up()
        unbilled = Unbilled(client.charged.book, tmp_path / "unbilled", "worker-0", client.charged.clock)
        stranger = traffic(STOP, 3, container(MIB), msisdn="491709999999")
        old = traffic(EVENT, 1, container(MIB), at_s=client.now_s - 4_000)
        other = traffic(EVENT, 1, family="32276@3gpp.org")
        for record in (stranger, old, other):
            assert await set_aside(unbilled, record, b"\x01\x02") == 2001
        kept = [
            json.loads(line) for line in (tmp_path / "unbilled" / "worker-0.jsonl").read_text().splitlines()
        ]
        assert [each["why"] for each in kept] == ["unknown_subscriber", "too_old", "unknown_service"]
        assert {each["message"] for each in kept} == {"0102"}
        assert (kept[0]["type"], kept[0]["number"]) == ("stop", 3)
        assert unbilled.counts["unknown_subscriber"] == 1
        assert (tmp_path / "unbilled" / "worker-0.jsonl").stat().st_mode & 0o777 == 0o600

    room.run(session())


def test_what_cannot_be_kept_stays_with_its_client(room: StoreRoom, tmp_path: Path) -> None:
    async def session() -> None:
        client = await Client.made(room)
        client.charged.clock.keep_up()
        unbilled = Unbilled(client.charged.book, tmp_path, "w", client.charged.clock, octets_max=10)
        assert await set_aside(unbilled, traffic(START, 0, msisdn="491709999999"), b"\x01") == 4002
        assert unbilled.counts["not_kept"] == 1
        assert (tmp_path / "w.jsonl").read_bytes() == b""
        assert await set_aside(unbilled, traffic(START, 0), b"\x01") == 2001

    room.run(session())
