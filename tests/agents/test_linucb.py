import numpy as np
import pytest

from perennial.agents import Exploring, LinUCB, Popular
from tests.agents.toy import ToyShop, toy_shop, uplift


def begun(shop: ToyShop, seed: int = 0, **options: float) -> LinUCB:
    agent = LinUCB(**options)
    agent.begin(shop.items, shop.spaces, seed)
    return agent


def ridge(agent: LinUCB, log) -> tuple[np.ndarray, np.ndarray]:
    """(theta, A^-1) of the ridge regression on a whole log, by plain float64 linear algebra."""
    x, clicks = agent.rows(log), log.clicked.ravel().astype(float)
    inverse = np.linalg.inv(agent.ridge * np.eye(x.shape[1]) + x.T @ x)
    return inverse @ (x.T @ clicks), inverse


def test_fit_and_updates_equal_batch_ridge() -> None:
    shop = toy_shop()
    log = shop.uniform_log(1500)
    at_once, piecemeal = begun(shop, ridge=2.0, rank=3), begun(shop, ridge=2.0, rank=3)
    at_once.fit(log, start="cold")
    piecemeal.fit(log.take(np.arange(400)), start="cold")
    for first in range(400, 1500, 100):
        piecemeal.update(log.take(np.arange(first, first + 100)))
    theta, inverse = ridge(at_once, log)
    for agent in (at_once, piecemeal):
        assert np.allclose(agent.theta, theta, rtol=0, atol=1e-8)
        assert np.allclose(np.linalg.inv(agent.A), inverse, rtol=0, atol=1e-8)


def test_scores_are_the_published_formula() -> None:
    shop = toy_shop()
    log = shop.uniform_log(500)
    agent = begun(shop, alpha=0.7)
    agent.fit(log)
    theta, inverse = ridge(agent, log)
    observations, _ = shop.observe(10)
    x = agent.features.of(observations, observations["candidates"]).astype(float)
    x = np.concatenate([x, np.zeros((*x.shape[:2], shop.spaces.slate_size - 1))], axis=2)  # judged in the first slot
    expected = x @ theta + 0.7 * np.sqrt(np.einsum("bmi,ij,bmj->bm", x, inverse, x))
    assert np.allclose(agent.scores(observations), expected, atol=1e-5)
    greedy = begun(shop, alpha=0.0)
    greedy.fit(log)
    assert np.allclose(greedy.scores(observations), x @ theta, atol=1e-5)


def test_cold_forgets_and_warm_adds_only_later_pages() -> None:
    shop = toy_shop()
    old, new = shop.uniform_log(300), shop.uniform_log(300)
    both = type(old).concatenate([old, new])
    agent, cold = begun(shop), begun(shop)
    agent.fit(old)
    assert agent.fit(both, start="warm")["pages"] == 300.0
    assert agent.fit(both, start="warm")["pages"] == 0.0
    cold.fit(both, start="cold")
    assert np.allclose(agent.A, cold.A)
    cold.fit(new, start="cold")
    theta, _ = ridge(cold, new)
    assert np.allclose(cold.theta, theta, atol=1e-8)


def test_learns_who_likes_what() -> None:
    shop = toy_shop(dim=4)
    log = shop.uniform_log(6000)
    popular = Popular()
    popular.begin(shop.items, shop.spaces, 0)
    popular.fit(log)
    agent = begun(shop, rank=4)
    figures = agent.fit(log)
    agent_clicks, uniform, best = uplift(shop, agent)
    assert figures["pages"] == 6000.0
    assert agent_clicks > uniform + 0.6 * (best - uniform)
    assert agent_clicks > 1.2 * uplift(shop, popular)[0]


def test_learns_online_from_its_own_slates() -> None:
    shop = toy_shop(dim=4)
    agent = Exploring(LinUCB(rank=4), epsilon=0.05)
    agent.begin(shop.items, shop.spaces, 0)
    for _ in range(40):
        observations, keys = shop.observe(50)
        agent.update(shop.respond(observations, keys, agent.act(observations, keys)))
    mine, uniform, best = uplift(shop, agent.policy)
    assert mine > uniform + 0.45 * (best - uniform)


def test_slots_are_held_apart_from_items() -> None:
    """Items shown only in the last slot, where half as many look, are not judged half as good."""
    shop = toy_shop(n_items=20, n_candidates=20, n_categories=2, focus=0.0)
    shop.examination = np.array([1.0, 1.0, 1.0, 0.2])
    shop.appeal[:], shop.taste[:], shop.weight = 0.0, 0.0, 0.0
    agent = begun(shop)
    agent.fit(shop.uniform_log(4000))
    last_slot = agent.theta[-1]
    assert last_slot == pytest.approx(-0.8 / (1 + np.exp(1.5)), abs=0.02)


def test_a_page_never_seen_has_a_wide_bonus_that_shrinks() -> None:
    shop = toy_shop()
    agent = begun(shop, alpha=1.0)
    observations, _ = shop.observe(5)
    before = agent.scores(observations)
    agent.fit(shop.uniform_log(500))
    after = agent.scores(observations)
    assert np.all(before > 1.0)  # theta is 0: nothing but the bonus
    assert np.all(after < before)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"alpha": -1}, ValueError, r"'alpha' must be a number in \[0, inf\). Got -1"),
        ({"alpha": float("nan")}, ValueError, r"'alpha' must be a number in \[0, inf\). Got nan"),
        ({"ridge": 0.0}, ValueError, r"'ridge' must be a number in \(0, inf\). Got 0.0"),
        ({"rank": 2.5}, TypeError, r"'rank' must be an integer >= 1. Got float: 2.5"),
        ({"rank": 0}, ValueError, r"'rank' must be an integer >= 1. Got 0"),
    ],
)
def test_refuses_senseless_options(options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        LinUCB(**options)
