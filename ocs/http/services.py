"""Service inventory and activation in the shape of TMF640 v4.0.0: a service is a subscriber's charging service.

Laws
1. Paths, names, statuses and error bodies are those of the definition (tests/contract/tmf). Its hub and listeners are not served here.
2. A request is done when it is answered (201, 200, 204, never 202), so there is nothing to monitor: the list of monitors is empty.
3. A service's id is that of its subscriber (subscribers.py); it is active, inactive (barred) or terminated. What else the definition has
   for a service is not kept here, and refused rather than forgotten.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ocs.api_limits import SERVICES_LISTED_MAX, SUBSCRIBERS_PER_PAGE_MAX
from ocs.balance.accounts import Account
from ocs.balance.directory import Place, WalkOver
from ocs.http.access import Access, Caller
from ocs.http.audit_log import Change
from ocs.http.prepay.errors import Error, bad
from ocs.http.subscriber_desk import Asked, Desk, New, id_of
from ocs.records import Status

BASE = "/tmf-api/ServiceActivationAndConfiguration/v4"
SPECIFICATION = "charging"
"""The one service specification that there is."""

_STATES = {Status.ACTIVE: "active", Status.BARRED: "inactive", Status.TERMINATED: "terminated"}
_STATUSES = {state: status for status, state in _STATES.items()}
_TEXT = ("msisdn", "imsi", "tariff", "kind")
_GIVEN = frozenset((*_TEXT, "credit", "creditFloor", "memberOf", "cap"))
_CHANGED = frozenset(("msisdn", "imsi", "tariff", "creditFloor", "cap"))
_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True, populate_by_name=True)
_SHAPE = ConfigDict(populate_by_name=True)


class Characteristic(BaseModel):
    """One characteristic of a service."""

    model_config = _STRICT

    name: str = Field(max_length=64)
    value: str = Field(max_length=64)
    value_type: Literal["string"] | None = Field(None, alias="valueType")


class Specification(BaseModel):
    """What the service is: the charging of a subscriber."""

    model_config = _STRICT

    id: Literal["charging"]
    name: str | None = Field(None, max_length=64)


class ServiceCreate(BaseModel):
    """A service to be created: its state is active or inactive, and it has a number and a tariff at least."""

    model_config = _STRICT | {
        "json_schema_extra": {
            "examples": [
                {
                    "state": "active",
                    "serviceSpecification": {"id": SPECIFICATION},
                    "serviceCharacteristic": [
                        {"name": "msisdn", "value": "491700000001"},
                        {"name": "tariff", "value": "flat-data"},
                    ],
                }
            ]
        }
    }

    state: Literal["active", "inactive"]
    specification: Specification = Field(alias="serviceSpecification")
    characteristics: list[Characteristic] = Field(alias="serviceCharacteristic", max_length=16)


def _without_empty(schema: dict[str, Any]) -> None:
    """Describe a state that may be left out, and is none of its values then."""
    schema.pop("default", None)
    schema["enum"] = [each for each in schema["enum"] if each]


class ServiceUpdate(BaseModel):
    """What a service is to be: another state, other characteristics; those that are left out stay."""

    model_config = _STRICT | {"json_schema_extra": {"examples": [{"state": "inactive"}], "minProperties": 1}}

    state: Literal["active", "inactive", "terminated", ""] = Field("", json_schema_extra=_without_empty)
    characteristics: list[Characteristic] = Field(
        default_factory=list, alias="serviceCharacteristic", max_length=16
    )


class SpecificationShown(BaseModel):
    """ServiceSpecificationRef of the definition."""

    id: str
    name: str


class CharacteristicShown(BaseModel):
    """Characteristic of the definition."""

    model_config = _SHAPE

    name: str
    value_type: str = Field(alias="valueType")
    value: str


class Service(BaseModel):
    """Service of the definition."""

    model_config = _SHAPE

    id: str
    href: str
    name: str | None = None
    category: str | None = None
    service_type: str | None = Field(None, alias="serviceType")
    is_service_enabled: bool | None = Field(None, alias="isServiceEnabled")
    has_started: bool | None = Field(None, alias="hasStarted")
    state: Literal["active", "inactive", "terminated"] | None = None
    characteristics: list[CharacteristicShown] | None = Field(None, alias="serviceCharacteristic")
    specification: SpecificationShown | None = Field(None, alias="serviceSpecification")
    type: str | None = Field(None, alias="@type")


class Monitor(BaseModel):
    """Monitor of the definition; there is never one (law 2)."""

    id: str
    href: str


_FIELDS = Annotated[
    str | None, Query(max_length=512, description="Names of attributes, by commas; id and href always stay.")
]
_OFFSET = Annotated[int, Query(ge=0, le=SERVICES_LISTED_MAX)]
_LIMIT = Annotated[int, Query(ge=1, le=SUBSCRIBERS_PER_PAGE_MAX)]
_ID = Annotated[str, Path(min_length=1, max_length=20)]
_COUNTED: dict[str, Any] = {
    "headers": {
        "X-Total-Count": {"schema": {"type": "integer"}, "description": "How many there are."},
        "X-Result-Count": {"schema": {"type": "integer"}, "description": "How many came."},
    }
}
_FAULTS: dict[int | str, dict[str, Any]] = {code: {"model": Error} for code in (400, 401, 403, 404, 409, 503)}
_NAMES = frozenset(field.alias or name for name, field in Service.model_fields.items())


def service_of(account: Account) -> dict[str, Any]:
    """Describe a subscriber as a service of the definition."""
    profile = account.profile
    values = {"msisdn": profile.msisdn, "imsi": profile.imsi, "tariff": profile.tariff, "kind": profile.kind}
    name = id_of(account)
    return {
        "id": name,
        "href": f"{BASE}/service/{name}",
        "name": SPECIFICATION,
        "category": "CFS",
        "serviceType": SPECIFICATION,
        "isServiceEnabled": account.status is Status.ACTIVE,
        "hasStarted": True,
        "state": _STATES[account.status],
        "serviceCharacteristic": [
            {"name": each, "valueType": "string", "value": values[each]} for each in _TEXT if values[each]
        ],
        "serviceSpecification": {"id": SPECIFICATION, "name": SPECIFICATION},
        "@type": "Service",
    }


def shown(service: dict[str, Any], fields: str | None) -> dict[str, Any]:
    """Return what was asked for of a service; 400 for an attribute that it does not have."""
    if fields is None:
        return service
    wanted = {each.strip() for each in fields.split(",") if each.strip()} - {"none"}
    if unknown := wanted - _NAMES:
        count = len(unknown)
        raise bad("unknownAttribute", f"fields: {count} unknown; a service has {', '.join(sorted(_NAMES))}")
    return {name: value for name, value in service.items() if name in wanted | {"id", "href"}}


@contextmanager
def told_as_tmf() -> Iterator[None]:
    """Let refusals be 400 where they are 422 elsewhere: the definition has no 422."""
    try:
        yield
    except HTTPException as fault:
        if fault.status_code != 422:
            raise
        raise bad("badRequest", str(fault.detail)) from None


def _values(given: list[Characteristic], known: frozenset[str]) -> dict[str, str]:
    """Return characteristics by name; 400 for one that is unknown here, or named twice."""
    values = {each.name: each.value for each in given}
    if len(values) != len(given):
        raise bad("badRequest", "serviceCharacteristic: one is named twice; name each once")
    if values.keys() - known:
        raise bad(
            "unknownAttribute",
            f"serviceCharacteristic: an unknown name; known are {', '.join(sorted(known))}",
        )
    return values


def router(desk: Desk, access: Access) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(prefix=BASE, tags=["services (TMF640)"], responses=_FAULTS)
    _seen(routes, desk, access)
    _changed(routes, desk, access)
    _monitors(routes, access)
    return routes


def _seen(routes: APIRouter, desk: Desk, access: Access) -> None:
    reads = access.route("subscribers:read")

    @routes.get(
        "/service", response_model=list[Service], response_model_exclude_none=True, responses={200: _COUNTED}
    )
    async def listing(
        request: Request,
        response: Response,
        fields: _FIELDS = None,
        offset: _OFFSET = 0,
        limit: _LIMIT = 100,
        _caller: Caller = reads,
    ) -> list[dict[str, Any]]:
        """List services, terminated ones too. Each call walks over the whole store: who reads many takes /subscribers/v1, page by page."""
        if unknown := request.query_params.keys() - {"fields", "offset", "limit"}:
            raise bad("badQuery", f"query: {len(unknown)} unknown; there are fields, offset and limit")
        shown({}, fields)
        places = await _places(desk)
        part = await desk.directory.read(places[offset : offset + limit])
        response.headers["X-Total-Count"] = str(len(places))
        response.headers["X-Result-Count"] = str(len(part))
        return [shown(service_of(each), fields) for each in part]

    @routes.get("/service/{id}", response_model=Service, response_model_exclude_none=True)
    async def show(id: _ID, fields: _FIELDS = None, _caller: Caller = reads) -> dict[str, Any]:  # noqa: A002 - the definition's name
        """Show a service."""
        return shown(service_of(await _found(desk, id)), fields)


async def _places(desk: Desk) -> list[Place]:
    try:
        places = await desk.directory.places(SERVICES_LISTED_MAX)
    except WalkOver as over:
        raise HTTPException(503, str(over), {"Retry-After": "1"}) from None
    if places is None:
        raise bad(
            "limit",
            "there are too many services to list by offset; list them page by page: /subscribers/v1/subscribers",
        )
    return places


async def _found(desk: Desk, name: str) -> Account:
    account = await desk.by_id(name)
    if account is None:
        raise HTTPException(404, "no service has this id")
    return account


def _changed(routes: APIRouter, desk: Desk, access: Access) -> None:
    writes = access.change("subscribers:write")

    @routes.post("/service", status_code=201, response_model=Service, response_model_exclude_none=True)
    async def create(service: ServiceCreate, response: Response, change: Change = writes) -> dict[str, Any]:
        """Create a service, once by its number and content; it is active, or barred from the first moment that it is of use."""
        values = _values(service.characteristics, _GIVEN)
        if missing := {"msisdn", "tariff"} - values.keys():
            raise bad("badRequest", f"serviceCharacteristic: {' and '.join(sorted(missing))} missing")
        if values.get("kind", "prepaid") not in {"prepaid", "postpaid"}:
            raise bad("badRequest", "serviceCharacteristic: kind is prepaid or postpaid")
        with told_as_tmf():
            new = New(
                values["msisdn"], values["tariff"], values.get("imsi", ""), values.get("kind", "prepaid"),
                values.get("credit", ""), values.get("creditFloor", ""), values.get("memberOf", ""), values.get("cap", ""),
                service.state,
            )  # fmt: skip
            if new.payer and service.state == "inactive":
                raise bad("badRequest", "state: create a member active, then change it")
            account = await desk.create(new, change)
        made = service_of(account)
        response.headers["Location"] = made["href"]
        return made

    @routes.patch("/service/{id}", response_model=Service, response_model_exclude_none=True)
    async def patch(id: _ID, service: ServiceUpdate, change: Change = writes) -> dict[str, Any]:  # noqa: A002 - as above
        """Change a service's state and characteristics, all that is asked for or nothing; what is so already stays so."""
        values = _values(service.characteristics, _CHANGED)
        if not service.state and (not values or "state" in service.model_fields_set):
            raise bad("badRequest", "body: name a state or a characteristic")
        account = await _found(desk, id)
        with told_as_tmf():
            if service.state == "terminated":
                if values:
                    raise bad("badRequest", "state: a service that is terminated changes nothing else")
                return service_of(await desk.end(account, change))
            status = _STATUSES[service.state] if service.state else None
            asked = Asked(
                status, values.get("tariff"), values.get("creditFloor"), values.get("cap"), values.get("msisdn"), values.get("imsi")
            )  # fmt: skip
            return service_of(await desk.change(account, asked, change))

    @routes.delete("/service/{id}", status_code=204)
    async def end(id: _ID, change: Change = writes) -> None:  # noqa: A002 - as above
        """Terminate a service; one that is terminated stays so."""
        with told_as_tmf():
            await desk.end(await _found(desk, id), change)


def _monitors(routes: APIRouter, access: Access) -> None:
    reads = access.route("subscribers:read")

    @routes.get("/monitor", response_model=list[Monitor], responses={200: _COUNTED})
    async def monitors(
        response: Response,
        fields: _FIELDS = None,
        offset: _OFFSET = 0,
        limit: _LIMIT = 100,
        _caller: Caller = reads,
    ) -> list[dict[str, Any]]:
        """List monitors: none, since a request is done when it is answered."""
        del fields, offset, limit
        response.headers["X-Total-Count"] = response.headers["X-Result-Count"] = "0"
        return []

    @routes.get("/monitor/{id}", response_model=Monitor)
    async def monitor(id: _ID, fields: _FIELDS = None, _caller: Caller = reads) -> dict[str, Any]:  # noqa: A002 - as above
        """Show a monitor: there is none."""
        del id, fields
        raise HTTPException(404, "there are no monitors: a request is done when it is answered")
