"""`ocs tariff diff`: recorded usage priced on another tariff: who would pay more, who less, how much in all."""

import heapq
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ocs.balance.usage import Usage
from ocs.charging.replay import Compared, Replay, Sum
from ocs.clock import SystemClock
from ocs.money import format_amount
from ocs.rating.tariff import Tariff
from ocs.roof import say
from ocs.roof.build import Keepers, known_tariffs, read_settings, run
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place
from ocs.roof.tariff import one_tariff
from ocs.settings import Settings

_DAY_MS = 86_400_000
_SHOWN = 10


class _Question(NamedTuple):
    """What is compared: a tariff, with the sessions of another version of it, or of one that is named, and since when."""

    other: Tariff
    against: str | None
    days: int | None

    def chooses(self, key: str) -> bool:
        """Tell whether sessions of a recorded tariff are compared."""
        return key == self.against if self.against else key.rpartition("@")[0] == self.other.name


class _Answer(NamedTuple):
    """What was found, since when, and the records that could not be read or are missing."""

    found: Compared
    since_ms: int
    unreadable: int
    holes: int


def diff(place: Place, path: Path, against: str | None, days: int | None, *, as_json: bool) -> None:
    """Price the sessions that are on record on the tariff of a file, and tell what would change."""
    settings = read_settings(place)
    asked = _Question(one_tariff(settings, path), against, days)
    answer = run(place, lambda keepers: _replayed(settings, keepers, asked))
    told = _described(asked, answer)
    say.as_json(told) if as_json else _tell(told)


async def _replayed(settings: Settings, keepers: Keepers, asked: _Question) -> _Answer:
    tariffs = await known_tariffs(keepers)
    if asked.against is not None and tariffs.of_session(asked.against) is None:
        raise Ended(
            Exit.NOT_FOUND, f"no tariff {asked.against!r} is known; name one with its version, such as flat@1"
        )
    offset_ms = (await keepers.parts.epoch(0)).offset_ms
    now_ms = SystemClock().now_ms() + offset_ms
    since_ms = max(0, now_ms - asked.days * _DAY_MS) if asked.days is not None else 0
    archive = settings.archive_folder if settings.archive_folder.is_dir() else None
    usage = Usage(keepers.parts, archive, since_ms)
    replay = Replay(asked.other, tariffs.of_session, asked.chooses, settings.charging.tombstone_s * 1000)
    with _progress(len(keepers.parts.keys)) as advance:
        for keys in keepers.parts.keys:
            async for record in usage.of(keys):
                replay.add(record)
            replay.end_partition()
            advance()
    return _Answer(replay.found, since_ms, usage.unreadable, usage.holes)


@contextmanager
def _progress(count: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415 - only where somebody looks
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("partitions"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("partitions", total=count)
        yield lambda: bar.advance(task)


def _described(asked: _Question, answer: _Answer) -> dict[str, Any]:
    found = answer.found
    changes = {account: each.would_micros - each.paid_micros for account, each in found.accounts.items()}
    more = {account: change for account, change in changes.items() if change > 0}
    less = {account: change for account, change in changes.items() if change < 0}
    whole = Sum()
    for each in found.services.values():
        whole.chains += each.chains
        whole.paid_micros += each.paid_micros
        whole.would_micros += each.would_micros

    def largest(some: dict[str, int]) -> list[dict[str, Any]]:
        chosen = heapq.nsmallest(_SHOWN, some, key=lambda account: (-abs(some[account]), account))
        return [{"account": account} | _money(found.accounts[account]) for account in chosen]

    return {
        "tariff": asked.other.key,
        "against": asked.against or f"{asked.other.name} in every version on record",
        "currency": asked.other.currency,
        "since": say.instant(answer.since_ms) if answer.since_ms else None,
        "sessions": found.sessions,
        "accounts": len(found.accounts),
        **_money(whole),
        "more": {"accounts": len(more), "amount": format_amount(sum(more.values()))},
        "less": {"accounts": len(less), "amount": format_amount(sum(less.values()))},
        "same": {"accounts": len(changes) - len(more) - len(less)},
        "services": [
            {"service": name, "uses": each.chains} | _money(each)
            for name, each in sorted(found.services.items())
        ],
        "largest_more": largest(more),
        "largest_less": largest(less),
        "not_compared": [
            {"why": why.value, "uses": each.chains, "paid": format_amount(each.paid_micros)}
            for why, each in sorted(found.apart.items())
        ],
        "reports_set_aside": found.quarantined,
        "records_unreadable": answer.unreadable,
        "holes": answer.holes,
    }


def _money(each: Sum) -> dict[str, str]:
    return {
        "paid": format_amount(each.paid_micros),
        "would_pay": format_amount(each.would_micros),
        "difference": format_amount(each.would_micros - each.paid_micros),
    }


_LISTS = {
    "services": ("service", "uses", "paid", "would_pay", "difference"),
    "largest_more": ("account", "paid", "would_pay", "difference"),
    "largest_less": ("account", "paid", "would_pay", "difference"),
    "not_compared": ("why", "uses", "paid"),
}
_WORDS = frozenset({"service", "account", "why"})


def _tell(told: dict[str, Any]) -> None:
    """Show the sums, then a table for each list that holds something."""
    sums = {name: value for name, value in told.items() if name not in _LISTS}
    for side in ("more", "less"):
        sums[side] = f"{told[side]['accounts']} accounts, {told[side]['amount']} {told['currency']}"
    sums["same"] = f"{told['same']['accounts']} accounts"
    say.facts(sums)
    for name, columns in _LISTS.items():
        if told[name]:
            say.line("")
            say.line(name.replace("_", " "))
            say.table(
                [(each.replace("_", " "), each not in _WORDS) for each in columns],
                [[str(row[each]) for each in columns] for row in told[name]],
            )
