"""Logs: one structured line an event, without personal data; set up by the roof, once.

Laws of this room:
- A subscriber's number or name is never a field of a line: the fields below are dropped wherever they stand. This
  is a net under the rule, not the rule: whoever logs names an account or a session.
- A level that is off costs one empty call: nothing is formatted.
- A reader that stalls costs lines, never time: they wait in a bounded queue, and those dropped are counted and told.
- Lines of the standard library's loggers (uvicorn, asyncio) come out in the same shape through the same net.
"""

from __future__ import annotations

import atexit
import io
import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ocs.limits import LOG_LINES_MAX

# As words of a name: `msisdn`, `payer_msisdn` and `Subscription-Id-Data` are all met.
PERSONAL_FIELDS = frozenset(
    {
        "billing_address", "birthday", "called_party", "calling_party", "e164", "email", "home_address", "iban",
        "imei", "imsi", "msisdn", "phone", "phone_number", "postal_address", "sip_uri", "subscription_id",
        "subscription_id_data", "user_equipment_info", "user_name",
    }
)  # fmt: skip
FLUSH_S: Final = 1.0
"""Time that the end of a process gives a slow reader for the lines that wait."""

TELL_S: Final = 1.0
"""Pause between two lines that tell how many were dropped, while more are."""

DEPTH_MAX = 6  # of nested fields; what lies deeper is not shown at all


def is_personal(field: str) -> bool:
    """Whether a field's name, in any spelling, says that it holds a subscriber's data."""
    name = field.lower().replace("-", "_")
    return any(f"_{word}_" in f"_{name}_" or f"_{word}s_" in f"_{name}_" for word in PERSONAL_FIELDS)


def _without_personal(value: object, depth: int) -> object:
    if isinstance(value, Mapping):
        if depth == 0:
            return "…"
        return {
            key: _without_personal(inner, depth - 1)
            for key, inner in value.items()
            if not is_personal(str(key))
        }
    if isinstance(value, list | tuple):
        return [_without_personal(inner, depth - 1) for inner in value] if depth else "…"
    return value


def drop_personal(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The net: the event without personal fields, at any depth (a structlog processor)."""
    return {
        # What structlog's own bridge keeps of a standard record is not shown, and must stay whole.
        key: value if key.startswith("_") else _without_personal(value, DEPTH_MAX)
        for key, value in event.items()
        if not is_personal(key)
    }


class _Sink(io.TextIOBase):
    """A stream of this process's own (a test's, a captured one): a line that it refuses is lost, never a request."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._out.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._out.flush()


class _Outlet(io.TextIOBase):
    """A file descriptor whose other end may stall or go away: one thread writes, whoever logs never waits.

    Past the stream's buffers: a thread that is stuck in them at the end of the process would have it aborted.
    """

    def __init__(self, descriptor: int, told: Callable[[int], str]) -> None:
        self._descriptor = descriptor
        self._told = told
        self._lines: queue.Queue[str | None] = queue.Queue(LOG_LINES_MAX)
        self._dropping = threading.Lock()
        self._dropped = 0
        threading.Thread(target=self._work, name="log", daemon=True).start()

    def write(self, text: str) -> int:
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            with self._dropping:
                self._dropped += 1
        return len(text)

    def settle(self, limit_s: float) -> None:
        """Wait until everything is written, so long at most."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, limit_s)

    def end(self) -> None:
        """Write what waits, and end the thread."""
        self.settle(FLUSH_S)
        with suppress(queue.Full):  # stalled: the thread stays where it is, and ends with the process
            self._lines.put_nowait(None)

    def _work(self) -> None:
        counted, last_s = 0, -TELL_S
        while (text := self._lines.get()) is not None:
            self._put(text)
            dropped = self._dropped
            if dropped > counted and (self._lines.empty() or time.monotonic() - last_s >= TELL_S):
                self._put(self._told(dropped - counted))
                counted, last_s = dropped, time.monotonic()
            self._lines.task_done()

    def _put(self, text: str) -> None:
        octets = text.encode("utf-8", "backslashreplace")
        with suppress(OSError):
            while octets:
                octets = octets[os.write(self._descriptor, octets) :]


_outlets: list[_Outlet] = []
"""The one in use, if any."""


def flush(limit_s: float = FLUSH_S) -> None:
    """Wait until every line so far is written, so long at most: for tests, and for the end of the process."""
    for outlet in _outlets:
        outlet.settle(limit_s)


atexit.register(flush)


def _sink(out: TextIO, told: Callable[[int], str]) -> TextIO:
    for old in _outlets:
        old.end()
    _outlets.clear()
    try:
        descriptor = out.fileno()
    except (OSError, ValueError):
        return cast("TextIO", _Sink(out))
    _outlets.append(_Outlet(descriptor, told))
    return cast("TextIO", _outlets[0])


def _told_json(lines: int) -> str:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    line = {"event": "log lines dropped", "level": "warning", "lines": lines, "timestamp": now}
    return json.dumps(line) + "\n"


def _told_plain(lines: int) -> str:
    return f"{datetime.now(UTC).isoformat()} [warning] log lines dropped lines={lines}\n"


def configure(
    level: Literal["debug", "info", "warning", "error"] = "info",
    form: Literal["json", "console"] = "json",
    stream: TextIO | None = None,
) -> None:
    """Set up structlog and the standard library's loggers alike; to standard error unless a stream is given.

    Standard output stays for what a command answers (`ready diameter=… http=…`, JSON).
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    out = stream or sys.stderr
    sink = _sink(out, _told_json if form == "json" else _told_plain)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        drop_personal,
    ]
    # A traceback's local variables may hold anything: they are never shown.
    ending: list[Processor]
    if form == "json":
        no_locals = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        ending = [structlog.processors.ExceptionRenderer(no_locals), structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback
        ending = [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain)]
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=sink),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sink)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
