"""A channel that asks for actions on the account of a Network, and looks at what it has done; for tests."""

from typing import Any

from ocs.balance.accounts import Account
from ocs.balance.actions import Action, Actions, Asked, DayLimits, Done, Page
from ocs.balance.audit import audit
from ocs.balance.entries import entries
from ocs.outcomes import Code
from ocs.rating.openings import OpenedRow
from ocs.records import ActionKind as Kind
from ocs.records import Moved, Status
from tests.unit.balance.books import Network

FUNDS = 1_000_000
"""What the account of a Network begins with."""


class Till:
    """A channel that asks, and looks at what it has done."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.actions: Actions = net.charged.accounts.actions
        self.other = net.run(net.charged.subscriber("491700000099", "", "flat-data", credit_micros=500))

    def asked(self, kind: Kind, amount: int, name: str = "one", **more: Any) -> Asked:
        where = self.net.account.profile
        return Asked(kind, "shop", name, where.partition, where.path, amount, **more)

    def do(
        self, kind: Kind, amount: int, name: str = "one", *, limits: DayLimits | None = None, **more: Any
    ) -> Done:
        self.net.charged.clock.keep_up()
        if kind is Kind.TRANSFER and "receiver" not in more:
            more |= {"receiver": self.other.profile.path, "receiver_partition": self.other.profile.partition}
        if kind is Kind.RESERVE and not {"until_ms", "lasts_ms"} & more.keys():
            more |= {"lasts_ms": 60_000}
        done: Done = self.net.run(
            self.actions.do(self.asked(kind, amount, name, **more), limits or DayLimits())
        )
        return done

    def look(self, account: Account | None = None) -> Account:
        where = (account or self.net.account).profile
        found: Account | None = self.net.run(self.net.charged.accounts.read(where.partition, where.path))
        assert found is not None
        return found

    @property
    def balance(self) -> int:
        return self.look().book.balance_micros

    @property
    def available(self) -> int:
        return self.look().book.available_micros

    @property
    def received(self) -> int:
        return self.look(self.other).book.balance_micros

    def find(self, name: str = "one", channel: str = "shop") -> Action:
        found: Action | None = self.net.run(self.actions.find(channel, name))
        assert found is not None
        return found

    def cancel(self, name: str = "one", channel: str = "shop") -> Done:
        self.net.charged.clock.keep_up()
        done: Done = self.net.run(self.actions.cancel(channel, name, "by mistake"))
        return done

    def complete(self, amount: int, name: str = "one") -> Done:
        self.net.charged.clock.keep_up()
        done: Done = self.net.run(self.actions.complete("shop", name, amount))
        return done

    def amend(self, account: Account, status: Status) -> None:
        assert self.net.run(self.net.charged.accounts.amend(account, status=status)) is Code.SUCCESS

    def records(self) -> list[Moved]:
        found = []
        for keys in self.net.charged.parts.keys:
            rows = self.net.run(self.net.charged.store.execute(keys.slot, "XRANGE", keys.stream, "-", "+"))
            found += [each.record() for each in entries(rows)]
        return [each for each in found if isinstance(each, Moved)]

    def faults(self) -> list[Any]:
        faults: list[Any] = self.net.run(audit(self.net.charged.parts)).faults
        return faults


def bucket_of_gift(till: Till, amount: int = 50) -> str:
    account = till.look()
    row = OpenedRow(5, 1, 0, 2**41, amount)
    assert till.net.run(till.net.charged.accounts.open_rows(account, [row], 0, "gift")).code is Code.SUCCESS
    return "5-0"


def listed(till: Till, page: Page, *, channel: bool) -> tuple[list[str], int]:
    where = till.net.account.profile
    work = (
        till.actions.of_channel("shop", page)
        if channel
        else till.actions.of_account(where.partition, where.path, page)
    )
    found = till.net.run(work)
    return [each.asked.id for each in found.actions], found.total
