"""API keys at the command line: the first key is made here, and nowhere is one by default."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ocs.http.events import left_of
from ocs.http.keys import ApiKey, ApiKeys, KeysFull
from ocs.notices.subscriptions import Subscriptions
from ocs.roof import say
from ocs.roof.audited import Deed, run_change
from ocs.roof.build import Keepers, run
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place


class Wish(NamedTuple):
    """What a key is to be, as it was typed."""

    name: str
    scopes: frozenset[str]
    role: str = ""
    channel: str = ""
    rate: int = 0
    burst: int = 0
    valid_until: str = ""


def create(place: Place, wish: Wish, *, as_json: bool) -> None:
    """Make a key and show it, this once."""
    until_ms = _instant(wish.valid_until) if wish.valid_until else 0

    async def work(keepers: Keepers, deed: Deed) -> tuple[ApiKey, str]:
        deed.begins(before={"role": wish.role, "scopes": sorted(wish.scopes)})
        try:
            key, shown = await ApiKeys(keepers.store).create(
                wish.name,
                wish.scopes,
                keepers.clock.now_ms(),
                role=wish.role,
                channel=wish.channel,
                rate=wish.rate,
                burst=wish.burst,
                until_ms=until_ms,
            )
        except KeysFull as fault:
            raise Ended(Exit.CONFLICT, str(fault)) from fault
        except ValueError as fault:
            raise Ended(Exit.USAGE, str(fault)) from fault
        deed.made(resource=key.id, after=key.facts())
        return key, shown

    key, shown = run_change(place, "key.create", work)
    content = key.described() | {"key": shown}
    if as_json:
        say.as_json(content)
    else:
        say.facts(content | {"scopes": " ".join(sorted(key.granted))})
        say.remark("keep the key now: only its hash is stored, and it is not shown again")


def _instant(text: str) -> int:
    """Read an instant with its offset, or a day, whose end (UTC) is meant; milliseconds since 1970."""
    try:
        if len(text) == len("2027-01-31"):
            return int((datetime.fromisoformat(f"{text}T00:00:00Z") + timedelta(days=1)).timestamp() * 1000)
        read: datetime | None = datetime.fromisoformat(text)
    except ValueError:
        read = None
    if read is None or read.tzinfo is None:
        raise Ended(
            Exit.USAGE,
            f"--valid-until: not an instant: {text[:40]!r}; write 2027-01-31T12:00:00Z or 2027-01-31",
        )
    return int(read.timestamp() * 1000)


def listing(place: Place, *, as_json: bool) -> None:
    """List all keys, without what makes them keys."""

    async def work(keepers: Keepers) -> list[ApiKey]:
        return await ApiKeys(keepers.store).all()

    keys = run(place, work)
    if as_json:
        say.as_json([each.described() for each in keys])
    elif keys:
        names = ("id", "name", "role", "channel", "scopes", "rate", "made", "valid until", "revoked")
        columns = [(name, name == "rate") for name in names]
        say.table(columns, [_row(each) for each in keys])
    else:
        say.line("no key; make one: ocs keys create --role admin")


def _row(key: ApiKey) -> tuple[str, ...]:
    told = key.described()
    scopes = " ".join(sorted(key.scopes))  # a role's are its own
    shown = (
        key.name,
        key.role,
        key.channel,
        scopes,
        key.rate,
        told["made"],
        told["valid_until"],
        told["revoked"],
    )
    return key.id, *(str(each or "-") for each in shown)


def revoke(place: Place, key_id: str, *, as_json: bool) -> None:
    """Let a key be valid no more, and say what its channel is still told of."""

    async def work(keepers: Keepers, deed: Deed) -> tuple[ApiKey, list[dict[str, Any]]]:
        keys, unknown = ApiKeys(keepers.store), f"no key {key_id[:40]!r}; ocs keys list shows them"
        known = await keys.get(key_id)
        if known is None:
            raise Ended(Exit.NOT_FOUND, unknown)
        deed.begins(resource=known.id, before={"revoked": bool(known.revoked_ms)})
        key = await keys.revoke(key_id, keepers.clock.now_ms())
        if key is None:
            raise Ended(Exit.NOT_FOUND, unknown)
        deed.made(after={"revoked": True})
        return key, await left_of(key.channel, keys, Subscriptions(keepers.store), sees_all=True)

    key, left = run_change(place, "key.revoke", work)
    if as_json:
        say.as_json(key.described() | {"subscriptions": left})
        return
    say.line(f"key {key.id} is valid no more")
    for each in left:
        count, channel = each["subscriptions"], key.channel
        say.line(
            f"channel {channel}: subscriptions to events: {count}, made by {each['made_by']}, {each['state']}"
        )
    if any(each["state"] == "stopped" for each in left):
        say.remark(
            "what is stopped waits: another key of the channel takes it over, or takes it back (EVENTS.md)"
        )
