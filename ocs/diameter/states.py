"""The peer state machine of RFC 6733 section 5.6 as a table: (state, event) -> (actions, next state, source).

Laws
1. The table is the machine: peer.py looks rows up and carries their actions out in order; it decides nothing by state
   elsewhere.
2. Events and actions that begin with I belong to the connection that we opened, with R to the one that the peer opened.
3. A pair that has no row changes nothing: the event is counted and dropped.
4. A row whose source is not "5.6" is ours; its source says why it has to be there.
5. A connection that was refused never passes through an open state.
"""

from enum import Enum
from typing import NamedTuple


class State(Enum):
    """Where a peer's state machine stands (RFC 6733 section 5.6)."""

    CLOSED = "Closed"
    WAIT_CONN_ACK = "Wait-Conn-Ack"
    WAIT_I_CEA = "Wait-I-CEA"
    WAIT_CONN_ACK_ELECT = "Wait-Conn-Ack/Elect"
    WAIT_RETURNS = "Wait-Returns"
    R_OPEN = "R-Open"
    I_OPEN = "I-Open"
    CLOSING = "Closing"


class PeerEvent(Enum):
    """What may happen to a peer (RFC 6733 section 5.6.2); the last block is ours."""

    START = "Start"
    STOP = "Stop"
    TIMEOUT = "Timeout"
    WIN_ELECTION = "Win-Election"
    SEND_MESSAGE = "Send-Message"
    R_CONN_CER = "R-Conn-CER"
    I_RCV_CONN_ACK = "I-Rcv-Conn-Ack"
    I_RCV_CONN_NACK = "I-Rcv-Conn-Nack"
    I_RCV_CEA = "I-Rcv-CEA"
    I_RCV_NON_CEA = "I-Rcv-Non-CEA"
    I_PEER_DISC = "I-Peer-Disc"
    R_PEER_DISC = "R-Peer-Disc"
    I_RCV_MESSAGE = "I-Rcv-Message"
    R_RCV_MESSAGE = "R-Rcv-Message"
    I_RCV_DWR = "I-Rcv-DWR"
    R_RCV_DWR = "R-Rcv-DWR"
    I_RCV_DWA = "I-Rcv-DWA"
    R_RCV_DWA = "R-Rcv-DWA"
    I_RCV_DPR = "I-Rcv-DPR"
    R_RCV_DPR = "R-Rcv-DPR"
    I_RCV_DPA = "I-Rcv-DPA"
    R_RCV_DPA = "R-Rcv-DPA"

    R_RCV_BAD_CER = "R-Rcv-Bad-CER"
    """A CER that is refused: unknown peer, nothing in common, or not decodable (RFC 6733 section 5.3)."""
    R_RCV_NON_CER = "R-Rcv-Non-CER"
    """Anything but a CER on a connection whose peer is not known yet (RFC 6733 section 5.6.1)."""
    I_RCV_CER = "I-Rcv-CER"
    """A CER on a connection whose capabilities have been exchanged already."""
    R_RCV_CER = "R-Rcv-CER"
    """A CER on a connection whose capabilities have been exchanged already."""
    WATCHDOG_DOWN = "Watchdog-Down"
    """CloseConnection() of the watchdog (RFC 3539 section 3.4.1)."""


class Action(Enum):
    """What the machine does (RFC 6733 section 5.6.3); the last block is ours."""

    I_SND_CONN_REQ = "I-Snd-Conn-Req"
    R_ACCEPT = "R-Accept"
    R_REJECT = "R-Reject"
    PROCESS_CER = "Process-CER"
    PROCESS_CEA = "Process-CEA"
    CLEANUP = "Cleanup"
    ERROR = "Error"
    ELECT = "Elect"
    I_DISC = "I-Disc"
    R_DISC = "R-Disc"
    I_SND_CER = "I-Snd-CER"
    R_SND_CEA = "R-Snd-CEA"
    I_SND_MESSAGE = "I-Snd-Message"
    R_SND_MESSAGE = "R-Snd-Message"
    PROCESS = "Process"
    PROCESS_DWR = "Process-DWR"
    PROCESS_DWA = "Process-DWA"
    I_SND_DWA = "I-Snd-DWA"
    R_SND_DWA = "R-Snd-DWA"
    I_SND_DPR = "I-Snd-DPR"
    R_SND_DPR = "R-Snd-DPR"
    I_SND_DPA = "I-Snd-DPA"
    R_SND_DPA = "R-Snd-DPA"

    R_SND_REFUSAL = "R-Snd-Refusal"
    """A CEA with the result code that says why (3010, 5010, 5005 ...)."""
    I_SND_UNABLE = "I-Snd-Unable"
    """A CEA with 5012: capabilities are exchanged once per connection."""
    R_SND_UNABLE = "R-Snd-Unable"
    """A CEA with 5012: capabilities are exchanged once per connection."""
    SND_MESSAGE = "Snd-Message"
    """A message on the connection that is left."""


class Row(NamedTuple):
    """One line of the table."""

    state: State
    event: PeerEvent
    actions: tuple[Action, ...]
    next_state: State
    source: str


_S, _E, _A = State, PeerEvent, Action

# One row a line, however long: the table is read as a table.
# fmt: off
_BEFORE_OPEN = (
    Row(_S.CLOSED, _E.START, (_A.I_SND_CONN_REQ,), _S.WAIT_CONN_ACK, "5.6"),
    Row(_S.CLOSED, _E.R_CONN_CER, (_A.R_ACCEPT, _A.PROCESS_CER, _A.R_SND_CEA), _S.R_OPEN, "5.6"),
    Row(_S.CLOSED, _E.R_RCV_BAD_CER, (_A.R_SND_REFUSAL, _A.R_DISC), _S.CLOSED, "5.3: answer, then disconnect"),
    Row(_S.CLOSED, _E.R_RCV_NON_CER, (_A.R_DISC,), _S.CLOSED, "5.6.1: who speaks is known by its CER only"),
    Row(_S.CLOSED, _E.R_PEER_DISC, (_A.R_DISC,), _S.CLOSED, "a connection that ends before its CER"),
    Row(_S.CLOSED, _E.TIMEOUT, (_A.R_DISC,), _S.CLOSED, "a connection on which no CER comes"),
    Row(_S.CLOSED, _E.STOP, (_A.R_DISC,), _S.CLOSED, "shut down before the CER"),
    Row(_S.WAIT_CONN_ACK, _E.I_RCV_CONN_ACK, (_A.I_SND_CER,), _S.WAIT_I_CEA, "5.6"),
    Row(_S.WAIT_CONN_ACK, _E.I_RCV_CONN_NACK, (_A.CLEANUP,), _S.CLOSED, "5.6"),
    Row(_S.WAIT_CONN_ACK, _E.R_CONN_CER, (_A.R_ACCEPT, _A.PROCESS_CER), _S.WAIT_CONN_ACK_ELECT, "5.6"),
    Row(_S.WAIT_CONN_ACK, _E.TIMEOUT, (_A.ERROR,), _S.CLOSED, "5.6"),
    Row(_S.WAIT_CONN_ACK, _E.STOP, (_A.CLEANUP,), _S.CLOSED, "shut down before the connection stands"),
    Row(_S.WAIT_I_CEA, _E.I_RCV_CEA, (_A.PROCESS_CEA,), _S.I_OPEN, "5.6"),
    Row(_S.WAIT_I_CEA, _E.R_CONN_CER, (_A.R_ACCEPT, _A.PROCESS_CER, _A.ELECT), _S.WAIT_RETURNS, "5.6"),
    Row(_S.WAIT_I_CEA, _E.I_PEER_DISC, (_A.I_DISC,), _S.CLOSED, "5.6"),
    Row(_S.WAIT_I_CEA, _E.I_RCV_NON_CEA, (_A.ERROR,), _S.CLOSED, "5.6; a CEA that refuses us counts as one"),
    Row(_S.WAIT_I_CEA, _E.TIMEOUT, (_A.ERROR,), _S.CLOSED, "5.6"),
    Row(_S.WAIT_I_CEA, _E.STOP, (_A.I_DISC,), _S.CLOSED, "shut down before the CEA"),
)

_ELECTION = (
    Row(_S.WAIT_CONN_ACK_ELECT, _E.I_RCV_CONN_ACK, (_A.I_SND_CER, _A.ELECT), _S.WAIT_RETURNS, "5.6"),
    Row(_S.WAIT_CONN_ACK_ELECT, _E.I_RCV_CONN_NACK, (_A.R_SND_CEA,), _S.R_OPEN, "5.6"),
    Row(_S.WAIT_CONN_ACK_ELECT, _E.R_PEER_DISC, (_A.R_DISC,), _S.WAIT_CONN_ACK, "5.6"),
    Row(_S.WAIT_CONN_ACK_ELECT, _E.R_RCV_NON_CER, (_A.R_DISC,), _S.WAIT_CONN_ACK, "it has to wait for its CEA"),
    Row(_S.WAIT_CONN_ACK_ELECT, _E.R_CONN_CER, (_A.R_REJECT,), _S.WAIT_CONN_ACK_ELECT, "5.6"),
    Row(_S.WAIT_CONN_ACK_ELECT, _E.TIMEOUT, (_A.ERROR,), _S.CLOSED, "5.6"),
    Row(_S.WAIT_CONN_ACK_ELECT, _E.STOP, (_A.ERROR,), _S.CLOSED, "shut down during an election"),
    Row(_S.WAIT_RETURNS, _E.WIN_ELECTION, (_A.I_DISC, _A.R_SND_CEA), _S.R_OPEN, "5.6"),
    Row(_S.WAIT_RETURNS, _E.I_PEER_DISC, (_A.I_DISC, _A.R_SND_CEA), _S.R_OPEN, "5.6"),
    Row(_S.WAIT_RETURNS, _E.I_RCV_NON_CEA, (_A.I_DISC, _A.R_SND_CEA), _S.R_OPEN, "refused there, accepted here"),
    Row(_S.WAIT_RETURNS, _E.I_RCV_CEA, (_A.R_DISC, _A.PROCESS_CEA), _S.I_OPEN, "5.6; the CEA has to be read"),
    Row(_S.WAIT_RETURNS, _E.R_PEER_DISC, (_A.R_DISC,), _S.WAIT_I_CEA, "5.6"),
    Row(_S.WAIT_RETURNS, _E.R_RCV_NON_CER, (_A.R_DISC,), _S.WAIT_I_CEA, "it has to wait for its CEA"),
    Row(_S.WAIT_RETURNS, _E.R_CONN_CER, (_A.R_REJECT,), _S.WAIT_RETURNS, "5.6"),
    Row(_S.WAIT_RETURNS, _E.TIMEOUT, (_A.ERROR,), _S.CLOSED, "5.6"),
    Row(_S.WAIT_RETURNS, _E.STOP, (_A.ERROR,), _S.CLOSED, "shut down during an election"),
)

_OPEN = (
    Row(_S.R_OPEN, _E.SEND_MESSAGE, (_A.R_SND_MESSAGE,), _S.R_OPEN, "5.6"),
    Row(_S.R_OPEN, _E.R_RCV_MESSAGE, (_A.PROCESS,), _S.R_OPEN, "5.6"),
    Row(_S.R_OPEN, _E.R_RCV_DWR, (_A.PROCESS_DWR, _A.R_SND_DWA), _S.R_OPEN, "5.6"),
    Row(_S.R_OPEN, _E.R_RCV_DWA, (_A.PROCESS_DWA,), _S.R_OPEN, "5.6"),
    Row(_S.R_OPEN, _E.R_CONN_CER, (_A.R_REJECT,), _S.R_OPEN, "5.6"),
    Row(_S.R_OPEN, _E.R_RCV_CER, (_A.R_SND_UNABLE,), _S.R_OPEN, "5.3: exchanged once; RFC 6737 is not offered"),
    Row(_S.R_OPEN, _E.STOP, (_A.R_SND_DPR,), _S.CLOSING, "5.6"),
    Row(_S.R_OPEN, _E.R_RCV_DPR, (_A.R_SND_DPA,), _S.CLOSING, "5.6"),
    Row(_S.R_OPEN, _E.R_PEER_DISC, (_A.R_DISC,), _S.CLOSED, "5.6"),
    Row(_S.R_OPEN, _E.WATCHDOG_DOWN, (_A.R_DISC,), _S.CLOSED, "RFC 3539 3.4.1: CloseConnection()"),
    Row(_S.I_OPEN, _E.SEND_MESSAGE, (_A.I_SND_MESSAGE,), _S.I_OPEN, "5.6"),
    Row(_S.I_OPEN, _E.I_RCV_MESSAGE, (_A.PROCESS,), _S.I_OPEN, "5.6"),
    Row(_S.I_OPEN, _E.I_RCV_DWR, (_A.PROCESS_DWR, _A.I_SND_DWA), _S.I_OPEN, "5.6"),
    Row(_S.I_OPEN, _E.I_RCV_DWA, (_A.PROCESS_DWA,), _S.I_OPEN, "5.6"),
    Row(_S.I_OPEN, _E.R_CONN_CER, (_A.R_REJECT,), _S.I_OPEN, "5.6"),
    Row(_S.I_OPEN, _E.I_RCV_CER, (_A.I_SND_UNABLE,), _S.I_OPEN, "5.3: exchanged once; RFC 6737 is not offered"),
    Row(_S.I_OPEN, _E.STOP, (_A.I_SND_DPR,), _S.CLOSING, "5.6"),
    Row(_S.I_OPEN, _E.I_RCV_DPR, (_A.I_SND_DPA,), _S.CLOSING, "5.6"),
    Row(_S.I_OPEN, _E.I_PEER_DISC, (_A.I_DISC,), _S.CLOSED, "5.6"),
    Row(_S.I_OPEN, _E.WATCHDOG_DOWN, (_A.I_DISC,), _S.CLOSED, "RFC 3539 3.4.1: CloseConnection()"),
)

_CLOSING = (
    Row(_S.CLOSING, _E.I_RCV_DPA, (_A.I_DISC,), _S.CLOSED, "5.6"),
    Row(_S.CLOSING, _E.R_RCV_DPA, (_A.R_DISC,), _S.CLOSED, "5.6"),
    Row(_S.CLOSING, _E.TIMEOUT, (_A.ERROR,), _S.CLOSED, "5.6"),
    Row(_S.CLOSING, _E.I_PEER_DISC, (_A.I_DISC,), _S.CLOSED, "5.6"),
    Row(_S.CLOSING, _E.R_PEER_DISC, (_A.R_DISC,), _S.CLOSED, "5.6"),
    Row(_S.CLOSING, _E.I_RCV_DPR, (_A.I_SND_DPA,), _S.CLOSING, "5.4: both ends sent a DPR; each is owed a DPA"),
    Row(_S.CLOSING, _E.R_RCV_DPR, (_A.R_SND_DPA,), _S.CLOSING, "5.4: both ends sent a DPR; each is owed a DPA"),
    Row(_S.CLOSING, _E.I_RCV_DWR, (_A.I_SND_DWA,), _S.CLOSING, "a DWR that crossed the DPR"),
    Row(_S.CLOSING, _E.R_RCV_DWR, (_A.R_SND_DWA,), _S.CLOSING, "a DWR that crossed the DPR"),
    Row(_S.CLOSING, _E.I_RCV_MESSAGE, (_A.PROCESS,), _S.CLOSING, "a termination that crossed the DPR is not lost"),
    Row(_S.CLOSING, _E.R_RCV_MESSAGE, (_A.PROCESS,), _S.CLOSING, "a termination that crossed the DPR is not lost"),
    Row(_S.CLOSING, _E.SEND_MESSAGE, (_A.SND_MESSAGE,), _S.CLOSING, "answers that were owed when the DPR came"),
)

# fmt: on

ROWS: tuple[Row, ...] = _BEFORE_OPEN + _ELECTION + _OPEN + _CLOSING
"""Every line, in the RFC's order."""

TABLE: dict[tuple[State, PeerEvent], Row] = {(row.state, row.event): row for row in ROWS}
"""The lines by state and event."""

OPEN_STATES = frozenset((State.R_OPEN, State.I_OPEN))
"""The states in which application messages flow."""


def wins_election(local_host: str, peer_host: str) -> bool:
    """Return whether the connection that the peer opened survives (RFC 6733 section 5.6.4).

    The responder compares both Origin-Hosts as octets, the letters a to z equal to A to Z; it wins when its own comes
    later. Both ends see the same pair, so exactly one of them wins unless the names are the same.
    """
    return local_host.encode().lower() > peer_host.encode().lower()


def diagram() -> str:
    """Return the table as a Mermaid state diagram; pairs that lead from one state to the same other share an arrow."""
    names = {state: state.name.replace("_", " ").title().replace(" ", "") for state in State}
    lines = ["stateDiagram-v2", f"    [*] --> {names[State.CLOSED]}"]
    lines += [f'    state "{state.value}" as {names[state]}' for state in State]
    arrows: dict[tuple[State, State], list[str]] = {}
    for row in ROWS:
        if row.state is not row.next_state:
            arrows.setdefault((row.state, row.next_state), []).append(row.event.value)
    lines += [
        f"    {names[here]} --> {names[there]}: {', '.join(events)}"
        for (here, there), events in arrows.items()
    ]
    return "\n".join(lines) + "\n"


def listing() -> str:
    """Return the table as Markdown, one line a row, with the source of each."""
    lines = ["| state | event | actions | next state | source |", "|---|---|---|---|---|"]
    for row in ROWS:
        actions = ", ".join(action.value for action in row.actions)
        lines.append(
            f"| {row.state.value} | {row.event.value} | {actions} | {row.next_state.value} | {row.source} |"
        )
    return "\n".join(lines) + "\n"
