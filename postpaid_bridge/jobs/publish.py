"""Documents of published bills and of queued letters: frozen, made, filed, and handed over to the mail server.

Laws
1. Three steps, each resumed where it was killed: facts are frozen (sql/document_facts), documents are made of them and filed, deliveries are
   sent. What is done is not done again; what was half done comes out the same.
2. A document that fails is parked with its reason, and the rest goes on. A folder that cannot be written stops the job: that is no
   document's fault.
3. A mail is claimed before it is handed over and noted behind it (sql/deliveries, law 3). Failures are tried again after growing pauses;
   a recipient or a message that is refused for good fails at once.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, select

from ocs.care.customers.tables import billing_accounts, parties
from ocs.clock import Clock
from ocs.notices.senders import Mail, Undelivered, hand_over
from ocs.sql import reading, writing
from postpaid_bridge.documents.facts import thawed
from postpaid_bridge.documents.letter import letter_page, letter_thawed
from postpaid_bridge.documents.mail_text import Envelope, MailFault, message, single_address
from postpaid_bridge.documents.page import bill_page
from postpaid_bridge.documents.press import Press, PressFault
from postpaid_bridge.jobs.filing import Filing, path_of
from postpaid_bridge.jobs.letters import take_over
from postpaid_bridge.sql import deliveries
from postpaid_bridge.sql.bills import bills
from postpaid_bridge.sql.deliveries import Due, Outcome, documents
from postpaid_bridge.sql.document_facts import Shop, gathered, unqueued

__all__ = ["PAUSES_S", "Made", "Postman", "Printer", "address_of"]

PAUSES_S = (60, 300, 900, 3_600, 7_200, 14_400, 28_800, 86_400)
"""Pauses after a mail that failed, one a failure; behind the last it has failed for good (a day and a half)."""
CHUNK = 64
"""Documents of one unit of work: some 100 kB of pages each at most are in memory."""


class Made(NamedTuple):
    """What a round did."""

    queued: int = 0
    made: int = 0
    parked: int = 0


class Printer:
    """Makes documents: ``once`` does all there is to do now."""

    def __init__(self, engine: Engine, shop: Shop, filing: Filing, clock: Clock, threads: int = 2) -> None:
        self._engine, self._shop, self._filing, self._clock = engine, shop, filing, clock
        self._threads = threads
        self._own = threading.local()

    def once(self, told: Callable[[Made], None] = lambda _made: None) -> Made:
        """Freeze and make all that is published or queued by now; ``told`` after each chunk of documents."""
        found = Made(queued=self.freeze() + take_over(self._engine, self._shop.seller, self._clock.now_ms))
        with ThreadPoolExecutor(self._threads) as pool:
            after = 0
            while True:
                with reading(self._engine) as look:
                    rows = deliveries.waiting(look, after, CHUNK)
                    contents = _contents(look, rows)
                if not rows:
                    return found
                after = rows[-1].id
                of_rows = [contents.get(row.bill, b"") for row in rows]
                results = list(pool.map(self._result, rows, of_rows))
                made, parked = self._keep(rows, results)
                found = found._replace(made=found.made + made, parked=found.parked + parked)
                told(found)

    def freeze(self) -> int:
        """Queue the documents of published bills with their facts; how many are new."""
        new, after = 0, 0
        while True:
            with reading(self._engine) as look:
                ids = unqueued(look, after, CHUNK)
                found = gathered(look, ids, self._shop)
            if not ids:
                return new
            after = ids[-1]
            with writing(self._engine) as work:
                new += deliveries.enqueue(work, found, self._clock.now_ms())

    def again(self, row: Row[Any]) -> bytes:
        """Return a made document: its file, or, where that is gone, made anew of its facts. Raises PressFault where it comes out otherwise."""
        there = self._filing.get(row.path, row.sha256)
        if there is not None:
            return there
        with reading(self._engine) as look:
            content = _contents(look, [row]).get(row.bill, b"")
        made = self._made(row, content)
        if sha256(made).hexdigest() != row.sha256:
            raise PressFault("the file is gone, and this release makes another one of its facts")
        self._filing.put({row.path: made})
        return made

    def _result(self, row: Row[Any], content: bytes) -> bytes | str:
        """Return a document, or why there is none (law 2)."""
        try:
            return self._made(row, content)
        except PressFault as fault:
            return str(fault)
        except Exception as fault:  # noqa: BLE001 - whatever is wrong with one is no reason to stop the others
            return f"{type(fault).__name__}: {fault}"

    def _made(self, row: Row[Any], content: bytes) -> bytes:
        press: Press | None = getattr(self._own, "press", None)
        if press is None:
            press = self._own.press = Press()
        facts = deliveries.unpacked(row.facts)
        if row.kind == "bill":
            return press.bill(bill_page(json.loads(content), thawed(facts)))
        return press.letter(letter_page(row.kind, row.language, letter_thawed(facts)))

    def _keep(self, rows: Sequence[Row[Any]], results: Sequence[bytes | str]) -> tuple[int, int]:
        files, paths = {}, {}
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, bytes):
                facts = json.loads(deliveries.unpacked(row.facts))
                path = path_of(int(facts["issued"][:4]), row.number, letter=row.kind != "bill")
                paths[row.id], files[path] = path, result
        self._filing.put(files)
        made, now_ms = 0, self._clock.now_ms()
        with writing(self._engine) as work:
            routes = _routes(work, {row.id: (row.billing_account, row.channel) for row in rows})
            for row, result in zip(rows, results, strict=True):
                if isinstance(result, str):
                    deliveries.parked(work, row.id, result)
                    continue
                digest = sha256(result).hexdigest()
                route = routes[row.id]
                made += deliveries.made(work, row.id, paths[row.id], digest, len(result), route, now_ms)
        return made, len(rows) - len(paths)


def _contents(look: Connection, rows: Sequence[Row[Any]]) -> dict[int, bytes]:
    wanted = [row.bill for row in rows if row.bill is not None]
    found = look.execute(select(bills.c.id, bills.c.content).where(bills.c.id.in_(wanted)))
    return {row.id: row.content for row in found}


def _routes(look: Connection, of: Mapping[int, tuple[int, str]]) -> dict[int, dict[str, Any]]:
    """Return how documents go, by id: the channel that is asked for, else the account's; what has no address fails, visibly."""
    a = billing_accounts.c
    asked = select(a.id, a.delivery, a.email, parties.c.email).join(parties, parties.c.id == a.party)
    accounts = {
        row[0]: row[1:] for row in look.execute(asked.where(a.id.in_({key for key, _ in of.values()})))
    }
    found = {}
    for document, (account, wanted) in of.items():
        own, email, of_party = accounts[account]
        found[document] = _route(wanted or own, email or of_party)
    return found


def _route(channel: str, address: str) -> dict[str, Any]:
    if channel != "email":
        return {"channel": channel, "address": "", "state": "left", "why": ""}
    try:
        single_address(address)
    except MailFault as fault:
        why = str(fault) if address else "there is no mail address"
        return {"channel": channel, "address": address, "state": "failed", "why": why}
    return {"channel": channel, "address": address, "state": "waiting", "why": ""}


def address_of(look: Connection, account: int) -> str:
    """Return where an account's mail goes: its own address, else its party's; "" for none."""
    a = billing_accounts.c
    asked = select(a.email, parties.c.email).join(parties, parties.c.id == a.party).where(a.id == account)
    own, of_party = look.execute(asked).one()
    return str(own or of_party)


class Postman:
    """Sends mails: ``once`` sends what is due now, a bounded number at the same time."""

    def __init__(
        self,
        engine: Engine,
        printer: Printer,
        mail: Mail,
        clock: Clock,
        *,
        pauses_s: Sequence[int] = PAUSES_S,
        at_once: int = 8,
    ) -> None:
        self._engine, self._printer, self._mail, self._clock = engine, printer, mail, clock
        self._pauses_s = tuple(pauses_s)
        self._at_once = at_once
        self._lease_ms = int(mail.timeout_s * 1000) * 2 + 5_000

    async def once(self) -> dict[str, int]:
        """Send all that is due by now; how many were sent, wait again and have failed."""
        found = {"sent": 0, "waiting": 0, "failed": 0}
        while True:
            claimed = await asyncio.to_thread(self._claim)
            if not claimed:
                return found
            outcomes = await asyncio.gather(*(self._try(each) for each in claimed))
            for each in outcomes:
                found[each.state] += 1

    def _claim(self) -> list[Due]:
        with writing(self._engine) as work:
            return deliveries.due(work, self._clock.now_ms(), self._lease_ms, self._at_once)

    async def _try(self, due: Due) -> Outcome:
        outcome = await self._sent(due)
        await asyncio.to_thread(self._note, outcome)
        return outcome

    def _note(self, outcome: Outcome) -> None:
        with writing(self._engine) as work:
            deliveries.noted(work, outcome, self._clock.now_ms())

    async def _sent(self, due: Due) -> Outcome:
        now_ms = self._clock.now_ms()
        try:
            made = await asyncio.to_thread(self._written, due)
        except (MailFault, PressFault) as fault:
            return Outcome(due.id, "failed", now_ms, str(fault))
        try:
            await hand_over(self._mail, made)
        except Undelivered as fault:
            if fault.final or due.tries > len(self._pauses_s):
                return Outcome(due.id, "failed", now_ms, fault.why)
            return Outcome(due.id, "waiting", now_ms + self._pauses_s[due.tries - 1] * 1000, fault.why)
        return Outcome(due.id, "sent", now_ms)

    def _written(self, due: Due) -> Any:
        with reading(self._engine) as look:
            asked = select(documents).join(
                deliveries.deliveries, deliveries.deliveries.c.document == documents.c.id
            )
            row = look.execute(asked.where(deliveries.deliveries.c.id == due.id)).one()
        pdf = self._printer.again(row)
        packed = deliveries.unpacked(due.facts)
        facts = thawed(packed) if due.kind == "bill" else letter_thawed(packed)
        envelope = Envelope(self._mail.sender, due.address, due.key, due.made_ms, due.path.rpartition("/")[2])
        total = (due.gross_cents or 0, due.currency or "EUR")
        return message(envelope, facts, due.kind, due.language, total, pdf)
