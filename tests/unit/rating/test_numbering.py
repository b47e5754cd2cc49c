import pytest

from ocs.rating.document import DocumentFault
from ocs.rating.numbering import EMERGENCY, Destination, Numbering, read_numbering
from ocs.rating.numbers import Party

PLAN = """
numbering: sample
country_code: "49"
trunk_prefix: "0"
zones: [fixed, mobile, far]
prefixes: p.csv
short_codes: {"115": fixed}
emergency: ["110", "112"]
roaming_zones: [home, eu]
networks: n.csv
"""
TABLES = {
    "p.csv": "prefix,zone\n49,fixed\n4915,mobile\n4917,mobile\n1,far\n",
    "n.csv": "network,zone\n262,home\n208,eu\n",
}


def faults(text: str, tables: dict[str, str] = TABLES) -> list[str]:
    with pytest.raises(DocumentFault) as told:
        read_numbering(text, "plan.yaml", tables)
    return told.value.problems


@pytest.fixture
def plan() -> Numbering:
    return read_numbering(PLAN, "plan.yaml", TABLES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0171 1234567", Destination(Party.NATIONAL, "491711234567", "mobile")),
        ("sip:+493012345@x", Destination(Party.NATIONAL, "493012345", "fixed")),
        ("0012125550123", Destination(Party.INTERNATIONAL, "12125550123", "far")),
        ("+4312345678", Destination(Party.INTERNATIONAL, "4312345678", None)),
        ("115", Destination(Party.SHORT, "115", "fixed")),
        ("112", Destination(Party.EMERGENCY, "112", EMERGENCY)),
        ("bob", Destination(Party.UNKNOWN, "", None)),
    ],
)
def test_a_called_number_has_its_zone(plan: Numbering, text: str, told: Destination) -> None:
    assert plan.destination(text) == told


def test_a_visited_network_has_its_zone(plan: Numbering) -> None:
    assert [plan.roaming_zone(each) for each in ("26201", "20810", "310260")] == ["home", "eu", None]


@pytest.mark.parametrize(
    ("before", "after", "line", "what"),
    [
        ('"115": fixed', '"115": nowhere', 7, "'nowhere' is no zone"),
        ('"115": fixed', '"112": fixed', 7, "is an emergency number"),
        ("roaming_zones:", "help_lines: [nowhere]\nroaming_zones:", 9, "'nowhere' is no zone"),
        ('"115": fixed', '"115": fixed, "115": far', 7, "'115' stands twice"),
        ("[fixed, mobile, far]", "[fixed, mobile, far, far]", 5, "zone far stands twice"),
        ("[fixed, mobile, far]", "[fixed, mobile, far, emergency]", 5, "the zone of emergency calls already"),
        ("prefixes: p.csv", "prefixes: q.csv", 6, "no file 'q.csv' beside the plan; there are n.csv, p.csv"),
        ('trunk_prefix: "0"', 'trunk_prefix: "00"', 4, "are one"),
        ('country_code: "49"', "country_code: 49", 3, "string"),
        ('country_code: "49"', 'country_code: "049"', 3, "pattern"),
        ("networks: n.csv", "", 9, "zones without networks"),
        ("networks: n.csv", "network: n.csv", 10, "Extra inputs"),
    ],
)
def test_a_fault_of_a_plan_is_told_with_its_line(before: str, after: str, line: int, what: str) -> None:
    assert PLAN.count(before) == 1
    (told,) = faults(PLAN.replace(before, after))
    assert told.startswith(f"plan.yaml:{line}: "), told
    assert what in told


def test_faults_of_plan_and_tables_are_told_at_once() -> None:
    told = faults(
        PLAN.replace('"115": fixed', '"115": nowhere'), {"p.csv": "prefix,zone\n49,x\n", "n.csv": ""}
    )
    assert [each.partition(":")[0] for each in told] == ["plan.yaml", "p.csv", "n.csv"]
