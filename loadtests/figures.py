"""From what was read to what is told: figures of a phase, the bound, and which of the issue's aims are met."""

import os
from itertools import pairwise
from typing import Any, NamedTuple

from loadtests.rig import Measured, Sample

WORKER_US_MAX = 60.0
STORE_US_MAX = 40.0
RATES_US_MAX = 10.0
"""What a plan on rates may cost beyond one on a single ladder."""
ON_RATES = "always, closed loop, on rates"
"""The phase whose subscribers have the sample operator's tariff."""
BOUND_SHARE_MIN = 0.8
STRANGER_TIMES_MIN = 5.0
OPEN_P99_MS_MAX = 10.0
OPEN_P999_MS_MAX = 30.0
MEMORY_OCTETS_MAX = 600
FLAT_SHARE_MAX = 0.02
FLAT_OCTETS_MAX = 2 << 20
"""Memory that moves by less than a fiftieth, or by less than this, is flat: an allocator's pages come and go."""


class Aim(NamedTuple):
    """One figure that the issue asks for, and what it asks."""

    what: str
    found: float
    limit: float
    at_most: bool
    unit: str

    @property
    def met(self) -> bool:
        """Tell whether it is met."""
        return self.found <= self.limit if self.at_most else self.found >= self.limit


def phase(
    name: str, durability: str, workers: int, measured: Measured, audit: dict[str, Any]
) -> dict[str, Any]:
    """Work out the figures of one phase."""
    result, first, last = measured.result, measured.samples[0], measured.samples[-1]
    answers = result["answers"]
    spent = {each: last.cpu_us[each] - first.cpu_us[each] for each in last.cpu_us}
    worker_us = sum(us for each, us in spent.items() if each.startswith("worker")) / answers
    others = {each: us / answers for each, us in spent.items() if each in {"supervisor", "keeper", "door"}}
    store_us, generator_us = spent["store"] / answers, result["generator_us"] / answers
    bound = bound_per_second(workers, worker_us, store_us, generator_us)
    per_second = answers / result["seconds"]
    return {
        "phase": name,
        "durability": durability,
        "workers": workers,
        "seconds": result["seconds"],
        "answers": answers,
        "per_second": per_second,
        "cpu_us": {
            "worker": worker_us,
            "store": store_us,
            "store_info": (last.store.info_us - first.store.info_us) / answers,
            "store_function": _ratio(
                last.store.call_us - first.store.call_us, last.store.calls - first.store.calls
            ),
            "generator": generator_us,
            **others,
        },
        "foreign_share": foreign_share(first, last, sum(spent.values()) + result["generator_us"]),
        "bound_per_second": bound,
        "bound_share": per_second / bound,
        "file_octets": file_octets(measured.samples),
        "latency_us": result["latency_us"],
        "behind_us": result["behind_us"],
        "codes": result["codes"],
        "ungranted": result["ungranted"],
        "unanswered": result["unanswered"],
        "request_octets": result["request_octets"],
        "audit": audit,
    }


def bound_per_second(workers: int, worker_us: float, store_us: float, generator_us: float) -> float:
    """Return what the processors allow: min(workers / worker µs, 1 / store µs, cores / sum of the three processes' µs)."""
    cores = os.cpu_count() or 1
    return 1e6 * min(workers / worker_us, 1 / store_us, cores / (worker_us + store_us + generator_us))


def foreign_share(first: Sample, last: Sample, ours_us: float) -> float:
    """Return the share of the processors that others used meanwhile: what disturbs the figures."""
    window_us = (last.at - first.at) * 1e6 * (os.cpu_count() or 1)
    return (
        max(0.0, (last.machine_busy_us - first.machine_busy_us - ours_us) / window_us) if window_us else 0.0
    )


def file_octets(samples: list[Sample]) -> float:
    """Return the octets of the append-only file per call, from the intervals in which it was not rewritten (0: none)."""
    octets = calls = 0
    for before, after in pairwise(samples):
        grown = after.store.file_octets - before.store.file_octets
        if grown > 0:
            octets += grown
            calls += after.store.calls - before.store.calls
    return _ratio(octets, calls)


def _ratio(one: float, other: float) -> float:
    return one / other if other else 0.0


def memory(samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Tell of each process how its resident memory moved: at a fifth of the time, at the end, and whether that is flat.

    The first fifth fills caches (profiles of subscribers, buffers). Figures are medians of a tenth of the samples.
    """
    tenth = max(1, len(samples) // 10)
    early, late = samples[len(samples) // 5 :][:tenth], samples[-tenth:]
    moved: dict[str, dict[str, float]] = {}
    for name in samples[-1].resident_octets:
        before, after = _median(early, name), _median(late, name)
        grown = after - before
        moved[name] = {
            "early_octets": before,
            "late_octets": after,
            "grown_octets": grown,
            "flat": float(grown <= max(FLAT_OCTETS_MAX, before * FLAT_SHARE_MAX)),
        }
    return moved


def _median(samples: list[Sample], name: str) -> int:
    return sorted(sample.resident_octets[name] for sample in samples)[len(samples) // 2]


def aims(results: dict[str, Any]) -> list[Aim]:
    """Return every aim of the issue for which there is a figure."""
    found: list[Aim] = []
    phases = {each["phase"]: each for each in results["phases"]}
    always = phases.get("always, closed loop")
    if always:
        found += [
            Aim(
                "worker, µs of processor time per CCR", always["cpu_us"]["worker"], WORKER_US_MAX, True, "µs"
            ),
            Aim("store, µs of processor time per CCR", always["cpu_us"]["store"], STORE_US_MAX, True, "µs"),
            Aim("share of the bound that is reached", always["bound_share"], BOUND_SHARE_MIN, False, ""),
        ]
        if results.get("stranger"):
            times = always["per_second"] / results["stranger"]["per_second"]
            found.append(Aim("times python-diameter's fixed answer", times, STRANGER_TIMES_MIN, False, ""))
    rated = phases.get(ON_RATES)
    if rated:
        found += [
            Aim("worker, the same on rates", rated["cpu_us"]["worker"], WORKER_US_MAX, True, "µs"),
            Aim("store, the same on rates", rated["cpu_us"]["store"], STORE_US_MAX, True, "µs"),
        ]
    if results.get("charging"):
        beyond = max(each.get("rates_beyond_flat_us", 0.0) for each in results["charging"].values())
        found.append(Aim("rating by rates, beyond one ladder", beyond, RATES_US_MAX, True, "µs"))
    opened = phases.get("always, open loop at half")
    if opened:
        latency = opened["latency_us"]["all"]
        found += [
            Aim("open loop at half: p99", latency["p99"] / 1e3, OPEN_P99_MS_MAX, True, "ms"),
            Aim("open loop at half: p99.9", latency["p999"] / 1e3, OPEN_P999_MS_MAX, True, "ms"),
        ]
    if results.get("charge"):
        charge = results["charge"]
        sessions = [
            octets for name, octets in charge.items() if name.startswith("session_octets_after_CCR-U")
        ]
        found += [
            Aim(
                "store memory of an idle account", charge["account_octets"], MEMORY_OCTETS_MAX, True, "octets"
            ),
            Aim("store memory of an open session", max(sessions), MEMORY_OCTETS_MAX, True, "octets"),
        ]
    if results.get("soak"):
        workers = [each for name, each in results["soak"]["memory"].items() if name.startswith("worker")]
        grown = max(each["grown_octets"] for each in workers) / 2**20
        limit = max(FLAT_OCTETS_MAX, FLAT_SHARE_MAX * max(each["early_octets"] for each in workers)) / 2**20
        found.append(Aim("worker memory, grown after its caches were full", grown, limit, True, "MiB"))
    return found


def wrongs(results: dict[str, Any]) -> list[str]:
    """Return what makes the figures void: money that does not add up, answers that are missing or refuse."""
    found = []
    for each in results["phases"] + ([results["soak"]["phase"]] if results.get("soak") else []):
        name = each["phase"]
        if not each["audit"]["clean"]:
            found.append(f"{name}: the audit is not clean: {each['audit']['faults'][:3]}")
        if each["unanswered"]:
            found.append(f"{name}: {each['unanswered']} requests were not answered")
        if each["ungranted"]:
            found.append(f"{name}: {each['ungranted']} answers said success and granted nothing")
        # 3004 is what admission is for; any other refusal of a paid-up subscriber is wrong
        refused = {code: count for code, count in each["codes"].items() if code not in {"2001", "3004"}}
        if refused:
            found.append(f"{name}: answers other than 2001 and 3004: {refused}")
    return found
