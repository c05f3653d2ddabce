"""Sizes of drifts that were fitted to real logs; see `calibration.years`, `two_years`, `turnover` and `shock`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources

from perennial.envs.preset import Source


@dataclass(frozen=True)
class Years:
    """How much a season shifts from year to year: standard deviations, a category's own and common to all.

    Of the log factor on its swing (``amplitude_sd``, ``common_amplitude_sd``) and of its delay in days.
    """

    source: Source
    amplitude_sd: float
    common_amplitude_sd: float
    phase_sd_days: float
    common_phase_sd_days: float


@dataclass(frozen=True)
class Departments:
    """The same sizes from two years of one shop's departments, with standard errors; see `calibration.two_years`.

    Kept beside `Years` and used by no drift of its own accord: of two years, one pair, the errors are as large as the
    sizes, but for the delay of a department's own, which a shop seems to have more of than a whole trade.
    """

    source: Source
    amplitude_sd: float
    common_amplitude_sd: float
    phase_sd_days: float
    common_phase_sd_days: float
    amplitude_sd_error: float
    common_amplitude_sd_error: float
    phase_sd_days_error: float
    common_phase_sd_days_error: float


@dataclass(frozen=True)
class Tastes:
    """How fast tastes turn over, with standard errors; see `perennial.envs.drift.Turnover`."""

    source: Source
    share: float
    knot_days: float
    share_error: float
    knot_days_error: float


@dataclass(frozen=True)
class Spring2020:
    """What the spring of 2020 changed: ``sizes`` logits of share by category, ``half_life_days`` of what was left."""

    source: Source
    sizes: dict[str, float]
    half_life_days: float


@dataclass(frozen=True)
class DriftFits:
    """All fitted sizes, as `envs/presets/drifts.json` keeps them."""

    years: Years
    departments: Departments
    tastes: Tastes
    spring_2020: Spring2020

    def to_json(self) -> str:
        """The file's text, floats rounded to 6 significant digits."""

        def plain(value: object) -> object:
            if isinstance(value, dict):
                return {key: plain(part) for key, part in value.items()}
            return float(f"{value:.6g}") if isinstance(value, float) else value

        return json.dumps(plain(asdict(self)), indent=1, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str) -> DriftFits:
        raw = json.loads(text)
        sources = {name: Source(**part.pop("source")) for name, part in raw.items()}
        kinds = {"years": Years, "departments": Departments, "tastes": Tastes, "spring_2020": Spring2020}
        return DriftFits(**{name: kind(sources[name], **raw[name]) for name, kind in kinds.items()})


@cache
def load_drift_fits() -> DriftFits:
    """The committed sizes."""
    return DriftFits.from_json(resources.files("perennial.envs.presets").joinpath("drifts.json").read_text("utf-8"))
