"""A regime that comes back is recalled, one that is new is begun, and what fits is told by likelihood."""

import numpy as np
import pytest

from perennial.agents import Feedback, LinUCB, Popular
from perennial.agents.adaptive import SeasonalMemory
from perennial.agents.bandits.lints import LinTS
from tests.agents.adaptive.stream import live, serve, shop_of
from tests.agents.toy import ToyShop, toy_shop

FASHIONS = [0] * 7 + [1] * 7 + [0] * 4


def test_the_second_occurrence_is_recovered_faster_than_the_first_and_than_without_memory() -> None:
    """Two nights tell the old regime from the new: the third day of its return is as good as its best ever was."""
    plain, _ = live(LinUCB(rank=2), FASHIONS)
    shares, figures = live(SeasonalMemory(LinUCB(rank=2)), FASHIONS)
    assert np.array_equal(shares[:10], plain[:10])  # nothing to recall yet
    assert (figures[13]["regime"], figures[13]["regimes"]) == (1, 2)
    assert (figures[17]["regime"], figures[17]["regimes"]) == (0, 2)
    assert shares[16] > 0.9
    assert shares[16] > plain[16] + 0.15
    assert shares[16] > shares[9] + 0.5  # the third day of the new regime, when it came first


def test_what_a_recalled_model_draws_follows_from_the_training() -> None:
    """A recall in trainings of two seeds, and of the same: the model goes on as the seed says, not where it was."""

    def recalled(seed: int) -> tuple[bytes, bytes]:
        shop = toy_shop(n_items=2, n_candidates=2, slate_size=2, n_categories=2)
        agent = SeasonalMemory(LinTS(), min_clicks=50)
        agent.begin(shop.items, shop.spaces, 0)
        agent.update(counted(shop, [60, 20]))
        old = agent.agent.state()["generator"].tobytes()
        agent.update(counted(shop, [20, 60]))
        assert agent.active == 1
        agent.reseed(seed)
        agent.update(counted(shop, [60, 20]))
        assert agent.active == 0
        return old, agent.agent.state()["generator"].tobytes()

    (old, one), (_, again), (_, other) = recalled(9), recalled(9), recalled(10)
    assert one == again
    assert len({old, one, other}) == 3


def test_a_new_regime_may_start_from_nothing() -> None:
    warm, _ = live(SeasonalMemory(LinUCB(rank=2)), FASHIONS[:11])
    cold, _ = live(SeasonalMemory(LinUCB(rank=2), spawn="cold"), FASHIONS[:11])
    assert np.array_equal(cold[:10], warm[:10])
    assert cold[10] > 0.9 > warm[10]


def test_a_still_world_is_one_regime() -> None:
    _, figures = live(SeasonalMemory(LinUCB(rank=2)), [2] * 8)
    assert [figure["regimes"] for figure in figures] == [1] * 8


def counted(shop: ToyShop, clicks: list[int]) -> Feedback:
    """100 pages that show items 0 and 1, of categories 0 and 1; so many have a click on each."""
    log = shop.uniform_log(100)
    items = np.tile(np.array([0, 1], np.int32), (100, 1))
    return Feedback(**{**vars(log), "slate_items": items, "clicked": np.arange(100)[:, None] < np.array(clicks)})


def test_divergence_by_hand() -> None:
    """A regime of 60 and 20 clicks expects shares of 3/4 and 1/4; 20 and 20 diverge by log(4/3) / 2 nats a click."""
    shop = toy_shop(n_items=2, n_candidates=2, slate_size=2, n_categories=2)
    agent = SeasonalMemory(Popular(), min_clicks=10_000, prior=1e-9)
    agent.begin(shop.items, shop.spaces, 0)
    agent.update(counted(shop, [60, 20]))
    regime = agent.regimes[0]
    regime.counts = agent.evidence.copy()
    chance = 1 / (2 * 80)
    assert agent.divergence(regime) == pytest.approx(-chance, abs=1e-9)
    agent.evidence[:] = 0
    agent.update(counted(shop, [20, 20]))
    assert agent.divergence(regime) == pytest.approx(np.log(4 / 3) / 2 - 1 / (2 * 40), abs=1e-9)
    agent.evidence[:] = 0
    agent.update(counted(shop, [30, 10]))  # half the level, same shares: the same regime
    assert agent.divergence(regime) == pytest.approx(-1 / (2 * 40), abs=1e-9)


def test_the_bank_is_bounded_and_the_longest_unused_gives_way() -> None:
    shop, agent = shop_of(), SeasonalMemory(LinUCB(rank=2), capacity=2, spawn="cold", min_clicks=100)
    agent.begin(shop.items, shop.spaces, 1)
    base = shop.taste.copy()
    for day, regime in enumerate([0, 0, 1, 1, 2, 2, 2]):
        shop.taste = base.copy()
        shop.taste[:, regime] += 3.0
        _, pages = serve(shop, agent, day, uniform=True)
        figures = agent.fit(pages)
    assert figures["regimes"] == 2
    rates = agent.regimes[agent.active].counts
    assert int(np.argmax(rates[0] / rates[1])) == 2
    assert all((regime.model is None) == (i == agent.active) for i, regime in enumerate(agent.regimes))


def test_refuses_what_is_no_agent() -> None:
    with pytest.raises(TypeError, match="'agent' must be an Agent. Got str: 'linucb'"):
        SeasonalMemory("linucb")  # type: ignore[arg-type]
