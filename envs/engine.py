"""One visit's page in one compiled call: handing a world's forty arrays to a kernel costs more than the page itself."""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, check-untyped-defs=False
# (numba infers the kernels' types; their docstrings state them)

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.experimental import structref

from perennial.envs.compiled import kernel
from perennial.envs.response import begin_visits, fill_observations, respond
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
def serve(engine, slate, user, history, candidates, page, calendar, notice):
    """Serve `slate` int64 (K,), checked before, and fill the observation's arrays, one page each.

    Returns (reward, terminated, truncated, visit, page, user, tick).
    """
    slots = slate.size
    rows, skip = np.zeros(1, np.int64), np.zeros(1, np.bool_)
    outcome = np.zeros((4, 1, slots), np.bool_)
    reward, terminated, truncated = np.zeros(1, np.float32), np.zeros(1, np.bool_), np.zeros(1, np.bool_)
    respond(
        engine.tables, engine.rules, engine.state, engine.lanes, rows, slate.reshape((1, slots)), skip, engine.scratch,
        outcome[0], outcome[1], outcome[2], outcome[3], reward, terminated, truncated,
    )  # fmt: skip
    visit, at, who, tick = show(engine, user, history, candidates, page, calendar, notice)
    return reward[0], terminated[0], truncated[0], visit, at, who, tick


@kernel
def begin(engine, visit, who, tick, shown, moments, calendars, notices, which):
    """Open one visit, as `begin_visits` does."""
    one = np.array([visit, who, tick, shown, which])
    begin_visits(
        engine.tables, engine.rules, engine.state, engine.lanes, np.zeros(1, np.int64),
        one[:1], one[1:2], one[2:3], one[3:4], moments, calendars, notices, one[4:], engine.scratch,
    )  # fmt: skip


@kernel
def show(engine, user, history, candidates, page, calendar, notice):
    """Fill the observation's arrays, one page each. Returns (visit, page, user, tick)."""
    fill_observations(
        engine.rules, engine.state, engine.lanes, np.zeros(1, np.int64), engine.features,
        user.reshape((1, user.size)), history.reshape((1, history.size)), candidates.reshape((1, candidates.size)),
        page.reshape((1, page.size)), calendar.reshape((1, calendar.size)), notice.reshape((1, notice.size)),
    )  # fmt: skip
    lanes = engine.lanes
    return lanes.visit[0], lanes.page[0], lanes.user[0], lanes.tick[0]
