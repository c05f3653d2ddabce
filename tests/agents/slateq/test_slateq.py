"""SlateQ's values are those of value iteration where a visitor chooses one item, and it learns a shop elsewhere."""

import numpy as np
import pytest

from perennial.agents import Feedback, Keys, Popular, Spaces
from perennial.agents.slateq import SlateQ, transitions
from perennial.agents.slateq.slates import exact_slates, slate_value
from perennial.envs.tabular import TabularShop
from tests.agents.slateq.tables import PAIRS, ChoiceTable, drawn, of_shop
from tests.agents.toy import toy_shop, uplift

TABULAR = {
    "gamma": 0.8, "optimiser": "exact", "rank": 1, "width": 4, "embedding": 12, "rounds": 25, "cold_steps": 30,
    "batch_size": 500, "learning_rate": 0.03, "weight_decay": 0.0, "clip": 100.0,
}  # fmt: skip
QUICK = {"rank": 3, "width": 32, "rounds": 3, "cold_steps": 80, "batch_size": 256}


@pytest.mark.parametrize("seed", range(5))
def test_the_decomposition_has_the_values_of_value_iteration_over_slates(seed: int) -> None:
    """The agent's own two functions, iterated on exact tables item by item, against value iteration over all slates."""
    table, values = drawn(seed), np.zeros(5)
    for _ in range(300):
        values = best_value(table.weight, table.worth(values))
    assert values == pytest.approx(table.solve(), abs=1e-10)


def best_value(weight: np.ndarray, worth: np.ndarray, pull: np.ndarray | None = None) -> np.ndarray:
    """(S,): value of the best slate of two; `worth` (S, N + 1) of each choice and of none."""
    pull = np.ones(2) if pull is None else pull
    slates = exact_slates(weight, worth[:, :-1], worth[:, -1], pull).astype(np.int64)
    best = (np.take_along_axis(part, slates, axis=1) for part in (weight, worth[:, :-1]))
    return slate_value(*best, worth[:, -1], pull)


def test_the_tabular_shop_is_solved_item_by_item() -> None:
    """Where the visitor always comes, the shop of `perennial/TabularShop-v0` has a single choice: same values."""
    shop = TabularShop(return_floor=1.0, discount=0.8)
    table, values = of_shop(shop), np.zeros(9)
    for _ in range(300):
        values = best_value(table.weight, table.worth(values))
    exact, _ = shop.solve()
    assert values == pytest.approx([exact[shop.states.index((2, *pair))] for pair in PAIRS], abs=1e-10)


def logged(table: ChoiceTable, pages: int, seed: int) -> Feedback:
    """One endless visit, served uniform slates: the state one-hot in ``user``, all items candidates."""
    rng, state, k = np.random.default_rng(seed), 0, table.size
    states, slates, clicked = np.zeros(pages, int), np.zeros((pages, k), np.int32), np.zeros((pages, k), bool)
    reward = np.zeros(pages, np.float32)
    for t in range(pages):
        states[t], slates[t] = state, rng.permutation(table.n_items)[:k]
        weight = np.append(table.weight[state, slates[t]], 1.0)
        choice = rng.choice(k + 1, p=weight / weight.sum())
        clicked[t] = np.arange(k) == choice
        item = slates[t, choice] if choice < k else table.n_items
        reward[t] = table.reward[state, item]
        state = rng.choice(table.n_states, p=table.after[state, item])
    nobody, ends = np.zeros(pages, np.int32), np.zeros(pages, bool)
    no, unknown = np.zeros_like(clicked), np.full(slates.shape, np.nan)
    keys = Keys(np.zeros(pages, np.int64), np.arange(pages, dtype=np.int32), nobody, np.arange(pages))
    return Feedback(
        keys, seen(table, states), slates, slates, clicked, no, no, no, reward, ends, ends, unknown, nobody, ends
    )


def seen(table: ChoiceTable, states: np.ndarray) -> dict[str, np.ndarray]:
    n = len(states)
    return {
        "user": np.eye(table.n_states, dtype=np.float32)[states],
        "history": np.full((n, 1), -1, np.int32),
        "candidates": np.tile(np.arange(table.n_items, dtype=np.int32), (n, 1)),
        "page": np.tile(np.array([0, 1], np.float32), (n, 1)),
        "calendar": np.zeros((n, 8), np.float32),
        "notice": np.zeros((n, 0), np.float32),
    }


def tabular_agent(table: ChoiceTable, **options: float) -> SlateQ:
    n, s = table.n_items, table.n_states
    items = {
        "category": np.zeros(n, np.int32),
        "price": np.ones(n, np.float32),
        "features": np.zeros((n, 1), np.float32),
    }
    agent = SlateQ(**{**TABULAR, **options})  # type: ignore[arg-type]
    agent.begin(items, Spaces(n, 1, 1, n, table.size, 1, s, 2, 8, 0), seed=3)
    return agent


def policy_of(table: ChoiceTable, agent: SlateQ) -> np.ndarray:
    """(S,): the number of the slate that the agent shows in each state."""
    states = np.arange(table.n_states)
    keys = Keys(states, states.astype(np.int32), np.zeros(len(states), np.int32), states)
    shown = np.sort(agent.act(seen(table, states), keys).slates, axis=1)
    return (shown[:, None] == table.slates).all(axis=2).argmax(axis=1)


@pytest.fixture(scope="module")
def long_log() -> tuple[ChoiceTable, Feedback]:
    table = drawn(1)
    return table, logged(table, 20_000, 0)


def test_taught_from_a_log_it_has_the_exact_values(long_log: tuple[ChoiceTable, Feedback]) -> None:
    """20,000 logged pages, a network. Values of states within 2 % of the exact ones, worths of choices within 2 % on
    average and weights of the logit within 10 %; the policy has 99 % of the optimal value from every state."""
    table, log = long_log
    agent = tabular_agent(table)
    agent.fit(log, "cold")
    weight, worth, nothing = agent.judge(seen(table, np.arange(5)))
    both, exact = np.hstack([worth, nothing[:, None]]), table.solve()
    assert best_value(weight, both) == pytest.approx(exact, rel=0.02)
    assert np.abs(both / table.worth(exact) - 1).mean() < 0.02
    assert np.abs(weight / table.weight - 1).mean() < 0.1
    assert (table.value_of(policy_of(table, agent)) > 0.99 * exact).all()


def test_looking_ahead_beats_the_best_of_this_page(long_log: tuple[ChoiceTable, Feedback]) -> None:
    """Taught without a future from the same log, it shows about the best of each page: that costs a tenth."""
    table, log = long_log
    near = tabular_agent(table, gamma=0.0, rounds=5)
    near.fit(log, "cold")
    myopic = np.einsum("san,sn->sa", table.chances(), table.reward).argmax(axis=1)
    assert (table.value_of(myopic) / table.solve()).mean() < 0.9
    assert (table.value_of(policy_of(table, near)) / table.solve()).mean() < 0.9


def test_targets_are_of_the_next_page() -> None:
    """The value behind each page is that of the best slate of the page after it, by its own weights and worths."""
    table = drawn()
    agent, log = tabular_agent(table, rounds=3), logged(table, 50, 2)
    agent.fit(logged(table, 3000, 1), "cold")
    pages = transitions.pages_of(log)
    values = agent._values_of(pages, transitions.successors(pages))
    weight, worth, nothing = agent.judge(log.observations)
    of_page = best_value(weight, np.hstack([worth, nothing[:, None]]), agent.pull)
    assert agent.pull[0] == 1 != agent.pull[1]
    assert values[:-1] == pytest.approx(of_page[1:], rel=1e-5)
    assert values[-1] == 0
    assert np.abs(values[:-1] - of_page[:-1]).max() > 0.1


def test_choices_and_rewards_of_pages() -> None:
    """A click and a bought click on one page, none on the next, the third of another visit and the end of it."""
    log = toy_shop(n_items=8, n_candidates=8, slate_size=3).uniform_log(3, batch=3)
    log.keys.visit[:], log.keys.page[:] = [4, 4, 9], [1, 0, 0]
    log.clicked[:] = [[False] * 3, [True, False, True], [False, True, False]]
    log.carted[:] = log.purchased[:] = False
    log.carted[1, 2] = log.purchased[1, 2] = True
    log.reward[:] = [-1, 8, 3]
    log.terminated[:], log.truncated[:] = [False, False, True], False
    pages = transitions.pages_of(log)
    assert pages["choices"].tolist() == [[1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    assert pages["reward"].tolist() == [[2, 0, 6, 0], [0, 0, 0, -1], [0, 3, 0, 0]]
    assert transitions.successors(pages).tolist() == [1, -2, -1]


def test_a_page_waits_for_its_successor_and_is_learned_from_once() -> None:
    shop = toy_shop()
    agent = SlateQ(**QUICK)
    agent.begin(shop.items, shop.spaces, 1)
    log = shop.uniform_log(600)
    agent.fit(log, "cold")
    open_pages = log.take(~(log.terminated | log.truncated) & (log.keys.page == 0))
    before = agent.parameters.state()
    assert agent.update(open_pages) == {"pages_waiting": float(len(open_pages))}
    assert all(np.array_equal(array, before[name]) for name, array in agent.parameters.state().items())
    followed = agent.update(log.take(log.keys.page == 1))
    still = (~(log.terminated | log.truncated) & (log.keys.page == 1)).sum()
    lost = len(open_pages) - np.isin(open_pages.keys.visit, log.keys.visit[log.keys.page == 1]).sum()
    assert followed["pages_waiting"] == still + lost


def test_learns_the_toy_shop_where_it_is_a_heuristic() -> None:
    shop = toy_shop(1)
    log = shop.uniform_log(6000)
    popular = Popular()
    popular.begin(shop.items, shop.spaces, 5)
    popular.fit(log)
    agent = SlateQ(**QUICK)
    agent.begin(shop.items, shop.spaces, 5)
    agent.fit(log, "cold")
    mine, uniform, best = uplift(shop, agent, n_batches=10)
    assert mine > uniform + 0.6 * (best - uniform)
    assert mine > 1.1 * uplift(shop, popular, n_batches=10)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 1.0}, r"'gamma' must lie in \[0, 1\). Got 1"),
        ({"optimiser": "lp"}, "'optimiser' must be one of 'exact', 'top_k'. Got 'lp'"),
        ({"rounds": 0}, "'rounds' must be an integer >= 1. Got 0"),
    ],
)
def test_refuses_senseless_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SlateQ(**options)
