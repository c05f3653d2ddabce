from itertools import permutations

import numpy as np
from scipy import stats

from perennial.agents import RandomSlates
from tests.agents.toy import toy_shop


def begun(seed: int = 0, n_candidates: int = 5, slate_size: int = 3) -> tuple:
    shop = toy_shop(n_candidates=n_candidates, slate_size=slate_size)
    agent = RandomSlates()
    agent.begin(shop.items, shop.spaces, seed)
    return shop, agent


def test_propensities_are_those_of_drawing_without_replacement() -> None:
    shop, agent = begun()
    decision = agent.act(*shop.observe(7))
    assert np.array_equal(decision.slot_propensity, np.tile([1 / 5, 1 / 4, 1 / 3], (7, 1)))
    assert np.array_equal(agent.slate_propensity(*shop.observe(7), decision.slates), decision.slot_propensity)


def test_all_slates_are_equally_likely() -> None:
    shop, agent = begun()
    observations, keys = shop.observe(100)
    drawn = np.concatenate([agent.act(observations, keys).slates for _ in range(60)])
    slates = list(permutations(range(5), 3))
    counts = [np.all(drawn == slate, axis=1).sum() for slate in slates]
    assert sum(counts) == len(drawn)  # nothing but these
    assert stats.chisquare(counts).pvalue > 1e-4


def test_every_slate_has_its_propensity_and_repeats_have_none() -> None:
    shop, agent = begun()
    observations, keys = shop.observe(60)
    slates = np.array(list(permutations(range(5), 3)), dtype=np.int32)
    chances = agent.slate_propensity(observations, keys, slates)
    assert np.isclose(chances.prod(axis=1).sum(), 1.0)
    observations, keys = shop.observe(2)
    repeats = np.array([[2, 2, 1], [0, 1, 0]], dtype=np.int32)
    assert agent.slate_propensity(observations, keys, repeats).tolist() == [[1 / 5, 0, 0], [1 / 5, 1 / 4, 0]]
