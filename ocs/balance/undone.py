"""What happened after the instant that a store is restored to: set aside as records, and told so that a human can book it again.

Laws
1. Nothing is thrown away: every record of the lost future that archive and append-only file hold is in ``records``, once.
2. ``undone.csv`` has a row for each, ``accounts.csv`` one for each account that was touched, ``undone.json`` the sums and every top-up and other
   action with channel, id and amount. One that its channel repeats, or a human books with this channel and id, counts then.
"""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TextIO

import msgpack

from ocs import records
from ocs.balance.archive_files import write_durably
from ocs.balance.entries import Entry
from ocs.balance.profiles import read_profile
from ocs.limits import UNDONE_BATCH

COLUMNS: Final = (
    "kind", "at_ms", "account", "msisdn", "amount_micros", "channel", "id", "session_id", "number", "code", "what", "record",
)  # fmt: skip
_ACCOUNT_COLUMNS: Final = ("account", "msisdn", "topups_micros", "charged_micros", "records")
_KINDS: Final = (
    "top-up",
    "action",
    "charge",
    "event",
    "refund",
    "accounting",
    "purchase",
    "account",
    "expiry",
    "unreadable",
)


class Row(NamedTuple):
    """One record of the lost future; ``amount_micros`` came in with a top-up, and was paid with everything else."""

    kind: str
    at_ms: int
    account: str
    msisdn: str
    amount_micros: int
    channel: str
    id: str
    session_id: str
    number: int | str
    code: int | str
    what: str
    record: str


class Sum(NamedTuple):
    """How many records of a kind, of how many accounts, and their money."""

    kind: str
    records: int
    accounts: int
    amount_micros: int


Named = Callable[[int, str], Awaitable[str]]
"""Tells the number of an account of a partition, "" where the restored store does not know it."""


class Undone:
    """Takes the records of the lost future and writes them down; a context."""

    def __init__(self, folder: Path, named: Named) -> None:
        self._folder = folder
        self._named = named
        self._batches: dict[int, list[Entry]] = {}
        self._numbers: dict[str, str] = {}
        self._accounts: dict[str, list[int]] = {}
        self._touched: dict[str, set[str]] = {kind: set() for kind in _KINDS}
        self._counts: Counter[str] = Counter()
        self._micros: Counter[str] = Counter()
        self.topups: list[Row] = []
        self.actions: list[Row] = []
        self.epochs: dict[int, int] = {}
        """The greatest epoch of each partition that a record has."""

    def __enter__(self) -> Self:
        (self._folder / "records").mkdir(parents=True, mode=0o700)
        self._file: TextIO = (self._folder / "undone.csv").open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        self._rows.writerow(COLUMNS)
        return self

    def __exit__(self, *_fault: object) -> None:
        self._file.close()

    async def add(self, partition: int, entry: Entry) -> None:
        """Take the next record of a partition."""
        batch = self._batches.setdefault(partition, [])
        batch.append(entry)
        if len(batch) >= UNDONE_BATCH:
            self._set_aside(partition)
        epoch = int(entry.id.partition("-")[0])
        self.epochs[partition] = max(epoch, self.epochs.get(partition, 0))
        row = _row(entry)
        if row is None:
            return
        row = row._replace(msisdn=await self._number(partition, row))
        self._counts[row.kind] += 1
        self._micros[row.kind] += row.amount_micros
        self._touched[row.kind].add(row.account)
        known = self._accounts.setdefault(row.account, [0, 0, 0])
        known[0 if row.kind == "top-up" else 1] += row.amount_micros
        known[2] += 1
        if row.kind == "top-up":
            self.topups.append(row)
        elif row.kind == "action":
            self.actions.append(row)
        self._rows.writerow(row)

    async def _number(self, partition: int, row: Row) -> str:
        if row.account and not self._numbers.get(row.account):
            # an account of the lost future is known by its own record alone
            self._numbers[row.account] = row.msisdn or await self._named(partition, row.account)
        return self._numbers.get(row.account, "")

    def _set_aside(self, partition: int) -> None:
        """Append a batch to its partition's file, as the archive has them."""
        batch = self._batches.pop(partition)
        member = gzip.compress(
            b"".join(msgpack.packb((each.id, each.octets)) for each in batch), compresslevel=1
        )
        with (self._folder / "records" / f"p{partition:03d}.rec.gz").open("ab") as out:
            out.write(member)

    @property
    def sums(self) -> list[Sum]:
        """The sums by kind."""
        return [
            Sum(kind, self._counts[kind], len(self._touched[kind]), self._micros[kind])
            for kind in _KINDS
            if self._counts[kind]
        ]

    @property
    def accounts(self) -> int:
        """How many accounts were touched."""
        return len(self._accounts.keys() - {""})

    def finish(self, told: dict[str, Any]) -> None:
        """Write what is not written yet, and the sums; ``told`` stands before them."""
        for partition in list(self._batches):
            self._set_aside(partition)
        self._file.flush()
        with (self._folder / "accounts.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(_ACCOUNT_COLUMNS)
            for account, figures in sorted(self._accounts.items()):
                rows.writerow((account, self._numbers.get(account, ""), *figures))
        content = told | {
            "accounts": self.accounts,
            "kinds": [each._asdict() for each in self.sums],
            "topups": [each._asdict() for each in self.topups],
            "actions": [each._asdict() for each in self.actions],
        }
        write_durably(self._folder / "undone.json", json.dumps(content, indent=1).encode())


def _row(entry: Entry) -> Row | None:
    """Describe a record; None for an epoch's, of which nothing is to be done."""
    try:
        record = entry.record()
    except (ValueError, TypeError) as fault:
        return Row("unreadable", 0, "", "", 0, "", "", "", "", "", str(fault), entry.id)
    if isinstance(record, records.Epoch):
        return None
    member = getattr(record, "member", "")
    path = f"{record.account}/{member}" if member else record.account
    row = Row("", record.now_ms, path, "", 0, "", "", "", "", "", "", entry.id)
    if isinstance(record, records.Topup):
        return row._replace(
            kind="top-up", amount_micros=record.amount_micros, channel=record.channel, id=record.id,
            what=f"voucher {record.voucher}" if record.voucher else row.what,
        )  # fmt: skip
    if isinstance(record, records.Charge):
        kind = "refund" if record.is_refund else "event" if record.is_event else "charge"
        if record.is_accounting:
            kind = "accounting"
        used = " ".join(f"{line.key}:{line.posted_units}" for line in record.lines if line.posted_units)
        return row._replace(
            kind=kind, amount_micros=sum(line.amount_micros for line in record.lines),
            session_id=record.session_id.removeprefix(records.ACCOUNTING),
            number=record.number, code=record.code, what=used,
        )  # fmt: skip
    if isinstance(record, records.Moved):
        held = f"holds {record.held_micros}" if record.held_micros else ""
        buckets = (f"bucket {each.id}-{each.start_ms} is of {each.amount}" for each in record.rows)
        words = (
            records.ActionKind(record.kind).name.lower(), record.counterpart, held, *buckets, record.reason,
        )  # fmt: skip
        return row._replace(
            kind="action", amount_micros=record.taken_micros - record.credited_micros, channel=record.channel,
            id=record.id, what=" ".join(filter(None, words)),
        )  # fmt: skip
    if isinstance(record, records.Rows):
        return row._replace(kind="purchase", amount_micros=record.price_micros, what=record.cause)
    if isinstance(record, records.Expire):
        session_id = record.session_id.removeprefix(records.RESERVATION)
        return row._replace(kind="expiry", session_id=session_id, what=f"held {record.held_micros}")
    opened = f"status {record.status}, floor {record.floor_micros}, profile {record.profile}"
    return row._replace(kind="account", what=opened, msisdn=_msisdn(record.profile))


def _msisdn(profile: str) -> str:
    """Read the number out of a profile; "" where it cannot be read."""
    try:
        return read_profile(profile, "", 0, 0).msisdn
    except (ValueError, TypeError, IndexError):
        return ""
