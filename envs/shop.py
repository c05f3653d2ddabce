"""The Gymnasium faces of a world: one visit at a time, or B visits side by side."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from perennial.envs.drift import Drift
from perennial.envs.observations import observation_space
from perennial.envs.rewards import Reward
from perennial.envs.stream import Stream
from perennial.envs.validation import check_slates
from perennial.envs.world import Response, Visits, World

Observation = dict[str, NDArray[Any]]
Info = dict[str, Any]


class ShopEnv(gym.Env[Observation, NDArray[Any]]):
    """A shop that recommends a slate on every page of a visit, while its visitors' preferences follow the season.

    ## Description
    Visitors come one after the other, by a stream that follows the hour, the weekday and the season of a real shop's
    log. On each page the agent picks an ordered slate of K among M candidate items. The visitor examines slots from
    the top, clicks what attracts, may put it in the cart, buy it or wave it away, and goes on to the next page or
    leaves. What attracts depends on the visitor's tastes, on the season, on the category the visitor has turned to
    in this visit, and on what the visitor has had enough of.

    ## Action Space
    `MultiDiscrete([M] * K)`: slots into ``candidates``. A repeated item earns nothing in its later slots. Actions of
    the wrong shape, dtype or range raise, and change nothing.

    ## Observation Space
    `Dict`: ``user`` float32 (16,), ``history`` int32 (H,) the ids clicked last (-1 padded), ``candidates`` int32 (M,),
    ``page`` float32 (6,), ``calendar`` float32 (8,), ``notice`` float32 (1,). See `perennial.envs.observations`.
    The item table, once: ``env.unwrapped.world.items``.

    ## Starting State
    `reset(seed=...)` restarts the world at day `start_day`; `reset()` goes on to the next visit; `reset(options={"day":
    d})` jumps to day d, where visitors start without history. The first reset without a seed draws one.

    ## Reward
    Sum over slots of the weighted outcomes; by default the number of clicks.

    ## Episode End
    Terminated when the visitor leaves or a purchase satisfies; truncated at the page limit.

    ## Information
    ``visit`` (key of the potential visit), ``page``, ``user_id``, ``tick`` (hours since 2010-01-01).

    ## Arguments
    Those of `perennial.envs.World` but the seed, and ``start_day`` (days since 2010-01-01, default 0).

    ## References
    DESIGN of the response: position-based examination (Craswell et al. 2008); noise: Salmon et al. 2011.

    ## Version History
    v0: first form.
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(self, render_mode: str | None = None, start_day: int = 0, **world: Any) -> None:
        if render_mode is not None:
            raise ValueError(f"'render_mode' must be None: this version draws nothing. Got {render_mode!r}.")
        self.render_mode = render_mode
        self._faces = _Faces(1, start_day, world)
        self.observation_space: spaces.Space[Any] = observation_space(self._faces.world.sizes)
        self.action_space = action_space(self._faces.world.sizes)

    @property
    def world(self) -> World:
        """The world behind this environment."""
        return self._faces.world

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        super().reset(seed=seed)
        self._faces.restart_if_asked(seed, options, self.np_random)
        self._faces.next_visits(np.zeros(1, np.int64))
        return self._look()

    def step(self, action: NDArray[Any]) -> tuple[Observation, float, bool, bool, Info]:
        given = np.asarray(action)
        result = self._faces.respond(given[None] if given.ndim == 1 else given)
        observation, info = self._look()
        return observation, float(result.reward[0]), bool(result.terminated[0]), bool(result.truncated[0]), info

    def _look(self) -> tuple[Observation, Info]:
        observations = self._faces.world.observe(self._faces.visits)
        keys = self._faces.world.keys(self._faces.visits)
        return {name: array[0] for name, array in observations.items()}, {name: int(k[0]) for name, k in keys.items()}


class ShopVectorEnv(VectorEnv[Observation, NDArray[Any], NDArray[Any]]):
    """`num_envs` visits side by side in one world: the native vector form of `ShopEnv`, which see.

    A free lane takes the earliest potential visit whose visitor is in no other lane, so the visits are the same at any
    width. ``autoreset_mode`` is `NEXT_STEP` (default; the step after an end ignores its action and opens the next
    visit, with reward 0) or `SAME_STEP` (the next visit's observation comes with the end; the last page's in
    ``info["final_obs"]`` and ``info["final_info"]``).
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        num_envs: int = 1,
        render_mode: str | None = None,
        start_day: int = 0,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **world: Any,
    ) -> None:
        if render_mode is not None:
            raise ValueError(f"'render_mode' must be None: this version draws nothing. Got {render_mode!r}.")
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        if self.autoreset_mode is AutoresetMode.DISABLED:
            raise ValueError("'autoreset_mode' must be NextStep or SameStep: a shop goes on to its next visitor.")
        self._faces = _Faces(num_envs, start_day, world)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = observation_space(self._faces.world.sizes)
        self.single_action_space = action_space(self._faces.world.sizes)
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

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        super().reset(seed=seed)
        self._faces.restart_if_asked(seed, options, self.np_random)
        self._faces.next_visits(np.arange(self.num_envs))
        self._ended[:] = False
        return self._look()

    def step(self, actions: NDArray[Any]) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], Info]:
        faces = self._faces
        result = faces.respond(np.asarray(actions), skip=self._ended if self._ended.any() else None)
        ended = result.terminated | result.truncated
        rewards = result.reward.astype(np.float64)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            if self._ended.any():
                faces.next_visits(np.flatnonzero(self._ended))
            self._ended = ended
            return self._look_with(rewards, result)
        final = self._look() if ended.any() else None
        if final is not None:
            faces.next_visits(np.flatnonzero(ended))
        observations, rewards, terminated, truncated, info = self._look_with(rewards, result)
        if final is not None:
            info.update(_final(final, ended))
        return observations, rewards, terminated, truncated, info

    def _look_with(self, rewards: NDArray[Any], result: Response) -> tuple[Any, ...]:
        observations, info = self._look()
        return observations, rewards, result.terminated, result.truncated, info

    def _look(self) -> tuple[Observation, Info]:
        faces = self._faces
        keys = faces.world.keys(faces.visits)
        everyone = np.ones(self.num_envs, np.bool_)
        info = keys | {f"_{name}": everyone.copy() for name in keys}
        return faces.world.observe(faces.visits), info


def action_space(sizes: dict[str, int]) -> spaces.MultiDiscrete:
    """`MultiDiscrete([M] * K)`: slots into the candidates."""
    return spaces.MultiDiscrete([sizes["n_candidates"]] * sizes["slate_size"])


def _final(last: tuple[Observation, Info], ended: NDArray[np.bool_]) -> Info:
    """The last pages of the visits that `ended`, as Gymnasium's SAME_STEP mode hands them out."""
    observations, info = last
    final = np.empty(len(ended), dtype=object)
    for lane in np.flatnonzero(ended):
        final[lane] = {name: array[lane] for name, array in observations.items()}
    return {"final_obs": final, "_final_obs": ended.copy(), "final_info": info, "_final_info": ended.copy()}


class _Faces:
    """What both faces share: a world, its stream and B lanes."""

    def __init__(self, width: int, start_day: int, world: dict[str, Any]) -> None:
        if "seed" in world:
            raise TypeError("A shop takes its seed by reset(seed=...), not as an argument. Leave 'seed' out.")
        self._arguments = world
        self._start_day = start_day
        self._width = width
        self._started = False
        self.world = World(seed=0, **_fresh(world))
        self._begin(0, start_day)
        users = self.world.sizes["n_users"]
        if not 1 <= width <= max(1, users // 2):
            raise ValueError(
                f"'num_envs' must lie in [1, {max(1, users // 2)}], half the number of visitors ('n_users'={users}), "
                f"so that free lanes find visitors. Got {width}; lower it or raise n_users."
            )

    def _begin(self, seed: int, day: int) -> None:
        if self.world.seed != seed:
            self.world = World(seed=seed, **_fresh(self._arguments))
        self.world.reset()
        self.stream = Stream(self.world, 24 * day)
        self.visits = Visits(self.world.new_lanes(self._width), np.arange(self._width))

    def restart_if_asked(self, seed: int | None, options: dict[str, Any] | None, rng: np.random.Generator) -> None:
        day = (options or {}).get("day")
        unknown = sorted(set(options or {}) - {"day"})
        if unknown:
            raise ValueError(f"'options' may hold 'day' only. Got {unknown}.")
        if day is not None and (isinstance(day, bool) or not isinstance(day, int | np.integer)):
            raise TypeError(f"options['day'] must be an integer, days since 2010-01-01. Got {day!r}.")
        if seed is None and not self._started:
            seed = int(rng.integers(2**31))
        if seed is not None or day is not None:
            self._begin(self.world.seed if seed is None else seed, self._start_day if day is None else int(day))
        elif self.world._state.open.any():
            self._abandon()
        self._started = True

    def _abandon(self) -> None:
        """A reset in mid-visit: the visitor is sent away; nothing of the visit is undone."""
        self.world._state.open[:] = False

    def next_visits(self, rows: NDArray[np.int64]) -> None:
        self.stream.fill(self.visits.lanes, rows)

    def respond(self, actions: NDArray[Any], skip: NDArray[np.bool_] | None = None) -> Response:
        """Serve all lanes but those in `skip`, whose outcome is empty."""
        if not self._started:
            raise RuntimeError("Call reset() before step().")
        sizes = self.world.sizes
        slates = check_slates(actions, self._width, sizes["slate_size"], sizes["n_candidates"])
        lanes, rows = self.visits.lanes, self.visits.rows
        return self.world.resolve(lanes, rows, slates, skip)


def _fresh(arguments: dict[str, Any]) -> dict[str, Any]:
    """World arguments with names turned into objects: drift "none" or "seasonal", reward as a mapping of weights."""
    from perennial.envs.drift import NoDrift, Seasonal

    known: dict[str, type[Drift]] = {"none": NoDrift, "seasonal": Seasonal}
    chosen = dict(arguments)
    drift = chosen.get("drift")
    if isinstance(drift, str):
        if drift not in known:
            raise ValueError(f"'drift' must be one of {sorted(known)} or a Drift. Got {drift!r}.")
        chosen["drift"] = known[drift]()
    if isinstance(chosen.get("reward"), dict):
        chosen["reward"] = Reward(**chosen["reward"])
    return chosen
