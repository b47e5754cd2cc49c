"""Kamailio's ims_charging before `ocs serve`: calls of sipp through it are charged while they last, cut or refused without credit."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from string import Template
from typing import NamedTuple

import pytest

from tests.house.source import ROOT
from tests.real_ocs import Read, RealOcs
from tests.strangers import Stranger, await_that, needs
from tests.tap import Tap

pytestmark = needs("kamailio-ims-modules", "sip-tester")

TEMPLATES = ROOT / "tests" / "conformance" / "strangers"
CER, CCR = 257, 272
INITIAL, UPDATE, TERMINATION = 1, 2, 3
CREDIT_LIMIT_REACHED = 4012
RESERVE_S = 3
CREDIT_S = 4
RICH, BY_SECOND, POOR, BROKE = ("491700000001", "491700000002", "491700000003", "491700000004")
TARIFF = """
tariff: by-second
version: 1
currency: EUR
services:
  voice:
    unit: seconds
    steps:
      - {from: 0, block: 1, price: "0.01", per: 1}
"""


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Switch(NamedTuple):
    """A running Kamailio before a tapped server; callers and callees come and go."""

    server: RealOcs
    tap: Tap
    sip_port: int
    folder: Path

    def sipp(self, name: str, scenario: str, port: int, *words: str) -> Stranger:
        """One end of one call, at a port of its own."""
        command = [
            *("sipp", "-sf", str(TEMPLATES / scenario), "-i", "127.0.0.1", "-p", str(port), "-m", "1"),
            *(
                "-mi",
                "127.0.0.1",
                "-mp",
                str(free_udp_port()),
                "-cp",
                str(free_udp_port()),
                "-nostdin",
                "-timeout",
                "25s",
                "-timeout_error",
                *words,
            ),
            *("-ci", "127.0.0.1"),
        ]
        return Stranger(name, command, self.folder)

    def call(self, scenario: str, caller: str, *words: str) -> None:
        """A whole call that goes as the scenario says, at both ends."""
        port = free_udp_port()
        dialled = ("-key", "callee_port", str(port), "-key", "caller", caller, f"127.0.0.1:{self.sip_port}")
        with (
            self.sipp("callee", "callee.xml", port) as callee,
            self.sipp("caller", scenario, free_udp_port(), *words, *dialled) as calling,
        ):
            assert calling.finished() == 0, calling.said()
            if scenario != "caller-refused.xml":
                assert callee.finished() == 0, callee.said()

    def charged(self, subscriber: str, *, ended: bool = True) -> list[tuple[Read, Read]]:
        """CCRs about a subscriber with their answers; the termination comes after the call's last message."""

        def pairs() -> list[tuple[Read, Read]]:
            asked = [
                each
                for each in self.tap.of(CCR, from_server=False, request=True)
                if subscriber in str(each.typed.subscription_id)
            ]
            answers = {
                each.typed.header.hop_by_hop_identifier: each
                for each in self.tap.of(CCR, from_server=True, request=False)
            }
            return [
                (each, answers[each.typed.header.hop_by_hop_identifier])
                for each in asked
                if each.typed.header.hop_by_hop_identifier in answers
            ]

        if ended:
            await_that(
                lambda: any(asked.value(416) == TERMINATION for asked, _ in pairs()), "a termination's answer"
            )
        return pairs()


def rendered(template: str, target: Path, **values: object) -> Path:
    text = Template((TEMPLATES / template).read_text(encoding="utf-8")).substitute(values)
    target.write_text(text, encoding="utf-8")
    return target


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    folder = tmp_path_factory.mktemp("switch")
    tariffs = Path(shutil.copytree(ROOT / "config" / "tariffs", folder / "tariffs"))
    (tariffs / "by-second.yaml").write_text(TARIFF, encoding="utf-8")
    sip_port = free_udp_port()
    with (
        RealOcs(
            folder, OCS_DIAMETER__ORIGIN_HOST="localhost", OCS_CHARGING__TARIFFS_DIR=str(tariffs)
        ) as server,
        Tap(server.port) as tap,
    ):
        peers = rendered("kamailio-peers.xml", folder / "peers.xml", diameter_port=tap.port)
        settings = rendered(
            "kamailio.cfg", folder / "kamailio.cfg", sip_port=sip_port, peers=peers, reserve_s=RESERVE_S
        )
        words = ["kamailio", "-DD", "-E", "-f", str(settings), "-Y", str(folder), "-m", "32", "-M", "8"]
        with Stranger("kamailio", words, folder) as kamailio:
            kamailio.await_that(
                lambda: bool(tap.of(CER, from_server=True, request=False)), "a capabilities exchange"
            )
            yield Switch(server, tap, sip_port, folder)


class Said(NamedTuple):
    """One request and its answer, in Kamailio's one service: seconds used and asked for, seconds granted, whether the last."""

    kind: int
    number: int
    used_s: int
    wanted_s: int | None
    result: int
    granted_s: int | None
    is_final: bool


def said(asked: Read, answered: Read) -> Said:
    (wish,) = asked.typed.multiple_services_credit_control
    decided = (answered.typed.multiple_services_credit_control or [None])[0]
    granted = decided.granted_service_unit if decided else None
    return Said(
        asked.value(416),
        asked.value(415),
        sum(each.cc_time for each in wish.used_service_unit),
        wish.requested_service_unit.cc_time if wish.requested_service_unit else None,
        answered.value(268),
        granted.cc_time if granted else None,
        bool(decided and decided.final_unit_indication),
    )


def subscribe(switch: Switch, number: str, tariff: str, credit: str) -> None:
    switch.server.ocs("subscriber", "create", number, "--tariff", tariff, "--credit", credit)
    assert switch.server.balance(number) == (credit, "0.00")


def assert_a_session(pairs: list[Said]) -> None:
    """One Initial, at least one update, one termination, numbered in order."""
    kinds = [each.kind for each in pairs]
    assert kinds == [INITIAL, *[UPDATE] * (len(kinds) - 2), TERMINATION]
    assert UPDATE in kinds
    assert [each.number for each in pairs] == list(range(len(pairs)))
    assert {each.result for each in pairs} <= {2001, CREDIT_LIMIT_REACHED}


def test_kamailio_opens_with_us_with_or_without_its_address(switch: Switch) -> None:
    """CLIENTS 3: its CER lacks Host-IP-Address about once in ten starts, by chance; the capture replays that one."""
    (asked,) = switch.tap.of(CER, from_server=False, request=True)
    (answered,) = switch.tap.of(CER, from_server=True, request=False)
    assert len(asked.all_of(257)) <= 1
    assert answered.value(268) == 2001
    assert 4 in {inside.value for each in asked.all_of(260) for inside in each.value} | {
        each.value for each in asked.all_of(258)
    }


def test_a_call_is_charged_by_the_minute(switch: Switch) -> None:
    """RFC 8506 section 5: four seconds, told in parts, cost one started minute."""
    subscribe(switch, RICH, "flat-voice", "10.00")
    switch.call("caller.xml", f"sip:{RICH}@example.org", "-d", "4000")
    pairs = [said(*pair) for pair in switch.charged(RICH)]
    assert_a_session(pairs)
    assert [each.granted_s for each in pairs[:-1]] == [RESERVE_S] * (len(pairs) - 1)
    assert switch.server.balance(RICH) == ("9.90", "0.00")


def test_a_call_is_charged_by_the_second_it_says_it_took(switch: Switch) -> None:
    subscribe(switch, BY_SECOND, "by-second", "10.00")
    switch.call("caller.xml", f"tel:+{BY_SECOND}", "-d", "4000")
    pairs = [said(*pair) for pair in switch.charged(BY_SECOND)]
    assert_a_session(pairs)
    used_s = sum(each.used_s for each in pairs)
    assert used_s > 0
    assert switch.server.balance(BY_SECOND) == (str(Decimal("10.00") - Decimal("0.01") * used_s), "0.00")


def test_kamailio_cuts_the_call_when_the_money_ends(switch: Switch) -> None:
    """CLIENTS 21, RFC 8506 section 5.6.1: the final units are used up, then both ends get a BYE that neither has sent."""
    subscribe(switch, POOR, "by-second", "0.04")
    switch.call("caller-cut.xml", f"sip:{POOR}@example.org")
    pairs = [said(*pair) for pair in switch.charged(POOR)]
    assert_a_session(pairs)
    *before, last, ended = pairs
    # What it reports depends on its timers, of whole seconds; the last grant is always all that is left.
    reported_s = sum(each.used_s for each in (*before, last))
    if last.result == CREDIT_LIMIT_REACHED:
        assert (last.granted_s, reported_s >= CREDIT_S) == (None, True)
    else:
        assert (last.granted_s, last.is_final) == (CREDIT_S - reported_s, True)
    used_s = reported_s + ended.used_s
    assert switch.server.balance(POOR) == (str(Decimal("0.04") - Decimal("0.01") * used_s), "0.00")


def test_without_credit_there_is_no_call(switch: Switch) -> None:
    """CLIENTS 21: absent CC-Time refuses the call."""
    subscribe(switch, BROKE, "flat-voice", "0.00")
    switch.call("caller-refused.xml", f"sip:{BROKE}@example.org")
    opened, *rest = [said(*pair) for pair in switch.charged(BROKE, ended=False)]
    assert (opened.kind, opened.result, opened.granted_s) == (INITIAL, CREDIT_LIMIT_REACHED, None)
    assert [each.kind for each in rest] in ([], [TERMINATION])
    assert switch.server.balance(BROKE) == ("0.00", "0.00")


def test_after_the_calls_the_books_are_right(switch: Switch) -> None:
    assert switch.server.ocs("sessions") == []
    assert switch.server.ocs("audit")["clean"]
    assert switch.server.troubles() == []
