"""The shapes of TMF632, TMF629 and TMF666 v4.0.0 (tests/contract/tmf) as far as they are kept here; other attributes are refused (400).

Laws
1. Names and types are the definitions'. What a body says and is not kept is refused rather than forgotten.
2. An address's street and house number are one text (``street1``), its addition is ``street2``, its kind is ``contactType``.
3. The last word on what is right is that of the desk (ocs/care/customers/shapes.py); here is what can be read at all.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt

from ocs.http.prepay.shapes import AccountRef, Instant, Name, PartyRef, Ref, Shape, Text, TimePeriod

_Short = Annotated[str, Field(max_length=254)]


class MediumCharacteristic(Shape):
    """Where somebody is reached."""

    city: Text | None = None
    contact_type: Literal["main", "billing", "delivery"] | None = None
    country: Text | None = None
    email_address: _Short | None = None
    phone_number: Text | None = None
    post_code: Text | None = None
    street1: Text | None = None
    street2: Text | None = None


class ContactMedium(Shape):
    """One way to reach somebody: email, phone or postalAddress."""

    medium_type: Literal["email", "phone", "postalAddress"]
    characteristic: MediumCharacteristic


_Media = Annotated[list[ContactMedium], Field(max_length=8)]


class LanguageAbility(Shape):
    """The language that somebody is written to in."""

    language_code: Text
    is_favourite_language: StrictBool | None = None


_Languages = Annotated[list[LanguageAbility], Field(min_length=1, max_length=1)]


class Characteristic(Shape):
    """Something that the definition has no attribute for."""

    name: Name
    value: Text
    value_type: Literal["string"] | None = None


_Characteristics = Annotated[list[Characteristic], Field(max_length=8)]


class IndividualUpdate(Shape):
    """What a person is to be; what is left out stays."""

    given_name: Text | None = None
    family_name: Text | None = None
    birth_date: Instant | None = None
    contact_medium: _Media | None = None
    language_ability: _Languages | None = None


class IndividualCreate(IndividualUpdate):
    """A person to be created."""

    given_name: Text
    family_name: Text


class OrganizationRef(Ref):
    """An organisation."""


class ParentRelationship(Shape):
    """What an organisation hangs below."""

    organization: OrganizationRef
    relationship_type: Text | None = None


class Identification(Shape):
    """A number that an organisation has elsewhere: of the commercial register, or its VAT id."""

    identification_id: Text
    identification_type: Literal["commercialRegister", "vatId"]


class OrganizationUpdate(Shape):
    """What an organisation is to be; what is left out stays. Where it hangs changes from today on."""

    trading_name: Text | None = None
    contact_medium: _Media | None = None
    organization_identification: Annotated[list[Identification], Field(max_length=2)] | None = None
    organization_parent_relationship: ParentRelationship | None = None
    party_characteristic: _Characteristics | None = None


class OrganizationCreate(OrganizationUpdate):
    """An organisation to be created."""

    trading_name: Text


class CustomerUpdate(Shape):
    """What a customer is to be: its kind and credit class; what is left out stays."""

    engaged_party: PartyRef | None = None
    characteristic: _Characteristics | None = None


class CustomerCreate(Shape):
    """A customer to be created; ``name`` is its party's."""

    name: Text
    engaged_party: PartyRef
    characteristic: _Characteristics = Field(min_length=1)


class Cycle(Shape):
    """When an account is billed, and when a bill is due (days)."""

    name: Name
    is_ref: StrictBool
    id: Name | None = None
    payment_due_date_offset: StrictInt | None = None


class Format(Shape):
    """How usage is itemised: none, short or full."""

    name: Name
    is_ref: StrictBool
    id: Name | None = None


class BillStructure(Shape):
    """How an account is billed."""

    cycle_specification: Cycle | None = None
    format: Format | None = None
    presentation_media: Annotated[list[Format], Field(min_length=1, max_length=1)] | None = None


class Contact(Shape):
    """Where bills are sent."""

    contact_type: Literal["billing"]
    valid_for: TimePeriod
    contact_medium: Annotated[list[ContactMedium], Field(min_length=1, max_length=1)]


class TaxExemption(Shape):
    """Why an account is billed without tax: reverse_charge or exempt."""

    issuing_jurisdiction: Text
    valid_for: TimePeriod
    reason: Text


class AccountParty(PartyRef):
    """The paying party (role payer), or the customer (role customer)."""

    name: Text


class AccountUpdate(Shape):
    """What a billing account is to be; what is left out stays."""

    name: Text | None = None
    related_party: Annotated[list[AccountParty], Field(min_length=1, max_length=2)] | None = None
    bill_structure: BillStructure | None = None
    contact: Annotated[list[Contact], Field(min_length=1, max_length=1)] | None = None
    default_payment_method: Ref | None = None
    tax_exemption: Annotated[list[TaxExemption], Field(max_length=1)] | None = None


class AccountCreate(AccountUpdate):
    """A billing account to be opened today; ``name`` is the paying party's."""

    name: Text
    related_party: Annotated[list[AccountParty], Field(min_length=1, max_length=2)]


# -- what is answered


class _Answered(Shape):
    id: str
    href: str


class Individual(_Answered):
    """A person (Individual)."""

    given_name: str | None = None
    family_name: str | None = None
    full_name: str | None = None
    birth_date: datetime | None = None
    status: str | None = None
    contact_medium: list[ContactMedium] | None = None
    language_ability: list[LanguageAbility] | None = None
    party_characteristic: list[Characteristic] | None = None


class Organization(_Answered):
    """A company or a branch (Organization)."""

    trading_name: str | None = None
    is_head_office: bool | None = None
    status: str | None = None
    exists_during: TimePeriod | None = None
    contact_medium: list[ContactMedium] | None = None
    organization_identification: list[Identification] | None = None
    organization_parent_relationship: ParentRelationship | None = None
    party_characteristic: list[Characteristic] | None = None


class Customer(_Answered):
    """A customer (Customer); its id is its number."""

    name: str | None = None
    status: str | None = None
    account: list[AccountRef] | None = None
    characteristic: list[Characteristic] | None = None
    engaged_party: PartyRef | None = None
    valid_for: TimePeriod | None = None


class BillingAccount(_Answered):
    """A billing account (BillingAccount, PartyAccount); its id is its number."""

    name: str | None = None
    account_type: str | None = None
    state: str | None = None
    bill_structure: BillStructure | None = None
    contact: list[Contact] | None = None
    default_payment_method: Ref | None = None
    related_party: list[AccountParty] | None = None
    tax_exemption: list[TaxExemption] | None = None
