"""The picture of a study: its numbers, and the same bytes for the same data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perennial.experiments import figures
from perennial.experiments.metrics import Day
from perennial.experiments.results import Event, Result


def day(number: int, clicks: int, impressions: int = 100) -> Day:
    return Day(number, 10, 10, 10, impressions, clicks, impressions, clicks, 1, 0, 0, 1.0, 1.0, 0.0)


def run(arm: str, drift: str, clicks: int) -> Result:
    days = [day(244 + d, clicks + d % 3) for d in range(10)]
    return Result(arm, drift, 0, days, [Event(246, "alarm"), Event(247, "retrain")], "configuration", "code")


def test_trailing_ctr_by_hand() -> None:
    days = [day(0, 10), day(1, 20), day(2, 60, impressions=300)]
    assert figures.trailing_ctr(days, window=2) == pytest.approx([0.10, 0.15, 0.20])


def test_trailing_uplift_by_hand() -> None:
    arm, incumbent = [day(0, 10), day(1, 30), day(2, 30)], [day(0, 10), day(1, 10), day(2, 20)]
    assert figures.trailing_uplift(arm, incumbent, window=2) == pytest.approx([0.0, 1.0, 1.0])


def test_labels_are_pushed_apart_and_keep_their_order() -> None:
    heights = figures._spread([0.0, 0.01, 0.02, 5.0], gap=1.0)
    assert np.diff(heights).min() >= 1.0 - 1e-12
    assert heights[3] == 5.0
    assert np.mean(heights[:3]) == pytest.approx(0.01)


def test_picture_names_every_arm_and_is_the_same_bytes_twice(tmp_path: Path) -> None:
    results = [run("old", "seasonal", 10), run("new", "seasonal", 12), run("old", "none", 10), run("new", "none", 11)]
    panels = [figures.Panel("Season", "seasonal", ["old", "new"]), figures.Panel("Twin", "none", ["old", "new"])]
    written = [
        figures.save(figures.season_picture(results, panels, "old", ["old", "new"]), tmp_path / name / "season")
        for name in ("first", "second")
    ]
    svg = written[0][0].read_text()
    assert all(f">{word}<" in svg for word in ("new", "old", "Season", "Twin"))
    assert written[0][0].read_bytes() == written[1][0].read_bytes()
    assert written[0][1].stat().st_size > 5_000


def test_without_a_family_the_picture_is_one_row() -> None:
    results = [run(arm, "seasonal", clicks) for arm, clicks in (("old", 10), ("new", 12))]
    figure = figures.season_picture(results, [figures.Panel("Season", "seasonal", ["old", "new"])], "old", [])
    assert len(figure.axes) == 1
    assert {text.get_text() for text in figure.axes[0].texts} == {"old", "new"}
