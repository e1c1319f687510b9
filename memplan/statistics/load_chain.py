"""One worker's load over time: a birth-death chain, and when it first rises above a level.

Time is counted in turnovers: the time in which each connection reconnects once in the mean, 1/theta
with theta = reconnects_per_s / conns. A chain then depends on neither rate nor horizon.

Two independent methods give the chance that the load, stationary at the start, has been above m
by a time t:

- `LoadChain.exceeded` inverts the Laplace transform, which for a birth-death chain is a continued
  fraction in the level, so that one pass gives all levels at once (J. Keilson, "Markov Chain
  Models: Rarity and Exponentiality", 1979, chapter 5);
- `LoadChain.exit_law` gives the slowest exponential of the chain killed above m, and from it a
  rigorous bracket for all t, which closes when t is a few dozen turnovers.

Both add and multiply positive numbers where it matters: a chance of 1e-300 keeps its digits.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from memplan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

RELATIVE_ERROR = 1e-10
"""Bound on the relative rounding and truncation error of what a chain answers."""

# Stationary masses below exp of this are left out above: they are where doubles end.
_LOG_FLOOR = -700.0
# States that far below the mean are left out; they hold less than 1e-18 of the mass.
_SIGMAS_BELOW = 9.0
_STATES_BELOW = 30.0

# The cotangent contour of Trefethen, Weideman and Schmelzer, "Talbot quadratures and rational
# approximations", BIT 46 (2006): error of order 3.89**-N over N nodes, of which half are needed.
_NODES = 28
_ANGLES = (2 * np.arange(_NODES // 2) + 1) * (np.pi / _NODES)
_CONTOUR = _NODES * (0.5017 * _ANGLES / np.tan(0.6407 * _ANGLES) - 0.6122 + 0.2645j * _ANGLES)
_SLOPE = _NODES * (
    0.5017 / np.tan(0.6407 * _ANGLES)
    - 0.5017 * 0.6407 * _ANGLES / np.sin(0.6407 * _ANGLES) ** 2
    + 0.2645j
)
# Weights of f(1), f the function whose transform is psi(s) / s**2, psi taken at the nodes.
_WEIGHTS = (2 / _NODES) * np.exp(_CONTOUR) * _SLOPE / _CONTOUR**2

# Within less than this many turnovers a load rises once at most, but for a relative 1e-20.
_INSTANT = 1e-30

# Levels whose continued fractions are held in memory at a time.
_BLOCK = 4096

_EIGENVECTOR_TOLERANCE = 1e-15
_MOST_ITERATIONS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitLaw:
    """How a stationary load leaves the levels 0..m: one slow exponential and small fast ones.

    The chance to have stayed is a mixture of exponentials with positive weights (the chain is
    reversible). The slowest is known; of the others, how much they weigh, that none is slower than
    the whole chain's spectral gap (Cauchy interlacing), and their mean rate.

    Attributes:
        above: Stationary chance to be above m.
        rate: Slowest rate, per turnover; 1/rate is the mean time to the first overflow from the
            quasi-stationary law.
        weight: Weight of the slowest exponential.
        rest: Weight of all others together; above + weight + rest = 1.
        rest_rate: Mean rate of the others, per turnover.
        gap: Spectral gap of the whole chain, per turnover: a lower bound of each other's rate.
    """

    above: float
    rate: float
    weight: float
    rest: float
    rest_rate: float
    gap: float

    def exceeded(self, turnovers: float) -> tuple[float, float]:
        """Return a rigorous lower and upper bound of the chance to have been above m by a time.

        Among mixtures with the same weight and mean rate, one common rate leaves soonest (Jensen),
        and rates at the gap leave latest.
        """
        sure = self.above - self.weight * math.expm1(-self.rate * turnovers)
        low = sure - self.rest * math.expm1(-self.gap * turnovers)
        high = sure - self.rest * math.expm1(-self.rest_rate * turnovers)
        return min(low, 1.0), min(max(low, high), 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class LoadChain:
    """A stationary, reversible birth-death chain on a window of the states that matter.

    Attributes:
        first: The window's lowest load. What lies below has a stationary mass under 1e-18.
        births: Rate to gain one connection, per turnover, by load from `first` on; shape (n,).
        deaths: Rate to lose one, likewise.
        log_pi: Logarithm of the stationary masses, likewise.
        gap: Spectral gap of the chain, per turnover.
    """

    first: int
    births: "FloatArray"
    deaths: "FloatArray"
    log_pi: "FloatArray"
    gap: float

    @classmethod
    def closed(cls, conns: float, chance: float) -> "LoadChain":
        """Return the chain of a fixed number of connections, each reconnecting afresh.

        Births (C - k) p, deaths k (1 - p), stationary Bin(C, p), gap 1. The number need not be
        whole: connections that linger count in the mean.

        Args:
            conns: Connections in all, C.
            chance: Chance p that a new connection falls on this worker, in (0, 1].
        """
        if not (conns > 0 and 0 < chance <= 1):
            raise UsageError(f"no load chain of {conns:g} connections with chance {chance:g}")
        return _closed(float(conns), float(chance))

    @classmethod
    def open(cls, mean: float) -> "LoadChain":
        """Return the chain of Poisson arrivals with this mean load (M/M/infinity), gap 1."""
        if not mean > 0:
            raise UsageError(f"a load chain needs a mean above 0, not {mean:g}")
        return _open(float(mean))

    @classmethod
    def frozen(cls, conns: int, tuples: int, owned: int) -> "LoadChain":
        """Return the chain of a worker that owns some of the clients' tuples until the next boot.

        A reconnect closes a uniform connection and opens a uniform one of the N - C + 1 tuples
        then free: births (C-k)(K-k)/(N-C+1), deaths k(N-K-C+k)/(N-C+1), stationary
        hypergeometric(N, K, C), gap N/(N-C+1) (the Bernoulli-Laplace urn).

        Args:
            conns: Connections in all, C.
            tuples: Distinct tuples, N, at least C.
            owned: Tuples whose hash is this worker, K, from 0 to N.
        """
        if not (0 < conns <= tuples and 0 <= owned <= tuples):
            raise UsageError(f"no load chain of {conns} connections, {owned} of {tuples} tuples")
        free = tuples - conns + 1
        share = owned / tuples
        variance = conns * share * (1 - share) * (tuples - conns) / max(tuples - 1, 1)
        return _window(
            max(0, conns - (tuples - owned)),
            min(conns, owned),
            conns * share,
            variance,
            lambda load: (conns - load) * ((owned - load) / free),
            lambda load: load * ((tuples - owned - conns + load) / free),
            tuples / free,
        )

    @property
    def last(self) -> int:
        """The window's highest load."""
        return self.first + len(self.births) - 1

    @property
    def pi(self) -> "FloatArray":
        """The stationary masses from `first` on; shape (n,)."""
        return np.exp(self.log_pi)

    def above(self) -> "FloatArray":
        """Return the stationary chance to be above each load from `first` on; shape (n,)."""
        sums = np.cumsum(self.pi[::-1])[::-1]
        return np.append(sums[1:], 0.0)

    def flux(self) -> "FloatArray":
        """Return how often the load rises above each load from `first` on, per turnover."""
        return self.births * self.pi

    def exceeded(self, turnovers: float, *, last: int | None = None) -> "FloatArray":
        """Return the chance to have been above each level by a time.

        With F(k) the stationary chance to be at k or below, the transform of that chance is
        (1 - F(k))/s + b_k pi_k psi_k(s)/s**2, where psi_k = 1 - E exp(-s * time from k to k+1)
        = (s + d_k psi_{k-1}) / (s + b_k + d_k psi_{k-1}).

        Args:
            turnovers: The time, zero or more.
            last: Highest level wanted; the window's last load if not given.

        Returns:
            Shape (last - first + 1,): the chances for the levels `first` to `last`.
        """
        n = len(self.births) if last is None else min(last, self.last) - self.first + 1
        above = self.above()[:n]
        if turnovers < _INSTANT:
            return np.minimum(above + turnovers * self.flux()[:n], 1.0)
        births, deaths = self.births[:n], self.deaths[:n]
        risen = np.empty(n)
        s = _CONTOUR / turnovers
        psi = np.empty((min(n, _BLOCK), len(s)), dtype=np.complex128)
        below, denominator = np.zeros_like(s), np.empty_like(s)
        # Each level needs the one before it; the work at a level goes over the contour's nodes.
        for start in range(0, n, _BLOCK):
            block = slice(start, min(start + _BLOCK, n))
            rates = zip(births[block].tolist(), deaths[block].tolist(), strict=True)
            for row, (birth, death) in zip(psi, rates, strict=False):
                np.multiply(below, death, out=row)
                np.add(row, s, out=row)
                np.add(row, birth, out=denominator)
                np.divide(row, denominator, out=row)
                below = row
            risen[block] = (psi[: block.stop - start] @ _WEIGHTS).imag
            below = below.copy()
        return np.minimum(above + turnovers * risen * births * self.pi[:n], 1.0)

    def exceeds(self, level: int, turnovers: float) -> float:
        """Return the chance to have been above one level by a time.

        The rigorous bracket of `exit_law` where it has closed, which is quick; else `exceeded`.

        Args:
            level: Any whole number.
            turnovers: The time, zero or more.
        """
        if level < self.first:
            return 1.0
        if level >= self.last:
            return 0.0
        if turnovers == 0:
            return min(float(self.pi[level - self.first + 1 :].sum()), 1.0)
        low, high = self.exit_law(level).exceeded(turnovers)
        if high - low <= RELATIVE_ERROR * high:
            return high
        value = float(_all_exceeded(self, turnovers)[level - self.first])
        return min(max(value, low), high)

    def exit_law(self, level: int) -> ExitLaw:
        """Return how the load leaves the levels up to `level`.

        Inverse iteration on the killed chain, where each step solves by two sums of positive
        terms: with g >= 0, h_k = (sum_{j<=k} pi_j g_j) / (b_k pi_k), u_k = sum_{j=k}^m h_j.

        Args:
            level: The level m, from `first` to `last`, with a state above it.
        """
        n = level - self.first + 1
        pi = self.pi
        above = float(pi[n:].sum())
        log_flux = np.log(self.births[:n]) + self.log_pi[:n]
        # Relative to the flux at the level all numbers stay near 1, however rare the level is.
        scale = np.exp(log_flux[-1] - log_flux)
        pi = pi[:n]
        vector = np.ones(n)
        for _ in range(_MOST_ITERATIONS):
            steps = np.cumsum(pi * vector) * scale
            solved = np.cumsum(steps[::-1])[::-1]
            top = float(solved[0])
            change = np.abs(solved / top - vector).max()
            vector = solved / top
            if change < _EIGENVECTOR_TOLERANCE:
                break
        # 1 - vector, without the subtraction: how much of the way up lies below a load.
        lack = np.append(0.0, np.cumsum(steps[:-1])) / top
        inside, mean_lack = float(pi.sum()), float(pi @ lack)
        square_lack = float(pi @ (lack * lack))
        norm = inside - 2 * mean_lack + square_lack
        weight = (inside - mean_lack) ** 2 / norm
        rest = max(inside * square_lack - mean_lack**2, 0.0) / norm
        flux = math.exp(log_flux[-1])
        rate = flux / top
        rest_rate = max((flux - weight * rate) / rest, self.gap) if rest > 0 else self.gap
        return ExitLaw(
            above=above, rate=rate, weight=weight, rest=rest, rest_rate=rest_rate, gap=self.gap
        )


@lru_cache(maxsize=16)
def _all_exceeded(chain: LoadChain, turnovers: float) -> "FloatArray":
    """Return `chain.exceeded(turnovers)`, kept because a search asks for level after level."""
    return chain.exceeded(turnovers)


@lru_cache(maxsize=64)
def _closed(conns: float, chance: float) -> LoadChain:
    return _window(
        0,
        conns,
        conns * chance,
        conns * chance * (1 - chance),
        lambda load: (conns - load) * chance,
        lambda load: load * (1 - chance),
        1.0,
    )


@lru_cache(maxsize=64)
def _open(mean: float) -> LoadChain:
    return _window(
        0, math.inf, mean, mean, lambda load: np.full_like(load, mean), lambda load: load, 1.0
    )


def _window(
    lowest: int,
    highest: float,
    mean: float,
    variance: float,
    births: "Callable[[FloatArray], FloatArray]",
    deaths: "Callable[[FloatArray], FloatArray]",
    gap: float,
) -> LoadChain:
    """Return the chain on those of the states lowest..highest that matter."""
    spread = math.sqrt(variance)
    # Bernstein's inequality: beyond this distance the mass is below the floor.
    third = -_LOG_FLOOR / 3
    reach = third + math.sqrt(third * third - 2 * _LOG_FLOOR * variance)
    first = max(lowest, math.floor(mean - _SIGMAS_BELOW * spread - _STATES_BELOW))
    last = math.floor(min(highest, mean + reach + 1))
    if variance <= 0:
        first = last = min(last, max(first, round(mean)))
    load = np.arange(first, last + 1, dtype=np.float64)
    b, d = births(load), deaths(load)
    log_ratios = np.log(b[:-1] / d[1:])
    middle = min(max(round(mean) - first, 0), len(load) - 1)
    log_pi = np.zeros(len(load))
    log_pi[middle + 1 :] = np.cumsum(log_ratios[middle:])
    log_pi[:middle] = -np.cumsum(log_ratios[:middle][::-1])[::-1]
    log_pi -= math.log(np.exp(log_pi).sum())
    n = int(np.searchsorted(-log_pi[middle:], -_LOG_FLOOR)) + middle
    for array in (b, d, log_pi):
        array.setflags(write=False)
    return LoadChain(first, b[:n], d[:n], log_pi[:n], gap)
