"""`ocs demo`: a packet gateway charges a data session from opening to end, on a real server, every figure checked.

What should come out is computed here from the promise of the tariff alone (0.01 EUR per started MiB), not by the ladder,
and compared with what the gateway was answered and with what `ocs balance --json` says.
"""

import secrets
import signal
import time
from importlib.util import find_spec
from typing import Any, NamedTuple, NoReturn

from ocs.money import format_amount, parse_amount
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place
from ocs.roof.screen import Row, Screen
from ocs.roof.stage import Ran, Stage, folder_of

MIB = 1_048_576
CENT = 10_000
CREDIT = "0.05"
TOPUP = "1.00"
RATING_GROUP = 10

GRANT_OCTETS = 10 * MIB
"""What a request that names no amount is granted (INTERFACE)."""

MEANINGS = {2001: "success", 4012: "credit limit reached"}


class Step(NamedTuple):
    """One thing that happens, and what should come of it: money in micro-units, after the step."""

    what: str
    do: str
    used_octets: int | None
    wanted_octets: int | None
    code: int
    granted_octets: int
    final: bool
    balance_micros: int
    reserved_micros: int


def script() -> tuple[Step, ...]:
    """Write down the play. A MiB that has begun costs a cent; the subscriber starts with five."""
    half = MIB // 2
    return (
        Step("opens a session", "open", None, 3 * MIB, 2001, 3 * MIB, False, 5 * CENT, 3 * CENT),
        # 2.5 MiB used: three have begun. Of the 3 MiB wanted, 2.5 lead to the end of the fifth and last affordable one.
        Step("uses 2.5 MiB, asks for more", "update", 5 * half, 3 * MIB, 2001, 5 * half, True, 2 * CENT, 2 * CENT),
        Step("uses the last 2.5 MiB, asks again", "update", 5 * half, 3 * MIB, 4012, 0, False, 0, 0),
        Step("the subscriber tops up", "topup", None, None, 0, 0, False, 100 * CENT, 0),
        Step("the same top-up once more", "topup", None, None, 0, 0, False, 100 * CENT, 0),
        Step("goes on, leaves the amount to us", "update", None, None, 2001, GRANT_OCTETS, False, 100 * CENT, 10 * CENT),
        Step("answer lost: the same request again", "repeat", None, None, 2001, GRANT_OCTETS, False, 100 * CENT, 10 * CENT),
        # 8.25 MiB in all: nine have begun, five are paid.
        Step("uses 3.25 MiB, ends the session", "end", 13 * MIB // 4, None, 2001, 0, False, 96 * CENT, 0),
    )  # fmt: skip


class Subscriber(NamedTuple):
    """Who surfs in the demo."""

    msisdn: str
    imsi: str


def demo(place: Place) -> None:
    """Run the demo; Ended (found wrong) when any figure is not what it should be."""
    if find_spec("diameter") is None:
        raise Ended(
            Exit.USAGE,
            "the demo's packet gateway is built on python-diameter: run `make demo`, or install ocs[demo]",
        )
    signal.signal(signal.SIGTERM, _leave)
    began = time.monotonic()
    wrong: list[str] = []
    screen = Screen()
    with folder_of(place) as folder:
        screen.say("starting a server with a store of its own …")
        with Stage(place, folder) as stage:
            screen.say(f"{stage.ready}   (a packet gateway, built on python-diameter, is connected)")
            subscriber = _create(stage)
            screen.say(
                f"subscriber {subscriber.msisdn}: {CREDIT} EUR, tariff flat-data: 0.01 EUR per started MiB"
            )
            with screen:
                wrong += _play(stage, screen, subscriber)
            wrong += _audit(stage, screen)
            if stage.close() != Exit.DONE:
                wrong.append("the server did not end with 0")
    if wrong:
        raise Ended(Exit.FOUND_WRONG, "\n".join(["figures are not what they should be:", *wrong]))
    screen.say(f"every figure is what it should be; {time.monotonic() - began:.1f} s")


def _leave(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


def _done(ran: Ran, what: str) -> Any:
    if ran.code != Exit.DONE or ran.answer is None:
        raise Ended(Exit.FOUND_WRONG, f"{what}: exit {ran.code}: {ran.remarks}")
    return ran.answer


def _create(stage: Stage) -> Subscriber:
    """Create a subscriber with a number that nobody has: the folder may have seen a demo before."""
    for _ in range(5):
        tail = f"{secrets.randbelow(10**7):07d}"
        subscriber = Subscriber(f"49170{tail}", f"26201070{tail}")
        arguments = ("--imsi", subscriber.imsi, "--tariff", "flat-data", "--credit", CREDIT)
        ran = stage.ocs("subscriber", "create", subscriber.msisdn, *arguments)
        if ran.code != Exit.CONFLICT:
            _done(ran, "creating the subscriber")
            return subscriber
    raise Ended(Exit.CONFLICT, "five random numbers have accounts already")


def _play(stage: Stage, screen: Screen, subscriber: Subscriber) -> list[str]:
    """Play every step; what was not as it should be."""
    wrong: list[str] = []
    session_id = ""
    topup_id = f"demo-{secrets.token_hex(8)}"
    before = _money(stage, subscriber)
    for step in script():
        if step.do == "topup":
            answer = {}
            _done(stage.ocs("topup", subscriber.msisdn, TOPUP, "--id", topup_id), "topping up")
        else:
            answer = stage.gateway(**_command(step, subscriber, session_id))
            session_id = answer.get("session_id", session_id)
        after = _money(stage, subscriber)
        faults = _judge(step, answer, after)
        wrong += [f"{step.what}: {fault}" for fault in faults]
        screen.show(_row(step, answer, before, after, right=not faults))
        before = after
    return wrong


def _command(step: Step, subscriber: Subscriber, session_id: str) -> dict[str, Any]:
    """Put a step into the gateway's words."""
    if step.do == "open":
        who = {"msisdn": subscriber.msisdn, "imsi": subscriber.imsi, "rating_group": RATING_GROUP}
        return {"do": step.do, "wanted_octets": step.wanted_octets, **who}
    if step.do == "repeat":
        return {"do": step.do, "session_id": session_id}
    command = {"do": step.do, "session_id": session_id, "used_octets": step.used_octets}
    return command | ({"wanted_octets": step.wanted_octets} if step.do == "update" else {})


class Money(NamedTuple):
    """What `ocs balance --json` says, in micro-units."""

    balance_micros: int
    reserved_micros: int


def _money(stage: Stage, subscriber: Subscriber) -> Money:
    said = _done(stage.ocs("balance", subscriber.msisdn), "asking for the balance")
    return Money(parse_amount(said["balance"]), parse_amount(said["reserved"]))


def _judge(step: Step, answer: dict[str, Any], after: Money) -> list[str]:
    """Compare what came with what should come."""
    should: dict[str, Any] = {"balance": step.balance_micros, "reserved": step.reserved_micros}
    came: dict[str, Any] = {"balance": after.balance_micros, "reserved": after.reserved_micros}
    if answer:
        should |= {"result code": step.code, "granted octets": step.granted_octets, "final": step.final}
        came |= {
            "result code": answer["result_code"],
            "granted octets": answer["granted_octets"],
            "final": answer["final"],
        }
    return [f"{name} is {came[name]}, not {should[name]}" for name in should if came[name] != should[name]]


def _row(step: Step, answer: dict[str, Any], before: Money, after: Money, *, right: bool) -> Row:
    code = answer.get("result_code", 0)
    granted = _mib(answer.get("granted_octets", 0)) + (", the last" if answer.get("final") else "")
    debited = before.balance_micros - after.balance_micros
    asks = step.do in {"open", "update"}
    asked = (_mib(step.wanted_octets) if step.wanted_octets else "any amount") if asks else ""
    return Row(
        step.what,
        asked,
        f"{code} {MEANINGS.get(code, '')}".strip() if code else "",
        granted,
        format_amount(debited) if debited > 0 else "",
        f"{format_amount(before.balance_micros)} → {format_amount(after.balance_micros)}",
        format_amount(after.reserved_micros),
        right,
    )


def _mib(octets: int) -> str:
    return f"{octets / MIB:g} MiB" if octets else ""


def _audit(stage: Stage, screen: Screen) -> list[str]:
    """Let the audit prove conservation, and look that nothing stays open."""
    wrong = []
    ran = stage.ocs("audit")
    if ran.code != Exit.DONE or not ran.answer or not ran.answer["clean"]:
        wrong.append(f"ocs audit: exit {ran.code}: {ran.answer or ran.remarks}")
    if stage.ocs("sessions").answer != []:
        wrong.append("a session stayed open")
    screen.say("ocs audit: clean" if not wrong else "ocs audit: NOT clean")
    return wrong
