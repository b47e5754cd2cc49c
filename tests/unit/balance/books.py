"""A small network for tests of audit, archive and sweep: one tariff, a few requests, on a real store."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ocs.balance.book import Rules
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE, Ask, AskedService, Units
from ocs.charging.outcome import Outcome
from ocs.charging.plan import QuotaRules
from ocs.names import E164, SubscriberId
from ocs.rating.tariff import read_tariff
from tests.charged_store import ChargedStore, StoreRoom, store_room
from tests.real_valkey import RealValkey

MIB = 1_048_576
CONFIG = Path(__file__).parents[3] / "config" / "tariffs"
TARIFFS = {name: read_tariff((CONFIG / f"{name}.yaml").read_text(), name) for name in ("flat-data",)}
RULES = Rules(QuotaRules(10 * MIB, 60, 1, 3_600, 1_250_000_000, 2, 100), 7_200_000, 300_000, 1_000)


class Network:
    """One subscriber with money on a real store, and the requests of its gateway."""

    def __init__(self, room: StoreRoom, msisdn: str = "491700000001", credit_micros: int = 1_000_000) -> None:
        self.room = room
        self.ids = (SubscriberId(E164, msisdn),)
        self.charged: ChargedStore = room.run(room.charged(TARIFFS, RULES))
        self.account = self.run(self.charged.subscriber(msisdn, "", "flat-data"))
        self.run(self.charged.accounts.topup(self.account, credit_micros, "till", "first"))

    def run(self, work: Any) -> Any:
        """Run one coroutine to its end."""
        return self.room.run(work)

    @property
    def partition(self) -> int:
        """Where the account lives."""
        return int(self.account.profile.partition)

    def asked(
        self,
        kind: int,
        number: int,
        *,
        used: int | None = None,
        wants: int | None = None,
        session: str = "s;1",
    ) -> Ask:
        """One request of the session for rating group 10, not sent yet."""
        service = AskedService(
            "10",
            10,
            None,
            None if used is None else Units(octets=used),
            None if wants is None else Units(octets=wants),
        )
        digest = hash((kind, number, used, wants)) & 0xFFFF_FFFF_FFFF
        context = "32251@3gpp.org"
        return Ask(
            kind,
            session,
            number,
            "data",
            context,
            self.ids,
            (service,),
            digest,
            True,
            "gw.example.org",
            "example.org",
        )

    def ask(
        self,
        kind: int,
        number: int,
        *,
        used: int | None = None,
        wants: int | None = None,
        session: str = "s;1",
    ) -> Outcome:
        """One request of the session for rating group 10."""
        asked = self.asked(kind, number, used=used, wants=wants, session=session)
        outcome: Outcome = self.run(self.charged.charge(asked))
        return outcome

    def session(self, name: str = "s;1") -> None:
        """A session of two MiB from beginning to end."""
        self.ask(INITIAL, 0, wants=2 * MIB, session=name)
        self.ask(UPDATE, 1, used=MIB, wants=2 * MIB, session=name)
        self.ask(TERMINATION, 2, used=MIB, session=name)

    def book(self) -> Any:
        """The book as it stands."""
        return self.run(self.charged.accounts.find(self.ids[0])).book

    def execute(self, *arguments: str | int | bytes) -> Any:
        """One command in the account's slot."""
        return self.run(self.charged.store.execute(self.charged.parts.keys[self.partition].slot, *arguments))


@contextmanager
def network(server: RealValkey) -> Iterator[Network]:
    """A Network on an emptied server."""
    with store_room(server) as room:
        yield Network(room)
