"""What goes with a grant, as octets, and what is wrong with what is written about it."""

from pathlib import Path

import pytest

from ocs.charging import quota
from ocs.charging.ask import UPDATE, AskedService, Units, ask
from ocs.charging.quota_text import QuotaText, threshold
from ocs.diameter.writers import encode_avps
from ocs.settings import SettingsFault, load
from ocs.units import Unit
from tests.unit.charging.ccr import ccr, octets, service, services


def extras(family: str, **text: object) -> quota.Extras:
    """Return what goes with the grants of a family."""
    return quota.extras(QuotaText.model_validate({family: text}))[family][None]


def test_nothing_written_is_nothing_at_all() -> None:
    assert quota.extras(QuotaText()) == {}
    assert quota.sizes(QuotaText(), (10, 20, 30), 40) == {}


def test_a_threshold_is_never_above_the_grant_nor_above_what_32_bits_hold() -> None:
    in_units = extras("data", threshold="1000")
    assert in_units(Unit.OCTETS, 5_000, None, final=False) == encode_avps({"Volume-Quota-Threshold": 1_000})
    assert in_units(Unit.OCTETS, 999, None, final=False) == encode_avps({"Volume-Quota-Threshold": 999})
    share = extras("data", threshold="50%")
    assert share(Unit.OCTETS, 1 << 40, None, final=False) == encode_avps(
        {"Volume-Quota-Threshold": (1 << 32) - 1}
    )
    assert share(Unit.OCTETS, 5, None, final=False) == encode_avps({"Volume-Quota-Threshold": 2})


def test_a_threshold_in_units_is_of_the_familys_own_unit_alone() -> None:
    in_units = extras("data", threshold="1000", consumption_s=3)
    assert in_units(Unit.SECONDS, 5_000, None, final=False) == encode_avps({"Quota-Consumption-Time": 3})
    assert in_units(Unit.EVENTS, 5_000, None, final=False) == b""
    share = extras("data", threshold="10%")
    assert share(Unit.SECONDS, 60, None, final=False) == encode_avps({"Time-Quota-Threshold": 6})


@pytest.mark.parametrize(
    ("unit", "name"), [(Unit.OCTETS, "Volume"), (Unit.SECONDS, "Time"), (Unit.EVENTS, "Unit")]
)
def test_every_unit_has_its_threshold(unit: Unit, name: str) -> None:
    encoded = extras("mms", threshold="50%", holding_s=9)(unit, 10, None, final=False)
    assert encoded == encode_avps({f"{name}-Quota-Threshold": 5, "Quota-Holding-Time": 9})


def test_every_avp_of_3gpp_has_the_m_bit_and_the_vendor() -> None:
    encoded = extras("voice", threshold="50%", holding_s=9, consumption_s=8)(
        Unit.SECONDS, 10, None, final=False
    )
    assert [encoded[at + 4] for at in (0, 16, 32)] == [0xC0] * 3
    assert [int.from_bytes(encoded[at : at + 4]) for at in (0, 16, 32)] == [868, 871, 881]


def test_a_rating_group_says_only_what_differs() -> None:
    text = QuotaText.model_validate(
        {"data": {"most": 50, "rating_groups": [{"rating_group": 7, "grant": 5}]}}
    )
    own = quota.sizes(text, (10, 20, 30), 40)["data"]
    assert own[7] == quota.Sizes((5, 20, 30), (50, 20, 30), 40)
    assert own[8] == own[None] == quota.Sizes((10, 20, 30), (50, 20, 30), 40)


def test_a_smaller_most_makes_the_usual_grant_smaller() -> None:
    own = quota.sizes(QuotaText.model_validate({"voice": {"most": 5}}), (10, 20, 30), 40)["voice"]
    assert own[None] == quota.Sizes((10, 5, 30), (10, 5, 30), 40)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[charging.quota.data]\nthreshold = "120%"\nholding_s = -2\n[charging.quota.voice]\nrating_groups = '
        "[{ rating_group = 1 }, { rating_group = 1 }]\n[charging.quota.sms]\ngrnt = 1\n"
    )
    with pytest.raises(SettingsFault) as raised:
        load(file)
    found = {problem.key: problem for problem in raised.value.problems}
    assert set(found) == {
        "charging.quota.data.threshold",
        "charging.quota.data.holding_s",
        "charging.quota.voice",
        "charging.quota.sms.grnt",
    }
    assert found["charging.quota.sms.grnt"].right == "did you mean grant?"
    assert "rating group 1 stands there twice" in found["charging.quota.voice"].wrong
    assert '"20%"' in found["charging.quota.data.threshold"].right


def test_a_grant_above_the_most_is_refused_also_in_a_rating_group(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        "[charging.quota.data]\ngrant = 20000000\nrating_groups = [{ rating_group = 5, most = 10 }]\n"
    )
    with pytest.raises(SettingsFault) as raised:
        load(file)
    (problem,) = raised.value.problems
    assert "quota.data: grant is 20000000, above the most, 10485760" in problem.wrong
    assert "quota.data, rating group 5: grant is 20000000, above the most, 10" in problem.wrong


def test_adapting_without_room_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[charging.quota.data]\nadapt_s = 60\n[charging.quota.voice]\nadapt_s = 60\nmost = 61\n")
    with pytest.raises(SettingsFault) as raised:
        load(file)
    (problem,) = raised.value.problems
    assert problem.wrong == "quota.data: adapt_s has no room between grant and the most, 10485760"


def test_the_store_is_told_to_adapt_only_where_the_server_chooses() -> None:
    own = quota.sizes(
        QuotaText.model_validate({"data": {"adapt_s": 60, "grant": 5, "most": 50, "share": 10}}),
        (10, 20, 30),
        40,
    )["data"]
    asked = [
        AskedService("", None, None, None, wanted)
        for wanted in (None, Units(), Units(octets=0), Units(octets=3), Units(seconds=3))
    ]
    told = quota.limits(own, tuple(asked), [Unit.OCTETS] * 5, {}, tells_balance=False)
    assert told[0] == 0
    assert told[2::5] == [0, 60, 60, 0, 60]
    assert set(told[3::5]) == {50}
    assert set(told[4::5]) == {10}
    assert set(told[5::5]) == {0}


@pytest.mark.parametrize("text", ["0", "0%", "100%", "-5", "1.5%", "ten", "4294967296"])
def test_what_is_no_threshold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no threshold"):
        threshold(text)


@pytest.mark.parametrize("reason", [*range(10), 10, 99, -1])
def test_no_reporting_reason_is_an_error_and_only_final_ends(reason: int) -> None:
    asked = ask(ccr(UPDATE, 1, **services(service(requested={}, used=octets(5), Reporting_Reason=[reason]))))
    assert asked.services[0].used == Units(octets=5)
    assert asked.services[0].wanted == (None if reason == 2 else Units())
    inside = ask(
        ccr(UPDATE, 1, **services(service(requested={}, used=octets(5) | {"Reporting-Reason": reason})))
    )
    assert inside.services == asked.services


@pytest.mark.parametrize(("load", "adapt_s"), [(0, 60), (10, 78), (50, 150), (100, 240)])
def test_a_full_worker_lets_grants_last_longer(load: int, adapt_s: int) -> None:
    own = quota.sizes(QuotaText.model_validate({"data": {"adapt_s": 60, "most": 50}}), (10, 20, 30), 40)[
        "data"
    ]
    asked = (AskedService("", None, None, None, Units()),)

    told = quota.limits(own, asked, [Unit.OCTETS], {}, tells_balance=False, load=load)

    assert told[2] == adapt_s


def test_no_load_lets_a_grant_last_longer_than_the_library_can_reckon() -> None:
    own = quota.sizes(QuotaText.model_validate({"data": {"adapt_s": 3_600, "most": 50}}), (10, 20, 30), 40)[
        "data"
    ]
    asked = (AskedService("", None, None, None, Units()),)

    assert quota.limits(own, asked, [Unit.OCTETS], {}, tells_balance=False, load=100)[2] == 3_600
