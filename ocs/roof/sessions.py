"""Open sessions at the command line: list them, end some, let their clients ask anew."""

from ocs.balance.stored_session import OpenSession
from ocs.money import format_amount
from ocs.records import SessionState
from ocs.roof import say
from ocs.roof.arguments import read_msisdn
from ocs.roof.audited import Deed, run_change
from ocs.roof.build import Keepers, known_tariffs, run
from ocs.roof.ending import sweeper_of
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place
from ocs.roof.subscriber import found
from ocs.sessions.described import application_of, described, held_facts, released_facts, shown_id
from ocs.sessions.ending import EndedSession, end_sessions
from ocs.sessions.reauthorise import Said
from ocs.sessions.search import find_session, open_sessions, sessions_of


def listing(place: Place, msisdn: str | None, *, as_json: bool) -> None:
    """List open sessions: of one number and of who shares its account, or of all."""
    identity = read_msisdn(msisdn) if msisdn is not None else None

    async def work(keepers: Keepers) -> list[OpenSession]:
        if identity is None:
            return [each async for each in open_sessions(keepers.parts)]
        profile = (await found(keepers, identity)).profile
        return await sessions_of(keepers.parts, profile.partition, profile.path)

    sessions = sorted(run(place, work), key=lambda each: (each.opened_ms, each.session_id))
    if as_json:
        say.as_json([described(each) for each in sessions])
    elif sessions:
        columns = (
            ("session", False), ("application", False), ("account", False), ("tariff", False), ("opened", False), ("due", False),
            ("service", False), ("rate", False), ("used", True), ("posted", True), ("granted", True), ("reserved", True),
        )  # fmt: skip
        say.table(columns, [row for each in sessions for row in _rows(each)])
    else:
        say.line("no open session")


def _rows(session: OpenSession) -> list[tuple[str, ...]]:
    """Give one row a service; the session's own columns stand in the first."""
    head: tuple[str, ...] = (
        shown_id(session), application_of(session), session.account, session.tariff, say.instant(session.opened_ms), say.instant(session.due_ms)
    )  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for each in session.services:
        figures = (
            each.key or "-", each.rate or "-", say.units(each.used_units, each.unit), format_amount(each.posted_micros),
            say.units(each.granted_units, each.unit), format_amount(each.hold_micros),
        )  # fmt: skip
        rows.append(head + figures)
        head = ("",) * len(head)
    return rows or [head + ("",) * 6]


def end(place: Place, session_id: str | None, all_of: str | None, *, as_json: bool) -> None:
    """End one session, or all of a number: holds are released at once, and the client is told to end it (ASR).

    Whether or not it does: its next request gets 5002, and what it still reports is posted once. One of accounting is told nothing: its records go on.
    """
    _name_one(session_id, all_of)
    identity = read_msisdn(all_of) if all_of is not None else None

    async def work(keepers: Keepers, deed: Deed) -> list[EndedSession]:
        whose = ""
        if identity is None:
            sessions = [await _found(keepers, session_id or "")]
        else:
            profile = (await found(keepers, identity)).profile
            whose = profile.path
            sessions = await sessions_of(keepers.parts, profile.partition, whose)
        deed.begins(**held_facts(sessions, whose))
        ended = await end_sessions(sweeper_of(keepers), keepers.reauthorisation, sessions)
        deed.made(after=released_facts(ended))
        if not ended and identity is None:
            raise Ended(Exit.NOT_FOUND, "the session had ended already; it holds nothing")
        return ended

    ended = run_change(place, "session.end", work)
    content = [
        {
            "session_id": shown_id(each.session),
            "account": each.session.account,
            "released": format_amount(each.released_micros),
            "client_told": each.told,
        }
        for each in ended
    ]
    if as_json:
        say.as_json(content[0] if identity is None else content)
    elif content:
        for each, one in zip(content, ended, strict=True):
            say.facts(each | {"client_told": client_told(one)})
    else:
        say.line("no open session")


def client_told(ended: EndedSession) -> str:
    """Say whether the client of a session that was ended hears of it, and what becomes of what it sends (MONEY.md)."""
    if ended.told:
        return "yes"
    if application_of(ended.session) == "accounting":
        return "no: a client of accounting is asked nothing; what its records still tell is posted"
    if application_of(ended.session) == "reservation":
        return "no: a reservation has no client; who made it finds it void"
    return "no: no server has its connection; its next request gets 5002"


async def _found(keepers: Keepers, session_id: str) -> OpenSession:
    session = await find_session(keepers.parts, session_id)
    if session is None:
        raise Ended(Exit.NOT_FOUND, f"no session {session_id[:300]!r}")
    return session


def _name_one(*named: str | None) -> None:
    if sum(each is not None for each in named) != 1:
        raise Ended(Exit.USAGE, "say once which sessions are meant")


def reauthorise(
    place: Place,
    session_id: str | None,
    msisdn: str | None,
    tariff: str | None,
    rating_group: int | None,
    *,
    as_json: bool,
) -> None:
    """Let the clients of one session, of a number's or of a tariff's ask anew (RAR), for one rating group or for all they have."""
    _name_one(session_id, msisdn, tariff)
    if tariff is not None and rating_group is not None:
        raise Ended(Exit.USAGE, "--rating-group is for the sessions of one number, or for one session")
    identity = read_msisdn(msisdn) if msisdn is not None else None
    group = -1 if rating_group is None else rating_group

    async def work(keepers: Keepers, deed: Deed) -> Said:
        said = await ask(keepers, deed)
        deed.made(after={"sessions": said.sessions, "told": said.told})
        return said

    async def ask(keepers: Keepers, deed: Deed) -> Said:
        speaks = keepers.reauthorisation
        if tariff is not None:
            if not (known := await known_tariffs(keepers)).versions(tariff):
                raise Ended(Exit.NOT_FOUND, f"no tariff {tariff!r}; known are {', '.join(known.names)}")
            deed.begins(resource=tariff)
            return await speaks.of_tariff(tariff, keepers.settings.diameter.reauthorise_per_s)
        if identity is not None:
            profile = (await found(keepers, identity)).profile
            deed.begins(account=profile.path)
            return await speaks.of_subscriber(profile.partition, profile.path, rating_group=group)
        session = await _found(keepers, session_id or "")
        if session.state != SessionState.OPEN:
            raise Ended(Exit.NOT_FOUND, "the session has ended already")
        deed.begins(**held_facts([session]))
        return await speaks.of_sessions([session], rating_group=group)

    said = run_change(place, "session.ask_anew", work)
    if as_json:
        say.as_json(said._asdict())
    else:
        say.line(f"{said.sessions} open sessions; {said.told} of them have a server that asks their client")
