import numpy as np

from perennial.envs.feedback import DelayedConversions, Duplication, LogNormal
from tests.envs.feedback.pages import assert_share, happened, sent


def test_a_copy_says_the_same_later() -> None:
    pages = happened(60)
    both = sent(Duplication(pages=1.0, delay=LogNormal(0.5, 0.0)), pages)
    assert both.row.tolist() == [*range(60), *range(60)]
    assert both.copy.tolist() == [0] * 60 + [1] * 60
    assert (both.due[60:] - both.due[:60]).tolist() == [12] * 60
    assert np.array_equal(both.clicked[:60], both.clicked[60:])


def test_the_share_doubled_is_the_one_declared() -> None:
    assert_share(np.bincount(sent(Duplication(pages=0.1), happened(30_000)).row) == 2, 0.1)


def test_conversions_told_by_themselves_are_doubled_by_themselves() -> None:
    told = sent(DelayedConversions(at_once=0.0, delay=LogNormal(1.0, 0.0)), happened(3000))
    both = sent(Duplication(pages=0.0, conversions=1.0, delay=LogNormal(0.25, 0.0)), told)
    first, again = both.told.take(both.told.copy == 0), both.told.take(both.told.copy == 1)
    assert len(both) == 3000
    assert first.slot.tolist() == again.slot.tolist()
    assert set((again.due - first.due).tolist()) == {6}
