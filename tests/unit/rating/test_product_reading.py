import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ocs.rating.numbering import read_numbering
from ocs.rating.openings import Held
from ocs.rating.periods import CALENDAR_DAY, CALENDAR_MONTH, PeriodKind, Recurrence
from ocs.rating.product_reading import ProductFault, read_bonus, read_offer, read_product
from ocs.rating.product_text import AllowanceText, ProductText
from ocs.rating.products import Bonus, Product, Use
from ocs.rating.rates import ANYTHING, ANYTHING_SENT, Conditions
from ocs.rating.wallet import Wallet
from ocs.roof.build import read_products, read_tariffs
from ocs.units import Unit

ROOT = Path(__file__).resolve().parents[3]
CONFIG = read_products(ROOT / "config/products")

PLANS = {
    "sample": read_numbering(
        'numbering: sample\ncountry_code: "49"\nzones: [near, far]\nprefixes: p\nroaming_zones: [home, eu]\nnetworks: n\n',
        "sample.yaml",
        {"p": "prefix,zone\n49,near\n1,far\n", "n": "network,zone\n262,home\n208,eu\n"},
    )
}
TEXT = """product: smart
version: 2
description: A sample
price: "9.99"
currency: EUR
tax_class: standard
charge: recurring
period: calendar-month
zone: Europe/Berlin
numbering: sample
proration: true
grace_days: 7
lifts: [roaming]
shared: true
allowances:
  - name: internet
    unit: octets
    amount: 10 GB
    priority: 3
    blocker: true
    rollover: {most: 5 GB}
    uses: [{service: data, roaming: [home, eu], block: kB}]
  - name: flex
    unit: units
    amount: 400
    uses:
      - {service: voice, zones: [near], block: minute, take: 1}
      - {service: sms, block: 1, take: 2}
  - name: extra
    unit: money
    amount: "5.00"
    uses: [{service: voice}]
"""
BONUS = """bonus: topup
version: 1
currency: EUR
from: "20.00"
percent: "10"
days: 30
zone: Europe/Berlin
uses: [{service: voice}, {service: data}]
"""


def product(before: str = "", after: str = "") -> Product:
    assert before in TEXT
    return read_product(TEXT.replace(before, after, 1), "p.yaml", PLANS)


def faults(text: str) -> list[str]:
    with pytest.raises(ProductFault) as told:
        read_offer(text, "p.yaml", PLANS)
    return told.value.problems


def test_a_product_is_read_whole() -> None:
    on = product()
    assert (on.key, on.price_micros, on.currency, on.tax_class) == ("smart@2", 9_990_000, "EUR", "standard")
    assert (on.recurring, on.kind, on.prorated, on.grace_ms) == (True, CALENDAR_MONTH, True, 7 * 86_400_000)
    assert (on.shared, on.lifts, on.zone) == (True, frozenset({"roaming"}), ZoneInfo("Europe/Berlin"))


def test_allowances_say_what_each_block_takes() -> None:
    internet, flex, extra = product().allowances
    assert (internet.amount, internet.priority, internet.blocker) == (10 * 10**9, 3, True)
    assert internet.rollover_most == 5 * 10**9
    abroad = Conditions(roaming=frozenset({"home", "eu"}))
    assert internet.uses == (Use("data", abroad, Unit.OCTETS, 1_000, 1_000),)
    near = ANYTHING_SENT._replace(zones=frozenset({"near"}))
    assert (flex.amount, flex.priority, flex.blocker, flex.rollover_most) == (400, 5, False, 0)
    assert flex.uses == (
        Use("voice", near, Unit.SECONDS, 60, 1),
        Use("sms", ANYTHING_SENT, Unit.EVENTS, 1, 2),
    )
    assert (extra.is_money, extra.amount, extra.uses) == (True, 5_000_000, (Use("voice", ANYTHING_SENT),))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{calendar_month_from: 15}", PeriodKind(Recurrence.MONTH, 15)),
        ("day", CALENDAR_DAY),
        ("{days: 30}", PeriodKind(Recurrence.DAYS, 30)),
        ("{hours: 24}", PeriodKind(Recurrence.HOURS, 24)),
    ],
)
def test_every_kind_of_period_can_be_written(text: str, kind: PeriodKind) -> None:
    broken = "proration: true\n" if "month" not in text else ""
    assert (
        read_product(TEXT.replace("calendar-month", text).replace(broken, "", 1), "p.yaml", PLANS).kind
        == kind
    )


def test_a_product_until_a_date_lasts_through_that_day() -> None:
    text = TEXT.replace("calendar-month", "{until: 2026-12-31}").replace("charge: recurring", "charge: once")
    for key in ("proration: true\n", "grace_days: 7\n", "    rollover: {most: 5 GB}\n"):
        text = text.replace(key, "")
    end_ms = int(datetime(2027, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()) * 1000
    assert read_product(text, "p.yaml", PLANS).kind == PeriodKind(Recurrence.UNTIL, end_ms)


@pytest.mark.parametrize(
    ("text", "most"),
    [("true", 10**10), ("false", 0), ("{most: 20 GB}", 10**10), ("{most: 1000}", 1_000)],
)
def test_what_rolls_over_is_never_more_than_the_allowance(text: str, most: int) -> None:
    assert product("{most: 5 GB}", text).allowances[0].rollover_most == most


@pytest.mark.parametrize(("text", "amount"), [("100 minutes", 6_000), ("2 hours", 7_200), ("90", 90)])
def test_amounts_may_be_words(text: str, amount: int) -> None:
    seconds = "unit: seconds\n    amount: " + text
    on = product("unit: units\n    amount: 400\n    uses:\n      - {service: voice, zones: [near], block: minute, take: 1}\n"
                 "      - {service: sms, block: 1, take: 2}",
                 f"{seconds}\n    uses: [{{service: voice, block: 10}}]")  # fmt: skip
    assert (on.allowances[1].amount, on.allowances[1].uses[0].take) == (amount, 10)


def test_hours_need_no_zone() -> None:
    text = TEXT.replace("calendar-month", "{hours: 24}").replace("zone: Europe/Berlin\n", "")
    assert read_product(text.replace("proration: true\n", ""), "p.yaml", PLANS).zone == ZoneInfo("UTC")


def test_a_bonus_is_a_product_of_money_for_so_many_days() -> None:
    on = read_offer(BONUS, "p.yaml", PLANS)
    assert isinstance(on, Bonus)
    assert (on.key, on.from_micros, on.percent_micros, on.amount_micros) == (
        "topup@1",
        20_000_000,
        10_000_000,
        0,
    )
    made = on.product
    assert (made.kind, made.recurring, made.price_micros) == (PeriodKind(Recurrence.DAYS, 30), False, 0)
    (allowance,) = made.allowances
    assert (allowance.unit, allowance.uses) == ("money", (Use("voice", ANYTHING_SENT), Use("data", ANYTHING)))
    assert read_bonus(BONUS.replace('percent: "10"', 'amount: "2.50"'), "p.yaml").amount_micros == 2_500_000


def test_all_faults_of_a_product_are_told_at_once() -> None:
    told = faults(
        TEXT.replace("near", "moon").replace("Europe/Berlin", "Europe/Bonn").replace("take: 2", "take: 900")
    )
    assert [each.split(":")[1] for each in told] == ["9", "27", "28"]


CROWD = "".join(
    f"  - {{name: a{place}, unit: octets, amount: 1 GB, rollover: true, uses: [{{service: data, block: kB}}]}}\n"
    for place in range(5)
)


@pytest.mark.parametrize(
    ("before", "after", "line", "what"),
    [
        ('price: "9.99"', "price: 9.99", 4, "valid string"),
        ('price: "9.99"', 'price: "-9.99"', 4, "negative"),
        ('price: "9.99"', 'price: "9999999999.00"', 4, "more than the store can hold"),
        ("charge: recurring", "charge: monthly", 7, "'once' or 'recurring'"),
        ("calendar-month", "month", 8, "'month' is no period; write calendar-month"),
        ("calendar-month", "{days: 0}", 8, "is no period"),
        ("calendar-month", "{days: 30, hours: 1}", 8, "is no period"),
        ("calendar-month", "{hours: true}", 8, "is no period"),
        ("calendar-month", "{calendar_month_from: 32}", 8, "is no period"),
        ("calendar-month", '{until: "2026-12-31"}', 8, "is no period"),
        ("calendar-month", "{until: 2026-12-31}", 8, "what ends at a date does not recur"),
        ("calendar-month", "{until: 9999-12-31}", 8, "9999-12-31 lies beyond what calendars know"),
        ("calendar-month", "{days: 30}", 11, "only calendar months can be broken"),
        ("zone: Europe/Berlin\n", "", 8, "days and months of which time zone? write one: zone: Europe/Berlin"),
        ("Europe/Berlin", "Europe/Bonn", 9, "'Europe/Bonn' is no time zone"),
        ("numbering: sample", "numbering: other", 10, "no numbering plan 'other'; there are sample"),
        ("numbering: sample\n", "", 21, "zones of which numbering plan"),
        ("charge: recurring", "charge: once", 12, "a grace belongs to charge: recurring"),
        ("charge: recurring", "charge: once", 21, "what is bought once has no next period"),
        ("shared: true", "shared: yes please", 14, "valid boolean"),
        ("shared: true", "share: true", 14, "Extra inputs"),
        ("10 GB", "10 minutes", 18, "an amount of seconds in an allowance of octets"),
        ("10 GB", '"10.00"', 18, "'10.00' is no amount of octets"),
        ("10 GB", "10 TB", 18, "'10 TB' is no amount; write a whole number"),
        ("10 GB", "0", 18, "0 is no amount"),
        ("10 GB", "9999999 GB", 18, "is no amount"),
        ("priority: 3", "priority: 0", 19, "greater than or equal to 1"),
        ("{most: 5 GB}", "sometimes", 21, "is no roll-over; write true, false or {most: …}"),
        ("{most: 5 GB}", "{most: 5 minutes}", 21, "an amount of seconds in an allowance of octets"),
        ("roaming: [home, eu]", "roaming: [moon]", 22, "'moon' is no zone of sample"),
        ("service: data, roaming", "service: voice, roaming", 22, "voice is measured in seconds, not in octets"),
        ("block: kB", "block: minute", 22, "a block of seconds in an allowance of octets"),
        (", block: kB", "", 22, "octets are counted in blocks of which size? write block"),
        ("block: kB", "block: kB, take: 1 minute", 22, "is no quantity"),
        ("block: kB", "block: kB, take: minute", 22, "a take of seconds in an allowance of octets"),
        ("block: kB", "block: GB", 22, "cannot be computed exactly; use less"),
        ("block: minute, take: 1", "block: minute", 27, "how many units does a block take? write take: 1"),
        ("block: minute, take: 1", "block: kB, take: 1", 27, "voice is measured in seconds, not in octets"),
        ("block: minute, take: 1", "block: minute, take: 401", 27, "a block takes 401, more than the whole allowance of 400"),
        ("{service: sms, block: 1", "{service: voice, zones: [near], block: 1", 28, "this use is never reached"),
        ("name: flex", "name: internet", 23, "internet is another allowance's name already"),
        ('amount: "5.00"', "amount: 5", 31, 'an amount of money is quoted text, such as "5.00"'),
        ('amount: "5.00"', 'amount: "0.00"', 31, "an amount of nothing; it has to be above zero"),
        ('amount: "5.00"', 'amount: "five"', 31, "not an amount"),
        ("uses: [{service: voice}]", "uses: [{service: voice, block: 1}]", 32, "money pays the price and has no block"),
        ("uses: [{service: voice}]", "uses: []", 32, "at least 1 item"),
        ("unit: money", "unit: euros", 30, "'octets', 'seconds', 'events', 'units' or 'money'"),
        ("allowances:\n", f"allowances:\n{CROWD}", 20, "with this one data can have 10 sources at once, and no service has more than 8"),
    ],
)  # fmt: skip
def test_a_wrong_product_is_told_with_its_line(before: str, after: str, line: int, what: str) -> None:
    assert before in TEXT
    told = faults(TEXT.replace(before, after, 1))
    assert any(each.startswith(f"p.yaml:{line}: ") and what in each for each in told), told


def test_a_product_that_gives_nothing_and_costs_nothing_is_refused() -> None:
    text = TEXT[: TEXT.index("allowances:")].replace('"9.99"', '"0.00"').replace("lifts: [roaming]\n", "")
    assert "gives nothing and costs nothing" in faults(text)[0]
    read_product(text.replace('"0.00"', '"1.00"'), "p.yaml", PLANS)


@pytest.mark.parametrize(
    ("before", "after", "line", "what"),
    [
        ('percent: "10"', 'percent: "10"\namount: "1.00"', 1, "write one of percent and amount"),
        ('percent: "10"\n', "", 1, "write one of percent and amount"),
        ('percent: "10"', 'percent: "0"', 1, "a bonus of nothing"),
        ('percent: "10"', 'percent: "101"', 5, "101 per cent is above 100"),
        ('percent: "10"', 'amount: "9999999999.00"', 5, "more than the store can hold"),
        ("zone: Europe/Berlin\n", "", 6, "days and months of which time zone"),
        ("days: 30", "days: 0", 6, "greater than or equal to 1"),
        ("{service: data}", "{service: data, take: 1}", 8, "money pays the price"),
        ("{service: data}", "{service: data, roaming: [home]}", 8, "zones of which numbering plan"),
        ("{service: data}", "{service: voice, zones: [near]}", 8, "never reached"),
    ],
)
def test_a_wrong_bonus_is_told_with_its_line(before: str, after: str, line: int, what: str) -> None:
    assert before in BONUS
    told = faults(BONUS.replace(before, after, 1))
    assert any(each.startswith(f"p.yaml:{line}: ") and what in each for each in told), told


@pytest.mark.parametrize("text", ["", "- a", "5", "product: ["])
def test_what_is_no_product_at_all_is_told(text: str) -> None:
    assert faults(text)[0].startswith("p.yaml:1: ")


def blocks() -> list[str]:
    return re.findall(
        r"^```yaml\n(.*?)^```", (ROOT / "ocs/rating/PRODUCTS.md").read_text(), re.DOTALL | re.MULTILINE
    )


def test_the_examples_of_the_page_for_operators_can_be_read() -> None:
    plans = {
        "germany": replace(PLANS["sample"], name="germany", zones=frozenset({"fixed", "mobile", "world"}))
    }
    weekender, thanks = (read_offer(text, "PRODUCTS.md", plans) for text in blocks())
    assert isinstance(weekender, Product)
    assert (weekender.key, weekender.kind) == ("weekender@1", PeriodKind(Recurrence.DAYS, 7))
    assert [each.name for each in weekender.allowances] == ["internet", "talk", "credit"]
    assert isinstance(thanks, Bonus)
    assert thanks.key == "thank-you@1"


@pytest.mark.parametrize(
    "file", sorted((ROOT / "config/products").glob("*.yaml")), ids=lambda file: file.stem
)
def test_every_product_of_the_config_can_be_read_and_is_named_like_its_file(file: Path) -> None:
    assert CONFIG.products[f"{file.stem}@1"].name == file.stem


def test_a_customer_who_has_much_of_the_sample_operator_is_not_crowded() -> None:
    tariffs = read_tariffs(ROOT / "config/tariffs")
    held = tuple(
        Held(number, f"{name}@1", 0, 1)
        for number, name in enumerate(("smart-m", "day-pass", "roaming-open", "topup-bonus"), 1)
    )
    for name in ("family-share", "roaming-world", "flex-400"):
        product = CONFIG.newest(name)
        assert product is not None
        for tariff in ("mobile@1", "mobile-postpaid@1"):
            assert Wallet(tariffs[tariff], CONFIG, held, 1, is_member=True).crowded(product) is None


def test_the_first_product_of_the_config_explains_every_key() -> None:
    text = (ROOT / "config/products/smart-m.yaml").read_text()
    keys = {**ProductText.model_fields, **AllowanceText.model_fields}.keys()
    assert [key for key in keys if not re.search(rf"^[ -]*{key}:", text, re.MULTILINE)] == []
