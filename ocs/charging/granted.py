"""Granted-Service-Unit (RFC 8506 section 8.17), written for each kind of unit; pure.

A writer takes the units, and who knows the currency that they are in, where they are money.
"""

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Final, Protocol

from ocs.charging.amounts import money
from ocs.diameter.codec import writer
from ocs.diameter.writers import encode_avps
from ocs.units import Unit


class Account(Protocol):
    """What an answer knows of the account (outcome.py, More and Charged)."""

    @property
    def currency(self) -> str:
        """The letters of its currency (ISO 4217)."""


Write = Callable[[int, Account | None], bytes]


def _granted(name: str, shape: str) -> Write:
    """Bind the writer of a Granted-Service-Unit of one kind: octets that never change, and the number."""
    pack = Struct(shape).pack
    head = writer("Granted-Service-Unit")(writer(name)(0)).removesuffix(pack(0))

    def write(units: int, _account: Account | None) -> bytes:
        return head + pack(units)

    return write


def _granted_money(micros: int, account: Account | None) -> bytes:
    return encode_avps({"Granted-Service-Unit": {"CC-Money": _money(micros, account)}})


def _money(micros: int, account: Account | None) -> dict[str, Any]:
    assert account is not None
    return money(micros, account.currency)


_NAMES: Final = {
    Unit.OCTETS: "CC-Total-Octets",
    Unit.SECONDS: "CC-Time",
    Unit.EVENTS: "CC-Service-Specific-Units",
}
GRANTED: Final[Mapping[Unit, Write]] = {
    Unit.OCTETS: _granted(_NAMES[Unit.OCTETS], ">Q"),
    Unit.SECONDS: _granted(_NAMES[Unit.SECONDS], ">I"),
    Unit.EVENTS: _granted(_NAMES[Unit.EVENTS], ">Q"),
    Unit.MONEY: _granted_money,
}


def granted_until(unit: Unit, units: int, change_s: int, account: Account | None) -> bytes:
    """Write units with the instant at which their price changes (Tariff-Time-Change, RFC 8506 section 8.20), in Unix seconds."""
    told = {"CC-Money": _money(units, account)} if unit == Unit.MONEY else {_NAMES[unit]: units}
    return encode_avps({"Granted-Service-Unit": {"Tariff-Time-Change": change_s, **told}})
