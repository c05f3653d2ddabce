"""The information ladder: what each level tells, when, and that nothing below a level betrays the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perennial.envs import World
from perennial.envs.drift import Drift, NoDrift, Offsets, Seasonal, Setting
from perennial.envs.notice import Ladder

SMALL: dict[str, Any] = {"n_users": 300, "n_items": 200, "visits_per_day": 2000.0}
STEP_DAY = 100


class Step(Drift):
    """Category 3 gains a logit on `STEP_DAY`."""

    def change(self, days: Any, setting: Setting) -> Offsets:
        change = Offsets.nothing(len(days), len(setting.preset.categories))
        change.need[:, :, 3] = (days >= STEP_DAY)[:, None]
        return change


def told(level: int, day: int, drift: Drift | None = None, **ladder: Any) -> dict[str, Any]:
    """What the pages of noon of a day show."""
    world = World(seed=1, drift=drift or Step(), ladder=Ladder(level, **ladder), **SMALL)
    return world.observe(world.arrivals(24 * day + 12))


def test_level_zero_is_told_nothing_and_level_one_the_calendar() -> None:
    assert not told(0, 120)["calendar"].any()
    assert told(1, 120)["calendar"].any()
    for level in (0, 1):
        notice = told(level, 120)["notice"]
        assert notice.shape[1] == 1
        assert not notice.any()


@pytest.mark.parametrize(("day", "changed"), [(99, 0), (106, 0), (107, 1), (134, 1), (135, 0)])
def test_a_change_is_told_after_its_latency_and_for_its_window(day: int, changed: int) -> None:
    """Latency 7 and window 28: day 100's step is told from day 107 to day 134."""
    assert (told(2, day, false_alarms=0.0)["notice"] == changed).all()


def test_where_and_by_how_much() -> None:
    where = np.zeros(16)
    where[[0, 4]] = 1.0  # "changed", and category 3
    third, fourth = (told(level, 110, false_alarms=0.0)["notice"][0] for level in (3, 4))
    assert third.tolist() == where.tolist()
    assert fourth[:16].tolist() == where.tolist()
    assert fourth[16:].tolist() == [0, 0, 0, 1, *[0] * 11]


def test_the_forecast_looks_ahead() -> None:
    """Five days before the step, the forecast a week ahead knows it already; three weeks and more before, none does."""
    forecast = told(5, 95, false_alarms=0.0)["notice"][0][31:].reshape(2, 15)
    assert forecast[:, 3].tolist() == [1.0, 1.0]
    assert not told(5, 60, false_alarms=0.0)["notice"].any()


def test_level_six_is_the_truth() -> None:
    world = World(seed=1, drift=Seasonal(), ladder=Ladder(6), **SMALL)
    day = 300
    notice = world.observe(world.arrivals(24 * day + 12))["notice"][0]
    assert np.array_equal(notice[-63:], world.conditions(24 * day).packed()[0].astype(np.float32))


def test_false_alarms_come_at_their_rate() -> None:
    world = World(seed=3, drift=NoDrift(), ladder=Ladder(3, false_alarms=0.1), n_users=50, n_items=60)
    days = 4000
    notices = np.stack([world.ladder.of_day(day, world.drift, world.setting) for day in range(days)])
    alarms = notices[:, 0].sum()
    assert abs(alarms - 0.1 * days) < 4 * np.sqrt(0.09 * days)
    assert np.array_equal(notices[:, 1:].sum(1), notices[:, 0])
    assert (notices[:, 1:].sum(0) > 0).all()


@pytest.mark.parametrize("level", range(7))
def test_the_space_holds_what_is_told(level: int) -> None:
    from perennial.envs.shop import ShopVectorEnv

    env = ShopVectorEnv(num_envs=4, ladder=Ladder(level), n_users=300, n_items=200)
    assert env.observation_space.contains(env.reset(seed=0)[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": 7}, "'ladder.level' must be an integer from 0 to 6. Got 7"),
        ({"level": 1.5}, "'ladder.level'"),
        ({"latency": -1.0}, "'ladder.latency' must be a finite number >= 0"),
        ({"window": 0.0}, "'ladder.window' must be > 0"),
        ({"false_alarms": 1.0}, r"'ladder.false_alarms' must lie in \[0, 1\)"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ladder(**arguments)
