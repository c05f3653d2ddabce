import math

import numpy as np
import pytest

from perennial.agents.lifecycle.conversions import CART, PURCHASE
from perennial.agents.lifecycle.monitors import PATIENCE_HOURS, Monitor
from perennial.agents.lifecycle.tables import empty
from perennial.agents.lifecycle.watchlist import Watchlist
from tests.agents.lifecycle.hand import SPACES, wave, with_first_clicks
from tests.agents.lifecycle.test_late import told


def test_counts_and_rates_of_an_hour_and_a_day():
    monitor = Monitor()
    monitor.update(with_first_clicks(0, [1, 2, 3, 4], [2, 0, 1, 0]), 0)
    assert (monitor.step.clicks, monitor.step.impressions, monitor.step.bounces) == (3, 8, 2)
    assert monitor.step.ctr == monitor.step.first_page_ctr == 3 / 8
    monitor.update(empty(SPACES), 1)
    assert monitor.step.pages == 0
    assert math.isnan(monitor.step.ctr)
    monitor.update(with_first_clicks(23, [5], [2]), 23)
    assert monitor.today.clicks == 5
    assert monitor.today.bounce_rate == 2 / 5
    monitor.update(with_first_clicks(24, [6], [0]), 24)
    assert [(day, counts.pages, counts.clicks) for day, counts in monitor.days] == [(0, 5, 5)]
    assert monitor.today == monitor.step
    assert monitor.today.pages == 1


def test_first_page_rate_looks_at_first_pages_only():
    monitor = Monitor()
    later = wave(0, [1], page=1, clicked=np.ones((1, 2), np.bool_))
    monitor.update(later, 0)
    assert monitor.step.ctr == 1.0
    assert math.isnan(monitor.step.first_page_ctr)
    assert len(monitor.stream("first_page_ctr")) == 0
    assert monitor.stream("ctr").tolist() == [1.0]


def test_a_visit_that_goes_on_in_the_next_hour_bounces_only_if_all_its_pages_do():
    monitor = Monitor()
    none, open_end = np.zeros((2, 2), np.bool_), np.zeros(2, np.bool_)
    clicked = np.array([[True, False], [False, False]])
    monitor.update(wave(0, [1, 2], clicked=clicked, terminated=open_end), 0)
    assert monitor.step.visits_ended == 0
    monitor.update(wave(1, [1, 2], page=1, clicked=none), 1)
    assert (monitor.step.visits_ended, monitor.step.bounces) == (2, 1)


def test_streams_of_ended_visits_and_of_clicks():
    items = {"category": np.arange(30, dtype=np.int32) % 3, "price": np.ones(30), "features": np.zeros((30, 1))}
    monitor = Monitor(watchlist=Watchlist(items, SPACES))
    shown = np.array([[4, 5], [6, 7], [8, 9]], np.int32)
    clicked = np.array([[True, True], [False, False], [False, True]])
    open_end = np.array([True, True, False])
    monitor.update(wave(0, [1, 2, 3], slate_items=shown, clicked=clicked, terminated=open_end), 0)
    assert monitor.stream("bounce").tolist() == [0.0, 1.0]
    assert monitor.stream("no_click").tolist() == [0.0, 1.0, 0.0]
    assert monitor.stream("clicked_category").tolist() == [1.0, 2.0, 0.0]
    plain = Monitor()
    plain.update(wave(0, [1]), 0)
    with pytest.raises(ValueError, match="needs the item table. Build the Monitor with a Watchlist"):
        plain.stream("clicked_category")


def test_an_unknown_stream_is_refused():
    with pytest.raises(ValueError, match="'metric' must be one of ctr, first_page_ctr, reward, .*Got 'clicks'"):
        Monitor().stream("clicks")


def page(visit: int, number: int, clicks: int, end: bool):
    """One page of a visit of hour 0."""
    clicked = np.arange(2)[None] < clicks
    return wave(0, [visit], page=number, clicked=clicked, terminated=np.array([end]))


def test_a_visit_ends_once_whatever_comes_late():
    monitor, ends = Monitor(), []
    for hour, pages in enumerate((page(1, 2, 0, True), page(1, 1, 1, False), page(1, 0, 0, False), empty(SPACES))):
        monitor.update(pages, hour)
        ends.append((monitor.step.visits_ended, monitor.step.bounces))
    assert ends == [(1, 1), (0, 0), (0, 0), (0, 0)]  # what it knew when the end came: no click
    assert monitor._partial == {}


def test_a_visit_whose_end_is_lost_ends_after_some_days():
    monitor = Monitor()
    monitor.update(page(1, 0, 0, False), 0)
    monitor.update(page(2, 0, 1, False), 10)
    monitor.update(page(3, 1, 0, True), 10)  # its first page is lost: it ended as far as anybody knows
    assert (monitor.step.visits_ended, monitor.step.bounces) == (1, 1)
    monitor.update(empty(SPACES), PATIENCE_HOURS)
    assert (monitor.step.visits_ended, monitor.step.bounces) == (1, 1)
    monitor.update(empty(SPACES), PATIENCE_HOURS + 10)
    assert (monitor.step.visits_ended, monitor.step.bounces) == (1, 0)
    assert monitor._partial == {}


def test_conversions_count_in_the_step_that_hears_of_them():
    monitor = Monitor()
    monitor.update(page(1, 0, 2, True), 0)
    carts, purchases = monitor.step.carts, monitor.step.purchases
    monitor.update(empty(SPACES), 9, told((9, 1, 0, 0, CART, 0, 0.5), (9, 1, 0, 0, PURCHASE, 0, 2.0)))
    assert (monitor.step.carts, monitor.step.purchases, monitor.step.reward) == (1, 1, 2.5)
    assert (monitor.today.carts, monitor.today.purchases) == (carts + 1, purchases + 1)
