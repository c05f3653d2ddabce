"""Planning for loyalty pays where loyalty matters, in the same world, with the same information."""

from __future__ import annotations

from typing import Any

import numpy as np

from perennial.envs.dynamics import Dynamics
from perennial.experiments.longterm import FLOORS, RATES, compare, picture, table
from perennial.experiments.statistics import Interval, t_interval

SMALL: dict[str, Any] = {"n_users": 300, "n_items": 300, "visits_per_day": 60.0}


def gaps(dynamics: Dynamics) -> Any:
    pairs = [compare(dynamics, seed, 60, SMALL) for seed in range(4)]
    return np.array([far / near - 1 for far, near in pairs])


def test_the_far_sighted_policy_beats_the_myopic_oracle_where_loyalty_decides() -> None:
    assert t_interval(gaps(Dynamics(return_floor=0.0, loyalty_rate=0.4))).low > 0


def test_without_loyalty_it_is_the_myopic_oracle() -> None:
    assert (gaps(Dynamics(loyalty_rate=0.0)) == 0).all()


def test_table_and_picture_show_every_setting() -> None:
    found = {(rate, floor): Interval(rate * (1 - floor), 0.0, 0.5, 3) for rate in RATES for floor in FLOORS}
    assert len(table(found).rows) == len(RATES) * len(FLOORS)
    assert len(picture(found).axes[0].lines) == len(FLOORS) + 1
