"""The learner's ways of saying a slate mean what the environments take them to mean."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.agents.base import Spaces
from perennial.agents.sb3.actions import KINDS, kind_of
from perennial.envs import World
from perennial.envs.actions import KINDS as ENV_KINDS
from tests.agents.sb3.tiny import tiny_shop

ALIKE = {"slate": "slate", "scores": "scores", "proto": "proto", "category": "category"}


@pytest.mark.parametrize(("ours", "theirs"), ALIKE.items())
def test_they_show_what_the_environment_shows(ours: str, theirs: str) -> None:
    world = World("gift_shop", seed=0, n_users=200, n_items=150)
    agent_side = KINDS[ours](world.items_on(np.inf), Spaces(**world.sizes))
    env_side, rng = ENV_KINDS[theirs](world), np.random.default_rng(0)
    assert agent_side.space() == env_side.space()
    candidates = rng.permuted(np.tile(np.arange(150, dtype=np.int32), (40, 1)), axis=1)[
        :, : world.sizes["n_candidates"]
    ]
    space = agent_side.space()
    space.seed(1)
    actions = np.array([space.sample() for _ in range(40)])
    if ours == "slate":
        actions = rng.permuted(np.tile(np.arange(world.sizes["n_candidates"]), (40, 1)), axis=1)[:, : agent_side.k]
    shown = agent_side.slates(actions, candidates)
    assert shown.dtype == np.int32
    np.testing.assert_array_equal(shown, env_side.slates(actions, candidates, 40))


@pytest.mark.parametrize("name", KINDS)
def test_a_guess_of_an_actions_slate_shows_it_again(name: str) -> None:
    """For proto-actions it need not: there, it shows the same items' neighbourhood, and learners check."""
    shop = tiny_shop()
    actions, (observations, _) = KINDS[name](shop.items, shop.spaces), shop.observe(30)
    candidates, space = observations["candidates"], actions.space()
    space.seed(0)
    drawn = shop.random_slates(30) if name == "slate" else np.array([space.sample() for _ in range(30)])
    shown = actions.slates(drawn, candidates)
    again = actions.slates(actions.guess(shown, candidates), candidates)
    if name != "proto":
        np.testing.assert_array_equal(again, shown)
    assert ((again == shown).all(axis=1)).any()


def test_masks_tell_which_categories_are_there() -> None:
    shop = tiny_shop()  # category of item i is i % 3
    masks = KINDS["category"](shop.items, shop.spaces).masks(np.array([[0, 3, 4], [2, 5, 8]], np.int32))
    assert masks.tolist() == [[True, True, False], [False, False, True]]


def test_a_way_a_learner_cannot_take_is_refused() -> None:
    with pytest.raises(ValueError, match="'action' must be one of 'item', 'category'. Got 'scores'"):
        kind_of("scores", ("item", "category"))
