"""Bars of a creditor: what dunning bars a subscriber for, and lifts again (charging/barring.py says what a bar refuses).

Laws
1. A command has an epoch that grows for each subscriber. One that is not above the last that was followed is old and changes nothing, so
   that commands may come late, twice or out of order.
2. The account's state, which an operator bars, is not touched: each lifts only its own bar.
3. Profile and version are written by one call; running sessions meet it at their next request, and are asked to come at once (RAR).
"""

from typing import NamedTuple

from ocs.balance.accounts import Account, Accounts
from ocs.balance.link import StoreFault
from ocs.charging.barring import SCOPES
from ocs.outcomes import Code

_TRIES = 8
EPOCH_MAX = 2**53 - 1


class BarAnswer(NamedTuple):
    """SUCCESS: it is so now; EXISTS: a command of this epoch or a later one was followed before, nothing has changed; LIMIT: a word or an epoch
    that there is not; UNKNOWN_SUBSCRIBER: nobody of this name, or one that has ended. ``account`` is as it is then (None: there is none).
    """

    code: Code
    account: Account | None


async def set_bar(accounts: Accounts, partition: int, path: str, scope: str, epoch: int) -> BarAnswer:
    """Bar a subscriber (its path) for "outgoing" or "all", or for nothing (""), under an epoch. Raises StoreFault: ask again."""
    if scope not in SCOPES or type(epoch) is not int or not 0 < epoch <= EPOCH_MAX:
        return BarAnswer(Code.LIMIT, None)
    for _ in range(_TRIES):
        account = await accounts.read(partition, path)
        if account is None or account.ended:
            return BarAnswer(Code.UNKNOWN_SUBSCRIBER, account)
        profile = account.profile
        if epoch <= profile.bar_epoch:
            if epoch == profile.bar_epoch:  # whoever sent it may have died before it was told
                await accounts.tell(partition, path)
            return BarAnswer(Code.EXISTS, account)
        after = profile._replace(barred=scope, bar_epoch=epoch)
        code = await accounts.amend(account, profile=after, as_read=True)
        if code == Code.SUCCESS:
            return BarAnswer(code, await accounts.read(partition, path))
        if code == Code.UNKNOWN_SUBSCRIBER:
            return BarAnswer(code, account)
        if code != Code.STALE:
            raise StoreFault(f"the store refused for now: {code.name}; try again")
    raise StoreFault("the account changes faster than it can be read; try again")
