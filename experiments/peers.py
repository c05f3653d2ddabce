"""Other simulators' speed beside ours, where the extra `peers` is installed: part of `make bench`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.table import Table

Step = Callable[[], object]
SLATES = 256
"""Random slates that are served in turn, drawn beforehand: drawing them is not the simulator's work."""


@dataclass(frozen=True)
class Peer:
    """A simulator: its `package` on PyPI, the `module` it imports as, what is measured of it, and how."""

    name: str
    package: str
    module: str
    what: str
    make: Callable[[], Step]

    @property
    def installed(self) -> bool:
        return find_spec(self.module) is not None


def sardine() -> Step:
    """One slate decision of SARDINE (Deffayet et al. 2024) in its own top-K environment, as documented.

    Its kind of boredom is left as registered; the reset after its 100 pages is included, Gymnasium's checks are not.
    """
    env = gym.make("sardine:sardine/SlateTopK-Bored-v0", disable_env_checker=True).unwrapped
    space: Any = env.action_space
    slates = np.random.default_rng(0).integers(space.nvec, size=(SLATES, len(space.nvec)))
    env.reset(seed=0)
    turn = 0

    def step() -> None:
        nonlocal turn
        turn = (turn + 1) % SLATES
        _, _, terminated, truncated, _ = env.step(slates[turn])
        if terminated or truncated:
            env.reset()

    return step


PEERS = (Peer("SARDINE", "sardine-rec", "sardine", "K = 10, N = 1,000, 10 topics, no candidates, one env", sardine),)


def compare(peers: Sequence[Peer] = PEERS, seconds: float = 1.0) -> Table:
    """Print and return decisions/s of our single and vector env beside each peer's, measured in turn."""
    table = Table(title="Peers' own environments on the same core: slate decisions/s, a page each")
    for column in ("peer", "its environment", "peer", "our single env", "ratio", "our vector env", "ratio"):
        table.add_column(column, justify="left" if len(table.columns) < 2 else "right")
    for peer in peers:
        if peer.installed:
            table.add_row(*row(peer, seconds))
        else:
            table.add_row(peer.name, f"not installed: pip install {peer.package}, or the extra 'peers'")
    Console(width=160).print(table)
    return table


def row(peer: Peer, seconds: float) -> tuple[str, ...]:
    """The cells of one peer's row."""
    from perennial.experiments.bench import WIDTH, rates, single_env, vector_env

    theirs = peer.make()
    vector, slates = vector_env()
    single, of_peer = rates(single_env(), theirs, 1, seconds)
    batch, _ = rates(lambda: vector.step(slates), theirs, WIDTH, seconds)
    ratios = (single / of_peer, batch / of_peer)
    return (
        peer.name, peer.what, f"{of_peer:,.0f}",
        f"{single:,.0f}", f"{ratios[0]:.1f}", f"{batch:,.0f}", f"{ratios[1]:.0f}",
    )  # fmt: skip
