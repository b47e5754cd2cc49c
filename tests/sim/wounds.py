"""Ways to break the server on purpose: a simulation that does not notice them proves nothing (README.md has how many seeds notice)."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest import mock

from ocs.balance import spool
from ocs.balance.charging import Charging
from ocs.balance.link import LinkLost
from ocs.balance.parts import Parts
from ocs.balance.store import Store
from ocs.outcomes import Code
from ocs.server.connection import Connection
from ocs.sessions import reauthorise
from ocs.sessions.sweep import Sweeper

Lua = Callable[[str], str]


class Wound(NamedTuple):
    """What is broken: texts of the library with what takes their place, and names of ours with what takes theirs."""

    what: str
    lua: tuple[tuple[str, str], ...] = ()
    python: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = ()


@contextmanager
def wounded(name: str) -> Iterator[Lua]:
    """Break the server in one way, and give what breaks the library."""
    wound = WOUNDS[name] if name else Wound("nothing")

    def lua(text: str) -> str:
        for standing, instead in wound.lua:
            assert text.count(standing) == 1, f"{name}: {standing!r} stands {text.count(standing)} times"
            text = text.replace(standing, instead)
        return text

    with ExitStack() as stack:
        for owner, attribute, made in wound.python:
            stack.enter_context(mock.patch.object(owner, attribute, made(getattr(owner, attribute))))
        yield lua


def _guess(was: Any) -> Any:
    def faulted(self: Any, fault: Any, again: Any) -> None:
        if isinstance(fault, LinkLost) and self._ask.ids != ():
            self._end(Code.SUCCESS)
        else:
            was(self, fault, again)

    return faulted


def _answer_first(was: Any) -> Any:
    async def write(self: Any) -> None:
        for each in self._waiting:
            spool._say(each.done, spool._kept(each.entry.ask))
        self._waiting = [each._replace(done=lambda _outcome: None) for each in self._waiting]
        await was(self)

    return write


def _drop_one(was: Any) -> Any:
    def row(entry: Any) -> bytes:
        return b"" if entry.ask.number % 3 == 0 else was(entry)

    return row


def _other_number(was: Any) -> Any:
    async def again(self: Any, entry: Any) -> Any:
        ask = entry.ask
        return await was(self, entry._replace(ask=ask._replace(number=ask.number + 1)))

    return again


def _now_and_then(instead: Callable[[Any, tuple[Any, ...]], None]) -> Callable[[Any], Any]:
    def made(was: Any) -> Any:
        count = [0]

        def call(*arguments: Any) -> Any:
            count[0] += 1
            if count[0] % 40 == 0:
                return instead(was, arguments)
            return was(*arguments)

        return call

    return made


def _twice(was: Any, arguments: tuple[Any, ...]) -> None:
    was(*arguments)
    self, octets = arguments
    self._peer.send(octets)


def _first_only(was: Any) -> Any:
    async def of_sessions(self: Any, sessions: Any, *rest: Any) -> Any:
        return await was(self, list(sessions)[:1], *rest)

    return of_sessions


def _no_claims(_was: Any) -> Any:
    async def claims(_self: Any) -> int:
        return 0

    return claims


def _no_incarnation(was: Any) -> Any:
    def call(self: Any, slot: int, command: bytes, done: Any, _incarnation: str = "") -> None:
        was(self, slot, command, done, "")

    return call


def _no_comparison(_was: Any) -> Any:
    def known(self: Any, partition: int) -> Any:
        return self._known[partition]

    return known


WOUNDS: dict[str, Wound] = {
    "no-replay": Wound(
        "a repeated request is charged again", (("if code then return { code, text, note } end", ""),)
    ),
    "no-conflict": Wound(
        "other content under a number gets the first content's answer",
        (("if was_digest == digest then return SUCCESS", "if true then return SUCCESS"),),
    ),
    "wrong-outcome": Wound(
        "a refusal is remembered as a success",
        (
            (
                "remember(session, kind, number, outcome)\n  book",
                "remember(session, kind, number, struct_pack(HEAD_FORMAT, kind, number, plan[P_DIGEST], SUCCESS, notes, plan[P_SERVICES]) .. rows)\n  book",
            ),
        ),
    ),
    "no-void": Wound(
        "a request does not void what its service held",
        (("book[B_PENDING] = book[B_PENDING] - session[s + V_HOLD]\n", "\n"),),
    ),
    "void-twice": Wound(
        "the end of a session voids its holds twice",
        (
            (
                "book[B_PENDING], book[B_OPEN] = book[B_PENDING] - held,",
                "book[B_PENDING], book[B_OPEN] = math.max(0, book[B_PENDING] - 2 * held),",
            ),
        ),
    ),
    "no-expiry": Wound(
        "a session whose time is over stays open",
        (("if forced == 0 and session[S_DUE] > now then", "if forced == 0 then"),),
    ),
    "no-epoch": Wound(
        "nobody compares the epoch of the store",
        (("if kept ~= part then return EPOCH end", ""),),
        ((Store, "call", _no_incarnation), (Parts, "known", _no_comparison)),
    ),
    "topup-twice": Wound(
        "a top-up counts as often as it is credited", (("if marker then", "if false then"),)
    ),
    "interim-rounding": Wound(
        "every report is rounded by itself",
        (
            (
                "session[s + V_POSTED] = session[s + V_POSTED] + amount\n",
                "session[s + V_POSTED] = session[s + V_POSTED] + amount\n  session[s + V_FRAC] = 0\n",
            ),
        ),
    ),
    "pending-forgotten": Wound(
        "a grant counts what others hold as available",
        (("- book[B_PENDING] - book[B_FLOOR]", "- book[B_FLOOR]"),),
    ),
    "quarantine-lost": Wound(
        "what is not believed is dropped",
        (("return most, reported - most, amount", "return most, 0, amount"),),
    ),
    "refund-twice": Wound(
        "a refund leaves its debit as it was",
        (
            (
                "local after, account_after, price_after, drawn_after = taken_at(line, line[D_LEFT])\n",
                "local after, account_after, price_after, drawn_after = taken_at(line, line[D_LEFT])\n  line[D_LEFT] = line[D_LEFT] + units\n",
            ),
        ),
    ),
    "late-unposted": Wound(
        "what comes after a session's end is marked as seen and not posted",
        (
            (
                "local reported = plan[a + A_USED + unit]\n",
                "local reported = plan[a + A_USED + unit]\n  if session[S_STATE] ~= OPEN then reported = 0 end\n",
            ),
        ),
    ),
    "no-skew": Wound(
        "a clock that is wrong is believed",
        (("if ahead > skew or ahead < -skew then return SKEW end", ""),),
    ),
    "guess": Wound("an unknown outcome is taken for a success", (), ((Charging, "_faulted", _guess),)),
    "spool-answers-first": Wound(
        "a termination is acknowledged before it is on disk",
        (),
        ((spool.Spool, "_write", _answer_first),),
    ),
    "spool-drops": Wound("the spool forgets every third entry", (), ((spool, "_row", _drop_one),)),
    "spool-renumbers": Wound(
        "the spool charges under another number", (), ((spool.Spool, "_again", _other_number),)
    ),
    "answer-lost": Wound(
        "one answer of forty is not sent",
        (),
        ((Connection, "_send", _now_and_then(lambda _was, _arguments: None)),),
    ),
    "answer-twice": Wound(
        "one answer of forty is sent twice", (), ((Connection, "_send", _now_and_then(_twice)),)
    ),
    "rar-lost": Wound(
        "only the first of an account's sessions is told",
        (),
        ((reauthorise.Reauthorisation, "of_sessions", _first_only),),
    ),
    "claims-left": Wound(
        "nobody finishes the top-ups whose channel died", (), ((Sweeper, "_claims", _no_claims),)
    ),
}
