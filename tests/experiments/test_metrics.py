"""Scores of a small hand-made day, counted by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from perennial.agents.base import Keys
from perennial.experiments.metrics import Scorer, from_rows, summarise, to_rows


class Known:
    """Two candidates, worth 1 and 0.5 in either of two slots; a page that shows the second twice misses 0.5 of 1.5."""

    def score(self, visits: int, slates: np.ndarray) -> SimpleNamespace:
        worth = np.where(slates == 0, 1.0, 0.5).sum(axis=1)
        return SimpleNamespace(reward=worth, regret=1.5 - worth)


def serve(scorer: Scorer, visits: list[int], page: int, clicked: list[list[int]]) -> None:
    clicks = np.array(clicked, dtype=bool)
    none = np.zeros_like(clicks)
    keys = Keys(
        np.array(visits, dtype=np.int64),
        np.full(len(visits), page, dtype=np.int32),
        np.zeros(len(visits), dtype=np.int32),
        np.zeros(len(visits), dtype=np.int64),
    )
    scorer.before(len(visits), np.ones(clicks.shape, dtype=np.int32))
    answer = SimpleNamespace(clicked=clicks, carted=clicks, purchased=none, reward=clicks.sum(1).astype(np.float32))
    scorer.after(keys, answer)


@pytest.fixture
def scorer() -> Scorer:
    """Day 5: visit 1 clicks on its second page, visit 2 bounces, visit 3 clicks twice; day 6: nobody comes."""
    scorer = Scorer(Known())
    scorer.arrivals(5 * 24 + 3, 4)
    serve(scorer, [1, 2], 0, [[0, 0], [0, 0]])
    serve(scorer, [1], 1, [[0, 1]])
    scorer.arrivals(5 * 24 + 23, 1)
    serve(scorer, [3], 0, [[1, 1]])
    scorer.arrivals(6 * 24, 2)
    return scorer


def test_a_day_by_hand(scorer: Scorer) -> None:
    first, second = scorer.days()
    assert (first.day, first.potential_visits, first.visits, first.pages) == (5, 5, 3, 4)
    assert (first.impressions, first.clicks, first.carts, first.purchases) == (8, 3, 3, 0)
    assert (first.first_page_impressions, first.first_page_clicks, first.bounces) == (6, 2, 1)
    assert (first.reward, first.expected_reward, first.regret) == (3.0, 4.0, 2.0)
    assert (second.day, second.potential_visits, second.visits, second.regret) == (6, 2, 0, 0.0)


def test_scores_are_ratios_of_sums(scorer: Scorer) -> None:
    scores = summarise(scorer.days())
    assert scores.clicks_per_potential_visit == pytest.approx(3 / 7)
    assert scores.first_page_ctr == pytest.approx(2 / 6)
    assert scores.ctr == pytest.approx(3 / 8)
    assert scores.bounce_rate == pytest.approx(1 / 3)
    assert scores.regret_per_page == pytest.approx(0.5)


def test_asking_for_the_days_changes_nothing(scorer: Scorer) -> None:
    once = scorer.days()
    assert scorer.days() == once
    serve(scorer, [9], 0, [[1, 0]])
    assert scorer.days()[1].visits == 1


def test_days_survive_json(scorer: Scorer) -> None:
    assert from_rows(to_rows(scorer.days())) == scorer.days()


def test_nothing_served_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was served"):
        summarise([])
