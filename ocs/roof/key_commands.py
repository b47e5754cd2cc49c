"""`ocs keys` and `ocs audit-log` as people type them: who may call the HTTP API, and what was done by it."""
# ruff: noqa: PLC0415 - a command imports what it needs and nothing else

from typing import Annotated

import typer

from ocs.roof.options import JsonOption, at_place, group
from ocs.roof.place import Place

keys_app = group("API keys.")


@keys_app.command("create")
@at_place
def keys_create(
    scope: Annotated[
        list[str] | None, typer.Option(metavar="S", help="What it is for; may be given again.")
    ] = None,
    role: Annotated[
        str, typer.Option(metavar="R", help="channel, care, operator, auditor or admin: scopes by a name.")
    ] = "",
    name: Annotated[str, typer.Option(metavar="NAME", help="Whose it is.")] = "",
    channel: Annotated[str, typer.Option(metavar="C", help="Whose changes it makes; its id if none.")] = "",
    rate: Annotated[int, typer.Option(metavar="N", help="Requests a second; http.rate if none.")] = 0,
    burst: Annotated[int, typer.Option(metavar="N", help="Requests at once; twice the rate if none.")] = 0,
    valid_until: Annotated[
        str, typer.Option(metavar="T", help="2027-01-31T12:00:00Z, or a day (UTC, until its end).")
    ] = "",
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Make an API key; it is shown this once."""
    from ocs.roof.keys import Wish, create

    wish = Wish(name, frozenset(scope or ()), role, channel, rate, burst, valid_until)
    create(place, wish, as_json=json)


@keys_app.command("list")
@at_place
def keys_list(*, json: JsonOption = False, place: Place) -> None:
    """List API keys, without what makes them keys."""
    from ocs.roof.keys import listing

    listing(place, as_json=json)


@keys_app.command("revoke")
@at_place
def keys_revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id.")],
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Let an API key, and its tokens, be valid no more."""
    from ocs.roof.keys import revoke

    revoke(place, key_id, as_json=json)


def audit_log(
    day: Annotated[str, typer.Option(metavar="DAY", help="2026-11-28 (UTC); today if none.")] = "",
    client: Annotated[str, typer.Option(metavar="ID", help="Only this key's, or 'command line'.")] = "",
    channel: Annotated[str, typer.Option(metavar="C", help="Only this channel's.")] = "",
    account: Annotated[str, typer.Option(metavar="A", help="Only those that move this account.")] = "",
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Show what was attempted on a day, over the HTTP API and by commands: by whom, from where, and what came of it."""
    from ocs.roof.audit_log import show

    show(place, day, client, channel, account, as_json=json)
