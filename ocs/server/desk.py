"""What every connection of a worker works with: the rooms below, seen through the little that a connection needs of them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from ocs import limits
from ocs.charging.ask import Ask
from ocs.charging.outcome import Outcome
from ocs.diameter.base import Local
from ocs.diameter.codec import Codec
from ocs.diameter.message import Header, Message
from ocs.server.accounting import AccountingDesk
from ocs.server.admission import Admission
from ocs.server.allow import AllowList
from ocs.server.log import SparingLog
from ocs.server.profiles import Profiles, Writers
from ocs.server.requester import Requester
from ocs.server.tally import Tally


class Book(Protocol):
    """What a connection needs of the book."""

    @property
    def ready(self) -> bool:
        """Tell whether the store can be reached."""

    def charge(self, ask: Ask, done: Callable[[Outcome], None], via: str) -> None:
        """Charge one request that came `via` a connection; `done` gets its Outcome exactly once, now or later."""


class Answers(Protocol):
    """What a connection needs of the answer writer."""

    def answer(self, message: Message, ask: Ask, outcome: Outcome) -> bytes:
        """Write the whole answer to a charged request."""

    def refuse(
        self,
        request: Header | Message,
        avps: dict[str, Any],
        result_code: int,
        *,
        failed_avp: bytes = b"",
        error_message: str = "",
    ) -> bytes:
        """Write the whole answer that refuses a request, from what of it could be read."""


class Bounds(NamedTuple):
    """What one connection may take."""

    message_octets_max: int = limits.MESSAGE_OCTETS_MAX
    unsent_octets_high: int = limits.UNSENT_OCTETS_HIGH
    unsent_octets_max: int = limits.UNSENT_OCTETS_MAX
    unsent_ms_max: int = limits.UNSENT_MS_MAX


class Desk(NamedTuple):
    """What every connection of a worker is given; `now_us` is a clock that never runs backwards, in microseconds.

    `is_emergency` tells from a request's Service-Information whether it is about an emergency call. `say_state` takes what a
    client says of its state: its Origin-Host and its Origin-State-Id.
    """

    local: Local
    codec: Codec
    ask: Callable[[Message], Ask]
    book: Book
    writers: Writers
    profiles: Profiles
    admission: Admission
    tally: Tally
    requester: Requester
    allow: AllowList
    log: SparingLog
    now_us: Callable[[], int]
    jitter_ms: Callable[[], int]
    is_emergency: Callable[[Mapping[str, Any]], bool]
    say_state: Callable[[str, int], None]
    bounds: Bounds = Bounds()
    accounting: AccountingDesk | None = None
