import pytest
from redis.crc import key_slot

from ocs.balance.keys import SLOTS, home, layout, slot_of, tags, where


@pytest.mark.parametrize(
    "key",
    ["foo", "{p17}:book:a", "a{b}c", "{}x", "a{}{b}", "{a", "a}b{c}", "foo{{bar}}zap", "where:gw;1;{x}"],
)
def test_a_slot_is_the_one_that_the_cluster_computes(key: str) -> None:
    assert slot_of(key) == key_slot(key.encode())


def test_the_check_value_of_the_cluster_specification() -> None:
    assert slot_of("123456789") == 0x31C3 % SLOTS


@pytest.mark.parametrize("partitions", [1, 4, 256])
def test_partitions_are_spread_evenly_over_the_slots(partitions: int) -> None:
    share = SLOTS // partitions
    assert [slot_of(f"{{{tag}}}") // share for tag in tags(partitions)] == list(range(partitions))


def test_every_key_of_an_account_lies_in_its_partitions_slot() -> None:
    for keys in layout(256):
        names = [keys.part, keys.run, keys.due, keys.stream, keys.claims]
        names += [keys.book("a"), keys.profile("a"), keys.session("gw;1;{evil}"), keys.credit("c", "{x}")]
        names += [keys.claim("c", "{x}"), keys.event("0:gw;1;{evil}"), keys.debits("a/m")]
        assert {slot_of(name) for name in names} == {keys.slot}


def test_no_two_keys_of_a_partition_have_one_name() -> None:
    keys = layout(4)[0]
    names = [keys.part, keys.run, keys.due, keys.stream, keys.claims, keys.book("a"), keys.profile("a")]
    names += [
        keys.session("a"),
        keys.claim("a", "b"),
        keys.credit("a", "b"),
        keys.event("a"),
        keys.debits("a"),
    ]
    assert len(set(names)) == len(names)


def test_the_layout_never_changes_for_stores_that_exist() -> None:
    assert (tags(256)[0], tags(256)[17], tags(256)[255]) == ("p0.239", "p17.1", "p255.353")
    assert home("491700000001", 256) == 108


def test_a_home_is_a_partition() -> None:
    assert {home(f"4917{each:08d}", 8) for each in range(200)} == set(range(8))


def test_where_a_session_lives_is_kept_in_a_slot_of_its_own() -> None:
    assert len({slot_of(where(f"gw;{each}")) for each in range(50)}) > 40
