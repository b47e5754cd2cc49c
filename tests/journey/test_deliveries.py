"""Documents and deliveries by command, as their operator has them, with a real mail server; on both databases."""

from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from ocs.sql import engine_of
from tests.databases import KINDS, database_url
from tests.document_scene import SELLER, SENDER, mail_server, published, text_of
from tests.real_bridge import RealBridge

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]  # real processes, on a machine that may be busy


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path, _databases: None) -> Iterator[str]:
    with database_url(request.param, tmp_path, empty=True) as found:
        yield found


def test_documents_are_made_sent_listed_sent_anew_and_fetched_by_command(url: str, tmp_path: Path) -> None:
    seller = {f"BRIDGE_SELLER__{name.upper()}": value for name, value in SELLER._asdict().items() if value}
    with mail_server() as (inbox, mail):
        post = {
            "BRIDGE_MAIL__HOST": mail.host,
            "BRIDGE_MAIL__PORT": str(mail.port),
            "BRIDGE_MAIL__TLS": "none",
            "BRIDGE_MAIL__SENDER": SENDER,
        }
        bridge = RealBridge(tmp_path, url, **seller, **post)
        assert bridge("database", "upgrade").code == 0
        engine = engine_of(url)
        accounts = published(engine)
        nobody = RealBridge(tmp_path, url)
        assert nobody("deliveries", "make", "--json").json == {
            "queued": len(accounts),
            "made": 0,
            "parked": 0,
        }
        said = nobody("deliveries", "list", "--json")
        assert said.code == 1
        assert {row["state"] for row in said.json["rows"]} == {"parked"}
        assert "UStG" in said.json["rows"][0]["why"]
        for row in said.json["rows"]:
            assert bridge("deliveries", "again", str(row["document"])).code == 0
        made = bridge("deliveries", "make", "--json")
        assert made.json == {"queued": len(accounts), "made": len(accounts), "parked": 0}, made
        inbox.refused = {"payer0@example.org"}
        sent = bridge("deliveries", "send", "--json")
        assert (sent.code, sent.json) == (1, {"sent": len(accounts) - 1, "waiting": 0, "failed": 1})
        [row] = bridge("deliveries", "list", "--json").json["rows"]
        assert (row["state"], row["why"]) == ("failed", "the mail server refused the recipient")
        assert bridge("deliveries", "resend", row["number"], "--to", "nobody").code == 2
        assert bridge("deliveries", "resend", "none", "--to", "new@example.org").code == 4
        assert bridge("deliveries", "resend", row["number"], "--to", "new@example.org").code == 0
        assert bridge("deliveries", "resend", row["number"], "--to", "new@example.org").code == 3
        assert bridge("deliveries", "send", "--json").json["sent"] == 1
        said = bridge("deliveries", "list", "--state", "sent")
        assert said.out.count("sent") >= len(accounts)
        assert "@" not in said.out, "no address is shown"
    [to], content = inbox.mails[-1]
    assert to == "new@example.org"
    for each in (tmp_path / "documents").rglob(f"{row['number']}.pdf"):
        each.unlink()
    assert bridge("deliveries", "fetch", row["number"], str(tmp_path / "bill.pdf")).code == 0
    fetched = (tmp_path / "bill.pdf").read_bytes()
    [attached] = message_from_bytes(content, policy=default).iter_attachments()
    assert attached.get_content() == fetched
    assert row["number"] in text_of(fetched)
    engine.dispose()
