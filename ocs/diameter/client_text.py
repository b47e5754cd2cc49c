"""What config says of kinds of clients ([diameter.profiles] of config/ocs.toml), and of those that are known.

Laws
1. The defaults are what RFC 6733, RFC 8506 and TS 32.299 have; a profile says only where a client does not follow.
2. The known ones (CLIENTS.md) need not be written: a file that writes one of their names writes it anew, whole.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

ProfileName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
HostPattern = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9_*][A-Za-z0-9._*-]*$")]


class ClientText(BaseModel):
    """One profile; `origin_hosts` are patterns of Origin-Host in which * stands for any text."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)

    origin_hosts: Annotated[tuple[HostPattern, ...], Field(max_length=100)] = ()
    reauthorise: bool = True
    abort: bool = True
    vendor_avps: bool = True
    farewell: Literal["disconnect", "close"] = "disconnect"
    restart: Literal["keeps_sessions", "ends_sessions"] = "keeps_sessions"


KNOWN_CLIENTS: Final = {
    # answers a RAR and does nothing, an ASR with 5005 (CLIENTS 24); keeps no session over a restart, and its CER says when it began
    "open5gs": ClientText(reauthorise=False, abort=False, restart="ends_sessions"),
    "kamailio": ClientText(reauthorise=False, abort=False),  # answers neither (CLIENTS 24)
    "freediameter": ClientText(),
    "python-diameter": ClientText(farewell="close"),  # stays away after a DPR, whatever its cause says
    "strict": ClientText(vendor_avps=False),  # knows RFC 8506 alone (CLIENTS 20)
}


def with_known_clients(value: object) -> object:
    """Lay what is written over the known ones; what is no table stays as it is."""
    return {**KNOWN_CLIENTS, **value} if isinstance(value, Mapping) else value
