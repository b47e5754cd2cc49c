"""The property of actions can fail: a library with a wound in what moves money at somebody's word is caught by it."""

from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

import ocs.balance.parts
from tests.charged_store import StoreRoom
from tests.property.fixed_scripts import TAKES_WHAT_IS_HELD
from tests.property.lua_text import mutated
from tests.property.scripts import Opening, drawn, openings
from tests.property.test_actions import ACTION_STEPS, judge, play

pytestmark = pytest.mark.long

WOUNDED = 92
WOUNDS: dict[str, tuple[tuple[str, str], ...]] = {
    "nothing is repaid": (("local repaid, second = least(owed, amount), nil", "local repaid, second = 0, nil"),),
    "what is repaid is owed still": (("owed, book[B_POSTED], book[B_SEQUENCE] = owed - repaid,", "owed, book[B_POSTED], book[B_SEQUENCE] = owed,"),),
    "nobody looks at what is left": (("if needs > left then return CREDIT_LIMIT, left end", ""),),
    "what was borrowed is given": (("return basis == OWN_LEFT and left - owed or left", "return left"),),
    "what is held of a bucket is taken": (
        ("above(home[w + R_AMOUNT] - home[w + R_USED] - home[w + R_PENDING])\n    if move", "above(home[w + R_AMOUNT] - home[w + R_USED])\n    if move"),
    ),
    "the account's bucket is taken for a member's": (
        ("local w = own ~= book and find_row(own, move[M_BUCKET], move[M_START])", "local w = nil"),
    ),
    "who is barred gives": (("if move[M_ACTIVE] == 1 and may_not_give(book, now) then return BARRED, 0 end", ""),),
    "a second credit is lent": (("if move[M_OWES] > 0 and move[M_OWED] > 0 then return EXISTS, 0 end", ""),),
    "a reservation completed holds still": (("  end_session(session, book, book, 0)\n", ""),),
    "a reservation is completed after its time": ((" or session[S_DUE] <= now then", " then"),),
    "a reservation takes a session's place": (
        ("book[B_PENDING] + amount, book[B_SEQUENCE] + 1", "book[B_PENDING] + amount, book[B_SEQUENCE] + 1; book[B_OPEN] = book[B_OPEN] + 1"),
    ),
    "more is held than is available": (("elseif amount > available_of(book) then", "elseif false then"),),
    "a refund takes what is held": (("left = above(left_of(book, BALANCE_LEFT, 0))", "left = above(left_of(book, BALANCE_LEFT, 0) + book[B_PENDING])"),),
    "a refund leaves what is owed": (("repaid = least(owed, left)\n    left = left - repaid", "repaid = 0"),),
    "a refund ends nobody": (("    own[B_STATUS] = TERMINATED\n    book[B_VERSION]", "    book[B_VERSION]"),),
    "a reversal leaves the bonus": (("back, spent = w, back + free", "back, spent = w, back"), ("= book[w + R_AMOUNT] - free\n", "= book[w + R_AMOUNT]\n")),
    "what is left of a reversed bonus is granted": (("= now > book[w + R_START] and now or book[w + R_START] + 1", "= book[w + R_UNTIL]"),),
    "a reversal leaves the time": (("local lives_after = shortened(book, lives_text, told[M_NAME])", "local lives_after = nil"),),
    "a reversal takes the time that another top-up gave": (("    if known[i] == name then\n      found", "    if true then\n      found"),),
    "a transfer is in no listing": (("  call('ZADD', keys[5], at, told[M_NAME])\n  call('ZREMRANGEBYSCORE', keys[5], '0', old)\n  call('PEXPIRE', keys[5], life)\n  if own_after then call('MSET', keys[2], book_after, keys[7]", "  if own_after then call('MSET', keys[2], book_after, keys[7]"),),
}  # fmt: skip


@pytest.mark.parametrize("wound", WOUNDS)
def test_a_library_with_a_wound_in_its_actions_is_caught(
    room: StoreRoom, wound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.run(room.load(mutated(WOUNDED, *WOUNDS[wound])))
    monkeypatch.setattr(ocs.balance.parts, "function", lambda name: f"{name}_{WOUNDED}")

    @settings(max_examples=600, phases=[Phase.explicit, Phase.generate])
    @example(*TAKES_WHAT_IS_HELD)  # random scripts seldom take just so much of a bucket
    @given(openings, st.lists(drawn(ACTION_STEPS), min_size=20, max_size=45))
    def property_holds(opening: Opening, script: list[Any]) -> None:
        room.run(judge(room.run(play(room, opening, script))))

    with pytest.raises(AssertionError):
        property_holds()
