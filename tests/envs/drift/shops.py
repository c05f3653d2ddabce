"""Small settings and worlds that the tests of drifts share."""

from __future__ import annotations

from typing import Any

from perennial.envs.drift import Season, Setting
from perennial.envs.preset import load_preset

SMALL: dict[str, Any] = {"n_users": 300, "n_items": 200, "n_candidates": 20, "visits_per_day": 600.0}


def setting(preset: str = "gift_shop", seed: int = 5, channel: float = 1.0) -> Setting:
    shop = load_preset(preset)
    return Setting(shop, Season.of(shop, 1.0, channel), seed)


def day(date: str) -> float:
    from perennial.envs import World

    return float(World.day_of(date))
