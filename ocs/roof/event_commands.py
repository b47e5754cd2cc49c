"""`ocs events …`: subscriptions, groups on the streams, dead letters."""
# ruff: noqa: PLC0415 - a command imports what it needs and nothing else

from typing import Annotated

import typer

from ocs.roof.options import JsonOption, at_place, group
from ocs.roof.place import Place

events_app = group("Events out: who is told, and what could not be delivered.")
dead_app = group("Deliveries that were given up.")
events_app.add_typer(dead_app, name="dead")

_Of = Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="The subscription's id, or a message's.")]
_Notice = Annotated[str, typer.Option("--notice", metavar="ID", help="This one; else all.")]


@events_app.command("subscriptions")
@at_place
def subscriptions(*, json: JsonOption = False, place: Place) -> None:
    """List subscriptions and the settings' messages, with how much waits and is dead."""
    from ocs.roof.event_letters import listing

    listing(place, as_json=json)


@events_app.command("groups")
@at_place
def stream_groups(
    leave: Annotated[
        str, typer.Option(metavar="GROUP", help="Let this group be no more: nothing is kept for it.")
    ] = "",
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """List the consumer groups on the streams, with how far each has come."""
    from ocs.roof.event_letters import show_groups

    show_groups(place, leave, as_json=json)


@dead_app.command("list")
@at_place
def dead_list(subscription: _Of, *, json: JsonOption = False, place: Place) -> None:
    """List dead letters, the newest first."""
    from ocs.roof.event_letters import dead

    dead(place, subscription, as_json=json)


@dead_app.command("retry")
@at_place
def dead_retry(subscription: _Of, notice: _Notice = "", *, json: JsonOption = False, place: Place) -> None:
    """Deliver dead letters again."""
    from ocs.roof.event_letters import retry

    retry(place, subscription, notice, as_json=json)


@dead_app.command("drop")
@at_place
def dead_drop(subscription: _Of, notice: _Notice = "", *, json: JsonOption = False, place: Place) -> None:
    """Forget dead letters."""
    from ocs.roof.event_letters import drop

    drop(place, subscription, notice, as_json=json)
