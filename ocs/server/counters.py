"""Counters that cost an integer's addition: one file of 64-bit cells per process, read by another.

Laws
1. A cell is found once, at start; the hot path adds to an index (an observe of the client library costs 3.3 µs).
2. Cells live in a mapped file: what was counted survives the death of its process, and another process reads it at any
   moment. A cell is written in one store of eight octets, so it is never read half.
3. The file says itself what its cells mean: a reader needs no more than the folder.
4. A process that starts again goes on counting where its predecessor stopped; its gauges begin at zero.
"""

import json
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from ocs.server.families import EACH, FAMILIES, GAUGE, GREATEST, HISTOGRAM, Family

_MAGIC: Final = b"OCSCELL1"
_HEAD = Struct("<8sQ")
_CELL_OCTETS: Final = 8
SUFFIX: Final = ".cells"


def _layout(families: Iterable[Family]) -> bytes:
    """The file's head: magic, length of the text, the families as JSON, padded so that cells are aligned."""
    text = json.dumps(list(families), separators=(",", ":")).encode()
    text += b" " * (-(_HEAD.size + len(text)) % _CELL_OCTETS)
    return _HEAD.pack(_MAGIC, len(text)) + text


class Histogram:
    """One row of a histogram."""

    __slots__ = ("_at", "_bounds", "_cells", "_sum")

    def __init__(self, cells: memoryview, at: int, bounds: tuple[int, ...]) -> None:
        self._cells = cells
        self._at = at
        self._bounds = bounds
        self._sum = at + len(bounds) + 1

    def observe(self, micros: int) -> None:
        """Count one duration in microseconds."""
        cells = self._cells
        cells[self._at + bisect_left(self._bounds, micros)] += 1
        cells[self._sum] += micros


class Counters:
    """The cells of this process; `cells[index(...)] += 1` is all that counting takes. Without a folder: in memory."""

    __slots__ = ("_at", "_families", "_map", "cells")

    def __init__(
        self, folder: Path | None = None, name: str = "", families: tuple[Family, ...] = FAMILIES
    ) -> None:
        self._families = {family.name: family for family in families}
        assert len(self._families) == len(families), "one family per name"
        self._at: dict[tuple[str, ...], int] = {}
        count = 0
        for family in families:
            for row in family.rows:
                self._at[family.name, *row] = count
                count += family.cells_per_row
        self._map: mmap.mmap | None = None
        if folder is None:
            self.cells = memoryview(bytearray(count * _CELL_OCTETS)).cast("q")
            return
        head = _layout(families)
        self._map = _mapped(folder, name, head, count)
        self.cells = memoryview(self._map)[len(head) :].cast("q")
        for family in families:
            if family.kind == GAUGE:
                for row in family.rows:
                    self.cells[self.index(family.name, *row)] = 0

    def index(self, family: str, *row: str) -> int:
        """Return the cell of a row; KeyError when the family has no such row."""
        return self._at[family, *row]

    def histogram(self, family: str, *row: str) -> Histogram:
        """Return the histogram of a row."""
        return Histogram(self.cells, self.index(family, *row), self._families[family].bounds)

    def close(self) -> None:
        """Let go of the file; what was counted stays in it."""
        self.cells.release()
        if self._map is not None:
            self._map.close()


def _mapped(folder: Path, name: str, head: bytes, count: int) -> mmap.mmap:
    """Map the process's file: the one of its predecessor when its cells mean the same, else a new one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{SUFFIX}"
    octets = len(head) + count * _CELL_OCTETS
    if not (path.is_file() and path.stat().st_size == octets and path.read_bytes()[: len(head)] == head):
        fresh = folder / f".{name}.{os.getpid()}"
        fresh.write_bytes(head + bytes(octets - len(head)))
        fresh.replace(path)
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), octets)


class Sample(NamedTuple):
    """One row of a metric: a value, or of a histogram the counts per bucket (the last one beyond all bounds) and the sum."""

    labels: tuple[str, ...]
    value: int
    buckets: tuple[int, ...] = ()


class Metric(NamedTuple):
    """One metric over all processes; `labels` begins with `process` where each process stands for itself."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...]
    bounds: tuple[int, ...]
    samples: tuple[Sample, ...]


class Reading(NamedTuple):
    """What one process has counted so far."""

    process: str
    families: tuple[Family, ...]
    cells: memoryview

    def rows(self) -> Iterator[tuple[Family, Sample]]:
        """Every row of every family."""
        at = 0
        for family in self.families:
            for labels in family.rows:
                if family.kind == HISTOGRAM:
                    last = at + len(family.bounds) + 1
                    yield family, Sample(labels, self.cells[last], tuple(self.cells[at:last]))
                else:
                    yield family, Sample(labels, self.cells[at])
                at += family.cells_per_row

    def value(self, family: str, *labels: str) -> int:
        """The value of one row, or 0 when this process has none of it."""
        return next(
            (row.value for each, row in self.rows() if each.name == family and row.labels == labels), 0
        )


def read(folder: Path) -> list[Reading]:
    """Read what every process has counted; a file that is no such file, or half written, is passed over."""
    return _readings(folder, f"[!.]*{SUFFIX}")


def _readings(folder: Path, pattern: str) -> list[Reading]:
    readings = []
    for path in sorted(folder.glob(pattern)):
        octets = path.read_bytes()
        if len(octets) < _HEAD.size:
            continue
        magic, length = _HEAD.unpack_from(octets)
        start = _HEAD.size + length
        if magic != _MAGIC or start > len(octets) or (len(octets) - start) % _CELL_OCTETS:
            continue
        rows = json.loads(octets[_HEAD.size : start])
        families = tuple(
            Family(name, kind, text, tuple(labels), tuple(map(tuple, each)), tuple(bounds), fold)
            for name, kind, text, labels, each, bounds, fold in rows
        )
        readings.append(
            Reading(path.name.removesuffix(SUFFIX), families, memoryview(octets)[start:].cast("q"))
        )
    return readings


def rest(folder: Path, name: str) -> None:
    """Set the gauges of a process that has ended to zero: it has no connection, and is not ready.

    The file says itself where they are: the process may have been of another release, with other counters.
    """
    for reading in _readings(folder, f"{name}{SUFFIX}"):
        offset = (folder / f"{name}{SUFFIX}").stat().st_size - reading.cells.nbytes
        with (folder / f"{name}{SUFFIX}").open("r+b") as file:
            at = 0
            for family in reading.families:
                octets = len(family.rows) * family.cells_per_row * _CELL_OCTETS
                if family.kind == GAUGE:
                    file.seek(offset + at)
                    file.write(bytes(octets))
                at += octets


def forget(folder: Path) -> None:
    """Remove what an earlier server has counted: its processes are not ours."""
    for path in folder.glob(f"*{SUFFIX}"):
        path.unlink(missing_ok=True)


def metrics(readings: Iterable[Reading]) -> list[Metric]:
    """Fold the readings of all processes into one list of metrics."""
    families: dict[str, Family] = {}
    folded: dict[str, dict[tuple[str, ...], Sample]] = {}
    for reading in readings:
        for family, sample in reading.rows():
            families.setdefault(family.name, family)
            rows = folded.setdefault(family.name, {})
            labels = (reading.process, *sample.labels) if family.fold == EACH else sample.labels
            seen = rows.get(labels)
            rows[labels] = sample._replace(labels=labels) if seen is None else _folded(family, seen, sample)
    return [
        Metric(
            family.name,
            family.kind,
            family.text,
            ("process", *family.labels) if family.fold == EACH else family.labels,
            family.bounds,
            tuple(folded[family.name].values()),
        )
        for family in families.values()
    ]


def _folded(family: Family, seen: Sample, more: Sample) -> Sample:
    if family.fold == GREATEST:
        return seen._replace(value=max(seen.value, more.value))
    buckets = tuple(map(sum, zip(seen.buckets, more.buckets, strict=False)))
    return Sample(seen.labels, seen.value + more.value, buckets)
