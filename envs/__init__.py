"""Simulated shops whose visitors' preferences turn with the seasons."""

from gymnasium.envs.registration import register

from perennial.envs.rewards import Reward
from perennial.envs.world import Response, Visits, World

__all__ = ["Response", "Reward", "Visits", "World"]

register(
    id="perennial/Shop-v0",
    entry_point="perennial.envs.shop:ShopEnv",
    vector_entry_point="perennial.envs.shop:ShopVectorEnv",
)
