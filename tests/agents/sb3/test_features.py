"""Item ids are looked up, never calculated with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from perennial.agents.base import Decision, Items
from perennial.agents.sb3.features import ids
from perennial.agents.sb3.policy import SlatePolicy
from perennial.agents.sb3.ppo import Ppo
from perennial.agents.sb3.spaces import page_space
from tests.agents.toy import ToyShop, toy_shop


def fresh(shop: ToyShop, items: Items) -> Any:
    agent = Ppo(credit="page")
    agent.begin(items, shop.spaces, seed=0)
    agent.model.policy.set_training_mode(True)
    return agent.model.policy


def policy_for(shop: ToyShop, items: Items) -> SlatePolicy:
    """A policy whose every weight is away from its start, equal for equal sizes."""
    policy = fresh(shop, items)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return policy  # type: ignore[return-value]


def tensors(observations: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(array) for name, array in observations.items()}


@pytest.fixture
def shop() -> ToyShop:
    shop = toy_shop(n_users=50)
    for _ in range(3):  # histories fill
        observations, keys = shop.observe(30)
        shop.respond(observations, keys, Decision(shop.random_slates(30), np.full((30, 4), np.nan)))
    return shop


def test_twin_items_differ_by_id_only(shop: ToyShop) -> None:
    """Two items alike in all that is known of them have equal scores until their ids' own vectors differ."""
    items = {name: array.copy() for name, array in shop.items.items()}
    for array in items.values():
        array[1] = array[0]
    observations, _ = shop.observe(20)
    observations["candidates"][:, :2] = [0, 1]
    policy = policy_for(shop, items)
    own = policy.features_extractor.items.by_id.weight
    scores = policy.get_distribution(tensors(observations)).scores
    assert (scores[:, 0] != scores[:, 1]).all()
    with torch.no_grad():
        own[1] = own[0]
    scores = policy.get_distribution(tensors(observations)).scores
    torch.testing.assert_close(scores[:, 0], scores[:, 1])


def test_neighbouring_large_ids_are_told_apart() -> None:
    """Beyond 2**24 a float32 cannot tell an id from the next; the lookup must see integers."""
    seen: list[torch.dtype] = []
    shop = toy_shop()
    policy = policy_for(shop, shop.items)
    policy.features_extractor.register_forward_pre_hook(
        lambda module, args: seen.extend(args[0][name].dtype for name in ("candidates", "history"))
    )
    observations, _ = shop.observe(3)
    policy.predict(observations)
    policy.predict_values(tensors(observations))
    policy.evaluate_actions(tensors(observations), torch.zeros(3, 4))
    policy.forward(tensors(observations))
    assert seen == [torch.int32] * 8


def test_float_ids_are_taken_as_long_as_they_are_exact() -> None:
    assert ids(torch.tensor([3.0, 16.0]), 20).tolist() == [3, 16]
    with pytest.raises(ValueError, match="integer ids where there are more than 16777216 items. Got torch.float"):
        ids(torch.tensor([3.0]), 2**24 + 1)


def test_relabelled_items_get_the_same_scores(shop: ToyShop) -> None:
    """Renaming all items, with their rows and own vectors, changes nothing: the number itself means nothing."""
    new_id = np.random.default_rng(0).permutation(shop.spaces.n_items).astype(np.int32)
    old_id = np.argsort(new_id)
    observations, _ = shop.observe(20)
    history = np.where(observations["history"] >= 0, new_id[observations["history"]], -1)
    renamed = observations | {"candidates": new_id[observations["candidates"]], "history": history.astype(np.int32)}
    first, second = policy_for(shop, shop.items), policy_for(shop, {n: a[old_id] for n, a in shop.items.items()})
    with torch.no_grad():
        own = first.features_extractor.items.by_id.weight
        second.features_extractor.items.by_id.weight.copy_(own[torch.from_numpy(old_id)])
    for one, other in zip(
        first.scores_and_values(tensors(observations)), second.scores_and_values(tensors(renamed)), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_reordered_candidates_reorder_the_scores(shop: ToyShop) -> None:
    observations, _ = shop.observe(20)
    policy, order = policy_for(shop, shop.items), np.random.default_rng(1).permutation(20)
    scores = policy.get_distribution(tensors(observations)).scores
    shuffled = observations | {"candidates": observations["candidates"][:, order]}
    torch.testing.assert_close(policy.get_distribution(tensors(shuffled)).scores, scores[:, order])


def test_matches_count_the_history() -> None:
    shop = toy_shop(history=4, n_categories=6)  # category of item i is i % 6
    scorer = policy_for(shop, shop.items).features_extractor
    candidates, history = torch.tensor([[0, 6, 2]]), torch.tensor([[-1, 2, 8, 12]])
    matches = scorer._matches(candidates, history.clamp(min=0), (history >= 0).float()[:, :, None])
    assert matches[0].tolist() == [[1.0, 0.25], [1.0, 0.25], [0.0, 0.5]]


def test_an_empty_history_matches_nothing() -> None:
    shop = toy_shop()
    scorer = policy_for(shop, shop.items).features_extractor
    history = torch.full((1, 8), -1)
    known = (history >= 0).float()[:, :, None]
    assert not scorer._matches(torch.arange(20)[None], history.clamp(min=0), known).any()
    assert not any(part.any() for part in scorer._memory(scorer.items(), history.clamp(min=0), known))


def test_gradients_reach_every_weight(shop: ToyShop) -> None:
    observations, _ = shop.observe(30)
    policy = policy_for(shop, shop.items)
    values, log_p, _ = policy.evaluate_actions(tensors(observations), torch.as_tensor(shop.random_slates(30)).float())
    (values.mean() + log_p.mean()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in policy.parameters())


def test_a_fresh_policy_is_near_uniform(shop: ToyShop) -> None:
    observations, _ = shop.observe(30)
    policy = fresh(shop, shop.items)
    scores = policy.get_distribution(tensors(observations)).scores
    assert scores.std(dim=1).max().item() < 0.05


def test_evaluation_mode_follows_the_weights_when_entered_again(shop: ToyShop) -> None:
    table = policy_for(shop, shop.items).features_extractor.items
    trained = table()
    assert torch.equal(table.eval()(), trained)
    with torch.no_grad():
        table.by_id.weight.add_(1.0)
    assert torch.equal(table.eval()(), table.train()())


def test_parts_without_size_are_left_out_of_the_space() -> None:
    shop = toy_shop()
    space = page_space(type(shop.spaces)(**{**vars(shop.spaces), "notice_dim": 0}))
    assert set(space.spaces) == {"user", "page", "calendar", "history", "candidates"}
    assert space["candidates"].dtype == np.int32
