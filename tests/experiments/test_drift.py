"""`perennial-drift`: the declaration in words, the picture of what moves, plain refusals."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from perennial.experiments import drift
from perennial.experiments.drift_picture import panels

SMALL = ["world.n_users=100", "world.n_items=120"]


def test_list_names_every_choice(capsys: pytest.CaptureFixture[str]) -> None:
    assert drift.main(["list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in drift.names())


def test_show_draws_what_moves_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "picture.svg"
    asked = ["show", "everything", *SMALL, "--from", "2010-08-01", "--days", "90", "--out", str(out)]
    assert drift.main(asked) == 0
    printed = capsys.readouterr().out
    assert "budget of 90 days" in printed
    text = out.read_text()
    assert all(word in text for word in ("price sensitivity", "share of potential visits", "christmas"))
    assert out.with_suffix(".png").stat().st_size > 10_000


def test_panels_hold_the_declared_path() -> None:
    world = drift.build("shock", ["world.channel=0.5", *SMALL], seed=3)
    first = world.day_of("2010-09-25")
    found = panels(world, first, 20)
    assert [panel.title for panel in found] == [
        "logits added to the attraction",
        "logits added to a cart given a click",
    ]
    moved = world.drift.change(np.array([first + 10.0]), world.setting)
    for panel, table in zip(found, (moved.need, moved.purchase), strict=True):
        assert [line[80] for line in panel.lines.values()] == table[0, 0].tolist()


def test_tastes_and_churn_are_drawn_as_shares() -> None:
    tastes = panels(drift.build("tastes", [*SMALL, "drift.share=0.5", "drift.knot_days=365.25"], 0), 0, 731)[0].lines[
        "tastes"
    ]
    assert tastes[0] == 1
    assert tastes[-1] == pytest.approx(0.5, abs=0.01)
    churn = panels(drift.build("churn", ["world.n_users=100"], 0), 0, 366)[0].lines
    assert sum(line[-1] for line in churn.values()) == pytest.approx(1)
    assert churn["new since"][-1] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["show", "shok"], r"Did you mean 'shock'"),
        (["show"], r"'show' needs the name of a drift"),
        (["show", "shock", "drift.categories=[bag]"], r"Got 'bag'. Did you mean 'bags'"),
        (["show", "shock", "--days", "0"], r"'--days' must be an integer >= 1"),
        (["show", "shock", "--days", "20", "--out", "x"], r"Drift 'shock' moves nothing in these 20 days"),
    ],
)
def test_refusals(asked: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert drift.main(asked) == 2
    assert re.search(said, capsys.readouterr().err)
