"""It learns tastes and visits, and each part is worth its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from perennial.agents.base import Feedback
from perennial.agents.mf_transformer import MfTransformer, serving
from perennial.agents.popular import Popular
from tests.agents.mf_transformer.agents import QUICK, SMALL, begun, clicks_of_focus, clicks_of_taste, page_log, share
from tests.agents.toy import ToyShop, toy_shop


def test_learns_the_toy_shop_and_beats_popular() -> None:
    shop = toy_shop(1)
    log = shop.uniform_log(12000)
    agent, popular = begun(shop, **QUICK), Popular()
    popular.begin(shop.items, shop.spaces, 5)
    agent.fit(log, "cold")
    popular.fit(log, "cold")
    mine, theirs = share(shop, agent), share(shop, popular)
    assert mine > 0.8
    assert mine > theirs + 0.3


def hits(agent: MfTransformer, log: Feedback, wanted: NDArray) -> float:
    """Share of shown items that are of the group `wanted` (B,) of each page of `log`."""
    slates = agent.act(log.observations, log.keys).slates
    return float((slates % 4 == wanted[:, None]).mean())


@pytest.mark.parametrize(("without", "part"), [({"use_mf": False}, "taste"), ({"use_transformer": False}, "focus")])
def test_each_part_learns_what_the_other_cannot(without: dict[str, bool], part: str) -> None:
    make = clicks_of_taste if part == "taste" else clicks_of_focus
    log, spaces, items = make(np.random.default_rng(0), 2000)
    wanted = log.keys.user_id % 4 if part == "taste" else log.observations["history"][:, -1] % 4
    found = []
    for options in ({}, without):
        agent = MfTransformer(
            factors=4, width=8, history=4, cold_steps=200, batch_size=128, learning_rate=0.02, **options
        )
        agent.begin(items, spaces, 1)
        agent.fit(log, "cold")
        found.append(hits(agent, log, wanted))
    assert found[0] > 0.9
    assert found[1] < 0.5


def test_transformer_overfits_a_hundred_sessions() -> None:
    rng = np.random.default_rng(2)
    log, spaces, items = clicks_of_focus(rng, 100)
    arbitrary = rng.random(log.clicked.shape) < 0.5
    log = page_log(spaces, log.keys.user_id, log.slate_items, arbitrary, log.observations["history"])
    agent = MfTransformer(
        width=48, history=6, cold_steps=350, batch_size=100, learning_rate=0.02, weight_decay=0.0, use_mf=False
    )
    agent.begin(items, spaces, 1)
    agent.fit(log, "cold")
    scores = np.take_along_axis(agent.scores(log.observations, log.keys), log.slate_items.astype(np.int64), axis=1)
    assert ((scores > 0) == arbitrary).mean() > 0.95


def test_cold_items_and_visitors_are_served_from_features() -> None:
    shop = toy_shop(4, n_users=400)
    log = shop.uniform_log(6000)
    old_items, old_users = log.slate_items < 100, log.keys.user_id < 300
    log = log.take(np.flatnonzero(old_users & old_items.all(axis=1)))
    agent = begun(shop, **QUICK)
    agent.fit(log, "cold")
    observations, keys = shop.observe(200)
    scores, truth = agent.scores(observations, keys), shop.attraction(observations, keys)
    assert np.isfinite(scores).all()
    new = keys.user_id >= 300
    fresh = observations["candidates"] >= 100
    assert new.any()
    assert fresh.any()
    assert np.corrcoef(scores[new].ravel(), truth[new].ravel())[0, 1] > 0.5
    assert np.corrcoef(scores[fresh], truth[fresh])[0, 1] > 0.4


def test_a_never_fitted_agent_serves_and_a_warm_fit_of_it_is_a_first_fit(small: tuple[ToyShop, Feedback]) -> None:
    shop, log = small
    agent = begun(shop, **SMALL)
    decision = agent.act(log.observations, log.keys)
    assert decision.slates.shape == log.slates.shape
    assert agent.fit(log)["gradient_steps"] == SMALL["cold_steps"]
    assert agent.fit(log)["gradient_steps"] == SMALL["warm_steps"]


def test_warm_fit_follows_a_category_in_fashion() -> None:
    """After a first fit on one world, the clicks move to category 0: ten short warm fits put it first."""
    shop = toy_shop(6, focus=0.0, scale=0.3)
    agent = begun(shop, **QUICK, warm_steps=10)
    agent.fit(shop.uniform_log(4000), "cold")
    shop.taste[:, 0] += 3.0
    log = shop.uniform_log(2000)

    def rank_of_the_fashion() -> float:
        observations, keys = shop.observe(100)
        slates = agent.act(observations, keys).slates.astype(np.int64)
        shown = np.take_along_axis(observations["candidates"], slates, axis=1)
        return float((shop.category[shown] == 0).mean())

    before = rank_of_the_fashion()
    for _ in range(10):
        agent.fit(log, "warm")
    assert before < 0.3 < 0.6 < rank_of_the_fashion()


def test_reward_head_puts_what_pays_before_what_is_clicked() -> None:
    """Clicks on items of category 0 pay 5, on others 1: with the head they are shown more often, and more is earned."""
    shop = toy_shop(7)
    log = shop.uniform_log(6000)
    pays = np.where(shop.category == 0, 5.0, 1.0).astype(np.float32)
    log = replace(log, reward=(log.clicked * pays[log.slate_items]).sum(axis=1))
    earned, shares = [], []
    for weight in (0.0, 0.1):
        agent = begun(shop, **QUICK, reward_weight=weight)
        agent.fit(log, "cold")
        observations, keys = shop.observe(150)
        slates = agent.act(observations, keys).slates.astype(np.int64)
        shown = np.take_along_axis(observations["candidates"], slates, axis=1)
        chances = np.take_along_axis(shop.attraction(observations, keys), slates, axis=1)
        earned.append((chances * shop.examination * pays[shown]).sum(axis=1).mean())
        shares.append((shop.category[shown] == 0).mean())
    assert shares[1] > 2 * shares[0]
    assert earned[1] > 1.2 * earned[0]


def test_reward_head_learns_what_clicks_are_worth() -> None:
    """Worth of a click by category, to a tenth, where the reward is exactly the sum of clicks' worths."""
    shop = toy_shop(7, n_categories=3)
    log = shop.uniform_log(6000)
    pays = np.array([4.0, 1.0, 0.5], np.float32)[shop.category]
    log = replace(log, reward=(log.clicked * pays[log.slate_items]).sum(axis=1))
    agent = begun(shop, **QUICK, reward_weight=0.1)
    agent.fit(log, "cold")
    observations, keys = shop.observe(100)
    worth = serving.scores(agent._worths, observations, keys)
    assert np.abs(worth - pays[observations["candidates"]]).mean() < 0.1
