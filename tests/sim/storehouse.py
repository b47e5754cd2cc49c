"""The store of the simulated world: a real Valkey server behind links that fail, in lockstep with simulated time.

Laws
1. A call is executed by the real server at one instant of simulated time, and time stands still until it has answered.
2. The server's own clock is the simulated one: the function library is the house's, but for its `TIME`, which is told; keys that are
   to expire are noted and removed when simulated time has come that far (the server's own clock hardly moves in a seed).
3. A fault is a matter of a call's number: lost before it, its reply lost, executed late, stalled, or the server killed around it.
4. A killed server is a real kill -9, and comes back from its append-only file.
"""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import hiredis

from ocs.balance.functions import loadable, source
from ocs.balance.link import NOTHING, pack
from tests.real_valkey import RealValkey
from tests.sim.loop import Program, SimLoop
from tests.sim.wire import Weather, Wire

HOST, PORT = "store.example.org", 6379
EXPIRY = "sim:expiry"
_CLOCK = "sim_clock"
_LOG_OCTETS_MAX = 32 << 20

_TOLD_TIME = """
local told_us = 0

local function watched(real)
  return function(command, ...)
    if command == 'TIME' then return { math.floor(told_us / 1000000), told_us % 1000000 } end
    local words = { ... }
    if command == 'SET' and words[3] == 'PX' then
      real('ZADD', 'sim:expiry', string.format('%.0f', told_us / 1000 + tonumber(words[4])), words[1])
    elseif command == 'SET' and words[3] ~= 'KEEPTTL' then
      real('ZREM', 'sim:expiry', words[1])
    elseif command == 'PEXPIRE' then
      real('ZADD', 'sim:expiry', string.format('%.0f', told_us / 1000 + tonumber(words[2])), words[1])
    end
    return real(command, ...)
  end
end

redis.register_function('sim_clock', function(_, args)
  told_us = tonumber(args[1])
  local now = string.format('%.0f', told_us / 1000)
  local over = redis.call('ZRANGEBYSCORE', 'sim:expiry', '-inf', now)
  for i = 1, #over do redis.call('DEL', over[i]) end
  if #over > 0 then redis.call('ZREMRANGEBYSCORE', 'sim:expiry', '-inf', now) end
  return redis.status_reply('OK')
end)
"""


def told_library(wound: Callable[[str], str] = lambda text: text) -> bytes:
    """Return the house's library whose clock is told; `wound` may break it on purpose."""
    text = wound(source())
    head, _, body = text.partition("\n")
    body = body.replace("= redis.call, ", "= watched(redis.call), ", 1)
    assert "watched(redis.call)" in body, "the library fetches its calls otherwise by now"
    return loadable(f"{head}\n{_TOLD_TIME}\n{body}")


class Server:
    """The real server of many seeds; emptied between them, another one when its log has grown."""

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self._valkey = self._new()
        self._control = self.connect()
        self._loaded = b""

    def _new(self) -> RealValkey:
        settings = {"appendfsync": "always", "auto-aof-rewrite-percentage": "0"}
        return RealValkey(settings=settings, folder=self._folder)

    def begin(self, library: bytes, *, forget_functions: bool) -> None:
        """Be empty, for the next seed, with the function library or without any."""
        if sum(each.stat().st_size for each in self._valkey.folder.rglob("*.aof")) > _LOG_OCTETS_MAX:
            self.close()
            self._valkey = self._new()
            self._control = self.connect()
            self._loaded = b""
        self.ask("FLUSHALL", "SYNC")
        wanted = b"" if forget_functions else library
        if self._loaded != wanted or not wanted:
            self.ask("FUNCTION", "FLUSH")
            if wanted:
                self.ask("FUNCTION", "LOAD", wanted)
            self._loaded = wanted

    def ask(self, *words: str | int | bytes) -> Any:
        """Ask one thing and wait, beside the simulated links."""
        return converse(self._control, pack(*words))[0]

    def connect(self) -> socket.socket:
        """Connect once more."""
        made = socket.socket(socket.AF_UNIX)
        made.connect(str(self._valkey.folder / "s"))
        return made

    def kill(self) -> None:
        """Kill -9."""
        self._control.close()
        self._valkey.kill()

    def start(self) -> None:
        """Start again from the append-only file."""
        self._valkey.start()
        self._control = self.connect()

    def close(self) -> None:
        """End it for good."""
        self._control.close()
        self._valkey.stop()


def converse(link: socket.socket, *commands: bytes) -> list[Any]:
    """Send commands and wait for their replies; error replies are returned."""
    link.sendall(b"".join(commands))
    reader = hiredis.Reader(notEnoughData=NOTHING)
    return [_reply(link, reader) for _ in commands]


def _reply(link: socket.socket, reader: Any) -> Any:
    while (reply := reader.gets()) is NOTHING:
        chunk = link.recv(1 << 20)
        assert chunk, "the real server has gone by itself"
        reader.feed(chunk)
    return reply


class Storehouse:
    """One seed's store: who is linked to it, which call has which fate, and the fates themselves."""

    def __init__(
        self,
        loop: SimLoop,
        world: Program,
        server: Server,
        dice: random.Random,
        fates: dict[int, str],
        note: Callable[[str], None],
    ) -> None:
        self.loop = loop
        self.world = world
        self.server = server
        self.dice = dice
        self.fates = fates
        self.note = note
        self.strike: Callable[[str, str], None] = lambda _name, _what: None
        """Does something to a program that is linked."""
        self.is_up = True
        self.is_near = True
        self.lives = 1
        """Processes that the server has been in this seed: what one was sent, the next one never gets."""
        self.calls = 0
        """Calls so far that say something of money or of who asks: by their number they have a fate."""
        self.executed = 0
        self.by_function: Counter[str] = Counter()
        self.function_fates: dict[tuple[str, int], str] = {}
        """What becomes of the so-manieth call of a function."""
        self.counts: Counter[str] = Counter()
        self.sessions: list[StoreSession] = []
        self.listeners: dict[bytes, list[StoreSession]] = {}
        self.skew_ms = 0
        self._told_us = -1
        self._weather = Weather(0.1, 1.0, 0.02, 30.0, 0.03)
        self._wires = 0

    # -- links

    async def connect(self, protocol: asyncio.BaseProtocol, owner: Program) -> Any:
        """Link a program; raises ConnectionRefusedError while the server is down."""
        self._wires += 1
        dice = random.Random(f"{self.dice.random()};{owner.name};{self._wires}")
        wire = Wire(self.loop, dice, self._weather)
        await asyncio.sleep(wire.latency_s())
        if not self.is_up or not self.is_near:
            raise ConnectionRefusedError("nobody listens")
        session = StoreSession(self, owner.name, self.server.connect())
        near = wire.join(protocol, owner, HOST)
        session.end = wire.join(session, self.world, owner.name)
        self.sessions.append(session)
        protocol.connection_made(near)
        return near, protocol

    # -- the server's life

    def fate_of(self, command: list[bytes]) -> str:
        """Return what is to become of a call: by its number among all, or among those of its function."""
        fate = self.fates.pop(self.calls, "")
        if command[0] == b"FCALL":
            name = command[1].decode().rpartition("_")[0]
            self.by_function[name] += 1
            fate = self.function_fates.pop((name, self.by_function[name]), "") or fate
        return fate

    def part(self, for_s: float) -> None:
        """Let nobody reach the server for a while; it lives on."""
        if self.is_up and self.is_near:
            self.note(f"store out of reach for {for_s:.3f} s")
            self.is_near = False
            for session in tuple(self.sessions):
                session.drop()
            self.loop.call_later(for_s, self.rejoin, context=self.world.context)

    def rejoin(self) -> None:
        """Let it be reached again."""
        self.is_near = True

    def kill(self, down_s: float) -> None:
        """Kill the real server; it comes back after a while of simulated time."""
        if not self.is_up:
            return
        self.note(f"store killed for {down_s:.3f} s")
        self.counts["killed"] += 1
        self.is_up = False
        for session in tuple(self.sessions):
            session.drop()
        self.server.kill()
        self.loop.call_later(down_s, self.revive, context=self.world.context)

    def revive(self) -> None:
        """Start it again."""
        if not self.is_up:
            self.server.start()
            self.lives += 1
            self._told_us = -1
            self.is_up = True
            self.note("store is back")

    def mend_clock(self) -> None:
        """Set the server's clock right."""
        self.skew_ms = 0

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.fates.clear()
        self.function_fates.clear()
        self.rejoin()
        self.skew_ms = 0
        self.revive()

    # -- calls

    def execute(self, link: socket.socket, command: list[bytes]) -> bytes:
        """Let the real server execute one command now; its reply as it came."""
        before = b""
        replies = 1
        now_us = (self.loop.wall_ms() + self.skew_ms) * 1_000
        if now_us != self._told_us:
            self._told_us = now_us
            before = pack(
                "FCALL", _CLOCK, 0, now_us
            )  # an error while nobody has loaded the library: nothing looks at the clock then
            replies += 1
        expires_ms = _expiry(command)
        if expires_ms:
            before += pack("ZADD", EXPIRY, now_us // 1_000 + expires_ms, command[1])
            replies += 1
        if command[0] == b"FUNCTION":
            self._told_us = -1
        link.sendall(before + pack(*command))
        return _last_reply(link, replies)

    def told_time(self) -> bytes:
        """Answer a bare TIME: the real server's would be another in each run, and of another length at times."""
        seconds, ms = divmod(self.loop.wall_ms() + self.skew_ms, 1_000)
        return pack(seconds, ms * 1_000)

    def execute_late(self, commands: list[list[bytes]], life: int) -> None:
        """Execute what had arrived before its link broke, unless the process has died since."""
        if not self.is_up or life != self.lives:
            return
        link = self.server.connect()
        for command in commands:
            if command[0] in {b"FCALL", b"SET", b"PEXPIRE"}:
                self.note(f"late {_title(command)}")
                self.execute(link, command)
        link.close()

    def publish(self, channel: bytes, message: bytes) -> bytes:
        """Pass on what is published; its hearers are counted."""
        heard = 0
        for session in self.listeners.get(channel, ()):
            if session.is_linked:
                heard += 1
                session.send(pack("smessage", channel, message))
        return b":%d\r\n" % heard


class StoreSession(asyncio.Protocol):
    """The store's end of one link."""

    def __init__(self, house: Storehouse, name: str, link: socket.socket) -> None:
        self.house = house
        self.name = name
        self.link = link
        self.end: Any = None
        self.is_linked = True
        self._reader = hiredis.Reader(notEnoughData=NOTHING)
        self._stalled: list[list[bytes]] = []
        self._is_stalled = False

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while self.is_linked and (command := self._reader.gets()) is not NOTHING:
            if self._is_stalled:
                self._stalled.append(command)
            else:
                self._meet(command)

    def connection_lost(self, exc: Exception | None) -> None:
        self.drop()

    def drop(self) -> None:
        """Hang up."""
        if self.is_linked:
            self.is_linked = False
            self.house.sessions.remove(self)
            self.link.close()
            self.end.wire.cut()

    def send(self, octets: bytes) -> None:
        self.end.write(octets)

    def _meet(self, command: list[bytes]) -> None:
        """Let a call meet its fate (law 3)."""
        house = self.house
        house.executed += 1
        counts = command[0] not in _HOUSEKEEPING
        house.calls += counts
        fate = house.fate_of(command) if counts else ""
        if fate:
            house.counts[fate] += 1
            house.note(f"call {house.calls} {_title(command)} of {self.name}: {fate}")
            getattr(self, f"_{fate}")(command)
        else:
            self._answer(command)

    def _answer(self, command: list[bytes]) -> None:
        self.send(self._done(command))

    def _done(self, command: list[bytes]) -> bytes:
        house = self.house
        house.note(f"{self.name} {_title(command)}")
        if command[0] == b"SPUBLISH":
            return house.publish(command[1], command[2])
        if command[0] == b"SSUBSCRIBE":
            house.listeners.setdefault(command[1], []).append(self)
            return b"*3\r\n$10\r\nssubscribe\r\n" + b"$%d\r\n%s\r\n:1\r\n" % (len(command[1]), command[1])
        if command[0] == b"TIME":
            return house.told_time()
        return house.execute(self.link, command)

    # -- fates

    def _lost_before(self, _command: list[bytes]) -> None:
        self.drop()

    def _lost_after(self, command: list[bytes]) -> None:
        self._done(command)
        self.drop()

    def _late(self, command: list[bytes]) -> None:
        """The link breaks at once; what it had brought is executed later, when its caller may have called again."""
        house = self.house
        self.drop()
        late_s = house.dice.uniform(0.01, 2.5)
        house.loop.call_later(late_s, house.execute_late, [command], house.lives)

    def _stall(self, command: list[bytes]) -> None:
        """This link stands still: what comes is executed, in order, after a while."""
        house = self.house
        self._stalled, self._is_stalled = [command], True
        house.loop.call_later(house.dice.uniform(0.2, 3.0), self._go_on, house.lives)

    def _go_on(self, life: int) -> None:
        waiting, self._stalled, self._is_stalled = self._stalled, [], False
        while waiting and self.is_linked:
            self._answer(waiting.pop(0))
        self.house.execute_late(waiting, life)  # its caller has gone; the octets had arrived

    def _parted_before(self, _command: list[bytes]) -> None:
        self.house.part(self.house.dice.choice((0.3, 3.0, 6.0, 10.0)))

    def _parted_after(self, command: list[bytes]) -> None:
        self._done(command)
        self.house.part(self.house.dice.choice((0.3, 3.0, 6.0, 10.0)))

    def _killed_before(self, _command: list[bytes]) -> None:
        self.house.kill(self.house.dice.choice((0.05, 0.3, 1.0, 4.0)))

    def _killed_after(self, command: list[bytes]) -> None:
        self._done(command)
        self.house.kill(self.house.dice.choice((0.05, 0.3, 1.0, 4.0)))

    def _caller_killed_before(self, _command: list[bytes]) -> None:
        self.house.strike(self.name, "killed")

    def _caller_killed_after(self, command: list[bytes]) -> None:
        self._answer(command)
        self.house.strike(self.name, "killed")

    def _caller_drained(self, command: list[bytes]) -> None:
        self._answer(command)
        self.house.strike(self.name, "drained")

    def _caller_clock(self, command: list[bytes]) -> None:
        self._answer(command)
        self.house.strike(self.name, "clock")

    def _store_clock(self, command: list[bytes]) -> None:
        """The store's own clock is set wrong for a while: nobody agrees with it."""
        house = self.house
        self._answer(command)
        house.skew_ms = house.dice.choice((-1, 1)) * house.dice.randrange(2_500, 60_000)
        house.loop.call_later(house.dice.uniform(0.5, 4.0), house.mend_clock)


_HOUSEKEEPING = frozenset((b"PING", b"HELLO", b"INFO", b"CONFIG", b"ZRANGEBYSCORE"))
FATES = (
    "lost_before",
    "lost_after",
    "late",
    "stall",
    "parted_before",
    "parted_after",
    "killed_before",
    "killed_after",
)
"""What may become of a call, and of its link or server."""
CALLER_FATES = ("caller_killed_before", "caller_killed_after", "caller_drained", "caller_clock")
"""What may become of who makes it."""


def _title(command: list[bytes]) -> str:
    """How a call is called in the trace: nothing in it differs between two runs of a seed."""
    name = command[0].decode()
    return f"{name} {command[1].decode()}" if name in {"FCALL", "FCALL_RO"} else name


def _expiry(command: list[bytes]) -> int:
    """Return after how many milliseconds the key of a command that we see is to go; 0 where it says nothing of it."""
    if command[0] == b"PEXPIRE":
        return int(command[2])
    if command[0] == b"SET" and b"PX" in command:
        return int(command[command.index(b"PX") + 1])
    return 0


def _last_reply(link: socket.socket, replies: int) -> bytes:
    """Read so many replies, all but the last one line each, and return the octets of the last."""
    octets = b""
    reader = hiredis.Reader(notEnoughData=NOTHING)
    left = replies
    while left:
        chunk = link.recv(1 << 20)
        assert chunk, "the real server has gone by itself"
        octets += chunk
        reader.feed(chunk)
        while left and reader.gets() is not NOTHING:
            left -= 1
    return octets.split(b"\r\n", replies - 1)[-1]
