"""The recipe of a calibration: a clean log in, a preset out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from perennial.envs.calibration import seasons, simulate, tastes, volumes
from perennial.envs.calibration.logs import PurchaseLog
from perennial.envs.calibration.simulate import Effort
from perennial.envs.preset import Preset, SeasonFit, Source, VisitModel

CTR, CART_GIVEN_CLICK, PURCHASE_GIVEN_CART = 0.15, 0.09, 0.30
"""Declared: no open log holds impressions of an in-session listing, its clicks, carts and orders together. 0.15 is the
share of examined products opened under a uniform slate (home-page widgets have 0.4-0.5 %, which is another thing);
carts per click and orders per cart are published totals of large shops."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Grid:
    """The settings a season is fitted at: every CTR level with every channel, (1, 1) first."""

    ctr_levels: Sequence[float] = simulate.CTR_LEVELS
    channels: Sequence[float] = simulate.CHANNELS

    def settings(self) -> list[tuple[float, float]]:
        """All (ctr_level, channel), sorted."""
        return sorted(product({1.0, *self.ctr_levels}, {1.0, *self.channels}))


def choose_harmonics(log: PurchaseLog) -> int:
    """The number of harmonics that scores best on what was held out; see `seasons.cross_validate`.

    Weeks left out of a single year reward fitting that year's own events as well: such a season is that shop's in that
    year. (The gift shop's weeks ask for 7, and so do customers held out; the marketplace's second year for 3.)
    """
    scores = seasons.cross_validate(log)
    return max(scores, key=lambda h: scores[h])


def fit_log(log: PurchaseLog, name: str, title: str, source: Source, harmonics: int | None = None) -> Preset:
    """All that the log alone gives; the parts fitted by simulation are empty (season) or as in the log (taste)."""
    count = choose_harmonics(log) if harmonics is None else harmonics
    weeks, effect = seasons.weekly(log), seasons.design_effect(log.baskets)
    log_share = seasons.fit_log_share(weeks, count, effect)
    concentration = tastes.log_concentration(log, log_share)
    price_mean, price_std = volumes.fit_prices(log)
    return Preset(
        name=name,
        title=title,
        source=source,
        categories=log.categories,
        base_share=seasons.year_share(log_share).tolist(),
        log_share=log_share.tolist(),
        season=[],
        hour=volumes.fit_hour(log).tolist(),
        weekday=volumes.fit_weekday(log).tolist(),
        volume=volumes.fit_volume(log, count).tolist(),
        visits_per_day=len(log.order_day) / log.days,
        taste_concentration=concentration,
        world_taste_concentration=concentration,
        activity_shape=volumes.fit_activity(volumes.orders_per_user(log)),
        log_price_mean=price_mean.tolist(),
        log_price_std=price_std.tolist(),
        ctr=CTR,
        cart_given_click=CART_GIVEN_CLICK,
        purchase_given_cart=PURCHASE_GIVEN_CART,
    )


def as_written(preset: Preset) -> Preset:
    """The preset with its numbers rounded as its file keeps them: what is simulated can be repeated from the file."""
    return Preset.from_json(preset.to_json())


def fit_main(preset: Preset, model: VisitModel, effort: Effort) -> tuple[Preset, SeasonFit]:
    """The season at (1, 1), the world's taste concentration and the visits a day, from what the log gave.

    Half the rounds with the log's own concentration, then the concentration, then all rounds with it.
    """
    preset = as_written(preset)
    rough = simulate.fit_season(preset, model, 1.0, 1.0, replace(effort, rounds=effort.rounds // 2))
    taste = simulate.fit_world_taste(preset, rough, model, effort)
    preset = as_written(replace(preset, world_taste_concentration=taste))
    fit = simulate.fit_season(preset, model, 1.0, 1.0, effort, rough)
    orders = simulate.order_rate(simulate.simulate(preset, fit, model, effort))
    return replace(preset, season=[fit], visits_per_day=preset.visits_per_day / orders), fit


def fit_shop(
    log: PurchaseLog,
    name: str,
    title: str,
    source: Source,
    model: VisitModel,
    harmonics: int | None = None,
    grid: Grid | None = None,
    effort: Effort | None = None,
    progress: Progress = lambda _: None,
) -> Preset:
    """A preset from a purchase log: log part, then season and taste by simulation at every setting of the grid."""
    effort = effort or Effort()
    progress("the log: season, volume, taste, prices")
    preset = fit_log(log, name, title, source, harmonics)
    progress("by simulation: season at ctr_level 1, channel 1, and taste")
    preset, main = fit_main(preset, model, effort)
    fits = []
    for ctr_level, channel in (grid or Grid()).settings():
        if (ctr_level, channel) == (1.0, 1.0):
            fits.append(main)
            continue
        progress(f"by simulation: season at ctr_level {ctr_level}, channel {channel}")
        fits.append(simulate.fit_season(preset, model, ctr_level, channel, effort))
    return replace(preset, season=fits)
