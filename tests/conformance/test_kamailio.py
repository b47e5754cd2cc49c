"""Kamailio's ims_charging before `ocs serve`: calls of sipp through it are charged while they last, cut or refused without credit."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
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


lent: set[int] = set()


def free_udp_port() -> int:
    """A free port, lent once."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in lent:
            lent.add(port)
            return port


class Switch(NamedTuple):
    """A running Kamailio before a tapped server; callers and callees come and go."""

    server: RealOcs
    tap: Tap
    sip_port: int
    folder: Path

    def sipp(self, name: str, scenario: str, port: int, *words: str) -> Stranger:
        """One end of one call, at a port of its own."""
        here = "127.0.0.1"
        command = [
            *("sipp", "-sf", str(TEMPLATES / scenario), "-i", here, "-p", str(port), "-m", "1", "-nostdin"),
            *("-mi", here, "-mp", str(free_udp_port()), "-ci", here, "-cp", str(free_udp_port())),
            *("-timeout", "25s", "-timeout_error", *words),
        ]
        return Stranger(name, command, self.folder)

    def dial(self, scenario: str, caller: str, *words: str) -> tuple[Stranger, Stranger]:
        """Both ends of a call, callee first; each ends with 0 when the call went as its scenario says."""
        port, name = free_udp_port(), re.sub("[^0-9]", "", caller)
        dialled = ("-key", "callee_port", str(port), "-key", "caller", caller, f"127.0.0.1:{self.sip_port}")
        return (
            self.sipp(f"callee-of-{name}", "callee.xml", port),
            self.sipp(f"caller-{name}", scenario, free_udp_port(), *words, *dialled),
        )

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


@pytest.fixture(scope="module")
def called(switch: Switch) -> Switch:
    """All calls at the same time, until each has ended as its scenario says; balances beforehand."""
    for number, tariff, credit in (
        (RICH, "flat-voice", "10.00"),
        (BY_SECOND, "by-second", "10.00"),
        (POOR, "by-second", f"0.0{CREDIT_S}"),
        (BROKE, "flat-voice", "0.00"),
    ):
        switch.server.ocs("subscriber", "create", number, "--tariff", tariff, "--credit", credit)
        assert switch.server.balance(number) == (credit, "0.00")
    calls = (
        switch.dial("caller.xml", f"sip:{RICH}@example.org", "-d", "4000"),
        switch.dial("caller.xml", f"tel:+{BY_SECOND}", "-d", "4000"),
        switch.dial("caller-cut.xml", f"sip:{POOR}@example.org"),
        switch.dial("caller-refused.xml", f"sip:{BROKE}@example.org"),
    )
    with ExitStack() as stack:
        for callee, caller in calls:
            stack.enter_context(callee)
            stack.enter_context(caller)
        for _, caller in calls:
            assert caller.finished() == 0, caller.name
        for callee, _ in calls[:3]:  # the last is never rung
            assert callee.finished() == 0, callee.name
        assert not calls[3][0].has_ended
    return switch


def test_a_call_is_charged_by_the_minute(called: Switch) -> None:
    """RFC 8506 section 5: four seconds, told in parts, cost one started minute."""
    pairs = [said(*pair) for pair in called.charged(RICH)]
    assert_a_session(pairs)
    assert [each.granted_s for each in pairs[:-1]] == [RESERVE_S] * (len(pairs) - 1)
    assert called.server.balance(RICH) == ("9.90", "0.00")


def test_a_call_is_charged_by_the_second_it_says_it_took(called: Switch) -> None:
    pairs = [said(*pair) for pair in called.charged(BY_SECOND)]
    assert_a_session(pairs)
    used_s = sum(each.used_s for each in pairs)
    assert used_s > 0
    assert called.server.balance(BY_SECOND) == (str(Decimal("10.00") - Decimal("0.01") * used_s), "0.00")


def test_kamailio_cuts_the_call_when_the_money_ends(called: Switch) -> None:
    """CLIENTS 21, RFC 8506 section 5.6.1: the final units are used up, then both ends get a BYE that neither has sent."""
    pairs = [said(*pair) for pair in called.charged(POOR)]
    assert_a_session(pairs)
    *before, last, ended = pairs
    assert all(each.is_final for each in pairs if each.granted_s is not None and each.granted_s < RESERVE_S)
    # What it reports depends on its timers, of whole seconds; the last grant is always all that is left.
    reported_s = sum(each.used_s for each in (*before, last))
    if last.result == CREDIT_LIMIT_REACHED:
        assert (last.granted_s, reported_s >= CREDIT_S) == (None, True)
    else:
        assert (last.granted_s, last.is_final) == (CREDIT_S - reported_s, True)
    used_s = reported_s + ended.used_s
    assert called.server.balance(POOR) == (str(Decimal("0.01") * (CREDIT_S - used_s)), "0.00")


def test_without_credit_there_is_no_call(called: Switch) -> None:
    """CLIENTS 21: absent CC-Time refuses the call."""
    opened, *rest = [said(*pair) for pair in called.charged(BROKE, ended=False)]
    assert (opened.kind, opened.result, opened.granted_s) == (INITIAL, CREDIT_LIMIT_REACHED, None)
    assert [each.kind for each in rest] in ([], [TERMINATION])
    assert called.server.balance(BROKE) == ("0.00", "0.00")


def test_after_the_calls_the_books_are_right(called: Switch) -> None:
    assert called.server.ocs("sessions") == []
    assert called.server.ocs("audit")["clean"]
    assert called.server.troubles() == []
