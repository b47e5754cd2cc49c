"""Who is asking: from the identities of a request to the account's profile, remembered by the worker.

Laws
1. Identities that name different accounts are a fault of provisioning: unknown subscriber, never a guess.
2. "Unknown" is never remembered: the subscriber may be created a moment later.
3. What is remembered may be old: the store compares its version in every charge and sends the fresh one.
4. An identity that names a subscriber but is its own no more (a number that rests after a change) is looked up every time: it may be
   another's a moment later, and that subscriber's version will not tell.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from ocs.balance.keys import slot_of, where
from ocs.balance.link import StoreFault, StoreUnreadable, pack
from ocs.balance.parts import Parts
from ocs.balance.stored_book import read_book
from ocs.charging.plan import Profile
from ocs.limits import PROFILES_CACHED_MAX
from ocs.names import E164, IMSI, SubscriberId
from ocs.rating.openings import Held

Found = Callable[[Any], None]
"""Takes a Profile, None (unknown) or a StoreFault."""


def write_profile(profile: Profile) -> str:
    """Write a profile as the store keeps it, a JSON list (an idle account is mostly this); its place is kept elsewhere."""
    fields: list[Any] = [profile.msisdn, profile.imsi, profile.tariff, profile.kind, profile.currency]
    if profile.products or profile.cap_micros or profile.bar_epoch:
        fields += [profile.products, profile.cap_micros]
    if profile.bar_epoch:
        fields += [profile.barred, profile.bar_epoch]
    return json.dumps(fields, separators=(",", ":"))


def read_profile(
    text: bytes | str, path: str, partition: int, version: int, shared: bytes | None = None
) -> Profile:
    """Read a profile of the store; ``path`` is Profile.path, ``shared`` the profile of a member's account."""
    msisdn, imsi, tariff, kind, currency, *more = json.loads(text)
    account, _, member = path.partition("/")
    held, cap_micros = (tuple(Held(*each) for each in more[0]), more[1]) if more else ((), 0)
    of_account = () if shared is None else read_profile(shared, account, partition, version).products
    bar = more[2:4]  # its own bar: the account's is no member's
    return Profile(
        account, partition, version, msisdn, imsi, tariff, kind, currency, member, held, cap_micros, of_account, *bar
    )  # fmt: skip


def write_place(partition: int, path: str) -> str:
    """Write where a subscriber lives, as index and where-keys hold it."""
    return f"{partition} {path}"


def read_place(text: bytes) -> tuple[int, str]:
    """Read where a subscriber lives: partition and Profile.path."""
    partition, path, *_claim = text.decode().split(" ")  # a claim says more behind it (accounts.py)
    return int(partition), path


def payer(path: str) -> str:
    """Return the account that pays for a subscriber."""
    return path.partition("/")[0]


def identities_of(msisdn: str, imsi: str) -> list[SubscriberId]:
    """Return what names a subscriber: its number, and its IMSI if it has one ("" : none)."""
    return [SubscriberId(E164, msisdn)] + ([SubscriberId(IMSI, imsi)] if imsi else [])


def owned(profile: Profile, identity: SubscriberId) -> bool:
    """Tell whether an identity is one of a subscriber's own by now; one that it gave up may still name it for a while."""
    return identity in identities_of(profile.msisdn, profile.imsi)


def _profile(texts: list[bytes], path: str, partition: int) -> Profile | StoreUnreadable:
    try:
        return read_profile(texts[0], path, partition, read_book(texts[1]).version, *texts[2:])
    except (ValueError, TypeError, IndexError):  # BookUnreadable is a ValueError
        return StoreUnreadable(f"partition {partition}: account {path} has no profile that can be read")


class Profiles:
    """The worker's memory of profiles, by the identities that requests name them with."""

    __slots__ = ("_parts", "_remembered", "disagreements")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._remembered: dict[tuple[SubscriberId, ...], Profile] = {}
        self.disagreements = 0
        """Requests whose identities named different accounts, for metrics and alarms."""

    def recall(self, ids: tuple[SubscriberId, ...]) -> Profile | None:
        """Return what is remembered of these identities."""
        return self._remembered.get(ids)

    def remember(self, ids: tuple[SubscriberId, ...], profile: Profile) -> None:
        """Remember a profile; the oldest goes when there are too many."""
        remembered = self._remembered
        if len(remembered) >= PROFILES_CACHED_MAX and ids not in remembered:
            del remembered[next(iter(remembered))]
        remembered[ids] = profile

    def forget(self, ids: tuple[SubscriberId, ...]) -> None:
        """Forget these identities."""
        self._remembered.pop(ids, None)

    def find(self, ids: tuple[SubscriberId, ...], session_id: str, done: Found) -> None:
        """Ask the store who this is: by identities, or, where the request has none, by where its session was opened."""
        keys = [each.key for each in ids] if ids else [where(session_id)]
        places: dict[str, Any] = {}
        asked = len(set(keys))

        def one(key: str, reply: Any) -> None:
            places[key] = reply
            if len(places) == asked:
                self._placed(ids, [places[each] for each in keys], done)

        for key in dict.fromkeys(keys):
            self._parts.store.call(slot_of(key), pack("GET", key), partial(one, key))

    def _placed(self, ids: tuple[SubscriberId, ...], places: list[Any], done: Found) -> None:
        for place in places:
            if isinstance(place, StoreFault):
                done(place)
                return
        try:
            named = {read_place(place) for place in places if place is not None}
        except ValueError:
            done(StoreUnreadable("an identity names no place"))
            return
        if len(named) > 1:
            self.disagreements += 1
        if len(named) != 1:
            done(None)
            return
        partition, path = named.pop()
        if not 0 <= partition < len(self._parts.keys):
            done(None)
            return
        naming = [each for each, place in zip(ids, places, strict=True) if place is not None] if ids else []

        def read(found: Any) -> None:
            if naming and isinstance(found, Profile) and all(owned(found, each) for each in naming):
                self.remember(ids, found)
            done(found)

        self.read(partition, path, read)

    def read(self, partition: int, path: str, done: Found) -> None:
        """Read a subscriber's profile, and the version of its account, from their partition."""
        keys = self._parts.keys[partition]

        def told(reply: Any) -> None:
            if isinstance(reply, StoreFault):
                done(reply)
            elif None in reply:
                done(None)
            else:
                done(_profile(reply, path, partition))

        # one command: profile and version are of one instant
        account = payer(path)
        names = (keys.profile(path), keys.book(account)) + (
            (keys.profile(account),) if path != account else ()
        )
        self._parts.store.call(keys.slot, pack("MGET", *names), told)
