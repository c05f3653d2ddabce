"""What all linear slate agents promise: exact posteriors, the same from the log as online, and refusal of bad pages."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from perennial.agents import Exploring, LinUCB
from perennial.agents.bandits.d_linucb import DLinUCB
from perennial.agents.bandits.lints import LinTS
from perennial.agents.bandits.memory import FadingDays, Restarted, SlidingDays
from perennial.agents.bandits.restarts import Cusum
from perennial.agents.bandits.slates import LinearSlates
from perennial.agents.bandits.sw_linucb import SwLinUCB
from perennial.agents.base import Feedback
from perennial.agents.neural_linear import NeuralLinear
from tests.agents.toy import ToyShop, toy_shop, uplift

MAKERS: dict[str, Callable[[], LinearSlates]] = {
    "linucb": lambda: LinUCB(rank=3),
    "linucb_sliding": lambda: LinUCB(rank=3, memory=SlidingDays(2)),
    "linucb_discounted": lambda: LinUCB(rank=3, memory=FadingDays(1.0)),
    "linucb_restarted": lambda: LinUCB(rank=3, memory=Restarted([9], Cusum(warm_up=300))),
    "lints": lambda: LinTS(rank=3),
    "lints_sliding": lambda: LinTS(rank=3, memory=SlidingDays(2)),
    "d_linucb": lambda: DLinUCB(rank=3, gamma=0.999),
    "sw_linucb": lambda: SwLinUCB(rank=3, pages=400),
    "neural_linear": lambda: NeuralLinear(hidden=16, width=8, cold_steps=20, warm_steps=5),
    "neural_linear_sliding": lambda: NeuralLinear(hidden=16, width=8, cold_steps=20, memory=SlidingDays(2)),
}
WEIGHTS: dict[str, Callable[[Feedback], np.ndarray]] = {
    "linucb": lambda log: np.ones(len(log)),
    "linucb_sliding": lambda log: (log.keys.tick // 24 > log.keys.tick[-1] // 24 - 2) * 1.0,
    "linucb_discounted": lambda log: 0.5 ** ((log.keys.tick[-1] - log.keys.tick) / 24),
    "linucb_restarted": lambda log: (log.keys.tick >= 9) * 1.0,
    "lints": lambda log: np.ones(len(log)),
    "d_linucb": lambda log: 0.999 ** np.arange(len(log) - 1, -1, -1.0),
    "sw_linucb": lambda log: (np.arange(len(log)) >= len(log) - 400) * 1.0,
    "neural_linear": lambda log: np.ones(len(log)),
}
every_agent = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def begun(make: Callable[[], LinearSlates], shop: ToyShop, seed: int = 0) -> LinearSlates:
    agent = make()
    agent.begin(shop.items, shop.spaces, seed)
    return agent


def week(shop: ToyShop, pages: int = 1500) -> Feedback:
    """A log over several days: ticks as they are would end within one."""
    log = shop.uniform_log(pages, batch=50)
    return dataclasses.replace(log, keys=dataclasses.replace(log.keys, tick=log.keys.tick * 3))


def fits(agent: LinearSlates, observations: dict, items: np.ndarray) -> np.ndarray:
    """x in float64, judged in the first slot."""
    x = agent.described(observations, items).astype(float)
    return np.concatenate([x, np.zeros((*x.shape[:2], agent.spaces.slate_size - 1))], axis=2)


@pytest.mark.parametrize("name", WEIGHTS)
def test_posteriors_equal_batch_ridge_regression(name: str) -> None:
    shop = toy_shop()
    log = week(shop)
    agent = begun(MAKERS[name], shop)
    agent.fit(log, start="cold")
    x, clicks = agent.rows(log).reshape(len(log), -1, agent.size), log.clicked.astype(float)
    weights = WEIGHTS[name](log)
    precision = agent.ridge * np.eye(agent.size) + np.einsum("p,pki,pkj->ij", weights, x, x)
    theta = np.linalg.solve(precision, np.einsum("p,pki,pk->i", weights, x, clicks))
    assert np.allclose(agent.theta, theta, rtol=0, atol=1e-10)
    assert np.allclose(np.linalg.inv(agent.A), np.linalg.inv(precision), rtol=0, atol=1e-10)


@every_agent
def test_learning_from_the_log_equals_learning_online(make: Callable[[], LinearSlates]) -> None:
    """Same pages, same order: as one update, page by page, or (without a network) as one fit."""
    shop = toy_shop()
    first, log = week(shop, 600), week(shop, 400)
    log = dataclasses.replace(log, keys=dataclasses.replace(log.keys, tick=log.keys.tick + 200))
    agents = [begun(make, shop) for _ in range(3)]
    for agent in agents:
        agent.fit(first)
    agents[0].update(log)
    for page in range(400):
        agents[1].update(log.take(np.arange(page, page + 1)))
    if not isinstance(agents[2], NeuralLinear):
        agents[2].fit(Feedback.concatenate([first, log]), start="warm")
    else:
        agents[2].update(log)
    for agent in agents[1:]:
        assert np.allclose(agent.theta, agents[0].theta, rtol=0, atol=1e-10)
        assert np.allclose(agent.A, agents[0].A, rtol=0, atol=1e-8)
        assert np.allclose(agent._root, agents[0]._root, rtol=0, atol=1e-5)


@every_agent
def test_the_same_feedback_gives_the_same_bits(make: Callable[[], LinearSlates]) -> None:
    shop = toy_shop()
    first, log = week(shop, 400), week(shop, 200)
    agents = [begun(make, shop, seed=4) for _ in range(2)]
    for agent in agents:
        agent.fit(first)
        agent.update(log)
    assert all(np.array_equal(array, agents[1].state()[name]) for name, array in agents[0].state().items())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("user", np.nan, r"'feedback.observations\['user'\]' must hold finite numbers only. Got NaN.*page 7"),
        ("page", np.inf, r"'feedback.observations\['page'\]' must hold finite numbers only. Got NaN or infinity on 1"),
        ("history", 10**6, r"'feedback.observations\['history'\]' must hold ids in \[-1, 120\)"),
        ("slate_items", 120, r"'feedback.slate_items' must hold ids in \[0, 120\). Got ids outside on 1 of 20 pages"),
        ("slate_items", -1, r"'feedback.slate_items' must hold ids in \[0, 120\)"),
    ],
)
@every_agent
def test_bad_pages_are_refused_and_change_nothing(
    make: Callable[[], LinearSlates], field: str, value: float, message: str
) -> None:
    shop = toy_shop()
    agent, log = begun(make, shop), shop.uniform_log(20, batch=20)
    agent.update(shop.uniform_log(100))
    before = agent.state()
    array = log.slate_items if field == "slate_items" else log.observations[field]
    array[7, 2] = value
    with pytest.raises(ValueError, match=message):
        agent.update(log)
    with pytest.raises(ValueError, match=message.replace("feedback", "window")):
        agent.fit(log, start="cold")
    assert all(np.array_equal(array, before[name]) for name, array in agent.state().items())


@every_agent
def test_empty_feedback_and_repeated_pages_leave_a_finite_state(make: Callable[[], LinearSlates]) -> None:
    shop = toy_shop()
    agent, log = begun(make, shop), shop.uniform_log(50)
    assert agent.update(log.take(np.arange(0)))["pages"] == 0.0
    agent.fit(log.take(np.arange(0)), start="cold")
    repeated = log.take(np.zeros(50, dtype=np.int64))
    repeated.keys.visit[:] = np.arange(50)
    for _ in range(30):
        agent.update(repeated)  # one page, over and over: as collinear as can be
    assert all(np.isfinite(array).all() for array in agent.state().values())
    observations, _ = shop.observe(5)
    assert np.isfinite(agent.scores(observations)).all()


@every_agent
def test_a_state_with_nan_is_refused(make: Callable[[], LinearSlates]) -> None:
    agent = begun(make, toy_shop())
    agent.update(toy_shop().uniform_log(20))
    broken = agent.state()
    name = next(name for name in broken if name in ("memory.b", "memory.x"))
    broken[name][...] = np.nan
    with pytest.raises(ValueError, match=f"A saved state must hold finite numbers only.*'{name[7:]}'"):
        agent.restore(broken)


def test_d_linucb_scores_are_the_published_formula() -> None:
    """Russac et al. 2019, algorithm 1, written out with the precisions of the rows' own weights."""
    shop = toy_shop()
    log = week(shop, 600)
    agent = DLinUCB(gamma=0.99, width=1.0, sigma=0.5, delta=0.05, parameter_norm=2.0, feature_norm=3.0, ridge=0.7)
    agent.begin(shop.items, shop.spaces, 0)
    agent.update(log)
    x = agent.rows(log).reshape(len(log), -1, agent.size)
    age, prior, K = np.arange(len(log) - 1, -1, -1.0), 0.7 * np.eye(agent.size), shop.spaces.slate_size
    V = np.einsum("p,pki,pkj->ij", 0.99**age, x, x) + prior
    W = np.einsum("p,pki,pkj->ij", 0.99 ** (2 * age), x, x) + prior
    rows = K * (1 - 0.99 ** (2 * len(log))) / (1 - 0.99**2)
    inside = 2 * np.log(1 / 0.05) + agent.size * np.log(1 + 9 * rows / (0.7 * agent.size))
    beta = np.sqrt(0.7) * 2.0 + 0.5 * np.sqrt(inside)
    inverse = np.linalg.inv(V)
    theta = inverse @ np.einsum("p,pki,pk->i", 0.99**age, x, log.clicked.astype(float))
    observations, _ = shop.observe(10)
    z = fits(agent, observations, observations["candidates"])
    expected = z @ theta + beta * np.sqrt(np.einsum("bmi,ij,bmj->bm", z, inverse @ W @ inverse, z))
    assert np.allclose(agent.scores(observations), expected, rtol=1e-4)


def test_sw_linucb_scores_are_the_published_formula() -> None:
    shop = toy_shop()
    log = week(shop, 600)
    agent = SwLinUCB(pages=200, width=1.0, sigma=0.5, delta=0.05, parameter_norm=2.0, feature_norm=3.0, ridge=0.7)
    agent.begin(shop.items, shop.spaces, 0)
    agent.update(log)
    last = log.take(np.arange(400, 600))
    x, K = agent.rows(last), shop.spaces.slate_size
    inverse = np.linalg.inv(x.T @ x + 0.7 * np.eye(agent.size))
    theta = inverse @ (x.T @ last.clicked.ravel())
    beta = np.sqrt(0.7) * 2.0 + 0.5 * np.sqrt(agent.size * np.log((1 + 200 * K * 9 / 0.7) / 0.05))
    observations, _ = shop.observe(10)
    z = fits(agent, observations, observations["candidates"])
    expected = z @ theta + beta * np.sqrt(np.einsum("bmi,ij,bmj->bm", z, inverse, z))
    assert np.allclose(agent.scores(observations), expected, rtol=1e-4)


def test_lints_draws_have_the_posterior_s_mean_and_covariance() -> None:
    shop = toy_shop(dim=3)
    agent = LinTS(scale=0.5, rank=1)
    agent.begin(shop.items, shop.spaces, 0)
    agent.update(shop.uniform_log(300))
    draws = agent.draw(40_000).astype(float)
    served = agent.served
    covariance = 0.25 * np.linalg.inv(agent.A)[:served, :served]
    scale = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(draws.mean(axis=0) - agent.theta[:served]) < 4.5 * scale / 200)
    error = (np.cov(draws.T) - covariance) / np.outer(scale, scale)
    assert np.abs(error).max() < 4.5 * np.sqrt(2 / 40_000)


@pytest.mark.parametrize("make", [MAKERS["lints"], MAKERS["neural_linear"]], ids=["lints", "neural_linear"])
def test_unknown_propensities_are_declared_also_behind_the_exploration_floor(make: Callable[[], LinearSlates]) -> None:
    shop = toy_shop()
    agent = Exploring(make(), epsilon=0.5)
    agent.begin(shop.items, shop.spaces, 0)
    observations, keys = shop.observe(40)
    decision = agent.act(observations, keys)
    assert np.isnan(decision.slot_propensity).all()
    assert np.isnan(agent.slate_propensity(observations, keys, decision.slates)).all()
    assert np.isnan(decision.log_propensity).all()


@pytest.mark.parametrize("name", ["linucb", "d_linucb", "sw_linucb"])
def test_deterministic_agents_know_their_propensities(name: str) -> None:
    shop = toy_shop()
    agent = begun(MAKERS[name], shop)
    agent.update(shop.uniform_log(100))
    observations, keys = shop.observe(10)
    decision = agent.act(observations, keys)
    assert np.all(decision.slot_propensity == 1.0)
    assert np.all(agent.slate_propensity(observations, keys, decision.slates) == 1.0)
    assert agent.slate_propensity(observations, keys, decision.slates[:, ::-1])[:, -1].max() == 0.0


@pytest.mark.parametrize(
    "make",
    [lambda: LinTS(rank=4), lambda: DLinUCB(rank=4), lambda: SwLinUCB(rank=4), lambda: NeuralLinear(rank=4)],
    ids=["lints", "d_linucb", "sw_linucb", "neural_linear"],
)
def test_learns_who_likes_what(make: Callable[[], LinearSlates]) -> None:
    shop = toy_shop(dim=4)
    agent = begun(make, shop)
    agent.fit(shop.uniform_log(6000))
    mine, uniform, best = uplift(shop, agent)
    assert mine > uniform + 0.55 * (best - uniform)


@pytest.mark.parametrize(
    "form", [SlidingDays(2), FadingDays(0.5), Restarted([24 * 5])], ids=lambda form: type(form).__name__
)
def test_forgetting_follows_a_shop_that_turned_round(form) -> None:
    """Tastes flip on day 5; three days later those who forget are right, and who remembers everything is not.

    Past clicks would give the new tastes away (who clicked what), so nearly none are shown.
    """
    shop = toy_shop(dim=4, history=1, focus=0.0)
    forgetful, elephant = begun(lambda: LinTS(rank=4, memory=form), shop), begun(lambda: LinTS(rank=4), shop)
    for day in range(8):
        if day == 5:
            shop.taste, shop.weight, shop.appeal = -shop.taste, -shop.weight, -shop.appeal
        shop.tick = 24 * day
        log = shop.uniform_log(1000)
        for agent in (forgetful, elephant):
            agent.update(log)
    (mine, uniform, best), (theirs, _, _) = uplift(shop, forgetful), uplift(shop, elephant)
    assert mine > uniform + 0.45 * (best - uniform)
    assert theirs < uniform + 0.1 * (best - uniform)


def test_neural_linear_s_noise_posterior_is_the_conjugate_one() -> None:
    """Riquelme et al. 2018, section 3: a_n = a0 + n/2, b_n = b0 + (y'y - mu' Lambda mu) / 2, here by residuals."""
    shop = toy_shop()
    agent = begun(MAKERS["neural_linear"], shop)
    log = shop.uniform_log(500)
    agent.fit(log)
    x, y = agent.rows(log), log.clicked.ravel().astype(float)
    residual = ((y - x @ agent.theta) ** 2).sum() + agent.ridge * (agent.theta**2).sum()
    a, b = agent.noise()
    assert a == 6.0 + 2000 / 2
    assert b == pytest.approx(1.0 + residual / 2, rel=1e-10)


def test_neural_linear_s_network_learns_in_fit_and_rests_in_update() -> None:
    shop = toy_shop()
    agent = begun(lambda: NeuralLinear(cold_steps=200), shop)
    log = shop.uniform_log(2000)
    figures = agent.fit(log)
    weights = agent.state()["network.parameters"]
    assert figures["loss"] < 0.97 * log.clicked.var()
    agent.update(shop.uniform_log(200))
    assert np.array_equal(agent.state()["network.parameters"], weights)
    agent.fit(log)
    assert not np.array_equal(agent.state()["network.parameters"], weights)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinUCB(memory="all"), "'memory' must be a Memory, such as Everything.*Got str: 'all'"),
        (lambda: LinTS(scale=-1.0), r"'scale' must be a number in \[0, inf\)"),
        (lambda: DLinUCB(delta=1.0), r"'delta' must be a number in \(0, 1\). Got 1.0"),
        (lambda: SwLinUCB(pages=0), r"'pages' must be an integer >= 1. Got 0"),
        (lambda: NeuralLinear(a0=1.0), r"'a0' must be a number in \(1, inf\). Got 1.0"),
    ],
)
def test_refuses_senseless_options(make: Callable[[], LinearSlates], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()
