"""Subscriptions, groups and dead letters at the command line."""

from collections.abc import Awaitable, Callable
from typing import Any

from ocs.api_limits import DEAD_LETTERS_MAX
from ocs.clock import instant
from ocs.http.keys import ApiKeys
from ocs.notices.queue import DeadLetter, Queue
from ocs.notices.subscriptions import Subscription, Subscriptions
from ocs.roof import say
from ocs.roof.audited import Deed, run_change
from ocs.roof.build import Keepers, run
from ocs.roof.ends import Ended, Exit
from ocs.roof.events import message_rules
from ocs.roof.place import Place
from ocs.stream import groups, leave


async def _known(keepers: Keepers) -> list[Subscription]:
    rules = [rule for rule, _language in message_rules(keepers.settings.events).values()]
    return [*rules, *(each for each in await Subscriptions(keepers.store).all() if not each.ended)]


def listing(place: Place, *, as_json: bool) -> None:
    """List subscriptions, without their secrets, with how much waits for each and is dead."""

    async def work(keepers: Keepers) -> list[dict[str, Any]]:
        queue, known = Queue(keepers.store), await _known(keepers)
        revoked = await ApiKeys(keepers.store).revoked(each.owner for each in known)
        return [
            {
                "id": each.id,
                "owner": each.owner,
                "state": "stopped" if each.owner in revoked else "active",
                "form": each.form,
                "types": " ".join(each.types),
                "made": instant(each.made_ms, "milliseconds") if each.made_ms else "-",
                "waiting": await queue.waiting(each.id),
                "dead": await queue.dead_count(each.id),
            }
            for each in known
        ]

    found = run(place, work)
    if as_json:
        say.as_json(found)
    elif found:
        columns = [(name, name in {"waiting", "dead"}) for name in found[0]]
        say.table(columns, [tuple(map(str, each.values())) for each in found])
    else:
        say.line("nobody is told; subscribe: POST /events/v1/subscriptions")


def show_groups(place: Place, leaves: str, *, as_json: bool) -> None:
    """List the groups on the streams, or let one be no more."""

    async def work(keepers: Keepers) -> dict[str, dict[int, str]]:
        return await groups(keepers.parts)

    async def end(keepers: Keepers, deed: Deed) -> dict[str, dict[int, str]]:
        deed.begins(resource=leaves)
        if not await leave(keepers.parts, leaves):
            raise Ended(Exit.NOT_FOUND, f"no group {leaves[:40]!r}")
        deed.made(after={"state": "ended"})
        return await work(keepers)

    found = run_change(place, "stream_group.end", end) if leaves else run(place, work)
    if as_json:
        say.as_json(found)
    elif found:
        say.table(
            [("group", False), ("partitions", True)],
            [(name, str(len(told))) for name, told in sorted(found.items())],
        )
    else:
        say.line("no group reads the streams")


def dead(place: Place, subscription: str, *, as_json: bool) -> None:
    """List the dead letters of a subscription."""

    async def work(keepers: Keepers) -> list[DeadLetter]:
        await _there(keepers, subscription)
        return await Queue(keepers.store).dead(subscription, 0, DEAD_LETTERS_MAX)

    found = run(place, work)
    if as_json:
        say.as_json([_described(each) for each in found])
    elif found:
        columns = [(name, name == "tries") for name in ("notice", "type", "tries", "died", "why")]
        say.table(columns, [_row(each) for each in found])
    else:
        say.line("no dead letter")


def retry(place: Place, subscription: str, notice: str, *, as_json: bool) -> None:
    """Deliver dead letters again."""

    async def one(keepers: Keepers, name: str) -> bool:
        return await Queue(keepers.store).revive(subscription, name, keepers.clock.now_ms())

    _each(place, "dead_letters.retry", subscription, notice, one, "to be delivered again", as_json=as_json)


def drop(place: Place, subscription: str, notice: str, *, as_json: bool) -> None:
    """Forget dead letters."""

    async def one(keepers: Keepers, name: str) -> bool:
        return await Queue(keepers.store).drop(subscription, name)

    _each(place, "dead_letters.drop", subscription, notice, one, "forgotten", as_json=as_json)


def _each(
    place: Place,
    action: str,
    subscription: str,
    notice: str,
    one: Callable[[Keepers, str], Awaitable[bool]],
    said: str,
    *,
    as_json: bool,
) -> None:
    async def work(keepers: Keepers, deed: Deed) -> int:
        await _there(keepers, subscription)
        letters = [] if notice else await Queue(keepers.store).dead(subscription, 0, DEAD_LETTERS_MAX)
        names = [notice] if notice else [each.delivery.notice.id for each in letters]
        deed.begins(resource=subscription, before={"letters": len(names)})
        done = sum([await one(keepers, name) for name in names])
        deed.made(after={"letters": done})
        if notice and not done:
            raise Ended(Exit.NOT_FOUND, f"no dead letter {notice[:80]!r} of {subscription[:40]!r}")
        return done

    count = run_change(place, action, work)
    say.as_json({"letters": count}) if as_json else say.line(f"{count} dead letters {said}")


async def _there(keepers: Keepers, subscription: str) -> None:
    if subscription not in {each.id for each in await _known(keepers)}:
        raise Ended(
            Exit.NOT_FOUND, f"no subscription {subscription[:40]!r}; ocs events subscriptions lists them"
        )


def _described(dead_letter: DeadLetter) -> dict[str, Any]:
    delivery = dead_letter.delivery
    return {
        "notice": delivery.notice.described(),
        "tries": delivery.tries,
        "why": delivery.why,
        "since": instant(delivery.since_ms, "milliseconds"),
        "died": instant(dead_letter.died_ms, "milliseconds"),
    }


def _row(dead_letter: DeadLetter) -> tuple[str, ...]:
    delivery = dead_letter.delivery
    return (
        delivery.notice.id, delivery.notice.type, str(delivery.tries), instant(dead_letter.died_ms, "milliseconds"), delivery.why
    )  # fmt: skip
