"""Capabilities where accounting is served: a client of Rf has it in common with us; and where it is not, nothing is as it was."""

import pytest
from diameter.message import Message as Stranger

from ocs.diameter import base
from ocs.diameter.base import BaseMessages
from ocs.diameter.codec import Codec
from ocs.diameter.message import header
from tests.unit.diameter.rig import LOCAL, avp, cer

ACCOUNTING = avp(259, 3)
SPECIFIC = avp(260, avp(266, 10415) + ACCOUNTING)
RELAY = avp(259, 0xFFFFFFFF)


def verdict(*offers: bytes, accounting: bool) -> int:
    judged = base.judge(
        Codec(accounting=accounting), cer(*offers), "127.0.0.1", lambda _who: None, accounting=accounting
    )
    return judged.result_code


@pytest.mark.parametrize("offer", [ACCOUNTING, SPECIFIC], ids=["plain", "vendor-specific"])
def test_accounting_is_common_where_it_is_served_and_only_there(offer: bytes) -> None:
    assert verdict(offer, accounting=True) == 2001
    assert verdict(offer, accounting=False) == 5010


@pytest.mark.parametrize("accounting", [True, False])
def test_credit_control_and_relays_are_common_as_before(accounting: bool) -> None:  # noqa: FBT001
    assert verdict(avp(258, 4), accounting=accounting) == 2001
    assert verdict(RELAY, accounting=accounting) == 2001
    assert verdict(avp(259, 7), accounting=accounting) == 5010


def test_a_stranger_finds_accounting_beside_credit_control_in_our_cea() -> None:
    request = header(cer())
    answer = Stranger.from_bytes(BaseMessages(LOCAL._replace(accounting=True)).cea(request))
    assert (answer.auth_application_id, answer.acct_application_id) == ([4], [3])
    specific = [
        (each.auth_application_id, each.acct_application_id) for each in answer.vendor_specific_application_id
    ]
    assert specific == [(4, None), (None, 3)]
    plain = Stranger.from_bytes(BaseMessages(LOCAL).cea(request))
    assert (plain.auth_application_id, plain.acct_application_id) == ([4], [])
