"""API keys at the command line: the first key is made here, and nowhere is one by default."""

from ocs.http.keys import ApiKey, ApiKeys, KeysFull
from ocs.roof import say
from ocs.roof.build import Keepers, run
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place


def create(place: Place, name: str, scopes: list[str], *, as_json: bool) -> None:
    """Make a key and show it, this once."""

    async def work(keepers: Keepers) -> tuple[ApiKey, str]:
        return await ApiKeys(keepers.store).create(name, frozenset(scopes), keepers.clock.now_ms())

    try:
        key, shown = run(place, work)
    except KeysFull as fault:
        raise Ended(Exit.CONFLICT, str(fault)) from fault
    except ValueError as fault:
        raise Ended(Exit.USAGE, str(fault)) from fault
    content = {"id": key.id, "name": key.name, "scopes": sorted(key.scopes), "key": shown}
    if as_json:
        say.as_json(content)
    else:
        say.facts(content | {"scopes": " ".join(sorted(key.scopes))})
        say.remark("keep the key now: only its hash is stored, and it is not shown again")


def listing(place: Place, *, as_json: bool) -> None:
    """List all keys, without what makes them keys."""

    async def work(keepers: Keepers) -> list[ApiKey]:
        return await ApiKeys(keepers.store).all()

    keys = run(place, work)
    if as_json:
        say.as_json([each.described() for each in keys])
    elif keys:
        columns = [(name, False) for name in ("id", "name", "scopes", "made", "revoked")]
        say.table(columns, [_row(each) for each in keys])
    else:
        say.line("no key; make one: ocs keys create --scope sessions:read")


def _row(key: ApiKey) -> tuple[str, ...]:
    told = key.described()
    return (
        key.id, key.name or "-", " ".join(sorted(key.scopes)), str(told["made"]), str(told["revoked"] or "-")
    )  # fmt: skip


def revoke(place: Place, key_id: str, *, as_json: bool) -> None:
    """Let a key be valid no more."""

    async def work(keepers: Keepers) -> ApiKey | None:
        return await ApiKeys(keepers.store).revoke(key_id, keepers.clock.now_ms())

    key = run(place, work)
    if key is None:
        raise Ended(Exit.NOT_FOUND, f"no key {key_id[:40]!r}; ocs keys list shows them")
    say.as_json(key.described()) if as_json else say.line(f"key {key.id} is valid no more")
