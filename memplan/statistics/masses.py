"""Binomial and Poisson masses, accurate in relative terms deep into both tails.

The method is C. Loader's, "Fast and accurate computation of binomial probabilities" (2000):
Stirling's error and the deviance are computed on their own, so that nothing large cancels.

A `p` counts as the exact value of its double. Relative errors, for n up to 10**10: 1e-13 where a
mass is above 1e-40, 1e-12 down to 1e-300; the logarithms go on beyond that, and have a relative
error of 2e-15 of their own.
"""

import math
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np

from memplan.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    CountArray = NDArray[np.float64] | NDArray[np.int64]

_LOG_2PI = math.log(2 * math.pi)
_SPLITTER = 2.0**27 + 1

# log(n!) minus Stirling's formula for n = 0 to 15; that of 0 does not exist and is never used.
_STIRLING_ERRORS = (
    0.0,
    0.08106146679532725822,
    0.041340695955409294094,
    0.027677925684998339149,
    0.020790672103765093112,
    0.016644691189821192163,
    0.013876128823070747999,
    0.011896709945891770095,
    0.010411265261972096497,
    0.0092554621827127329177,
    0.0083305634333628712565,
    0.007573675487951840795,
    0.0069428401072095298657,
    0.0064089941880042070684,
    0.0059513701127588477356,
    0.005554733551962801371,
)
_SMALL = len(_STIRLING_ERRORS)
_STIRLING_TABLE = np.array(_STIRLING_ERRORS)
# B_2j / (2j (2j-1)), the coefficients of Stirling's series; at n = 16 the next is below 1e-18.
_STIRLING_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
# Below this ratio (x - mean)/(x + mean) the deviance is summed as a series; beyond it the direct
# formula loses less than a factor of four to cancellation.
_SERIES_RATIO = 0.3
_SERIES_TERMS = 16  # 0.3**32 / 33 < 1e-18


class Pair(NamedTuple):
    """An unevaluated sum `high + low` of two doubles, for values that must not round."""

    high: float
    low: float


def _two_product(a: float, b: float) -> Pair:
    """Return a*b exactly (T. J. Dekker, Numerische Mathematik 18 (1971) 224-242)."""
    high = a * b
    big = _SPLITTER * a
    a_high = big - (big - a)
    a_low = a - a_high
    big = _SPLITTER * b
    b_high = big - (big - b)
    b_low = b - b_high
    return Pair(high, ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low)


def times(n: float, factor: Pair) -> Pair:
    """Return n times a pair, exact to twice a double's precision."""
    high, low = _two_product(n, factor.high)
    return Pair(high, low + n * factor.low)


def shares(p: float) -> tuple[Pair, Pair]:
    """Return p and 1 - p, both exactly."""
    complement = 1.0 - p
    return Pair(p, 0.0), Pair(complement, (1.0 - complement) - p)


def check_binomial(n: int, p: float) -> None:
    """Raise UsageError unless n and p make a binomial law."""
    if n < 0:
        raise UsageError(f"a binomial law needs n >= 0, not {n}")
    if not 0.0 <= p <= 1.0:
        raise UsageError(f"a binomial law needs 0 <= p <= 1, not {p:g}")


def check_poisson(mean: float) -> None:
    """Raise UsageError unless a Poisson law can have this mean."""
    if not 0.0 <= mean < math.inf:
        raise UsageError(f"a Poisson law needs a mean of zero or more, not {mean:g}")


def stirling_error(x: float) -> float:
    """Return log Gamma(x+1) - (x + 1/2) log x + x - log(2 pi)/2 for x > 0."""
    if x >= _SMALL:
        inverse = 1.0 / x
        square = inverse * inverse
        total = 0.0
        for coefficient in reversed(_STIRLING_SERIES):
            total = total * square + coefficient
        return total * inverse
    whole = int(x)
    if whole == x and whole > 0:
        return _STIRLING_ERRORS[whole]
    return math.lgamma(x + 1.0) - (x + 0.5) * math.log(x) + x - 0.5 * _LOG_2PI


def _stirling_errors(x: "FloatArray") -> "FloatArray":
    """Return `stirling_error` of an array of whole numbers."""
    inverse = 1.0 / np.maximum(x, 1.0)
    square = inverse * inverse
    total = np.zeros_like(x)
    for coefficient in reversed(_STIRLING_SERIES):
        total *= square
        total += coefficient
    total *= inverse
    small = x < _SMALL
    if small.any():
        total[small] = _STIRLING_TABLE[x[small].astype(np.intp)]
    return total


def deviance(x: float, mean: Pair) -> float:
    """Return x log(x/mean) + mean - x >= 0 for x > 0, accurate in relative terms."""
    gap = (x - mean.high) - mean.low
    ratio = gap / (x + mean.high)
    if abs(ratio) >= _SERIES_RATIO:
        times_over = x / mean.high
        if times_over == math.inf:
            return x * (math.log(x) - math.log(mean.high) - 1.0)
        return x * math.log(times_over) + mean.high - x + mean.low * (1.0 - times_over)
    total = gap * ratio
    term = 2.0 * x * ratio
    square = ratio * ratio
    for j in range(1, _SERIES_TERMS):
        term *= square
        grown = total + term / (2 * j + 1)
        if grown == total:
            break
        total = grown
    return total


def _deviances(x: "FloatArray", mean: Pair) -> "FloatArray":
    """Return `deviance` of an array of positive numbers."""
    gap = (x - mean.high) - mean.low
    ratio = gap / (x + mean.high)
    square = ratio * ratio
    series = np.zeros_like(x)
    for j in range(_SERIES_TERMS - 1, 0, -1):
        series += 1.0 / (2 * j + 1)
        series *= square
    total = gap * ratio + 2.0 * x * ratio * series
    far = np.abs(ratio) >= _SERIES_RATIO
    if far.any():
        there = x[far]
        with np.errstate(over="ignore"):
            times_over = there / mean.high
        if np.isinf(times_over).any():
            total[far] = there * (np.log(there) - math.log(mean.high) - 1.0)
        else:
            direct = there * np.log(times_over) + mean.high - there
            total[far] = direct + mean.low * (1.0 - times_over)
    return total


@overload
def log_binomial_pmf(k: float, n: int, p: float) -> float: ...
@overload
def log_binomial_pmf(k: "CountArray", n: int, p: float) -> "FloatArray": ...
def log_binomial_pmf(k: "float | CountArray", n: int, p: float) -> "float | FloatArray":
    """Return log P(Bin(n, p) = k); -inf where k is not one of 0..n.

    Args:
        k: A whole number or an array of them, of any shape.
        n: Number of trials.
        p: Chance of success, in [0, 1].

    Raises:
        UsageError: n is negative or p no probability.
    """
    check_binomial(n, p)
    if not isinstance(k, np.ndarray):
        return log_binomial_mass(k, n, *shares(p))
    out = np.full(k.shape, -np.inf)
    inside = (k > 0) & (k < n) & (0.0 < p < 1.0)
    x = k[inside].astype(np.float64)
    success, failure = shares(p)
    out[inside] = (
        (stirling_error(n) if n else 0.0)
        - _stirling_errors(x)
        - _stirling_errors(n - x)
        - _deviances(x, times(n, success))
        - _deviances(n - x, times(n, failure))
        - 0.5 * (_LOG_2PI + np.log(x) + np.log((n - x) / n))
    )
    for end in (0, n):
        out[k == end] = log_binomial_mass(end, n, success, failure)
    return out


def log_binomial_mass(k: float, n: int, p: Pair, q: Pair) -> float:
    """Return log P(Bin(n, p) = k), where p + q = 1 holds exactly."""
    if not 0 <= k <= n:
        return -math.inf
    if k in {0, n}:
        # The mass at an end is a power; take the logarithm on the side that keeps its digits.
        share, other = (q, p) if k == 0 else (p, q)
        if n == 0 or other.high <= 0.0:
            return 0.0
        if share.high <= 0.0:
            return -math.inf
        return n * (math.log1p(-other.high) if other.high < 0.5 else math.log(share.high))
    if p.high <= 0.0 or q.high <= 0.0:
        return -math.inf
    return (
        stirling_error(n)
        - stirling_error(k)
        - stirling_error(n - k)
        - deviance(k, times(n, p))
        - deviance(n - k, times(n, q))
        - 0.5 * (_LOG_2PI + math.log(k) + math.log((n - k) / n))
    )


@overload
def binomial_pmf(k: float, n: int, p: float) -> float: ...
@overload
def binomial_pmf(k: "CountArray", n: int, p: float) -> "FloatArray": ...
def binomial_pmf(k: "float | CountArray", n: int, p: float) -> "float | FloatArray":
    """Return P(Bin(n, p) = k), as `log_binomial_pmf` does."""
    if isinstance(k, np.ndarray):
        return np.exp(log_binomial_pmf(k, n, p))
    return math.exp(log_binomial_pmf(k, n, p))


@overload
def log_poisson_pmf(k: float, mean: float) -> float: ...
@overload
def log_poisson_pmf(k: "CountArray", mean: float) -> "FloatArray": ...
def log_poisson_pmf(k: "float | CountArray", mean: float) -> "float | FloatArray":
    """Return log P(Poisson(mean) = k); -inf where k is negative.

    Args:
        k: A whole number or an array of them, of any shape.
        mean: The law's mean, zero or more.

    Raises:
        UsageError: The mean is negative or not finite.
    """
    check_poisson(mean)
    if not isinstance(k, np.ndarray):
        return log_poisson_mass(k, mean)
    out = np.full(k.shape, -np.inf)
    out[k == 0] = -mean
    inside = (k > 0) & (mean > 0.0)
    x = k[inside].astype(np.float64)
    deviances = _deviances(x, Pair(mean, 0.0))
    out[inside] = -_stirling_errors(x) - deviances - 0.5 * (_LOG_2PI + np.log(x))
    return out


def log_poisson_mass(k: float, mean: float) -> float:
    """Return log(mean**k exp(-mean) / Gamma(k+1)), for any real k >= 0."""
    if k <= 0:
        return -mean if k == 0 else -math.inf
    if mean <= 0.0:
        return -math.inf
    return -stirling_error(k) - deviance(k, Pair(mean, 0.0)) - 0.5 * (_LOG_2PI + math.log(k))


@overload
def poisson_pmf(k: float, mean: float) -> float: ...
@overload
def poisson_pmf(k: "CountArray", mean: float) -> "FloatArray": ...
def poisson_pmf(k: "float | CountArray", mean: float) -> "float | FloatArray":
    """Return P(Poisson(mean) = k), as `log_poisson_pmf` does."""
    if isinstance(k, np.ndarray):
        return np.exp(log_poisson_pmf(k, mean))
    return math.exp(log_poisson_pmf(k, mean))
