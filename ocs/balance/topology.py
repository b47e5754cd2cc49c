"""Topology: which master serves which slots, asked afresh each time; one server, Sentinel and Cluster look alike.

Law: an answer is a snapshot and may be old. Who uses it must bear being told MOVED or READONLY.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ocs.balance.addresses import Address, Endpoint, Scheme, Secret
from ocs.balance.link import Demands, Link, LinkDown, StoreError, StoreFault, StoreRefused
from ocs.limits import STORE_NODES_MAX

SLOTS = 16_384
ALL_SLOTS = ((0, SLOTS - 1),)


class Share(NamedTuple):
    """A master and the slots it serves, as inclusive ranges."""

    endpoint: Endpoint
    ranges: tuple[tuple[int, int], ...]


async def survey(address: Address, links: Sequence[Link]) -> tuple[Share, ...]:
    """Read who serves what, over living links where there are some. Raises a StoreFault."""
    if address.scheme is Scheme.SERVER:
        return (Share(address.endpoints[0], ALL_SLOTS),)
    if address.scheme is Scheme.SENTINEL:
        return (Share(await _master_by_name(address), ALL_SLOTS),)
    if address.scheme is Scheme.CLUSTER:
        return await _shares(address, links)
    raise StoreRefused("embedded: is no address to connect to; the started store names its own")


async def _master_by_name(address: Address) -> Endpoint:
    """Ask one Sentinel after the other where the master is."""
    faults: list[str] = []
    for endpoint in address.endpoints:
        try:
            reply = await _ask_sentinel(address, endpoint)
        except StoreFault as fault:
            faults.append(str(fault))
            continue
        if isinstance(reply, list) and len(reply) == 2:
            return Endpoint(reply[0].decode(), int(reply[1]))
        faults.append(f"{endpoint.name}: knows no master named {address.master_name!r}")
    raise LinkDown("; ".join(faults))


async def _ask_sentinel(address: Address, endpoint: Endpoint) -> Any:
    """Ask without a password first: a Sentinel seldom has one, and then refuses to be given it."""
    command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.master_name)
    try:
        return await _ask_once(address._replace(password=Secret("")), endpoint, *command)
    except StoreRefused:
        if not address.password:
            raise
        return await _ask_once(address, endpoint, *command)


async def _ask_once(address: Address, endpoint: Endpoint, *command: str) -> Any:
    link = Link(endpoint, address, demands=Demands.none(), title="ocs-survey")
    await link.connect()
    try:
        return await link.execute(*command)
    finally:
        link.close()


async def _shares(address: Address, links: Sequence[Link]) -> tuple[Share, ...]:
    """Ask the nodes we are linked to, then the seeds of the address."""
    faults: list[str] = []
    for link in links:
        try:
            return read_slots(await link.execute("CLUSTER", "SLOTS"), link.endpoint.host)
        except StoreFault as fault:
            faults.append(str(fault))
    for seed in address.endpoints:
        try:
            return read_slots(await _ask_once(address, seed, "CLUSTER", "SLOTS"), seed.host)
        except StoreError as fault:
            if "cluster support disabled" in fault.text:
                raise StoreRefused(f"{seed.name}: not a cluster; use redis://{seed.name}") from None
            faults.append(str(fault))
        except StoreRefused:
            raise
        except StoreFault as fault:
            faults.append(str(fault))
    raise LinkDown("; ".join(faults))


def read_slots(reply: Any, asked_host: str) -> tuple[Share, ...]:
    """Read CLUSTER SLOTS; a node without a host is on the host that we asked."""
    ranges: dict[Endpoint, list[tuple[int, int]]] = {}
    for row in reply:
        first, last, master = int(row[0]), int(row[1]), row[2]
        if not 0 <= first <= last < SLOTS:
            raise LinkDown(f"CLUSTER SLOTS names the slots {first} to {last}")
        host = master[0].decode() if master[0] else ""
        ranges.setdefault(Endpoint(asked_host if host in {"", "?"} else host, int(master[1])), []).append(
            (first, last)
        )
    if len(ranges) > STORE_NODES_MAX:
        raise StoreRefused(f"the cluster has {len(ranges)} masters; at most {STORE_NODES_MAX} are taken")
    return tuple(Share(endpoint, tuple(spans)) for endpoint, spans in ranges.items())
