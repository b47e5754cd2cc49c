"""Units of work on parties, customers and billing accounts, on both databases: each change, and each refusal."""

from datetime import date
from functools import partial

from sqlalchemy import Engine, select

from ocs.care.customers import desk, reading, service_desk
from ocs.care.customers.once import Asked, once
from ocs.care.customers.shapes import Address, NewAccount, NewCustomer, NewOrganisation, NewPerson, Words
from ocs.care.customers.tables import billing_accounts, parties
from ocs.limits import PARTY_DEPTH_MAX
from ocs.sql import reading as looking
from ocs.sql import writing
from tests.unit.care.customers.scene import DAY, LATER, company, done, person, refused, service_of


def test_numbers_of_customers_and_accounts_follow_each_other(database: Engine) -> None:
    first, second = person(database), person(database)
    assert [first.number, second.number] == ["A10000016", "A10000024"]
    with looking(database) as look:
        assert reading.customer(look, first.customer).number == "C10000016"
        assert reading.customer_by_number(look, "C10000016").id == first.customer
        assert reading.account_by_number(look, "A10000024") == second


def test_what_is_refused_leaves_nothing_and_takes_no_number(database: Engine) -> None:
    account = person(database)
    refused(
        database,
        "party: it is customer",
        lambda work: desk.create_customer(work, NewCustomer(account.party, "consumer"), 1),
    )
    refused(
        database,
        "cycle: there is none",
        lambda work: desk.open_account(work, NewAccount(account.customer, DAY), Words(cycles=())),
    )
    assert person(database).number == "A10000024"


def test_fields_of_a_party_change_and_what_is_wrong_does_not(database: Engine) -> None:
    account, firm = person(database), company(database)
    done(
        database,
        lambda work: desk.change_party(work, account.party, {"family_name": "Groß", "language": "en"}),
    )
    with looking(database) as look:
        assert reading.names_of(look, [account.party, firm.lab]) == {
            account.party: "Ada Groß",
            firm.lab: "Lab",
        }
    refused(
        database,
        "family_name: it is empty",
        lambda work: desk.change_party(work, account.party, {"family_name": ""}),
    )
    refused(
        database,
        "vat_id: there is no such field",
        lambda work: desk.change_party(work, account.party, {"vat_id": "DE1"}),
    )
    refused(database, "party 999: there is none", lambda work: desk.change_party(work, 999, {}))
    refused(
        database,
        "parent: a branch is moved from a day on",
        lambda work: desk.change_party(work, firm.lab, {"parent": 1}),
    )


def test_a_party_has_one_address_of_each_kind(database: Engine) -> None:
    account = person(database)
    home = Address("Hauptstraße", "10115", "Berlin", "1a")
    done(database, lambda work: desk.put_address(work, account.party, home))
    done(database, lambda work: desk.put_address(work, account.party, home._replace(city="Bonn")))
    done(database, lambda work: desk.put_address(work, account.party, home._replace(kind="delivery")))
    with looking(database) as look:
        assert {kind: each.city for kind, each in reading.addresses_of(look, account.party).items()} == {
            "main": "Bonn",
            "delivery": "Berlin",
        }
    refused(
        database,
        "address: bills of billing account A10000016 need it",
        lambda work: desk.drop_address(work, account.party, "main"),
    )
    done(database, lambda work: desk.drop_address(work, account.party, "delivery"))
    with looking(database) as look:
        assert set(reading.addresses_of(look, account.party)) == {"main"}


def test_the_kind_of_customer_fits_the_party(database: Engine) -> None:
    firm, account = company(database), person(database)
    refused(
        database,
        "kind: an organisation is no consumer",
        lambda work: desk.create_customer(work, NewCustomer(firm.south, "consumer"), 1),
    )
    refused(
        database,
        "kind: a person is no organisation",
        lambda work: desk.change_customer(work, account.customer, {"kind": "non_profit"}),
    )
    refused(
        database,
        "party: a customer stays",
        lambda work: desk.change_customer(work, account.customer, {"party": firm.top}),
    )
    done(
        database,
        lambda work: desk.change_customer(
            work, account.customer, {"kind": "small_business", "credit_class": "gold"}
        ),
    )
    with looking(database) as look:
        found = reading.customer(look, account.customer)
    assert (found.kind, found.credit_class) == ("small_business", "gold")


def test_a_branch_hangs_below_an_organisation_and_not_too_deep(database: Engine) -> None:
    account, firm = person(database), company(database)
    refused(
        database,
        "parent: party .* is a person",
        lambda work: desk.create_party(work, NewOrganisation("X", account.party), 1),
    )
    refused(
        database,
        "party 999: there is none",
        lambda work: desk.create_party(work, NewOrganisation("X", 999), 1),
    )
    deep = firm.lab
    for level in range(3, PARTY_DEPTH_MAX):
        deep = done(
            database,
            partial(desk.create_party, asked=NewOrganisation(str(level), deep), now_ms=1),
        )
    refused(
        database,
        "parent: the tree would have 9 levels",
        lambda work: desk.create_party(work, NewOrganisation("X", deep), 1),
    )


def test_a_move_never_makes_a_circle(database: Engine) -> None:
    firm = company(database)
    refused(
        database,
        f"parent: party {firm.lab} is below party {firm.top}",
        lambda work: desk.move_branch(work, firm.top, firm.lab, DAY),
    )
    refused(
        database,
        f"parent: party {firm.lab} is the same",
        lambda work: desk.move_branch(work, firm.lab, firm.lab, DAY),
    )
    assert done(database, lambda work: desk.move_branch(work, firm.lab, firm.north, DAY)) == []
    done(database, lambda work: desk.move_branch(work, firm.lab, firm.south, DAY))
    with looking(database) as look:
        assert look.execute(select(parties.c.parent).where(parties.c.id == firm.lab)).scalar() == firm.south


def test_a_branch_with_an_account_stays_below_its_customer(database: Engine) -> None:
    firm = company(database)
    done(database, lambda work: desk.open_account(work, NewAccount(firm.customer, DAY, firm.north)))
    refused(
        database, "parent: billing account A10000024 would be outside its customer's tree",
        lambda work: desk.move_branch(work, firm.north, None, LATER),
    )  # fmt: skip
    other = company(database)
    refused(
        database, "party: it is not below party", lambda work: desk.open_account(work, NewAccount(firm.customer, DAY, other.north))
    )  # fmt: skip


def test_bills_have_to_arrive_and_say_what_the_law_asks_for(database: Engine) -> None:
    firm, account = company(database), person(database)
    refused(
        database,
        "email: bills by mail need an address",
        lambda work: desk.open_account(work, NewAccount(firm.customer, DAY, firm.lab)),
    )
    refused(
        database, "tax_status: reverse charge needs the VAT id", lambda work: desk.change_account(work, account.id, {"tax_status": "reverse_charge"})
    )  # fmt: skip
    done(database, lambda work: desk.change_account(work, firm.account.id, {"tax_status": "reverse_charge"}))
    refused(
        database,
        "vat_id: billing account .* has reverse charge",
        lambda work: desk.change_party(work, firm.top, {"vat_id": ""}),
    )
    refused(
        database,
        "currency: it stays as it is",
        lambda work: desk.change_account(work, account.id, {"currency": "USD"}),
    )
    refused(
        database,
        "iban: a direct debit needs it",
        lambda work: desk.change_account(work, account.id, {"payment": "direct_debit"}),
    )
    debit = {
        "payment": "direct_debit",
        "iban": "DE89370400440532013000",
        "mandate": "M-1",
        "mandate_day": DAY,
        "due_days": 7,
    }
    done(database, lambda work: desk.change_account(work, account.id, debit))
    with looking(database) as look:
        found = reading.account(look, account.id)
    assert (found.payment, found.mandate_day, found.due_days) == ("direct_debit", DAY, 7)


def test_an_account_ends_when_nothing_is_left_to_pay_and_is_closed_after_its_final_bill(
    database: Engine,
) -> None:
    account = person(database)
    service = service_of(database, account.party)
    refused(
        database,
        f"service {service}: nobody would pay for it",
        lambda work: desk.end_account(work, account.id, LATER),
    )
    refused(
        database,
        "until: it begins on 2026-03-01",
        lambda work: desk.end_account(work, account.id, date(2026, 2, 1)),
    )
    refused(database, "it has not ended", lambda work: desk.close_account(work, account.id))
    refused(
        database,
        "billing account A10000016 is not closed",
        lambda work: desk.end_customer(work, account.customer),
    )
    done(database, lambda work: service_desk.end_service(work, service, LATER))
    done(database, lambda work: desk.end_account(work, account.id, LATER))
    done(database, lambda work: desk.end_account(work, account.id, LATER))
    refused(
        database,
        "it ends on 2026-04-10 already",
        lambda work: desk.end_account(work, account.id, date(2026, 5, 1)),
    )
    refused(
        database,
        f"party {account.party}: it is customer",
        lambda work: desk.end_party(work, account.party, 2),
    )
    done(database, lambda work: desk.close_account(work, account.id))
    refused(database, "it is closed", lambda work: desk.change_account(work, account.id, {"due_days": 3}))
    done(database, lambda work: desk.end_customer(work, account.customer))
    done(database, lambda work: desk.end_party(work, account.party, 2))
    refused(database, "it has ended", lambda work: desk.change_party(work, account.party, {"email": ""}))


def test_a_party_that_others_need_does_not_end(database: Engine) -> None:
    firm = company(database)
    service = service_of(database, firm.lab)
    refused(
        database,
        f"party {firm.north}: party {firm.lab} hangs below it",
        lambda work: desk.end_party(work, firm.north, 2),
    )
    refused(
        database,
        f"party {firm.lab}: it holds service {service}",
        lambda work: desk.end_party(work, firm.lab, 2),
    )


def test_days_on_bills_with_numbers_keep_what_they_were_made_of(database: Engine) -> None:
    firm = company(database)
    service = service_of(database, firm.lab)
    with writing(database) as work:
        work.execute(billing_accounts.update().values(billed_until=LATER))
    before = date(2026, 4, 9)
    for do in (
        lambda work: service_desk.change_plan(work, service, "smart-l", before),
        lambda work: service_desk.end_service(work, service, before),
        lambda work: desk.open_account(work, NewAccount(firm.customer, before, firm.north)),
    ):
        refused(database, "day: billing account A10000016 is billed up to 2026-04-10", do)
    done(database, lambda work: service_desk.change_plan(work, service, "smart-l", LATER))


def test_the_same_id_makes_one_thing_and_other_content_is_a_conflict(database: Engine) -> None:
    def make(own_id: str, name: str) -> tuple[int, bool]:
        asked = Asked("shop", own_id, "party", {"name": name, "day": DAY}, 5)
        with writing(database) as work:
            return once(work, asked, lambda: desk.create_party(work, NewPerson(name, "Klein"), 5))

    first, is_new = make("1", "Ada")
    assert is_new
    assert make("1", "Ada") == (first, False)
    assert make("2", "Ada") != (first, True)
    assert make("", "Ada")[0] != make("", "Ada")[0]
    refused(
        database, "id: it was used for something else",
        lambda work: once(work, Asked("shop", "1", "party", {"name": "Eva", "day": DAY}, 6), lambda: 7),
    )  # fmt: skip
    refused(
        database, "id: it was used for something else",
        lambda work: once(work, Asked("shop", "1", "customer", {"name": "Ada", "day": DAY}, 6), lambda: 7),
    )  # fmt: skip
    with writing(database) as work:
        assert once(work, Asked("app", "1", "party", {}, 6), lambda: 7) == (7, True)
