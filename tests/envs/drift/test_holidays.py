"""Holidays: published Easter dates, moving days, bumps that end on the day."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.envs import World
from perennial.envs.drift import Holiday, Holidays
from perennial.envs.drift.holidays import easter
from tests.envs.drift.shops import day, setting

# The earliest and latest possible, the computus's two exceptions (1954, 1981), and recent years.
EASTERS = ["1818-03-22", "1943-04-25", "1954-04-18", "1981-04-19", "2000-04-23", "2010-04-04", "2011-04-24",
           "2019-04-21", "2024-03-31", "2038-04-25", "2285-03-22"]  # fmt: skip


def test_easter_falls_on_its_published_dates() -> None:
    years = np.array([int(date[:4]) for date in EASTERS])
    assert easter(years).tolist() == [day(date) for date in EASTERS]


@pytest.mark.parametrize(
    ("date", "shift", "found"),
    [
        ("12-25", 0, "2010-12-25"),
        ("11-thu4", 0, "2010-11-25"),
        ("11-thu4", 1, "2010-11-26"),
        ("05-sun2", 0, "2010-05-09"),
        ("easter", -47, "2010-02-16"),
    ],
)
def test_dates(date: str, shift: int, found: str) -> None:
    holiday = Holiday("a day", date, ["bags"], 1.0, shift=shift)
    assert str(World.date_of(int(holiday.on(np.array([2010]))[0]))) == found


def test_a_bump_leads_up_to_its_day_every_year() -> None:
    holiday = Holiday("New Year", "01-01", ["party"], 1.0, rise_days=20, peak_days=10)
    for year in ("2011", "2012", "2025"):
        left = np.array([40.0, 30.0, 20.0, 10.0, 5.0, 0.0, -3.0])
        assert holiday.bump(day(f"{year}-01-01") - left) == pytest.approx([0, 0, 0.5, 1, 0.5, 0, 0], abs=1e-12)
    hours = holiday.bump(np.arange(0, 800, 1 / 24))
    assert np.abs(np.diff(hours)).max() < 0.01


def test_the_calendar_meets_the_categories_meant() -> None:
    shop = setting()
    need = Holidays(2.0).change(np.array([day("2010-12-16"), day("2010-03-29")]), shop).need[:, 0]
    christmas, easter_spring = (shop.preset.categories.index(c) for c in ("christmas", "easter_spring"))
    assert need[0, christmas] == pytest.approx(1.6)
    assert need[1, easter_spring] == pytest.approx(1.6)
    assert need[0, easter_spring] == need[1, christmas] == 0


def test_refusals() -> None:
    for date in ("2010-12-25", "02-30", "13-01", "11-thu5", "tomorrow"):
        with pytest.raises(ValueError, match=r"'holiday.date' must be a day as '12-25'"):
            Holiday("a day", date, ["bags"], 1.0)
    with pytest.raises(ValueError, match=r"'drift.holidays' must concern some category of the preset 'gift_shop'"):
        Holidays(holidays=[Holiday("a day", "12-25", ["cars"], 1.0)]).change(np.zeros(1), setting())
