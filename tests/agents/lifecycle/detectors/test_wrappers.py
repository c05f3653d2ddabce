import numpy as np
import pytest

from perennial.agents.lifecycle.detectors import AlwaysDetector, Batched, Cusum, Deseasonalised, KsWindows
from tests.agents.lifecycle.detectors.streams import STEP_DOWN, alarms


def test_batched_hands_on_means():
    # means of ten: 30 at .5, then .3; the third after the fall passes 10 at 3.5 a mean (4 sd less the drift of .5)
    detector = Batched(Cusum("down", 0.5, 10.0, mean=0.5, sd=0.05), 10)
    assert alarms(detector, STEP_DOWN)[0] == 329
    assert alarms(Batched(AlwaysDetector(), 4), np.zeros(13)) == [3, 7, 11]


def days(first, last, rng, course, level=0.5, per_day=40, noise=0.1):
    """(tick, values) of each day: a level, a course of the year and the week, noise."""
    for day in range(first, last):
        yield 24 * day, level + course(day) + rng.normal(0.0, noise, per_day)


def course(day):
    return (
        0.1 * np.sin(2 * np.pi * day / 365.25 + 1.0)
        + 0.04 * np.cos(4 * np.pi * day / 365.25)
        + 0.03 * (day % 7 in (5, 6))
    )


def firing_days(detector, stream):
    fired = []
    for tick, values in stream:
        detector.at(tick)
        if detector.first_alarm(values) is not None:
            fired.append(tick // 24)
            detector.reset()
    return fired


def chart(direction="down"):
    return Cusum(direction, 0.25, 25.0, warmup=400)


def test_a_pure_season_alarms_the_raw_chart_and_not_the_deseasonalised_one():
    raw = firing_days(chart("both"), days(0, 1095, np.random.default_rng(1), course))
    rest = firing_days(Deseasonalised(chart("both")), days(0, 1095, np.random.default_rng(1), course))
    assert len([day for day in raw if day >= 365]) >= 6
    assert rest == []


def test_a_fall_beyond_the_season_is_seen_and_a_rise_is_not():
    for drop, seen in ((-0.08, True), (0.08, False)):
        rng, detector = np.random.default_rng(2), Deseasonalised(chart())
        assert firing_days(detector, days(0, 700, rng, course)) == []
        fired = firing_days(detector, days(700, 760, rng, course, 0.5 + drop))
        assert bool(fired) == seen
        assert not fired or fired[0] in (700, 701)


def test_nothing_is_handed_on_before_a_year_and_a_new_model_keeps_the_course():
    detector = Deseasonalised(AlwaysDetector(), history_days=365)
    rng = np.random.default_rng(3)
    fired = firing_days(detector, days(10, 400, rng, course))
    assert fired == list(range(375, 400))
    detector.reset()
    assert firing_days(detector, days(400, 402, rng, course)) == [400, 401]


def test_the_learned_course_is_the_true_one():
    handed = []

    class Ear(AlwaysDetector):
        def first_alarm(self, values):
            handed.append(values.mean())
            return None

    detector = Deseasonalised(Ear())
    firing_days(detector, days(0, 1000, np.random.default_rng(4), course, noise=0.0))
    assert np.ptp(handed) < 1e-9


def test_a_test_of_shape_keeps_its_rate_on_whole_steps_and_not_on_ties_moved_apart():
    """Binomial clicks per slot, 60 visits a day, nothing drifts: the course that is taken off is noise."""

    def clicks(seed):
        rng = np.random.default_rng(seed)
        return [(24 * day, rng.binomial(10, 0.2, 60) / 10) for day in range(600)]

    def found(wrap):
        return sum(len(firing_days(wrap(KsWindows("down", 0.1, 600, 240, 199)), clicks(seed))) for seed in range(4))

    expected = found(lambda detector: detector) * (600 - 365) / 600
    allowed = 3 * np.sqrt(expected)
    assert abs(found(lambda detector: Deseasonalised(detector, step=0.1)) - expected) < allowed
    assert found(lambda detector: Deseasonalised(detector)) > expected + allowed


def test_whole_steps_keep_the_mean_and_do_not_depend_on_how_values_come():
    class Ear(AlwaysDetector):
        def __init__(self):
            super().__init__()
            self.heard = []

        def update(self, x):
            self.heard.append(x)

    heard = []
    for one_by_one in (False, True):
        ear, rng = Ear(), np.random.default_rng(5)
        detector = Deseasonalised(ear, step=0.1)
        for day in range(450):
            values = rng.binomial(10, 0.3 + 0.1 * np.sin(2 * np.pi * day / 365.25), 50) / 10
            detector.at(24 * day)
            if one_by_one:
                for x in values:
                    detector.update(x)
            else:
                detector.first_alarm(values)
        heard.append(ear.heard)
    assert heard[0] == heard[1]
    assert len(heard[0]) == 85 * 50
    assert len({round(10 * x, 6) for x in heard[0]}) <= 14
    assert all(abs(10 * x - round(10 * x)) < 1e-6 for x in heard[0])


def test_the_day_must_be_known():
    with pytest.raises(RuntimeError, match=r"call at\(tick\) before values"):
        Deseasonalised(Cusum()).update(0.5)
    with pytest.raises(ValueError, match="'weekly' must be at most 3"):
        Deseasonalised(Cusum(), weekly=4)
