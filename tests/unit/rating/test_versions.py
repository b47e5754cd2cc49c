import pytest

from ocs.rating.tariff import Tariff, TariffError, read_tariff
from ocs.rating.versions import Tariffs

TEXT = """
tariff: t
version: {version}
currency: EUR
{more}
services:
  sms: {{unit: events, steps: [{{block: 1, price: "0.09", per: 1}}]}}
"""
FIRST_OF_DECEMBER_MS = 1_796_079_600_000
"""2026-12-01T00:00:00+01:00."""


def tariff(version: int, more: str = "") -> Tariff:
    return read_tariff(TEXT.format(version=version, more=more), "t.yaml")


def fault(more: str) -> str:
    with pytest.raises(TariffError) as told:
        tariff(1, more)
    (problem,) = told.value.problems
    return problem


def test_a_tariff_without_an_instant_counts_from_always() -> None:
    assert tariff(1).effective_ms == 0


@pytest.mark.parametrize(
    "text", ["2026-12-01T00:00:00+01:00", '"2026-11-30T23:00:00Z"', "2026-11-30 23:00:00Z"]
)
def test_an_instant_is_read_quoted_or_not(text: str) -> None:
    assert tariff(1, f"effective: {text}").effective_ms == FIRST_OF_DECEMBER_MS


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026-12-01T00:00:00", "distance from UTC"),
        ("2026-12-01", "distance from UTC"),
        ("tomorrow", "is no instant"),
        ("7", "is no instant"),
        ("2101-01-01T00:00:00Z", "outside the years 1970 to 2099"),
    ],
)
def test_an_instant_that_is_none_is_refused_with_its_line(text: str, why: str) -> None:
    told = fault(f"effective: {text}")
    assert told.startswith("t.yaml:5: effective: ")
    assert why in told


def test_running_sessions_keep_their_version_unless_the_next_one_takes_them_along() -> None:
    assert not tariff(1).takes_along
    assert not tariff(1, "running_sessions: keep").takes_along
    assert tariff(1, "running_sessions: switch").takes_along
    assert "'keep' or 'switch'" in fault("running_sessions: end")


def test_sessions_go_on_with_the_highest_version_that_takes_them_along_and_counts() -> None:
    first, second, third, fourth = (
        tariff(1),
        tariff(2, "running_sessions: switch\neffective: 2026-12-01T00:00:00+01:00"),
        tariff(3, "effective: 2026-12-01T00:00:00+01:00"),
        tariff(4, "running_sessions: switch\neffective: 2026-12-02T00:00:00+01:00"),
    )
    known = Tariffs({each.key: each for each in (third, first, fourth, second)})
    instants = (FIRST_OF_DECEMBER_MS - 1, FIRST_OF_DECEMBER_MS, FIRST_OF_DECEMBER_MS + 86_400_000)
    assert [known.next_of(first, at_ms) for at_ms in instants] == [None, second, fourth]
    assert [known.next_of(third, at_ms) for at_ms in instants] == [None, None, fourth]
    assert known.next_of(fourth, instants[-1]) is None
    assert [known.taken_ms(first, at_ms) for at_ms in instants] == [instants[1], instants[2], None]
    assert known.taken_ms(second, 0) == instants[2]
    assert known.taking == {"t"}
    assert Tariffs({"t@1": first, "t@3": third}).taking == frozenset()


def test_new_sessions_get_the_highest_version_whose_instant_is_reached() -> None:
    first, second, third = (
        tariff(1),
        tariff(2, "effective: 2026-12-01T00:00:00+01:00"),
        tariff(3, "effective: 2026-12-02T00:00:00+01:00"),
    )
    known = Tariffs({each.key: each for each in (third, first, second)})
    assert [
        found.version if (found := known.newest("t", at_ms)) is not None else None
        for at_ms in (
            0,
            FIRST_OF_DECEMBER_MS - 1,
            FIRST_OF_DECEMBER_MS,
            FIRST_OF_DECEMBER_MS + 86_399_999,
            FIRST_OF_DECEMBER_MS + 86_400_000,
        )
    ] == [1, 1, 2, 2, 3]
    assert known.newest("other", 0) is None
    assert Tariffs({"t@2": second}).newest("t", FIRST_OF_DECEMBER_MS - 1) is None


def test_every_version_stays_known_to_its_sessions() -> None:
    known = Tariffs({"t@1": tariff(1)})
    known.add([tariff(2)])
    assert [each.key for each in known.versions("t")] == ["t@2", "t@1"]
    assert known.of_session("t@1") is not None
    assert known.of_session("t@3") is None
    assert len(known) == 2


def test_a_version_never_changes_once_it_is_known() -> None:
    first, other = tariff(1), tariff(1, "description: another")
    known = Tariffs({"t@1": first})
    known.add([other])
    assert known.of_session("t@1") is first
    assert known.newest("t", 0) is first


def test_what_is_not_found_is_sought_nowhere() -> None:
    assert Tariffs({}).seek(None, print) is False
