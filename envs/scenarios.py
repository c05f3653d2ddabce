"""The named scenarios: which shop, what drifts in it, and when it starts."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from perennial.envs.drift import (
    Behaviour,
    CatalogueChurn,
    Composed,
    Drift,
    Holidays,
    PopulationShift,
    Regimes,
    Seasonal,
    ShiftingSeasons,
    Shock,
    Shock2020,
    TasteDrift,
    Trend,
)

AUTUMN = 244
"""2010-09-02, days since the epoch: where the scored ninety days to 30 November begin."""

WINTER_2020 = 3697
"""2020-02-15: three and a half weeks before the shock."""


@dataclass(frozen=True)
class Scenario:
    """A world with a drift, and by `twin` the same world without it.

    ``name`` is in CamelCase, as ids have it. ``make`` builds the drift. ``start_day`` in days since the epoch.
    ``world``: more arguments of `World`.
    """

    name: str
    title: str
    preset: str
    make: Callable[[], Drift]
    start_day: int = AUTUMN
    world: Mapping[str, Any] = field(default_factory=dict)

    @property
    def drift(self) -> Drift:
        """The drift, built anew."""
        return self.make()

    @property
    def twin(self) -> Drift:
        """What is left of it in the driftless twin: the season where the drift is on top of it, else nothing."""
        return self.drift.twin()

    def arguments(self, twin: bool = False) -> dict[str, Any]:
        """The arguments of `ShopEnv`: those of `World` but the seed, and ``start_day``."""
        drift = self.twin if twin else self.drift
        return {"preset": self.preset, "drift": drift, "start_day": self.start_day, **self.world}


def on_season(*others: Drift) -> Drift:
    """`others` on top of the fitted season."""
    return Composed([Seasonal(), *others])


def everything() -> Drift:
    """All that moves at once, as in `conf/drift/everything.yaml`."""
    people = [TasteDrift(), PopulationShift(size=1.5), Behaviour(price_factor=2.0, examination_factor=1.5)]
    return Composed([ShiftingSeasons(), Trend(rms=0.5), Shock(rms=0.7), *people, CatalogueChurn()])


SCENARIOS = (
    Scenario("GiftShopSeasons", "the fitted season, the same every year", "gift_shop", Seasonal),
    Scenario("GiftShopShiftingSeasons", "seasons that differ from year to year", "gift_shop", ShiftingSeasons),
    Scenario("GiftShopHolidays", "holidays on top of the season", "gift_shop", lambda: on_season(Holidays())),
    Scenario("GiftShopShock", "a shock that returns, on top of the season", "gift_shop", lambda: on_season(Shock())),
    Scenario("GiftShopTrend", "a slow move for good, on top of the season", "gift_shop", lambda: on_season(Trend())),
    Scenario("GiftShopRegimes", "three regimes in turn and no season", "gift_shop", Regimes),
    Scenario("GiftShopPopulation", "other visitors come", "gift_shop", lambda: on_season(PopulationShift())),
    Scenario("GiftShopBehaviour", "prices and positions count more", "gift_shop", lambda: on_season(Behaviour())),
    Scenario("GiftShopChurn", "half of the items replaced in a year", "gift_shop", lambda: on_season(CatalogueChurn())),
    Scenario("GiftShopEverything", "all of it at once", "gift_shop", everything),
    Scenario("MarketplaceSeasons", "the fitted season, the same every year", "marketplace", Seasonal),
    Scenario("MarketplaceShiftingSeasons", "seasons that differ from year to year", "marketplace", ShiftingSeasons),
    Scenario(
        "MarketplaceShock2020",
        "the spring of 2020",
        "marketplace",
        lambda: on_season(Shock2020()),
        start_day=WINTER_2020,
    ),
    Scenario("MarketplaceTastes", "each visitor's tastes wander", "marketplace", lambda: on_season(TasteDrift())),
)
"""A control among them is one whose stale headroom is below 5 %: `perennial-headroom` measures it."""


def scenario(name: str) -> Scenario:
    """The scenario called `name`. Raises ValueError with the nearest name if there is none."""
    known = {s.name: s for s in SCENARIOS}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"'scenario' must be one of {', '.join(known)}. Got {name!r}.{hint}")
    return known[name]
