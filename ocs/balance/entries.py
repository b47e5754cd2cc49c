"""The event stream: the records of a partition, read in the order in which charging wrote them.

Ids are <epoch>-<sequence>, dense inside an epoch; the first record of an epoch names the last id before it, so that a
reader who knows where it was sees what a failover has lost. Readers remember the id with what they made of the record.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgpack

from ocs import records


class Entry(NamedTuple):
    """One record on the stream: its id, and its octets as the store wrote them."""

    id: str
    octets: bytes

    def record(self) -> records.Record:
        """Read the record; raises RecordError for one of another version, and for octets that are none."""
        try:
            fields = unpack(self.octets)
        except (ValueError, TypeError) as fault:  # msgpack's own, and a map whose key cannot be one
            raise records.RecordError(f"octets that are no record: {fault}") from fault
        return records.read(fields)


def unpack(octets: bytes) -> Any:
    """Unpack what the Lua library packed; octets that are no UTF-8 survive as surrogates."""
    return msgpack.unpackb(
        octets, raw=False, unicode_errors="surrogateescape", strict_map_key=False, use_list=False
    )


def entries(reply: Sequence[Any]) -> list[Entry]:
    """Read the reply of XRANGE: every entry has the one field that the library writes."""
    return [Entry(each[0].decode(), each[1][1]) for each in reply]


def order(entry_id: str) -> tuple[int, int]:
    """Return an id as something that sorts: (epoch, sequence)."""
    epoch, _, sequence = entry_id.partition("-")
    return int(epoch), int(sequence)


def follows(before: str, entry: Entry) -> bool:
    """Tell whether an entry comes right after an id: the next of the epoch, or a new epoch that says so, and can be read."""
    was, now = order(before), order(entry.id)
    if now[0] == was[0]:
        return now[1] == was[1] + 1
    try:
        record = entry.record()
    except (ValueError, TypeError):
        return False
    return isinstance(record, records.Epoch) and record.last_id == before
