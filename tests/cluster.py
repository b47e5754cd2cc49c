"""Three real masters for tests, and slots that move between them step by step."""

import time
from types import TracebackType
from typing import Any, Self

from tests.real_valkey import RealValkey, free_port

SLOTS = 16_384
BUS = 10_000
SETTINGS = {
    "cluster-enabled": "yes",
    "cluster-config-file": "nodes.conf",
    "cluster-node-timeout": "1000",
    "repl-diskless-sync-delay": "0",
}


class Cluster:
    """Masters 0, 1 and 2 with a third of the slots each."""

    def __init__(self, count: int = 3) -> None:
        self.nodes = [RealValkey(settings=SETTINGS, port=free_port(BUS)) for _ in range(count)]
        self._clients = [node.client() for node in self.nodes]
        self.ids = [client.execute_command("CLUSTER MYID").decode() for client in self._clients]
        edges = [SLOTS * index // count for index in range(count + 1)]
        for index, client in enumerate(self._clients):
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", index + 1)
            client.execute_command("CLUSTER ADDSLOTSRANGE", edges[index], edges[index + 1] - 1)
        for node in self.nodes[1:]:
            self._clients[0].execute_command("CLUSTER MEET", "127.0.0.1", node.port)
        self._home = {slot: index for index in range(count) for slot in range(edges[index], edges[index + 1])}
        self._owner = dict(self._home)
        self.await_ok()

    @property
    def url(self) -> str:
        return "cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def owner(self, slot: int) -> int:
        """Which master, by its index, serves the slot."""
        return self._owner[slot]

    def client(self, index: int) -> Any:
        """A plain client of one master."""
        return self._clients[index]

    def await_ok(self) -> None:
        """Wait until every node says that all slots are served and knows every other."""
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up:
            if all(self._is_ok(client) for client in self._clients):
                return
            time.sleep(0.02)
        raise RuntimeError("the cluster does not come up")

    def _is_ok(self, client: Any) -> bool:
        info = client.execute_command("CLUSTER INFO")
        text = (
            info
            if isinstance(info, dict)
            else dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
        )
        return text["cluster_state"] == "ok" and int(text["cluster_known_nodes"]) == len(self.nodes)

    # -- the classic way to move a slot, which gives ASK and TRYAGAIN on its way

    def begin_move(self, slot: int, to: int) -> None:
        """Mark the slot as leaving here and arriving there: absent keys get ASK from now on."""
        self._clients[to].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", self.ids[self._owner[slot]])
        self._clients[self._owner[slot]].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", self.ids[to])

    def move_keys(self, slot: int, to: int, keys: list[str] | None = None) -> None:
        """Move the slot's keys, or only those named: a call that touches both sides gets TRYAGAIN."""
        source = self._clients[self._owner[slot]]
        names = keys or source.execute_command("CLUSTER GETKEYSINSLOT", slot, 10_000)
        if names:
            source.execute_command("MIGRATE", "127.0.0.1", self.nodes[to].port, "", 0, 5000, "KEYS", *names)

    def end_move(self, slot: int, to: int) -> None:
        """Give the slot to its new owner: the old one answers MOVED."""
        order = [to, *(index for index in range(len(self.nodes)) if index != to)]
        for index in order:
            self._clients[index].execute_command("CLUSTER SETSLOT", slot, "NODE", self.ids[to])
        self._owner[slot] = to
        self._await_agreement()

    def _await_agreement(self) -> None:
        """Wait until all nodes tell the same story of owners and epochs, no epoch twice.

        A slot that moves on before that can be taken back by a late packet of gossip, and a node that learns from
        gossip that it lost a slot deletes the slot's keys: whoever moves slots has to wait here.
        """
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up:
            views = [self._view(client) for client in self._clients]
            epochs = {epoch for epoch, _ in views[0].values()}
            if len(epochs) == len(self.nodes) and all(view == views[0] for view in views):
                return
            time.sleep(0.01)
        raise RuntimeError("the nodes do not agree")

    @staticmethod
    def _view(client: Any) -> dict[str, tuple[str, tuple[str, ...]]]:
        """One node's story: config epoch and slots of every node it knows."""
        client.response_callbacks.pop("CLUSTER NODES", None)
        rows = [row.split() for row in client.execute_command("CLUSTER NODES").decode().splitlines()]
        return {row[0]: (row[6], tuple(span for span in row[8:] if "[" not in span)) for row in rows}

    def move(self, slot: int, to: int) -> None:
        """The whole way at once."""
        self.begin_move(slot, to)
        self.move_keys(slot, to)
        self.end_move(slot, to)

    def empty(self) -> None:
        """Forget every key and function, bring every slot home."""
        for client in self._clients:
            client.flushall()
            client.function_flush()
        for slot, home in self._home.items():
            if self._owner[slot] != home:
                self.move(slot, home)

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
