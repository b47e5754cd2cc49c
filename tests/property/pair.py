"""The store and the model side by side: every step is done to both, and both have to look the same afterwards."""

import zlib
from typing import Any

from ocs.balance.book import Rules
from ocs.balance.model import Model
from ocs.balance.model_books import Account, Session, Terms
from ocs.balance.model_prices import Offer
from ocs.balance.profiles import write_profile
from ocs.balance.stored_book import read_book
from ocs.balance.stored_session import fields, services
from ocs.charging.ask import INITIAL, Ask, AskedService
from ocs.charging.outcome import Outcome
from ocs.charging.plan import Profile, QuotaRules
from ocs.names import SubscriberId, e164, imsi
from ocs.outcomes import Code, Note
from ocs.records import Charge, Record, SessionState, Status
from tests.charged_store import ChargedStore, StoreRoom
from tests.property.lua_text import places
from tests.property.offers import TARIFFS

TERMS = Terms(
    most=(1_000, 60, 3), rate_max=(100, 2, 1), validity_s=50, supervision_ms=100_000, tombstone_ms=30_000
)
RULES = Rules(
    QuotaRules(*TERMS.most, TERMS.validity_s, *TERMS.rate_max),
    TERMS.supervision_ms,
    TERMS.tombstone_ms,
    1_000,
)
CONTEXTS = {
    "data": "32251@3gpp.org",
    "voice": "32260@3gpp.org",
    "sms": "32274@3gpp.org",
    None: "x@example.org",
}


MSISDNS = ("491700000001", "491700000002", "491700000004")  # of two partitions, the last is in the second


def identity(text: str) -> SubscriberId:
    found = e164(text)
    assert found is not None
    return found


class Pair:
    """One example's world: accounts in the store and in the models, one model per partition."""

    def __init__(self, room: StoreRoom, charged: ChargedStore, partitions: int) -> None:
        self.room = room
        self.charged = charged
        self.claims: dict[tuple[str, str], tuple[str, int]] = {}
        self.models = [Model(TERMS, self.claims) for _ in range(partitions)]
        self.homes: list[tuple[int, Account]] = []
        self.asks: list[tuple[int, Ask]] = []
        self.where: dict[str, int] = {}
        self.records_seen: dict[str, int] = {}

    @classmethod
    async def made(cls, room: StoreRoom, partitions: int = 2) -> "Pair":
        return cls(room, await room.charged(TARIFFS, RULES, partitions), partitions)

    async def open(self, offer: Offer, floor_micros: int = 0, credit_micros: int = 0) -> None:
        """Open the next account."""
        number = MSISDNS[len(self.homes)]
        own_imsi = f"26201{number[-10:]}"
        stored = await self.charged.subscriber(
            number, own_imsi, offer.key.partition("@")[0], floor_micros, credit_micros
        )
        account = Account(stored.profile.account, write_profile(stored.profile), offer, floor_micros)
        self.models[stored.profile.partition].open(account, self.charged.now_ms, credit_micros)
        self.homes.append((stored.profile.partition, account))

    async def amend(self, index: int, *, status: Status | None = None, offer: Offer | None = None) -> None:
        """Bar, unbar, terminate, or give another tariff."""
        partition, account = self.homes[index]
        self.charged.clock.keep_up()
        stored = await self.charged.accounts.read(partition, account.name)
        assert stored is not None
        profile: Profile | None = None
        if offer is not None:
            profile = stored.profile._replace(tariff=offer.key.partition("@")[0])
        text = write_profile(profile) if profile is not None else ""
        code = await self.charged.accounts.amend(stored, status=status, profile=profile)
        now_ms = self.charged.now_ms
        assert code == self.models[partition].amend(account, now_ms, status=status, profile=text, offer=offer)

    async def credit(self, index: int, topup_id: str, amount_micros: int) -> None:
        """Top up, perhaps under an id that is used already."""
        partition, account = self.homes[index]
        self.charged.clock.keep_up()
        stored = await self.charged.accounts.read(partition, account.name)
        assert stored is not None
        done = await self.charged.accounts.topup(stored, amount_micros, "test", topup_id)
        model = self.models[partition]
        expected = model.credit(account, "test", topup_id, amount_micros, self.charged.now_ms)
        assert (done.code, done.replayed) == expected

    async def expire(self, index: int, session_id: str, *, forced: bool) -> None:
        """Let the sweeper, or an operator, end a session."""
        partition, account = self.homes[index]
        code = await self.charged.expire(
            partition, account.name, session_id, TERMS.tombstone_ms, forced=forced
        )
        assert code == self.models[partition].expire(account, session_id, self.charged.now_ms, forced=forced)

    async def charge(self, index: int, ask: Ask) -> Outcome:
        """Charge one request on both sides."""
        actual = await self.charged.charge(ask)
        told = actual.notes
        expected, charged = self._expected(index, ask)
        actual = actual._replace(notes=Note(told & ~Note.WHERE))
        assert actual == expected, f"\nstore {actual}\nmodel {expected}"
        first = bool(told & Note.WHERE) or (bool(told & Note.REPLAY) and ask.kind == INITIAL)
        if first and expected.code == Code.SUCCESS:
            self.where[ask.session_id] = charged
        self.asks.append((index, ask))
        return expected

    def _expected(self, index: int, ask: Ask) -> tuple[Outcome, int]:
        """What the model says: of the account named, or, where none is, of the one for which the session was opened."""
        opened_for = self.where.get(ask.session_id)
        nothing = Outcome(Code.UNKNOWN_SESSION, Note(0), ())
        expected = self._modelled(index, ask) if ask.ids else nothing
        if opened_for is not None and not ask.ids:
            return self._modelled(opened_for, ask), opened_for
        return expected, index

    def _modelled(self, index: int, ask: Ask) -> Outcome:
        partition, account = self.homes[index]
        return self.models[partition].charge(account, ask, self.charged.now_ms)

    def ask(
        self,
        index: int,
        session_id: str,
        kind: int,
        number: int,
        services: tuple[AskedService, ...],
        family: str | None = "data",
        *,
        named: str = "msisdn",
        information: dict[str, Any] | None = None,
    ) -> Ask:
        """A request of an account, its digest made of its content."""
        number_text = MSISDNS[index]
        second = imsi(f"26201{number_text[-10:]}")
        assert second is not None
        first = identity(number_text)
        ids = {"msisdn": (first,), "both": (second, first), "nobody": ()}[named]
        digest = zlib.crc32(repr((index, services, family)).encode())
        return Ask(
            kind,
            session_id,
            number,
            family,
            CONTEXTS[family],
            ids,
            services,
            digest,
            True,
            "gw",
            "example.org",
            information,
        )

    async def agree(self) -> None:
        """Compare everything that both sides keep."""
        for partition, model in enumerate(self.models):
            await self._agree(partition, model)

    async def _agree(self, partition: int, model: Model) -> None:
        keys = self.charged.parts.keys[partition]
        accounts = list(model.accounts.values())
        sessions = {name: each for account in accounts for name, each in account.sessions.items()}
        names = [keys.book(each.name) for each in accounts] + [keys.session(name) for name in sessions]
        if not names:
            return
        seen = await self.charged.look(partition, names)
        for account in accounts:
            book = read_book(seen.values[keys.book(account.name)])
            assert book == (*account.money, account.floor_micros, account.sequence, account.version,
                            account.status, len(account.open_sessions))  # fmt: skip
            new = tuple(_without_where(each) for each in seen.records if each.account == account.name)
            known = self.records_seen.get(account.name, 0)
            assert new == tuple(account.records[known:]), f"\nstore {new}\nmodel {account.records[known:]}"
            self.records_seen[account.name] = len(account.records)
        for name, session in sessions.items():
            assert stored_session(seen.values[keys.session(name)]) == told_session(session)
        due_ms = {name: each.due_ms for name, each in sessions.items() if each.state is SessionState.OPEN}
        assert set(seen.due_ms) == set(due_ms)
        for name, indexed_ms in seen.due_ms.items():  # it may run early, so that not every request moves it
            assert due_ms[name] - TERMS.supervision_ms / 8 <= indexed_ms <= due_ms[name]


_SESSION, _SERVICE = places("S_"), places("V_")


def _without_where(record: Record) -> Record:
    """A record without the note that tells the worker to write a pointer: it is no money."""
    return record._replace(notes=record.notes & ~Note.WHERE) if isinstance(record, Charge) else record


def stored_session(text: bytes | None) -> dict[str, Any] | None:
    """What the store keeps of a session, as far as the model knows it too."""
    if text is None:
        return None
    flat = fields(text)
    names = ("state", "account", "tariff", "due", "facts")
    state, account, tariff, due_ms, facts = (flat[_SESSION[name]] for name in names)
    is_open = state == SessionState.OPEN
    held = {
        row[_SERVICE["key"]]: {
            "unit": row[_SERVICE["unit"]],
            "position": row[_SERVICE["position"]],
            "rate": row[_SERVICE["rate"]],
            "posted": row[_SERVICE["posted"]],
            "grant": row[_SERVICE["grant"]],
            "hold": row[_SERVICE["hold"]],
            "number": row[_SERVICE["number"]] if is_open else None,  # nothing depends on it any more
        }
        for row in services(flat)
    }
    due = due_ms if is_open else None
    return {
        "state": state, "account": account, "tariff": tariff, "due": due, "facts": facts, "services": held
    }  # fmt: skip


def told_session(session: Session) -> dict[str, Any]:
    """The same of the model's session."""
    services = {
        key: {
            "unit": each.unit,
            "position": each.used.position,
            "rate": each.mark,
            "posted": each.posted_micros,
            "grant": each.grant,
            "hold": each.hold_micros,
            "number": each.number if session.state is SessionState.OPEN else None,
        }
        for key, each in session.services.items()
    }
    is_open = session.state is SessionState.OPEN
    return {
        "state": session.state,
        "account": session.account,
        "tariff": session.offer.key,
        "due": session.due_ms if is_open else None,
        "facts": session.place.text,
        "services": services,
    }
