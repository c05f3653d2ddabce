import doctest
import math
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from perennial.agents.lifecycle import watches
from perennial.agents.lifecycle.distributions import psi, smallest_shift
from perennial.agents.lifecycle.watches import (
    Binned,
    CalibrationWatch,
    CellWatch,
    DailyWatch,
    MeanWatch,
    Step,
    concentration,
    coverage,
    overdispersion,
)
from tests.agents.lifecycle.hand import SPACES, wave, with_first_clicks


def step(pages) -> Step:
    return Step(pages, 0, 0)


def clicks(s: Step) -> tuple[int, float]:
    return s.pages.clicked.size, float(s.pages.clicked.sum())


def fed(watch, levels, pages=20):
    """`watch` after one step a day with so many clicks of `pages` x 2 slots each."""
    for day, level in enumerate(levels):
        each = [2] * (level // 2) + [1] * (level % 2) + [0] * (pages - level // 2 - level % 2)
        watch.add(step(with_first_clicks(24 * day, list(range(pages)), each)))
        watch.close()
    return watch


def test_a_mean_is_judged_by_welchs_test_on_days():
    before, after = [20, 22, 18, 21], [12, 15, 10]
    found = fed(MeanWatch("ctr", clicks, "down", 4, 3), [40, *before, *after]).judge(0.01)
    a, b = np.array(before) / 40, np.array(after) / 40
    reference = stats.ttest_ind(b, a, equal_var=False, alternative="less")
    assert (found.reference, found.current) == pytest.approx((a.mean(), b.mean()))
    assert found.p_value == pytest.approx(reference.pvalue)
    assert found.score == pytest.approx(-reference.statistic)
    assert (found.reference_values, found.current_values) == (160, 120)
    error = math.sqrt(a.var(ddof=1) / 4 + b.var(ddof=1) / 3)
    assert found.smallest == pytest.approx(smallest_shift(error, 0.01, sides=1, freedom=reference.df))
    assert fed(MeanWatch("ctr", clicks, "up", 4, 3), [*before, *after]).judge(0.01).p_value > 0.9
    assert fed(MeanWatch("ctr", clicks, "both", 4, 3), [*before, *after]).judge(0.01).p_value == pytest.approx(
        2 * reference.pvalue
    )


def test_nothing_is_judged_before_both_spans_are_there_or_where_nothing_varies():
    assert fed(MeanWatch("ctr", clicks, "down", 4, 3), [20] * 6).judge(0.01) is None
    assert fed(MeanWatch("ctr", clicks, "down", 4, 3), [20] * 7).judge(0.01) is None
    assert fed(MeanWatch("ctr", clicks, "down", 4, 3), [20, 22] * 4).judge(0.01) is not None


def test_a_figure_without_scatter_moved_if_it_moved():
    found = fed(MeanWatch("ctr", clicks, "down", 4, 3), [20] * 4 + [19] * 3).judge(0.01)
    assert (found.reference, found.current, found.reference_values) == (0.5, 0.475, 160)
    assert found.p_value < 1e-9
    assert fed(MeanWatch("ctr", clicks, "down", 4, 3), [20] * 4 + [21] * 3).judge(0.01).p_value > 0.99


def test_coverage_and_concentration_are_of_whole_days():
    watch = DailyWatch("coverage", SPACES.n_items, coverage, "down", 2, 2)
    items = np.array([[0, 1], [2, 3]], np.int32)
    for hour in range(3):
        watch.add(step(wave(hour, [1, 2], slate_items=items + hour)))
    watch.close()
    assert watch.figures() == {"coverage": 6 / 30}
    shown = np.array([0, 3, 1, 0])
    gini = sum(abs(a - b) for a in shown for b in shown) / (2 * len(shown) * shown.sum())
    assert concentration(shown) == pytest.approx(gini)


def test_calibration_by_hand():
    watch = CalibrationWatch(cells=2, reference_days=2, current_days=2)
    predicted = np.array([[0.2, 0.4], [0.7, 0.9], [0.5, 0.5]])
    clicked = np.array([[True, False], [True, True], [False, False]])
    explored = np.array([False, False, True])  # its slate is not the one that was predicted
    pages = wave(0, [1, 2, 3], clicked=clicked, explored=explored, extras={"predicted_clicks": predicted})
    watch.add(step(pages))
    watch.close()
    assert watch.reliability().tolist() == [[2, 2], pytest.approx([0.6, 1.6]), [1, 2]]
    assert watch.figures()["expected_calibration_error"] == pytest.approx((0.4 + 0.4) / 4)
    assert watch.figures()["calibration"] == pytest.approx((3 - 2.2) / 4)
    watch.add(step(wave(24, [1], extras={"predicted_clicks": np.array([[0.0, np.nan]])}, explored=np.array([False]))))
    watch.close()
    assert watch.reliability()[0].sum() == 4  # none was given
    silent = CalibrationWatch(cells=2, reference_days=2, current_days=2)
    silent.add(step(wave(0, [1, 2])))
    silent.close()
    assert silent.figures() == {}


def test_cells_are_compared_and_the_sample_is_named():
    days = np.array([[30, 40, 30], [28, 42, 30], [60, 20, 20], [62, 18, 20]])
    turn = iter(days)
    watch = CellWatch("category", lambda s: next(turn), "psi", 2, 2)
    for _ in days:
        watch.add(step(wave(0, [1])))
        watch.close()
    found = watch.judge(0.01)
    assert overdispersion(days[:2]) == 1.0
    assert found.score == psi(days[:2].sum(axis=0), days[2:].sum(axis=0)) == watch.figures()["psi/category"]
    assert found.p_value < 0.001
    assert (found.reference_values, found.current_values) == (200, 200)
    assert 0 < found.smallest < found.score


def test_days_that_differ_among_themselves_count_for_less():
    rng = np.random.default_rng(0)
    alike = rng.multinomial(500, [0.3, 0.3, 0.4], 28)
    clustered = 5 * rng.multinomial(100, [0.3, 0.3, 0.4], 28)  # every visitor five times
    assert overdispersion(alike) < 1.4
    assert overdispersion(clustered) == pytest.approx(5, rel=0.3)


@pytest.mark.parametrize("test", ["psi", "ks"])
def test_a_watch_errs_no_more_often_than_its_level_even_on_clusters(test):
    rng, alarms, runs = np.random.default_rng(1), 0, 300
    for _ in range(runs):
        days = iter(4 * rng.multinomial(60, [0.1, 0.2, 0.3, 0.4], 35))
        watch = CellWatch("x", lambda s, days=days: next(days), test, draws=199)
        for _ in range(35):
            watch.add(step(None))
            watch.close()
        alarms += watch.judge(0.05).p_value < 0.05
    assert alarms / runs < 0.1  # without the correction: .4 and more


def test_edges_are_the_deciles_of_the_first_values():
    cells = Binned(lambda s: s.pages.reward, cells=4, enough=6)
    low = np.array([1, 2, 3], np.float32)
    assert cells(step(wave(0, [1, 2, 3], reward=low))).tolist() == [0, 0, 0, 0]
    assert cells(step(wave(0, [1, 2, 3], reward=low + 3))).tolist() == [2, 1, 1, 2]
    assert cells(step(wave(0, [1, 2, 3], reward=low + 100))).tolist() == [0, 0, 0, 3]


def test_memory_stays_flat():
    watch = MeanWatch("ctr", clicks, "down", 28, 7)
    cells = CellWatch("hour", lambda s: np.ones(24, np.int64), "ks")
    item = DailyWatch("coverage", SPACES.n_items, coverage, "down")
    held = {}
    tracemalloc.start()
    for day in range(400):
        for each in (watch, cells, item):
            each.add(step(wave(day, [1, 2, 3])))
            each.close()
        if day in (60, 399):
            held[day] = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held[399] < held[60] + 2048


def test_examples():
    assert doctest.testmod(watches).failed == 0
