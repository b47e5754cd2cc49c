"""Top-up channels as users of locust: tills that top up, repeat themselves, look balances up, redeem vouchers, and are wrong at times.

    LOAD_KEY=ocs_… python -m locust -f loadtests/topups.py --host http://127.0.0.1:8080 --first 491700000000 --subscribers 1000
    … --headless --users 50 --spawn-rate 10 --run-time 60s          without locust's page (http://localhost:8089)
    make load [ARGS='--run-time 60s …']                             a server and all that it needs, for the run alone

Laws
1. The server's answers are judged: what is not what the API promises is a failure in locust's table, and its exit code.
2. It is locust's to run, in a process of its own; nothing imports it.
"""

import csv
import itertools
import json
import secrets
import sys
from argparse import ArgumentParser
from pathlib import Path
from random import Random
from typing import Any

from locust import between, events, task
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment

BASE = "/tmf-api/prepayBalanceManagement/v4"
TOPUPS = f"{BASE}/topupBalance"
NOBODY = "390000000001"
REMEMBERED = 50
"""Top-ups of its own that a till may repeat or ask about."""


def add_options(parser: ArgumentParser) -> None:
    """Add what a run has to know of the server."""
    secret: dict[str, Any] = {"env_var": "LOAD_KEY", "is_secret": True}
    parser.add_argument(
        "--key", default="", help="API key of a channel (ocs keys create --role channel)", **secret
    )
    parser.add_argument("--first", type=int, default=491_700_000_000, help="first MSISDN")
    parser.add_argument("--subscribers", type=int, default=1_000, help="consecutive MSISDNs")
    parser.add_argument(
        "--codes", default="", help="export of an active batch of vouchers (ocs vouchers make)"
    )


class Tills:
    """What all tills share: who there is to top up, and the codes of vouchers, each for one of them."""

    def __init__(self) -> None:
        self.first, self.subscribers = 0, 1
        self.codes: list[str] = []
        self.numbers = itertools.count()
        self.stamp = secrets.token_hex(4)


SHARED = Tills()


def read_options(environment: Environment, **_rest: Any) -> None:
    """Read the options, and the codes."""
    given = environment.parsed_options
    if given is None or not given.key:
        sys.exit("give the API key as LOAD_KEY")
    SHARED.first, SHARED.subscribers = given.first, given.subscribers
    if given.codes:
        with Path(given.codes).open(encoding="utf-8", newline="") as file:
            SHARED.codes = [row["code"] for row in csv.DictReader(file)]


events.init_command_line_parser.add_listener(add_options)
events.init.add_listener(read_options)


class Till(FastHttpUser):
    """A till, an app or a bank: one after the other, with a pause for its customers."""

    wait_time = between(0.05, 0.5)

    def on_start(self) -> None:
        """Begin with nothing remembered."""
        options = self.environment.parsed_options
        self._head = {"Authorization": f"Bearer {options.key if options is not None else ''}"}
        self._done: list[tuple[dict[str, Any], Any]] = []
        self._random = Random()

    @task(20)
    def top_up(self) -> None:
        """Top up under a new id."""
        self._top_up(self._wanted(), "top up")

    @task(2)
    def repeat(self) -> None:
        """Say again what was said before: the same answer, and no money."""
        if self._done:
            wanted, answer = self._random.choice(self._done)
            self._top_up(wanted, "top up: the same again", answer)

    @task(1)
    def contradict(self) -> None:
        """Say something else under an id that is taken."""
        if self._done:
            wanted, _answer = self._random.choice(self._done)
            other = wanted | {"amount": {"amount": 99.75, "units": "EUR"}}
            self._refused(other, 409, "top up: other content under one id")

    @task(3)
    def ask(self) -> None:
        """Ask what became of a top-up, as after a time-out."""
        if self._done:
            wanted, _answer = self._random.choice(self._done)
            self._read(f"{TOPUPS}/{wanted['id']}", "ask by id", "completed")

    @task(10)
    def look_up(self) -> None:
        """Look a balance up."""
        self._read(f"{BASE}/bucket?logicalResource.id={self._number()}", "look up", "monetary")

    @task(1)
    def redeem(self) -> None:
        """Redeem a voucher, while there are any."""
        if SHARED.codes:
            wanted = self._wanted() | {"voucher": SHARED.codes.pop()}
            del wanted["amount"]
            self._top_up(wanted, "redeem")

    @task(2)
    def err(self) -> None:
        """Send what is wrong, and be told so."""
        wanted = self._wanted()
        wrong = self._random.choice((
            {"amount": {"amount": 0, "units": "EUR"}},
            {"amount": {"amount": -5, "units": "EUR"}},
            {"amount": {"amount": 1.0000001, "units": "EUR"}},
            {"amount": {"amount": "ten", "units": "EUR"}},
            {"amount": {"amount": 10, "units": "XTS"}},
            {"amount": {"amount": 1e12, "units": "EUR"}},
            {"amonut": 10},
            {"logicalResource": [{"id": NOBODY}]},
        ))  # fmt: skip
        self._refused(wanted | wrong, 400, "bad input")

    def _number(self) -> str:
        return str(SHARED.first + self._random.randrange(SHARED.subscribers))

    def _wanted(self) -> dict[str, Any]:
        return {
            "id": f"t-{SHARED.stamp}-{next(SHARED.numbers)}",
            "amount": {"amount": self._random.choice((5, 10, 15, 25.5)), "units": "EUR"},
            "usageType": "monetary",
            "logicalResource": [{"id": self._number()}],
        }

    def _top_up(self, wanted: dict[str, Any], name: str, before: Any = None) -> None:
        with self.client.post(TOPUPS, json=wanted, headers=self._head, name=name, catch_response=True) as got:
            if got.status_code != 201:
                got.failure(f"{got.status_code}: {got.text}")
                return
            answer = json.loads(got.text or "")
            if before is not None and answer != before:
                got.failure(f"another answer than before: {got.text}")
            elif before is None:
                self._done = [*self._done[1 - REMEMBERED :], (wanted, answer)]

    def _refused(self, wanted: dict[str, Any], status: int, name: str) -> None:
        with self.client.post(TOPUPS, json=wanted, headers=self._head, name=name, catch_response=True) as got:
            if got.status_code == status:
                got.success()
            else:
                got.failure(f"{got.status_code} where {status} is right: {got.text}")

    def _read(self, path: str, name: str, says: str) -> None:
        with self.client.get(path, headers=self._head, name=name, catch_response=True) as got:
            if got.status_code != 200 or says not in (got.text or ""):
                got.failure(f"{got.status_code}: {got.text}")
