"""The engine: who comes, what they see, how they answer. Every face of the simulator is a thin layer over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs import response
from perennial.envs import visitors as visitors_module
from perennial.envs.arrivals import Arrivals
from perennial.envs.catalogue import generate_catalogue
from perennial.envs.drift import Drift, Season, Seasonal
from perennial.envs.observations import CALENDAR, NOTICE, PAGE, calendar, empty_observations
from perennial.envs.preset import EPOCH, Preset, VisitModel, load_preset, load_visit_model
from perennial.envs.random_numbers import key_of
from perennial.envs.response import Lanes, Rules, State, Tables, new_lanes
from perennial.envs.rewards import Reward
from perennial.envs.validation import at_least, check_slates, one_of_type
from perennial.envs.visitors import PATIENCE_SHARE, generate_visitors

EXPECTED_RETURN = 0.6
"""Return probability assumed when turning visits a day into potential visits a day; the real one is measured."""

# Dynamics of visitors, assumed: no open log identifies them. Units as in `Rules`.
ASSUMED = {
    "satiation_click": 0.08,
    "satiation_purchase": 1.0,
    "satiation_keep": 0.9,
    "satiation_days": 3.0,
    "return_floor": 0.3,
    "loyalty_rate": 0.2,
    "pleasure_scale": 0.7,
}
START_LOYALTY = 0.45


@dataclass(frozen=True)
class Waiting:
    """Potential visits of some hours, in order: ``pending`` int64 (3, P) visit, user, tick; ``chance`` float64 (P,) the
    return draws; ``taken`` bool (P,) those that have come or stayed away."""

    pending: NDArray[np.int64]
    chance: NDArray[np.float64]
    taken: NDArray[np.bool_]


@dataclass
class Visits:
    """Visits under way. ``rows`` int64: lanes still open. ``potential``: how many potential visits they came from.

    ``waiting``: potential visits whose visitor is in the shop already, if any.
    """

    lanes: Lanes
    rows: NDArray[np.int64]
    potential: int = 0
    waiting: Waiting | None = None

    @property
    def active(self) -> NDArray[np.int64]:
        return self.rows

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Response:
    """How n pages were answered.

    Outcomes bool (n, K); ``reward`` float32 (n,); the visit ended by leaving or a satisfied purchase (``terminated``)
    or by the page limit (``truncated``), bool (n,).
    """

    clicked: NDArray[np.bool_]
    carted: NDArray[np.bool_]
    purchased: NDArray[np.bool_]
    not_interested: NDArray[np.bool_]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]


def focus_table(focus: float, share: NDArray[np.float64]) -> NDArray[np.float32]:
    """float32 (C, C): what focus on category f (row) adds to the logit of each category (column).

    Focus moves attention and adds none: `focus` logits more for the category, and for all categories
    log(share_f e^focus + 1 - share_f) less, so that the mean odds over season-blind candidates stay as they are.
    """
    less = np.log(share * np.exp(focus) + 1 - share)
    return (focus * np.eye(len(share)) - less[:, None]).astype(np.float32)


class World:
    """A shop with visitors whose preferences follow the seasons.

    Arguments:
        preset: name of a committed preset, or a `Preset`.
        drift: what moves; default the fitted season.
        seed: key of all noise of the world, in [0, 2**64).
        n_users, n_items, n_candidates, slate_size, history, latent_dim, page_limit: sizes, counts.
        ctr_level: multiplies the declared mean attraction; one of the levels the preset was fitted at.
        channel: where the season acts, in [0, 1]: 0 on purchase given click, 1 on the attraction.
        visits_per_day: mean over the year; default the preset's, the log's volume.
        reward: what the shop is paid for.
        visit_model: how a visit goes; default the committed one.

    Time is in days since 2010-01-01 (day 0); a tick is an hour. The same arguments give the same world, bit for bit.
    """

    def __init__(
        self,
        preset: str | Preset = "gift_shop",
        drift: Drift | None = None,
        seed: int = 0,
        *,
        n_users: int = 4000,
        n_items: int = 2000,
        n_candidates: int = 50,
        slate_size: int = 10,
        history: int = 20,
        latent_dim: int = 16,
        page_limit: int = 20,
        ctr_level: float = 1.0,
        channel: float = 1.0,
        visits_per_day: float | None = None,
        reward: Reward | None = None,
        visit_model: VisitModel | None = None,
    ) -> None:
        self.preset = load_preset(preset) if isinstance(preset, str) else one_of_type("preset", preset, Preset)
        self.drift = one_of_type("drift", Seasonal() if drift is None else drift, Drift)  # type: ignore[type-abstract]
        self.reward = one_of_type("reward", Reward() if reward is None else reward, Reward)
        categories = len(self.preset.categories)
        at_least("n_users", n_users, 1)
        at_least("n_items", n_items, max(n_candidates, 2 * categories))
        at_least("slate_size", slate_size, 1)
        at_least("n_candidates", n_candidates, slate_size)
        at_least("history", history, 1)
        at_least("latent_dim", latent_dim, 1)
        at_least("page_limit", page_limit, 1)
        self.seed = seed
        self.sizes: dict[str, int] = {
            "n_items": n_items,
            "n_users": n_users,
            "n_categories": categories,
            "n_candidates": n_candidates,
            "slate_size": slate_size,
            "history": history,
            "user_dim": visitors_module.FEATURES,
            "page_dim": PAGE,
            "calendar_dim": CALENDAR,
            "notice_dim": NOTICE,
        }
        self.season = Season.of(self.preset, ctr_level, channel)
        self.catalogue = generate_catalogue(self.preset, n_items, latent_dim, seed)
        self.visitors = generate_visitors(self.preset, n_users, latent_dim, seed)
        model = load_visit_model() if visit_model is None else visit_model
        self._tables = self._pack(key_of(seed), model, slate_size)
        self._rules = Rules(
            leave_base=model.leave_base,
            leave_spread=model.leave_spread,
            leave_click=model.leave_click,
            page_limit=page_limit,
            visit_patience=float(np.sqrt(1 - PATIENCE_SHARE)),
            **ASSUMED,
        )
        per_day = self.preset.visits_per_day if visits_per_day is None else visits_per_day
        self._arrivals = Arrivals(
            self.preset,
            self.visitors.arrival_share,
            self._tables.key,
            at_least("visits_per_day", per_day, 0.0) / EXPECTED_RETURN,
        )
        self._stamp = np.zeros(n_items + 1, dtype=np.int64)
        self._offsets_at = lru_cache(maxsize=4096)(self._offsets_of_tick)
        self.reset()

    def _pack(self, key: NDArray[np.uint64], model: VisitModel, slate_size: int) -> Tables:
        goods, people = self.catalogue, self.visitors
        values = [goods.appeal, goods.price_deviation, goods.cart_logit, goods.buy, goods.not_interested, goods.quality]
        traits = [people.price_sensitivity, people.sensitivity, people.patience]
        return Tables(
            key=key,
            item_latent=goods.latent,
            item_values=np.ascontiguousarray(np.stack(values, axis=1)),
            item_category=goods.category,
            user_latent=people.latent,
            user_values=np.ascontiguousarray(np.stack(traits, axis=1)),
            taste=people.taste,
            live=np.arange(len(goods), dtype=np.int32),
            focus=focus_table(model.focus, np.bincount(goods.category) / len(goods)),
            examination=np.exp(-model.examination_decay * np.arange(slate_size)),
            weights=self.reward.weights(),
        )

    # -- what everybody may know ------------------------------------------------------------------------------------

    @property
    def items(self) -> dict[str, NDArray[Any]]:
        """The item table agents see: category int32, price float32 (N,), features float32 (N, 16); copies."""
        goods = self.catalogue
        return {"category": goods.category.copy(), "price": goods.price.copy(), "features": goods.features.copy()}

    @staticmethod
    def day_of(day: date | str) -> int:
        """Days from the epoch to a date (or ISO text)."""
        given = date.fromisoformat(day) if isinstance(day, str) else day
        return (given - date.fromisoformat(EPOCH)).days

    @staticmethod
    def date_of(day: int) -> date:
        """The date of a day."""
        return date.fromisoformat(EPOCH) + timedelta(days=int(day))

    # -- persistent state ---------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Every visitor back to the beginning: loyalty 0.45, no satiation, no history, no visit."""
        users, categories = self.sizes["n_users"], self.sizes["n_categories"]
        self._state = State(
            loyalty=np.full(users, START_LOYALTY, np.float32),
            satiation=np.zeros((users, categories), np.float32),
            left_day=np.zeros(users),
            history=np.full((users, self.sizes["history"]), -1, np.int32),
            visits=np.zeros(users, np.int32),
            open=np.zeros(users, np.bool_),
        )

    def save(self) -> dict[str, NDArray[Any]]:
        """The visitors' persistent state, copied. Only between ticks: no visit may be open."""
        if self._state.open.any():
            raise RuntimeError("A world is saved between ticks; serve the open visits to their end first.")
        return {name: array.copy() for name, array in self._state._asdict().items()}

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `save` gave, in a world built with the same arguments."""
        for name, array in self._state._asdict().items():
            if name not in saved or saved[name].shape != array.shape or saved[name].dtype != array.dtype:
                raise ValueError(
                    f"'saved' must hold '{name}' as {array.dtype} of shape {array.shape}, as `save` of a world with "
                    "the same sizes gives it. Build the world with the arguments it was saved with."
                )
        for name, array in self._state._asdict().items():
            array[:] = saved[name]

    # -- the course of a tick -----------------------------------------------------------------------------------------

    def arrivals(self, tick: int, last: int | None = None) -> Visits:
        """Open the visits of hour `tick` (since the epoch), or of all hours up to `last`: those whose visitors do come.

        Visits of different visitors do not touch each other, so hours in which nothing that serves changes may be
        served side by side; a visitor's next visit opens in `respond` when the one before has ended.
        """
        hours = [self._arrivals.at(t) for t in range(tick, (tick if last is None else last) + 1)]
        pending = np.concatenate([visits for visits, _ in hours], axis=1)
        waiting = Waiting(pending, np.concatenate([draws for _, draws in hours]), np.zeros(pending.shape[1], np.bool_))
        coming = self._admit(waiting, pending.shape[1])
        visits = Visits(self.new_lanes(coming.shape[1]), np.arange(coming.shape[1]), pending.shape[1])
        self.begin(visits.lanes, visits.rows, coming)
        visits.waiting = None if waiting.taken.all() else waiting
        return visits

    def _admit(self, waiting: Waiting, most: int) -> NDArray[np.int64]:
        """int64 (3, up to most): the earliest visits that are waiting and whose visitors are not in the shop."""
        out = np.empty(most, np.int64)
        found, _ = response.take_visits(
            waiting.pending, waiting.chance, waiting.taken, 0, self._state, self._rules, out
        )
        return waiting.pending[:, out[:found]]

    def arrival_rate(self, tick: int) -> float:
        """Expected number of potential visits in `tick`; see `Arrivals.rate`."""
        return self._arrivals.rate(tick)

    def keys(self, visits: Visits) -> dict[str, NDArray[Any]]:
        """visit int64, page int32, user_id int32, tick int64 of the open pages, each (n,)."""
        lanes, rows = visits.lanes, visits.rows
        return {
            "visit": lanes.visit[rows],
            "page": lanes.page[rows],
            "user_id": lanes.user[rows],
            "tick": lanes.tick[rows],
        }

    def observe(self, visits: Visits) -> dict[str, NDArray[Any]]:
        """What may be seen of the open pages, as new arrays; see `envs.observations`."""
        seen = empty_observations(len(visits.rows), self.sizes)
        response.fill_observations(
            self._tables, self._rules, self._state, visits.lanes, visits.rows, self.visitors.features,
            seen["user"], seen["history"], seen["candidates"], seen["page"], seen["calendar"],
        )  # fmt: skip
        return seen

    def respond(self, visits: Visits, slates: NDArray[Any]) -> Response:
        """Serve `slates` (n, K), slots into the candidates, to the open pages and move their visits on.

        Raises ValueError or TypeError, with nothing changed, if `slates` has the wrong shape, dtype or range.
        """
        sizes = self.sizes
        slates = check_slates(slates, len(visits.rows), sizes["slate_size"], sizes["n_candidates"])
        result = self.resolve(visits.lanes, visits.rows, slates)
        ended = result.terminated | result.truncated
        staying, free = visits.rows[~ended], visits.rows[ended]
        self.next_pages(visits.lanes, staying)
        visits.rows = staying
        if visits.waiting is not None and len(free):
            coming = self._admit(visits.waiting, len(free))
            rows = free[: coming.shape[1]]
            self.begin(visits.lanes, rows, coming)
            visits.rows = np.concatenate([staying, rows])
        return result

    # -- for the faces ------------------------------------------------------------------------------------------------

    def new_lanes(self, width: int) -> Lanes:
        """`width` empty lanes of this world's sizes."""
        return new_lanes(width, self.sizes["n_categories"], self.sizes["n_candidates"])

    def begin(self, lanes: Lanes, rows: NDArray[np.int64], starting: NDArray[np.int64]) -> None:
        """Open the visits `starting` int64 (3, n) (visit, user, tick) in `rows`."""
        ticks, which = np.unique(starting[2], return_inverse=True)
        if len(ticks) == 0:
            return
        offsets = np.stack([self._offsets_at(int(t)) for t in ticks])
        response.begin_visits(
            self._tables, self._rules, self._state, lanes, rows, starting[0], starting[1], starting[2],
            offsets, which, calendar(ticks), self._stamp,
        )  # fmt: skip

    def resolve(self, lanes: Lanes, rows: NDArray[np.int64], slates: NDArray[np.int64]) -> Response:
        """The page kernel on checked slates; lanes that ended stay as they are."""
        shape = slates.shape
        result = Response(
            clicked=np.zeros(shape, np.bool_),
            carted=np.zeros(shape, np.bool_),
            purchased=np.zeros(shape, np.bool_),
            not_interested=np.zeros(shape, np.bool_),
            reward=np.zeros(len(rows), np.float32),
            terminated=np.zeros(len(rows), np.bool_),
            truncated=np.zeros(len(rows), np.bool_),
        )
        response.respond(
            self._tables, self._rules, self._state, lanes, rows, slates,
            result.clicked, result.carted, result.purchased, result.not_interested,
            result.reward, result.terminated, result.truncated,
        )  # fmt: skip
        return result

    def next_pages(self, lanes: Lanes, rows: NDArray[np.int64]) -> None:
        """Draw the candidates of the pages that `rows` have come to."""
        response.next_candidates(self._tables, lanes, rows, self._stamp)

    def _offsets_of_tick(self, tick: int) -> NDArray[np.float64]:
        """float64 (3, C): need, level, purchase at `tick`."""
        now = self.drift.at(tick / 24.0, self.season)
        return np.stack([now.need, now.level, now.purchase])
