"""Conservation (DESIGN law 4), after random scripts, from what the store holds alone: no model is asked."""

from collections import defaultdict
from typing import Any

from hypothesis import given, settings

from ocs.balance.audit import audit
from ocs.balance.model_books import Terms
from ocs.balance.parts import unpacked
from ocs.balance.stored_book import Book, read_book
from ocs.balance.stored_session import fields, services
from ocs.records import ACCOUNTING, Account, Charge, Expire, Record, Rows, SessionState, Topup, read
from tests.charged_store import ChargedStore, StoreRoom
from tests.property.lua_text import places
from tests.property.pair import POOLING, TERMS
from tests.property.scripts import Opening, openings, play, pool_openings, scripts, where_the_server_chooses

SESSION, SERVICE = places("S_"), places("V_")


async def all_of(charged: ChargedStore, pattern: str) -> dict[str, bytes]:
    """Every key that matches, with its value."""
    names = await charged.store.execute(0, "KEYS", pattern)
    if not names:
        return {}
    values = await charged.store.execute(0, "MGET", *names)
    return {name.decode(): value for name, value in zip(names, values, strict=True) if value is not None}


async def holds(charged: ChargedStore) -> dict[str, list[int]]:
    """What every open session holds, by account and, for a member of one, by its path too; one of accounting under a name of its own."""
    found: dict[str, list[int]] = defaultdict(list)
    for key, text in (await all_of(charged, "*:session:*")).items():
        flat = fields(text)
        held = sum(row[SERVICE["hold"]] for row in services(flat))
        if flat[SESSION["state"]] != SessionState.OPEN or f":session:{ACCOUNTING}" in key:
            assert held == 0, "a session that has ended holds nothing, and one of accounting never does"
        if flat[SESSION["state"]] == SessionState.OPEN and f":session:{ACCOUNTING}" in key:
            found[ACCOUNTING].append(held)
        elif flat[SESSION["state"]] == SessionState.OPEN:
            path = flat[SESSION["account"]]
            for name in {path, path.partition("/")[0]}:
                found[name].append(held)
    return found


def replayed(account: str, records: list[Record], book: Book) -> None:
    """Walk an account's records: every number, every movement, every sum, up to the book."""
    credits_micros = posted_micros = 0
    for sequence, record in enumerate(records, start=1):
        assert record.sequence == sequence, f"{account}: the sequence is dense"
        assert isinstance(record, Account | Topup | Charge | Expire | Rows)
        if isinstance(record, Topup):
            credits_micros += record.amount_micros
        if isinstance(record, Rows):
            posted_micros += record.price_micros
        if isinstance(record, Charge):
            posted_micros += sum(line.amount_micros for line in record.lines)
        assert (record.credits_micros, record.posted_micros) == (credits_micros, posted_micros)
    last = records[-1]
    assert isinstance(last, Account | Topup | Charge | Expire | Rows)
    told = (last.credits_micros, last.posted_micros, last.pending_micros, last.sequence)
    assert told == (book.credits_micros, book.posted_micros, book.pending_micros, book.sequence)


async def conserved(charged: ChargedStore) -> None:
    """Prove that nothing was lost or made: holds, chains, due index."""
    open_holds = await holds(charged)
    texts = await all_of(charged, "*:book:*")
    books = {name.rpartition(":")[2]: read_book(text) for name, text in texts.items()}
    own = {name: books.pop(name) for name in sorted(books) if "/" in name}
    for name, book in own.items():
        account = books[name.partition("/")[0]]
        assert book.credits_micros == 0, f"{name}: money comes in with the account"
        assert 0 <= book.posted_micros <= account.posted_micros
        assert book.pending_micros == sum(open_holds[name]), f"{name}: pending is the sum of its own holds"
        assert book.sessions_open == len(open_holds[name])
        assert book.pending_micros <= account.pending_micros
    for name, book in books.items():
        assert book.pending_micros == sum(open_holds[name]), f"{name}: pending is the sum of the holds"
        assert book.sessions_open == len(open_holds[name])
    told: dict[str, list[Record]] = defaultdict(list)
    due = 0
    for keys in charged.parts.keys:
        due += await charged.store.execute(keys.slot, "ZCARD", keys.due)
        for _, row in await charged.store.execute(keys.slot, "XRANGE", keys.stream, "-", "+"):
            record = read(unpacked(row[1]))
            told[record.account].append(record)
    for name, book in books.items():
        replayed(name, told[name], book)
    opened = sum(len(each) for name, each in open_holds.items() if "/" not in name)
    assert due == opened, "the due index is the open sessions"


@settings(max_examples=30)
@given(openings, scripts(20, 40))
def test_after_any_script_nothing_is_lost_or_made_and_the_audit_agrees(
    room: StoreRoom, opening: Opening, script: list[Any]
) -> None:
    _conserves(room, opening, script, TERMS)


@settings(max_examples=30)
@given(pool_openings, scripts(20, 40))
def test_after_any_script_of_credit_pools_nothing_is_lost_or_made_and_the_audit_agrees(
    room: StoreRoom, opening: Opening, script: list[Any]
) -> None:
    _conserves(room, opening, where_the_server_chooses(script), POOLING)


def _conserves(room: StoreRoom, opening: Opening, script: list[Any], terms: Terms) -> None:
    async def run() -> None:
        charged = (await play(room, opening, script, terms=terms)).charged
        await conserved(charged)
        report = await audit(charged.parts)
        assert report.faults == []

    room.run(run())
