"""A life on a real store for the bridge: postpaid and prepaid accounts, what they do, whose services they are, and what intake made of it."""

from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, func, select

from ocs.balance.accounting import AccountingRules
from ocs.balance.accounts import Account
from ocs.balance.actions import Actions, Asked
from ocs.balance.book import Rules as BookRules
from ocs.balance.entries import Entry, entries
from ocs.balance.holdings import Holdings
from ocs.balance.wallets import Wallets
from ocs.care.customers.tables import billing_accounts, customers, parties, services
from ocs.charging.ask import (
    DIRECT_DEBITING,
    EVENT,
    INITIAL,
    REFUND_ACCOUNT,
    TERMINATION,
    UPDATE,
    Ask,
    AskedService,
    Units,
)
from ocs.charging.ask import Event as AskedEvent
from ocs.charging.outcome import Outcome
from ocs.charging.plan import QuotaRules
from ocs.clock import SystemClock
from ocs.names import E164, SubscriberId
from ocs.outcomes import Code
from ocs.records import ActionKind
from ocs.roof.build import read_tariffs
from ocs.settings import config_folder
from ocs.sql import reading, writing
from ocs.stream import Batch
from postpaid_bridge.journal import IN_BOOK
from postpaid_bridge.sql.intake import Rules
from postpaid_bridge.sql.journal import entries as journal_entries
from postpaid_bridge.sql.journal import ledger_balances, postings
from postpaid_bridge.sql.usage import alarms, book_payments, books, lines, places, rejected
from postpaid_bridge.usage import STANDARD, days_of, service_of
from tests.accounting_records import INTERIM, START, STOP, call, container, sms, traffic
from tests.charged_store import StoreRoom
from tests.unit.balance.holdings_world import CATALOGUE, FAMILY

MIB = 1_048_576
EURO = 1_000_000
FLOOR = -1_000 * EURO
TARIFFS = read_tariffs(config_folder() / "tariffs")
BOOK_RULES = BookRules(
    QuotaRules(10 * MIB, 60, 1, 3_600, 1_250_000_000, 2, 100), 7_200_000, 300_000, 1_000,
    accounting=AccountingRules(age_s=3_600, supervision_s=600),
)  # fmt: skip
BERLIN = ZoneInfo("Europe/Berlin")
RULES = Rules(STANDARD, service_of(TARIFFS), frozenset({"bridge"}), days_of(BERLIN))
LONG_AGO = date(2020, 1, 1)
PARTITIONS = 4
ONE_OF, OTHER, PREPAID, NOBODYS = "491700000001", "491700000002", "491700000003", "491700000004"


class Life:
    """Four accounts: two postpaid ones with a service, a prepaid one, and a postpaid one that no service is known of."""

    def __init__(self, room: StoreRoom) -> None:
        self.room = room
        self.charged = room.run(room.charged(TARIFFS, BOOK_RULES, PARTITIONS))
        self.holdings = Holdings(
            self.charged.parts,
            self.charged.accounts,
            self.charged.clock,
            CATALOGUE,
            self.charged.book.tariffs.newest,
        )
        self.charged.accounts.brings = self.holdings
        self.charged.book.wallets = Wallets(CATALOGUE)
        self.actions: Actions = self.charged.accounts.actions
        self.accounts: dict[str, Account] = {}
        for msisdn, tariff, floor, credit in (
            (ONE_OF, "mobile-postpaid", FLOOR, 0),
            (OTHER, "flat-data", FLOOR, 0),
            (PREPAID, "flat-data", 0, 100 * EURO),
            (NOBODYS, "flat-data", FLOOR, 0),
        ):
            self.accounts[msisdn] = room.run(self.charged.subscriber(msisdn, "", tariff, floor, credit))

    def look(self, msisdn: str) -> Account:
        where = self.accounts[msisdn].profile
        found: Account | None = self.room.run(self.charged.accounts.read(where.partition, where.path))
        assert found is not None
        return found

    def book(self, msisdn: str) -> str:
        return self.accounts[msisdn].profile.account

    def ask(
        self,
        msisdn: str,
        kind: int,
        number: int,
        session: str,
        *,
        used: int = -1,
        wants: int = -1,
        event: int = -1,
    ) -> Outcome:
        service = AskedService(
            "10",
            10,
            None,
            Units(octets=used) if used >= 0 else None,
            Units(octets=wants) if wants >= 0 else None,
        )
        ask = Ask(
            kind, session, number, "data", "32251@3gpp.org", (SubscriberId(E164, msisdn),), (service,),
            hash((kind, number, used, wants)) & 0xFFFF_FFFF_FFFF, True, "gw.example.org", "example.org",
        )  # fmt: skip
        if event >= 0:
            ask = ask._replace(event=AskedEvent(event, b""))
        done: Outcome = self.room.run(self.charged.charge(ask))
        return done

    def session(self, msisdn: str, name: str, octets: int = 2 * MIB) -> None:
        begun = self.ask(msisdn, INITIAL, 0, name, wants=octets)
        assert begun.code == Code.SUCCESS, begun
        self.ask(msisdn, UPDATE, 1, name, used=octets // 2, wants=octets)
        self.ask(msisdn, TERMINATION, 2, name, used=octets // 3)

    def event(self, msisdn: str, name: str, *, refunded: int = 0) -> None:
        assert self.ask(msisdn, EVENT, 0, name, wants=3 * MIB, event=DIRECT_DEBITING).code == Code.SUCCESS
        if refunded:
            done = self.ask(msisdn, EVENT, 1, name, wants=refunded, event=REFUND_ACCOUNT)
            assert done.code == Code.SUCCESS

    def act(
        self, msisdn: str, kind: ActionKind, amount: int, name: str, channel: str = "shop", **more: Any
    ) -> None:
        self.charged.clock.keep_up()
        where = self.accounts[msisdn].profile
        asked = Asked(kind, channel, name, where.partition, where.path, amount, **more)
        done = self.room.run(self.actions.do(asked))
        assert done.code == Code.SUCCESS, (kind, done)

    def cancel(self, name: str, channel: str = "shop") -> None:
        assert self.room.run(self.actions.cancel(channel, name, "by mistake")).code == Code.SUCCESS

    def buy(self, msisdn: str, name: str) -> None:
        self.charged.clock.keep_up()
        assert self.room.run(self.holdings.buy(self.look(msisdn), FAMILY, name)).code == Code.SUCCESS

    def records_of_accounting(self, msisdn: str, name: str) -> None:
        """Rf: a data session, a call into the national network, and a short message."""
        now_s = self.charged.now_ms // 1000
        told = (
            traffic(START, 0, session=f"pgw;{name}", msisdn=msisdn, at_s=now_s - 60),
            traffic(INTERIM, 1, container(5 * MIB), session=f"pgw;{name}", msisdn=msisdn, at_s=now_s - 30),
            traffic(STOP, 2, container(2 * MIB), session=f"pgw;{name}", msisdn=msisdn, at_s=now_s),
            call(START, 0, now_s - 200, called="+4930123456", session=f"cscf;{name}", msisdn=msisdn),
            call(STOP, 1, now_s, length_s=200, session=f"cscf;{name}", msisdn=msisdn),
            sms(0, messages=2, session=f"smsc;{name}", msisdn=msisdn),
        )
        for each in told:
            self.charged.clock.keep_up()
            assert self.room.run(self.charged.account(each)).code == Code.SUCCESS

    def everything(self, name: str = "a") -> None:
        """Everything that moves a book, once."""
        self.session(ONE_OF, f"{name};1")
        self.records_of_accounting(ONE_OF, name)
        self.event(OTHER, f"{name};e", refunded=MIB)
        self.session(OTHER, f"{name};2")
        self.session(PREPAID, f"{name};3")
        self.session(NOBODYS, f"{name};4")
        self.act(OTHER, ActionKind.ADJUST, 7 * EURO, f"{name}up", reason="goodwill")
        self.act(OTHER, ActionKind.ADJUST, -3 * EURO, f"{name}down")
        self.act(OTHER, ActionKind.TOPUP, 20 * EURO, f"{name}paid")
        self.act(OTHER, ActionKind.TOPUP, 5 * EURO, f"{name}wrong")
        self.cancel(f"{name}wrong")
        self.act(OTHER, ActionKind.ADJUST, -2 * EURO, f"{name}ours", "bridge")
        self.act(OTHER, ActionKind.TOPUP, 4 * EURO, f"{name}our payment", "bridge")
        self.act(OTHER, ActionKind.EMERGENCY, 2 * EURO, f"{name}lent", fee_micros=EURO // 2)
        self.act(OTHER, ActionKind.TOPUP, 10 * EURO, f"{name}repays")
        giver = self.accounts[ONE_OF].profile
        self.act(
            PREPAID,
            ActionKind.TRANSFER,
            EURO,
            f"{name}gift",
            receiver=giver.path,
            receiver_partition=giver.partition,
        )
        self.act(ONE_OF, ActionKind.RESERVE, 3 * EURO, f"{name}held", lasts_ms=60_000)
        assert self.room.run(self.actions.complete("shop", f"{name}held", 2 * EURO)).code == Code.SUCCESS
        self.buy(OTHER, f"{name}family")
        self.session(OTHER, f"{name};5", 90 * MIB)

    def stream(self) -> dict[int, list[Entry]]:
        """All records of all partitions."""
        found = {}
        for keys in self.charged.parts.keys:
            reply = self.room.run(self.charged.store.execute(keys.slot, "XRANGE", keys.stream, "-", "+"))
            found[keys.partition] = entries(reply)
        return found

    def batches(self) -> list[Batch]:
        return [Batch(number, tuple(each)) for number, each in self.stream().items() if each]

    def balance(self, msisdn: str) -> int:
        return int(self.look(msisdn).book.balance_micros)


def sold_to(engine: Engine, life: Life, *msisdns: str, mode: str = "postpaid") -> None:
    """A customer with a billing account and a service for each of these numbers."""
    with writing(engine) as work:
        for msisdn in msisdns:
            party = work.execute(
                parties.insert().values(kind="person", family_name=msisdn, since_ms=0)
            ).inserted_primary_key
            assert party
            customer = work.execute(
                customers.insert().values(number=f"C{msisdn}", party=party[0], kind="consumer", since_ms=0)
            ).inserted_primary_key
            assert customer
            account = work.execute(
                billing_accounts.insert().values(
                    number=f"B{msisdn}", customer=customer[0], party=party[0], since=LONG_AGO
                )
            ).inserted_primary_key
            assert account
            profile = life.accounts[msisdn].profile
            work.execute(
                services.insert().values(
                    billing_account=account[0], party=party[0], kind="mobile", mode=mode, number=msisdn, book=profile.account,
                    subscriber=profile.path, plan="basic", since=LONG_AGO,
                )
            )  # fmt: skip


NOT_COMPARED = {"id", "entry", "made_ms", "done_ms", "at_ms of place", "seen_ms"}


def end_state(engine: Engine) -> dict[str, Any]:
    """All that intake has made, without what depends on batches and clocks: the numbers of rows, and which entry has an amount."""
    found: dict[str, Any] = {}
    with reading(engine) as look:
        for table in (lines, rejected, alarms, book_payments, books):
            names = [each for each in table.c if each.name not in NOT_COMPARED]
            found[table.name] = sorted(map(tuple, look.execute(select(*names))), key=repr)
        found["places"] = {each.partition: each.last_id for each in look.execute(select(places))}
        c, e = postings.c, journal_entries.c
        by = (e.kind, e.day, c.billing_account, c.debit, c.credit, c.book, c.of_class, c.tax_code)
        net: dict[Any, int] = {}
        for row in look.execute(
            select(*by, func.sum(c.amount_micros)).join(journal_entries, e.id == c.entry).group_by(*by)
        ):
            kind, day, account, debit, credit, *rest, micros = row
            sign = 1 if debit < credit else -1
            name = (kind, day, account, *sorted((debit, credit)), *rest)
            net[name] = net.get(name, 0) + sign * int(micros)
        found["posted"] = {name: micros for name, micros in net.items() if micros}
    return found


def does_not_hold(engine: Engine, life: Life, *msisdns: str, ours: int = 0) -> list[str]:
    """What is wrong between journal, lines and books; ``ours`` is what the bridge itself has moved in the book of OTHER."""
    wrong = []
    with reading(engine) as look:
        if any(sum(ledger_balances(look).values()) for _ in (1,)):
            wrong.append("the journal does not add up")
        for msisdn in msisdns:
            book, held = life.book(msisdn), 0
            for side, sign in ((postings.c.debit, 1), (postings.c.credit, -1)):
                of = (postings.c.book == book, side.in_(IN_BOOK))
                held += sign * int(
                    look.execute(select(func.sum(postings.c.amount_micros)).where(*of)).scalar() or 0
                )
            balance = life.balance(msisdn) - (ours if msisdn == OTHER else 0)
            if balance != -held:
                wrong.append(f"{msisdn}: the book has {balance}, unbilled and receivable are {held}")
        summed = select(lines.c.entry, func.sum(lines.c.amount_micros)).group_by(lines.c.entry)
        of_lines: dict[str, int] = {row[0]: int(row[1]) for row in look.execute(summed)}
        wrong += [f"lines without an entry come to {of_lines['']}"] if of_lines.pop("", 0) else []
        for key, micros in of_lines.items():
            entry = look.execute(
                select(journal_entries.c.id).where(journal_entries.c.key == key)
            ).scalar_one()
            posted = sum(
                each.amount_micros * (1 if each.debit == "unbilled" else -1)
                for each in look.execute(select(postings).where(postings.c.entry == entry))
            )
            if posted != micros:
                wrong.append(f"{key}: lines of {micros}, posted {posted}")
    return wrong


def now_ms() -> int:
    return SystemClock().now_ms()


def folder(of: Path) -> Path:
    made = of / "archive"
    made.mkdir(exist_ok=True)
    return made
