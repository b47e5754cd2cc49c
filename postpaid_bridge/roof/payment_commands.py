"""`pay`, `import-statement`, `payments …`, `clearing …`: payments by hand, the bank's files, and what nobody can place."""
# ruff: noqa: PLC0415 - a command imports what it needs and nothing else

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from ocs.money import AmountError, format_amount, parse_amount
from ocs.roof import say
from ocs.roof.ends import Ended, Exit
from ocs.roof.options import JsonOption, group
from postpaid_bridge.roof.progress import bar

__all__ = ["clearing_app", "import_statement", "pay", "payments_app"]

payments_app = group(
    "Payments: what they paid, what went back; and entries of statements that were not booked."
)
clearing_app = group("Payments that nobody can place.")

Amount = Annotated[str | None, typer.Option(metavar="AMOUNT", help="All that is left, if none.")]
Id = Annotated[str, typer.Option("--id", metavar="KEY", help="Its own id: the same again is done once.")]
Day = Annotated[str | None, typer.Option(metavar="DAY", help="Its day, such as 2026-11-30; today if none.")]
Why = Annotated[str, typer.Option(metavar="TEXT", help="Why.")]
Bills = Annotated[list[str] | None, typer.Option("--bill", metavar="NUMBER", help="A bill that it is for.")]
Account = Annotated[str, typer.Argument(help="Number of a billing account.")]
PaymentId = Annotated[int, typer.Argument(help="A payment, as `payments list` shows it.")]
_CODES = {"wrong": Exit.USAGE, "missing": Exit.NOT_FOUND, "conflict": Exit.CONFLICT}


def pay(
    ctx: typer.Context,
    account: Account,
    amount: Annotated[str, typer.Argument(help="What was paid, such as 10.00.")],
    own_id: Id,
    day: Day = None,
    bills: Bills = None,
    text: Annotated[str, typer.Option(metavar="TEXT", help="What the payer wrote.")] = "",
    method: Annotated[str, typer.Option(help="How it was paid.")] = "cash",
    *,
    json: JsonOption = False,
) -> None:
    """Book a payment once by its id; it pays the bills that are named, else what the law says."""
    from postpaid_bridge.allocation import Wish
    from postpaid_bridge.payments import Received
    from postpaid_bridge.sql.payments import day_before, payments, receive

    with _working(ctx) as work:
        of = _account(work, account)
        when = _day(ctx, day, lambda: day_before(work, payments, "desk", own_id))
        wishes = tuple(Wish(each) for each in bills or ())
        asked = Received(
            "desk", own_id, _micros(amount), of.currency, when, of.id, method[:16], "", "", text, wishes
        )
        row, _ = receive(work, asked, ctx.obj.clock.now_ms())
        shown = _shown(work, [row])[0]
    _say_one(shown, json=json)


def import_statement(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A bank's file (camt.053).")],
    *,
    json: JsonOption = False,
) -> None:
    """Take in a bank's statements; the same file again goes on where it was left. Exit code 1 where something was not booked."""
    from ocs.care.customers.shapes import CustomerFault
    from postpaid_bridge.jobs.statements import import_file
    from postpaid_bridge.statement import StatementFault

    accounts = ctx.obj.settings.bank.accounts
    if not accounts:
        raise Ended(Exit.USAGE, "no bank account is ours; set bank.accounts")
    try:
        with bar("entries") as shown:
            done = import_file(
                ctx.obj.engine, file, accounts, ctx.obj.clock.now_ms, lambda n, of: shown(n, of, "")
            )
    except OSError as fault:
        raise Ended(Exit.USAGE, f"{file} cannot be read: {fault.strerror}") from fault
    except StatementFault as fault:
        raise Ended(Exit.FOUND_WRONG, f"{file} is refused: {fault}; nothing of it is booked") from fault
    except CustomerFault as fault:
        raise Ended(_CODES[fault.kind.value], str(fault)) from fault
    told = [each._asdict() for each in done]
    if json:
        say.as_json({"statements": told})
    else:
        for each in done:
            states = ", ".join(f"{count} {state}" for state, count in each.states.items()) or "nothing"
            say.line(f"statement {each.name}{' (again)' if each.is_repeated else ''}: {states}")
    if any({"rejected", "doubtful"} & set(each.states) for each in done):
        raise typer.Exit(Exit.FOUND_WRONG)


@payments_app.command("list")
def listing(
    ctx: typer.Context,
    account: Annotated[str | None, typer.Option(help="Number of a billing account.")] = None,
    state: Annotated[str, typer.Option(help="placed, clearing, left or gone.")] = "",
    most: Annotated[int, typer.Option(min=1, max=10_000, help="Rows shown.")] = 100,
    *,
    json: JsonOption = False,
) -> None:
    """Show payments, the newest first."""
    from postpaid_bridge.sql.payment_views import listed

    with _looking(ctx) as look:
        of = _account(look, account).id if account else None
        shown = _shown(look, look.execute(listed(of, state).limit(most)).all())
    _say_many(shown, json=json)


@payments_app.command()
def show(ctx: typer.Context, payment: PaymentId, *, json: JsonOption = False) -> None:
    """Show a payment: what it paid, what went back, what is left."""
    from postpaid_bridge.sql.payments import read

    with _looking(ctx) as look:
        shown = _shown(look, [read(look, payment)])[0]
    _say_one(shown, json=json)


@payments_app.command("charge-back")
def charged_back(
    ctx: typer.Context,
    payment: PaymentId,
    own_id: Id,
    amount: Amount = None,
    fee: Annotated[str, typer.Option(metavar="AMOUNT", help="The bank's price.")] = "0.00",
    day: Day = None,
    reason: Why = "",
    *,
    pass_on: Annotated[bool, typer.Option(help="Let the payer owe the bank's price.")] = True,
    json: JsonOption = False,
) -> None:
    """Book what the bank took back: what the payment paid is open again."""
    from postpaid_bridge.sql.returns import charge_back

    more = {"fee_micros": _micros(fee), "is_passed_on": pass_on}
    _returned(ctx, charge_back, payment, own_id, amount, day, reason, more, json=json)


@payments_app.command("refund")
def refunded(
    ctx: typer.Context, payment: PaymentId, own_id: Id, amount: Amount = None, day: Day = None, reason: Why = "", *,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Book what is paid out of a payment: what is on no claim."""
    from postpaid_bridge.sql.returns import refund

    _returned(ctx, refund, payment, own_id, amount, day, reason, {}, json=json)


@payments_app.command()
def rejected(ctx: typer.Context, *, json: JsonOption = False) -> None:
    """Show entries of statements that were not booked, with their reasons; exit code 1 where there are any."""
    from postpaid_bridge.sql import statements

    with _looking(ctx) as look:
        shown = [
            {"row": row.id, "state": row.state, "amount": format_amount(row.amount_micros), "day": row.day.isoformat(), "why": row.why}
            for row in statements.rejected(look, most=1_000)
        ]  # fmt: skip
    _say_many(shown, json=json)
    if shown:
        raise typer.Exit(Exit.FOUND_WRONG)


@payments_app.command()
def accept(
    ctx: typer.Context,
    row: Annotated[int, typer.Argument(help="An entry, as `payments rejected` shows it.")],
) -> None:
    """Book an entry that was doubtful or rejected, now."""
    from postpaid_bridge.sql import statements

    with _working(ctx) as work:
        statements.accept(work, row, ctx.obj.clock.now_ms())
    say.line(f"entry {row} is booked")


@clearing_app.command("list")
def waiting(
    ctx: typer.Context,
    *,
    left: Annotated[bool, typer.Option("--left", help="Those that were left there, too.")] = False,
    json: JsonOption = False,
) -> None:
    """Show payments that wait, with the accounts that they may be for."""
    from postpaid_bridge.sql import clearing

    with _looking(ctx) as look:
        shown = _shown(look, clearing.waiting(look, left=left, most=1_000))
        for each in shown:
            found = clearing.proposals(look, each["payment"])
            each["proposals"] = [
                {"account": one.number, "bills": list(one.bills), "why": list(one.why)} for one in found
            ]
    if json:
        say.as_json(shown)
        return
    for each in shown:
        each["proposals"] = "; ".join(
            f"{one['account']}: {', '.join(one['why'])}" for one in each["proposals"]
        )
    _say_many([{k: each[k] for k in ("payment", "amount", "day", "payer", "text", "why", "proposals")} for each in shown], json=False)  # fmt: skip


@clearing_app.command("place")
def placed(
    ctx: typer.Context, payment: PaymentId, account: Account, bills: Bills = None, reason: Why = "", *, json: JsonOption = False
) -> None:  # fmt: skip
    """Place a payment on an account."""
    from postpaid_bridge.allocation import Wish
    from postpaid_bridge.sql import clearing

    with _working(ctx) as work:
        of, wishes = _account(work, account), tuple(Wish(each) for each in bills or ())
        row = clearing.place(work, payment, of.id, wishes, _who(), reason, ctx.obj.clock.now_ms())
        shown = _shown(work, [row])[0]
    _say_one(shown, json=json)


@clearing_app.command("refund")
def cleared(
    ctx: typer.Context, payment: PaymentId, own_id: Id, day: Day = None, reason: Why = "", *, json: JsonOption = False
) -> None:  # fmt: skip
    """Pay back a payment that waits."""
    from postpaid_bridge.sql.returns import refund

    _returned(ctx, refund, payment, own_id, None, day, reason, {}, json=json)


@clearing_app.command("leave")
def left_there(ctx: typer.Context, payment: PaymentId, reason: Why, *, json: JsonOption = False) -> None:
    """Leave a payment in clearing, with a reason."""
    from postpaid_bridge.sql import clearing

    with _working(ctx) as work:
        row = clearing.leave(work, payment, _who(), reason, ctx.obj.clock.now_ms())
        shown = _shown(work, [row])[0]
    _say_one(shown, json=json)


def _returned(
    ctx: typer.Context,
    do: Callable[..., Any],
    payment: int,
    own_id: str,
    amount: str | None,
    day: str | None,
    reason: str,
    more: dict[str, Any],
    *,
    json: bool,
) -> None:
    from postpaid_bridge.payments import Return
    from postpaid_bridge.sql.payments import day_before, read, returns

    with _working(ctx) as work:
        when = _day(ctx, day, lambda: day_before(work, returns, "desk", own_id))
        asked = Return(
            "desk", own_id, payment, when, None if amount is None else _micros(amount), reason=reason, by=_who(), **more
        )  # fmt: skip
        do(work, asked, ctx.obj.clock.now_ms())
        shown = _shown(work, [read(work, payment)])[0]
    _say_one(shown, json=json)


@contextmanager
def _working(ctx: typer.Context) -> Iterator[Connection]:
    from ocs.sql import writing

    with _told(), writing(ctx.obj.engine) as work:
        yield work


@contextmanager
def _looking(ctx: typer.Context) -> Iterator[Connection]:
    from ocs.sql import reading

    with _told(), reading(ctx.obj.engine) as look:
        yield look


@contextmanager
def _told() -> Iterator[None]:
    from ocs.care.customers.shapes import CustomerFault

    try:
        yield
    except CustomerFault as fault:
        raise Ended(_CODES[fault.kind.value], str(fault)) from fault


def _account(look: Connection, number: str) -> Any:
    from sqlalchemy import select

    from ocs.care.customers.tables import billing_accounts

    found = look.execute(select(billing_accounts).where(billing_accounts.c.number == number)).first()
    if found is None:
        raise Ended(Exit.NOT_FOUND, f"no billing account {number}")
    return found


def _micros(text: str) -> int:
    try:
        return parse_amount(text)
    except AmountError as fault:
        raise Ended(Exit.USAGE, str(fault)) from fault


def _day(ctx: typer.Context, text: str | None, before: Callable[[], date | None]) -> date:
    if text is None:
        today: date = ctx.obj.today
        return before() or today
    try:
        return date.fromisoformat(text)
    except ValueError as fault:
        raise Ended(Exit.USAGE, "--day: write a day such as 2026-11-30") from fault


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "desk"


def _shown(look: Connection, rows: Any) -> list[dict[str, Any]]:
    from postpaid_bridge.sql.payment_views import views

    return [
        {
            "payment": each.row.id, "state": each.row.state, "account": each.account, "amount": format_amount(each.row.amount_micros),
            "left": format_amount(each.left_micros), "currency": each.row.currency, "day": each.row.day.isoformat(),
            "provider": each.row.provider, "id": each.row.own_id, "payer": each.row.payer, "text": each.row.text, "why": each.row.why,
            "looks_like": each.row.twin,
            "paid": [
                {"bill": one.bill, "kind": one.kind, "amount": format_amount(one.amount_micros)} for one in each.paid
            ],
            "returned": [
                {"kind": one.kind, "id": one.own_id, "amount": format_amount(one.amount_micros), "reason": one.reason}
                for one in each.returned
            ],
        }
        for each in views(look, rows)
    ]  # fmt: skip


def _say_one(shown: dict[str, Any], *, json: bool) -> None:
    if json:
        say.as_json(shown)
        return
    flat = shown | {
        "paid": ", ".join(
            f"{each['amount']} {each['kind']} {each['bill']}".strip() for each in shown["paid"]
        ),
        "returned": ", ".join(f"{each['amount']} {each['kind']}" for each in shown["returned"]),
    }
    say.facts({name: str(value) for name, value in flat.items() if value not in {"", None}})


def _say_many(shown: list[dict[str, Any]], *, json: bool) -> None:
    if json:
        say.as_json(shown)
        return
    rows = [{k: v for k, v in each.items() if not isinstance(v, list)} for each in shown]
    if rows:
        columns = [(name, name in {"payment", "row", "amount", "left"}) for name in rows[0]]
        say.table(
            columns, [["" if value is None else str(value) for value in each.values()] for each in rows]
        )
