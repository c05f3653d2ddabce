"""Each way of remembering against sums written out by hand, however the pages are cut into batches."""

import copy

import numpy as np
import pytest

from perennial.agents.bandits.memory import (
    Everything,
    FadingDays,
    FadingPages,
    Memory,
    Restarted,
    SlidingDays,
    SlidingPages,
)
from perennial.agents.bandits.restarts import Cusum

PAGES, SLOTS, SIZE = 60, 3, 4
TICKS = np.sort(np.random.default_rng(9).integers(100, 100 + 24 * 9, PAGES))
NEWEST = TICKS[-1]

FORMS: dict[str, tuple[Memory, np.ndarray]] = {
    "everything": (Everything(), np.ones(PAGES)),
    "sliding days": (SlidingDays(3), (TICKS // 24 > NEWEST // 24 - 3) * 1.0),
    "sliding pages": (SlidingPages(17), (np.arange(PAGES) >= PAGES - 17) * 1.0),
    "fading pages": (FadingPages(0.9), 0.9 ** (PAGES - 1 - np.arange(PAGES))),
    "fading days": (FadingDays(2.0), 0.5 ** ((NEWEST - TICKS) / 48)),
    "restarted": (Restarted([150, 200]), (TICKS >= 200) * 1.0),
    "not yet restarted": (Restarted([10**6]), np.ones(PAGES)),
}


def data(batch: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(*batch, PAGES, SLOTS, SIZE)), rng.normal(size=(*batch, PAGES, SLOTS))


def fed(memory: Memory, cuts: list[int], batch: tuple[int, ...] = ()) -> Memory:
    x, y = data(batch)
    memory = copy.deepcopy(memory)
    memory.begin(SIZE, batch)
    for first, last in zip([0, *cuts], [*cuts, PAGES]):
        memory.add(x[..., first:last, :, :], y[..., first:last, :], TICKS[first:last])
    return memory


@pytest.mark.parametrize("cuts", [[], [1, 2, 3, 30], [20, 20, 59], list(range(1, PAGES))], ids=len)
@pytest.mark.parametrize("name", FORMS)
def test_sums_are_those_of_the_declared_weights(name: str, cuts: list[int]) -> None:
    memory, weights = FORMS[name]
    x, y = data()
    moments = fed(memory, cuts).moments
    assert np.allclose(moments.A, np.einsum("p,pki,pkj->ij", weights, x, x), rtol=0, atol=1e-11)
    assert np.allclose(moments.b, np.einsum("p,pki,pk->i", weights, x, y), rtol=0, atol=1e-11)
    assert np.isclose(moments.yy, np.einsum("p,pk->", weights, y**2), rtol=0, atol=1e-11)
    assert np.isclose(moments.rows, SLOTS * weights.sum(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", FORMS)
def test_repetitions_side_by_side_are_as_many_alone(name: str) -> None:
    x, y = data((2,))
    memory = FORMS[name][0]
    together = fed(memory, [5, 40], (2,)).moments
    for i in range(2):
        alone = copy.deepcopy(memory)
        alone.begin(SIZE)
        alone.add(x[i], y[i], TICKS)
        assert np.allclose(together.A[i], alone.moments.A, rtol=0, atol=1e-11)
        assert np.allclose(together.b[i], alone.moments.b, rtol=0, atol=1e-11)


def test_squared_weights_are_kept_beside_fading_ones() -> None:
    memory = fed(FadingPages(0.9), [7, 8, 33])
    assert isinstance(memory, FadingPages)
    x, _ = data()
    weights = 0.81 ** (PAGES - 1 - np.arange(PAGES))
    assert np.allclose(memory.squares.A, np.einsum("p,pki,pkj->ij", weights, x, x), rtol=0, atol=1e-11)
    assert np.isclose(memory.squares.rows, SLOTS * (1 - 0.81**PAGES) / (1 - 0.81))


@pytest.mark.parametrize("name", [*FORMS, "alarmed"])
def test_it_goes_on_from_its_state_bit_for_bit(name: str) -> None:
    memory = Restarted(alarm=Cusum(warm_up=5, threshold=1.0)) if name == "alarmed" else FORMS[name][0]
    x, y = data()
    first, second = fed(memory, [11]), copy.deepcopy(memory)
    second.begin(SIZE)
    second.restore(first.state())
    for each in (first, second):
        each.add(x, y, TICKS + 100)
    assert all(np.array_equal(array, second.state()[key]) for key, array in first.state().items())
    assert all(np.isfinite(array).all() for array in first.state().values())


def test_a_window_of_days_forgets_across_a_long_gap() -> None:
    memory = SlidingDays(3)
    memory.begin(1)
    one = np.ones((1, 1, 1))
    memory.add(one, one[0], np.array([0]))
    memory.add(2 * one, one[0], np.array([24 * 50]))
    assert memory.moments.A == 4.0
    memory.add(one, one[0], np.array([24 * 49]))  # late, but still inside
    memory.add(one, one[0], np.array([24 * 47]))  # too late
    assert memory.moments.A == 5.0


def test_an_alarm_forgets_what_lies_before_it_within_the_same_batch() -> None:
    """Forty hours at 0.2, then at 0.9: the sums hold only hours of the new level."""
    rng, hours, pages = np.random.default_rng(0), 60, 50
    ticks = np.repeat(np.arange(hours), pages)
    y = (rng.random((hours * pages, 1)) < np.where(ticks < 40, 0.2, 0.9)[:, None]) * 1.0
    memory = Restarted(alarm=Cusum(drift=0.5, threshold=20.0, warm_up=200))
    memory.begin(1)
    memory.add(np.ones((len(y), 1, 1)), y, ticks)
    assert memory.start == 42  # an hour at the new level is worth about 12 standard deviations: two are needed
    assert memory.moments.rows == (60 - 42) * pages
    assert 0.85 < memory.moments.b / memory.moments.rows < 0.95


def test_refuses_senseless_options() -> None:
    with pytest.raises(ValueError, match=r"'breaks' must rise. Got \[5, 3\]"):
        Restarted([5, 3])
    with pytest.raises(ValueError, match=r"'gamma' must be a number in \(0, 1\]. Got 1.5"):
        FadingPages(1.5)
    with pytest.raises(ValueError, match="'alarm' watches one stream"):
        Restarted(alarm=Cusum()).begin(2, (3,))
