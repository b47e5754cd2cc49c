"""The section of the settings about events out: whom notices go to, and how; config/ocs.toml explains each key."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from ocs.money import parse_amount
from ocs.notices.callbacks import CallbackRefused, split
from ocs.notices.subscriptions import read_query, read_types
from ocs.roof.sections import MoneyText, OptionalPath, Port, Section, _network

_MAIL = re.compile(r"[^@\s<>,;:\"()\\]{1,64}@[A-Za-z0-9.-]{1,255}")
SUBSCRIBER = "subscriber"
"""As the receiver of messages: the subscriber's own number."""


def _mail(text: str) -> str:
    if text and not _MAIL.fullmatch(text):
        raise ValueError(f"{text[:60]!r} is no mail address; write one such as ops@example.org")
    return text


def _receiver(text: str) -> str:
    return text if text == SUBSCRIBER else _mail(text)


def _types(types: tuple[str, ...]) -> tuple[str, ...]:
    return read_types(types)


def _query(text: str) -> str:
    read_query(text)
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{text[:60]!r} is no time zone; write one such as Europe/Berlin") from None
    return text


def _url(text: str) -> str:
    if text:
        try:
            split(text)
        except CallbackRefused as fault:
            raise ValueError(str(fault).removeprefix("callback: ")) from None
    return text


def _rising(values: tuple[int, ...]) -> tuple[int, ...]:
    if any(after <= before for before, after in pairwise(values)):
        raise ValueError("these do not rise; write each once, the smallest first")
    return values


Mail = Annotated[str, AfterValidator(_mail)]
Language = Annotated[str, Field(pattern=r"^[a-z]{2}$")]
Percent = Annotated[int, Field(ge=1, le=100)]
Days = Annotated[int, Field(ge=1, le=365)]
PauseS = Annotated[int, Field(ge=1, le=86_400)]


class Smtp(Section):
    """Where mails are handed over; no host: none is sent."""

    host: str = ""
    port: Port = 587
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    sender: Mail = ""
    user: str = ""
    password: SecretStr = SecretStr("")
    password_file: OptionalPath = None

    @model_validator(mode="after")
    def _has_sender(self) -> Self:
        if self.host and not self.sender:
            raise ValueError("host is set and sender is not; set sender, the address that mails are from")
        if self.tls == "none" and self.user:
            raise ValueError('user is set and tls is "none"; the password would go in the clear: set tls')
        return self


class Sms(Section):
    """The gateway of short messages; no url: none is sent."""

    url: Annotated[str, AfterValidator(_url)] = ""
    secret: SecretStr = SecretStr("")
    secret_file: OptionalPath = None

    @model_validator(mode="after")
    def _has_secret(self) -> Self:
        if self.url and not (self.secret.get_secret_value() or self.secret_file):
            raise ValueError(
                "url is set and secret is not; set secret or secret_file, by which messages are signed"
            )
        return self


class Message(Section):
    """One rule: which notices go to whom as a message."""

    types: Annotated[tuple[str, ...], AfterValidator(_types), Field(min_length=1, max_length=32)]
    to: Annotated[str, AfterValidator(_receiver), Field(min_length=1)]
    query: Annotated[str, AfterValidator(_query)] = ""
    language: Annotated[str, Field(pattern=r"^([a-z]{2})?$")] = ""


class Events(Section):
    """Events out: notices to subscribed systems, and messages to people."""

    enabled: bool = True
    low_balance: Annotated[tuple[MoneyText, ...], Field(max_length=8)] = ("5.00",)
    allowance_percent: Annotated[tuple[Percent, ...], AfterValidator(_rising), Field(max_length=8)] = (
        80,
        100,
    )
    ending_days: Annotated[tuple[Days, ...], AfterValidator(_rising), Field(max_length=8)] = (3,)
    scan_s: Annotated[int, Field(ge=1, le=86_400)] = 600
    callback_public: bool = True
    callback_networks: Annotated[
        tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)], ...], Field(max_length=256)
    ] = ()
    callback_ca: OptionalPath = None
    timeout_s: Annotated[int, Field(ge=1, le=60)] = 10
    at_once: Annotated[int, Field(ge=1, le=32)] = 4
    retry_s: Annotated[tuple[PauseS, ...], Field(max_length=32)] = (
        5,
        60,
        300,
        900,
        3600,
        7200,
        14400,
        28800,
        28800,
    )
    texts_dir: OptionalPath = None
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    language: Language = "en"
    languages: Annotated[dict[str, Language], Field(max_length=256)] = Field(default_factory=dict)
    messages: Annotated[tuple[Message, ...], Field(max_length=64)] = ()
    smtp: Smtp = Smtp()
    sms: Sms = Sms()

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        for place, each in enumerate(self.messages):
            if each.to == SUBSCRIBER and not self.sms.url:
                raise ValueError(
                    f"messages[{place}] goes to subscribers and there is no gateway; set sms.url"
                )
            if each.to != SUBSCRIBER and not self.smtp.host:
                raise ValueError(f"messages[{place}] is a mail and there is no mail server; set smtp.host")
        if any(not prefix.isdecimal() for prefix in self.languages):
            raise ValueError('languages go by the first digits of a number; write { "49" = "de" }')
        return self

    @property
    def low_micros(self) -> tuple[int, ...]:
        """Return the thresholds of the balance in micro-units, ascending."""
        return tuple(sorted({parse_amount(each) for each in self.low_balance}))


def secret_of(secret: SecretStr, file: Path | None) -> str:
    """Return a secret, from its file where one is set; raises OSError."""
    return file.read_text(encoding="utf-8").strip() if file is not None else secret.get_secret_value()
