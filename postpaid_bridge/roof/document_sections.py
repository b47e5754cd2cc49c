"""The sections of the settings that documents and their deliveries go by; config/bridge.toml explains each key."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from schwifty import BIC, IBAN
from schwifty.exceptions import SchwiftyException

from ocs.roof.event_sections import PauseS, Smtp
from ocs.roof.sections import OptionalPath, Section

__all__ = ["Documents", "Mail", "Seller", "ThirdParty"]

_Line = Annotated[str, Field(max_length=120)]
_NUMBER = re.compile(r"[0-9 ]{3,20}")
HELP_LINES = (
    "0800 1110111", "0800 1110222", "116123", "116111", "0800 1110550", "116016", "0800 2255530", "0800 4040020", "116006",
)  # fmt: skip


def _iban(value: str) -> str:
    if value:
        try:
            return str(IBAN(value).compact)
        except SchwiftyException as fault:
            raise ValueError(f"is no IBAN: {type(fault).__name__}") from None
    return value


def _bic(value: str) -> str:
    if value:
        try:
            return str(BIC(value).compact)
        except SchwiftyException as fault:
            raise ValueError(f"is no BIC: {type(fault).__name__}") from None
    return value


def _help_lines(values: tuple[str, ...]) -> tuple[str, ...]:
    for each in values:
        if not _NUMBER.fullmatch(each):
            raise ValueError(f"{each[:20]!r} is no number; write digits as they are dialled in the country")
    return values


class Seller(Section):
    """Who supplies, as documents say it (UStG section 14(4), TKG section 62(1))."""

    name: _Line = ""
    street: _Line = ""
    postcode: _Line = ""
    city: _Line = ""
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = "DE"
    phone: _Line = ""
    email: _Line = ""
    site: _Line = ""
    tax_number: _Line = ""
    vat_id: _Line = ""
    registered: _Line = ""
    managers: _Line = ""
    iban: Annotated[str, AfterValidator(_iban)] = ""
    bic: Annotated[str, AfterValidator(_bic)] = ""
    bank: _Line = ""
    complaints: Annotated[str, Field(max_length=400)] = ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.name:
            return self
        missing = [each for each in ("street", "postcode", "city") if not getattr(self, each)]
        if missing:
            raise ValueError(f"name is set, and of the address there is no {', '.join(missing)}")
        if not (self.tax_number or self.vat_id):
            raise ValueError("set tax_number or vat_id; a bill has one of them (UStG section 14(4) no. 2)")
        if not (self.phone or self.email or self.site):
            raise ValueError("set phone, email or site; a bill has one of them (TKG section 62(1))")
        return self


class ThirdParty(Section):
    """A third party whose claims are on our bills (TKG section 62(2)): the class of revenue that is its, and who it is."""

    revenue: Annotated[str, Field(min_length=1, max_length=32)]
    name: Annotated[str, Field(min_length=1, max_length=120)]
    address: Annotated[str, Field(min_length=1, max_length=200)]
    contact: Annotated[str, Field(min_length=1, max_length=200)]


class Documents(Section):
    """How documents are made."""

    enabled: bool = True
    folder: OptionalPath = None
    every_s: Annotated[float, Field(ge=0.1, le=3_600)] = 5.0
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    help_lines: Annotated[tuple[str, ...], AfterValidator(_help_lines)] = HELP_LINES
    third_parties: tuple[ThirdParty, ...] = ()


class Mail(Smtp):
    """Where documents are handed over to be mailed; no host: they wait."""

    ca: OptionalPath = None
    timeout_s: Annotated[float, Field(ge=1, le=300)] = 30
    at_once: Annotated[int, Field(ge=1, le=100)] = 8
    retry_s: Annotated[tuple[PauseS, ...], Field(min_length=1, max_length=32)] = (
        60, 300, 900, 3_600, 7_200, 14_400, 28_800, 86_400,
    )  # fmt: skip
