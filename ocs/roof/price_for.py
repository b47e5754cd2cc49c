"""What something would cost a subscriber now: the price enquiry of the network (RFC 8506 section 6.1), asked by hand."""

import asyncio
from typing import Any

from ocs.balance.book import Stopwatch
from ocs.charging.ask import EVENT, PRICE_ENQUIRY, Ask, AskedService, Event, Units
from ocs.charging.information import TERMINATING, rat_type
from ocs.charging.outcome import Outcome
from ocs.clock import SystemClock
from ocs.money import format_amount
from ocs.names import SubscriberId, service_key
from ocs.outcomes import RESULT_CODES, Code
from ocs.roof import say
from ocs.roof.arguments import read_msisdn
from ocs.roof.build import Keepers, book_on, known_tariffs, run
from ocs.roof.ends import Ended, Exit
from ocs.roof.offers import catalogue_of, equip, holdings_on
from ocs.roof.place import Place
from ocs.roof.price import Whither, read_whither
from ocs.units import UNITS_MAX, Unit

_WHY = {
    Code.UNKNOWN_SUBSCRIBER: (Exit.NOT_FOUND, "no subscriber has this number"),
    Code.UNRATED: (
        Exit.NOT_FOUND,
        "the subscriber's tariff has no rate for this; a voice rate may need --to",
    ),
    Code.BARRED: (
        Exit.FOUND_WRONG,
        "the subscriber is barred, or the balance at its end: nothing is granted",
    ),
    Code.CREDIT_LIMIT: (
        Exit.FOUND_WRONG,
        "not all of it would be granted: a cap disconnects before, or an allowance that nothing follows ends",
    ),
}


def price_for(
    place: Place, msisdn: str, service: str, used: int | None, whither: Whither, *, as_json: bool
) -> None:
    """Price units of a service for a subscriber, on its account as it stands; nothing moves."""
    if whither.at is not None or whither.until is not None:
        raise Ended(
            Exit.USAGE,
            "--at, --until: a subscriber's price is that of now; leave --msisdn out for another time",
        )
    if used is not None and not 0 < used <= UNITS_MAX:
        raise Ended(Exit.USAGE, f"--used: write a number from 1 to {UNITS_MAX}")
    identity = read_msisdn(msisdn)
    ask = _ask(identity, service, used, whither)

    async def work(keepers: Keepers) -> tuple[Outcome, str]:
        tariffs = await known_tariffs(keepers)
        holdings = holdings_on(keepers, tariffs, catalogue_of(keepers.settings))
        found = await keepers.accounts.find(identity)
        book = book_on(keepers.settings, keepers, tariffs, Stopwatch(lambda: 0, lambda _micros: None))
        equip(book, holdings)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        book.charge(ask, future.set_result)
        outcome = await future
        tariff = tariffs.newest(found.profile.tariff, SystemClock().now_ms()) if found is not None else None
        return outcome, tariff.key if tariff is not None else ""

    outcome, tariff = run(place, work)
    if outcome.code != Code.SUCCESS:
        code, why = _WHY.get(outcome.code, (Exit.STORE_UNAVAILABLE, f"answered {RESULT_CODES[outcome.code]}"))
        raise Ended(code, f"{identity.value}: {why}")
    told = _described(outcome, identity.value, service, tariff)
    if as_json:
        say.as_json(told)
    else:
        columns = (("what", False), (told["currency"], True))
        say.table(columns, [(each["text"], each["amount"]) for each in told["lines"]])


def _ask(identity: SubscriberId, service: str, used: int | None, whither: Whither) -> Ask:
    """Write what a network element would ask."""
    read_whither(whither, service)
    call: dict[str, Any] = {} if whither.to is None else {"Called-Party-Address": whither.to}
    if whither.incoming:
        call["Role-Of-Node"] = TERMINATING
    bearer: dict[str, Any] = {"3GPP-SGSN-MCC-MNC": whither.roaming, "Called-Station-Id": whither.apn}
    if whither.access is not None:
        bearer["3GPP-RAT-Type"] = rat_type(whither.access)
    information = {
        "IMS-Information": call,
        "PS-Information": {name: value for name, value in bearer.items() if value is not None},
    }
    wanted = Units() if used is None else Units(used, used, used, used)  # the tariff's own kind counts
    key = service_key(whither.rating_group, whither.service_identifier)
    asked = AskedService(key, whither.rating_group, whither.service_identifier, None, wanted)
    told = information if call or information["PS-Information"] else None
    return Ask(
        EVENT, "", 0, service, "", (identity,), (asked,), 0, True, "", "", told, Event(PRICE_ENQUIRY), 0
    )


def _described(outcome: Outcome, msisdn: str, service: str, tariff: str) -> dict[str, Any]:
    assert outcome.event is not None
    lines = []
    for one, cost in zip(outcome.event.services, outcome.event.costs, strict=True):
        unit = Unit(one.unit)
        text = f"{say.units(one.granted, unit)} of {service}"
        if cost.allowance_units:
            share = "all" if cost.allowance_units == one.granted else f"{cost.allowance_units:,} of them"
            text += f", {share} from allowances"
        lines.append(
            {
                "text": text,
                "service": service,
                "units": one.granted,
                "unit": unit.name.lower(),
                "from_allowances": cost.allowance_units,
                "amount": format_amount(cost.money_micros),
            }
        )
    total = sum(each.money_micros for each in outcome.event.costs)
    return {
        "cost": format_amount(total), "currency": outcome.event.currency, "msisdn": msisdn, "tariff": tariff, "lines": lines
    }  # fmt: skip
