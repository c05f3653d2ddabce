"""The engine: who comes, what they see, how they answer. Every face of the simulator is a thin layer over it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs import openings, response, saving
from perennial.envs import visitors as visitors_module
from perennial.envs.arrivals import Arrivals
from perennial.envs.catalogue import Catalogue, generate_catalogue
from perennial.envs.drift import Drift, Offsets, Season, Seasonal, Setting
from perennial.envs.dynamics import EXPECTED_RETURN, Dynamics
from perennial.envs.lanes import CASCADE, POSITION, SINGLE, Lanes, Rules, State, Tables, new_lanes, new_scratch
from perennial.envs.moments import Moments
from perennial.envs.notice import Ladder
from perennial.envs.observations import CALENDAR, PAGE, empty_observations, fill_observations
from perennial.envs.own_tables import read_catalogue, read_visitors
from perennial.envs.preset import EPOCH, Preset, VisitModel, load_preset, load_visit_model
from perennial.envs.random_numbers import key_of
from perennial.envs.rewards import Reward
from perennial.envs.validation import at_least, check_slates, one_of_type
from perennial.envs.visitors import PATIENCE_SHARE, Visitors, generate_visitors

CHOICES = {"position": POSITION, "cascade": CASCADE, "single": SINGLE}


@dataclass(frozen=True)
class Waiting:
    """Potential visits of some hours, in order: ``pending`` int64 (3, P) visit, user, tick; ``chance`` float64 (P,) the
    return draws; ``taken`` bool (P,) those that have come or stayed away."""

    pending: NDArray[np.int64]
    chance: NDArray[np.float64]
    taken: NDArray[np.bool_]

    @staticmethod
    def nothing() -> Waiting:
        """Nobody waits."""
        return Waiting(np.empty((3, 0), np.int64), np.empty(0), np.empty(0, np.bool_))


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
        choice: how a visitor chooses from a page: "position" (every slot is examined with its own chance and clicked
            or not by itself), "cascade" (from the top to the first click) or "single" (a conditional logit over the
            slots and none of them: one click at most).
        dynamics: how visitors change by what they are shown.
        catalogue, visitors: tables of one's own, or the files that hold them (`perennial.envs.own_tables`); default
            generated in the preset's image. They set `n_items`, `n_users` and `latent_dim`.
        ladder: how much the shop is told about drift; default L1, the calendar.

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
        choice: str = "position",
        dynamics: Dynamics | None = None,
        catalogue: Catalogue | str | None = None,
        visitors: Visitors | str | None = None,
        ladder: Ladder | None = None,
    ) -> None:
        self.preset = load_preset(preset) if isinstance(preset, str) else one_of_type("preset", preset, Preset)
        self.drift = one_of_type("drift", Seasonal() if drift is None else drift, Drift)  # type: ignore[type-abstract]
        self.reward = one_of_type("reward", Reward() if reward is None else reward, Reward)
        self.dynamics = one_of_type("dynamics", Dynamics() if dynamics is None else dynamics, Dynamics)
        self.ladder = one_of_type("ladder", Ladder() if ladder is None else ladder, Ladder)
        if choice not in CHOICES:
            near = difflib.get_close_matches(str(choice), CHOICES, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ValueError(f"'choice' must be one of {sorted(CHOICES)}. Got {choice!r}.{hint}")
        self.choice = choice
        categories = len(self.preset.categories)
        if isinstance(catalogue, str):
            catalogue = read_catalogue(catalogue, self.preset, latent_dim, seed)
        if catalogue is not None:
            n_items, latent_dim = len(catalogue), catalogue.latent.shape[1]
        if isinstance(visitors, str):
            visitors = read_visitors(visitors, self.preset, latent_dim, seed)
        if visitors is not None:
            n_users, latent_dim = len(visitors), visitors.latent.shape[1]
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
            "notice_dim": self.ladder.columns(categories),
        }
        self.season = Season.of(self.preset, ctr_level, channel)
        self.setting = Setting(self.preset, self.season, seed)
        self.drift.at(np.zeros(1), self.setting)  # what does not fit this shop shows here
        if catalogue is None:
            catalogue = generate_catalogue(self.preset, n_items, latent_dim, seed)
        self.catalogue = catalogue.with_lifetimes(self.drift.lifetimes(catalogue.category, self.setting))
        self.catalogue.check(categories, latent_dim, n_candidates)
        if visitors is None:
            visitors = generate_visitors(self.preset, n_users, latent_dim, seed)
        self.visitors = visitors
        self.visitors.check(categories, latent_dim)
        model = load_visit_model() if visit_model is None else visit_model
        self._tables = self._pack(key_of(seed), model)
        self._rules = self._rule(model, page_limit)
        per_day = self.preset.visits_per_day if visits_per_day is None else visits_per_day
        per_day = at_least("visits_per_day", per_day, 0.0) / EXPECTED_RETURN
        self._arrivals = Arrivals(self.preset, self.visitors, self._tables.key, per_day)
        self._moments = Moments(self.drift, self.setting, self._arrivals, self.ladder)
        self._scratch = new_scratch(slate_size, n_items)
        self.reset()

    def _rule(self, model: VisitModel, page_limit: int) -> Rules:
        turnover, moved = self.drift.turnover(), self.dynamics
        return Rules(
            choice=CHOICES[self.choice],
            churns=self.catalogue.churns,
            leave_base=model.leave_base,
            leave_spread=model.leave_spread,
            leave_click=model.leave_click,
            examination_decay=model.examination_decay,
            attention_spread=model.attention_spread,
            page_limit=page_limit,
            visit_patience=float(np.sqrt(1 - PATIENCE_SHARE)),
            taste_share=float(turnover.share),
            taste_days=float(turnover.knot_days),
            satiation_click=float(moved.satiation_click),
            satiation_purchase=float(moved.satiation_purchase),
            satiation_keep=float(moved.satiation_keep),
            satiation_days=float(moved.satiation_days),
            return_floor=float(moved.return_floor),
            loyalty_rate=float(moved.loyalty_rate),
            pleasure_scale=float(moved.pleasure_scale),
        )

    def _pack(self, key: NDArray[np.uint64], model: VisitModel) -> Tables:
        goods, people = self.catalogue, self.visitors
        values = [goods.appeal, goods.price_deviation, goods.cart_logit, goods.buy, goods.not_interested, goods.quality]
        traits = [people.price_sensitivity, people.sensitivity, people.patience]
        share = np.bincount(goods.category, minlength=self.sizes["n_categories"]) / len(goods)
        return Tables(
            key=key,
            item_latent=goods.latent,
            item_values=np.ascontiguousarray(np.stack(values, axis=1)),
            item_category=goods.category,
            launch=goods.launch,
            retire=goods.retire,
            user_latent=people.latent,
            user_values=np.ascontiguousarray(np.stack(traits, axis=1)),
            segment=people.segment,
            taste=people.taste,
            taste_mean=people.taste.mean(axis=0, dtype=np.float64),
            taste_spread=people.taste.std(axis=0, dtype=np.float64),
            focus=focus_table(model.focus, share),
            weights=self.reward.weights(),
        )

    # -- what everybody may know ------------------------------------------------------------------------------------

    @property
    def items(self) -> dict[str, NDArray[Any]]:
        """The item table agents see: category int32, price float32 (N,), features float32 (N, 16); copies.

        Where items come and go, those not on sale from the beginning are hidden as in `items_on`.
        """
        return self.items_on(-np.inf)

    def items_on(self, day: float) -> dict[str, NDArray[Any]]:
        """The item table as of `day`: rows of items not yet launched tell nothing.

        They hold category 0, the median price of those that are known, and features 0.
        """
        goods = self.catalogue
        table = {"category": goods.category.copy(), "price": goods.price.copy(), "features": goods.features.copy()}
        hidden = goods.launch > day
        if hidden.any():
            for name, nothing in (("category", 0), ("price", np.median(goods.price[~hidden])), ("features", 0)):
                table[name][hidden] = nothing
        return table

    @property
    def audit_attributes(self) -> dict[str, NDArray[Any]]:
        """For audit tables only: ``protected`` int8 (U,) of the visitors, ``provider`` int32 (N,) of the items; copies.

        No observation shows either.
        """
        return {"protected": self.visitors.protected.copy(), "provider": self.catalogue.provider.copy()}

    def conditions(self, ticks: NDArray[np.int64] | int) -> Offsets:
        """The world's moving parameters at `ticks` (hours since the epoch): ground truth, for the oracle's side."""
        return self._moments.at(np.atleast_1d(np.asarray(ticks, np.int64)))

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
        """Every visitor back to the beginning: loyalty at its start, no satiation, no history, no visit."""
        users, categories = self.sizes["n_users"], self.sizes["n_categories"]
        self._state = State(
            loyalty=np.full(users, self.dynamics.start_loyalty, np.float32),
            satiation=np.zeros((users, categories), np.float32),
            left_day=np.zeros(users),
            history=np.full((users, self.sizes["history"]), -1, np.int32),
            visits=np.zeros(users, np.int32),
            open=np.zeros(users, np.bool_),
        )

    def save(self, visits: Visits | None = None) -> dict[str, NDArray[Any]]:
        """The visitors' persistent state, copied, and with it the `visits` under way, if there are any.

        Raises RuntimeError if visits are open and not handed in.
        """
        if self._state.open.any() and visits is None:
            raise RuntimeError("Visits are open: hand them to save(visits), or serve them to their end first.")
        saved = {name: array.copy() for name, array in self._state._asdict().items()}
        if visits is None:
            return saved
        waiting = Waiting.nothing() if visits.waiting is None else visits.waiting
        rest = {"rows": visits.rows, "potential": np.array([visits.potential]), **vars(waiting)}
        lanes = saving.under("lanes", visits.lanes._asdict())
        return saved | {name: array.copy() for name, array in (lanes | saving.under("visits", rest)).items()}

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> Visits | None:
        """Take back what `save` gave, in a world built with the same arguments; returns the visits under way, if any.

        Raises ValueError, with nothing changed, if `saved` does not fit.
        """
        saving.check("", saved, self._state._asdict())
        visits = self.visits_of(saved) if "visits.rows" in saved else None
        for name, array in self._state._asdict().items():
            array[:] = saved[name]
        return visits

    def visits_of(self, saved: Mapping[str, NDArray[Any]]) -> Visits:
        """The visits under way that `saved` holds, copied. Raises ValueError if it holds none that fit this world."""
        lanes, rest = saving.part("lanes", saved), saving.part("visits", saved)
        saving.check("lanes.", lanes, self.new_lanes(len(lanes.get("visit", ())))._asdict())
        like = {"rows": np.empty(0, np.int64), "potential": np.empty(1, np.int64), **vars(Waiting.nothing())}
        saving.check("visits.", rest, like, sized=False)
        waiting = Waiting(*(rest[name].copy() for name in ("pending", "chance", "taken")))
        names = Lanes._fields
        return Visits(
            Lanes(*(lanes[name].copy() for name in names)),
            rest["rows"].copy(),
            int(rest["potential"][0]),
            waiting if len(waiting.chance) else None,
        )

    # -- the course of a tick -----------------------------------------------------------------------------------------

    def arrivals(self, tick: int, last: int | None = None) -> Visits:
        """Open the visits of hour `tick` (since the epoch), or of all hours up to `last`: those whose visitors do come.

        Visits of different visitors do not touch each other, so hours in which nothing that serves changes may be
        served side by side; a visitor's next visit opens in `respond` when the one before has ended.
        """
        pending, chance = self.potential(tick, last)
        waiting = Waiting(pending, chance, np.zeros(len(chance), np.bool_))
        coming = self._admit(waiting, pending.shape[1])
        visits = Visits(self.new_lanes(coming.shape[1]), np.arange(coming.shape[1]), pending.shape[1])
        self.begin(visits.lanes, visits.rows, coming)
        visits.waiting = None if waiting.taken.all() else waiting
        return visits

    def _admit(self, waiting: Waiting, most: int) -> NDArray[np.int64]:
        """int64 (3, up to most): the earliest visits that are waiting and whose visitors are not in the shop."""
        out = np.empty(most, np.int64)
        found, _ = openings.take_visits(
            waiting.pending, waiting.chance, waiting.taken, 0, self._state, self._rules, out
        )
        return waiting.pending[:, out[:found]]

    def potential(self, tick: int, last: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The potential visits of `tick`, or of all ticks up to `last`: int64 (3, P) visit, user, tick; float64 (P,)
        return draw."""
        rows = self._moments.rows(np.arange(tick, (tick if last is None else last) + 1))
        return self._arrivals.between(tick, self._moments.rate[rows], self._moments.population[rows])

    def arrival_rates(self, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """float64 (T,): expected number of potential visits in each tick; see `Arrivals.rates`."""
        return self._arrivals.rates(ticks)

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
        fill_observations(
            self._rules, self._state, visits.lanes, visits.rows, self.visitors.features,
            seen["user"], seen["history"], seen["candidates"], seen["page"], seen["calendar"], seen["notice"],
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
        return new_lanes(width, *(self.sizes[name] for name in ("n_categories", "n_candidates", "notice_dim")))

    def begin(
        self,
        lanes: Lanes,
        rows: NDArray[np.int64],
        starting: NDArray[np.int64],
        shown: NDArray[np.int64] | None = None,
    ) -> None:
        """Open the visits `starting` int64 (3, n) (visit, user, tick) in `rows`.

        `shown` int64 (n,): the ticks whose parameters and calendar hold in them, if not their own.
        """
        moments, shown = self._moments, starting[2] if shown is None else shown
        which = moments.rows(shown)
        openings.begin_visits(
            self._tables, self._rules, self._state, lanes, rows, starting[0], starting[1], starting[2], shown,
            moments.offsets, moments.calendar, moments.notice, which, self._scratch,
        )  # fmt: skip

    def resolve(
        self, lanes: Lanes, rows: NDArray[np.int64], slates: NDArray[np.int64], skip: NDArray[np.bool_] | None = None
    ) -> Response:
        """The page kernel on checked slates; lanes that go on come to their next page, lanes that ended stay.

        Rows marked in `skip` bool (n,) are passed over, with an empty outcome.
        """
        shape = slates.shape
        if skip is None:
            skip = np.zeros(shape[0], np.bool_)
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
            self._tables, self._rules, self._state, lanes, rows, slates, skip, self._scratch,
            result.clicked, result.carted, result.purchased, result.not_interested,
            result.reward, result.terminated, result.truncated,
        )  # fmt: skip
        return result
