"""The peer table against RFC 6733 section 5.6, pair by pair."""

from itertools import product
from pathlib import Path

import pytest

from ocs.diameter.states import (
    OPEN_STATES,
    ROWS,
    TABLE,
    Action,
    PeerEvent,
    State,
    diagram,
    listing,
    wins_election,
)

# Written down from RFC 6733 section 5.6, independently of the table: state | event | actions | next state.
RFC = """
Closed | Start | I-Snd-Conn-Req | Wait-Conn-Ack
Closed | R-Conn-CER | R-Accept, Process-CER, R-Snd-CEA | R-Open
Wait-Conn-Ack | I-Rcv-Conn-Ack | I-Snd-CER | Wait-I-CEA
Wait-Conn-Ack | I-Rcv-Conn-Nack | Cleanup | Closed
Wait-Conn-Ack | R-Conn-CER | R-Accept, Process-CER | Wait-Conn-Ack/Elect
Wait-Conn-Ack | Timeout | Error | Closed
Wait-I-CEA | I-Rcv-CEA | Process-CEA | I-Open
Wait-I-CEA | R-Conn-CER | R-Accept, Process-CER, Elect | Wait-Returns
Wait-I-CEA | I-Peer-Disc | I-Disc | Closed
Wait-I-CEA | I-Rcv-Non-CEA | Error | Closed
Wait-I-CEA | Timeout | Error | Closed
Wait-Conn-Ack/Elect | I-Rcv-Conn-Ack | I-Snd-CER, Elect | Wait-Returns
Wait-Conn-Ack/Elect | I-Rcv-Conn-Nack | R-Snd-CEA | R-Open
Wait-Conn-Ack/Elect | R-Peer-Disc | R-Disc | Wait-Conn-Ack
Wait-Conn-Ack/Elect | R-Conn-CER | R-Reject | Wait-Conn-Ack/Elect
Wait-Conn-Ack/Elect | Timeout | Error | Closed
Wait-Returns | Win-Election | I-Disc, R-Snd-CEA | R-Open
Wait-Returns | I-Peer-Disc | I-Disc, R-Snd-CEA | R-Open
Wait-Returns | I-Rcv-CEA | R-Disc, Process-CEA | I-Open
Wait-Returns | R-Peer-Disc | R-Disc | Wait-I-CEA
Wait-Returns | R-Conn-CER | R-Reject | Wait-Returns
Wait-Returns | Timeout | Error | Closed
R-Open | Send-Message | R-Snd-Message | R-Open
R-Open | R-Rcv-Message | Process | R-Open
R-Open | R-Rcv-DWR | Process-DWR, R-Snd-DWA | R-Open
R-Open | R-Rcv-DWA | Process-DWA | R-Open
R-Open | R-Conn-CER | R-Reject | R-Open
R-Open | Stop | R-Snd-DPR | Closing
R-Open | R-Rcv-DPR | R-Snd-DPA | Closing
R-Open | R-Peer-Disc | R-Disc | Closed
I-Open | Send-Message | I-Snd-Message | I-Open
I-Open | I-Rcv-Message | Process | I-Open
I-Open | I-Rcv-DWR | Process-DWR, I-Snd-DWA | I-Open
I-Open | I-Rcv-DWA | Process-DWA | I-Open
I-Open | R-Conn-CER | R-Reject | I-Open
I-Open | Stop | I-Snd-DPR | Closing
I-Open | I-Rcv-DPR | I-Snd-DPA | Closing
I-Open | I-Peer-Disc | I-Disc | Closed
Closing | I-Rcv-DPA | I-Disc | Closed
Closing | R-Rcv-DPA | R-Disc | Closed
Closing | Timeout | Error | Closed
Closing | I-Peer-Disc | I-Disc | Closed
Closing | R-Peer-Disc | R-Disc | Closed
"""


def rfc_rows() -> dict[tuple[State, PeerEvent], tuple[tuple[Action, ...], State]]:
    rows: dict[tuple[State, PeerEvent], tuple[tuple[Action, ...], State]] = {}
    for line in RFC.strip().splitlines():
        state, event, actions, next_state = (cell.strip() for cell in line.split("|"))
        does = tuple(Action(name.strip()) for name in actions.split(","))
        rows[State(state), PeerEvent(event)] = (does, State(next_state))
    return rows


@pytest.mark.parametrize(
    "pair", list(product(State, PeerEvent)), ids=lambda pair: f"{pair[0].value}-{pair[1].value}"
)
def test_every_pair_of_state_and_event_is_the_rfcs_row_or_a_row_of_ours_with_a_reason_or_dropped(
    pair: tuple[State, PeerEvent],
) -> None:
    expected, row = rfc_rows().get(pair), TABLE.get(pair)
    if expected is not None:
        assert row is not None
        assert (row.actions, row.next_state) == expected
        assert row.source.startswith("5.6")
    elif row is not None:
        assert len(row.source) > len("5.6"), "a row that the RFC does not have says why it is there"


def test_no_pair_has_two_rows() -> None:
    assert len(TABLE) == len(ROWS)


def test_every_state_can_be_reached_from_closed_and_leads_back_to_closed() -> None:
    def reach(start: State, *, backwards: bool) -> set[State]:
        seen, edge = {start}, [start]
        while edge:
            here = edge.pop()
            steps = {
                row.state if backwards else row.next_state
                for row in ROWS
                if (row.next_state if backwards else row.state) is here
            }
            edge += steps - seen
            seen |= steps
        return seen

    assert reach(State.CLOSED, backwards=False) == set(State)
    assert reach(State.CLOSED, backwards=True) == set(State)


def test_every_event_and_every_action_is_used() -> None:
    assert {row.event for row in ROWS} == set(PeerEvent)
    assert {action for row in ROWS for action in row.actions} == set(Action)


def test_no_state_but_closing_outlives_a_timeout_or_a_stop() -> None:
    for state in State:
        if state in OPEN_STATES:
            assert TABLE[state, PeerEvent.STOP].next_state is State.CLOSING
        elif state is not State.CLOSING:
            assert TABLE[state, PeerEvent.TIMEOUT].next_state is State.CLOSED
            assert TABLE[state, PeerEvent.STOP].next_state is State.CLOSED


def test_the_election_is_won_by_the_later_name_and_case_does_not_count() -> None:
    assert wins_election("ocs.example.org", "ctf.example.org")
    assert not wins_election("ctf.example.org", "ocs.example.org")
    assert wins_election("OCS.example.org", "ctf.EXAMPLE.org")
    assert not wins_election("CTF.example.org", "ocs.example.org")
    assert not wins_election("ocs.example.org", "OCS.EXAMPLE.ORG")
    assert wins_election("ocs.example.org.a", "ocs.example.org")


def test_the_diagram_shows_every_change_of_state() -> None:
    drawn = diagram()
    assert drawn.startswith("stateDiagram-v2\n    [*] --> Closed\n")
    for row in ROWS:
        if row.state is not row.next_state:
            here, there = (state.name.title().replace("_", "") for state in (row.state, row.next_state))
            [arrow] = [
                line for line in drawn.splitlines() if line.strip().startswith(f"{here} --> {there}: ")
            ]
            assert row.event.value in arrow.partition(": ")[2].split(", ")


def test_the_page_of_states_is_the_one_that_the_table_draws() -> None:
    page = (Path(__file__).parents[3] / "ocs" / "diameter" / "STATES.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{diagram()}```\n" in page
    assert listing() in page
