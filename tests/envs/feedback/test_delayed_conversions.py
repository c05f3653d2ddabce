import numpy as np

from perennial.envs.feedback import CART, PURCHASE, DelayedConversions, Exponential, LateArrival, LogNormal, Reports
from tests.envs.feedback.pages import assert_share, happened, sent


def of_kind(reports: Reports, kind: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, slot, hours after the page) of what is told by itself."""
    told = reports.told.take(reports.told.kind == kind)
    return told.row, told.slot, told.due - reports.tick[told.row]


def test_every_purchase_is_told_once_with_its_page_or_by_itself() -> None:
    pages = happened(3000)
    told = sent(DelayedConversions(at_once=0.4, delay=LogNormal(1.0, 0.0), within_days=1.0), pages)
    row, slot, hours = of_kind(told, PURCHASE)
    assert set(hours.tolist()) == {24}
    again = told.purchased.copy()
    assert not again[row, slot].any()
    again[row, slot] = True
    assert np.array_equal(again, pages.purchased)
    assert np.array_equal(told.carted, pages.carted)
    assert np.array_equal(told.clicked, pages.clicked)


def test_what_is_made_too_late_is_never_told() -> None:
    told = sent(DelayedConversions(at_once=0.0, delay=LogNormal(1.0, 0.0), within_days=0.99), happened(300))
    assert not told.purchased.any()
    assert len(told.told) == 0


def test_the_figures_of_the_paper() -> None:
    """Chapelle 2014, figure 1: 35 % within an hour, 50 % within a day."""
    pages = happened(60_000, bought=0.9)
    told = sent(DelayedConversions(), pages)
    _, _, hours = of_kind(told, PURCHASE)
    every, with_page = int(pages.purchased.sum()), int(told.purchased.sum())

    def within(limit: int) -> float:
        return (with_page + int((hours < limit).sum())) / every

    error = 4 * (0.25 / every) ** 0.5
    assert abs(within(1) - (0.35 + 0.65 * (1 - np.exp(-1 / (24 * 3.8))))) < error
    assert abs(within(1) - 0.35) < 0.01
    assert abs(within(24) - 0.50) < 0.01
    assert abs(within(720) - (1 - 0.65 * np.exp(-30 / 3.8))) < error


def test_the_mean_delay_is_the_one_declared() -> None:
    told = sent(DelayedConversions(at_once=0.0, delay=Exponential(2.0), within_days=1000), happened(60_000))
    _, _, hours = of_kind(told, PURCHASE)
    assert abs((hours.mean() + 0.5) / 24 - 2.0) < 4 * 2.0 / len(hours) ** 0.5 + 0.02  # those within the hour are out


def test_carts_may_be_told_by_themselves_and_purchases_follow_them() -> None:
    pages = happened(300)
    told = sent(DelayedConversions(0.0, LogNormal(1.0, 0.0), cart_delay=LogNormal(0.5, 0.0)), pages)
    carts, purchases = of_kind(told, CART), of_kind(told, PURCHASE)
    assert not told.carted.any()
    assert not told.purchased.any()
    assert np.array_equal(np.argwhere(pages.carted), np.stack(carts[:2], axis=1))
    assert np.array_equal(np.argwhere(pages.purchased), np.stack(purchases[:2], axis=1))
    assert set(carts[2].tolist()) == {12}
    assert set(purchases[2].tolist()) == {36}
    at_once = sent(DelayedConversions(1.0, LogNormal(1.0, 0.0), cart_delay=LogNormal(0.5, 0.0)), pages)
    assert set(of_kind(at_once, PURCHASE)[2].tolist()) == {12}  # no purchase without its cart


def test_nothing_is_told_of_a_page_before_the_page() -> None:
    late = sent(LateArrival(1.0, LogNormal(3.0, 0.0)), happened(300))
    told = sent(DelayedConversions(at_once=0.0, delay=LogNormal(1.0, 0.0)), late)
    assert set(of_kind(told, PURCHASE)[2].tolist()) == {72}


def test_the_share_told_at_once_is_the_one_declared() -> None:
    pages = happened(30_000)
    told = sent(DelayedConversions(at_once=0.5, delay=LogNormal(1.0, 0.0)), pages)
    assert_share(told.purchased[pages.purchased], 0.5)
