"""Bills become documents once, are filed and mailed once, and what fails stays to be seen; on both databases."""

from __future__ import annotations

import asyncio
from datetime import date
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from ocs.care.customers.tables import addresses, billing_accounts
from ocs.notices.senders import Mail
from ocs.sql import reading, writing
from postpaid_bridge.documents.letter import Claim, LetterFacts, letter_frozen
from postpaid_bridge.documents.press import Press, PressFault
from postpaid_bridge.sql import deliveries
from postpaid_bridge.sql.bills import bills
from postpaid_bridge.sql.deliveries import New, documents
from postpaid_bridge.sql.document_facts import recipients
from tests.document_scene import SELLER, mail_server, postman, printer, published, rename, text_of
from tests.run_scene import NOW_MS, Ticking

HOUR_MS = 3_600_000


def states(engine: Engine) -> dict[tuple[str, str], int]:
    with reading(engine) as look:
        return deliveries.counts(look)


def files(folder: Path) -> dict[str, str]:
    return {
        str(each.relative_to(folder)): sha256(each.read_bytes()).hexdigest() for each in folder.rglob("*.pdf")
    }


def test_every_published_bill_has_one_file_named_by_its_number_and_a_hash_that_fits(
    database: Engine, tmp_path: Path
) -> None:
    accounts = published(database, delivery="download")
    made = printer(database, tmp_path).once()
    assert (made.queued, made.made, made.parked) == (len(accounts), len(accounts), 0)
    assert printer(database, tmp_path).once() == (0, 0, 0), "nothing is made twice"
    with reading(database) as look:
        kept = {row.path: row.sha256 for row in look.execute(select(documents))}
        numbers = set(look.execute(select(bills.c.number).where(bills.c.number.is_not(None))).scalars())
    assert files(tmp_path) == kept
    assert set(kept) == {f"2026/{number}.pdf" for number in numbers}
    assert states(database) == {("document", "made"): len(accounts), ("delivery", "left"): len(accounts)}


def test_a_document_that_is_made_again_is_the_same_to_the_byte_whatever_the_payer_is_called_by_now(
    database: Engine, tmp_path: Path
) -> None:
    accounts = published(database)
    printer(database, tmp_path).once()
    before = files(tmp_path)
    rename(database, accounts[0], "Otherwise")
    for each in tmp_path.rglob("*.pdf"):
        each.unlink()
    with reading(database) as look:
        rows = look.execute(select(documents)).all()
    again = printer(database, tmp_path)
    for row in rows:
        assert sha256(again.again(row)).hexdigest() == row.sha256
    assert files(tmp_path) == before


def test_a_file_that_somebody_has_changed_is_made_again(database: Engine, tmp_path: Path) -> None:
    published(database)
    printer(database, tmp_path).once()
    with reading(database) as look:
        row = look.execute(select(documents).limit(1)).one()
    (tmp_path / row.path).write_bytes(b"%PDF-1.7 other")
    assert sha256(printer(database, tmp_path).again(row)).hexdigest() == row.sha256


def test_mails_go_out_once_each_with_the_document_whole(database: Engine, tmp_path: Path) -> None:
    accounts = published(database)
    printer(database, tmp_path).once()
    with mail_server() as (inbox, mail):
        assert asyncio.run(postman(database, tmp_path, mail).once()) == {
            "sent": len(accounts),
            "waiting": 0,
            "failed": 0,
        }
        assert asyncio.run(postman(database, tmp_path, mail).once())["sent"] == 0
    assert sorted(to for [to], _ in inbox.mails) == sorted(
        f"payer{n}@example.org" for n in range(len(accounts))
    )
    kept = set(files(tmp_path).values())
    for each in inbox.parsed():
        assert isinstance(each, EmailMessage)
        [pdf] = each.iter_attachments()
        assert sha256(pdf.get_content()).hexdigest() in kept
        assert pdf.get_filename() in {Path(name).name for name in files(tmp_path)}
        body = each.get_body()
        assert body is not None
        assert "Nordlicht" in body.get_content()
    assert len({each["Message-ID"] for each in inbox.parsed()}) == len(accounts)


def test_a_mail_that_fails_waits_longer_each_time_and_then_has_failed_with_its_reason(
    database: Engine, tmp_path: Path
) -> None:
    accounts = published(database)
    clock = Ticking()
    printer(database, tmp_path, clock).once()
    gone = Mail("127.0.0.1", 9, "none", "bills@nordlicht.example", timeout_s=5)
    man = postman(database, tmp_path, gone, clock, pauses_s=(60, 600))
    pauses = []
    for _ in range(2):
        assert asyncio.run(man.once())["waiting"] == len(accounts)
        assert sum(asyncio.run(man.once()).values()) == 0, "not before its time"
        with reading(database) as look:
            pauses.append(
                look.execute(select(deliveries.deliveries.c.next_ms)).scalars().all()[0] - clock.at_ms
            )
        clock.at_ms += pauses[-1] + 1_000
    assert 50_000 < pauses[0] < 60_001
    assert 590_000 < pauses[1] < 600_001
    assert asyncio.run(man.once())["failed"] == len(accounts)
    with reading(database) as look:
        rows = deliveries.listed(look, ["failed"], 0, 100)
    assert len(rows) == len(accounts)
    assert all(row.why.startswith("no answer") and row.tries == 3 for row in rows)


def test_a_refused_recipient_fails_at_once_a_busy_server_is_asked_again(
    database: Engine, tmp_path: Path
) -> None:
    accounts = published(database)
    clock = Ticking()
    printer(database, tmp_path, clock).once()
    with mail_server() as (inbox, mail):
        inbox.refused = {"payer0@example.org"}
        inbox.answers = ["451 later", "554 no"]
        man = postman(database, tmp_path, mail, clock, at_once=1)
        assert asyncio.run(man.once()) == {"sent": len(accounts) - 3, "waiting": 1, "failed": 2}
        clock.at_ms += HOUR_MS
        assert asyncio.run(man.once()) == {"sent": 1, "waiting": 0, "failed": 0}
    with reading(database) as look:
        whys = {row.why for row in deliveries.listed(look, ["failed"], 0, 100)}
    assert whys == {"the mail server refused the recipient", "the mail server answered 554"}


@pytest.mark.parametrize(
    "address", ["", "nobody", "a@b", "a@example.org, b@example.org", "a@example.org\nBcc: b@example.org"]
)
def test_a_broken_address_is_told_and_never_mailed_to(database: Engine, tmp_path: Path, address: str) -> None:
    published(database, email=address)
    printer(database, tmp_path).once()
    assert states(database).keys() == {("document", "made"), ("delivery", "failed")}


def test_a_mail_whose_sender_died_is_sent_again_with_the_same_octets_when_its_lease_has_lapsed(
    database: Engine, tmp_path: Path
) -> None:
    accounts = published(database)
    clock = Ticking()
    printer(database, tmp_path, clock).once()
    with mail_server() as (inbox, mail):
        man = postman(database, tmp_path, mail, clock)
        claimed = man._claim()
        assert len(claimed) == len(accounts)
        asyncio.run(man._sent(claimed[0]))
        assert asyncio.run(man.once())["sent"] == 0, "another has it"
        clock.at_ms += HOUR_MS
        assert asyncio.run(man.once())["sent"] == len(accounts)
    twice = [content for [to], content in inbox.mails if to == claimed[0].address]
    assert len(twice) == 2
    assert twice[0] == twice[1], "the same Message-ID, date and boundary"
    assert len(inbox.mails) == len(accounts) + 1


def test_a_document_is_sent_anew_when_a_human_asks_and_only_then(database: Engine, tmp_path: Path) -> None:
    published(database)
    printer(database, tmp_path).once()
    with mail_server() as (inbox, mail):
        man = postman(database, tmp_path, mail)
        with writing(database) as work:
            key = work.execute(select(documents.c.id).limit(1)).scalar_one()
            assert deliveries.resend(work, key, "new@example.org", NOW_MS) is None, (
                "the first one still waits"
            )
        sent = asyncio.run(man.once())["sent"]
        with writing(database) as work:
            assert deliveries.resend(work, key, "new@example.org", NOW_MS) is not None
            assert deliveries.resend(work, 999_999, "new@example.org", NOW_MS) is None
        assert asyncio.run(man.once())["sent"] == 1
    assert inbox.mails[-1][0] == ["new@example.org"]
    assert len({each["Message-ID"] for each in inbox.parsed()}) == sent + 1


def test_a_document_that_fails_is_parked_and_the_rest_goes_on(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = published(database)
    whole = Press.bill

    def failing(self: Press, page: dict[str, str]) -> bytes:
        if page["title"].endswith("000003"):
            raise PressFault("no paper")
        return whole(self, page)

    monkeypatch.setattr(Press, "bill", failing)
    made = printer(database, tmp_path).once()
    assert (made.made, made.parked) == (len(accounts) - 1, 1)
    with reading(database) as look:
        [row] = deliveries.listed(look, ["parked"], 0, 10)
    assert (row.number, row.reason) == ("2026-000003", "no paper")
    monkeypatch.undo()
    assert printer(database, tmp_path).once().made == 0, "a human says when"
    with writing(database) as work:
        assert deliveries.again(work, row.document)
        assert not deliveries.again(work, row.document)
    assert printer(database, tmp_path).once().made == 1
    assert len(files(tmp_path)) == len(accounts)


def test_a_bill_above_250_whose_payer_has_no_address_is_parked_until_there_is_one(
    database: Engine, tmp_path: Path
) -> None:
    accounts = published(database)
    with writing(database) as work:
        work.execute(update(bills).where(bills.c.billing_account == accounts[0]).values(gross_cents=25_001))
        party = work.execute(
            select(billing_accounts.c.party).where(billing_accounts.c.id == accounts[0])
        ).scalar_one()
        gone = work.execute(select(addresses).where(addresses.c.party == party)).one()
        work.execute(addresses.delete().where(addresses.c.party == party))
    assert printer(database, tmp_path).once() == (len(accounts), len(accounts) - 1, 0)
    with reading(database) as look:
        [row] = deliveries.listed(look, ["parked"], 0, 10)
    assert "UStG section 14(4)" in row.reason
    with writing(database) as work:
        work.execute(addresses.insert().values(**gone._mapping))
        assert deliveries.again(work, row.document)
    assert printer(database, tmp_path).once() == (1, 1, 0)


def test_a_queued_letter_is_made_and_mailed_once(database: Engine, tmp_path: Path) -> None:
    accounts = published(database, delivery="email")
    with reading(database) as look:
        to = recipients(look, accounts[:1], "DE")[accounts[0]]
    claims = (Claim("2026-000001", date(2026, 11, 4), date(2026, 11, 18), 4_711),)
    facts = LetterFacts("M/1 ä", date(2026, 12, 1), SELLER, to, claims, until=date(2026, 12, 15))
    new = New("dun:1", "reminder", "de", "M/1 ä", None, accounts[0], letter_frozen(facts))
    with writing(database) as work:
        assert deliveries.enqueue(work, [new], NOW_MS) == 1
        assert deliveries.enqueue(work, [new], NOW_MS) == 0
    printer(database, tmp_path).once()
    [file] = (tmp_path / "2026" / "letters").iterdir()
    assert file.name.startswith("M-1---")
    assert "47,11 €" in text_of(file.read_bytes())
    with mail_server() as (inbox, mail):
        asyncio.run(postman(database, tmp_path, mail).once())
    assert sum("Zahlungserinnerung" in each["Subject"] for each in inbox.parsed()) == 1
