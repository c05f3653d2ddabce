"""The small shop: exact tables, exact solutions, and far sight that pays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perennial.envs.tabular import CATEGORY, TabularShop, TabularShopEnv


@pytest.fixture(scope="module")
def shop() -> TabularShop:
    return TabularShop()


def test_chances_sum_to_one(shop: TabularShop) -> None:
    assert shop.transition.sum(axis=2) == pytest.approx(1.0, abs=1e-12)
    assert shop.choice.sum(axis=2) == pytest.approx(1.0, abs=1e-12)
    assert (shop.transition >= 0).all()


def test_one_step_by_hand(shop: TabularShop) -> None:
    """Loyalty 2, no satiation, items 0 and 1 shown: e, e^.3 and 1 share the visitor, who comes with chance .65."""
    state, action = shop.start, shop.slates.tolist().index([0, 1])
    weight = np.array([np.e, np.exp(0.3), 1.0]) / (np.e + np.exp(0.3) + 1.0)
    assert shop.choice[state, action] == pytest.approx(weight)
    assert shop.reward[state, action] == pytest.approx(0.65 * weight[:2].sum())
    at = shop.states.index
    up = 0.65 * (weight[0] * 0.2 * 0.1 + weight[1] * 0.2 * 0.5)
    down = 0.65 * (weight[0] * 0.2 * 0.9 + weight[1] * 0.2 * 0.5)
    assert shop.transition[state, action, at((3, 1, 0))] == pytest.approx(up)
    assert shop.transition[state, action, at((1, 1, 0))] == pytest.approx(down)
    assert shop.transition[state, action, at((1, 0, 0))] == pytest.approx(0.65 * weight[2] * 0.1)
    assert CATEGORY[0] == CATEGORY[1] == 0


def test_value_iteration_solves_bellmans_equation(shop: TabularShop) -> None:
    values, policy = shop.solve()
    assert values == pytest.approx(shop.action_values(values).max(axis=1), abs=1e-11)
    assert values == pytest.approx(shop.evaluate(policy), abs=1e-10)


def test_no_policy_beats_the_optimum(shop: TabularShop) -> None:
    values, rng = shop.solve()[0], np.random.default_rng(0)
    for _ in range(50):
        policy = rng.integers(0, len(shop.slates), len(values))
        assert (shop.evaluate(policy) <= values + 1e-10).all()


def test_far_sight_beats_the_myopic_oracle_by_a_tenth(shop: TabularShop) -> None:
    best, near = shop.solve()[0][shop.start], shop.evaluate(shop.myopic())[shop.start]
    assert best / near - 1 >= 0.10


def test_without_an_effect_on_loyalty_and_satiation_the_myopic_oracle_is_optimal() -> None:
    shop = TabularShop(loyalty_rate=0.0, satiation_step=0.0)
    assert shop.evaluate(shop.myopic()) == pytest.approx(shop.solve()[0], abs=1e-10)


def test_simulated_returns_are_the_exact_ones(shop: TabularShop) -> None:
    """600 episodes of each policy, within 4 standard errors; what lies beyond the horizon is below 1e-4."""
    env = TabularShopEnv(horizon=250)
    env.reset(seed=5)
    for policy in (shop.myopic(), shop.solve()[1]):
        returns = []
        for _ in range(600):
            state, _ = env.reset()
            total, weight, over = 0.0, 1.0, False
            while not over:
                state, reward, terminated, truncated, _ = env.step(policy[state])
                total, weight, over = total + weight * reward, weight * shop.discount, terminated or truncated
            returns.append(total)
        error = np.std(returns) / np.sqrt(len(returns))
        assert abs(np.mean(returns) - shop.evaluate(policy)[shop.start]) < 4 * error


def test_transitions_are_drawn_from_the_table(shop: TabularShop) -> None:
    env, counts = TabularShopEnv(horizon=1), np.zeros(len(shop.reward))
    env.reset(seed=1)
    for _ in range(4000):
        env.reset()
        counts[env.step(3)[0]] += 1
    wanted = 4000 * shop.transition[shop.start, 3]
    assert (np.abs(counts - wanted) <= 4.5 * np.sqrt(wanted) + 1e-9).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slate_size": 7}, r"'slate_size' must lie in \[1, 6\]"),
        ({"discount": 1.0}, r"'discount' must lie in \[0, 1\)"),
        ({"churn": -0.1}, r"'churn' must lie in \[0, 1\]"),
        ({"horizon": 0}, "'horizon' must be an integer >= 1"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TabularShopEnv(**arguments)


@pytest.mark.parametrize("action", [15, -1, 1.5, None, np.nan])
def test_a_refused_action_changes_nothing(action: Any) -> None:
    env, twin = TabularShopEnv(), TabularShopEnv()
    env.reset(seed=1)
    twin.reset(seed=1)
    with pytest.raises(ValueError, match=r"An action is an integer in \[0, 15\)"):
        env.step(action)
    assert env.step(2) == twin.step(2)
