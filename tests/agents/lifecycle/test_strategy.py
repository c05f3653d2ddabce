import pytest

from perennial.agents.lifecycle.detectors import Detector
from perennial.agents.lifecycle.monitors import Monitor
from perennial.agents.lifecycle.rollout import ImmediateRollout
from perennial.agents.lifecycle.strategy import Strategy
from perennial.agents.lifecycle.triggers import Drift, Never, Schedule
from perennial.agents.lifecycle.windows import LastDays


class Once(Detector):
    """Raises a single alarm, in a given hour."""

    def __init__(self, tick):
        self.tick, self.now = tick, -1

    def at(self, tick):
        self.now = tick

    def update(self, x):
        """It goes by the hour alone."""

    def reset(self):
        self.drift_detected = False

    def first_alarm(self, values):
        found = 0 if self.now == self.tick and not self.drift_detected else None
        self.drift_detected = found is not None
        return found


def orders(strategy: Strategy, ticks: int, outcomes: dict[int, str] | None = None) -> list[tuple[int, str, str]]:
    """What is ordered in some hours; all comes to something, but as `outcomes` say by hour."""
    monitor, given = Monitor(), []
    for tick in range(ticks):
        for order in strategy.decide(monitor, tick):
            given.append((tick, order.kind, str(order.window)))
            strategy.settle(order, (outcomes or {}).get(tick, "trained"))
    return given


def test_static_orders_nothing():
    assert orders(Strategy(Never(), LastDays(28), Never(), ImmediateRollout()), 100) == []


def test_nightly_orders_a_fit_after_each_last_hour():
    strategy = Strategy(Schedule(days=1), LastDays(28), Never(), ImmediateRollout())
    assert orders(strategy, 60) == [(23, "fit", "last 28 days"), (47, "fit", "last 28 days")]


def test_an_update_sees_the_hours_since_the_last_one_and_precedes_the_fit():
    strategy = Strategy(Schedule(days=1), LastDays(7), Schedule(hours=8), ImmediateRollout())
    assert orders(strategy, 32) == [
        (7, "update", "from hour 0"),
        (15, "update", "from hour 8"),
        (23, "update", "from hour 16"),
        (23, "fit", "last 7 days"),
        (31, "update", "from hour 24"),
    ]


def test_a_failed_update_leaves_its_pages_to_the_next():
    strategy = Strategy(Never(), LastDays(7), Schedule(hours=8), ImmediateRollout())
    found = orders(strategy, 40, {7: "no data", 15: "failed", 23: "failed"})
    assert [(tick, window) for tick, _, window in found] == [
        (7, "from hour 0"), (15, "from hour 8"), (23, "from hour 8"), (31, "from hour 8"), (39, "from hour 32"),
    ]  # fmt: skip


@pytest.mark.parametrize("outcome", ["failed", "no data", "refused"])
def test_a_fit_that_came_to_nothing_is_ordered_again(outcome):
    for retry_hours, again in ((24, 124), (5, 105)):
        trigger = Drift(Once(100), cooldown_days=7)
        strategy = Strategy(trigger, LastDays(7), Never(), ImmediateRollout(), retry_hours=retry_hours)
        found = orders(strategy, 200, {100: outcome})
        assert [tick for tick, *_ in found] == [100, again]
        assert trigger.evaluate(Monitor(), again + 7 * 24).inputs["cooling_down"] == 1  # of the order that was met
        assert trigger.evaluate(Monitor(), again + 7 * 24 + 1).inputs["cooling_down"] == 0
    with pytest.raises(ValueError, match="'retry_hours' must be an integer >= 1. Got 0"):
        Strategy(Never(), LastDays(7), Never(), ImmediateRollout(), retry_hours=0)


def test_every_evaluation_is_a_record():
    strategy = Strategy(Schedule(days=1), LastDays(7), Never(), ImmediateRollout())
    strategy.decide(Monitor(), 22)
    assert [(r.trigger, r.fired) for r in strategy.records] == [("Never", False), ("Schedule", False)]
    strategy.decide(Monitor(), 23)
    assert [(r.trigger, r.fired) for r in strategy.records] == [("Never", False), ("Schedule", True)]
