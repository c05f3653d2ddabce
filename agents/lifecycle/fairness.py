"""Fairness: who is shown what, and whom it serves, by protected group of the visitors and by provider of the items.

Neither attribute is in any observation: both come as audit tables, which the lifecycle keeps from the agents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Feedback
from perennial.agents.lifecycle.decisions import FairnessRecord
from perennial.agents.lifecycle.evidence import METRICS, Moments, UserLedger
from perennial.agents.lifecycle.guardrails import Guardrail, Reading
from perennial.agents.lifecycle.rollout import Trial
from perennial.agents.lifecycle.sequential import clock, dealt, mixture_interval, standard_errors
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


class Exposures:
    """By user and provider: what was on offer, and how much of it was seen, in each arm.

    ``sums`` float64 (2, 2, U, providers): of the champion's and the candidate's arm, exposure and offers. Exposure is
    in units of a blind lot's, M candidates over the weight of all slots, so that a provider's sum of exposures over
    its sum of offers is the exposure ratio of `Tally`. ``pages`` float64 (2,): of each arm.
    """

    def __init__(self, tables: AuditTables) -> None:
        self.provider = tables.provider
        self.sums = np.zeros((2, 2, len(tables.protected), int(tables.provider.max()) + 1))
        self.pages = np.zeros(2)

    def add(self, pages: Feedback, candidate: NDArray[np.bool_]) -> None:
        """Count pages; `candidate` bool (P,): the arm."""
        offered, weights = pages.observations["candidates"], exposure_weights(pages.slates.shape[1])
        seen = weights * (offered.shape[1] / weights.sum())
        arm, user = candidate.astype(np.int64), pages.keys.user_id
        self._sum(0, arm, user, pages.slate_items, np.broadcast_to(seen, pages.slates.shape))
        self._sum(1, arm, user, offered, np.ones(offered.shape))
        self.pages += np.bincount(arm, minlength=2)

    def _sum(self, kind: int, arm: NDArray[Any], user: NDArray[Any], items: NDArray[Any], values: Floats) -> None:
        rows = np.broadcast_to(arm[:, None], items.shape), np.broadcast_to(user[:, None], items.shape)
        np.add.at(self.sums[:, kind], (*rows, self.provider[items]), values)

    def moments(self) -> tuple[Moments, Moments]:
        """(candidate's, champion's), one number for each provider, over the users who were offered it."""
        candidate, champion = (moments_over_users(*self.sums[arm]) for arm in (1, 0))
        return candidate, champion


def moments_over_users(y: Floats, w: Floats) -> Moments:
    """Sums over the users, the last axis but one of `y` and `w`."""
    parts = (w > 0, y, w, y * y, y * w, w * w)
    return Moments(*(part.sum(axis=-2, dtype=np.float64) for part in parts))


@dataclass(frozen=True)
class Hiding:
    """How far a candidate may be from hiding each provider, float64 of one shape: ``ratio`` is its exposure ratio.

    ``high``: the ratio is judged to be less than that; ``gap_high``: candidate's minus champion's is.
    """

    ratio: Floats
    high: Floats
    gap_high: Floats

    def shown(self, limit: float) -> NDArray[np.bool_]:
        """Whether the ratio is shown to be below `limit` and below the champion's; never where neither shows any."""
        return (self.high <= limit) & (self.gap_high < 0.0)


def hiding(
    candidate: Moments, champion: Moments, limit: float, time: Floats, alpha: float, horizon: float, min_users: int
) -> Hiding:
    """Upper confidence sequences of exposure ratios; `alpha` is for all providers, the last axis, together.

    To hide a provider is to show it less than `limit` and less than the champion does. Both must be shown, each at the
    whole level, for a false stop takes an error about the one that does not hold (an intersection-union test, Berger
    1982, "Multiparameter hypothesis testing and acceptance sampling"). Over providers alpha is divided (Bonferroni).

    A provider that chance alone shows to few users, or to none, seems to have hardly any variance, just when its ratio
    seems low. A variance is therefore never taken to be less than that of the users of both arms together, as in a
    pooled test of two shares; where the ratio is held against `limit` and they see more than that, the pooled variance
    is brought down in proportion, as that of a count would be.
    """
    mean1, own1 = candidate.ratio()
    mean0, own0 = champion.ratio()
    both = Moments(*(getattr(candidate, p.name) + getattr(champion, p.name) for p in fields(Moments)))
    few = np.minimum(candidate.users, champion.users) < max(2, min_users)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, variance = both.ratio()
        each = variance * both.w**2 / both.users
        pooled1, pooled0 = (each * arm.users / arm.w**2 for arm in (candidate, champion))
        errors = standard_errors(time, horizon, alpha / mean1.shape[-1])
        alone = np.maximum(own1, pooled1 * np.minimum(1.0, limit / mean))
        between = np.maximum(own1, pooled1) + np.maximum(own0, pooled0)
        high, gap_high = mean1 + errors * np.sqrt(alone), mean1 - mean0 + errors * np.sqrt(between)
    return Hiding(mean1, np.where(few, np.inf, high), np.where(few, np.inf, gap_high))


class FairnessGuardrail(Guardrail):
    """Stops a candidate *shown* to hide a provider, or to serve a protected group worse than the champion does.

    Both by confidence sequences with users as units, so that it may look as often as it likes. Providers: none may
    have an exposure ratio (share of exposure over share of what was on offer) below `min_exposure` and below the
    champion's, see `hiding`. Groups: for none may the candidate lose more than `max_loss` of what the champion earns
    there. It reads clicks, as a shop can; true relevance is for reports that know it. Providers and groups are each
    given alpha, of which a stop can use one side: the chance that a candidate which does neither is stopped stays
    below alpha.

    Arguments
    ---------
    min_exposure : exposure ratio that every provider is to have, in [0, 1]
    max_loss : accepted loss of a group, as a share of the champion's mean there
    metric : one of `evidence.METRICS`
    horizon, min_users : as of `sequential.Mixture`, in each group, and for each provider in pages
    """

    def __init__(
        self,
        min_exposure: float = 0.2,
        max_loss: float = 0.1,
        metric: str = "clicks_per_visit",
        horizon: float = 5000.0,
        min_users: int = 50,
    ) -> None:
        self.min_exposure = number("min_exposure", min_exposure, 0.0, 1.0)
        self.max_loss = number("max_loss", max_loss, 0.0, 1.0)
        self.metric = one_of("metric", metric, tuple(METRICS))
        self.min_users = whole("min_users", min_users, 2)
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
        self._alpha, self._together = alpha, dealt(share)
        self._exposures = Exposures(self._tables)

    def count(self, pages: Feedback, candidate: NDArray[np.bool_]) -> None:
        self._exposures.add(pages, candidate)

    def read(self, ledger: UserLedger) -> Reading:
        reason, figures = self._providers()
        assert self._tables is not None
        groups = int(self._tables.protected.max()) + 1
        for group in range(groups):
            members = self._tables.protected == group
            arms, alpha = ledger.moments(self.metric, members), self._alpha / groups
            found = mixture_interval(*arms, alpha, self.horizon, self.min_users, self._together)
            loss = -float(found[2]) / max(float(arms[1].ratio()[0]), 1e-12)
            figures[f"group_{group}_difference"] = float(found[0])
            figures[f"group_{group}_high"] = float(found[2])
            if loss >= self.max_loss:
                reason = reason or f"serves group {group} worse"
        return Reading(reason, figures)

    def _providers(self) -> tuple[str, dict[str, float]]:
        """The verdict, the smallest ratios, and how the provider stands that is nearest to being shown to be hidden."""
        candidate, champion = self._exposures.moments()
        time = clock(self._exposures.pages[1], self._exposures.pages[0], self._together)
        found = hiding(candidate, champion, self.min_exposure, time, self._alpha, self.horizon, self.min_users)
        nearest = int(np.argmin(np.maximum(found.high - self.min_exposure, found.gap_high)))
        figures = {
            "exposure_min": _least(found.ratio),
            "exposure_min_champion": _least(champion.ratio()[0]),
            "exposure_limit": self.min_exposure,
            "exposure_provider": float(nearest),
            "exposure_high": float(found.high[nearest]),
            "exposure_gap_high": float(found.gap_high[nearest]),
        }
        return ("hides a provider" if found.shown(self.min_exposure).any() else ""), figures
