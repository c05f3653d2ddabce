"""What every simple agent promises alike: the same seed gives the same bits, and so does a saved and loaded agent."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from perennial.agents import Agent, Exploring, LinUCB, Popular, RandomSlates
from tests.agents.bandits.test_slates import MAKERS as LINEAR
from tests.agents.toy import toy_shop

MAKERS = {
    "random": RandomSlates,
    "popular": Popular,
    **LINEAR,
    "exploring": lambda: Exploring(LinUCB(rank=3), epsilon=0.2),
}


def life(agent: Agent, seed: int, pages: int = 6) -> list[bytes]:
    """What the agent shows over some pages, learning as it goes; the shop is the same every time."""
    shop = toy_shop(seed=seed)
    shown = []
    for _ in range(pages):
        observations, keys = shop.observe(30)
        decision = agent.act(observations, keys)
        shown.append(decision.slates.tobytes() + decision.slot_propensity.tobytes())
        agent.update(shop.respond(observations, keys, decision))
    return shown


def begun(make: Callable[[], Agent], seed: int) -> Agent:
    shop = toy_shop()
    agent = make()
    agent.begin(shop.items, shop.spaces, seed)
    return agent


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_same_seed_same_bits(make: Callable[[], Agent]) -> None:
    assert life(begun(make, 1), seed=0) == life(begun(make, 1), seed=0)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_saved_and_loaded_it_goes_on_bit_for_bit(make: Callable[[], Agent], tmp_path: Path) -> None:
    first, second = begun(make, 1), begun(make, 2)
    first.fit(toy_shop().uniform_log(300))
    life(first, seed=0)
    first.save(tmp_path / "agent.safetensors")
    second.load(tmp_path / "agent.safetensors")
    assert first.state().keys() == second.state().keys()
    assert all(np.array_equal(array, second.state()[name]) for name, array in first.state().items())
    assert life(first, seed=5) == life(second, seed=5)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_state_is_a_copy_and_begin_forgets_all(make: Callable[[], Agent]) -> None:
    agent = begun(make, 1)
    start = agent.state()
    frozen = {name: array.copy() for name, array in start.items()}
    life(agent, seed=0)
    assert all(np.array_equal(array, frozen[name]) for name, array in start.items())
    shop = toy_shop()
    agent.begin(shop.items, shop.spaces, 1)
    assert all(np.array_equal(array, frozen[name]) for name, array in agent.state().items())


def test_the_state_of_another_agent_is_refused() -> None:
    with pytest.raises(ValueError, match="The state must hold 'clicks'.*was it saved by another kind of agent"):
        begun(Popular, 0).restore(begun(RandomSlates, 0).state())
    with pytest.raises(ValueError, match=r"'user_directions' must have shape \(6, 5\). Got \(6, 3\).*same options"):
        begun(LinUCB, 0).restore(begun(lambda: LinUCB(rank=3), 0).state())
