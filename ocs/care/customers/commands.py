"""`customers …` as people type it: mounted by the roofs of the bridge and of customer care.

Laws
1. A command is one unit of work. It says what is there after it: a table for people, one line of JSON with ``--json``.
2. Exit codes (INTERFACE): 0 done, 2 asked wrongly, 3 conflict, 4 not found, 5 database unavailable. What went wrong is on standard error.
3. With ``--id`` something is made once, however often it is asked for.
"""

import json as plain
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import OperationalError

from ocs.care.customers import desk, reading, service_desk
from ocs.care.customers.branches import parents_below
from ocs.care.customers.once import Asked, once
from ocs.care.customers.shapes import (
    ANY_WORDS,
    Address,
    CustomerFault,
    Kind,
    NewAccount,
    NewCustomer,
    NewOrganisation,
    NewPerson,
    NewService,
    Words,
    missing,
    wrong,
)
from ocs.care.customers.tables import billing_accounts, customers, services
from ocs.clock import Clock
from ocs.money import format_amount, parse_amount
from ocs.sql import DatabaseFault, writing
from ocs.sql import reading as looking

__all__ = ["CommandGround", "customers_app"]

CHANNEL = "command line"
_EXITS = {Kind.WRONG: 2, Kind.CONFLICT: 3, Kind.MISSING: 4}
_UNAVAILABLE = 5


class CommandGround(NamedTuple):
    """What commands work on; the roof opens it from ``--database`` ("": as settings say)."""

    engine: Engine
    clock: Clock
    today: date
    words: Words = ANY_WORDS


Opened = Callable[[str], CommandGround]

Database = Annotated[
    str,
    typer.Option(metavar="URL", help="sqlite:///PATH or postgresql+psycopg://…; as settings say if none."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON.")]
OwnId = Annotated[str, typer.Option("--id", metavar="KEY", help="Done once by this key.")]
Text = Annotated[str, typer.Option()]
Day = Annotated[str, typer.Option(metavar="DAY", help="2026-03-01; today if none.")]


def customers_app(opened: Opened) -> typer.Typer:
    """Build the commands on what ``opened`` gives for a ``--database``."""
    app = typer.Typer(
        help="Customers, their billing accounts and services.",
        no_args_is_help=True,
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    _persons(app, opened)
    _companies(app, opened)
    _accounts(app, opened)
    _services(app, opened)
    _looks(app, opened)
    return app


def _persons(app: typer.Typer, opened: Opened) -> None:
    @app.command("create-person")
    def create_person(
        given_name: str,
        family_name: str,
        kind: Annotated[str, typer.Option(help="consumer, business or small_business.")] = "consumer",
        credit_class: Text = "standard",
        birth_day: Day = "",
        email: Text = "",
        phone: Text = "",
        language: Text = "de",
        street: Text = "",
        house_number: Text = "",
        postcode: Text = "",
        city: Text = "",
        country: Text = "DE",
        own_id: OwnId = "",
        database: Database = "",
        *,
        json: AsJson = False,
    ) -> None:
        """Create a person who is a customer."""
        with _work(opened, database) as (ground, work):
            born = _day(birth_day, "birth_day") if birth_day else None
            party = NewPerson(given_name, family_name, born, email, phone, language)
            address = (
                Address(street, postcode, city, house_number, "", country)
                if street or postcode or city
                else None
            )
            _tell(_customer(work, ground, party, address, (kind, credit_class), own_id), as_json=json)


def _companies(app: typer.Typer, opened: Opened) -> None:
    @app.command("create-company")
    def create_company(
        name: str,
        kind: Annotated[str, typer.Option(help="business, small_business or non_profit.")] = "business",
        credit_class: Text = "standard",
        register_number: Text = "",
        vat_id: Text = "",
        email: Text = "",
        phone: Text = "",
        language: Text = "de",
        street: Text = "",
        house_number: Text = "",
        postcode: Text = "",
        city: Text = "",
        country: Text = "DE",
        own_id: OwnId = "",
        database: Database = "",
        *,
        json: AsJson = False,
    ) -> None:
        """Create a company that is a customer."""
        with _work(opened, database) as (ground, work):
            party = NewOrganisation(name, None, register_number, vat_id, email, phone, language)
            address = (
                Address(street, postcode, city, house_number, "", country)
                if street or postcode or city
                else None
            )
            _tell(_customer(work, ground, party, address, (kind, credit_class), own_id), as_json=json)

    @app.command("add-branch")
    def add_branch(
        parent: Annotated[int, typer.Argument(help="The party that it hangs below.")],
        name: str,
        email: Text = "",
        phone: Text = "",
        language: Text = "de",
        own_id: OwnId = "",
        database: Database = "",
        *,
        json: AsJson = False,
    ) -> None:
        """Hang a branch below a company or another branch."""
        with _work(opened, database) as (ground, work):
            branch = NewOrganisation(name, parent, email=email, phone=phone, language=language)
            asked = Asked(CHANNEL, own_id, "branch", branch._asdict(), ground.clock.now_ms())
            made, _ = once(work, asked, lambda: desk.create_party(work, branch, ground.clock.now_ms()))
            _tell(
                {"party": made, "parent": parent, "name": reading.names_of(work, [made])[made]}, as_json=json
            )


def _accounts(app: typer.Typer, opened: Opened) -> None:
    @app.command("account")
    def account(
        customer: Annotated[str, typer.Argument(help="The customer's number.")],
        party: Annotated[int, typer.Option(help="The paying party; the customer's own if none.")] = 0,
        since: Day = "",
        cycle: Text = "monthly-1",
        currency: Text = "EUR",
        language: Text = "de",
        tax_status: Text = "domestic",
        itemised: Text = "none",
        delivery: Text = "email",
        email: Text = "",
        payment: Text = "transfer",
        iban: Text = "",
        mandate: Text = "",
        mandate_day: Day = "",
        due_days: int = 14,
        discount_plan: Text = "",
        own_id: OwnId = "",
        database: Database = "",
        *,
        json: AsJson = False,
    ) -> None:
        """Open a billing account: it pays for what hangs at its party and below."""
        with _work(opened, database) as (ground, work):
            new = NewAccount(
                reading.customer_by_number(work, customer).id, _day(since, "since") if since else ground.today, party or None, currency,
                language, cycle, tax_status, itemised, delivery, email, payment, iban, mandate,
                _day(mandate_day, "mandate_day") if mandate_day else None, due_days, discount_plan,
            )  # fmt: skip
            content = new._asdict() | ({} if since else {"since": ""})
            asked = Asked(CHANNEL, own_id, "account", content, ground.clock.now_ms())
            made, _ = once(work, asked, lambda: desk.open_account(work, new, ground.words).id)
            _tell(_account(work, made), as_json=json)


def _services(app: typer.Typer, opened: Opened) -> None:
    @app.command("service")
    def service(
        party: Annotated[int, typer.Argument(help="Who holds it.")],
        plan: Annotated[str, typer.Argument(help="A key of config/plans.")],
        number: Annotated[str, typer.Option(help="E.164.")] = "",
        book: Annotated[str, typer.Option(help="The charging account.")] = "",
        subscriber: Annotated[str, typer.Option(help="Its path in the charging server.")] = "",
        kind: Annotated[str, typer.Option(help="mobile or fixed.")] = "mobile",
        mode: Annotated[str, typer.Option(help="postpaid, hybrid or prepaid.")] = "postpaid",
        payer: Annotated[
            str, typer.Option(help="A billing account's number; the nearest one upwards if none.")
        ] = "",
        option: Annotated[
            list[str] | None, typer.Option(help="An option beside the plan; may be given again.")
        ] = None,
        credit_limit: Text = "0.00",
        since: Day = "",
        own_id: OwnId = "",
        database: Database = "",
        *,
        json: AsJson = False,
    ) -> None:
        """Let a party hold a service."""
        with _work(opened, database) as (ground, work):
            new = NewService(
                party, plan, _day(since, "since") if since else ground.today, kind, mode, number, book, subscriber,
                reading.account_by_number(work, payer).id if payer else None, tuple(option or ()), _micros(credit_limit),
            )  # fmt: skip
            content = new._asdict() | ({} if since else {"since": ""})
            asked = Asked(CHANNEL, own_id, "service", content, ground.clock.now_ms())
            made, _ = once(work, asked, lambda: service_desk.create_service(work, new, ground.words).id)
            _tell(_service(work, made, new.since), as_json=json)

    @app.command("plan")
    def plan(
        service: Annotated[int, typer.Argument(help="The service.")],
        plan: Annotated[str, typer.Argument(help="Its new plan.")],
        day: Day = "",
        database: Database = "",
        *,
        json: AsJson = False,
    ) -> None:
        """Let a service have another plan from a day on."""
        with _work(opened, database) as (ground, work):
            since = _day(day, "day") if day else ground.today
            service_desk.change_plan(work, service, plan, since, ground.words)
            _tell(_service(work, service, since), as_json=json)


def _looks(app: typer.Typer, opened: Opened) -> None:
    @app.command("show")
    def show(
        number: Annotated[
            str, typer.Argument(help="Of a customer (C…), a billing account (A…), or a service (E.164).")
        ],
        database: Database = "",
        *,
        json: AsJson = False,
    ) -> None:
        """Show a customer with its tree and accounts, a billing account, or who holds a number."""
        with _work(opened, database, reads=True) as (ground, look):
            if number.startswith("C"):
                _tell(_shown(look, reading.customer_by_number(look, number).id, ground.today), as_json=json)
            elif number.startswith("A"):
                _tell(_account(look, reading.account_by_number(look, number).id), as_json=json)
            else:
                held = reading.held_by_number(look, number.removeprefix("+"), ground.today)
                if held is None:
                    raise missing(
                        "number",
                        "nobody holds it today",
                        "write a customer's, a billing account's, or a service's number",
                    )
                _tell(_service(look, held.service, ground.today), as_json=json)

    @app.command("list")
    def listing(
        after: Annotated[str, typer.Option(help="Behind this customer's number.")] = "",
        limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
        database: Database = "",
        *,
        json: AsJson = False,
    ) -> None:
        """List customers by number."""
        with _work(opened, database, reads=True) as (_, look):
            behind = reading.customer_by_number(look, after).id if after else 0
            asked = select(customers).where(customers.c.id > behind).order_by(customers.c.id).limit(limit)
            rows = look.execute(asked).all()
            names = reading.names_of(look, [row.party for row in rows])
            found = [
                {"customer": row.number, "name": names[row.party], "party": row.party, "kind": row.kind, "status": row.status} for row in rows
            ]  # fmt: skip
            _tell_all(found, as_json=json)


def _customer(
    work: Connection,
    ground: CommandGround,
    party: NewPerson | NewOrganisation,
    address: Address | None,
    words: tuple[str, str],
    own_id: str,
) -> dict[str, Any]:
    """Make a party with an address, and a customer of it, once; describe it."""
    now_ms = ground.clock.now_ms()

    def make() -> int:
        made = desk.create_party(work, party, now_ms)
        if address is not None:
            desk.put_address(work, made, address)
        return desk.create_customer(work, NewCustomer(made, *words), now_ms, ground.words).id

    content = {"party": party._asdict(), "address": address and address._asdict(), "words": words}
    made, _ = once(work, Asked(CHANNEL, own_id, "customer", content, now_ms), make)
    return _shown(work, made, ground.today)


def _shown(look: Connection, key: int, today: date) -> dict[str, Any]:
    found = reading.customer(look, key)
    tree = list(_tree(look, found.party))
    asked = (
        select(billing_accounts.c.id)
        .where(billing_accounts.c.customer == key)
        .order_by(billing_accounts.c.id)
    )
    held = (
        select(services.c.id)
        .where(services.c.party.in_([row["party"] for row in tree]))
        .order_by(services.c.id)
    )
    return {
        "customer": found.number,
        "name": tree[0]["name"],
        "party": found.party,
        "kind": found.kind,
        "credit_class": found.credit_class,
        "status": found.status,
        "tree": tree,
        "accounts": [_account(look, each) for each in look.execute(asked).scalars().all()],
        "services": [_service(look, each, today) for each in look.execute(held).scalars().all()],
    }


def _tree(look: Connection, top: int) -> Iterator[dict[str, Any]]:
    parents = parents_below(look, top)
    names = reading.names_of(look, list(parents))
    for party, parent in parents.items():
        yield {"party": party, "parent": None if party == top else parent, "name": names[party]}


def _account(look: Connection, key: int) -> dict[str, Any]:
    found = reading.account(look, key)
    return {
        "account": found.number,
        "customer": reading.customer(look, found.customer).number,
        "party": found.party,
        "payer": reading.names_of(look, [found.party])[found.party],
        "currency": found.currency,
        "cycle": found.cycle,
        "delivery": found.delivery,
        "payment": found.payment,
        "due_days": found.due_days,
        "status": found.status,
        "since": found.since.isoformat(),
        "until": None if found.until is None else found.until.isoformat(),
    }


def _service(look: Connection, key: int, day: date) -> dict[str, Any]:
    found = reading.service(look, key)
    payer = reading.payer_of(look, key, day)
    return {
        "service": key,
        "party": found.party,
        "payer": None if payer is None else reading.account(look, payer).number,
        "kind": found.kind,
        "mode": found.mode,
        "number": found.number,
        "book": found.book,
        "plans": reading.plans_on(look, key, day),
        "since": found.since.isoformat(),
        "until": None if found.until is None else found.until.isoformat(),
        "barred": found.barred,
        "credit_limit": format_amount(found.credit_limit_micros),
    }


@contextmanager
def _work(
    opened: Opened, database: str, *, reads: bool = False
) -> Iterator[tuple[CommandGround, Connection]]:
    """One unit of work, or one look, whose faults are exit codes (law 2)."""
    try:
        ground = opened(database)
        with (looking if reads else writing)(ground.engine) as work:
            yield ground, work
    except CustomerFault as fault:
        _end(str(fault), _EXITS[fault.kind])
    except (DatabaseFault, OperationalError) as fault:
        _end(str(fault) if isinstance(fault, DatabaseFault) else "the database does not answer", _UNAVAILABLE)


def _end(text: str, code: int) -> NoReturn:
    print(text, file=sys.stderr)  # noqa: T201 - for the person at the terminal
    raise typer.Exit(code) from None


def _day(text: str, where: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise wrong(where, "no day", "write such as 2026-03-01") from None


def _micros(text: str) -> int:
    try:
        return parse_amount(text)
    except ValueError:
        raise wrong("credit_limit", "no amount", "write such as 50.00") from None


def _tell(content: Mapping[str, Any], *, as_json: bool) -> None:
    """Say what is there (law 1): facts below each other, lists in it as tables."""
    if as_json:
        print(plain.dumps(content, ensure_ascii=False))  # noqa: T201 - what the command answers
        return
    facts = {
        name: value for name, value in content.items() if value not in ("", None) and not _is_rows(value)
    }
    _table(("", ""), [(name.replace("_", " "), _text(value)) for name, value in facts.items()], headed=False)
    for name, rows in content.items():
        if _is_rows(rows) and rows:
            print(f"\n{name}")  # noqa: T201 - as above
            _tell_all(rows, as_json=False)


def _tell_all(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(plain.dumps(list(rows), ensure_ascii=False))  # noqa: T201 - as above
    elif rows:
        names = [name for name in rows[0] if any(row[name] not in ("", None) for row in rows)]
        _table(names, [[_text(row[name]) for name in names] for row in rows])


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, headed: bool = True) -> None:
    from rich.console import Console  # noqa: PLC0415 - rich is not loaded for JSON
    from rich.table import Table  # noqa: PLC0415

    shown = Table(box=None, pad_edge=False, show_header=headed)
    for title in titles:
        shown.add_column(title.replace("_", " "), overflow="fold")
    for row in rows:
        shown.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False).print(shown)
