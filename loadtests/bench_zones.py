"""A table of 100,000 prefixes: seconds to load, microseconds to look up and to normalise, memory.

    python -m loadtests.bench_zones [--prefixes 100000] [--seed 1]

Aims (issue 3): loaded in below 2 s, a look-up below 2 µs. Figures are the best of several rounds.
"""

import argparse
import gc
import json
import random
import timeit
import tracemalloc
from time import perf_counter

from ocs.rating.numbers import Home, called
from ocs.rating.zones import PrefixTable, read_prefixes

ZONES = tuple(f"zone-{number}" for number in range(60))
HOME = Home(
    "49", "0", "00", bare_national=False, short_codes=frozenset(), emergency=frozenset({"110", "112"})
)
CALLS = 20_000
ROUNDS = 7


def table_text(prefixes: int, chance: random.Random) -> str:
    """Return a table as a wholesaler's: prefixes of 1 to 9 digits, no prefix with all of its continuations."""
    found = {str(chance.randint(1, 10 ** chance.choice((3, 5, 6, 7, 8, 9)) - 1)) for _ in range(prefixes * 2)}
    chosen = [prefix for prefix in sorted(found) if prefix[-1] != "0"]
    chosen = chance.sample(chosen, min(prefixes, len(chosen)))
    return "prefix,zone,name\n" + "".join(f"{prefix},{chance.choice(ZONES)},somewhere\n" for prefix in chosen)


def lookup_us(table: PrefixTable, numbers: list[str]) -> float:
    """Return microseconds of one look-up, the best of several rounds."""
    zone_of = table.zone_of
    best = min(timeit.repeat(lambda: [zone_of(each) for each in numbers], number=1, repeat=ROUNDS))
    return best / len(numbers) * 1e6


def normalise_us(numbers: list[str]) -> float:
    """Return microseconds of one SIP URI brought to E.164."""
    uris = [f"sip:+{each}@ims.example.org;user=phone" for each in numbers]
    best = min(timeit.repeat(lambda: [called(each, HOME) for each in uris], number=1, repeat=ROUNDS))
    return best / len(uris) * 1e6


def load_seconds(text: str) -> float:
    """Return seconds of reading the table with all its checks, the best of several rounds."""
    best = float("inf")
    for _ in range(3):
        start = perf_counter()
        read_prefixes(text, "made up", ZONES)
        best = min(best, perf_counter() - start)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefixes", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    text = table_text(arguments.prefixes, chance)
    load_s = load_seconds(text)
    gc.collect()
    tracemalloc.start()
    table = read_prefixes(text, "made up", ZONES)
    gc.collect()
    kept_octets = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    numbers = [str(chance.randint(10**10, 10**13 - 1)) for _ in range(CALLS)]
    figures = {
        "prefixes": len(table),
        "load_s": round(load_s, 3),
        "lookup_us": round(lookup_us(table, numbers), 3),
        "normalise_us": round(normalise_us(numbers), 3),
        "found_share": round(sum(table.zone_of(each) is not None for each in numbers) / len(numbers), 3),
        "memory_mib": round(kept_octets / 2**20, 1),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
