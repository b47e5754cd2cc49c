"""Emergency credit: a subscriber whose money is nearly gone borrows a fixed amount, and the next top-up repays it with a fee (actions.py).

Laws
1. What is lent, what it costs and below which available balance it may be asked for is the operator's, never the caller's.
2. Once by (channel, id): a repetition is answered as at first, whatever the settings say by then.
"""

from typing import NamedTuple

from ocs.balance.accounts import Account
from ocs.balance.actions import Action, ActionKind, Actions, Asked
from ocs.outcomes import Code


class LendingTerms(NamedTuple):
    """What is lent (0: nothing), what is owed besides, and below what is available to the account; micro-units."""

    amount_micros: int = 0
    fee_micros: int = 0
    below_micros: int = 0


class Lent(NamedTuple):
    """What became of it: SUCCESS, or why not.

    UNRATED: nothing is lent here; LIMIT: a member has no money; CREDIT_LIMIT: as much as ``below`` or more is available; EXISTS: something is owed
    already; BARRED, UNKNOWN_SUBSCRIBER (terminated), CONFLICT as of every action.
    """

    code: Code
    replayed: bool = False
    action: Action | None = None


async def lend(actions: Actions, terms: LendingTerms, account: Account, channel: str, name: str) -> Lent:
    """Lend to an account once by (channel, name). Raises StoreFault; the same call again goes on."""
    profile = account.profile
    if profile.member:
        return Lent(Code.LIMIT)
    known = await actions.find(channel, name)
    if known is not None:
        if known.asked.kind is not ActionKind.EMERGENCY or known.asked.account != profile.path:
            return Lent(Code.CONFLICT)
        asked = known.asked
    elif not terms.amount_micros:
        return Lent(Code.UNRATED)
    elif (
        not account.ended and not account.owed_micros and account.book.available_micros >= terms.below_micros
    ):
        return Lent(Code.CREDIT_LIMIT)
    else:
        asked = Asked(
            ActionKind.EMERGENCY, channel, name, profile.partition, profile.path, terms.amount_micros,
            fee_micros=terms.fee_micros,
        )  # fmt: skip
    done = await actions.do(asked)
    return Lent(done.code, done.replayed, done.action)
