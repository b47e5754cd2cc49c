"""Random actions of the scripts: what channels and operators ask, take back, and complete."""

from typing import NamedTuple

from hypothesis import strategies as st

from ocs.balance.action_steps import bonus_cause
from ocs.balance.actions import Asked
from ocs.balance.model_actions import Deed, Known
from ocs.balance.model_rows import MONEY_UNIT
from ocs.balance.profiles import write_place
from ocs.outcomes import Code
from ocs.rating.openings import OpenedRow
from ocs.records import ActionKind, SessionState, reservation
from tests.property.pair import Pair
from tests.property.script_words import accounts
from tests.property.wallets import BONUSES, BUCKETS, LONG_MS, period

CHANNELS = ("shop", "care")
NAMES = 12
LASTS_MS = (1, 10_000, 60_000)
EXTENDS_MS = {300: 40_000, 700: 60_000, 3_000: 90_000, 20_000: 200_000}
"""How long a top-up of so much makes a balance last."""


class Act(NamedTuple):
    """One action: ``bucket`` is one of BUCKETS (0: money), ``other`` who receives, ``lasts`` one of LASTS_MS, ``whole`` all that is there."""

    account: int
    kind: ActionKind
    channel: int
    name: int
    amount: int
    bucket: int
    other: int
    fee_micros: int
    by_receiver: bool
    lasts: int
    whole: bool


class Undo(NamedTuple):
    """An action is cancelled, or with an ``amount`` (0 or more) completed: the ``back``-th newest, mostly of those that may be; or none there is."""

    back: int
    amount: int
    fits: bool


class Again(NamedTuple):
    """An earlier action is asked again."""

    back: int


class Void(NamedTuple):
    """The sweeper, or an operator, ends a reservation."""

    back: int
    forced: bool


_amounts = st.sampled_from((1, 2, 20, 50, 300, 700, 3_000, 20_000, 60_000))
act_steps = st.builds(
    Act,
    accounts,
    st.sampled_from(
        (*[ActionKind.TOPUP] * 4, *[ActionKind.ADJUST] * 6, *[ActionKind.TRANSFER] * 5, *[ActionKind.RESERVE] * 5,
         *[ActionKind.EMERGENCY] * 3, ActionKind.REFUND)
    ),
    st.integers(0, 1),
    st.integers(0, NAMES - 1),
    st.one_of(_amounts, _amounts.map(int.__neg__)),
    st.sampled_from((0, 0, 0, 1, 2, 3, 5, 6, 7)),
    accounts,
    st.sampled_from((0, 0, 1, 20)),
    st.booleans(),
    st.integers(0, len(LASTS_MS) - 1),
    st.booleans(),
)  # fmt: skip
_backs = st.sampled_from((0, 0, 0, 1, 1, 2, 3))
undo_steps = st.builds(
    Undo, _backs, st.sampled_from((-1, -1, -1, 0, 1, 1, 20, 300, 701)), st.sampled_from((*[True] * 9, False))
)
again_steps = st.builds(Again, _backs)
void_steps = st.builds(Void, _backs, st.booleans())


class _Brings:
    """What a top-up brings besides its money: time, and a bonus (holdings.py gives real ones)."""

    def __init__(self, pair: Pair, deed: Deed) -> None:
        self._accounts = pair.accounts
        self._deed = deed

    async def extends_ms(self, _partition: int, _account: str, _amount_micros: int) -> int:
        return self._deed.extend_ms

    async def follow(self, partition: int, account: str, _amount_micros: int, name: str) -> None:
        if not self._deed.bonus[0]:
            return
        found = await self._accounts.read(partition, account)
        told = self._deed.bonus[0] // 32, self._deed.bonus[3]
        row = OpenedRow(*self._deed.bonus)
        cause = bonus_cause(name)
        done = await self._accounts.open_rows(found, [row], 0, cause, content="bonus", told=told)
        assert done.code is Code.SUCCESS

    async def ending(self, _partition: int, _path: str) -> None:
        """Nothing is prepared."""

    async def ended(self, _partition: int, _path: str) -> None:
        """Nothing follows."""


async def act(pair: Pair, index: int, deed: Deed, receiver: int = -1) -> None:
    """Do an action of a subscriber on both sides; ``deed`` lacks whose it is."""
    pair.charged.clock.keep_up()
    partition, account, member = pair.homes[index]
    path = f"{account.name}/{member}" if member else account.name
    bucket = "-".join(map(str, deed.bucket)) if deed.bucket else ""
    deed = deed._replace(account=account.name, member=member, place=write_place(partition, account.name))
    asked = Asked(
        deed.kind, deed.channel, deed.id, partition, path, deed.amount, bucket, fee_micros=deed.fee_micros,
        fee_by_receiver=deed.fee_by_receiver, lasts_ms=deed.lasts_ms, is_due=deed.is_due,
    )  # fmt: skip
    if receiver >= 0:
        other = pair.homes[receiver]
        asked = asked._replace(receiver_partition=other.partition, receiver=other.account.name)
        place = write_place(other.partition, other.account.name)
        deed = deed._replace(receiver=other.account.name, receivers_place=place)
    pair.accounts.brings = _Brings(pair, deed)
    done = await pair.accounts.actions.do(asked)
    assert (done.code, done.replayed) == pair.deeds.do(deed, pair.charged.now_ms)
    await same(pair, deed.channel, deed.id)


async def undo(pair: Pair, channel: str, name: str, amount: int) -> None:
    """Cancel an action, or complete it with an amount (0 or more), on both sides."""
    pair.charged.clock.keep_up()
    actions, now_ms = pair.accounts.actions, pair.charged.now_ms
    if amount < 0:
        done = await actions.cancel(channel, name)
        expected = pair.deeds.cancel(channel, name, now_ms)
    else:
        done = await actions.complete(channel, name, amount)
        expected = pair.deeds.complete(channel, name, amount, now_ms)
    assert (done.code, done.replayed) == expected
    await same(pair, channel, name)


async def same(pair: Pair, channel: str, name: str) -> None:
    """Compare what both sides know of an action."""
    found, known = await pair.accounts.actions.find(channel, name), pair.deeds.known.get((channel, name))
    if found is None or known is None:
        assert found is known
        return
    state = known.state
    if state == "held":
        session = pair.deeds.accounts[known.deed.account].sessions[reservation(channel, name)]
        over = session.state is not SessionState.OPEN or session.due_ms <= pair.charged.now_ms
        state = "expired" if over else state
    assert (found.state.name.lower(), found.code, found.settled) == (state, known.code, known.settled)
    assert (found.bonus_back, found.bonus_used) == known.bonus


async def play_act(pair: Pair, step: Act) -> None:
    """Ask for an action; one that cannot be asked is made one that can."""
    kind, index, amount = step.kind, step.account, abs(step.amount)
    deed = Deed(kind, CHANNELS[step.channel], f"a{step.name}", "", amount=amount)
    receiver = -1
    if kind is ActionKind.TOPUP:
        deed = deed._replace(extend_ms=EXTENDS_MS.get(amount, 0))
        if step.channel == 0 and step.name < len(BONUSES):
            known = pair.deeds.known.get((deed.channel, deed.id))
            start_ms, end_ms = period(pair.charged.now_ms, LONG_MS)
            bonus = (BONUSES[step.name], MONEY_UNIT, start_ms, end_ms, amount // 10)
            deed = deed._replace(bonus=known.deed.bonus if known is not None else bonus)
    if kind is ActionKind.ADJUST:
        deed = deed._replace(amount=step.amount)
        if step.bucket:
            deed = deed._replace(bucket=_bucket(pair, step.bucket))
        else:
            deed = deed._replace(is_due=step.whole)
    elif kind is ActionKind.REFUND:
        account = pair.homes[index].account
        deed = deed._replace(
            amount=0 if step.whole else max(0, account.credits_micros - account.posted_micros)
        )
    elif kind is ActionKind.RESERVE:
        deed = deed._replace(lasts_ms=LASTS_MS[step.lasts])
    elif kind is ActionKind.EMERGENCY:
        deed = deed._replace(fee_micros=step.fee_micros)
    elif kind is ActionKind.TRANSFER:
        receiver = step.other
        if pair.homes[receiver].account is pair.homes[index].account:
            receiver = (receiver + 1) % 3 if pair.homes[receiver].account is not pair.homes[0].account else 1
        fee = min(step.fee_micros, amount) if step.by_receiver else step.fee_micros
        deed = deed._replace(fee_micros=fee, fee_by_receiver=step.by_receiver)
    await act(pair, index, deed, receiver)


def _bucket(pair: Pair, bucket: int) -> tuple[int, int]:
    """A bucket's id and start: of one that nobody has, too."""
    pair.charged.clock.keep_up()
    each = BUCKETS.get(bucket)
    return bucket, period(pair.charged.now_ms, each.length_ms)[0] if each is not None else 5


def _newest(pair: Pair, back: int, kinds: tuple[ActionKind, ...] = tuple(ActionKind)) -> Known | None:
    known = [each for each in pair.deeds.known.values() if each.deed.kind in kinds]
    return known[-1 - back % len(known)] if known else None


async def play_undo(pair: Pair, step: Undo) -> None:
    kinds = (
        (ActionKind.RESERVE,)
        if step.amount >= 0
        else (ActionKind.TOPUP, ActionKind.ADJUST, ActionKind.RESERVE)
    )
    known = _newest(pair, step.back, kinds if step.fits else tuple(ActionKind))
    name = (known.deed.channel, known.deed.id) if known is not None else ("shop", "nothing")
    await undo(pair, *name, step.amount)


async def play_again(pair: Pair, step: Again) -> None:
    if (known := _newest(pair, step.back)) is None:
        return
    deed = known.deed
    index, receiver = (
        next((i for i, home in enumerate(pair.homes) if (home.account.name, home.member) == who), -1)
        for who in ((deed.account, deed.member), (deed.receiver, ""))
    )
    await act(pair, index, deed, receiver)


async def play_void(pair: Pair, step: Void) -> None:
    if (known := _newest(pair, step.back, (ActionKind.RESERVE,))) is None:
        return
    name = reservation(known.deed.channel, known.deed.id)
    for index, home in enumerate(pair.homes):
        if name in home.account.sessions:
            await pair.expire(index, name, forced=step.forced)
            return
