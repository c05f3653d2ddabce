"""Any sequence of valid and invalid calls: no crash, nothing that is not a number, no state changed by a refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from perennial.envs import actions, calendars, episodes, views
from perennial.envs.notice import Ladder
from perennial.envs.shop import DRIFTS, ShopEnv, ShopVectorEnv
from perennial.envs.world import CHOICES

SMALL: dict[str, Any] = {"n_users": 60, "n_items": 80, "n_candidates": 12, "slate_size": 4, "visits_per_day": 40.0}
KINDS = st.fixed_dictionaries(
    {
        "drift": st.sampled_from(sorted(DRIFTS)),
        "choice": st.sampled_from(sorted(CHOICES)),
        "action": st.sampled_from(sorted(actions.KINDS)),
        "observation": st.sampled_from(sorted(views.KINDS)),
        "episode": st.sampled_from(sorted(episodes.KINDS)),
        "calendar": st.sampled_from(sorted(calendars.KINDS)),
        "ladder": st.builds(Ladder, st.integers(0, 6)),
    }
)
BAD = st.sampled_from(
    [None, "slate", np.nan, np.inf, -1, 1.5, [], [0, 1], np.zeros((2, 2, 2)), np.full(4, 12), np.full(4, np.nan), {}]
)


class Shop(RuleBasedStateMachine):
    """One environment, single or vector, under any calls."""

    @initialize(kinds=KINDS, width=st.sampled_from([0, 1, 5]), mode=st.sampled_from(["NextStep", "SameStep"]))
    def build(self, kinds: dict[str, Any], width: int, mode: str) -> None:
        arguments = {**SMALL, **kinds, "episode_days": 2}
        self.env: Any = ShopVectorEnv(width, autoreset_mode=mode, **arguments) if width else ShopEnv(**arguments)
        self.env.action_space.seed(0)
        self.seen, self.over, self.saved = None, False, None

    @rule(seed=st.one_of(st.none(), st.integers(0, 2**31)), day=st.one_of(st.none(), st.integers(0, 3000)))
    def reset(self, seed: int | None, day: int | None) -> None:
        if seed is None and self.seen is None:
            seed = 0  # else the first reset would draw one, and no sequence could be repeated
        self.seen, _ = self.env.reset(seed=seed, options=None if day is None else {"day": day})
        self.over = False

    @precondition(lambda self: self.seen is not None)
    @rule()
    def step(self) -> None:
        if self.over:
            self.seen, _ = self.env.reset()
        self.seen, reward, terminated, truncated, _ = self.env.step(self.env.action_space.sample())
        assert np.isfinite(reward).all()
        assert not (np.asarray(terminated) & np.asarray(truncated)).any()
        self.over = isinstance(self.env, ShopEnv) and bool(terminated or truncated)

    @precondition(lambda self: self.seen is not None)
    @rule(bad=BAD)
    def refused_step(self, bad: Any) -> None:
        self._refused(lambda: self.env.step(bad))

    @rule(options=st.sampled_from([{"dya": 1}, {"day": 1.5}, {"day": -1}, {"day": True}, {"day": "monday"}]))
    def refused_reset(self, options: dict[str, Any]) -> None:
        self._refused(lambda: self.env.reset(options=options))

    @precondition(lambda self: self.seen is not None and not self.over)
    @rule()
    def save(self) -> None:
        self.saved = self.env.save()

    @precondition(lambda self: self.saved is not None)
    @rule()
    def restore(self) -> None:
        self.seen, _ = self.env.restore(self.saved)
        self.over = False

    @precondition(lambda self: self.saved is not None)
    @rule(place=st.integers(0, 1000))
    def refused_restore(self, place: int) -> None:
        name = sorted(self.saved)[place % len(self.saved)]
        self._refused(lambda: self.env.restore({k: v for k, v in self.saved.items() if k != name}))

    def _refused(self, call: Any) -> None:
        """`call` raises, saying why, and changes nothing."""
        before = self.env.save()
        with pytest.raises((TypeError, ValueError, RuntimeError)) as error:
            call()
        assert str(error.value)
        after = self.env.save()
        assert all(np.array_equal(before[name], after[name]) for name in before)

    @invariant()
    def what_is_seen_lies_in_its_space(self) -> None:
        if getattr(self, "seen", None) is not None:
            assert self.env.observation_space.contains(self.seen)


def run(examples: int, steps: int) -> None:
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Shop,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=True, database=None,
            suppress_health_check=quiet,
        ),
    )  # fmt: skip


def test_sequences_of_calls() -> None:
    run(60, 25)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_sequences_of_calls() -> None:
    run(10_000, 20)
