"""Granted-Service-Unit (RFC 8506 section 8.17), written for each kind of unit; pure."""

from collections.abc import Callable
from struct import Struct
from typing import Final

from ocs.diameter.codec import writer
from ocs.units import Unit


def _granted(name: str, shape: str) -> Callable[[int], bytes]:
    """Bind the writer of a Granted-Service-Unit of one kind: octets that never change, and the number."""
    pack = Struct(shape).pack
    head = writer("Granted-Service-Unit")(writer(name)(0)).removesuffix(pack(0))

    def write(units: int) -> bytes:
        return head + pack(units)

    return write


GRANTED: Final = {
    Unit.OCTETS: _granted("CC-Total-Octets", ">Q"),
    Unit.SECONDS: _granted("CC-Time", ">I"),
    Unit.EVENTS: _granted("CC-Service-Specific-Units", ">Q"),
}
