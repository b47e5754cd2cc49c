"""Published bills with everything that documents show, and a mail server that takes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from io import BytesIO
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from pypdf import PdfReader
from sqlalchemy import Connection, Engine, update

from ocs.care.customers.tables import addresses, billing_accounts, parties
from ocs.notices.senders import Mail
from ocs.sql import writing
from postpaid_bridge.documents.facts import Seller, ThirdParty
from postpaid_bridge.documents.say import BREAK
from postpaid_bridge.jobs.filing import Filing
from postpaid_bridge.jobs.publish import Postman, Printer
from postpaid_bridge.sql.document_facts import Shop
from tests.bridge_scene import BERLIN
from tests.real_valkey import free_port
from tests.run_scene import NOW_MS, Ticking, populate, whole

SELLER = Seller(
    "Nordlicht Telekom GmbH", "Hafenstraße 12", "24103", "Kiel", phone="0800 1234567", email="rechnung@nordlicht.example",
    site="www.nordlicht.example", tax_number="20/123/45678", vat_id="DE123456789", registered="Amtsgericht Kiel, HRB 1234",
    managers="Ada Klein", iban="DE89370400440532013000", bic="COBADEFFXXX", bank="Commerzbank",
)  # fmt: skip
THIRD = {"third-tones": ThirdParty("Klang & Ton Ltd.", "1 High Street, London, GB", "0800 7654321")}
SHOP = Shop(SELLER, THIRD, ("0800 1110111", "116123"), BERLIN)
SENDER = "bills@nordlicht.example"


def text_of(pdf: bytes) -> str:
    """What stands on all pages, blanks and breaks as one blank."""
    pages = [page.extract_text() for page in PdfReader(BytesIO(pdf)).pages]
    return " ".join("\n".join(pages).replace(BREAK, "").split())


def furnish(work: Connection, accounts: list[int], **more: Any) -> None:
    """Give accounts addresses, and mail as their delivery."""
    for number, account in enumerate(accounts):
        of = billing_accounts.c
        work.execute(
            update(billing_accounts)
            .where(of.id == account)
            .values({"delivery": "email", "email": f"payer{number}@example.org", "itemised": "short"} | more)
        )
        party = work.execute(billing_accounts.select().where(of.id == account)).one().party
        row = {
            "party": party,
            "kind": "main",
            "street": "Hauptstraße",
            "house_number": "1",
            "postcode": "10115",
            "city": "Berlin",
        }
        work.execute(addresses.insert().values(addition="", country="DE", **row))


def published(engine: Engine, **more: Any) -> list[int]:
    """Accounts of all kinds with published bills; their ids."""
    accounts = populate(engine)
    with writing(engine) as work:
        furnish(work, accounts, **more)
    whole(engine)
    return accounts


def rename(engine: Engine, account: int, name: str) -> None:
    """Call the payer of an account otherwise."""
    with writing(engine) as work:
        party = work.execute(billing_accounts.select().where(billing_accounts.c.id == account)).one().party
        work.execute(
            update(parties).where(parties.c.id == party).values(family_name=name, organisation_name=name)
        )


class Inbox:
    """What a mail server was handed; ``answers`` are given first, then 250."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.answers: list[str] = []
        self.refused: set[str] = set()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer.startswith("250"):
            self.mails.append((envelope.rcpt_tos, envelope.original_content))
        return answer

    def parsed(self) -> list[Any]:
        """The messages."""
        return [message_from_bytes(content, policy=default) for _, content in self.mails]


@contextmanager
def mail_server(port: int | None = None) -> Iterator[tuple[Inbox, Mail]]:
    """A real SMTP server on loopback, and how it is reached."""
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=port or free_port(), data_size_limit=10**7)
    controller.start()
    try:
        yield inbox, Mail("127.0.0.1", controller.port, "none", SENDER, timeout_s=10)
    finally:
        controller.stop()


def printer(engine: Engine, folder: Path, clock: Any = None) -> Printer:
    return Printer(engine, SHOP, Filing(folder), clock or Ticking())


def postman(engine: Engine, folder: Path, mail: Mail, clock: Any = None, **more: Any) -> Postman:
    clock = clock or Ticking(NOW_MS + 60_000)
    return Postman(engine, printer(engine, folder, clock), mail, clock, **more)
