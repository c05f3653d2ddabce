"""Fairness: who is shown what, and whom it serves, by protected group of the visitors and by provider of the items.

Neither attribute is in any observation: both come as audit tables, which the lifecycle keeps from the agents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Feedback
from perennial.agents.lifecycle.decisions import FairnessRecord
from perennial.agents.lifecycle.evidence import METRICS, UserLedger
from perennial.agents.lifecycle.guardrails import Guardrail, Reading
from perennial.agents.lifecycle.rollout import Trial
from perennial.agents.lifecycle.sequential import mixture_interval
from perennial.agents.lifecycle.tables import HOURS
from perennial.agents.validation import number, one_of, whole

Floats = NDArray[np.float64]


# -- measures ---------------------------------------------------------------------------------------------------------


def group_rates(chosen: NDArray[Any], groups: NDArray[Any], size: int) -> Floats:
    """float64 (size,): the share of `chosen` in each group; NaN where a group is empty."""
    count = np.bincount(groups, minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.bincount(groups, chosen, size) / count


def disparate_impact(rates: Floats) -> float:
    """The smallest group's rate over the largest's, in [0, 1]; below 0.8 is the four-fifths rule's alarm.

    Feldman, Friedler, Moeller, Scheidegger and Venkatasubramanian 2015, "Certifying and removing disparate impact".
    """
    known = rates[~np.isnan(rates)]
    return float(known.min() / known.max()) if len(known) and known.max() > 0 else math.nan


def equalised_odds(relevant: NDArray[np.bool_], chosen: NDArray[np.bool_], groups: NDArray[Any]) -> tuple[float, float]:
    """Between groups, the largest difference of the (true, false) positive rate: P(chosen | relevant), P(chosen | not).

    Equalised odds hold if both are 0 (Hardt, Price and Srebro 2016, "Equality of opportunity in supervised learning").
    """
    size = int(groups.max()) + 1 if len(groups) else 0
    return odds_gaps(*(group_rates(chosen[rows], groups[rows], size) for rows in (relevant, ~relevant)))


def odds_gaps(true_rates: Floats, false_rates: Floats) -> tuple[float, float]:
    """The largest differences within each; NaN where fewer than two groups are known."""
    gaps = []
    for rates in (true_rates, false_rates):
        known = rates[~np.isnan(rates)]
        gaps.append(float(known.max() - known.min()) if len(known) > 1 else math.nan)
    return gaps[0], gaps[1]


def exposure_weights(slots: int) -> Floats:
    """float64 (K,): how much a slot is seen, 1 / log2(1 + rank); a declared model, for the shop does not know.

    Singh and Joachims 2018, "Fairness of exposure in rankings", section 3.
    """
    return 1.0 / np.log2(2.0 + np.arange(slots))


@dataclass(frozen=True)
class AuditTables:
    """``protected`` int (U,): the group of each user; ``provider`` int (N,): of each item."""

    protected: NDArray[Any]
    provider: NDArray[Any]

    @staticmethod
    def of(given: Mapping[str, NDArray[Any]]) -> AuditTables:
        missing = sorted({"protected", "provider"} - set(given))
        if missing:
            raise ValueError(f"'audit' must hold 'protected' and 'provider'. Missing: {', '.join(missing)}.")
        return AuditTables(np.asarray(given["protected"]), np.asarray(given["provider"]))


class Tally:
    """Sums over pages: by provider what was on offer, seen and clicked; by visitors' group pages, slots and clicks."""

    def __init__(self, tables: AuditTables) -> None:
        self.tables = tables
        self.providers = {name: np.zeros(int(tables.provider.max()) + 1) for name in ("offered", "exposure", "clicks")}
        self.groups = {name: np.zeros(int(tables.protected.max()) + 1) for name in ("pages", "slots", "clicks")}

    def add(self, pages: Feedback) -> None:
        """Count pages."""
        slots, provider = pages.slates.shape[1], self.tables.provider
        weights = np.broadcast_to(exposure_weights(slots), pages.slates.shape)
        offered = provider[pages.observations["candidates"]].ravel()
        shown = provider[pages.slate_items].ravel()
        self._sum(self.providers, "offered", offered, np.ones(len(offered)))
        self._sum(self.providers, "exposure", shown, weights.ravel())
        self._sum(self.providers, "clicks", shown, pages.clicked.ravel())
        group = self.tables.protected[pages.keys.user_id]
        for name, values in (("pages", 1.0), ("slots", float(slots)), ("clicks", pages.clicked.sum(axis=1))):
            self._sum(self.groups, name, group, np.broadcast_to(values, group.shape))

    @staticmethod
    def _sum(sums: dict[str, Floats], name: str, groups: NDArray[Any], values: NDArray[Any]) -> None:
        sums[name] += np.bincount(groups, values, len(sums[name]))

    def exposure_ratios(self) -> Floats:
        """float64 (providers,): share of exposure over share of the offers; a blind lot gives 1, no offer NaN."""
        with np.errstate(invalid="ignore", divide="ignore"):
            offered = self.providers["offered"] / self.providers["offered"].sum()
            return np.where(
                offered > 0, self.providers["exposure"] / self.providers["exposure"].sum() / offered, np.nan
            )

    def service(self) -> Floats:
        """float64 (groups,): clicks per slot shown to each group."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.groups["clicks"] / self.groups["slots"]

    def merit_ratios(self) -> Floats:
        """float64 (providers,): share of exposure over share of clicks; above 1 is seen more than it is liked."""
        with np.errstate(invalid="ignore", divide="ignore"):
            clicks = self.providers["clicks"] / self.providers["clicks"].sum()
            return self.providers["exposure"] / self.providers["exposure"].sum() / np.where(clicks > 0, clicks, np.nan)

    def figures(self) -> dict[str, float]:
        """The worst of each, in one number."""
        ratios = self.exposure_ratios()
        return {
            "provider_disparate_impact": disparate_impact(ratios),
            "provider_exposure_min": _least(ratios),
            "group_disparate_impact": disparate_impact(self.service()),
        }


def _least(values: Floats) -> float:
    return float(np.nanmin(values)) if not np.isnan(values).all() else math.nan


# -- report -----------------------------------------------------------------------------------------------------------


class NoFairness:
    """The null object: nothing is reported."""

    def update(self, pages: Feedback) -> None:
        """Nothing to do."""

    def end_day(self, day: int, tick: int) -> list[FairnessRecord]:
        return []


class FairnessReport:
    """A record every few days of what all arms together showed and to whom, from what a shop itself can count.

    Arguments:
        audit: ``protected`` (U,) and ``provider`` (N,), the audit tables.
        days: how often, and over how many days.
    """

    def __init__(self, audit: Mapping[str, NDArray[Any]], days: int = 7) -> None:
        self.tables, self.days = AuditTables.of(audit), whole("days", days, 1)
        self._tally, self._passed = Tally(self.tables), 0

    def update(self, pages: Feedback) -> None:
        """Count the pages of a step."""
        self._tally.add(pages)

    def end_day(self, day: int, tick: int) -> list[FairnessRecord]:
        """The record, if a period ends with this day."""
        self._passed += 1
        if self._passed < self.days:
            return []
        tally, first = self._tally, tick - self._passed * HOURS + 1
        self._tally, self._passed = Tally(self.tables), 0
        return [
            FairnessRecord(
                tick=tick,
                first_tick=first,
                figures=tally.figures(),
                exposure_by_provider=tally.exposure_ratios().tolist(),
                merit_by_provider=tally.merit_ratios().tolist(),
                ctr_by_group=tally.service().tolist(),
                pages_by_group=tally.groups["pages"].tolist(),
            )
        ]


# -- guardrail --------------------------------------------------------------------------------------------------------


class FairnessGuardrail(Guardrail):
    """Stops a candidate that hides a provider, or is shown to serve a protected group worse than the champion does.

    Providers: the smallest exposure ratio (share of exposure over share of what was on offer) may fall below
    `min_exposure` only as far as the champion's does. Groups: for none may the candidate be *shown*, by a confidence
    sequence over that group's users, to lose more than `max_loss` of what the champion earns there. It reads clicks,
    as a shop can; true relevance is for reports that know it.

    Arguments
    ---------
    min_exposure : exposure ratio that every provider is to have, in [0, 1]
    max_loss : accepted loss of a group, as a share of the champion's mean there
    metric : one of `evidence.METRICS`
    min_pages : pages of the candidate's arm before exposure is judged
    horizon, min_users : as of `sequential.Mixture`, in each group
    """

    def __init__(
        self,
        min_exposure: float = 0.5,
        max_loss: float = 0.1,
        metric: str = "clicks_per_visit",
        min_pages: int = 500,
        horizon: float = 5000.0,
        min_users: int = 50,
    ) -> None:
        self.min_exposure = number("min_exposure", min_exposure, 0.0, 1.0)
        self.max_loss = number("max_loss", max_loss, 0.0, 1.0)
        self.metric = one_of("metric", metric, tuple(METRICS))
        self.min_pages, self.min_users = whole("min_pages", min_pages, 1), whole("min_users", min_users, 2)
        self.horizon = number("horizon", horizon, 0.0, above=True)
        self._tables: AuditTables | None = None

    def inform(self, audit: Mapping[str, NDArray[Any]]) -> None:
        self._tables = AuditTables.of(audit)

    def begin(self, trial: Trial, share: float, alpha: float) -> None:
        if self._tables is None:
            raise ValueError(
                "'audit' must be told to a FairnessGuardrail before a rollout begins. Got nothing; call "
                "rollout.inform({'protected': ..., 'provider': ...})."
            )
        self._alpha = alpha
        self._arms = Tally(self._tables), Tally(self._tables)

    def count(self, pages: Feedback, candidate: NDArray[np.bool_]) -> None:
        for arm, rows in zip(self._arms, (candidate, ~candidate)):
            arm.add(pages.take(rows))

    def read(self, ledger: UserLedger) -> Reading:
        reason, figures = self._providers()
        assert self._tables is not None
        groups = len(self._arms[0].groups["pages"])
        for group in range(groups):
            members = self._tables.protected == group
            candidate, champion = ledger.moments(self.metric, members)
            found = mixture_interval(candidate, champion, self._alpha / groups, self.horizon, self.min_users)
            loss = -float(found[2]) / max(float(champion.ratio()[0]), 1e-12)
            figures[f"group_{group}_difference"] = float(found[0])
            figures[f"group_{group}_high"] = float(found[2])
            if loss >= self.max_loss:
                reason = reason or f"serves group {group} worse"
        return Reading(reason, figures)

    def _providers(self) -> tuple[str, dict[str, float]]:
        candidate, champion = (_least(arm.exposure_ratios()) for arm in self._arms)
        figures = {"exposure_min": candidate, "exposure_min_champion": champion, "exposure_limit": self.min_exposure}
        enough = self._arms[0].groups["pages"].sum() >= self.min_pages
        limit = min(self.min_exposure, champion) if not math.isnan(champion) else self.min_exposure
        return ("hides a provider" if enough and candidate < limit else ""), figures
