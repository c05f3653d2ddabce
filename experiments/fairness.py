"""Fairness by the truth: does a model show what is relevant to every group and of every provider alike?
`perennial-fairness`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Keys
from perennial.agents.lifecycle.fairness import Floats, disparate_impact, exposure_weights, odds_gaps
from perennial.agents.lifecycle.tables import HOURS
from perennial.experiments.console import script, wide_console
from perennial.experiments.tables import Column, Table
from perennial.experiments.threads import one_thread

if TYPE_CHECKING:
    from perennial.envs import World

DAYS = 7


@dataclass
class Odds:
    """Candidates by group, float64 (G,) each: relevant or not, shown or not, and what exposure they had."""

    relevant: Floats
    shown_relevant: Floats
    irrelevant: Floats
    shown_irrelevant: Floats
    exposure: Floats

    @staticmethod
    def empty(groups: int) -> Odds:
        return Odds(*(np.zeros(groups) for _ in range(5)))

    def add(self, groups: NDArray[Any], relevant: NDArray[np.bool_], shown: NDArray[np.bool_], seen: Floats) -> None:
        """Count candidates, (n, M) each, of the given groups."""
        flat, size = groups.ravel(), len(self.relevant)
        parts = (relevant, relevant & shown, ~relevant, ~relevant & shown, seen)
        for total, part in zip(vars(self).values(), parts):
            total += np.bincount(flat, part.ravel(), size)

    def rates(self) -> tuple[Floats, Floats, Floats]:
        """(share shown of the relevant ones, of the others, of all) by group; NaN where there are none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            shown = (self.shown_relevant + self.shown_irrelevant) / (self.relevant + self.irrelevant)
            return self.shown_relevant / self.relevant, self.shown_irrelevant / self.irrelevant, shown

    def exposure_ratios(self) -> Floats:
        """float64 (G,): share of exposure over share of the relevant candidates; 1 is what merit asks for."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.exposure / self.exposure.sum() / (self.relevant / self.relevant.sum())

    def figures(self) -> dict[str, float]:
        """Disparate impact of being shown, and the gaps that equalised odds forbids."""
        true_rates, false_rates, shown = self.rates()
        gaps = odds_gaps(true_rates, false_rates)
        return {
            "disparate_impact": disparate_impact(shown),
            "true_positive_gap": gaps[0],
            "false_positive_gap": gaps[1],
            "equalised_odds_difference": max(gaps),
        }


def measure(world: World, agent: Agent, first_day: int, days: int = DAYS) -> dict[str, Odds]:
    """Let `agent` serve `world`, and count by visitors' group and by items' provider.

    A candidate is relevant if it belongs to the page's best K by true expected reward, and that is above 0.
    """
    from perennial.envs.oracle import Oracle

    audit, oracle = world.audit_attributes, Oracle(world)
    found = {name: Odds.empty(int(audit[name].max()) + 1) for name in ("protected", "provider")}
    for day in range(first_day, first_day + days):
        visits = world.arrivals(HOURS * day, HOURS * day + HOURS - 1)
        while len(visits):
            keys, observations = Keys(**world.keys(visits)), world.observe(visits)
            slates = agent.act(observations, keys).slates
            relevant = _relevant(oracle.truth(visits).value, slates.shape[1])
            _count(found, audit, keys, observations, slates, relevant)
            world.respond(visits, slates)
    return found


def _relevant(value: Floats, slots: int) -> NDArray[np.bool_]:
    """bool (n, M): among the page's best, and worth showing."""
    least = -np.partition(-value, slots - 1, axis=1)[:, slots - 1 : slots]
    return (value >= least) & (value > 0)


def _count(
    found: Mapping[str, Odds],
    audit: Mapping[str, NDArray[Any]],
    keys: Keys,
    observations: Mapping[str, NDArray[Any]],
    slates: NDArray[np.int32],
    relevant: NDArray[np.bool_],
) -> None:
    candidates = observations["candidates"]
    seen = np.zeros(candidates.shape)
    np.put_along_axis(seen, slates.astype(np.int64), exposure_weights(slates.shape[1])[None], axis=1)
    users = np.broadcast_to(audit["protected"][keys.user_id][:, None], candidates.shape)
    found["protected"].add(users, relevant, seen > 0, seen)
    found["provider"].add(audit["provider"][candidates], relevant, seen > 0, seen)


def table(found: Mapping[str, Odds]) -> Table:
    """One row per group, and one for all."""
    rows: list[dict[str, Any]] = []
    for name, odds in found.items():
        rates, ratios = odds.rates(), odds.exposure_ratios()
        for group in range(len(ratios)):
            rates_here = (float(rate[group]) for rate in rates)
            row = dict(zip(("true", "false", "shown"), rates_here)) | {"exposure": float(ratios[group])}
            rows.append({"group": f"{name} {group}", **row, "impact": None, "odds": None})
        figures = odds.figures()
        nothing = dict.fromkeys(("true", "false", "shown", "exposure"))
        ends = {"impact": figures["disparate_impact"], "odds": figures["equalised_odds_difference"]}
        rows.append({"group": f"{name}, all", **nothing, **ends})
    return Table(
        "Who is shown what is truly relevant",
        (
            Column("group", "group", str),
            Column("shown", "share of candidates shown", "{:.1%}".format),
            Column("true", "of the relevant", "{:.1%}".format),
            Column("false", "of the others", "{:.1%}".format),
            Column("exposure", "exposure over merit", "{:.2f}".format),
            Column("impact", "disparate impact", "{:.2f}".format),
            Column("odds", "equalised odds difference", "{:.3f}".format),
        ),
        rows,
    )


def of_run(run: Any, days: int = DAYS) -> dict[str, Odds]:
    """The run's last champion, served to the visitors it began with, on its last days."""
    from perennial.experiments import execution

    parts, window = execution.build(run), run.window
    parts.world.restore(execution.of_history(run, execution.WORLD))
    registry = execution.open_registry(run)
    last = window.start + window.scored_days
    agent = parts.training.fresh(last * HOURS)
    registry.load(agent, registry.resolve("champion") or 1)
    registry.close()
    return measure(parts.world, agent, max(window.start, last - days), min(days, window.scored_days))


@script("perennial-fairness")
def main(arguments: Sequence[str] | None = None) -> int:
    """`perennial-fairness RUN`, or the words that `perennial-run` was given."""
    one_thread()
    from perennial.experiments import run as runs

    parser = argparse.ArgumentParser(prog="perennial-fairness", description=__doc__)
    runs.ask_finished(parser)
    parser.add_argument("--days", type=int, default=DAYS, help=f"its last days (default {DAYS})")
    options = parser.parse_args(arguments)
    from perennial.experiments import workers

    run = runs.finished(options.run, options.days, options.trust)
    workers.one_torch_thread()
    wide_console().print(table(of_run(run, options.days)).rich())
    return 0


if __name__ == "__main__":
    sys.exit(main())
