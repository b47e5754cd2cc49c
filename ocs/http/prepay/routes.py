"""The routes of TMF654 v4.0.0 at the base path of its definition.

Laws
1. Every path and method of the definition is here, but for /listener: those are what a listener serves (API.md).
2. Beyond the definition there is POST bucket, for operators.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel

from ocs.balance.actions import KINDS, ActionKind
from ocs.http.access import Access, Caller
from ocs.http.audit_log import Change
from ocs.http.exact import ExactRoute
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay import changes, examples, orders, shapes
from ocs.http.prepay.accumulated import accumulated_of, read_id
from ocs.http.prepay.adjustments import adjust
from ocs.http.prepay.buckets import BASE
from ocs.http.prepay.desk import Prepay, actions_of, channel_of, one, shown
from ocs.http.prepay.documented import body, faults, filters, of_list
from ocs.http.prepay.families import buckets_listed, families_of, family_of
from ocs.http.prepay.giving import give
from ocs.http.prepay.history import history_listed, history_one
from ocs.http.prepay.hub import SECRET_HEADER, forget, listen
from ocs.http.prepay.listing import fields_of, listed, part, query_of
from ocs.http.prepay.reservations import reserve
from ocs.http.prepay.resources import PATHS
from ocs.http.prepay.topups import top_up
from ocs.http.prepay.transfers import transfer

_Route = TypeVar("_Route", bound=Callable[..., Any])
_ONE: Final = "/{id}"
_READ, _TAG = "balance:read", "TMF654 prepay balance"
_Id = Annotated[str, Path(alias="id", min_length=1, max_length=128, description="Its id.")]
_Fields = Annotated[
    str | None, Query(max_length=1_024, description="Attributes to show, by commas; id and href always are.")
]
_Channel = Annotated[
    str | None,
    Query(
        alias="channel.id",
        json_schema_extra={"pattern": "^[a-z0-9-]{1,32}$"},
        description="Whose it is, for callers with channel:any; else the caller's own.",
    ),
]
_Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        json_schema_extra={"pattern": shapes.ID_FORM},
        description="The channel's own id, where the body has no `id`.",
    ),
]
_SHAPES: Final[dict[ActionKind, type[BaseModel]]] = {
    ActionKind.TOPUP: shapes.TopupBalance,
    ActionKind.ADJUST: shapes.AdjustBalance,
    ActionKind.TRANSFER: shapes.TransferBalance,
    ActionKind.RESERVE: shapes.ReserveBalance,
}


def router(prepay: Prepay, access: Access) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(prefix=BASE, tags=[_TAG], route_class=ExactRoute)
    _topups(routes, prepay, access)  # first: the most asked for, and routes are tried in turn
    _buckets(routes, prepay, access)
    for kind in _SHAPES:
        _actions(routes, prepay, access, kind)
    _adjustments(routes, prepay, access)
    _transfers(routes, prepay, access)
    _reservations(routes, prepay, access)
    _accumulated(routes, prepay, access)
    _history(routes, prepay, access)
    _hub(routes, prepay, access)
    return routes


def _created(shape: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    where = {"Location": {"description": "Where it is.", "schema": {"type": "string"}}}
    return {201: {"model": shape, "description": "It was done, now or before.", "headers": where}} | faults(
        404
    )


def _changed(shape: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": shape, "description": "It is so now."}} | faults()


def _buckets(routes: APIRouter, prepay: Prepay, access: Access) -> None:
    reads, gives = access.route(_READ), access.change("bucket:write")

    @routes.get(
        "/bucket",
        summary="List buckets",
        responses=of_list(shapes.Bucket) | faults(404, 409, 413, 415),
        openapi_extra=filters("logicalResource.id", "partyAccount.id", "usageType", "status"),
    )
    async def listing(request: Request, _caller: Caller = reads) -> ExactAnswer:
        """List an account's money and allowances; name whose: `logicalResource.id` or `partyAccount.id`."""
        query = query_of(request, shapes.Bucket)
        return listed(query.without("logicalResource.id"), await buckets_listed(prepay, query))

    @routes.post(
        "/bucket",
        status_code=201,
        summary="Give a bucket",
        responses=_created(shapes.Bucket),
        openapi_extra=body(examples.BUCKET),
    )
    async def make(asked: shapes.BucketCreate, key: _Key = None, change: Change = gives) -> ExactAnswer:
        """Give an allowance, or credit of restricted use, beyond what was sold; once by the channel's own id."""
        return await give(prepay, change, asked, key)

    @routes.get("/bucket" + _ONE, summary="Show a bucket", responses=_changed(shapes.Bucket))
    async def show(name: _Id, fields: _Fields = None, _caller: Caller = reads) -> ExactAnswer:
        """Show one bucket: an account's money under the account's name, an allowance under its own id."""
        asked = fields_of(fields, shapes.Bucket)
        found = await family_of(prepay, name)
        (bucket,) = (each for each in found.buckets if each["id"] == name)
        return ExactAnswer(part(bucket, asked))


def _actions(routes: APIRouter, prepay: Prepay, access: Access, kind: ActionKind) -> None:
    """Add what all kinds of actions have: the list, one, and DELETE."""
    path, shape = PATHS[kind], _SHAPES[kind]
    reads, writes = access.route(_READ), access.change(f"{kind.name.lower()}:write")
    title = path.removesuffix("Balance")

    @routes.get(
        f"/{path}",
        name=f"list_{path}",
        summary=f"List {title}s",
        responses=of_list(shape) | faults(404, 409, 413, 415),
        openapi_extra=filters(
            "status",
            "logicalResource.id",
            "partyAccount.id",
            "channel.id",
            "requestedDate.gt",
            "requestedDate.lt",
        ),
    )
    async def listing(request: Request, caller: Caller = reads) -> ExactAnswer:
        """List the channel's own, the newest first; with `logicalResource.id` or `partyAccount.id` those of an account. Of 30 days."""
        return await actions_of(prepay, caller, query_of(request, shape), (kind,))

    @routes.get(f"/{path}" + _ONE, name=f"show_{path}", summary=f"Show a {title}", responses=_changed(shape))
    async def show(
        name: _Id, fields: _Fields = None, channel: _Channel = None, caller: Caller = reads
    ) -> ExactAnswer:
        """Show one by the channel's own id: what became of it, also after a time-out."""
        asked, whose = fields_of(fields, shape), channel_of(caller, channel)
        if kind is ActionKind.TOPUP and (kept := await orders.order_of(prepay, whose, name)) is not None:
            return ExactAnswer(part(await orders.show(prepay, kept), asked))
        found = await one(prepay, kind, whose, name)
        return ExactAnswer(part(await shown(prepay, found), asked))

    @routes.delete(
        f"/{path}" + _ONE,
        name=f"cancel_{path}",
        summary=f"Take a {title} back",
        status_code=204,
        responses=faults(),
    )
    async def cancel(name: _Id, channel: _Channel = None, change: Change = writes) -> Response:
        """Take it back whole within what is left, or void it; 409 where that cannot be. It stays, as cancelled."""
        whose = channel_of(change.caller, channel)
        if kind is ActionKind.TOPUP and (kept := await orders.order_of(prepay, whose, name)) is not None:
            await orders.end(prepay, change, kept)
            return Response(status_code=204)
        return await changes.cancel(prepay, change, kind, whose, name)


def _post(routes: APIRouter, kind: ActionKind, summary: str, example: Any) -> Callable[[_Route], _Route]:
    """Let a function serve the POST of actions of a kind."""
    return routes.post(
        f"/{PATHS[kind]}",
        status_code=201,
        summary=summary,
        responses=_created(_SHAPES[kind]),
        openapi_extra=body(example),
    )


def _patch(routes: APIRouter, kind: ActionKind, summary: str, example: Any) -> Callable[[_Route], _Route]:
    """Let a function serve the PATCH of an action of a kind."""
    return routes.patch(
        f"/{PATHS[kind]}" + _ONE,
        summary=summary,
        responses=_changed(_SHAPES[kind]),
        openapi_extra=body(example),
    )


def _topups(routes: APIRouter, prepay: Prepay, access: Access) -> None:
    writes, kind, shape = access.change("topup:write"), ActionKind.TOPUP, shapes.TopupBalance

    @_post(routes, kind, "Top up", examples.TOPUP)
    async def make(
        asked: shapes.TopupBalanceCreate, key: _Key = None, change: Change = writes
    ) -> ExactAnswer:
        """Add money once by the channel's own id; running sessions can use it at once.

        With recurringPeriod or isAutoTopup it is a standing order, where the channel may have some: `created` until it ends.
        """
        return await top_up(prepay, change, asked, key)

    @_patch(routes, kind, "Take a top-up back", examples.CANCEL)
    async def patch(
        name: _Id, wanted: shapes.Update, channel: _Channel = None, change: Change = writes
    ) -> ExactAnswer:
        """Take it back whole (`cancelled`), where so much is left; of a recurring or automatic one, end it, or resume it (`created`) where it was suspended."""
        whose = channel_of(change.caller, channel)
        if (kept := await orders.order_of(prepay, whose, name)) is not None:
            return await orders.change_order(prepay, change, kept, wanted)
        return await changes.change_state(prepay, change, kind, whose, name, wanted, shape)


def _adjustments(routes: APIRouter, prepay: Prepay, access: Access) -> None:
    writes, kind, shape = access.change("adjust:write"), ActionKind.ADJUST, shapes.AdjustBalance

    @_post(routes, kind, "Adjust", examples.ADJUST)
    async def make(
        asked: shapes.AdjustBalanceCreate, key: _Key = None, change: Change = writes
    ) -> ExactAnswer:
        """Give (an amount above zero) to a bucket, or take from it (below), once by the channel's own id."""
        return await adjust(prepay, change, asked, key)

    @_patch(routes, kind, "Take an adjustment back", examples.CANCEL)
    async def patch(
        name: _Id, wanted: shapes.Update, channel: _Channel = None, change: Change = writes
    ) -> ExactAnswer:
        """Take back what was given (`cancelled`), where so much is left."""
        whose = channel_of(change.caller, channel)
        return await changes.change_state(prepay, change, kind, whose, name, wanted, shape)


def _transfers(routes: APIRouter, prepay: Prepay, access: Access) -> None:
    writes, kind = access.change("transfer:write"), ActionKind.TRANSFER

    @_post(routes, kind, "Transfer", examples.TRANSFER)
    async def make(
        asked: shapes.TransferBalanceCreate, key: _Key = None, change: Change = writes
    ) -> ExactAnswer:
        """Move money from one subscriber to another, once by the channel's own id; the server decides what that costs."""
        return await transfer(prepay, change, asked, key)

    @_patch(routes, kind, "Say a transfer again", examples.SAME_TRANSFER)
    async def patch(
        name: _Id, wanted: shapes.TransferUpdate, channel: _Channel = None, change: Change = writes
    ) -> ExactAnswer:
        """Change nothing: a transfer that was made stays (409); what says the same is answered with it."""
        return await changes.same_transfer(prepay, channel_of(change.caller, channel), name, wanted)


def _reservations(routes: APIRouter, prepay: Prepay, access: Access) -> None:
    writes, kind, shape = access.change("reserve:write"), ActionKind.RESERVE, shapes.ReserveBalance

    @_post(routes, kind, "Reserve", examples.RESERVE)
    async def make(
        asked: shapes.ReserveBalanceCreate, key: _Key = None, change: Change = writes
    ) -> ExactAnswer:
        """Hold money for a system outside until `validFor.endDateTime`; an hour where nothing is said."""
        return await reserve(prepay, change, asked, key)

    @_patch(routes, kind, "Post or void a reservation", examples.COMPLETE)
    async def patch(
        name: _Id, wanted: shapes.ReserveUpdate, channel: _Channel = None, change: Change = writes
    ) -> ExactAnswer:
        """Post it (`completed`), `amount` of it where that is said, and release the rest; or void it (`cancelled`)."""
        whose = channel_of(change.caller, channel)
        return await changes.change_state(prepay, change, kind, whose, name, wanted, shape)


def _accumulated(routes: APIRouter, prepay: Prepay, access: Access) -> None:
    reads, shape = access.route(_READ), shapes.AccumulatedBalance

    @routes.get(
        "/accumulatedBalance",
        summary="List sums over buckets",
        responses=of_list(shape) | faults(404, 409, 413, 415),
        openapi_extra=filters("logicalResource.id", "partyAccount.id", "name"),
    )
    async def listing(request: Request, _caller: Caller = reads) -> ExactAnswer:
        """List an account's sums, one for each usage type; name whose: `logicalResource.id` or `partyAccount.id`."""
        query = query_of(request, shape)
        found = await families_of(prepay, query)
        sums = [
            each for one_family in found for each in accumulated_of(one_family.family, one_family.buckets)
        ]
        return listed(query.without("logicalResource.id", "partyAccount.id"), sums)

    @routes.get("/accumulatedBalance" + _ONE, summary="Show a sum over buckets", responses=_changed(shape))
    async def show(name: _Id, fields: _Fields = None, _caller: Caller = reads) -> ExactAnswer:
        """Show one sum, by account and usage type: `<account>:monetary`."""
        asked = fields_of(fields, shape)
        account, _ = read_id(name) or ("", "")
        found = await family_of(prepay, account)
        sums = accumulated_of(found.family, found.buckets)
        return ExactAnswer(part(found.only(sums, name), asked))


def _history(routes: APIRouter, prepay: Prepay, access: Access) -> None:
    reads, shape = access.route(_READ), shapes.BalanceActionHistory

    @routes.get(
        "/balanceActionHistory",
        summary="List what was done",
        responses=of_list(shape) | faults(404, 409, 413, 415),
        openapi_extra=filters(
            "logicalResource.id", "partyAccount.id", "status", "@type", "requestedDate.gt", "requestedDate.lt"
        ),
    )
    async def listing(request: Request, caller: Caller = reads) -> ExactAnswer:
        """List actions of all kinds, the newest first; those of an account beyond 30 days where `requestedDate.gt` lies before."""
        return await history_listed(prepay, caller, query_of(request, shape), KINDS)

    @routes.get("/balanceActionHistory" + _ONE, summary="Show what was done", responses=_changed(shape))
    async def show(name: _Id, fields: _Fields = None, caller: Caller = reads) -> ExactAnswer:
        """Show one action by its channel and id: `<channel>:<id>`."""
        asked = fields_of(fields, shape)
        return ExactAnswer(part(await history_one(prepay, caller, name), asked))


def _hub(routes: APIRouter, prepay: Prepay, access: Access) -> None:
    writes = access.change("events:write")
    made = _created(shapes.EventSubscription)
    made[201]["headers"][SECRET_HEADER] = {
        "description": "What events are signed with; shown this once.", "schema": {"type": "string"},
    }  # fmt: skip

    @routes.post(
        "/hub",
        status_code=201,
        summary="Register a listener",
        responses=made,
        openapi_extra=body(examples.LISTENER),
    )
    async def register(asked: shapes.EventSubscriptionInput, change: Change = writes) -> ExactAnswer:
        """Let events of top-ups, adjustments, transfers and reservations be posted to a callback, signed; `query` names types of events."""
        return await listen(prepay.listeners, change, asked)

    @routes.delete("/hub" + _ONE, status_code=204, summary="Unregister a listener", responses=faults())
    async def unregister(name: _Id, change: Change = writes) -> Response:
        """Let nothing be posted to it any more."""
        return await forget(prepay.listeners, change, name)
