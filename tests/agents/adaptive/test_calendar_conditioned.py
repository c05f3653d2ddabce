"""An agent that knows the date serves next year's seasons from last year's log; one that does not serves their mean."""

import numpy as np
import pytest

from perennial.agents import Feedback, LinUCB
from perennial.agents.adaptive import CalendarConditioned
from perennial.agents.base import Agent
from perennial.agents.mf_transformer import MfTransformer
from tests.agents.adaptive.stream import serve, shop_of
from tests.agents.toy import ToyShop

YEAR = 365.25
QUICK = {"factors": 4, "width": 16, "cold_steps": 120, "batch_size": 256, "history": 4, "learning_rate": 0.01}


def at(shop: ToyShop, base: np.ndarray, day: int) -> None:
    """Winter likes category 0, summer category 1."""
    winter = 2.0 * np.cos(2 * np.pi * day / YEAR)
    shop.taste = base.copy()
    shop.taste[:, 0] += winter
    shop.taste[:, 1] -= winter


def share_next_year(agent: Agent) -> list[float]:
    """Taught a year of uniform slates at once: the share of the way to the best slates next January and next July."""
    shop = shop_of()
    base, logged = shop.taste.copy(), []
    agent.begin(shop.items, shop.spaces, 1)
    for day in range(0, 365, 9):
        at(shop, base, day)
        logged.append(serve(shop, agent, day, uniform=True)[1])
    agent.fit(Feedback.concatenate(logged), "cold")
    shares = []
    for day in (372, 555):
        at(shop, base, day)
        shares.append(serve(shop, agent, day)[0])
    return shares


def test_a_season_seen_once_comes_back_by_the_date() -> None:
    blind = share_next_year(MfTransformer(**QUICK))
    dated = share_next_year(CalendarConditioned(MfTransformer(**QUICK)))
    assert min(dated) > 0.8
    assert min(dated) > np.mean(blind) + 0.4


def test_the_date_stands_among_the_attributes_at_its_scale() -> None:
    shop = shop_of()
    agent = CalendarConditioned(LinUCB(rank=2), harmonics=2, scale=0.25)
    agent.begin(shop.items, shop.spaces, 0)
    assert agent.agent.spaces.user_dim == shop.spaces.user_dim + 4
    shop.tick = 24 * 91
    observations, _ = shop.observe(3)
    user = agent.dated(observations)["user"]
    assert user.dtype == np.float32
    assert np.array_equal(user[:, :4], observations["user"])
    assert np.array_equal(user[:, 4:], np.float32(0.25) * observations["calendar"][:, :4])


def test_refuses_harmonics_that_the_calendar_does_not_have() -> None:
    with pytest.raises(ValueError, match="'harmonics' must be 1 or 2: the calendar has no more. Got 3"):
        CalendarConditioned(LinUCB(), harmonics=3)
