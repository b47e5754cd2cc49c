"""One process of several that debit one account: `python -m tests.vectors.rating.debits URL MSISDN TARIFF NAME CALLS UNITS`."""

import asyncio
import sys
from collections.abc import Awaitable

from ocs.balance.addresses import parse
from ocs.balance.book import Book, Rules
from ocs.balance.functions import library
from ocs.balance.parts import Parts
from ocs.balance.store import Store
from ocs.charging.ask import INITIAL, TERMINATION, Ask, AskedService, Units
from ocs.charging.outcome import Outcome
from ocs.charging.plan import QuotaRules
from ocs.clock import SystemClock
from ocs.names import e164
from ocs.outcomes import Code
from ocs.rating.versions import Tariffs
from tests.vectors.rating.table import tariffs

RULES = Rules(QuotaRules(2**45, 2**45, 2**45, 3_600, 2**40, 2**40, 2**40), 7_200_000, 300_000, 1_000)
PARTITIONS = 4


def call(session_id: str, kind: int, msisdn: str, units: int) -> Ask:
    """A request of a voice call: the Initial asks for the units, the Termination reports them."""
    identity = e164(msisdn)
    assert identity is not None
    wanted = Units(seconds=units) if kind == INITIAL else None
    used = Units(seconds=units) if kind == TERMINATION else None
    service = AskedService("", None, None, used, wanted)
    number = 0 if kind == INITIAL else 1
    context = "32260@3gpp.org"
    return Ask(kind, session_id, number, "voice", context, (identity,), (service,), kind, True, "gw", "x.org")


async def debit(url: str, msisdn: str, tariff: str, name: str, calls: int, units: int) -> None:
    """Make all calls at once; every one of them has to succeed."""
    store = Store(parse(url, {}), library=library(), title=name)
    await store.open()
    clock = SystemClock()
    book = Book(Parts(store, clock, PARTITIONS, 1_000), Tariffs({tariff: tariffs()[tariff]}), RULES, clock)

    def charged(ask: Ask) -> Awaitable[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        book.charge(ask, future.set_result)
        return future

    sessions = [f"{name};{each}" for each in range(calls)]
    for kind in (INITIAL, TERMINATION):
        outcomes = await asyncio.gather(
            *(charged(call(session_id, kind, msisdn, units)) for session_id in sessions)
        )
        assert {outcome.code for outcome in outcomes} == {Code.SUCCESS}
    await store.close()


if __name__ == "__main__":
    url, msisdn, tariff, name, calls, units = sys.argv[1:]
    asyncio.run(debit(url, msisdn, tariff, name, int(calls), int(units)))
