"""A progress bar with the time left; plain lines now and then where nobody watches a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY = 20.0
"""Seconds between two plain lines."""


class Tracker(Protocol):
    """Told about work done, in units of `total`."""

    def advance(self, amount: int) -> None: ...


@contextmanager
def tracking(console: Console, title: str, total: int) -> Iterator[Tracker]:
    """Show how much of `total` is done: a bar on a terminal, lines elsewhere."""
    if not console.is_terminal:
        yield PlainLines(console, title, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("days, elapsed"))
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, *times, console=console, speed_estimate_period=300) as bar:
        task = bar.add_task(title, total=total)

        class Bar:
            def advance(self, amount: int) -> None:
                bar.advance(task, amount)

        yield Bar()


class PlainLines:
    """A line every `LINE_EVERY` seconds and one at the end."""

    def __init__(self, console: Console, title: str, total: int) -> None:
        self.console, self.title, self.total = console, title, total
        self.done = 0
        self.started = self.spoke = time.monotonic()

    def advance(self, amount: int) -> None:
        self.done += amount
        now = time.monotonic()
        if self.done >= self.total or now - self.spoke > LINE_EVERY:
            self.spoke = now
            left = (now - self.started) * (self.total - self.done) / max(self.done, 1)
            text = f"{self.title}: {self.done} of {self.total} days, {duration(left)} left"
            self.console.print(text, highlight=False)


def duration(seconds: float) -> str:
    """130 -> "2 min 10 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
