"""Actions: every movement of money that is not a network element's charge, each exactly once by (channel, id).

Laws
1. Claim, act, confirm: each step is idempotent, so that dying between two of them leaves something that the next try, or the sweeper
   (``resume``), finishes. The claim holds all that is needed for it.
2. What a step was refused is remembered with it: whoever tries it again is refused too, so that two who drive one action agree.
3. Money that is not acknowledged may still have moved (StoreFault): ask again with the same id, or look (``find``).
"""

from typing import Protocol

from ocs.balance.asked import (
    KINDS,
    NEWEST,
    NO_LIMITS,
    Action,
    ActionState,
    Asked,
    DayLimits,
    Done,
    Listed,
    Page,
)
from ocs.balance.parts import Parts
from ocs.clock import Clock
from ocs.records import ActionKind

__all__ = [
    "KINDS", "NO_LIMITS", "Action", "ActionKind", "ActionState", "Actions", "Asked", "DayLimits", "Done", "Listed", "Page",
]  # fmt: skip


class Hears(Protocol):
    """Who tells running sessions that something has changed for a subscriber (accounts.py, Accounts.tell)."""

    async def tell(self, partition: int, path: str, *, ended: bool = False) -> None:
        """Tell it; raises nothing that would hide the change."""


class Actions:
    """The actions of one store; ``Accounts.actions`` is one. All methods raise StoreFault: ask again with the same id."""

    __slots__ = ("_clock", "_hears", "_parts")

    def __init__(self, parts: Parts, clock: Clock, hears: Hears) -> None:
        self._parts = parts
        self._clock = clock
        self._hears = hears

    async def do(self, asked: Asked, limits: DayLimits = NO_LIMITS) -> Done:
        """Do an action once.

        SUCCESS; CONFLICT without an action: the id belongs to other content (or, in the action's own ``code``, never). What it fails with is kept
        and told again: LIMIT (beyond ``limits`` or the range of the store), CREDIT_LIMIT (less is available, held or own), UNKNOWN_SUBSCRIBER
        (none, or terminated; of a transfer either side: ``why``), BARRED (who gives, reserves or borrows is barred or at its life's end), EXISTS
        (emergency credit is owed already), UNRATED (no such bucket). Raises ValueError for what cannot be asked at all (asked.py).
        """
        raise NotImplementedError

    async def find(self, channel: str, action_id: str) -> Action | None:
        """Return an action by its id; None: there is none, or it is older than 30 days."""
        raise NotImplementedError

    async def cancel(self, channel: str, action_id: str, reason: str = "") -> Done:
        """Reverse a top-up or a positive adjustment of money or bucket, whole; or void a reservation.

        SUCCESS (again too); CREDIT_LIMIT: less is left (``action.left``), it stays COMPLETED; CONFLICT with the action: its state or kind has
        nothing to cancel; UNKNOWN_SESSION without an action: there is none.
        """
        raise NotImplementedError

    async def complete(self, channel: str, action_id: str, amount: int, reason: str = "") -> Done:
        """Post a reservation, 0 <= amount <= what it holds, and release the rest.

        SUCCESS (the same amount again too); LIMIT: more than is held, it stays HELD; CONFLICT with the action: completed with another amount,
        void, expired, or no reservation; UNKNOWN_SESSION without an action: there is none.
        """
        raise NotImplementedError

    async def of_account(self, partition: int, account: str, page: Page = NEWEST) -> Listed:
        """List the actions that moved money of an account (of a transfer: at both ends), of the last 30 days; a member's are its payer's."""
        raise NotImplementedError

    async def of_channel(self, channel: str, page: Page = NEWEST) -> Listed:
        """List the actions that a channel has claimed in the last 30 days, failed ones and those under way too."""
        raise NotImplementedError

    async def resume(self, channel: str, action_id: str) -> bool:
        """Finish an action whose caller died (the sweeper); whether there was something to do."""
        raise NotImplementedError
