"""Progress of long steps: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Reporter(Protocol):
    """Told what is being done and, where that is known, which fraction (0..1) of it is behind us."""

    def __call__(self, step: str, done: float | None = None) -> None:
        """Take note of one step."""
        ...


def silent(step: str, done: float | None = None) -> None:
    """Report nothing."""


class PlainLines:
    """One line for each step, when it begins."""

    def __init__(self) -> None:
        self._step: str | None = None

    def __call__(self, step: str, done: float | None = None) -> None:
        """Write the step's name once."""
        if step != self._step:
            self._step = step
            sys.stderr.write(f"{step} ...\n")
            sys.stderr.flush()


class Bars:
    """One bar for each step; a bar without a known fraction pulses."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: str, done: float | None = None) -> None:
        """Move the step's bar; steps before it are finished."""
        if step not in self._tasks:
            self.finish()
            self._tasks[step] = self._progress.add_task(step, total=None if done is None else 1.0)
        self._progress.update(self._tasks[step], completed=done, total=None if done is None else 1.0)

    def finish(self) -> None:
        """Show every begun step as done."""
        for task in self._tasks.values():
            self._progress.update(task, total=1.0, completed=1.0)


@contextmanager
def reporter() -> Iterator[Reporter]:
    """Give a reporter that fits where standard error goes."""
    if not sys.stderr.isatty():
        yield PlainLines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<44}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bars = Bars(progress)
        yield bars
        bars.finish()
