"""What a service may be paid from: microseconds of a list that is remembered, of a fresh one, and of asking what is due.

    python -m loadtests.bench_wallet [--seed 1]

Aims (issue 3): a remembered list below 1 µs, a fresh one below 20 µs. Figures are the best of several rounds. The account is a
busy one: three monthly products with roll-over, a day pass, a cap of the day, tiers, a spend cap, and a member's cap.
"""

import argparse
import json
import random
import timeit
from datetime import UTC, datetime

from ocs.rating.openings import Held
from ocs.rating.product_reading import read_product
from ocs.rating.products import Catalogue
from ocs.rating.rates import Facts
from ocs.rating.tariff import read_tariff
from ocs.rating.wallet import Wallet

TARIFF = """
tariff: bench
version: 1
currency: EUR
zone: Europe/Berlin
spend_caps: [{name: web, service: data, access: [nr, eutran], amount: "50.00", per: month, then: disconnect}]
rates:
  - name: web
    service: data
    axis: period
    period: month
    cap_per_day: {amount: "9.00", then: free}
    steps: [{block: 1, price: "1.00", per: MiB}]
"""
PRODUCT = """
product: monthly
version: 1
price: "1.00"
currency: EUR
zone: Europe/Berlin
charge: recurring
period: calendar-month
allowances:
  - name: web
    unit: octets
    amount: 10 GB
    rollover: true
    uses: [{service: data, access: [nr], block: kB}, {service: data, block: kB}]
"""
PASS = PRODUCT.replace("monthly", "pass").replace("recurring", "once").replace("calendar-month", "day")
AT_MS = int(datetime(2026, 6, 20, 12, tzinfo=UTC).timestamp()) * 1000
BEGUN_MS = AT_MS - 80 * 86_400_000
CALLS = 5_000
ROUNDS = 7


def wallet() -> Wallet:
    """Return a wallet that remembers nothing yet."""
    passing = PASS.replace("    rollover: true\n", "")
    catalogue = Catalogue(
        [read_product(PRODUCT, "monthly.yaml"), read_product(passing, "pass.yaml")],
    )
    held = [Held(number, "monthly@1", BEGUN_MS, AT_MS + 86_400_000) for number in (1, 2, 3)]
    held.append(Held(4, "pass@1", AT_MS - 3_600_000, 0))
    return Wallet(read_tariff(TARIFF, "bench.yaml"), catalogue, tuple(held), 5_000_000, is_member=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    chance = random.Random(parser.parse_args().seed)
    on = wallet()
    facts = [Facts("data", access=chance.choice(("nr", "eutran", None))) for _ in range(CALLS)]
    fresh = [Facts("data", rating_group=number, access="nr") for number in range(CALLS)]
    rate = on.tariff.rate(facts[0])
    assert rate is not None
    sources, due = on.sources, on.due

    def best_us(calls: object) -> float:
        """Return microseconds of one of CALLS calls."""
        assert callable(calls)
        return round(min(timeit.repeat(calls, number=1, repeat=ROUNDS)) / CALLS * 1e6, 3)

    figures = {
        "sources": len(sources(rate, facts[0], AT_MS)),
        "remembered_us": best_us(lambda: [sources(rate, each, AT_MS) for each in facts]),
        "fresh_us": best_us(lambda: [sources(rate, each, AT_MS) for each in fresh]),
        "due_us": best_us(lambda: [due(AT_MS) for _ in facts]),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
