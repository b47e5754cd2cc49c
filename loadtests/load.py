"""`make load`: a real server with subscribers, a channel's key and vouchers, for as long as locust's top-up channels load it; then the audit.

    python -m loadtests.load [--subscribers 1000] [--vouchers 1000] [what locust takes: --web-port 8089, or --headless --users 20 --run-time 60s]

Without options of locust's own: ten tills for half a minute, without its page. Ends with 1 where locust saw a failure, or the audit is not clean.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loadtests.bench_topups import new_key
from loadtests.channels import KEY
from loadtests.gauges import end_in_order
from loadtests.rig import FIRST_MSISDN, RigFault, Server, audit, run_command, subscribe

USERS = Path(__file__).parent / "topups.py"
SHORT = ["--headless", "--users", "10", "--spawn-rate", "10", "--run-time", "30s"]


def vouchers(store: Path, count: int, codes: Path) -> None:
    """Make an active batch of vouchers on a living store."""
    until = (datetime.now(UTC) + timedelta(days=2)).isoformat(timespec="seconds")
    at = ["--json", "--data-dir", str(store)]
    code, output = run_command(
        "ocs", "vouchers", "make", "--value", "10.00", "--size", str(count), "--until", until, "--out", str(codes), *at
    )  # fmt: skip
    if code != 0:
        raise RigFault(f"`ocs vouchers make` ended with {code}")
    code, _ = run_command("ocs", "vouchers", "activate", str(json.loads(output)["id"]), *at)
    if code != 0:
        raise RigFault(f"`ocs vouchers activate` ended with {code}")


def locust(server: Server, subscribers: int, codes: Path, key: str, options: list[str]) -> int:
    """Run locust in a process of its own; its exit code. Ctrl-C is its to take: it ends, and we go on to the audit."""
    command = [
        sys.executable, "-m", "locust", "-f", str(USERS), "--host", f"http://{server.http_address}",
        "--first", str(FIRST_MSISDN), "--subscribers", str(subscribers), "--codes", str(codes), *options,
    ]  # fmt: skip
    taken = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.run(
            command, env=os.environ | {KEY: key}, check=False, preexec_fn=lambda: signal.signal(signal.SIGINT, taken)
        ).returncode  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, taken)


def main() -> int:
    """Serve, load, audit."""
    parser = argparse.ArgumentParser(description="Top-up channels on a real server.", allow_abbrev=False)
    parser.add_argument("--subscribers", type=int, default=1_000)
    parser.add_argument("--vouchers", type=int, default=1_000)
    given, options = parser.parse_known_args()
    end_in_order()
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        store, codes = Path(folder) / "store", Path(folder) / "codes.csv"
        try:
            subscribe(store, given.subscribers, "flat-data")
            with Server(store, "always", 1, OCS_HTTP__RATE="0") as server:
                vouchers(store, given.vouchers, codes)
                code = locust(server, given.subscribers, codes, new_key(store), options or SHORT)
                found = audit(store)
        except RigFault as fault:
            print(f"the load could not be run: {fault}", file=sys.stderr)
            return 1
    print(f"audit: {'clean' if found['clean'] else found['faults']}")
    return 0 if code == 0 and found["clean"] else 1


if __name__ == "__main__":
    sys.exit(main())
