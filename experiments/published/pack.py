"""The reproduction pack: every entry measured and printed beside its independent number: `make reproduce`.

Entries are found, not listed: every module of this package with a function ``entries()`` gives its own.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from perennial.experiments import published
from perennial.experiments.console import wide_console
from perennial.experiments.threads import one_thread

if TYPE_CHECKING:
    from rich.table import Table

    from perennial.experiments.published.entry import Comparison, Entry

WIDTH = 170
"""Columns of the table where it is not printed to a terminal."""


def entries() -> list[Entry]:
    """All entries, by module and in each module's order; a name may occur once."""
    found: list[Entry] = []
    for module in sorted(info.name for info in pkgutil.iter_modules(published.__path__)):
        loaded = importlib.import_module(f"{published.__name__}.{module}")
        if module != "pack" and hasattr(loaded, "entries"):
            found += loaded.entries()
    names = [entry.name for entry in found]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Entries must differ in algorithm or setting. Got twice: {repeated}.")
    return found


def measure(place: int) -> Comparison:
    """The comparison of the entry at this place of `entries`: what a worker process does."""
    from perennial.experiments.published.entry import compare

    return compare(entries()[place])


def table(comparisons: Sequence[Comparison]) -> Table:
    """One row per comparison."""
    from rich import box
    from rich.table import Table

    shown = Table(title="Ours beside published and exactly computed numbers", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("algorithm", "setting", "ours (mean, s.e.)", "independent", "|z|", "within 3", "source"):
        shown.add_column(column, justify="right" if column in ("ours (mean, s.e.)", "independent", "|z|") else "left")
    for row in comparisons:
        shown.add_row(
            row.algorithm,
            row.setting,
            f"{row.mean:.5g} ± {row.error:.2g}",
            f"{row.expected:.5g}" + (f" ± {row.deviation:.2g}" if row.deviation else ""),
            f"{row.z:.2f}",
            "yes" if row.agrees else "NO",
            row.source,
        )
    return shown


def run(chosen: Sequence[int], workers: int) -> list[Comparison]:
    """The comparisons of the entries at these places, in their order, measured side by side."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from rich.progress import track

    with ProcessPoolExecutor(min(workers, len(chosen)), get_context("spawn")) as pool:
        futures = [pool.submit(measure, place) for place in chosen]
        return [future.result() for future in track(futures, "Reproducing", transient=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all entries or those whose name holds a word, print the table; 1 if one disagrees, 2 if none is meant."""
    one_thread()
    parser = argparse.ArgumentParser(prog="perennial-published", description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="only entries with this in their name, such as UCB1")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes side by side")
    options = parser.parse_args(arguments)
    every = entries()
    chosen = [place for place, entry in enumerate(every) if options.word.lower() in entry.name.lower()]
    if not chosen or options.workers < 1:
        algorithms = ", ".join(sorted({entry.algorithm for entry in every}))
        parser.error(
            f"'word' must occur in an entry, and --workers be at least 1. Got {options.word!r} and {options.workers}. "
            f"Algorithms: {algorithms}."
        )
    comparisons = run(chosen, options.workers)
    console = wide_console(WIDTH)
    console.print(table(comparisons))
    missed = sum(not comparison.agrees for comparison in comparisons)
    console.print(f"{len(comparisons) - missed} of {len(comparisons)} within 3 standard errors.")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
