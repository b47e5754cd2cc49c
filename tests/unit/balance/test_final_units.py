"""The end of credit by family and rating group: what the last units say, and what becomes of a service that gets none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocs.balance.audit import audit
from ocs.charging.ask import INITIAL, UPDATE
from ocs.records import Status
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.quota_scene import CENT, MIB, Gateway, only, written
from tests.unit.charging.ccr import octets, service

PORTAL = "https://portal.example.org/top-up"
REDIRECT = f'[charging.quota.data]\nfinal_action = "REDIRECT"\nredirect_to = "{PORTAL}"\nvalidity_s = 300\n'
BARE = '[charging.quota.data]\nrating_groups = [{ rating_group = 7, final_action = "RESTRICT_ACCESS", filter_ids = ["free"] }]\n'


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


def told(one: Any) -> Any:
    """Return what a service is told: result, units, action, where to, life."""
    last, units = one.final_unit_indication, one.granted_service_unit
    server = last.redirect_server if last is not None else None
    return (
        one.result_code,
        units.cc_total_octets if units is not None else None,
        last.final_unit_action if last is not None else None,
        server.redirect_server_address if server is not None else None,
        one.validity_time,
    )


def test_the_last_units_say_where_to_go(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, REDIRECT), credit_micros=2 * CENT)
    one = only(gateway.begin())
    assert told(one) == (2001, 2 * MIB, 1, PORTAL, 300)
    assert one.final_unit_indication.redirect_server.redirect_address_type == 2


def test_who_has_nothing_is_redirected_at_once_and_gets_units_after_a_top_up(
    room: StoreRoom, tmp_path: Path
) -> None:
    gateway = Gateway(room, written(tmp_path, REDIRECT))
    answer = gateway.begin()
    assert answer.result_code == 2001
    assert told(only(answer)) == (2001, 0, 1, PORTAL, 300)
    again = gateway.say(INITIAL, 0, Multiple_Services_Credit_Control=[service(requested={})])
    assert told(only(again)) == (2001, 0, 1, PORTAL, 300)
    assert told(only(gateway.go_on(service(used=octets(0), requested={})))) == (2001, 0, 1, PORTAL, 300)
    reported = gateway.go_on(service(used=octets(0)))
    assert (reported.result_code, told(only(reported))[:3]) == (2001, (2001, None, None))
    gateway.top_up(1_000_000)
    assert told(only(gateway.go_on(service(used=octets(0), requested={})))) == (
        2001,
        10 * MIB,
        None,
        None,
        300,
    )
    assert gateway.end(service(used=octets(MIB))).result_code == 2001
    book = gateway.book()
    assert (book.posted_micros, book.pending_micros) == (CENT, 0)


def test_who_runs_out_in_a_session_is_redirected_and_goes_on_after_a_top_up(
    room: StoreRoom, tmp_path: Path
) -> None:
    gateway = Gateway(room, written(tmp_path, REDIRECT), credit_micros=2 * CENT)
    gateway.begin()
    assert told(only(gateway.go_on(service(used=octets(2 * MIB), requested={})))) == (2001, 0, 1, PORTAL, 300)
    late = gateway.say(UPDATE, 0, Multiple_Services_Credit_Control=[service(requested={})])
    assert told(only(late)) == (2001, 0, 1, PORTAL, 300)
    gateway.top_up(CENT)
    assert told(only(gateway.go_on(service(requested={})))) == (2001, MIB, 1, PORTAL, 300)
    gateway.end(service(used=octets(MIB)))
    assert (gateway.book().posted_micros, gateway.book().pending_micros) == (3 * CENT, 0)


def test_usage_while_redirected_is_set_aside_and_not_debited(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, REDIRECT))
    gateway.begin()
    gateway.go_on(service(used=octets(5 * MIB), requested={}))
    assert gateway.book().posted_micros == 0


def test_who_was_granted_before_and_is_redirected_now_is_not_debited_either(
    room: StoreRoom, tmp_path: Path
) -> None:
    gateway = Gateway(room, written(tmp_path, REDIRECT), credit_micros=2 * CENT)
    gateway.begin()
    assert told(only(gateway.go_on(service(used=octets(2 * MIB), requested={})))) == (2001, 0, 1, PORTAL, 300)
    for used in (5 * MIB, 500 * MIB):
        again = only(gateway.go_on(service(used=octets(used), requested={})))
        assert told(again) == (2001, 0, 1, PORTAL, 300)
    assert gateway.book().posted_micros == 2 * CENT
    gateway.top_up(CENT)
    assert told(only(gateway.go_on(service(used=octets(7 * MIB), requested={})))) == (
        2001,
        MIB,
        1,
        PORTAL,
        300,
    )
    gateway.end(service(used=octets(MIB)))
    assert gateway.book().posted_micros == 3 * CENT


def test_a_service_without_credit_is_refused_where_the_action_is_to_terminate(
    room: StoreRoom, tmp_path: Path
) -> None:
    gateway = Gateway(room, written(tmp_path, BARE))
    answer = gateway.begin(service(7, requested={}), service(5, requested={}))
    assert answer.result_code == 2001
    five, seven = answer.multiple_services_credit_control
    assert (seven.rating_group, seven.result_code, seven.granted_service_unit.cc_total_octets) == (7, 2001, 0)
    assert seven.final_unit_indication.filter_id == ["free"]
    assert (five.rating_group, five.result_code, five.granted_service_unit) == (5, 4012, None)
    assert Gateway(room, written(tmp_path, BARE)).begin(service(5, requested={})).result_code == 4012


def test_a_barred_subscriber_is_refused_and_not_redirected(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, REDIRECT))
    gateway.run(gateway.charged.accounts.amend(gateway.account, status=Status.BARRED))
    assert gateway.begin().result_code == 4010


def test_units_at_message_level_say_it_there(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, REDIRECT), credit_micros=CENT)
    answer = gateway.say(INITIAL, 0, Requested_Service_Unit={})
    assert answer.granted_service_unit.cc_total_octets == MIB
    assert answer.final_unit_indication.redirect_server.redirect_server_address == PORTAL
    answer = gateway.say(UPDATE, 1, Used_Service_Unit=[octets(MIB)])
    assert (answer.result_code, answer.granted_service_unit.cc_total_octets, answer.validity_time) == (
        2001,
        0,
        300,
    )
    assert answer.final_unit_indication.final_unit_action == 1
    empty = Gateway(room, written(tmp_path, ""))
    assert empty.say(INITIAL, 0, Requested_Service_Unit={}).result_code == 4012


def test_the_audit_finds_nothing_wrong_with_a_restricted_session(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, REDIRECT), credit_micros=CENT)

    def faults() -> Any:
        return gateway.run(audit(gateway.charged.parts)).faults

    gateway.begin()
    gateway.go_on(service(used=octets(MIB), requested={}))
    assert (gateway.book().sessions_open, faults()) == (1, [])
    gateway.end(service(used=octets(0)))
    assert (gateway.book().sessions_open, faults()) == (0, [])
