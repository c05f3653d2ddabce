from perennial.envs.feedback import DelayedConversions, LogNormal, Loss
from tests.envs.feedback.pages import happened, sent


def test_all_or_nothing() -> None:
    pages = happened(60)
    assert len(sent(Loss(pages=1.0), pages)) == 0
    assert sent(Loss(pages=0.0), pages).row.tolist() == list(range(60))


def test_the_share_lost_is_the_one_declared() -> None:
    pages = happened(30_000)
    assert abs(len(sent(Loss(pages=0.05), pages)) / 30_000 - 0.95) < 4 * (0.05 * 0.95 / 30_000) ** 0.5


def test_conversions_told_by_themselves_are_lost_by_themselves() -> None:
    told = sent(DelayedConversions(at_once=0.0, delay=LogNormal(1.0, 0.0)), happened(30_000))
    kept = sent(Loss(pages=0.0, conversions=0.2), told)
    assert len(kept) == 30_000
    assert abs(len(kept.told) / len(told.told) - 0.8) < 4 * (0.2 * 0.8 / len(told.told)) ** 0.5
    assert len(sent(Loss(pages=1.0), told).told) == len(told.told)
