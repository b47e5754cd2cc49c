"""What customers are made of: one form for everything that is right, and a precise fault for everything that is not."""

from datetime import date
from typing import Any

import pytest

from ocs.care.customers.shapes import (
    Address,
    CustomerFault,
    Kind,
    NewAccount,
    NewCustomer,
    NewOrganisation,
    NewPerson,
    NewService,
    Words,
    account_number,
    checked,
    customer_number,
)

DAY = date(2026, 3, 1)
PERSON = NewPerson("Ada", "Klein")
COMPANY = NewOrganisation("Klein AG")
ADDRESS = Address("Hauptstraße", "10115", "Berlin")
ACCOUNT = NewAccount(1, DAY)
SERVICE = NewService(1, "smart-m", DAY)


def test_everything_is_kept_in_its_one_form() -> None:
    assert checked(NewPerson(" Ada ", "Klein", phone=" +49 30 123 ")) == NewPerson(
        "Ada", "Klein", phone="+49 30 123"
    )
    assert checked(COMPANY._replace(vat_id="de 123.456.789")).vat_id == "DE123456789"
    assert checked(ADDRESS._replace(country="at")).country == "AT"
    assert checked(SERVICE._replace(number="0049 170".replace(" ", ""))).number == "49170"
    iban = checked(
        ACCOUNT._replace(
            payment="direct_debit", iban="de89 3704 0044 0532 0130 00", mandate="M-1", mandate_day=DAY
        )
    )
    assert iban.iban == "DE89370400440532013000"


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        (PERSON._replace(family_name=" "), "family_name: it is empty"),
        (PERSON._replace(given_name=""), "given_name: it is empty"),
        (PERSON._replace(given_name="A" * 101), "given_name: it is too long; write at most 100 characters"),
        (PERSON._replace(given_name="A\nB"), "given_name: it has characters that are no text"),
        (PERSON._replace(email="ada@"), "email: it is no mail address"),
        (PERSON._replace(email="a@b.de,c@d.de"), "email: it is no mail address"),
        (PERSON._replace(phone="call me"), "phone: it is no phone number"),
        (PERSON._replace(language="fr"), "language: unknown word; write de or en"),
        (COMPANY._replace(organisation_name=""), "organisation_name: it is empty"),
        (COMPANY._replace(vat_id="123"), "vat_id: it is no VAT id"),
        (ADDRESS._replace(country="XX"), "country: it is no country"),
        (ADDRESS._replace(country="DEU"), "country: it is no country"),
        (ADDRESS._replace(kind="summer"), "kind: unknown word; write main or billing or delivery"),
        (ADDRESS._replace(city=""), "city: it is empty"),
        (
            NewCustomer(1, "vip"),
            "kind: unknown word; write consumer or business or small_business or non_profit",
        ),
        (NewCustomer(1, "consumer", "A B"), "credit_class: it is no key"),
        (ACCOUNT._replace(currency="EUX"), "currency: it is no currency"),
        (ACCOUNT._replace(currency=""), "currency: it is empty"),
        (ACCOUNT._replace(iban="DE89370400440532013001"), "iban: it is no IBAN"),
        (ACCOUNT._replace(payment="direct_debit"), "iban: a direct debit needs it"),
        (
            ACCOUNT._replace(payment="direct_debit", iban="DE89370400440532013000", mandate="M"),
            "mandate_day: a direct debit needs it",
        ),
        (ACCOUNT._replace(mandate="M-1"), "iban: a mandate is for an account at a bank"),
        (ACCOUNT._replace(due_days=-1), "due_days: no such number of days"),
        (ACCOUNT._replace(due_days=121), "due_days: no such number of days; write 0 to 120"),
        (ACCOUNT._replace(delivery="fax"), "delivery: unknown word"),
        (ACCOUNT._replace(cycle="Monthly 1"), "cycle: it is no key"),
        (ACCOUNT._replace(cycle="c" * 33), "cycle: it is no key; write at most 32 of"),
        (SERVICE._replace(number="12"), "number: it is no E.164 number"),
        (SERVICE._replace(book="a b"), "book: it is no charging account"),
        (SERVICE._replace(mode="free"), "mode: unknown word; write postpaid or prepaid or hybrid"),
        (SERVICE._replace(plan=""), "plan: it is no key"),
        (SERVICE._replace(options=("smart-m",)), "options: one plan is named twice"),
        (SERVICE._replace(credit_limit_micros=-1), "credit_limit_micros: it is negative"),
    ],
)
def test_what_is_wrong_is_told_with_where_what_and_what_would_be_right(asked: Any, fault: str) -> None:
    with pytest.raises(CustomerFault) as found:
        checked(asked)
    assert str(found.value).startswith(fault)
    assert found.value.right
    assert found.value.kind is Kind.WRONG


def test_words_that_configuration_does_not_have_are_refused_with_those_that_it_has() -> None:
    words = Words(cycles={"monthly-1"}, plans={"smart-m", "day"}, credit_classes={"standard"})
    assert checked(SERVICE._replace(options=("day",)), words).options == ("day",)
    for asked, where in (
        (SERVICE._replace(plan="smart-x"), "plan"),
        (SERVICE._replace(options=("night",)), "plan"),
        (NewCustomer(1, "consumer", "gold"), "credit_class"),
    ):
        with pytest.raises(CustomerFault, match=f"^{where}: there is none of this key; write one of"):
            checked(asked, words)  # type: ignore[type-var]
    with pytest.raises(CustomerFault, match=r"^cycle: .*monthly-1"):
        checked(ACCOUNT._replace(cycle="weekly"), words)


def test_one_mistyped_digit_makes_a_number_no_number() -> None:
    assert account_number(7_992_739_871) == "A79927398713"  # the known answer of ISO/IEC 7812-1's formula
    right = customer_number(1_000_001)
    assert right == "C10000016"
    for place in range(1, len(right)):
        for digit in "0123456789".replace(right[place], ""):
            typed = right[:place] + digit + right[place + 1 :]
            assert customer_number(int(typed[1:-1])) != typed
