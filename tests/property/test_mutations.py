"""The properties can fail: a library without its replay check, without a void or with another wound is caught by them."""

import pytest
from hypothesis import Phase, example, given, settings

import ocs.balance.events
from ocs.balance.model_prices import Price
from tests.charged_store import StoreRoom
from tests.property.fixed_scripts import JOINS_AT_ANOTHER_PRICE
from tests.property.lua_text import mutated
from tests.property.pair import ADAPTING, POOLING
from tests.property.scripts import (
    Opening,
    event_scripts,
    openings,
    play,
    pool_openings,
    rated_openings,
    scripts,
    wallet_openings,
    wallet_scripts,
    where_the_server_chooses,
)
from tests.property.twin import budgets, check_walk, twin, walks, wishes

pytestmark = pytest.mark.long

WOUNDED = 91
VOID = (
    "book[B_PENDING] = book[B_PENDING] - session[s + V_HOLD]\n"
    "        if own ~= book then own[B_PENDING] = own[B_PENDING] - session[s + V_HOLD] end\n"
    "        session[s + V_HOLD] = 0\n"
)
WOUNDS: dict[str, tuple[tuple[str, str], ...]] = {
    "no replay check": (
        ("if was_kind == kind and was_number == number then", "if false then"),
        ("if kind == INITIAL then return CONFLICT, '', 0 end", ""),
        ("if kind == UPDATE then return SEEN, '', 0 end", ""),
    ),
    "no comparison of the content": (("if was_digest == digest then return", "if true then return"),),
    "no void": ((VOID, ""),),
    "no void of the services that a termination does not name": (
        (
            "book[B_PENDING], book[B_OPEN] = book[B_PENDING] - held, book[B_OPEN] - counted",
            "book[B_OPEN] = book[B_OPEN] - counted",
        ),
    ),
    "a void by a lower number": (
        ("(number >= session[s + V_NUMBER] and touches(plan, a))", "touches(plan, a)"),
    ),
    "everything is believed": (("if reported <= 4 * grant then return true end", "do return true end"),),
    "the floor is forgotten": (
        ("- book[B_POSTED] - book[B_PENDING] - book[B_FLOOR]", "- book[B_POSTED] - book[B_PENDING]"),
    ),
    "holds are not shared": (
        ("- book[B_POSTED] - book[B_PENDING] - book[B_FLOOR]", "- book[B_POSTED] - book[B_FLOOR]"),
    ),
    "a session of another account is charged": (
        ("if session[S_ACCOUNT] ~= plan[P_ACCOUNT] then return { CONFLICT, '', 0 } end", ""),
    ),
    "interims are rounded": (("session[s + V_FRAC]) - session[s + V_POSTED]\n", "session[s + V_FRAC])\n"),),
    "what was posted is given back": (("if amount < 0 then return 0 end", ""),),
    "a plan for another rate is taken": (
        (
            "if s and session[s + V_RATE] ~= plan[a + A_EARLIER] and plan[a + A_EARLIER] ~= ANY then return nil end",
            "",
        ),
    ),
    "a plan for other facts is taken": (
        ("if session and plan[P_BEFORE] ~= session[S_FACTS] and plan[P_BEFORE] ~= ANY then", "if false then"),
    ),
    "a grant leaves no mark": (("    session[s + V_RATE] = plan[a + A_MARK]\n", ""),),
    "facts are not kept": (("if plan[P_FACTS] ~= ANY then session[S_FACTS] = plan[P_FACTS] end", ""),),
    "another rate goes on where it must begin anew": (
        ("if plan[a + A_CLOSES] ~= 0 then whole, frac = posted, 0 end", ""),
        (
            "if plan[a + A_CLOSES] ~= 0 then session[s + V_WHOLE], session[s + V_FRAC] = session[s + V_POSTED], 0 end",
            "",
        ),
    ),
    "an emergency call is barred": (("if always == EMERGENCY then return false end", ""),),
}
ABOUT_RATES = frozenset(
    {
        "a plan for another rate is taken",
        "another rate goes on where it must begin anew",
        "what was posted is given back",
        "a grant leaves no mark",
    }
)
ROW_WOUNDS: dict[str, tuple[tuple[str, str], ...]] = {
    "holds on rows are not given back": (
        ("      home[w + R_PENDING] = home[w + R_PENDING] - list[x + X_HELD]\n", ""),
    ),
    "allowances hold nothing": (
        (
            "        home[w + R_PENDING], mine[x + X_HELD] = home[w + R_PENDING] + held, held\n      end\n    end\n  end\n  return left",
            "      end\n    end\n  end\n  return left",
        ),
    ),
    "open units are forgotten": (
        ("list[x + X_OPEN] = covered > left and covered - left or 0", "list[x + X_OPEN] = 0"),
    ),
    "an ended row is drawn on": (
        ("return lives(home, w, at) and free or least(free, was[x] or 0)", "return free"),
    ),
    "a blocker blocks nothing": (
        ("if left > 0 and not blocked(plan, first, count) then", "if left > 0 then"),
    ),
    "a cap that disconnects forgets what is held": (
        (
            "budget = least(budget, above(left - (w and home[w + R_PENDING] or 0)))",
            "budget = least(budget, above(left))",
        ),
    ),
    "a cap that frees the rest frees nothing": (
        ("price = least(price, above(list[x + X_CAP] - (w and home[w + R_USED] or 0)))", "price = price"),
    ),
    "restricted money pays nothing": (("        rest = rest - amount\n", ""),),
    "tiers stand still": (("shift = home[w + R_USED] - covered", "shift = -covered"),),
    "a balance never ends": (("if ends > 0 and at >= ends then return", "if false then return"),),
    "a member's own book stands still": (
        ("    if own ~= book then own[B_POSTED] = own[B_POSTED] + amount end\n", ""),
    ),
}
EVENT_WOUNDS: dict[str, tuple[tuple[str, str], ...]] = {
    "a repetition debits again": (
        ("  if kept[2] then\n    local before", "  if false then\n    local before"),
    ),
    "an event of other content is a repetition": (
        ("if before[E_DIGEST] ~= plan[P_DIGEST] or before[E_PATH] ~= plan[P_ACCOUNT] then", "if false then"),
    ),
    "a debit is given in part": (
        (
            "whole = afford_tiers(session, nil, plan, a, left, budget, mine, book, own) == left",
            "whole = true",
        ),
    ),
    "what an event is looked at with stays held": (
        ("  release(session, 1, book, own)\n  return whole", "  return whole"),
    ),
    "a price counts credit": (
        ("if not credit or (room and room <= budget) then", "if room and room <= budget then"),
    ),
    "a refund is not bounded": (
        ("return units > 0 and units <= line[D_LEFT] and units or nil", "return units > 0 and units or nil"),
    ),
    "a refund forgets what it gave back": (("  line[D_LEFT] = line[D_LEFT] - units\n", ""),),
    "a refund gives nothing back to rows": (
        ("      home[w + R_USED] = home[w + R_USED] - amount\n      for _, value", "      for _, value"),
    ),
    "a refund gives restricted money to the account": (("      rest = rest - after[m]\n", ""),),
    "tiers forget where a debit stood": (("if kind == TIER then shift = taken[t + 7] - amount end", ""),),
    "a refund is of any service's debit": (
        (
            "debit[E_PATH] == plan[P_ACCOUNT] and debit[E_FAMILY] == family",
            "debit[E_PATH] == plan[P_ACCOUNT]",
        ),
    ),
    "allowances come back before money": (
        (
            "local moves, on, priced, drawn, after = line[D_MOVES], line[D_LADDER], left, 0, {}",
            "local moves, on, priced, drawn, after = line[D_MOVES], line[D_LADDER], least(left, 0), 0, {}",
        ),
    ),
    "an event begins no life": (
        (
            "  if begins and book[B_UNTIL] < 0 then book[B_UNTIL] = plan[P_FIRST] > 0 and plan[P_AT] +",
            "  if false then book[B_UNTIL] = plan[P_FIRST] > 0 and plan[P_AT] +",
        ),
    ),
    "a barred account is debited": (("  if denied(book, own, plan, a, at) then return BARRED end\n", ""),),
    "a member's book forgets a refund": (
        ("    if own ~= book then own[B_POSTED] = own[B_POSTED] - amount end\n", ""),
    ),
}
QUOTA_WOUNDS: dict[str, tuple[tuple[str, str], ...]] = {
    "grants do not follow the speed of use": (
        ("if adapt == 0 or not s then return wants end", "do return wants end"),
    ),
    "the time of use does not count": (("elapsed > 1000 and begun(elapsed, 1000) or 1", "1"),),
    "one service may hold all of a poor account": (
        ("local bounded, price = down(budget, 100) * share, nil", "local bounded, price = budget, nil"),
        ("down(available, 100) * share, available, NOTHING", "available, available, NOTHING"),
    ),
    "the usual is cut down to the share": (
        ("if units >= usual then return units, price end", "do return units, price end"),
    ),
    "what was cut down to the share is called the last": (
        ("elseif units < usual then final = 1 end", "elseif units < wants then final = 1 end"),
    ),
    "who has nothing is refused and not restricted": (
        ("if units == 0 and not restricts then code", "if units == 0 then code"),
    ),
}
POOL_WOUNDS: dict[str, tuple[tuple[str, str], ...]] = {
    "a pool keeps what was used of it": (
        ("    if pooled then take_of_pool(session, s, amount, book, own) end\n", ""),
    ),
    "only its own hold pays for a service": (("while other and taken < amount do", "while false do"),),
    "a service is judged by its own grant": (
        ("  if pool == 0 then return grant end", "  do return grant end"),
    ),
    "who leaves a pool takes its credit along": (
        ("if other then move_hold(session, other, held) else", "if false then else"),
    ),
    "a pool that all have left holds on": (("held) else hold_less(book, own, held) end", "held) end"),),
    "only the price of the units is held": (("extra = beyond_linear(session, s, on)", "extra = 0"),),
    "who asks again and again is held all there is": (("if has > wants then", "if false then"),),
    "what stands in a pool is told twice": ((" or session[s + V_FINAL] >= POOL\n  if none", "\n  if none"),),
    "a report ends a pool": (("pooled and POOL * pool_of(session, s) or 0", "0"),),
    "a grant forgets what is left in the pool": (("    hold = hold + session[s + V_HOLD]\n", ""),),
    "what moved in a pool is on no record": (
        ("if session[S_MOVED] and state == OPEN then", "if false then"),
    ),
    "a pool has no number": (("pool_of(session, other) == pool", "pool_of(session, other) > 0"),),
    "who joins at another price holds nothing more": (
        (" or session[s + V_RATE] ~= plan[a + A_MARK] then\n    extra", " then\n    extra"),
    ),
}
LADDER_WOUNDS: dict[str, tuple[tuple[str, str], ...]] = {
    "no minimum": (("if down < on[L_MINIMUM] and position > 0 then down = on[L_MINIMUM] end", ""),),
    "a minimum for nothing": (
        ("if down < on[L_MINIMUM] and position > 0 then", "if down < on[L_MINIMUM] then"),
    ),
    "a cap that frees nothing": (
        ("if on[L_CAP_MODE] == FREE and down > on[L_CAP] then return on[L_CAP] end", ""),
    ),
    "a cap that does not disconnect": (
        ("if on[L_CAP_MODE] == STOP and on[L_CAP] < ceiling then", "if false then"),
    ),
}


@pytest.mark.parametrize("wound", WOUNDS)
def test_a_wounded_library_is_caught(room: StoreRoom, wound: str) -> None:
    room.run(room.load(mutated(WOUNDED, *WOUNDS[wound])))

    @settings(max_examples=1_500, phases=[Phase.generate])
    @given(rated_openings if wound in ABOUT_RATES else openings, scripts(20, 40))
    def property_holds(opening: Opening, script: list[object]) -> None:
        room.run(play(room, opening, script, charge_name=f"charge_{WOUNDED}"))

    with pytest.raises(AssertionError):
        property_holds()


@pytest.mark.parametrize("wound", ROW_WOUNDS)
def test_a_library_with_wounded_rows_is_caught(room: StoreRoom, wound: str) -> None:
    room.run(room.load(mutated(WOUNDED, *ROW_WOUNDS[wound])))

    @settings(max_examples=1_000, phases=[Phase.generate])
    @given(wallet_openings, wallet_scripts(10, 30))
    def property_holds(opening: Opening, script: list[object]) -> None:
        room.run(play(room, opening, script, charge_name=f"charge_{WOUNDED}"))

    with pytest.raises(AssertionError):
        property_holds()


@pytest.mark.parametrize("wound", EVENT_WOUNDS)
def test_a_library_with_wounded_events_is_caught(
    room: StoreRoom, wound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.run(room.load(mutated(WOUNDED, *EVENT_WOUNDS[wound])))
    monkeypatch.setattr(ocs.balance.events, "function", lambda name: f"{name}_{WOUNDED}")

    @settings(max_examples=1_000, phases=[Phase.generate])
    @given(wallet_openings, event_scripts(10, 30))
    def property_holds(opening: Opening, script: list[object]) -> None:
        room.run(play(room, opening, script))

    with pytest.raises(AssertionError):
        property_holds()


@pytest.mark.parametrize("wound", QUOTA_WOUNDS)
def test_a_library_with_wounded_quota_is_caught(room: StoreRoom, wound: str) -> None:
    room.run(room.load(mutated(WOUNDED, *QUOTA_WOUNDS[wound])))

    @settings(max_examples=1_000, phases=[Phase.generate])
    @given(openings, scripts(20, 40))
    def property_holds(opening: Opening, script: list[object]) -> None:
        chosen = where_the_server_chooses(script)
        room.run(play(room, opening, chosen, charge_name=f"charge_{WOUNDED}", terms=ADAPTING))

    with pytest.raises(AssertionError):
        property_holds()


@pytest.mark.parametrize("wound", POOL_WOUNDS)
def test_a_library_with_wounded_pools_is_caught(room: StoreRoom, wound: str) -> None:
    room.run(room.load(mutated(WOUNDED, *POOL_WOUNDS[wound])))

    @settings(max_examples=1_000, phases=[Phase.explicit, Phase.generate])
    @example(
        *JOINS_AT_ANOTHER_PRICE
    )  # random scripts seldom let a session's tariff change while it is in a pool
    @given(pool_openings, scripts(20, 40))
    def property_holds(opening: Opening, script: list[object]) -> None:
        chosen = where_the_server_chooses(script)
        room.run(play(room, opening, chosen, charge_name=f"charge_{WOUNDED}", terms=POOLING))

    with pytest.raises(AssertionError):
        property_holds()


@pytest.mark.parametrize("wound", LADDER_WOUNDS)
def test_a_wounded_ladder_is_caught(room: StoreRoom, wound: str) -> None:
    room.run(room.load(mutated(WOUNDED, *LADDER_WOUNDS[wound])))
    wounded = twin(room, f"ladder_{WOUNDED}")

    @settings(max_examples=400, phases=[Phase.generate])
    @given(walks(), wishes, budgets)
    def property_holds(walk: tuple[Price, int, int], wanted: int, budget: int) -> None:
        check_walk(wounded, walk, wanted, budget)

    with pytest.raises(AssertionError):
        property_holds()
