"""What all routes of customers stand on: the database, who may, what is said when something is refused, and how lists are read.

Laws
1. A handler is a plain function, run in a thread; it opens one unit of work, or one look, and answers after that has ended.
2. A change is on the audit log before its unit of work begins: kinds, ids and states, never a name, an address or a number of somebody.
3. A list's conditions on a few attributes are the database's; others are looked at here, in at most TMF_LISTED_MAX resources.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from functools import partial
from typing import Annotated, Any, Final, NamedTuple

from anyio import from_thread
from fastapi import Header, HTTPException, Path
from fastapi import Query as QueryParameter
from pydantic import BaseModel
from sqlalchemy import Connection, Engine, Select, func, select
from sqlalchemy.exc import OperationalError

from ocs.api_limits import TMF_LISTED_MAX
from ocs.care.customers.once import Asked, once
from ocs.care.customers.shapes import ANY_WORDS, CustomerFault, Kind, Words
from ocs.clock import Clock
from ocs.http.access import Access
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay.desk import own_id
from ocs.http.prepay.documented import faults, of_list
from ocs.http.prepay.errors import CODES, Told, bad
from ocs.http.prepay.listing import Query, listed, paged
from ocs.http.prepay.shapes import ID_FORM
from ocs.sql import reading, writing

__all__ = [
    "ONE",
    "READ",
    "WRITE",
    "FieldsAsked",
    "Ground",
    "Key",
    "Name",
    "answers",
    "begin",
    "day_time",
    "instant",
    "key_of",
    "listing",
    "lists",
    "looking",
    "made_once",
    "part",
    "told",
    "working",
]

ONE: Final = "/{id}"
READ: Final = "care:read"
WRITE: Final = "care:write"

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        json_schema_extra={"pattern": ID_FORM},
        description="The channel's own id; a repetition with it is done once.",
    ),
]
Name = Annotated[str, Path(alias="id", min_length=1, max_length=64, description="Its id.")]
FieldsAsked = Annotated[
    str | None,
    QueryParameter(
        alias="fields", max_length=1_024, description="Attributes to show, by commas; id and href always are."
    ),
]


class Ground(NamedTuple):
    """What routers are built from; ``today`` is the day in the operator's zone, ``words`` those of configuration."""

    engine: Engine
    access: Access
    clock: Clock
    today: Callable[[], date]
    words: Words = ANY_WORDS


@contextmanager
def told(wrong: int = 400, missing: int = 404) -> Iterator[None]:
    """Let refusals be answers: 400, 404, 409, and 503 for a database that is away.

    What is created cannot be missing: there ``missing`` is about something that the body names (400). Beside /tmf-api/ what is ``wrong``
    is 422, as everywhere.
    """
    statuses = {Kind.WRONG: wrong, Kind.MISSING: missing, Kind.CONFLICT: 409}
    try:
        yield
    except CustomerFault as fault:
        status = statuses[fault.kind]
        raise Told(status, CODES.get(status, "badRequest"), str(fault)) from None
    except OperationalError:
        raise HTTPException(
            503, "the database does not answer; ask again with the same id", {"Retry-After": "1"}
        ) from None


@contextmanager
def looking(ground: Ground) -> Iterator[Connection]:
    """One look at the database, whose faults are answers."""
    with told(), reading(ground.engine) as look:
        yield look


@contextmanager
def working(ground: Ground, *, wrong: int = 400, missing: int = 404) -> Iterator[Connection]:
    """One unit of work, whose faults are answers; the statuses as ``told`` says."""
    with told(wrong, missing), writing(ground.engine) as work:
        yield work


def begin(change: Change, action: str, resource: str = "") -> None:
    """Say durably that a change is about to be made (law 2), from a handler's thread. Raises HTTPException (503)."""
    from_thread.run(partial(change.begins, action, resource=resource))


def made_once(
    ground: Ground,
    work: Connection,
    change: Change,
    header: str | None,
    content: Mapping[str, Any],
    kind: str,
    make: Callable[[], int],
) -> int:
    """Make something once by the channel's own id (``header``), if it gave one; returns its key."""
    own = own_id(None, header) if header is not None else ""
    asked = (
        Asked(change.caller.channel, own, kind, content, ground.clock.now_ms())
        if change.caller is not None
        else None
    )
    made = once(work, asked, make)[0] if asked is not None else make()
    change.made(resource=f"{kind} {made}")
    return made


def key_of(name: str, what: str) -> int:
    """Read a key; 404 for what can be none."""
    if not (name.isascii() and name.isdigit() and len(name) <= 15):
        raise HTTPException(404, f"no {what} has this id")
    return int(name)


def instant(at_ms: int) -> str:
    """Write an instant (RFC 3339, UTC)."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day_time(day: date) -> str:
    """Write a day where a definition wants an instant: its midnight, without meaning a zone."""
    return datetime.combine(day, time(), UTC).isoformat().replace("+00:00", "Z")


def listing(
    look: Connection,
    query: Query,
    asked: Select[Any],
    columns: Mapping[str, Any],
    describe: Callable[[Sequence[Any]], list[dict[str, Any]]],
) -> ExactAnswer:
    """Answer with a page of what a select finds; ``columns`` are those of attributes that the database judges (law 3)."""
    for path, column in columns.items():
        value = query.only(path)
        if value is not None:
            asked = asked.where(column == _typed(column, value))
    rest = query.without(*columns)
    if not rest.filters:
        total = look.execute(select(func.count()).select_from(asked.order_by(None).subquery())).scalar_one()
        rows = look.execute(asked.offset(query.offset).limit(query.limit)).all()
        return _whole(paged(query, describe(rows), total))
    rows = look.execute(asked.limit(TMF_LISTED_MAX + 1)).all()
    if len(rows) > TMF_LISTED_MAX:
        raise bad(
            "limit",
            f"query: more than {TMF_LISTED_MAX} would be looked at; add one of {', '.join(sorted(columns))}",
        )
    return _whole(listed(rest, describe(rows)))


def _whole(answer: ExactAnswer) -> ExactAnswer:
    """Let a part of a list be 200 too: these definitions have no 206; X-Total-Count says how many there are."""
    answer.status_code = 200
    return answer


def lists(shape: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of a list."""
    return {code: told for code, told in (of_list(shape) | faults(404, 409, 413, 415)).items() if code != 206}


def answers(status: int, shape: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of an operation that shows what came of it; 201 says where it is, too."""
    said: dict[str, Any] = {"model": shape}
    if status == 201:
        said |= {"headers": {"Location": {"description": "Where it is.", "schema": {"type": "string"}}}}
    return {status: said} | faults()


def part(resource: Mapping[str, Any], wanted: frozenset[str] | None) -> dict[str, Any]:
    """Return the attributes that are asked for; id and href always."""
    return {
        name: value for name, value in resource.items() if wanted is None or name in wanted | {"id", "href"}
    }


def _typed(column: Any, value: str) -> Any:
    """Return a value as a column has it; a number that is none fits nothing."""
    if column.type.python_type is not int:
        return value
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 15 else -1
