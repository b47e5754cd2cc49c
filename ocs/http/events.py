"""Subscriptions to events over HTTP, and what could not be delivered (ocs/notices/EVENTS.md).

Laws
1. A caller sees and changes the subscriptions of its channel, and those of everybody only with channel:any; others are not there (404).
   So a key that replaces another has what that one subscribed. What channel:any has subscribed is told what every channel did, so none
   without it sees that.
2. The secret of a subscription is in the answer that makes it, and nowhere else.
3. Every attempted change is in the audit log (audit_log.py), without the callback: it may hold a token.
4. What a key that was revoked has subscribed is stopped: nothing is delivered, and what happens waits, until a key of its channel takes it
   over, or takes it back.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from ocs.api_limits import CALLBACK_CHARS_MAX, CALLBACK_JUDGED_MS, DEAD_LETTERS_PER_PAGE_MAX
from ocs.balance.parts import Parts
from ocs.clock import instant
from ocs.http.access import Access, Caller
from ocs.http.audit_log import Change
from ocs.http.keys import ApiKeys
from ocs.http.problems import faults_of
from ocs.notices.callbacks import CallbackRefused, Callbacks
from ocs.notices.following import GROUP
from ocs.notices.queue import DeadLetter, Queue
from ocs.notices.subscriptions import WEBHOOK, Subscription, Subscriptions, SubscriptionsFull
from ocs.stream import register

BASE = "/events/v1"


class Desk:
    """What makes, shows and takes back subscriptions; other doors that have listeners use it with a form of their own."""

    def __init__(
        self,
        parts: Parts,
        subscriptions: Subscriptions,
        queue: Queue,
        callbacks: Callbacks,
        now_ms: Callable[[], int],
    ) -> None:
        self.keys = ApiKeys(parts.store)
        self._parts, self.subscriptions, self.queue = parts, subscriptions, queue
        self._callbacks, self.now_ms = callbacks, now_ms

    async def subscribe(
        self,
        change: Change,
        callback: str,
        types: list[str],
        query: str = "",
        form: str = WEBHOOK,
        wants: str = "",
    ) -> Subscription:
        """Make a subscription; what happens from now on is told to it. 422 for what may not be, 409 where there are too many."""
        caller: Caller = change.caller
        try:
            async with asyncio.timeout(CALLBACK_JUDGED_MS / 1000):
                await self._callbacks.target(callback)
        except CallbackRefused as fault:
            raise HTTPException(422, str(fault)) from None
        except OSError:
            raise HTTPException(422, "callback: its host is not known; check the name") from None
        await change.begins("subscription.create", before={"types": types, "form": form})
        try:
            made = await self.subscriptions.create(
                caller.id, callback, self.now_ms(), types=types, query=query, channel=caller.channel,
                any_channel=caller.sees_all, form=form, wants=wants,
            )  # fmt: skip
        except SubscriptionsFull as fault:
            raise HTTPException(409, str(fault)) from None
        except ValueError as fault:
            raise HTTPException(422, str(fault)) from None
        await register(
            self._parts, GROUP
        )  # only now: whoever follows finds the subscription that the group is for
        change.made(resource=made.id, after={"types": made.types, "form": form})
        return made

    async def of(self, caller: Caller, form: str | None = None) -> list[Subscription]:
        """Return the subscriptions that a caller sees, of one form or of all."""
        return [
            each
            for each in await self.subscriptions.all()
            if not each.ended and _is_seen(caller, each) and form in {None, each.form}
        ]

    async def one(self, caller: Caller, subscription_id: str, form: str | None = None) -> Subscription:
        """Return one of them; 404 where there is none."""
        found = await self.subscriptions.find(subscription_id)
        if found is None or not _is_seen(caller, found) or form not in {None, found.form}:
            raise HTTPException(404, "no subscription has this id")
        return found

    async def take_over(self, change: Change, subscription_id: str, *, new_secret: bool) -> Subscription:
        """Let one be the caller's; 404 where there is none, 409 where the caller has too many."""
        found = await self.one(change.caller, subscription_id)
        await change.begins("subscription.take_over", resource=found.id, before={"made_by": found.owner})
        try:
            taken = await self.subscriptions.take_over(found, change.caller.id, new_secret=new_secret)
        except SubscriptionsFull as fault:
            raise HTTPException(409, str(fault)) from None
        if taken is None:
            raise HTTPException(409, "the subscription has just changed; look at it and ask again")
        change.made(after={"made_by": taken.owner, "new_secret": new_secret})
        return taken

    async def shown(self, *found: Subscription) -> list[dict[str, Any]]:
        """Describe subscriptions, without their secrets."""
        revoked = await self.keys.revoked(each.owner for each in found)
        return [shown(each, stopped=each.owner in revoked) for each in found]

    async def end(self, change: Change, subscription_id: str, form: str | None = None) -> None:
        """Take one back; 404 where there is none."""
        found = await self.one(change.caller, subscription_id, form)
        await change.begins(
            "subscription.end", resource=found.id, before={"types": found.types, "form": found.form}
        )
        await self.subscriptions.end(found)
        change.made(after={"state": "ended"})


def _is_seen(caller: Caller, subscription: Subscription) -> bool:
    if caller.sees_all or subscription.owner == caller.id:
        return True
    return subscription.channel == caller.channel and not subscription.any_channel


async def left_of(
    channel: str, keys: ApiKeys, subscriptions: Subscriptions, *, sees_all: bool
) -> list[dict[str, Any]]:
    """Say how many subscriptions of a channel there are, by the key that made them and whether they are stopped; for who revokes a key."""
    found = [
        each
        for each in await subscriptions.all()
        if not each.ended and each.channel == channel and (sees_all or not each.any_channel)
    ]
    counted = Counter(each.owner for each in found)
    revoked = await keys.revoked(counted)
    return [
        {"made_by": owner, "state": "stopped" if owner in revoked else "active", "subscriptions": count}
        for owner, count in sorted(counted.items())
    ]


class Wanted(BaseModel):
    """A subscription that is to be made: which types ("topup.*", "*"), filtered by ``query`` (name=value,value&name=value)."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [
                {
                    "callback": "https://example.com/ocs",
                    "types": ["topup.done", "balance.low"],
                    "query": "channel=till",
                }
            ]
        },
    )

    callback: Annotated[str, Field(min_length=1, max_length=CALLBACK_CHARS_MAX)]
    types: Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=32)] = ["*"]
    query: Annotated[str, Field(max_length=512)] = ""


class Shown(BaseModel):
    """A subscription."""

    id: str
    callback: str
    types: list[str]
    query: str
    form: str
    made: str
    made_by: str = Field(description="The key that made it, or took it over last.")
    state: Literal["active", "stopped"] = Field(
        description="Stopped: its key was revoked; what happens waits until another key takes it over."
    )


class TakenOver(Shown):
    """A subscription that was taken over, with its secret where it has a new one, this once."""

    secret: str | None = None


class Made(Shown):
    """A subscription that was just made, with its secret, this once."""

    secret: str


class Letter(BaseModel):
    """A delivery that was given up."""

    subscription: str
    notice: dict[str, Any]
    tries: int
    why: str
    since: str
    died: str


class Letters(BaseModel):
    """Some dead letters, the newest first; ``next`` is ``first`` of the next page, null behind the last."""

    letters: list[Letter]
    next: int | None


class Again(BaseModel):
    """Which dead letters of a subscription are to be delivered again: those named, or all."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, json_schema_extra={"example": {"subscription": "1aebd27c1017041c"}}
    )  # fmt: skip

    subscription: Annotated[str, Field(min_length=1, max_length=64)]
    notices: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=256)]],
            Field(min_length=1, max_length=DEAD_LETTERS_PER_PAGE_MAX),
        ]
        | None
    ) = None


class Counted(BaseModel):
    """How many dead letters that was."""

    letters: int


_FAULTS = faults_of(401, 403, 404, 409, 422, 503)
_ID = Annotated[str, Path(min_length=1, max_length=64, description="The subscription's id.")]
_OF = Annotated[str, Query(min_length=1, max_length=64, description="Of this subscription.")]


def shown(subscription: Subscription, *, stopped: bool = False) -> dict[str, Any]:
    """Describe a subscription, without its secret."""
    return {
        "id": subscription.id,
        "callback": subscription.callback,
        "types": list(subscription.types),
        "query": "&".join(f"{name}={','.join(values)}" for name, values in subscription.query),
        "form": subscription.form,
        "made": instant(subscription.made_ms, "milliseconds"),
        "made_by": subscription.owner,
        "state": "stopped" if stopped else "active",
    }


def letter(subscription: str, dead: DeadLetter) -> dict[str, Any]:
    """Describe a dead letter."""
    delivery = dead.delivery
    return {
        "subscription": subscription,
        "notice": delivery.notice.described(),
        "tries": delivery.tries,
        "why": delivery.why,
        "since": instant(delivery.since_ms, "milliseconds"),
        "died": instant(dead.died_ms, "milliseconds"),
    }


def router(desk: Desk, access: Access) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(prefix=BASE, tags=["events"], responses=_FAULTS)
    _subscriptions(routes, desk, access)
    _dead_letters(routes, desk, access)
    return routes


def _subscriptions(routes: APIRouter, desk: Desk, access: Access) -> None:
    reads, writes = access.route("events:read"), access.change("events:write")

    @routes.post("/subscriptions", status_code=201, response_model=Made)
    async def subscribe(wanted: Wanted, change: Change = writes) -> dict[str, Any]:
        """Subscribe to events: they are posted to the callback, signed (Standard Webhooks); keep the secret, it is shown this once."""
        made = await desk.subscribe(change, wanted.callback, wanted.types, wanted.query)
        return shown(made) | {"secret": made.secret}

    @routes.get("/subscriptions", response_model=list[Shown])
    async def listing(caller: Caller = reads) -> list[dict[str, Any]]:
        """List subscriptions."""
        return await desk.shown(*await desk.of(caller))

    @routes.get("/subscriptions/{subscription_id}", response_model=Shown)
    async def show(subscription_id: _ID, caller: Caller = reads) -> dict[str, Any]:
        """Show one subscription."""
        (found,) = await desk.shown(await desk.one(caller, subscription_id))
        return found

    @routes.post(
        "/subscriptions/{subscription_id}/take-over",
        response_model=TakenOver,
        response_model_exclude_unset=True,
    )
    async def take_over(
        subscription_id: _ID,
        *,
        new_secret: Annotated[
            bool, Query(description="Sign with a new secret from now on; it is shown this once.")
        ] = False,
        change: Change = writes,
    ) -> dict[str, Any]:
        """Let a subscription be this key's, such as one whose key was revoked: it is delivered, and what has waited too."""
        taken = await desk.take_over(change, subscription_id, new_secret=new_secret)
        return shown(taken) | ({"secret": taken.secret} if new_secret else {})

    @routes.delete("/subscriptions/{subscription_id}", status_code=204)
    async def end(subscription_id: _ID, change: Change = writes) -> None:
        """Take a subscription back; what waits for it, and its dead letters, are forgotten."""
        await desk.end(change, subscription_id)


def _dead_letters(routes: APIRouter, desk: Desk, access: Access) -> None:
    reads, writes = access.route("events:read"), access.change("events:write")

    @routes.get("/dead-letters", response_model=Letters)
    async def dead(
        subscription: _OF,
        first: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=DEAD_LETTERS_PER_PAGE_MAX)] = 100,
        caller: Caller = reads,
    ) -> dict[str, Any]:
        """List what could not be delivered to a subscription, the newest first."""
        found = await desk.one(caller, subscription)
        letters = await desk.queue.dead(found.id, first, limit + 1)
        more = first + limit if len(letters) > limit else None
        return {"letters": [letter(found.id, each) for each in letters[:limit]], "next": more}

    @routes.post("/dead-letters/retry", status_code=202, response_model=Counted)
    async def retry(wanted: Again, change: Change = writes) -> dict[str, int]:
        """Deliver dead letters again: those named, or the newest thousand."""
        found = await desk.one(change.caller, wanted.subscription)
        names = wanted.notices or await _names(desk, found.id)
        await change.begins("dead_letters.retry", resource=found.id, before={"letters": len(names)})
        now_ms = desk.now_ms()
        done = [await desk.queue.revive(found.id, each, now_ms) for each in names]
        change.made(after={"letters": sum(done)})
        if wanted.notices and not any(done):
            raise HTTPException(404, "none of these is a dead letter of this subscription")
        return {"letters": sum(done)}

    @routes.delete("/dead-letters", response_model=Counted)
    async def drop(
        subscription: _OF,
        notice: Annotated[
            str | None, Query(min_length=1, max_length=256, description="This one; else the newest thousand.")
        ] = None,
        change: Change = writes,
    ) -> dict[str, int]:
        """Forget dead letters."""
        found = await desk.one(change.caller, subscription)
        names = [notice] if notice is not None else await _names(desk, found.id)
        await change.begins("dead_letters.drop", resource=found.id, before={"letters": len(names)})
        done = [await desk.queue.drop(found.id, each) for each in names]
        change.made(after={"letters": sum(done)})
        if notice is not None and not any(done):
            raise HTTPException(404, "this is no dead letter of this subscription")
        return {"letters": sum(done)}


async def _names(desk: Desk, subscription: str) -> list[str]:
    letters = await desk.queue.dead(subscription, 0, DEAD_LETTERS_PER_PAGE_MAX)
    return [each.delivery.notice.id for each in letters]
