"""Two connections between the same two peers: the election of RFC 6733 section 5.6.4, and the machine pair by pair."""

from collections.abc import Callable
from itertools import permutations, product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.diameter.machine import Occasion
from ocs.diameter.message import header
from ocs.diameter.peer import Closing, Identity, Opened, Peer
from ocs.diameter.states import TABLE, Action, PeerEvent, State
from tests.unit.diameter.rig import (
    HOST,
    LOCAL,
    avp,
    ccr,
    cer,
    closing,
    dialled,
    kinds,
    make,
    opened,
    read,
    state,
    success,
)

LATER, EARLIER = avp(264, "zzz.example.org"), HOST  # beside ocs.example.org


def arrive(dialler: Peer, host: bytes, now_ms: int = 1) -> Peer:
    """Let the peer that we are dialling dial us too."""
    peer = make(rival=lambda _: dialler)
    assert peer.receive(cer(host=host), now_ms) == []
    return peer


def test_the_responder_with_the_later_name_wins_and_closes_the_connection_that_it_opened() -> None:
    ours, _ = dialled()
    theirs = arrive(ours, EARLIER)
    assert closing(ours)
    assert state(theirs) is State.R_OPEN
    assert read(theirs.outgoing()).result_code == 2001
    assert kinds(theirs.events()) == [Opened]
    assert ours.events() == [Closing("the other connection won the election")]
    assert state(ours) is State.CLOSED, "it has left the machine that goes on without it"


def test_the_responder_with_the_earlier_name_waits_and_yields_to_the_cea() -> None:
    ours, request = dialled()
    theirs = arrive(ours, LATER)
    assert state(ours) is state(theirs) is State.WAIT_RETURNS
    assert theirs.outgoing() == b""
    ours.receive(success(request, host=LATER), 2)
    assert closing(theirs)
    assert state(ours) is State.I_OPEN
    assert kinds(ours.events()) == [Opened]
    assert kinds(theirs.events()) == [Closing]


@pytest.mark.parametrize("end", ["eof", "refusal"])
def test_a_lost_election_is_taken_back_when_the_other_connection_fails(end: str) -> None:
    ours, request = dialled()
    theirs = arrive(ours, LATER)
    if end == "eof":
        ours.receive_eof(2)
    else:
        ours.receive(success(request, host=b""), 2)
    assert closing(ours)
    assert state(theirs) is State.R_OPEN
    assert read(theirs.outgoing()).result_code == 2001


@pytest.mark.parametrize("end", ["eof", "impatience"])
def test_a_responder_that_goes_away_during_the_election_leaves_the_dialler_waiting(end: str) -> None:
    ours, request = dialled()
    theirs = arrive(ours, LATER)
    if end == "eof":
        theirs.receive_eof(2)
    else:
        theirs.receive(ccr(), 2)
    assert closing(theirs)
    assert state(ours) is State.WAIT_I_CEA
    ours.receive(success(request, host=LATER), 3)
    assert state(ours) is State.I_OPEN


def test_an_election_without_an_end_is_ended_by_the_timer() -> None:
    ours, _ = dialled()
    theirs = arrive(ours, LATER)
    theirs.tick(10**6)
    assert closing(ours)
    assert closing(theirs)


def test_a_cer_while_the_transport_is_being_dialled_waits_for_it() -> None:
    ours = make(initiator=True, connected=False)
    theirs = arrive(ours, EARLIER)
    assert state(ours) is State.WAIT_CONN_ACK_ELECT
    assert theirs.outgoing() == b""
    ours.connected(2)
    assert closing(ours)
    assert state(theirs) is State.R_OPEN


def test_a_cer_while_the_transport_is_being_dialled_is_answered_when_that_fails() -> None:
    ours = make(initiator=True, connected=False)
    theirs = arrive(ours, LATER)
    ours.connect_failed(2)
    assert state(theirs) is State.R_OPEN
    assert read(theirs.outgoing()).result_code == 2001


def test_a_third_connection_is_rejected_while_an_election_runs() -> None:
    ours, _ = dialled()
    theirs = arrive(ours, LATER)
    third = make(rival=lambda _: theirs)
    third.receive(cer(host=LATER), 2)
    assert closing(third)
    assert state(ours) is state(theirs) is State.WAIT_RETURNS


def test_a_second_connection_of_an_open_peer_is_rejected_where_one_is_the_rule() -> None:
    first = opened()
    second = make(rival=lambda _: first)
    second.receive(cer(), 1)
    assert closing(second)
    assert second.outgoing() == b""
    assert second.events() == [Closing("a connection with this peer exists")]
    assert first.receive(ccr(), 2) == [ccr()]


def test_a_second_connection_of_an_open_peer_stands_alone_where_many_are_allowed() -> None:
    first, second = opened(), opened()
    second.receive_eof(1)
    assert first.receive(ccr(), 2) == [ccr()]


@pytest.mark.parametrize("end", ["leaving", "gone"])
def test_a_connection_that_is_closing_is_no_rival(end: str) -> None:
    first = opened()
    first.disconnect(0, 0)
    if end == "gone":
        first.receive_eof(0)
    second = make(rival=lambda _: first)
    second.receive(cer(), 1)
    assert state(second) is State.R_OPEN


class Wire:
    """Two nodes that dial each other at the same moment, and the octets between them."""

    def __init__(self, left: str, right: str) -> None:
        self.dialled: dict[str, Peer] = {}
        self.ends: list[tuple[Peer, Peer]] = []
        for here, there in ((left, right), (right, left)):
            dialler = make(initiator=True, connected=False, local=LOCAL._replace(origin_host=here))
            answerer = make(local=LOCAL._replace(origin_host=there), rival=self._rival_of(there))
            self.dialled[here] = dialler
            self.ends.append((dialler, answerer))

    def _rival_of(self, name: str) -> Callable[[Identity], Peer]:
        return lambda _: self.dialled[name]

    def run(self, order: Random) -> None:
        """Carry octets and closings in any order until nothing moves."""
        waiting = [dialler for dialler, _ in self.ends]
        pipes: list[tuple[Peer, bytes]] = []
        for now_ms in range(1_000):
            moves = len(waiting) + len(pipes)
            if moves == 0:
                return
            at = order.randrange(moves)
            if at < len(waiting):
                waiting.pop(at).connected(now_ms)
            else:
                # Of one receiver only the oldest octets may arrive.
                to = pipes[at - len(waiting)][0]
                [first, *_] = [pipe for pipe in pipes if pipe[0] is to]
                pipes.remove(first)
                if first[1] == b"":
                    to.receive_eof(now_ms)
                else:
                    to.receive(first[1], now_ms)
            for pair in self.ends:
                for one, other in (pair, pair[::-1]):
                    octets = one.outgoing()
                    if octets:
                        pipes.append((other, octets))
                    if one.closing and not any(pipe == (other, b"") for pipe in pipes) and not other.closing:
                        pipes.append((other, b""))
        raise AssertionError("the two nodes never come to rest")


@given(st.randoms(use_true_random=False), st.permutations(["aaa.example.org", "mmm.example.org"]))
@settings(max_examples=200, deadline=None)
def test_two_nodes_that_dial_each_other_keep_exactly_one_connection_that_the_later_name_answered(
    order: Random, pair: list[str]
) -> None:
    wire = Wire(*pair)
    wire.run(order)
    alive = [
        (dialler, answerer) for dialler, answerer in wire.ends if not (dialler.closing or answerer.closing)
    ]
    assert len(alive) == 1
    [(dialler, answerer)] = alive
    assert (dialler.state, answerer.state) == (State.I_OPEN, State.R_OPEN)


# ---------------------------------------------------------------- the machine, pair by pair


def at_state(where: State) -> tuple[Peer, Peer | None]:
    """Bring real peers into a state by what peers send; returns the one on which events come, and its rival."""
    if where is State.CLOSED:
        return make(), None
    if where is State.WAIT_CONN_ACK:
        return make(initiator=True, connected=False), None
    if where is State.WAIT_I_CEA:
        return dialled()[0], None
    if where is State.WAIT_CONN_ACK_ELECT:
        ours = make(initiator=True, connected=False)
        return ours, arrive(ours, LATER)
    if where is State.WAIT_RETURNS:
        ours, _ = dialled()
        return ours, arrive(ours, LATER)
    if where is State.R_OPEN:
        return opened(), None
    if where is State.I_OPEN:
        ours, request = dialled()
        ours.receive(success(request), 1)
        return ours, None
    ours = opened()
    ours.disconnect(0, 1)
    return ours, None


@pytest.mark.parametrize(
    "pair", list(product(State, PeerEvent)), ids=lambda pair: f"{pair[0].value}-{pair[1].value}"
)
def test_a_real_peer_follows_the_table_from_every_state_on_every_event(pair: tuple[State, PeerEvent]) -> None:
    where, event = pair
    peer, rival = at_state(where)
    assert state(peer) is where
    machine, row = peer._machine, TABLE.get(pair)
    newcomer = make()
    newcomer.identity, newcomer.capabilities = Identity("zzz.example.org", "", ""), None
    if event is PeerEvent.R_CONN_CER:
        # What _judge_cer does before the event: it learns who comes and joins the machine.
        newcomer._cer = header(cer())
        newcomer.capabilities = opened().capabilities
        if row is not None and machine.accepted is None and where is not State.I_OPEN:
            newcomer._machine, machine.accepted = machine, newcomer
        elif where is State.CLOSED:
            peer._cer, peer.identity, peer.capabilities = (
                newcomer._cer,
                newcomer.identity,
                newcomer.capabilities,
            )
    if event is PeerEvent.I_RCV_CEA:
        peer.identity, peer.capabilities = newcomer.identity, opened().capabilities
    source = newcomer if event is PeerEvent.R_CONN_CER and where is not State.CLOSED else peer
    before = peer.discarded
    initiated, accepted = machine.initiated, machine.accepted
    fired = peer._fire(event, Occasion(5, source, "why", header(cer()), b"octets", 5010), machine)
    assert fired is (row is not None)
    if row is None:
        assert machine.state is where
        assert peer.discarded == before + 1
        assert not closing(peer)
    else:
        assert machine.state is row.next_state
        closes = {
            Action.I_DISC: (initiated,),
            Action.CLEANUP: (initiated,),
            Action.R_DISC: (accepted,),
            Action.R_REJECT: (source,),
            Action.ERROR: (initiated, accepted),
        }
        expected = {one for action in row.actions for one in closes.get(action, ()) if one is not None}
        assert {one for one in (peer, rival, newcomer) if one is not None and one.closing} == expected


@given(st.lists(st.binary(max_size=80), max_size=6), st.sampled_from(["closed", "open", "dialled"]))
@settings(max_examples=300, deadline=None)
def test_no_octets_make_a_peer_raise(chunks: list[bytes], start: str) -> None:
    peer = {"closed": make, "open": opened, "dialled": lambda: dialled()[0]}[start]()
    for now_ms, chunk in enumerate(chunks):
        for octets in peer.receive(chunk, now_ms):
            assert octets[8:12] != bytes(4)
    peer.tick(10**6)
    peer.outgoing()


@given(st.binary(max_size=120), st.integers(0, 255), st.integers(250, 300), st.integers(0, 8))
@settings(max_examples=300, deadline=None)
def test_no_base_message_makes_an_open_peer_raise_or_fall_silent(
    body: bytes, flags: int, command: int, start: int
) -> None:
    body = body[: len(body) & ~3]
    octets = (
        b"\x01"
        + (20 + len(body)).to_bytes(3, "big")
        + bytes((flags,))
        + command.to_bytes(3, "big")
        + bytes(12)
        + body
    )
    peer = opened()
    assert peer.receive(octets, start) == []
    said = peer.outgoing()
    assert bool(said) is bool(flags & 0x80), "a request is answered, an answer is not"
    if said:
        assert read(said).header.command_code == command


def leave(peer: Peer, now_ms: int) -> None:
    peer.disconnect(0, now_ms)


def test_every_order_of_the_same_three_ends_leaves_a_peer_closed_and_told_once() -> None:
    for ends in permutations((Peer.receive_eof, leave, Peer.tick)):
        peer = opened()
        for now_ms, end in enumerate(ends, 1):
            end(peer, now_ms * 10**6)
        peer.receive_eof(10**9)
        assert closing(peer)
        assert kinds(peer.events()).count(Closing) == 1
