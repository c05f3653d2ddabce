"""What moves, as a pure function of time: any day in O(1), the realised path is the declared path."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perennial.envs.preset import Preset, harmonics


@dataclass(frozen=True)
class Season:
    """A preset's season, bound to a CTR level and a channel.

    ``category`` float64 (C, 1 + 2H) and ``level`` float64 (1 + 2H): see `SeasonFit`. ``channel`` in [0, 1].
    """

    category: NDArray[np.float64]
    level: NDArray[np.float64]
    channel: float

    @staticmethod
    def of(preset: Preset, ctr_level: float, channel: float) -> Season:
        fit = preset.season_fit(ctr_level, channel)
        return Season(np.asarray(fit.category), np.asarray(fit.level), channel)

    def at(self, day: float) -> Offsets:
        """The fitted season at `day` (days since the epoch)."""
        waves = harmonics(day, (self.category.shape[1] - 1) // 2)
        return self._offsets((self.category * waves).sum(axis=1), float((self.level * waves).sum()))

    def mean(self) -> Offsets:
        """The season's mean over the year: the constants of the harmonics."""
        return self._offsets(self.category[:, 0], float(self.level[0]))

    def _offsets(self, category: NDArray[np.float64], level: float) -> Offsets:
        return Offsets(self.channel * category, np.full(len(category), level), (1 - self.channel) * category)


@dataclass(frozen=True)
class Offsets:
    """What drift adds at one moment, per category, in logits; all float64 (C,).

    ``need``: to the attraction, times the visitor's sensitivity. ``level``: to the attraction of everyone.
    ``purchase``: to the cart given a click, times the sensitivity.
    """

    need: NDArray[np.float64]
    level: NDArray[np.float64]
    purchase: NDArray[np.float64]


class Drift(ABC):
    """One way in which the world's parameters move."""

    @abstractmethod
    def at(self, day: float, season: Season) -> Offsets:
        """The offsets at `day` (float, days since the epoch) in a shop with this `season`."""
