"""What moves in the world, one file per drift."""

from perennial.envs.drift.base import Drift, Offsets, Season
from perennial.envs.drift.none import NoDrift
from perennial.envs.drift.seasonal import Seasonal

__all__ = ["Drift", "NoDrift", "Offsets", "Season", "Seasonal"]
