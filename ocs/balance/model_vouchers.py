"""Vouchers as VOUCHERS.md has them, executable: who gets one, who does not, and why. A second opinion, for tests."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ocs.balance.voucher_batches import BatchState, Counts, VoucherState
from ocs.balance.vouchers import Why

_BY_BATCH: Final = {
    BatchState.CREATED: Why.UNKNOWN,
    BatchState.CANCELLED: Why.CANCELLED,
    BatchState.SUSPENDED: Why.SUSPENDED,
}


class Place(NamedTuple):
    """An account: its currency, and whether it can hold another voucher's worth."""

    name: str
    currency: str
    is_full: bool


class Asker(NamedTuple):
    """A redemption as it is asked for; no id: the voucher is the identity."""

    account: str
    channel: str
    id: str


@dataclass(slots=True)
class Ticket:
    """One voucher."""

    state: VoucherState = VoucherState.FREE
    frees: int = 0
    holder: Asker | None = None


@dataclass(slots=True)
class VoucherModel:
    """One batch, its vouchers by number from 1, and the accounts that redeem them."""

    serials: dict[int, str]
    places: dict[str, Place]
    currency: str
    state: BatchState = BatchState.CREATED
    tickets: dict[int, Ticket] = field(default_factory=dict)
    ended: dict[tuple[str, str], tuple[tuple[int, str], Why]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with free vouchers."""
        self.tickets = {number: Ticket() for number in self.serials}

    def claim(self, number: int, asker: Asker) -> Why:
        """Take a voucher for a redemption, or find that it has it; NONE: it has."""
        ticket = self.tickets.get(number)
        if ticket is None:
            return Why.UNKNOWN
        is_own, asker = not asker.id, self._named(number, ticket, asker)
        if ticket.holder is not None:
            held = ticket.holder._replace(channel=asker.channel) if is_own else ticket.holder
            if held == asker:
                return Why.NONE
            return Why.USED if ticket.state is VoucherState.USED else Why.UNDER_WAY
        if self.state in {BatchState.CREATED, BatchState.CANCELLED}:
            return _BY_BATCH[self.state]
        if ticket.state is VoucherState.BLOCKED:
            return Why.BLOCKED
        if self.state is not BatchState.ACTIVE:
            return _BY_BATCH[self.state]
        if self.places[asker.account].currency != self.currency:
            return Why.CURRENCY
        ticket.state, ticket.holder = VoucherState.CLAIMED, asker
        return Why.NONE

    def _named(self, number: int, ticket: Ticket, asker: Asker) -> Asker:
        if asker.id:
            return asker
        again = f"-{ticket.frees}" if ticket.frees else ""
        return asker._replace(id=f"voucher-{self.serials[number]}{again}")

    def bring_in(self, number: int) -> Why:
        """Top up for who has a voucher, once; or for ever not."""
        asker = self.tickets[number].holder
        assert asker is not None
        content, name = (number, asker.account), (asker.channel, asker.id)
        known = self.ended.setdefault(
            name, (content, Why.LIMIT if self.places[asker.account].is_full else Why.NONE)
        )
        return known[1] if known[0] == content else Why.CONFLICT

    def end(self, number: int, why: Why) -> None:
        """Confirm what came in; set free what never will."""
        ticket = self.tickets[number]
        if why is Why.NONE:
            ticket.state = VoucherState.USED
        elif ticket.state is VoucherState.CLAIMED:
            self.tickets[number] = Ticket(frees=ticket.frees + 1)

    def redeem(self, number: int, asker: Asker) -> Why:
        """Redeem, undisturbed."""
        why = self.claim(number, asker)
        if why is Why.NONE and self.tickets[number].state is VoucherState.CLAIMED:
            why = self.bring_in(number)
            self.end(number, why)
        return why

    def turn(self, number: int, *, blocked: bool) -> bool:
        """Block a voucher or let it be free; False: somebody has it."""
        ticket = self.tickets[number]
        if ticket.holder is not None:
            return False
        ticket.state = VoucherState.BLOCKED if blocked else VoucherState.FREE
        return True

    def finish_left(self) -> None:
        """Finish every redemption that was left."""
        for number, ticket in self.tickets.items():
            if ticket.state is VoucherState.CLAIMED:
                self.end(number, self.bring_in(number))

    @property
    def counts(self) -> Counts:
        """Count vouchers by state."""
        states = [ticket.state for ticket in self.tickets.values()]
        return Counts(*(states.count(each) for each in VoucherState))

    def came_to(self, account: str) -> int:
        """Count the vouchers whose money came in to an account."""
        return sum(content[1] == account for content, why in self.ended.values() if why is Why.NONE)
