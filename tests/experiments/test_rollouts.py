import numpy as np
import pytest

from perennial.agents.base import Feedback
from perennial.agents.lifecycle.evidence import UserLedger
from perennial.agents.lifecycle.sequential import Mixture
from perennial.experiments import rollouts
from perennial.experiments.rollouts import Pool, Visits, by_visit, first_verdict, repeat, table
from tests.agents.lifecycle.hand import SPACES, wave

USERS, DAYS = SPACES.n_users, 4


def shop_log() -> Feedback:
    """Some visits of one or two pages on four days, ordered by (tick, visit, page)."""
    rng, parts = np.random.default_rng(3), []
    for hour in range(0, 24 * DAYS, 3):
        visits = np.arange(10) + hour * 100
        first = wave(hour, visits.tolist(), terminated=np.zeros(10, np.bool_))
        more = rng.random(10) < 0.5
        second = wave(hour, visits[more].tolist(), page=1)
        second.keys.user_id[:] = first.keys.user_id[more]
        pages = Feedback.concatenate([first, second])
        parts.append(pages.take(np.lexsort((pages.keys.page, pages.keys.visit))))
    return Feedback.concatenate(parts)


def test_the_experiment_judges_as_the_lifecycle_does():
    """The sums over drawn users are those a ledger keeps, and the intervals at every look those of `Mixture`."""
    log = shop_log()
    arm = np.arange(USERS) % 2 == 1
    pool = Pool.of(by_visit(log, 0, USERS), DAYS)
    one, two = (pool.drawn(rows[None].astype(np.float64)) for rows in (arm, ~arm))
    by_visit_found = rollouts.mixture_interval(one.by_visit, two.by_visit, 0.05, 5000.0, 2)
    by_page_found = rollouts.mixture_interval(one.by_page, two.by_page, 0.05, 5000.0, 2)
    ledger = UserLedger()
    for day in range(DAYS):
        today = log.take(log.keys.tick // 24 == day)
        ledger.add(today, arm[today.keys.user_id])
        for metric, found in (("clicks_per_visit", by_visit_found), ("clicks_per_page", by_page_found)):
            told = Mixture(metric, alpha=0.05, horizon=5000.0, min_users=2).estimate(ledger)
            np.testing.assert_allclose(
                [part[0, day] for part in found], [told.difference, told.low, told.high], rtol=1e-9
            )
    arms, values = ledger.firsts("first_page_ctr")
    assert sorted(values) == pytest.approx(sorted(pool.first_value[pool.first_day < DAYS]))
    assert one.by_page.w[0, -1] == arm[log.keys.user_id].sum()
    assert len(arms) == (pool.first_day < DAYS).sum()
    clicks = np.bincount(np.unique(log.keys.visit, return_inverse=True)[1], log.clicked.sum(axis=1))
    assert one.squares[0, -1] + two.squares[0, -1] == (clicks**2).sum()


def crowd(users: int = 600, days: int = 30) -> Visits:
    """Made-up visitors, very unlike each other."""
    rng = np.random.default_rng(1)
    cells = rng.poisson(rng.gamma(0.5, 0.3, users)[:, None], (users, days))
    day, user = (part.ravel() for part in np.meshgrid(np.arange(days), np.arange(users)))
    user, day = np.repeat(user, cells.ravel()), np.repeat(day, cells.ravel())
    order = np.argsort(day, kind="stable")
    user, day = user[order], day[order]
    taste = rng.beta(1, 2, users)[user]
    first, later = rng.binomial(10, taste), rng.binomial(20, taste)
    return Visits(user, day, np.full(len(user), 3), first + later, first, users, 10)


def test_equal_arms_are_seldom_told_apart_and_a_lift_is_seen():
    visits = crowd()
    equal = repeat(visits, 0.0, 2000, 200, seed=0)
    errors = {rule: (found.day < 30).mean() for rule, found in equal.items()}
    assert errors["mixture, clicks a visit"] <= 0.05
    assert errors["mixture, clicks a page"] <= 0.05
    assert errors["betting, first page"] <= 0.08  # 5 % and three standard errors of 200 repetitions
    assert errors["z, visits as units"] > errors["z, users as units"] > 0.12
    better = repeat(visits, 0.3, 2000, 50, seed=0)
    assert better["mixture, clicks a visit"].better.mean() > 0.9
    assert np.isfinite(better["mixture, clicks a visit"].impressions[better["mixture, clicks a visit"].better]).all()
    worse = repeat(visits, -0.3, 2000, 50, seed=0)
    assert not worse["mixture, clicks a visit"].better.any()
    assert (worse["mixture, clicks a visit"].day < 30).mean() > 0.9


def test_thinning_takes_the_share_it_says():
    visits = crowd()
    lesser = visits.thinned(0.9, np.random.default_rng(0))
    assert lesser.clicks.sum() / visits.clicks.sum() == pytest.approx(0.9, abs=0.01)
    assert (lesser.first_clicks <= np.minimum(lesser.clicks, visits.first_clicks)).all()


def test_repetitions_are_repeatable():
    visits = crowd(users=200)
    one, two = (repeat(visits, 0.1, 300, 20, seed=4) for _ in range(2))
    for rule in one:
        np.testing.assert_array_equal(one[rule].day, two[rule].day)


def test_the_first_verdict_ends_the_test():
    better = np.array([[False, True, False], [False, False, True], [False, False, False]])
    worse = np.array([[False, False, True], [False, True, False], [False, False, False]])
    found = first_verdict((better, worse), np.tile([10.0, 20.0, 30.0], (3, 1)))
    assert found.day.tolist() == [1, 1, 3]
    assert found.better.tolist() == [True, False, False]
    assert found.impressions.tolist() == [20.0, 20.0, np.inf]


def test_the_table_says_how_sure_it_is(capsys):
    outcomes = {(0.0, 300): repeat(crowd(users=200), 0.0, 300, 20, seed=4)}
    rows = table(outcomes).texts()
    assert [row[2] for row in rows] == [
        "mixture, clicks a page", "mixture, clicks a visit", "betting, first page", "z, users as units",
        "z, visits as units",
    ]  # fmt: skip
    assert rows[0][:2] == ["equal", "300"]
    assert "[" in rows[0][3]


def test_the_shop_is_recorded():
    visits = rollouts.record(seed=1, days=2, users=200)
    assert (visits.users, visits.slots) == (200, 10)
    assert set(visits.day.tolist()) == {0, 1}
    assert (visits.first_clicks <= visits.clicks).all()
    assert (visits.clicks <= visits.pages * 10).all()
    assert visits.clicks.sum() > 0
