"""The benchmark of the record measures what it says: whole days, all logged, every one committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from perennial.agents.lifecycle.checkpoint import NoCheckpoint
from perennial.agents.lifecycle.fairness import NoFairness
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.experiments import bench_lifecycle
from perennial.experiments.loop import NoScorer


def test_every_page_of_the_bench_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_lifecycle, "IMPRESSIONS", 2_000)
    lived = list(bench_lifecycle.year(3, tmp_path))
    log = FeedbackLog(tmp_path / "log", bench_lifecycle.SPACES)
    assert log.counts == {"pages": 600, "quarantined": 0, "duplicates": 0}
    assert all(day.seconds > 0 and day.memory > 0 for day in lived)
    assert set(bench_lifecycle.figures(lived)) >= {"log + monitor + decide, s a day, mean", "memory at the end, MB"}


def test_the_loop_of_the_bench_has_every_part_of_a_run(tmp_path: Path) -> None:
    """What it says of a day, and of its growth, is said of what runs."""
    loop = bench_lifecycle.begin(bench_lifecycle.Drawn(), tmp_path)
    nothing = (NoScorer, NoFairness, NoCheckpoint)
    assert not [name for name, part in vars(loop).items() if isinstance(part, nothing)]
    assert loop.monitor.watchlist is not None
    assert loop.monitor.watchlist.latency is loop.deployment.latency
    assert loop.checkpoint.kept == {"log": loop.log, "audit": loop.audit, "registry": loop.deployment.registry}


def test_late_days_are_held_against_early_ones_by_medians_and_by_whole_blocks() -> None:
    seconds = [5.0, *([0.1] * 17), *([0.15] * (bench_lifecycle.DAYS - 18))]
    seconds[12], seconds[28], seconds[364] = 0.2, 1.0, 1.0  # a disturbed day, and two on which blocks are merged
    told = bench_lifecycle.figures([bench_lifecycle.Day(each, each, 100.0) for each in seconds])
    assert next(told[name] for name in told if name.startswith("late over early")).startswith("1.50 +- 0.")
    whole = (27 * 0.15 + 1.0) / (16 * 0.1 + 0.2 + 10 * 0.15 + 1.0)
    assert next(told[name] for name in told if name.startswith("the last 28")) == f"{whole:.2f}"
