"""Headrooms of named scenarios: the oracle bounds what it should, and the table says which are controls."""

from __future__ import annotations

from typing import Any

import pytest

from perennial.experiments import scenarios
from perennial.experiments.headroom import POLICIES, Headroom, Score

SMALL: dict[str, Any] = {"n_users": 200, "n_items": 200, "visits_per_day": 40.0}


def test_who_knows_more_does_better() -> None:
    ctr = {by: scenarios.play("GiftShopSeasons", 1, by, SMALL, 20).ctr for by in POLICIES}
    assert ctr["random"] < ctr["popular"] < ctr["frozen"] < ctr["moving"]
    assert ctr["static-best"] <= ctr["moving"] * 1.02


def test_the_table_labels_controls() -> None:
    def headroom(frozen: float) -> Headroom:
        scores = {by: Score(1.0, frozen if by == "frozen" else 0.3, 0.3, 1.0) for by in POLICIES}
        return Headroom(scores)

    rows = scenarios.table({"A": headroom(0.2), "B": headroom(0.29)}).rows
    assert [row["kind"] for row in rows] == ["test", "control"]


def test_an_unknown_scenario_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert scenarios.main(["GiftShopSeason"]) == 2
    assert "GiftShopSeasons" in capsys.readouterr().err
