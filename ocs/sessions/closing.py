"""A subscriber ends with a refund: what its account has left is paid out, once by (channel, id), and the subscriber is terminated.

Laws
1. Nothing is held when the account is closed: it is barred first, so that no session and no reservation begins any more, then what is
   open is ended. A reservation of a system outside is that one's money: it is not ended but refuses the end.
2. Dying in between leaves an account that is barred, or an action that the sweeper finishes; the same again goes on.
3. What a session's client reports after its end is posted, as ever: it may leave the closed account below zero.
4. Credit of who was terminated before without a refund is the customer's still: it is refunded in the same way, whenever it is asked for.
"""

from typing import Final, NamedTuple

from ocs.balance.accounts import Account, Accounts
from ocs.balance.actions import Action, ActionKind, Asked
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.outcomes import Code
from ocs.records import Status
from ocs.sessions.described import application_of
from ocs.sessions.ending import end_sessions
from ocs.sessions.reauthorise import Reauthorisation
from ocs.sessions.search import sessions_of
from ocs.sessions.sweep import Sweeper

_TRIES: Final = 4


class Closed(NamedTuple):
    """What an end with a refund came to.

    SUCCESS (``action.settled`` is what was refunded, ``action.owed_micros`` what is owed still); CONFLICT: the id belongs to something else; BARRED:
    a reservation stands; LIMIT: a member has no money; UNKNOWN_SUBSCRIBER: it had ended before, and has nothing left. ``sessions``: how many were ended.
    """

    code: Code
    replayed: bool = False
    action: Action | None = None
    sessions: int = 0


class Closing:
    """Ends subscribers of one store with a refund."""

    __slots__ = ("_accounts", "_parts", "_reauthorisation", "_sweeper")

    def __init__(
        self, parts: Parts, accounts: Accounts, sweeper: Sweeper, reauthorisation: Reauthorisation
    ) -> None:
        self._parts = parts
        self._accounts = accounts
        self._sweeper = sweeper
        self._reauthorisation = reauthorisation

    async def close(self, account: Account, channel: str, name: str, reason: str = "") -> Closed:
        """End a subscriber that pays for itself, or refund what one that has ended has left, once by (channel, name). Raises StoreFault; the same call again goes on."""
        profile = account.profile
        if profile.member:
            return Closed(Code.LIMIT)
        actions, ended = self._accounts.actions, 0
        if await actions.find(channel, name) is None:
            if account.ended and not account.book.balance_micros > 0:
                return Closed(Code.UNKNOWN_SUBSCRIBER)
            emptied = await self._emptied(account)
            if emptied is None:
                return Closed(Code.BARRED)
            ended = emptied
        asked = Asked(ActionKind.REFUND, channel, name, profile.partition, profile.path, 0, reason=reason)
        done = await actions.do(asked)
        return Closed(done.code, done.replayed, done.action, ended)

    async def _emptied(self, account: Account) -> int | None:
        """End what is open of an account; how many sessions that were, None where a reservation stands."""
        if await self._reserved(account):
            return None  # before anything is changed
        was_active = account.book.status is Status.ACTIVE
        if was_active:
            await self._set(account, Status.BARRED)
        profile, ended = account.profile, 0
        for _ in range(_TRIES):
            if await self._reserved(account):  # it came before the bar
                if was_active:
                    await self._set(account, Status.ACTIVE)
                return None
            found = await sessions_of(self._parts, profile.partition, profile.path)
            if not found:
                return ended
            ended += len(await end_sessions(self._sweeper, self._reauthorisation, found))
        raise StoreFault("sessions of the account do not end; ask again with the same id")

    async def _reserved(self, account: Account) -> bool:
        profile = account.profile
        found = await sessions_of(self._parts, profile.partition, profile.path)
        return any(application_of(each) == "reservation" for each in found)

    async def _set(self, account: Account, status: Status) -> None:
        code = await self._accounts.amend(account, status=status, told=False)
        if code not in {Code.SUCCESS, Code.UNKNOWN_SUBSCRIBER}:
            raise StoreFault(f"the store refused for now: {code.name}; ask again with the same id")
