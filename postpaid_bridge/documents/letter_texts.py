"""The texts of dunning letters, in German and English. Facts with their paragraph; not legal advice."""

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["LETTERS", "Text"]


class Text(NamedTuple):
    """A letter: title, paragraphs before and behind the claims, what it needs to be told, and whether it asks for money."""

    title: str
    paragraphs: tuple[str, ...]
    closing: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    pays: bool = True


_DE: Mapping[str, Any] = {
    "reminder": Text(
        "Zahlungserinnerung",
        (
            "vielleicht ist es Ihnen entgangen: Die unten genannten Beträge sind fällig, und wir haben noch keinen Zahlungseingang gefunden.",
            "Bitte zahlen Sie {total} bis zum {until}.",
        ),
        ("Wenn Sie mit einer Forderung nicht einverstanden sind oder nicht auf einmal zahlen können, sprechen Sie uns bitte an: {where}.",),
        ("until",),
    ),
    "warning": Text(
        "Mahnung und Androhung einer Sperre",
        (
            ("Sie sind mit {total} in Zahlungsverzug. Titulierte Forderungen und geleistete Teilzahlungen sind berücksichtigt;"
            " form- und fristgerecht sowie begründet beanstandete Forderungen sind darin nicht enthalten ({contested})."),
            ("Wenn bis zum {until} keine Zahlung eingeht, sperren wir ab dem {bar_on} die betroffenen Anschlüsse ({services}) zunächst für"
            " abgehende Verbindungen, frühestens eine Woche später auch für ankommende (§ 61 Abs. 4 und 6 TKG)."
            " Notrufe bleiben immer möglich."),
        ),
        (
            "Gegen die Sperre können Sie vor den ordentlichen Gerichten Rechtsschutz suchen (§ 61 Abs. 4 Satz 2 TKG).",
            "Wenn Sie eine Forderung beanstanden oder eine Ratenzahlung vereinbaren möchten, sprechen Sie uns bitte vorher an: {where}.",
        ),
        ("until", "bar_on", "services"),
    ),
    "bar_outgoing": Text(
        "Sperre abgehender Verbindungen",
        (
            ("trotz unserer Mahnung ist die Zahlung von {total} nicht eingegangen. Wir haben daher am {bar_on} abgehende Verbindungen der"
            " Anschlüsse {services} gesperrt (§ 61 Abs. 4 TKG)."),
            "Sie sind weiterhin erreichbar. Notrufe sind immer möglich.",
        ),
        (
            ("Sobald der Grund der Sperre weggefallen ist, heben wir sie unverzüglich auf (§ 61 Abs. 7 TKG). Gegen die Sperre können Sie vor"
            " den ordentlichen Gerichten Rechtsschutz suchen."),
            "Wir helfen Ihnen gern: {where}.",
        ),
        ("bar_on", "services"),
    ),
    "bar_all": Text(
        "Vollständige Sperre",
        (
            ("die Zahlung von {total} ist weiterhin nicht eingegangen. Wir haben daher am {bar_on} auch ankommende Verbindungen der Anschlüsse"
            " {services} gesperrt (§ 61 Abs. 6 TKG)."),
            "Notrufe sind immer möglich.",
        ),
        (
            ("Sobald der Grund der Sperre weggefallen ist, heben wir sie unverzüglich auf (§ 61 Abs. 7 TKG). Gegen die Sperre können Sie vor"
            " den ordentlichen Gerichten Rechtsschutz suchen."),
            "Wir helfen Ihnen gern: {where}.",
        ),
        ("bar_on", "services"),
    ),
    "promise": Text(
        "Ihre Zahlungszusage",
        (
            "danke für Ihre Zusage. Wir haben festgehalten, dass Sie {total} bis zum {until} zahlen; bis dahin unternehmen wir nichts weiter.",
        ),
        ("Wenn sich etwas ändert, sprechen Sie uns bitte rechtzeitig an: {where}.",),
        ("until",),
    ),
    "unbar": Text(
        "Ihre Sperre ist aufgehoben",
        (
            ("danke für Ihre Zahlung. Wir haben die Sperre der Anschlüsse {services} aufgehoben (§ 61 Abs. 7 TKG). Sie können sie wieder wie"
            " gewohnt nutzen."),
        ),
        ("Wenn etwas nicht geht, sprechen Sie uns bitte an: {where}.",),
        ("services",),
        pays=False,
    ),
    "termination": Text(
        "Kündigung wegen Zahlungsverzugs",
        (
            ("trotz Mahnung und Sperre ist die Zahlung von {total} nicht eingegangen. Wir kündigen daher die Verträge der Anschlüsse"
            " {services} aus wichtigem Grund zum {until}."),
        ),
        ("Ihre Rufnummern können Sie zu einem anderen Anbieter mitnehmen. Fragen beantworten wir gern: {where}.",),
        ("until", "services"),
    ),
    "words": {
        "letter": "Schreiben", "day": "Datum", "hello": "Guten Tag,", "bye": "Mit freundlichen Grüßen", "claim": "Forderung", "open": "Offen",
        "total": "Summe", "fee": "Mahnkosten", "interest": "Verzugszinsen (§ 288 BGB)",
        "crossed": "Sollte sich Ihre Zahlung mit diesem Schreiben gekreuzt haben, betrachten Sie es bitte als gegenstandslos.",
    },
}  # fmt: skip
_EN: Mapping[str, Any] = {
    "reminder": Text(
        "Payment reminder",
        (
            "it may have slipped your attention: the amounts below are due, and we have not found a payment yet.",
            "Please pay {total} by {until}.",
        ),
        ("If you do not agree with a claim, or cannot pay at once, please talk to us: {where}.",),
        ("until",),
    ),
    "warning": Text(
        "Second reminder and warning of a bar",
        (
            ("you are in default with {total}. Claims with a court's title and part payments are taken into account; claims that are contested"
            " in time, in form and with reasons are not in it ({contested})."),
            ("If no payment arrives by {until}, we will bar the lines concerned ({services}) from {bar_on} on: at first for outgoing calls and"
            " data, one week later at the earliest for incoming ones too (section 61(4) and (6) TKG). Emergency calls always stay possible."),
        ),
        (
            "You can seek protection against the bar in the ordinary courts (section 61(4) sentence 2 TKG).",
            "If you object to a claim or want to pay in instalments, please talk to us before: {where}.",
        ),
        ("until", "bar_on", "services"),
    ),
    "bar_outgoing": Text(
        "Outgoing services barred",
        (
            ("in spite of our reminder {total} has not been paid. On {bar_on} we have therefore barred outgoing services of the lines {services}"
            " (section 61(4) TKG)."),
            "You can still be reached. Emergency calls are always possible.",
        ),
        (
            ("As soon as the reason of the bar is gone we lift it without delay (section 61(7) TKG). You can seek protection against the bar in"
            " the ordinary courts."),
            "We are glad to be of help: {where}.",
        ),
        ("bar_on", "services"),
    ),
    "bar_all": Text(
        "All services barred",
        (
            ("{total} has still not been paid. On {bar_on} we have therefore barred incoming services of the lines {services} too"
            " (section 61(6) TKG)."),
            "Emergency calls are always possible.",
        ),
        (
            ("As soon as the reason of the bar is gone we lift it without delay (section 61(7) TKG). You can seek protection against the bar in"
            " the ordinary courts."),
            "We are glad to be of help: {where}.",
        ),
        ("bar_on", "services"),
    ),
    "promise": Text(
        "Your promise to pay",
        ("thank you for your promise. We have noted that you pay {total} by {until}; until then we take no further step.",),
        ("If anything changes, please talk to us in time: {where}.",),
        ("until",),
    ),
    "unbar": Text(
        "Your bar is lifted",
        (
            "thank you for your payment. We have lifted the bar of the lines {services} (section 61(7) TKG). You can use them as before.",
        ),
        ("If something does not work, please talk to us: {where}.",),
        ("services",),
        pays=False,
    ),
    "termination": Text(
        "Termination for default",
        (
            ("in spite of reminders and a bar {total} has not been paid. We therefore terminate the contracts of the lines {services} for good"
            " cause as of {until}."),
        ),
        ("You can take your numbers to another provider. We are glad to answer questions: {where}.",),
        ("until", "services"),
    ),
    "words": {
        "letter": "Letter", "day": "Date", "hello": "Hello,", "bye": "Kind regards", "claim": "Claim", "open": "Open",
        "total": "Total", "fee": "Cost of reminders", "interest": "Interest on arrears (section 288 BGB)",
        "crossed": "If your payment has crossed with this letter, please regard it as settled.",
    },
}  # fmt: skip

LETTERS: Mapping[str, Mapping[str, Any]] = {"de": _DE, "en": _EN}
