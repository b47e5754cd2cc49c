"""Vouchers: who gets one, who does not, and what each is told."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ocs.balance.keys import home
from ocs.balance.link import StoreFault
from ocs.balance.voucher_batches import BatchRefused, BatchState, Counts, NoBatch, VoucherState
from ocs.balance.voucher_codes import SecretFault, draw, name_of, read_code
from ocs.balance.vouchers import Lock, Redeemed, Why
from ocs.limits import BOOK_MICROS_MAX
from ocs.outcomes import Code
from ocs.records import Status, Topup
from tests.cluster import Cluster
from tests.faults.judgement import all_entries
from tests.real_valkey import RealValkey
from tests.voucher_scene import DAY_MS, VALUE_MICROS, VoucherRoom, on, voucher_room

MSISDN, OTHER = "491700000001", "491700000002"
NEVER_MADE = "0000111122223333"


def played(valkey: RealValkey, play: Callable[[VoucherRoom], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        async with voucher_room(valkey.url) as at:
            await play(at)
            assert await at.wrong() == []

    asyncio.run(whole())


async def passed(at: VoucherRoom, instant_ms: int) -> None:
    """Wait until an instant of the store has come."""
    while (left_ms := instant_ms - await at.batches.now_ms()) >= 0:  # noqa: ASYNC110 - the clock of another process
        await asyncio.sleep(left_ms / 1_000 + 0.005)


def test_a_voucher_is_redeemed_once_and_its_repetition_is_answered_alike(valkey: RealValkey) -> None:
    async def play(at: VoucherRoom) -> None:
        account, other = await at.subscriber(MSISDN), await at.subscriber(OTHER)
        batch, (one, two) = await at.active(2)

        done = await at.vouchers.redeem(account, one.code, "till", "r1")

        assert done == Redeemed(
            Code.SUCCESS,
            False,
            VALUE_MICROS,
            VALUE_MICROS,
            VALUE_MICROS,
            id="r1",
            serial=one.serial,
            channel="till",
        )
        await at.at.accounts.topup(account, 1_000_000, "till", "cash")
        assert await at.vouchers.redeem(account, one.code, "till", "r1") == done._replace(replayed=True)
        for who, channel, name in ((account, "till", "r2"), (account, "app", "r1"), (other, "till", "r1")):
            refused = await at.vouchers.redeem(who, one.code, channel, name)
            assert refused == Redeemed(Code.CONFLICT, why=Why.USED)
        assert (await at.vouchers.redeem(account, two.code, "till", "r1")).why is Why.CONFLICT
        assert (await at.vouchers.redeem(account, two.code, "till", "cash")).why is Why.CONFLICT
        assert await at.batches.counts(batch.id) == Counts(free=1, used=1)
        assert (await at.again(account)).book.credits_micros == VALUE_MICROS + 1_000_000

    played(valkey, play)


def test_without_an_id_the_voucher_is_the_identity_for_the_same_subscriber(valkey: RealValkey) -> None:
    async def play(at: VoucherRoom) -> None:
        account, other = await at.subscriber(MSISDN), await at.subscriber(OTHER)
        _, (one,) = await at.active(1)
        done = await at.vouchers.redeem(account, f" {one.code[:4]}-{one.code[4:]} ", "till")
        assert (done.code, done.id) == (Code.SUCCESS, f"voucher-{one.serial}")
        for channel in ("till", "app"):
            assert await at.vouchers.redeem(account, one.code, channel) == done._replace(replayed=True)
        assert (await at.vouchers.redeem(other, one.code, "till")).why is Why.USED
        assert (await at.vouchers.redeem(account, one.code, "till", "mine")).why is Why.USED

    played(valkey, play)


def test_a_repetition_after_the_marks_of_its_top_up_have_gone_moves_nothing(valkey: RealValkey) -> None:
    async def play(at: VoucherRoom) -> None:
        account = await at.subscriber(MSISDN)
        _, (one,) = await at.active(1)
        done = await at.vouchers.redeem(account, one.code, "till", "r1")
        with valkey.client() as client:
            gone = [name for kind in ("claim", "credit") for name in client.keys(f"*:{kind}:till:r1")]
            assert client.delete(*gone) == 2
        assert await at.vouchers.redeem(account, one.code, "till", "r1") == done._replace(replayed=True)
        assert (await at.again(account)).book.credits_micros == VALUE_MICROS

    played(valkey, play)


def test_vouchers_live_on_a_cluster(cluster: Cluster) -> None:
    async def play() -> None:
        async with voucher_room(cluster.url) as at:
            accounts = [await at.subscriber(f"4917000000{index:02d}") for index in range(20)]
            batch, made = await at.active(20)
            done = await asyncio.gather(
                *(
                    at.vouchers.redeem(who, each.code, "till")
                    for who, each in zip(accounts, made, strict=True)
                )
            )
            assert {each.code for each in done} == {Code.SUCCESS}
            assert (await at.vouchers.redeem(accounts[0], NEVER_MADE, "till")).why is Why.UNKNOWN
            assert (await at.vouchers.find(made[7].serial)).account == accounts[7].profile.account
            void, _ = await at.made(await at.new(20))
            assert (await at.batches.change(void.id, BatchState.CANCELLED)).removed
            assert await at.batches.counts(batch.id) == Counts(used=20)
            assert await at.wrong() == []

    asyncio.run(play())


def test_the_record_of_the_top_up_names_the_voucher(valkey: RealValkey) -> None:
    async def play(at: VoucherRoom) -> None:
        account = await at.subscriber(MSISDN)
        _, (one,) = await at.active(1)
        await at.vouchers.redeem(account, one.code, "till", "r1")
        await at.at.accounts.topup(account, 5, "till", "cash")
        records = [entry.record() for entry in await all_entries(at.at, account.profile.partition, None)]
        named = {each.id: each.voucher for each in records if isinstance(each, Topup)}
        assert named == {"r1": one.serial, "cash": ""}

    played(valkey, play)


def test_each_state_has_a_reason_of_its_own_and_an_inactive_batch_is_as_one_that_was_never_made(
    valkey: RealValkey,
) -> None:
    async def play(at: VoucherRoom) -> None:
        account, dollars = await at.subscriber(MSISDN), await at.subscriber(OTHER, currency="USD")
        batch, (one, two) = await at.made(await at.new(2))

        async def why(code: str = one.code) -> Why:
            return (await at.vouchers.redeem(account, code, "till", "r1")).why

        calls_of_nothing, calls_of_inactive = [
            await _calls(valkey, at.vouchers.redeem(account, code, "till", "r1"))
            for code in (NEVER_MADE, one.code)
        ]
        assert calls_of_nothing == calls_of_inactive
        await at.batches.change(batch.id, BatchState.ACTIVE)
        assert await why("not a code") is Why.UNREADABLE
        assert (await at.vouchers.redeem(dollars, one.code, "till", "r1")).why is Why.CURRENCY
        await at.batches.change(batch.id, BatchState.SUSPENDED)
        assert await why() is Why.SUSPENDED
        await at.batches.change(batch.id, BatchState.ACTIVE)
        assert (await at.vouchers.turn(one.serial, blocked=True)).state is VoucherState.BLOCKED
        assert await why() is Why.BLOCKED
        assert (await at.vouchers.turn(one.serial, blocked=False)).state is VoucherState.FREE
        assert (await at.vouchers.redeem(account, two.code, "till", "r2")).code is Code.SUCCESS
        with pytest.raises(BatchRefused, match="used"):
            await at.vouchers.turn(two.serial, blocked=True)
        await at.batches.change(batch.id, BatchState.CANCELLED)
        assert await why() is Why.CANCELLED
        assert await why(two.code) is Why.USED
        with pytest.raises(BatchRefused, match="cancelled"):
            await at.batches.change(batch.id, BatchState.ACTIVE)

    played(valkey, play)


async def _calls(valkey: RealValkey, redeeming: Coroutine[Any, Any, Redeemed]) -> dict[str, int]:
    """What a redemption that is refused as unknown asks of the store."""
    with valkey.client() as client:
        client.config_resetstat()
        assert (await redeeming).why is Why.UNKNOWN
        told = client.info("commandstats")
        return {name: each["calls"] for name, each in told.items() if name != "cmdstat_config|resetstat"}


def test_a_batch_is_valid_in_its_time_and_for_longer_where_it_is_extended(valkey: RealValkey) -> None:
    async def play(at: VoucherRoom) -> None:
        account = await at.subscriber(MSISDN)
        now_ms = await at.batches.now_ms()
        early, (ahead,) = await at.made((await at.new(1))._replace(from_ms=now_ms + DAY_MS))
        await at.batches.change(early.id, BatchState.ACTIVE)
        assert (await at.vouchers.redeem(account, ahead.code, "till", "r1")).why is Why.NOT_YET
        short, (late,) = await at.made((await at.new(1))._replace(until_ms=now_ms + 1_500))
        await at.batches.change(short.id, BatchState.ACTIVE)
        await passed(at, short.until_ms)
        assert (await at.vouchers.redeem(account, late.code, "till", "r1")).why is Why.EXPIRED
        with pytest.raises(BatchRefused, match="for longer"):
            await at.batches.extend(short.id, now_ms)
        extended = await at.batches.extend(short.id, now_ms + DAY_MS)
        assert (extended.until_ms, extended.spread) == (now_ms + DAY_MS, extended.version)
        assert (await at.vouchers.redeem(account, late.code, "till", "r1")).code is Code.SUCCESS

    played(valkey, play)


def test_a_top_up_that_is_refused_for_good_sets_the_voucher_free_and_never_comes_in(
    valkey: RealValkey,
) -> None:
    async def play(at: VoucherRoom) -> None:
        full = await at.subscriber(MSISDN, BOOK_MICROS_MAX - VALUE_MICROS + 1)
        ended = await at.subscriber(OTHER)
        batch, (one,) = await at.active(1)
        for _ in range(2):  # the same id, the same answer
            assert (await at.vouchers.redeem(full, one.code, "till", "r1")).why is Why.LIMIT
        assert (await at.vouchers.redeem(full, one.code, "till")).why is Why.LIMIT
        await at.at.accounts.amend(ended, status=Status.TERMINATED)
        for who in (ended, await at.again(ended)):  # as it was read before its end, and after
            assert (await at.vouchers.redeem(who, one.code, "till", "r2")).why is Why.SUBSCRIBER
        assert await at.batches.counts(batch.id) == Counts(free=1)
        third = await at.subscriber("491700000003")
        assert (await at.vouchers.redeem(third, one.code, "till")).code is Code.SUCCESS

    played(valkey, play)


def test_wrong_codes_lock_the_subscriber_also_for_a_right_one_and_after_a_restart(
    own_valkey: RealValkey,
) -> None:
    async def play() -> None:
        async with voucher_room(own_valkey.url) as at:
            account, other = await at.subscriber(MSISDN), await at.subscriber(OTHER)
            _, (one, two) = await at.active(2)
            tries = [await at.vouchers.redeem(account, NEVER_MADE, "till", "r1") for _ in range(3)]
            assert [each.why for each in tries] == [Why.UNKNOWN] * 3
            assert [bool(each.until_ms) for each in tries] == [False, False, True]
            locked = await at.vouchers.redeem(account, one.code, "till", "r1")
            assert (locked.code, locked.why, locked.until_ms) == (Code.BARRED, Why.LOCKED, tries[2].until_ms)
            assert (await at.vouchers.redeem(other, two.code, "till", "r2")).code is Code.SUCCESS
        own_valkey.kill()
        own_valkey.start()
        async with voucher_room(own_valkey.url) as at:
            assert (await at.vouchers.redeem(account, one.code, "app", "r1")).why is Why.LOCKED

    asyncio.run(play())


def test_a_channel_that_cannot_be_one_claims_no_voucher(valkey: RealValkey) -> None:
    async def play(at: VoucherRoom) -> None:
        account = await at.subscriber(MSISDN)
        batch, (one,) = await at.active(1)
        for channel in ("till:a", ""):
            with pytest.raises(ValueError, match="a channel without a colon"):
                await at.vouchers.redeem(account, one.code, channel, "r1")
        assert await at.batches.counts(batch.id) == Counts(free=1)
        assert (await at.vouchers.redeem(account, one.code, "till")).code is Code.SUCCESS

    played(valkey, play)


def test_wrong_codes_lock_a_channel_and_the_lock_ends(valkey: RealValkey) -> None:
    async def play() -> None:
        async with voucher_room(valkey.url, Lock(0, 0, 0), Lock(2, 60_000, 300)) as at:
            account, other = await at.subscriber(MSISDN), await at.subscriber(OTHER)
            _, (one,) = await at.active(1)
            assert (await at.vouchers.redeem(other, NEVER_MADE, "till", "r1")).until_ms == 0
            locked = await at.vouchers.redeem(account, NEVER_MADE, "till", "r1")
            assert (await at.vouchers.redeem(account, one.code, "till", "r1")).why is Why.LOCKED
            await passed(at, locked.until_ms)
            assert (await at.vouchers.redeem(account, NEVER_MADE, "till", "r1")).until_ms == 0
            assert (await at.vouchers.redeem(account, one.code, "till", "r1")).code is Code.SUCCESS

    asyncio.run(play())


def test_a_voucher_is_found_by_its_serial_with_who_has_used_it(valkey: RealValkey) -> None:
    async def play(at: VoucherRoom) -> None:
        account = await at.subscriber(MSISDN)
        batch, made = await at.active(3)
        assert [each.serial for each in made] == [f"{batch.id:06d}-000000{n}" for n in (1, 2, 3)]
        assert (await at.vouchers.find(made[1].serial)).state is VoucherState.FREE
        await at.vouchers.redeem(account, made[1].code, "till", "r1")
        found = await at.vouchers.find(made[1].serial)
        assert (found.state, found.account, found.channel, found.id) == (
            VoucherState.USED,
            account.profile.account,
            "till",
            "r1",
        )
        assert found.at_ms > batch.made_ms
        for text in ("nonsense", "000099-0000001", f"{batch.id:06d}-0000004", f"{batch.id:06d}-0000000"):
            with pytest.raises(NoBatch):
                await at.vouchers.find(text)

    played(valkey, play)


def test_another_secret_is_refused_and_nobodys_code_is_then_called_wrong(valkey: RealValkey) -> None:
    async def play(at: VoucherRoom) -> None:
        account = await at.subscriber(MSISDN)
        assert (await at.vouchers.redeem(account, NEVER_MADE, "till")).why is Why.UNKNOWN
        _, (one,) = await at.active(1)
        stranger = on(at.at)
        stranger.batches.secret._key = b"another secret"
        with pytest.raises(SecretFault, match="restore it"):
            await stranger.vouchers.redeem(account, one.code, "till")

    played(valkey, play)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1234 5678 9012 3456\n", "1234567890123456"),
        ("1234-5678-9012", "123456789012"),
        ("12345678901", None),
        ("1" * 25, None),
        ("12345678901a", None),
        ("١٢٣٤٥٦٧٨٩٠١٢", None),
        ("", None),
    ],
)
def test_a_code_is_digits_with_blanks_or_hyphens(text: str, code: str | None) -> None:
    assert read_code(text) == code


def test_codes_have_their_length_and_every_digit_at_every_place() -> None:
    drawn = [draw(16) for _ in range(2_000)]
    assert {len(each) for each in drawn} == {16}
    assert len(set(drawn)) == len(drawn)
    for place in range(16):
        counts = [sum(each[place] == digit for each in drawn) for digit in "0123456789"]
        assert min(counts) > 120, "ten digits of 200 each, six deviations away"


def test_claims_that_cannot_be_read_keep_no_later_one_from_its_end(
    valkey: RealValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocs.balance.vouchers._LEFT_AT_ONCE", 2)
    monkeypatch.setattr("ocs.balance.vouchers.VOUCHER_CLAIM_MS", -1_000)

    async def play(at: VoucherRoom) -> None:
        account = await at.subscriber(MSISDN)
        batch, (one,) = await at.active(1)
        name = name_of(at.batches.secret.octets(one.code))
        keys = at.at.parts.keys[home(name, len(at.at.parts.keys))]
        now_ms = await at.batches.now_ms()
        for garbled in ("gone", "never", "nobody"):
            await at.at.store.execute(keys.slot, "ZADD", keys.voucher_claims, now_ms - 60_000, garbled)

        async def dies(*_: Any, **__: Any) -> None:
            raise StoreFault("the caller dies here")

        with monkeypatch.context() as dying:
            dying.setattr("ocs.balance.vouchers.Vouchers._complete", dies)
            with pytest.raises(StoreFault):
                await at.vouchers.redeem(account, one.code, "till", "r1")
        assert await at.batches.counts(batch.id) == Counts(claimed=1)
        assert sum([await at.vouchers.finish_left() for _ in range(3)]) == 1
        assert await at.batches.counts(batch.id) == Counts(used=1)
        assert at.vouchers.faults

    played(valkey, play)
