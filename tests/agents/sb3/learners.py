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
REPLAY: dict[str, Any] = {"learning_starts": 100, "batch_size": 64, "buffer_size": 5000, **SMALL}
VALUES: dict[str, Any] = {"exploration_final_eps": 0.04, "target_update_interval": 100, **REPLAY}
ROUNDS: dict[str, Any] = {"n_steps": 200, "batch_size": 50, "n_epochs": 4, **SMALL}

OFF_POLICY: dict[str, Callable[[], Any]] = {
    "dqn": lambda: Dqn(train_freq=8, **VALUES),
    "dqn category": lambda: Dqn(action="category", train_freq=4, **VALUES),
    "qr_dqn": lambda: QrDqn(train_freq=8, n_quantiles=10, **VALUES),
    "sac": lambda: Sac(train_freq=4, **REPLAY),
    "sac wish": lambda: Sac(action="wish", train_freq=4, **REPLAY),
    "td3": lambda: Td3(train_freq=4, **REPLAY),
    "td3 wish": lambda: Td3(action="wish", train_freq=4, noise=0.2, **REPLAY),
}
ON_POLICY: dict[str, Callable[[], Any]] = {
    "ppo": lambda: Ppo(credit="page", **ROUNDS),
    "ppo by slot": lambda: Ppo(**ROUNDS),
    "a2c": lambda: A2c(credit="page", n_steps=64, learning_rate=3e-3, **SMALL),
    "a2c by slot": lambda: A2c(n_steps=64, learning_rate=3e-3, **SMALL),
    "maskable_ppo": lambda: MaskablePpo(**ROUNDS),
    "recurrent_ppo": lambda: RecurrentPpo(state=16, **ROUNDS),
    "meta_rl": lambda: MetaRl(state=16, **ROUNDS),
}
LEARNERS = OFF_POLICY | ON_POLICY
BY_LEARN = {name: make for name, make in LEARNERS.items() if not name.endswith("by slot")}
