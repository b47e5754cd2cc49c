"""What charging itself costs a request: microseconds of ask(), plan() and answer(), without codec, store and socket.

    python -m loadtests.bench_charging [--seconds 1] [--json]

Budget: ask 10 µs and answer 3 µs for one service; the whole worker has 60 µs for a request. A captured Open5GS update
(one service without a name, which reports and asks) and one of three rating groups, each as 50 requests of
different subscribers and sessions, so that no memory of a value answers. plan() is measured on one ladder and on the sample
operator's rates (data by network and rating group; calls by number, time and holiday), where at most 10 µs more are asked for. Best of
many short rounds.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from ocs.charging.answer import AnswerWriter
from ocs.charging.ask import INITIAL, Ask, AskedService, Units, ask
from ocs.charging.outcome import Outcome, ServiceOutcome
from ocs.charging.plan import Known, QuotaRules, plan
from ocs.diameter.codec import Codec, Message
from ocs.outcomes import Code, Note
from ocs.rating.ladder import Ladder
from ocs.rating.tariff import Tariff
from ocs.rating.versions import Tariffs
from ocs.roof.build import read_tariffs
from ocs.settings import config_folder
from ocs.units import Unit

CAPTURE = Path(__file__).parent.parent / "tests" / "vectors" / "captures" / "open5gs.hex"
COPIES = 50
ASK_US_MAX = 10.0
ANSWER_US_MAX = 3.0


NOW_MS = 1_795_000_000_000
RULES = QuotaRules(10_485_760, 3_600, 1, 3_600, 10**9, 10, 10)
CALL = {
    "IMS-Information": {
        "Called-Party-Address": "sip:+4930123456@ims.example.org;user=phone",
        "Role-Of-Node": 0,
    }
}


class Case(NamedTuple):
    """Requests of one kind, decoded, with what the store would say to them."""

    what: str
    messages: list[Message]
    answers: list[tuple[Message, Ask, Outcome]]


def one_service(codec: Codec) -> list[bytes]:
    """Return the first captured Open5GS update as many subscribers would send it."""
    lines = CAPTURE.read_text().splitlines()
    frame = bytes.fromhex(lines[lines.index("# CCR-U peer->server") + 1])
    session_id = codec.decode(frame).avps["Session-Id"].encode()
    frames = []
    for copy in range(COPIES):
        changed = frame.replace(session_id, session_id[:-6] + b"%06d" % copy)
        changed = changed.replace(b"001010000000001", b"0010100%08d" % copy)
        frames.append(changed.replace(b"491700000001", b"4917%08d" % copy))
    return frames


def three_services(codec: Codec, frames: list[bytes]) -> list[bytes]:
    """Return the same with three rating groups in place of the service without a name."""
    found = []
    for frame in frames:
        message = codec.decode(frame)
        groups: list[dict[str, Any]] = [
            {
                "Requested-Service-Unit": {},
                "Used-Service-Unit": [{"CC-Total-Octets": 1_000_000 + rating_group}],
                "Rating-Group": rating_group,
            }
            for rating_group in (10, 20, 30)
        ]
        message.avps["Multiple-Services-Credit-Control"] = groups
        found.append(codec.encode(message))
    return found


def case(what: str, codec: Codec, frames: list[bytes]) -> Case:
    """Decode requests and lay ready what their answers need."""
    messages = [codec.decode(frame) for frame in frames]
    decided = ServiceOutcome(Code.SUCCESS, Unit.OCTETS, 10_485_760, 3600, final=False)
    answers = []
    for message in messages:
        asked = ask(message)
        outcome = Outcome(Code.SUCCESS, Note(0), (decided,) * len(asked.services))
        answers.append((message, asked, outcome))
    return Case(what, messages, answers)


def plans(codec: Codec, seconds: float) -> dict[str, dict[str, float]]:
    """Measure plan(): a data session's update, and a call's first request and update."""
    tariffs = Tariffs(read_tariffs(config_folder() / "tariffs", config_folder() / "zones"))
    flat, rated = tariffs.newest("flat", 0), tariffs.newest("mobile", 0)
    texts: dict[int, bytes] = {}

    def ladder_text(ladder: Ladder) -> bytes:
        return texts.setdefault(id(ladder), b"x%d" % id(ladder))

    def us(asked: Ask, tariff: Tariff | None, marks: dict[str, str], facts: str = "") -> float:
        known = None if asked.kind == INITIAL else Known("a", "mobile@1", facts, marks)
        made = plan(asked, tariff, RULES, ladder_text, NOW_MS, known)
        if not made.ladders:
            raise SystemExit("the sample operator's tariff does not price what is measured")
        return best_us(plan, [(asked, tariff, RULES, ladder_text, NOW_MS, known)] * COPIES, seconds)

    data = ask(codec.decode(one_service(codec)[0]))
    used = Units(seconds=600)
    service = AskedService("", None, None, used, Units())
    call = data._replace(family="voice", services=(service,), information=CALL)
    first = call._replace(kind=INITIAL, services=(service._replace(used=None),))
    figures = {
        "data update": (data, {"": "1:"}, {"": "1:surfing"}, "home"),
        "call, first request": (first, {}, {}, ""),
        "call, update": (call, {"": "1:"}, {"": "1:national/0"}, "fixed"),
    }
    found: dict[str, dict[str, float]] = {}
    for what, (asked, plain, marks, facts) in figures.items():
        one_ladder = us(asked._replace(information=None), flat, plain)
        rates = us(asked, rated, marks, facts)
        found[f"plan, {what}"] = {
            "one_ladder_us": one_ladder,
            "rates_us": rates,
            "rates_beyond_flat_us": rates - one_ladder,
        }
    return found


def best_us(call: Callable[..., object], arguments: list[tuple[Any, ...]], seconds: float) -> float:
    """Return microseconds of one call: the best round of all that fit into the time."""
    end, best = perf_counter() + seconds, float("inf")
    while perf_counter() < end:
        start = perf_counter()
        for each in arguments:
            call(*each)
        best = min(best, perf_counter() - start)
    return best / len(arguments) * 1e6


def main() -> None:
    """Measure and print; exit 1 beyond the budget."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    codec = Codec()
    writer = AnswerWriter("ocs.example.org", "example.org", failure_handling=0, session_failover=1)
    single = one_service(codec)
    cases = (
        case("one service, Open5GS", codec, single),
        case("three services", codec, three_services(codec, single)),
    )
    figures = {
        each.what: {
            "ask_us": best_us(ask, [(message,) for message in each.messages], options.seconds),
            "answer_us": best_us(writer.answer, list(each.answers), options.seconds),
        }
        for each in cases
    }
    planned = plans(codec, options.seconds)
    if options.json:
        print(json.dumps(figures | planned))
    else:
        for what, figure in (figures | planned).items():
            told = "".join(
                f"   {name.removesuffix('_us').replace('_', ' ')} {us:6.2f} µs" for name, us in figure.items()
            )
            print(f"{what:28}{told}")
    first = figures[cases[0].what]
    if first["ask_us"] > ASK_US_MAX or first["answer_us"] > ANSWER_US_MAX:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
