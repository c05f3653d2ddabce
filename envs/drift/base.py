"""What moves, as a pure function of time: any day in O(1), the realised path is the declared path."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from perennial.envs.preset import Preset, harmonics
from perennial.envs.validation import at_least

SEGMENTS = 2
"""Segments of visitors that a drift may tell apart: 0 the regulars, 1 the others; see `Visitors.segment`."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Offsets:
    """The world's moving parameters at T moments, or what a drift adds to them; all float64. Zero: nothing moves.

    Per segment of visitors and category, (T, 2, C): ``need`` logits added to the attraction, times the visitor's
    sensitivity; ``purchase`` logits added to the cart given a click, times the sensitivity.
    For everyone, (T,): ``level`` logits added to the attraction; ``price`` log of the factor on price sensitivity;
    ``examination`` log of the factor on the examination decay; ``population`` logits added to segment 1's share of the
    potential visits.
    """

    need: Floats
    purchase: Floats
    level: Floats
    price: Floats
    examination: Floats
    population: Floats

    @staticmethod
    def nothing(moments: int, categories: int) -> Offsets:
        """All zero."""
        table = (moments, SEGMENTS, categories)
        return Offsets(np.zeros(table), np.zeros(table), *(np.zeros(moments) for _ in range(4)))

    def __add__(self, other: Offsets) -> Offsets:
        return Offsets(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Offsets) -> Offsets:
        return self + other.scaled(-1.0)

    def scaled(self, factor: float) -> Offsets:
        """Everything times `factor`."""
        return Offsets(*(factor * getattr(self, f.name) for f in fields(self)))

    def take(self, moments: Any) -> Offsets:
        """Some of the moments, by index, slice or mask."""
        return Offsets(*(getattr(self, f.name)[moments] for f in fields(self)))

    def mean(self, weights: Floats) -> Offsets:
        """One moment: the mean of all, weighted by `weights` (T,)."""
        share = weights / weights.sum()
        return Offsets(*(np.einsum("t,t...->...", share, getattr(self, f.name))[None] for f in fields(self)))

    def size(self, share: Floats) -> Floats:
        """float64 (T,): root mean square, in logits, of need + level + purchase over segments and categories (C,).

        Categories count by `share`, segments alike: 1 if every category's logit of attraction moves by one.
        """
        square = (self.need + self.level[:, None, None]) ** 2 + self.purchase**2
        return np.asarray(np.sqrt((square.mean(axis=1) * (share / share.sum())).sum(axis=1)))

    def packed(self) -> Floats:
        """(T, 4 C + 3): need, purchase, level, price, examination in one row a moment, as the kernels read them."""
        rows = len(self.level)
        parts = [self.need.reshape(rows, -1), self.purchase.reshape(rows, -1)]
        return np.concatenate([*parts, np.stack([self.level, self.price, self.examination], axis=1)], axis=1)

    @property
    def moments(self) -> int:
        return len(self.level)


@dataclass(frozen=True)
class Season:
    """A preset's season, bound to a CTR level and a channel.

    ``category`` float64 (C, 1 + 2H) and ``level`` float64 (1 + 2H): see `SeasonFit`. ``channel`` in [0, 1].
    """

    category: Floats
    level: Floats
    channel: float

    @staticmethod
    def of(preset: Preset, ctr_level: float, channel: float) -> Season:
        fit = preset.season_fit(ctr_level, channel)
        return Season(np.asarray(fit.category), np.asarray(fit.level), channel)

    @property
    def harmonics(self) -> int:
        """Number of annual harmonics, H."""
        return (self.category.shape[1] - 1) // 2

    def at(self, days: Floats) -> Offsets:
        """The fitted season at `days` (T,), days since the epoch."""
        waves = harmonics(days, self.harmonics)
        return self.offsets(np.einsum("th,ch->tc", waves, self.category), np.einsum("th,h->t", waves, self.level))

    def mean(self) -> Offsets:
        """One moment, the season's mean over the year: the constants of the harmonics."""
        return self.offsets(self.category[None, :, 0], self.level[None, 0])

    def swing(self, days: Floats) -> Offsets:
        """The season at `days` (T,) less its mean over the year: what the seasonal drift adds to its twin."""
        return self.at(days) - self.mean().take(np.zeros(len(days), np.int64))

    def offsets(self, category: Floats, level: Floats) -> Offsets:
        """`category` (T, C) logits for all, split by the channel between attraction and purchase; `level` (T,)."""
        nothing = Offsets.nothing(*category.shape)
        everybody = np.repeat(category[:, None], SEGMENTS, axis=1)
        need, purchase = self.channel * everybody, (1 - self.channel) * everybody
        return Offsets(need, purchase, level, nothing.price, nothing.examination, nothing.population)


@dataclass(frozen=True)
class Setting:
    """The shop a drift happens in: its ``preset``, its ``season`` and the ``seed`` that keys whatever is drawn."""

    preset: Preset
    season: Season
    seed: int


@dataclass(frozen=True)
class Turnover:
    """How tastes turn over. Of a taste's variance ``share`` moves, on a path with a new knot every ``knot_days``."""

    share: float = 0.0
    knot_days: float = 365.25


@dataclass(frozen=True)
class Declaration:
    """A drift in words: ``what`` moves, ``when``, ``how``, and ``who`` is concerned."""

    what: str
    when: str
    how: str
    who: str = "all visitors, all categories"


class Drift(ABC):
    """One way in which the world's parameters move, declared and pure: the same day gives the same parameters.

    What has a ``strength`` keeps it under that name: 0 is the driftless twin.
    """

    strength: float

    backdrop: ClassVar[bool] = False
    """Whether it stays when a composition is robbed of its drift: what changes *on top of the season* is the drift."""

    @abstractmethod
    def change(self, days: Floats, setting: Setting) -> Offsets:
        """What it adds at `days` (T,), days since the epoch, to the mean of the year.

        Raises ValueError, on any day, if it does not fit the shop: an unknown category, say.
        """

    def twin(self) -> Drift:
        """The driftless twin: what is left at strength 0."""
        from perennial.envs.drift.none import NoDrift

        return NoDrift()

    def stronger(self, factor: float) -> Drift:
        """The same drift, its strength times `factor` >= 0. Raises ValueError where it cannot be that strong."""
        if not hasattr(self, "strength"):
            raise ValueError(
                f"'drift.strength' multiplies the strength of every part. Got {type(self).__name__}, which has none: "
                "give it an attribute 'strength', or leave 'drift.strength' at 1."
            )
        other = copy.copy(self)
        other.strength = self.strength * factor
        return other

    def describe(self) -> Declaration:
        """What, when, how and who, in words; here the class's own first sentence."""
        return Declaration((self.__doc__ or type(self).__name__).split("\n")[0], "at all times", "as declared")

    def budget(self, setting: Setting, first: float, last: float) -> dict[str, float]:
        """Total variation of the declared path from day `first` to day `last`, in daily steps, by what moves.

        Logits for attraction and purchase (see `Offsets.size`) and for the population, logs for the others.
        """
        path = self.at(np.arange(first, last + 1.0), setting)
        steps = path.take(slice(1, None)) - path.take(slice(None, -1))
        found = {"attraction and purchase": float(steps.size(np.asarray(setting.preset.base_share)).sum())}
        return found | {f: float(np.abs(getattr(steps, f)).sum()) for f in ("price", "examination", "population")}

    def turnover(self) -> Turnover:
        """How visitors' tastes move; not at all unless it says so."""
        return Turnover()

    def lifetimes(self, category: NDArray[np.int32], setting: Setting) -> tuple[Floats, Floats] | None:
        """float64 (N,) launch and retirement of every item, days since the epoch; None: all are on sale for ever."""
        return None

    def at(self, days: Floats, setting: Setting) -> Offsets:
        """The world's parameters at `days` (T,)."""
        change = self.change(np.asarray(days, np.float64), setting)
        mean = setting.season.mean()
        return change + mean.take(np.zeros(change.moments, np.int64))


class Composed(Drift):
    """Several drifts at once: their changes add up. At most one may turn tastes over, and one move the catalogue.

    The twin is what the parts rest on: the season, if one of them is the season.

    Arguments:
        parts: the drifts, each with a strength of its own.
        strength: multiplies the strength of every part, >= 0, but not that of the season which the others rest on, so
            that 0 is the twin.
    """

    def __init__(self, parts: Sequence[Drift], strength: float = 1.0) -> None:
        for part in parts:
            if not isinstance(part, Drift):
                raise TypeError(f"'drift.parts' must hold drifts. Got {type(part).__name__}: {part!r}.")
        if not parts:
            raise ValueError("'drift.parts' must hold at least one drift. Got none: use NoDrift.")
        self.strength, self._given = at_least("drift.strength", strength, 0.0), tuple(parts)
        rests = not all(part.backdrop for part in parts)
        self.parts = tuple(part if part.backdrop and rests else _times(part, strength) for part in parts)
        if sum(part.turnover().share > 0 for part in parts) > 1:
            raise ValueError("'drift.parts' may hold one drift of tastes. Got two: put their shares into one.")

    def stronger(self, factor: float) -> Drift:
        return Composed(self._given, self.strength * factor)

    def change(self, days: Floats, setting: Setting) -> Offsets:
        total = self.parts[0].change(days, setting)
        for part in self.parts[1:]:
            total = total + part.change(days, setting)
        return total

    def twin(self) -> Drift:
        from perennial.envs.drift.none import NoDrift

        if all(part.backdrop for part in self.parts):
            return NoDrift()
        left = [part if part.backdrop else part.twin() for part in self.parts]
        left = [part for part in left if not isinstance(part, NoDrift)]
        return (left[0] if len(left) == 1 else Composed(left)) if left else NoDrift()

    def describe(self) -> Declaration:
        words = [part.describe() for part in self.parts]
        return Declaration(*("; ".join(dict.fromkeys(getattr(w, f.name) for w in words)) for f in fields(Declaration)))

    def turnover(self) -> Turnover:
        return next((t for part in self.parts if (t := part.turnover()).share > 0), Turnover())

    def lifetimes(self, category: NDArray[np.int32], setting: Setting) -> tuple[Floats, Floats] | None:
        found = [lives for part in self.parts if (lives := part.lifetimes(category, setting)) is not None]
        if len(found) > 1:
            raise ValueError("'drift.parts' may hold one drift of the catalogue. Got two: put them into one.")
        return found[0] if found else None


def _times(part: Drift, factor: float) -> Drift:
    return part if factor == 1 else part.stronger(factor)
