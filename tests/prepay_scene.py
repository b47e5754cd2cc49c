"""The API of TMF654 on a real store, without a socket: subscribers, keys of several channels, and what the audit log says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from ocs.balance.accounts import Account, Accounts, NewSubscriber
from ocs.balance.audit import audit
from ocs.balance.directory import Directory
from ocs.balance.holdings import Holdings
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.balance.topup_orders import Orders
from ocs.balance.vouchers import Redeemed, Why
from ocs.clock import SystemClock
from ocs.http.access import Access
from ocs.http.app import Health, application
from ocs.http.audit_log import AuditLog
from ocs.http.exact import read_json
from ocs.http.keys import SCOPES, ApiKeys
from ocs.http.order_desk import OrderDesk
from ocs.http.prepay.buckets import BASE
from ocs.http.prepay.desk import Prepay
from ocs.http.prepay.places import Places
from ocs.http.prepay.routes import router
from ocs.names import e164
from ocs.notices.notice import Notice
from ocs.outcomes import Code
from ocs.rating.versions import Tariffs
from ocs.roof.build import read_products
from ocs.roof.prepay import Gifts
from ocs.settings import config_folder
from tests.charged_store import StoreRoom, store_room
from tests.contract.tmf_shapes import Definition
from tests.real_valkey import RealValkey
from tests.unit.balance.books import TARIFFS

DEFINITION = Definition.read("TMF654")
FIRST, SECOND, NOBODY = "491700000001", "491700000002", "491700009999"
EURO = 1_000_000


class Scene:
    """Two subscribers with 20.00 and 5.00 EUR, the catalogue of the sample operator, and four keys: till, bank, care (any channel), reader."""

    def __init__(self, room: StoreRoom, folder: Path, *, redeems: bool = False) -> None:
        self.room = room
        self.folder = folder
        room.run(room.store.execute(0, "FLUSHALL", "SYNC"))
        clock = SystemClock()  # not a still one: a busy machine would leave it behind the store
        self.store, self.parts = room.store, Parts(room.store, clock, 4, 1_000)
        self.stored = Accounts(self.parts, clock)
        catalogue = read_products(config_folder() / "products")
        self.holdings = Holdings(self.parts, self.stored, clock, catalogue, Tariffs(TARIFFS).newest)
        self.terms, self.archive = Terms(), Archive()
        self.actions = self.stored.actions
        self.told: list[Notice] = []
        """What was told that no record tells of."""
        self.deaf = False
        """Whether nobody can be told, since the store does not answer."""
        self.audit_log = AuditLog(folder / "audit")
        self.orders = Orders(self.parts, self.holdings.now_ms)
        prepay = Prepay(
            Places(self.parts, self.stored),
            Directory(self.parts, self.stored),
            self.actions,
            self.terms,
            Gifts(self.parts, self.holdings),
            catalogue,
            self.holdings.now_ms,
            None,
            self.archive,
            Vouchers(self.stored) if redeems else None,
            OrderDesk(self.orders, frozenset({"bank"}), 2 * EURO),
            self._tell,
        )
        keys = ApiKeys(self.store)
        self.app = application(
            health=lambda: Health(ready=True, checks={}, facts={}),
            read_metrics=list,
            version="1",
            routers=[router(prepay, Access(keys, audit=self.audit_log))],
        )
        self.keys = keys
        both = frozenset(SCOPES) - {"channel:any"}
        self.shown = {
            name: self.key(name, scopes)
            for name, scopes in {
                "till": both, "bank": both, "care": frozenset(SCOPES), "reader": frozenset({"balance:read"}),
            }.items()
        }  # fmt: skip
        self.accounts = {
            number: self.subscriber(number, credit) for number, credit in ((FIRST, 20), (SECOND, 5))
        }

    async def _tell(self, notice: Notice) -> None:
        if self.deaf:
            raise StoreFault("not now")
        self.told.append(notice)

    def key(self, channel: str, scopes: frozenset[str]) -> str:
        """Make a key of a channel."""
        return str(self.run(self.keys.create(channel, scopes, 1, channel=channel))[1])

    def run(self, work: Any) -> Any:
        """Run one coroutine to its end."""
        return self.room.run(work)

    def subscriber(self, number: str, euros: int, shared: Account | None = None) -> Account:
        """Create a subscriber, or a member of somebody's account."""
        new = NewSubscriber(number, "", "flat-data", "prepaid", "EUR", 0)
        _, account = self.run(self.stored.create(new, euros * EURO, shared))
        return account  # type: ignore[no-any-return]

    def account(self, number: str = FIRST) -> Account:
        """Read a subscriber."""
        identity = e164(number)
        assert identity is not None
        found = self.run(self.stored.find(identity))
        assert found is not None
        return found  # type: ignore[no-any-return]

    def balance(self, number: str = FIRST) -> int:
        """Return a balance in micro-units."""
        return self.account(number).book.balance_micros

    def __call__(
        self, method: str, path: str, body: Any = None, key: str | None = "till", **rest: Any
    ) -> Answer:
        """Ask; a body that is no octets is written as JSON."""
        return self.run(self.ask(method, path, body, key, **rest))  # type: ignore[no-any-return]

    async def ask(
        self, method: str, path: str, body: Any = None, key: str | None = "till", **rest: Any
    ) -> Answer:
        """Ask, inside the loop."""
        headers = dict(rest.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {self.shown.get(key, key)}"
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
            rest["content"] = body if isinstance(body, bytes) else json.dumps(body).encode()
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://ocs") as client:
            said = await client.request(method, BASE + path, headers=headers, **rest)
        return Answer(method, path, said)

    def lines(self, kind: str = "outcome") -> list[dict[str, Any]]:
        """Read the audit log."""
        files = sorted((self.folder / "audit").glob("*.jsonl"))
        found = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
        return [each for each in found if each["line"] == kind]

    def clean(self) -> None:
        """The money's own audit finds nothing."""
        report = self.run(audit(self.parts))
        assert report.faults == []


class Terms:
    """What the operator has set: limits and a fee, as the test says."""

    def __init__(self) -> None:
        self.fee = 0
        self.each = self.of_subscriber = 0

    def limits(self, _asked: Any) -> Any:
        from ocs.balance.actions import DayLimits  # noqa: PLC0415

        return DayLimits(each=self.each, account_amount=self.of_subscriber)

    def fee_micros(self, _amount: int, _currency: str) -> int:
        return self.fee


class Vouchers:
    """One voucher of 5.00 EUR with the code CODE, whose money is a real top-up; the keeper of real ones has tests of its own."""

    CODE = "123456789012"

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._used_by = ""

    async def redeem(self, account: Account, code: str, channel: str, topup_id: str = "") -> Redeemed:
        name = f"{channel}:{topup_id}"
        if code != self.CODE:
            return Redeemed(Code.CONFLICT, why=Why.UNKNOWN)
        if self._used_by not in {"", name}:
            return Redeemed(Code.CONFLICT, why=Why.USED)
        replayed, self._used_by = self._used_by == name, name
        done = await self._accounts.topup(account, 5 * EURO, channel, topup_id)
        return Redeemed(
            done.code,
            replayed,
            5 * EURO,
            done.balance_micros,
            done.available_micros,
            id=topup_id,
            serial="7-1",
            channel=channel,
        )


class Archive:
    """The archive, once a test has one."""

    def __init__(self) -> None:
        self.reads: Any = None

    async def records(self, *place: Any) -> Any:
        return await self.reads.records(*place) if self.reads is not None else []


class Answer:
    """An answer, judged by the definition as soon as it is read."""

    def __init__(self, method: str, path: str, said: httpx.Response) -> None:
        self.method, self.path, self.said = method, path, said
        self.status = said.status_code

    @property
    def content(self) -> Any:
        """The body, exact."""
        return read_json(self.said.content) if self.said.content else None

    @property
    def headers(self) -> httpx.Headers:
        """The headers."""
        return self.said.headers

    def is_right(self, status: int, *, partial: bool = False) -> Any:
        """The answer has this status and is what the definition says; returns the body."""
        assert self.status == status, (self.status, self.said.text)
        judged = 200 if status == 206 else status
        faults = DEFINITION.answer_faults(
            self.method, self.path.partition("?")[0], judged, self.content, self.headers, partial=partial
        )
        assert faults == []
        return self.content

    def is_error(self, status: int, code: str = "") -> str:
        """The answer is an Error of this status; returns its message."""
        assert self.status == status, (self.status, self.said.text)
        assert self.headers["content-type"] == "application/json"
        content = self.content
        assert DEFINITION.faults("Error", content) == []
        assert content["status"] == str(status)
        assert code in {"", content["code"]}, content
        return str(content["message"])


@contextmanager
def scene(server: RealValkey, folder: Path, *, redeems: bool = False) -> Iterator[Scene]:
    """A Scene on an emptied server."""
    with store_room(server) as room:
        yield Scene(room, folder, redeems=redeems)


def of(number: str) -> str:
    """A list's filter."""
    return f"logicalResource.id={quote(number)}"


def topup(amount: Any = 10, number: str = FIRST, **more: Any) -> dict[str, Any]:
    """A top-up's body."""
    return {
        "amount": {"amount": amount, "units": "EUR"},
        "usageType": "monetary",
        "logicalResource": [{"id": number}],
        **more,
    }


def adjust(amount: Any, **more: Any) -> dict[str, Any]:
    return topup(amount, reason="goodwill", **more)


def transfer(amount: Any = 1, **more: Any) -> dict[str, Any]:
    return topup(amount, receiverLogicalResource={"id": SECOND}, reason="a gift", **more)


def reserve(amount: Any = 3, **more: Any) -> dict[str, Any]:
    return topup(amount, reason="parking", **more)


BODIES: dict[str, dict[str, Any]] = {
    "topupBalance": topup(),
    "adjustBalance": adjust(2),
    "transferBalance": transfer(),
    "reserveBalance": reserve(),
}
