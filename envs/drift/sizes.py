"""Who a drift concerns and by how much: one size in logits for each segment of visitors and category of items."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perennial.envs.drift.base import SEGMENTS, Floats, Offsets, Setting
from perennial.envs.preset import Preset
from perennial.envs.random_numbers import table_generator
from perennial.envs.validation import at_least


def places(name: str, categories: Collection[str], preset: Preset) -> NDArray[np.int64]:
    """int64 (n,): where the named categories stand in the preset; `name` is the argument they came by."""
    for category in categories:
        if category not in preset.categories:
            near = difflib.get_close_matches(str(category), preset.categories, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ValueError(
                f"'{name}' must name categories of the preset '{preset.name}': {', '.join(preset.categories)}. "
                f"Got {category!r}.{hint}"
            )
    return np.array([preset.categories.index(category) for category in categories], np.int64)


def check_segment(segment: int | None) -> int | None:
    """`segment`, if it is 0, 1 or None."""
    if segment is not None and (isinstance(segment, bool) or segment not in range(SEGMENTS)):
        raise ValueError(f"'drift.segment' must be 0 (the regulars), 1 (the others) or None for all. Got {segment!r}.")
    return segment


def of_segment(table: Floats, segment: int | None) -> Floats:
    """float64 (2, C): `table` (C,) for all visitors, or for one segment and 0 for the other."""
    concerned = np.array([segment in (None, s) for s in range(SEGMENTS)], np.float64)
    return concerned[:, None] * table


def who(segment: int | None, categories: Collection[str] | None) -> str:
    """In words."""
    people = "all visitors" if segment is None else f"visitors of segment {segment}"
    return f"{people}, {'all categories' if categories is None else ', '.join(categories)}"


def moved(path: Floats, table: Floats, setting: Setting) -> Offsets:
    """`path` (T,) x `table` (2, C) logits, split by the shop's channel between attraction and purchase."""
    logits = path[:, None, None] * table
    channel = setting.season.channel
    nothing = Offsets.nothing(len(path), table.shape[1])
    return replace(nothing, need=channel * logits, purchase=(1 - channel) * logits)


@dataclass(frozen=True)
class Sizes:
    """Sizes in logits: ``sizes`` by category name, or, if None, drawn by the world's seed with a root mean square of
    ``rms`` over ``categories`` (None: all), weighted by base share.

    Drawn sizes of several categories have a weighted mean of 0: demand moves between categories and is not made.
    ``purpose`` names the draw: the same seed and purpose give the same sizes. ``segment``: 0, 1 or None for both.
    """

    purpose: str
    sizes: Mapping[str, float] | None = None
    rms: float = 1.0
    categories: Collection[str] | None = None
    segment: int | None = None

    def __post_init__(self) -> None:
        at_least("drift.rms", self.rms, 0.0)
        check_segment(self.segment)
        if self.sizes is not None and self.categories is not None:
            raise ValueError("'drift.sizes' names the categories already. Leave out 'drift.categories', or 'sizes'.")
        for kind, given in (("sizes", self.sizes), ("categories", self.categories)):
            if given is not None and not given:
                raise ValueError(f"'drift.{kind}' must name at least one category. Got none; leave it out for all.")
        for category, size in (self.sizes or {}).items():
            if isinstance(size, bool) or not isinstance(size, int | float) or not np.isfinite(size):
                raise ValueError(f"'drift.sizes.{category}' must be a finite number, in logits. Got {size!r}.")

    def table(self, setting: Setting) -> Floats:
        """float64 (2, C), logits. Raises ValueError if the preset has no such category."""
        line = np.zeros(len(setting.preset.categories))
        if self.sizes is not None:
            line[places("drift.sizes", self.sizes, setting.preset)] = list(self.sizes.values())
        else:
            names = setting.preset.categories if self.categories is None else self.categories
            where = places("drift.categories", names, setting.preset)
            line[where] = self._drawn(where, setting)
        return of_segment(line, self.segment)

    def _drawn(self, where: NDArray[np.int64], setting: Setting) -> Floats:
        share = np.asarray(setting.preset.base_share)[where]
        share = share / share.sum()
        # Drawn for all categories: naming some of them leaves the draws of each as they were.
        drawn = table_generator(setting.seed, self.purpose).standard_normal(len(setting.preset.categories))[where]
        if len(where) > 1:
            drawn = drawn - (share * drawn).sum()
        return np.asarray(self.rms * drawn / np.sqrt((share * drawn**2).sum()))

    def words(self) -> str:
        """In words."""
        if self.sizes is None:
            return f"sizes drawn by the seed, rms {self.rms:g} logits"
        return ", ".join(f"{name} {size:+g}" for name, size in self.sizes.items()) + " logits"

    def who(self) -> str:
        """In words."""
        return who(self.segment, self.categories if self.sizes is None else list(self.sizes))
