"""A preset: the parameters that one real shop's log gave, with source and licence, as one JSON file."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

EPOCH = "2010-01-01"
YEAR_DAYS = 365.25


@dataclass(frozen=True)
class Source:
    """Where a preset comes from: `name`, `licence`, `citation` and the exact `command` that fitted it."""

    name: str
    licence: str
    citation: str
    command: str


@dataclass(frozen=True)
class VisitModel:
    """How a visit goes; shared by all presets, fitted to a click log (see `envs/presets/visits.json`).

    A page is followed by leaving with probability logistic(leave_base - leave_spread z - leave_click [clicked]),
    z standard normal per visit. A click moves the focus to its category: `focus` logits between it and the others, the
    mean odds over season-blind candidates unchanged (see `World`).
    The eye goes on from slot to slot with probability exp(-examination_decay exp(-attention_spread z)): who has less
    patience sees less of a page. With 0 all visits see the same depth.
    """

    source: Source
    leave_base: float
    leave_spread: float
    leave_click: float
    focus: float
    examination_decay: float
    attention_spread: float = 0.0


@dataclass(frozen=True)
class SeasonFit:
    """The season that reproduces the log's shares at one CTR level and channel (see `World`).

    `category` (C, 1 + 2H): constant, then cosine and sine of each annual harmonic, per category, in logits.
    `level` (1 + 2H): the same for the level common to all categories; keeps the mean attraction constant in time.
    """

    ctr_level: float
    channel: float
    category: list[list[float]]
    level: list[float]


@dataclass(frozen=True)
class Preset:
    """All that is fitted to one shop. Harmonics as in `SeasonFit`; day 0 is `EPOCH`, a year has 365.25 days.

    Fitted: `base_share` (C) yearly mean share of purchases; `log_share` (C, 1 + 2H) harmonics of the log's weekly
    log-share; `season` fits by simulation; `hour` (24), `weekday` (7, Monday first) and `volume` (1 + 2H harmonics of
    log volume, constant 0) shape the arrivals; `visits_per_day` at the log's volume; `taste_concentration` Dirichlet of
    a person's category shares as measured in the log, `world_taste_concentration` the one that reproduces it by
    simulation; `activity_shape` gamma shape of a visitor's rate; `log_price_mean`, `log_price_std` (C).
    Declared (literature): `ctr` mean attraction x examination of slot 0 under the reference policy,
    `cart_given_click`, `purchase_given_cart`.
    """

    name: str
    title: str
    source: Source
    categories: list[str]
    base_share: list[float]
    log_share: list[list[float]]
    season: list[SeasonFit]
    hour: list[float]
    weekday: list[float]
    volume: list[float]
    visits_per_day: float
    taste_concentration: float
    world_taste_concentration: float
    activity_shape: float
    log_price_mean: list[float]
    log_price_std: list[float]
    ctr: float
    cart_given_click: float
    purchase_given_cart: float
    goodness_of_fit: dict[str, float] = field(default_factory=dict)

    def season_fit(self, ctr_level: float, channel: float) -> SeasonFit:
        """The fit at (ctr_level, channel); between two fitted channels, linear in the channel."""
        fits = sorted((f for f in self.season if f.ctr_level == ctr_level), key=lambda f: f.channel)
        if not fits:
            known = sorted({f.ctr_level for f in self.season})
            raise ValueError(
                f"'ctr_level' must be one of the levels the preset '{self.name}' was fitted at: {known}. "
                f"Got {ctr_level!r}. Choose one of them, or fit it with perennial-calibrate."
            )
        if not fits[0].channel <= channel <= fits[-1].channel:
            raise ValueError(
                f"'channel' must lie in [{fits[0].channel}, {fits[-1].channel}], the channels the preset "
                f"'{self.name}' was fitted at for ctr_level={ctr_level}. Got {channel!r}."
            )
        high = next(f for f in fits if f.channel >= channel)
        low = [f for f in fits if f.channel <= channel][-1]
        if high is low:
            return low
        weight = (channel - low.channel) / (high.channel - low.channel)

        def mix(a: Any, b: Any) -> Any:
            return ((1 - weight) * np.asarray(a) + weight * np.asarray(b)).tolist()

        return SeasonFit(ctr_level, channel, mix(low.category, high.category), mix(low.level, high.level))

    def to_json(self) -> str:
        """The file's text: one parameter a line, floats rounded to 10 significant digits."""
        return _to_json(asdict(self))

    @staticmethod
    def from_json(text: str) -> Preset:
        raw = json.loads(text)
        raw["source"] = Source(**raw["source"])
        raw["season"] = [SeasonFit(**fit) for fit in raw["season"]]
        return Preset(**raw)


def _to_json(raw: dict[str, Any]) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.10g}")
        if isinstance(value, list):
            return [plain(v) for v in value]
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return value

    lines = [f"  {json.dumps(key)}: {json.dumps(plain(value), ensure_ascii=False)}" for key, value in raw.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def visit_model_to_json(model: VisitModel) -> str:
    """The text of `envs/presets/visits.json`."""
    return _to_json(asdict(model))


@cache
def load_visit_model() -> VisitModel:
    """The committed visit model."""
    raw = json.loads(resources.files("perennial.envs.presets").joinpath("visits.json").read_text("utf-8"))
    return VisitModel(source=Source(**raw.pop("source")), **raw)


def preset_names() -> list[str]:
    """Names of the committed presets."""
    files = resources.files("perennial.envs.presets").iterdir()
    return sorted(
        Path(f.name).stem for f in files if f.name.endswith(".json") and f.name not in {"visits.json", "drifts.json"}
    )


@cache
def load_preset(name: str) -> Preset:
    """The committed preset `name`."""
    names = preset_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"'preset' must be one of {names}. Got {name!r}.{hint}")
    return Preset.from_json(resources.files("perennial.envs.presets").joinpath(f"{name}.json").read_text("utf-8"))


def harmonics(day: float | NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """float64 (..., 1 + 2 count): 1, then cosine and sine of each annual harmonic at `day` (days since `EPOCH`)."""
    phase = 2 * np.pi * np.asarray(day, dtype=np.float64)[..., None] / YEAR_DAYS * np.arange(1, count + 1)
    waves = np.stack([np.cos(phase), np.sin(phase)], axis=-1).reshape(*phase.shape[:-1], 2 * count)
    return np.concatenate([np.ones((*waves.shape[:-1], 1)), waves], axis=-1)
