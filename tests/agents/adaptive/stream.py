"""A toy shop whose fashion changes by the day: in regime r everybody likes category r much better than before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perennial.agents.base import Agent, Feedback
from tests.agents.toy import ToyShop, toy_shop

PAGES = 200  # a day


def shop_of(seed: int = 2, **options: float) -> ToyShop:
    sizes = {"n_users": 150, "n_items": 60, "n_categories": 4, "n_candidates": 20, "slate_size": 4, "dim": 4}
    return toy_shop(seed, **{**sizes, "focus": 0.0, "scale": 0.3, **options})  # type: ignore[arg-type]


def live(agent: Agent, regimes: Sequence[int], window: int = 7) -> tuple[np.ndarray, list[dict[str, float]]]:
    """The agent serves one day after the other and is fitted each night on the last `window` days.

    `regimes`: each day's. Returns (days,) the share of the way from uniform to best slates, and the figures of fits.
    """
    shop = shop_of()
    base, logged, shares, figures = shop.taste.copy(), [], [], []
    agent.begin(shop.items, shop.spaces, 1)
    for day, regime in enumerate(regimes):
        shop.taste = base.copy()
        shop.taste[:, regime] += 2.5
        share, pages = serve(shop, agent, day)
        shares.append(share)
        logged.append(pages)
        figures.append(agent.fit(Feedback.concatenate(logged[-window:]), "warm"))
    return np.array(shares), figures


def serve(shop: ToyShop, agent: Agent, day: int, uniform: bool = False) -> tuple[float, Feedback]:
    """A day's pages: (share of the way from uniform to best in expected clicks, what came of them)."""
    shop.tick, parts, totals = 24 * day, [], np.zeros(3)
    for _ in range(PAGES // 50):
        observations, keys = shop.observe(50)
        decision = agent.act(observations, keys)
        others = shop.random_slates(50), shop.best_slates(observations, keys)
        totals += [shop.expected_clicks(observations, keys, s).mean() for s in (decision.slates, *others)]
        if uniform:
            decision.slates[:] = others[0]
        parts.append(shop.respond(observations, keys, decision))
    mine, random, best = totals
    return float((mine - random) / (best - random)), Feedback.concatenate(parts)
