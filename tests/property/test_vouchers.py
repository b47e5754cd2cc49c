"""Vouchers on a real store do what the model does, whatever is asked in whatever order, and whoever dies between two steps."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import ocs.balance.actions
import ocs.balance.vouchers
from ocs.balance.accounts import Account
from ocs.balance.link import StoreFault
from ocs.balance.model_vouchers import Asker, Place, VoucherModel
from ocs.balance.voucher_batches import BatchRefused, BatchState
from ocs.balance.vouchers import Lock, Why
from ocs.limits import BOOK_MICROS_MAX
from tests.property.lua_text import mutated
from tests.real_valkey import RealValkey
from tests.voucher_scene import VALUE_MICROS, VoucherRoom, on, voucher_room

VOUCHERS, ACCOUNTS = 2, ("one", "two", "full", "dollars")
NO_LOCK = Lock(0, 0, 0)
NEVER_MADE = "0000111122223333"
WOUNDED = 93


class Redeem(NamedTuple):
    """Somebody redeems; whoever asks dies after the claim, after the money, or not. Voucher 0 is none."""

    voucher: int
    account: str
    channel: str
    id: str
    dies: str


class Turn(NamedTuple):
    """A voucher is blocked, or free again."""

    voucher: int
    blocked: bool


class Change(NamedTuple):
    """The batch is brought into a state."""

    state: BatchState


class Sweep(NamedTuple):
    """What was left is finished."""


Step = Redeem | Turn | Change | Sweep
REDEEMS = st.builds(
    Redeem,
    st.integers(0, VOUCHERS),
    st.sampled_from(("one", "one", "one", "full", *ACCOUNTS)),
    st.sampled_from(("till", "app")),
    st.sampled_from(("", "", "r1", "r1", "r2")),
    st.sampled_from(("", "", "", "claim", "money")),
)
STATES = st.sampled_from((BatchState.ACTIVE, BatchState.ACTIVE, BatchState.SUSPENDED, BatchState.CANCELLED))
STEPS = st.one_of(
    REDEEMS, REDEEMS, REDEEMS, st.builds(Turn, st.integers(1, VOUCHERS), st.booleans()),
    st.builds(Change, STATES), st.builds(Sweep),
)  # fmt: skip
SCRIPTS = st.lists(STEPS, min_size=8, max_size=20).map(lambda steps: [Change(BatchState.ACTIVE), *steps])


BEGUN = Change(BatchState.ACTIVE)
KNOWN: tuple[list[Step], ...] = (
    [BEGUN, Redeem(1, "one", "till", "r1", ""), Redeem(1, "one", "app", "r1", "")],
    [BEGUN, Redeem(1, "full", "till", "r1", ""), Redeem(1, "full", "till", "r1", "")],
    [BEGUN, Redeem(1, "full", "till", "", ""), Redeem(1, "one", "till", "", "")],
    [BEGUN, Redeem(1, "full", "till", "r1", "money"), Redeem(1, "one", "till", "", ""), Sweep()],
)
"""Scripts that chance seldom writes: the channel of an id, what never comes in, the name after a refusal, a death between the two."""


class Played:
    """A batch on a store beside its model."""

    def __init__(
        self, at: VoucherRoom, accounts: dict[str, Account], batch: int, codes: dict[int, str]
    ) -> None:
        self.at, self.accounts, self.batch, self.codes = at, accounts, batch, codes
        places = {name: Place(name, each.profile.currency, name == "full") for name, each in accounts.items()}
        serials = {number: f"{batch:06d}-{number:07d}" for number in codes}
        self.model = VoucherModel(serials, places, "EUR")

    async def step(self, step: Step) -> None:
        if isinstance(step, Redeem):
            await self.redeem(step)
        elif isinstance(step, Turn):
            done = True
            try:
                await self.at.vouchers.turn(self.model.serials[step.voucher], blocked=step.blocked)
            except BatchRefused:
                done = False
            assert self.model.turn(step.voucher, blocked=step.blocked) == done
        elif isinstance(step, Change):
            if self.model.state is not BatchState.CANCELLED and step.state is not self.model.state:
                if (self.model.state, step.state) == (BatchState.CREATED, BatchState.SUSPENDED):
                    return
                self.model.state = (await self.at.batches.change(self.batch, step.state)).state
        else:
            await self.at.vouchers.finish_left()
            assert self.at.vouchers.faults == 0
            self.model.finish_left()

    async def redeem(self, step: Redeem) -> None:
        asker = Asker(step.account, step.channel, step.id)
        code = self.codes.get(step.voucher, NEVER_MADE)
        account = self.accounts[step.account]
        if not step.dies:
            done = await self.at.vouchers.redeem(account, code, step.channel, step.id)
            assert (done.why, step) == (self.model.redeem(step.voucher, asker), step)
            return
        with dying(step.dies):
            try:
                why = (await self.at.vouchers.redeem(account, code, step.channel, step.id)).why
            except StoreFault:
                why = Why.NONE
        expected = self.model.claim(step.voucher, asker)
        assert (why, step) == (expected, step)
        if expected is Why.NONE and step.dies == "money" and self.model.tickets[step.voucher].state == 2:
            self.model.bring_in(step.voucher)

    async def judge(self) -> None:
        assert await self.at.batches.counts(self.batch) == self.model.counts
        for number, ticket in self.model.tickets.items():
            found = await self.at.vouchers.find(self.model.serials[number])
            assert found.state is ticket.state
            assert (found.id, found.channel) == (
                (ticket.holder.id, ticket.holder.channel) if ticket.holder else ("", "")
            )
        for name, account in self.accounts.items():
            came = (await self.at.again(account)).book.credits_micros - account.book.credits_micros
            assert (name, came) == (name, self.model.came_to(name) * VALUE_MICROS)
        assert await self.at.wrong() == []


@contextmanager
def dying(after: str) -> Iterator[None]:
    """Whoever redeems dies after a step."""

    async def dies(*_told: Any, **_more: Any) -> Any:
        raise StoreFault("dies here")

    with pytest.MonkeyPatch.context() as patch:
        if after == "claim":
            patch.setattr(ocs.balance.actions.Actions, "do", dies)
        else:
            patch.setattr(ocs.balance.vouchers.Vouchers, "_end", dies)
        yield


async def play(server: RealValkey, script: list[Step]) -> None:
    with server.client() as client:
        client.flushall()
    async with voucher_room(server.url, NO_LOCK, NO_LOCK) as fresh:
        at = on(fresh.at, NO_LOCK, NO_LOCK)
        full = BOOK_MICROS_MAX - VALUE_MICROS + 1
        accounts = {
            name: await at.subscriber(
                f"4917000000{index}", full if name == "full" else 0, "USD" if name == "dollars" else "EUR"
            )
            for index, name in enumerate(ACCOUNTS, start=1)
        }
        batch, made = await at.made(await at.new(VOUCHERS))
        played = Played(
            at, accounts, batch.id, {place: each.code for place, each in enumerate(made, start=1)}
        )
        for step in script:
            await played.step(step)
        await played.judge()


@pytest.fixture(scope="module")
def server() -> Iterator[RealValkey]:
    with RealValkey() as started, pytest.MonkeyPatch.context() as patch:
        patch.setattr("ocs.balance.vouchers.VOUCHER_CLAIM_MS", -1)
        yield started


@given(script=SCRIPTS)
@example(script=KNOWN[0])
@example(script=KNOWN[1])
@example(script=KNOWN[2])
@example(script=KNOWN[3])
def test_vouchers_do_what_the_model_does(server: RealValkey, script: list[Step]) -> None:
    asyncio.run(play(server, script))


WOUNDS: dict[str, tuple[tuple[str, str], ...]] = {
    "a used voucher is anybody's": (
        ("if not same then return { CONFLICT, state == VOUCHER_USED and W_USED or W_UNDER_WAY } end", ""),
    ),
    "the channel is not looked at": (("(own == 1 or voucher[VO_CHANNEL] == channel)", "true"),),
    "the account is not looked at": (("and voucher[VO_ACCOUNT] == account and (own", "and (own"),),
    "a suspended batch is redeemed": (
        ("if copy[BT_STATE] == BATCH_SUSPENDED then return W_SUSPENDED end", ""),
    ),
    "a blocked voucher is redeemed": (
        ("if voucher[VO_STATE] == VOUCHER_BLOCKED then return W_BLOCKED end", ""),
    ),
    "a currency is not looked at": (("if currency ~= copy[BT_CURRENCY] then return W_CURRENCY end", ""),),
    "a claimed voucher is blocked": (
        ("if from == VOUCHER_CLAIMED or from == VOUCHER_USED then return { CONFLICT, from } end", ""),
    ),
    "a claim is not confirmed": (("voucher[VO_STATE], voucher[VO_AT] = VOUCHER_USED, now", "do end"),),
    "nothing is counted": (("copy[BT_CHANGES + from] - 1, copy[BT_CHANGES + to] + 1", "copy[BT_CHANGES + from], copy[BT_CHANGES + to]"),),
    "frees are not counted": (("number, voucher[VO_FREES] + 1 }", "number, voucher[VO_FREES] }"),),
    "the record does not name the voucher": (
        ("book[B_CREDITS], book[B_POSTED], book[B_PENDING], voucher })", "book[B_CREDITS], book[B_POSTED], book[B_PENDING] })"),
    ),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", WOUNDS)
def test_a_wounded_library_is_caught(server: RealValkey, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = mutated(WOUNDED, *WOUNDS[name])
    with server.client() as client:
        client.execute_command("FUNCTION", "LOAD", "REPLACE", text)
    for module in ("parts", "voucher_batches"):
        monkeypatch.setattr(f"ocs.balance.{module}.function", lambda each: f"{each}_{WOUNDED}")

    @given(script=SCRIPTS)
    @example(script=KNOWN[0])
    @example(script=KNOWN[1])
    @example(script=KNOWN[2])
    def wounded(script: list[Step]) -> None:
        asyncio.run(play(server, script))

    with pytest.raises((AssertionError, StoreFault, TypeError, ValueError)):
        wounded()
