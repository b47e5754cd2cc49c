import pytest

from ocs.charging.ask import EVENT, INITIAL, TERMINATION, UPDATE
from ocs.server.admission import DRAIN, PEER, WORKER, Admission


def test_requests_up_to_the_bound_are_let_in_and_those_beyond_it_are_not() -> None:
    seat = Admission(per_peer_max=2, worker_max=10).seat("a")
    assert [seat.admit(UPDATE) for _ in range(3)] == [None, None, PEER]


def test_an_answered_request_makes_room() -> None:
    seat = Admission(per_peer_max=1, worker_max=10).seat("a")
    assert seat.admit(INITIAL) is None
    seat.release()
    assert seat.admit(INITIAL) is None


def test_terminations_have_a_quarter_more_room() -> None:
    admission = Admission(per_peer_max=4, worker_max=100)
    seat = admission.seat("a")
    assert [seat.admit(UPDATE) for _ in range(5)] == [None] * 4 + [PEER]
    assert [seat.admit(TERMINATION) for _ in range(2)] == [None, PEER]


def test_the_worker_has_a_bound_of_its_own_with_room_for_terminations() -> None:
    admission = Admission(per_peer_max=100, worker_max=4)
    seats = [admission.seat(host) for host in "abcde"]
    assert [seat.admit(INITIAL) for seat in seats] == [None] * 4 + [WORKER]
    assert [seats[0].admit(TERMINATION) for _ in range(2)] == [None, WORKER]
    assert admission.inflight == 5


@pytest.mark.parametrize(
    ("kind", "bound"), [(INITIAL, DRAIN), (EVENT, DRAIN), (UPDATE, None), (TERMINATION, None)]
)
def test_a_draining_worker_begins_nothing_but_ends_what_is_open(kind: int, bound: str | None) -> None:
    admission = Admission(per_peer_max=1, worker_max=1)
    admission.draining = True
    assert admission.seat("a").admit(kind) == bound


def test_connections_of_one_peer_share_one_seat_whatever_the_case_of_its_name() -> None:
    admission = Admission(per_peer_max=1, worker_max=10)
    assert admission.seat("PGW.example.net") is admission.seat("pgw.example.net")


def test_a_peer_that_comes_back_is_still_charged_with_what_it_has_under_way() -> None:
    admission = Admission(per_peer_max=1, worker_max=10)
    first = admission.seat("a")
    first.admit(INITIAL)
    first.leave()
    again = admission.seat("a")
    assert again.admit(INITIAL) == PEER
    first.release()
    assert again.admit(INITIAL) is None


def test_a_seat_on_which_nobody_sits_is_forgotten() -> None:
    admission = Admission(per_peer_max=1, worker_max=10)
    seat = admission.seat("a")
    seat.admit(INITIAL)
    seat.leave()
    seat.release()
    assert admission.seat("a") is not seat
    assert admission.inflight == 0
