import numpy as np
import pytest

from perennial.agents.pair_features import MATCHES, PairFeatures
from tests.agents.toy import toy_shop

RANK = 2


@pytest.fixture
def shop():
    return toy_shop(n_items=40, n_categories=4, n_candidates=8, history=3, dim=5)


def build(shop) -> PairFeatures:
    return PairFeatures(shop.items, shop.spaces, RANK, np.random.default_rng(0))


def test_one_pair_by_hand(shop) -> None:
    features = build(shop)
    observations, _ = shop.observe(1)
    observations["history"] = np.array([[-1, 6, 9]], dtype=np.int32)  # categories 2 and 1
    observations["page"][0, 1] = 0.1  # a click in this visit
    item = 13  # category 1
    x = features.of(observations, np.array([[item]], dtype=np.int32))[0, 0]

    price = np.log(shop.items["price"].astype(np.float64))
    table = (shop.features - shop.features.mean(axis=0)) / shop.features.std(axis=0)
    user, one_hot = observations["user"][0] @ features.user_directions, [0, 1, 0, 0]
    expected = [
        *observations["page"][0],
        (price[item] - price.mean()) / price.std(),
        *table[item],
        *one_hot,
        *np.outer(user, table[item] @ features.item_directions).ravel(),
        0.5,  # one of the two past clicks is in category 1
        table[item] @ table[[6, 9]].mean(axis=0) / 5,
        1.0,  # the last one is
        1.0,  # and was made in this visit
    ]
    assert features.size == len(expected)
    assert np.allclose(x, expected, atol=1e-5)


def test_without_past_clicks_nothing_matches(shop) -> None:
    observations, _ = shop.observe(3)
    assert np.all(observations["history"] == -1)
    x = build(shop).of(observations, observations["candidates"])
    assert np.all(x[..., -MATCHES:] == 0.0)


def test_the_last_click_of_another_visit_is_told_apart(shop) -> None:
    observations, _ = shop.observe(1)
    observations["history"] = np.array([[-1, -1, 9]], dtype=np.int32)
    x = build(shop).of(observations, np.array([[13]], dtype=np.int32))[0, 0]
    assert x[-2:].tolist() == [1.0, 0.0]


def test_rank_may_pass_the_number_of_attributes(shop) -> None:
    features = PairFeatures(shop.items, shop.spaces, 7, np.random.default_rng(0))
    observations, _ = shop.observe(2)
    assert np.isfinite(features.of(observations, observations["candidates"])).all()
