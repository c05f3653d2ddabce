import doctest
import math

import numpy as np
import pytest
from scipy import stats

from perennial.agents.lifecycle import daily, triggers
from perennial.agents.lifecycle.daily import estimate
from perennial.agents.lifecycle.detectors import (
    Adwin,
    AlwaysDetector,
    Cusum,
    Ddm,
    Deseasonalised,
    KsWindows,
    NoDetector,
    PageHinkley,
    PsiWindows,
)
from perennial.agents.lifecycle.monitors import Monitor
from perennial.agents.lifecycle.tables import empty
from perennial.agents.lifecycle.triggers import (
    AllOf,
    AnyOf,
    AtLeast,
    CostAware,
    Drift,
    Never,
    Notice,
    Performance,
    Schedule,
    Standing,
    Trigger,
    Volume,
)
from perennial.agents.lifecycle.watchlist import Watchlist
from tests.agents.lifecycle.hand import SPACES, wave, with_first_clicks


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


def answered(standing: Standing, outcomes: list[bool], clicks_at: dict[int, int], ticks: int = 240) -> list[int]:
    """As `firing`, where what is ordered comes to something or not as `outcomes` say, and from then on always."""
    monitor, fired, level, left = Monitor(), [], 2, list(outcomes)
    for tick in range(ticks):
        level = clicks_at.get(tick, level)
        monitor.update(with_first_clicks(tick, list(range(tick * 10, tick * 10 + 10)), [level] * 10), tick)
        record = standing.evaluate(monitor, tick)
        if record.fired:
            fired.append((tick, record.reason))
            standing.settle(tick, record.reason, left.pop(0) if left else True)
    return fired


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cusum("down", 0.5, 10.0, warmup=80),
        lambda: KsWindows("down", 0.01, 40, 20),
        lambda: PsiWindows([0.25, 0.75], "down", 0.01, 40, 20),
    ],
)
def test_an_alarm_that_came_to_nothing_stands_though_the_detector_has_learned_the_new_level(make):
    seen, why = firing(Drift(make(), cooldown_days=3), {100: 1})[0], "drift of first_page_ctr"
    for outcomes, hours in (([], [0]), ([False], [0, 24]), ([False, False, False], [0, 24, 48, 72])):
        found = answered(Standing(Drift(make(), cooldown_days=3), 24), outcomes, {100: 1})
        assert found == [(seen + h, why if h == 0 else f"{why}, again") for h in hours]


def test_an_order_that_stands_is_given_again_after_its_hours_and_no_sooner():
    assert answered(Standing(Volume(100), 24), [False, True], {}, 50) == [
        (9, "volume"),
        (33, "volume, again"),
        (43, "volume"),
    ]
    daily = answered(Standing(Schedule(days=1), 36), [False, False], {}, 80)
    assert [tick for tick, _ in daily] == [23, 47, 71]  # a schedule comes round by itself
    both = answered(Standing(AnyOf([Schedule(days=3), drift()]), 24), [False], {100: 1}, 140)
    assert [tick for tick, _ in both] == [71, 95, 100]


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
    assert record.inputs == {
        "values": 2, "values_since_order": 2, "alarms": 0, "cooling_down": 0, "first_page_ctr": 0.75,
    }  # fmt: skip
    assert record.score == pytest.approx(0.25)


def test_any_of_fires_with_each_of_its_parts_and_asks_all_of_them():
    assert firing(AnyOf([Schedule(days=3), drift()]), {100: 1}) == [71, 100, 143, 215]
    assert firing(AnyOf([Never(), Never()])) == []
    with pytest.raises(ValueError, match="'triggers' must list at least one"):
        AnyOf([])


def test_any_detector_makes_a_trigger():
    """Ten pages an hour at rate 1, from hour 100 on at .5, from 150 on without a click."""
    fall = {100: 1, 150: 0}
    assert firing(Drift(AlwaysDetector(), cooldown_days=1), ticks=80) == [0, 25, 50, 75]
    assert firing(Drift(Cusum("down", 0.5, 10.0, mean=1.0, sd=0.25), cooldown_days=0), {100: 1}, 104) == [
        100, 101, 102, 103,
    ]  # fmt: skip  # a reference that is given stays
    assert firing(Drift(Cusum("down", 0.5, 10.0, warmup=200), cooldown_days=0), fall) == [100, 150]
    assert firing(Drift(Adwin("down", 0.002), cooldown_days=0), fall) == [105, 157]
    assert firing(Drift(KsWindows("down", 0.01, 200, 50), cooldown_days=0), fall) == [104, 154]
    assert firing(Drift(PsiWindows([0.25, 0.75], "down", 0.01, 200, 50), cooldown_days=0), fall) == [104, 154]
    assert firing(Drift(Ddm(3.0), "no_click", cooldown_days=0), fall) == [150]
    assert firing(Drift(Deseasonalised(AlwaysDetector(), 2), cooldown_days=0), ticks=50) == [48, 49]


def test_volume_fires_every_so_many_pages():
    assert firing(Volume(100), ticks=45) == [9, 19, 29, 39]
    assert firing(Volume(95), ticks=40) == [9, 19, 29, 39]  # the order clears the count
    assert firing(Volume(100), ticks=13, reset=False) == [9, 10, 11, 12]


def noisy(trigger: Trigger, level, days: int) -> list[int]:
    """Days at whose end `trigger` fires, fed with 20 first pages an hour clicked with chance `level(day)` a slot."""
    rng, monitor, fired = np.random.default_rng(0), Monitor(), []
    for tick in range(24 * days):
        clicks = rng.binomial(2, level(tick // 24), 20).tolist()
        monitor.update(with_first_clicks(tick, list(range(tick * 20, tick * 20 + 20)), clicks), tick)
        if trigger.evaluate(monitor, tick).fired:
            assert tick % 24 == 23
            fired.append(tick // 24)
            trigger.reset(tick)
    return fired


def test_performance_fires_on_a_fall_beyond_the_margin_only():
    test = {"reference_days": 5, "current_days": 3}
    assert noisy(Performance(margin=0.05, **test), lambda day: 0.5, 40) == []
    assert noisy(Performance(margin=0.05, **test), lambda day: 0.5 if day < 20 else 0.4, 40) == [22]
    assert noisy(Performance(margin=0.3, **test), lambda day: 0.5 if day < 20 else 0.4, 40) == []
    assert noisy(Performance(margin=0.05, **test), lambda day: 0.5 if day < 20 else 0.6, 40) == []


def test_performance_by_hand():
    """Three reference days at 1, 1, .9 and two current ones at .5, .4 clicks per slot, 20 pages each."""
    trigger, monitor, record = Performance(margin=0.1, alpha=0.05, reference_days=3, current_days=2), Monitor(), None
    for day, ones in enumerate((0, 0, 4, 20, 16)):
        clicks = [1] * ones + [2] * (20 - ones) if day < 3 else [1] * ones + [0] * (20 - ones)
        monitor.update(with_first_clicks(24 * day + 23, list(range(20)), clicks), 24 * day + 23)
        record = trigger.evaluate(monitor, 24 * day + 23)
    before, after = 0.9 * np.array([1, 1, 0.9]), np.array([0.5, 0.4])
    parts = before.var(ddof=1) / 3, after.var(ddof=1) / 2
    assert record.score == pytest.approx((before.mean() - after.mean()) / math.sqrt(sum(parts)))
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2)
    assert record.threshold == pytest.approx(stats.t.isf(0.05, freedom))
    assert record.fired
    assert record.inputs["reference_values"] == 60
    assert record.inputs["current_values"] == 40


def test_cost_aware_weighs_the_gain_against_the_price():
    fall = lambda day: 0.5 if day < 10 else 0.4  # noqa: E731
    days = {"training_days": 2, "horizon_days": 10, "caution": 3.0, "reference_days": 3, "current_days": 3}
    assert noisy(CostAware(rate=0.01, **days), fall, 30) == [12]
    assert noisy(CostAware(rate=5.0, **days), fall, 30) == []


def test_cost_aware_by_hand_and_its_account_is_cleared_by_an_order():
    trigger = CostAware(rate=0.25, training_days=2, horizon_days=10, caution=0.0, reference_days=2, current_days=2)
    clicks, records = [2, 2, 2, 2, 1, 1, 1, 1, 1, 1], []
    monitor = Monitor()
    for day, each in enumerate(clicks):
        monitor.update(with_first_clicks(24 * day + 23, list(range(10)), [each] * 10), 24 * day + 23)
        records.append(trigger.evaluate(monitor, 24 * day + 23))
        if records[-1].fired:
            trigger.reset(24 * day + 23)
    # ten pages a day: half a click lost on two days' mean x 10 pages x 10 days = 50, against .25 x 20 pages = 5
    assert [day for day, record in enumerate(records) if record.fired] == [4]
    assert (records[4].score, records[4].threshold) == (50.0, 5.0)
    assert records[8].score == 0.0  # the new model's own first days are the reference now
    assert records[8].inputs["reference"] == 1.0


def test_days_are_the_unit_of_an_estimate():
    assert doctest.testmod(daily).failed == 0
    means = np.array([0.2, 0.4, 0.3, 0.5])
    found = estimate([(10, 10 * m) for m in means])
    assert found.mean == pytest.approx(0.35)
    assert found.error == pytest.approx(means.std(ddof=1) / 2)
    assert math.isnan(estimate([]).mean)
    assert math.isnan(estimate([(3, 1.0)]).error)


def test_all_and_at_least_count_firings_of_the_last_hours():
    two, three = Schedule(hours=2), Schedule(hours=3)
    assert firing(AllOf([two, three]), ticks=20) == [5, 11, 17]
    assert firing(AllOf([Schedule(hours=24), drift()], within_hours=30), {100: 1}) == [100]
    assert firing(AllOf([Schedule(hours=24), drift()]), {100: 1}) == []
    assert firing(AtLeast(2, [two, three, Schedule(hours=4)]), ticks=14) == [3, 5, 7, 11]
    with pytest.raises(ValueError, match="'n' must lie between 1 and the number of triggers, 2. Got 3"):
        AtLeast(3, [two, three])


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="'metric' must be one of ctr, first_page_ctr, reward, .*Got 'clicks'"):
        Drift(NoDetector(), metric="clicks")
    with pytest.raises(ValueError, match="'cooldown_days' must be 0 or more. Got -1"):
        Drift(NoDetector(), cooldown_days=-1)


def test_examples():
    assert doctest.testmod(triggers).failed == 0


def fired_on(trigger: Trigger, told: list[list[int] | None], watched: bool = True) -> list[tuple[int, float]]:
    """Days on which `trigger` fires, with the score, fed with pages whose notice is `told` that day (None: no page)."""
    items = {"category": np.arange(30, dtype=np.int32) % 3, "price": np.ones(30), "features": np.zeros((30, 1))}
    monitor, fired = Monitor(watchlist=Watchlist(items, SPACES) if watched else None), []
    for day, notice in enumerate(told):
        tick = 24 * day + 23
        pages = empty(SPACES) if notice is None else wave(tick, [2 * day, 2 * day + 1])
        if notice is not None:
            pages.observations["notice"] = np.tile(np.array(notice, np.float32), (2, 1))
        monitor.update(pages, tick)
        record = trigger.evaluate(monitor, tick)
        if record.fired:
            fired.append((day, record.score))
            trigger.reset(tick)
    return fired


NOTHING, FIRST, BOTH = [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 1]


def test_a_notice_fires_when_a_change_is_told_that_was_not_told_before():
    told = [NOTHING, NOTHING, FIRST, FIRST, None, FIRST, BOTH, BOTH, FIRST, NOTHING, None, FIRST]
    assert fired_on(Notice(), told) == [(2, 2.0), (6, 1.0), (11, 2.0)]


def test_a_notice_that_goes_on_is_followed_again_after_some_days():
    told = [NOTHING, *[FIRST] * 8, None, NOTHING, NOTHING, NOTHING]
    assert fired_on(Notice(repeat_days=3), told) == [(1, 2.0), (4, 0.0), (7, 0.0)]


def test_a_notice_that_names_no_category_or_has_more_to_tell_is_read_as_far_as_it_goes():
    assert fired_on(Notice(), [[0], [1], [1], [0], [1]]) == [(1, 1.0), (4, 1.0)]
    size_too = [[0, 0, 0, 0, 0.3, -0.2, 0], [1, 0, 1, 0, 0.3, 0.6, 0]]
    assert fired_on(Notice(), size_too) == [(1, 2.0)]
    assert fired_on(Notice(), [FIRST, BOTH], watched=False) == [(0, 1.0)]
    assert fired_on(Notice(repeat_days=1), [[0]] * 5) == []
