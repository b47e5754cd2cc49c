"""The keeper's job that tells the world, and the commands beside it: by lease, only where somebody wants to know."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ocs.api_limits import EVENTS_LEASE_MS
from ocs.balance.accounts import NewSubscriber
from ocs.balance.holdings import Holdings
from ocs.http.keys import ApiKeys
from ocs.notices.following import GROUP
from ocs.notices.forms import Forms
from ocs.notices.lease import Lease
from ocs.notices.notice import Notice
from ocs.notices.queue import Delivery, Queue
from ocs.notices.subscriptions import Subscriptions
from ocs.rating.products import Catalogue
from ocs.roof import event_letters, keys
from ocs.roof.build import Keepers, address_of, known_tariffs, opened, read_settings
from ocs.roof.ends import Ended
from ocs.roof.events import LEASE_KEY, events_job, language_of, message_rules
from ocs.roof.inside import read_files
from ocs.roof.place import Place
from ocs.server.counters import Counters
from ocs.stream import groups, register
from tests.real_valkey import RealValkey
from tests.unit.notices.receivers import Posted, Receiver, receiver

M = 1_000_000


def settings_for(server: RealValkey, folder: Path, **events: Any) -> Any:
    options: dict[str, dict[str, object]] = {
        "store": {"partitions": 4, "durability": "everysec"},
        "events": {"callback_networks": ["127.0.0.0/8"], "low_balance": ["5.00"], **events},
    }
    return read_settings(Place(store=server.url, data_dir=folder), options)


@asynccontextmanager
async def keepers_of(server: RealValkey, folder: Path, **events: Any) -> AsyncIterator[Keepers]:
    settings = settings_for(server, folder, **events)
    async with opened(settings, address_of(settings)) as keepers:
        yield keepers


@asynccontextmanager
async def working(keepers: Keepers, counters: Counters) -> AsyncIterator[None]:
    """The job, until the end of the block."""
    tariffs = await known_tariffs(keepers)
    holdings = Holdings(keepers.parts, keepers.accounts, keepers.clock, Catalogue(), tariffs.newest)
    task = asyncio.ensure_future(events_job(keepers, counters, holdings, tariffs, Forms())())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def account(keepers: Keepers, msisdn: str = "491700000001") -> Any:
    new = NewSubscriber(msisdn, "", "flat-data", "prepaid", "EUR", 0)
    return (await keepers.accounts.create(new))[1]


async def until(holds: Any) -> None:
    async with asyncio.timeout(40):
        while not await holds():  # noqa: ASYNC110 - the store gives no event
            await asyncio.sleep(0.05)


def test_nothing_is_read_or_kept_until_somebody_wants_to_know(valkey: RealValkey, tmp_path: Path) -> None:
    async def run() -> None:
        async with keepers_of(valkey, tmp_path) as keepers, receiver() as to:
            counters = Counters()
            await register(keepers.parts, GROUP)
            async with working(keepers, counters):
                await until(lambda: _has_left(keepers))
                subscriptions = Subscriptions(keepers.store)
                made = await subscriptions.create("k", to.url, 1, any_channel=True)
                await register(keepers.parts, GROUP)
                told = await account(keepers)
                await keepers.accounts.topup(told, M, "till", "x1")
                await to.until(lambda: len(to.posted) == 1)
                await subscriptions.end(made)
                await until(lambda: _has_left(keepers))
                await until(lambda: _is_forgotten(subscriptions))
            assert json.loads(to.posted[0].body)["data"]["id"] == "x1"

    asyncio.run(run())


async def _is_forgotten(subscriptions: Subscriptions) -> bool:
    return await subscriptions.all() == []


async def _has_left(keepers: Keepers) -> bool:
    return GROUP not in await groups(keepers.parts)


def test_messages_of_the_settings_go_to_the_number_in_its_language(
    valkey: RealValkey, tmp_path: Path
) -> None:
    async def run() -> None:
        async with receiver() as to:
            messages = [{"types": ["topup.done"], "to": "subscriber"}]
            sms = {"url": to.url, "secret": "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}
            events = {"messages": messages, "sms": sms, "languages": {"49": "de"}}
            async with keepers_of(valkey, tmp_path, **events) as keepers, working(keepers, Counters()):
                await until(lambda: _follows(keepers))
                await keepers.accounts.topup(await account(keepers), 10 * M, "till", "x1")
                await keepers.accounts.topup(await account(keepers, "41790000001"), 10 * M, "till", "x2")
                await to.until(lambda: len(to.posted) == 2)
            texts = {each["to"]: each["text"] for each in (json.loads(one.body) for one in to.posted)}
            assert texts["+491700000001"].startswith("Aufladung über 10,00 EUR")
            assert texts["+41790000001"].startswith("Top-up of 10.00 EUR")

    asyncio.run(run())


async def _follows(keepers: Keepers) -> bool:
    return GROUP in await groups(keepers.parts)


def test_of_two_servers_on_one_store_one_tells_and_the_other_takes_over(
    valkey: RealValkey, tmp_path: Path
) -> None:
    async def run() -> None:
        async with keepers_of(valkey, tmp_path) as keepers:
            first, second = (Lease(keepers.store, LEASE_KEY, name) for name in ("one", "two"))
            assert await first.held()
            assert not await second.held()
            assert await first.held()
            assert 0 < await keepers.store.execute(0, "PTTL", LEASE_KEY) <= EVENTS_LEASE_MS
            await second.give_back()
            assert not await second.held(), "nobody gives back what is another's"
            await first.give_back()
            assert await second.held()
            await keepers.store.execute(0, "DEL", LEASE_KEY)  # its life is over
            assert await first.held()
            assert not await second.held()

    asyncio.run(run())


def test_a_lease_that_runs_out_while_it_is_renewed_is_had_by_one(valkey: RealValkey, tmp_path: Path) -> None:
    async def run() -> None:
        async with keepers_of(valkey, tmp_path) as keepers:
            taken: list[str] = []

            class Slow:
                """The store, asked by somebody who stands still before the renewal, so that another takes the lease."""

                async def execute(self, slot: int, *words: Any) -> Any:
                    if words[0] == "PEXPIRE" and not taken:
                        taken.append("two")
                        await keepers.store.execute(0, "DEL", LEASE_KEY)
                        assert await second.held()
                    return await keepers.store.execute(slot, *words)

            slow: Any = Slow()
            first, second = Lease(slow, LEASE_KEY, "one"), Lease(keepers.store, LEASE_KEY, "two")
            assert await first.held()
            assert not await first.held()
            assert taken
            assert await second.held()

    asyncio.run(run())


def test_what_a_revoked_key_has_subscribed_waits_until_another_takes_it_over(
    valkey: RealValkey, tmp_path: Path
) -> None:
    async def run() -> None:
        async with keepers_of(valkey, tmp_path) as keepers, receiver() as to:
            api_keys, subscriptions = ApiKeys(keepers.store), Subscriptions(keepers.store)
            old, new = [(await api_keys.create("", frozenset({"events:write"}), 1))[0] for _ in range(2)]
            made = await subscriptions.create(old.id, to.url, 1, any_channel=True)
            await register(keepers.parts, GROUP)
            await api_keys.revoke(old.id, 2)
            counters, whose = Counters(), await account(keepers)
            async with working(keepers, counters):
                await keepers.accounts.topup(whose, M, "till", "x1")
                await until(lambda: _counted(counters, "ocs_events_waiting", 1))
                assert to.posted == []
                assert await subscriptions.take_over(made, new.id, new_secret=False)
                await to.until(lambda: len(to.posted) == 1)

    asyncio.run(run())


def test_metrics_say_what_waits_and_what_is_dead(valkey: RealValkey, tmp_path: Path) -> None:
    async def run() -> None:
        async with keepers_of(valkey, tmp_path, retry_s=[]) as keepers, receiver() as to:
            counters = Counters()
            made = await Subscriptions(keepers.store).create("k", to.url, 1, any_channel=True)
            await register(keepers.parts, GROUP)
            _refuse(to)
            await keepers.accounts.topup(await account(keepers), M, "till", "x1")
            async with working(keepers, counters):
                await until(lambda: _is_dead(keepers, made.id))
                await until(lambda: _counted(counters, "ocs_events_dead_letters", 1))
                assert counters.cells[counters.index("ocs_events_dead_total")] == 1
                assert counters.cells[counters.index("ocs_events_failed_total")] == 1
                assert counters.cells[counters.index("ocs_events_notices_total")] == 1
            assert counters.cells[counters.index("ocs_events_dead_letters")] == 0, "they are another's now"

    asyncio.run(run())


def _refuse(to: Receiver) -> None:
    async def refuses(_posted: Posted) -> tuple[int, str]:
        return 500, ""

    to.answer = refuses


async def _is_dead(keepers: Keepers, name: str) -> bool:
    return await Queue(keepers.store).dead_count(name) == 1


async def _counted(counters: Counters, family: str, value: int) -> bool:
    return counters.cells[counters.index(family)] == value


def test_dead_letters_are_listed_retried_and_dropped_by_command(
    valkey: RealValkey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def bury() -> str:
        async with keepers_of(valkey, tmp_path) as keepers:
            made = await Subscriptions(keepers.store).create("k", "https://example.com/", 1)
            for name in ("n1", "n2", "n3"):
                notice = Notice(name, "topup.done", 1_000, "acc", {"id": "t"})
                await Queue(keepers.store).bury(made.id, Delivery(notice, 9, 1, "answered 500"), 2_000)
            return made.id

    name = asyncio.run(bury())
    config = tmp_path / "ocs.toml"
    config.write_text('[store]\npartitions = 4\ndurability = "everysec"\n')
    place = Place(store=valkey.url, data_dir=tmp_path, config=config)

    event_letters.dead(place, name, as_json=True)
    assert {each["notice"]["id"] for each in json.loads(capsys.readouterr().out)} == {"n1", "n2", "n3"}
    event_letters.retry(place, name, "n1", as_json=False)
    event_letters.drop(place, name, "n2", as_json=False)
    event_letters.listing(place, as_json=True)
    said = capsys.readouterr().out
    assert "1 dead letters to be delivered again" in said
    (shown,) = json.loads(said[said.index("[") :])
    assert (shown["waiting"], shown["dead"]) == (1, 1)
    assert "secret" not in shown
    event_letters.dead(place, name, as_json=False)
    assert "answered 500" in capsys.readouterr().out
    for act in (event_letters.retry, event_letters.drop):
        with pytest.raises(Ended, match="no dead letter"):
            act(place, name, "n9", as_json=False)
    with pytest.raises(Ended, match="no subscription"):
        event_letters.dead(place, "nobody", as_json=False)


def test_who_revokes_a_key_by_command_is_told_what_its_channel_still_subscribes_to(
    valkey: RealValkey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def subscribed() -> str:
        async with keepers_of(valkey, tmp_path) as keepers:
            key, _ = await ApiKeys(keepers.store).create("", frozenset({"events:write"}), 1, channel="tills")
            await Subscriptions(keepers.store).create(key.id, "https://example.com/", 1, channel="tills")
            return key.id

    name = asyncio.run(subscribed())
    config = tmp_path / "ocs.toml"
    config.write_text('[store]\npartitions = 4\ndurability = "everysec"\n')
    place = Place(store=valkey.url, data_dir=tmp_path, config=config)

    keys.revoke(place, name, as_json=False)

    told = capsys.readouterr()
    assert f"channel tills: subscriptions to events: 1, made by {name}, stopped" in told.out
    assert "takes it over" in told.err
    event_letters.listing(place, as_json=True)
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["owner"], shown["state"]) == (name, "stopped")


# -- settings


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ({"messages": [{"types": ["topup.done"], "to": "subscriber"}]}, "set sms.url"),
        ({"messages": [{"types": ["topup.done"], "to": "ops@example.org"}]}, "set smtp.host"),
        ({"messages": [{"types": ["no.such"], "to": "ops@example.org"}]}, "no.such"),
        ({"messages": [{"types": ["topup.done"], "to": "nobody"}]}, "mail address"),
        ({"smtp": {"host": "mail.example.org"}}, "set sender"),
        ({"smtp": {"host": "m", "sender": "a@b.org", "tls": "none", "user": "u"}}, "in the clear"),
        ({"sms": {"url": "https://sms.example.org/"}}, "set secret"),
        ({"sms": {"url": "nowhere"}}, "URL"),
        ({"zone": "Mars"}, "time zone"),
        ({"allowance_percent": [100, 80]}, "rise"),
        ({"languages": {"de": "de"}}, "first digits"),
    ],
)
def test_settings_that_could_send_nothing_are_refused_with_what_would_be_right(
    valkey: RealValkey, tmp_path: Path, events: dict[str, Any], says: str
) -> None:
    with pytest.raises(Ended, match=says):
        settings_for(valkey, tmp_path, **events)


def test_a_language_without_texts_and_a_secret_that_cannot_be_read_end_the_start(
    valkey: RealValkey, tmp_path: Path
) -> None:
    messages = [{"types": ["topup.done"], "to": "ops@example.org"}]
    smtp = {"host": "m", "sender": "a@b.org"}
    with pytest.raises(Ended, match=r"fr\.toml"):
        read_files(settings_for(valkey, tmp_path, messages=messages, smtp=smtp, language="fr"))
    hidden = smtp | {"password_file": str(tmp_path / "none")}
    with pytest.raises(Ended, match="none"):
        read_files(settings_for(valkey, tmp_path, messages=messages, smtp=hidden))
    for secret in ("no base64!", "whsec_"):
        sms = {"url": "https://sms.example.org/", "secret": secret}
        with pytest.raises(Ended, match="signs nothing"):
            read_files(settings_for(valkey, tmp_path, messages=messages, smtp=smtp, sms=sms))


def test_the_longest_beginning_of_a_number_that_is_known_decides_its_language(
    valkey: RealValkey, tmp_path: Path
) -> None:
    events = settings_for(valkey, tmp_path, languages={"4": "en", "49": "de"}).events
    assert language_of(events, "", "491") == "de"
    assert language_of(events, "", "411") == "en"
    assert language_of(events, "", "331") == events.language
    assert language_of(events, "en", "491") == "en"


def test_the_same_rules_have_the_same_queues_after_a_restart(valkey: RealValkey, tmp_path: Path) -> None:
    given = {
        "messages": [{"types": ["topup.done"], "to": "ops@example.org"}],
        "smtp": {"host": "m", "sender": "a@b.org"},
    }
    one, two = (message_rules(settings_for(valkey, tmp_path, **given).events) for _ in range(2))
    assert one == two
    (rule, _language) = next(iter(one.values()))
    assert (rule.form, rule.callback, rule.any_channel) == ("mail", "mailto:ops@example.org", True)
