"""What was done with an account's balance, of all kinds: from the store for 30 days, from the archive before."""

from typing import Any

from ocs.balance.actions import ActionKind
from ocs.http.access import Caller
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay.desk import Prepay, actions_of, all_shown
from ocs.http.prepay.errors import Told
from ocs.http.prepay.listing import Query
from ocs.http.prepay.resources import history_of


async def history_listed(
    prepay: Prepay, caller: Caller, query: Query, kinds: tuple[ActionKind, ...]
) -> ExactAnswer:
    """List what was done."""
    return await actions_of(prepay, caller, query, kinds, history_of)


async def history_one(prepay: Prepay, caller: Caller, name: str) -> dict[str, Any]:
    """Return one action by channel and id; 404 where there is none, or it is another channel's."""
    channel, _, action_id = name.partition(":")
    found = None
    if action_id and (channel == caller.channel or caller.sees_all):
        found = await prepay.actions.find(channel, action_id)
    if found is None:
        raise Told(404, "notFound", "there is none of this id; write <channel>:<id>, of the last 30 days")
    (shown,) = await all_shown(prepay, (found,), history_of)
    return shown
