"""A bill's content and facts -> what stands on its pages, as text ready to be set (pure).

Laws
1. Amounts are those of the content, to the cent: nothing is added up here that the content says itself, but sums of a service's lines.
2. Every line of the content is shown once: with its party and service, or with the third party whose claim it is (TKG section 62(2)).
3. Obligatory content stands on page one or in the last part: UStG section 14(4), TKG sections 62 and 67.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import Any, NamedTuple

from ocs.units import Unit
from postpaid_bridge.documents import say
from postpaid_bridge.documents.facts import Facts, Seller, Used
from postpaid_bridge.documents.itemised import Itemised, itemised
from postpaid_bridge.documents.payment_code import payment_code
from postpaid_bridge.documents.words import words

__all__ = ["Sheet", "bill_page", "footer", "sender", "where"]

PAST_MAX = 11
"""Bills of before that the chart shows: a year with this one."""


class Sheet(NamedTuple):
    """What all parts of a page are written by."""

    words: Mapping[str, str]
    language: str
    currency: str
    rates: Mapping[str, int] = {}
    """Rates in micro-per cent, by tax code."""

    def money(self, cents: int) -> str:
        """Write cents."""
        return say.cents(cents, self.currency, self.language)


def bill_page(content: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """Return the page of a bill or credit note: texts, lists of texts, and shares of a chart in thousandths.

    ``content`` is bill.content as read from JSON; both may hold any text (say.cleaned makes it printable).
    """
    content, facts = say.cleaned(content), say.cleaned(facts)
    payer = content["payer"]
    rates = {each["code"]: each["percent_micros"] for each in content["taxes"]}
    sheet = Sheet(words(payer["language"]), payer["language"], payer["currency"], rates)
    credit, w = bool(facts.corrects), sheet.words
    title = w["credit_note"] if credit else w["final"] if content["kind"] == "final" else w["bill"]
    period = say.span(_day(content["period"]["first"]), _day(content["period"]["next"]), sheet.language)
    gross = -content["gross_cents"] if credit else content["gross_cents"]
    pays = not credit and gross > 0 and facts.payment == "transfer" and bool(facts.seller.iban)
    return {
        "language": sheet.language,
        "title": f"{title} {facts.number}",
        "heading": title,
        "issued": facts.issued.isoformat(),
        "author": facts.seller.name,
        "sender": sender(facts.seller),
        "address": list(facts.recipient.address),
        "info": _info(sheet, facts, period, credit=credit),
        "words": {**w, "own": w["own"].format(seller=facts.seller.name)},
        "total_word": w["credit_total"] if credit else w["total"],
        "total": sheet.money(gross),
        "says": says(sheet, facts, gross),
        "summary": _summary(sheet, content, facts),
        "taxes": _taxes(sheet, content["taxes"]),
        "sums": [sheet.money(content[name]) for name in ("net_cents", "tax_cents", "gross_cents")],
        "chart": _chart(sheet, content),
        "past": _past(sheet, content, facts) if not credit else [],
        "parts": _parts(sheet, content, facts),
        "third": _third(sheet, content, facts),
        "itemised": _itemised(sheet, facts),
        "itemised_note": w[f"itemised_{facts.itemised}"] if facts.itemised in {"short", "full"} else "",
        "slip": _slip(sheet, facts, gross) if pays else None,
        "notes": _notes(sheet, facts, content, credit=credit),
        "footer": footer(sheet.words, facts.seller),
    }


def _day(text: str) -> date:
    return date.fromisoformat(text)


# ---------------------------------------------------------------- the first page


def sender(seller: Seller) -> str:
    """Return the line above the window's address."""
    return f"{seller.name} · {seller.street} · {seller.postcode} {seller.city}"


def where(seller: Seller) -> str:
    """Return how the seller is reached (TKG section 62(1): a free phone, or mail, or site)."""
    return " · ".join(each for each in (seller.phone, seller.email, seller.site) if each)


def footer(said: Mapping[str, str], seller: Seller) -> list[list[str]]:
    """Return the three columns at every page's foot: who and where, how it is reached and its money, its numbers."""
    return [
        [
            seller.name,
            seller.street,
            f"{seller.postcode} {seller.city}",
            *([seller.country] if seller.country != "DE" else []),
        ],
        [
            each
            for each in (
                seller.phone,
                seller.email,
                seller.site,
                *([f"IBAN {say.iban(seller.iban)}"] if seller.iban else []),
            )
            if each
        ],
        [
            text
            for text in (
                f"{said['vat_id']} {seller.vat_id}" if seller.vat_id else "",
                f"{said['tax_number']} {seller.tax_number}" if seller.tax_number else "",
                seller.registered,
                f"{said['managers']}: {seller.managers}" if seller.managers else "",
            )
            if text
        ],
    ]


def _info(sheet: Sheet, facts: Facts, period: str, *, credit: bool) -> list[list[str]]:
    w, to = sheet.words, facts.recipient
    found = [
        [w["credit_number" if credit else "number"], facts.number],
        [w["credit_issued" if credit else "issued"], say.day(facts.issued, sheet.language)],
        [w["corrects"], facts.corrects] if credit else [w["due"], say.day(facts.due, sheet.language)],
        [w["period"], period],
        [w["customer"], to.customer],
        [w["account"], to.account],
    ]
    return found + ([[w["your_vat_id"], to.vat_id]] if to.vat_id else [])


def says(sheet: Sheet, facts: Facts, gross: int) -> str:
    """Return what is to be done about a total."""
    w, amount = sheet.words, sheet.money(abs(gross))
    due = say.day(facts.due, sheet.language)
    if facts.corrects:
        day = say.day(facts.corrects_day or facts.issued, sheet.language)
        return (
            w["credit_why"].format(corrects=facts.corrects, day=day)
            + " "
            + w["pay_credit"].format(amount=amount)
        )
    if gross < 0:
        return w["pay_credit"].format(amount=amount)
    if not gross:
        return w["pay_nothing"]
    if facts.payment == "direct_debit":
        return w["pay_debit"].format(amount=amount, due=due, iban=facts.iban_end, mandate=facts.mandate)
    return w["pay_until"].format(amount=amount, due=due, number=facts.number)


def _summary(sheet: Sheet, content: Mapping[str, Any], facts: Facts) -> list[list[str]]:
    """Return own services by party where there are several, and third parties' claims apart; each with net, tax and gross."""
    found = []
    own = [line for line in content["lines"] if line["of_class"] not in facts.third]
    by_party = {party: list(mine) for party, mine in groupby(own, key=lambda line: line["party"])}
    for party, mine in by_party.items():
        name = sheet.words["own"].format(seller=facts.seller.name)
        if len(content["parts"]) > 1:
            name = facts.parties.get(party, str(party))
        found.append([name, *_sums(sheet, mine)])
    for key, each in facts.third.items():
        if mine := [line for line in content["lines"] if line["of_class"] == key]:
            found.append([sheet.words["third_of"].format(name=each.name), *_sums(sheet, mine)])
    return found


def _sums(sheet: Sheet, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        sheet.money(sum(line[name] for line in lines)) for name in ("net_cents", "tax_cents", "gross_cents")
    ]


def _taxes(sheet: Sheet, taxes: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return each rate with its net, tax and gross (UStG section 14(4) no. 7 and 8)."""
    return [
        [
            each["text"]
            or sheet.words["tax_rate"].format(rate=say.percent(each["percent_micros"], sheet.language)),
            *(sheet.money(each[name]) for name in ("net_cents", "tax_cents", "gross_cents")),
        ]
        for each in taxes
    ]


# ---------------------------------------------------------------- charts


def _chart(sheet: Sheet, content: Mapping[str, Any]) -> list[list[Any]]:
    """Return usage by class: name, amount and length in thousandths of the longest; nothing where nothing was paid for."""
    sums: dict[str, int] = {}
    for line in content["lines"]:
        if line["kind"] == "usage" and line["gross_cents"] > 0:
            name = _class(sheet, line["item"])
            sums[name] = sums.get(name, 0) + line["gross_cents"]
    most = max(sums.values(), default=0)
    listed = sorted(sums.items(), key=lambda each: (-each[1], each[0]))[:6]
    return [[name, sheet.money(amount), amount * 1000 // most] for name, amount in listed]


def _past(sheet: Sheet, content: Mapping[str, Any], facts: Facts) -> list[list[Any]]:
    """Return the totals of the last bills and this one: month, amount and height in thousandths; nothing where there is no other."""
    bills = [
        *((each.first, each.gross_cents) for each in facts.past[-PAST_MAX:]),
        (content["period"]["first"], content["gross_cents"]),
    ]
    most = max(amount for _, amount in bills)
    if len(bills) < 2 or most <= 0:
        return []
    return [
        [say.month(_day(first), sheet.language), sheet.money(amount), max(0, amount) * 1000 // most]
        for first, amount in bills
    ]


def _class(sheet: Sheet, usage_class: str) -> str:
    """Return how usage of a class is called."""
    w = sheet.words
    if usage_class.startswith("roaming-"):
        own = usage_class.removeprefix("roaming-")
        return f"{w.get(own, own)} {w['roaming']}"
    return w.get(usage_class, usage_class)


# ---------------------------------------------------------------- charges


_UNITS = {"data": Unit.OCTETS, "voice": Unit.SECONDS}


def _parts(sheet: Sheet, content: Mapping[str, Any], facts: Facts) -> list[dict[str, Any]]:
    """Return own charges by party and service (law 2)."""
    found = []
    many = len(content["parts"]) > 1
    own = [line for line in content["lines"] if line["of_class"] not in facts.third]
    for party, mine in groupby(own, key=lambda line: line["party"]):
        lines = list(mine)
        name = facts.parties.get(party, str(party)) if many else ""
        groups = [
            _group(sheet, facts, service, list(each))
            for service, each in groupby(lines, key=lambda line: line["service"])
        ]
        found.append({"name": name, "groups": groups, "sums": _sums(sheet, lines)})
    return found


def _group(sheet: Sheet, facts: Facts, service: int, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "name": _service(sheet, facts, service),
        "rows": [_row(sheet, line) for line in lines],
        "sums": _sums(sheet, lines),
    }


def _service(sheet: Sheet, facts: Facts, service: int) -> str:
    held = facts.services.get(service)
    if held is None:
        return f"{sheet.words['of_account']} {facts.recipient.account}"
    kind = sheet.words.get(held.kind, held.kind)
    return f"{kind} +{held.number}" if held.number else kind


def _row(sheet: Sheet, line: Mapping[str, Any]) -> list[str]:
    usage = line["kind"] == "usage"
    text = _class(sheet, line["item"]) if usage and line["text"] in {"", line["item"]} else line["text"]
    return [
        text,
        say.span(_day(line["since"]), _day(line["until"]), sheet.language),
        _quantity(sheet, line) if usage else "",
        say.percent(sheet.rates[line["tax_code"]], sheet.language),
        sheet.money(line["net_cents"]),
        sheet.money(line["gross_cents"]),
    ]


def _quantity(sheet: Sheet, line: Mapping[str, Any]) -> str:
    unit = _UNITS.get(line["item"].removeprefix("roaming-"), Unit.EVENTS)
    said = say.units(line["units"], unit, sheet.language)
    if unit is Unit.EVENTS or not line["count"]:
        return said
    return f"{line['count']}\xa0{sheet.words['times']}, {said}"


def _third(sheet: Sheet, content: Mapping[str, Any], facts: Facts) -> list[dict[str, Any]]:
    """Return each third party's claims with its name, address and how it is reached (TKG section 62(2))."""
    found = []
    for key, each in facts.third.items():
        mine = [line for line in content["lines"] if line["of_class"] == key]
        if mine:
            reached = [text for text in (each.address, each.contact) if text]
            rows = [
                [
                    f"{_row(sheet, line)[0]} ({_service(sheet, facts, line['service'])})",
                    *_row(sheet, line)[1:],
                ]
                for line in mine
            ]
            found.append({"name": each.name, "reached": reached, "rows": rows, "sums": _sums(sheet, mine)})
    return found


def _itemised(sheet: Sheet, facts: Facts) -> list[dict[str, Any]]:
    shown = itemised(facts.used, facts.itemised, facts.help_lines)
    return [
        {"name": _service(sheet, facts, service), "rows": _uses(sheet, each)}
        for service, each in shown.items()
        if each != Itemised((), 0)
    ]


def _uses(sheet: Sheet, found: Itemised) -> list[list[str]]:
    rows = [_use(sheet, each) for each in found.uses]
    if found.unshown_micros:
        rows.append(
            [
                "",
                sheet.words["unshown"],
                "",
                "",
                say.fine(found.unshown_micros, sheet.currency, sheet.language),
            ]
        )
    return rows


def _use(sheet: Sheet, each: Used) -> list[str]:
    return [
        say.when(each.at, sheet.language),
        _class(sheet, each.usage_class),
        each.counterpart,
        say.units(each.units, each.unit, sheet.language),
        say.fine(each.amount_micros, sheet.currency, sheet.language),
    ]


# ---------------------------------------------------------------- payment and law


def _slip(sheet: Sheet, facts: Facts, gross: int) -> dict[str, Any]:
    seller, w = facts.seller, sheet.words
    rows = [
        [w["receiver"], seller.name],
        [w["IBAN"], say.iban(seller.iban)],
        *([[w["BIC"], seller.bic]] if seller.bic else []),
        *([[w["bank"], seller.bank]] if seller.bank else []),
        [w["amount"], sheet.money(gross)],
        [w["purpose"], facts.number],
        [w["due"], say.day(facts.due, sheet.language)],
    ]
    code = payment_code(seller, gross, facts.number) if sheet.currency == "EUR" else ""
    return {"rows": rows, "code": code}


def _notes(sheet: Sheet, facts: Facts, content: Mapping[str, Any], *, credit: bool) -> list[str]:
    """Return what the law wants to be said: TKG sections 62, 67 and 68, BGB section 286(3)."""
    w = sheet.words
    found = [w["object"].format(where=where(facts.seller) or facts.seller.name)]
    if any(line["of_class"] in facts.third for line in content["lines"]):
        found.append(w["third_note"])
    if not credit and content["gross_cents"] > 0:
        found.append(w["late"])
    return [*found, facts.seller.complaints or w["arbitration"]]
