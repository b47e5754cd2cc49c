from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ocs.http.metrics import CountersCollector
from ocs.server.counters import Metric, Sample
from ocs.server.families import COUNTER, GAUGE, HISTOGRAM

METRICS = [
    Metric("a_total", COUNTER, "what a is", ("x",), (), (Sample(("1",), 3), Sample(("2",), 0))),
    Metric("b", GAUGE, "what b is", (), (), (Sample((), 0),)),
    Metric(
        "c_seconds", HISTOGRAM, "what c is", ("t",), (1_000, 20_000), (Sample(("i",), 2_500_000, (1, 2, 4)),)
    ),
]


def samples() -> dict[str, float]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(CountersCollector(lambda: METRICS))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        ",".join([sample.name, *sorted(sample.labels.values(), reverse=True)]): sample.value
        for family in families
        for sample in family.samples
    }


def test_counters_and_gauges_are_published_and_rows_that_never_counted_are_left_out() -> None:
    published = samples()
    assert published["a_total,1"] == 3
    assert "a_total,2" not in published
    assert published["b"] == 0


def test_buckets_of_a_histogram_are_cumulative_and_in_seconds() -> None:
    published = samples()
    assert {name: value for name, value in published.items() if name.startswith("c_")} == {
        "c_seconds_bucket,i,0.001": 1,
        "c_seconds_bucket,i,0.02": 3,
        "c_seconds_bucket,i,+Inf": 7,
        "c_seconds_count,i": 7,
        "c_seconds_sum,i": 2.5,
    }
