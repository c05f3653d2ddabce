from dataclasses import replace

import numpy as np
import pytest

from perennial.agents.lifecycle.evidence import Moments
from perennial.experiments import rollout_kinds
from perennial.experiments.rollout_kinds import SHIPPED, Step, repeat, shipped, steps_of, table
from tests.experiments.test_rollouts import crowd

STEP = Step(share=0.5, margin=-0.1, worse=0.0, first=2, last=3, alpha=0.05, horizon=1000.0, min_users=2)


def arm(means, users=10_000):
    """One repetition, three looks: so many users a day, each with one page and a mean number of clicks, spread .1."""
    n = users * np.arange(1, 4, dtype=np.float64)[None]
    y = n * np.array(means)
    return Moments(n, y, n, y**2 / n + 0.01 * n, y, n)


@pytest.mark.parametrize(
    ("means", "forward", "look"),
    [
        ([1.0, 1.0, 1.0], True, 2),  # not worse by a tenth, as soon as its shortest time is over
        ([0.95, 0.95, 0.95], False, 1),  # shown to be worse at all, though by less than is tolerated
        ([1.2, 0.8, 1.2], False, 2),  # better too early, then worse
    ],
)
def test_a_step_goes_forward_or_back_as_the_canarys_does(means, forward, look):
    good, at = STEP.judge(arm(means), arm([1.0, 1.0, 1.0]))
    assert (bool(good[0]), int(at[0])) == (forward, look)


def test_a_step_that_shows_nothing_ends_backward_at_its_last_look():
    good, at = replace(STEP, margin=0.0).judge(arm([1.0, 1.0, 1.0], users=4), arm([1.0, 1.0, 1.0], users=4))
    assert (bool(good[0]), int(at[0])) == (False, 3)


def test_steps_are_those_of_the_yaml():
    first, last = steps_of(shipped(SHIPPED["canary"]))
    canary = shipped(SHIPPED["canary"])
    assert (first.share, last.share) == (0.2, 0.5)
    assert [-first.margin, -last.margin] == canary.tolerances
    assert (first.first, first.last) == (1, 10)
    assert first.alpha == last.alpha == 0.025
    (test,) = steps_of(shipped(SHIPPED["a/b test"]))
    assert (test.share, test.margin, test.last, test.alpha) == (0.5, 0.0, 30, 0.05)


def test_what_is_stated_of_each_kind():
    """Made-up visitors: a lift is promoted, a great loss is not, and a smaller tolerance promotes fewer."""
    visits = crowd()
    better, worse = (repeat(visits, lift, 2000, 40, seed=0, tolerances=[0.02]) for lift in (0.5, -0.3))
    for kind in better:
        assert better[kind].promoted.mean() > 0.9, kind
        # Blue-green promotes what is not shown to be worse in two days; the others what is shown not to be.
        assert worse[kind].promoted.mean() <= (0.5 if "blue" in kind else 0.05), kind
    equal = repeat(visits, 0.0, 2000, 40, seed=0, tolerances=[0.02])
    assert equal["canary, tolerances 0.3 0.02"].promoted.sum() < equal["canary (nightly_canary)"].promoted.sum()
    assert equal["a/b test (weekly_ab_test)"].promoted.mean() <= 0.1
    assert (equal["canary (nightly_canary)"].days >= 1).all()
    again = repeat(visits, 0.0, 2000, 40, seed=0, tolerances=[0.02])
    for kind in equal:
        np.testing.assert_array_equal(again[kind].impressions, equal[kind].impressions)


def test_the_table_says_how_sure_it_is():
    found = repeat(crowd(users=200), 0.3, 300, 10, seed=4)
    rows = table({(0.3, 300): found}).texts()
    assert [row[2] for row in rows] == [f"{kind} ({strategy})" for kind, strategy in SHIPPED.items()]
    assert all("[" in row[3] for row in rows)


def test_blue_green_keeps_the_days_apart():
    visits = crowd().days(3, 5)
    assert set(visits.day.tolist()) == {0, 1}
    assert len(visits.user) == ((crowd().day >= 3) & (crowd().day < 5)).sum()
    assert rollout_kinds.kinds([0.05])["canary, tolerances 0.3 0.05"].tolerances == [0.3, 0.05]
