import numpy as np
import pytest

from perennial.agents import Feedback, Popular, Trending
from tests.agents.toy import ToyShop, toy_shop


def begun(shop: ToyShop, **options: float) -> Trending:
    agent = Trending(**options)
    agent.begin(shop.items, shop.spaces, seed=0)
    return agent


def shown(shop: ToyShop, tick: int, items: list[list[int]], clicks: list[list[int]]) -> Feedback:
    """Pages of hour `tick` that showed `items`, answered by `clicks` (0 or 1)."""
    log = shop.uniform_log(len(items))
    log.keys.tick[:] = tick
    return Feedback(**{**vars(log), "slate_items": np.array(items, np.int32), "clicked": np.array(clicks, bool)})


def test_counts_fade_by_half_in_a_half_life() -> None:
    """Half-life one day: yesterday's page weighs 1/2, the one of the day before 1/4; by hand."""
    shop = toy_shop(n_items=4, n_candidates=4, slate_size=2)
    parts = [shown(shop, 24 * day, [[0, 1]], [[1, day == 2]]) for day in range(3)]
    piecemeal, at_once = begun(shop, half_life_days=1.0, prior=2.0), begun(shop, half_life_days=1.0, prior=2.0)
    for part in parts:
        piecemeal.update(part)
    at_once.fit(Feedback.concatenate(parts), "cold")
    mean = (1.75 + 1.0) / 3.5
    expected = [(1.75 + 2 * mean) / 3.75, (1 + 2 * mean) / 3.75, mean, mean]
    for agent in (piecemeal, at_once):
        assert agent.clicks.tolist() == [1.75, 1.0, 0, 0]
        assert agent._scores == pytest.approx(expected, abs=1e-15)


def test_a_late_page_weighs_what_its_age_says() -> None:
    shop = toy_shop(n_items=4, n_candidates=4, slate_size=2)
    agent = begun(shop, half_life_days=1.0)
    agent.update(shown(shop, 48, [[0, 1]], [[1, 0]]))
    agent.update(shown(shop, 24, [[2, 3]], [[1, 1]]))
    assert agent.clicks.tolist() == [1, 0, 0.5, 0.5]
    assert agent.clock.tolist() == [48]


def test_warm_adds_later_pages_only_and_cold_forgets() -> None:
    shop = toy_shop()
    log = shop.uniform_log(400)
    agent, fresh = begun(shop), begun(shop)
    agent.fit(log)
    assert agent.fit(log, "warm") == {"pages": 0.0}
    agent.fit(log.take(np.arange(200, 400)), "cold")
    fresh.fit(log.take(np.arange(200, 400)))
    assert np.array_equal(agent.clicks, fresh.clicks)


def test_follows_a_fashion_that_popular_averages_away() -> None:
    """Twenty days of item 0, then two of item 1: the fading counts prefer 1, the whole window still 0."""
    shop = toy_shop(n_items=4, n_candidates=4, slate_size=2)
    agent, popular = begun(shop, half_life_days=1.0), Popular()
    popular.begin(shop.items, shop.spaces, 0)
    days = [shown(shop, 24 * day, [[0, 1]] * 30, [[day < 20, day >= 20]] * 30) for day in range(22)]
    log = Feedback.concatenate(days)
    log.keys.visit[:] = np.arange(len(log))
    agent.fit(log, "cold")
    popular.fit(log, "cold")
    observations, keys = shop.observe(1)
    observations["candidates"] = np.arange(4, dtype=np.int32)[None]
    assert agent.act(observations, keys).slates[0, 0] == 1
    assert popular.act(observations, keys).slates[0, 0] == 0


def test_a_half_life_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"'half_life_days' must be a number in \(0, inf\). Got 0"):
        Trending(half_life_days=0)
