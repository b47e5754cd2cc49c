"""Actions, said a second time, for the model: MONEY.md, "Actions".

Laws
1. An action is done or refused when it is asked first, in one go: what dies half-way is for the fault tests.
2. What is kept of an action is its content and what became of it; all money is in the accounts.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from ocs.balance.model import Model, credited, lengthened, owing_record, shortened
from ocs.balance.model_books import Account, Service, Session
from ocs.balance.model_prices import Offer
from ocs.balance.model_rows import Row, RowKey
from ocs.outcomes import Code
from ocs.records import Account as AccountRecord
from ocs.records import ActionKind, Opened, SessionState, Status, reservation
from ocs.units import Unit

_NOBODYS = Offer("", {})


class Deed(NamedTuple):
    """One action: whose, by which member, and what it moves; ``bucket`` is a row's id and start, ``receiver`` whose a transfer is.

    A top-up makes the balance last ``extend_ms``, and brings ``bonus``: id, unit, start, end, amount of a row; no id: none.
    """

    kind: ActionKind
    channel: str
    id: str
    account: str
    member: str = ""
    amount: int = 0
    bucket: RowKey | None = None
    fee_micros: int = 0
    fee_by_receiver: bool = False
    receiver: str = ""
    lasts_ms: int = 0
    place: str = ""
    receivers_place: str = ""
    extend_ms: int = 0
    bonus: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
    is_due: bool = False


@dataclass(slots=True)
class Reserved(Session):
    """A reservation: a session that nobody asks for."""

    asks: ClassVar[bool] = False


@dataclass(slots=True)
class Known:
    """What became of an action; ``settled``, and what was taken back and used of its bonus, as in ocs/balance/asked.py."""

    deed: Deed
    code: Code
    state: str
    settled: int = 0
    bonus: tuple[int, int] = (0, 0)


class Deeds:
    """The actions of some accounts, over all partitions; the caller moves the time."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.known: dict[tuple[str, str], Known] = {}

    def do(self, deed: Deed, now_ms: int) -> tuple[Code, bool]:
        """Do an action: the code, and whether it was a repetition."""
        known = self.known.get((deed.channel, deed.id))
        if known is not None:
            return (known.code, True) if known.deed == deed else (Code.CONFLICT, False)
        known = self.known[deed.channel, deed.id] = Known(deed, Code.SUCCESS, "completed")
        known.code = self._done(known, self.accounts[deed.account], now_ms)
        if known.code is not Code.SUCCESS:
            known.state, known.settled = "failed", 0
        return known.code, False

    def _done(self, known: Known, account: Account, now_ms: int) -> Code:
        deed = known.deed
        if account.status is Status.TERMINATED and not (deed.kind is ActionKind.REFUND or deed.is_due):
            return Code.UNKNOWN_SUBSCRIBER
        if deed.kind is ActionKind.TOPUP:
            lengthened(account, f"{deed.channel}:{deed.id}", now_ms, deed.extend_ms)
            credited(account, deed.channel, deed.id, deed.amount, now_ms)
            if deed.bonus[0]:
                Model.open_rows(account, (deed.bonus,), 0, f"bonus {deed.channel}:{deed.id}", now_ms)
            return Code.SUCCESS
        if deed.kind is ActionKind.REFUND:
            return _closed(known, account, now_ms)
        if deed.bucket is not None:
            return _bucket(deed, account, deed.amount, ActionKind.ADJUST, now_ms)
        if deed.kind is ActionKind.ADJUST:
            if deed.amount > 0:
                return _gave(deed, account, now_ms)
            if -deed.amount > max(0, account.available_micros) and not deed.is_due:
                return Code.CREDIT_LIMIT
            _moved(deed, account, now_ms, taken=-deed.amount)
            return Code.SUCCESS
        if account.status is not Status.ACTIVE or 0 < account.until_ms <= now_ms:
            return Code.BARRED
        if deed.kind is ActionKind.EMERGENCY:
            if account.owed_micros:
                return Code.EXISTS
            account.owed_micros = deed.amount + deed.fee_micros
            return _gave(deed, account, now_ms)
        if deed.kind is ActionKind.RESERVE:
            return _held(known, account, now_ms)
        return self._transferred(known, account, now_ms)

    def _transferred(self, known: Known, giver: Account, now_ms: int) -> Code:
        deed, receiver = known.deed, self.accounts[known.deed.receiver]
        given = deed.amount + (0 if deed.fee_by_receiver else deed.fee_micros)
        own = giver.credits_micros - giver.posted_micros - giver.pending_micros - giver.owed_micros
        if given > max(0, own):
            return Code.CREDIT_LIMIT
        _moved(deed, giver, now_ms, taken=given, other=deed.receivers_place)
        if receiver.status is Status.TERMINATED:
            _moved(deed, giver, now_ms, taken=-given, other=deed.receivers_place)
            return Code.UNKNOWN_SUBSCRIBER
        fee = deed.fee_micros if deed.fee_by_receiver else 0
        _moved(deed, receiver, now_ms, came_in=deed.amount, taken=fee, other=deed.place)
        known.settled = deed.amount - fee
        return Code.SUCCESS

    def cancel(self, channel: str, action_id: str, now_ms: int) -> tuple[Code, bool]:
        """Reverse what came in, or void a reservation."""
        known = self.known.get((channel, action_id))
        if known is None:
            return Code.UNKNOWN_SESSION, False
        deed, account = known.deed, self.accounts[known.deed.account]
        if known.state == "cancelled":
            return Code.SUCCESS, True
        if deed.kind is ActionKind.RESERVE and known.state == "held":
            return self._settled(known, 0, "cancelled", now_ms), False
        came_in = deed.kind is ActionKind.TOPUP or (deed.kind is ActionKind.ADJUST and deed.amount > 0)
        if not came_in or known.state != "completed":
            return Code.CONFLICT, False
        if account.status is Status.TERMINATED:
            return Code.UNKNOWN_SUBSCRIBER, False
        if deed.bucket is not None:
            code = _bucket(deed, account, -deed.amount, ActionKind.REVERSAL, now_ms)
        elif deed.amount > account.credits_micros - account.posted_micros - account.pending_micros:
            code = Code.CREDIT_LIMIT
        elif deed.kind is ActionKind.TOPUP:
            code = _taken_back(known, account, now_ms)
        else:
            code = Code.SUCCESS
            _moved(deed, account, now_ms, came_in=-deed.amount, kind=ActionKind.REVERSAL)
        if code is Code.SUCCESS:
            known.state, known.settled = "cancelled", deed.amount
        return code, False

    def complete(self, channel: str, action_id: str, amount: int, now_ms: int) -> tuple[Code, bool]:
        """Post a reservation, or some of it."""
        known = self.known.get((channel, action_id))
        if known is None:
            return Code.UNKNOWN_SESSION, False
        if known.deed.kind is not ActionKind.RESERVE or known.state != "held":
            same = known.deed.kind is ActionKind.RESERVE and known.state == "completed"
            same = same and known.settled == amount
            return (Code.SUCCESS, True) if same else (Code.CONFLICT, False)
        if amount > known.deed.amount:
            return Code.LIMIT, False
        return self._settled(known, amount, "completed", now_ms), False

    def _settled(self, known: Known, amount: int, state: str, now_ms: int) -> Code:
        deed, account = known.deed, self.accounts[known.deed.account]
        session = account.sessions[reservation(deed.channel, deed.id)]
        if session.state is not SessionState.OPEN or session.due_ms <= now_ms:
            known.state = "expired"
            return Code.UNKNOWN_SESSION
        session.void()
        session.state = SessionState.CLOSED
        session.services[""].posted_micros = amount
        _moved(deed, account, now_ms, taken=amount)
        known.state, known.settled = state, amount
        return Code.SUCCESS


def _gave(deed: Deed, account: Account, now_ms: int) -> Code:
    _moved(deed, account, now_ms, came_in=deed.amount)
    return Code.SUCCESS


def _taken_back(known: Known, account: Account, now_ms: int) -> Code:
    """Take a top-up back: its money, what is left of its bonus, which ends, and the time it gave."""
    deed = known.deed
    rows: tuple[Opened, ...] = ()
    row = account.rows.get((deed.bonus[0], deed.bonus[2]))
    if row is not None:
        held = account.pending("", 0, row.key)
        kept = min(row.amount, row.used + held)
        known.bonus = row.amount - kept, kept
        row.amount = kept
        if row.until_ms > now_ms:
            row.until_ms = max(now_ms, row.start_ms + 1)
        rows = (_told(row, 0, held),)
    shortened(account, f"{deed.channel}:{deed.id}")
    _moved(deed, account, now_ms, came_in=-deed.amount, kind=ActionKind.REVERSAL, rows=rows)
    return Code.SUCCESS


def _closed(known: Known, account: Account, now_ms: int) -> Code:
    """Refund and terminate; a member has nothing to be refunded. Who was terminated before is refunded what there is."""
    deed, own = known.deed, account.own(known.deed.member)
    gone = Status.TERMINATED in {account.status, own.status}
    left = repaid = 0
    if not deed.member:
        left = max(0, account.credits_micros - account.posted_micros - account.pending_micros)
        repaid = min(account.owed_micros, left)
        left -= repaid
    if gone and not left + repaid:
        return Code.UNKNOWN_SUBSCRIBER
    if deed.amount not in {0, left}:
        return Code.LIMIT
    if repaid:
        account.owed_micros -= repaid
        _moved(deed, account, now_ms, taken=repaid, kind=ActionKind.REPAYMENT, member=deed.member)
    _moved(deed, account, now_ms, taken=left, member=deed.member)
    known.settled = left
    if gone:
        return Code.SUCCESS
    own.status = Status.TERMINATED
    account.version += 1
    account.records.append(
        AccountRecord(
            account.name, account.next(), now_ms, account.version, own.status, account.floor_micros, own.profile,
            deed.member, account.until_ms, *account.money,
        )
    )  # fmt: skip
    return Code.SUCCESS


def _bucket(deed: Deed, account: Account, by: int, kind: ActionKind, now_ms: int) -> Code:
    """Change how much a bucket is of: a member's own, else the account's."""
    assert deed.bucket is not None
    if deed.member and account.own(deed.member).status is Status.TERMINATED:
        return Code.UNKNOWN_SUBSCRIBER
    own = int(bool(deed.member) and deed.bucket in account.own(deed.member).rows)
    row = account.rows_of(deed.member, own).get(deed.bucket)
    if row is None:
        return Code.UNRATED
    pending = account.pending(deed.member, own, row.key)
    if by < 0 and -by > max(0, row.amount - row.used - pending):
        return Code.CREDIT_LIMIT
    row.amount += by
    _moved(deed, account, now_ms, kind=kind, member=deed.member, rows=(_told(row, own, pending),))
    return Code.SUCCESS


def _told(row: Row, own: int, pending: int) -> Opened:
    return Opened(own, row.id, row.unit, row.start_ms, row.until_ms, row.amount, row.used, pending)


def _held(known: Known, account: Account, now_ms: int) -> Code:
    deed = known.deed
    if deed.amount > max(0, account.available_micros):
        return Code.CREDIT_LIMIT
    session = Reserved(account.name, _NOBODYS, due_ms=now_ms + deed.lasts_ms)
    session.services[""] = Service(Unit.MONEY, grant=deed.amount, hold_micros=deed.amount, number=0)
    account.sessions[reservation(deed.channel, deed.id)] = session
    known.state = "held"
    _moved(deed, account, now_ms, held=deed.amount)
    return Code.SUCCESS


def _moved(
    deed: Deed,
    account: Account,
    now_ms: int,
    *,
    came_in: int = 0,
    taken: int = 0,
    held: int = 0,
    kind: ActionKind | None = None,
    member: str = "",
    other: str = "",
    rows: tuple[Opened, ...] = (),
) -> None:
    """Move money, and put it on record."""
    account.credits_micros += came_in
    account.posted_micros += taken
    record = owing_record(account, kind or deed.kind, deed.channel, deed.id, now_ms, came_in, taken)
    record = record._replace(member=member, counterpart=other, held_micros=held, rows=rows)
    account.records.append(record)
