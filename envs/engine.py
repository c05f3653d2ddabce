"""One visit's page in one compiled call: handing a world's forty arrays to a kernel costs more than the page itself."""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, check-untyped-defs=False
# (numba infers the kernels' types; their docstrings state them)

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.experimental import structref

from perennial.envs.compiled import kernel
from perennial.envs.observations import PAGE, fill_observations
from perennial.envs.openings import begin_visits, take_visits
from perennial.envs.response import respond
from perennial.envs.world import World


@structref.register
class _EngineType(types.StructRef):  # type: ignore[misc]
    """The type of `Engine` in compiled code."""

    def preprocess_fields(self, fields: Any) -> Any:
        return tuple((name, types.unliteral(kind)) for name, kind in fields)


class Engine(structref.StructRefProxy):  # type: ignore[misc]
    """A world's tables, rules, state and scratch, the lanes and the visitors' features, as one argument of a kernel.

    It refers to the arrays and copies none; it is no part of a pickle and is made anew from the world (`engine_of`).
    """


structref.define_proxy(Engine, _EngineType, ["tables", "rules", "state", "lanes", "scratch", "features"])


@kernel
def _make(tables, rules, state, lanes, scratch, features):
    return Engine(tables, rules, state, lanes, scratch, features)


def engine_of(world: World, lanes: Any) -> Any:
    """The engine of one lane, `lanes` (1,), in `world`."""
    return _make(world._tables, world._rules, world._state, lanes, world._scratch, world.visitors.features)


@kernel
def serve(engine, slate):
    """Serve `slate` int64 (K,), checked before.

    Returns (reward, terminated, truncated) and what `show` returns of the page that the lane stands at then.
    """
    slots = slate.size
    rows, skip = np.zeros(1, np.int64), np.zeros(1, np.bool_)
    outcome = np.zeros((4, 1, slots), np.bool_)
    reward, terminated, truncated = np.zeros(1, np.float32), np.zeros(1, np.bool_), np.zeros(1, np.bool_)
    respond(
        engine.tables, engine.rules, engine.state, engine.lanes, rows, slate.reshape((1, slots)), skip, engine.scratch,
        outcome[0], outcome[1], outcome[2], outcome[3], reward, terminated, truncated,
    )  # fmt: skip
    seen, keys = show(engine)
    return reward[0], terminated[0], truncated[0], seen, keys


@kernel
def take(engine, pending, chance, taken, first):
    """`take_visits` for one visit. Returns (its place in `pending` or -1, the first place not taken yet)."""
    out = np.empty(1, np.int64)
    found, _ = take_visits(pending, chance, taken, first, engine.state, engine.rules, out)
    while first < taken.size and taken[first]:
        first += 1
    return out[0] if found else -1, first


@kernel
def begin(engine, visit, who, tick, shown, moments, calendars, notices, which):
    """Open one visit, as `begin_visits` does."""
    one = np.array([visit, who, tick, shown, which])
    begin_visits(
        engine.tables, engine.rules, engine.state, engine.lanes, np.zeros(1, np.int64),
        one[:1], one[1:2], one[2:3], one[3:4], moments, calendars, notices, one[4:], engine.scratch,
    )  # fmt: skip


@kernel
def show(engine):
    """New arrays (user, history, candidates, page, calendar, notice) of one page, and (visit, page, user, tick)."""
    lanes = engine.lanes
    user, history = np.empty((1, engine.features.shape[1]), np.float32), np.empty_like(engine.state.history[:1])
    candidates, page = np.empty_like(lanes.candidates), np.empty((1, PAGE), np.float32)
    calendar, notice = np.empty_like(lanes.calendar), np.empty_like(lanes.notice)
    fill_observations(
        engine.rules, engine.state, lanes, np.zeros(1, np.int64), engine.features,
        user, history, candidates, page, calendar, notice,
    )  # fmt: skip
    seen = user[0], history[0], candidates[0], page[0], calendar[0], notice[0]
    return seen, (lanes.visit[0], lanes.page[0], lanes.user[0], lanes.tick[0])
