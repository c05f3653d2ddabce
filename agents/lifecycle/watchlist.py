"""The watches of a shop, judged together once a week: its clicks, visits, exposure, calibration and visitors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Feedback, Items, Spaces
from perennial.agents.lifecycle.daily import ends_day
from perennial.agents.lifecycle.decisions import AlertRecord
from perennial.agents.lifecycle.tables import HOURS
from perennial.agents.lifecycle.watches import (
    Binned,
    CalibrationWatch,
    CellWatch,
    DailyWatch,
    MeanWatch,
    Step,
    Watch,
    concentration,
    coverage,
    recall,
    remembered,
)
from perennial.agents.validation import number

Latency = Callable[[Feedback], NDArray[Any]]
"""Declared milliseconds (P,) of each page's decision, NaN where unknown: by a cost model, see `cost.VersionCosts`."""


class Watchlist:
    """Everything that is watched, and the alerts of the day that ended last.

    Once `current_days` new days are there, each figure's newest days are held against the `reference_days` before. The
    chance of any false alert a week is at most `budget`: each test has an equal share of it (Bonferroni).

    Arguments:
        items: the item table, or what gives that of an hour where items come and go.
        spaces: sizes of what agents see.
        latency: declared milliseconds of each page's decision; None: latency is not watched.
        budget: chance of a false alert among all tests of a week.
        reference_days, current_days: the spans that are compared.
        seed: of the tests' random divisions.
    """

    def __init__(
        self,
        items: Items | Callable[[int], Items],
        spaces: Spaces,
        latency: Latency | None = None,
        budget: float = 0.05,
        reference_days: int = 28,
        current_days: int = 7,
        seed: int = 0,
    ) -> None:
        self._arguments = (items, spaces, latency, budget, reference_days, current_days, seed)
        self.items, self.spaces, self.latency = items, spaces, latency
        self.budget = number("budget", budget, 0.0, 1.0, above=True)
        self._spans: dict[str, int] = {"reference_days": reference_days, "current_days": current_days}
        self.category, self.price = np.zeros(spaces.n_items, np.int64), np.ones(spaces.n_items)
        self._day, self._closed = -1, 0
        self.watches: list[Watch] = [*self._outcomes(), *self._exposure(), *self._visitors(seed)]
        self.alerts: list[AlertRecord] = []

    def __getstate__(self) -> dict[str, Any]:
        """What was counted, and what it takes to build the watches again; not the functions that count."""
        kept = {name: value for name, value in vars(self).items() if name != "watches"}
        return {"kept": kept, "counted": [remembered(watch) for watch in self.watches]}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(*state["kept"]["_arguments"])  # type: ignore[misc]
        vars(self).update(state["kept"])
        for watch, counted in zip(self.watches, state["counted"], strict=True):
            recall(watch, counted)

    def update(self, step: Step, tick: int) -> None:
        """Count the hours that end with `tick`; `alerts` then holds what the end of a day brought."""
        if tick // HOURS != self._day:
            self._day = tick // HOURS
            self._meet(self.items(tick) if callable(self.items) else self.items)
        for watch in self.watches:
            watch.add(step)
        self.alerts = []
        if ends_day(tick):
            for watch in self.watches:
                watch.close()
            self._closed += 1
            if self._closed % self._spans["current_days"] == 0:
                self.alerts = list(self._judge(tick))

    @property
    def unwatched(self) -> list[str]:
        """Figures of which the remembered days tell nothing, so that no drift of them can be seen."""
        return [watch.name for watch in self.watches if not watch.told]

    def figures(self) -> dict[str, float]:
        """All watched figures by name, as of the end of the last day."""
        return {name: value for watch in self.watches for name, value in watch.figures().items()}

    def _meet(self, items: Items) -> None:
        self.category, self.price = items["category"].astype(np.int64), np.asarray(items["price"], np.float64)

    def _judge(self, tick: int) -> Iterator[AlertRecord]:
        alpha = self.budget / len(self.watches)
        for watch in self.watches:
            found = watch.judge(alpha)
            if found is not None and found.p_value < alpha:
                yield AlertRecord(
                    tick,
                    watch.name,
                    watch.test,
                    found.reference,
                    found.current,
                    found.score,
                    found.p_value,
                    alpha,
                    found.reference_values,
                    found.current_values,
                    found.smallest,
                )

    def _outcomes(self) -> Iterator[Watch]:
        """What visitors do, in all and on items of each category."""
        spans = self._spans
        yield MeanWatch("ctr", lambda s: (s.pages.clicked.size, float(s.pages.clicked.sum())), "down", **spans)
        yield MeanWatch("first_page_ctr", lambda s: _clicks(s.pages.clicked[s.pages.keys.page == 0]), "down", **spans)
        yield MeanWatch("bounce_rate", lambda s: (s.visits_ended, float(s.bounces)), "up", **spans)
        yield MeanWatch("reward", lambda s: (len(s.pages), _total(s.pages.reward)), "down", **spans)
        for category in range(self.spaces.n_categories):
            yield MeanWatch(f"ctr/category_{category}", self._clicks_in(category), "down", **spans)
        if (latency := self.latency) is not None:
            yield MeanWatch("latency_ms", lambda s: _known(latency(s.pages)), "up", **spans)
        yield CalibrationWatch(**spans)

    def _clicks_in(self, category: int) -> Callable[[Step], tuple[int, float]]:
        return lambda s: _clicks(s.pages.clicked[self.category[s.pages.slate_items] == category])

    def _exposure(self) -> Iterator[Watch]:
        """What is shown, and how evenly."""
        spans, items, kinds = self._spans, self.spaces.n_items, self.spaces.n_categories
        yield DailyWatch("coverage", items, coverage, "down", **spans)
        yield DailyWatch("concentration", items, concentration, "up", **spans)

        def shares(chosen: Callable[[Step], NDArray[Any]]) -> Callable[[Step], NDArray[np.int64]]:
            return lambda s: np.bincount(self.category[chosen(s)], minlength=kinds)

        yield CellWatch("shown_category", shares(lambda s: s.pages.slate_items.ravel()), "psi", **spans)
        yield CellWatch("clicked_category", shares(lambda s: s.pages.slate_items[s.pages.clicked]), "psi", **spans)

    def _visitors(self, seed: int) -> Iterator[Watch]:
        """Who comes, when, and what they click."""
        spans, slots = self._spans, self.spaces.slate_size

        def first_clicks(s: Step) -> NDArray[np.int64]:
            first = s.pages.keys.page == 0
            return np.bincount(s.pages.clicked[first].sum(axis=1), minlength=slots + 1)

        def hours(s: Step) -> NDArray[np.int64]:
            return np.bincount(s.pages.keys.tick[s.pages.keys.page == 0] % HOURS, minlength=HOURS)

        prices = Binned(lambda s: self.price[s.pages.slate_items[s.pages.clicked]])
        yield CellWatch("first_page_clicks", first_clicks, "ks", seed=seed, **spans)
        yield CellWatch("clicked_price", prices, "ks", seed=seed, **spans)
        yield CellWatch("hour", hours, "psi", seed=seed, **spans)
        for column in range(self.spaces.user_dim):
            yield CellWatch(f"user_{column}", Binned(_feature(column)), "ks", seed=seed, **spans)


def _clicks(clicked: NDArray[np.bool_]) -> tuple[int, float]:
    return clicked.size, float(clicked.sum())


def _known(values: NDArray[Any]) -> tuple[int, float]:
    told = values[~np.isnan(values)]
    return len(told), _total(told)


def _total(values: NDArray[Any]) -> float:
    return float(values.sum(dtype=np.float64))


def _feature(column: int) -> Callable[[Step], NDArray[Any]]:
    """One column of the visitors' features, on first pages."""
    return lambda s: s.pages.observations["user"][s.pages.keys.page == 0, column]
