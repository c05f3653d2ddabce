import numpy as np
import pytest

from perennial.agents.base import Agent, Decision, Spaces, top_k
from perennial.agents.lifecycle.fairness import equalised_odds
from perennial.agents.random_slates import RandomSlates
from perennial.envs import World
from perennial.experiments.fairness import Odds, measure, table


def shop() -> World:
    return World("gift_shop", seed=2, n_users=150, n_items=120, visits_per_day=80)


class OneProvider(Agent):
    """Shows nothing but what provider 0 offers, where it can."""

    def __init__(self, provider):
        self.provider = provider

    def act(self, observations, keys):
        slates = top_k((self.provider[observations["candidates"]] == 0).astype(float), 10)
        return Decision(slates, np.ones(slates.shape))


def test_uniform_slates_treat_all_alike_and_a_partial_model_does_not():
    world, other = shop(), shop()
    uniform = RandomSlates()
    uniform.begin(world.items, Spaces(**world.sizes), 1)
    blind = measure(world, uniform, 250, days=6)
    partial = measure(other, OneProvider(other.audit_attributes["provider"]), 250, days=6)
    assert blind["provider"].figures()["disparate_impact"] > 0.7
    assert blind["protected"].figures()["equalised_odds_difference"] < 0.05
    assert partial["provider"].figures()["disparate_impact"] < 0.5
    assert partial["provider"].figures()["equalised_odds_difference"] > 0.5
    assert partial["provider"].exposure_ratios()[0] > 2
    candidates = blind["provider"].relevant.sum() + blind["provider"].irrelevant.sum()
    assert blind["provider"].relevant.sum() / candidates == pytest.approx(0.2, abs=0.01)  # 10 of 50
    texts = [row[0] for row in table(blind).texts()]
    assert texts[:3] == ["protected 0", "protected 1", "protected, all"]


def test_counts_give_what_flat_arrays_give():
    rng = np.random.default_rng(1)
    groups, relevant, shown = rng.integers(0, 3, (40, 5)), rng.random((40, 5)) < 0.4, rng.random((40, 5)) < 0.5
    odds = Odds.empty(3)
    odds.add(groups[:10], relevant[:10], shown[:10], shown[:10] * 1.0)
    odds.add(groups[10:], relevant[10:], shown[10:], shown[10:] * 1.0)
    flat = equalised_odds(relevant.ravel(), shown.ravel(), groups.ravel())
    figures = odds.figures()
    assert (figures["true_positive_gap"], figures["false_positive_gap"]) == pytest.approx(flat)
