"""Creating subscribers, beside a create that died before it had put the balance's life on the agenda."""

import asyncio
from pathlib import Path

from ocs.balance.accounts import NewSubscriber
from ocs.balance.stored_book import UNUSED
from ocs.outcomes import Code
from ocs.rating.life import Life
from ocs.roof import subscriber
from ocs.roof.build import address_of, opened, read_settings
from ocs.roof.place import Place
from tests.real_valkey import RealValkey


def test_a_repeated_create_puts_on_the_agenda_what_the_first_had_not_come_to(tmp_path: Path) -> None:
    async def run(url: str) -> None:
        settings = read_settings(Place(store=url, data_dir=tmp_path), {})
        terms = subscriber._Terms("t", "prepaid", "EUR", 0, 0, Life(first_ms=1_000))
        new = NewSubscriber("491700000001", "", "t", "prepaid", "EUR", 0, UNUSED)
        async with opened(settings, address_of(settings)) as keepers:
            _, account = await keepers.accounts.create(new)
            code, _ = await subscriber._created(keepers, terms, new)
            keys = keepers.parts.keys[account.profile.partition]
            agenda = await keepers.store.execute(keys.slot, "ZRANGE", keys.agenda, 0, -1)
        assert (code, agenda) == (Code.EXISTS, [f"life:{account.profile.path}".encode()])

    with RealValkey(settings={"appendfsync": "always"}) as valkey:
        asyncio.run(run(valkey.url))
