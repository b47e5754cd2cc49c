"""Accounting records on a real store: what the model in fractions says, whatever is lost, late, repeated or told by another worker."""

from typing import Any

from hypothesis import example, given, settings

from ocs.balance.audit import audit
from tests.charged_store import StoreRoom
from tests.property.accounting_steps import Player, Told, openings, scripts
from tests.property.test_conservation import conserved


# a spend cap that a message reaches
@example(((6, 0), 0, 0, 0, (0,) * 6), [Told(0, 0, ("sms", ""), 0, "next", 0, (), -1, 3)])
@settings(max_examples=100)
@given(openings, scripts)
def test_store_and_model_agree_on_every_record_and_nothing_is_lost_or_made(
    room: StoreRoom, opening: Any, script: list[Any]
) -> None:
    async def run() -> None:
        player = await Player.made(room, opening)
        for step in script:
            await player.play(step)
        await conserved(player.pair.charged)
        assert (await audit(player.pair.charged.parts)).faults == []

    room.run(run())
