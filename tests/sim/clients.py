"""What clients do: sessions that open, report and end, calls, messages and their refunds, top-ups; most behave, some do not.

Misbehaviour is what CLIENTS 15 and DESIGN law 8 know of, and worse: several updates at once, in any order, numbers that jump, a
termination before the Initial's answer or none at all, more reported than granted, absurdly more, other content under a number that
was used, used units that cannot be read, exact duplicates through two connections, a kind of unit that nobody granted.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from ocs.balance.accounts import Accounts
from ocs.names import E164, SubscriberId
from ocs.outcomes import Code
from tests.sim.element import Element, Sending
from tests.sim.ledger import (
    CHECK,
    DEBIT,
    EVENT,
    EVENTS,
    INITIAL,
    OCTETS,
    PRICE,
    REFUND,
    SECONDS,
    SUCCESS,
    TERMINATION,
    TOO_BUSY,
    UPDATE,
    Answer,
    Life,
    Report,
    Request,
    TopUp,
)
from tests.sim.serving import VALIDITY_S, Desk

DATA, VOICE, SMS = "32251@3gpp.org", "32260@3gpp.org", "32274@3gpp.org"
_RE_AUTH: Final = 258
_MISDEEDS: Final = (
    "parallel", "reorder", "jump", "hasty_end", "no_end", "overuse", "absurd", "conflict", "garbage", "duplicate",
    "wrong_kind", "stranger", "late_end",
)  # fmt: skip


class Session:
    """One session of one client."""

    def __init__(self, element: Element, dice: random.Random, name: str, msisdn: str, *, tame: bool) -> None:
        self.element = element
        self.dice = dice
        self.name = name
        self.msisdn = msisdn
        self.is_call = dice.random() < 0.3
        self.unit, self.context = (SECONDS, VOICE) if self.is_call else (OCTETS, DATA)
        self.groups = [10] if self.is_call or dice.random() < 0.6 else [10, 20]
        self.misdeed = "" if tame or dice.random() < 0.45 else dice.choice(_MISDEEDS)
        self.granted = dict.fromkeys(self.groups, 0)
        self.number = 0
        self.behaved = True
        self._hurry = asyncio.Event()
        self._aborted = False
        self.life = element.ledger.lives[name] = Life(msisdn)

    async def live(self) -> None:
        """Open, update, end."""
        self.element.asked_anew[self.name] = self._asked
        if self.misdeed == "stranger":
            await self._ask(self._request(UPDATE, 1, used=True))  # of a session that nobody opened
            return
        opening = self._request(INITIAL, 0, used=False)
        if self.misdeed == "hasty_end":
            await self._end_hastily(opening)
            return
        answer = await self._ask(opening)
        if answer is None or answer.code != SUCCESS:
            if answer is None or self.dice.random() < 0.5:
                await self._end()  # after a refused Initial (CLIENTS 15)
            return
        self._take(answer)
        self.life.opened_s = asyncio.get_running_loop().time()
        for _ in range(self.dice.randrange(1, 6)):
            await self._think()
            if self._aborted:
                break
            await self._update()
        if self.misdeed == "no_end":
            return  # nobody hears of it any more, as if the client had died
        if self.misdeed == "late_end":
            await asyncio.sleep(2 * VALIDITY_S + 2 + self.dice.random())  # its supervision time is over
        else:
            await self._think()
        await self._end()

    # -- steps

    async def _update(self) -> None:
        self.number += 1
        misdeed = self.misdeed
        if misdeed in {"parallel", "reorder"}:
            await self._several()
        elif misdeed == "jump":
            self.number += self.dice.choice((1, 3, 70))
            self.behaved = False
            self._take(await self._ask(self._request(UPDATE, self.number, used=True)))
        elif misdeed == "conflict":
            request = self._request(UPDATE, self.number, used=True)
            other = request._replace(
                services=tuple(each._replace(used=(each.used or 0) + 1) for each in request.services)
            )
            self.behaved = False
            await asyncio.gather(self._ask(request), self._ask(other))
        elif misdeed == "garbage":
            request = self._request(UPDATE, self.number, used=False)
            self._post(request, malformed=True)
            self.number += 1
            self._take(await self._ask(self._request(UPDATE, self.number, used=True)))
        elif misdeed == "duplicate":
            request = self._request(UPDATE, self.number, used=True)
            for _ in range(self.dice.randrange(1, 3)):
                self._post(request)
            self._take(await self._ask(request))
        else:
            self._take(await self._ask(self._request(UPDATE, self.number, used=True)))

    async def _several(self) -> None:
        """Send several updates at once, perhaps the later number first."""
        self.behaved = False
        numbers = list(range(self.number, self.number + self.dice.randrange(2, 5)))
        self.number = numbers[-1]
        if self.misdeed == "reorder":
            self.dice.shuffle(numbers)
        answers = await asyncio.gather(
            *[self._ask(self._request(UPDATE, number, used=True)) for number in numbers]
        )
        newest = max(zip(numbers, answers, strict=True), key=lambda each: each[0])
        self._take(newest[1])

    async def _end(self) -> None:
        self.number += 1
        self.life.ended_s = asyncio.get_running_loop().time()
        request = self._request(TERMINATION, self.number, used=True, wants=False)
        if self.misdeed == "duplicate" or self.dice.random() < 0.1:
            self._post(request)
        await self._ask(request)

    async def _end_hastily(self, opening: Request) -> None:
        """Send the termination before the Initial's answer was read (CLIENTS 15)."""
        ending = Request(
            self.name,
            self.msisdn,
            TERMINATION,
            1,
            self.context,
            tuple(Report(group, self.unit, self.dice.randrange(50_000), None) for group in self.groups),
        )
        self.behaved = False
        usable = [each for each in self.element.lines if each.usable and not each.leaving]
        if not usable:
            return
        line = self.dice.choice(usable)
        first = self.element.post(line, opening, behaved=False, repeated=False)
        await asyncio.sleep(self.dice.choice((0.0, 0.001, 0.02)))
        second = self.element.post(line, ending, behaved=False, repeated=False)
        await asyncio.wait((first.waiting, second.waiting), timeout=4.0)
        self._judge_order(first, second)
        for sending, request in ((first, opening), (second, ending)):
            if not sending.waiting.done() or sending.waiting.result() is None:
                await self._ask(request)

    def _judge_order(self, first: Sending, second: Sending) -> None:
        """What came behind the Initial on one connection ends what it opened."""
        if not first.answered or not second.answered:
            return
        opened, ended = first.waiting.result(), second.waiting.result()
        if opened is None or ended is None:
            return
        if opened.code == SUCCESS and ended.code not in {SUCCESS, TOO_BUSY}:
            self.element.ledger.wrong.append(f"{self.name}: its end has overtaken its beginning: {ended}")

    async def _ask(self, request: Request) -> Answer | None:
        return await self.element.ask(request, behaved=self.behaved)

    def _post(self, request: Request, *, malformed: bool = False) -> None:
        """Send once more, beside, on any connection."""
        usable = [each for each in self.element.lines if each.usable and not each.leaving]
        if usable:
            line = self.dice.choice(usable)
            self.element.post(
                line, request, behaved=self.behaved, repeated=not malformed, malformed=malformed
            )

    async def _think(self) -> None:
        """Use what is granted for a while; a RAR wakes the client early."""
        self._hurry.clear()
        try:
            await asyncio.wait_for(
                self._hurry.wait(), self.dice.choice((0.05, 0.4, 0.4, 1.5)) * self.dice.uniform(0.2, 2.0)
            )
        except TimeoutError:
            return

    def _asked(self, command: int) -> None:
        self._aborted = self._aborted or command != _RE_AUTH
        self._hurry.set()

    # -- what is reported and wanted

    def _request(self, kind: int, number: int, *, used: bool, wants: bool = True) -> Request:
        services = tuple(
            Report(
                group,
                self._kind(),
                self._used(group) if used else None,
                self._wanted() if wants else None,
            )
            for group in self.groups
        )
        return Request(self.name, self.msisdn, kind, number, self.context, services)

    def _kind(self) -> int:
        if self.misdeed == "wrong_kind" and self.dice.random() < 0.3 and self.number:
            self.behaved = False
            return SECONDS if self.unit == OCTETS else OCTETS
        return self.unit

    def _used(self, group: int) -> int:
        granted = self.granted[group]
        if self.misdeed == "overuse" and self.dice.random() < 0.5:
            self.behaved = False
            return granted + self.dice.randrange(2 * granted + 10)
        if self.misdeed == "absurd" and self.dice.random() < 0.5:
            self.behaved = False
            return 50 * granted + 10**9
        return self.dice.choice((0, granted, granted, self.dice.randrange(granted + 1)))

    def _wanted(self) -> int:
        least, most = (5, 90) if self.unit == SECONDS else (10_000, 3_000_000)
        return self.dice.choice((0, self.dice.randrange(least, most)))

    def _take(self, answer: Answer | None) -> None:
        if answer is None:
            self.behaved = False  # what stands at the server is not known any more
            return
        for group in self.groups:
            found = answer.services.get(group)
            self.granted[group] = found.units if found is not None else 0


async def message(element: Element, dice: random.Random, name: str, msisdn: str) -> None:
    """Debit a message at once; some are refunded, some only asked the price of."""
    events = Report(30, EVENTS, None, dice.randrange(1, 4))
    action = dice.choice((DEBIT, DEBIT, DEBIT, CHECK, PRICE))
    debit = Request(name, msisdn, EVENT, 0, SMS, (events,), action)
    twice = dice.random() < 0.2
    asking = [element.ask(debit)] + ([element.ask(debit)] if twice else [])
    answer, *_ = await asyncio.gather(*asking)
    if action == DEBIT and answer is not None and answer.code == SUCCESS and dice.random() < 0.6:
        await asyncio.sleep(dice.uniform(0.0, 2.0))
        refund = Request(name, msisdn, EVENT, 1, SMS, (events._replace(wanted=0),), REFUND)
        again = [element.ask(refund)] + (
            [element.ask(refund._replace(number=2))] if dice.random() < 0.3 else []
        )
        await asyncio.gather(*again)


async def till(
    desk: Desk, dice: random.Random, msisdns: list[str], name: str, tops: dict[str, TopUp]
) -> None:
    """Top up now and then; what is not acknowledged is asked for again with the same id."""
    for index in range(dice.randrange(1, 6)):
        await asyncio.sleep(dice.uniform(0.1, 3.0))
        topup_id = f"{name}-{index}"
        topup = tops[topup_id] = TopUp(dice.choice(msisdns), dice.randrange(1, 3_000_000))
        begun_s = asyncio.get_running_loop().time()
        tries = dice.choice((1, 8, 8, 8, 8))  # some give up at once
        for _ in range(tries):
            done = await desk.ask(partial(_top_up, topup=topup, name=topup_id))
            if done is not None:
                topup.acknowledged = True
                topup.span_s = begun_s, asyncio.get_running_loop().time()
                break
            await asyncio.sleep(dice.uniform(0.2, 1.5))


async def _top_up(accounts: Accounts, topup: TopUp, name: str) -> Any:
    account = await accounts.find(SubscriberId(E164, topup.msisdn))
    if account is None:
        return None
    done = await accounts.topup(account, topup.amount_micros, "till", name)
    return done if done.code == Code.SUCCESS else None


def traffic(
    element: Element, dice: random.Random, msisdns: list[str], *, tame: bool, until: Callable[[], bool]
) -> list[Coroutine[Any, Any, None]]:
    """Return the lanes of one element: each does one thing after the other until it is told to stop."""

    async def lane(place: int) -> None:
        count = 0
        own = random.Random(dice.random())
        await asyncio.sleep(own.uniform(0.0, 1.5))
        while not until():
            count += 1
            name = f"{element.host};{element.state_id};{place};{count}"
            if own.random() < 0.3:
                await message(element, own, name, own.choice(msisdns))
            else:
                await Session(element, own, name, own.choice(msisdns), tame=tame).live()
            await asyncio.sleep(own.uniform(0.0, 0.5))

    return [lane(place) for place in range(dice.randrange(2, 6))]
