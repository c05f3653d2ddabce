"""Every stable-baselines3 learner in a small size, for the tests that all of them have to pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perennial.agents.sb3.a2c import A2c
from perennial.agents.sb3.dqn import Dqn
from perennial.agents.sb3.maskable_ppo import MaskablePpo
from perennial.agents.sb3.meta_rl import MetaRl
from perennial.agents.sb3.ppo import Ppo
from perennial.agents.sb3.qr_dqn import QrDqn
from perennial.agents.sb3.recurrent_ppo import RecurrentPpo
from perennial.agents.sb3.sac import Sac
from perennial.agents.sb3.td3 import Td3

SMALL: dict[str, Any] = {"embedding": 8, "width": 32}
REPLAY: dict[str, Any] = {"learning_starts": 100, "batch_size": 64, "buffer_size": 5000, "train_freq": 4, **SMALL}
VALUES: dict[str, Any] = {**REPLAY, "exploration_final_eps": 0.04, "target_update_interval": 100}
ROUNDS: dict[str, Any] = {"n_steps": 200, "batch_size": 50, "n_epochs": 4, **SMALL}
STEPS: dict[str, Any] = {"n_steps": 64, "learning_rate": 3e-3, **SMALL}

OFF: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "dqn": (Dqn, VALUES | {"train_freq": 8}),
    "dqn category": (Dqn, VALUES | {"action": "category"}),
    "qr_dqn": (QrDqn, VALUES | {"train_freq": 8, "n_quantiles": 10}),
    "sac": (Sac, REPLAY),
    "sac proto": (Sac, REPLAY | {"action": "proto"}),
    "td3": (Td3, REPLAY),
    "td3 proto": (Td3, REPLAY | {"action": "proto", "noise": 0.2}),
}
ON: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "ppo": (Ppo, ROUNDS | {"credit": "page"}),
    "ppo by slot": (Ppo, ROUNDS),
    "a2c": (A2c, STEPS | {"credit": "page"}),
    "a2c by slot": (A2c, STEPS),
    "maskable_ppo": (MaskablePpo, ROUNDS),
    "recurrent_ppo": (RecurrentPpo, ROUNDS | {"state": 16, "credit": "page", "gae_lambda": 0.9}),
    "recurrent_ppo by slot": (RecurrentPpo, ROUNDS | {"state": 16}),
    "meta_rl": (MetaRl, ROUNDS | {"state": 16, "credit": "page", "gae_lambda": 0.9}),
    "meta_rl by slot": (MetaRl, ROUNDS | {"state": 16}),
}
LESS = {"learning_starts": 40, "batch_size": 16, "train_freq": 8, "n_steps": 60, "n_epochs": 1}


def _maker(kind: type[Any], options: dict[str, Any]) -> Callable[[], Any]:
    return lambda: kind(**options)


LEARNERS = {name: _maker(*made) for name, made in (OFF | ON).items()}
"""Each with a budget that reaches the best slates of the tiny shop."""

FAST = {
    name: _maker(kind, options | {option: less for option, less in LESS.items() if option in options})
    for name, (kind, options) in (OFF | ON).items()
}
"""The same with a budget of some training steps, for what does not need to be learned to be seen."""

BY_LEARN = [name for name in LEARNERS if not name.endswith("by slot")]
