"""Metrics: what all processes have counted, summed when somebody asks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector


class CountedSample(Protocol):
    """One row: a value, or the counts per bucket and the sum in microseconds."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Values of the labels."""

    @property
    def value(self) -> int:
        """The value, or a histogram's sum in microseconds."""

    @property
    def buckets(self) -> tuple[int, ...]:
        """Counts per bucket, the last one beyond all bounds; empty unless a histogram."""


class CountedMetric(Protocol):
    """One metric, summed over all processes."""

    @property
    def name(self) -> str:
        """The name, with `_total` for a counter."""

    @property
    def kind(self) -> str:
        """counter, gauge or histogram."""

    @property
    def text(self) -> str:
        """What it counts."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels."""

    @property
    def bounds(self) -> tuple[int, ...]:
        """Upper bounds of a histogram's buckets, in microseconds."""

    @property
    def samples(self) -> Sequence[CountedSample]:
        """The rows."""


class CountersCollector(Collector):
    """Publishes at scrape what `read` returns; rows of counters that never counted are left out."""

    def __init__(self, read: Callable[[], Iterable[CountedMetric]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Describe nothing: registration reads no file."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read all processes' counters."""
        for metric in self._read():
            if metric.kind == "histogram":
                yield _histogram(metric)
            elif metric.kind == "counter":
                counter = CounterMetricFamily(metric.name, metric.text, labels=metric.labels)
                for sample in metric.samples:
                    if sample.value or not metric.labels:
                        counter.add_metric(sample.labels, sample.value)
                yield counter
            else:
                gauge = GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
                for sample in metric.samples:
                    gauge.add_metric(sample.labels, sample.value)
                yield gauge


def _histogram(metric: CountedMetric) -> HistogramMetricFamily:
    family = HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
    bounds = [*(format(bound / 1_000_000, "g") for bound in metric.bounds), "+Inf"]
    for sample in metric.samples:
        below, rows = 0, []
        for bound, count in zip(bounds, sample.buckets, strict=True):
            below += count
            rows.append((bound, below))
        family.add_metric(sample.labels, rows, sample.value / 1_000_000)
    return family
