"""A subscriber buys at the command line, a gateway uses it on the running server, the next period comes, and every figure is right."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.journey.conftest import Command
from tests.journey.test_tariff_swap import gateway, move_calendar
from tests.real_ocs import RealOcs, imsi_of

pytestmark = pytest.mark.timeout(180)  # many real processes, on a machine that may be busy

CALLER, CHILD = "491700000001", "491700000002"
MB = 1_000_000


def session(actor: Any, msisdn: str, octets: int) -> tuple[int, int]:
    """A data session that uses so much: the codes of its first and last answer."""
    who = {"msisdn": msisdn, "imsi": imsi_of(msisdn), "rating_group": 10, "wanted_octets": octets}
    opened = actor.tell({"do": "open", **who})
    ended = actor.tell({"do": "end", "session_id": opened["session_id"], "used_octets": octets})
    return opened["result_code"], ended["result_code"]


def buckets(served: RealOcs, msisdn: str) -> dict[str, Any]:
    return {each["name"]: each["remaining"] for each in served.ocs("balance", msisdn)["buckets"]}


@pytest.mark.slow
def test_products_are_bought_used_shared_renewed_and_over(tmp_path: Path) -> None:
    with RealOcs(tmp_path, "--workers", "2") as served:
        served.ocs(
            "subscriber",
            "create",
            CALLER,
            "--imsi",
            imsi_of(CALLER),
            "--tariff",
            "mobile",
            "--credit",
            "40.00",
        )
        served.ocs(
            *("subscriber", "create", CHILD, "--imsi", imsi_of(CHILD), "--tariff", "mobile"),
            *("--member-of", CALLER, "--cap", "5.00"),
        )
        with gateway(served, "gw") as actor:
            bought = served.ocs("product", "buy", CALLER, "day-pass", "--id", "order-1")
            assert (bought["price"], bought["balance"], bought["replayed"]) == ("1.99", "38.01", False)
            (held,) = served.ocs("product", "held", CALLER)
            assert (held["number"], held["until"]) == (bought["number"], bought["valid_until"])
            again = served.ocs("product", "buy", CALLER, "day-pass", "--id", "order-1")
            assert again == {**bought, "replayed": True}
            assert session(actor, CALLER, 5 * MB) == (2001, 2001)
            assert (served.balance(CALLER), buckets(served, CALLER)) == (
                ("38.01", "0.00"),
                {"day-pass@1 internet": 1_995 * MB},
            )

            assert session(actor, CHILD, MB) == (2001, 2001)
            left = served.ocs("balance", CHILD)
            assert (left["cap"], left["buckets"]) == ("5.00", [])
            assert 38.01 - float(left["balance"]) == pytest.approx(5 - float(left["cap_left"])) != 0

            shared = served.ocs("product", "buy", CALLER, "family-share", "--id", "order-2")
            before = buckets(served, CHILD)["family-share@1 internet"]
            assert session(actor, CHILD, 3 * MB) == (2001, 2001)
            assert buckets(served, CHILD)["family-share@1 internet"] == before - 3 * MB
            assert served.ocs("balance", CHILD)["balance"] == shared["balance"]

            topped = served.ocs("topup", CALLER, "20.00", "--id", "receipt-1")
            assert buckets(served, CALLER)["topup-bonus@1 bonus"] == "2.00"
            month_end = datetime.fromisoformat(shared["valid_until"])
            move_calendar(
                served.folder,
                int((month_end - datetime.now(UTC) + timedelta(minutes=1)).total_seconds() * 1000),
            )
            assert session(actor, CALLER, MB) == (2001, 2001)  # its own request opens the next month for all
            assert buckets(served, CHILD)["family-share@1 internet"] == 20_000 * MB
            renewed = served.ocs("balance", CALLER)
            assert float(topped["balance"]) - float(renewed["balance"]) == pytest.approx(19.99)
            assert session(actor, CHILD, 3 * MB) == (2001, 2001)
            assert served.ocs("audit")["clean"] is True
        assert served.troubles() == []
        ocs = Command("--data-dir", str(served.folder))
        assert ocs("product", "buy", CALLER, "nonsense", "--id", "x").code == 4
        assert ocs("product", "buy", CALLER, "week-pass", "--id", "order-1").code == 3
        assert ocs("product", "cancel", CALLER, "99").code == 4
        held = served.ocs("product", "held", CALLER)
        number = next(each["number"] for each in held if each["product"] == "family-share@1")
        assert served.ocs("product", "cancel", CALLER, str(number))["renews"] is False
        assert "family-share" in ocs("product", "list").out
