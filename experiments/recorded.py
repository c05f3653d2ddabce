"""The lifecycle on a real click log, with no world behind it: `perennial-replay CLICKS strategy=nightly`.

The log is that of E-shop clothing 2008 (CC BY 4.0, https://doi.org/10.24432/C5QK7X): sessions of product clicks.
It does not say what was shown, so a page is judged as next-click prediction is (test, then learn): the slot that holds
the product clicked next is clicked, no other. Serving, log, monitor, watches, triggers, validation, training,
registry, rollout and guardrails are those of the simulated shops. A person can be asked (``strategy=nightly_person``);
the simulated reviewer cannot, for it knows a truth that no log holds. The fairness tables are what the log has in their
place: visitors from abroad are the group, main categories the providers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from perennial.agents.base import Spaces
from perennial.agents.lifecycle.decisions import Audit
from perennial.agents.lifecycle.fairness import FairnessReport
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.monitors import Monitor
from perennial.agents.lifecycle.registry import Registry
from perennial.agents.lifecycle.review_desk import PersonReviewer, give_desk
from perennial.agents.lifecycle.rollout import Deployment
from perennial.agents.lifecycle.strategy import Strategy
from perennial.agents.lifecycle.training import TrainingJob
from perennial.agents.lifecycle.watchlist import Watchlist
from perennial.envs.calibration.tables import read_table
from perennial.experiments import configuration, results, resuming, run
from perennial.experiments.configuration import ConfigurationError
from perennial.experiments.console import script
from perennial.experiments.loop import Loop
from perennial.experiments.metrics import HOURS
from perennial.experiments.reviewers import SimulatedReviewer
from perennial.experiments.threads import one_thread

COLUMNS = ("year", "month", "day", "order", "country", "session_id", "main_category", "model", "colour", "price")
SLATE, HISTORY = 10, 8
HOME = 29
"""The shop's own country in the log's coding."""
COLOURS = 14


@dataclass
class Sessions:
    """Sessions under way. ``active`` int64 (n,): those with a click to come; ``page``: clicks seen so far."""

    active: NDArray[np.int64]
    page: int
    tick: int

    @property
    def potential(self) -> int:
        return len(self.active)


@dataclass(frozen=True)
class Answer:
    """What n pages came to; the arrays of `perennial.agents.base.Feedback`."""

    clicked: NDArray[np.bool_]
    carted: NDArray[np.bool_]
    purchased: NDArray[np.bool_]
    not_interested: NDArray[np.bool_]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]


class RecordedShop:
    """A recorded shop as the loop asks for one: sessions arrive on the day of their first click, all at noon.

    Arguments:
        clicks: one row a click, with the columns in `COLUMNS`.
    """

    def __init__(self, clicks: pl.DataFrame) -> None:
        missing = [name for name in COLUMNS if name not in clicks.columns]
        if missing:
            raise ValueError(f"'clicks' must have the columns {', '.join(COLUMNS)}. Missing: {', '.join(missing)}.")
        date = pl.date("year", "month", "day")
        clicks = clicks.sort("session_id", "order").with_columns(date=date, model=pl.col("model").cast(pl.String))
        products = clicks.group_by("model").agg(pl.col("main_category", "price", "colour").first()).sort("model")
        numbers = dict(zip(products["model"], range(len(products)), strict=True))
        self.item = clicks["model"].replace_strict(numbers, return_dtype=pl.Int32).to_numpy()
        starts = clicks.with_row_index("row").group_by("session_id", maintain_order=True).first()
        self.start = np.append(starts["row"].to_numpy().astype(np.int64), len(clicks))
        self.first_date = starts["date"].min()
        self.day = (starts["date"] - self.first_date).dt.total_days().to_numpy()
        self.home = (starts["country"] == HOME).to_numpy()
        self.names: list[str] = products["model"].to_list()
        self.items = {
            "category": (products["main_category"].to_numpy() - 1).astype(np.int32),
            "price": products["price"].to_numpy().astype(np.float32),
            "features": np.eye(COLOURS, dtype=np.float32)[products["colour"].to_numpy() - 1],
        }
        n = len(products)
        self.spaces = Spaces(n, len(starts), 4, n, SLATE, HISTORY, user_dim=2, page_dim=2, calendar_dim=8, notice_dim=1)

    @property
    def days(self) -> int:
        """Days from the first session to the last, both included."""
        return int(self.day.max()) + 1

    @property
    def audit_attributes(self) -> dict[str, NDArray[Any]]:
        """``protected`` int8 (U,): 1 where a session came from abroad; ``provider`` int32 (N,): the main category.

        They stand where a simulated shop has its audit tables; `World.audit_attributes`.
        """
        return {"protected": (~self.home).astype(np.int8), "provider": self.items["category"].copy()}

    @property
    def labels(self) -> dict[int, str]:
        """What a person may know of each product."""
        category, price = self.items["category"] + 1, self.items["price"]
        return {i: f"{name}, category {category[i]}, {price[i]:.0f} $" for i, name in enumerate(self.names)}

    def arrivals(self, tick: int, last: int) -> Sessions:
        """The sessions that begin in the hours `tick` to `last`."""
        noon = self.day * HOURS + 12
        return Sessions(np.flatnonzero((noon >= tick) & (noon <= last)), 0, tick // HOURS * HOURS + 12)

    def keys(self, visits: Sessions) -> dict[str, NDArray[Any]]:
        """A session is a visit, and the log does not say whether two are of one person."""
        n, tick = len(visits.active), np.full(len(visits.active), visits.tick, np.int64)
        page, user = np.full(n, visits.page, np.int32), visits.active.astype(np.int32)
        return {"visit": visits.active.copy(), "page": page, "user_id": user, "tick": tick}

    def observe(self, visits: Sessions) -> dict[str, NDArray[Any]]:
        """Whether the visitor is at home, the products clicked so far, all products, the day of the week.

        The columns of ``page``: log(1 + page), and as in `perennial.envs.observations` this visit's clicks / 10.
        """
        n, home = len(visits.active), self.home[visits.active]
        calendar = np.zeros((n, 8), np.float32)
        week = 2 * np.pi * (visits.tick // HOURS) / 7
        calendar[:, 4], calendar[:, 5] = np.sin(week), np.cos(week)
        return {
            "user": np.stack([home, ~home], axis=1).astype(np.float32),
            "history": self._history(visits),
            "candidates": np.tile(np.arange(self.spaces.n_items, dtype=np.int32), (n, 1)),
            "page": np.tile(np.array([np.log1p(visits.page), visits.page / 10], np.float32), (n, 1)),
            "calendar": calendar,
            "notice": np.zeros((n, 1), np.float32),
        }

    def _history(self, visits: Sessions) -> NDArray[np.int32]:
        """int32 (n, HISTORY): the last clicks, newest last, -1 = none."""
        back = np.arange(-HISTORY, 0) + visits.page
        rows = self.start[visits.active][:, None] + np.maximum(back, 0)
        return np.where(back >= 0, self.item[rows], -1).astype(np.int32)

    def respond(self, visits: Sessions, slates: NDArray[np.int32]) -> Answer:
        """The slot that holds the next product of the log is clicked; a session ends with its last click."""
        clicked = slates == self.item[self.start[visits.active] + visits.page][:, None]
        nothing = np.zeros(slates.shape, np.bool_)
        over = self.start[visits.active] + visits.page + 1 == self.start[visits.active + 1]
        reward = clicked.sum(axis=1).astype(np.float32)
        visits.active, visits.page = visits.active[~over], visits.page + 1
        return Answer(clicked, nothing, nothing, nothing, reward, over, np.zeros(len(over), np.bool_))


def replay(shop: RecordedShop, settings: run.Run, folder: Path, days: int | None = None) -> Loop:
    """Live through the log with the agent, strategy, exploration and seed of `settings`; records go to `folder`."""
    agent = configuration.build(settings.agent, "agent")
    strategy = _strategy(settings, shop, folder)
    training = TrainingJob(partial(_again, settings), shop.items, shop.spaces, settings.seed)
    registry = Registry(folder / resuming.REGISTRY, results.code_digest(), settings.seed)
    agent.begin(shop.items, shop.spaces, settings.seed)
    deployment = Deployment(agent, strategy.rollout, registry, settings.window.exploration, settings.seed, -1)
    log = FeedbackLog(folder / resuming.LOG, shop.spaces, stored=agent.stored)
    loop = Loop(
        world=shop,
        deployment=deployment,
        strategy=strategy,
        training=training,
        log=log,
        monitor=Monitor(watchlist=Watchlist(shop.items, shop.spaces, deployment.latency)),
        audit=Audit(folder / resuming.DECISIONS),
        fairness=FairnessReport(shop.audit_attributes),
    )
    loop.run(0, (days or shop.days) * HOURS - 1)
    return loop


def _strategy(settings: run.Run, shop: RecordedShop, folder: Path) -> Strategy:
    """The strategy, told of the audit tables and given a desk if it asks a person; its labels lie there too."""
    strategy: Strategy = configuration.build(settings.strategy, "strategy")
    if isinstance(strategy.review.reviewer, SimulatedReviewer):
        raise ConfigurationError(
            "strategy.review.reviewer must be one who needs no simulated truth: a log holds none. Got "
            "SimulatedReviewer. Choose strategy=nightly_person to be asked yourself, or a strategy without review."
        )
    strategy.rollout.inform(shop.audit_attributes)
    give_desk(strategy.review, folder / resuming.REVIEW)
    if isinstance(strategy.review.reviewer, PersonReviewer):
        results.write_atomically(folder / resuming.REVIEW / resuming.LABELS, json.dumps(shop.labels, indent=1) + "\n")
    return strategy


def _again(settings: run.Run) -> Any:
    return configuration.build(settings.agent, "agent")


@script("perennial-replay")
def main(arguments: Sequence[str] | None = None) -> int:
    """Replay a click log, and print how often the product clicked next was on the page, week by week."""
    one_thread()
    parser = argparse.ArgumentParser(prog="perennial-replay", description=__doc__.split("\n")[0])
    columns = f"a row a click, with the columns {', '.join(COLUMNS)}, coded as E-shop clothing 2008 codes them"
    parser.add_argument("clicks", type=Path, help=f"the click log, .parquet, .csv or .csv.gz: {columns}")
    words = "as for perennial-run: agent=popular strategy=nightly seed=1 ..."
    parser.add_argument("overrides", nargs="*", default=[], help=words)
    options = parser.parse_args(arguments)
    try:
        settings = run.compose(["agent=popular", *options.overrides])
        folder = Path(settings.output) / "replay" / (settings.name or settings.arm)
        if folder.exists():
            raise ConfigurationError(f"{folder} is there already. Choose another name=..., or delete it.")
        loop = replay(RecordedShop(read_table(options.clicks, "clicks")), settings, folder)
    except (ConfigurationError, FileNotFoundError, ValueError) as error:
        print(f"perennial-replay: {error}", file=sys.stderr)
        return 2
    print("\n".join(weeks(loop)))
    print(f"{loop.deployment.version} versions; records in {folder}")
    return 0


def weeks(loop: Loop) -> list[str]:
    """Share of pages that held the product clicked next, by week."""
    lines = [line for line in loop.audit.lines if line["decision"] == "day"]
    found = []
    for first in range(0, len(lines), 7):
        part = [line["figures"] for line in lines[first : first + 7]]
        pages, clicks = (sum(figures[name] for figures in part) for name in ("pages", "clicks"))
        found.append(f"week {first // 7 + 1:2d}  {pages:6.0f} pages, {clicks / max(pages, 1):.1%} held the next click")
    return found


if __name__ == "__main__":
    sys.exit(main())
