"""Law 1 of the Lua library: it reads, computes and asserts first, and writes last; nothing can fail after a write."""

import pytest

import ocs.balance.accounting
import ocs.balance.events
import ocs.balance.parts
from ocs.balance.link import StoreError, StoreFault
from tests.charged_store import StoreRoom
from tests.property.acts import ACTS, BROKEN, TEXT, WHOLE, calendar, everything, opened
from tests.property.lua_text import (
    READS,
    WRITES,
    injected,
    lua_functions,
    registered,
    renamed,
    store_calls,
    tails,
    without_calls_of_the_store,
)


@pytest.fixture(scope="module")
def versions(room: StoreRoom) -> None:
    """The library twice more: broken before its first writes, and whole."""
    room.run(room.load(injected(BROKEN)))
    room.run(room.load(renamed(TEXT, WHOLE)))


@pytest.mark.parametrize("name", ACTS)
def test_an_error_before_the_first_write_leaves_no_trace(
    room: StoreRoom, versions: None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting, act = ACTS[name]
    pair = room.run(setting(room))
    before = room.run(everything(pair))
    modules = (ocs.balance.parts, ocs.balance.events, ocs.balance.accounting)
    for module in modules:
        monkeypatch.setattr(module, "function", lambda each: f"{each}_{BROKEN}")
    with pytest.raises(StoreFault):
        room.run(act(pair, BROKEN))
    assert room.run(everything(pair)) == before
    for module in modules:
        monkeypatch.setattr(module, "function", lambda each: f"{each}_{WHOLE}")
    room.run(act(pair, WHOLE))
    assert room.run(everything(pair)) != before, (
        "the error stood where nothing is written: this test cannot fail"
    )


def test_every_function_that_writes_is_among_the_acts() -> None:
    writing = {name for name, may_write in registered(TEXT).items() if may_write}
    assert {name.partition(":")[0] for name in ACTS} == writing


def test_only_registered_functions_write_and_only_known_commands_are_used() -> None:
    may_write = registered(TEXT)
    for each in lua_functions(TEXT):
        commands = {command for _, line in each.lines for command in store_calls(line)}
        assert commands <= READS | set(WRITES), f"{each.name}: name them in tests/property/lua_text.py"
        assert may_write.get(each.name, False) or not each.writes(), f"{each.name} writes"


@pytest.mark.parametrize("name", [name for name, may_write in registered(TEXT).items() if may_write])
def test_after_its_first_write_a_function_only_writes_branches_and_returns(name: str) -> None:
    (each,) = (found for found in lua_functions(TEXT) if found.name == name)
    ways = list(tails(each))
    assert ways, "it writes nowhere"
    for way in ways:
        for number, line in way:
            bare = without_calls_of_the_store(line).strip()
            assert not store_calls(bare), f"line {number}: reads after a write: {line}"
            starts = bare.startswith(("WRITE", "if ", "elseif ", "else", "end", "return "))
            assert starts, f"line {number}: neither write, branch nor return: {line}"
            first = (number, line) == way[0]  # its own arguments are computed before it writes
            assert first or not computes(bare), f"line {number}: computes after a write: {line}"


def computes(bare: str) -> bool:
    """Whether a line calls a function or calculates, either of which may fail."""
    return any(sign in bare for sign in ("(", "..", " + ", " - ", " * ", " / ", " % "))


def test_the_static_test_sees_a_computation_after_a_write() -> None:
    text = "local function f(keys)\n  call('SET', keys[1], string.format('%.0f', 1))\n  return 1\nend\n"
    (each,) = lua_functions(text)
    ((first, *_),) = tails(each)
    assert computes(without_calls_of_the_store(first[1]))


def test_an_injected_error_is_an_error_of_the_store(room: StoreRoom, versions: None) -> None:
    pair = room.run(opened(room))
    with pytest.raises(StoreError, match="injected"):
        room.run(calendar(pair, BROKEN))
