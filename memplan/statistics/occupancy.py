"""How many connections the fullest of W workers has: the chance that it is over, or within.

n connections fall on workers by their shares; worker i overflows when it gets more than m_i. With
Q_i = P(Bin(n, p_i) > m_i), the chance P of any overflow is bounded by

    1 - prod (1 - Q_i) <= P <= S1 = sum Q_i,

below because multinomial counts are negatively associated (K. Joag-Dev and F. Proschan, Annals of
Statistics 11 (1983) 286-295), above by Bonferroni. The two differ by a relative S1/2 at most, so
that S1 answers small tails, down to where doubles end. All others are computed exactly
(`memplan.statistics.levin`), or bracketed where there are too many classes of workers.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from memplan.answer import Answer
from memplan.statistics.distributions import (
    log1mexp,
    log_binomial_sf,
    log_poisson_cdf,
    log_poisson_sf,
)
from memplan.statistics.levin import log_no_overflow, log_overflow
from memplan.statistics.merging import grouped, lowered, raised
from memplan.statistics.worker_classes import WorkerClass

MOST_CLASSES = 64
"""Classes of workers up to which every answer is exact."""

EXACT = "Levin exact"
BONFERRONI = "Bonferroni bound"
DISJOINT = "binomial tails, disjoint"
PIGEONHOLE = "pigeonhole"
ASSOCIATED = "bracket by negative association and Bonferroni"
MERGED = "bracket by merged classes"
INDEPENDENT = "independent Poisson loads"

# Below this S1 it is off by less than a relative 1e-10.
_LOG_SMALL = math.log(2e-10)
# From this S1 on, a bracket is wide enough to be worth narrowing by merged classes.
_LOG_WIDE = math.log(1e-3)
# Allowed chance, beside the answer, that a coupling fails.
_LOG_SHORT = math.log(1e-3)
# Logs below this are beyond the doubles.
_LOG_TINY = -700.0
# A part below exp(-46) of the whole is below 1e-19 of it.
_NEGLIGIBLE_NATS = 46.0
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
        classes: All workers; shares add up to one, caps are zero or more.
    """
    classes = [worker._replace(cap=min(worker.cap, conns)) for worker in classes]
    if all(worker.cap == conns for worker in classes):
        return Chances.exactly(-math.inf, 0.0, PIGEONHOLE)
    if sum(worker.workers * worker.cap for worker in classes) < conns:
        return Chances.exactly(0.0, -math.inf, PIGEONHOLE)
    tails = [log_binomial_sf(worker.cap, conns, worker.share) for worker in classes]
    low, high = log_bounds(conns, classes, tails)
    error = max(_tail_error(worker, conns) for worker in classes)
    if high <= _LOG_HALF and _at_most_one_over(conns, classes):
        return Chances.by_overflow((high, high, high), error, DISJOINT)
    if high < _LOG_SMALL:
        return Chances.by_overflow((high, low, high), error + math.exp(high), BONFERRONI)
    if len(classes) > MOST_CLASSES:
        return _bracketed(conns, classes, tails, error)
    return _exact(conns, classes, tails, low)


def _exact(
    conns: int, classes: Sequence[WorkerClass], tails: Sequence[float], low: float
) -> Chances:
    if low > _LOG_HALF:
        none = log_no_overflow(conns, classes)
        within = min(none.log, 0.0)
        error = none.relative_error
        return Chances(
            (log1mexp(within),) * 3, (within,) * 3, _error_of_rest(within, error), error, EXACT
        )
    risky = [
        worker
        for worker, tail in zip(classes, tails, strict=True)
        if tail + math.log(worker.workers) > low - _NEGLIGIBLE_NATS
    ]
    some = log_overflow(conns, risky, low)
    return Chances.by_overflow((some.log,) * 3, some.relative_error, EXACT)


def _bracketed(
    conns: int, classes: Sequence[WorkerClass], tails: Sequence[float], error: float
) -> Chances:
    """Return a bracket: the two simple bounds, narrowed by merged classes where they are wide."""
    point, high = log_bounds(conns, classes, tails)
    low = point
    none = math.fsum(
        worker.workers * log1mexp(tail) for worker, tail in zip(classes, tails, strict=True)
    )
    none_low, none_high = log1mexp(high), none
    method = ASSOCIATED
    if high > _LOG_WIDE:
        method = MERGED
        deep = low > _LOG_HALF
        groups = grouped(conns, classes, tails, most=MOST_CLASSES - 1, leave_out=not deep)
        below = chances(conns, lowered(conns, groups))
        low, none_high = max(low, below.over[0]), min(none_high, below.within[0])
        above = raised(conns, groups, _LOG_SHORT + (none_high if deep else 0.0))
        heavier = chances(above.conns, above.classes)
        enough = log1mexp(above.log_short)
        over_high = log_sum((heavier.over[0] - enough, _log(groups.safe_risk)))
        high = max(low, min(high, over_high))
        if not deep:
            none_low = max(none_low, log1mexp(min(0.0, over_high)))
        elif heavier.within[0] > above.log_short:
            left = heavier.within[0] + log1mexp(above.log_short - heavier.within[0])
            none_low = max(none_low, left - enough)
        none_low = min(none_low, none_high)
    point = min(max(point, low), high)
    return Chances(
        (point, low, high),
        (min(max(none, none_low), none_high), none_low, none_high),
        error,
        error * max(1.0, abs(none)),
        method,
    )


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
    # Where doubles end, S1 is the chance to all digits long since.
    low = log1mexp(none) if high > _LOG_TINY else high
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
    any_over = log1mexp(none) if small > _LOG_TINY else small
    error = _TAIL_ERROR + _EPS * max(abs(worker.cap - mean * worker.share) for worker in classes)
    # P(none) is a product of W factors, whose errors add up in its logarithm.
    return Chances((any_over,) * 3, (none,) * 3, error, error * max(1.0, abs(none)), INDEPENDENT)


def log_sum(logs: Iterable[float]) -> float:
    """Return the log of the sum of exponentials."""
    known = list(logs)
    top = max(known)
    if top == -math.inf:
        return top
    return top + math.log(math.fsum(math.exp(log - top) for log in known))


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


def _at_most_one_over(conns: int, classes: Sequence[WorkerClass]) -> bool:
    """Return whether no two workers can be over at the same time."""
    lowest = sorted(classes, key=lambda worker: worker.cap)
    first = lowest[0]
    second = first if first.workers > 1 or len(lowest) == 1 else lowest[1]
    return first.cap + second.cap + 2 > conns


def _tail_error(worker: WorkerClass, conns: int) -> float:
    """Return a bound on the relative error of a worker's tail, the rounding of its share too."""
    steepness = abs(worker.cap + 1 - conns * worker.share) / max(1.0 - worker.share, _EPS)
    return _TAIL_ERROR + 2 * _EPS * steepness


def _error_of_rest(log_p: float, error: float) -> float:
    """Return the relative error of 1 - p, given that of p."""
    rest = log1mexp(log_p)
    return error * math.exp(min(log_p - rest, -_LOG_TINY)) if rest > -math.inf else 0.0


def _answer(logs: tuple[float, float, float], error: float, method: str) -> Answer:
    value, low, high = (math.exp(log) for log in logs)
    if 0.0 < value < 1.0:
        error += _EPS * (4.0 - logs[0])  # a logarithm's rounding is relative to its own size
    return Answer(value=value, low=low, high=high, method=method, relative_error=error)
