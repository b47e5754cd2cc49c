"""What customers are made of, as it is asked for and as it is read; and what is refused of it (pure).

Laws
1. A fault says where, what, and what would be right, and never repeats a value: it may be personal.
2. A check returns what was asked for in its one form: blanks at the ends are gone, an IBAN has none, a number is E.164 without a plus.
3. Days are half open: [since, until).
"""

import re
from collections.abc import Container, Mapping
from datetime import date
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from ocs.limits import ACCOUNT_DUE_DAYS_MAX, SERVICE_OPTIONS_MAX
from ocs.names import e164

__all__ = [
    "ANY_WORDS", "Address", "BillingAccount", "Customer", "CustomerFault", "Days", "HeldPlan", "Holding", "Kind", "NewAccount", "NewCustomer",
    "NewOrganisation", "NewPerson", "NewService", "Service", "Words", "account_number", "checked", "conflict", "customer_number", "missing",
    "wrong",
]  # fmt: skip


class Kind(StrEnum):
    """What kind of fault it is."""

    WRONG = "wrong"
    """It cannot be asked for like this."""
    MISSING = "missing"
    """What it speaks of is not there."""
    CONFLICT = "conflict"
    """It contradicts what is there."""


class CustomerFault(Exception):
    """Something was refused: ``where`` it is wrong (a field, or a thing and its id), ``what`` is wrong, and what would be ``right``."""

    def __init__(self, kind: Kind, where: str, what: str, right: str = "") -> None:
        super().__init__(f"{where}: {what}{f'; {right}' if right else ''}")
        self.kind = kind
        self.where = where
        self.what = what
        self.right = right


def wrong(where: str, what: str, right: str = "") -> CustomerFault:
    """Return the fault of something that cannot be asked for like this."""
    return CustomerFault(Kind.WRONG, where, what, right)


def missing(where: str, what: str = "there is none", right: str = "") -> CustomerFault:
    """Return the fault of something that is not there."""
    return CustomerFault(Kind.MISSING, where, what, right)


def conflict(where: str, what: str, right: str = "") -> CustomerFault:
    """Return the fault of something that contradicts what is there."""
    return CustomerFault(Kind.CONFLICT, where, what, right)


class Days(Protocol):
    """A period of days: [first, next)."""

    @property
    def first(self) -> date:
        """Its first day."""

    @property
    def next(self) -> date:
        """The day after its last."""


class Words(NamedTuple):
    """The words that are known from configuration; None: any that has a word's form."""

    cycles: Container[str] | None = None
    plans: Container[str] | None = None
    credit_classes: Container[str] | None = None
    discount_plans: Container[str] | None = None


ANY_WORDS: Final = Words()


# -- what is asked for


class NewPerson(NamedTuple):
    """A person."""

    given_name: str
    family_name: str
    birth_day: date | None = None
    email: str = ""
    phone: str = ""
    language: str = "de"


class NewOrganisation(NamedTuple):
    """A company, or, with a ``parent``, one of its branches."""

    organisation_name: str
    parent: int | None = None
    register_number: str = ""
    vat_id: str = ""
    email: str = ""
    phone: str = ""
    language: str = "de"


class Address(NamedTuple):
    """An address of a party; it has one of each kind (main, billing, delivery)."""

    street: str
    postcode: str
    city: str
    house_number: str = ""
    addition: str = ""
    country: str = "DE"
    kind: str = "main"


class NewCustomer(NamedTuple):
    """A party as somebody who buys. ``kind`` is consumer, business, small_business or non_profit: it decides which protection applies."""

    party: int
    kind: str
    credit_class: str = "standard"


class NewAccount(NamedTuple):
    """Where bills go: ``party`` is the paying node, the customer's own party or one below it (None: its own)."""

    customer: int
    since: date
    party: int | None = None
    currency: str = "EUR"
    language: str = "de"
    cycle: str = "monthly-1"
    tax_status: str = "domestic"
    itemised: str = "none"
    delivery: str = "email"
    email: str = ""
    payment: str = "transfer"
    iban: str = ""
    mandate: str = ""
    mandate_day: date | None = None
    due_days: int = 14
    discount_plan: str = ""


class NewService(NamedTuple):
    """A service that a party is to hold. ``payer`` is a billing account that it names; None: the nearest one upwards (tree.py)."""

    party: int
    plan: str
    since: date
    kind: str = "mobile"
    mode: str = "postpaid"
    number: str = ""
    book: str = ""
    subscriber: str = ""
    payer: int | None = None
    options: tuple[str, ...] = ()
    credit_limit_micros: int = 0


# -- what is read


class Customer(NamedTuple):
    """A customer as it is known."""

    id: int
    number: str
    party: int
    kind: str
    credit_class: str
    status: str
    since_ms: int


class BillingAccount(NamedTuple):
    """A billing account as it is known, in the order of its table."""

    id: int
    number: str
    customer: int
    party: int
    currency: str
    language: str
    cycle: str
    tax_status: str
    itemised: str
    delivery: str
    email: str
    payment: str
    iban: str
    mandate: str
    mandate_day: date | None
    due_days: int
    discount_plan: str
    status: str
    since: date
    until: date | None
    billed_until: date | None = None


class Service(NamedTuple):
    """A service as it is known, in the order of its table: what was decided last."""

    id: int
    billing_account: int | None
    payer_named: bool
    party: int
    kind: str
    mode: str
    number: str
    book: str
    subscriber: str
    plan: str
    since: date
    until: date | None
    barred: str
    credit_limit_micros: int


class Holding(NamedTuple):
    """Who held a service and who paid for it, in [since, until): one piece of its history."""

    service: int
    party: int
    billing_account: int | None
    number: str
    book: str
    mode: str
    since: date
    until: date | None

    def covers(self, day: date) -> bool:
        """Whether a day is one of its days."""
        return self.since <= day and (self.until is None or day < self.until)


class HeldPlan(NamedTuple):
    """A plan or option of a service while one billing account paid for it and one party held it.

    ``since`` and ``until`` are cut to that time (a change of payer in the middle of a period gives two pieces with the same ``id``);
    ``begun`` is the first day of the plan itself, which one-off fees go by.
    """

    id: int
    service: int
    plan: str
    since: date
    until: date | None
    book: str
    party: int
    begun: date
    role: str = "plan"
    number: str = ""
    mode: str = "postpaid"


# -- numbers


def customer_number(count: int) -> str:
    """Write a customer's number: C, the count, and a check digit that finds a mistyped or swapped digit (Luhn, ISO/IEC 7812-1)."""
    return f"C{count}{_luhn(count)}"


def account_number(count: int) -> str:
    """Write a billing account's number: A, the count, and a check digit."""
    return f"A{count}{_luhn(count)}"


def _luhn(count: int) -> int:
    total = 0
    for place, digit in enumerate(reversed(str(count))):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return -total % 10


# -- checks

_WORD: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_EMAIL: Final = re.compile(r"[^@\s<>,;:\"()\[\]\\]+@[^@\s<>,;:\"()\[\]\\]+\.[^@\s.<>,;:\"()\[\]\\]{2,}")
_PHONE: Final = re.compile(r"\+?[0-9][0-9 /()-]{2,30}")
_VAT: Final = re.compile(r"[A-Z]{2}[0-9A-Z+*]{2,13}")
_MANDATE: Final = re.compile(r"[A-Za-z0-9+?/:().,' -]{1,35}")
_BOOK: Final = re.compile(r"[!-~]{1,128}")
_ONE_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "language": ("de", "en"),
    "delivery": ("email", "download", "post"),
    "itemised": ("none", "short", "full"),
    "mode": ("postpaid", "prepaid", "hybrid"),
    "payment": ("transfer", "direct_debit"),
    "tax_status": ("domestic", "reverse_charge", "exempt"),
}
_KINDS: Final[Mapping[type, tuple[str, ...]]] = {
    Address: ("main", "billing", "delivery"),
    NewCustomer: ("consumer", "business", "small_business", "non_profit"),
    NewService: ("mobile", "fixed"),
}
_LENGTHS: Final[Mapping[str, int]] = {
    "given_name": 100, "family_name": 100, "organisation_name": 200, "register_number": 64, "street": 200, "house_number": 16,
    "addition": 200, "postcode": 16, "city": 100, "email": 254, "subscriber": 160,
}  # fmt: skip
_NEEDED: Final = frozenset({"organisation_name", "street", "postcode", "city"})
_WORDS: Final[Mapping[str, tuple[str, int]]] = {
    "cycle": ("cycles", 32), "plan": ("plans", 64), "credit_class": ("credit_classes", 16), "discount_plan": ("discount_plans", 64),
}  # fmt: skip

_Asked = TypeVar("_Asked", NewPerson, NewOrganisation, Address, NewCustomer, NewAccount, NewService)


def checked(asked: _Asked, words: Words = ANY_WORDS) -> _Asked:
    """Return what is asked for in its one form (law 2). Raises CustomerFault for the first thing that is wrong."""
    values: dict[str, Any] = {
        name: _field(type(asked), name, value, words) for name, value in asked._asdict().items()
    }
    made = type(asked)(**values)
    if isinstance(made, NewPerson):
        _check_person(made)
    elif isinstance(made, NewAccount):
        _check_account(made)
    elif isinstance(made, NewService):
        _check_service(made, words)
    return made


def _field(kind: type, name: str, value: Any, words: Words) -> Any:
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text.isprintable():
        raise wrong(name, "it has characters that are no text", "leave them out")
    if name in _LENGTHS and len(text) > _LENGTHS[name]:
        raise wrong(name, "it is too long", f"write at most {_LENGTHS[name]} characters")
    if name in _NEEDED and not text:
        raise wrong(name, "it is empty", "write at least one character")
    if name in _ONE_OF and text not in _ONE_OF[name]:
        raise wrong(name, "unknown word", f"write {' or '.join(_ONE_OF[name])}")
    if name == "kind" and text not in _KINDS[kind]:
        raise wrong(name, "unknown word", f"write {' or '.join(_KINDS[kind])}")
    if name in _WORDS:
        return _word(name, text, words)
    form = _FORMS.get(name)
    return form(text) if form is not None and text else text


def _word(name: str, text: str, words: Words) -> str:
    known: Container[str] | None = getattr(words, _WORDS[name][0])
    most = _WORDS[name][1]
    if not text and name == "discount_plan":
        return text
    if len(text) > most or not _WORD.fullmatch(text):
        raise wrong(name, "it is no key", f"write at most {most} of a-z, 0-9, dot, dash and underscore")
    if known is not None and text not in known:
        said = f"write one of {', '.join(sorted(known))}" if isinstance(known, set | frozenset | dict) else ""
        raise wrong(name, "there is none of this key", said)
    return text


def _email(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        raise wrong("email", "it is no mail address", "write such as name@example.org")
    return text


def _phone(text: str) -> str:
    if not _PHONE.fullmatch(text):
        raise wrong("phone", "it is no phone number", "write such as +49 30 1234567")
    return text


def _vat_id(text: str) -> str:
    bare = text.replace(" ", "").replace(".", "").upper()
    if not _VAT.fullmatch(bare):
        raise wrong("vat_id", "it is no VAT id", "write the country's two letters first, such as DE123456789")
    return bare


def _country(text: str) -> str:
    from pycountry import countries  # noqa: PLC0415 - its list is read when the first address comes

    if len(text) != 2 or countries.get(alpha_2=text.upper()) is None:
        raise wrong("country", "it is no country", "write its two letters of ISO 3166-1, such as DE")
    return text.upper()


def _currency(text: str) -> str:
    from pycountry import currencies  # noqa: PLC0415 - as above

    if len(text) != 3 or currencies.get(alpha_3=text) is None:
        raise wrong("currency", "it is no currency", "write its three letters of ISO 4217, such as EUR")
    return text


def _iban(text: str) -> str:
    from schwifty import IBAN  # noqa: PLC0415 - its list of banks is large
    from schwifty.exceptions import SchwiftyException  # noqa: PLC0415

    try:
        return str(IBAN(text.replace(" ", "").upper()))
    except SchwiftyException:
        raise wrong(
            "iban", "it is no IBAN (length, country or check digits)", "write it as the bank does"
        ) from None


def _number(text: str) -> str:
    found = e164(text)
    if found is None:
        raise wrong("number", "it is no E.164 number", "write 3 to 15 digits, with or without a plus")
    return found.value


def _mandate(text: str) -> str:
    if not _MANDATE.fullmatch(text):
        raise wrong("mandate", "it is no mandate reference", "write at most 35 characters of SEPA's set")
    return text


def _book(text: str) -> str:
    if not _BOOK.fullmatch(text):
        raise wrong(
            "book", "it is no charging account", "write at most 128 printable characters without blank"
        )
    return text


_FORMS: Final = {
    "book": _book, "country": _country, "currency": _currency, "email": _email, "iban": _iban, "mandate": _mandate, "number": _number,
    "phone": _phone, "vat_id": _vat_id,
}  # fmt: skip


def _check_person(made: NewPerson) -> None:
    if not made.given_name or not made.family_name:
        where = "given_name" if not made.given_name else "family_name"
        raise wrong(where, "it is empty", "a person has both names")


def _check_account(made: NewAccount) -> None:
    if isinstance(made.due_days, bool) or not 0 <= made.due_days <= ACCOUNT_DUE_DAYS_MAX:
        raise wrong("due_days", "no such number of days", f"write 0 to {ACCOUNT_DUE_DAYS_MAX}")
    if made.payment == "direct_debit":
        for where in ("iban", "mandate", "mandate_day"):
            if not getattr(made, where):
                raise wrong(where, "a direct debit needs it", "name it, or pay by transfer")
    if (made.mandate or made.mandate_day) and not made.iban:
        raise wrong(
            "iban", "a mandate is for an account at a bank", "name its IBAN, or leave the mandate out"
        )
    if not made.currency:
        raise wrong("currency", "it is empty", "write its three letters of ISO 4217, such as EUR")


def _check_service(made: NewService, words: Words) -> None:
    if made.credit_limit_micros < 0:
        raise wrong(
            "credit_limit_micros",
            "it is negative",
            "a limit of 50.00 is 50000000; the floor below zero is the charging server's",
        )
    if len(made.options) > SERVICE_OPTIONS_MAX:
        raise wrong("options", "too many", f"name at most {SERVICE_OPTIONS_MAX}")
    keys = [_word("plan", each, words) for each in (made.plan, *made.options)]
    if len(set(keys)) != len(keys):
        raise wrong("options", "one plan is named twice", "name each once")
    if made.mode != "prepaid" and not made.plan:
        raise wrong("plan", "it is empty", "name a key of config/plans")
