"""The section of the settings about recurring and automatic top-ups; config/ocs.toml explains each key."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from ocs.notices.signature import sign
from ocs.roof.action_sections import ChannelName
from ocs.roof.event_sections import PauseS, _url, _zone
from ocs.roof.sections import MoneyText, OptionalPath, Section


class Collection(Section):
    """How a channel's executions are paid: it settles with the operator, or its collector is asked."""

    collect: Literal["trusted", "webhook"]
    url: Annotated[str, AfterValidator(_url)] = ""
    secret: SecretStr = SecretStr("")
    secret_file: OptionalPath = None

    @model_validator(mode="after")
    def _asks_somebody(self) -> Self:
        secret = self.secret.get_secret_value()
        if self.collect == "webhook" and not (self.url and (secret or self.secret_file)):
            raise ValueError(
                'collect is "webhook"; set url, the channel\'s collector, and secret or secret_file'
            )
        if secret:
            try:
                sign(secret, "", 0, b"")
            except ValueError:
                raise ValueError('secret: write "whsec_" and base64') from None
        return self


class TopupOrders(Section):
    """Recurring and automatic top-ups: none where no channel may have them."""

    below: MoneyText = "2.00"
    per_day: Annotated[int, Field(ge=1, le=100)] = 3
    retry_s: Annotated[tuple[PauseS, ...], Field(max_length=32)] = (60, 900, 7200, 28800)
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    channels: Annotated[dict[ChannelName, Collection], Field(max_length=1_000)] = {}  # noqa: RUF012 - pydantic copies it
