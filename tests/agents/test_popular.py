import numpy as np
import pytest

from perennial.agents import Decision, Feedback, Popular
from tests.agents.toy import ToyShop, toy_shop, uplift


def begun(shop: ToyShop, **options: float) -> Popular:
    agent = Popular(**options)
    agent.begin(shop.items, shop.spaces, seed=0)
    return agent


def shown(shop: ToyShop, items: list[list[int]], clicks: list[list[int]]) -> Feedback:
    """Pages that showed `items`, answered by `clicks` (0 or 1)."""
    log = shop.uniform_log(len(items))
    parts = {**vars(log), "slate_items": np.array(items, np.int32), "clicked": np.array(clicks, bool)}
    return Feedback(**parts)


def test_ranks_by_the_smoothed_click_rate() -> None:
    shop = toy_shop(n_items=6, n_candidates=6, slate_size=4)
    agent = begun(shop, prior=2.0)
    pages = shown(shop, [[0, 1, 2, 3], [0, 1, 2, 4]], [[1, 0, 0, 0], [1, 0, 0, 1]])
    agent.fit(pages)
    # Mean rate 3/8. By hand: 0: 2.75/4, 1 and 2: .75/4, 3: .75/3, 4: 1.75/3, 5: .375.
    observations, keys = shop.observe(1)
    observations["candidates"] = np.arange(6, dtype=np.int32)[None]
    decision = agent.act(observations, keys)
    assert decision.slates.tolist() == [[0, 4, 5, 3]]
    assert decision.slot_propensity.tolist() == [[1.0] * 4]


def test_fit_counts_the_window_alone_and_update_adds() -> None:
    shop = toy_shop()
    old, new = shop.uniform_log(200), shop.uniform_log(200)
    agent, fresh = begun(shop), begun(shop)
    agent.fit(old)
    agent.fit(new, start="warm")
    fresh.fit(new, start="cold")
    assert np.array_equal(agent.clicks, fresh.clicks)
    agent.update(old)
    fresh.fit(Feedback.concatenate([old, new]))
    assert np.array_equal(agent.clicks, fresh.clicks)
    assert np.array_equal(agent.impressions, fresh.impressions)
    assert agent.impressions.sum() == 400 * shop.spaces.slate_size


def test_finds_what_the_shop_likes_on_average() -> None:
    shop = toy_shop(scale=2.0)
    agent = begun(shop)
    agent.fit(shop.uniform_log(4000))
    mine, uniform, _ = uplift(shop, agent)
    assert mine > 1.3 * uniform


def test_propensity_is_one_on_its_own_slate_and_nought_off_it() -> None:
    shop = toy_shop()
    agent = begun(shop)
    agent.fit(shop.uniform_log(200))
    observations, keys = shop.observe(2)
    slates = agent.act(observations, keys).slates.copy()
    slates[1, [1, 2]] = slates[1, [2, 1]]
    assert agent.slate_propensity(observations, keys, slates).tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert isinstance(agent.act(observations, keys), Decision)


def test_refuses_what_it_cannot_use() -> None:
    with pytest.raises(ValueError, match=r"'prior' must be a number in \(0, inf\). Got 0"):
        Popular(prior=0)
    with pytest.raises(TypeError, match="'prior' must be a number .* Got str: 'much'"):
        Popular(prior="much")
    shop = toy_shop()
    with pytest.raises(ValueError, match="'start' must be one of 'warm', 'cold'. Got 'hot'"):
        begun(shop).fit(shop.uniform_log(10), start="hot")
