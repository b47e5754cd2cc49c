"""A bank that writes statements: camt.053.001.08 and .02 files of entries, right or wrong on purpose."""

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

OURS = "DE89370400440532013000"
PAYER = "DE02120300000000202051"


class Tx(NamedTuple):
    """A transaction of an entry; ``amount`` is text as the bank writes it."""

    amount: str
    text: str = ""
    ref: str = ""
    end_to_end: str = ""
    name: str = "Erika Muster"
    iban: str = PAYER
    returned: str = ""
    original: str = ""
    charges: str = ""


class Entry(NamedTuple):
    """An entry; without transactions it is one that says only its amount and ``text``."""

    amount: str
    txs: tuple[Tx, ...] = ()
    sign: str = "CRDT"
    ref: str = ""
    text: str = ""
    reversal: bool = False
    status: str = "BOOK"
    day: str = "2026-11-30"
    currency: str = "EUR"


def paid(amount: str, text: str = "", ref: str = "", **more: str) -> Entry:
    """Money of one payer."""
    return Entry(amount, (Tx(amount, text, **more),), ref=ref)


def returned(amount: str, why: str, ref: str = "", **more: str) -> Entry:
    """A direct debit that comes back."""
    return Entry(amount, (Tx(amount, returned=why, **more),), "DBIT", ref)


class Bank:
    """Writes the statements of one account, one after the other."""

    def __init__(self, iban: str = OURS, currency: str = "EUR", version: str = "08") -> None:
        self.iban, self.currency, self.version = iban, currency, version
        self.balance = 0
        self.number = 0

    def statement(self, entries: Sequence[Entry], *, name: str = "", wrong_by: int = 0) -> str:
        """One Stmt; ``wrong_by`` cents the closing balance is wrong."""
        self.number += 1
        opening = self.balance
        booked = [each for each in entries if each.status == "BOOK"]
        self.balance += sum((1 if each.sign == "CRDT" else -1) * cents(each.amount) for each in booked)
        listed = "".join(self._entry(each) for each in entries)
        return (
            f"<Stmt><Id>{name or f'S{self.number}'}</Id><ElctrncSeqNb>{self.number}</ElctrncSeqNb>"
            f"<Acct><Id><IBAN>{self.iban}</IBAN></Id><Ccy>{self.currency}</Ccy></Acct>"
            f"{self._balance('OPBD', opening)}{self._balance('CLBD', self.balance + wrong_by)}{listed}</Stmt>"
        )

    def file(self, *statements: str) -> bytes:
        """A file of statements."""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{self.version}"><BkToCstmrStmt>'
            "<GrpHdr><MsgId>M1</MsgId><CreDtTm>2026-11-30T20:00:00</CreDtTm></GrpHdr>"
            f"{''.join(statements)}</BkToCstmrStmt></Document>"
        ).encode()

    def day(self, *entries: Entry) -> bytes:
        """A file of one statement."""
        return self.file(self.statement(entries))

    def _balance(self, kind: str, value: int) -> str:
        sign = "CRDT" if value >= 0 else "DBIT"
        text = f"{abs(value) // 100}.{abs(value) % 100:02d}"
        return (
            f"<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp>"
            f'<Amt Ccy="{self.currency}">{text}</Amt><CdtDbtInd>{sign}</CdtDbtInd><Dt><Dt>2026-11-30</Dt></Dt></Bal>'
        )

    def _entry(self, of: Entry) -> str:
        status = f"<Cd>{of.status}</Cd>" if self.version == "08" else of.status
        details = "".join(self._tx(each, of) for each in of.txs)
        return (
            f'<Ntry><Amt Ccy="{of.currency}">{of.amount}</Amt><CdtDbtInd>{of.sign}</CdtDbtInd>'
            + ("<RvslInd>true</RvslInd>" if of.reversal else "")
            + f"<Sts>{status}</Sts><BookgDt><Dt>{of.day}</Dt></BookgDt><ValDt><Dt>{of.day}</Dt></ValDt>"
            + (f"<AcctSvcrRef>{of.ref}</AcctSvcrRef>" if of.ref else "")
            + (f"<NtryDtls>{details}</NtryDtls>" if details else "")
            + (f"<AddtlNtryInf>{escape(of.text)}</AddtlNtryInf>" if of.text else "")
            + "</Ntry>"
        )

    def _tx(self, tx: Tx, of: Entry) -> str:
        def amount(value: str) -> str:
            return f'<Amt Ccy="{of.currency}">{value}</Amt>'

        instructed = f"<InstdAmt>{amount(tx.original)}</InstdAmt>" if tx.original else ""
        if self.version == "08":
            sums = amount(tx.amount) + f"<CdtDbtInd>{of.sign}</CdtDbtInd>"
            sums += f"<AmtDtls>{instructed}</AmtDtls>" if instructed else ""
            party = f"<Pty><Nm>{escape(tx.name)}</Nm></Pty>"
        else:
            sums = f"<AmtDtls>{instructed}<TxAmt>{amount(tx.amount)}</TxAmt></AmtDtls>"
            party = f"<Nm>{escape(tx.name)}</Nm>"
        charges = f"<Chrgs><Rcrd>{amount(tx.charges)}</Rcrd></Chrgs>" if tx.charges else ""
        return (
            "<TxDtls><Refs>"
            + (f"<AcctSvcrRef>{tx.ref}</AcctSvcrRef>" if tx.ref else "")
            + f"<EndToEndId>{escape(tx.end_to_end) or 'NOTPROVIDED'}</EndToEndId></Refs>"
            + sums
            + charges
            + f"<RltdPties><Dbtr>{party}</Dbtr><DbtrAcct><Id><IBAN>{tx.iban}</IBAN></Id></DbtrAcct></RltdPties>"
            + (f"<RmtInf><Ustrd>{escape(tx.text)}</Ustrd></RmtInf>" if tx.text else "")
            + (f"<RtrInf><Rsn><Cd>{tx.returned}</Cd></Rsn></RtrInf>" if tx.returned else "")
            + "</TxDtls>"
        )


def cents(text: str) -> int:
    """Read a bank's amount."""
    whole, _, rest = text.partition(".")
    return int(whole) * 100 + int(rest.ljust(2, "0")[:2] or 0)
