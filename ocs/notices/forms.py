"""Forms of events: what a subscription's webhooks say. Our own, and those that other doors register (the TMF654 hub: "tmf654")."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ocs.notices.notice import Notice
from ocs.notices.subscriptions import WEBHOOK, Subscription

Write = Callable[[Notice, Subscription], Awaitable[Mapping[str, Any] | None]]
"""Writes the JSON body of a notice for a subscription; None: this form has no such event, and nothing is sent."""


async def own(notice: Notice, _subscription: Subscription) -> Mapping[str, Any]:
    """Write a notice as EVENTS.md shows it."""
    return notice.described()


class Forms:
    """The registry of forms; what the roof registers before anything is delivered."""

    __slots__ = ("_written",)

    def __init__(self) -> None:
        self._written: dict[str, Write] = {WEBHOOK: own}

    def register(self, form: str, write: Write) -> None:
        """Let subscriptions with a form be written by a function; raises ValueError where the form is known already."""
        if form in self._written:
            raise ValueError(f"the form {form} is known already")
        self._written[form] = write

    def __contains__(self, form: str) -> bool:
        """Tell whether a form is known."""
        return form in self._written

    async def write(self, notice: Notice, subscription: Subscription) -> Mapping[str, Any] | None:
        """Write a body; raises LookupError for a form that is not registered in this process."""
        return await self._written[subscription.form](notice, subscription)
