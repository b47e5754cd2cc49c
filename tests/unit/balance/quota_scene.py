"""A gateway before the whole way of a request: config, request, plan, store, answer; the answer as python-diameter reads it."""

from pathlib import Path
from typing import Any

from diameter.message import Message as Stranger

from ocs.charging.ask import INITIAL, TERMINATION, UPDATE, ask
from ocs.rating.tariff import Tariff
from ocs.roof.build import answers_of, read_tariffs, rules_of
from ocs.settings import Settings, load
from tests.charged_store import ChargedStore, StoreRoom
from tests.unit.charging.ccr import ccr, service, services

MIB = 1_048_576
CENT = 10_000
CONFIG = Path(__file__).parents[3] / "config"
TARIFFS: dict[str, Tariff] = read_tariffs(CONFIG / "tariffs", CONFIG / "zones")
CONTEXTS = {
    "data": "32251@3gpp.org",
    "voice": "32260@3gpp.org",
    "sms": "32274@3gpp.org",
    "mms": "32270@3gpp.org",
}


def written(folder: Path, text: str) -> Settings:
    """Read settings from a file of that text."""
    file = folder / "quota.toml"
    file.write_text(text)
    return load(file)


class Gateway:
    """Says the requests of one subscriber's session."""

    def __init__(
        self,
        room: StoreRoom,
        settings: Settings,
        tariff: str = "flat",
        credit_micros: int = 0,
        tariffs: dict[str, Tariff] = TARIFFS,
        floor_micros: int = 0,
    ) -> None:
        self.room = room
        self.charged: ChargedStore = room.run(room.charged(tariffs, rules_of(settings)))
        self.answers = answers_of(settings)
        self.account = self.run(
            self.charged.subscriber("491700000001", "001010000000001", tariff, floor_micros, credit_micros)
        )
        self.number = -1

    def run(self, work: Any) -> Any:
        """Run one coroutine to its end."""
        return self.room.run(work)

    def wait(self, seconds: int) -> None:
        """Let time go by."""
        self.run(self.charged.move_time(1_000 * seconds))

    def top_up(self, micros: int, name: str = "more") -> None:
        """Add money."""
        self.run(self.charged.accounts.topup(self.account, micros, "till", name))

    def say(self, kind: int, number: int, family: str = "data", **avps: Any) -> Any:
        """Send one request; return its answer."""
        message = ccr(kind, number, **{"Service_Context_Id": CONTEXTS.get(family, family)} | avps)
        asked = ask(message)
        outcome = self.run(self.charged.charge(asked))
        return Stranger.from_bytes(self.answers.answer(message, asked, outcome))

    def begin(self, *groups: dict[str, Any], family: str = "data", **avps: Any) -> Any:
        """Open the session."""
        self.number = 0
        return self.say(INITIAL, 0, family, **services(*groups or (service(requested={}),)), **avps)

    def go_on(self, *groups: dict[str, Any], family: str = "data", **avps: Any) -> Any:
        """Report and ask."""
        self.number += 1
        return self.say(UPDATE, self.number, family, **services(*groups), **avps)

    def end(self, *groups: dict[str, Any], family: str = "data", **avps: Any) -> Any:
        """End the session."""
        self.number += 1
        return self.say(TERMINATION, self.number, family, **services(*groups), **avps)

    def book(self) -> Any:
        """Return the book as it stands."""
        account = self.run(
            self.charged.accounts.read(self.account.profile.partition, self.account.profile.account)
        )
        return account.book


def only(answer: Any) -> Any:
    """Return the one service of an answer."""
    (one,) = answer.multiple_services_credit_control
    return one
