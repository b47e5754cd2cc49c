"""An accounting record on its way through a connection (Rf, TS 32.299 clause 6.2): the rooms below, seen through the little that it needs."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from ocs.charging.accounting import AccountingRecord
from ocs.charging.ask import Ask
from ocs.charging.outcome import Outcome
from ocs.diameter.message import Header, Message
from ocs.outcomes import Code

ACCOUNTING_COMMAND: Final = 271
ACCOUNTING_APPLICATION: Final = 3


class Posts(Protocol):
    """What a connection needs of the book."""

    def account(self, record: AccountingRecord, frame: bytes, done: Callable[[int, Outcome], None]) -> None:
        """Post one record, which came as ``frame``; ``done`` gets the Result-Code and its Outcome exactly once."""


class Answers(Protocol):
    """What a connection needs of the answer writer."""

    def answer(self, message: Message, ask: Ask, code: Code, result_code: int) -> bytes:
        """Write the whole answer to a record that was looked at."""

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


class AccountingDesk(NamedTuple):
    """What a connection is given where accounting is served."""

    read: Callable[[Message], AccountingRecord]
    book: Posts
    answers: Answers


class Recording:
    """One record under way; ``answered`` writes its answer to the connection that it came on."""

    __slots__ = ("_answered", "_answers", "ask", "began_us", "message")

    def __init__(
        self,
        message: Message,
        ask: Ask,
        began_us: int,
        answered: Callable[["Recording", int, Outcome], None],
        answers: Answers,
    ) -> None:
        self.message, self.ask, self.began_us = message, ask, began_us
        self._answered, self._answers = answered, answers

    def answer(self, code: Code, result_code: int) -> bytes:
        """Write its answer."""
        return self._answers.answer(self.message, self.ask, code, result_code)

    def done(self, result_code: int, outcome: Outcome) -> None:
        """Take what became of it, exactly once."""
        self._answered(self, result_code, outcome)
