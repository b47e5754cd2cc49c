import pytest

from ocs.charging.ask import EVENT, INITIAL, TERMINATION, UPDATE
from ocs.server.admission import DRAIN, PEER, WORKER, Admission


@pytest.mark.parametrize(("kind", "room"), [(INITIAL, 16), (EVENT, 16), (UPDATE, 18), (TERMINATION, 20)])
def test_what_begins_is_refused_first_then_updates_and_terminations_last(kind: int, room: int) -> None:
    seat = Admission(per_peer_max=16, worker_max=1_000).seat("a")
    assert [seat.admit(kind) for _ in range(room + 1)] == [None] * room + [PEER]
    seats = [Admission(per_peer_max=1_000, worker_max=16).seat("a")]
    assert [seats[0].admit(kind) for _ in range(room + 1)] == [None] * room + [WORKER]


def test_a_burst_of_all_kinds_lets_in_what_matters_most() -> None:
    seat = Admission(per_peer_max=16, worker_max=1_000).seat("a")
    for _ in range(16):
        assert seat.admit(INITIAL) is None
    burst = [INITIAL, EVENT, UPDATE, TERMINATION] * 4
    assert [kind for kind in burst if seat.admit(kind) is None] == [
        UPDATE,
        TERMINATION,
        TERMINATION,
        TERMINATION,
    ]


def test_an_answered_request_makes_room() -> None:
    seat = Admission(per_peer_max=1, worker_max=10).seat("a")
    assert seat.admit(INITIAL) is None
    seat.release()
    assert seat.admit(INITIAL) is None


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


def test_the_load_is_what_is_under_way_of_what_a_beginning_may_meet() -> None:
    admission = Admission(per_peer_max=100, worker_max=16)
    seat = admission.seat("a")
    loads = [admission.load()]
    for kind in [INITIAL] * 8 + [UPDATE] * 8 + [TERMINATION] * 4:
        assert seat.admit(kind) is None
        loads.append(admission.load())
    assert (loads[0], loads[1], loads[8], loads[16], loads[20]) == (0, 6, 50, 100, 100)
