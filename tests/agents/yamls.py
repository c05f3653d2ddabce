"""Agents built from their YAML alone, as Hydra would, with budgets cut to what a test can spend."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import yaml

from perennial.agents.base import Agent

CONF = Path(__file__).resolve().parents[2] / "conf" / "agent"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))

FAST = {
    "cold_steps": 6, "warm_steps": 2, "update_steps": 1, "steps": 4, "batch_size": 32, "n_steps": 48, "rounds": 2,
    "learning_starts": 32, "train_freq": 16, "gradient_steps": 2, "n_epochs": 1, "buffer_size": 2000,
}  # fmt: skip
"""Budgets, by the names that agents give them; an agent without such an option is left as it is."""


def make(node: Any, fast: bool = True) -> Any:
    """What a YAML node describes: `_target_` is called with the rest; lists and nested nodes are made first."""
    if isinstance(node, list):
        return [make(part, fast) for part in node]
    if not isinstance(node, dict):
        return node
    values = {name: make(value, fast) for name, value in node.items() if name != "_target_"}
    if "_target_" not in node:
        return values
    module, name = node["_target_"].rsplit(".", 1)
    shorter = {name: least for name, least in FAST.items() if fast and name in values}
    return getattr(importlib.import_module(module), name)(**values | shorter)


def agent(name: str) -> Agent:
    """The agent of ``conf/agent/<name>.yaml``, before `begin`."""
    made = make(yaml.safe_load((CONF / f"{name}.yaml").read_text()))
    assert isinstance(made, Agent)
    return made
