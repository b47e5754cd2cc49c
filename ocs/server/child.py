"""How a process of the server begins: tied to its parent's life, deaf to the terminal, with room for its sockets."""

import asyncio
import ctypes
import os
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvloop

from ocs.limits import DESCRIPTORS_KEPT
from ocs.server.channel import StartFault, say

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def begin(parent_pid: int) -> None:
    """Tie this process to its parent: it dies with it, at once, and loses nothing acknowledged by that (DESIGN section 6).

    A signal of the terminal is the parent's business: it ends its children in order.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise StartFault(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent_pid:  # it died before the line above
        os._exit(1)
    widen()


def widen() -> None:
    """Let this process open as many sockets as the machine allows it."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_max(wanted: int) -> int:
    """Return how many connections this process can hold, at most `wanted`."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(min(wanted, soft - DESCRIPTORS_KEPT), 1)


@contextmanager
def told(channel: socket.socket, name: str) -> Iterator[None]:
    """Tell the supervisor why this process cannot start, and end it."""
    try:
        yield
    except StartFault as fault:
        say(channel, fault)
        raise SystemExit(fault.exit_code) from None
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor has to tell it
        say(channel, StartFault(f"{name}: {type(error).__name__}: {error}"))
        raise SystemExit(1) from None


def run(serve: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `serve` on an event loop of its own; SIGTERM sets the event that it was given."""

    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await serve(stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
