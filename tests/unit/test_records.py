"""Records as they are read: of every age, and none that is not one."""

from typing import Any

import pytest

from ocs.records import VERSION, Charge, Kind, Line, RecordError, Taken, read

HEAD = ["a1", 7, 1000, 1000, "s;1", 1, 0, 14, 0, "t@1", 100, 3, 0, 1, "", "", 3, 0, 0]
LINE = ["10", 1, 14, 5, 0, 5, 3, 3, 0, 0, "2:", 3, 0]
TAKEN = [1, 0, 2, 9, 1000, 3, 8]


def charge(*more: Any, lines: int = 1) -> Charge:
    found = read([VERSION, int(Kind.CHARGE), *HEAD, lines, *LINE * lines, *more])
    assert isinstance(found, Charge)
    return found


def test_a_charge_of_an_older_release_has_no_correlation() -> None:
    one = charge()
    assert (one.correlation, one.lines, one.parts) == ("", (Line._make(LINE),), ())
    assert charge(*TAKEN, lines=2).parts == (Taken._make(TAKEN),)


@pytest.mark.parametrize("parts", [0, 1, 2])
def test_a_correlation_stands_behind_all_else(parts: int) -> None:
    one = charge(*TAKEN * parts, "icid-1")
    assert (one.correlation, one.parts) == ("icid-1", (Taken._make(TAKEN),) * parts)


@pytest.mark.parametrize("more", [[5], ["a", "b"], TAKEN[:3], [*TAKEN, 5], [*TAKEN, "a", "b"]])
def test_what_is_no_correlation_is_no_charge(more: list[Any]) -> None:
    with pytest.raises(RecordError, match="a charge with"):
        charge(*more)
