"""Last year's season at this year's level: exact on hand-made weeks, and `Popular` where there is no last year."""

import numpy as np
import pytest

from perennial.agents import Feedback, Popular, SeasonalNaive
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.windows import RecentAndLastYear
from tests.agents.lifecycle.hand import SPACES, wave
from tests.agents.toy import ToyShop, toy_shop

YEAR = 20  # days, so that two of them are quickly told


@pytest.fixture
def shop() -> ToyShop:
    """Two items of category 0 (even ids), two of category 1."""
    return toy_shop(n_items=4, n_candidates=4, slate_size=4, n_categories=2)


def day_of(shop: ToyShop, day: int, clicked: list[int], pages: int = 100) -> Feedback:
    """`pages` pages of one day that show items 0 to 3; so many of them have a click on each."""
    log = shop.uniform_log(pages)
    log.keys.tick[:] = 24 * day + 5
    log.keys.visit[:] = 1000 * day + np.arange(pages)
    items = np.tile(np.arange(4, dtype=np.int32), (pages, 1))
    clicks = np.arange(pages)[:, None] < np.array(clicked)
    return Feedback(**{**vars(log), "slate_items": items, "clicked": clicks})


def begun(shop: ToyShop, **options: float) -> SeasonalNaive:
    agent = SeasonalNaive(**{"recent_days": 3, "lag_days": YEAR, "around_days": 1, **options})
    agent.begin(shop.items, shop.spaces, 0)
    return agent


def two_years(shop: ToyShop) -> Feedback:
    """Category 0 is clicked twice as often as category 1, but in days 10 to 14 of each year it is the other way."""
    days = [day_of(shop, day, [10, 20, 10, 20] if 10 <= day % YEAR < 15 else [20, 10, 20, 10]) for day in range(30)]
    return Feedback.concatenate(days)


def test_forecast_by_hand(shop: ToyShop) -> None:
    """On day 29 all is as ever; of day 31 last year says that category 1 will have doubled, category 0 halved."""
    agent = begun(shop, season_prior=1e-9, prior=1e-9)
    agent.fit(two_years(shop), "cold")
    assert agent.recent == pytest.approx([0.2, 0.1, 0.2, 0.1], abs=1e-9)
    assert agent.season(31) == pytest.approx([0.5, 2.0], abs=1e-9)
    assert agent.season(35) == pytest.approx([5 / 6, 4 / 3], abs=1e-9)  # days 14 to 16: one of them in the season
    assert agent.season(29) == pytest.approx([(20 + 20 + 10) / 60, (10 + 10 + 20) / 30], abs=1e-9)  # days 8 to 10


def test_puts_the_coming_season_first_where_popular_looks_back(shop: ToyShop) -> None:
    agent, popular = begun(shop), Popular()
    popular.begin(shop.items, shop.spaces, 0)
    log = two_years(shop)
    agent.fit(log, "cold")
    popular.fit(log.take(log.keys.tick >= 24 * 27), "cold")
    observations, keys = shop.observe(1)
    observations["candidates"] = np.arange(4, dtype=np.int32)[None]
    for day, first in ((28, 0), (31, 1)):
        keys.tick[:] = 24 * day
        assert agent.act(observations, keys).slates[0, 0] % 2 == first
        assert popular.act(observations, keys).slates[0, 0] % 2 == 0


def test_without_last_year_it_is_popular(shop: ToyShop) -> None:
    agent, popular = begun(shop, recent_days=28), Popular()
    popular.begin(shop.items, shop.spaces, 0)
    log = Feedback.concatenate([day_of(shop, day, [12, 7, 30, 9]) for day in range(9)])
    agent.fit(log)
    popular.fit(log)
    assert np.array_equal(agent.recent, popular._scores)
    assert (agent.season(9) == 1).all()


def test_counts_day_by_day_as_at_once_and_lets_old_days_go(shop: ToyShop) -> None:
    at_once, nightly = begun(shop), begun(shop)
    log = two_years(shop)
    at_once.fit(log)
    for day in range(30):
        nightly.fit(log.take((log.keys.tick // 24 <= day) & (log.keys.tick // 24 > day - 4)))
    assert all(np.array_equal(array, nightly.state()[name]) for name, array in at_once.state().items())
    assert sorted(at_once.by_category.days)[0] == 30 - (YEAR + 3 + 1 + 1)


def test_the_window_that_reaches_back(tmp_path) -> None:
    log = FeedbackLog(tmp_path, SPACES, recent_days=1)
    for day in range(12):
        log.append(wave(24 * day + 7, [100 * day + 1, 100 * day + 2]))
        log.close(24 * day + 23)
        log.commit(day)
    window = RecentAndLastYear(days=2, lag_days=8)
    pages = window.select(log, 24 * 12 - 1)
    assert sorted(set((pages.keys.tick // 24).tolist())) == [2, 3, 4, 5, 10, 11]
    assert set((window.select(log, 24 * 3 - 1).keys.tick // 24).tolist()) == {1, 2}
    with pytest.raises(ValueError, match=r"'days' must lie in \[1, 4\]"):
        RecentAndLastYear(days=5, lag_days=8)
