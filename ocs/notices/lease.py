"""A lease in the store: of several servers on one store, one has a job at a time."""

from ocs.api_limits import EVENTS_LEASE_MS
from ocs.balance.functions import function
from ocs.balance.keys import slot_of
from ocs.balance.store import Store


class Lease:
    """A name in the store that its holder renews; one who dies leaves it to another after its life."""

    __slots__ = ("_key", "_name", "_store")

    def __init__(self, store: Store, key: str, name: str) -> None:
        self._store = store
        self._key = key
        self._name = name

    async def held(self) -> bool:
        """Take or renew the lease; False while another has it. Raises StoreFault."""
        slot = slot_of(self._key)
        call = self._store.execute
        holder = await call(slot, "SET", self._key, self._name, "NX", "GET", "PX", EVENTS_LEASE_MS)
        if holder is None:
            return True
        if holder.decode() != self._name:
            return False
        if not await call(slot, "PEXPIRE", self._key, EVENTS_LEASE_MS):
            return False
        # it may have run out, and been taken, between the two: then it is the other's life that was renewed
        holder = await call(slot, "GET", self._key)
        return bool(holder == self._name.encode())

    async def give_back(self) -> None:
        """Leave it to the next at once. Raises StoreFault."""
        await self._store.execute(slot_of(self._key), "FCALL", function("swap"), 1, self._key, self._name, "")
