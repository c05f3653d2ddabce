"""An alarm starts the learner afresh: exactly where a hand-fed detector fires, and soon after a fashion changes."""

import numpy as np
import pytest

from perennial.agents import Feedback, LinUCB, Popular
from perennial.agents.adaptive import DetectedRestart
from perennial.agents.lifecycle.detectors import Detector, NoDetector, PageHinkley
from tests.agents.adaptive.stream import live
from tests.agents.toy import toy_shop


class Above(Detector):
    """Fires at the first value above a half."""

    def update(self, x: float) -> None:
        self.drift_detected = x > 0.5

    def reset(self) -> None:
        self.drift_detected = False


def test_a_change_is_seen_and_recovered_from_faster() -> None:
    detector = PageHinkley(direction="both", delta=0.02, threshold=0.5, min_instances=10)
    world = [0] * 7 + [1] * 6
    plain, _ = live(LinUCB(rank=2), world)
    shares, figures = live(DetectedRestart(LinUCB(rank=2), detector), world)
    restarts = [figure["restarts"] for figure in figures]
    assert np.array_equal(shares[:8], plain[:8])
    assert restarts[6] == 0  # no false alarm
    assert restarts[-1] == restarts[8] == 1
    assert shares[9:].min() > 0.85
    assert shares[9:].mean() > plain[9:].mean() + 0.5


def test_without_alarms_it_is_the_agent_alone() -> None:
    plain, _ = live(LinUCB(rank=2), [0, 1, 0])
    shares, _ = live(DetectedRestart(LinUCB(rank=2), NoDetector()), [0, 1, 0])
    assert np.array_equal(shares, plain)


def pages_with(clicks: list[int]) -> tuple[DetectedRestart, Feedback]:
    """Pages of two slots with items of category 0 alone; `clicks` (0 to 2) on each. Blocks of four impressions."""
    shop = toy_shop(n_items=2, n_candidates=2, slate_size=2, n_categories=2)
    agent = DetectedRestart(Popular(), Above(), block=4)
    agent.begin(shop.items, shop.spaces, 0)
    log = shop.uniform_log(len(clicks))
    log.keys.tick[:] = np.arange(len(clicks))
    items = np.zeros((len(clicks), 2), np.int32)
    clicked = np.arange(2) < np.array(clicks)[:, None]
    return agent, Feedback(**{**vars(log), "slate_items": items, "clicked": clicked})


def test_the_alarm_falls_on_the_page_that_completes_the_block() -> None:
    """Blocks of two pages: click rates 1/2, 1/4 and 3/4; the third fires on page 5, from which it learns anew."""
    agent, log = pages_with([1, 1, 0, 1, 1, 2, 0, 0])
    assert agent.update(log) == {"pages": 3.0, "click_rate": pytest.approx(2 / 6), "restarted": 1.0, "restarts": 1.0}
    assert agent.heard[0] == [0.0]  # pages 6 and 7, after the restart
    assert agent.first_tick == 5


def test_blocks_go_on_over_calls() -> None:
    together, log = pages_with([1, 0, 1, 2, 0, 1, 1])
    apart, _ = pages_with([0])
    together.update(log)
    for page in range(7):
        apart.update(log.take(np.array([page])))
    assert together.heard == apart.heard
    assert together.first_tick == apart.first_tick == 3
    assert np.array_equal(together.open, apart.open)


def test_a_fit_hands_nothing_older_than_the_restart() -> None:
    agent, log = pages_with([1, 1, 0, 1, 1, 2, 0, 0])
    assert agent.fit(log, "warm")["pages"] == 3.0
    assert agent.fit(log, "warm") == {"pages": 3.0, "click_rate": 2 / 6, "restarted": 0.0, "restarts": 1.0}


def test_refuses_what_is_no_detector() -> None:
    with pytest.raises(TypeError, match="'detector' must be a Detector. Got int: 3"):
        DetectedRestart(Popular(), 3)  # type: ignore[arg-type]
