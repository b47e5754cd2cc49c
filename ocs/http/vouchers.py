"""Vouchers over HTTP: batches made, seen and changed, single vouchers looked up and blocked, and vouchers redeemed.

Laws
1. The same words and figures as `ocs vouchers` (voucher_texts.py).
2. The codes of a batch are in one answer, the one that makes it. Whoever got its end has a batch that is created; one whose answer broke
   off is void, or to be cancelled: it is not active, and nothing of it was ever redeemed.
3. Every attempted change is in the audit log (audit_log.py): who, which batch, serial or id, before and after; never a code or a number.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, HTTPException, Path, Query
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from ocs.api_limits import VOUCHER_DESCRIPTION_CHARS_MAX, VOUCHERS_PER_BATCH_MAX
from ocs.balance.accounts import Account
from ocs.balance.parts import Parts
from ocs.balance.voucher_batches import Batches, BatchRefused, BatchState, NewBatch, NoBatch
from ocs.balance.voucher_codes import SecretFault
from ocs.balance.voucher_making import Making, begin
from ocs.balance.vouchers import TEXTS, Redeemed, Vouchers, Why
from ocs.clock import instant
from ocs.http.access import Access, Caller
from ocs.http.asked import Instant, at_ms, own_id, read_number
from ocs.http.audit_log import Change
from ocs.http.problems import Problem, faults_of
from ocs.http.voucher_texts import (
    HEAD,
    batch_facts,
    described,
    described_voucher,
    redemption_begun,
    redemption_made,
    rows_of,
)
from ocs.money import AmountError, format_amount, parse_amount
from ocs.names import SubscriberId
from ocs.outcomes import Code

BASE = "/vouchers/v1"
ID_PATTERN = r"^[!-.0-9;-~]{1,64}$"
"""A channel's own id: visible ASCII without colon and stroke."""


class Keepers:
    """What the routes work with; a batch of theirs has codes of so many digits, in this currency unless another is asked for."""

    def __init__(
        self,
        parts: Parts,
        batches: Batches,
        vouchers: Vouchers,
        find: Callable[[SubscriberId], Awaitable[Account | None]],
        digits: int,
        currency: str,
        log: Any,
    ) -> None:
        self.parts, self.batches, self.vouchers, self.find = parts, batches, vouchers, find
        self.digits, self.currency, self.log = digits, currency, log


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class NewVouchers(_Wanted):
    """A batch to be made: `size` vouchers, each worth `value` (decimal text)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"value": "10.00", "size": 3, "valid_until": "2030-12-31T23:00:00Z", "description": "kiosks"}
        }
    )  # fmt: skip

    value: Annotated[str, Field(max_length=20)]
    size: Annotated[int, Field(strict=True, ge=1, le=VOUCHERS_PER_BATCH_MAX)]
    valid_until: Instant
    valid_from: Instant | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    description: Annotated[str, Field(max_length=VOUCHER_DESCRIPTION_CHARS_MAX)] = ""


class BatchChange(_Wanted):
    """What a batch is to be: another state, or valid for longer."""

    model_config = ConfigDict(json_schema_extra={"example": {"state": "active"}})

    state: Literal["active", "suspended", "cancelled"] | None = None
    valid_until: Instant | None = None


class VoucherChange(_Wanted):
    """Whether a voucher can be had."""

    model_config = ConfigDict(json_schema_extra={"example": {"state": "blocked"}})

    state: Literal["blocked", "free"]


class NewRedemption(_Wanted):
    """A voucher that is to be redeemed for a number, under the channel's own id; without one the voucher is the identity."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"msisdn": "491700000001", "code": "1234567890123456", "id": "r-1"}}
    )

    msisdn: Annotated[str, Field(max_length=16)]
    code: Annotated[SecretStr, Field(max_length=64)]
    id: Annotated[str, Field(pattern=ID_PATTERN)] | None = None


class BatchTold(BaseModel):
    """One batch; `expired` is told of one that could be redeemed otherwise."""

    id: int
    state: Literal["making", "created", "active", "suspended", "cancelled", "expired"]
    value: str
    currency: str
    size: int
    valid_from: str | None
    valid_until: str
    description: str
    made_by: str
    made: str
    applied_everywhere: bool


class CountsTold(BaseModel):
    """How many of a batch's vouchers are in which state."""

    free: int
    claimed: int
    used: int
    blocked: int


class BatchCounted(BatchTold):
    """One batch with its counts."""

    vouchers: CountsTold


class BatchesTold(BaseModel):
    """Some batches; ``next`` is ``after`` of the next page, null behind the last."""

    batches: list[BatchTold]
    next: int | None


class VoucherTold(BaseModel):
    """One voucher, its batch's state, and who has it since when."""

    serial: str
    state: Literal["free", "claimed", "used", "blocked"]
    batch_state: str
    value: str
    currency: str
    valid_until: str
    account: str | None
    at: str | None
    channel: str | None
    topup_id: str | None


class RedemptionTold(BaseModel):
    """A voucher that was redeemed: what came in, and the account's money after it."""

    id: str
    serial: str
    account: str
    amount: str
    currency: str
    balance: str
    available: str


class Refusal(Problem):
    """Why a voucher was not redeemed: a word for machines where it is the voucher's fault, and until when codes are locked, where they are."""

    reason: str | None = None
    locked_until: str | None = None


_STATUS = {
    Why.UNKNOWN: 404,
    Why.SUBSCRIBER: 404,
    Why.LOCKED: 429,
    Why.CURRENCY: 422,
    Why.LIMIT: 422,
    Why.UNREADABLE: 422,
}
_TITLES = {404: "Not Found", 409: "Conflict", 422: "Unprocessable Content", 429: "Too Many Requests"}
_FAULTS = faults_of(400, 401, 403, 404, 409, 422, 503)
_REFUSALS = faults_of(404, 409, 422, 429, model=Refusal)
_EXPORT: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "The vouchers with their codes, this once (CSV).",
        "content": {"text/csv": {"schema": {"type": "string"}}},
        "headers": {"Location": {"description": "The batch.", "schema": {"type": "string"}}},
    }
}
_BATCH = Annotated[int, Path(ge=1, le=999_999_999, description="The batch's number.")]
_SERIAL = Annotated[str, Path(min_length=3, max_length=20, description="The voucher's serial number.")]


@contextmanager
def _told(log: Any) -> Iterator[None]:
    """Tell the caller what is refused, and the log what an operator has to put right."""
    try:
        yield
    except NoBatch as fault:
        raise HTTPException(404, str(fault)) from None
    except BatchRefused as fault:
        raise HTTPException(409, str(fault)) from None
    except (SecretFault, OSError) as fault:
        log.warning("vouchers fail", why=str(fault))
        raise HTTPException(503, "vouchers cannot be served: their secret is not in order") from None


def _new_batch(keepers: Keepers, wanted: NewVouchers, caller: Caller) -> NewBatch:
    try:
        amount_micros = parse_amount(wanted.value)
    except AmountError as fault:
        raise HTTPException(422, f"value: {fault}") from None
    return NewBatch(
        amount_micros, wanted.currency or keepers.currency, wanted.size, at_ms(wanted.valid_from) if wanted.valid_from else 0,
        at_ms(wanted.valid_until), wanted.description, caller.id, keepers.digits,
    )  # fmt: skip


async def _export(making: Making, change: Change) -> AsyncIterator[str]:
    """Give the codes of a batch while it is made; the batch is one before the last of them leave (law 2)."""
    batch, held = making.batch, HEAD
    try:
        async for made in making.chunks():
            yield held
            held = rows_of(batch, made)
        change.made(after=batch_facts(await making.finish()))
        yield held
    except BaseException:
        change.made(after={"state": "given up"})
        await making.give_up()
        raise


def _batch_routes(routes: APIRouter, keepers: Keepers, access: Access) -> None:
    reads, writes = access.route("vouchers:read"), access.change("vouchers:write")

    @routes.post("/batches", status_code=201, response_class=StreamingResponse, responses=_EXPORT)
    async def make(wanted: NewVouchers, change: Change = writes) -> StreamingResponse:
        """Make a batch: its codes are in this answer and nowhere else. It counts once it is activated."""
        new = _new_batch(keepers, wanted, change.caller)
        worth = {"value": format_amount(new.amount_micros), "currency": new.currency, "size": new.size}
        await change.begins("voucher_batch.create", before=worth)
        try:
            with _told(keepers.log):
                making = await begin(keepers.batches, keepers.parts, new)
        except HTTPException as fault:
            raise HTTPException(
                422 if fault.status_code == 409 else fault.status_code, fault.detail
            ) from None
        change.made(resource=str(making.batch.id), after=batch_facts(making.batch))
        change.ends_with_body = True
        headers = {"Location": f"{BASE}/batches/{making.batch.id}", "Cache-Control": "no-store"}
        return StreamingResponse(_export(making, change), 201, headers, "text/csv")

    @routes.get("/batches", response_model=BatchesTold)
    async def listing(
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        after: Annotated[int, Query(ge=0, le=999_999_999)] = 0,
        _caller: Caller = reads,
    ) -> dict[str, Any]:
        """List batches in the order of their numbers, page by page."""
        now_ms = await keepers.batches.now_ms()
        found = [each for each in await keepers.batches.all() if each.id > after]
        following = found[limit - 1].id if len(found) > limit else None
        return {"batches": [described(each, now_ms) for each in found[:limit]], "next": following}

    @routes.get("/batches/{batch_id}", response_model=BatchCounted)
    async def show(batch_id: _BATCH, _caller: Caller = reads) -> dict[str, Any]:
        """Show a batch with how many of its vouchers are in which state."""
        with _told(keepers.log):
            batch = await keepers.batches.find(batch_id)
        counts = await keepers.batches.counts(batch_id)
        return described(batch, await keepers.batches.now_ms()) | {"vouchers": counts._asdict()}

    @routes.patch("/batches/{batch_id}", response_model=BatchTold)
    async def patch(batch_id: _BATCH, wanted: BatchChange, change: Change = writes) -> dict[str, Any]:
        """Activate, suspend or cancel a batch, or let it be valid for longer; again is no error."""
        if (wanted.state is None) == (wanted.valid_until is None):
            raise HTTPException(422, "name state or valid_until, one of them")
        with _told(keepers.log):
            before = batch_facts(await keepers.batches.find(batch_id))
            await change.begins("voucher_batch.change", resource=str(batch_id), before=before)
            if wanted.valid_until is not None:
                batch = await keepers.batches.extend(batch_id, at_ms(wanted.valid_until))
            else:
                batch = await keepers.batches.change(batch_id, BatchState[str(wanted.state).upper()])
        change.made(after=batch_facts(batch))
        return described(batch, await keepers.batches.now_ms())


def _single_routes(routes: APIRouter, keepers: Keepers, access: Access) -> None:
    reads, writes = access.route("vouchers:read"), access.change("vouchers:write")

    async def told(serial: str) -> dict[str, Any]:
        voucher = await keepers.vouchers.find(serial)
        batch = await keepers.batches.find(int(voucher.serial.partition("-")[0]))
        return described_voucher(voucher, batch, await keepers.batches.now_ms())

    @routes.get("/vouchers/{serial}", response_model=VoucherTold)
    async def one(serial: _SERIAL, _caller: Caller = reads) -> dict[str, Any]:
        """Show a voucher by its serial number."""
        with _told(keepers.log):
            return await told(serial)

    @routes.patch("/vouchers/{serial}", response_model=VoucherTold)
    async def turn(serial: _SERIAL, wanted: VoucherChange, change: Change = writes) -> dict[str, Any]:
        """Block a voucher that nobody has, or let it be free again."""
        with _told(keepers.log):
            voucher = await keepers.vouchers.find(serial)
            state = voucher.state.name.lower()
            await change.begins("voucher.change", resource=voucher.serial, before={"state": state})
            await keepers.vouchers.turn(serial, blocked=wanted.state == "blocked")
            content = await told(serial)
        change.made(after={"state": content["state"]})
        return content


async def _refused(keepers: Keepers, done: Redeemed) -> JSONResponse:
    status = _STATUS.get(done.why, 409)
    told = Refusal(
        title=_TITLES[status],
        status=status,
        detail=TEXTS[done.why],
        reason=done.why.name.lower(),
        locked_until=instant(done.until_ms) if done.until_ms else None,
    )
    headers = {}
    if done.why is Why.LOCKED:
        left_ms = done.until_ms - await keepers.batches.now_ms()
        headers["Retry-After"] = str(max(1, -(-left_ms // 1_000)))
    return JSONResponse(told.model_dump(exclude_none=True), status, headers, "application/problem+json")


def _redemption_routes(routes: APIRouter, keepers: Keepers, access: Access) -> None:
    topup = access.change("topup:write")

    @routes.post("/redemptions", status_code=201, response_model=RedemptionTold, responses=_REFUSALS)
    async def redeem(
        wanted: NewRedemption,
        idempotency_key: Annotated[str | None, Header(pattern=ID_PATTERN)] = None,
        change: Change = topup,
    ) -> Any:
        """Redeem a voucher once: the same id, voucher and number get the same answer again."""
        name = own_id(wanted.id, idempotency_key)
        account = await keepers.find(read_number(wanted.msisdn))
        if account is None:
            return await _refused(keepers, Redeemed(Code.UNKNOWN_SUBSCRIBER, why=Why.SUBSCRIBER))
        where = account.profile
        channel: str = change.caller.channel
        await change.begins("voucher.redeem", **redemption_begun(account, channel, name))
        with _told(keepers.log):
            done = await keepers.vouchers.redeem(account, wanted.code.get_secret_value(), channel, name)
        change.made(**redemption_made(done, channel))
        if done.why is not Why.NONE:
            return await _refused(keepers, done)
        return {
            "id": done.id,
            "serial": done.serial,
            "account": where.account,
            "amount": format_amount(done.amount_micros),
            "currency": where.currency,
            "balance": format_amount(done.balance_micros),
            "available": format_amount(done.available_micros),
        }


def router(keepers: Keepers, access: Access) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(prefix=BASE, tags=["vouchers"], responses=_FAULTS)
    _batch_routes(routes, keepers, access)
    _single_routes(routes, keepers, access)
    _redemption_routes(routes, keepers, access)
    return routes
