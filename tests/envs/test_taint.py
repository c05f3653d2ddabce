"""No ground truth reaches an observation or an info: worlds that differ only in what a level hides look the same.

Nobody clicks in these worlds (the attraction is 50 logits down), so that visitors' answers, which an agent may see, do
not differ either; all else that is seen must then be the same, bit for bit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from perennial.envs import World
from perennial.envs.drift import Drift, Offsets, Setting
from perennial.envs.notice import Ladder
from perennial.envs.shop import ShopEnv, ShopVectorEnv

SMALL: dict[str, Any] = {"n_users": 300, "n_items": 200}
ALLOWED = {"visit", "page", "user_id", "tick"}
START = 100


class Silent(Drift):
    """Nobody clicks; `moves` is added to the need of category 3 (or `category`) from day `since` on."""

    def __init__(self, moves: float = 0.0, since: int = 0, category: int = 3, purchase: float = 0.0) -> None:
        self.moves, self.since, self.category, self.purchase = moves, since, category, purchase

    def change(self, days: Any, setting: Setting) -> Offsets:
        change = Offsets.nothing(len(days), len(setting.preset.categories))
        change.level[:] = -50.0
        change.need[:, :, self.category] = self.moves * (days >= self.since)[:, None]
        change.purchase[:] = self.purchase
        return change


def seen(env: Any, steps: int = 60) -> list[bytes]:
    """All that comes out of the env over some steps of a fixed policy: observations, infos and how visits end."""
    observations, info = env.reset(seed=7)
    told = [*observations.values(), *info.values()]
    for _ in range(steps):
        shape = observations["candidates"].shape[:-1]
        observations, reward, terminated, truncated, info = env.step(np.broadcast_to(np.arange(10), (*shape, 10)))
        told += [*observations.values(), *info.values(), reward, terminated, truncated]
        if not shape and (terminated or truncated):
            observations, info = env.reset()
            told += [*observations.values(), *info.values()]
    return [np.ascontiguousarray(part).tobytes() for part in told]


def scrambled(seed: int) -> dict[str, Any]:
    """The shop's hidden tables put in another order among items and among visitors; what may be seen stays."""
    world, rng = World(seed=seed, **SMALL), np.random.default_rng(seed + 1)
    goods, people = world.catalogue, world.visitors
    items, users = rng.permutation(len(goods)), rng.permutation(len(people))
    # A shuffled quality would be waved away at another rate: that is an answer. It is 0 in both.
    hidden_items = {name: getattr(goods, name)[items] for name in ("latent", "appeal", "cart_logit", "buy", "provider")}
    hidden_users = {
        name: getattr(people, name)[users] for name in ("latent", "taste", "price_sensitivity", "sensitivity")
    } | {"protected": people.protected[users]}
    return {"catalogue": replace(goods, **hidden_items), "visitors": replace(people, **hidden_users)}


@pytest.mark.parametrize("make", [ShopEnv, lambda **kw: ShopVectorEnv(num_envs=16, **kw)], ids=["single", "vector"])
def test_hidden_tables_do_not_show(make: Any) -> None:
    plain = World(seed=7, **SMALL)
    known = {"catalogue": plain.catalogue, "visitors": plain.visitors}
    assert seen(make(drift=Silent(), **known)) == seen(make(drift=Silent(), **scrambled(7)))


# Two worlds whose difference level L + 1 (or a higher one) tells, and level L must not.
HIDDEN = {
    0: (Silent(), Silent(2.0, START - 15)),
    1: (Silent(), Silent(2.0, START - 15)),
    2: (Silent(2.0, START - 15), Silent(2.0, START - 15, category=5)),
    3: (Silent(2.0, START - 15), Silent(1.0, START - 15)),
    4: (Silent(2.0, START - 15), Silent(2.0, START - 15, purchase=1.0)),
    5: (Silent(2.0, START - 15), Silent(2.0, START - 15, purchase=1.0)),
}


@pytest.mark.parametrize("level", HIDDEN)
def test_a_level_does_not_tell_what_the_next_one_does(level: int) -> None:
    def look(drift: Drift, level: int) -> list[bytes]:
        return seen(ShopVectorEnv(num_envs=16, drift=drift, ladder=Ladder(level), start_day=START, **SMALL))

    one, other = HIDDEN[level]
    assert look(one, level) == look(other, level)
    assert look(one, 6) != look(other, 6)


def test_the_future_does_not_show_below_the_forecast() -> None:
    """A step in three days: told by L5, not by L4."""
    look = [
        [
            ShopVectorEnv(num_envs=4, drift=drift, ladder=Ladder(level), start_day=START, **SMALL).reset(seed=1)[0]
            for drift in (Silent(), Silent(2.0, START + 3))
        ]
        for level in (4, 5)
    ]
    assert np.array_equal(look[0][0]["notice"], look[0][1]["notice"])
    assert not np.array_equal(look[1][0]["notice"], look[1][1]["notice"])


def test_info_holds_keys_only() -> None:
    env = ShopVectorEnv(num_envs=4, ladder=Ladder(1), **SMALL)
    _, info = env.reset(seed=0)
    for _ in range(20):
        assert {name.removeprefix("_") for name in info} <= ALLOWED
        *_, info = env.step(np.tile(np.arange(10), (4, 1)))
