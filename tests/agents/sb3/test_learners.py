"""What every stable-baselines3 learner promises alike: it learns by log and by `learn`, repeats, resumes, refuses."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file
from stable_baselines3.common.callbacks import BaseCallback

from perennial.agents.base import Agent, Feedback
from perennial.agents.exploring import Exploring
from perennial.agents.popular import Popular
from perennial.agents.sb3 import checkpoint
from perennial.agents.sb3.generators import read_positions, write_positions
from tests.agents.sb3.learners import BY_LEARN, FAST, LEARNERS, OFF, ON
from tests.agents.sb3.tiny import TinyEnv, begun, served, share_of_best, tiny_shop
from tests.agents.toy import ToyShop

Make = Callable[[], Any]
every = pytest.mark.parametrize("make", FAST.values(), ids=FAST)
off_policy = pytest.mark.parametrize("make", [FAST[name] for name in OFF], ids=OFF)


def teach(shop: ToyShop, agent: Agent, rounds: int, batch: int = 50) -> list[dict[str, float]]:
    return [agent.update(served(shop, agent, batch)) for _ in range(rounds)]


def parameters(agent: Any) -> dict[str, np.ndarray]:
    return checkpoint.learner_arrays(agent.model)


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name, strict=True)


QUICK = ("dqn", "qr_dqn", "td3", "ppo", "a2c", "maskable_ppo")  # the others take some seconds each


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in LEARNERS])
def test_from_the_log_it_reaches_the_best_slates(name: str) -> None:
    """95 % of the best expected clicks: off-policy from a uniform log and its own pages, on-policy from its own."""
    shop = tiny_shop()
    agent = begun(LEARNERS[name](), shop)
    assert share_of_best(shop, agent) < 0.6
    if name in OFF:
        agent.update(shop.uniform_log(1500, batch=50))
    teach(shop, agent, 20 if name in QUICK and name in OFF else 50, batch=100)
    assert share_of_best(shop, agent) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_LEARN)
def test_by_learn_it_reaches_the_best_slates(name: str) -> None:
    """95 % of the best expected clicks, in the learner's own loop on a vector env."""
    shop = tiny_shop()
    agent = begun(LEARNERS[name](), shop)
    agent.learn(TinyEnv(shop), 6000)
    assert share_of_best(shop, agent) >= 0.95


@pytest.mark.parametrize("make", [FAST[name] for name in BY_LEARN], ids=BY_LEARN)
def test_it_learns_by_learn_and_goes_on_by_log(make: Make) -> None:
    shop = tiny_shop()
    agent = begun(make(), shop)
    start = parameters(agent)
    figures = agent.learn(TinyEnv(shop), 160)
    learned = parameters(agent)
    assert figures["pages_learned"] >= 160
    assert any(not np.array_equal(start[name], learned[name]) for name in start)
    assert agent.model._n_updates > 0
    teach(shop, agent, 4)
    assert any(not np.array_equal(learned[name], array) for name, array in parameters(agent).items() if name in learned)
    assert all(np.isfinite(array).all() for array in parameters(agent).values())


@every
def test_propensities_are_exact_or_declared_unknown(make: Make) -> None:
    """The same from `act` and from `slate_propensity`; first slots drawn 5,000 times on one page, against them."""
    shop = tiny_shop()
    agent = begun(make(), shop)
    teach(shop, agent, 3)
    observations, keys = shop.observe(40)
    decision = agent.act(observations, keys)
    again = agent.slate_propensity(observations, keys, decision.slates)
    np.testing.assert_allclose(again, decision.slot_propensity, rtol=1e-6)
    if np.isnan(decision.slot_propensity).all():
        return
    one, n = keys.take(np.zeros(5000, np.int64)), 5000
    many = {name: np.repeat(array[:1], n, axis=0) for name, array in observations.items()}
    first = agent.act(many, one)
    seen = np.bincount(first.slates[:, 0], minlength=9) / n
    chance = np.zeros(9)
    chance[first.slates[:, 0]] = first.slot_propensity[:, 0]
    assert chance.sum() <= 1 + 1e-5
    assert np.abs((seen - chance) / np.sqrt(np.maximum(chance, 1e-3) / n)).max() < 5


@every
def test_taught_by_the_log_it_is_what_it_was_online(make: Make) -> None:
    """One serves and learns as it goes; a twin, begun at the same state, only reads the log: the same parameters."""
    shop = tiny_shop()
    online = begun(make(), shop)
    twin = begun(make(), shop, seed=9)
    twin.restore(online.state())
    log = []
    for _ in range(5):
        log.append(served(shop, online))
        online.update(log[-1])
    for feedback in log:
        twin.update(feedback)
    assert online.model._n_updates > 0
    assert_same(parameters(online), parameters(twin))


@off_policy
def test_it_does_not_matter_how_the_log_is_cut(make: Make) -> None:
    shop = tiny_shop()
    hourly, daily = begun(make(), shop), begun(make(), shop)
    log = [served(shop, hourly) for _ in range(4)]
    for feedback in log:
        hourly.update(feedback)
    daily.fit(Feedback.concatenate(log))
    assert hourly.model._n_updates > 0
    assert_same(hourly.state() | {"rng": np.zeros(1)}, daily.state() | {"rng": np.zeros(1)})
    assert daily.fit(Feedback.concatenate(log))["pages_learned"] == 0


class Recorder(BaseCallback):
    """What `learn` did before each call of `train`: generators' positions, actions, values, log-probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.positions: list[Any] = []
        self.actions: list[np.ndarray] = []
        self.extras: dict[str, np.ndarray] = {}

    def _on_step(self) -> bool:
        name = "buffer_actions" if "buffer_actions" in self.locals else "actions"
        self.actions.append(np.array(self.locals[name]))
        return True

    def _on_rollout_end(self) -> None:
        self.positions.append(read_positions())
        buffer = getattr(self.model, "rollout_buffer", None)
        if buffer is not None:
            self.extras = {"value": buffer.values.copy(), "log_prob": buffer.log_probs.copy()}
            if hasattr(buffer, "hidden_states_pi"):
                states = np.stack([buffer.hidden_states_pi, buffer.cell_states_pi], axis=1)
                self.extras["memory"] = states[:, :, :, 0].copy()
            if hasattr(buffer, "action_masks"):
                self.extras["masks"] = buffer.action_masks[:, 0].copy()


def replaying(agent: Any, positions: list[Any]) -> None:
    """Let every call of `train` begin where the generators stood in the recorded run."""
    train, left = agent.model.train, iter(positions)

    def placed(*arguments: Any) -> None:
        write_positions(next(left))
        train(*arguments)

    agent.model.train = placed


limits = pytest.mark.parametrize("page_limit", [99, 3], ids=["visitors leave", "the page limit ends visits"])


@limits
@off_policy
def test_off_policy_the_log_teaches_what_learn_would_to_the_bit(make: Make, page_limit: int) -> None:
    """The log of a run of `learn`, with the generators' positions restored before each training."""
    shop = tiny_shop(slate_size=1)
    shop.page_limit = page_limit
    agent, reader, env, record = begun(make(), shop), begun(make(), shop), TinyEnv(shop, 1), Recorder()
    agent.learn(env, ended_after(100, page_limit, slate_size=1, multiple=8), record)
    started = agent.options["learning_starts"] // agent.options["train_freq"]
    replaying(reader, record.positions[started:])
    for feedback, action in zip(env.log, record.actions, strict=True):
        if agent.network.get("ranks"):
            reader.update(feedback)
        else:
            stored = action.reshape(1, -1) if action.dtype.kind == "f" else action.reshape(1)
            reader.update(replace(feedback, extras={"action": stored}))
    assert any(feedback.truncated[0] for feedback in env.log) == (page_limit == 3)
    assert reader.model._n_updates == agent.model._n_updates > 5
    assert_same(parameters(agent), parameters(reader))


@limits
@pytest.mark.parametrize("name", [name for name in ON if name in BY_LEARN and name != "meta_rl"])
def test_on_policy_the_log_teaches_what_learn_would(name: str, page_limit: int) -> None:
    """One round of `learn` that ends with a visit; advantages are summed in another order, so to rounding only."""
    shop, steps = tiny_shop(), ended_after(60, page_limit)
    shop.page_limit = page_limit

    def make() -> Any:
        agent = FAST[name]()
        agent.n_steps = steps
        if name != "a2c":
            agent.options["batch_size"] = steps  # one batch: the log's are cut to equal sizes, those of `learn` are not
        return agent

    agent, reader, env, record = begun(make(), shop), begun(make(), shop), TinyEnv(shop, 1), Recorder()
    agent.learn(env, steps, record)
    replaying(reader, record.positions)
    log = Feedback.concatenate(env.log)
    assert log.truncated.any() == (page_limit == 3)
    extras = record.extras | {"policy_version": np.ones(steps, np.int32)}
    if name == "recurrent_ppo":
        extras["memory"][log.keys.page == 0] = 0.0  # `learn` keeps what it then resets
    if name == "maskable_ppo":
        extras["action"] = np.stack(record.actions).reshape(steps, 1)
    figures = reader.update(replace(log, extras=extras))
    assert figures["pages_learned"] == steps
    mine, theirs = parameters(reader), parameters(agent)
    start = parameters(begun(make(), shop))
    for key, array in theirs.items():
        if key.startswith("policy/"):
            np.testing.assert_allclose(mine[key], array, rtol=2e-3, atol=2e-5, err_msg=key)
    assert any(
        not np.allclose(start[key], array, rtol=2e-3, atol=2e-5) for key, array in theirs.items() if key in start
    )


def ended_after(steps: int, page_limit: int, slate_size: int = 2, multiple: int = 1) -> int:
    """The first multiple >= `steps` after which the tiny shop's only visit, whatever is shown, has just ended."""
    shop = tiny_shop(slate_size=slate_size)
    shop.page_limit = page_limit
    env, n = TinyEnv(shop, 1), 0
    env.reset()
    while n < steps or n % multiple or not (env.log[-1].terminated[0] or env.log[-1].truncated[0]):
        env.step(np.arange(slate_size)[None])
        n += 1
    return n


@every
def test_company_does_not_matter_and_nothing_global_moves(make: Make) -> None:
    """Alone, and beside another agent that learns in between, by log and by `learn`: the same to the bit."""
    alone, shared, other_shop = tiny_shop(), tiny_shop(), tiny_shop(seed=5)
    agent, twin, company = begun(make(), alone), begun(make(), shared), begun(make(), other_shop, seed=3)
    before = read_positions()
    for _ in range(3):
        agent.update(served(alone, agent))
        twin.update(served(shared, twin))
        company.update(served(other_shop, company))
    if getattr(agent, "credit", "page") == "page":
        agent.learn(TinyEnv(alone, 4), 60)
        company.learn(TinyEnv(other_shop, 4), 60)
        twin.learn(TinyEnv(shared, 4), 60)
    after = read_positions()
    assert all(np.array_equal(before[name], after[name], equal_nan=name.endswith("gauss")) for name in before)
    assert agent.model._n_updates > 0
    assert_same(agent.state(), twin.state())


@every
def test_saved_and_loaded_it_goes_on_bit_for_bit(make: Make, tmp_path: Path) -> None:
    shop, same = tiny_shop(), tiny_shop()
    agent, other = begun(make(), shop), begun(make(), same)
    teach(shop, agent, 3)
    teach(same, other, 3)
    agent.save(tmp_path / "agent.safetensors")
    resumed = begun(make(), shop, seed=77)
    resumed.load(tmp_path / "agent.safetensors")
    assert_same(agent.state(), resumed.state())
    teach(shop, resumed, 3)
    teach(same, other, 3)
    assert_same(other.state(), resumed.state())


@every
def test_nothing_is_learned_from_numbers_that_are_none(make: Make) -> None:
    shop = tiny_shop()
    agent = begun(make(), shop)
    teach(shop, agent, 1)
    page = served(shop, agent)
    before = agent.state()
    page.reward[3] = np.nan
    with pytest.raises(ValueError, match="Got NaN or infinity.* on 1 of 50 pages"):
        agent.update(page)
    page.reward[3], page.observations["user"][:2, 0] = 0.0, np.inf
    with pytest.raises(ValueError, match=r"(?s)(?=.*observations\['user'\]).*on 2 of 50 pages"):
        agent.update(page)
    page.observations["user"][:2, 0], page.observations["candidates"][0, 0] = 0.0, 9
    with pytest.raises(ValueError, match=r"observations\['candidates'\].*in \[0, 9\)"):
        agent.fit(page)
    assert_same(before, agent.state())
    page.observations["candidates"][0, 0] = 0
    agent.update(page)
    assert all(np.isfinite(array).all() for array in parameters(agent).values())


@every
def test_it_serves_behind_the_exploration_floor(make: Make) -> None:
    """Explored pages are dropped by on-policy learners; others take them where an action would show them."""
    shop = tiny_shop()
    agent = begun(Exploring(make(), epsilon=0.5), shop)
    for _ in range(6):
        observations, keys = shop.observe(60)
        decision = agent.act(observations, keys)
        explored = decision.extras.pop("explored")
        figures = agent.update(replace(shop.respond(observations, keys, decision), explored=explored))
        if agent.on_policy:
            assert figures["pages_dropped"] >= explored.sum() > 0
    assert agent.policy.model._n_updates > 0
    assert all(np.isfinite(array).all() for array in parameters(agent.policy).values())


def test_altered_and_foreign_files_are_refused(tmp_path: Path) -> None:
    shop, path = tiny_shop(), tmp_path / "agent.safetensors"
    agent, other = begun(LEARNERS["dqn"](), shop), begun(LEARNERS["qr_dqn"](), shop)
    agent.save(path)
    with pytest.raises(ValueError, match="must hold an agent of the kind .*QrDqn. Got .*, saved by .*Dqn"):
        other.load(path)
    whole_file = path.read_bytes()
    altered = bytearray(whole_file)
    altered[-3] ^= 1
    path.write_bytes(bytes(altered))
    with pytest.raises(ValueError, match="whose content was changed afterwards"):
        agent.load(path)
    path.write_bytes(whole_file[:-40])
    with pytest.raises(ValueError, match=r"must be a file that an agent's save\(\) wrote"):
        agent.load(path)
    path.write_bytes(b"\x80\x04code")
    with pytest.raises(ValueError, match=r"must be a file that an agent's save\(\) wrote"):
        agent.load(path)
    begun(Popular(), shop).save(path)
    with pytest.raises(ValueError, match="must hold an agent of the kind .*Dqn. Got "):
        agent.load(path)


def test_a_checkpoint_is_arrays_and_a_json_note(tmp_path: Path) -> None:
    shop, path = tiny_shop(), tmp_path / "agent.safetensors"
    agent = begun(LEARNERS["sac"](), shop)
    agent.save(path)
    assert_same(load_file(path), agent.state())
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + length])
    assert json.loads(header["__metadata__"]["perennial"])["agent"] == "perennial.agents.sb3.sac.Sac"
    save_file(load_file(path), path)
    with pytest.raises(ValueError, match="saved by something that is no agent"):
        agent.load(path)


@pytest.mark.parametrize(
    "name", ["a2c", "dqn", "maskable_ppo", "meta_rl", "ppo", "qr_dqn", "recurrent_ppo", "sac", "td3"]
)
def test_the_yaml_holds_the_defaults(name: str) -> None:
    values = yaml.safe_load((Path(__file__).parents[3] / f"conf/agent/{name}.yaml").read_text())
    kind = type(LEARNERS[name]())
    assert values.pop("_target_") == f"perennial.agents.sb3.{name}.{kind.__name__}"
    assert values == {option: p.default for option, p in inspect.signature(kind).parameters.items()}
