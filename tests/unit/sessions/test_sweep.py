"""Supervision: a silent session's hold is released once; a top-up whose caller died is finished once."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from ocs.balance.audit import audit
from ocs.balance.keys import home, layout
from ocs.balance.link import LinkDown
from ocs.balance.parts import packed
from ocs.balance.store import Store
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE, Ask, AskedService, Units
from ocs.names import E164, SubscriberId
from ocs.outcomes import Code
from ocs.records import ENDED
from ocs.sessions import sweep
from ocs.sessions.search import find_session, sessions_of
from ocs.sessions.sweep import Sweeper
from tests.charged_store import store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.books import MIB, RULES, TARIFFS, Network, network
from tests.unit.balance.test_audit import _claim_only

PARTITIONS = 4


@pytest.fixture
def net(valkey: RealValkey) -> Iterator[Network]:
    with network(valkey) as opened:
        yield opened


def _names() -> Iterator[str]:
    """Names of claims, of every partition some."""
    return (f"till:gone {number}" for number in count())


def _sweeper(net: Network) -> Sweeper:
    charged = net.charged
    return Sweeper(charged.parts, charged.accounts, charged.clock, RULES.tombstone_ms)


def test_a_session_within_its_time_stays(net: Network) -> None:
    net.ask(INITIAL, 0, wants=MIB)

    assert net.run(_sweeper(net).once()) == (0, 0, 0)
    assert net.book().pending_micros == 10_000


def test_a_silent_sessions_hold_is_released_once(net: Network) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB)
    net.run(net.charged.move_time(RULES.supervision_ms + 1_000))
    sweeper = _sweeper(net)

    assert net.run(sweeper.once()) == (1, 20_000, 0)
    assert net.run(sweeper.once()) == (0, 0, 0)
    book = net.book()
    assert (book.pending_micros, book.posted_micros, book.sessions_open) == (0, 0, 0)
    assert net.run(audit(net.charged.parts)).faults == []


def test_late_usage_of_an_expired_session_posts_once(net: Network) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB)
    net.run(net.charged.move_time(RULES.supervision_ms + 1_000))
    net.run(_sweeper(net).once())

    assert net.ask(UPDATE, 1, used=MIB, wants=MIB).code == Code.UNKNOWN_SESSION
    assert net.ask(UPDATE, 1, used=MIB, wants=MIB).code == Code.UNKNOWN_SESSION
    assert net.ask(TERMINATION, 2, used=MIB).code == Code.SUCCESS
    assert net.ask(TERMINATION, 3, used=MIB).code == Code.UNKNOWN_SESSION

    book = net.book()
    assert (book.posted_micros, book.pending_micros, book.sessions_open) == (20_000, 0, 0)
    assert net.run(audit(net.charged.parts)).faults == []


def test_an_operator_ends_a_session(net: Network) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB)

    assert net.run(_sweeper(net).expire(net.partition, "s;1", forced=ENDED)) == 20_000
    assert net.run(_sweeper(net).expire(net.partition, "s;1", forced=ENDED)) is None
    assert net.book().pending_micros == 0


def test_a_topup_whose_caller_died_is_finished_once(net: Network) -> None:
    net.run(_claim_only(net))
    sweeper = _sweeper(net)

    assert net.run(sweeper.once()).claims_finished == 1
    assert net.run(sweeper.once()).claims_finished == 0
    assert net.book().credits_micros == 1_070_000


def test_sessions_are_found_by_account_and_by_name(net: Network) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB)

    async def found() -> list[str]:
        account = net.account.profile.account
        return [each.session_id for each in await sessions_of(net.charged.parts, net.partition, account)]

    assert net.run(found()) == ["s;1"]
    session = net.run(find_session(net.charged.parts, "s;1"))
    assert (session.origin_host, session.services[0].granted_units) == ("gw.example.org", 2 * MIB)
    assert net.run(find_session(net.charged.parts, "s;2")) is None


@pytest.mark.parametrize(
    "garbled",
    [
        lambda state: state[:-60],
        lambda state: bytes([state[0] + 1]) + state[1:],
    ],
    ids=["cut", "another layout"],
)
def test_a_session_that_is_unreadable_keeps_no_other_from_its_end(
    net: Network, garbled: Callable[[bytes], bytes]
) -> None:
    net.ask(INITIAL, 0, wants=MIB, session="s;1")
    net.ask(INITIAL, 0, wants=MIB, session="s;2")
    key = net.charged.parts.keys[net.partition].session("s;1")
    state = net.execute("GET", key)
    net.execute("SET", key, garbled(state))
    net.run(net.charged.move_time(RULES.supervision_ms + 1_000))
    sweeper = _sweeper(net)

    assert net.run(sweeper.once()).expired == 1
    assert sweeper.faults == 1


def test_a_claim_that_is_unreadable_keeps_no_other_from_its_end(net: Network) -> None:
    net.run(_claim_only(net))
    keys = net.charged.parts.keys[net.partition]
    net.execute("ZADD", keys.claims, 1, "till:garbled")
    net.execute("SET", keys.claim("till", "garbled"), b"\xc1")
    sweeper = _sweeper(net)

    assert net.run(sweeper.once()).claims_finished == 1
    assert sweeper.faults == 1


def test_claims_that_never_end_keep_no_later_one_from_its_end(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocs.sessions.sweep._AT_ONCE", 2)
    net.run(_claim_only(net))
    home_of = net.charged.parts.keys[home("till:dying", len(net.charged.parts.keys))]
    for name in ("garbled", "gone", "foreign"):
        net.execute("ZADD", home_of.claims, 1, f"till:{name}")
    for keys in net.charged.parts.keys:
        net.execute("SET", keys.claim("till", "garbled"), b"\xc1")
        net.execute("SET", keys.claim("till", "foreign"), _foreign())
    sweeper = _sweeper(net)

    assert sum(net.run(sweeper.once()).claims_finished for _ in range(3)) == 1


def _foreign() -> bytes:
    """A claim on an account of a partition that there is not."""
    return packed(1, 7, 10**6, "account", 5, "till", "foreign", "")


@pytest.mark.parametrize("answer", [Code.CONFLICT, Code.UNKNOWN_SUBSCRIBER])
def test_a_session_that_has_no_account_is_counted_and_passed_over(
    net: Network, monkeypatch: pytest.MonkeyPatch, answer: Code
) -> None:
    """Two such sessions and one look at a time: the third is reached all the same."""
    monkeypatch.setattr(sweep, "_AT_ONCE", 1)
    keys = net.charged.parts.keys[net.partition]
    for name in ("s;1", "s;2", "s;3"):
        net.ask(INITIAL, 0, wants=MIB, session=name)
    net.run(net.charged.move_time(RULES.supervision_ms + 1_000))
    last = net.execute("ZRANGE", keys.due, -1, -1)[0].decode()
    sweeper = _sweeper(net)
    call = net.charged.parts.call

    async def answered(partition: int, name: str, names: list[str], *arguments: object) -> list[object]:
        if name == "expire" and arguments[1] != last:
            return [int(answer), 0]
        return await call(partition, name, names, *arguments)  # type: ignore[no-any-return]

    monkeypatch.setattr(type(net.charged.parts), "call", lambda _self, *given: answered(*given))
    for _ in range(3):
        net.run(sweeper.once())

    assert (sweeper.expired, sweeper.faults) == (1, 2)


def test_a_sweep_whose_clock_is_off_is_counted(net: Network) -> None:
    net.ask(INITIAL, 0, wants=MIB)
    net.run(net.charged.move_time(RULES.supervision_ms + 1_000))
    sweeper = _sweeper(net)
    net.charged.clock.wall_ms += 60_000

    assert net.run(sweeper.once()).expired == 0
    assert sweeper.faults == 1


def _unreachable(monkeypatch: pytest.MonkeyPatch, partitions: set[int], words: set[str]) -> list[str]:
    """Let commands of some partitions end as those of a master that is away; the words of those that did."""
    execute = Store.execute
    met: list[str] = []

    async def executed(
        self: Store, slot: int, *arguments: str | int | bytes, incarnation: str = ""
    ) -> object:
        if slot in slots and arguments[0] in words:
            met.append(str(arguments[0]))
            raise LinkDown("made up")
        return await execute(self, slot, *arguments, incarnation=incarnation)

    slots = {keys.slot for keys in layout(PARTITIONS) if keys.partition in partitions}
    monkeypatch.setattr(Store, "execute", executed)
    return met


@pytest.mark.parametrize("word", ["ZRANGEBYSCORE", "GET", "FCALL"])
def test_a_partition_that_cannot_be_reached_keeps_no_other_from_its_end(
    valkey: RealValkey, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    with store_room(valkey) as room:
        charged = room.run(room.charged(TARIFFS, RULES, PARTITIONS))
        owners: dict[int, str] = {}
        for number in range(40):
            msisdn = f"4917000{number:05d}"
            account = room.run(charged.subscriber(msisdn, "", "flat-data", credit_micros=1_000_000))
            if account.profile.partition not in owners:
                owners[account.profile.partition] = msisdn
                ids = (SubscriberId(E164, msisdn),)
                asked = _asked(ids, f"s;{account.profile.partition}")
                assert room.run(charged.charge(asked)).code == Code.SUCCESS
        assert len(owners) == PARTITIONS
        room.run(charged.move_time(RULES.supervision_ms + 1_000))
        away = {0, 2}
        for keys in charged.parts.keys:
            name = next(each for each in _names() if home(each, PARTITIONS) == keys.partition)
            room.run(charged.store.execute(keys.slot, "ZADD", keys.claims, 1, name))
        met = _unreachable(monkeypatch, away, {word})
        sweeper = Sweeper(charged.parts, charged.accounts, charged.clock, RULES.tombstone_ms)

        assert room.run(sweeper.once()).expired == PARTITIONS - len(away)

        assert sweeper.expired == PARTITIONS - len(away)
        assert sweeper.faults == len(met) == (2 if word == "FCALL" else 4)


def _asked(ids: tuple[SubscriberId, ...], session: str) -> Ask:
    service = AskedService("10", 10, None, None, Units(octets=MIB))
    return Ask(
        INITIAL, session, 0, "data", "32251@3gpp.org", ids, (service,), 1, True, "gw.example.org", "example.org"
    )  # fmt: skip
