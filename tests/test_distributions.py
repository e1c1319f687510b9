"""Masses and tails keep their digits, from the middle of a law down to 1e-300."""

import math

import mpmath
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf

from memplan.errors import UsageError
from memplan.statistics import masses
from memplan.statistics.distributions import (
    binomial_cdf,
    binomial_pmf,
    binomial_sf,
    chi2_sf,
    gamma_sf,
    log1mexp,
    log_binomial_cdf,
    log_binomial_pmf,
    log_binomial_sf,
    log_poisson_cdf,
    log_poisson_pmf,
    log_poisson_sf,
    normal_sf,
    poisson_cdf,
    poisson_pmf,
    poisson_sf,
)

# n, p, and counts from the bulk to where the tail is about 1e-300.
BINOMIALS = [
    (20, 0.3, (0, 1, 6, 19, 20)),
    (4096, 1 / 64, (0, 1, 20, 63, 64, 65, 112, 300, 533, 4095)),
    (1000, 1 / 3, (200, 333, 400, 700, 1000)),
    (10**6, 1 / 1024, (100, 976, 977, 1170, 2352)),
    (10**9, 1 / 65536, (12_000, 15_258, 16_087, 20_100)),
    (10**9, 1e-9, (0, 1, 2, 30, 160)),
    (10**9, 0.5, (499_900_000, 500_000_000, 500_050_000, 500_580_000)),
    (10**9, 1 - 1e-8, (999_999_700, 999_999_990, 999_999_999, 10**9)),
    (64_836_146, 0.999999996470885, (64_836_145, 64_836_146)),
]


def true_log_mass(k: int, n: int, p: float) -> mpf:
    """Return the log of a binomial mass in many digits, the double p taken as exact."""
    chance = mpf(p)
    ways = mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1)
    return ways + k * mpmath.log(chance) + (n - k) * mpmath.log1p(-chance)


def true_log_above(k: int, n: int, p: float) -> mpf:
    """Return log P(X > k) in many digits: ratios of neighbouring masses, added up outwards."""
    odds = mpf(p) / (1 - mpf(p))
    if k + 1 > n * mpf(p):
        term = total = mpf(1)
        for j in range(k + 1, n):
            term *= odds * (n - j) / (j + 1)
            total += term
            if term < total * mpf(10) ** -25:
                break
        return true_log_mass(k + 1, n, p) + mpmath.log(total)
    term = total = mpf(1)
    for j in range(k, 0, -1):
        term *= j / (odds * (n - j + 1))
        total += term
        if term < total * mpf(10) ** -25:
            break
    return mpmath.log1p(-mpmath.exp(true_log_mass(k, n, p)) * total)


@pytest.mark.parametrize(("n", "p", "counts"), BINOMIALS)
def test_binomial_masses_agree_with_many_digits(n: int, p: float, counts: tuple[int, ...]) -> None:
    """The log of a mass, one or in an array, is right to 2e-15 of it: a mass to 1e-12 at 1e-300."""
    array = log_binomial_pmf(np.array(counts), n, p)
    with mp.workdps(40):
        for k, from_array in zip(counts, array.tolist(), strict=True):
            truth = true_log_mass(k, n, p)
            allowed = 5e-14 + 2e-15 * abs(truth)
            assert abs(log_binomial_pmf(k, n, p) - truth) <= allowed
            assert abs(from_array - truth) <= allowed


@pytest.mark.parametrize(("n", "p", "counts"), [case for case in BINOMIALS if case[1] != 0.5])
def test_binomial_tails_agree_with_many_digits(n: int, p: float, counts: tuple[int, ...]) -> None:
    """Each tail is right to 1e-12 of itself down to 1e-300, and its logarithm to 2e-15 beyond."""
    with mp.workdps(40):
        for k in counts:
            if k == n:
                continue
            truth = true_log_above(k, n, p)
            allowed = 1e-12 * max(1.0, abs(truth) / 700)
            assert abs(log_binomial_sf(k, n, p) - truth) <= allowed
            assert abs(log_binomial_cdf(k, n, p) - mpmath.log(-mpmath.expm1(truth))) <= 1e-12


def test_the_middle_of_a_symmetric_binomial() -> None:
    """P(X > n/2) is half of what the middle mass leaves, even for n = 10**9."""
    n = 10**9
    expected = 0.5 - 0.5 * binomial_pmf(n // 2, n, 0.5)
    assert binomial_sf(n // 2, n, 0.5) == pytest.approx(expected, rel=1e-13)


@given(
    n=st.integers(1, 10**6),
    p=st.integers(1, 2**20 - 1).map(lambda i: i / 2**20),
    z=st.floats(-40, 40),
)
def test_binomial_tails_are_each_others_mirror(n: int, p: float, z: float) -> None:
    """Successes above k are failures below n - k, and the two sides of k add up to one."""
    k = min(max(round(n * p + z * math.sqrt(n * p * (1 - p))), 0), n)
    above, below = log_binomial_sf(k, n, p), log_binomial_cdf(k, n, p)
    assert log_binomial_cdf(n - k - 1, n, 1 - p) == pytest.approx(above, rel=1e-13, abs=1e-13)
    assert math.exp(above) + math.exp(below) == pytest.approx(1.0, abs=1e-13)
    assert log_binomial_sf(k + 1, n, p) <= above + 1e-13


@pytest.mark.parametrize("mean", [1e-9, 0.3, 1.0, 15.5, 64.0, 976.5625, 12345.678])
def test_poisson_laws_agree_with_many_digits(mean: float) -> None:
    """Poisson masses and both tails are right to 1e-12 of themselves down to 1e-300."""
    sigma = math.sqrt(mean)
    counts = {max(0, round(mean + z * sigma)) for z in (-40, -6, -1, 0, 1, 5, 12, 40)} | {1, 7}
    array = log_poisson_pmf(np.array(sorted(counts)), mean)
    with mp.workdps(60):
        for k, from_array in zip(sorted(counts), array.tolist(), strict=True):
            mass = k * mpmath.log(mpf(mean)) - mpf(mean) - mpmath.loggamma(k + 1)
            assert abs(log_poisson_pmf(k, mean) - mass) <= 5e-14 + 2e-15 * abs(mass)
            assert abs(from_array - mass) <= 5e-14 + 2e-15 * abs(mass)
            term = total = mpf(1)
            j = k + 1
            while term > total * mpf(10) ** -30:
                j += 1
                term *= mpf(mean) / j
                total += term
            above = mass + mpmath.log(mpf(mean) / (k + 1)) + mpmath.log(total)
            assert abs(log_poisson_sf(k, mean) - above) <= 1e-12 * max(1, abs(above) / 700)
            term = total = mpf(1)
            for j in range(k, 0, -1):
                term *= j / mpf(mean)
                total += term
            below = mass + mpmath.log(total)
            assert abs(log_poisson_cdf(k, mean) - below) <= 1e-12 * max(1, abs(below) / 700)


@given(a=st.floats(0.5, 500), x=st.floats(0.0, 1500))
def test_the_gamma_tail_agrees_with_scipy(a: float, x: float) -> None:
    """Q(a, x) is scipy's to eleven digits, for whole and broken shapes."""
    expected = float(scipy.special.gammaincc(a, x))
    assert gamma_sf(a, x) == pytest.approx(expected, rel=1e-11, abs=1e-300)


@pytest.mark.parametrize(("x", "df"), [(3.841458820694124, 1), (18.307038053275146, 10)])
def test_chi_square_at_its_tabled_points(x: float, df: int) -> None:
    """The five percent points of the tables have five percent above them."""
    assert chi2_sf(x, df) == pytest.approx(0.05, rel=1e-12)


def test_the_normal_tail_at_its_tabled_point() -> None:
    """2.5 percent of a normal law lie above 1.96 sigmas."""
    assert normal_sf(1.959963984540054) == pytest.approx(0.025, rel=1e-12)


def test_what_lies_outside_has_no_chance() -> None:
    """Counts below zero or above n have no mass, and tails end in exactly zero and one."""
    assert binomial_pmf(-1, 5, 0.5) == binomial_pmf(6, 5, 0.5) == poisson_pmf(-1, 2.0) == 0
    assert binomial_pmf(np.array([-1, 6]), 5, 0.5).tolist() == [0, 0]
    assert (binomial_sf(-1, 5, 0.5), binomial_sf(5, 5, 0.5)) == (1, 0)
    assert (binomial_cdf(-1, 5, 0.5), binomial_cdf(5, 5, 0.5)) == (0, 1)
    assert (poisson_sf(-1, 2.0), poisson_cdf(-1, 2.0)) == (1, 0)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_a_certain_trial_has_one_outcome(p: float) -> None:
    """With p = 0 all mass is at zero, with p = 1 at n."""
    counts = np.arange(6)
    expected = [float(k == 5 * p) for k in range(6)]
    assert binomial_pmf(counts, 5, p).tolist() == expected
    assert [binomial_pmf(k, 5, p) for k in range(6)] == expected
    assert binomial_sf(2, 5, p) == p


def test_nothing_arrives_at_a_mean_of_zero() -> None:
    """A Poisson law with mean 0 is zero."""
    assert poisson_pmf(np.arange(2), 0.0).tolist() == [1, 0]
    assert (poisson_pmf(0, 0.0), poisson_sf(0, 0.0), poisson_cdf(0, 0.0)) == (1, 0, 1)
    assert binomial_pmf(0, 0, 0.5) == 1


def test_a_mean_at_the_end_of_the_doubles_is_no_nan() -> None:
    """Where a count is too many times its mean for a double, it is just very unlikely."""
    assert poisson_sf(3, 5e-324) == 0
    assert log_poisson_pmf(np.array([4]), 1e-308)[0] == log_poisson_pmf(4, 1e-308) < -2000
    assert log_poisson_pmf(4, 1e-308) == pytest.approx(4 * math.log(1e-308) - math.log(24))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: binomial_pmf(1, -1, 0.5),
        lambda: binomial_sf(1, 5, 1.5),
        lambda: poisson_sf(1, -0.1),
        lambda: poisson_pmf(1, math.nan),
    ],
)
def test_impossible_laws_are_refused(wrong: object) -> None:
    """A law that does not exist is the caller's error."""
    assert callable(wrong)
    with pytest.raises(UsageError):
        wrong()


def test_stirlings_errors_are_right_to_the_last_digit() -> None:
    """The table and the series both give log(n!) minus Stirling's formula."""
    with mp.workdps(40):
        for n in [*range(1, 40), 1000, 10**9]:
            truth = mpmath.loggamma(n + 1) - (n + mpf(1) / 2) * mpmath.log(n) + n
            truth -= mpmath.log(2 * mpmath.pi) / 2
            assert masses.stirling_error(n) == pytest.approx(float(truth), rel=4e-16)


@given(st.floats(-800, -1e-300))
def test_one_minus_an_exponential_keeps_its_digits(x: float) -> None:
    """log(1 - e^x) is right where e^x is near one and where it is near zero."""
    with mp.workdps(400):
        truth = float(mpmath.log(1 - mpmath.exp(mpf(x))))
    assert log1mexp(x) == pytest.approx(truth, rel=4e-16)
