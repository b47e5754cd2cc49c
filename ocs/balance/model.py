"""What the store must do, said a second time: MONEY.md as a program in fractions, slow, plain and without a store.

Laws
1. Nothing of ocs.rating is imported but what a source is, and nothing of ocs.balance but the model's other parts (model_*): a
   second opinion that shares code is no opinion.
2. Prices are exact fractions; what is held is summed, never kept.
3. A property test holds these pages and the Lua library equal, step by step, on a real store.
"""

from collections.abc import Iterable

from ocs.balance.model_books import Account, Lives, Member, Session, Terms
from ocs.balance.model_prices import Offer, Versions
from ocs.balance.model_request import Request
from ocs.balance.model_rows import Row
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE, Ask
from ocs.charging.outcome import Outcome
from ocs.limits import NUMBERS_WINDOW, SESSIONS_PER_SUBSCRIBER_MAX
from ocs.outcomes import Code, Note
from ocs.records import Account as AccountRecord
from ocs.records import ActionKind, Expire, Moved, Opened, Rows, SessionState, Status, Topup


class Model:
    """The accounts of one partition, by name; the caller moves the time. Top-up ids are claimed over all partitions."""

    def __init__(self, terms: Terms, claims: dict[tuple[str, str], tuple[str, int]]) -> None:
        self.terms = terms
        self.accounts: dict[str, Account] = {}
        self._claims = claims
        self.versions = Versions()

    def open(self, account: Account, now_ms: int, credit_micros: int = 0) -> None:
        """Open an account, with the credit that it begins with, which is a top-up of its own."""
        self.accounts[account.name] = account
        self._amended(account, account, now_ms)
        if credit_micros:
            credited(account, "opening", account.name, credit_micros, now_ms)

    def amend(
        self,
        account: Account,
        now_ms: int,
        *,
        status: Status | None = None,
        profile: str = "",
        offer: Offer | None = None,
        member: str = "",
        floor_micros: int | None = None,
        barred: str | None = None,
    ) -> Code:
        """Change status, or profile and tariff, of an account or of a member, or the account's floor; who is terminated, or whose payer
        is, stays so.

        A higher floor must leave something available, or nothing: never less.
        """
        own = account.own(member)
        if Status.TERMINATED in {account.status, own.status}:  # members end with who pays
            return Code.UNKNOWN_SUBSCRIBER
        if floor_micros is not None:
            raised = floor_micros - account.floor_micros
            if raised > 0 and account.available_micros < raised:
                return Code.CREDIT_LIMIT
            account.floor_micros = floor_micros
        own.status = status or own.status
        own.profile = profile or own.profile
        own.offer = offer or own.offer
        own.barred = own.barred if barred is None else barred
        account.version += 1
        self._amended(account, own, now_ms)
        return Code.SUCCESS

    def join(self, account: Account, member: Member, now_ms: int) -> Code:
        """Open the own book of a member of an account."""
        if account.status is Status.TERMINATED:
            return Code.UNKNOWN_SUBSCRIBER
        if member.name in account.members:
            return Code.EXISTS
        account.members[member.name] = member
        self._amended(account, member, now_ms)
        return Code.SUCCESS

    @staticmethod
    def _amended(account: Account, own: Account | Member, now_ms: int) -> None:
        member = own.name if isinstance(own, Member) else ""
        record = AccountRecord(
            account.name, account.next(), now_ms, account.version, own.status, account.floor_micros, own.profile,
            member, account.until_ms, *account.money,
        )  # fmt: skip
        account.records.append(record)

    @staticmethod
    def open_rows(
        account: Account,
        rows: Iterable[tuple[int, int, int, int, int]],
        price_micros: int,
        cause: str,
        now_ms: int,
        *,
        member: str = "",
    ) -> Code:
        """Open rows, each (id, unit, start_ms, until_ms, amount), for a price; where all are there already, nothing moves."""
        own = account.own(member)
        if Status.TERMINATED in {account.status, own.status}:
            return Code.UNKNOWN_SUBSCRIBER
        new = [row for row in (Row(*each) for each in rows) if row.key not in own.rows]
        if not new:
            return Code.SUCCESS
        if price_micros > max(0, account.available_micros):
            return Code.CREDIT_LIMIT
        account.posted_micros += price_micros
        if member:
            account.members[member].posted_micros += price_micros
        own.rows |= {row.key: row for row in new}
        at_home = int(bool(member))
        told = tuple(
            Opened(at_home, row.id, row.unit, row.start_ms, row.until_ms, row.amount, 0, 0) for row in new
        )
        account.records.append(
            Rows(
                account.name, account.next(), now_ms, cause, price_micros, "", account.version, member,
                *account.own_money(member), *account.money, told,
            )
        )  # fmt: skip
        return Code.SUCCESS

    def credit(
        self,
        account: Account,
        channel: str,
        topup_id: str,
        amount_micros: int,
        now_ms: int,
        extend_ms: int = 0,
    ) -> tuple[Code, bool]:
        """Add money once per (channel, id), and time where the account's life has an end: the code, and whether it was a repetition."""
        name, content = (channel, topup_id), (account.name, amount_micros)
        if name in self._claims:
            return (Code.SUCCESS, True) if self._claims[name] == content else (Code.CONFLICT, False)
        if account.status is Status.TERMINATED:
            return Code.UNKNOWN_SUBSCRIBER, False
        self._claims[name] = content
        lengthened(account, f"{channel}:{topup_id}", now_ms, extend_ms)
        credited(account, channel, topup_id, amount_micros, now_ms)
        return Code.SUCCESS, False

    def expire(
        self, account: Account, session_id: str, now_ms: int, *, forced: bool = False, due_ms: int = 0
    ) -> Code:
        """End a session whose time has come (or, forced, at an operator's word), with ``due_ms`` only if it was not heard of since."""
        session = account.sessions.get(session_id)
        if session is None or session.state is not SessionState.OPEN:
            return Code.UNKNOWN_SESSION
        if due_ms and session.due_ms != due_ms:
            return Code.STALE
        if not forced and session.due_ms > now_ms:
            return Code.STALE
        session.state = SessionState.EXPIRED
        session.due_ms = now_ms + self.terms.tombstone_ms
        held = session.void()
        account.records.append(
            Expire(
                account.name,
                account.next(),
                now_ms,
                session_id,
                held,
                int(forced),
                session.member,
                *account.own_money(session.member),
                *account.money,
            )
        )
        return Code.SUCCESS

    def charge(self, account: Account, ask: Ask, now_ms: int, member: str = "") -> Outcome:
        """Charge one credit-control request of an account, or of a member of it."""
        session, own = account.sessions.get(ask.session_id), account.own(member)
        if ask.kind == INITIAL and ask.currency not in {None, 0, self.terms.currency}:
            return _refusal(Code.UNRATED)
        if session is None:
            owner = next((each for each in self.accounts.values() if ask.session_id in each.sessions), None)
            if owner is not None:
                return _refusal(Code.CONFLICT)
            if ask.kind != INITIAL:
                return _refusal(Code.UNKNOWN_SESSION)
        elif session.member != member:
            return _refusal(Code.CONFLICT)
        else:
            known = self._recall(session, ask)
            if known is not None:
                return known
        if ask.kind == INITIAL:
            if Status.TERMINATED in {account.status, own.status}:
                return _refusal(Code.UNKNOWN_SUBSCRIBER)
            session = Session(account.name, self.versions.newest(own.offer, now_ms), member)
            request = Request(self.terms, account, session, ask, now_ms, self.versions)
            if account.asking(member) >= SESSIONS_PER_SUBSCRIBER_MAX and not request.asks_for_emergency:
                return _refusal(Code.SESSIONS_FULL)
            account.sessions[ask.session_id] = session
        assert session is not None, "only an Initial goes on without a session"
        if session.state is SessionState.REFUSED:
            return _refusal(Code.SUCCESS if ask.kind == TERMINATION else Code.UNKNOWN_SESSION)
        return Request(self.terms, account, session, ask, now_ms, self.versions).run()

    @staticmethod
    def _recall(session: Session, ask: Ask) -> Outcome | None:
        """Return what is known of a request already; None when it is new."""
        for kept in session.remembered:
            if (kept.kind, kept.number) == (ask.kind, ask.number):
                if kept.digest != ask.digest:
                    return _refusal(Code.CONFLICT)
                return kept.outcome._replace(notes=Note.REPLAY)
        if ask.kind == INITIAL:
            return _refusal(Code.CONFLICT)
        if ask.kind == UPDATE and session.numbers:
            below = max(session.numbers) - NUMBERS_WINDOW
            if ask.number in session.numbers or ask.number <= below:
                return _refusal(Code.SEEN)
        if ask.kind == TERMINATION and session.state is SessionState.CLOSED:
            return _refusal(Code.UNKNOWN_SESSION)
        return None


def lengthened(account: Account, name: str, now_ms: int, extend_ms: int) -> None:
    """Let a life that has an end last so long from now on at least, by a top-up's name."""
    if account.until_ms <= 0 or extend_ms <= 0:
        return
    if account.lives.ends_ms != account.until_ms:  # another has set it
        account.lives = Lives(account.until_ms)
    account.lives.by_name[name] = now_ms + extend_ms
    account.until_ms = account.lives.again()


def shortened(account: Account, name: str) -> None:
    """Let a life end where it would without a top-up, unless another has set its end since."""
    if account.lives.ends_ms == account.until_ms and account.lives.by_name.pop(name, 0):
        account.until_ms = account.lives.again()


def credited(account: Account, channel: str, topup_id: str, amount_micros: int, now_ms: int) -> None:
    """Add money, and repay of it what is owed."""
    account.credits_micros += amount_micros
    account.records.append(
        Topup(
            account.name,
            account.next(),
            now_ms,
            channel,
            topup_id,
            amount_micros,
            account.until_ms,
            *account.money,
        )
    )
    repaid = min(account.owed_micros, amount_micros)
    if repaid:
        account.owed_micros -= repaid
        account.posted_micros += repaid
        account.records.append(
            owing_record(account, ActionKind.REPAYMENT, channel, topup_id, now_ms, 0, repaid)
        )


def owing_record(
    account: Account, kind: ActionKind, channel: str, action_id: str, now_ms: int, came_in: int, taken: int
) -> Moved:
    """Make the record of an action that has moved an account's money."""
    return Moved(
        account.name, account.next(), now_ms, kind, channel, action_id, "", "", "", came_in, taken, 0, account.owed_micros,
        account.until_ms, *account.money,
    )  # fmt: skip


def _refusal(code: Code) -> Outcome:
    return Outcome(code, Note(0), ())
