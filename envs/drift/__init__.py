"""What moves in the world, one file per drift."""

from perennial.envs.drift.base import Composed, Declaration, Drift, Offsets, Season, Setting, Turnover
from perennial.envs.drift.behaviour import Behaviour
from perennial.envs.drift.churn import CatalogueChurn
from perennial.envs.drift.holidays import Holiday, Holidays
from perennial.envs.drift.none import NoDrift
from perennial.envs.drift.population import PopulationShift
from perennial.envs.drift.regimes import Regimes
from perennial.envs.drift.schedules import Periodic, Pulse, Ramp, Schedule, Step
from perennial.envs.drift.seasonal import Seasonal
from perennial.envs.drift.shifting_seasons import ShiftingSeasons
from perennial.envs.drift.shock import Shock
from perennial.envs.drift.shock_2020 import Shock2020
from perennial.envs.drift.tastes import TasteDrift
from perennial.envs.drift.trend import Trend

__all__ = [
    "Behaviour",
    "CatalogueChurn",
    "Composed",
    "Declaration",
    "Drift",
    "Holiday",
    "Holidays",
    "NoDrift",
    "Offsets",
    "Periodic",
    "PopulationShift",
    "Pulse",
    "Ramp",
    "Regimes",
    "Schedule",
    "Season",
    "Seasonal",
    "Setting",
    "ShiftingSeasons",
    "Shock",
    "Shock2020",
    "Step",
    "TasteDrift",
    "Trend",
    "Turnover",
]
