"""What waiting for a replica costs: calls a second and the time of one, without and with `replicas = 1`, same machine, same run.

A closed loop of so many calls at once over one Store, to a master with one replica on this machine; so the network between them is missing,
and the replica takes its share of the processor. Best of several rounds, taken in turns.

    python -m loadtests.bench_replicas [--calls N] [--json]
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
import uvloop

from loadtests.bench_link import CHARGE, SLOT, closed_loop
from ocs.balance.addresses import parse
from ocs.balance.embedded import DIRECTIVES, find_binary
from ocs.balance.link import Demands, pack
from ocs.balance.store import Store

WINDOWS = (1, 16, 256)
ROUNDS = 3
_WAIT_S = 20


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def server(folder: Path, fsync: str, master: int = 0) -> Iterator[int]:
    """Run one server of the wheel, of a master when its port is given; its port, when it answers and follows."""
    folder.mkdir()
    port = _free_port()
    lines = DIRECTIVES | {
        "port": str(port),
        "bind": "127.0.0.1",
        "appendfsync": fsync,
        "repl-diskless-sync-delay": "0",
        "min-replicas-to-write": "0" if master else "1",
        "min-replicas-max-lag": "60",
    }
    lines |= {"replicaof": f"127.0.0.1 {master}"} if master else {}
    (folder / "conf").write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
    process = subprocess.Popen(
        [str(find_binary()), "./conf"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        give_up = time.monotonic() + _WAIT_S
        while not _follows(port, master):
            if time.monotonic() > give_up:
                raise RuntimeError("the server does not answer")
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


def _follows(port: int, master: int) -> bool:
    try:
        with redis.Redis(port=port) as asked:
            return not master or asked.info("replication")["master_link_status"] == "up"
    except redis.RedisError:
        return False


async def _rate(port: int, demands: Demands, calls: int, window: int) -> float:
    store = Store(parse(f"redis://127.0.0.1:{port}", {}), demands=demands)
    await store.open()
    try:
        begun = time.perf_counter()
        await closed_loop(lambda done: store.call(SLOT, pack(*CHARGE), done), calls, window)
        return calls / (time.perf_counter() - begun)
    finally:
        await store.close()


def measure(calls: int) -> list[dict[str, str | int]]:
    """Measure each durability and window with and without the replica in turns; the best round counts."""
    rows: list[dict[str, str | int]] = []
    for fsync in ("everysec", "always"):
        with (
            tempfile.TemporaryDirectory() as name,
            server(Path(name) / "master", fsync) as master,
            server(Path(name) / "replica", fsync, master),
        ):
            asked = "always" if fsync == "always" else ""
            for window in WINDOWS:
                best = [0.0, 0.0]
                count = max(calls // 20, calls * window // max(WINDOWS))
                for _ in range(ROUNDS):
                    for replicas in (0, 1):
                        demands = Demands(fsync=asked, replicas=replicas)
                        rate = uvloop.run(_rate(master, demands, count, window))
                        best[replicas] = max(best[replicas], rate)
                rows += [
                    {"durability": fsync, "window": window, "replicas": replicas, "calls_per_s": round(rate)}
                    for replicas, rate in enumerate(best)
                ]
    return rows


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="calls a second that wait for a replica")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure(options.calls)
    if options.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        ms = 1000 * int(row["window"]) / int(row["calls_per_s"])
        print(
            f"{row['durability']:9} {row['window']:4} at once, replicas {row['replicas']}: {row['calls_per_s']:7} calls/s, {ms:6.2f} ms each"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
