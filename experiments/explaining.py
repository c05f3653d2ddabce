"""Why does this version show other things than that one? By segment and feature group: `perennial-explain`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from perennial.agents.base import Feedback, Items
from perennial.agents.lifecycle.explanations import GROUPS, Explainer, Explanation
from perennial.agents.lifecycle.registry import Registry
from perennial.agents.lifecycle.tables import HOURS
from perennial.agents.lifecycle.validation import SLICES
from perennial.experiments.console import script, wide_console
from perennial.experiments.tables import Column, Table
from perennial.experiments.threads import one_thread

PAGES = 400
"""Pages of the run's last days that both versions are asked about, evenly spaced."""


def of_run(run: Any, versions: tuple[int, int] | None = None, days: int = 7, pages: int = PAGES) -> list[Explanation]:
    """Explanations of all pages and of each stress slice; the two newest versions that are kept, unless told which."""
    from perennial.agents.lifecycle.feedback import FeedbackLog
    from perennial.experiments import execution

    parts = execution.build(run)
    registry = execution.open_registry(run)
    log = FeedbackLog(run.folder / "log", parts.training.spaces)
    tick = log.last_day * HOURS + HOURS - 1
    before, after = versions or _kept(registry, parts.training.fresh(tick))
    agents = [parts.training.fresh(tick) for _ in range(2)]
    for agent, version in zip(agents, (before, after), strict=True):
        registry.load(agent, version)
    registry.close()
    logged = log.read(log.last_day - days + 1, log.last_day)
    logged = logged.take(np.unique(np.linspace(0, len(logged) - 1, pages).astype(np.int64)))
    return explain(agents[0], agents[1], logged, agents[0].items)


def _kept(registry: Registry, agent: Any) -> tuple[int, int]:
    """The two newest versions whose parameters are there."""
    found: list[int] = []
    for number in sorted({row.version for row in registry.versions()}, reverse=True):
        try:
            registry.load(agent, number)
        except FileNotFoundError:
            continue
        found.append(number)
        if len(found) == 2:
            return found[1], found[0]
    raise ValueError(f"The run must have kept two versions to compare. Got {len(found)}.")


def explain(before: Any, after: Any, pages: Feedback, items: Items) -> list[Explanation]:
    """All pages, then each slice that has any."""
    explainer = Explainer()
    segments = {name: rule(pages, items) for name, rule in SLICES.items()}
    return [explainer.explain(before, after, pages), *explainer.by_segment(before, after, pages, segments)]


def table(found: Sequence[Explanation]) -> Table:
    """One row per segment."""
    rows: list[dict[str, Any]] = [
        {"segment": one.segment, "pages": float(one.pages), "change": one.change, "base": one.base}
        | {name: f"{one.parts[name]:+.1%} ({one.weights[name]:.1%})" for name in one.parts}
        for one in found
    ]
    share = "{:.1%}".format
    columns = [Column("segment", "segment", str), Column("pages", "pages", "{:.0f}".format)]
    columns += [Column("change", "items changed", share), Column("base", "whatever told", share)]
    columns += [Column(name, f"by {name} (either way)", str) for name in GROUPS]
    return Table("What moved the recommendations: Shapley values, averaged with and without their sign", columns, rows)


@script("perennial-explain")
def main(arguments: Sequence[str] | None = None) -> int:
    """`perennial-explain RUN`, or the words that `perennial-run` was given."""
    one_thread()
    from perennial.experiments import run as runs

    parser = argparse.ArgumentParser(prog="perennial-explain", description=__doc__)
    runs.ask_finished(parser)
    parser.add_argument("--versions", type=int, nargs=2, help="which two (default: the newest two that are kept)")
    parser.add_argument("--days", type=int, default=7, help="last days whose pages they are asked about (default 7)")
    options = parser.parse_args(arguments)
    from perennial.experiments import workers

    try:
        run = runs.finished(options.run, options.days, options.trust)
        workers.one_torch_thread()
        found = of_run(run, tuple(options.versions) if options.versions else None, options.days)
    except (ValueError, FileNotFoundError) as error:
        print(f"perennial-explain: {error}", file=sys.stderr)
        return 2
    wide_console().print(table(found).rich())
    return 0


if __name__ == "__main__":
    sys.exit(main())
