"""Carries bars and their ends from the outbox to the charging server (ocs/balance/bars.py)."""

import json
from typing import NamedTuple

from ocs.balance.accounts import Accounts
from ocs.balance.bars import set_bar
from ocs.outcomes import Code
from postpaid_bridge.jobs.outbox import NoAccount, Refused
from postpaid_bridge.sql.outbox import Row

__all__ = ["Barring"]


class _Command(NamedTuple):
    subscriber: str
    scope: str
    epoch: int


class Barring:
    """Carries out rows of kind "bar" and "unbar"; an older command than the last is done with: a newer one was followed."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def __call__(self, row: Row, partition: int) -> None:
        """Bar, or lift. Raises Refused, StoreFault."""
        command = _Command(**json.loads(row.content))
        done = await set_bar(self._accounts, partition, command.subscriber, command.scope, command.epoch)
        if done.code == Code.UNKNOWN_SUBSCRIBER:
            if done.account is not None:
                return  # it has ended: nothing is left to bar
            raise NoAccount
        if done.code not in {Code.SUCCESS, Code.EXISTS}:
            raise Refused(f"the charging server says {done.code.name.lower()}")
