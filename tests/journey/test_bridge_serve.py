"""The bridge as its operator has it: a process beside a real charging server, on both databases."""

import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from ocs.care.customers.tables import billing_accounts, customers, parties, services
from ocs.sql import engine_of, migrations, writing
from postpaid_bridge.journal import Entry, Ledger, posting
from postpaid_bridge.sql.journal import outbox, post
from tests.certificates import Authority
from tests.databases import KINDS, database_url
from tests.real_bridge import RealBridge
from tests.real_ocs import RealOcs

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]  # real processes, on a machine that may be busy

MSISDN = "491700000001"
PARTIES = "/tmf-api/party/v4/individual"
LONG_AGO = date(2026, 1, 1)


@pytest.fixture(scope="module")
def ocs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOcs]:
    """A charging server with a postpaid account."""
    with RealOcs(tmp_path_factory.mktemp("ocs")) as server:
        server.ocs(
            "subscriber",
            "create",
            MSISDN,
            "--tariff",
            "flat-data",
            "--kind",
            "postpaid",
            "--credit-floor",
            "-50.00",
        )
        yield server


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path, _databases: None) -> Iterator[str]:
    with database_url(request.param, tmp_path, empty=True) as url:
        yield url


@pytest.fixture
def bridge(ocs: RealOcs, empty_url: str) -> RealBridge:
    found = RealBridge(ocs.folder, empty_url)
    assert found("database", "upgrade").code == 0
    return found


def key(ocs: RealOcs, *scopes: str) -> dict[str, str]:
    words = [word for scope in scopes for word in ("--scope", scope)]
    made = ocs.ocs("keys", "create", "--name", "test", *words)
    return {"Authorization": f"Bearer {made['key']}"}


def sold(url: str, book: str) -> int:
    """A customer who has the account as a service; the billing account."""
    engine = engine_of(url)
    with writing(engine) as work:

        def new(table: Any, **values: Any) -> int:
            made = work.execute(table.insert().values(**values)).inserted_primary_key
            assert made
            return int(made[0])

        party = new(parties, kind="person", family_name="Doe", since_ms=0)
        customer = new(customers, number="C1", party=party, kind="consumer", since_ms=0)
        account = new(billing_accounts, number="B1", customer=customer, party=party, since=LONG_AGO)
        new(
            services, billing_account=account, party=party, kind="mobile", mode="postpaid", number="491700000009", book=book, subscriber=book,
            plan="mobile-m", since=LONG_AGO,
        )  # fmt: skip
    engine.dispose()
    return account


def eventually(found: Callable[[], bool]) -> None:
    for _ in range(100):
        if found():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


def test_a_database_that_is_not_at_head_is_refused_with_the_command_that_helps(
    ocs: RealOcs, empty_url: str
) -> None:
    bridge = RealBridge(ocs.folder, empty_url)
    for words in (("serve", "--http-port", "0"), ("outbox", "list"), ("reconcile",), ("trial-balance",)):
        said = bridge(*words)
        assert said.code == 1, said
        assert "run: python -m postpaid_bridge database upgrade" in said.remarks
        assert "Traceback" not in said.remarks
    assert bridge("database", "show", "--json").json == {"revision": None, "needed": migrations.head()}
    assert bridge("database", "upgrade", "--json").json == {"before": None, "after": migrations.head()}
    assert bridge("outbox", "list").code == 0


def test_it_serves_keys_of_the_charging_server_and_nobody_else(ocs: RealOcs, bridge: RealBridge) -> None:
    with bridge:
        eventually(lambda: httpx.get(bridge.url("/health/ready")).status_code == 200)
        assert httpx.get(bridge.url("/health/live")).json() == {"status": "alive"}
        assert httpx.get(bridge.url("/health/ready")).json()["checks"] == {"database": True, "store": True}
        assert httpx.get(bridge.url(PARTIES)).status_code == 401
        wrong = {"Authorization": "Bearer ocs_000000000000_wrong"}
        assert httpx.get(bridge.url(PARTIES), headers=wrong).status_code == 401
        other = httpx.get(bridge.url(PARTIES), headers=key(ocs, "balance:read"))
        assert (other.status_code, "care:read" in other.text) == (403, True)
        assert httpx.get(bridge.url(PARTIES), headers=key(ocs, "care:read")).json() == []
        metrics = httpx.get(bridge.url("/metrics")).text
        for name in (
            "bridge_outbox_waiting",
            "bridge_outbox_oldest_seconds",
            "bridge_intake_lag_milliseconds",
        ):
            assert f"\n{name} " in metrics
        said = bridge("serve", "--http-port", str(bridge.port))
        assert (said.code, "cannot listen" in said.remarks) == (2, True)
    assert bridge.troubles() == []


def test_what_is_posted_reaches_the_account_by_itself_and_books_agree(
    ocs: RealOcs, bridge: RealBridge, empty_url: str
) -> None:
    msisdn = "491700000002" if empty_url.startswith("sqlite") else "491700000003"
    made = ocs.ocs(
        "subscriber",
        "create",
        msisdn,
        "--tariff",
        "flat-data",
        "--kind",
        "postpaid",
        "--credit-floor",
        "-50.00",
    )
    book = made["account"]
    account = sold(empty_url, book)
    engine = engine_of(empty_url)
    rent = posting(Ledger.UNBILLED, Ledger.REVENUE, 60_000_000, book, "rent", "standard")
    with bridge:
        with writing(engine) as work:
            post(work, [Entry("rent:1", "rent", account, date(2026, 11, 1), 1, rent)])
        eventually(lambda: ocs.balance(msisdn)[0] == "-60.00")
        paid = posting(Ledger.CASH, Ledger.RECEIVABLE, 25_000_000, book)
        with writing(engine) as work:
            post(work, [Entry("payment:1", "payment", account, date(2026, 11, 2), 1, paid)])
        eventually(lambda: ocs.balance(msisdn)[0] == "-35.00")
        reconciled = bridge("reconcile", "--json")
        assert (reconciled.code, reconciled.json["accounts"]) == (0, 1), reconciled
        with writing(engine) as work:
            post(work, [Entry("rent:2", "rent", account, date(2026, 11, 3), 1, rent)])
            work.execute(outbox.delete().where(outbox.c.done_ms.is_(None)))
    wrong = bridge("reconcile", "--json")
    assert wrong.code == 1
    (found,) = wrong.json["differences"]
    assert (found["account"], found["difference"], found["reason"]) == (book, "60.00", "lost outbox row")
    balance = bridge("trial-balance", "--to", "2026-11-01", "--json").json
    assert (balance["debit"], balance["credit"], balance["even"]) == ("60.00", "60.00", True)
    assert [each["ledger"] for each in balance["accounts"]] == ["unbilled", "revenue"]
    exported = bridge("journal", "export", "--from", "2026-11-01", "--to", "2026-11-30").out.splitlines()
    assert len(exported) == 4
    assert exported[2].split(",")[1:4] == ["payment:1", "payment", "2026-11-02"]
    engine.dispose()


def test_sigterm_ends_it_in_order_while_it_works(bridge: RealBridge) -> None:
    for _ in range(3):
        with bridge:
            pass
    assert bridge.troubles() == []


def test_settings_that_are_wrong_end_with_file_key_and_what_would_be_right(
    ocs: RealOcs, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[http]\nprot = 1\nhost = "0.0.0.0"\n[operator]\nzone = "Mars"\n')
    said = RealBridge(ocs.folder, f"sqlite:///{tmp_path / 'x.sqlite'}", "--config", str(file))("serve")
    assert said.code == 2
    assert f"{file}: http.prot: unknown key; did you mean port?" in said.remarks
    assert f"{file}: operator.zone: 'Mars' is no time zone; write one of the tz database" in said.remarks
    assert "Traceback" not in said.remarks


def test_beyond_loopback_it_serves_over_tls_or_not_at_all(ocs: RealOcs, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    said = RealBridge(ocs.folder, url, BRIDGE_HTTP__HOST="0.0.0.0")("serve")
    assert (said.code, "http.tls.certificate" in said.remarks) == (2, True)
    authority = Authority(tmp_path)
    pair = authority.pair("localhost", host=True)
    files = {"BRIDGE_HTTP__TLS__CERTIFICATE": str(pair.certificate), "BRIDGE_HTTP__TLS__KEY": str(pair.key)}
    bridge = RealBridge(ocs.folder, url, **files)
    assert bridge("database", "upgrade").code == 0
    with bridge:
        found = httpx.get(f"https://localhost:{bridge.port}/health/live", verify=str(authority.certificate))
        assert found.json() == {"status": "alive"}
