import pytest

from ocs.balance.addresses import Address, AddressFault, Endpoint, Scheme, Secret, Tls, parse


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("embedded:", Address(Scheme.EMBEDDED)),
        ("redis://store", Address(Scheme.SERVER, (Endpoint("store", 6379),))),
        (
            "redis://ann:p%40ss@store:7000/2",
            Address(
                Scheme.SERVER, (Endpoint("store", 7000),), user="ann", password=Secret("p@ss"), database=2
            ),
        ),
        (
            "redis://:secret@[::1]:7000",
            Address(Scheme.SERVER, (Endpoint("::1", 7000),), password=Secret("secret")),
        ),
        ("rediss://store?ca=ca.pem", Address(Scheme.SERVER, (Endpoint("store", 6379),), tls=Tls("ca.pem"))),
        ("unix:///run/s.sock", Address(Scheme.SERVER, (Endpoint(path="/run/s.sock"),))),
        (
            "sentinel://a,b:5000/mymaster",
            Address(Scheme.SENTINEL, (Endpoint("a", 26379), Endpoint("b", 5000)), "mymaster"),
        ),
        (
            "cluster://a:1,b:2?tls=on",
            Address(Scheme.CLUSTER, (Endpoint("a", 1), Endpoint("b", 2)), tls=Tls()),
        ),
    ],
)
def test_an_address_is_read(url: str, expected: Address) -> None:
    assert parse(url, {}) == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "use one of embedded:"),
        ("http://store", "use one of embedded:"),
        ("embedded:folder", "--data-dir"),
        ("redis://", "host is missing"),
        ("redis://store:70000", "1 to 65535"),
        ("redis://store:-1", "1 to 65535"),
        ("redis://store/zero", "database is a number"),
        ("redis://a,b", "sentinel:// or cluster://"),
        ("redis://::1:6379", "brackets"),
        ("redis://[::1", "IPv6"),
        ("unix://relative", "unix:///absolute"),
        ("sentinel://a", "name is missing"),
        ("cluster://a/1", "no database"),
        ("redis://a?ca=ca.pem", "use rediss://"),
        ("redis://a?colour=red", "'colour' is not known"),
        ("redis://a?tls=maybe", "on or off"),
    ],
)
def test_a_wrong_address_is_told_what_would_be_right(url: str, says: str) -> None:
    with pytest.raises(AddressFault) as fault:
        parse(url, {})
    assert says in str(fault.value)


def test_a_password_comes_from_the_environment_and_the_url_goes_first() -> None:
    environment = {"OCS_STORE__PASSWORD": "quiet"}
    assert parse("redis://store", environment).password.reveal() == "quiet"
    assert parse("redis://:loud@store", environment).password.reveal() == "loud"


@pytest.mark.parametrize("url", ["redis://:hush@store", "sentinel://ann:hush@a/m"])
def test_a_password_never_shows(url: str) -> None:
    address = parse(url, {})
    assert "hush" not in f"{address!r} {address} {address.name} {address.password}"


@pytest.mark.parametrize(
    "url", ["redis://ann:hush@store:x", "redis://ann:hush@[::1", "http://ann:hush@store"]
)
def test_a_password_never_shows_in_a_fault(url: str) -> None:
    with pytest.raises(AddressFault) as fault:
        parse(url, {})
    assert "hush" not in repr(fault.value)
