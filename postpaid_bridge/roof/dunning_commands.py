"""`dun`, `explain`, `hold …`: a day's dunning, why an account stands where it does and what comes next, and what holds it."""
# ruff: noqa: PLC0415 - a command imports what it needs and nothing else

from datetime import date
from typing import Annotated, Any

import typer

from ocs.care.customers.shapes import CustomerFault
from ocs.money import AmountError, format_amount, parse_amount
from ocs.roof import say
from ocs.roof.ends import Ended, Exit
from ocs.roof.options import JsonOption, group

hold_app = group("What holds an account's dunning: disputes, promises to pay, and others with their reason.")

Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Number of a billing account.")]


def dun(
    ctx: typer.Context,
    day: Annotated[str, typer.Option(metavar="DAY", help="The day that is dunned for; today.")] = "",
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Dun: look at every account that is due, and take the steps that are; exit code 1 where one failed."""
    from postpaid_bridge.roof.dunned import dunning_of
    from postpaid_bridge.roof.progress import bar

    dunning, on = dunning_of(ctx.obj), _day(ctx, day)
    if dry_run:
        rows = [_due(each) for each in dunning.preview(on)]
        if json:
            say.as_json({"day": on.isoformat(), "steps": rows})
        elif rows:
            say.table([(name, name in {"overdue", "fee", "interest"}) for name in rows[0]], [list(each.values()) for each in rows])  # fmt: skip
        else:
            say.line(f"nothing is due on {on}")
        return
    with bar("accounts looked at") as tell:
        totals = dunning.run(on, lambda done, of: tell(done, of, f"{done:,} accounts"))
    told: dict[str, Any] = {
        "day": on.isoformat(),
        "looked": totals.looked,
        **totals.steps,
        "failed": len(totals.failed),
    }
    if json:
        say.as_json(told | {"failures": {str(key): why for key, why in totals.failed.items()}})
    else:
        say.facts({name: str(value) for name, value in told.items()})
        for key, why in totals.failed.items():
            say.remark(f"account {key}: {why}")
    if totals.failed:
        raise typer.Exit(Exit.FOUND_WRONG)


def explain(
    ctx: typer.Context,
    account: Account,
    at: Annotated[
        str, typer.Option("--at", metavar="DAY", help="As it was, or will be, on a day; today.")
    ] = "",
    *,
    json: JsonOption = False,
) -> None:
    """Say why an account stands where it does, what comes next and when, with the paragraphs."""
    from ocs.sql import reading
    from postpaid_bridge.roof.dunned import dunning_of

    on, dunning = _day(ctx, at), dunning_of(ctx.obj)
    with reading(ctx.obj.engine) as look:
        key = _key(look, account)
        (found,) = dunning.found(look, [key], on, as_of=bool(at))
    decision = found.decision
    if decision is None or found.policy is None:
        raise Ended(
            Exit.NOT_FOUND, f"account {account} is not dunned: no policy is for its kind and credit class"
        )
    facts, rows, why = _standing(account, found), _history(found, on), [list(each) for each in decision.why]
    if json:
        say.as_json(facts | {"why": why, "history": rows})
        return
    say.facts({name: str(value) for name, value in facts.items() if value not in {"", None}})
    say.table([("paragraph", False), ("why", False)], why)
    if rows:
        say.table([(name, False) for name in rows[0]], [list(each.values()) for each in rows])


@hold_app.command("add")
def hold_add(
    ctx: typer.Context,
    account: Account,
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="dispute, promise, manual; contested: a bill's amount.")
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    until: Annotated[str, typer.Option(metavar="DAY", help="Its last day; empty: until it is ended.")] = "",
    bill: Annotated[str, typer.Option(metavar="NUMBER", help="The bill that is contested.")] = "",
    amount: Annotated[str, typer.Option(metavar="AMOUNT", help="How much of it; empty: all.")] = "",
    *,
    json: JsonOption = False,
) -> None:
    """Hold an account's dunning from today on."""
    from ocs.sql import writing
    from postpaid_bridge.sql import dunning

    try:
        micros = parse_amount(amount) if amount else None
        with writing(ctx.obj.engine) as work:
            made = dunning.add_hold(
                work, _key(work, account), kind, reason, ctx.obj.today, ctx.obj.clock.now_ms(),
                until=_day(ctx, until) if until else None, bill=bill, amount_micros=micros,
            )  # fmt: skip
    except (CustomerFault, AmountError) as fault:
        raise Ended(Exit.USAGE, str(fault)) from fault
    say.as_json({"hold": made}) if json else say.line(f"hold {made} of account {account}")


@hold_app.command("end")
def hold_end(
    ctx: typer.Context,
    hold: Annotated[int, typer.Argument(metavar="HOLD", help="As `hold list` shows it.")],
    *,
    json: JsonOption = False,
) -> None:
    """End a hold today; one that has ended stays so."""
    from ocs.sql import writing
    from postpaid_bridge.sql import dunning

    try:
        with writing(ctx.obj.engine) as work:
            is_new = dunning.end_hold(work, hold, ctx.obj.today)
    except CustomerFault as fault:
        raise Ended(Exit.NOT_FOUND, str(fault)) from fault
    say.as_json({"hold": hold, "ended": is_new}) if json else say.line(f"hold {hold} has ended")


@hold_app.command("list")
def hold_list(ctx: typer.Context, account: Account, *, json: JsonOption = False) -> None:
    """Show an account's holds, the oldest first."""
    from ocs.sql import reading
    from postpaid_bridge.sql import dunning

    with reading(ctx.obj.engine) as look:
        rows = [_hold(each) for each in dunning.holds_of(look, _key(look, account))]
    if json:
        say.as_json({"holds": rows})
    elif rows:
        say.table([(name, name == "amount") for name in rows[0]], [list(each.values()) for each in rows])
    else:
        say.line(f"nothing holds account {account}")


def _day(ctx: typer.Context, text: str) -> date:
    if not text:
        return ctx.obj.today  # type: ignore[no-any-return]
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Ended(Exit.USAGE, f"{text!r} is no day; write it as 2026-03-31") from None


def _key(look: Any, number: str) -> int:
    from ocs.care.customers.reading import account_by_number

    try:
        return account_by_number(look, number).id
    except CustomerFault as fault:
        raise Ended(Exit.NOT_FOUND, f"no billing account has the number {number!r}") from fault


def _due(found: Any) -> dict[str, str]:
    step, standing = found.decision.step, found.decision.standing
    return {
        "account": found.payer.number, "level": str(step.level), "action": step.action,
        "overdue": format_amount(standing.overdue_micros), "fee": format_amount(step.fee_micros),
        "interest": format_amount(sum(each.micros for each in step.interest)), "letter": step.letter,
        "why": "; ".join(f"{each.paragraph}: {each.text}" for each in step.reasons),
    }  # fmt: skip


def _standing(account: str, found: Any) -> dict[str, Any]:
    decision, standing = found.decision, found.decision.standing
    following = found.policy.level(decision.next_level) if decision.next_level else None
    step = decision.step
    return {
        "account": account, "day": standing.day.isoformat(), "policy": found.policy.key, "kind": found.payer.kind,
        "case": standing.case or None, "level": standing.level, "barred": standing.barred or "none",
        "overdue": format_amount(standing.overdue_micros), "in_default": format_amount(standing.default_micros),
        "contested": format_amount(standing.contested_micros), "bills_in_default": ", ".join(standing.bills_in_default),
        "due_now": step.action if step is not None else None,
        "next": f"level {following.number}, {following.name}" if following is not None else None,
        "next_day": decision.next_day.isoformat() if decision.next_day is not None else None,
    }  # fmt: skip


def _history(found: Any, day: date) -> list[dict[str, str]]:
    return [
        {
            "case": str(each.case), "level": str(each.level), "action": each.action, "day": each.day.isoformat(),
            "until": each.until.isoformat() if each.until else "", "letter": each.letter,
        }
        for each in found.facts.history
        if each.day <= day
    ]  # fmt: skip


def _hold(row: Any) -> dict[str, str]:
    return {
        "hold": str(row.id), "kind": row.kind, "bill": row.bill,
        "amount": "" if row.amount_micros is None else format_amount(row.amount_micros), "since": row.since.isoformat(),
        "until": row.until.isoformat() if row.until else "", "ended": row.ended.isoformat() if row.ended else "", "reason": row.reason,
    }  # fmt: skip
