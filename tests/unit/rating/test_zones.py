import pytest

from ocs.rating.document import DocumentFault
from ocs.rating.zones import read_networks, read_prefixes

ZONES = ("a", "b", "c")


def prefix_faults(text: str) -> list[str]:
    with pytest.raises(DocumentFault) as told:
        read_prefixes(text, "p.csv", ZONES)
    return told.value.problems


def test_the_longest_prefix_decides() -> None:
    # VECTORS row 11
    table = read_prefixes("prefix,zone,note\n40256,a,Timisoara\n402,b\n", "p.csv", ZONES)
    told = [
        table.zone_of(digits) for digits in ("40256308200", "40255308200", "402", "4025", "40256", "40", "")
    ]
    assert told == ["a", "b", "b", "b", "a", None, None]
    assert len(table) == 2


def test_a_table_may_have_remarks_empty_lines_and_a_byte_order_mark() -> None:
    table = read_prefixes("\ufeff# ours\n\nprefix, zone\n# home\n 49 , a \n\n49,a\n", "p.csv", ZONES)
    assert (table.zone_of("4930"), len(table)) == ("a", 1)


@pytest.mark.parametrize(
    ("rows", "line", "what"),
    [
        ("4x,a", 2, "'4x' is no prefix"),
        ("+49,a", 2, "without plus"),
        ("٤٩,a", 2, "is no prefix"),  # Arabic digits, which isdigit() takes
        (",a", 2, "'' is no prefix"),
        ("0049,a", 2, "begins with 0"),
        ("1234567890123456,a", 2, "at most 15 digits"),
        ("49,a\n49,b", 3, "49 is in a already (line 2)"),
        ("49,d", 2, "'d' is no zone of this plan; zones are a, b, c"),
        ("49", 2, "has no zone"),
        ('49,"a', 2, "not CSV"),
    ],
)
def test_a_wrong_row_is_told_with_its_line(rows: str, line: int, what: str) -> None:
    (told,) = prefix_faults(f"prefix,zone\n{rows}\n")
    assert told.startswith(f"p.csv:{line}: "), told
    assert what in told


def test_all_wrong_rows_are_told_at_once_but_not_without_end() -> None:
    assert len(prefix_faults("prefix,zone\nx,a\n49,d\n0,a\n")) == 3
    assert len(prefix_faults("prefix,zone\n" + "x,a\n" * 5_000)) == 100


@pytest.mark.parametrize(
    "text", ["", "\n# only a remark\n", "49,a\n", "zone,prefix\na,49\n", "network,zone\n"]
)
def test_a_table_without_its_header_is_refused(text: str) -> None:
    (told,) = prefix_faults(text)
    assert "the first line is prefix,zone" in told


def test_a_prefix_that_longer_ones_take_over_wholly_is_refused() -> None:
    ten = "".join(f"49{digit},b\n" for digit in range(10))
    (told,) = prefix_faults(f"prefix,zone\n49,a\n{ten}")
    assert told.startswith("p.csv:2: 49 is never reached")
    nine = ten.replace("490,b\n", "")
    assert len(read_prefixes(f"prefix,zone\n49,a\n{nine}", "p.csv", ZONES)) == 10


def test_a_prefix_is_never_reached_either_when_its_continuations_are_taken_by_still_longer_ones() -> None:
    ten = "".join(f"49{digit},b\n" for digit in range(1, 10))
    longer = "".join(f"490{digit},c\n" for digit in range(10))
    (told,) = prefix_faults(f"prefix,zone\n49,a\n{ten}{longer}")
    assert "49 is never reached" in told


def test_a_network_decides_before_its_country() -> None:
    table = read_networks("network,zone\n262,a\n26201,b\n310260,c\n", "n.csv", ZONES)
    told = [table.zone_of(each) for each in ("26201", "26202", "262010", "310260", "31026", "901")]
    assert told == ["b", "a", "a", "c", None, None]


@pytest.mark.parametrize("network", ["26", "2620", "2620101", "26x", "", "+262"])
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(DocumentFault, match=r"n.csv:2: .* is no network"):
        read_networks(f"network,zone\n{network},a\n", "n.csv", ZONES)
