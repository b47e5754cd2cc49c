"""The mail that a document goes out with (pure).

Laws
1. The same delivery gives the same message, octet by octet: Message-ID, date and boundary follow from its key and the day it was made.
2. One recipient: what is no single address (RFC 5321 section 4.1.2) is a MailFault, never two addresses.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from hashlib import sha256
from typing import NamedTuple

from postpaid_bridge.documents import say
from postpaid_bridge.documents.facts import Facts, Seller
from postpaid_bridge.documents.letter import LetterFacts
from postpaid_bridge.documents.letter_texts import LETTERS
from postpaid_bridge.documents.page import Sheet, says, where
from postpaid_bridge.documents.words import words

__all__ = ["Envelope", "MailFault", "message", "single_address"]


class MailFault(Exception):
    """A mail that cannot be written; the message says why, and names no address."""


class Envelope(NamedTuple):
    """How a mail is addressed: from whom, to whom, the delivery's key, when it was made, and the file's name."""

    sender: str
    to: str
    key: str
    made_ms: int
    file_name: str


def single_address(text: str) -> Address:
    """Return one mail address. Raises MailFault."""
    try:
        found = Address(addr_spec=text)
    except (ValueError, IndexError, MessageError):
        raise MailFault("the mail address is none") from None
    if not found.username or "." not in found.domain or found.addr_spec != text:
        raise MailFault("the mail address is none")
    return found


def message(
    envelope: Envelope,
    facts: Facts | LetterFacts,
    kind: str,
    language: str,
    total: tuple[int, str],
    pdf: bytes,
) -> EmailMessage:
    """Return the mail of a document; ``total`` is a bill's gross in cents with its currency. Raises MailFault."""
    text = _bill(facts, language, *total) if isinstance(facts, Facts) else _letter(facts, kind, language)
    found = EmailMessage()
    found["From"] = Address(say.clean(facts.seller.name).replace(say.BREAK, ""), addr_spec=envelope.sender)
    found["To"] = single_address(envelope.to)
    found["Subject"] = text["subject"].replace(say.BREAK, "")
    found["Date"] = format_datetime(datetime.fromtimestamp(envelope.made_ms // 1000, UTC))
    name = "".join(each if each.isascii() and each.isalnum() else "-" for each in envelope.key)
    found["Message-ID"] = f"<{name}.{envelope.made_ms}@{envelope.sender.rpartition('@')[2]}>"
    found["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    found.set_content(text["body"].replace(say.BREAK, ""))
    found.add_attachment(pdf, maintype="application", subtype="pdf", filename=envelope.file_name)
    found.set_boundary(f"=_{sha256(envelope.key.encode()).hexdigest()[:32]}")
    return found


def _bill(facts: Facts, language: str, gross_cents: int, currency: str) -> Mapping[str, str]:
    facts = say.cleaned(facts)
    w = words(language)
    sheet = Sheet(w, language, currency)
    gross = -gross_cents if facts.corrects else gross_cents
    title = w["credit_note"] if facts.corrects else w["bill"]
    values = _of_seller(facts.seller) | {
        "title": title,
        "number": facts.number,
        "issued": say.day(facts.issued, language),
        "amount": sheet.money(gross),
        "pay": says(sheet, facts, gross),
        "contact": w["contact"],
    }
    subject = w["mail_credit" if facts.corrects else "mail_subject"]
    return {"subject": subject.format(**values), "body": w["mail_body"].format(**values)}


def _letter(facts: LetterFacts, kind: str, language: str) -> Mapping[str, str]:
    facts = say.cleaned(facts)
    w = words(language)
    values = _of_seller(facts.seller) | {
        "title": LETTERS["de" if language == "de" else "en"][kind].title,
        "contact": w["contact"],
    }
    return {"subject": w["letter_subject"].format(**values), "body": w["letter_body"].format(**values)}


def _of_seller(seller: Seller) -> dict[str, str]:
    return {
        "seller": seller.name,
        "where": where(seller),
        "address": f"{seller.street}, {seller.postcode} {seller.city}",
    }
