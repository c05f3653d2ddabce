"""Simulated shops whose visitors' preferences turn with the seasons."""

from typing import Any

from gymnasium.envs.registration import register

from perennial.envs.rewards import Reward
from perennial.envs.scenarios import SCENARIOS
from perennial.envs.world import Response, Visits, World

__all__ = ["Response", "Reward", "Visits", "World"]

_KINDS: dict[str, dict[str, Any]] = {
    "Shop": {},
    "ShopScores": {"action": "scores", "observation": "flat"},
    "ShopProto": {"action": "proto", "observation": "flat"},
    "ShopCategory": {"action": "category", "observation": "flat"},
}
for _scenario in SCENARIOS:
    _KINDS[_scenario.name] = {"scenario": _scenario.name}
    _KINDS[f"{_scenario.name}Twin"] = {"scenario": _scenario.name, "twin": True}
for _name, _arguments in _KINDS.items():
    register(
        id=f"perennial/{_name}-v0",
        entry_point="perennial.envs.shop:ShopEnv",
        vector_entry_point="perennial.envs.shop:ShopVectorEnv",
        kwargs=_arguments,
    )
register(id="perennial/TabularShop-v0", entry_point="perennial.envs.tabular:TabularShopEnv")
