"""Where every parameter of the world comes from: fitted to a log, taken from the literature, or assumed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from types import ModuleType
from typing import Any

from perennial.envs import World, catalogue, drift, dynamics, visitors
from perennial.envs.calibration import fit, visits
from perennial.envs.drift import Drift, Holiday, Schedule, fits, shifting_seasons
from perennial.envs.dynamics import Dynamics
from perennial.envs.notice import Ladder
from perennial.envs.preset import Preset, SeasonFit, VisitModel
from perennial.envs.rewards import Reward

FITTED, LITERATURE, ASSUMED = "fitted", "literature", "assumed"


@dataclass(frozen=True)
class Provenance:
    """`kind` FITTED, LITERATURE or ASSUMED, and the `source`: which log, which publication, or why there is none."""

    kind: str
    source: str


RECORDS = (Preset, SeasonFit, VisitModel, Dynamics, Ladder, Reward, Holiday)
"""Dataclasses whose fields are parameters; besides them those of `fits`, and the arguments of drifts, schedules and
`World`."""

MODULES = (catalogue, visitors, dynamics, shifting_seasons, visits, fit)
"""Modules whose constants are parameters."""

NO_PARAMETERS = {
    "Preset": {"name", "title", "source", "goodness_of_fit"},
    "VisitModel": {"source"},
    "Years": {"source"},
    "Departments": {"source"},
    "Tastes": {"source"},
    "Spring2020": {"source"},
    "Holiday": {"name"},
    "Composed": {"parts"},  # its parts stand for themselves
    "World": {"preset", "drift", "seed", "reward", "visit_model", "dynamics", "catalogue", "visitors", "ladder"},
    "visits": {"MAX_CLICKS", "DECAYS", "VISITS", "ITEMS", "ROUNDS", "STAY"},  # how the fit is done
}
"""Names and records that say what something is, not how the world behaves."""

PURCHASES = "the shop's purchase log (`Preset.source`)"
SIMULATED = PURCHASES + ", by simulation: the reference policy reproduces it"
CLICKS = "Clickstream data for online shopping, 2008, doi:10.24432/C5QK7X (`VisitModel.source`)"
TRADES = "US Census Bureau, Monthly Retail Trade, 20 trades, 1992-2005, noise taken off"
PANEL = "Open e-commerce 1.0, doi:10.7910/DVN/YGLYDY"
TOTALS = "published totals of large shops; no open log holds both"
NO_LOG = "no open log identifies it"
KNOB = "the user's knob: 1 is the size as fitted"
SIZE = "the user's: a size of the simulation"


def _fitted(source: str) -> Provenance:
    return Provenance(FITTED, source)


def _literature(source: str) -> Provenance:
    return Provenance(LITERATURE, source)


def _assumed(source: str) -> Provenance:
    return Provenance(ASSUMED, source)


def _all(given: Provenance, names: str) -> dict[str, Provenance]:
    return dict.fromkeys(names.split(), given)


TABLE: dict[str, dict[str, Provenance]] = {
    "Preset": {
        **_all(_fitted(PURCHASES), "base_share log_share hour weekday volume taste_concentration activity_shape"),
        **_all(_fitted(PURCHASES + ", each product once"), "log_price_mean log_price_std"),
        **_all(_fitted(SIMULATED), "season world_taste_concentration visits_per_day"),
        "categories": _assumed("rules on descriptions, or a lookup table, written for the log"),
        "ctr": _assumed("no open log holds impressions of listings; headroom is printed at x0.5, 1 and 2"),
        **_all(_literature(TOTALS), "cart_given_click purchase_given_cart"),
    },
    "SeasonFit": {
        **_all(_fitted(SIMULATED), "category level"),
        "ctr_level": _assumed("multiplies `ctr`; headroom is printed at x0.5, 1 and 2"),
        "channel": _assumed("where the season acts: no open log joins season and clicks; headroom across it"),
    },
    "VisitModel": {
        **_all(_fitted(CLICKS), "leave_base leave_spread focus examination_decay"),
        "leave_click": _assumed("0 to 5 logits fit the click log alike, see `visits.LEAVE_CLICK`"),
        "attention_spread": _assumed("2 to 3 fit the click log alike, see `visits.ATTENTION_SPREAD`"),
    },
    "Dynamics": {
        **_all(_assumed(NO_LOG), "satiation_click satiation_purchase satiation_keep satiation_days"),
        **_all(
            _assumed(NO_LOG + "; the gain of planning is drawn over it (perennial-longterm)"),
            "return_floor loyalty_rate pleasure_scale start_loyalty",
        ),
    },
    "Ladder": _all(
        _assumed("the experiment's: what a shop is told"), "level latency window threshold false_alarms horizons"
    ),
    "Reward": _all(_assumed("the experiment's: what a shop is paid for"), "click cart purchase not_interested"),
    "Years": _all(_fitted(TRADES), "amplitude_sd common_amplitude_sd phase_sd_days common_phase_sd_days"),
    "Departments": _all(
        _fitted(PANEL + ", 2018-2019: one pair of years; not used by default"),
        "amplitude_sd common_amplitude_sd phase_sd_days common_phase_sd_days amplitude_sd_error "
        "common_amplitude_sd_error phase_sd_days_error common_phase_sd_days_error",
    ),
    "Tastes": _all(_fitted(PANEL + ", 2018-2020, by pairs of orders"), "share knot_days share_error knot_days_error"),
    "Spring2020": _all(_fitted(PANEL + ", 2018-2020, noise shrunk away"), "sizes half_life_days"),
    "Composed": _all(_assumed(KNOB), "strength"),
    "Seasonal": _all(_assumed(KNOB), "strength"),
    "ShiftingSeasons": {
        "strength": _assumed(KNOB),
        **_all(_fitted(TRADES), "amplitude_sd phase_sd_days common_amplitude_sd common_phase_sd_days"),
    },
    "TasteDrift": {
        "strength": _assumed(KNOB),
        **_all(_fitted(PANEL + ", 2018-2020, by pairs of orders"), "share knot_days"),
    },
    "Shock2020": {
        **_all(_assumed(KNOB), "strength segment"),
        **_all(_fitted(PANEL + ", 2018-2020, noise shrunk away"), "sizes half_life_days"),
        "start": _literature("the pandemic's declaration: WHO, 11 March 2020"),
        **_all(_assumed("read off the weeks of the log, not fitted"), "rise_days hold_days"),
    },
    "Shock": _all(
        _assumed("a scenario"), "strength start rise_days hold_days half_life_days sizes rms categories segment draw"
    ),
    "Trend": _all(_assumed("a scenario"), "strength start days sizes rms categories segment draw"),
    "Regimes": _all(_assumed("a scenario"), "strength count rms dwell_days order start categories segment"),
    "PopulationShift": _all(_assumed("a scenario"), "strength size schedule"),
    "Behaviour": _all(_assumed("a scenario"), "strength price_factor examination_factor schedule"),
    "CatalogueChurn": _all(_assumed("a scenario"), "strength share start days"),
    "Holidays": _all(_assumed("a scenario"), "strength holidays segment"),
    "Holiday": {
        **_all(_literature("the civil and church calendar; Easter by the computus of Meeus 1991"), "date shift"),
        **_all(_assumed("a scenario: sharper than a season's harmonics"), "categories size rise_days peak_days"),
    },
    "NoDrift": {},
    "Step": _all(_assumed("a scenario"), "start"),
    "Ramp": _all(_assumed("a scenario"), "start days"),
    "Pulse": _all(_assumed("a scenario"), "start rise_days hold_days half_life_days"),
    "Periodic": _all(_assumed("a scenario"), "start period_days"),
    "World": {
        **_all(_assumed(SIZE), "n_users n_items n_candidates slate_size history latent_dim page_limit"),
        "ctr_level": _assumed("as in `SeasonFit`"),
        "channel": _assumed("as in `SeasonFit`"),
        "visits_per_day": _fitted("as in `Preset`, unless the user says otherwise"),
        "choice": _assumed("position: slots side by side show no effect within +-30 % in Open Bandit's uniform log"),
    },
    "catalogue": {
        **_all(
            _assumed(NO_LOG),
            "APPEAL_SCALE APPEAL_FREEDOM CLICKBAIT QUALITY_NOISE CART_QUALITY NOT_INTERESTED PROVIDERS",
        ),
        **_all(_assumed("how much of an item agents see"), "FEATURES FEATURE_NOISE"),
    },
    "visitors": {
        **_all(
            _assumed(NO_LOG), "LATENT_SCALE TASTE_FLOOR PRICE_SENSITIVITY PRICE_SHAPE SENSITIVITY_SHAPE PATIENCE_SHARE"
        ),
        **_all(_assumed("an attribute to audit by, made up"), "PROTECTED_SHARE LEAN_NOISE"),
        **_all(_assumed("how much of a visitor agents see"), "FEATURES FEATURE_NOISE"),
    },
    "dynamics": _all(_assumed("turns visits into potential visits; the real share is measured"), "EXPECTED_RETURN"),
    "shifting_seasons": _all(_assumed("how smoothly one year's season passes into the next"), "BLEND_DAYS"),
    "visits": {
        "CTR": _assumed("as `Preset.ctr`"),
        "LEAVE_CLICK": _assumed("0 to 5 logits fit the click log alike"),
        "ATTENTION_SPREAD": _assumed("2 to 3 fit the click log alike; without it single clicks are too few by half"),
        **_all(_assumed("what the fit of the examination decay forgives"), "HAZARD_ERROR DEPTH_ERROR"),
    },
    "fit": {
        "CTR": _assumed("as `Preset.ctr`"),
        **_all(_literature(TOTALS), "CART_GIVEN_CLICK PURCHASE_GIVEN_CART"),
    },
}
"""By owner (a class, or a module for its constants), then by parameter."""


def parameters() -> dict[str, dict[str, Any]]:
    """Every parameter of the world by owner, with its default (None where it has none), found by looking, not by list.

    Fields of the records, arguments of `World` and of every drift and schedule, constants of the modules.
    """
    found: dict[str, dict[str, Any]] = {}
    for record in (*RECORDS, *_fits()):
        found[record.__name__] = {f.name: None if f.default is MISSING else f.default for f in fields(record)}
    for kind in (World, *_kinds()):
        arguments = inspect.signature(kind).parameters.values()
        found[kind.__name__] = {a.name: None if a.default is a.empty else a.default for a in arguments}
    for module in MODULES:
        found[module.__name__.rpartition(".")[2]] = dict(_constants(module))
    return {
        owner: {name: value for name, value in own.items() if name not in NO_PARAMETERS.get(owner, ())}
        for owner, own in found.items()
    }


def _fits() -> list[Any]:
    """The records of fitted drift sizes."""
    return [_class_of(f.type) for f in fields(fits.DriftFits)]


def _class_of(name: Any) -> Any:
    return getattr(fits, name) if isinstance(name, str) else name


def _kinds() -> list[Any]:
    """Every drift and schedule that can be built."""
    found = []
    for place in pkgutil.iter_modules(drift.__path__):
        module = importlib.import_module(f"{drift.__name__}.{place.name}")
        own = [kind for kind in vars(module).values() if inspect.isclass(kind) and kind.__module__ == module.__name__]
        found += [kind for kind in own if issubclass(kind, Drift | Schedule) and not inspect.isabstract(kind)]
    return found


def _constants(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The numbers that `module` itself names in capitals."""
    own = {name for name in inspect.getsource(module).split("\n") if name[:1].isupper()}
    names = {part.strip() for line in own if "=" in line for part in line.split("=")[0].split(":")[0].split(",")}
    for name, value in vars(module).items():
        if name in names and name.isupper() and isinstance(value, int | float | tuple):
            yield name, value
