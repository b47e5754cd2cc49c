"""Subscribers over HTTP: create, see, change, bar, terminate; what they hold, and what they have.

Laws
1. The same words and figures as `ocs subscriber`, `ocs product` and `ocs balance` (ocs/balance/described.py).
2. A subscriber is named by its number, or by its id, which stays: the account, behind a dash its member.
3. What was asked for and cannot be read is refused whole; a field that is not known is refused.
"""

import re
import secrets
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, HTTPException, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ocs.api_limits import SUBSCRIBERS_PER_PAGE_MAX
from ocs.balance.accounts import Account
from ocs.balance.described import balance_of, described, holdings_of, purchase_facts
from ocs.balance.directory import Page, Place, WalkOver
from ocs.balance.holdings import Bought
from ocs.balance.link import StoreFault
from ocs.clock import instant
from ocs.http.access import Access, Caller
from ocs.http.asked import own_id, read_number
from ocs.http.audit_log import Change
from ocs.http.problems import faults_of
from ocs.http.subscriber_desk import ENDED, Asked, Desk, New, begins, id_of
from ocs.money import format_amount
from ocs.outcomes import Code
from ocs.rating.products import Product
from ocs.records import Status

BASE = "/subscribers/v1"

_REFUNDS = "adjust:write"
_PURCHASE_ID = re.compile(r"[!-.0-9;-~]{1,64}")
"""Printable ASCII without blanks, colon or stroke."""
STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)


_E164 = r"^(\+|00)?[0-9]{3,15}$"
_IMSI = r"^$|^[0-9]{3,15}$"
_MICROS = r"^[0-9]{1,10}(\.[0-9]{1,6})?$"
_FLOOR = r"^-[0-9]{1,10}(\.[0-9]{1,6})?$|^0(\.0{1,6})?$"


def _field(default: Any, *, pattern: str = "", **options: Any) -> Any:
    """Describe a field; its pattern is for readers of the description, the desk says in words what is wrong with a value."""

    def described_so(schema: dict[str, Any]) -> None:
        schema.pop("default", None)
        if pattern:
            schema["pattern"] = pattern

    return Field(default, json_schema_extra=described_so, **options)


class NewSubscriber(BaseModel):
    """A subscriber to be created. Asked for again with the same content it is answered as at first, for 30 days."""

    model_config = STRICT | {
        "json_schema_extra": {
            "examples": [{"msisdn": "491700000001", "tariff": "flat-data", "credit": "10.00"}]
        }
    }

    msisdn: str = _field(
        ..., max_length=17, pattern=_E164, description="E.164: 3 to 15 digits, with or without a plus."
    )
    tariff: str = Field(min_length=1, max_length=64)
    imsi: str = _field("", max_length=15, pattern=_IMSI)
    kind: Literal["prepaid", "postpaid"] = "prepaid"
    credit: str = _field("", max_length=20, pattern=f"^$|{_MICROS}", description="Opening credit.")
    credit_floor: str = _field(
        "",
        max_length=20,
        pattern=f"^$|{_FLOOR}",
        description="Zero or negative: a credit limit of 50.00 is -50.00.",
    )
    member_of: str = Field(
        "", max_length=20, description="Number or id of who pays: it is a member of that account."
    )
    cap: str = _field(
        "",
        max_length=20,
        pattern=f"^$|{_MICROS}",
        description="What a member may spend in a month; nothing or 0: all there is.",
    )


class Changes(BaseModel):
    """What a subscriber is to be; fields that are left out stay. All of it comes about, or nothing."""

    model_config = STRICT | {"json_schema_extra": {"examples": [{"status": "barred"}], "minProperties": 1}}

    status: Literal["active", "barred"] = _field("active")
    tariff: str = _field("", min_length=1, max_length=64)
    credit_floor: str = _field("", max_length=20, pattern=_FLOOR)
    cap: str = _field("", max_length=20, pattern=_MICROS, description="Of a member, 0: none.")
    msisdn: str = _field(
        "", max_length=17, pattern=_E164, description="The old number rests, then it is free."
    )
    imsi: str = _field(
        "", max_length=15, pattern=_IMSI, description="Another SIM; the old one is free at once. Empty: none."
    )

    @model_validator(mode="after")
    def _of_something(self) -> "Changes":
        if not self.model_fields_set:
            raise ValueError("name a field and what it is to be")
        return self


class Subscriber(BaseModel):
    """A subscriber; amounts are decimal text in its account's currency."""

    id: str
    msisdn: str
    imsi: str
    account: str
    member: str | None
    status: Literal["active", "barred", "terminated"]
    tariff: str
    kind: str
    currency: str
    balance: str
    available: str
    reserved: str
    credit_floor: str
    cap: str | None
    sessions_open: int
    active_until: str | None
    refundable: str | None = Field(
        description="Of one that has ended: what its account has left, which a refund pays; null: nothing."
    )


class Refund(BaseModel):
    """What was refunded at the end of a subscriber, under its id; ``owed`` is emergency credit that the account could not repay."""

    id: str
    amount: str
    owed: str


class Terminated(Subscriber):
    """A subscriber that has ended, with what was refunded where that was asked for."""

    refund: Refund = _field(None)


class Subscribers(BaseModel):
    """Some subscribers; ``next`` is ``after`` of the next page, null behind the last. A page may be a little longer than asked for."""

    subscribers: list[Subscriber]
    next: str | None


class Held(BaseModel):
    """A product that a subscriber holds."""

    number: int
    product: str
    since: str
    until: str
    renews: bool


class Purchase(BaseModel):
    """A purchase; ``id`` (or the header Idempotency-Key) counts once for each subscriber and channel, for 30 days."""

    model_config = STRICT | {"json_schema_extra": {"examples": [{"product": "smart-s", "id": "order-4711"}]}}

    product: str = Field(min_length=1, max_length=64, description="Name, or name@version.")
    id: str | None = _field(None, min_length=1, max_length=64, pattern=f"^{_PURCHASE_ID.pattern}$")


class Bill(BaseModel):
    """What a purchase came to."""

    id: str
    product: str
    number: int | None
    price: str
    currency: str
    valid_until: str | None


class Bucket(BaseModel):
    """An allowance, or money of restricted use, that holds now; money is decimal text."""

    id: str
    name: str
    unit: str
    remaining: int | str
    reserved: int | str
    valid_until: str


class Balance(BaseModel):
    """What an account has, holds and may spend."""

    msisdn: str
    account: str
    cap: str | None = None
    cap_left: str | None = None
    currency: str
    balance: str
    available: str
    reserved: str
    credit_floor: str
    owed: str | None = Field(None, description="Emergency credit that is owed; where there is some.")
    refundable: str | None = Field(
        None, description="Of one that has ended: what a refund pays; where there is something."
    )
    buckets: list[Bucket]


NAME = Annotated[
    str,
    Path(min_length=1, max_length=20, description="Number or id of a subscriber.", examples=["491700000001"]),
]
_LIMIT = Annotated[int, Query(ge=1, le=SUBSCRIBERS_PER_PAGE_MAX)]
_AFTER = Annotated[str, Query(max_length=64, description="`next` of the page before.")]
FAULTS = faults_of(400, 401, 403, 404, 409, 422, 503)


def shown(account: Account) -> dict[str, Any]:
    """Describe a subscriber as the API shows it."""
    profile = account.profile
    cap = format_amount(profile.cap_micros) if profile.member and profile.cap_micros else None
    return {"id": id_of(account), "cap": cap, **described(account)}


def router(desk: Desk, access: Access) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(prefix=BASE, responses=FAULTS)
    _subscribers(routes, desk, access)
    _ends(routes, desk, access)
    _members(routes, desk, access)
    _products(routes, desk, access)
    return routes


def _subscribers(routes: APIRouter, desk: Desk, access: Access) -> None:
    reads, writes = access.route("subscribers:read"), access.change("subscribers:write")

    @routes.post("/subscribers", tags=["subscribers"], status_code=201, response_model=Subscriber)
    async def create(wanted: NewSubscriber, response: Response, change: Change = writes) -> dict[str, Any]:
        """Create a subscriber, with an account or as a member of one. The same again is answered the same, other content is 409."""
        given = wanted.model_dump()
        account = await desk.create(New(payer=given.pop("member_of"), **given), change)
        response.headers["Location"] = f"{BASE}/subscribers/{id_of(account)}"
        return shown(account)

    @routes.get("/subscribers", tags=["subscribers"], response_model=Subscribers)
    async def listing(
        msisdn: Annotated[str | None, Query(max_length=17)] = None,
        imsi: Annotated[str | None, Query(max_length=15)] = None,
        account: Annotated[str | None, Query(max_length=20, description="An id.")] = None,
        limit: _LIMIT = 100,
        after: _AFTER = "",
        _caller: Caller = reads,
    ) -> dict[str, Any]:
        """List subscribers, ended ones too, page by page; by number, IMSI or id the one that fits all of them."""
        if msisdn is None and imsi is None and account is None:
            page = await _page(desk, after, limit)
            return {"subscribers": [shown(each) for each in page.accounts], "next": page.following}
        found = []
        if msisdn is not None:
            found.append(await desk.accounts.find(read_number(msisdn)))
        if imsi is not None:
            found.append(await desk.of_imsi(imsi) if imsi else None)
        if account is not None:
            found.append(await desk.by_id(account))
        paths = {each.profile.path if each is not None else None for each in found}
        fits = found[0] if len(paths) == 1 else None
        return {"subscribers": [shown(fits)] if fits is not None else [], "next": None}

    @routes.get("/subscribers/{subscriber}", tags=["subscribers"], response_model=Subscriber)
    async def show(subscriber: NAME, _caller: Caller = reads) -> dict[str, Any]:
        """Show a subscriber."""
        return shown(await desk.find(subscriber))

    @routes.patch("/subscribers/{subscriber}", tags=["subscribers"], response_model=Subscriber)
    async def patch(subscriber: NAME, wanted: Changes, change: Change = writes) -> dict[str, Any]:
        """Change a subscriber: bar and unbar it, give it another tariff, credit floor, cap, number or SIM; what is so already stays so."""
        given = wanted.model_dump(exclude_unset=True)
        if "status" in given:
            given["status"] = Status[given["status"].upper()]
        return shown(await desk.change(await desk.find(subscriber), Asked(**given), change))


def _ends(routes: APIRouter, desk: Desk, access: Access) -> None:
    ends = access.change("subscribers:write")

    @routes.delete(
        "/subscribers/{subscriber}",
        tags=["subscribers"],
        response_model=Terminated,
        response_model_exclude_unset=True,
    )
    async def end(
        subscriber: NAME,
        *,
        refund: Annotated[
            bool, Query(description="Refund what is left; for callers with adjust:write too.")
        ] = False,
        id: Annotated[str | None, Query(max_length=64, description="Of the refund; it counts once.")] = None,  # noqa: A002 - its name
        idempotency_key: Annotated[str | None, Header(max_length=64)] = None,
        change: Change = ends,
    ) -> dict[str, Any]:
        """Terminate a subscriber, and its members with it. Its number rests for the quarantine of its tariff, then it is free.

        With `refund=true` its open sessions are ended, and what the account has left then is refunded, once by the id (none given: one that is
        made of the account). One that has ended without is refunded in the same way, by its id where its number is free; `refundable` says what there is.
        """
        if not refund:
            return shown(await desk.end(await desk.find(subscriber), change))
        if not change.caller.allows(_REFUNDS):
            raise HTTPException(403, f"the key lacks the scope {_REFUNDS}, which a refund needs")
        account = await desk.find(subscriber)
        usual = f"refund-{account.profile.account}" if id is None and idempotency_key is None else None
        once = purchase_id(usual or id, idempotency_key)
        after, done = await desk.refund(account, change, change.caller.channel, once)
        assert done.action is not None
        told = {
            "id": once,
            "amount": format_amount(done.action.settled),
            "owed": format_amount(done.action.owed_micros),
        }
        return shown(after) | {"refund": told}


async def _page(desk: Desk, after: str, limit: int) -> Page:
    try:
        return await desk.directory.page(after, limit)
    except WalkOver as over:
        raise HTTPException(422, f"after: {over}") from None


def _members(routes: APIRouter, desk: Desk, access: Access) -> None:
    reads, balances = access.route("subscribers:read"), access.route("balance:read")

    @routes.get("/subscribers/{subscriber}/members", tags=["subscribers"], response_model=Subscribers)
    async def members(
        subscriber: NAME, limit: _LIMIT = 100, after: _AFTER = "", _caller: Caller = reads
    ) -> dict[str, Any]:
        """List the members of an account, ended ones too, in the order of their ids."""
        account = await desk.find(subscriber)
        where = account.profile
        paths = [] if where.member else await desk.accounts.members(where.partition, where.account)
        begun = [each for each in paths if each.replace("/", "-") > after]
        found = await desk.directory.read([Place(where.partition, each) for each in begun[:limit]])
        following = begun[limit - 1].replace("/", "-") if len(begun) > limit else None
        return {"subscribers": [shown(each) for each in found], "next": following}

    @routes.get(
        "/subscribers/{subscriber}/balance",
        tags=["subscribers"],
        response_model=Balance,
        response_model_exclude_none=True,
    )
    async def balance(subscriber: NAME, _caller: Caller = balances) -> dict[str, Any]:
        """Show what a subscriber's account has, holds and may spend, and the buckets that hold now."""
        account = await desk.find(subscriber)
        return balance_of(account, await desk.now_ms(account), desk.holdings.catalogue)


def _products(routes: APIRouter, desk: Desk, access: Access) -> None:
    reads, writes = access.route("subscribers:read"), access.change("subscribers:write")

    @routes.get("/subscribers/{subscriber}/products", tags=["products"], response_model=list[Held])
    async def held(subscriber: NAME, _caller: Caller = reads) -> list[dict[str, Any]]:
        """List the products that a subscriber itself holds."""
        return holdings_of(await desk.find(subscriber), desk.holdings.catalogue)

    @routes.post(
        "/subscribers/{subscriber}/products", tags=["products"], status_code=201, response_model=Bill
    )
    async def buy(
        subscriber: NAME,
        wanted: Purchase,
        idempotency_key: Annotated[str | None, Header(max_length=64)] = None,
        change: Change = writes,
    ) -> dict[str, Any]:
        """Buy a product, once by its id: the same again is answered the same, another product under the id is 409."""
        once = purchase_id(wanted.id, idempotency_key)
        account, product = await desk.find(subscriber), _sold(desk, wanted.product)
        if account.ended:
            raise HTTPException(409, ENDED)
        channel = change.caller.channel
        await begins(change, "product.buy", account, f"{channel}:{once}", product=product.key)
        done = await desk.holdings.buy(account, product, f"{channel} {once}")
        change.made(after=purchase_facts(done))
        _refuse(done, product)
        return {
            "id": once,
            "product": product.key,
            "number": done.number or None,
            "price": format_amount(done.price_micros),
            "currency": account.profile.currency,
            "valid_until": instant(done.until_ms) if done.until_ms else None,
        }

    @routes.delete("/subscribers/{subscriber}/products/{number}", tags=["products"], response_model=Held)
    async def cancel(
        subscriber: NAME, number: Annotated[int, Path(ge=0, lt=2**53)], change: Change = writes
    ) -> dict[str, Any]:
        """Let a product end with its period."""
        account = await desk.find(subscriber)
        if account.ended:
            raise HTTPException(409, ENDED)
        await begins(change, "product.cancel", account, f"{id_of(account)}:{number}")
        code = await desk.holdings.cancel(account, number)
        after = await desk.again(account)
        left = [each for each in holdings_of(after, desk.holdings.catalogue) if each["number"] == number]
        if code == Code.UNKNOWN_SESSION or not left:
            raise HTTPException(404, "the subscriber holds no product of this number")
        if code != Code.SUCCESS:
            raise StoreFault(f"the change was refused: {code.name}")
        change.made(after={"product": left[0]["product"], "renews": False})
        return left[0]


def purchase_id(named: str | None, header: str | None) -> str:
    """Return the id of a purchase: of body or header, which must not differ; one of ours where none is given."""
    once = own_id(named, header)
    if not once:
        return secrets.token_hex(16)
    if _PURCHASE_ID.fullmatch(once) is None:
        raise HTTPException(
            422, "id: write 1 to 64 printable ASCII characters without blank, colon or stroke"
        )
    return once


def _sold(desk: Desk, name: str) -> Product:
    """Return a product by name, or one version by key; 422 names the known ones."""
    catalogue = desk.holdings.catalogue
    product = catalogue.product(name) or catalogue.newest(name)
    bonuses = {each.key for each in catalogue.bonuses}
    if product is None or product.key in bonuses:
        known = {each.name for each in catalogue.products.values() if each.key not in bonuses}
        raise HTTPException(
            422, f"product: there is none of the name; known are {', '.join(sorted(known)) or 'none'}"
        )
    return product


def _refuse(done: Bought, product: Product) -> None:
    """Refuse where nothing was bought."""
    if done.code == Code.CREDIT_LIMIT:
        price = format_amount(done.price_micros)
        raise HTTPException(
            409,
            f"{product.key} costs {price}, which is more than is available or the member may spend; nothing was bought",
        )
    if done.code == Code.CONFLICT:
        raise HTTPException(409, "id: it was used for another product; nothing was bought")
    if done.code == Code.LIMIT:
        raise HTTPException(409, done.why or "the account holds as much as it can; nothing was bought")
    if done.code == Code.UNKNOWN_SUBSCRIBER:
        raise HTTPException(409, ENDED)
    if done.code != Code.SUCCESS:
        raise StoreFault(f"the purchase was refused: {done.code.name}; ask again with the same id")
