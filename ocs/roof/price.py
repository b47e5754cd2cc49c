"""What something would cost: the tariff's own rates and ladders, asked by hand, with every line explained."""

import re
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple

from ocs.charging.information import TERMINATING, told
from ocs.clock import SystemClock
from ocs.money import format_amount
from ocs.names import e164
from ocs.rating.ladder import Step
from ocs.rating.numbers import Party
from ocs.rating.price import Line, LineKind, Priced
from ocs.rating.price import price as priced
from ocs.rating.rates import ACCESSES, AT_HOME, INCOMING, OUTGOING, Facts, Rate
from ocs.rating.tariff import Tariff
from ocs.rating.windows import AT_MS_MAX
from ocs.roof import say
from ocs.roof.build import default_grant, find_tariff, read_settings, tariffs_at_hand
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place
from ocs.units import UNITS_MAX, Unit

_ISO = "a time of ISO 8601, such as 2026-03-29T01:30:00Z"


class Whither(NamedTuple):
    """The number called, the times of use and the network visited, as typed, and what else a rate may look at."""

    to: str | None
    at: str | None
    until: str | None
    roaming: str | None
    rating_group: int | None
    service_identifier: int | None = None
    access: str | None = None
    apn: str | None = None
    incoming: bool = False


class _Enquiry(NamedTuple):
    """What is asked, as the tariff understands it."""

    tariff: Tariff
    facts: Facts
    rate: Rate
    units: int
    start_ms: int


def price(
    place: Place,
    tariff: str,
    service: str,
    used: int | None,
    whither: Whither,
    *,
    as_json: bool,
    connected: bool,
) -> None:
    """Price units of a service on the version of a tariff that is new at the time asked for."""
    settings = read_settings(place)
    near_ms = SystemClock().now_ms() if whither.at is None else _instant_ms("--at", whither.at, UTC)
    tariffs = tariffs_at_hand(place, settings)
    found = find_tariff(tariffs, tariff, near_ms)
    zone = found.calendar.zone if found.calendar is not None else UTC
    start_ms = near_ms if whither.at is None else _instant_ms("--at", whither.at, zone)
    if start_ms != near_ms:  # the tariff's own zone: another version may hold then
        found = find_tariff(tariffs, tariff, start_ms)
    facts = _facts(found, service, whither)
    rate = found.rate(facts)
    if rate is None:
        raise Ended(Exit.NOT_FOUND, _unpriced(found, facts))
    units = default_grant(settings, rate.unit) if used is None else used
    if whither.until is not None:
        units = _seconds_until(whither, rate, used, _instant_ms("--until", whither.until, zone) - start_ms)
    asked = _Enquiry(found, facts, rate, units, start_ms)
    if not 0 <= units <= rate.ladders[0].limit:
        raise Ended(
            Exit.USAGE,
            f"--used: write a number of {rate.unit.name.lower()} from 0 to {rate.ladders[0].limit}",
        )
    try:
        answer = priced(rate, units, start_ms, connected=connected)
    except ValueError as fault:
        raise Ended(Exit.USAGE, f"--at: {fault}") from fault
    if as_json:
        say.as_json(_described(asked, answer))
    else:
        _tell(asked, answer)


def _facts(tariff: Tariff, service: str, whither: Whither) -> Facts:
    """Read where a call goes and comes from, as a request would tell it; what cannot be read is refused, needed or not."""
    to, visited, plan = whither.to, whither.roaming, tariff.numbering
    destination = plan.destination(to) if plan is not None and to is not None else None
    unreadable = destination.party == Party.UNKNOWN if destination is not None else to and e164(to) is None
    if to is not None and unreadable and to not in {"112", "911"}:
        raise Ended(Exit.USAGE, f"--to: not a number: {to[:40]!r}; write it as 49301234567")
    read_whither(whither, service)
    call: dict[str, object] = {} if to is None else {"Called-Party-Address": to}
    if whither.incoming:
        call["Role-Of-Node"] = TERMINATING
    bearer = {"3GPP-SGSN-MCC-MNC": visited, "Called-Station-Id": whither.apn}
    information = {
        "IMS-Information": call,
        "PS-Information": {name: text for name, text in bearer.items() if text is not None},
    }
    found = told(service, information, plan, frozenset(Facts._fields)).facts(
        service, whither.rating_group, whither.service_identifier
    )
    return found._replace(access=whither.access)


def read_whither(whither: Whither, service: str) -> None:
    """Judge what no tariff is needed for; Ended (usage) says what would be right."""
    if whither.roaming is not None and not re.fullmatch(r"[0-9]{5,6}", whither.roaming):
        raise Ended(Exit.USAGE, f"--roaming: {whither.roaming[:40]!r}; write MCC and MNC, such as 26201")
    if whither.access is not None and whither.access not in ACCESSES:
        raise Ended(Exit.USAGE, f"--access: {whither.access[:40]!r}; access types are {', '.join(ACCESSES)}")
    if whither.incoming and service == "data":
        raise Ended(Exit.USAGE, "--incoming: data has no direction")


def _instant_ms(name: str, text: str, zone: tzinfo) -> int:
    """Read a time; one without a zone is wall-clock time where the tariff's windows are, UTC without any."""
    try:
        read = datetime.fromisoformat(text)
        at_ms = int((read if read.tzinfo is not None else read.replace(tzinfo=zone)).timestamp() * 1000)
    except (ValueError, OverflowError) as fault:
        raise Ended(Exit.USAGE, f"{name}: {text!r} is no {_ISO.removeprefix('a ')}") from fault
    if not 0 <= at_ms < AT_MS_MAX:
        raise Ended(Exit.USAGE, f"{name}: {text!r} lies outside the years 1970 to 2099; write {_ISO}")
    return at_ms


def _seconds_until(whither: Whither, rate: Rate, used: int | None, length_ms: int) -> int:
    if used is not None or whither.at is None or rate.unit != Unit.SECONDS:
        raise Ended(Exit.USAGE, "--until: goes with --at, without --used, for what is measured in seconds")
    if length_ms < 0:
        raise Ended(Exit.USAGE, "--until: lies before --at")
    return -(-length_ms // 1000)


def _unpriced(tariff: Tariff, facts: Facts) -> str:
    """Say what is not priced, and what would be."""
    known = dict.fromkeys(each.service for each in tariff.choice.rates)
    if facts.service not in known:
        return f"tariff {tariff.key} does not price {facts.service}; it prices {', '.join(sorted(known))}"
    shown = facts._replace(roaming=facts.roaming or "an unknown network")._asdict()
    what = ", ".join(f"{name} {value}" for name, value in shown.items() if value not in {None, OUTGOING})
    return f"tariff {tariff.key} has no rate for {what}; a voice rate may need --to, or a zone that it knows"


def _described(asked: _Enquiry, answer: Priced) -> dict[str, Any]:
    rate, facts = asked.rate, asked.facts
    told: dict[str, Any] = {
        "cost": format_amount(answer.cost_micros),
        "currency": asked.tariff.currency,
        "tariff": asked.tariff.key,
        "service": facts.service,
        "used": answer.units,
        "unit": rate.unit.name.lower(),
        "rate": rate.name,
        "tax": {"included": asked.tariff.gross, "class": rate.tax_class},
    }
    if answer.units < asked.units:
        told["disconnected"] = True
    if asked.tariff.numbering is not None:
        told |= {"zone": facts.zone, "roaming": facts.roaming}
    if facts.service != "data":
        told["direction"] = facts.direction
    told["lines"] = [_line(each, asked) for each in answer.lines]
    return told


def _line(line: Line, asked: _Enquiry) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "text": _text(line, asked.rate.unit),
        "amount": format_amount(line.amount_micros),
        "subtotal": format_amount(line.subtotal_micros),
    }
    if line.window:
        shown["window"] = line.window
    if line.units:
        shown["units"] = line.units
    if line.step is not None:
        shown |= {
            "from": line.step.start,
            "to": None if line.step.end == UNITS_MAX else line.step.end,
            "block": line.step.block,
            "blocks": line.blocks,
            "price": _block_price(line.step),
        }
    return shown


def _text(line: Line, unit: Unit) -> str:
    if line.kind == LineKind.PAID:
        return f"{say.units(line.units, unit)} {line.kind.value}"
    if line.step is None:
        return line.kind.value
    if unit is Unit.MONEY:
        return say.units(line.units, unit)
    blocks = f"{line.blocks:,} block{'s' if line.blocks != 1 else ''} of {say.units(line.step.block, unit)}"
    return f"{blocks} at {_block_price(line.step)}"


def _block_price(step: Step) -> str:
    """Write the price of one block; where it is no whole number of micro-units, as a price for several blocks."""
    whole, rest = divmod(step.block * step.price_micros, step.per_units)
    if not rest:
        return format_amount(whole)
    return f"{format_amount(step.price_micros)} per {step.per_units:,}"


def _tell(asked: _Enquiry, answer: Priced) -> None:
    rate, facts = asked.rate, asked.facts
    lines = [
        (
            each.window,
            "" if each.step is None else f"from {each.step.start:,}",
            _text(each, rate.unit),
            format_amount(each.amount_micros),
        )
        for each in answer.lines
    ]
    whither = " ".join(
        part
        for part in (
            facts.direction == INCOMING and "received",
            facts.zone and f"to {facts.zone}",
            facts.roaming != AT_HOME and f"from {facts.roaming}",
        )
        if part
    )
    what = f"{say.units(answer.units, rate.unit)} of {facts.service} {whither}".rstrip()
    whole = ("", "", f"{what} on {asked.tariff.key}", say.amount(answer.cost_micros, asked.tariff.currency))
    columns = (("window", False), ("step", False), ("what", False), (asked.tariff.currency, True))
    first = 0 if any(line[0] for line in lines) else 1  # without windows there is no column of them
    say.table(columns[first:], [row[first:] for row in (*lines, whole)])
    if answer.units < asked.units:
        say.remark("the cap is reached: the network is told to disconnect there")
