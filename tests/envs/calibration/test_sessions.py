"""Click logs and the visit model: exact figures from a hand-made log, and a visit model found again."""

from pathlib import Path

import numpy as np
import pytest

from perennial.envs.calibration import visits
from perennial.envs.calibration.sessions import SessionFacts, read_clicks, session_facts, size_figures
from perennial.envs.calibration.tables import CalibrationError

COLUMNS = {"session": "s", "order": "o", "category": "c", "product": "p", "page": "g"}
LINES = "s,o,c,p,g\n5,2,x,x1,1\n5,1,x,x2,1\n5,3,y,y1,2\n9,1,y,y1,2\n"


def test_a_small_click_log_has_exactly_these_facts(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text(LINES, encoding="utf-8")
    facts = session_facts(read_clicks(tmp_path / "clicks.csv", COLUMNS))
    assert facts.sizes.tolist() == [3, 1]
    assert facts.go_on[:3].tolist() == [0.5, 1.0, 0.0]
    assert facts.same_category == 0.5
    assert facts.category_share.tolist() == [0.5, 0.5]
    assert facts.depth == 2.0  # page 1: one click on each of two products; page 2: two on one
    assert size_figures(facts.sizes)["clicks_mean"] == 2.0


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text(LINES, encoding="utf-8")
    with pytest.raises(CalibrationError, match=r"Got none for 'product'. Add product=COLUMN"):
        read_clicks(tmp_path / "clicks.csv", {"session": "s", "order": "o", "category": "c"})


def paths(patience: np.ndarray, clicks: np.ndarray) -> visits.Paths:
    nothing = np.empty(0, np.int64)
    return visits.Paths(patience, clicks, clicks, nothing, nothing, nothing.astype(bool))


def test_the_chance_to_stay_equals_simulated_leaving() -> None:
    rng = np.random.default_rng(0)
    clicks = np.tile([1.0, 0.0, 2.0, 1.0], (400_000, 1))
    leave, z = np.array([0.3, 1.2]), rng.standard_normal(400_000)
    logit = leave[0] - leave[1] * z[:, None] - visits.LEAVE_CLICK * (clicks[:, :-1] > 0)
    stays = np.cumprod(rng.random(logit.shape) >= 1 / (1 + np.exp(-logit)), axis=1).mean(0)
    np.testing.assert_allclose(visits.staying(paths(z, clicks), leave).mean(0), [1.0, *stays], atol=0.003)


def test_the_least_of_a_parabola_is_found_between_the_places_tried() -> None:
    places = np.log([1.0, 2.0, 4.0, 8.0])
    assert visits.least(places, (places - np.log(3.0)) ** 2) == pytest.approx(3.0)
    assert visits.least(places, -places) == pytest.approx(8.0)


def test_click_counts_are_those_of_the_page_a_visit_ends_at() -> None:
    clicks, here = np.array([[0.0, 2.0, 1.0]]), np.array([[1.0, 0.5, 0.2]])
    np.testing.assert_allclose(visits.click_counts(clicks, here), [0.5, 0.0, 0.3, 0.2])
    figures = visits.clicks_figures(clicks, here)
    assert figures["bounce"] == pytest.approx(0.5)
    assert figures["clicks_mean"] == pytest.approx((2 * 0.3 + 3 * 0.2) / 0.5)


def test_leaving_is_found_again_from_the_hazards_it_made() -> None:
    rng = np.random.default_rng(1)
    clicks = rng.poisson(rng.gamma(1.0, 1.5, (4000, 1)) * np.ones((1, 20))).astype(float)
    walked, truth = paths(rng.standard_normal(4000), clicks), np.array([-0.4, 1.3])
    hazard = visits.go_on(clicks, visits.staying(walked, truth))
    facts = SessionFacts(hazard, 0.8, np.array([1.0]), 0.4, rng.geometric(0.15, 20_000))
    np.testing.assert_allclose(visits.fit_leaving(walked, facts, np.array([0.0, 1.0])), truth, atol=1e-5)
