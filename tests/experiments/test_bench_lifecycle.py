"""The benchmark of the record measures what it says: whole days, all logged, every one committed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from perennial.agents.lifecycle.checkpoint import NoCheckpoint
from perennial.agents.lifecycle.fairness import NoFairness
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.experiments import bench_lifecycle
from perennial.experiments.bench_lifecycle import Day
from perennial.experiments.loop import NoScorer


def test_every_page_of_the_bench_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_lifecycle, "IMPRESSIONS", 2_000)
    lived = list(bench_lifecycle.year(3, tmp_path))
    log = FeedbackLog(tmp_path / "log", bench_lifecycle.SPACES)
    assert log.counts == {"pages": 600, "quarantined": 0, "duplicates": 0}
    assert all(day.seconds > 0 and day.memory > 0 for day in lived)
    assert set(bench_lifecycle.figures(lived)) >= {"log + monitor + decide, s a day, mean", "memory after day 3, MB"}


def test_the_loop_of_the_bench_has_every_part_of_a_run(tmp_path: Path) -> None:
    """What it says of a day, and of its growth, is said of what runs."""
    loop = bench_lifecycle.begin(bench_lifecycle.Drawn(), tmp_path)
    nothing = (NoScorer, NoFairness, NoCheckpoint)
    assert not [name for name, part in vars(loop).items() if isinstance(part, nothing)]
    assert loop.monitor.watchlist is not None
    assert loop.monitor.watchlist.latency is loop.deployment.latency
    assert loop.checkpoint.kept == {"log": loop.log, "audit": loop.audit, "registry": loop.deployment.registry}


@pytest.mark.slow
def test_a_record_in_a_process_of_its_own_lives_a_day_when_asked(tmp_path: Path) -> None:
    lived = bench_lifecycle.apart(2, tmp_path)
    assert next(lived).seconds > 0
    assert FeedbackLog(tmp_path / "log", bench_lifecycle.SPACES).last_day == 0
    lived.close()
    assert FeedbackLog(tmp_path / "log", bench_lifecycle.SPACES).counts["pages"] == 10_000


def test_late_days_are_held_against_early_ones_that_were_lived_in_turns_with_them() -> None:
    turns = []

    def record(name: str, seconds: Iterator[float]) -> Iterator[Day]:
        for each in seconds:
            turns.append(name)
            yield Day(each, each, 100.0)

    slower = [1.0 + 0.1 * turn for turn in range(15)]  # the machine, more and more
    young = record("young", chain([9.0] * 3, slower))
    pairs = bench_lifecycle.in_turns(young, record("grown", (1.2 * each for each in slower)))
    assert turns[4:] == ["young"] + ["grown", "young"] * 14
    told = bench_lifecycle.compared(pairs)
    assert next(told[name] for name in told if name.startswith("late over early")) == "1.20 [1.20, 1.20]"
    assert bench_lifecycle.compared(bench_lifecycle.in_turns(iter(()), iter(()))) == {}
