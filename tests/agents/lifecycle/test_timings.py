import pytest

from perennial.agents.lifecycle.timings import Timings


def test_times_are_kept_by_name_even_when_the_work_fails():
    timings = Timings()
    with timings.measure("decision"):
        pass
    with pytest.raises(RuntimeError), timings.measure("decision"):
        raise RuntimeError("broken")
    timings.seconds["fit"] = [0.001, 0.003]
    summary = timings.summary()
    assert summary["decision"]["count"] == 2
    assert summary["fit"] == {"count": 2.0, "total": 0.004, "p50": 2.0, "p99": pytest.approx(2.98)}
