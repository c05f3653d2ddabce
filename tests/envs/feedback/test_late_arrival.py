import numpy as np

from perennial.envs.feedback import LateArrival, LogNormal
from tests.envs.feedback.pages import assert_share, happened, sent


def test_late_by_exactly_so_much() -> None:
    pages = happened(60)
    late = sent(LateArrival(pages=1.0, delay=LogNormal(2.0, 0.0)), pages)
    assert (late.due - pages.due).tolist() == [48] * 60
    assert np.array_equal(late.clicked, pages.clicked)


def test_the_share_and_the_delays_are_those_declared() -> None:
    pages = happened(30_000)
    hours = sent(LateArrival(pages=0.3, delay=LogNormal(1.0, 1.5)), pages).due - pages.due
    assert_share(hours > 24, 0.15)  # half of those that are late, since the median is a day
    assert_share(hours > 0, 0.3 * 0.9829)  # ln 24 / 1.5 = 2.119 standard deviations: 1.71 % within the hour
