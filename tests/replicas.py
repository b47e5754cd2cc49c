"""Real masters with real replicas behind them, for tests of what a failover keeps."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from types import TracebackType
from typing import Any, Self

from tests.real_valkey import RealValkey
from tests.replica_line import ReplicaLine

NOBODY = 0
"""A port that nobody listens on."""

QUICK = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1", "min-replicas-max-lag": "60"}


def settled(holds: Callable[[], bool]) -> None:
    """Wait until something is so."""
    give_up = time.monotonic() + 30
    while not holds():
        if time.monotonic() > give_up:
            raise RuntimeError("never came true")
        time.sleep(0.01)


class Replicated(AbstractContextManager["Replicated"]):
    """One master and its replicas; a replica can be stopped, lag, and be promoted."""

    def __init__(self, replicas: int = 1, least: int = 1, **settings: str) -> None:
        self._stack = ExitStack()
        own = QUICK | {"min-replicas-to-write": str(least)} | settings
        self.servers = [self._stack.enter_context(RealValkey(settings=own)) for _ in range(replicas + 1)]
        self.master = self.servers[0]
        self.stopped: set[RealValkey] = set()
        self.lines = {each: self._stack.enter_context(closing(ReplicaLine())) for each in self.servers}
        self.follow(self.master)

    @property
    def replicas(self) -> list[RealValkey]:
        """The servers that are not the master."""
        return [each for each in self.servers if each is not self.master]

    def follow(self, master: RealValkey) -> None:
        """Let every other server that runs follow this one, and wait until they do."""
        self.master = master
        master.client().replicaof("NO", "ONE")
        others = [each for each in self.replicas if each not in self.stopped]
        for each in others:
            self.lines[each].lead_to(master.port)
            each.client().replicaof("127.0.0.1", self.lines[each].port)
        for each in others:
            settled(lambda each=each: _info(each)["master_link_status"] == "up")  # type: ignore[misc]
        settled(lambda: int(_info(master)["connected_slaves"]) >= len(others))

    def stop(self, server: RealValkey) -> None:
        """Stop a replica from running: connected, and silent."""
        self.stopped.add(server)
        server.pause()

    def go_on(self, server: RealValkey) -> None:
        """Let it run again."""
        server.resume()
        self.stopped.discard(server)

    def freeze(self, *servers: RealValkey) -> None:
        """Let these replicas (all, when none is named) hear no more of their master, which notices nothing."""
        for each in servers or self.replicas:
            self.lines[each].freeze()

    def newest(self) -> RealValkey:
        """The replica that has most of a master that is dead, as Sentinel chooses: by its offset; none follows anybody by then."""
        for each in self.replicas:
            self.lines[each].lead_to(
                NOBODY
            )  # else it would follow the dead one again, were that started first
            settled(lambda each=each: _info(each)["master_link_status"] == "down")  # type: ignore[misc]
        return max(self.replicas, key=lambda each: int(_info(each)["slave_repl_offset"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in list(self.stopped):
            self.go_on(each)
        self._stack.close()


def _info(server: RealValkey) -> dict[str, Any]:
    with server.client() as client:
        told: dict[str, Any] = client.info("replication")
        return told
