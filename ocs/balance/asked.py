"""Actions of channels and operators: what is asked, what became of it, and how actions are listed (actions.py does them).

Words
1. An action is known by (channel, id) over all accounts, for TOPUP_KEPT_MS (30 days). The same content gets the same answer, other content a conflict.
2. Amounts are micro-units of the account's currency, or units of a bucket where one is named; times are milliseconds since 1970 (UTC) of
   the store's calendar.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from ocs.outcomes import Code
from ocs.records import ActionKind

KINDS = (
    ActionKind.TOPUP, ActionKind.ADJUST, ActionKind.TRANSFER, ActionKind.RESERVE, ActionKind.REFUND, ActionKind.EMERGENCY,
)  # fmt: skip
"""The kinds that can be asked and are listed; the others stand in records alone."""


class ActionState(IntEnum):
    """State of an action. COMPLETED, FAILED, CANCELLED and EXPIRED are ends, but that a completed one may be cancelled (reversal)."""

    CREATED = 1  # claimed, under way: the sweeper finishes it, should its caller have died
    COMPLETED = 2
    FAILED = 3  # nothing is moved; `code` and `why` say why
    CANCELLED = 4  # a top-up or an adjustment was reversed, a reservation void
    HELD = 5  # a reservation that stands
    EXPIRED = 6  # a reservation whose time came first


class Asked(NamedTuple):
    """One action as it is asked.

    ``account`` is Profile.path, of a member of a shared account too: the money is the payer's, a bucket may be its own. ``amount`` is above 0, but
    for ADJUST (signed, not 0) and REFUND (0: all that is there). ``bucket`` is "" for money, else the bucket's id as `ocs balance`
    shows it (ADJUST). ``content`` is what else the client said, any canonical text of at most ACTION_CONTENT_CHARS_MAX: part of "the same content", kept
    for display. ``receiver`` and ``receiver_partition`` are the place of a TRANSFER's receiver, ``fee_micros`` its fee (by default the
    giver's, beside the amount; the receiver's is taken of the amount), or what is owed for an EMERGENCY credit beside its amount.
    ``until_ms`` is when a RESERVE ends; 0: ``lasts_ms`` after it was first asked. ``mark`` says what brought a TOPUP (a voucher's serial number);
    it stands in the listing. ``is_due`` says of an ADJUST of money that it stands whatever is available, also below the floor, and whether or not the
    account has ended: what a bill or a payment moves on a postpaid account (postpaid_bridge). ``reason`` is for people, 200 characters at most, and stands in the record.
    """

    kind: ActionKind
    channel: str
    id: str
    partition: int
    account: str
    amount: int
    bucket: str = ""
    content: str = ""
    reason: str = ""
    receiver_partition: int = -1
    receiver: str = ""
    fee_micros: int = 0
    fee_by_receiver: bool = False
    until_ms: int = 0
    lasts_ms: int = 0
    mark: str = ""
    is_due: bool = False


class DayLimits(NamedTuple):
    """What a channel may do, and what may be done for a subscriber: per action, and of actions of this kind on one day together, by amount and by number; 0: no limit.

    The first claim counts, an action that fails gives it back; exact under races. A repetition counts never again. The amount is
    without sign. ``day`` names the day, "" is that of UTC: a repetition on another day stays on the first. ``account_amount`` and ``account_number``
    are the same of the account (a member's is its payer's), whatever channels they come by.
    """

    each: int = 0
    amount: int = 0
    number: int = 0
    day: str = ""
    account_amount: int = 0
    account_number: int = 0

    @property
    def of_a_day(self) -> bool:
        """Tell whether a day is counted."""
        return any((self.amount, self.number, self.account_amount, self.account_number))


NO_LIMITS = DayLimits()


class Action(NamedTuple):
    """An action as it stands.

    ``code`` is SUCCESS unless it FAILED (then nothing of it is moved), ``why`` a few words for that. ``balance`` and ``available`` are those
    of the account's money after it, of a bucket's action what remains of it and what of that is not held. ``settled`` is what
    was posted of a reservation, reversed of a top-up or adjustment, refunded, or received by a transfer's receiver (less a fee of its own);
    ``owed_micros`` what is owed for emergency credit after it. ``until_ms`` is when a reservation ends. ``left`` is
    what a refused reversal could have had at most. ``done_ms`` 0: not yet. Of a reversed top-up ``bonus_back`` is what was taken back of its bonus,
    ``bonus_used`` what of it was used before, or is held by sessions.
    """

    asked: Asked
    state: ActionState
    code: Code
    created_ms: int
    done_ms: int = 0
    balance: int = 0
    available: int = 0
    settled: int = 0
    owed_micros: int = 0
    until_ms: int = 0
    left: int = 0
    why: str = ""
    bonus_back: int = 0
    bonus_used: int = 0


class Done(NamedTuple):
    """Answer to an action: SUCCESS, CONFLICT (see the method), or the code that it failed with; ``replayed``: it was done before.

    ``action`` is None only where there is none: nothing of that id, or one of other content.
    """

    code: Code
    replayed: bool = False
    action: Action | None = None


class Page(NamedTuple):
    """Which actions to list: of these kinds (none named: all), created in [since_ms, until_ms) (0: open), newest first, so many from an offset on."""

    kinds: Sequence[ActionKind] = ()
    since_ms: int = 0
    until_ms: int = 0
    offset: int = 0
    limit: int = 100


NEWEST = Page()


class Listed(NamedTuple):
    """A page of actions, and how many there are in all."""

    actions: tuple[Action, ...]
    total: int
