"""Connections of the simulated network: two ends, each a transport, and between them latency and what goes wrong.

A connection is TCP as programs see it: octets arrive in order or not at all, in pieces of any size. It may be cut (what is on its way
is lost, each end hears of it in its own time), fall silent (half-open: nobody hears of anything), or stand still for a while.
"""

import asyncio
import random
from typing import Any, NamedTuple, cast

from tests.sim.loop import Program, SimLoop

_NEXT_S = 1e-6
"""Two arrivals never share an instant: timers of one instant run in no order."""


class Weather(NamedTuple):
    """How fast and how whole octets arrive: milliseconds of a hop, the share of slow ones, and how slow; the share of torn chunks."""

    least_ms: float
    most_ms: float
    slow_share: float = 0.0
    slow_ms: float = 0.0
    torn_share: float = 0.0


class Socket:
    """What a worker is handed in the place of an accepted socket."""

    def __init__(self, wire: "Wire", address: str) -> None:
        self.wire = wire
        self._address = address

    def getpeername(self) -> tuple[str, int]:
        return self._address, 40_000

    def setblocking(self, _flag: bool) -> None:  # noqa: FBT001 - a socket's own signature
        """It never blocks."""

    def setsockopt(self, *_option: int) -> None:
        """It has no options."""

    def close(self) -> None:
        self.wire.cut()


class End(asyncio.Transport):
    """One end of a wire, as its protocol sees it."""

    def __init__(self, wire: "Wire", protocol: asyncio.BaseProtocol, owner: Program, peer: str) -> None:
        super().__init__({"peername": (peer, 40_000), "sockname": ("10.0.0.1", 3868)})
        self.wire = wire
        self.protocol = cast("asyncio.Protocol", protocol)
        self.owner = owner
        self.far: End | None = None
        self.closing = False
        self.lost = False
        self.paused = False
        self.held: list[bytes] = []
        self.last_s = 0.0  # when what was written last arrives at the other end

    # -- asyncio's transport

    def write(self, data: Any) -> None:
        if not self.closing and not self.lost:
            self.wire.carry(self, bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The network takes all that is written."""

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        if self.paused:
            self.paused = False
            self.wire.loop.call_soon(self._drain, context=self.owner.context)

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.wire.carry_end(self)
            self.wire.loop.call_soon(self._lose, None, context=self.owner.context)

    def abort(self) -> None:
        if not self.closing:
            self.closing = True
            self.wire.carry_reset(self)
            self.wire.loop.call_soon(self._lose, None, context=self.owner.context)

    # -- what the wire brings

    def take(self, data: bytes) -> None:
        if self.closing or self.lost:
            return
        if self.paused or self.held:
            self.held.append(data)
        else:
            self.protocol.data_received(data)

    def _drain(self) -> None:
        while self.held and not self.paused and not self.closing and not self.lost:
            self.protocol.data_received(self.held.pop(0))

    def take_end(self) -> None:
        if not self.closing and not self.lost and not self.protocol.eof_received():
            self.close()

    def take_reset(self) -> None:
        self.closing = True
        self._lose(ConnectionResetError("reset by the peer"))

    def _lose(self, fault: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(fault)


class Wire:
    """One connection."""

    def __init__(self, loop: SimLoop, dice: random.Random, weather: Weather) -> None:
        self.loop = loop
        self._dice = dice
        self._weather = weather
        self._ends: list[End] = []
        self.silent = False
        self.broken = False
        self._still_until_s = 0.0
        self._early: list[tuple[str, tuple[bytes, ...]]] = []
        """What the first end sent before the second was there: a kernel keeps it until the connection is accepted."""

    @property
    def sound(self) -> bool:
        """Tell whether nothing has happened to it: what is sent arrives."""
        return not self.silent and not self.broken

    def join(self, protocol: asyncio.BaseProtocol, owner: Program, peer: str) -> End:
        """Give one of the two programs its end; its protocol hears `connection_made` by the caller."""
        end = End(self, protocol, owner, peer)
        self._ends.append(end)
        if len(self._ends) == 2:
            first, second = self._ends
            first.far, second.far = second, first
            early, self._early = self._early, []
            for what, arguments in early:
                self._bring(first, what, *arguments)
        owner.at_death.append(lambda: self.carry_reset(end))
        return end

    def carry(self, end: End, data: bytes) -> None:
        """Take octets to the other end, perhaps in pieces."""
        while len(data) > 1 and self._dice.random() < self._weather.torn_share:
            cut = self._dice.randrange(1, len(data))
            self._bring(end, "take", data[:cut])
            data = data[cut:]
        self._bring(end, "take", data)

    def carry_end(self, end: End) -> None:
        """Tell the other end that no more comes."""
        self.broken = True
        self._bring(end, "take_end")

    def carry_reset(self, end: End) -> None:
        """Tell the other end that this one has gone."""
        self.broken = True
        self._bring(end, "take_reset")

    def cut(self) -> None:
        """Break in the middle: what is on its way is lost, and both ends hear of it sooner or later."""
        if self.broken:
            return
        self.broken = self.silent = True
        for end in self._ends:
            when = self.loop.time() + self.latency_s()
            self.loop.call_at(when, end.take_reset, context=end.owner.context)

    def fall_silent(self) -> None:
        """Become half-open: nothing arrives any more, and nobody is told."""
        self.silent = True

    def stand_still(self, seconds: float) -> None:
        """Let nothing arrive for a while."""
        self._still_until_s = self.loop.time() + seconds

    def latency_s(self) -> float:
        """Roll how long a hop takes."""
        weather = self._weather
        if self._dice.random() < weather.slow_share:
            return self._dice.uniform(weather.most_ms, weather.slow_ms) / 1_000
        return self._dice.uniform(weather.least_ms, weather.most_ms) / 1_000

    def _bring(self, end: End, what: str, *arguments: bytes) -> None:
        far = end.far
        if self.silent:
            return
        if far is None:
            self._early.append((what, arguments))
            return
        when = max(self.loop.time() + self.latency_s(), end.last_s + _NEXT_S, self._still_until_s)
        end.last_s = when
        self.loop.call_at(when, self._arrive, far, what, arguments, context=far.owner.context)

    def _arrive(self, far: End, what: str, arguments: tuple[bytes, ...]) -> None:
        if self.silent and what != "take_reset":
            return  # it was on its way when the wire broke
        getattr(far, what)(*arguments)
