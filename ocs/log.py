"""Logs: one structured line an event, without personal data; set up by the roof, once.

Laws of this room:
- A subscriber's number or name is never a field of a line: the fields below are dropped wherever they stand. This
  is a net under the rule, not the rule: whoever logs names an account or a session.
- A level that is off costs one empty call: nothing is formatted.
- Lines of the standard library's loggers (uvicorn, asyncio) come out in the same shape through the same net.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# As words of a name: `msisdn`, `payer_msisdn` and `Subscription-Id-Data` are all met.
PERSONAL_FIELDS = frozenset(
    {
        "billing_address", "birthday", "called_party", "calling_party", "e164", "email", "home_address", "iban",
        "imei", "imsi", "msisdn", "phone", "phone_number", "postal_address", "sip_uri", "subscription_id",
        "subscription_id_data", "user_equipment_info", "user_name",
    }
)  # fmt: skip
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
    """A stream whose end may go away (a closed pipe, a full disk): a line is lost then, never a request."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._out.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._out.flush()


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
    sink = cast("TextIO", _Sink(out))
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
