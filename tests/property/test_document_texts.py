"""Whatever customers are called, it stands on the document as it is, and is never read as markup, in a bill or in a mail's head."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postpaid_bridge.documents import say
from postpaid_bridge.documents.mail_text import Envelope, MailFault, message
from postpaid_bridge.documents.page import bill_page
from postpaid_bridge.documents.press import Press
from tests.document_scene import text_of
from tests.unit.bridge.test_documents import FACTS, bill

pytestmark = pytest.mark.long

PRESS = Press()
PAGE = bill()
MARKUP = [
    '#panic("x")', "#set page(width: 1pt)", "$x^2$", "*bold* _it_", "= Heading", "<label> @ref", "\\u{41} \\", "`raw`", "// gone", "/* gone */",
    '"; #sys.inputs', '#include "/etc/passwd"', "{} [] ()", "- item", "~ -- ---", "'quote' \"quote\"", "https://example.org", "a\\\nb",
]  # fmt: skip
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40) | st.sampled_from(MARKUP)


def shown(text: str) -> str:
    """What of a text is to be found again: its blanks as one, and only characters that a PDF's text keeps one by one."""
    return " ".join(say.clean(text).replace(say.BREAK, "").split())


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@example(text='#panic("x") $a$ *b* <c> @d `e` // f')
@example(text="\u202egnp.exe")
@example(text="\x00\x1b[2J\n\r\t")
@example(text="李明 \U0001f600 عربي")
@given(text=texts)
def test_any_text_makes_a_document_and_markup_in_it_is_text(text: str) -> None:
    facts = FACTS._replace(
        recipient=FACTS.recipient._replace(address=(text, "Hauptstraße 1", "10115 Berlin")),
        parties={1: text, 2: text},
        itemised="none",
    )
    page = {**PAGE, "lines": [{**line, "text": text} for line in PAGE["lines"]]}
    made = PRESS.bill(bill_page(page, facts))
    assert made.startswith(b"%PDF-")
    told = text_of(made)
    assert "Nordlicht Telekom GmbH" in told, "the rest of the page is as ever"
    if text.isascii():
        assert shown(text).replace(" ", "") in told.replace(" ", "")
    assert PRESS.bill(bill_page(page, facts)) == made


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=200))
def test_a_cleaned_text_has_nothing_that_turns_or_hides_what_stands_beside_it(text: str) -> None:
    found = say.clean(text).replace(say.BREAK, "")
    assert {unicodedata.category(each) for each in found} & {"Cc", "Cf", "Cs", "Zl", "Zp"} == set()
    assert say.clean(say.clean(text)).replace(say.BREAK, "") == found or say.BREAK in say.clean(text)


@settings(max_examples=200, deadline=None)
@given(
    name=st.text(max_size=60),
    number=st.text(max_size=30),
    to=st.text(max_size=40) | st.just("ada@example.org"),
)
@example(name="A\r\nBcc: b@example.org", number="1\nX: y", to="ada@example.org")
def test_no_text_becomes_a_header_or_a_second_recipient(name: str, number: str, to: str) -> None:
    facts = FACTS._replace(number=number, seller=FACTS.seller._replace(name=name))
    envelope = Envelope("bills@example.org", to, "document:1:email:1", 0, "1.pdf")
    try:
        made = message(envelope, facts, "bill", "de", (100, "EUR"), b"%PDF-")
    except MailFault:
        assert to != "ada@example.org"
        return
    octets = made.as_bytes()
    head = octets.partition(b"\n\n")[0].decode("ascii")
    names = [line.partition(":")[0] for line in head.splitlines() if line[:1] not in {" ", "\t"}]
    assert sorted(names) == sorted(
        ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
    )
    assert len(made["To"].addresses) == 1
    assert message(envelope, facts, "bill", "de", (100, "EUR"), b"%PDF-").as_bytes() == octets
