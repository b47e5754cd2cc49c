"""What a run costs, read from outside the programs that are measured: processor time, memory, append-only file.

Laws
1. Processor time is the kernel's own account of a process, all its threads; nobody who is measured reports about itself,
   except the store, whose INFO is shown beside it.
2. A gauge costs next to nothing: it may be read while load runs.
"""

import os
import platform
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_LINUX = platform.system() == "Linux"
_PROCESS_CLOCK = 2  # CPUCLOCK_SCHED: nanoseconds of all threads (Linux, clock_getcpuclockid)


def end_in_order() -> None:
    """Let SIGTERM end this program as an error does, so that it ends what it has started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def cpu_us(pid: int) -> int:
    """Return the processor time that a process has used, all threads, in microseconds."""
    if _LINUX:
        return int(time.clock_gettime_ns((~pid << 3) | _PROCESS_CLOCK)) // 1000
    times = psutil.Process(pid).cpu_times()
    return int((times.user + times.system) * 1e6)


def resident_octets(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(psutil.Process(pid).memory_info().rss)


def machine_busy_us() -> int:
    """Return the processor time that everything on this machine has used, time stolen by its neighbours included."""
    times = psutil.cpu_times()
    # Linux counts a guest's time inside user's and nice's
    idle = (
        times.idle
        + getattr(times, "iowait", 0.0)
        + getattr(times, "guest", 0.0)
        + getattr(times, "guest_nice", 0.0)
    )
    return int((sum(times) - idle) * 1e6)


class StoreReading(NamedTuple):
    """One look at the store: its word (INFO) and the kernel's (`process_us`), both cumulative."""

    info_us: int
    process_us: int
    memory_octets: int
    file_octets: int
    calls: int
    call_us: int


class StoreGauge:
    """Reads one store over a connection of its own."""

    def __init__(self, url: str) -> None:
        # redis-py here: a gauge is no part of what it measures; it never sends twice
        self._client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), retry_on_error=[])
        server = self._client.info("server")
        self.pid = int(server["process_id"])
        self.version = str(server.get("valkey_version") or server["redis_version"])

    def read(self) -> StoreReading:
        """Read everything at once."""
        cpu, memory = self._client.info("cpu"), self._client.info("memory")
        persistence, stats = self._client.info("persistence"), self._client.info("commandstats")
        calls = stats.get("cmdstat_fcall", {"calls": 0, "usec": 0})
        return StoreReading(
            round((cpu["used_cpu_user"] + cpu["used_cpu_sys"]) * 1e6),
            cpu_us(self.pid),
            int(memory["used_memory"]),
            int(persistence.get("aof_current_size", 0)),
            int(calls["calls"]),
            int(calls["usec"]),
        )

    def close(self) -> None:
        """End the connection."""
        self._client.close()


def machine() -> dict[str, str]:
    """Return the facts of this machine that figures depend on."""
    model = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        names = [
            line.partition(":")[2].strip() for line in facts.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return {
        "processor": f"{os.cpu_count()} × {model}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }
