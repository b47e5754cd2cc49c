"""Names of keys in the store: partitions, their hash tags, and everything that carries one.

Laws
1. An account belongs to one partition; its book, sessions, due index and stream carry the partition's tag, so that one
   call touches one slot (Redis Cluster specification, "hash tags").
2. The tags spread the partitions evenly: partition p of n lies in the p-th n-th of the 16,384 slots.
3. Count and layout are recorded in the store and checked at start; a store laid out otherwise is refused.
"""

import binascii
from functools import lru_cache
from itertools import count
from typing import NamedTuple

SLOTS = 16_384
LAYOUT = 4
"""Version of the keys' layout and of what stands under them: books, sessions, records. 1: MessagePack;
2: rows of fixed format; 3: with rates; 4: with buckets and counters."""


def slot_of(key: str) -> int:
    """Return the cluster slot of a key (CRC-16/XMODEM of its hash tag, or of the whole key, modulo 16,384)."""
    start = key.find("{")
    if start >= 0:
        end = key.find("}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key.encode(), 0) % SLOTS


@lru_cache(maxsize=64)
def tag_in(slot: int) -> str:
    """Return a hash tag that lies in a slot: the first whole number that does."""
    return next(text for n in count() if slot_of(text := str(n)) == slot)


@lru_cache(maxsize=8)
def tags(partitions: int) -> tuple[str, ...]:
    """Return the hash tag of every partition: "p17" and the first suffix that lands in the partition's share of slots."""
    share = SLOTS // partitions
    found = []
    for partition in range(partitions):
        # the checksum of what they have in common is taken once: every command needs this table
        begun = binascii.crc_hqx(f"p{partition}.".encode(), 0)
        suffix = next(n for n in count() if binascii.crc_hqx(b"%d" % n, begun) % SLOTS // share == partition)
        found.append(f"p{partition}.{suffix}")
    return tuple(found)


class Keys(NamedTuple):
    """The keys of one partition; made once per partition and worker."""

    partition: int
    slot: int
    part: str
    run: str
    due: str
    open: str
    stream: str
    claims: str
    agenda: str
    actions: str
    prefix: str

    def book(self, account: str) -> str:
        """Return the key of an account's book."""
        return f"{self.prefix}book:{account}"

    def profile(self, account: str) -> str:
        """Return the key of an account's profile."""
        return f"{self.prefix}profile:{account}"

    def members(self, account: str) -> str:
        """Return the key of the set of a shared account's members, by Profile.path; one may be named that was never opened."""
        return f"{self.prefix}members:{account}"

    def opened_by(self, path: str) -> tuple[str, str]:
        """Return the bounds, as ZRANGEBYLEX takes them, of a subscriber's rows among the open sessions by account (``open``).

        A row is "<path> <Session-Id>"; those of an account's members, "<account>/<member> …", are among the account's: blank and
        stroke come before "0", letters and digits, of which names are made, do not.
        """
        return f"[{path} ", f"({path}0"

    def session(self, session_id: str) -> str:
        """Return the key of a session."""
        return f"{self.prefix}session:{session_id}"

    def event(self, name: str) -> str:
        """Return the key of a one-time event, by its number and Session-Id (charging/event.py, Debited.name)."""
        return f"{self.prefix}event:{name}"

    def record(self, name: str) -> str:
        """Return the key of what is known of an accounting record, by its kind, its number and the name of its session."""
        return f"{self.prefix}record:{name}"

    def debits(self, path: str) -> str:
        """Return the key of the list of a subscriber's newest debits, by the names of their events."""
        return f"{self.prefix}debits:{path}"

    def claim(self, channel: str, topup_id: str) -> str:
        """Return the key of the claim on a top-up's id (in the partition of the id, not of the account)."""
        return f"{self.prefix}claim:{channel}:{topup_id}"

    def gift(self, channel: str, name: str) -> str:
        """Return the key that says what the id of a bucket that is given is for (in the partition of the id)."""
        return f"{self.prefix}gift:{channel}:{name}"

    def credit(self, channel: str, topup_id: str) -> str:
        """Return the key of the marker that a top-up reached this partition's account."""
        return f"{self.prefix}credit:{channel}:{topup_id}"

    def voucher(self, name: str) -> str:
        """Return the key of a voucher, by the keyed hash of its code (voucher_codes.py)."""
        return f"{self.prefix}voucher:{name}"

    def vouchers(self, batch: int) -> str:
        """Return the key of this partition's copy of a batch, with the counts of its vouchers here."""
        return f"{self.prefix}vouchers:{batch}"

    @property
    def voucher_claims(self) -> str:
        """Return the key of the vouchers of this partition that a top-up has claimed, by since when."""
        return f"{self.prefix}vclaims"

    def serials(self, batch: int, chunk: int) -> str:
        """Return the key of the names of a batch's vouchers in the order of their numbers, a chunk of them in one value."""
        return f"{self.prefix}serials:{batch}:{chunk}"

    def tries(self, who: str) -> str:
        """Return the key of the wrong codes that a subscriber or a channel has tried."""
        return f"{self.prefix}tries:{who}"

    def moved(self, step: str, channel: str, action_id: str) -> str:
        """Return the key of the marker that a step of an action reached this partition's account."""
        return f"{self.prefix}moved:{step}:{channel}:{action_id}"

    def owed(self, account: str) -> str:
        """Return the key of what an account owes for emergency credit."""
        return f"{self.prefix}owed:{account}"

    def lives(self, account: str) -> str:
        """Return the key of what an account's top-ups have lengthened its balance's life by (functions/lives.lua)."""
        return f"{self.prefix}lives:{account}"

    def brought(self, path: str, cause: str) -> str:
        """Return the key of what opening rows has left: a cause counts once for each subscriber."""
        return self.credit("rows", f"{path} {cause}")

    def acted(self, account: str, kind: int) -> str:
        """Return the key of the index of the actions of a kind that moved an account's money, by time."""
        return f"{self.prefix}acted:{kind}:{account}"

    def asked(self, channel: str, kind: int) -> str:
        """Return the key of the index of the actions of a kind that a channel has claimed in this partition, by time."""
        return f"{self.prefix}asked:{kind}:{channel}"

    def day(self, channel: str, kind: int, day: str) -> str:
        """Return the key of what a channel did on one day, of one kind (in the partition of the channel)."""
        return f"{self.prefix}day:{kind}:{day}:{channel}"

    def days(self, account: str, kind: int, day: str) -> str:
        """Return the key of what was done for an account on one day, of one kind (in the account's partition)."""
        return f"{self.prefix}days:{kind}:{day}:{account}"

    @property
    def orders(self) -> str:
        """Return the key of the index of this partition's orders for top-ups, by when to look at each (topup_orders.py)."""
        return f"{self.prefix}orders"

    @property
    def watched(self) -> str:
        """Return the key of the set of this partition's accounts that have an automatic order."""
        return f"{self.prefix}watched"

    def order(self, channel: str, order_id: str) -> str:
        """Return the key of an order (in the partition of its account)."""
        return f"{self.prefix}order:{channel}:{order_id}"

    def ordered(self, channel: str, order_id: str) -> str:
        """Return the key that says where an order is (in the partition of its id)."""
        return f"{self.prefix}ordered:{channel}:{order_id}"

    def orders_of(self, account: str) -> str:
        """Return the key of the index of an account's orders, by when they were made."""
        return f"{self.prefix}orders:{account}"


@lru_cache(maxsize=8)
def layout(partitions: int) -> tuple[Keys, ...]:
    """Return the keys of all partitions."""
    return tuple(
        Keys(
            partition,
            slot_of(f"{{{tag}}}"),
            f"{{{tag}}}:part",
            f"{{{tag}}}:run",
            f"{{{tag}}}:due",
            f"{{{tag}}}:open",
            f"{{{tag}}}:stream",
            f"{{{tag}}}:claims",
            f"{{{tag}}}:agenda",
            f"{{{tag}}}:actions",
            f"{{{tag}}}:",
        )
        for partition, tag in enumerate(tags(partitions))
    )


def home(name: str, partitions: int) -> int:
    """Return the partition in which something that has no partition yet is put: accounts when opened, claims by their id."""
    return binascii.crc32(name.encode()) % partitions


VOUCHER_BATCHES = "{vouchers}:batches"
"""Hash of all batches of vouchers: id -> what it is (voucher_batches.py)."""

VOUCHER_LAST = "{vouchers}:last"
"""The last id that a batch was given."""

VOUCHER_SECRET = "{vouchers}:secret"  # noqa: S105 - the name of a key
"""What tells the secret that codes are hashed under from another one; nothing of it."""


def where(session_id: str) -> str:
    """Return the key that says in which partition, and for which account, a session was opened."""
    return f"where:{session_id}"
