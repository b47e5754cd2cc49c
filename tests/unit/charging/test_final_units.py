"""What is said with the last units, as python-diameter reads it, and what does not go together."""

from pathlib import Path
from typing import Any

import pytest
from diameter.message import Avp
from diameter.message.avp import AvpGrouped

from ocs.charging import quota
from ocs.charging.final_units import address_type
from ocs.charging.quota_text import QuotaText
from ocs.settings import SettingsFault, load


def said(**text: object) -> Any:
    """Return the one AVP of the last units as a tree of names and values."""
    octets = quota.extras(QuotaText.model_validate({"data": text}))["data"][None].last_units
    return tree(Avp.from_bytes(octets))


def tree(avp: Any) -> Any:
    """Return a name with a value, or with what is in it."""
    assert avp.is_mandatory == (avp.code not in {665, 666, 667, 668, 669})
    value = avp.value
    return (avp.name, [tree(each) for each in value] if isinstance(avp, AvpGrouped) else value)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("https://portal.example.org/a?b=c", 2),
        ("http://portal.example.org", 2),
        ("sip:announcement@example.org", 3),
        ("192.0.2.1", 0),
        ("2001:db8::1", 1),
    ],
)
def test_a_redirection_names_the_kind_of_its_address(address: str, kind: int) -> None:
    assert said(final_action="REDIRECT", redirect_to=address) == (
        "Final-Unit-Indication",
        [
            ("Final-Unit-Action", 1),
            ("Redirect-Server", [("Redirect-Address-Type", kind), ("Redirect-Server-Address", address)]),
        ],
    )


@pytest.mark.parametrize(
    ("address", "name", "value"),
    [
        ("https://portal.example.org", "Redirect-Address-URL", "https://portal.example.org"),
        ("sip:a@example.org", "Redirect-Address-SIP-URI", "sip:a@example.org"),
        ("192.0.2.1", "Redirect-Address-IPAddress", (1, "192.0.2.1")),
        ("2001:db8::1", "Redirect-Address-IPAddress", (2, "2001:db8::1")),
    ],
)
def test_the_extension_has_a_member_for_each_kind(address: str, name: str, value: object) -> None:
    assert said(final_action="REDIRECT", redirect_to=address, final_qos=True, filter_ids=["a"]) == (
        "QoS-Final-Unit-Indication",
        [
            ("Final-Unit-Action", 1),
            ("Filter-Id", "a"),
            ("Redirect-Server-Extension", [(name, value)]),
        ],
    )


def test_a_restriction_names_rules_and_filters() -> None:
    rules = ["permit in ip from any to 192.0.2.1 443", "permit out ip from 192.0.2.1 443 to any"]
    assert said(final_action="RESTRICT_ACCESS", filter_rules=rules, filter_ids=["free", "more"]) == (
        "Final-Unit-Indication",
        [
            ("Final-Unit-Action", 2),
            *[("Restriction-Filter-Rule", rule.encode()) for rule in rules],
            ("Filter-Id", "free"),
            ("Filter-Id", "more"),
        ],
    )


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('final_action = "REDIRECT"', "goes nowhere"),
        ('redirect_to = "https://x.example.org"', "redirect_to is nothing for final_action TERMINATE"),
        ('final_action = "RESTRICT_ACCESS"', "leaves nothing to reach"),
        ('filter_ids = ["a"]', "are nothing for final_action TERMINATE"),
        ("final_qos = true", "are nothing for final_action TERMINATE"),
        (
            'final_action = "RESTRICT_ACCESS"\nfinal_qos = true\nfilter_rules = ["permit in ip from any to any"]',
            "not of final_qos",
        ),
        (
            'rating_groups = [{ rating_group = 5, final_action = "REDIRECT" }]',
            "rating group 5: REDIRECT goes nowhere",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(text: str, wrong: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"[charging.quota.data]\n{text}\n")
    with pytest.raises(SettingsFault) as raised:
        load(file)
    (problem,) = raised.value.problems
    assert (problem.key, wrong in problem.wrong) == ("charging.quota.data", True), problem


@pytest.mark.parametrize(
    "text",
    [
        'final_action = "REDIRECT"\nredirect_to = "portal"',
        'final_action = "REDIRECT"\nredirect_to = "https://pörtal.example.org"',
        'final_action = "RESTRICT_ACCESS"\nfilter_rules = ["allow all"]',
        'final_action = "RESTRICT_ACCESS"\nfilter_ids = ["two words"]',
        'final_action = "STOP"',
    ],
)
def test_what_is_no_address_rule_or_name_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"[charging.quota.data]\n{text}\n")
    with pytest.raises(SettingsFault):
        load(file)


def test_what_is_no_address_says_what_would_be() -> None:
    with pytest.raises(ValueError, match="write a URL"):
        address_type("portal.example.org")
