import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from ocs.balance.clients import client
from ocs.balance.embedded import Embedded
from ocs.balance.functions import NAME
from ocs.balance.keys import LAYOUT
from tests.journey.conftest import Command, environment
from tests.real_valkey import RealValkey

pytestmark = pytest.mark.timeout(180)  # many real processes, on a machine that may be busy

Number = Callable[[], str]
BALANCE = {"msisdn", "account", "currency", "balance", "available", "reserved", "credit_floor", "buckets"}


def alive(folder: Path) -> bool:
    return Embedded(folder, "always", None).alive()


def count_of_keys(folder: Path) -> int:
    """Keys in a folder's store; 0 while none answers."""
    try:
        with client(Embedded(folder, "always", None).address) as look:
            return int(look.dbsize())
    except redis.RedisError:
        return 0


# -- one subscriber


def test_a_new_subscriber_has_the_credit_that_it_was_created_with(ocs: Command, number: Number) -> None:
    msisdn = number()
    made = ocs.json("subscriber", "create", f"+{msisdn}", "--tariff", "flat-data", "--credit", "10.00")
    said = ocs.json("balance", msisdn)
    assert set(said) == BALANCE
    assert said == {
        "msisdn": msisdn,
        "account": made["account"],
        "currency": "EUR",
        "balance": "10.00",
        "available": "10.00",
        "reserved": "0.00",
        "credit_floor": "0.00",
        "buckets": [],
    }


def test_a_credit_floor_is_added_to_what_is_available(ocs: Command, number: Number) -> None:
    msisdn = number()
    ocs.json(
        "subscriber", "create", msisdn, "--tariff", "flat", "--kind", "postpaid", "--credit-floor", "-50.00"
    )
    said = ocs.json("balance", msisdn)
    assert (said["balance"], said["available"], said["credit_floor"]) == ("0.00", "50.00", "-50.00")
    assert ocs.json("subscriber", "show", msisdn)["kind"] == "postpaid"


def test_a_number_or_imsi_that_is_taken_is_a_conflict_and_changes_nothing(
    ocs: Command, number: Number
) -> None:
    msisdn, other = number(), number()
    imsi = f"26201{msisdn[-10:]}"
    ocs.json("subscriber", "create", msisdn, "--imsi", imsi, "--tariff", "flat", "--credit", "1.00")
    again = ocs("subscriber", "create", msisdn, "--tariff", "flat", "--credit", "5.00")
    same_card = ocs("subscriber", "create", other, "--imsi", imsi, "--tariff", "flat", "--credit", "5.00")
    assert (again.code, same_card.code) == (3, 3)
    assert "the IMSI" in same_card.remarks
    assert ocs("balance", other).code == 4
    assert ocs.json("balance", msisdn)["balance"] == "1.00"


def test_an_unknown_tariff_is_not_found_and_the_known_ones_are_named(ocs: Command, number: Number) -> None:
    said = ocs("subscriber", "create", number(), "--tariff", "flat-rate")
    assert said.code == 4
    assert "flat, flat-data, flat-sms, flat-voice" in said.remarks


def test_a_barred_subscriber_is_barred_until_unbarred(ocs: Command, number: Number) -> None:
    msisdn = number()
    ocs.json("subscriber", "create", msisdn, "--tariff", "flat")
    assert ocs.json("subscriber", "bar", msisdn)["status"] == "barred"
    assert ocs.json("subscriber", "bar", msisdn)["status"] == "barred"
    assert ocs.json("subscriber", "show", msisdn)["status"] == "barred"
    assert ocs.json("subscriber", "unbar", msisdn)["status"] == "active"


def test_a_terminated_number_may_be_given_to_somebody_else(ocs: Command, number: Number) -> None:
    msisdn = number()
    first = ocs.json("subscriber", "create", msisdn, "--tariff", "flat", "--credit", "1.00")
    assert ocs.json("subscriber", "terminate", msisdn)["status"] == "terminated"
    assert ocs("balance", msisdn).code == 4
    assert ocs("topup", msisdn, "1.00", "--id", f"late-{msisdn}").code == 4
    second = ocs.json("subscriber", "create", msisdn, "--tariff", "flat")
    assert second["account"] != first["account"]
    assert second["balance"] == "0.00"


# -- money


def test_a_topup_counts_once_by_its_id(ocs: Command, number: Number) -> None:
    msisdn, key = number(), f"till-{number()}"
    ocs.json("subscriber", "create", msisdn, "--tariff", "flat")
    first = ocs.json("topup", msisdn, "0.641667", "--id", key)
    again = ocs.json("topup", msisdn, "0.641667", "--id", key)
    assert (first["replayed"], first["balance"]) == (False, "0.641667")
    assert (again["replayed"], again["balance"]) == (True, "0.641667")
    assert ocs.json("balance", msisdn)["balance"] == "0.641667"


def test_a_topup_id_with_other_content_is_a_conflict_and_adds_nothing(ocs: Command, number: Number) -> None:
    msisdn, other, key = number(), number(), f"till-{number()}"
    for each in (msisdn, other):
        ocs.json("subscriber", "create", each, "--tariff", "flat")
    ocs.json("topup", msisdn, "1.00", "--id", key)
    assert ocs("topup", msisdn, "2.00", "--id", key).code == 3
    assert ocs("topup", other, "1.00", "--id", key).code == 3
    assert [ocs.json("balance", each)["balance"] for each in (msisdn, other)] == ["1.00", "0.00"]


def test_a_topup_of_nobody_is_not_found_and_leaves_its_id_free(ocs: Command, number: Number) -> None:
    msisdn, key = number(), f"till-{number()}"
    assert ocs("topup", msisdn, "1.00", "--id", key).code == 4
    ocs.json("subscriber", "create", msisdn, "--tariff", "flat")
    assert ocs.json("topup", msisdn, "2.00", "--id", key)["balance"] == "2.00"


# -- many


def test_bulk_creates_consecutive_numbers_with_their_imsis(folder: Path) -> None:
    ocs = Command("--data-dir", str(folder))
    words = ("subscriber", "bulk", "--first", "491710000098", "--tariff", "flat", "--credit", "2.50")
    assert ocs.json(*words, "--count", "4") == {"created": 4, "skipped": 0}
    assert ocs.json(*words, "--count", "6") == {"created": 2, "skipped": 4}
    last = ocs.json("subscriber", "show", "491710000103")
    assert (last["imsi"], last["balance"], last["tariff"]) == ("262011710000103", "2.50", "flat")
    assert ocs("balance", "491710000104").code == 4
    assert ocs.json("audit")["balance"] == "15.00"


def test_bulk_leaves_a_number_alone_that_was_there_without_credit(ocs: Command, number: Number) -> None:
    msisdn = number()
    ocs.json("subscriber", "create", msisdn, "--tariff", "flat")
    words = ("subscriber", "bulk", "--first", msisdn, "--count", "1", "--tariff", "flat", "--credit", "9.00")
    assert ocs.json(*words) == {"created": 0, "skipped": 1}
    assert ocs.json("balance", msisdn)["balance"] == "0.00"


def test_a_bulk_that_was_killed_is_finished_by_the_next(folder: Path) -> None:
    ocs = Command("--data-dir", str(folder))
    words = ("subscriber", "bulk", "--first", "491720000000", "--tariff", "flat", "--credit", "1.00")
    with Embedded.start_or_adopt(folder) as store, client(store.address) as look:
        first = subprocess.Popen(ocs.arguments(*words, "--count", "5000"), env=environment())
        while look.dbsize() < 2000:
            assert first.poll() is None, "the bulk ended before it could be killed"
            time.sleep(0.005)
        first.send_signal(signal.SIGKILL)
        first.wait()
        second = ocs.json(*words, "--count", "5000")
        assert second["created"] + second["skipped"] == 5000
        assert second["skipped"] > 0
        audit = ocs.json("audit")
        assert (audit["accounts"], audit["balance"], audit["clean"]) == (5000, "5000.00", True)


# -- stores


def test_a_store_that_was_started_for_a_call_ends_with_it(folder: Path) -> None:
    ocs = Command("--data-dir", str(folder))
    ocs.json("subscriber", "create", "491700000001", "--tariff", "flat", "--credit", "1.00")
    assert not alive(folder)
    assert ocs.json("balance", "491700000001")["balance"] == "1.00"
    assert not alive(folder)


def test_a_call_that_is_told_to_end_stops_the_store_that_it_started(folder: Path) -> None:
    words = ("subscriber", "bulk", "--count", "200000", "--first", "491730000000", "--tariff", "flat")
    bulk = subprocess.Popen(Command("--data-dir", str(folder)).arguments(*words), env=environment())
    while count_of_keys(folder) < 10:
        assert bulk.poll() is None
        time.sleep(0.01)
    bulk.terminate()
    assert bulk.wait(20) == 128 + signal.SIGTERM
    assert not alive(folder)


def test_a_server_that_is_not_there_is_store_unavailable(ocs: Command) -> None:
    said = Command("--store", "redis://127.0.0.1:1")("balance", "491700000001")
    assert (said.code, "store is not available" in said.remarks) == (5, True)


def test_a_store_that_may_evict_money_is_refused_with_what_would_be_right(own_valkey: RealValkey) -> None:
    with own_valkey.client() as look:
        look.config_set("maxmemory-policy", "allkeys-lru")
    said = Command("--store", own_valkey.url)("balance", "491700000001")
    assert (said.code, "noeviction" in said.remarks) == (5, True)


def test_a_store_that_does_not_sync_is_refused_unless_that_is_asked_for(own_valkey: RealValkey) -> None:
    ocs = Command("--store", own_valkey.url)
    said = ocs("balance", "491700000001")
    assert (said.code, "appendfsync" in said.remarks) == (5, True)
    assert ocs("balance", "491700000001", OCS_STORE__DURABILITY="everysec").code == 4


def test_a_store_of_another_layout_is_refused_with_what_would_be_right(folder: Path) -> None:
    ocs = Command("--data-dir", str(folder))
    ocs.json("subscriber", "create", "491700000001", "--tariff", "flat")
    said = ocs("balance", "491700000001", OCS_STORE__PARTITIONS="64")
    assert (said.code, "set store.partitions = 256" in said.remarks) == (5, True)
    assert ocs("balance", "491700000001").code == 0


def test_a_store_of_an_older_server_is_refused_before_anything_is_written(durable_valkey: RealValkey) -> None:
    with durable_valkey.client() as look:
        look.set("ocs:layout", "1 256")
        said = Command("--store", durable_valkey.url)("balance", "491700000001")
        assert (said.code, f"key layout 1 and this server has {LAYOUT}" in said.remarks) == (5, True)
        assert look.keys("*") == [b"ocs:layout"]


def test_the_functions_are_loaded_by_hand(durable_valkey: RealValkey) -> None:
    ocs = Command("--store", durable_valkey.url)
    assert ocs.json("functions", "load")["library"] == NAME
    assert ocs.json("functions", "load")["library"] == NAME
    with durable_valkey.client() as look:
        assert [library[1] for library in look.function_list()] == [NAME.encode()]


def test_all_errors_of_the_settings_are_told_at_once(tmp_path: Path, ocs: Command) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text("[diameter]\nport = 70000\n[stroe]\nurl = 'redis://h'\n")
    said = ocs("balance", "491700000001", "--config", str(file), OCS_SERVER__WORKERS="none")
    assert said.code == 2
    assert all(part in said.remarks for part in ("diameter.port", "stroe", "OCS_SERVER__WORKERS"))


# -- the audit


def test_an_archive_whose_notes_cannot_be_read_ends_the_audit_with_their_name(folder: Path) -> None:
    ocs = Command("--data-dir", str(folder))
    ocs.json("subscriber", "create", "491700000001", "--tariff", "flat", "--credit", "1.00")
    notes = folder / "archive" / "place.json"
    notes.parent.mkdir()
    notes.write_bytes(b'{"0": ["1-1", 7]}')
    said = ocs("audit")
    assert (said.code, "the archive is damaged" in said.remarks, "place.json" in said.remarks) == (
        1,
        True,
        True,
    )
    assert "Traceback" not in said.remarks


def test_an_audit_of_a_book_that_was_tampered_with_finds_it(folder: Path) -> None:
    ocs = Command("--data-dir", str(folder))
    ocs.json("subscriber", "create", "491700000001", "--tariff", "flat", "--credit", "1.00")
    assert ocs.json("audit")["clean"] is True
    with Embedded.start_or_adopt(folder) as store, client(store.address) as look:
        stream = next(key for key in look.scan_iter("*:stream") if look.xlen(key) > 2)
        look.xdel(stream, look.xrevrange(stream, count=1)[0][0])
    said = ocs("audit", "--json")
    assert (said.code, said.json["clean"]) == (1, False)
    assert said.json["faults"] != []


def test_a_folder_that_cannot_be_used_is_store_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = Command("--data-dir", str(tmp_path / "file" / "below"))("balance", "491700000001")
    assert (said.code, "Traceback" in said.remarks) == (5, False)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


# -- sessions


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("end",), 2),
        (("end", "s;1", "--all-of", "491700000001"), 2),
        (("end", "s;1"), 4),
        (("reauthorise",), 2),
        (("reauthorise", "s;1", "--tariff", "flat"), 2),
        (("reauthorise", "--tariff", "flat", "--rating-group", "10"), 2),
        (("reauthorise", "--tariff", "none-such"), 4),
        (("reauthorise", "--msisdn", "491799999999"), 4),
        (("reauthorise", "s;1"), 4),
    ],
    ids=str,
)
def test_which_sessions_are_meant_is_said_once(ocs: Command, words: tuple[str, ...], code: int) -> None:
    assert ocs("session", *words).code == code


def test_who_has_no_session_has_none_to_end_or_to_ask(ocs: Command, number: Number) -> None:
    msisdn = number()
    ocs.json("subscriber", "create", msisdn, "--tariff", "flat")
    assert ocs.json("session", "end", "--all-of", msisdn) == []
    assert ocs.json("session", "reauthorise", "--msisdn", msisdn) == {"sessions": 0, "told": 0}
    assert ocs("session", "end", "--all-of", msisdn).out == "no open session\n"


def test_orders_for_top_ups_are_listed_and_one_that_is_not_there_is_not_resumed(
    ocs: Command, number: Number
) -> None:
    one = number()
    ocs.json("subscriber", "create", one, "--tariff", "flat-data")
    assert ocs.json("subscriber", "orders", one) == []
    assert ocs("subscriber", "orders", one, "--resume", "till:rent").code == 4
    assert ocs("subscriber", "orders", one, "--end", "till:rent").code == 4
    assert ocs("subscriber", "orders", one, "--end", "a:b", "--resume", "a:b").code == 2
    assert ocs("subscriber", "orders", number()).code == 4
