"""Student's t and Fisher's F, as far as intervals from few measurements need them.

Both follow from the regularised incomplete beta function (Abramowitz and Stegun 26.5.8, 26.6.2,
26.7.1), here by its continued fraction, so that a command that plans need not import scipy.
"""

import math
from functools import lru_cache

_TINY = 1e-300
_PRECISION = 1e-15
_MOST_TERMS = 10_000


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b).

    Args:
        a: First shape, above 0.
        b: Second shape, above 0.
        x: Upper end of the integral, between 0 and 1.
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    # The fraction converges fast below the mean only; above it the complement is computed.
    if x > (a + 1) / (a + b + 2):
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return math.exp(log_front) / (a * _beta_fraction(a, b, x))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Return 1 + d1/(1 + d2/(1 + ...)) of A&S 26.5.8 by the modified Lentz algorithm."""
    value, c, d = 1.0, 1.0, 0.0
    for n in range(1, _MOST_TERMS):
        k = n // 2
        if n % 2:
            term = -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1))
        else:
            term = k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k))
        d = 1.0 + term * d
        c = 1.0 + term / c
        d = 1.0 / (d if abs(d) > _TINY else _TINY)
        c = c if abs(c) > _TINY else _TINY
        value *= c * d
        if abs(c * d - 1.0) < _PRECISION:
            break
    return value


def t_sf(t: float, df: float) -> float:
    """Return P(T > t) for Student's t with `df` degrees of freedom."""
    square = t * t
    if square < df:
        # df / (df + t^2) would round to 1 for a small t; its complement keeps all digits.
        tail = 0.5 - 0.5 * incomplete_beta(0.5, df / 2, square / (df + square))
    else:
        tail = 0.5 * incomplete_beta(df / 2, 0.5, df / (df + square))
    return tail if t >= 0 else 1.0 - tail


def f_sf(f: float, df_top: float, df_bottom: float) -> float:
    """Return P(F > f) for Fisher's F with the numerator's and denominator's degrees of freedom."""
    if f <= 0:
        return 1.0
    return incomplete_beta(df_bottom / 2, df_top / 2, df_bottom / (df_bottom + df_top * f))


@lru_cache(maxsize=256)
def t_quantile(tail: float, df: float) -> float:
    """Return the t that Student's t exceeds with chance `tail`, by bisection.

    Args:
        tail: Chance to exceed, above 0 and at most one half.
        df: Degrees of freedom, above 0.
    """
    low, high = 0.0, 1.0
    while t_sf(high, df) > tail:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if t_sf(middle, df) > tail else (low, middle)
    return (low + high) / 2
