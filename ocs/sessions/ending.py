"""A session is ended at somebody's word: in the store, then at its client (ASR, RFC 6733 section 8.5)."""

from collections.abc import Iterable
from typing import NamedTuple

from ocs.balance.stored_session import OpenSession
from ocs.diameter.server_initiated import ABORT_SESSION
from ocs.records import ENDED
from ocs.sessions.reauthorise import Reauthorisation
from ocs.sessions.sweep import Sweeper


class EndedSession(NamedTuple):
    """A session that was ended: what that released, and whether its worker has heard that it is to tell the client."""

    session: OpenSession
    released_micros: int
    told: bool


async def end_sessions(
    sweeper: Sweeper, reauthorisation: Reauthorisation, sessions: Iterable[OpenSession]
) -> list[EndedSession]:
    """End sessions; what had ended already is left out. Raises StoreFault, SessionUnreadable.

    Whether or not its client does as it is told: its next request gets 5002, and what it still reports is posted once.
    """
    ended = []
    for session in sessions:
        released_micros = await sweeper.expire(session.partition, session.session_id, forced=ENDED)
        if released_micros is not None:
            said = await reauthorisation.of_sessions([session], ABORT_SESSION)
            ended.append(EndedSession(session, released_micros, bool(said.told)))
    return ended
