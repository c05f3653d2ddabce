"""The records of the first potential visits: what every face of the world has to reproduce bit for bit."""

from __future__ import annotations

from hashlib import sha1
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs import Visits, World
from perennial.envs.world import Response

POTENTIAL_VISITS = 20_000
SEED = 11
SIZES: dict[str, Any] = {"n_users": 600, "n_items": 300, "page_limit": 6}

Records = dict[tuple[int, int], bytes]
PUBLIC = ("reward", "terminated", "truncated")


def hash_policy(keys: dict[str, NDArray[Any]], observations: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Slates (n, 10) that are a pure function of (visit, page, candidates); now and then an item comes twice."""
    salt = keys["visit"].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + keys["page"].astype(np.uint64)
    mixed = observations["candidates"][:, :10].astype(np.uint64) * np.uint64(0xBF58476D1CE4E5B9) + salt[:, None]
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0x94D049BB133111EB)
    return ((mixed >> np.uint64(33)) % np.uint64(50)).astype(np.int64)


def record(
    into: Records,
    keys: dict[str, NDArray[Any]],
    observations: dict[str, NDArray[Any]],
    slates: NDArray[Any],
    response: Response,
    public: bool = False,
) -> None:
    """Note all that was seen and all that came of it (if `public`, what a face tells), hashed, by (visit, page)."""
    told = {name: part for name, part in vars(response).items() if not public or name in PUBLIC}
    parts = [*keys.values(), *observations.values(), slates.astype(np.int64), *told.values()]
    for n, key in enumerate(zip(keys["visit"].tolist(), keys["page"].tolist(), strict=True)):
        assert key not in into
        into[key] = sha1(b"|".join(np.ascontiguousarray(part[n]).tobytes() for part in parts)).digest()


def last_visit(world: World, count: int = POTENTIAL_VISITS) -> int:
    """Key of the last of the first `count` potential visits."""
    keys: list[int] = []
    tick = 0
    while len(keys) < count:
        keys += world.potential(tick)[0][0].tolist()
        tick += 1
    return keys[count - 1]


def loop_records(world: World, step: int = 1, count: int = POTENTIAL_VISITS, public: bool = False) -> Records:
    """Hour by hour, or `step` hours at once, all visits side by side, as the closed loop does it."""
    into: Records = {}
    end = last_visit(world, count)
    for tick in range(0, end // 2**20 + 1, step):
        visits = world.arrivals(tick, tick + step - 1)
        while len(visits):
            keys, seen = world.keys(visits), world.observe(visits)
            slates = hash_policy(keys, seen)
            record(into, keys, seen, slates, world.respond(visits, slates), public)
    return {key: value for key, value in into.items() if key[0] <= end}


class Recorder:
    """Wraps the kernel's resolve, so that a face's own pages are recorded as the world resolves them."""

    def __init__(self, world: World) -> None:
        self.records: Records = {}
        self._world = world
        self._resolve = world.resolve
        world.resolve = self  # type: ignore[method-assign,assignment]

    def __call__(
        self, lanes: Any, rows: NDArray[Any], slates: NDArray[Any], skip: NDArray[Any] | None = None
    ) -> Response:
        served = np.ones(len(rows), bool) if skip is None else ~skip
        visits = Visits(lanes, rows[served])
        keys, seen = self._world.keys(visits), self._world.observe(visits)
        response = self._resolve(lanes, rows, slates, skip)
        answered = Response(*(array[served] for array in vars(response).values()))
        record(self.records, keys, seen, slates[served], answered)
        return response
