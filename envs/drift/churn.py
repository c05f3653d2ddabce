"""Churn of the catalogue: old items go, new ones come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.envs.drift.base import Declaration, Drift, Floats, Offsets, Setting
from perennial.envs.drift.schedules import day_of, positive
from perennial.envs.random_numbers import table_generator
from perennial.envs.validation import at_least


class CatalogueChurn(Drift):
    """Items hand over to hidden items of the same category, one retiring the moment the other launches.

    So the number of live items of every category stays. Of the catalogue's N items, N s / (1 + s) are hidden at first,
    s = `strength` x `share`, category by category and rounded down; as many hand over, at times drawn uniformly.

    Arguments:
        strength: multiplies the share, >= 0.
        share: of the live items, replaced over the span; `strength` x `share` in [0, 1].
        start, days: ISO date on which the span begins, and its length, days > 0.
    """

    def __init__(
        self, strength: float = 1.0, share: float = 0.5, start: str = "2010-01-01", days: float = 365.0
    ) -> None:
        self.strength = at_least("drift.strength", strength, 0.0)
        self.share = at_least("drift.share", share, 0.0)
        if strength * share > 1:
            raise ValueError(
                f"'drift.strength' x 'drift.share' must lie in [0, 1]: an item is replaced once at most. "
                f"Got {strength!r} x {share!r}. Shorten 'drift.days' for a faster churn."
            )
        self.start, self.days = start, positive("drift.days", days)
        self._first = day_of("drift.start", start)

    def stronger(self, factor: float) -> Drift:
        return CatalogueChurn(self.strength * factor, self.share, self.start, self.days)  # checks the share anew

    def change(self, days: Floats, setting: Setting) -> Offsets:
        return Offsets.nothing(len(days), len(setting.preset.categories))

    def lifetimes(self, category: NDArray[np.int32], setting: Setting) -> tuple[Floats, Floats] | None:
        replaced = self.strength * self.share
        if replaced == 0:
            return None
        rng = table_generator(setting.seed, "drift.churn")
        launch, retire = np.full(len(category), -np.inf), np.full(len(category), np.inf)
        for c in range(len(setting.preset.categories)):
            items = rng.permutation(np.flatnonzero(category == c))
            pairs = int(len(items) * replaced / (1 + replaced) + 1e-9)
            when = self._first + self.days * rng.random(pairs)
            retire[items[:pairs]] = when
            launch[items[pairs : 2 * pairs]] = when
        return launch, retire

    def describe(self) -> Declaration:
        how = f"{self.strength * self.share:.0%} of the live items replaced by others of their category, one by one"
        return Declaration(
            "which items are on sale", f"from {self.start} for {self.days:g} days", how, "all categories"
        )
