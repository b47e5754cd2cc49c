"""One message without a connection: decoded, asked, planned, refused. Thousands a second; the codec's fast way is held to its slow one."""

from __future__ import annotations

from ocs.charging.ask import EVENT, ask
from ocs.charging.event import event_plan
from ocs.charging.plan import plan
from ocs.diameter.codec import Codec
from ocs.diameter.faults import DecodeFault
from ocs.diameter.message import HEADER_OCTETS, Message, header
from tests.contract.mutations import read_avps
from tests.fuzz.wire import NOW_MS, QUOTA, TARIFF, World, ladder_text


class Reader:
    """A worker's codec, which learns the layouts that come often, beside one that never does."""

    def __init__(self) -> None:
        self._world = World()
        self._plain = Codec()

    def read(self, octets: bytes) -> None:
        """Hold one message to the law: it is read alike on both ways, and asked and planned, or refused by an answer that can be read."""
        if len(octets) < HEADER_OCTETS:
            return
        fast, slow = _decoded(self._world.codec.decode, octets), _decoded(self._plain._walked, octets)
        assert _told(fast) == _told(slow), f"{fast} by layout, {slow} by walking"
        if isinstance(fast, DecodeFault):
            self._refused(octets, fast)
            return
        if fast.command != 272 or not fast.is_request:
            return
        try:
            asked = ask(fast)
        except DecodeFault as fault:
            self._refused(octets, fault)
            return
        if asked.kind == EVENT:
            event_plan(asked, TARIFF, QUOTA, ladder_text, NOW_MS, None)
        else:
            plan(asked, TARIFF, QUOTA, ladder_text, NOW_MS)

    def _refused(self, octets: bytes, fault: DecodeFault) -> None:
        top = header(octets)
        said = self._world.answers.refuse(
            top, fault.avps, int(fault.result_code), failed_avp=fault.failed_avp, error_message=fault.reason
        )
        assert int.from_bytes(said[1:4], "big") == len(said)
        assert said[12:20] == octets[12:20]
        avps = read_avps(said[HEADER_OCTETS:])
        assert avps is not None, "a refusal that cannot be read"
        assert sum(each.code == 268 for each in avps) == 1
        for failed in (each for each in avps if each.code == 279):
            assert len(read_avps(failed.payload) or ()) == 1, "a Failed-AVP that does not hold one AVP"


def _decoded(decode: object, octets: bytes) -> Message | DecodeFault:
    assert callable(decode)
    try:
        found = decode(octets)
    except DecodeFault as fault:
        return fault
    assert isinstance(found, Message)
    return found


def _told(found: Message | DecodeFault) -> object:
    if isinstance(found, Message):
        return found
    return found.result_code, found.failed_avp, found.reason, found.avps
