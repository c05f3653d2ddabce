"""A shift of the population: the segments' shares of the potential visits are those declared."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.envs import World
from perennial.envs.drift import PopulationShift, Step
from tests.envs.drift.shops import SMALL


@pytest.mark.parametrize(("strength", "size"), [(1.0, 1.2), (0.5, -3.0)])
def test_the_share_moves_by_the_declared_logits(strength: float, size: float) -> None:
    drift = PopulationShift(strength, size, Step("2010-05-01"))
    # Few visits an hour: a visitor drawn twice in an hour comes once, which the more frequent segment feels more.
    world = World(drift=drift, seed=5, **SMALL | {"n_users": 5000, "visits_per_day": 300.0})
    activity = np.diff(world.visitors.arrival_share, prepend=0.0)
    share = activity[world.visitors.segment == 1].sum()
    for day, moved in ((100, 0.0), (130, strength * size)):
        users = np.concatenate([world.potential(tick)[0][1] for tick in range(24 * day, 24 * day + 240)])
        odds = share / (1 - share) * np.exp(moved)
        wanted = odds / (1 + odds)
        noise = np.sqrt(wanted * (1 - wanted) / len(users))
        assert np.mean(world.visitors.segment[users]) == pytest.approx(wanted, abs=4 * noise)


def test_refusals() -> None:
    with pytest.raises(TypeError, match=r"'drift.schedule' must be a Schedule. Got str: 'soon'"):
        PopulationShift(schedule="soon")  # type: ignore[arg-type]
