import pytest

from ocs.names import (
    E164,
    IMSI,
    OTHER,
    SubscriberId,
    e164,
    imsi,
    service_family,
    service_key,
    subscriber_id,
    uri,
)

NUMBER = SubscriberId(E164, "491700000001")


@pytest.mark.parametrize("text", ["491700000001", "+491700000001", "00491700000001", " +491700000001 "])
def test_every_spelling_of_a_number_is_one(text: str) -> None:
    assert e164(text) == NUMBER


@pytest.mark.parametrize("text", ["", "+", "12", "1234567890123456", "49a70", "++4917", "49 170"])
def test_what_is_no_number_is_no_guess(text: str) -> None:
    assert e164(text) is None


def test_an_imsi_is_not_a_number() -> None:
    assert imsi("262010000000001") == SubscriberId(IMSI, "262010000000001")
    assert imsi("+262010000000001") is None


@pytest.mark.parametrize(
    "text",
    [
        "sip:+491700000001@example.org",
        "tel:+491700000001",
        "sips:491700000001@x",
        "SIP:+491700000001;user=phone@x",
    ],
)
def test_a_uri_whose_user_is_a_number_is_that_number(text: str) -> None:
    assert uri(text) == NUMBER


@pytest.mark.parametrize(
    ("text", "value"),
    [("sip:Ann@Example.org", "ann@example.org"), ("x4917@example.org", "x4917@example.org")],
)
def test_any_other_uri_is_itself_in_lower_case(text: str, value: str) -> None:
    assert uri(text) == SubscriberId(OTHER, value)


@pytest.mark.parametrize("text", ["", "sip:", "a b", "x" * 129, "é@example.org"])
def test_what_is_no_uri_is_none(text: str) -> None:
    assert uri(text) is None


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (0, "+491700000001", NUMBER),
        (0, "sip:+491700000001@example.org", NUMBER),
        (1, "262010000000001", SubscriberId(IMSI, "262010000000001")),
        (1, "ann@example.org", None),
        (2, "sip:491700000001@example.org", NUMBER),
        (3, "Ann@Example.org", SubscriberId(OTHER, "ann@example.org")),
        (4, "private-7", SubscriberId(OTHER, "private-7")),
    ],
)
def test_a_subscription_id_is_read_by_its_type(kind: int, text: str, expected: SubscriberId | None) -> None:
    assert subscriber_id(kind, text) == expected


def test_the_index_keys_of_a_number_and_an_imsi_of_the_same_digits_differ() -> None:
    assert SubscriberId(E164, "262010000000001").key != SubscriberId(IMSI, "262010000000001").key


@pytest.mark.parametrize(
    ("context", "family"),
    [
        ("32251@3gpp.org", "data"),
        ("ext.01.001.8.32260@3gpp.org", "voice"),
        ("8.32274@3gpp.org", "sms"),
        ("32270@3gpp.org", "mms"),
        ("32299@3gpp.org", None),
        ("32251@3gpp.org.example", None),
        ("32251@example.org", None),
        ("", None),
    ],
)
def test_the_tail_of_a_context_decides_the_service(context: str, family: str | None) -> None:
    assert service_family(context) == family


@pytest.mark.parametrize(
    ("group", "identifier", "key"),
    [(10, None, "10"), (10, 5, "10/5"), (None, 5, "/5"), (None, None, ""), (0, 0, "0/0")],
)
def test_a_service_has_one_short_name(group: int | None, identifier: int | None, key: str) -> None:
    assert service_key(group, identifier) == key


def test_several_identifiers_are_one_service_in_whatever_order_they_come() -> None:
    assert service_key(10, 7, 5) == service_key(10, 5, 7) == "10/5+7"
