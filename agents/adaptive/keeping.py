"""What agents that hold other agents share: states within states, and pages counted by category."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Feedback

State = dict[str, NDArray[Any]]


def an_agent(name: str, agent: Any) -> Agent:
    """`agent`, if it is one."""
    if not isinstance(agent, Agent):
        raise TypeError(f"'{name}' must be an Agent. Got {type(agent).__name__}: {agent!r}.")
    return agent


def inside(prefix: str, state: Mapping[str, NDArray[Any]]) -> State:
    """The arrays under ``prefix/<name>``."""
    return {f"{prefix}/{name}": array for name, array in state.items()}


def taken_out(prefix: str, state: Mapping[str, NDArray[Any]]) -> State:
    """What `inside` put there."""
    return {name[len(prefix) + 1 :]: array for name, array in state.items() if name.startswith(f"{prefix}/")}


def by_category(pages: Feedback, category: NDArray[np.int32], size: int) -> NDArray[np.float64]:
    """float64 (2, size): clicks on and impressions of each category."""
    clicks = np.bincount(category[pages.slate_items[pages.clicked]], minlength=size)
    shown = np.bincount(category[pages.slate_items.ravel()], minlength=size)
    return np.stack([clicks, shown]).astype(np.float64)
