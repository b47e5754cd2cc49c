"""The one place that builds redis-py clients: for everything that is not the hot path, and never sending twice.

Law: no client re-sends by itself (DESIGN law 7). redis-py's defaults sent one call 11 times over a link that was cut;
here a broken link is an exception, and only the caller, who knows the call's key, may replay it.
"""

import os
from pathlib import Path
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.cluster
import redis.retry
import redis.sentinel
from redis.backoff import NoBackoff

from ocs.balance.addresses import Address, Endpoint, Scheme
from ocs.balance.link import StoreRefused
from ocs.limits import LINK_CONNECT_MS_MAX, SOCKET_PATH_OCTETS_MAX

TIMEOUT_S = 5.0

# redis-py leaves these without types.
_ClusterNode: Any = redis.cluster.ClusterNode
_Sentinel: Any = redis.sentinel.Sentinel
_AsyncSentinel: Any = redis.asyncio.sentinel.Sentinel


def client(address: Address, *, decode: bool = False) -> Any:
    """Build a synchronous client that sends every call at most once."""
    retry = redis.retry.Retry(NoBackoff(), 0)
    options = _options(address, decode=decode) | {"retry": retry}
    if address.scheme is Scheme.CLUSTER:
        nodes = [_ClusterNode(place.host, place.port) for place in address.endpoints]
        return redis.cluster.RedisCluster(startup_nodes=nodes, **options)
    if address.scheme is Scheme.SENTINEL:
        sentinels = _Sentinel(_places(address), sentinel_kwargs=_timeouts() | {"retry": retry})
        return sentinels.master_for(address.master_name, **options, retry_on_error=[])
    return redis.Redis(**_server(address), **options, retry_on_error=[])


def async_client(address: Address, *, decode: bool = False) -> Any:
    """Build an asyncio client that sends every call at most once."""
    retry = redis.asyncio.retry.Retry(NoBackoff(), 0)
    options = _options(address, decode=decode) | {"retry": retry}
    if address.scheme is Scheme.CLUSTER:
        nodes = [redis.asyncio.cluster.ClusterNode(place.host, place.port) for place in address.endpoints]
        return redis.asyncio.cluster.RedisCluster(startup_nodes=nodes, **options, retry_on_error=[])
    if address.scheme is Scheme.SENTINEL:
        sentinels = _AsyncSentinel(_places(address), sentinel_kwargs=_timeouts() | {"retry": retry})
        return sentinels.master_for(address.master_name, **options, retry_on_error=[])
    return redis.asyncio.Redis(**_server(address), **options, retry_on_error=[])


def _timeouts() -> dict[str, Any]:
    return {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": LINK_CONNECT_MS_MAX / 1000}


def _options(address: Address, *, decode: bool) -> dict[str, Any]:
    options = _timeouts() | {"decode_responses": decode, "protocol": 2}
    if address.user:
        options["username"] = address.user
    if address.password:
        options["password"] = address.password.reveal()
    if address.tls is not None:
        files = {
            "ssl_ca_certs": address.tls.ca,
            "ssl_certfile": address.tls.certificate,
            "ssl_keyfile": address.tls.key,
        }
        options |= {"ssl": True} | {name: path for name, path in files.items() if path}
    return options


def _server(address: Address) -> dict[str, Any]:
    if address.scheme is not Scheme.SERVER:
        raise StoreRefused("embedded: is no address to connect to; the started store names its own")
    endpoint = address.endpoints[0]
    if endpoint.path:
        return {"unix_socket_path": _lasting_path(endpoint), "db": address.database}
    return {"host": endpoint.host, "port": endpoint.port, "db": address.database}


_folders: dict[str, int] = {}


def _lasting_path(endpoint: Endpoint) -> str:
    """A client connects whenever it likes: a folder whose path is too long is kept open, once per folder."""
    if len(os.fsencode(endpoint.path)) <= SOCKET_PATH_OCTETS_MAX:
        return endpoint.path
    path = Path(endpoint.path)
    folder = str(path.parent)
    if folder not in _folders:
        _folders[folder] = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{_folders[folder]}/{path.name}"


def _places(address: Address) -> list[tuple[str, int]]:
    return [(place.host, place.port) for place in address.endpoints]
