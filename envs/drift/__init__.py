"""What moves in the world, one file per drift."""

from perennial.envs.drift.base import Composed, Drift, Offsets, Season, Setting, Turnover
from perennial.envs.drift.none import NoDrift
from perennial.envs.drift.seasonal import Seasonal

__all__ = ["Composed", "Drift", "NoDrift", "Offsets", "Season", "Seasonal", "Setting", "Turnover"]
