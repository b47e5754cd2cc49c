"""Ids in the order and number that a statement takes."""

from collections.abc import Iterable, Iterator

from ocs.limits import SQL_ROWS_AT_ONCE

__all__ = ["id_parts"]


def id_parts(ids: Iterable[int]) -> Iterator[list[int]]:
    """Return ids in order, each once, as many at once as a statement takes."""
    listed = sorted(set(ids))
    for start in range(0, len(listed), SQL_ROWS_AT_ONCE):
        yield listed[start : start + SQL_ROWS_AT_ONCE]
