"""The store and the model side by side: every step is done to both, and both have to look the same afterwards."""

import zlib
from dataclasses import replace
from typing import Any, NamedTuple

from ocs.balance.book import Rules
from ocs.balance.model import Model
from ocs.balance.model_actions import Deeds
from ocs.balance.model_books import Account, Member, Session, Terms
from ocs.balance.model_events import Events
from ocs.balance.model_prices import Offer, Version
from ocs.balance.model_rows import Part, RowKey
from ocs.balance.profiles import write_place, write_profile
from ocs.balance.stored_book import Book, read_book
from ocs.balance.stored_session import fields, parts, services
from ocs.charging.ask import EVENT, INITIAL, Ask, AskedService, Event
from ocs.charging.outcome import Outcome
from ocs.charging.plan import Profile, QuotaRules
from ocs.charging.quota import ByGroup, Sizes
from ocs.charging.quota_text import FAMILIES
from ocs.names import SubscriberId, e164, imsi
from ocs.outcomes import Code, Note
from ocs.rating.openings import OpenedRow
from ocs.rating.sources import COUNTER_IDS, Source, SourceKind
from ocs.records import RESERVATION, Charge, Record, SessionState, Status
from tests.charged_store import ChargedStore, StoreRoom
from tests.property.lua_text import places
from tests.property.offers import TARIFFS, revised, tariff_of
from tests.property.wallets import stored_wallet

TERMS = Terms(
    most=(1_000, 60, 3, 900),
    rate_max=(100, 2, 1, 30),
    validity_s=50,
    supervision_ms=100_000,
    tombstone_ms=30_000,
    money=70,
)
ADAPTING = TERMS._replace(
    most=(4_000, 120, 9, 900),
    chosen=(200, 20, 1),
    validity_s=45,
    adapt_s=20,
    share=25,
    restricts=True,
)
"""Grants that follow the speed of use, and no refusal for want of credit."""
POOLING = TERMS._replace(chosen=(200, 20, 1), pools={10: 1, 20: 1, None: 2})
"""Services that share credit, in two pools."""
RESTRICTING = POOLING._replace(restricts=True)


def rules_of(terms: Terms) -> Rules:
    """Return the same as the store's side takes it."""
    sizes = {}
    if terms.chosen is not None:
        one = Sizes(
            terms.chosen, terms.most[:3], terms.validity_s, terms.restricts, terms.adapt_s, terms.share
        )
        groups: dict[int | None, int] = {None: 0, **terms.pools}
        own = ByGroup({group: one._replace(pool=pool) for group, pool in groups.items()})
        sizes = dict.fromkeys(FAMILIES, own)
    return Rules(
        QuotaRules(
            *TERMS.most[:3],
            TERMS.validity_s,
            *terms.rate_max[:3],
            terms.money,
            terms.most[3],
            terms.rate_max[3],
        ),
        terms.supervision_ms,
        terms.tombstone_ms,
        1_000,
        sizes,
        refunds_newest=terms.chosen is None,  # both ways, one for each kind of terms
        pools=bool(terms.pools),
    )


CONTEXTS = {
    "data": "32251@3gpp.org",
    "voice": "32260@3gpp.org",
    "sms": "32274@3gpp.org",
    None: "x@example.org",
}


MSISDNS = ("491700000001", "491700000002", "491700000004", "491700000008")
"""Of two partitions, the third is in the second; the last is a member's, who is where its account is."""
MEMBER = "m"


def identity(text: str) -> SubscriberId:
    found = e164(text)
    assert found is not None
    return found


def _is_money(asked: AskedService) -> bool:
    """Tell whether a service of a request has units in money."""
    return any(each is not None and each.money >= 0 for each in (asked.used, asked.wanted))


class Home(NamedTuple):
    """Where a subscriber is: partition, account, and the name of a member ("": the account's own)."""

    partition: int
    account: Account
    member: str = ""


class Pair:
    """One example's world: accounts in the store and in the models, one model per partition."""

    def __init__(self, room: StoreRoom, charged: ChargedStore, partitions: int, terms: Terms = TERMS) -> None:
        self.room = room
        self.charged = charged
        self.claims: dict[tuple[str, str], tuple[str, int]] = {}
        self.models = [Model(terms, self.claims) for _ in range(partitions)]
        newest = charged.book.rules.refunds_newest
        self.events = [Events(model, refunds_newest=newest) for model in self.models]
        self.homes: list[Home] = []
        self.deeds = Deeds()
        self.asks: list[tuple[int, Ask]] = []
        self.where: dict[str, int] = {}
        self.records_seen: dict[str, int] = {}

    @classmethod
    async def made(cls, room: StoreRoom, partitions: int = 2, terms: Terms = TERMS) -> "Pair":
        pair = cls(room, await room.charged(TARIFFS, rules_of(terms), partitions), partitions, terms)
        book: Any = pair.charged.book
        book.wallets = stored_wallet
        return pair

    @property
    def accounts(self) -> Any:
        """The store's accounts."""
        return self.charged.accounts

    async def stored(self, index: int) -> Any:
        """Read a subscriber as the store has it."""
        home = self.homes[index]
        self.charged.clock.keep_up()
        if home.member:
            found = await self.accounts.find(identity(MSISDNS[index]))
        else:
            found = await self.accounts.read(home.partition, home.account.name)
        assert found is not None
        return found

    async def open(
        self, offer: Offer, floor_micros: int = 0, credit_micros: int = 0, life_ms: int = 0
    ) -> None:
        """Open the next account; ``life_ms`` -1 is one that is not used yet."""
        self.charged.clock.keep_up()
        until_ms = self.charged.now_ms + life_ms if life_ms > 0 else life_ms
        number = MSISDNS[len(self.homes)]
        own_imsi = f"26201{number[-10:]}"
        stored = await self.charged.subscriber(
            number, own_imsi, offer.key.partition("@")[0], floor_micros, credit_micros, until_ms
        )
        account = Account(
            stored.profile.account, write_profile(stored.profile), offer, floor_micros, until_ms=until_ms
        )
        self.models[stored.profile.partition].open(account, self.charged.now_ms, credit_micros)
        self.deeds.accounts[account.name] = account
        self.homes.append(Home(stored.profile.partition, account))

    async def join(self, index: int, offer: Offer) -> None:
        """Let the next subscriber be a member of an account."""
        partition, account, _ = self.homes[index]
        number = MSISDNS[len(self.homes)]
        stored = await self.stored(index)
        profile = stored.profile._replace(
            msisdn=number, imsi=f"26201{number[-10:]}", tariff=offer.key.partition("@")[0], member=MEMBER
        )
        code = await self.accounts.join(stored, profile)
        member = Member(MEMBER, write_profile(profile), offer)
        assert code == self.models[partition].join(account, member, self.charged.now_ms)
        for each in (identity(number), imsi(f"26201{number[-10:]}")):
            assert each is not None
            await self.charged.store.execute(0, "SET", each.key, write_place(partition, profile.path))
        self.homes.append(Home(partition, account, MEMBER))

    async def amend(
        self, index: int, *, status: Status | None = None, offer: Offer | None = None, floor_micros: int | None = None
    ) -> None:  # fmt: skip
        """Bar, unbar, terminate, give another tariff, or another credit floor."""
        partition, account, member = self.homes[index]
        stored = await self.stored(index)
        profile: Profile | None = None
        if offer is not None:
            profile = stored.profile._replace(tariff=offer.key.partition("@")[0])
        text = write_profile(profile) if profile is not None else ""
        code = await self.accounts.amend(stored, status=status, profile=profile, floor_micros=floor_micros)
        expected = self.models[partition].amend(
            account, self.charged.now_ms, status=status, profile=text, offer=offer, member=member, floor_micros=floor_micros
        )  # fmt: skip
        assert code == expected

    async def credit(self, index: int, topup_id: str, amount_micros: int, extend_ms: int = 0) -> None:
        """Top up, perhaps under an id that is used already."""
        partition, account, _ = self.homes[index]
        stored = await self.stored(index)
        self.accounts.brings = _Extends(extend_ms)
        done = await self.accounts.topup(stored, amount_micros, "test", topup_id)
        model = self.models[partition]
        expected = model.credit(account, "test", topup_id, amount_micros, self.charged.now_ms, extend_ms)
        assert (done.code, done.replayed) == expected

    async def open_rows(
        self, index: int, rows: list[tuple[int, int, int, int, int]], price_micros: int
    ) -> None:
        """Open rows; a member's are its own, and its account's money pays."""
        partition, account, member = self.homes[index]
        stored = await self.stored(index)
        new = [OpenedRow(*row) for row in rows]
        code, *_ = await self.accounts.open_rows(stored, new, price_micros, "buy", own=int(bool(member)))
        model, now_ms = self.models[partition], self.charged.now_ms
        assert code == model.open_rows(account, rows, price_micros, "buy", now_ms, member=member)

    async def release(self, offer: Offer, ahead_ms: int, *, takes_along: bool) -> None:
        """Let the next version of an offer be known, to count from some time ahead."""
        self.charged.clock.keep_up()
        known = self.charged.book.tariffs.versions(offer.key.partition("@")[0])
        later, effective_ms = revised(offer, known[0].version + 1), self.charged.now_ms + ahead_ms
        tariff = replace(tariff_of(later), effective_ms=effective_ms, takes_along=takes_along)
        self.charged.book.tariffs.add([tariff])
        for model in self.models:
            model.versions.append(Version(later, effective_ms, takes_along))

    async def expire(self, index: int, session_id: str, *, forced: bool) -> None:
        """Let the sweeper, or an operator, end a session."""
        partition, account, _ = self.homes[index]
        session = account.sessions.get(session_id)
        path = f"{account.name}/{session.member}" if session is not None and session.member else account.name
        code = await self.charged.expire(partition, path, session_id, TERMS.tombstone_ms, forced=forced)
        assert code == self.models[partition].expire(account, session_id, self.charged.now_ms, forced=forced)

    async def charge(self, index: int, ask: Ask) -> Outcome:
        """Charge one request on both sides."""
        actual = await self.charged.charge(ask)
        told = actual.notes
        expected, charged = self._expected(index, ask)
        actual = actual._replace(notes=Note(told & ~Note.WHERE), more=None)
        assert actual == expected, f"\nstore {actual}\nmodel {expected}"
        first = bool(told & Note.WHERE) or (bool(told & Note.REPLAY) and ask.kind == INITIAL)
        if first and expected.code == Code.SUCCESS:
            self.where[ask.session_id] = charged
        self.asks.append((index, ask))
        return expected

    async def event(self, index: int, ask: Ask) -> Outcome:
        """Charge one one-time event on both sides."""
        partition, account, member = self.homes[index]
        actual = await self.charged.charge(ask)
        expected = self.events[partition].charge(account, ask, self.charged.now_ms, member)
        assert actual == expected, f"\nstore {actual}\nmodel {expected}"
        self.asks.append((index, ask))
        return expected

    def refundable(self, index: int, ask: Ask) -> dict[str, int]:
        """Return what a debit has left to be refunded, by service; nothing where the request is none."""
        partition, account, member = self.homes[index]
        return self.events[partition].left(account, member, ask)

    def event_ask(
        self,
        index: int,
        session_id: str,
        number: int,
        event: Event,
        services: tuple[AskedService, ...],
        family: str | None,
        information: dict[str, Any] | None = None,
    ) -> Ask:
        """A one-time event of an account, its digest made of its content."""
        ask = self.ask(index, session_id, EVENT, number, services, family, information=information)
        digest = zlib.crc32(repr((index, services, family, event)).encode())
        return ask._replace(digest=digest, event=event)

    def _expected(self, index: int, ask: Ask) -> tuple[Outcome, int]:
        """What the model says: of the account named, or, where none is, of the one for which the session was opened."""
        opened_for = self.where.get(ask.session_id)
        nothing = Outcome(Code.UNKNOWN_SESSION, Note(0), ())
        expected = self._modelled(index, ask) if ask.ids else nothing
        if opened_for is not None and not ask.ids:
            return self._modelled(opened_for, ask), opened_for
        return expected, index

    def _modelled(self, index: int, ask: Ask) -> Outcome:
        partition, account, member = self.homes[index]
        return self.models[partition].charge(account, ask, self.charged.now_ms, member)

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
        currency = None
        if any(_is_money(each) for each in services):  # some are in money that no account here has
            currency = 0 if kind == EVENT or digest % (9, 9, 4, 2)[kind] else 840
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
            correlation=f"icid-{number}" if number % 3 else "",
            currency=currency,
        )

    async def agree(self) -> None:
        """Compare everything that both sides keep."""
        for partition, model in enumerate(self.models):
            await self._agree(partition, model)

    async def _agree(self, partition: int, model: Model) -> None:
        keys = self.charged.parts.keys[partition]
        accounts = list(model.accounts.values())
        sessions = {name: each for account in accounts for name, each in account.sessions.items()}
        names = [keys.book(name) for each in accounts for name in _books(each)]
        names += [keys.session(name) for name in sessions]
        names += [keys.owed(each.name) for each in accounts]
        if not names:
            return
        seen = await self.charged.look(partition, names)
        for account in accounts:
            for name, expected in _books(account).items():
                actual = _stored_book(read_book(seen.values[keys.book(name)]))
                assert actual == expected, f"{name}\nstore {actual}\nmodel {expected}"
            new = tuple(_comparable(each) for each in seen.records if each.account == account.name)
            known = tuple(
                _comparable(each) for each in account.records[self.records_seen.get(account.name, 0) :]
            )
            assert new == known, f"\nstore {new}\nmodel {known}"
            self.records_seen[account.name] = len(account.records)
            assert int(seen.values[keys.owed(account.name)] or 0) == account.owed_micros
        for name, session in sessions.items():
            assert stored_session(seen.values[keys.session(name)]) == told_session(session)
        due_ms = {name: each.due_ms for name, each in sessions.items() if each.state is SessionState.OPEN}
        assert set(seen.due_ms) == set(due_ms)
        for name, indexed_ms in seen.due_ms.items():  # it may run early, so that not every request moves it
            early_ms = 0 if name.startswith(RESERVATION) else TERMS.supervision_ms / 8
            assert due_ms[name] - early_ms <= indexed_ms <= due_ms[name]


_Rows = dict[RowKey, tuple[int, int, int, int, int]]


class _Extends:
    """What a top-up brings besides its money: time, and nothing else."""

    def __init__(self, extend_ms: int) -> None:
        self.extend_ms = extend_ms

    async def extends_ms(self, _partition: int, _account: str, _amount_micros: int) -> int:
        return self.extend_ms

    async def follow(self, _partition: int, _account: str, _amount_micros: int, _name: str) -> None:
        """Nothing follows."""


class _Told(NamedTuple):
    """A book as both sides tell it; the sequence of a member's own is nobody's business."""

    money: tuple[int, int, int, int]
    version: int
    status: int
    sessions_open: int
    sequence: int
    until_ms: int
    rows: _Rows


def _books(account: Account) -> dict[str, _Told]:
    """The books that a model's account should have in the store, by the name in their keys."""
    told = {
        account.name: _Told(
            (*account.money, account.floor_micros), account.version, account.status, account.asking(""),
            account.sequence, account.until_ms, account.told_rows(""),
        )
    }  # fmt: skip
    for name, member in account.members.items():
        posted_micros, pending_micros = account.own_money(name)
        told[f"{account.name}/{name}"] = _Told(
            (0, posted_micros, pending_micros, 0), 1, member.status,
            account.asking(name), 0, 0, account.told_rows(name),
        )  # fmt: skip
    return told


def _stored_book(stored: Book) -> _Told:
    book: Any = stored
    rows = {
        (row.id, row.start_ms): (row.unit, row.until_ms, row.amount, row.used, row.pending)
        for row in book.rows
        if row.used or row.pending or row.id < COUNTER_IDS  # a counter that stands at nothing is none
    }
    return _Told(
        (book.credits_micros, book.posted_micros, book.pending_micros, book.floor_micros), book.version, book.status,
        book.sessions_open, book.sequence, book.until_ms, rows,
    )  # fmt: skip


_SESSION, _SERVICE = places("S_"), places("V_")


def _comparable(record: Record) -> Record:
    """A record without the note that tells the worker to write a pointer: it is no money."""
    if not isinstance(record, Charge):
        return record
    return record._replace(notes=record.notes & ~Note.WHERE, parts=tuple(sorted(record.parts)))


def stored_session(text: bytes | None) -> dict[str, Any] | None:
    """What the store keeps of a session, as far as the model knows it too."""
    if text is None:
        return None
    flat = fields(text)
    names = ("state", "account", "tariff", "due", "facts")
    state, account, tariff, due_ms, facts = (flat[_SESSION[name]] for name in names)
    is_open = state == SessionState.OPEN
    listed = parts(flat)
    held = {
        row[_SERVICE["key"]]: {
            "unit": row[_SERVICE["unit"]],
            "position": row[_SERVICE["position"]],
            "rate": row[_SERVICE["rate"]],
            "posted": row[_SERVICE["posted"]],
            "grant": row[_SERVICE["grant"]],
            "hold": row[_SERVICE["hold"]],
            "number": row[_SERVICE["number"]] if is_open else None,  # nothing depends on it any more
            "parts": [each[1:] for each in listed if each.service == place],
        }
        for place, row in enumerate(services(flat), 1)
    }
    due = due_ms if is_open else None
    return {
        "state": state, "account": account, "tariff": tariff, "due": due, "facts": facts, "services": held
    }  # fmt: skip


def _source_of(part: Part) -> Source:
    """A part's source as the store has it: of a leftover only what is open counts."""
    kind, own, *rest = part.source
    return Source(int(kind), int(own), *rest)._replace(**({"block": 0} if part.leftover else {}))


def told_session(session: Session) -> dict[str, Any]:
    """The same of the model's session."""
    services = {
        key: {
            "unit": each.unit,
            "position": each.used.position,
            "rate": each.rate,
            "posted": each.posted_micros,
            "grant": each.grant,
            "hold": each.hold_micros,
            "number": each.number if session.state is SessionState.OPEN else None,
            "parts": [
                (*_source_of(part), part.open, part.held)
                for part in each.parts
                if part.source.kind != SourceKind.BLOCK
            ],
        }
        for key, each in session.services.items()
    }
    is_open = session.state is SessionState.OPEN
    return {
        "state": session.state,
        "account": f"{session.account}/{session.member}" if session.member else session.account,
        "tariff": session.offer.key,
        "due": session.due_ms if is_open else None,
        "facts": session.place.text,
        "services": services,
    }
