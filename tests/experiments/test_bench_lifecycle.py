"""The benchmark of the record measures what it says: whole days, all logged, every one committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.experiments import bench_lifecycle


def test_every_page_of_the_bench_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_lifecycle, "IMPRESSIONS", 2_000)
    lived = list(bench_lifecycle.year(3, tmp_path))
    log = FeedbackLog(tmp_path / "log", bench_lifecycle.SPACES)
    assert log.counts == {"pages": 600, "quarantined": 0, "duplicates": 0}
    assert all(day.seconds > 0 and day.memory > 0 for day in lived)
    assert "late over early (aim 1.1)" in bench_lifecycle.figures(lived)
