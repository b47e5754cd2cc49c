"""What stands in bills, credit notes and letters: every element that the law wants, in both languages, read back from the PDF."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader

from postpaid_bridge.bill import content, drafted
from postpaid_bridge.charges import Charge, ChargeKind
from postpaid_bridge.documents import say
from postpaid_bridge.documents.facts import Facts, Held, Past, Recipient, Used, frozen, thawed
from postpaid_bridge.documents.itemised import is_help_line, itemised, shown_number
from postpaid_bridge.documents.letter import (
    KINDS,
    Claim,
    LetterFacts,
    letter_frozen,
    letter_page,
    letter_thawed,
)
from postpaid_bridge.documents.page import bill_page
from postpaid_bridge.documents.payment_code import payment_code, payment_text
from postpaid_bridge.documents.press import Press, PressFault
from postpaid_bridge.documents.words import WORDS
from postpaid_bridge.periods import Period
from postpaid_bridge.tax import Basis
from tests.bill_scene import TAXES, book, held, payer, rent, used
from tests.document_scene import SELLER, THIRD, text_of

PRESS = Press()
PERIOD = Period(date(2026, 11, 1), date(2026, 12, 1))
PLANS = book(f"plan: p\ntariff: t\nrents: [{rent('19.99')}]\n")
FACTS = Facts(
    "R-2026-000123",
    date(2026, 12, 2),
    date(2026, 12, 16),
    SELLER,
    Recipient(("Klein AG", "Hauptstraße 1", "10115 Berlin"), "C10000016", "A10000016", "DE987654321"),
    {1: "Klein AG", 2: "Labor Süd"},
    {1: Held("491701234560", "mobile"), 2: Held("4930123456", "fixed")},
    "short",
    (
        Used("2026-11-03T10:11:12", 1, "voice", "4943199887766", 2, 133, 290_000),
        Used("2026-11-04T10:11:12", 1, "data", "internet", 1, 9_000_000, 53_400),
        Used("2026-11-05T23:59:59", 1, "voice", "+498001110111", 2, 600, 0),
    ),
    ("0800 1110111",),
    tuple(Past(f"2026-{month:02}-01", 4_000 + month) for month in range(5, 11)),
    THIRD,
)
LETTER = LetterFacts(
    "M-7", date(2027, 1, 10), SELLER, FACTS.recipient, (Claim("R-2026-000123", date(2026, 12, 2), date(2026, 12, 16), 12_345),),
    date(2027, 1, 25), date(2027, 1, 27), ("491701234560",), "A10000016", 250, 37, 1_000,
)  # fmt: skip


def charge(
    key: str,
    text: str,
    micros: int,
    *,
    branch: int = 1,
    of_class: str = "rent",
    tax: str = "standard",
    basis: Basis = Basis.GROSS,
) -> Charge:
    return Charge(
        key, ChargeKind.RENT, branch, branch, f"b{branch}", text, PERIOD.first, PERIOD.next, micros, of_class, tax, basis, held=branch,
        plan="p", item="base",
    )  # fmt: skip


def bill(language: str = "de", status: str = "domestic", basis: Basis = Basis.GROSS) -> dict[str, Any]:
    """A bill of two branches, two rates, a third party and usage, as read from its content."""
    made = drafted(
        replace(payer(status=status), language=language),
        PERIOD,
        [held("2020-01-01"), held("2020-01-01", number=2, service=2, party=2)],
        [
            used(7_430_000, basis=basis),
            replace(used(2_330_000, "roaming-data", basis=basis), units=1_234_567_890),
        ],
        [
            charge("a", "Mobil M", 19_990_000, basis=basis),
            charge("b", "Festnetz", 24_950_000, branch=2, basis=basis),
            charge("c", "Zeitschrift", 2_500_000, branch=2, tax="reduced", basis=basis),
            charge("d", "Klingelton", 4_990_000, of_class="third-tones", basis=basis),
        ],
        TAXES,
        PLANS,
    )
    found: dict[str, Any] = json.loads(content(made))
    return found


def pdf(page: dict[str, Any]) -> bytes:
    return PRESS.bill(page)


LEGAL = {
    "seller's name and address (UStG 14(4) no. 1, TKG 62(1))": ("Nordlicht Telekom GmbH", "Hafenstraße 12", "24103 Kiel"),
    "payer's name and address": ("Klein AG", "Hauptstraße 1", "10115 Berlin"),
    "tax number and VAT id (no. 2)": ("20/123/45678", "DE123456789", "DE987654321"),
    "how the seller is reached (TKG 62(1))": ("0800 1234567", "rechnung@nordlicht.example"),
    "number (no. 4)": ("R-2026-000123", "A10000016", "C10000016"),
    "third party with name, address and telephone (TKG 62(2))": ("Klang & Ton Ltd.", "1 High Street, London, GB", "0800 7654321", "Klingelton"),
    "services (no. 5)": ("Mobil M", "Festnetz", "+491701234560", "+4930123456", "Labor Süd"),
    "account to pay to": ("DE89 3704 0044 0532 0130 00", "COBADEFFXXX"),
    "paragraphs": ("286", "BGB", "67 TKG", "62"),
}  # fmt: skip
SAID = {
    "de": (
        "Rechnung", "02.12.2026", "16.12.2026", "01.11.2026 – 30.11.2026", "darin mit 19 % Umsatzsteuer", "darin mit 7 % Umsatzsteuer", "62,19 €",
        "innerhalb von acht Wochen", "Drittanbietern", "Verzug", "Schlichtung", "Seite 1 von 2", "Daten im Ausland", "1,23 GB",
    ),
    "en": (
        "Invoice", "2 Dec 2026", "16 Dec 2026", "1 Nov 2026 – 30 Nov 2026", "of which with 19% VAT", "of which with 7% VAT", "€62.19",
        "within eight weeks", "third parties", "default", "Arbitration", "Page 1 of 2", "Data abroad", "1.23 GB",
    ),
}  # fmt: skip


@pytest.mark.parametrize("language", ["de", "en"])
def test_a_bill_says_all_that_the_law_wants(language: str) -> None:
    page = bill(language)
    text = text_of(pdf(bill_page(page, FACTS)))
    missing = {what: [each for each in wanted if each not in text] for what, wanted in LEGAL.items()}
    assert {what: each for what, each in missing.items() if each} == {}
    said = text.replace("\xa0", " ")
    assert [each for each in SAID[language] if each not in said] == []
    assert page["gross_cents"] == 6_219
    for tax in page["taxes"]:
        for name in ("net_cents", "tax_cents", "gross_cents"):
            assert say.cents(tax[name], "EUR", language).replace("\xa0", " ") in said


@pytest.mark.parametrize(
    ("language", "status", "wanted"),
    [
        ("de", "reverse_charge", "Steuerschuldnerschaft des Leistungsempfängers (§ 13b UStG)"),
        ("en", "reverse_charge", "Reverse charge: the recipient is liable for the tax (section 13b UStG)"),
        ("de", "exempt", "Umsatzsteuerfreie Leistung (§ 4 Nr. 7 UStG)"),
        ("en", "exempt", "Supply exempt from value added tax (section 4 no. 7 UStG)"),
    ],
)
def test_who_owes_no_tax_is_told_why(language: str, status: str, wanted: str) -> None:
    page = bill(language, status, Basis.NET)
    assert page["tax_cents"] == 0
    assert wanted in text_of(pdf(bill_page(page, FACTS)))


def test_the_same_content_and_facts_are_the_same_octets_and_another_press_makes_them_too() -> None:
    page = bill_page(bill(), FACTS)
    first = pdf(page)
    assert pdf(bill_page(bill("en"), FACTS)) != first
    assert pdf(page) == first
    assert Press().bill(bill_page(bill(), thawed(frozen(FACTS)))) == first


def test_the_document_is_pdf_a_dated_by_its_issue_day() -> None:
    made = pdf(bill_page(bill(), FACTS))
    info = PdfReader(BytesIO(made)).metadata
    assert info is not None
    assert (info.title, info.author) == ("Rechnung R-2026-000123", "Nordlicht Telekom GmbH")
    assert info.creation_date is not None
    assert info.creation_date.date() == FACTS.issued
    assert b"pdfaid:part>3<" in made


def negated(page: dict[str, Any]) -> dict[str, Any]:
    for each in [
        page,
        *page["lines"],
        *page["taxes"],
        *page["parts"],
        *(tax for part in page["parts"] for tax in part["taxes"]),
    ]:
        for name in ("net_cents", "tax_cents", "gross_cents"):
            each[name] = -each[name]
    return page


@pytest.mark.parametrize(
    ("language", "wanted"),
    [
        ("de", ("Rechnungskorrektur", "§ 17 UStG", "62,19 €")),
        ("en", ("Credit note", "section 17 UStG", "€62.19")),
    ],
)
def test_a_credit_note_names_the_bill_that_it_corrects_and_asks_for_nothing(
    language: str, wanted: tuple[str, ...]
) -> None:
    facts = FACTS._replace(number="K-2026-000001", corrects="R-2026-000123", corrects_day=date(2026, 12, 2))
    page = bill_page(negated(bill(language)), facts)
    text = text_of(pdf(page)).replace("\xa0", " ")
    assert [each for each in (*wanted, "K-2026-000001", "R-2026-000123") if each not in text] == []
    assert page["slip"] is None
    assert WORDS[language]["slip"] not in text


def test_who_pays_by_direct_debit_gets_no_slip_and_is_told_when_and_from_where() -> None:
    page = bill_page(bill(), FACTS._replace(payment="direct_debit", iban_end="3000", mandate="MR-1"))
    assert page["slip"] is None
    assert all(each in page["says"] for each in ("16.12.2026", "3000", "MR-1"))


# ---------------------------------------------------------------- itemised usage


def test_nothing_is_itemised_that_was_not_asked_for() -> None:
    page = bill_page(bill(), FACTS._replace(itemised="none"))
    text = text_of(pdf(page))
    assert page["itemised"] == []
    assert "4943199887" not in text
    assert WORDS["de"]["itemised"] not in text


@pytest.mark.parametrize(
    ("kind", "shown", "hidden"),
    [("short", "4943199887xxx", "4943199887766"), ("full", "4943199887766", "xxx")],
)
def test_numbers_are_cut_unless_the_customer_chose_full_and_help_lines_never_stand_there(
    kind: str, shown: str, hidden: str
) -> None:
    text = text_of(pdf(bill_page(bill(), FACTS._replace(itemised=kind))))
    assert shown in text
    assert hidden not in text
    assert "8001110" not in text
    assert "23:59:59" not in text, "not even when"
    assert "internet" not in text


@pytest.mark.parametrize(
    "written",
    [
        "08001110111",
        "+498001110111",
        "00498001110111",
        "498001110111",
        "sip:+498001110111@ims.example",
        "tel:+49-800-1110111",
    ],
)
def test_a_help_line_is_known_however_it_is_written(written: str) -> None:
    assert is_help_line(written, ["0800 1110111", "116123"])


@pytest.mark.parametrize("written", ["116123", "49116123", "+49116123"])
def test_a_short_help_line_is_known_too(written: str) -> None:
    assert is_help_line(written, ["0800 1110111", "116123"])


def test_other_numbers_are_no_help_lines() -> None:
    assert not any(
        is_help_line(each, ["0800 1110111", "116123"])
        for each in ("08001110112", "49301161234", "", "internet")
    )


@pytest.mark.parametrize(
    ("number", "cut"),
    [
        ("491701234567", "491701234xxx"), ("110", "xxx"), ("12", "xxx"), ("", ""), ("sip:+4917012345@ims.example", "sip:+4917012xxx@…"),
        ("sip:ada@ims.example", "xxx"), ("+49 170 12-34", "+49 170 1x-xx"),
    ],
)  # fmt: skip
def test_the_last_three_digits_are_cut_of_whatever_it_is(number: str, cut: str) -> None:
    assert shown_number(number, "short") == cut


def test_what_must_not_be_shown_is_one_sum_so_that_all_adds_up() -> None:
    use = Used("2026-11-05T23:59:59", 1, "voice", "08001110111", 2, 600, 70_000)
    found = itemised([use, use], "full", FACTS.help_lines)
    assert (found[1].uses, found[1].unshown_micros) == ((), 140_000)


# ---------------------------------------------------------------- payment code


def test_the_payment_code_is_that_of_the_standard() -> None:
    assert payment_text(SELLER, 6_719, "R-2026-000123") == (
        "BCD\n002\n1\nSCT\nCOBADEFFXXX\nNordlicht Telekom GmbH\nDE89370400440532013000\nEUR67.19\n\n\nR-2026-000123"
    )
    assert payment_code(SELLER, 6_719, "R").startswith("<svg ")
    for cents in (0, -1, 10**11):
        with pytest.raises(ValueError, match="payment code"):
            payment_text(SELLER, cents, "R")


def test_a_seller_cannot_bring_lines_of_his_own_into_the_code() -> None:
    page = bill_page(bill(), FACTS._replace(seller=SELLER._replace(name="A\nDE00")))
    assert page["author"] == "A DE00"


# ---------------------------------------------------------------- letters


@pytest.mark.parametrize("language", ["de", "en"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_letter_is_made_twice_the_same_with_what_it_is_about(kind: str, language: str) -> None:
    page = letter_page(kind, language, letter_thawed(letter_frozen(LETTER)))
    made = PRESS.letter(page)
    assert made == PRESS.letter(letter_page(kind, language, LETTER))
    text = text_of(made).replace("\xa0", " ")
    assert all(each in text for each in ("Klein AG", "Nordlicht", "M-7"))
    if kind != "unbar":
        assert "R-2026-000123" in text
        assert say.cents(12_632, "EUR", language).replace("\xa0", " ") in text


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("warning", {"de": ("27.01.2027", "Rechtsschutz", "§ 61 Abs. 4", "Notrufe", "10,00 €"), "en": ("27 Jan 2027", "courts", "section 61(4)", "Emergency")}),
        ("bar_outgoing", {"de": ("Notrufe sind immer möglich", "§ 61 Abs. 7", "+491701234560"), "en": ("Emergency calls", "section 61(7)")}),
        ("bar_all", {"de": ("Notrufe sind immer möglich", "§ 61 Abs. 6"), "en": ("Emergency calls", "section 61(6)")}),
    ],
)  # fmt: skip
def test_letters_say_what_the_law_wants_of_them(kind: str, wanted: dict[str, tuple[str, ...]]) -> None:
    for language, each in wanted.items():
        text = text_of(PRESS.letter(letter_page(kind, language, LETTER))).replace("\xa0", " ")
        assert [one for one in each if one not in text] == []


def test_a_letter_without_what_it_needs_is_refused() -> None:
    with pytest.raises(ValueError, match="warning: it needs bar_on"):
        letter_page("warning", "de", LETTER._replace(bar_on=None))
    with pytest.raises(ValueError, match="is no letter"):
        letter_page("words", "de", LETTER)


def test_both_languages_have_the_same_words() -> None:
    assert WORDS["de"].keys() == WORDS["en"].keys()


def test_a_page_that_cannot_be_set_is_a_fault_with_a_reason() -> None:
    page = bill_page(bill(), FACTS)
    del page["sums"]
    with pytest.raises(PressFault, match="sums"):
        PRESS.bill(page)
