"""The EPC QR code of a transfer (EPC069-12 version 002, "GiroCode") as SVG (pure)."""

from itertools import groupby

import segno

from postpaid_bridge.documents.facts import Seller
from postpaid_bridge.documents.say import BREAK

__all__ = ["payment_code", "payment_text"]

_NAME_CHARS_MAX = 70
_PURPOSE_CHARS_MAX = 140
_MASK = 2
_CENTS_MAX = 99_999_999_999


def payment_text(seller: Seller, cents: int, purpose: str) -> str:
    """Return the text of the code: a SEPA transfer in euros with unstructured remittance. ValueError for an amount that it cannot say."""
    if not 1 <= cents <= _CENTS_MAX:
        raise ValueError(f"{cents} cents: a payment code says 0.01 to 999,999,999.99 EUR")
    amount = f"EUR{cents // 100}.{cents % 100:02}"
    rows = [
        "BCD", "002", "1", "SCT", seller.bic, seller.name[:_NAME_CHARS_MAX], seller.iban, amount, "", "", purpose[:_PURPOSE_CHARS_MAX],
    ]  # fmt: skip
    return "\n".join(rows).replace(BREAK, "")


def payment_code(seller: Seller, cents: int, purpose: str) -> str:
    """Return the code as SVG, one path of its dark runs; error correction M as the standard wants.

    The mask is a fixed one: the search for the fairest takes longer than all else of the code, and a reader takes any.
    """
    text = payment_text(seller, cents, purpose)
    made = segno.make_qr(text, error="m", encoding="utf-8", boost_error=False, mask=_MASK)
    path = []
    for y, row in enumerate(made.matrix):
        x = 0
        for dark, run in groupby(row):
            length = len(list(run))
            if dark:
                path.append(f"M{x} {y}h{length}v1H{x}z")
            x += length
    size = len(made.matrix)
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" viewBox="0 0 {size} {size}"><path d="{"".join(path)}"/></svg>'
