"""How a page is shown to a learner: as a dict with ids, or as one flat vector with features in their place."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from perennial.envs.notice import BOUND as NOTICE_BOUND
from perennial.envs.observations import CALENDAR, PAGE, PAGE_BOUND, USER_BOUND, observation_space
from perennial.envs.world import World

FEATURE_BOUND = 10.0
"""Features of items in a flat observation lie in [-FEATURE_BOUND, FEATURE_BOUND]; beyond they are cut."""


class DictView:
    """The `Dict` of `perennial.envs.observations`."""

    def __init__(self, world: World) -> None:
        self.space: spaces.Space[Any] = observation_space(world.sizes)

    def of(self, seen: dict[str, NDArray[Any]]) -> Any:
        """What is shown of the pages `seen` (B each)."""
        return seen

    def one(self, seen: dict[str, NDArray[Any]]) -> Any:
        """What is shown of a single page, `seen` without the axis of pages."""
        return seen

    def each(self, seen: dict[str, NDArray[Any]]) -> list[Any]:
        """What is shown of each of the pages `seen`, one by one."""
        return [dict(zip(seen, page, strict=True)) for page in zip(*seen.values(), strict=True)]


class FlatView:
    """`Box` float32: user, page, calendar, notice, the mean features of the items clicked last (0 if none), and the
    features of the M candidates in their order. Ids are not in it: as numbers they mean nothing.
    """

    def __init__(self, world: World) -> None:
        features = world.items_on(np.inf)["features"]
        sizes = world.sizes
        self._features = np.clip(features, -FEATURE_BOUND, FEATURE_BOUND)
        items = features.shape[1] * (1 + sizes["n_candidates"])
        parts = (
            (sizes["user_dim"], USER_BOUND),
            (PAGE, PAGE_BOUND),
            (CALENDAR, 1.0),
            (sizes["notice_dim"], NOTICE_BOUND),
        )
        high = np.concatenate([np.full(n, bound, np.float32) for n, bound in (*parts, (items, FEATURE_BOUND))])
        self.space: spaces.Space[Any] = spaces.Box(-high, high, dtype=np.float32)

    def of(self, seen: dict[str, NDArray[Any]]) -> Any:
        pages, history = len(seen["user"]), seen["history"]
        clicked = (history >= 0)[:, :, None]
        mean = (self._features[history] * clicked).sum(axis=1) / np.maximum(clicked.sum(axis=1), 1)
        candidates = self._features[seen["candidates"]].reshape(pages, -1)
        parts = [seen["user"], seen["page"], seen["calendar"], seen["notice"], mean, candidates]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def one(self, seen: dict[str, NDArray[Any]]) -> Any:
        return self.of({name: array[None] for name, array in seen.items()})[0]

    def each(self, seen: dict[str, NDArray[Any]]) -> list[Any]:
        return list(self.of(seen))


KINDS: dict[str, type[DictView] | type[FlatView]] = {"dict": DictView, "flat": FlatView}
