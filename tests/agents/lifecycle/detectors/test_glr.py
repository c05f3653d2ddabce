import numpy as np
import pytest

from perennial.agents.lifecycle.detectors import Glr
from tests.agents.lifecycle.detectors.streams import ZIGZAG_DOWN, alarms


def by_brute_force(values, family, sd):
    """The largest log-likelihood ratio over all splits, each likelihood written out."""

    def fit(x):
        m = x.mean()
        if family == "gaussian":
            return -((x - m) ** 2).sum() / (2 * sd**2)
        return (x * np.log(max(m, 1e-300)) + (1 - x) * np.log(max(1 - m, 1e-300))).sum()

    splits = [(values[:s], values[s:]) for s in range(1, len(values))]
    return max((fit(a) + fit(b) - fit(values) for a, b in splits if b.mean() != a.mean()), default=0.0)


@pytest.mark.parametrize("family", ["bernoulli", "gaussian"])
def test_its_score_is_the_likelihood_ratio_written_out(family):
    rng = np.random.default_rng(2)
    values = rng.integers(0, 2, 40).astype(float) if family == "bernoulli" else rng.uniform(0, 1, 40)
    detector = Glr("both", family, threshold=1e9, block=1, blocks=100, sd=0.3 if family == "gaussian" else None)
    for n, x in enumerate(values, 1):
        detector.update(x)
        assert detector.score == pytest.approx(by_brute_force(values[:n], family, 0.3) if n > 1 else 0.0, abs=1e-9)


def test_exact_indices():
    # 100 clicks, then r misses: 100 ln((100 + r) / 100) + r ln((100 + r) / r) is 5.61, 9.84, 13.57 for r = 1, 2, 3
    stream = np.r_[np.ones(100), np.zeros(50)]
    assert alarms(Glr("down", "bernoulli", 10.0, block=1), stream)[0] == 102
    assert alarms(Glr("down", "bernoulli", 10.0, block=10), stream)[0] == 109  # it looks at the end of a block
    assert alarms(Glr("down", "gaussian", 10.0, block=10), ZIGZAG_DOWN) == [309]


def test_only_the_last_blocks_are_kept():
    old = np.r_[np.ones(100), np.full(400, 0.5)]
    detector = Glr("down", "bernoulli", threshold=1e9, block=10, blocks=20)
    detector.first_alarm(old)
    assert detector.score == pytest.approx(0.0, abs=1e-9)
    detector.first_alarm(np.full(10, 0.4))
    fresh = Glr("down", "bernoulli", threshold=1e9, block=10, blocks=20)
    fresh.first_alarm(np.r_[old[-190:], np.full(10, 0.4)])
    assert detector.score == pytest.approx(fresh.score)


def test_values_beyond_a_coins_are_refused():
    with pytest.raises(ValueError, match=r"Values must lie in \[0, 1\] for family 'bernoulli'. Got 2.0 to 2.0"):
        Glr().update(2.0)
