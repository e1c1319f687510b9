"""The Poisson law cut off at a cap, at any depth: moments, shape and exponential bounds.

With log P(X <= cap) known (`distributions`), r = P(X = cap) / P(X <= cap) gives the mean
mu (1 - r) and, being an exponential family, the variance as the mean's derivative by log mu.
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from memplan.statistics.distributions import continued_fraction, log_poisson_cdf, log_poisson_pmf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

# Terms below exp(-44) of the largest are left out; together they are below 1e-17 of the sum.
NEGLIGIBLE_NATS = 44.0


def reach_above(mean: float, nats: float) -> float:
    """Return how far above its mean a Poisson mass has fallen by exp(-nats) (Bernstein)."""
    return nats / 3 + math.sqrt(nats * nats / 9 + 2 * nats * mean)


def reach_below(start: float, nats: float) -> float:
    """Return how far below its mean, or a point below that, a Poisson mass has fallen so far."""
    return math.sqrt(2 * nats * start)


def poisson_shape(mean: float, first: int, last: int) -> "FloatArray":
    """Return the masses of first..last over that of their likeliest, which is exactly 1.

    Ratios are multiplied outwards from it, so that no large logarithms cancel; rounding grows as
    the square root of the number of steps.
    """
    peak = min(max(int(mean), first), last)
    out = np.ones(last - first + 1)
    at = peak - first
    np.cumprod(mean / np.arange(peak + 1, last + 1), out=out[at + 1 :])
    out[:at] = np.cumprod(np.arange(peak, first, -1) / mean)[::-1]
    return out


@dataclass(frozen=True, slots=True)
class TruncatedPoisson:
    """X ~ Poisson(mean) given X <= cap.

    Attributes:
        mean: Mean of the law before it is cut, positive.
        cap: Largest value left.
        log_within: log P(X <= cap) before it is cut.
        log_top: log P(X = cap) before it is cut.
    """

    mean: float
    cap: int
    log_within: float = field(init=False)
    log_top: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "log_within", log_poisson_cdf(self.cap, self.mean))
        object.__setattr__(self, "log_top", log_poisson_pmf(self.cap, self.mean))

    def moments(self) -> tuple[float, float]:
        """Return mean and variance of the law as cut."""
        if self.mean > self.cap + math.sqrt(self.cap):
            short = self._shortfall()
            rest = (self.mean - self.cap + short) * short
            return self.cap - short, max(0.0, self.cap - short - rest)
        top = math.exp(self.log_top - self.log_within)
        mean = self.mean * (1.0 - top)
        return mean, mean - self.mean * top * (self.cap - mean)

    def _shortfall(self) -> float:
        """Return how far the mean of the law as cut is below the cap.

        Where the cap is far below the mean, r is near one and mu (1 - r) near the cap. Legendre's
        fraction for P(X <= cap) / P(X = cap) has the shortfall as its own tail, all terms positive.
        """
        cap, first = self.cap, self.mean - self.cap
        terms = ((m * (cap + 1.0 - m), first + 2 * m) for m in range(2, cap + 2))
        return cap / continued_fraction(first + 2, terms)

    def window(self) -> tuple[int, int]:
        """Return the first and last value whose mass is not negligible."""
        last = min(self.cap, int(self.mean + reach_above(self.mean, NEGLIGIBLE_NATS)) + 1)
        peak = min(self.mean, float(self.cap))
        down = reach_below(peak, NEGLIGIBLE_NATS)
        if 0 < self.cap < self.mean:
            # Below the cap masses fall at least as fast as a geometric law of ratio cap/mean.
            down = min(down, NEGLIGIBLE_NATS / math.log(self.mean / self.cap))
        return max(0, int(peak - down) - 1), last

    def log_mgf(self, theta: float) -> float:
        """Return log E exp(theta X) of the law as cut."""
        tilted = self.mean * math.exp(theta)
        return self.mean * math.expm1(theta) + log_poisson_cdf(self.cap, tilted) - self.log_within
