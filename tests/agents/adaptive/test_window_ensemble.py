"""The long window serves a still world, the short one a changed one; weights and estimates follow the formulas."""

import numpy as np
import pytest

from perennial.agents import Popular, RandomSlates
from perennial.agents.adaptive import WindowEnsemble
from perennial.agents.adaptive.window_ensemble import fixed_share, gains
from perennial.agents.base import Agent, Decision, Keys, Observations
from perennial.agents.sb3.ppo import Ppo
from perennial.agents.sb3.sac import Sac
from tests.agents.adaptive.stream import live
from tests.agents.toy import toy_shop


def test_weight_moves_to_the_window_that_suits_the_world() -> None:
    """Twelve days of one fashion, then another: nearly as good as each length where that one is the better."""
    world = [0] * 12 + [1] * 6
    short, _ = live(WindowEnsemble(Popular(), days=[1]), world, window=12)
    long, _ = live(WindowEnsemble(Popular(), days=[12]), world, window=12)
    both, figures = live(WindowEnsemble(Popular(), days=[1, 12]), world, window=12)
    still, changed = slice(4, 12), slice(14, 18)
    assert long[still].mean() > short[still].mean() + 0.1
    assert short[changed].mean() > long[changed].mean() + 0.3
    assert both[still].mean() > short[still].mean() + 0.1
    assert both[changed].mean() > long[changed].mean() + 0.3
    assert figures[11]["weight_12_days"] > 0.8
    assert figures[14]["weight_1_days"] > 0.8


def test_fixed_share_by_hand() -> None:
    """Herbster and Warmuth 1998, figure 1, on three experts: w' = w exp(eta g), then (1 - a) w' + a / 2 of the rest."""
    weights, gain = np.array([0.5, 0.3, 0.2]), np.array([1.0, 0.0, -1.0])
    raw = [0.5 * np.e, 0.3, 0.2 / np.e]
    posterior = [part / sum(raw) for part in raw]
    expected = [0.9 * part + 0.05 * (1 - part) for part in posterior]
    assert fixed_share(weights, gain, rate=1.0, share=0.1) == pytest.approx(expected, abs=1e-15)


def test_fixed_share_keeps_its_published_bound() -> None:
    """Loss of the mixture <= (ln n + k ln(n - 1) + k ln(1 / a) + (T - k - 1) ln(1 / (1 - a)) + eta L) / c against the
    best sequence with k switches, of loss L, for losses in [0, 1]; c = 1 - exp(-eta) of the weighted average."""
    rng, n, horizon, rate, share = np.random.default_rng(0), 4, 600, 0.5, 0.005
    best = np.repeat([0, 2, 1], horizon // 3)
    losses = (rng.random((horizon, n)) < 0.6).astype(float)
    losses[np.arange(horizon), best] = rng.random(horizon) < 0.2
    weights, suffered = np.full(n, 1 / n), 0.0
    for loss in losses:
        suffered += weights @ loss
        weights = fixed_share(weights, -loss, rate, share)
    k, compared = 2, losses[np.arange(horizon), best].sum()
    cost = np.log(n) + k * np.log(n - 1) + k * np.log(1 / share) + (horizon - k - 1) * np.log(1 / (1 - share))
    assert suffered <= (cost + rate * compared) / (1 - np.exp(-rate))
    assert suffered < losses.sum(axis=0).min()  # no single expert does as well


def test_estimated_gains_are_unbiased() -> None:
    """Three copies, four items, slates of two; the mean estimate over who serves and who clicks is the true gain."""
    slates, chances = np.array([[0, 1], [1, 2], [2, 3]]), np.array([0.5, 0.3, 0.2])
    rate, rng, pages = np.array([0.1, 0.5, 0.3, 0.8]), np.random.default_rng(1), 60_000
    shown = slates[rng.choice(3, pages, p=chances)]
    clicked = rng.random((pages, 2)) < rate[shown]
    wanted = (shown[:, None, :, None] == slates[None, :, None, :]).any(axis=3)
    found = gains(wanted, clicked, chances)
    true = rate[slates].mean(axis=1) - clicked.mean()
    error = found.std(axis=0) / np.sqrt(pages)
    assert (np.abs(found.mean(axis=0) - true) < 4 * error).all()


def test_propensities_are_those_of_the_mixture() -> None:
    shop = toy_shop(n_candidates=6, slate_size=2)
    agent = WindowEnsemble(Popular(prior=1.0), days=[1, 30], uniform=0.5)
    agent.begin(shop.items, shop.spaces, 3)
    log = shop.uniform_log(2000)
    log.keys.tick[:] = np.arange(2000) // 10  # eight days, so that the last one is noisier than all
    agent.fit(log, "cold")
    agent.weights = np.array([0.8, 0.2])
    observations, keys = shop.observe(1)
    many = {name: np.repeat(array, 20_000, axis=0) for name, array in observations.items()}
    decision = agent.act(many, keys.take(np.zeros(20_000, np.int64)))
    slates, first, counts = np.unique(decision.slates, axis=0, return_index=True, return_counts=True)
    chance = np.exp(decision.log_propensity[first])
    assert len(slates) == 2
    assert chance.sum() == pytest.approx(1.0, abs=1e-12)
    assert sorted(chance) == pytest.approx([0.35, 0.65], abs=1e-12)
    assert counts / 20_000 == pytest.approx(chance, abs=0.015)


def test_copies_that_draw_are_mixed_exactly_too() -> None:
    shop = toy_shop(n_candidates=6, slate_size=2)
    agent = WindowEnsemble(RandomSlates(), days=[1, 2])
    agent.begin(shop.items, shop.spaces, 3)
    decision = agent.act(*shop.observe(5))
    assert decision.slot_propensity == pytest.approx(np.tile([1 / 6, 1 / 5], (5, 1)))


class Sure(RandomSlates):
    """Shows one slate, and with the chance 0.3, by its own generator, another."""

    usual: int

    def act(self, observations: Observations, keys: Keys) -> Decision:
        slates = np.where(self.rng.random(len(keys)) < 0.3, 4, self.usual).astype(np.int32)[:, None]
        return Decision(slates, self.slate_propensity(observations, keys, slates), {})

    def slate_propensity(self, observations: Observations, keys: Keys, slates: np.ndarray) -> np.ndarray:
        return np.where(slates == 4, 0.3, np.where(slates == self.usual, 0.7, 0.0))


def test_who_serves_is_drawn_apart_from_what_the_copies_draw() -> None:
    """Right after `begin` and after a `reseed`: each slate is as frequent as declared, within four standard errors."""
    shop, pages = toy_shop(n_candidates=6, slate_size=1), 20_000
    agent = WindowEnsemble(Sure(), days=[1, 2])
    observations, keys = shop.observe(1)
    many = {name: np.repeat(array, pages, axis=0) for name, array in observations.items()}
    for start in (lambda: agent.begin(shop.items, shop.spaces, 3), lambda: agent.reseed(8)):
        start()
        for usual, member in enumerate(agent.members):
            member.usual = usual  # type: ignore[attr-defined]
        decision = agent.act(many, keys.take(np.zeros(pages, np.int64)))
        slates, first, counts = np.unique(decision.slates, return_index=True, return_counts=True)
        chance = decision.slot_propensity[first, 0]
        assert dict(zip(slates.tolist(), chance, strict=True)) == pytest.approx({0: 0.35, 1: 0.35, 4: 0.3})
        assert (np.abs(counts / pages - chance) < 4 * np.sqrt(chance * (1 - chance) / pages)).all()


@pytest.mark.parametrize("agent", [Ppo(), Sac(action="proto")])
def test_refuses_agents_that_learn_from_their_own_pages(agent: Agent) -> None:
    with pytest.raises(ValueError, match="'agent' must learn from any log. Got (Ppo|Sac), which learns from its own"):
        WindowEnsemble(agent)


def test_each_copy_sees_its_own_window() -> None:
    shop = toy_shop()
    log = shop.uniform_log(2000)
    log.keys.tick[:] = np.arange(2000) * 24 * 10 // 2000
    agent = WindowEnsemble(Popular(), days=[1, 4, 20])
    agent.begin(shop.items, shop.spaces, 0)
    agent.fit(log, "cold")
    shown = [member.impressions.sum() // shop.spaces.slate_size for member in agent.members]
    newest = log.keys.tick.max()
    assert shown == [(log.keys.tick > newest - 24 * days).sum() for days in (1, 4, 20)]
    assert shown[2] == 2000


def test_refuses_no_windows() -> None:
    with pytest.raises(ValueError, match="'days' must name at least one window. Got an empty list"):
        WindowEnsemble(Popular(), days=[])
