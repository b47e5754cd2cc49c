"""A progress bar on standard error, for people at a terminal; nothing where there is none."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["bar"]


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Give what is told how far the work is: done, of all, and a few words."""
    if not sys.stderr.isatty():
        yield lambda _done, _of, _words: None
        return
    from rich.console import Console  # noqa: PLC0415 - only who sees it loads it
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(title, total=None, words="")
        yield lambda done, of, words: shown.update(task, completed=done, total=of or None, words=words)
