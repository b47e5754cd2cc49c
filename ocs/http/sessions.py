"""Open sessions over HTTP: see them, end some, let their clients ask anew (RFC 8506 section 5.5).

Laws
1. The same words and figures as `ocs sessions` (ocs/sessions/described.py).
2. Every change is in the audit log: who, what, which session, what it released; never a number of a subscriber.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ocs.api_limits import SESSIONS_PER_PAGE_MAX
from ocs.balance.parts import Parts
from ocs.balance.stored_session import OpenSession
from ocs.http.access import Access, Caller
from ocs.http.asked import read_number
from ocs.http.audit_log import Change
from ocs.http.problems import faults_of
from ocs.limits import SESSION_ID_OCTETS_MAX
from ocs.money import format_amount
from ocs.names import SubscriberId
from ocs.records import SessionState
from ocs.sessions.described import described, held_facts, released_facts, shown_id
from ocs.sessions.ending import EndedSession
from ocs.sessions.reauthorise import Said
from ocs.sessions.search import find_session, page_of, sessions_of

BASE = "/charging/v1"


class Place(Protocol):
    """Where a subscriber lives (ocs/charging/plan.py, Profile)."""

    @property
    def partition(self) -> int:
        """Return the partition."""

    @property
    def path(self) -> str:
        """Return the account, behind a stroke its member."""


class Keepers:
    """What the routes work with: the store's parts, who finds a subscriber, who ends and who asks anew."""

    def __init__(
        self,
        parts: Parts,
        find: Callable[[SubscriberId], Awaitable[Place | None]],
        end: Callable[[Sequence[OpenSession]], Awaitable[list[EndedSession]]],
        ask_anew: Callable[[Sequence[OpenSession], int], Awaitable[Said]],
    ) -> None:
        self.parts, self.find, self.end, self.ask_anew = parts, find, end, ask_anew

    async def of_number(self, msisdn: str) -> tuple[str, list[OpenSession]]:
        """Return a number's account, and the open sessions of it and of who shares its account; 404 where nobody has it."""
        place = await self.find(read_number(msisdn))
        if place is None:
            raise HTTPException(404, "no subscriber has this number")
        return place.path, await sessions_of(self.parts, place.partition, place.path)

    async def one(self, session_id: str) -> OpenSession:
        """Return an open session; 404 where there is none."""
        session = await find_session(self.parts, session_id)
        if session is None or session.state != SessionState.OPEN:
            raise HTTPException(404, "no open session has this Session-Id")
        return session


class Service(BaseModel):
    """One service of a session: ``used`` and ``granted`` in its unit, amounts as decimal text."""

    service: str
    rate: str
    unit: str
    used: int
    posted: str
    granted: int
    reserved: str


class Session(BaseModel):
    """One open session."""

    session_id: str
    application: str
    account: str
    tariff: str
    opened: str
    due: str
    origin_host: str
    origin_realm: str
    reserved: str
    services: list[Service]


class Sessions(BaseModel):
    """Some open sessions; ``next`` is ``after`` of the next page, null behind the last."""

    sessions: list[Session]
    next: str | None


class Ended(BaseModel):
    """A session that was ended, what that released, and whether its client is told (ASR); if not, its next request gets 5002."""

    session_id: str
    account: str
    released: str
    client_told: bool


class Reauthorisation(BaseModel):
    """Whose clients are to ask anew: one session's or a number's, for one rating group or for all."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, json_schema_extra={"example": {"msisdn": "491700000001"}}
    )  # fmt: skip

    session_id: Annotated[str, Field(min_length=1, max_length=SESSION_ID_OCTETS_MAX)] | None = None
    msisdn: str | None = None
    rating_group: Annotated[int, Field(strict=True, ge=0, le=0xFFFFFFFF)] | None = None

    @model_validator(mode="after")
    def _of_one(self) -> "Reauthorisation":
        if (self.session_id is None) == (self.msisdn is None):
            raise ValueError("name session_id or msisdn")
        return self


class Asked(BaseModel):
    """How many sessions were meant, and of how many a worker has heard that it is to ask."""

    sessions: int
    told: int


_MSISDN = Query(description="Only those of this number, and of who shares its account.", max_length=16)
_ID = Annotated[str, Path(min_length=1, max_length=SESSION_ID_OCTETS_MAX, description="Diameter Session-Id.")]
_FAULTS = faults_of(401, 403, 404, 415, 422, 429, 503)


def _told(each: EndedSession) -> dict[str, Any]:
    """Describe a session that was ended."""
    return {
        "session_id": shown_id(each.session),
        "account": each.session.account,
        "released": format_amount(each.released_micros),
        "client_told": each.told,
    }


def router(keepers: Keepers, access: Access) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(prefix=BASE, tags=["sessions"], responses=_FAULTS)
    reads, writes = access.route("sessions:read"), access.change("sessions:write")

    @routes.get("/sessions", response_model=Sessions)
    async def listing(
        msisdn: Annotated[str | None, _MSISDN] = None,
        limit: Annotated[int, Query(ge=1, le=SESSIONS_PER_PAGE_MAX)] = 100,
        after: Annotated[str, Query(max_length=2 * SESSION_ID_OCTETS_MAX)] = "",
        _caller: Caller = reads,
    ) -> dict[str, Any]:
        """List open sessions, page by page; those of a number all at once."""
        if msisdn is not None:
            _, found = await keepers.of_number(msisdn)
            return {"sessions": [described(each) for each in found], "next": None}
        try:
            page = await page_of(keepers.parts, after, limit)
        except ValueError:
            raise HTTPException(422, "after: take it from the page before") from None
        return {"sessions": [described(each) for each in page.sessions], "next": page.following}

    @routes.get("/sessions/{session_id:path}", response_model=Session)
    async def show(session_id: _ID, _caller: Caller = reads) -> dict[str, Any]:
        """Show one open session."""
        return described(await keepers.one(session_id))

    @routes.delete("/sessions/{session_id:path}", response_model=Ended)
    async def end(session_id: _ID, change: Change = writes) -> dict[str, Any]:
        """End one session: what it holds is released at once, and its client is told (ASR)."""
        found = [await keepers.one(session_id)]
        await change.begins("session.end", **held_facts(found))
        ended = await keepers.end(found)
        if not ended:
            raise HTTPException(404, "the session has ended already; it holds nothing")
        change.made(after=released_facts(ended))
        return _told(ended[0])

    @routes.delete("/sessions", response_model=list[Ended])
    async def end_all(msisdn: Annotated[str, _MSISDN], change: Change = writes) -> list[dict[str, Any]]:
        """End all sessions of a number."""
        whose, found = await keepers.of_number(msisdn)
        await change.begins("session.end", **held_facts(found, whose))
        ended = await keepers.end(found)
        change.made(after=released_facts(ended))
        return [_told(each) for each in ended]

    @routes.post("/reauthorisations", status_code=202, response_model=Asked)
    async def ask_anew(wanted: Reauthorisation, change: Change = writes) -> Said:
        """Let the clients of a session, or of a number's sessions, ask anew (RAR): each gets what is right now."""
        if wanted.session_id is not None:
            whose, sessions = "", [await keepers.one(wanted.session_id)]
        else:
            whose, sessions = await keepers.of_number(wanted.msisdn or "")
        group = -1 if wanted.rating_group is None else wanted.rating_group
        await change.begins("session.ask_anew", **held_facts(sessions, whose))
        said = await keepers.ask_anew(sessions, group)
        change.made(after={"sessions": said.sessions, "told": said.told})
        return said

    return routes
