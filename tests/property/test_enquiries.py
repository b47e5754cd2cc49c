"""What an enquiry tells is what the debit then does, whatever the account has: asked of the store alone, no model."""

from typing import Any

from hypothesis import given, settings

from ocs.charging.ask import CHECK_BALANCE, DIRECT_DEBITING, PRICE_ENQUIRY, Ask, Event
from ocs.charging.outcome import Outcome
from ocs.outcomes import Code
from ocs.rating.sources import SourceKind
from ocs.records import Charge
from tests.charged_store import StoreRoom
from tests.property.event_steps import OneTime, ask_of, near_events
from tests.property.pair import Pair
from tests.property.scripts import Opening, event_scripts, play, wallet_openings


async def charged(pair: Pair, ask: Ask, action: int) -> Outcome:
    """Charge an event on the store alone, under a Session-Id that no script has."""
    about = ask._replace(session_id="enquired", number=0, digest=1, event=Event(action))
    return await pair.charged.charge(about)


async def debited(pair: Pair, index: int) -> Charge:
    """The newest record of an account."""
    home = pair.homes[index]
    seen = await pair.charged.look(home.partition, ["x"])
    record = [each for each in seen.records if each.account == home.account.name][-1]
    assert isinstance(record, Charge)
    return record


def paid(record: Charge) -> list[int]:
    """What each service took of money: the account's, and restricted money."""
    return [
        line.amount_micros
        + sum(part.taken for part in record.parts if part.line == place and part.kind == SourceKind.MONEY)
        for place, line in enumerate(record.lines, 1)
    ]


async def compare(room: StoreRoom, opening: Opening, script: list[Any], step: OneTime) -> str:
    """Enquire, then debit; what became of it."""
    pair = await play(room, opening, script)
    index, ask = ask_of(pair, step._replace(action=DIRECT_DEBITING))
    check = await charged(pair, ask, CHECK_BALANCE)
    price = await charged(pair, ask, PRICE_ENQUIRY)
    debit = await charged(pair, ask, DIRECT_DEBITING)
    if debit.event is None:
        assert debit.code == check.code == price.code == Code.UNKNOWN_SUBSCRIBER
        return "unknown"
    assert check.event is not None
    assert price.event is not None
    codes = [each.code for each in debit.event.services]
    assert [each.code for each in check.event.services] == codes
    if {*codes} != {Code.SUCCESS}:
        return "refused"
    record = await debited(pair, index)
    assert (check.code, price.code) == (Code.SUCCESS, Code.SUCCESS)
    assert [each.money_micros for each in price.event.costs] == paid(record)
    assert [each.allowance_units for each in price.event.costs] == [
        each.allowance_units for each in record.lines
    ]
    return "paid" if any(paid(record)) else "free"


@settings(max_examples=150)
@given(wallet_openings, event_scripts(0, 12), near_events)
def test_an_enquiry_tells_what_the_debit_takes(
    room: StoreRoom, opening: Opening, script: list[Any], step: OneTime
) -> None:
    room.run(compare(room, opening, script, step))
