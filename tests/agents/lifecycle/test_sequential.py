import itertools
import math

import numpy as np
import pytest
from scipy import integrate, optimize, special, stats

from perennial.agents.lifecycle.evidence import Moments, UserLedger
from perennial.agents.lifecycle.sequential import (
    Betting,
    Mixture,
    assigned,
    bets,
    clock,
    log_gains,
    mixture_boundary,
    mixture_interval,
    standard_errors,
    tightest_rho,
)
from tests.agents.lifecycle.hand import wave


def test_the_boundary_is_that_of_robbins():
    """Robbins 1970: |S_n| >= sqrt((n + m)(a^2 + log(n / m + 1))) for some n has chance at most exp(-a^2 / 2)."""
    a, m, n = 3.0, 7.0, np.array([1.0, 50.0, 1e4])
    expected = np.sqrt((n + m) * (a**2 + np.log(n / m + 1)))
    np.testing.assert_allclose(mixture_boundary(n, math.exp(-(a**2) / 2), m), expected, rtol=1e-12)
    assert math.exp(-4.5) == pytest.approx(0.0111, abs=5e-5)


def test_on_the_boundary_the_mixture_of_martingales_is_worth_one_over_alpha():
    """The integral of exp(l s - l^2 v / 2) over l ~ N(0, 1 / rho), by quadrature: that is what the boundary inverts."""
    alpha, rho, v = 0.05, 3.0, 20.0
    s = float(mixture_boundary(v, alpha, rho))
    worth, _ = integrate.quad(
        lambda stake: math.exp(stake * s - stake**2 * v / 2) * stats.norm.pdf(stake, scale=rho**-0.5), -8, 8
    )
    assert worth == pytest.approx(1 / alpha, rel=1e-9)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_rho_makes_the_sequence_narrowest_where_it_is_asked_to_be(alpha):
    """Exact minimum: rho = v / (-W_{-1}(-alpha^2 / e) - 1); the expansion we use costs less than 0.1 % of width."""
    v = 5000.0
    exact = v / (-special.lambertw(-(alpha**2) / math.e, -1).real - 1)
    found = optimize.minimize_scalar(lambda rho: mixture_boundary(v, alpha, rho), bounds=(1, v), method="bounded").x
    assert found == pytest.approx(exact, rel=1e-4)
    assert mixture_boundary(v, alpha, tightest_rho(v, alpha)) < 1.001 * mixture_boundary(v, alpha, exact)


def test_the_asymptotic_sequence_is_that_of_theorem_2_2():
    """Waudby-Smith et al. 2024: sigma sqrt(2 (t r + 1) / (t^2 r) log(sqrt(t r + 1) / alpha)), r = rho^2, as printed."""
    t, alpha, horizon = 400.0, 0.05, 1000.0
    r = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / horizon
    printed = math.sqrt(2 * (t * r + 1) / (t**2 * r) * math.log(math.sqrt(t * r + 1) / alpha))
    assert standard_errors(t, horizon, alpha) / math.sqrt(t) == pytest.approx(printed, rel=1e-12)
    assert standard_errors(horizon, horizon, alpha) == pytest.approx(3.0352, abs=1e-4)  # against 1.96 at one look


def test_a_brownian_motion_crosses_almost_as_rarely_as_it_may_and_a_fixed_boundary_does_not():
    rng = np.random.default_rng(1)
    steps = np.diff(np.geomspace(1, 1e6, 600), prepend=0.0)
    v = steps.cumsum()
    paths = np.cumsum(rng.normal(size=(8000, len(v))) * np.sqrt(steps), axis=1)
    crossed = (np.abs(paths) >= mixture_boundary(v, 0.05, tightest_rho(1e3, 0.05))).any(axis=1).mean()
    naive = (np.abs(paths) >= 1.96 * np.sqrt(v)).any(axis=1).mean()
    assert 0.03 < crossed <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 8000)
    assert naive > 0.5


def test_arms_that_are_two_times_are_judged_by_the_time_of_their_information():
    """Ten million visits of the champion's first; then looks at ten to as many of an equal candidate's. By the sum of
    both, time would hardly move while the difference is learned."""
    rng, before = np.random.default_rng(6), 1e7
    n = np.geomspace(10, before, 600)
    steps = np.diff(n, prepend=0.0)
    after = np.cumsum(rng.normal(size=(4000, len(n))) * np.sqrt(steps), axis=1)
    candidate, champion = _unit_normals(after, n), _unit_normals(rng.normal(size=(4000, 1)) * before**0.5, before)
    crossed = {}
    for together in (False, True):
        _, low, high = mixture_interval(candidate, champion, 0.05, before, 2, together)
        crossed[together] = ((low >= 0) | (high <= 0)).any(axis=1).mean()
    assert crossed[False] <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000) < crossed[True]


def _unit_normals(y, n):
    """Moments of `n` unit normals with sum `y`, each a user with one visit."""
    n = np.broadcast_to(n, y.shape)
    return Moments(n, y, n, y**2 / n + n - 1, y, n)


def test_the_clock_by_hand():
    """300 and 100 dealt by lot are 400; one after the other they know as much as 150 and 150, and nothing of nobody."""
    three, one, none = (np.array(float(n)) for n in (300, 100, 0))
    assert clock(three, one) == 400
    assert clock(three, one, together=False) == 300
    assert clock(none, three, together=False) == 0
    np.testing.assert_allclose(clock(one, one, together=False), clock(one, one))


def test_a_sequence_told_that_nobody_was_dealt_by_lot_takes_the_other_clock():
    ledger = _ledger_of(np.arange(1000), np.arange(1000) < 100, (np.arange(1000) % 3 == 0).astype(float))
    widths = {}
    for share in (0.0, 0.5):
        sequence = Mixture("bounce", horizon=1000)
        sequence.begin(share, 0.05)
        found = sequence.estimate(ledger)
        widths[share] = found.high - found.low
    candidate, champion = ledger.moments("bounce")
    spread = 2 * math.sqrt(candidate.ratio()[1] + champion.ratio()[1])
    assert widths[0.5] == pytest.approx(spread * standard_errors(1000, 1000, 0.05))
    assert widths[0.0] == pytest.approx(spread * standard_errors(360, 1000, 0.05))


def test_ratio_and_its_variance_by_hand():
    """Users y = 2, 0, 4 in w = 1, 1, 2 visits: ratio 1.5, residuals .5, -1.5, 1, variance 1.75 x 3 / 16."""
    ratio, variance = Moments.of(np.array([2.0, 0.0, 4.0, 0.0]), np.array([1.0, 1.0, 2.0, 0.0])).ratio()
    assert ratio == 1.5
    assert variance == pytest.approx(1.75 * 3 / 16)


def _two_equal_arms(rng, repetitions, users=400, days=30):
    """Cumulative clicks and visits (R, days, U) of users as unlike each other as one likes, and their arms (R, U)."""
    taste = rng.lognormal(0.0, 1.0, (repetitions, 1, users))
    visits = rng.poisson(0.4 * rng.gamma(0.5, 2.0, (repetitions, 1, users)), (repetitions, days, users))
    clicks = rng.poisson(visits * taste)
    return clicks.cumsum(1), visits.cumsum(1), rng.random((repetitions, users)) < 0.5


def _moments(y, w, arm):
    arm = arm[:, None, :]
    y, w, seen = y * arm, w * arm, (w > 0) & arm
    parts = (seen, y, w, y * y, y * w, w * w)
    return Moments(*(part.sum(axis=-1).astype(np.float64) for part in parts))


def test_thirty_looks_at_equal_arms_of_unlike_users():
    y, w, arm = _two_equal_arms(np.random.default_rng(2), repetitions=400)
    candidate, champion = _moments(y, w, arm), _moments(y, w, ~arm)
    difference, low, high = mixture_interval(candidate, champion, 0.05, 3000.0, 50)
    errs = ((low > 0) | (high < 0)).any(axis=1).mean()
    se = np.sqrt(candidate.ratio()[1] + champion.ratio()[1])
    with np.errstate(invalid="ignore"):
        naive = (np.abs(difference) > 1.96 * se).any(axis=1).mean()
    assert errs <= 0.05
    assert naive > 0.12  # per user and never corrected for peeking; by page it would be worse still


def test_the_mixture_sequence_sees_what_is_there():
    ledger = UserLedger()
    rng = np.random.default_rng(3)
    users = np.arange(2000, dtype=np.int32)
    candidate = users % 2 == 1
    clicked = rng.random((2000, 2)) < np.where(candidate, 0.6, 0.4)[:, None]
    pages = wave(0, list(range(2000)), clicked=clicked)
    object.__setattr__(pages.keys, "user_id", users)
    sequence = Mixture("clicks_per_visit", horizon=2000)
    assert sequence.estimate(ledger).low == -math.inf
    ledger.add(pages, candidate)
    found = sequence.estimate(ledger)
    assert found.users == (1000, 1000)
    assert 0.2 < found.low < 0.4 < found.high
    assert found.candidate - found.champion == pytest.approx(found.difference)
    assert found.better_by(0.1)
    assert not found.worse_by(-0.1)


def test_the_assigned_mean_is_the_difference():
    """Both arms enumerated: E = 1/2 + difference x min(p, 1 - p), and every value lies in [0, 1]."""
    for share, first, second in itertools.product((0.05, 0.5, 0.8), (0.0, 0.3, 1.0), (0.0, 0.9, 1.0)):
        one, other = (float(assigned(np.array(x), np.array(a), share)) for x, a in ((first, True), (second, False)))
        mean = share * one + (1 - share) * other
        assert mean == pytest.approx(0.5 + (first - second) * min(share, 1 - share))
        assert 0.0 <= min(one, other) <= max(one, other) <= 1.0


def test_first_stakes_by_hand():
    """s^2 = 1/4 before anything is seen; after x = 1: mean 3/4, s^2 = (1/4 + 1/16) / 2."""
    first = math.sqrt(2 * math.log(40) / (0.25 * 1 * math.log(2)))
    second = math.sqrt(2 * math.log(40) / ((0.25 + 0.0625) / 2 * 2 * math.log(3)))
    np.testing.assert_allclose(bets(np.array([1.0, 0.0]), 0.05), [first, second], rtol=1e-12)


def test_a_bettor_never_gains_on_average_and_seldom_gets_rich_by_exact_enumeration():
    """All 2^12 flips of a coin of mean m: expected capital 1, and 2 / alpha reached with chance <= alpha / 2."""
    n, alpha = 12, 0.2
    flips = np.array(list(itertools.product((0.0, 1.0), repeat=n)))
    for mean in (0.3, 0.5, 0.8):
        chance = np.prod(np.where(flips == 1, mean, 1 - mean), axis=1)
        for gains in log_gains(flips, bets(flips, alpha), mean):
            capital = np.exp(gains.cumsum(axis=1))
            np.testing.assert_allclose(chance @ capital, 1.0, rtol=1e-9)
            assert chance @ (capital.max(axis=1) >= 2 / alpha) <= alpha / 2


def _ledger_of(users, arm, values, ledger=None, tick=0):
    """One visit of one page each, without a click where `values` is 1."""
    clicked = np.repeat((values == 0)[:, None], 2, axis=1)
    pages = wave(tick, list(range(len(users))), clicked=clicked)
    object.__setattr__(pages.keys, "user_id", users.astype(np.int32))
    ledger = UserLedger() if ledger is None else ledger
    ledger.add(pages, arm)
    return ledger


def test_the_betting_sequence_is_the_same_however_often_one_looks():
    rng = np.random.default_rng(4)
    arm, values = rng.random(600) < 0.5, (rng.random(600) < 0.4).astype(float)
    often, ledger = Betting(), None
    for n, part in enumerate(np.split(np.arange(600), 30)):
        ledger = _ledger_of(part, arm[part], values[part], ledger, n)
        last = often.estimate(ledger)
    assert last == Betting().estimate(_ledger_of(np.arange(600), arm, values))


def test_the_betting_sequence_finds_a_difference_and_keeps_the_truth():
    rng = np.random.default_rng(5)
    lost, found = 0, 0
    for _ in range(30):
        arm = rng.random(1500) < 0.5
        values = (rng.random(1500) < np.where(arm, 0.35, 0.15)).astype(float)
        estimate = Betting(alpha=0.1).estimate(_ledger_of(np.arange(1500), arm, values))
        lost += not estimate.low < 0.2 < estimate.high
        found += estimate.low >= 0
    assert lost <= 6
    assert found >= 27


def test_a_user_counts_once_with_the_first_value():
    users, arm = np.array([3, 5, 3]), np.array([True, False, True])
    ledger = _ledger_of(users, arm, np.array([1.0, 0.0, 0.0]))
    ledger = _ledger_of(users, arm, np.array([0.0, 1.0, 0.0]), ledger, 1)
    arms, values = ledger.firsts("first_bounce")
    assert (arms.tolist(), values.tolist()) == ([True, False], [1.0, 0.0])
    assert ledger.users() == (1, 1)
    assert ledger.total("visits") == (4.0, 2.0)


def test_a_visit_that_runs_on_ends_where_it_ends():
    ledger, arm = UserLedger(), np.array([True])
    goes_on = wave(0, [7], clicked=np.ones((1, 2), np.bool_), terminated=np.zeros(1, np.bool_))
    ledger.add(goes_on, arm)
    assert ledger.total("ended") == (0.0, 0.0)
    ledger.add(wave(1, [7], page=1, clicked=np.zeros((1, 2), np.bool_)), arm)
    assert ledger.total("ended") == (1.0, 0.0)
    assert ledger.total("bounces") == (0.0, 0.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixture("profit"), "'metric' must be one of 'clicks_per_visit', .* Got 'profit'"),
        (lambda: Mixture(alpha=0.0), r"'alpha' must be a number in \(0, 0.5\]. Got 0.0"),
        (lambda: Mixture(min_users=1), "'min_users' must be an integer >= 2. Got 1"),
        (lambda: Betting("clicks_per_visit"), "'metric' must be one of 'first_page_ctr', 'first_bounce'"),
    ],
)
def test_wrong_arguments_say_what_is_right(make, message):
    with pytest.raises(ValueError, match=message):
        make()
