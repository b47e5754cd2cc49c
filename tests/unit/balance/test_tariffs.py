"""Versions in the store: written once, read whole, known before they count, and sought before a session is refused."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from ocs.balance.link import StoreFault
from ocs.balance.tariffs import INDEX, Listed, Shelf, StoredTariffs, Told
from ocs.charging.ask import INITIAL, TERMINATION
from ocs.outcomes import Code
from ocs.rating.rates import Facts
from ocs.rating.tariff import Tariff
from ocs.rating.written import Written, WrittenPlan
from tests.real_valkey import RealValkey
from tests.unit.balance.books import CONFIG, MIB, TARIFFS, Network, network

DEARER = Written(
    (CONFIG / "flat-data.yaml").read_text().replace("version: 1", "version: 2").replace('"0.01"', '"0.03"'),
    None,
)
PLAN = WrittenPlan(
    'numbering: n\ncountry_code: "49"\nzones: [near, far]\nprefixes: p.csv\n',
    (("p.csv", "prefix,zone\n" + "".join(f"49{each:05d},near\n" for each in range(100_000)) + "1,far\n"),),
)
ZONED = Written(
    "tariff: zoned\nversion: 1\ncurrency: EUR\nnumbering: n\nrates:\n"
    '  - {name: near, service: voice, zones: [near], steps: [{block: 1, price: "0.01", per: second}]}\n',
    PLAN,
)


@pytest.fixture
def net(valkey: RealValkey) -> Iterator[Network]:
    with network(valkey) as opened:
        yield opened


class Known:
    """Tariffs of the network's folder and store, and what was told of the store's."""

    def __init__(self, net: Network, digests: dict[str, str] | None = None) -> None:
        self.told: list[Told] = []
        self.net = net
        self.shelf = Shelf(net.charged.store)
        self.tariffs = StoredTariffs(TARIFFS, digests or {}, self.shelf, net.charged.clock, self.told.append)

    def put(self, key: str, written: Written, effective_ms: int = 0, digest: str = "") -> None:
        async def work() -> None:
            await self.shelf.put(key, written)
            await self.shelf.name(key, Listed(effective_ms, digest or written.digest))

        self.net.run(work())

    def look(self) -> None:
        self.net.run(self.tariffs.look())

    def key(self, name: str, at_ms: int) -> str | None:
        found: Tariff | None = self.tariffs.newest(name, at_ms)
        return None if found is None else found.key


@pytest.fixture
def known(net: Network) -> Known:
    return Known(net)


def test_a_version_comes_back_as_it_was_written_with_its_hundred_thousand_prefixes(known: Known) -> None:
    known.put("zoned@1", ZONED, 5_000)
    assert known.net.run(known.shelf.listed()) == {"zoned@1": Listed(5_000, ZONED.digest)}
    assert known.net.run(known.shelf.read("zoned@1", ZONED.digest)) == ZONED
    known.look()
    found = known.tariffs.newest("zoned", 5_000)
    assert found is not None
    assert found.numbering is not None
    assert (found.effective_ms, len(found.numbering.prefixes)) == (5_000, 100_001)
    assert found.rate(Facts("voice", found.numbering.destination("+4999999").zone)) is not None


def test_the_loop_goes_on_while_a_large_table_is_read(known: Known) -> None:
    known.put("zoned@1", ZONED)
    turns = 0

    async def work() -> None:
        nonlocal turns
        looking = asyncio.ensure_future(known.tariffs.look())
        while not looking.done():
            turns += 1
            await asyncio.sleep(0.001)

    known.net.run(work())
    assert known.tariffs.in_store == 1
    assert turns > 20  # a table read in the loop itself leaves it a handful


def test_versions_count_from_their_instants_and_the_older_ones_stay(known: Known) -> None:
    known.put("flat-data@2", DEARER, 9_000)
    known.look()
    assert (known.key("flat-data", 8_999), known.key("flat-data", 9_000)) == ("flat-data@1", "flat-data@2")
    assert known.tariffs.of_session("flat-data@1") is not None
    assert (len(known.tariffs), known.tariffs.in_store) == (2, 1)
    assert known.told == [Told("flat-data@2", 9_000, "")]


def test_nothing_is_the_newest_before_the_store_was_read(known: Known) -> None:
    assert known.key("flat-data", 0) is None
    assert known.tariffs.of_session("flat-data@1") is not None
    known.look()
    assert known.key("flat-data", 0) == "flat-data@1"


def test_a_look_without_news_costs_one_call(known: Known) -> None:
    known.put("flat-data@2", DEARER)
    known.look()
    known.net.execute("CONFIG", "RESETSTAT")
    known.look()
    told = known.net.execute("INFO", "commandstats").decode()
    assert "cmdstat_hlen:calls=1," in told
    assert "cmdstat_hgetall" not in told


def test_the_index_never_changes_a_version(known: Known) -> None:
    known.put("flat-data@2", DEARER, 9_000)
    known.put("flat-data@2", Written("another", None), 7_000)
    assert known.net.run(known.shelf.listed())["flat-data@2"] == Listed(9_000, DEARER.digest)


def test_texts_that_the_index_does_not_name_are_nobodys(known: Known) -> None:
    known.net.run(known.shelf.put("flat-data@2", DEARER))
    known.look()
    assert known.key("flat-data", 10**15) == "flat-data@1"


def test_what_the_folder_has_too_is_the_folders(net: Network) -> None:
    same = Known(net, {"flat-data@1": "same"})
    same.put("flat-data@1", DEARER, 9_000, digest="same")
    same.look()
    assert (same.key("flat-data", 9_000), same.tariffs.in_store) == ("flat-data@1", 1)
    other = Known(net, {"flat-data@1": "other"})
    other.look()
    assert (other.key("flat-data", 0), other.tariffs.in_store) == ("flat-data@1", 0)
    assert "other content" in other.told[0].why


@pytest.mark.parametrize("broken", [Written("tariff: [", None), Written("tariff: x\n", None), None])
def test_a_version_that_cannot_be_read_is_told_and_keeps_nobody_from_the_others(
    known: Known, broken: Written | None
) -> None:
    if broken is None:
        known.net.run(known.shelf.name("odd@1", Listed(0, "nothing")))
    else:
        known.put("odd@1", broken)
    known.put("flat-data@2", DEARER)
    known.look()
    assert (known.key("flat-data", 0), known.tariffs.in_store) == ("flat-data@2", 1)
    assert [told.key for told in known.told if told.why] == ["odd@1"]


@pytest.mark.parametrize("row", ["notanumber aa", "99999999999999999 aa", "-5 aa", "", "\x80"])
def test_a_row_of_the_index_that_says_nothing_keeps_nobody_from_the_others(known: Known, row: str) -> None:
    known.net.execute("HSET", INDEX, "bad@1", row)
    known.put("flat-data@2", DEARER, 9_000)
    known.look()
    assert known.key("flat-data", 9_000) == "flat-data@2"
    assert [each.key for each in known.told if each.why] == ["bad@1"]


def test_a_version_that_was_put_into_the_folder_since_counts_from_when_it_was_told(net: Network) -> None:
    known = Known(net, {"flat-data@1": "same"})
    known.put("flat-data@1", DEARER, 9_000, "same")
    known.look()
    assert (known.key("flat-data", 8_999), known.key("flat-data", 9_000)) == (None, "flat-data@1")


def test_a_store_that_does_not_answer_is_told_to_who_looks_and_the_poller_goes_on(known: Known) -> None:
    looks = 0

    async def work() -> None:
        await known.net.charged.store.close()
        with pytest.raises(StoreFault):
            await known.tariffs.look()
        twice = asyncio.Event()

        def looked() -> None:
            nonlocal looks
            looks += 1
            if looks == 2:
                twice.set()

        keeping = asyncio.ensure_future(known.tariffs.keep_up(looked, 0.001))
        await twice.wait()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    known.net.run(work())
    assert known.tariffs.complete is False


def test_what_was_served_stays_what_it_was_and_one_that_changed_lets_nothing_be_noted(known: Known) -> None:
    def serve(**said: str) -> Any:
        return known.net.run(known.shelf.note(said))

    assert serve(a="1", b="1") == []
    assert serve(a="1", b="1", c="1") == []  # one is new
    assert serve(a="2", b="1", d="1") == ["a"]
    assert (
        serve(b="1", d="2") == []
    )  # nothing was noted of a start that was refused; what has gone is no change
    assert serve(a="1", d="1") == ["d"]


def test_of_two_servers_that_start_at_once_with_two_contents_one_is_refused(known: Known) -> None:
    async def both() -> Any:
        return await asyncio.gather(*(known.shelf.note({"a": said}) for said in ("1", "2")))

    assert sorted(known.net.run(both())) == [[], ["a"]]


# ---------------------------------------------------------------- at a book


def _charge(known: Known, *asks: Any) -> list[Code]:
    return [known.net.run(known.net.charged.charge(ask)).code for ask in asks]


def test_a_session_of_a_version_that_is_not_known_yet_is_charged_on_it(known: Known) -> None:
    net, book = known.net, known.net.charged.book
    other = Known(net)
    other.put("flat-data@2", DEARER)
    other.look()
    known.look()
    known.tariffs = StoredTariffs(TARIFFS, {}, known.shelf, net.charged.clock)
    book.tariffs = other.tariffs
    assert _charge(known, net.asked(INITIAL, 0, wants=MIB)) == [Code.SUCCESS]
    book.tariffs, book.known = known.tariffs, {}
    assert _charge(known, net.asked(TERMINATION, 1, used=MIB)) == [Code.SUCCESS]
    assert net.book().posted_micros == 30_000
    assert known.tariffs.in_store == 1


def test_a_first_session_waits_for_the_store_to_be_read(known: Known) -> None:
    known.net.charged.book.tariffs = known.tariffs
    known.put("flat-data@2", DEARER)
    asks = [known.net.asked(INITIAL, 0, wants=MIB, session=f"s;{each}") for each in range(3)]

    async def all_at_once() -> Any:
        return await asyncio.gather(*(known.net.charged.charge(ask) for ask in asks))

    assert {outcome.code for outcome in known.net.run(all_at_once())} == {Code.SUCCESS}
    assert known.net.book().pending_micros == 90_000


def test_a_tariff_that_nobody_knows_is_refused_after_one_look(known: Known) -> None:
    net = known.net
    account = net.run(net.charged.subscriber("491700000002", "", "nowhere"))
    net.ids = (type(net.ids[0])(net.ids[0].kind, account.profile.msisdn),)
    net.charged.book.tariffs = known.tariffs
    known.look()
    known.tariffs._looked_ms -= 2_000
    net.execute("CONFIG", "RESETSTAT")
    asks = [net.asked(INITIAL, 0, wants=MIB, session=f"s;{each}") for each in range(3)]
    assert _charge(known, *asks) == [Code.UNRATED] * 3
    assert "cmdstat_hlen:calls=1," in net.execute("INFO", "commandstats").decode()
    assert net.execute("HLEN", INDEX) == 0
