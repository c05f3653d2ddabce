"""An alarm starts the learner afresh: exactly where a hand-fed detector fires, and soon after a fashion changes."""

from pathlib import Path

import numpy as np
import pytest

from perennial.agents import Feedback, LinUCB, Popular
from perennial.agents.adaptive import DetectedRestart
from perennial.agents.bandits.lints import LinTS
from perennial.agents.lifecycle.detectors import (
    Adwin,
    Batched,
    Cusum,
    Detector,
    Glr,
    KsWindows,
    NoDetector,
    PageHinkley,
)
from tests.agents.adaptive.stream import live
from tests.agents.toy import toy_shop


class Above(Detector):
    """Fires at the first value above a half, and remembers all it heard."""

    heard: list[float]

    def update(self, x: float) -> None:
        self.heard.append(x)
        self.drift_detected = x > 0.5

    def reset(self) -> None:
        self.drift_detected, self.heard = False, []


def test_a_change_is_seen_and_recovered_from_faster() -> None:
    detector = PageHinkley(direction="both", delta=0.02, threshold=0.5, min_instances=10)
    world = [0] * 7 + [1] * 6
    plain, _ = live(LinUCB(rank=2), world)
    shares, figures = live(DetectedRestart(LinUCB(rank=2), detector), world)
    restarts = [figure["restarts"] for figure in figures]
    assert np.array_equal(shares[:8], plain[:8])
    assert restarts[6] == 0  # no false alarm
    assert restarts[-1] == restarts[8] == 1
    assert shares[10:].min() > 0.9  # day 9 is served after one night's pages
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
    assert agent.detectors[0].heard == [0.0]  # pages 6 and 7, after the restart
    assert agent.first_tick == 5


def test_blocks_go_on_over_calls() -> None:
    together, log = pages_with([1, 0, 1, 2, 0, 1, 1])
    apart, _ = pages_with([0])
    together.update(log)
    for page in range(7):
        apart.update(log.take(np.array([page])))
    assert [d.heard for d in together.detectors] == [d.heard for d in apart.detectors] == [[0.25], []]
    assert together.first_tick == apart.first_tick == 3
    assert np.array_equal(together.open, apart.open)


def test_a_fit_hands_nothing_older_than_the_restart() -> None:
    agent, log = pages_with([1, 1, 0, 1, 1, 2, 0, 0])
    assert agent.fit(log, "warm")["pages"] == 3.0
    assert agent.fit(log, "warm") == {"pages": 3.0, "click_rate": 2 / 6, "restarted": 0.0, "restarts": 1.0}


def test_a_cold_fit_hands_nothing_older_than_the_restart_either() -> None:
    agent, log = pages_with([1, 1, 0, 1, 1, 2, 0, 0])
    agent.update(log)
    assert agent.fit(log, "cold")["pages"] == 3.0
    assert agent.first_tick == 5


def test_what_it_draws_after_a_restart_follows_from_the_training() -> None:
    """The same restart in trainings of two seeds, and of the same seed: the agent inside goes on as the seed says."""

    def restarted(seed: int) -> bytes:
        _, log = pages_with([1, 1, 0, 1, 1, 2, 0, 0])
        agent = DetectedRestart(LinTS(), Above(), block=4)
        shop = toy_shop(n_items=2, n_candidates=2, slate_size=2, n_categories=2)
        agent.begin(shop.items, shop.spaces, 0)
        agent.reseed(seed)
        assert agent.update(log)["restarted"] == 1.0
        return agent.agent.state()["generator"].tobytes()

    assert restarted(9) == restarted(9) != restarted(10)


DETECTORS = {
    "page_hinkley": lambda: PageHinkley("both", delta=0.02, threshold=0.5, min_instances=10),
    "cusum": lambda: Cusum("both", 0.1, 20.0, warmup=30),
    "glr": lambda: Glr("both", threshold=4.0, block=5, blocks=40),
    "adwin": lambda: Adwin("both", 1e-4, clock=8, min_window=20),
    "ks": lambda: KsWindows("both", 0.01, 60, 20),
    "batched": lambda: Batched(Cusum("both", 0.1, 20.0, warmup=10), 3),
}


def grown(detector: Detector, days: int, folder: Path | None = None) -> tuple[DetectedRestart, dict[str, float]]:
    """After `days` of a changing shop, each learned by an agent that was read from the file of the day before.

    With `folder` None it is one agent throughout.
    """
    shop = toy_shop(n_categories=2)

    def begun() -> DetectedRestart:
        agent = DetectedRestart(Popular(), detector, block=10)
        agent.begin(shop.items, shop.spaces, 0)
        return agent

    agent, figures = begun(), {}
    for day in range(days):
        log = shop.uniform_log(100)
        log.keys.tick[:] = day
        log.clicked[:] &= (np.arange(len(log)) % 3 == 0)[:, None] | (day % 20 < 10)
        if folder is not None:
            agent.save(folder / "agent")
            agent = begun()
            agent.load(folder / "agent")
        figures = agent.update(log)
    return agent, figures


@pytest.mark.parametrize("name", DETECTORS)
def test_from_file_to_file_it_is_the_same_as_without_a_break(name: str, tmp_path: Path) -> None:
    whole, figures = grown(DETECTORS[name](), 30)
    parts, again = grown(DETECTORS[name](), 30, tmp_path)
    assert again == figures
    assert whole.alarms > 0
    states = whole.state(), parts.state()
    assert states[0].keys() == states[1].keys()
    assert all(np.array_equal(array, states[1][key]) for key, array in states[0].items())


def test_its_state_does_not_grow_with_what_it_has_heard() -> None:
    sizes = [
        sum(array.nbytes for array in grown(PageHinkley(threshold=1e9), days)[0].state().values()) for days in (5, 50)
    ]
    assert sizes[1] < sizes[0] + 200  # longer numbers, no more of them


def test_refuses_detectors_of_another_kind() -> None:
    agent, _ = pages_with([1])
    other = DetectedRestart(Popular(), PageHinkley(), block=4)
    other.begin(agent.items, agent.spaces, 0)
    with pytest.raises(ValueError, match="must hold a PageHinkley for each of the 2 categories. Got 2 of Above"):
        other.restore(agent.state())
    with pytest.raises(ValueError, match="The state must hold 'detectors/tree'. Got none"):
        other.restore({name: array for name, array in agent.state().items() if name != "detectors/tree"})


def test_refuses_what_is_no_detector() -> None:
    with pytest.raises(TypeError, match="'detector' must be a Detector. Got int: 3"):
        DetectedRestart(Popular(), 3)  # type: ignore[arg-type]
