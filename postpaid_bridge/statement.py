"""Statements of a bank account (ISO 20022 camt.053.001.08, and .02 where it says the same), read from XML (pure).

Laws
1. A file is read whole or refused: it is XML without a document type, of bounded size, of a layout known here, for an account of ours, in that
   account's currency, and its opening balance and booked entries add up to its closing balance. Nothing is fetched, no entity is resolved.
2. The direction is what CdtDbtInd says; RvslInd says only that the entry undoes an earlier one (ISO 20022, ReversalIndicator).
3. An entry of several transactions is the sum of them, or is not taken in (``fault``); the rest of the statement is.
4. A transaction has one key for ever: the account, the bank's reference, and its place among those of the same reference; without a reference
   (``is_sure`` false) all that the bank says of it instead. What is only expected (PDNG, INFO) is passed over.

lxml reads, since pycamt 1.1.1 takes any descendant for an entry's own (a batch's first amount and reference), adds nothing up, and knows
neither return reasons nor charges.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

from lxml import etree

from ocs.limits import STATEMENT_ENTRIES_MAX, STATEMENT_OCTETS_MAX
from ocs.money import format_amount
from postpaid_bridge.tax import CENT_MICROS

__all__ = ["BankEntry", "Statement", "StatementFault", "Transaction", "digest_of", "read_statements"]

LAYOUTS = {f"urn:iso:std:iso:20022:tech:xsd:camt.053.001.{each}" for each in ("02", "08")}
NO_REFERENCES = {"", "NONREF", "NOTPROVIDED", "NOREF"}
"""What banks write where there is no reference."""
_AMOUNT = re.compile(r"([0-9]{1,13})(?:\.([0-9]{1,5}))?")
_OPENING = ("OPBD", "PRCD", "ITBD")
_CLOSING = ("CLBD", "ITBD")


class StatementFault(ValueError):
    """A file that is not taken in; the message says why."""


class Transaction(NamedTuple):
    """One transaction: ``amount_micros`` above 0 came in, below 0 went out; ``original_micros`` what a returned one was of, without the
    bank's price (``charges_micros``); ``returned`` the reason's code ("" none). ``end_to_end`` is the payer's own reference.
    """

    key: str
    is_sure: bool
    amount_micros: int
    end_to_end: str
    name: str
    iban: str
    text: str
    mandate: str
    returned: str
    reason: str
    original_micros: int
    charges_micros: int


class BankEntry(NamedTuple):
    """A booked entry, by its place in the statement. ``fault`` says why it cannot be taken in ("": it can)."""

    number: int
    amount_micros: int
    day: date
    is_reversal: bool
    transactions: tuple[Transaction, ...]
    fault: str = ""


class Statement(NamedTuple):
    """A statement of one account; amounts in micro-units, below 0 for an overdrawn account."""

    iban: str
    id: str
    sequence: str
    currency: str
    opening_micros: int
    closing_micros: int
    entries: tuple[BankEntry, ...]


def read_statements(octets: bytes, accounts: Iterable[str]) -> list[Statement]:
    """Read a file of statements of our accounts (IBANs). Raises StatementFault (law 1)."""
    ours = {"".join(each.split()).upper() for each in accounts}
    root = _parsed(octets)
    listed = [_Reader(each).statement(ours) for each in _all(root, "BkToCstmrStmt/Stmt")]
    if not listed:
        raise StatementFault("there is no statement in it")
    known = [(each.iban, each.id, each.sequence) for each in listed]
    if len(set(known)) != len(known):
        raise StatementFault("a statement stands in it twice")
    return listed


def digest_of(statement: Statement) -> str:
    """Return the SHA-256 of what a statement says."""
    return hashlib.sha256(json.dumps(statement, default=date.isoformat).encode()).hexdigest()


def _parsed(octets: bytes) -> etree._Element:
    if len(octets) > STATEMENT_OCTETS_MAX:
        raise StatementFault(f"it has more than {STATEMENT_OCTETS_MAX} octets")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(octets, parser)
    except etree.XMLSyntaxError as fault:
        raise StatementFault(f"it is no whole XML: {fault.msg}") from None
    if root.getroottree().docinfo.doctype:
        raise StatementFault("it has a document type; statements have none")
    name = etree.QName(root)
    if name.localname != "Document" or name.namespace not in LAYOUTS:
        raise StatementFault("it is no statement in a layout known here (camt.053.001.08 or .02)")
    return root


def _all(of: etree._Element, path: str) -> list[etree._Element]:
    """Return elements by local names, from child to child."""
    found: list[etree._Element] = of.findall("/".join(f"{{*}}{each}" for each in path.split("/")))
    return found


def _text(of: etree._Element | None, *paths: str) -> str:
    """Return the text of the first element that is there, blanks made one."""
    for path in paths:
        for each in _all(of, path) if of is not None else ():
            if each.text and each.text.strip():
                return " ".join(each.text.split())
    return ""


def _micros(of: etree._Element, currency: str) -> int:
    """Read an Amt. StatementFault for another currency, and for what is no amount."""
    said = of.get("Ccy", "")
    if said != currency:
        raise StatementFault(f"an amount in {said[:3] or 'no currency'}; the account is in {currency}")
    form = _AMOUNT.fullmatch((of.text or "").strip())
    if form is None:
        raise StatementFault("an amount that is none")
    micros = int(form[1]) * 1_000_000 + int((form[2] or "").ljust(6, "0"))
    if micros % CENT_MICROS:
        raise StatementFault("an amount more precise than the cent")
    return micros


def _sign(of: etree._Element) -> int:
    said = _text(of, "CdtDbtInd")
    if said not in {"CRDT", "DBIT"}:
        raise StatementFault("neither CRDT nor DBIT")
    return 1 if said == "CRDT" else -1


def _day(of: etree._Element, *names: str) -> date:
    for name in names:
        if said := _text(of, f"{name}/Dt", f"{name}/DtTm"):
            try:
                return date.fromisoformat(said[:10])
            except ValueError:
                raise StatementFault(f"{name} is no day") from None
    raise StatementFault(f"no {names[0]}")


class _Reader:
    """Reads one statement."""

    def __init__(self, of: etree._Element) -> None:
        self._of = of
        self._iban = "".join(_text(of, "Acct/Id/IBAN").split()).upper()
        self._currency = _text(of, "Acct/Ccy")
        self._places: dict[str, int] = {}

    def statement(self, ours: set[str]) -> Statement:
        """Read it (law 1)."""
        if not self._iban:
            raise StatementFault("a statement without an IBAN")
        if self._iban not in ours:
            raise StatementFault(f"a statement of {self._iban}, which is no account of ours")
        name = _text(self._of, "Id")
        if not name or len(name) > 35:
            raise StatementFault("a statement without an id")
        booked = [each for each in _all(self._of, "Ntry") if _text(each, "Sts/Cd", "Sts") == "BOOK"]
        if len(booked) > STATEMENT_ENTRIES_MAX:
            raise StatementFault(f"statement {name}: more than {STATEMENT_ENTRIES_MAX} entries")
        try:
            opening, closing = self._balances()
            entries = tuple(self._entry(number, each) for number, each in enumerate(booked, 1))
        except StatementFault as fault:
            raise StatementFault(f"statement {name}: {fault}") from None
        moved = sum(each.amount_micros for each in entries)
        if opening + moved != closing:
            raise StatementFault(
                f"statement {name}: {format_amount(opening)} and entries of {format_amount(moved)} do not make "
                f"{format_amount(closing)}"
            )
        sequence = _text(self._of, "ElctrncSeqNb", "LglSeqNb")
        page = _text(self._of, "StmtPgntn/PgNb")
        sequence = f"{sequence}.{page}" if page else sequence
        return Statement(self._iban, name, sequence[:35], self._currency, opening, closing, entries)

    def _balances(self) -> tuple[int, int]:
        found: dict[str, list[int]] = {}
        for each in _all(self._of, "Bal"):
            kind = _text(each, "Tp/CdOrPrtry/Cd")
            for amount in _all(each, "Amt")[:1] if kind in {*_OPENING, *_CLOSING} else ():
                self._currency = self._currency or amount.get("Ccy", "")
                found.setdefault(kind, []).append(_sign(each) * _micros(amount, self._currency))
        opening = next((found[kind][0] for kind in _OPENING if kind in found), None)
        closing = next((found[kind][-1] for kind in _CLOSING if kind in found), None)
        if opening is None or closing is None:
            raise StatementFault("no opening or no closing balance")
        return opening, closing

    def _entry(self, number: int, of: etree._Element) -> BankEntry:
        """Read an entry; what is wrong with its transactions is its own fault, what is wrong with its amount the statement's (law 3)."""
        amounts = _all(of, "Amt")
        if not amounts:
            raise StatementFault(f"entry {number}: no amount")
        try:
            amount = _sign(of) * _micros(amounts[0], self._currency)
            day = _day(of, "ValDt", "BookgDt") if _all(of, "ValDt") else _day(of, "BookgDt")
        except StatementFault as fault:
            raise StatementFault(f"entry {number}: {fault}") from None
        is_reversal = _text(of, "RvslInd") in {"true", "1"}
        details = [each for of_batch in _all(of, "NtryDtls") for each in _all(of_batch, "TxDtls")]
        try:
            found = tuple(
                self._transaction(of, amount, each, alone=len(details) == 1) for each in details
            ) or (self._transaction(of, amount, of, alone=True),)
        except StatementFault as fault:
            return BankEntry(number, amount, day, is_reversal, (), str(fault))
        total = sum(each.amount_micros for each in found)
        if total != amount:
            why = f"its transactions make {format_amount(total)}"
            return BankEntry(number, amount, day, is_reversal, (), why)
        return BankEntry(number, amount, day, is_reversal, found)

    def _transaction(
        self, entry: etree._Element, entry_micros: int, of: etree._Element, *, alone: bool
    ) -> Transaction:
        amounts = _all(of, "Amt") or _all(of, "AmtDtls/TxAmt/Amt")
        sign = _sign(of) if _all(of, "CdtDbtInd") else (1 if entry_micros >= 0 else -1)
        if alone:
            amount = entry_micros
        elif amounts:
            amount = sign * _micros(amounts[0], self._currency)
        else:
            raise StatementFault("a transaction of several has no amount")
        end_to_end = _text(of, "Refs/EndToEndId")
        party = "Dbtr" if amount > 0 else "Cdtr"
        returned = _text(of, "RtrInf/Rsn/Cd", "RtrInf/Rsn/Prtry")
        if returned or _text(entry, "RvslInd") in {"true", "1"}:
            party = "Dbtr"  # whose payment it undoes
        original, charges = self._returned(of, abs(amount)) if returned else (abs(amount), 0)
        name = _text(of, f"RltdPties/{party}/Pty/Nm", f"RltdPties/{party}/Nm")
        iban = _text(of, f"RltdPties/{party}Acct/Id/IBAN").replace(" ", "").upper()
        text = " ".join(
            [" ".join((each.text or "").split()) for each in _all(of, "RmtInf/Ustrd")]
            + [_text(each, "CdtrRefInf/Ref") for each in _all(of, "RmtInf/Strd")]
        ).strip()
        text = text or (_text(of, "AddtlNtryInf", "AddtlTxInf"))
        reference = _text(of, "Refs/AcctSvcrRef") or _text(entry, "AcctSvcrRef")
        told = (amount, _text(entry, "BookgDt/Dt", "BookgDt/DtTm")[:10], end_to_end, name, iban, text)
        key, is_sure = self._key(reference, told)
        return Transaction(
            key, is_sure, amount, "" if end_to_end.upper() in NO_REFERENCES else end_to_end, name[:140], iban[:34], text[:400],
            _text(of, "Refs/MndtId"), returned, _text(of, "RtrInf/AddtlInf")[:140], original, charges,
        )  # fmt: skip

    def _returned(self, of: etree._Element, amount_micros: int) -> tuple[int, int]:
        """Return what a returned transaction was of, and the bank's price: InstdAmt is the original, else charges that are said to be inside."""
        instructed = _all(of, "AmtDtls/InstdAmt/Amt")
        if instructed and instructed[0].get("Ccy") == self._currency:
            original = _micros(instructed[0], self._currency)
            if original <= amount_micros:
                return original, amount_micros - original
        records = [each for each in (_all(of, "Chrgs/Rcrd") or _all(of, "Chrgs")) if _all(each, "Amt")]
        inside = [each for each in records if _text(each, "ChrgInclInd") not in {"false", "0"}]
        charges = sum(_micros(_all(each, "Amt")[0], self._currency) for each in inside)
        if charges >= amount_micros:
            raise StatementFault("its charges are as high as it is")
        return amount_micros - charges, charges

    def _key(self, reference: str, told: Sequence[object]) -> tuple[str, bool]:
        """Return the key of a transaction, and whether the bank has given it a reference (law 4)."""
        is_sure = reference.upper() not in NO_REFERENCES
        if not is_sure:
            text = json.dumps(told, ensure_ascii=False)
            reference = hashlib.sha256(text.encode()).hexdigest()[:40]
        place = self._places.get(reference, 0) + 1
        self._places[reference] = place
        return f"{self._iban}:{reference[:60]}:{place}", is_sure
