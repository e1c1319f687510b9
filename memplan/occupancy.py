"""How many connections the fullest of W workers has: the chance that it is over, or within.

n connections fall on workers by their shares; worker i overflows when it gets more than m_i. With
Q_i = P(Bin(n, p_i) > m_i), the chance P of any overflow is bounded by

    1 - prod (1 - Q_i) <= P <= S1 = sum Q_i,

below because multinomial counts are negatively associated (K. Joag-Dev and F. Proschan, Annals of
Statistics 11 (1983) 286-295), above by Bonferroni. The two differ by a relative S1/2 at most, so
that S1 answers small tails, down to where doubles end. All others are computed exactly
(`memplan.levin`), or bracketed where there are too many classes of workers.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from memplan.answer import Answer
from memplan.distributions import (
    log1mexp,
    log_binomial_cdf,
    log_binomial_sf,
    log_poisson_cdf,
    log_poisson_sf,
)
from memplan.levin import log_no_overflow, log_overflow
from memplan.merging import merged_above, merged_below
from memplan.worker_classes import WorkerClass

MOST_CLASSES = 64
"""Classes of workers up to which every answer is exact."""

EXACT = "Levin exact"
BONFERRONI = "Bonferroni bound"
DISJOINT = "binomial tails, disjoint"
PIGEONHOLE = "pigeonhole"
ASSOCIATED = "negative association and Bonferroni"
INDEPENDENT = "independent Poisson loads"

# Below this S1 it is off by less than a relative 1e-10.
_LOG_SMALL = math.log(2e-10)
# From this S1 on, a bracket is wide enough to be worth narrowing by merged classes.
_LOG_WIDE = math.log(1e-3)
_LOG_HALF = math.log(0.5)
_EPS = 2.0**-53
_TAIL_ERROR = 1e-12


class Chances(NamedTuple):
    """The chance of any overflow and of none, each by its logarithm, with brackets.

    Attributes:
        over: log P(some worker over): point, low, high.
        within: log P(none over): point, low, high.
        over_error: Bound on the relative error of exp(over).
        within_error: Bound on the relative error of exp(within).
        method: Short standard name of the method.
    """

    over: tuple[float, float, float]
    within: tuple[float, float, float]
    over_error: float
    within_error: float
    method: str

    @classmethod
    def exactly(
        cls, log_over: float, log_within: float, method: str, error: float = 0.0
    ) -> "Chances":
        """Return chances without a bracket."""
        return cls((log_over,) * 3, (log_within,) * 3, error, error, method)

    @classmethod
    def by_overflow(cls, over: tuple[float, float, float], error: float, method: str) -> "Chances":
        """Return chances of which the overflow's is known: point, low, high."""
        point, low, high = (min(0.0, log) for log in over)
        within = (log1mexp(point), log1mexp(high), log1mexp(low))
        return cls((point, low, high), within, error, _error_of_rest(point, error), method)

    def overflow(self) -> Answer:
        """Return the chance of any overflow."""
        return _answer(self.over, self.over_error, self.method)

    def no_overflow(self) -> Answer:
        """Return the chance of none."""
        return _answer(self.within, self.within_error, self.method)


def chances(conns: int, classes: Sequence[WorkerClass]) -> Chances:
    """Return the chance that some worker has more connections than its cap, and that none has.

    Args:
        conns: Connections in all, n; each picks a worker by its share.
        classes: All workers; shares add up to one.
    """
    classes = [worker._replace(cap=min(worker.cap, conns)) for worker in classes]
    if conns == 0 or all(worker.cap == conns for worker in classes):
        return Chances.exactly(-math.inf, 0.0, PIGEONHOLE)
    if sum(worker.workers * max(worker.cap, 0) for worker in classes) < conns:
        return Chances.exactly(0.0, -math.inf, PIGEONHOLE)
    tails = [log_binomial_sf(worker.cap, conns, worker.share) for worker in classes]
    bounds = log_bounds(conns, classes, tails)
    error = max(_tail_error(worker, conns) for worker in classes)
    low, high = bounds
    if _at_most_one_over(conns, classes):
        return Chances.by_overflow((high, high, high), error, DISJOINT)
    if len(classes) > MOST_CLASSES:
        return _bracketed(conns, classes, tails, bounds, error)
    if high < _LOG_SMALL:
        return Chances.by_overflow((high, low, high), error + math.exp(high), BONFERRONI)
    if low <= _LOG_HALF:
        risky = [
            worker
            for worker, tail in zip(classes, tails, strict=True)
            if tail + math.log(worker.workers) > low - 46.0  # the rest adds a relative 1e-18
        ]
        tail = log_overflow(conns, risky, low)
        return Chances.by_overflow((tail.log,) * 3, tail.relative_error + error, EXACT)
    tail = log_no_overflow(conns, classes)
    within = min(tail.log, 0.0)
    over = log1mexp(within)
    errors = _error_of_rest(within, tail.relative_error), tail.relative_error
    return Chances((over,) * 3, (within,) * 3, *errors, EXACT)


def log_bounds(
    conns: int, classes: Sequence[WorkerClass], tails: Sequence[float] | None = None
) -> tuple[float, float]:
    """Return logs of the lower and upper bound of an overflow's chance, which cost little.

    Args:
        conns: Connections in all.
        classes: All workers.
        tails: log Q_i for one worker of each class, where known already.
    """
    if tails is None:
        tails = [log_binomial_sf(worker.cap, conns, worker.share) for worker in classes]
    high = log_sum(
        tail + math.log(worker.workers) for worker, tail in zip(classes, tails, strict=True)
    )
    none = math.fsum(
        worker.workers * log1mexp(tail) for worker, tail in zip(classes, tails, strict=True)
    )
    # Where all tails are below 1e-16, 1 - prod is S1 to all digits; below 1e-300 it would be zero.
    low = log1mexp(none) if high > -36.0 else high
    return min(low, 0.0, high), min(high, 0.0)


def chances_open(mean: float, classes: Sequence[WorkerClass]) -> Chances:
    """Return the same for Poisson arrivals: independent loads, Poisson(mean p_i) each.

    Args:
        mean: Connections in the mean, over all workers.
        classes: All workers; shares add up to one.
    """
    over: list[float] = []
    within: list[float] = []
    for workers, share, cap in classes:
        over.append(log_poisson_sf(cap, mean * share) + math.log(workers))
        within.append(workers * log_poisson_cdf(cap, mean * share))
    none = math.fsum(within)
    small = log_sum(over)
    # As in `log_bounds`: a sum below 1e-16 is its own complement's complement.
    any_over = log1mexp(none) if small > -36.0 else small
    error = _TAIL_ERROR + _EPS * max(
        abs(worker.cap - mean * worker.share) for worker in classes
    )
    # P(none) is a product of W factors, whose errors add up in its logarithm.
    return Chances(
        (any_over,) * 3, (none,) * 3, error, error * max(1.0, abs(none)), INDEPENDENT
    )
