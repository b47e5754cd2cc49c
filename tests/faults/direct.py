"""The Book without a server around it: the same requests, charged directly; for stores that are moved and mutilated."""

import asyncio

from ocs.balance.book import Book, Rules
from ocs.charging.ask import ask as read_ask
from ocs.charging.outcome import Outcome
from ocs.charging.plan import QuotaRules
from ocs.outcomes import RESULT_CODES
from ocs.rating.tariff import Tariff
from ocs.rating.versions import Tariffs
from ocs.roof.build import read_tariffs
from ocs.settings import config_folder
from tests.faults.element import Element
from tests.faults.judgement import Room
from tests.faults.ledger import MIB, Answer, Request

RULES = Rules(QuotaRules(10 * MIB, 60, 1, 3_600, 1_250_000_000, 2, 100), 7_200_000, 300_000, 1_000)


def tariffs() -> dict[str, Tariff]:
    """The sample operator's."""
    return read_tariffs(config_folder() / "tariffs")


class Direct:
    """A door to a Book of its own: requests are encoded and decoded as on the wire, then charged."""

    def __init__(self, at: Room) -> None:
        self.book = Book(at.parts, Tariffs(tariffs()), RULES, at.clock)
        self._element = Element("direct.example.net", 0)

    async def ask(self, request: Request, repeated: bool) -> Answer | None:  # noqa: FBT001 - as Element.ask
        """Charge one request; always answered, if only with 3004."""
        codec = self._element.codec
        message = codec.decode(codec.encode(self._element.ccr(request, 1, repeated=repeated)))
        asked = read_ask(message)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.book.charge(asked, future.set_result)
        outcome = await future
        granted = {
            int(service.key): (RESULT_CODES[each.code], each.granted)
            for service, each in zip(asked.services, outcome.services, strict=False)
        }
        return Answer(RESULT_CODES[outcome.code], granted)
