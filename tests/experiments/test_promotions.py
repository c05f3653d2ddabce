import numpy as np
import pytest

from perennial.agents.base import Spaces
from perennial.agents.popular import Popular
from perennial.agents.random_slates import RandomSlates
from perennial.envs import World
from perennial.experiments.promotions import replay

SMALL = {"n_users": 150, "n_items": 120, "visits_per_day": 80}


def shop() -> World:
    return World("gift_shop", seed=4, **SMALL)


def begun(agent):
    agent.begin(shop().items, Spaces(**shop().sizes), seed=0)
    return agent


def test_a_model_is_worth_as_much_as_itself_exactly():
    """Common random numbers: the same slates to the same visitors leave no difference and no doubt."""
    found = replay(shop, begun(Popular()), begun(Popular()), 250, days=3)
    assert (found.lift.mean, found.lift.low, found.lift.high) == (0.0, 0.0, 0.0)
    assert found.candidate == found.champion > 0


def test_the_better_of_two_is_found():
    popular = begun(Popular())
    quality = shop().catalogue.appeal.argsort()
    popular.clicks[quality], popular.impressions[:] = np.arange(len(quality)), len(quality)
    popular._rank()
    found = replay(shop, popular, begun(RandomSlates()), 250, days=6)
    assert found.lift.low > 0.1
    back = replay(shop, begun(RandomSlates()), popular, 250, days=6)
    assert back.lift.high < -0.05
    assert (back.candidate, back.champion) == pytest.approx((found.champion, found.candidate))
