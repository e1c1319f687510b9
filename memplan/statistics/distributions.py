"""Binomial, Poisson and gamma laws, accurate in relative terms deep into both tails.

Masses take a number or an array of counts (`masses`). Tails take numbers: each is the
mass next to it times a continued fraction with positive terms only (A. R. DiDonato and A. H.
Morris, ACM TOMS 18 (1992) 360-373, for the beta integral and, in its limit, the lower gamma
integral; Legendre's for the upper one), evaluated by the modified Lentz method. Each tail is
computed on its own side of the mean, and one minus a tail is taken only where that tail is at
most about a half. Relative errors of tails, for n up to 10**10: 1e-12 down to 1e-300; the
logarithms go on beyond.
"""

import math
from itertools import count
from typing import TYPE_CHECKING

from memplan.statistics.masses import (
    Pair,
    binomial_pmf,
    check_binomial,
    check_poisson,
    log_binomial_mass,
    log_binomial_pmf,
    log_poisson_mass,
    log_poisson_pmf,
    poisson_pmf,
    shares,
    times,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "binomial_cdf",
    "binomial_pmf",
    "binomial_sf",
    "chi2_sf",
    "continued_fraction",
    "gamma_sf",
    "log1mexp",
    "log_binomial_cdf",
    "log_binomial_pmf",
    "log_binomial_sf",
    "log_poisson_cdf",
    "log_poisson_pmf",
    "log_poisson_sf",
    "normal_sf",
    "poisson_cdf",
    "poisson_pmf",
    "poisson_sf",
]

_EPS = 2.0**-52
_LOG_2 = math.log(2.0)


def log1mexp(x: float) -> float:
    """Return log(1 - exp(x)) for x <= 0, without cancellation at either end."""
    if x >= 0.0:
        return -math.inf
    return math.log(-math.expm1(x)) if x > -_LOG_2 else math.log1p(-math.exp(x))


def log_binomial_sf(k: int, n: int, p: float) -> float:
    """Return log P(Bin(n, p) > k).

    Args:
        k: Any whole number.
        n: Number of trials.
        p: Chance of success, in [0, 1].

    Raises:
        UsageError: n is negative or p no probability.
    """
    check_binomial(n, p)
    return _log_binomial_above(k, n, *shares(p))


def log_binomial_cdf(k: int, n: int, p: float) -> float:
    """Return log P(Bin(n, p) <= k), as `log_binomial_sf` does."""
    check_binomial(n, p)
    success, failure = shares(p)
    return _log_binomial_above(n - k - 1, n, failure, success)


def binomial_sf(k: int, n: int, p: float) -> float:
    """Return P(Bin(n, p) > k), as `log_binomial_sf` does."""
    return math.exp(log_binomial_sf(k, n, p))


def binomial_cdf(k: int, n: int, p: float) -> float:
    """Return P(Bin(n, p) <= k), as `log_binomial_sf` does."""
    return math.exp(log_binomial_cdf(k, n, p))


def _log_binomial_above(k: int, n: int, p: Pair, q: Pair) -> float:
    """Return log P(X > k) for X ~ Bin(n, p), where p + q = 1 holds exactly."""
    if k < 0:
        return 0.0
    if k >= n or p.high <= 0.0:
        return -math.inf
    if q.high <= 0.0:
        return 0.0
    mean = times(n, p)
    if k + 1 > mean.high:
        mass = log_binomial_mass(k + 1, n, p, q)
        return min(0.0, mass + math.log(_binomial_over_mass(k, n, p, q, mean)))
    # Here k < mean, so that P(X <= k), the tail of the failures, is at most about a half.
    return log1mexp(_log_binomial_above(n - k - 1, n, q, p))


def _binomial_over_mass(k: int, n: int, p: Pair, q: Pair, mean: Pair) -> float:
    """Return P(X > k) / P(X = k+1), for 0 <= k < n and k + 1 > mean."""
    a, b, x = float(k + 1), float(n - k), p.high
    excess = ((a - mean.high) - mean.low - x) + 1.0  # a - (a+b) p + 1, without its cancellation

    def terms() -> "Iterator[tuple[float, float]]":
        for m in range(1, n - k):  # b is whole, so that the fraction ends by itself
            odd = a + 2 * m
            numerator = (a + m - 1) * (a + b + m - 1) * m * (b - m) * (x / (odd - 1)) ** 2
            rest = (a + m) * (excess + m * (2 - x)) / (odd + 1)
            yield numerator, m + m * (b - m) * x / (odd - 1) + rest

    return a * q.high / continued_fraction(a * excess / (a + 1.0), terms())


def log_poisson_sf(k: int, mean: float) -> float:
    """Return log P(Poisson(mean) > k).

    Args:
        k: Any whole number.
        mean: The law's mean, zero or more.

    Raises:
        UsageError: The mean is negative or not finite.
    """
    check_poisson(mean)
    if k < 0:
        return 0.0
    return _log_gamma_below(float(k + 1), mean)


def log_poisson_cdf(k: int, mean: float) -> float:
    """Return log P(Poisson(mean) <= k), as `log_poisson_sf` does."""
    check_poisson(mean)
    if k < 0:
        return -math.inf
    return _log_gamma_above(float(k + 1), mean)


def poisson_sf(k: int, mean: float) -> float:
    """Return P(Poisson(mean) > k), as `log_poisson_sf` does."""
    return math.exp(log_poisson_sf(k, mean))


def poisson_cdf(k: int, mean: float) -> float:
    """Return P(Poisson(mean) <= k), as `log_poisson_sf` does."""
    return math.exp(log_poisson_cdf(k, mean))


def gamma_sf(a: float, x: float) -> float:
    """Return Q(a, x), the chance that a gamma variable of shape a and scale 1 exceeds x.

    Args:
        a: Shape, positive.
        x: Any number; zero or less gives 1.
    """
    return math.exp(_log_gamma_above(a, x))


def chi2_sf(x: float, df: float) -> float:
    """Return the p-value of a chi-square statistic x with df degrees of freedom."""
    return gamma_sf(df / 2.0, x / 2.0)


def normal_sf(z: float) -> float:
    """Return the chance that a standard normal variable exceeds z."""
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def _log_gamma_above(a: float, x: float) -> float:
    """Return log Q(a, x)."""
    if x <= 0.0:
        return 0.0
    if x < max(a, 1.0):
        return log1mexp(_log_gamma_below(a, x))
    # Legendre's fraction: Q = x**a exp(-x) / Gamma(a) / (x+1-a - 1(1-a)/(x+3-a - ...)).
    first = x + 1.0 - a
    fraction = continued_fraction(first, ((m * (a - m), first + 2 * m) for m in count(1)))
    return min(0.0, log_poisson_mass(a, x) + math.log(a / fraction))


def _log_gamma_below(a: float, x: float) -> float:
    """Return log P(a, x), P = 1 - Q."""
    if x <= 0.0:
        return -math.inf
    if x >= max(a, 1.0):
        return log1mexp(_log_gamma_above(a, x))
    excess = a - x + 1.0

    def terms() -> "Iterator[tuple[float, float]]":
        for m in count(1):
            odd = a + 2 * m
            rest = (a + m) * (excess + 2 * m) / (odd + 1)
            yield (a + m - 1) * m * (x / (odd - 1)) ** 2, m + m * x / (odd - 1) + rest

    # gamma(a, x) = x**a exp(-x) / fraction, and the mass at a is x**a exp(-x) / (a Gamma(a)).
    fraction = continued_fraction(a * excess / (a + 1.0), terms())
    return min(0.0, log_poisson_mass(a, x) + math.log(a / fraction))


def continued_fraction(first: float, terms: "Iterator[tuple[float, float]]") -> float:
    """Return first + n1/(d1 + n2/(d2 + ...)) for pairs (n, d) of terms, by Lentz's method.

    Args:
        first: The leading term.
        terms: Numerators and denominators, without end or up to where the fraction ends.

    The first and all denominators must be positive; a numerator of zero ends the fraction.
    """
    value = ahead = first
    behind = 0.0
    for numerator, denominator in terms:
        if numerator == 0.0:
            break
        behind = 1.0 / (denominator + numerator * behind)
        ahead = denominator + numerator / ahead
        step = ahead * behind
        value *= step
        if abs(step - 1.0) <= _EPS:
            break
    return value
