"""Shifting seasons: the fitted season, stronger or weaker and earlier or later from one year to the next."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from perennial.envs.drift.base import Declaration, Drift, Floats, Offsets, Season, Setting
from perennial.envs.drift.fits import load_drift_fits
from perennial.envs.drift.seasonal import Seasonal
from perennial.envs.preset import YEAR_DAYS, harmonics
from perennial.envs.random_numbers import YEARS, draw, key_of, normal
from perennial.envs.validation import at_least

BLEND_DAYS = 60.0
"""Around the turn of a category's year, its trough, one year's season passes into the next within so many days."""


class ShiftingSeasons(Drift):
    """The season with an amplitude and a phase of its own every year, so that last year's calendar is a little wrong.

    A category's year runs from trough to trough. In year y its swing is multiplied by exp(a) and comes d days later, a
    and d normal: a part common to all categories plus the category's own, drawn by the seed, the year and the category.
    Around the trough one year's a and d pass smoothly into the next one's, so that nothing jumps. The level moves
    against it so that the mean attraction of a page stays, to first order in small attractions.

    Arguments:
        strength: multiplies a and d, >= 0; at 0 the season is the same every year, which is the twin.
        amplitude_sd, common_amplitude_sd: of a, its own and its common part; None: as fitted.
        phase_sd_days, common_phase_sd_days: of d, its own and its common part, days; None: as fitted.

    The fitted sizes are those of whole trades in the United States, 1992 to 2005, in every shop: a single shop's may be
    larger. Two years of the marketplace's departments say so of the delay (`fits.Departments`: own 6.9 +- 2.5 days),
    but one pair of years is too little to go by.
    """

    def __init__(
        self,
        strength: float = 1.0,
        amplitude_sd: float | None = None,
        phase_sd_days: float | None = None,
        common_amplitude_sd: float | None = None,
        common_phase_sd_days: float | None = None,
    ) -> None:
        self.strength = at_least("drift.strength", strength, 0.0)
        given = {
            "amplitude_sd": amplitude_sd,
            "phase_sd_days": phase_sd_days,
            "common_amplitude_sd": common_amplitude_sd,
            "common_phase_sd_days": common_phase_sd_days,
        }
        fitted = load_drift_fits().years
        known = {name: getattr(fitted, name) if value is None else value for name, value in given.items()}
        sizes = [at_least(f"drift.{name}", value, 0.0) for name, value in known.items()]
        self.own, self.common = np.array(sizes[:2]), np.array(sizes[2:])

    def deviations(self, days: Floats, setting: Setting) -> tuple[Floats, Floats]:
        """float64 (T, C) each: log amplitude and delay in days, at `days` (T,)."""
        place = (np.asarray(days, np.float64)[:, None] - trough(setting.season)) / YEAR_DAYS
        turn = np.round(place)  # the nearest one: year `turn` begins there, and year `turn` - 1 ends
        over = np.clip(0.5 + (place - turn) * YEAR_DAYS / BLEND_DAYS, 0.0, 1.0)
        share = (over * over * (3.0 - 2.0 * over))[..., None]  # of the year that begins: a smooth step
        first, last = int(turn.min()) - 1, int(turn.max())
        years = np.stack([self._year(year, setting) for year in range(first, last + 1)])
        ends, which = turn.astype(np.int64) - 1 - first, np.arange(place.shape[1])
        mixed = (1 - share) * years[ends, which] + share * years[ends + 1, which]
        return self.strength * mixed[..., 0], self.strength * mixed[..., 1]

    def _year(self, year: int, setting: Setting) -> Floats:
        """float64 (C, 2): log amplitude and delay of one year, at strength 1."""
        drawn = of_year(setting.seed, year, len(setting.preset.categories))
        return np.asarray(self.own * drawn[:-1] + self.common * drawn[-1])

    def change(self, days: Floats, setting: Setting) -> Offsets:
        days = np.asarray(days, np.float64)
        season = setting.season
        amplitude, delay = self.deviations(days, setting)
        mean = season.category[:, 0]
        plain = season_of(season, np.repeat(days[:, None], len(mean), axis=1)) - mean
        shifted = np.exp(amplitude) * (season_of(season, days[:, None] - delay) - mean)
        share = np.asarray(setting.preset.base_share)
        level = crowd(plain + mean, share, season.channel) - crowd(shifted + mean, share, season.channel)
        return season.swing(days) + season.offsets(shifted - plain, level)

    def twin(self) -> Drift:
        return Seasonal()

    def describe(self) -> Declaration:
        amplitude, phase = self.strength * np.hypot(self.own, self.common)
        how = f"each year amplitude x exp(+-{amplitude:.2g}), {phase:.2g} days earlier or later (one sd)"
        return Declaration("the season", "from trough to trough of each category", how)


@lru_cache(maxsize=4096)
def of_year(seed: int, year: int, categories: int) -> Floats:
    """float64 (C + 1, 2): standard normals of one year, for each category and, last, for all of them."""
    key = key_of(seed)
    words = [draw(key, YEARS, year, 0, c) for c in range(categories + 1)]
    return np.array([[normal(a, b), normal(c, d)] for a, b, c, d in words])


def season_of(season: Season, days: Floats) -> Floats:
    """float64 (T, C): every category's season in logits, each at a day of its own, `days` (T, C)."""
    return np.einsum("tch,ch->tc", harmonics(days, season.harmonics), season.category)


def trough(season: Season) -> Floats:
    """float64 (C,): the day of the year, days since the epoch, on which each category's season is lowest."""
    days = np.arange(YEAR_DAYS)
    waves = harmonics(days, season.harmonics)
    return days[np.argmin(np.einsum("th,ch->tc", waves, season.category), axis=0)]


def crowd(category: Floats, share: Floats, channel: float) -> Floats:
    """float64 (T,): log of the mean odds over categories that `category` (T, C) logits give on the attraction side."""
    return np.asarray(np.log((share / share.sum() * np.exp(channel * category)).sum(axis=1)))
