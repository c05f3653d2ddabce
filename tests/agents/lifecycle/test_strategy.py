from perennial.agents.lifecycle.monitors import Monitor
from perennial.agents.lifecycle.rollout import ImmediateRollout
from perennial.agents.lifecycle.strategy import Strategy
from perennial.agents.lifecycle.triggers import Never, Schedule
from perennial.agents.lifecycle.windows import LastDays


def orders(strategy: Strategy, ticks: int) -> list[tuple[int, str, str]]:
    monitor = Monitor()
    return [(tick, o.kind, str(o.window)) for tick in range(ticks) for o in strategy.decide(monitor, tick)]


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


def test_every_evaluation_is_a_record():
    strategy = Strategy(Schedule(days=1), LastDays(7), Never(), ImmediateRollout())
    strategy.decide(Monitor(), 22)
    assert [(r.trigger, r.fired) for r in strategy.records] == [("Never", False), ("Schedule", False)]
    strategy.decide(Monitor(), 23)
    assert [(r.trigger, r.fired) for r in strategy.records] == [("Never", False), ("Schedule", True)]
