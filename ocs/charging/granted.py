"""Granted-Service-Unit (RFC 8506 section 8.17), written for each kind of unit; pure."""

from collections.abc import Callable
from struct import Struct
from typing import Final

from ocs.diameter.codec import writer
from ocs.diameter.writers import encode_avps
from ocs.units import Unit


def _granted(name: str, shape: str) -> Callable[[int], bytes]:
    """Bind the writer of a Granted-Service-Unit of one kind: octets that never change, and the number."""
    pack = Struct(shape).pack
    head = writer("Granted-Service-Unit")(writer(name)(0)).removesuffix(pack(0))

    def write(units: int) -> bytes:
        return head + pack(units)

    return write


_NAMES: Final = {
    Unit.OCTETS: "CC-Total-Octets",
    Unit.SECONDS: "CC-Time",
    Unit.EVENTS: "CC-Service-Specific-Units",
}
GRANTED: Final = {
    Unit.OCTETS: _granted(_NAMES[Unit.OCTETS], ">Q"),
    Unit.SECONDS: _granted(_NAMES[Unit.SECONDS], ">I"),
    Unit.EVENTS: _granted(_NAMES[Unit.EVENTS], ">Q"),
}


def granted_until(unit: Unit, units: int, change_s: int) -> bytes:
    """Write units with the instant at which their price changes (Tariff-Time-Change, RFC 8506 section 8.20), in Unix seconds."""
    return encode_avps({"Granted-Service-Unit": {"Tariff-Time-Change": change_s, _NAMES[unit]: units}})
