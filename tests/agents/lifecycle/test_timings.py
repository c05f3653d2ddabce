import numpy as np
import pytest

from perennial.agents.lifecycle import snapshot
from perennial.agents.lifecycle.timings import Spent, Timings


def test_times_are_kept_by_name_even_when_the_work_fails():
    timings = Timings()
    with timings.measure("decision"):
        pass
    with pytest.raises(RuntimeError), timings.measure("decision"):
        raise RuntimeError("broken")
    for seconds in (0.001, 0.003, 0.002):
        timings.spent["fit"].add(seconds)
    summary = timings.summary()
    assert summary["decision"]["count"] == 2
    assert summary["fit"] == {
        "count": 3.0, "total": pytest.approx(0.006), "p50": pytest.approx(2.0, rel=0.006),
        "p99": pytest.approx(3.0, rel=0.006),
    }  # fmt: skip


def test_quantiles_are_those_of_the_durations_to_half_a_hundredth():
    spent, seconds = Spent(), np.random.default_rng(0).lognormal(-6, 1, 5000)
    for duration in seconds.tolist():
        spent.add(duration)
    spent.add(0.0)
    for share in (0.1, 0.5, 0.99):
        assert spent.quantile(share) == pytest.approx(np.sort(seconds)[int(share * 5001) - 1], rel=0.006)
    assert spent.quantile(0.0001) < 1e-8


def test_a_year_of_them_takes_hardly_any_room():
    """In a checkpoint, which is written anew every day: one number each would be 280,320 bytes."""
    timings, rng = Timings(), np.random.default_rng(0)
    for seconds in (0.003 * rng.gamma(4.0, size=96 * 365)).tolist():
        timings.spent["decision"].add(seconds)
    assert sum(array.nbytes for array in snapshot.take({"timings": timings}, {}).values()) < 10_000
