from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from perennial.agents import Agent, Decision, Exploring, Popular, RandomSlates
from tests.agents.toy import toy_shop

M, K, EPSILON = 5, 3, 0.3
SLATES = np.array(list(permutations(range(M), K)), dtype=np.int32)
STRENGTH = np.array([1.0, 4.0, 2.0, 0.5, 3.0])


class PlackettLuce(Agent):
    """Draws slots one after the other, each in proportion to its strength among those left (Plackett 1975)."""

    def act(self, observations, keys) -> Decision:
        pages = len(observations["candidates"])
        slates = np.array([self.rng.choice(M, K, False, STRENGTH / STRENGTH.sum()) for _ in range(pages)], np.int32)
        return Decision(slates, self.slate_propensity(observations, keys, slates), {"value": np.arange(pages)})

    def slate_propensity(self, observations, keys, slates):
        strength = STRENGTH[slates]
        return strength / (STRENGTH.sum() - np.cumsum(strength, axis=1) + strength)


def begun(policy: Agent, epsilon: float = EPSILON) -> tuple:
    shop = toy_shop(n_candidates=M, slate_size=K)
    agent = Exploring(policy, epsilon)
    agent.begin(shop.items, shop.spaces, seed=3)
    return shop, agent


def joint_by_hand(policy_chance: np.ndarray) -> np.ndarray:
    """P(slate) of the mixture for every slate, from the policy's."""
    return (1 - EPSILON) * policy_chance + EPSILON / len(SLATES)


def test_slot_propensities_are_the_conditionals_of_the_mixture() -> None:
    shop, agent = begun(PlackettLuce())
    observations, keys = shop.observe(len(SLATES))
    joint = joint_by_hand(agent.policy.slate_propensity(observations, keys, SLATES).prod(axis=1))
    given = agent.slate_propensity(observations, keys, SLATES)
    assert joint.sum() == pytest.approx(1.0)
    for row, slate in enumerate(SLATES):
        for k in range(K):
            same_before = np.all(SLATES[:, :k] == slate[:k], axis=1)
            same_now = np.all(SLATES[:, : k + 1] == slate[: k + 1], axis=1)
            assert given[row, k] == pytest.approx(joint[same_now].sum() / joint[same_before].sum(), rel=1e-12)


@pytest.mark.parametrize("policy", [PlackettLuce(), Popular(), RandomSlates()], ids=lambda p: type(p).__name__)
def test_what_is_shown_is_as_frequent_as_declared(policy: Agent) -> None:
    shop, agent = begun(policy)
    observations, keys = shop.observe(60)
    observations = {name: np.repeat(array[:1], 60, axis=0) for name, array in observations.items()}
    chances = agent.slate_propensity(observations, keys, SLATES).prod(axis=1)
    assert chances.sum() == pytest.approx(1.0)
    decisions = [agent.act(observations, keys) for _ in range(100)]
    drawn = np.concatenate([d.slates for d in decisions])
    counts = np.array([np.all(drawn == slate, axis=1).sum() for slate in SLATES])
    assert stats.chisquare(counts, chances / chances.sum() * len(drawn)).pvalue > 1e-4
    declared = np.concatenate([d.slot_propensity for d in decisions]).prod(axis=1)
    where = np.array([np.flatnonzero(np.all(slate == SLATES, axis=1))[0] for slate in drawn])
    assert np.allclose(declared, chances[where], rtol=1e-12)


def test_an_importance_weighted_mean_of_uniform_slates_is_unbiased() -> None:
    """What the propensities are for: the value of another policy from logged pages."""
    shop, agent = begun(Popular(), epsilon=0.5)
    agent.fit(shop.uniform_log(500))
    estimates, truths = [], []
    for _ in range(60):
        observations, keys = shop.observe(100)
        decision = agent.act(observations, keys)
        clicks = shop.expected_clicks(observations, keys, decision.slates)
        weights = 1 / (M * (M - 1) * (M - 2)) / np.exp(decision.log_propensity)
        estimates.append(weights * clicks)
        truths.append(shop.expected_clicks(observations, keys, shop.random_slates(100)))
    difference = np.concatenate(estimates) - np.concatenate(truths)
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(difference.size)


def test_explored_pages_are_marked_and_only_they_depart() -> None:
    shop, agent = begun(Popular())
    agent.fit(shop.uniform_log(500))
    observations, keys = shop.observe(150)
    decision = agent.act(observations, keys)
    explored = decision.extras["explored"]
    own = agent.policy.act(observations, keys).slates
    assert explored.dtype == np.bool_
    assert 20 < explored.sum() < 75  # 45 expected
    assert np.array_equal(decision.slates[~explored], own[~explored])
    assert not np.array_equal(decision.slates[explored], own[explored])
    assert np.allclose(decision.slot_propensity, agent.slate_propensity(observations, keys, decision.slates))


def test_extras_of_the_policy_come_along() -> None:
    shop, agent = begun(PlackettLuce())
    extras = agent.act(*shop.observe(4)).extras
    assert extras["value"].tolist() == [0, 1, 2, 3]
    assert set(extras) == {"value", "explored"}


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_the_ends_of_the_scale(epsilon: float) -> None:
    shop, agent = begun(Popular(), epsilon)
    observations, keys = shop.observe(20)
    decision = agent.act(observations, keys)
    assert decision.extras["explored"].all() == bool(epsilon)
    expected = [1 / 5, 1 / 4, 1 / 3] if epsilon else [1.0, 1.0, 1.0]
    assert np.allclose(decision.slot_propensity, expected)
    foreign = decision.slates[:, ::-1].copy()
    assert np.allclose(agent.slate_propensity(observations, keys, foreign), expected if epsilon else 0.0)


def test_a_propensity_the_policy_does_not_know_stays_unknown() -> None:
    class Undeclared(Popular):
        def act(self, observations, keys) -> Decision:
            slates = super().act(observations, keys).slates
            return Decision(slates, np.full(slates.shape, np.nan))

        def slate_propensity(self, observations, keys, slates):
            return np.full(slates.shape, np.nan)

    shop, agent = begun(Undeclared())
    assert np.isnan(agent.act(*shop.observe(50)).slot_propensity).all()


def test_exploring_leaves_the_policys_own_draws_alone() -> None:
    shop, agent = begun(RandomSlates())
    bare = RandomSlates()
    bare.begin(shop.items, shop.spaces, seed=3)
    observations, keys = shop.observe(50)
    for _ in range(5):
        decision, own = agent.act(observations, keys), bare.act(observations, keys)
        kept = ~decision.extras["explored"]
        assert np.array_equal(decision.slates[kept], own.slates[kept])


def test_refuses_senseless_options() -> None:
    with pytest.raises(ValueError, match=r"'epsilon' must be a number in \[0, 1\]. Got 1.5"):
        Exploring(Popular(), epsilon=1.5)
    with pytest.raises(TypeError, match="'policy' must be an Agent. Got str: 'popular'"):
        Exploring("popular")
