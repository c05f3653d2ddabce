"""When and how: hand-fed days -> the exact path."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.envs.drift import Periodic, Pulse, Ramp, Schedule, Step

DAYS = np.array([-1.0, 0.0, 1.0, 2.0, 4.0, 8.0, 100.0])


@pytest.mark.parametrize(
    ("schedule", "path"),
    [
        (Step("2010-01-01"), [0, 1, 1, 1, 1, 1, 1]),
        (Step("2010-01-03"), [0, 0, 0, 1, 1, 1, 1]),
        (Ramp("2010-01-01", 4), [0, 0, 0.25, 0.5, 1, 1, 1]),
        (Pulse("2010-01-01"), [0, 1, 1, 1, 1, 1, 1]),
        (Pulse("2010-01-01", 2), [0, 0, 0.5, 1, 1, 1, 1]),
        (Pulse("2010-01-01", 1, 1, 0), [0, 0, 1, 0, 0, 0, 0]),
        (Pulse("2010-01-01", 1, 1, 2), [0, 0, 1, 1, 0.5, 0.125, 2.0**-49]),
        (Periodic("2010-01-01", 8), [0, 0, 0.5 - 0.125**0.5, 0.5, 1, 0, 1]),
    ],
)
def test_paths(schedule: Schedule, path: list[float]) -> None:
    assert schedule.at(DAYS) == pytest.approx(path, abs=1e-12)
    assert schedule.when()
    assert schedule.how()


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"'schedule.start' must be a date written as 'YYYY-MM-DD'. Got '1 May'"):
        Step("1 May")
    with pytest.raises(ValueError, match=r"'schedule.days' must be > 0"):
        Ramp("2010-01-01", 0)
    with pytest.raises(ValueError, match=r"'schedule.half_life_days' must be a finite number >= 0"):
        Pulse("2010-01-01", half_life_days=-1)
