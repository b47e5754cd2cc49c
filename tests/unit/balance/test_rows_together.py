"""Several services of one request on scarce credit, and on many buckets at once."""

from collections.abc import Iterator

import pytest

from ocs.charging.ask import INITIAL, TERMINATION, UPDATE, Ask, AskedService, Units
from ocs.names import e164
from ocs.outcomes import Code
from ocs.rating.tariff import read_tariff
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.rows_scene import PER_MIB, RULES, Scene, bucket, units


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


@pytest.mark.parametrize(("first", "second", "granted"), [(1, 9, [6, 0]), (9, 1, [0, 6]), (5, 5, [6, 0])])
def test_scarce_credit_goes_to_the_rate_of_the_lower_priority(
    room: StoreRoom, first: int, second: int, granted: list[int]
) -> None:
    rates = "\n".join(
        f"  - {{name: r{group}, service: data, rating_groups: [{group}], priority: {priority},"
        ' steps: [{block: 1, price: "1.00", per: 1}]}'
        for group, priority in ((1, first), (2, second))
    )

    async def session() -> None:
        tariff = read_tariff(f"tariff: t\nversion: 1\ncurrency: EUR\nrates:\n{rates}\n", "t.yaml")
        charged = await room.charged({tariff.key: tariff}, RULES, 2)
        await charged.subscriber("491700000001", "", "t", 0, 6_000_000)
        identity = e164("491700000001")
        assert identity is not None
        services = tuple(AskedService(str(group), group, None, None, Units(octets=10)) for group in (1, 2))
        outcome = await charged.charge(
            Ask(INITIAL, "s", 0, "data", "32251@3gpp.org", (identity,), services, 1, True, "gw", "x.org")
        )
        assert [each.granted for each in outcome.services] == granted

    room.run(session())


@pytest.mark.parametrize("services", [32, 64])
def test_many_services_on_many_buckets_give_back_all_that_they_hold(room: StoreRoom, services: int) -> None:
    """An octet would not count their parts; a session has a bound for them, beyond which a service is not rated."""

    async def session() -> None:
        scene = await Scene.made(room, PER_MIB, *(units(row, 1, 1) for row in range(1, 9)))
        await scene.open(*(bucket(row, 1, 1_000) for row in range(1, 9)))
        identity = e164("491700000001")
        assert identity is not None
        codes = []
        for kind, groups in ((INITIAL, range(32)), (UPDATE, range(32, services))):
            asked = tuple(AskedService(str(group), group, None, None, Units(octets=100)) for group in groups)
            if asked:
                ask = Ask(
                    kind, "s", kind, "data", "32251@3gpp.org", (identity,), asked, kind, True, "gw", "x.org"
                )
                codes += [each.code for each in (await scene.charged.charge(ask)).services]
        assert codes == [Code.SUCCESS] * min(services, 62) + [Code.UNRATED] * max(0, services - 62)
        assert sum(row.pending for row in (await scene.look()).book.rows) == 100 * min(services, 62)
        await scene.clean()
        end = Ask(TERMINATION, "s", 9, "data", "32251@3gpp.org", (identity,), (), 9, True, "gw", "x.org")
        assert (await scene.charged.charge(end)).code == Code.SUCCESS
        assert [row.pending for row in (await scene.look()).book.rows] == [0] * 8
        await scene.clean()

    room.run(session())
