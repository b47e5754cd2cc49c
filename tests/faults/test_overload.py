"""More than a server may have under way, from sources that do not wait: it refuses at once what matters least, and loses nothing."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.element import Element
from tests.faults.ledger import INITIAL, TERMINATION, TOO_BUSY, UPDATE, Answer, Request
from tests.faults.scene import scene

pytestmark = pytest.mark.timeout(180)  # thousands of requests, on a machine that may be busy

SESSIONS = 1_500


@pytest.mark.slow
def test_initials_are_refused_first_terminations_last_and_every_session_comes_to_its_end(
    tmp_path: Path,
) -> None:
    tried: Counter[int] = Counter()
    refused: Counter[int] = Counter()

    async def play() -> None:
        async with scene(tmp_path, accounts=96, OCS_DIAMETER__INFLIGHT_PER_PEER_MAX="16") as on:

            async def counted(element: Element, request: Request, repeated: bool) -> Answer | None:  # noqa: FBT001
                answer = await element.ask(request, repeated)
                tried[request.kind] += 1
                if answer is not None and answer.code == TOO_BUSY:
                    refused[request.kind] += 1
                return answer

            async def arrive(number: int) -> None:
                element = on.elements[number % len(on.elements)]
                await on.traffic.session(
                    lambda request, repeated: counted(element, request, repeated), f"s{number}"
                )

            # an open loop: sessions arrive in bursts, whether or not those before have been answered
            arriving = []
            for number in range(SESSIONS):
                arriving.append(asyncio.create_task(arrive(number)))
                if number % 50 == 49:
                    await asyncio.sleep(0.01)
            await asyncio.gather(*arriving)

            assert on.ledger.counts["unanswered"] == 0
            assert await on.verdict() == []
            assert await on.server.stop() == 0

    asyncio.run(play())
    share = {kind: refused[kind] / tried[kind] for kind in (INITIAL, UPDATE, TERMINATION)}
    # where updates stand between them is a matter of bursts here, and proved by number in tests/unit/server/test_admission.py
    assert share[INITIAL] > share[TERMINATION], (tried, refused)
    assert share[INITIAL] > 0.2, (tried, refused)  # it was an overload
