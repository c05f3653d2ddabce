import doctest

import pytest

from perennial.agents.lifecycle import triggers
from perennial.agents.lifecycle.detectors import NoDetector, PageHinkley
from perennial.agents.lifecycle.monitors import Monitor
from perennial.agents.lifecycle.triggers import AnyOf, Drift, Never, Schedule, Trigger
from tests.agents.lifecycle.hand import with_first_clicks


def firing(
    trigger: Trigger, clicks_at: dict[int, int] | None = None, ticks: int = 240, reset: bool = True
) -> list[int]:
    """The hours at which `trigger` fires, fed with ten first pages an hour, 2 clicks each but where told otherwise."""
    monitor, fired, level = Monitor(), [], 2
    for tick in range(ticks):
        level = (clicks_at or {}).get(tick, level)
        monitor.update(with_first_clicks(tick, list(range(tick * 10, tick * 10 + 10)), [level] * 10), tick)
        if trigger.evaluate(monitor, tick).fired:
            fired.append(tick)
            if reset:
                trigger.reset(tick)
    return fired


def drift(cooldown_days: float = 0) -> Drift:
    return Drift(PageHinkley("down", delta=0.0, threshold=4.0, min_instances=20), cooldown_days=cooldown_days)


def test_never_and_no_detector_never_fire():
    assert firing(Never()) == []
    assert firing(Drift(NoDetector()), {50: 0}) == []


def test_a_schedule_fires_at_the_end_of_its_periods():
    assert firing(Schedule(days=1), ticks=100) == [23, 47, 71, 95]
    assert firing(Schedule(hours=1), ticks=4) == [0, 1, 2, 3]
    assert firing(Schedule(days=1, hours=12), ticks=80) == [35, 71]
    with pytest.raises(ValueError, match="not both 0. Got days=0, hours=0"):
        Schedule()


def test_drift_fires_in_the_first_hour_whose_alarm_is_past_the_threshold():
    # 1,000 first pages at rate 1, then falls to 0.5: each adds about 0.5 to the sum, so the 9th passes 4, in hour 100
    assert firing(drift(), {100: 1}) == [100]
    assert firing(drift(), {100: 1, 150: 0}) == [100, 150]
    assert firing(drift(), {100: 1, 150: 2}) == [100]  # a rise is no reason
    assert firing(drift()) == []


def test_drift_is_quiet_while_cooling_down_and_says_so():
    trigger = drift(cooldown_days=5)
    assert firing(trigger, {100: 1, 150: 0}) == [100]
    trigger = drift(cooldown_days=2)
    assert firing(trigger, {100: 1, 150: 0}) == [100, 150]
    monitor = Monitor()
    trigger.reset(150)
    for tick, clicks in ((151, 2), (152, 2), (153, 0)):
        monitor.update(with_first_clicks(tick, list(range(10)), [clicks] * 10), tick)
        record = trigger.evaluate(monitor, tick)
    assert not record.fired
    assert record.inputs["cooling_down"] == 1
    assert record.inputs["alarms"] > 0
    assert record.score > record.threshold == 4.0


def test_the_record_holds_the_evidence():
    monitor = Monitor()
    monitor.update(with_first_clicks(0, [1, 2], [2, 1]), 0)
    record = drift().evaluate(monitor, 0)
    assert record.trigger == "Drift(PageHinkley)"
    assert not record.fired
    assert record.inputs == {"values": 2, "alarms": 0, "cooling_down": 0, "first_page_ctr": 0.75}
    assert record.score == pytest.approx(0.25)


def test_any_of_fires_with_each_of_its_parts_and_asks_all_of_them():
    assert firing(AnyOf([Schedule(days=3), drift()]), {100: 1}) == [71, 100, 143, 215]
    assert firing(AnyOf([Never(), Never()])) == []
    with pytest.raises(ValueError, match="'triggers' must list at least one"):
        AnyOf([])


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="'metric' must be one of ctr, first_page_ctr, reward. Got 'clicks'"):
        Drift(NoDetector(), metric="clicks")
    with pytest.raises(ValueError, match="'cooldown_days' must be 0 or more. Got -1"):
        Drift(NoDetector(), cooldown_days=-1)


def test_examples():
    assert doctest.testmod(triggers).failed == 0
