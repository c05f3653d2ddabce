"""The Gymnasium faces of a world: one visit at a time, or B visits side by side."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from perennial.envs import actions, calendars, drift, engine, episodes, rendering, saving, scenarios, views
from perennial.envs.notice import Ladder
from perennial.envs.rewards import Reward
from perennial.envs.validation import at_least
from perennial.envs.world import Response, Visits, World

Info = dict[str, Any]
KEYS = ("visit", "page", "user_id", "tick")
PARTS = ("user", "history", "candidates", "page", "calendar", "notice")
Kind = TypeVar("Kind")


class ShopEnv(gym.Env[Any, Any]):
    """A shop that recommends a slate on every page of a visit, while its visitors' preferences follow the season.

    ## Description
    Visitors come one after the other, by a stream that follows the hour, the weekday and the season of a real shop's
    log. On each page the agent picks an ordered slate of K among M candidate items. The visitor examines slots from
    the top, clicks what attracts, may put it in the cart, buy it or wave it away, and goes on to the next page or
    leaves. What attracts depends on the visitor's tastes, on the season, on the category the visitor has turned to
    in this visit, and on what the visitor has had enough of.

    ## Action Space
    ``action="slate"``: `MultiDiscrete([M] * K)`, slots into ``candidates``; a repeated item earns nothing in its later
    slots. "scores": `Box(M)`, the K highest are shown. "proto": `Box(F)`, the K nearest in feature space. "category":
    `Discrete(C)`, candidates of it first. Actions of the wrong shape, dtype or range raise, and change nothing.

    ## Observation Space
    ``observation="dict"``: `Dict` of ``user`` float32 (16,), ``history`` int32 (H,) the ids clicked last (-1 padded),
    ``candidates`` int32 (M,), ``page`` float32 (6,), ``calendar`` float32 (8,), ``notice`` float32 (L,). See
    `perennial.envs.observations`. The item table, once: ``env.unwrapped.world.items``. "flat": one `Box`, see
    `perennial.envs.views.FlatView`.

    ## Starting State
    `reset(seed=...)` restarts the world at day `start_day`; `reset()` goes on to the next episode; `reset(options=
    {"day": d})` jumps to day d, where visitors start without history. The first reset without a seed draws one.

    ## Reward
    Sum over slots of the weighted outcomes; by default the number of clicks.

    ## Episode End
    ``episode="visit"``: terminated when the visitor leaves or a purchase satisfies; truncated at the page limit, which
    ``page`` in the observation shows coming (``metadata["limit_observed"]`` is True: learners need no bootstrap there).
    "user": the next step after a visit is the same visitor's next one, if loyalty brings them back; truncated when
    `episode_days` are over. "horizon": the shop's visitors one after the other; truncated after `episode_days`.

    ## Information
    ``visit`` (key of the potential visit), ``page``, ``user_id``, ``tick`` (hours since 2010-01-01).

    ## Arguments
    Those of `perennial.envs.World` but the seed (drift, reward and ladder also by name, mapping and level), and
    ``scenario`` (a name of `perennial.envs.scenarios`; ``twin=True``: its driftless twin), ``start_day`` (days since
    2010-01-01, default the scenario's or 0), ``action``, ``observation``, ``episode``, ``episode_days``,
    ``calendar``: "advance" (time goes on), "frozen" (every visit has the start day's parameters) or "random" (each
    visit a day of its own in the year from the start day).

    ## References
    Position-based and cascade examination: Craswell et al. 2008; conditional logit: McFadden 1974; noise: Salmon et
    al. 2011.

    ## Version History
    v0: first form.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 2}

    def __init__(self, render_mode: str | None = None, **arguments: Any) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"'render_mode' must be None, 'ansi' or 'rgb_array'. Got {render_mode!r}.")
        self.render_mode = render_mode
        self._scene: rendering.Scene | None = None
        self._faces = Faces(1, **arguments)
        self.metadata = {**type(self).metadata, "limit_observed": self._faces.limit_observed}
        self.observation_space = self._faces.view.space
        self.action_space = self._faces.actions.space()

    @property
    def world(self) -> World:
        """The world behind this environment."""
        return self._faces.world

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        super().reset(seed=seed)
        self._faces.restart_if_asked(seed, options, self.np_random)
        self._faces.start_one()
        self._scene = None
        return self._look()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Info]:
        faces = self._faces
        given = np.asarray(action)[None]
        if type(faces.episode) is not episodes.Visit or self.render_mode is not None:
            result, ended, cut = self._served(given)
            observation, info = self._look()
            return observation, float(result.reward[0]), bool(ended[0]), bool(cut[0]), info
        slates = faces.slates(given)
        reward, terminated, truncated, seen, keys = engine.serve(faces.engine, slates[0])
        return faces.view.one(dict(zip(PARTS, seen))), reward, terminated, truncated, dict(zip(KEYS, keys))

    def render(self) -> Any:
        """The page served last: text with ANSI colours, or uint8 (540, 960, 3); None without a render mode."""
        if self.render_mode is None:
            return None
        if self._scene is None:
            self._faces.check_started("render")
            shown = int(self._faces.visits.lanes.shown[0])
            self._scene = rendering.waiting_scene(self.world, self._keys(), shown)
        return (rendering.scene_text if self.render_mode == "ansi" else rendering.scene_image)(self._scene)

    def _served(self, given: NDArray[Any]) -> tuple[Response, NDArray[np.bool_], NDArray[np.bool_]]:
        """`Faces.respond`, and a note of the page for `render`."""
        faces, lanes = self._faces, self._faces.visits.lanes
        slates, keys = faces.slates(given), self._keys()
        shown, before, items = int(lanes.shown[0]), int(lanes.clicks[0]), lanes.candidates[0, slates[0]].copy()
        answer = faces.respond(given)
        if self.render_mode is not None:
            clicks = before + int(answer[0].clicked.sum())
            self._scene = rendering.scene_of(faces.world, keys, shown, items, answer[0], clicks)
        return answer

    def _keys(self) -> dict[str, int]:
        return {name: int(key[0]) for name, key in self.world.keys(self._faces.visits).items()}

    def save(self) -> dict[str, NDArray[Any]]:
        """The whole state, in mid-visit or not, as plain arrays; to disk by `perennial.envs.saving.write`."""
        return self._faces.save()

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> tuple[Any, Info]:
        """Take back what `save` gave, in an environment built with the same arguments; returns what is seen there."""
        self._faces.restore(saved)
        return self._look()

    def _look(self) -> tuple[Any, Info]:
        faces = self._faces
        seen, keys = engine.show(faces.engine)
        return faces.view.one(dict(zip(PARTS, seen))), dict(zip(KEYS, keys))


class ShopVectorEnv(VectorEnv[Any, Any, Any]):
    """`num_envs` visits side by side in one world: the native vector form of `ShopEnv`, which see.

    A free lane takes the earliest potential visit whose visitor is in no other lane, so the visits are the same at any
    width. ``autoreset_mode`` is `NEXT_STEP` (default; the step after an end ignores its action and opens the next
    episode, with reward 0) or `SAME_STEP` (the next episode's observation comes with the end; the last one in
    ``info["final_obs"]`` and ``info["final_info"]``).
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        num_envs: int = 1,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **arguments: Any,
    ) -> None:
        if render_mode is not None:
            raise ValueError(f"'render_mode' must be None: only the single environment draws. Got {render_mode!r}.")
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        if self.autoreset_mode is AutoresetMode.DISABLED:
            raise ValueError("'autoreset_mode' must be NextStep or SameStep: a shop goes on to its next visitor.")
        self._faces = Faces(num_envs, **arguments)
        self.num_envs = num_envs
        self.render_mode = render_mode
        told = {"autoreset_mode": self.autoreset_mode, "limit_observed": self._faces.limit_observed}
        self.metadata = {**type(self).metadata, **told}
        self.single_observation_space = self._faces.view.space
        self.single_action_space = self._faces.actions.space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._ended = np.zeros(num_envs, np.bool_)

    @property
    def world(self) -> World:
        """The world behind this environment."""
        return self._faces.world

    @property
    def visits(self) -> Visits:
        """The visits under way, one a lane, for scoring by `perennial.envs.oracle.Oracle`."""
        return self._faces.visits

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        super().reset(seed=seed)
        self._faces.restart_if_asked(seed, options, self.np_random)
        self._faces.start(np.arange(self.num_envs))
        self._ended[:] = False
        return self._look()

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], Info]:
        faces = self._faces
        waiting = self._ended.any()
        result, terminated, truncated = faces.respond(actions, skip=self._ended if waiting else None)
        ended = terminated | truncated
        rewards = result.reward.astype(np.float64)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            if waiting:
                faces.start(np.flatnonzero(self._ended))
            self._ended = ended
            return *self._look_with(rewards, terminated, truncated), self._info()
        rows = np.flatnonzero(ended)
        final: Info = {}
        if len(rows):
            final = self._final(rows, ended)
            faces.start(rows)
        return *self._look_with(rewards, terminated, truncated), self._info() | final

    def save(self) -> dict[str, NDArray[Any]]:
        """The whole state, in mid-visit or not, as plain arrays; to disk by `perennial.envs.saving.write`."""
        return self._faces.save() | {"ended": self._ended.copy()}

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> tuple[Any, Info]:
        """Take back what `save` gave, in an environment built with the same arguments; returns what is seen there."""
        saving.check("", saved, {"ended": self._ended})
        self._faces.restore(saved)
        self._ended = saved["ended"].copy()
        return self._look()

    def _look_with(self, *results: NDArray[Any]) -> tuple[Any, ...]:
        return self._faces.look(), *results

    def _look(self) -> tuple[Any, Info]:
        return self._faces.look(), self._info()

    def _info(self) -> Info:
        keys = self._faces.world.keys(self._faces.visits)
        everyone = np.ones(self.num_envs, np.bool_)
        return keys | {f"_{name}": everyone.copy() for name in keys}

    def _final(self, rows: NDArray[np.int64], ended: NDArray[np.bool_]) -> Info:
        """The last pages of the episodes that `ended`, in `rows`, as Gymnasium's SAME_STEP mode hands them out."""
        final = np.empty(len(ended), dtype=object)
        for row, page in zip(rows.tolist(), self._faces.look_each(rows), strict=True):
            final[row] = page
        return {"final_obs": final, "_final_obs": ended.copy(), "final_info": self._info(), "_final_info": ended.copy()}


class Faces:
    """What both faces share: a world, what an episode is in it, and B lanes."""

    def __init__(
        self,
        width: int,
        scenario: str | None = None,
        twin: bool = False,
        start_day: int | None = None,
        action: str = "slate",
        observation: str = "dict",
        episode: str = "visit",
        episode_days: int = 90,
        calendar: str = "advance",
        **world: Any,
    ) -> None:
        if "seed" in world:
            raise TypeError("A shop takes its seed by reset(seed=...), not as an argument. Leave 'seed' out.")
        if scenario is not None:
            world = scenarios.scenario(scenario).arguments(twin) | world
        day = world.pop("start_day", 0) if start_day is None else start_day
        self._arguments, self._width, self._started = world, width, False
        self._start_day = at_least("start_day", day, 0)
        self._episode_days = at_least("episode_days", episode_days, 1)
        self._episode = one_of("episode", episode, episodes.KINDS)
        self._calendar = one_of("calendar", calendar, calendars.KINDS)
        self._action, self._view = (
            one_of("action", action, actions.KINDS),
            one_of("observation", observation, views.KINDS),
        )
        self._build(0)
        self._begin(0, self._start_day)
        users = self.world.sizes["n_users"]
        if not 1 <= width <= max(1, users // 2):
            raise ValueError(
                f"'num_envs' must lie in [1, {max(1, users // 2)}], half the number of visitors ('n_users'={users}), "
                f"so that free lanes find visitors. Got {width}; lower it or raise n_users."
            )

    def _build(self, seed: int) -> None:
        self.world = World(seed=seed, **named(self._arguments))
        self.actions, self.view = self._action(self.world), self._view(self.world)

    def _begin(self, seed: int, day: int) -> None:
        if self.world.seed != seed:
            self._build(seed)
        self.world.reset()
        world, calendar = self.world, self._calendar(day, self.world._tables.key)
        self.episode = self._episode(world, day, self._episode_days, self._width, calendar)
        self.visits = Visits(world.new_lanes(self._width), np.arange(self._width))
        self._day, self._engine = day, None

    def restart_if_asked(self, seed: int | None, options: dict[str, Any] | None, rng: np.random.Generator) -> None:
        """Begin anew where `reset` asks for it; else send away who is in the shop, undoing nothing of their visits."""
        day = (options or {}).get("day")
        unknown = sorted(set(options or {}) - {"day"})
        if unknown:
            raise ValueError(f"'options' may hold 'day' only. Got {unknown}.")
        if day is not None:
            if isinstance(day, bool) or not isinstance(day, int | np.integer):
                raise TypeError(f"options['day'] must be an integer, days since 2010-01-01. Got {day!r}.")
            at_least("options['day']", int(day), 0)
        if seed is None and not self._started:
            seed = int(rng.integers(2**31))
        if seed is not None or day is not None:
            self._begin(self.world.seed if seed is None else seed, self._start_day if day is None else int(day))
        else:
            self.world._state.open[:] = False
        self._started = True

    def start(self, rows: NDArray[np.int64]) -> None:
        """Begin episodes in the free lanes `rows`."""
        self.episode.start(self.visits.lanes, rows)

    def check_started(self, call: str) -> None:
        """Raise RuntimeError before the first reset."""
        if not self._started:
            raise RuntimeError(f"Call reset() before {call}().")

    def slates(self, given: Any) -> NDArray[np.int64]:
        """int64 (B, K): the slates that the actions `given` stand for; raises, with nothing changed, what is wrong."""
        self.check_started("step")
        return self.actions.slates(given, self.visits.lanes.candidates, self._width)

    @property
    def limit_observed(self) -> bool:
        """Whether the observation shows when an episode will be truncated: the page limit yes, the days' end no."""
        return self._episode is episodes.Visit

    @property
    def engine(self) -> Any:
        """The world with its one lane, as the kernels of `perennial.envs.engine` take it."""
        if self._engine is None:
            self._engine = engine.engine_of(self.world, self.visits.lanes)
        return self._engine

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_engine": None}

    def start_one(self) -> None:
        """`start` for the one lane of the single environment; for visits in two compiled calls."""
        if type(self.episode) is not episodes.Visit:
            self.start(np.zeros(1, np.int64))
            return
        stream, moments = self.episode.stream, self.world._moments
        visit, user, tick = stream.take_one(self.engine)
        shown = stream.calendar.shown_one(visit, tick)
        row = moments.row(shown)
        tables = moments.offsets, moments.calendar, moments.notice
        engine.begin(self.engine, visit, user, tick, shown, *tables, row)

    def look(self) -> Any:
        """What is shown of all lanes."""
        return self.view.of(self.world.observe(self.visits))

    def look_each(self, rows: NDArray[np.int64]) -> list[Any]:
        """What is shown of the lanes `rows`, one by one."""
        return self.view.each(self.world.observe(Visits(self.visits.lanes, rows)))

    def respond(
        self, given: Any, skip: NDArray[np.bool_] | None = None
    ) -> tuple[Response, NDArray[np.bool_], NDArray[np.bool_]]:
        """Serve all lanes but those in `skip`, whose outcome is empty; and how episodes ended, see `Visit.go_on`."""
        lanes = self.visits.lanes
        slates = self.slates(given)
        result = self.world.resolve(lanes, self.visits.rows, slates, skip)
        return result, *self.episode.go_on(lanes, result)

    def save(self) -> dict[str, NDArray[Any]]:
        """The whole state as plain arrays."""
        place = np.array([self.world.seed, self._day, self._started], np.uint64)
        return self.world.save(self.visits) | saving.under("episode", self.episode.save()) | {"place": place}

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `save` gave. Raises ValueError, with nothing changed, if it does not fit."""
        saving.check("", saved, {"place": np.zeros(3, np.uint64)})
        saving.check("episode.", saving.part("episode", saved), self.episode.save(), sized=False)
        saving.check("", saved, self.world._state._asdict())
        saving.check("lanes.", saving.part("lanes", saved), self.visits.lanes._asdict())
        visits = self.world.visits_of(saved)
        seed, day, started = (int(n) for n in saved["place"])
        self._begin(seed, day)
        self.world.restore(saved)
        self.visits, self._engine = visits, None
        self.episode.restore(saving.part("episode", saved))
        self._started = bool(started)


def one_of(name: str, value: Any, known: Mapping[str, Kind]) -> Kind:
    """What `known` holds under `value`."""
    if not isinstance(value, str) or value not in known:
        near = difflib.get_close_matches(str(value), known, 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"'{name}' must be one of {sorted(known)}. Got {value!r}.{hint}")
    return known[value]


def named(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """World arguments with names turned into objects: a drift's name, a mapping of reward weights, a ladder's level."""
    chosen = dict(arguments)
    if isinstance(chosen.get("drift"), str):
        chosen["drift"] = one_of("drift", chosen["drift"], DRIFTS)()
    if isinstance(chosen.get("reward"), dict):
        chosen["reward"] = Reward(**chosen["reward"])
    if isinstance(chosen.get("ladder"), int):
        chosen["ladder"] = Ladder(chosen["ladder"])
    return chosen


DRIFTS: dict[str, type[drift.Drift]] = {
    "none": drift.NoDrift,
    "seasonal": drift.Seasonal,
    "holidays": drift.Holidays,
    "shifting_seasons": drift.ShiftingSeasons,
    "trend": drift.Trend,
    "shock": drift.Shock,
    "shock_2020": drift.Shock2020,
    "regimes": drift.Regimes,
    "tastes": drift.TasteDrift,
    "population": drift.PopulationShift,
    "churn": drift.CatalogueChurn,
    "behaviour": drift.Behaviour,
}
"""Drifts that need no arguments, by name."""
