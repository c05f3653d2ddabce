"""Ways to say what to show, and the flat view: exact slates from hand-made actions, refusals that change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perennial.envs import World
from perennial.envs.actions import CategoryActions, ProtoActions, ScoreActions
from perennial.envs.shop import ShopEnv
from perennial.envs.views import FEATURE_BOUND, DictView, FlatView

SMALL: dict[str, Any] = {"n_users": 300, "n_items": 200, "visits_per_day": 2000.0}


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=1, **SMALL)


def pages(world: World) -> dict[str, Any]:
    visits = world.arrivals(12)
    seen = world.observe(visits)
    world._state.open[:] = False
    return seen


def test_the_highest_scores_are_shown_first_among_equals_first(world: World) -> None:
    candidates = pages(world)["candidates"][:2]
    scores = np.zeros((2, 50))
    scores[0, [7, 3]] = 0.5, 1.0
    found = ScoreActions(world).slates(scores, candidates, 2)
    assert found[0].tolist() == [3, 7, 0, 1, 2, 4, 5, 6, 8, 9]
    assert found[1].tolist() == list(range(10))


def test_the_nearest_items_are_shown(world: World) -> None:
    candidates = pages(world)["candidates"][:3]
    features = world.items["features"]
    action = np.clip(features[candidates[:, 17]], -5, 5)
    found = ProtoActions(world).slates(action, candidates, 3)
    assert found[:, 0].tolist() == [17, 17, 17]
    distance = np.linalg.norm(features[candidates[0]] - action[0], axis=1)
    assert np.array_equal(found[0], np.argsort(distance)[:10])


def test_a_category_comes_first_in_the_candidates_order(world: World) -> None:
    candidates = pages(world)["candidates"][:4]
    category = world.items["category"][candidates]
    found = CategoryActions(world).slates(np.array([0, 1, 2, 14]), candidates, 4)
    for page, wanted in enumerate((0, 1, 2, 14)):
        of, others = np.flatnonzero(category[page] == wanted), np.flatnonzero(category[page] != wanted)
        assert found[page].tolist() == [*of, *others][:10]


def test_the_flat_view_holds_features_in_place_of_ids(world: World) -> None:
    seen, features = pages(world), world.items["features"]
    seen["history"][0, -2:] = 5, 9
    flat, view = FlatView(world).of(seen), FlatView(world)
    assert flat.dtype == np.float32
    assert view.space.contains(flat[0])
    assert flat[0, -800:].reshape(50, 16) == pytest.approx(features[seen["candidates"][0]])
    assert flat[0, -816:-800] == pytest.approx(features[[5, 9]].mean(0), abs=1e-6)
    assert not flat[1, -816:-800].any()
    assert np.array_equal(flat[:, :16], seen["user"])
    assert view.space.high[-1] == FEATURE_BOUND
    assert DictView(world).of(seen) is seen


@pytest.mark.parametrize(
    ("kind", "bad", "error", "message"),
    [
        ("scores", np.full(50, np.nan), ValueError, r"'actions' must lie in \[-1, 1\]. Got nan"),
        ("scores", np.full(50, 1.5), ValueError, "Got 1.5; clip it yourself"),
        ("scores", np.zeros(49), ValueError, r"'actions' must have shape \(1, 50\). Got \(1, 49\)"),
        ("scores", np.zeros(50, bool), TypeError, "must hold real numbers. Got dtype bool"),
        ("proto", np.full(16, np.inf), ValueError, r"must lie in \[-5, 5\]"),
        ("category", 15, ValueError, r"A category lies in \[0, 15\). Got 15"),
        ("category", 1.0, TypeError, "A category is an integer"),
        ("slate", np.full(10, np.nan), TypeError, "made of integers"),
    ],
)
def test_a_refused_action_changes_nothing(kind: str, bad: Any, error: type[Exception], message: str) -> None:
    env = ShopEnv(action=kind, n_users=300, n_items=200)
    env.reset(seed=1)
    before = env.save()
    with pytest.raises(error, match=message):
        env.step(bad)
    assert all(np.array_equal(before[name], array) for name, array in env.save().items())
