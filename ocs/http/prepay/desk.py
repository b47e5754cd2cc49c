"""What all actions have in common at the door: whose channel and id it is, what a refusal is told as, how lists are looked through.

Laws
1. An action is its channel's. Who has ``channel:any`` may name another one; everybody else is told 403 for doing so, and 404 for reading.
2. An action that was asked before is answered as it is, also where whom it was about has gone since: what was refused is refused, and only
   who asks for the same account's is told.
3. An action that failed leaves no record on the streams: that it did waits for its listeners before it is answered, and again, under the same id, before
   it is answered again.
"""

import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from ocs.api_limits import TMF_LISTED_MAX, TMF_PAGE_MAX
from ocs.balance.accounts import Account
from ocs.balance.actions import Action, ActionKind, ActionState, Asked, DayLimits, Done, Listed, Page
from ocs.balance.directory import Directory
from ocs.balance.holdings import Bought
from ocs.balance.vouchers import Redeemed
from ocs.http.access import ANY, Caller
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.order_desk import TAKEN, OrderDesk
from ocs.http.prepay.archived import actions_in
from ocs.http.prepay.errors import Told, bad
from ocs.http.prepay.listing import Query, listed, paged
from ocs.http.prepay.places import Named, Places, bucket_id, names
from ocs.http.prepay.quantities import UsageType, count_of, micros_of
from ocs.http.prepay.resources import resource_of
from ocs.http.prepay.shapes import ID_FORM, Quantity, Ref
from ocs.limits import TOPUP_KEPT_MS
from ocs.money import format_amount
from ocs.notices.notice import Fact, Notice
from ocs.notices.subscriptions import Subscription
from ocs.outcomes import Code
from ocs.rating.products import Catalogue, Product
from ocs.records import Record

_CHANNEL: Final = re.compile(r"[a-z0-9-]{1,32}")
_ID: Final = re.compile(ID_FORM)


class Doing(Protocol):
    """Who does actions (ocs/balance/actions.py)."""

    async def do(self, asked: Asked, limits: DayLimits = ...) -> Done:
        """Do an action once."""

    async def find(self, channel: str, action_id: str) -> Action | None:
        """Return an action by its id."""

    async def cancel(self, channel: str, action_id: str, reason: str = "") -> Done:
        """Reverse an action, or void a reservation."""

    async def complete(self, channel: str, action_id: str, amount: int, reason: str = "") -> Done:
        """Post a reservation."""

    async def of_account(self, partition: int, account: str, page: Page = ...) -> Listed:
        """List an account's actions."""

    async def of_channel(self, channel: str, page: Page = ...) -> Listed:
        """List a channel's actions."""


class Terms(Protocol):
    """What the operator has set for actions."""

    def limits(self, asked: Asked) -> DayLimits:
        """Return what the channel of an action may do of its kind."""

    def fee_micros(self, amount_micros: int, currency: str) -> int:
        """Return what a transfer costs."""


class Gifts(Protocol):
    """Who gives buckets (ocs/roof/prepay.py)."""

    async def claim(self, channel: str, name: str, content: str) -> bool:
        """Note what an id is for; False where it is for something else."""

    async def give(
        self, account: Account, product: Product, amount: int, until_ms: int, name: str, asked: str
    ) -> Bought:
        """Give so much of a product, once by a name; ``asked`` tells other content."""


class Listeners(Protocol):
    """Who keeps subscriptions (ocs/http/events.py, Desk)."""

    async def subscribe(
        self,
        change: Change,
        callback: str,
        types: list[str],
        query: str = "",
        form: str = ...,
        wants: str = "",
    ) -> Subscription:
        """Make a subscription."""

    async def end(self, change: Change, subscription_id: str, form: str | None = None) -> None:
        """Take one back."""


class Vouchers(Protocol):
    """Who redeems vouchers."""

    async def redeem(self, account: Account, code: str, channel: str, topup_id: str = "") -> Redeemed:
        """Redeem a voucher once."""


class Archive(Protocol):
    """Who reads records that have left the store (ocs/roof/prepay.py)."""

    async def records(self, partition: int, account: str, since_ms: int, until_ms: int) -> list[Record]:
        """Return an account's records of a time, the oldest first."""


class Prepay(NamedTuple):
    """What the routes work with."""

    places: Places
    directory: Directory
    actions: Doing
    terms: Terms
    gifts: Gifts
    catalogue: Catalogue
    now_ms: Callable[[int], Awaitable[int]]
    listeners: Listeners | None = None
    archive: Archive | None = None
    vouchers: Vouchers | None = None
    orders: OrderDesk | None = None
    tell: Callable[[Notice], Awaitable[None]] | None = None
    """Who tells of what leaves no record; None: nobody is told."""


def channel_of(caller: Caller, named: str | None, where: str = "channel.id") -> str:
    """Return the channel that a request is for: the caller's own, or one that it names and may act for. 400, 403."""
    if named is None or named == caller.channel:
        return caller.channel
    if not caller.sees_all:
        raise Told(
            403, "forbidden", f"{where}: it is another channel's; leave it out, or ask for the scope {ANY}"
        )
    if not _CHANNEL.fullmatch(named):
        raise bad("badChannel", f"{where}: no channel's name; write 1 to 32 of a-z, 0-9 and -")
    return named


def own_id(said: str | None, header: str | None) -> str:
    """Return the id that an action is to have; one of our own where the client gives none. 400 for two that differ, and for what is none."""
    if header is not None and not _ID.fullmatch(header):
        raise bad(
            "badId",
            "Idempotency-Key: write 1 to 64 printable ASCII characters without blank, colon and stroke",
        )
    if said is not None and header is not None and said != header:
        raise bad("badId", "id and Idempotency-Key differ; write one of them")
    if {said, header} & {".", ".."}:
        raise bad("badId", "id: these dots mean another path, so nobody could ask for it; write another")
    return said or header or secrets.token_hex(12)


def named_by(bucket: Ref | None, numbers: list[Ref] | None, account: Ref | None) -> Named:
    """Return what a body names a balance by."""
    return Named(
        bucket.id if bucket is not None else None,
        numbers[0].id if numbers else None,
        account.id if account is not None else None,
    )


async def shown(prepay: Prepay, action: Action) -> dict[str, Any]:
    """Describe an action, with whom it is about as they are now."""
    (found,) = await all_shown(prepay, (action,))
    return found


async def all_shown(
    prepay: Prepay,
    actions: Iterable[Action],
    describe: Callable[[Action, Account | None, Account | None], dict[str, Any]] = resource_of,
) -> list[dict[str, Any]]:
    """Describe actions; each account is read once."""
    actions = tuple(actions)
    places = [(each.asked.partition, each.asked.account) for each in actions]
    places += [
        (each.asked.receiver_partition, each.asked.receiver) for each in actions if each.asked.receiver
    ]
    known = await prepay.places.many(places)
    return [
        describe(
            each,
            known.get((each.asked.partition, each.asked.account)),
            known.get((each.asked.receiver_partition, each.asked.receiver)),
        )
        for each in actions
    ]


async def perform(prepay: Prepay, change: Change, asked: Asked, account: Account) -> ExactAnswer:
    """Do an action and answer: 201 with the resource, or what it was refused with."""
    await take(prepay, asked.channel, asked.id)
    await change.begins(
        f"{asked.kind.name.lower()}.create",
        resource=name_of(asked),
        account=(asked.account, asked.receiver) if asked.receiver else asked.account,
        before={
            "balance": format_amount(account.book.balance_micros),
            "amount": asked.amount,
            "bucket": asked.bucket,
        },
    )
    try:
        done = await prepay.actions.do(asked, prepay.terms.limits(asked))
    except ValueError as fault:
        raise bad("badRequest", str(fault)) from None
    change.made(after=facts_of(done))
    if done.code != Code.SUCCESS or done.action is None:
        await _tell_of_failure(prepay, done, account)
        raise refusal(done)
    return await created(prepay, done.action)


async def _tell_of_failure(prepay: Prepay, done: Done, account: Account) -> None:
    """Let listeners hear of an action that failed, before who asked does (law 3)."""
    action = done.action
    if prepay.tell is None or action is None or action.state is not ActionState.FAILED:
        return
    asked = action.asked
    kind = "topup.failed" if asked.kind is ActionKind.TOPUP else "balance.failed"
    facts: dict[str, Fact] = {
        "channel": asked.channel,
        "id": asked.id,
        "amount": asked.amount if asked.bucket else format_amount(asked.amount),
        "currency": "" if asked.bucket else account.profile.currency,
        "reason": action.code.name.lower(),
    }
    at_ms, name = action.done_ms or action.created_ms, f"{kind}.{asked.channel}.{asked.id}"
    await prepay.tell(Notice(name, kind, at_ms, asked.account, facts, asked.partition))


async def take(prepay: Prepay, channel: str, name: str) -> None:
    """Take an id for an action; 409 where it is an order's."""
    if prepay.orders is not None and not await prepay.orders.takes(channel, name):
        raise Told(409, "conflict", TAKEN)


def name_of(asked: Asked) -> str:
    """Return how an action is known over all channels."""
    return f"{asked.channel}:{asked.id}"


def facts_of(done: Done) -> dict[str, object]:
    """Say what came of an action, for the audit log: amounts and states."""
    said: dict[str, object] = {"outcome": done.code.name, "replayed": done.replayed}
    if done.action is not None and done.action.state is not ActionState.FAILED:
        amounts = (done.action.balance, done.action.available)
        balance, available = amounts if done.action.asked.bucket else map(format_amount, amounts)
        said |= {"state": done.action.state.name, "balance": balance, "available": available}
    return said


async def created(prepay: Prepay, action: Action) -> ExactAnswer:
    """Answer with a resource that was made, now or before."""
    resource = await shown(prepay, action)
    return ExactAnswer(resource, 201, {"Location": resource["href"]})


async def done_before(
    prepay: Prepay,
    asked: Asked,
    quantity: Quantity,
    usage: UsageType,
    whose: Named,
    receiver: Named | None = None,
) -> ExactAnswer | None:
    """Answer with an action that was asked before in the same words for whom it was (law 2); None where there is none.

    ``asked`` is without its place. Raises what it was refused with.
    """
    found = await prepay.actions.find(asked.channel, asked.id)
    if found is None or (found.asked.kind, found.asked.content) != (asked.kind, asked.content):
        return None
    places = (
        (found.asked.partition, found.asked.account),
        (found.asked.receiver_partition, found.asked.receiver),
    )
    known = await prepay.places.many(places if receiver is not None else places[:1])
    account, other = map(known.get, places)
    if account is None or not names(whose, account, found.asked.bucket):
        return None
    if receiver is not None and (other is None or not names(receiver, other)):
        return None
    if usage is UsageType.MONETARY:
        amount = micros_of(quantity.amount, quantity.units, account.profile.currency)
    else:
        amount = count_of(quantity.amount, quantity.units, usage)
    if found.asked.amount != amount:
        return None
    if found.state is ActionState.FAILED:
        done = Done(found.code, replayed=True, action=found)
        await _tell_of_failure(prepay, done, account)
        raise refusal(done)
    return await created(prepay, found)


_REFUSALS: Final[Mapping[Code, tuple[int, str, str]]] = {
    Code.CONFLICT: (409, "conflict", "the id was used with other content; nothing was done. Use another id, or repeat what was sent first"),
    Code.LIMIT: (409, "limit", "it is beyond what the channel may do, may come in for the subscriber, or the account can hold; nothing was done"),
    Code.CREDIT_LIMIT: (409, "creditLimit", "less than that is available; nothing was done"),
    Code.UNKNOWN_SUBSCRIBER: (409, "unknownSubscriber", "the account has ended, or the receiver's; nothing was done"),
    Code.BARRED: (409, "barred", "the account is barred, or its balance's time is over; nothing was done"),
    Code.UNRATED: (400, "unknownBucket", "bucket.id: the account has no such bucket; nothing was done"),
    Code.EXISTS: (409, "exists", "there is one already; nothing was done"),
}  # fmt: skip


def refusal(done: Done) -> Told:
    """Return what an action that was not done is told; the same at every repetition."""
    status, code, text = _REFUSALS.get(done.code, (409, "refused", f"refused: {done.code.name}"))
    why = done.action.why if done.action is not None else ""
    return Told(status, code, f"{text} ({why})" if why else text)


async def one(prepay: Prepay, kind: ActionKind, channel: str, action_id: str) -> Action:
    """Return a channel's action of a kind; 404 where there is none."""
    found = await prepay.actions.find(channel, action_id) if _ID.fullmatch(action_id) else None
    if found is None or found.asked.kind is not kind:
        raise Told(
            404,
            "notFound",
            "there is none of this id; actions are kept for 30 days, then look in the history",
        )
    return found


async def actions_of(
    prepay: Prepay,
    caller: Caller,
    query: Query,
    kinds: tuple[ActionKind, ...],
    describe: Callable[[Action, Account | None, Account | None], dict[str, Any]] = resource_of,
) -> ExactAnswer:
    """List actions: an account's where a filter names one, else a channel's; the newest first."""
    channel = channel_of(caller, query.only("channel.id"))
    narrowed = query.only("channel.id") is not None
    names_somebody, account = await _account(prepay, query)
    if names_somebody and account is None:
        return listed(query, [])
    query = query.without(*_NARROWS)
    since_ms, until_ms = query.bounds_ms("requestedDate")
    page = Page(kinds, since_ms, 0 if until_ms is None else until_ms + 1)

    async def fetch(offset: int, limit: int) -> Listed:
        asked = page._replace(offset=offset, limit=limit)
        if account is None:
            return await prepay.actions.of_channel(channel, asked)
        return await prepay.actions.of_account(account.profile.partition, account.profile.account, asked)

    if account is None and not query.filters:
        found = await fetch(query.offset, query.limit)
        return paged(query, await all_shown(prepay, found.actions, describe), found.total)
    everybody = caller.sees_all and not narrowed
    actions = await _all(fetch)
    if account is not None and describe is not resource_of:
        actions += await _older(prepay, account, since_ms, until_ms, actions)
    member = account.profile.path if account is not None and account.profile.member else ""
    mine = [
        each
        for each in actions
        if (everybody or each.asked.channel == channel)
        and member in {"", each.asked.account, each.asked.receiver}
    ]
    return listed(query, await all_shown(prepay, mine, describe))


_NARROWS: Final = ("channel.id", "logicalResource.id", "partyAccount.id")
"""Filters that say whose actions are listed; of a transfer either side."""


async def _all(fetch: Callable[[int, int], Awaitable[Listed]]) -> list[Action]:
    """Fetch every action, each once; 400 for more than one list looks through.

    What comes meanwhile, at the head of the newest, moves the others on: then the next part begins with what the one before ended with.
    """
    found: dict[str, Action] = {}
    while True:
        more = await fetch(len(found), TMF_PAGE_MAX)
        if more.total > TMF_LISTED_MAX:
            raise bad(
                "limit",
                f"query: more than {TMF_LISTED_MAX} to look through; name days: requestedDate.gt and requestedDate.lt",
            )
        known = len(found)
        found |= {name_of(each.asked): each for each in more.actions}
        if len(found) == known or len(found) >= more.total:
            return list(found.values())


async def _older(
    prepay: Prepay, account: Account, since_ms: int, until_ms: int | None, known: list[Action]
) -> list[Action]:
    """Return what an account's history has from before the store's 30 days, where it is asked for so far back."""
    profile = account.profile
    edge_ms = await prepay.now_ms(profile.partition) - TOPUP_KEPT_MS
    if prepay.archive is None or not 0 < since_ms < edge_ms:
        return []
    last_ms = edge_ms if until_ms is None else min(until_ms, edge_ms)
    records = await prepay.archive.records(profile.partition, profile.account, since_ms, last_ms)
    kept = {name_of(each.asked) for each in known}
    found = actions_in(profile.partition, profile.account, records)
    if len(found) > TMF_LISTED_MAX:
        raise bad(
            "limit",
            f"query: more than {TMF_LISTED_MAX} to look through; name days: requestedDate.gt and requestedDate.lt",
        )
    return [each for each in found if name_of(each.asked) not in kept]


async def _account(prepay: Prepay, query: Query) -> tuple[bool, Account | None]:
    """Return whether filters name somebody, and who that is."""
    number, account, bucket = (
        query.only(f"{each}.id") for each in ("logicalResource", "partyAccount", "bucket")
    )
    if number is None and account is None and bucket is None:
        return False, None
    if number is not None:
        found = await prepay.places.by_number(number)
        return True, found if account is None or found is None or found.profile.account == account else None
    place = bucket_id(bucket) if bucket is not None else None
    return True, await prepay.places.by_path(account or (place.account if place is not None else ""))
