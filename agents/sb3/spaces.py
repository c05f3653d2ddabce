"""The Gymnasium space of a page, from sizes alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces as gym_spaces

from perennial.agents.base import Spaces


def page_space(spaces: Spaces) -> gym_spaces.Dict:
    """What a page shows, as in `Observations`; parts of size 0 are left out."""
    floats = {
        "user": spaces.user_dim,
        "page": spaces.page_dim,
        "calendar": spaces.calendar_dim,
        "notice": spaces.notice_dim,
    }
    parts: dict[str, gym_spaces.Space[Any]] = {
        name: gym_spaces.Box(-np.inf, np.inf, (size,), np.float32) for name, size in floats.items() if size > 0
    }
    parts["history"] = gym_spaces.Box(-1, spaces.n_items - 1, (spaces.history,), np.int32)
    parts["candidates"] = gym_spaces.Box(0, spaces.n_items - 1, (spaces.n_candidates,), np.int32)
    return gym_spaces.Dict(parts)
