"""The tables of a study: what each arm bought, what it cost in time, and what sharing the visitors saved."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from perennial.experiments import statistics
from perennial.experiments.results import Result, select
from perennial.experiments.statistics import Interval

Cell = float | str | Interval | None


@dataclass(frozen=True)
class Column:
    """A column's `key` in JSON, its printed `title`, and how a cell is written; `words` stand left, numbers right."""

    key: str
    title: str
    write: Callable[[Any], str]
    words: bool = False


@dataclass(frozen=True)
class Table:
    """Rows by column; a cell is text, a number, an interval, or None where there is nothing to say."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Cell]]

    def texts(self) -> list[list[str]]:
        """Every row as printed."""
        return [["–" if row[c.key] is None else c.write(row[c.key]) for c in self.columns] for row in self.rows]

    def markdown(self) -> str:
        rule = ["---" if self._left(index) else "---:" for index in range(len(self.columns))]
        lines = [[c.title for c in self.columns], rule, *self.texts()]
        return f"**{self.title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

    def rich(self) -> Any:
        """For a rich console: intervals below their means, so that the table keeps to about 130 columns."""
        from rich import box
        from rich.markup import escape
        from rich.table import Table as Screen

        screen = Screen(
            title=escape(self.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
        )
        for index, column in enumerate(self.columns):
            screen.add_column(
                textwrap.fill(column.title, 12), justify="left" if self._left(index) else "right", overflow="fold"
            )
        for row in self.texts():
            screen.add_row(*(text.replace(" [", "\n[") for text in row))
        return screen

    def _left(self, index: int) -> bool:
        return index == 0 or self.columns[index].words

    def plain(self) -> list[dict[str, Any]]:
        """The rows for JSON: every number to its last digit, NaN as null."""
        return [{key: _plain(cell) for key, cell in row.items()} for row in self.rows]


def uplift_table(results: Sequence[Result], arms: Sequence[str], incumbent: str, drift: str, twin: str | None) -> Table:
    """One row per arm: its scores under `drift` and its uplift over the incumbent, there, in the twin, and between."""
    return Table(
        "What each arm bought: mean over the seeds, [95 % paired t interval]",
        (
            Column("arm", "arm", str),
            Column("clicks", "clicks per potential visit", _decimals(4)),
            Column("first_page_ctr", "first-page CTR", _percent(2)),
            Column("ctr", "CTR", _percent(2)),
            Column("uplift", "uplift over incumbent", _interval),
            Column("twin_uplift", "uplift in the twin", _interval),
            Column("difference", "difference", _interval),
            Column("bounce_rate", "bounce rate", _percent(2)),
            Column("regret", "regret per page", _decimals(4)),
            Column("retrains", "retrains", _decimals(1)),
        ),
        [_uplift_row(results, arm, incumbent, drift, twin) for arm in arms],
    )


def _uplift_row(results: Sequence[Result], arm: str, incumbent: str, drift: str, twin: str | None) -> dict[str, Cell]:
    runs = select(results, arm, drift)
    gains = _uplifts(results, arm, incumbent, drift)
    twin_gains = _uplifts(results, arm, incumbent, twin) if twin else None
    return {
        "arm": arm,
        "clicks": _mean(runs, "clicks_per_potential_visit"),
        "first_page_ctr": _mean(runs, "first_page_ctr"),
        "ctr": _mean(runs, "ctr"),
        "uplift": None if gains is None else statistics.t_interval(gains),
        "twin_uplift": None if twin_gains is None else statistics.t_interval(twin_gains),
        "difference": None if gains is None or twin_gains is None else statistics.paired_interval(gains, twin_gains),
        "bounce_rate": _mean(runs, "bounce_rate"),
        "regret": _mean(runs, "regret_per_page"),
        "retrains": float(np.mean([r.retrains for r in runs])),
    }


def _uplifts(results: Sequence[Result], arm: str, incumbent: str, drift: str) -> statistics.Scores | None:
    """Per-seed uplift in clicks per potential visit; None for the incumbent itself and where the arm was not run."""
    if arm == incumbent or not select(results, arm, drift):
        return None
    return statistics.uplift(clicks(results, arm, drift), clicks(results, incumbent, drift))


def clicks(results: Sequence[Result], arm: str, drift: str) -> statistics.Scores:
    """float64 (S,): clicks per potential visit of one arm, by seed."""
    return np.array([r.scores.clicks_per_potential_visit for r in select(results, arm, drift)])


def normalised_table(
    results: Sequence[Result], arms: Sequence[str], floor: str, drift: str, moving: Sequence[float]
) -> Table:
    """Clicks per potential visit, seed by seed on the scale from `floor` (0) to the moving oracle (1), best first.

    `moving` (S,): the oracle's clicks per potential visit by seed, of the same visitors in its own copy of the world.
    """
    least, most = clicks(results, floor, drift), np.asarray(moving)
    shares = {arm: (clicks(results, arm, drift) - least) / (most - least) for arm in arms}
    rows: list[dict[str, Cell]] = [
        {"arm": arm, "clicks": float(clicks(results, arm, drift).mean()), "share": statistics.t_interval(share)}
        for arm, share in shares.items()
    ]
    rows.append({"arm": "moving oracle", "clicks": float(most.mean()), "share": None})
    rows.sort(key=lambda row: -float(row["clicks"]))  # type: ignore[arg-type]
    columns = (
        Column("arm", "arm", str),
        Column("clicks", "clicks per potential visit", _decimals(3)),
        Column("share", f"share of the way from {floor} to the moving oracle", _interval),
    )
    return Table(f"From {floor} to the moving oracle: mean over the seeds, [95 % paired t interval]", columns, rows)


def timing_table(timings: Mapping[str, Sequence[Mapping[str, float]]]) -> Table:
    """One row per arm from its runs' timings: medians over the runs of what each run measured."""

    def middle(runs: Sequence[Mapping[str, float]], key: str) -> float | None:
        values = [run[key] for run in runs if key in run and math.isfinite(run[key])]
        return float(np.median(values)) if values else None

    keys = {
        "batch_p50": "decision_ms_p50",
        "batch_p99": "decision_ms_p99",
        "one_p50": "single_ms_p50",
        "one_p99": "single_ms_p99",
        "training": "training_s_per_retrain",
        "run": "run_s",
    }
    columns = (
        Column("arm", "arm", str),
        Column("batch_p50", "decision p50 (ms, as served)", _decimals(2)),
        Column("batch_p99", "p99", _decimals(2)),
        Column("one_p50", "one page p50 (ms)", _decimals(2)),
        Column("one_p99", "p99", _decimals(2)),
        Column("training", "training (s a retrain)", _decimals(2)),
        Column("run", "whole run (s)", _decimals(1)),
    )
    rows = [{"arm": arm, **{k: middle(runs, name) for k, name in keys.items()}} for arm, runs in timings.items()]
    return Table("What it cost in time on this machine: median over the runs", columns, rows)


def pairing_table(results: Sequence[Result], pairs: Sequence[tuple[str, str]], drift: str) -> Table:
    """How many times less the difference of two arms varies because both meet the same visitors."""
    rows: list[dict[str, Cell]] = []
    for first, second in pairs:
        a, b = clicks(results, first, drift), clicks(results, second, drift)
        factor = statistics.variance_factor(a, b)
        rows.append({"pair": f"{second} against {first}", "factor": None if math.isnan(factor) else factor})
    columns = (Column("pair", "clicks per potential visit", str), Column("factor", "variance factor", _decimals(1)))
    return Table("What the shared visitors saved: variance of the difference, unpaired over paired", columns, rows)


def _mean(runs: Sequence[Result], score: str) -> float:
    return float(np.mean([getattr(r.scores, score) for r in runs]))


def _decimals(count: int) -> Callable[[Any], str]:
    return lambda value: f"{value:.{count}f}"


def _percent(count: int) -> Callable[[Any], str]:
    return lambda value: f"{100 * value:.{count}f} %"


def _interval(value: Interval) -> str:
    if math.isnan(value.low):
        return f"{100 * value.mean:+.2f} %"
    return f"{100 * value.mean:+.2f} % [{100 * value.low:+.2f}, {100 * value.high:+.2f}]"


def _plain(cell: Cell) -> Any:
    if isinstance(cell, Interval):
        return {key: _plain(value) for key, value in asdict(cell).items()}
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
