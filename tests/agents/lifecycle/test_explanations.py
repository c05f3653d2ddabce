import numpy as np
import pytest

from perennial.agents.base import Agent, Decision, top_k
from perennial.agents.lifecycle.explanations import Explainer, changed, shapley
from tests.agents.lifecycle.hand import SPACES, wave
from tests.agents.lifecycle.learner import begun

GROUPS = {"visitor": ("user",), "calendar": ("calendar",), "this visit": ("page",)}


class Sorter(Agent):
    """Shows the low slots where a feature of the page is above a half, else the high ones; `None`: always low."""

    def __init__(self, part=None):
        self.part = part

    def act(self, observations, keys):
        order = np.arange(SPACES.n_candidates, dtype=np.float64)
        up = np.ones(len(keys), np.bool_) if self.part is None else observations[self.part][:, 0] > 0.5
        scores = np.where(up[:, None], -order, order)
        slates = top_k(scores, SPACES.slate_size)
        return Decision(slates, np.ones(slates.shape))


def pages(n=40):
    """Half of the pages have a user and a calendar above a half, independently."""
    made = wave(5, list(range(n)))
    made.observations["user"][:, 0] = np.arange(n) % 2
    made.observations["calendar"][:, 0] = (np.arange(n) // 2) % 2
    return made


def test_shapley_values_of_the_glove_game():
    """One left glove and two right ones; a pair is worth 1: the left one's part is 2/3, each right one's 1/6."""
    parts, nothing, all_ = shapley(lambda coalition: np.array(0.0 in coalition and len(coalition) > 1), 3)
    np.testing.assert_allclose(parts, [2 / 3, 1 / 6, 1 / 6])
    assert (nothing, all_) == (0.0, 1.0)


def test_shapley_values_of_an_additive_game_are_its_terms():
    terms = np.array([0.5, -1.0, 2.0, 0.0])
    np.testing.assert_allclose(shapley(lambda coalition: terms[list(coalition)].sum(), 4)[0], terms)


def test_change_counts_items_wherever_they_stand():
    first, second = np.array([[0, 1], [0, 1], [0, 1]]), np.array([[1, 0], [0, 2], [2, 3]])
    assert changed(first, second).tolist() == [0.0, 0.5, 1.0]


def test_the_group_that_moved_the_pair_is_named_and_the_others_have_no_part():
    """After listens to the calendar, before does not. Of 40 pages 20 change. Without their calendar each page changes
    with chance 20/39 or 19/39, so half of every page's change (1 or 0) is the calendar's doing, up or down.
    """
    found = Explainer(GROUPS, draws=40).explain(Sorter(), Sorter("calendar"), pages())
    assert found.change == 0.5
    assert found.base == pytest.approx(0.5)
    assert found.weights["calendar"] == pytest.approx(0.5, abs=0.05)
    assert (found.weights["visitor"], found.weights["this visit"]) == (0.0, 0.0)
    assert found.base + sum(found.parts.values()) == pytest.approx(found.change)


def test_a_segment_is_held_against_everybody():
    """All pages of the low calendar change: half of that is news about the segment, half is so for anybody."""
    made = pages()
    low = made.observations["calendar"][:, 0] < 0.5
    found = Explainer(GROUPS, draws=40).explain(Sorter(), Sorter("calendar"), made, low, "low")
    assert (found.change, found.segment, found.pages) == (1.0, "low", 20)
    assert found.base == pytest.approx(0.5, abs=0.05)
    assert found.parts["calendar"] == pytest.approx(0.5, abs=0.05)


def test_two_that_listen_to_the_same_coin_under_two_names():
    """Before hears the visitor, after the calendar, which here say the same: told both, they agree on every page; told
    one or none, they differ on half of the pages. So v = 1/2, 1/2, 1/2, 0, and each has half of the -1/2.
    """
    made = pages(400)
    made.observations["calendar"][:, 0] = made.observations["user"][:, 0]
    found = Explainer(GROUPS, draws=8, seed=3).explain(Sorter("user"), Sorter("calendar"), made)
    assert found.change == 0.0
    assert found.base == pytest.approx(0.5, abs=0.03)
    assert found.parts["visitor"] == pytest.approx(-0.25, abs=0.03)
    assert found.parts["calendar"] == pytest.approx(-0.25, abs=0.03)
    assert found.weights["this visit"] == 0.0


def test_versions_that_learned_nothing_new_are_not_explained_away():
    found = Explainer(GROUPS).explain(Sorter("calendar"), Sorter("calendar"), pages())
    assert (found.change, found.base, set(found.weights.values())) == (0.0, 0.0, {0.0})


def test_items_that_came_and_left_are_named():
    made = wave(5, [1, 2, 3])
    made.observations["candidates"][:] = [10, 11, 12, 13, 14, 15]
    made.observations["calendar"][:] = 0.0
    found = Explainer(GROUPS).explain(Sorter(), Sorter("calendar"), made)
    assert found.items_in == {14: 1.0, 15: 1.0}
    assert found.items_out == {10: -1.0, 11: -1.0}


def test_segments_are_explained_one_by_one():
    made = pages()
    high = made.observations["calendar"][:, 0] > 0.5
    segments = {"high": high, "low": ~high, "nobody": np.zeros(40, np.bool_)}
    found = Explainer(GROUPS).by_segment(Sorter(), Sorter("calendar"), made, segments)
    assert [(e.segment, e.pages, e.change) for e in found] == [("high", 20, 0.0), ("low", 20, 1.0)]


def test_lots_explain_nothing_and_are_not_drawn_on():
    """The same agent twice, which draws lots: put back to the same point, it does not differ from itself."""
    agent, made = begun(SPACES), pages()
    before = agent.state()["generator"].copy()
    found = Explainer(GROUPS).explain(agent, agent, made)
    assert (found.change, found.base) == (0.0, 0.0)
    np.testing.assert_array_equal(agent.state()["generator"], before)


def test_wrong_arguments_say_what_is_right():
    with pytest.raises(ValueError, match="'groups' must be 1 to 10, .* Got 11. Join some of them"):
        Explainer({str(n): ("user",) for n in range(11)})
    with pytest.raises(ValueError, match="'pages' must be two or more"):
        Explainer(GROUPS).explain(Sorter(), Sorter(), pages().take(np.arange(1)))
