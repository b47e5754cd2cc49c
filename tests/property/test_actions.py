"""The library and the model agree on actions too, in whatever order they are asked among charges; and the audit finds nothing."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ocs.balance.actions import ActionKind, Page
from ocs.balance.audit import audit
from tests.charged_store import StoreRoom
from tests.property.deed_steps import (
    CHANNELS,
    Act,
    Again,
    Undo,
    Void,
    act_steps,
    again_steps,
    play_act,
    play_again,
    play_undo,
    play_void,
    undo_steps,
    void_steps,
)
from tests.property.fixed_scripts import TAKES_WHAT_IS_HELD
from tests.property.pair import Pair
from tests.property.scripts import STEPS, Opening, Player, Wait, drawn, opened, openings

ACTION_STEPS: dict[str, tuple[int, st.SearchStrategy[Any]]] = STEPS | {
    "nothing": (1, st.just(Wait(0))),
    "request": (8, STEPS["request"][1]),
    "event": (2, STEPS["event"][1]),
    "amend": (1, STEPS["amend"][1]),
    "act": (24, act_steps),
    "again": (3, again_steps),
    "undo": (12, undo_steps),
    "void": (3, void_steps),
}


async def play(room: StoreRoom, opening: Opening, script: list[Any]) -> Pair:
    pair = await opened(room, opening)
    player = Player(pair)
    player.does |= {
        Act: lambda step: play_act(pair, step),
        Again: lambda step: play_again(pair, step),
        Undo: lambda step: play_undo(pair, step),
        Void: lambda step: play_void(pair, step),
    }
    for step in script:
        await player.play(step)
    return pair


async def judge(pair: Pair) -> None:
    """What holds at the end: the audit, nothing lost between the accounts, and listings that are whole."""
    report = await audit(pair.charged.parts)
    assert report.faults == []
    assert report.in_transit == 0
    actions = pair.accounts.actions
    for channel in CHANNELS:
        found = await actions.of_channel(channel, Page(limit=100))
        asked = {name for where, name in pair.deeds.known if where == channel}
        assert ({each.asked.id for each in found.actions}, found.total) == (asked, len(asked))
    for home in pair.homes[:3]:
        found = await actions.of_account(home.partition, home.account.name, Page(limit=200))
        moved = {
            (each.asked.channel, each.asked.id) for each in found.actions if each.asked.channel in CHANNELS
        }
        mine = {
            name
            for name, known in pair.deeds.known.items()
            if known.state != "failed" and home.account.name in {known.deed.account, known.deed.receiver}
        }
        given_back = {
            name
            for name, known in pair.deeds.known.items()
            if known.state == "failed" and known.deed.kind is ActionKind.TRANSFER
        }
        assert moved - given_back == mine


@settings(max_examples=130)
@example(*TAKES_WHAT_IS_HELD)
@given(openings, st.lists(drawn(ACTION_STEPS), min_size=20, max_size=45))
def test_the_store_does_what_the_model_says_of_actions(
    room: StoreRoom, opening: Opening, script: list[Any]
) -> None:
    room.run(judge(room.run(play(room, opening, script))))
