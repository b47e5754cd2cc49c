"""Our codec beside python-diameter's, on the same octets, in the same run.

    python -m loadtests.bench_codec [--seconds 2]

Budget: decode at least 8 times, answer encode at least 40 times as fast. Each figure is the best of many short rounds,
so that a busy machine disturbs both sides alike. The requests are the captured CCRs, each with its own Session-Id, request
number and identifiers, so that no side can answer from a memory of the message; both answers decode to the same AVPs.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from diameter.message import Message as Stranger
from diameter.message.avp.grouped import GrantedServiceUnit, MultipleServicesCreditControl

from ocs.diameter.codec import Codec, Message, answer_header, header, writer

CAPTURES = Path(__file__).parent.parent / "tests" / "vectors" / "captures"
DECODE_TIMES_MIN = 8.0
ANSWER_TIMES_MIN = 40.0
COPIES = 50


class Figure(NamedTuple):
    """One line of the result: microseconds of a call, ours and python-diameter's."""

    what: str
    ours_us: float
    stranger_us: float
    times_min: float

    @property
    def times(self) -> float:
        """Return how many times as fast ours is."""
        return self.stranger_us / self.ours_us


def requests(name: str, codec: Codec) -> list[bytes]:
    """Return the CCRs of a capture, many times over, no two of them alike."""
    lines = (CAPTURES / f"{name}.hex").read_text().splitlines()
    frames = [bytes.fromhex(line) for line in lines if not line.startswith("#")]
    found = []
    for frame in frames:
        if header(frame).command != 272:
            continue
        session_id = codec.decode(frame).avps["Session-Id"].encode()
        for copy in range(COPIES):
            changed = session_id[:-6] + b"%06d" % copy
            ids = copy.to_bytes(4, "big") * 2
            found.append(frame[:12] + ids + frame[20:].replace(session_id, changed, 1))
    return found


def best_us(call: Callable[[Any], object], arguments: list[Any], seconds: float) -> float:
    """Return the microseconds of one call: the best round over all arguments within a time."""
    best = float("inf")
    until = perf_counter() + seconds
    while perf_counter() < until:
        started = perf_counter()
        for argument in arguments:
            call(argument)
        best = min(best, perf_counter() - started)
    return best / len(arguments) * 1e6


_SESSION_ID = writer("Session-Id")
_REQUEST_TYPE = writer("CC-Request-Type")
_REQUEST_NUMBER = writer("CC-Request-Number")
_SERVICE = writer("Multiple-Services-Credit-Control")
_GRANTED = writer("Granted-Service-Unit")
_TOTAL = writer("CC-Total-Octets")
_RATING_GROUP = writer("Rating-Group")
_CONSTANT = (
    writer("Result-Code")(2001)
    + writer("Origin-Host")("ocs.example.org")
    + writer("Origin-Realm")("example.org")
    + writer("Auth-Application-Id")(4)
)
_SERVICE_CONSTANT = writer("Validity-Time")(3600) + writer("Result-Code")(2001)


def our_answer(request: tuple[Any, Message, int]) -> bytes:
    """Encode the answer with one granted service, as the charging path does."""
    frame_header, message, octets = request
    avps = message.avps
    body = b"".join(
        (
            _SESSION_ID(avps["Session-Id"]),
            _CONSTANT,
            _REQUEST_TYPE(avps["CC-Request-Type"]),
            _REQUEST_NUMBER(avps["CC-Request-Number"]),
            _SERVICE(_GRANTED(_TOTAL(octets)) + _RATING_GROUP(10) + _SERVICE_CONSTANT),
        )
    )
    return answer_header(frame_header, error=False, length=20 + len(body)) + body


def stranger_answer(request: tuple[Any, int]) -> bytes:
    """Encode the same answer with python-diameter."""
    message, octets = request
    answer = message.to_answer()
    answer.session_id = message.session_id
    answer.result_code = 2001
    answer.origin_host = b"ocs.example.org"
    answer.origin_realm = b"example.org"
    answer.auth_application_id = 4
    answer.cc_request_type = message.cc_request_type
    answer.cc_request_number = message.cc_request_number
    answer.multiple_services_credit_control = [
        MultipleServicesCreditControl(
            granted_service_unit=GrantedServiceUnit(cc_total_octets=octets),
            rating_group=10,
            validity_time=3600,
            result_code=2001,
        )
    ]
    encoded: bytes = answer.as_bytes()
    return encoded


def measure(seconds: float) -> list[Figure]:
    """Measure all figures, each side for so many seconds."""
    codec = Codec()
    figures = []
    for name in ("open5gs", "kamailio", "pydiam", "freediameter"):
        frames = requests(name, codec)
        octets = round(statistics.mean(map(len, frames)))
        ours = best_us(codec.decode, frames, seconds)
        theirs = best_us(Stranger.from_bytes, frames, seconds)
        figures.append(Figure(f"decode CCR, {name}, {octets} octets", ours, theirs, DECODE_TIMES_MIN))
    frames = requests("open5gs", codec)
    mine = [(header(frame), codec.decode(frame), 1000 + at) for at, frame in enumerate(frames)]
    theirs_in = [(Stranger.from_bytes(frame), 1000 + at) for at, frame in enumerate(frames)]
    one, other = our_answer(mine[0]), stranger_answer(theirs_in[0])
    if codec.decode(one) != codec.decode(other):
        raise SystemExit("the two answers differ: the comparison would be void")
    ours = best_us(our_answer, mine, seconds)
    theirs = best_us(stranger_answer, theirs_in, seconds)
    figures.append(Figure(f"encode CCA, {len(one)} octets", ours, theirs, ANSWER_TIMES_MIN))
    return figures


def main() -> int:
    """Print the figures; 1 when one misses its budget."""
    parser = argparse.ArgumentParser(description="Our codec beside python-diameter's.")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each side of each figure")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    figures = measure(arguments.seconds)
    if arguments.json:
        print(json.dumps([{**figure._asdict(), "times": round(figure.times, 1)} for figure in figures]))
    else:
        print(f"{'what':42} {'ours µs':>8} {'python-diameter µs':>19} {'times':>6} {'budget':>7}")
        for figure in figures:
            print(
                f"{figure.what:42} {figure.ours_us:8.2f} {figure.stranger_us:19.2f} {figure.times:6.1f} {figure.times_min:7.0f}"
            )
    return 0 if all(figure.times >= figure.times_min for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
