"""One engine: what `ocs price` says of a call is what the same call is charged, whenever its network element reports."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.charging.ask import INITIAL, TERMINATION, UPDATE
from ocs.rating.price import price
from ocs.rating.rates import Facts
from ocs.rating.tariff import Tariff
from tests.charged_store import StoreRoom
from tests.property.offers import PERIOD_MS, TARIFFS
from tests.vectors.rating.element import Element

START_MS = 1_795_000_000_000
CALLED = {"near": "+4930111", "far": "15551234"}
reports = st.lists(st.tuples(st.integers(0, 90), st.booleans()), min_size=1, max_size=8)


def told(on: Tariff, zone: str, seconds: int, start_ms: int) -> int:
    rate = on.rate(Facts("voice", zone))
    assert rate is not None
    return price(rate, seconds, start_ms).cost_micros


@settings(max_examples=60)
@given(st.sampled_from(sorted(CALLED)), st.integers(0, PERIOD_MS - 1), reports)
def test_a_call_is_charged_what_the_price_says(
    room: StoreRoom, zone: str, into_ms: int, used: list[tuple[int, bool]]
) -> None:
    on, start_ms = TARIFFS["windows@1"], START_MS + into_ms
    number = {"IMS-Information": {"Called-Party-Address": CALLED[zone]}}

    async def call() -> None:
        element = await Element.made(room, on, "voice", credit="1.00")
        await element.at(start_ms)
        await element.send(INITIAL, wanted=0, told=number)
        done = 0
        for place, (seconds, another_worker) in enumerate(used):
            if another_worker:
                element.forget()
            done += seconds
            await element.at(start_ms + 1000 * done)
            last = place == len(used) - 1
            await element.send(TERMINATION if last else UPDATE, used=seconds, wanted=None if last else 0)
            assert await element.posted() == told(on, zone, done, start_ms)
        assert await element.money() == (told(on, zone, done, start_ms), 0)

    room.run(call())
