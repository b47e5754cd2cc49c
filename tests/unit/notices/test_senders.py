"""Senders against real servers on loopback: webhooks over HTTP and TLS, mail to a real SMTP server, short messages to a gateway."""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from email.policy import default
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from ocs.notices.callbacks import Callbacks
from ocs.notices.forms import Forms
from ocs.notices.notice import Notice
from ocs.notices.senders import Gateway, Mail, ShortMessages, Smtp, Undelivered, Webhooks
from ocs.notices.signature import sign
from ocs.notices.subscriptions import Subscription
from ocs.notices.texts import Text, read_texts
from ocs.settings import config_folder
from tests.certificates import Authority
from tests.real_valkey import free_port
from tests.unit.notices.receivers import Posted, receiver

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
NOW_MS = 1_800_000_000_000
NOTICE = Notice(
    "3.1-9.topup.done", "topup.done", NOW_MS, "acc",
    {"channel": "till", "id": "x1", "amount": "10.00", "balance": "1234.50", "currency": "EUR"},
)  # fmt: skip
SUBSCRIPTION = Subscription("s1", "k1", "till", False, "", ("*",), (), "webhook", SECRET, 1)
LOOPBACK = Callbacks([ip_network("127.0.0.0/8")])


def verified(secret: str, posted: Posted) -> bool:
    """Verify a message as standardwebhooks.com tells receivers to; nothing of ours is used."""
    head = posted.head
    content = head["webhook-id"].encode() + b"." + head["webhook-timestamp"].encode() + b"." + posted.body
    mac = hmac.new(base64.b64decode(secret[6:]), content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(mac).decode()}" in head["webhook-signature"].split(" ")


def webhooks(callbacks: Callbacks = LOOPBACK, forms: Forms | None = None, **rest: Any) -> Webhooks:
    return Webhooks(callbacks, forms or Forms(), lambda: NOW_MS, rest.pop("timeout_s", 5), **rest)


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    # standard-webhooks/spec, "Signature scheme": the test vector of its reference libraries
    secret, name = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert sign(secret, name, 1614265330, b'{"test": 2432232314}') == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_a_webhook_is_signed_and_anybody_can_verify_it() -> None:
    async def run() -> Posted:
        async with receiver() as to:
            sender = webhooks()
            await sender.send(NOTICE, SUBSCRIPTION._replace(callback=to.url + "?a=b"))
            await sender.close()
            return to.posted[0]

    posted = asyncio.run(run())
    assert verified(SECRET, posted)
    assert not verified(SECRET, posted._replace(body=posted.body + b" "))
    assert not verified("whsec_" + base64.b64encode(b"x" * 32).decode(), posted)
    assert json.loads(posted.body) == NOTICE.described()
    assert (posted.path, posted.head["webhook-id"]) == ("/hook?a=b", NOTICE.id)
    assert posted.head["webhook-timestamp"] == str(NOW_MS // 1000)


@pytest.mark.parametrize(
    ("status", "extra", "final", "after_s"),
    [
        (500, "", False, 0), (404, "", False, 0), (302, "location: http://127.0.0.1:1/\r\n", False, 0), (410, "", True, 0),
        (429, "retry-after: 77\r\n", False, 77), (503, "retry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n", False, 0),
    ],
)  # fmt: skip
def test_what_is_no_success_is_a_failed_try(status: int, extra: str, final: bool, after_s: int) -> None:  # noqa: FBT001
    async def run() -> int:
        async with receiver() as to:

            async def answer(_posted: Posted) -> tuple[int, str]:
                return status, extra

            to.answer = answer
            sender = webhooks()
            with pytest.raises(Undelivered) as fault:
                await sender.send(NOTICE, SUBSCRIPTION._replace(callback=to.url))
            await sender.close()
            assert (fault.value.why, fault.value.final, fault.value.after_s) == (
                f"answered {status}",
                final,
                after_s,
            )
            return to.connections

    assert asyncio.run(run()) == 1, "a redirect is not followed"


def test_a_receiver_that_says_nothing_costs_its_time_out_alone() -> None:
    async def run() -> None:
        async with receiver() as to:

            async def answer(_posted: Posted) -> tuple[int, str]:
                await asyncio.sleep(30)
                return 200, ""

            to.answer = answer
            sender = webhooks(timeout_s=0.2)
            with pytest.raises(Undelivered, match="no answer within"):
                await sender.send(NOTICE, SUBSCRIPTION._replace(callback=to.url))
            await sender.close()

    asyncio.run(run())


def test_a_name_that_has_come_to_lead_inside_is_not_connected_to() -> None:
    async def run() -> None:
        async def resolve(_host: str, _port: int) -> Sequence[str]:
            return ["127.0.0.1"]

        async with receiver() as to:
            sender = webhooks(Callbacks([], resolve=resolve))
            with pytest.raises(Undelivered, match="network"):
                await sender.send(
                    NOTICE, SUBSCRIPTION._replace(callback=f"https://example.com:{to.port}/hook")
                )
            await sender.close()
            assert to.connections == 0

    asyncio.run(run())


def test_over_tls_the_certificate_is_of_the_name_though_the_address_is_pinned(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*authority.pair("hook.example.org", host=True))
    trusted = ssl.create_default_context(cafile=str(authority.certificate))

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async def run() -> None:
        async with receiver(server) as to:
            sender = webhooks(Callbacks([ip_network("127.0.0.0/8")], resolve=resolve), ca=trusted)
            await sender.send(NOTICE, SUBSCRIPTION._replace(callback=f"https://hook.example.org:{to.port}/x"))
            assert to.posted[0].head["host"] == f"hook.example.org:{to.port}"
            with pytest.raises(Undelivered, match="no answer"):
                await sender.send(
                    NOTICE, SUBSCRIPTION._replace(callback=f"https://other.example.org:{to.port}/x")
                )
            await sender.close()

    asyncio.run(run())


def test_a_form_writes_its_own_body_and_may_have_no_such_event() -> None:
    forms = Forms()

    async def write(notice: Notice, _subscription: Subscription) -> dict[str, Any] | None:
        return {"eventType": "TopupEvent"} if notice.type == "topup.done" else None

    forms.register("tmf654", write)
    with pytest.raises(ValueError, match="known already"):
        forms.register("tmf654", write)

    async def run() -> None:
        async with receiver() as to:
            sender = webhooks(forms=forms)
            of = SUBSCRIPTION._replace(callback=to.url, form="tmf654")
            await sender.send(NOTICE, of)
            await sender.send(NOTICE._replace(type="balance.low"), of)
            with pytest.raises(Undelivered, match="form"):
                await sender.send(NOTICE, of._replace(form="unheard"))
            await sender.close()
            assert [json.loads(each.body) for each in to.posted] == [{"eventType": "TopupEvent"}]

    asyncio.run(run())


# -- mail


class Inbox:
    """What a mail server was handed."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.answer.startswith("250"):
            self.mails.append(
                (envelope.rcpt_tos, message_from_bytes(envelope.original_content, policy=default))
            )
        return self.answer


@pytest.fixture
def post(tmp_path: Path) -> Iterator[tuple[Inbox, Mail]]:
    """A real SMTP server with STARTTLS that asks for a password, and how it is reached."""
    authority = Authority(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*authority.pair("localhost", host=True))
    inbox = Inbox()

    def authenticate(_server: Any, _session: Any, _envelope: Any, mechanism: str, sent: Any) -> AuthResult:
        right = mechanism in {"LOGIN", "PLAIN"} and (sent.login, sent.password) == (b"ocs", b"right")
        return AuthResult(success=right)

    controller = Controller(
        inbox, hostname="127.0.0.1", port=free_port(), tls_context=server, require_starttls=True,
        authenticator=authenticate, auth_required=True,
    )  # fmt: skip
    controller.start()
    try:
        trusted = ssl.create_default_context(cafile=str(authority.certificate))
        yield (
            inbox,
            Mail("localhost", controller.port, "starttls", "ocs@example.org", "ocs", "right", 10, trusted),
        )
    finally:
        controller.stop()


def smtp(mail: Mail, language: str = "en") -> Smtp:
    texts = read_texts(config_folder() / "notices", ZoneInfo("Europe/Berlin"))
    return Smtp(mail, lambda notice, _rule: texts.write(notice, language))


RULE = SUBSCRIPTION._replace(id="mail-1", form="mail", callback="mailto:ops@example.org")


def test_a_mail_is_handed_to_a_real_server_over_starttls_with_its_password(post: tuple[Inbox, Mail]) -> None:
    inbox, mail = post
    asyncio.run(smtp(mail, "de").send(NOTICE, RULE))
    receivers, message = inbox.mails[0]
    assert receivers == ["ops@example.org"]
    assert (message["Subject"], message["From"]) == ("Aufladung eingegangen", "ocs@example.org")
    assert message["Message-ID"] == "<3.1-9.topup.done.mail-1@example.org>"
    assert "10,00 EUR" in message.get_content()
    assert "1234,50 EUR" in message.get_content()


def test_a_mail_that_is_refused_is_a_failed_try_that_names_nobody(post: tuple[Inbox, Mail]) -> None:
    inbox, mail = post
    inbox.answer = "451 later, ops@example.org"
    with pytest.raises(Undelivered, match="451") as fault:
        asyncio.run(smtp(mail).send(NOTICE, RULE))
    assert "example" not in fault.value.why
    for wrong in (mail._replace(password="wrong"), mail._replace(port=free_port())):
        with pytest.raises(Undelivered):
            asyncio.run(smtp(wrong).send(NOTICE, RULE))
    assert inbox.mails == []


def test_a_mail_server_without_tls_gets_nothing_where_tls_is_demanded() -> None:
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        mail = Mail("127.0.0.1", controller.port, "starttls", "ocs@example.org")
        with pytest.raises(Undelivered):
            asyncio.run(smtp(mail).send(NOTICE, RULE))
        assert inbox.mails == []
        asyncio.run(smtp(mail._replace(tls="none")).send(NOTICE, RULE))
        assert len(inbox.mails) == 1
    finally:
        controller.stop()


def test_a_fact_cannot_add_a_header_to_a_mail(post: tuple[Inbox, Mail]) -> None:
    inbox, mail = post
    sneaky = NOTICE._replace(
        type="product.bought", facts={"product": "x\nBcc: all@example.org", "price": "1.00"}
    )
    asyncio.run(smtp(mail).send(sneaky, RULE))
    receivers, message = inbox.mails[0]
    assert receivers == ["ops@example.org"]
    assert message["Bcc"] is None


# -- short messages


def test_a_short_message_goes_to_the_subscribers_number_signed() -> None:
    async def number_of(partition: int, path: str) -> str:
        return "491700000001" if (partition, path) == (0, "acc") else ""

    async def run() -> list[Posted]:
        async with receiver() as to:
            sender = ShortMessages(
                Gateway(to.url, SECRET),
                number_of,
                lambda _notice, _rule, number: Text("", "", f"to {number}: grüße"),
                lambda: NOW_MS,
            )
            await sender.send(NOTICE, RULE)
            await sender.send(NOTICE._replace(account="gone"), RULE)
            await sender.close()
            return to.posted

    (posted,) = asyncio.run(run())
    assert verified(SECRET, posted)
    assert json.loads(posted.body) == {
        "id": NOTICE.id, "to": "+491700000001", "text": "to 491700000001: grüße"
    }  # fmt: skip
