"""Listings of actions: merged out of indices by time, newest first; what is older than 30 days is in none."""

import asyncio
from collections.abc import Iterable
from typing import Final

from ocs.balance.asked import KINDS, Listed, Page
from ocs.balance.claims import read_claim
from ocs.balance.keys import Keys, home
from ocs.balance.parts import Parts
from ocs.balance.profiles import payer
from ocs.limits import ACTIONS_PER_PAGE_MAX, TOPUP_KEPT_MS

_AT_ONCE: Final = 512

Index = tuple[Keys, str]
"""An index: the partition that it is in, and its key."""


def of_account(keys: Keys, account: str, page: Page) -> list[Index]:
    """Return the indices of an account's actions."""
    return [(keys, keys.acted(payer(account), kind)) for kind in page.kinds or KINDS]


def of_channel(parts: Parts, channel: str, page: Page) -> list[Index]:
    """Return the indices of what a channel has claimed: its ids are spread over all partitions."""
    return [(keys, keys.asked(channel, kind)) for keys in parts.keys for kind in page.kinds or KINDS]


async def listed(parts: Parts, indices: list[Index], page: Page, now_ms: int) -> Listed:
    """Read a page. Raises ValueError for one that cannot be, and StoreFault."""
    if page.offset < 0 or not 0 <= page.limit <= ACTIONS_PER_PAGE_MAX:
        raise ValueError(f"a page is from an offset of 0 on and of {ACTIONS_PER_PAGE_MAX} actions at most")
    first = max(page.since_ms, now_ms - TOPUP_KEPT_MS)
    last = f"({page.until_ms}" if page.until_ms else "+inf"
    counts = await _each(parts, ((keys, "ZCOUNT", name, first, last) for keys, name in indices))
    there = [index for index, count in zip(indices, counts, strict=True) if count]
    most = page.offset + page.limit
    found = await _each(
        parts,
        (
            (keys, "ZRANGE", name, last, first, "BYSCORE", "REV", "LIMIT", 0, most, "WITHSCORES")
            for keys, name in there
        ),
    )
    names = sorted(
        ((int(score), name) for rows in found for name, score in zip(rows[::2], rows[1::2], strict=True)),
        reverse=True,
    )
    wanted = [name.decode(errors="surrogateescape") for _, name in names[page.offset : most]]
    texts = await _each(parts, ((_home(parts, name), "GET", _claim(parts, name)) for name in wanted))
    actions = [read_claim(text).action for text in texts if text is not None]
    return Listed(tuple(actions), sum(counts))


async def _each(parts: Parts, commands: Iterable[tuple[Keys, str, *tuple[str | int, ...]]]) -> list:  # type: ignore[type-arg]
    """Give many commands, so many at a time; their replies in order."""
    todo, replies = list(commands), []
    for start in range(0, len(todo), _AT_ONCE):
        chunk = todo[start : start + _AT_ONCE]
        replies += await asyncio.gather(*(parts.store.execute(keys.slot, *words) for keys, *words in chunk))
    return replies


def _home(parts: Parts, name: str) -> Keys:
    return parts.keys[home(name, len(parts.keys))]


def _claim(parts: Parts, name: str) -> str:
    channel, _, action_id = name.partition(":")
    return _home(parts, name).claim(channel, action_id)


async def claim_of(parts: Parts, channel: str, action_id: str) -> bytes | None:
    """Return the text of a claim."""
    keys = _home(parts, f"{channel}:{action_id}")
    text: bytes | None = await parts.store.execute(keys.slot, "GET", keys.claim(channel, action_id))
    return text
