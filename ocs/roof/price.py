"""What something would cost: the ladder itself, asked by hand, with every step explained."""

import re
from datetime import datetime
from typing import Any, NamedTuple

from ocs.money import format_amount
from ocs.names import e164
from ocs.rating.ladder import ORIGIN, Ladder, Step, Walk, advance, total
from ocs.rating.tariff import Tariff
from ocs.roof import say
from ocs.roof.build import default_grant, find_tariff, read_settings
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place
from ocs.units import UNITS_MAX, Unit


class Line(NamedTuple):
    """Part of a price: the blocks bought in one step, or the connect fee (then ``step`` is None)."""

    step: Step | None
    blocks: int
    amount_micros: int


class Whither(NamedTuple):
    """The number called, the time of use and the network visited, as typed."""

    to: str | None
    at: str | None
    roaming: str | None


def _check(whither: Whither) -> None:
    """Refuse what cannot be read, also where a tariff's prices do not depend on it."""
    if whither.to is not None and e164(whither.to) is None:
        raise Ended(Exit.USAGE, f"--to: not a number: {whither.to[:40]!r}; write it as 49301234567")
    if whither.roaming is not None and not re.fullmatch(r"[0-9]{5,6}", whither.roaming):
        raise Ended(Exit.USAGE, f"--roaming: {whither.roaming[:40]!r}; write MCC and MNC, such as 26201")
    try:
        if whither.at is not None:
            datetime.fromisoformat(whither.at)
    except ValueError as fault:
        raise Ended(
            Exit.USAGE, f"--at: {whither.at!r} is no time of ISO 8601, such as 2026-03-29T01:30:00Z"
        ) from fault


def explain(on: Ladder, units: int) -> list[Line]:
    """Break the price of ``units`` from the start of the axis into its steps; the amounts add up to the price exactly.

    Each amount is a difference of rounded totals, so that rounding shows in the line where it happens.
    """
    lines: list[Line] = []
    walk, priced = ORIGIN, 0
    if units > 0 and on.fee_micros:
        priced = total(on, Walk(0, 0, on.fee_micros, 0))
        lines.append(Line(None, 1, priced))
    for each in on.steps:
        if walk.position >= units or walk.covered >= units:
            break
        covered = max(walk.covered, each.start)
        walk = advance(on, walk, max(min(units, each.end) - walk.position, 0))
        blocks = (walk.covered - covered) // each.block
        if blocks > 0:
            lines.append(Line(each, blocks, total(on, walk) - priced))
            priced = total(on, walk)
    return lines


def price(
    place: Place, tariff: str, service: str, used: int | None, whither: Whither, *, as_json: bool
) -> None:
    """Price units of a service on a tariff's newest version; it has no zones and windows, so the price is the same everywhere."""
    _check(whither)
    settings = read_settings(place)
    found = find_tariff(settings, tariff)
    priced = found.services.get(service)
    if priced is None:
        known = ", ".join(sorted(found.services))
        raise Ended(Exit.NOT_FOUND, f"tariff {found.key} does not price {service}; it prices {known}")
    units = default_grant(settings, priced.unit) if used is None else used
    if not 0 <= units <= priced.ladder.limit:
        raise Ended(
            Exit.USAGE,
            f"--used: write a number of {priced.unit.name.lower()} from 0 to {priced.ladder.limit}",
        )
    lines = explain(priced.ladder, units)
    cost_micros = total(priced.ladder, advance(priced.ladder, ORIGIN, units))
    assert cost_micros == sum(each.amount_micros for each in lines), "the explanation differs from the price"
    if as_json:
        say.as_json(_described(found, service, priced.unit, units, cost_micros, lines))
    else:
        _tell(found, service, priced.unit, units, cost_micros, lines)


def _described(
    tariff: Tariff, service: str, unit: Unit, units: int, cost_micros: int, lines: list[Line]
) -> dict[str, Any]:
    return {
        "cost": format_amount(cost_micros),
        "currency": tariff.currency,
        "tariff": tariff.key,
        "service": service,
        "used": units,
        "unit": unit.name.lower(),
        "lines": [_line(each, unit) for each in lines],
    }


def _line(line: Line, unit: Unit) -> dict[str, Any]:
    shown: dict[str, Any] = {"text": _text(line, unit), "amount": format_amount(line.amount_micros)}
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
    if line.step is None:
        return "connect fee"
    blocks = f"{line.blocks:,} block{'s' if line.blocks != 1 else ''} of {say.units(line.step.block, unit)}"
    return f"{blocks} at {_block_price(line.step)}"


def _block_price(step: Step) -> str:
    """Write the price of one block; where it is no whole number of micro-units, as a price for several blocks."""
    whole, rest = divmod(step.block * step.price_micros, step.per_units)
    if not rest:
        return format_amount(whole)
    return f"{format_amount(step.price_micros)} per {step.per_units:,}"


def _tell(tariff: Tariff, service: str, unit: Unit, units: int, cost_micros: int, lines: list[Line]) -> None:
    steps = [
        (
            "" if each.step is None else f"from {each.step.start:,}",
            _text(each, unit),
            format_amount(each.amount_micros),
        )
        for each in lines
    ]
    total_row = (
        "",
        f"{say.units(units, unit)} of {service} on {tariff.key}",
        say.amount(cost_micros, tariff.currency),
    )
    say.table((("step", False), ("what", False), (tariff.currency, True)), [*steps, total_row])
