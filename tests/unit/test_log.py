from __future__ import annotations

import io
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from ocs.limits import LOG_LINES_MAX
from ocs.log import configure, flush, is_personal

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    configure("info", "json", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_level_and_time(lines: Lines) -> None:
    structlog.get_logger().info("peer refused", origin_host="pgw.example.org", remote_address="10.0.0.1")
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "peer refused",
        "level": "info",
        "origin_host": "pgw.example.org",
        "remote_address": "10.0.0.1",
    }


@pytest.mark.parametrize(
    "field", ["msisdn", "IMSI", "payer_msisdn", "Subscription-Id", "subscription_id_data", "emails"]
)
def test_a_personal_field_never_reaches_a_line(field: str, lines: Lines) -> None:
    structlog.get_logger().info(
        "x", **{field: "491700000001"}, nested=[{"deeper": {field: "491700000001"}}], kept=1
    )
    (line,) = lines()
    assert "491700000001" not in json.dumps(line)
    assert (line["kept"], line["nested"]) == (1, [{"deeper": {}}])


def test_a_personal_field_bound_earlier_or_in_the_context_is_dropped_too(lines: Lines) -> None:
    with structlog.contextvars.bound_contextvars(imsi="262011700000001", session="s;1"):
        structlog.get_logger().bind(msisdn="491700000001").warning("x")
    (line,) = lines()
    assert {key for key in line if key != "timestamp"} == {"event", "level", "session"}


def test_a_traceback_shows_no_local_variables(lines: Lines) -> None:
    def fail(number: str) -> None:
        raise LookupError(len(number))

    try:
        fail("491700000001")
    except LookupError:
        structlog.get_logger().exception("charge failed")
        logging.getLogger("uvicorn.error").exception("door failed")
    assert [line["exception"][0]["exc_type"] for line in lines()] == ["LookupError", "LookupError"]
    assert "491700000001" not in json.dumps(lines())


def test_lines_of_the_standard_library_come_in_the_same_shape(lines: Lines) -> None:
    logging.getLogger("uvicorn.error").warning("slow %s", "client", extra={"msisdn": "491700000001"})
    logging.getLogger("asyncio").debug("not asked for")
    (line,) = lines()
    assert (line["event"], line["level"], "msisdn" in line) == ("slow client", "warning", False)


def test_a_level_that_is_off_formats_nothing(lines: Lines) -> None:
    class Loud:
        def __repr__(self) -> str:
            raise AssertionError

        __str__ = __repr__

    structlog.get_logger().debug("x %s", Loud(), field=Loud())
    assert lines() == []


def test_the_console_shows_the_same_without_personal_fields(stream: io.StringIO) -> None:
    configure("info", "console", stream)
    structlog.get_logger().info("peer refused", origin_host="pgw", msisdn="491700000001")
    said = stream.getvalue()
    assert ("peer refused" in said, "origin_host=pgw" in said, "4917" in said) == (True, True, False)


@pytest.mark.parametrize(
    "field", ["remote_address", "origin_host", "session", "account", "username_policy", "result_code"]
)
def test_a_field_of_the_network_is_kept(field: str) -> None:
    assert not is_personal(field)


@pytest.mark.usefixtures("stream")  # it puts the loggers back
def test_a_log_whose_reader_has_gone_loses_its_lines_and_nothing_else() -> None:
    read_end, write_end = os.pipe()
    closed_pipe = os.fdopen(write_end, "w", buffering=1)
    os.close(read_end)

    configure("info", "json", closed_pipe)
    structlog.get_logger().info("nobody reads this")
    logging.getLogger("uvicorn").info("nor this")
    flush()

    closed_pipe.close()


@pytest.mark.usefixtures("stream")
def test_a_log_whose_reader_stalls_holds_nobody_up_and_tells_later_what_was_dropped() -> None:
    read_end, write_end = os.pipe()
    stalled = os.fdopen(write_end, "w")
    configure("info", "json", stalled)
    sent = 2 * LOG_LINES_MAX
    for number in range(
        sent
    ):  # more than the pipe and the queue hold: whoever waited here would wait for ever
        structlog.get_logger().info("nobody reads this yet", number=number)

    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.extend(iter(lambda: os.read(read_end, 65_536), b"")))
    reader.start()
    flush(30)
    structlog.get_logger().info("it flows again")
    flush(30)
    configure("info", "json", io.StringIO())
    stalled.close()
    reader.join()
    os.close(read_end)

    lines = [json.loads(line) for line in b"".join(received).splitlines()]
    read = [line["number"] for line in lines if line["event"] == "nobody reads this yet"]
    dropped = sum(line["lines"] for line in lines if line["event"] == "log lines dropped")
    assert read == sorted(read)
    assert dropped > 0
    assert len(read) + dropped == sent
    assert lines[-1]["event"] == "it flows again"
