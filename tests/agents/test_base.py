import numpy as np
import pytest

from perennial.agents.base import Decision, Feedback, generator_state, set_generator_state, top_k
from tests.agents.toy import toy_shop


def test_top_k_orders_best_first_and_breaks_ties_by_the_lower_slot() -> None:
    slates = top_k(np.array([[0.1, 0.9, 0.5, 0.9], [2.0, 2.0, 2.0, 3.0]]), 3)
    assert slates.tolist() == [[1, 3, 2], [3, 0, 1]]
    assert slates.dtype == np.int32


def test_a_generator_goes_on_where_it_stood() -> None:
    rng = np.random.default_rng(5)
    rng.integers(0, 2**31, 3, dtype=np.uint32)  # an odd number: half a word is kept back
    other = np.random.default_rng(99)
    set_generator_state(other, generator_state(rng))
    assert rng.integers(0, 2**31, 7, dtype=np.uint32).tolist() == other.integers(0, 2**31, 7, dtype=np.uint32).tolist()
    assert rng.random(5).tolist() == other.random(5).tolist()


def test_log_propensity_is_the_joint() -> None:
    decision = Decision(np.zeros((2, 2), np.int32), np.array([[0.5, 0.25], [1.0, 0.0]]))
    assert decision.log_propensity[0] == pytest.approx(np.log(0.125))
    assert decision.log_propensity[1] == -np.inf


def test_pages_survive_being_taken_apart_and_joined() -> None:
    log = toy_shop().uniform_log(60, batch=20)
    parts = [log.take(np.arange(0, 25)), log.take(np.arange(25, 60))]
    joined = Feedback.concatenate(parts)
    assert len(joined) == 60
    assert np.array_equal(joined.keys.visit, log.keys.visit)
    assert np.array_equal(joined.observations["history"], log.observations["history"])
    assert np.array_equal(joined.clicked, log.clicked)
    with pytest.raises(ValueError, match="'parts' must hold at least one"):
        Feedback.concatenate([])
