"""The exact law of the maximum of a multinomial, by Fourier inversion of Levin's formula.

B. Levin, "A representation for multinomial cumulative distribution functions", Annals of
Statistics 9 (1981) 1123-1126: with independent X_i ~ Poisson(s p_i), for any s > 0,

    P(all N_i <= m_i) = P(all X_i <= m_i and sum X_i = n) / P(Poisson(s) = n).

Both that chance and its complement are found as sums over a few dozen frequencies, each from terms
of its own size, so that neither is one minus the other:

- overflow, s = n: with f the transform of all loads and b_c that of one load beyond its cap,
  f (1 - prod (1 - b_c/f_c)^W_c) is the transform of "some worker is over";
- no overflow: prod a_c^W_c, a_c the transform of a load within its cap. Here s is chosen so that
  the capped loads have n as their mean, which keeps the terms from cancelling at any depth.

Three errors are bounded: what the frequency grid folds onto n (by exponential bounds on the tails),
what the left-out frequencies hold (a sequence that rises and then falls has a transform within its
peak over sin(w/2)), and rounding (by the sum of absolute terms). Work grows with the number of
(share, cap) classes and, slowly, with n; not with the number of workers.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from memplan.statistics.distributions import log_binomial_sf, log_poisson_pmf, log_poisson_sf
from memplan.statistics.masses import Pair, deviance
from memplan.statistics.spectrum import (
    complex_log,
    complex_log1p,
    frequencies_needed,
    grid_sum,
    poisson_turn,
    transform,
)
from memplan.statistics.truncated_poisson import (
    NEGLIGIBLE_NATS,
    TruncatedPoisson,
    poisson_shape,
    reach_above,
    reach_below,
)
from memplan.statistics.worker_classes import WorkerClass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    ComplexArray = NDArray[np.complex128]

_EPS = 2.0**-53
_LOG_2PI = math.log(2 * math.pi)
# Relative size of what folding and the left-out frequencies may each add.
_TRUNCATION = 1e-13
_LOG_TRUNCATION = math.log(_TRUNCATION)

# Never claimed to be better: three truncations, and what rounding the bounds leave out.
_FLOOR = 1e-12
# Beyond that log of prod a_c/f_c, f is nothing beside prod a_c, and the two need no common factor.
_LARGEST_LOG_RATIO = 30.0

_HALVINGS = 20
_TINY = 1e-300


class Tail(NamedTuple):
    """A probability by its logarithm.

    Attributes:
        log: Its natural logarithm; -inf for zero.
        relative_error: Bound on the relative error of the probability itself.
    """

    log: float
    relative_error: float


def log_overflow(conns: int, classes: Sequence[WorkerClass], log_low: float) -> Tail:
    """Return P(some N_i > m_i) for multinomial N.

    Accurate where that chance is above 1e-12 or so and not close to one.

    Args:
        conns: Connections in all, n.
        classes: The workers that can be over; others may be left out.
        log_low: Logarithm of a lower bound of the answer, which sets the tolerances.
    """
    # A load with most of n is far from Poisson. It is over with its binomial chance, and only
    # the case in which it is not over, and another is, is left to the sum.
    heavy = [worker for worker in classes if worker.share > 0.5]
    light = [worker for worker in classes if worker.share <= 0.5]
    alone = log_binomial_sf(heavy[0].cap, conns, heavy[0].share) if heavy else -math.inf
    if not light:
        return Tail(alone, _FLOOR)
    mean = float(conns)
    nats = 2.0 + 0.5 * math.log(mean) - _LOG_TRUNCATION - log_low
    length = math.ceil(max(reach_above(mean, nats), reach_below(mean, nats))) | 1
    loads = [_Load.of(worker, conns) for worker in light]
    capped = [_Load.of(worker, conns) for worker in heavy]
    rest = max(0.0, 1.0 - math.fsum(worker.workers * worker.share for worker in classes))
    free = mean * (1.0 - math.fsum(load.worker.share for load in capped))
    log_all = log_poisson_pmf(conns, mean)

    def log_envelope(half: "FloatArray") -> "FloatArray":
        lag = 2.0 * half * half
        within = -mean * rest * lag
        for load in loads:
            within = within + load.worker.workers * load.log_envelope(half, lag)
        either = np.maximum(within, -free * lag)
        for load in capped:
            either = either + load.log_envelope(half, lag)
        return either

    count = frequencies_needed(length, log_envelope, _LOG_TRUNCATION + log_low + log_all)
    turn = poisson_turn(length, count)
    log_ratio = np.zeros(count, dtype=np.complex128)
    log_within = mean * rest * turn
    near = np.ones(count, dtype=np.bool_)
    for load in loads:
        whole, over = np.exp(load.mean * turn), load.over(length, count)
        near &= 2.0 * np.abs(over) < np.abs(whole)
        # Far from frequency zero `whole` may be zero; those places are not `near`.
        ratio = np.divide(-over, whole, out=np.zeros_like(whole), where=near)
        log_ratio += load.worker.workers * complex_log1p(ratio)
        log_within += load.worker.workers * complex_log(whole - over)
    near &= log_ratio.real < _LARGEST_LOG_RATIO
    np.minimum(log_ratio.real, _LARGEST_LOG_RATIO, out=log_ratio.real)
    every = np.exp(free * turn)
    # f (1 - prod (1 - b_c/f_c)^W_c), and f - prod a_c^W_c where b_c/f_c is not small.
    some = np.where(near, -every * np.expm1(log_ratio), every - np.exp(log_within))
    for load in capped:
        some *= np.exp(load.mean * turn) - load.over(length, count)
    total, condition = grid_sum(some.real)
    steepest = max(abs(load.worker.cap + 1 - load.mean) for load in loads + capped)
    rounding = condition * (32.0 - 2.0 * log_low) + 2 * steepest
    log = math.log(total / length) - log_all
    return Tail(float(np.logaddexp(log, alone)), _EPS * rounding + _FLOOR)


def log_no_overflow(conns: int, classes: Sequence[WorkerClass]) -> Tail:
    """Return P(all N_i <= m_i) for multinomial N, accurate at any depth.

    Args:
        conns: Connections in all, n.
        classes: All workers; no cap beyond n.
    """
    room = sum(worker.workers * worker.cap for worker in classes) - conns
    if room < 0:
        return Tail(-math.inf, 0.0)
    if room == 0:
        # Every worker is at its cap: one outcome of the multinomial law.
        parts = [-log_poisson_pmf(conns, float(conns))]
        parts += [n * log_poisson_pmf(cap, conns * share) for n, share, cap in classes]
        return Tail(math.fsum(parts), 16 * _EPS * sum(abs(part) for part in parts))
    rate = _balancing_rate(conns, classes)
    laws = [TruncatedPoisson(rate * worker.share, worker.cap) for worker in classes]
    moments = [law.moments() for law in laws]
    loads = [
        _CappedLoad.of(worker, law, mean)
        for worker, law, (mean, _) in zip(classes, laws, moments, strict=True)
    ]
    variance = sum(worker.workers * var for worker, (_, var) in zip(classes, moments, strict=True))
    log_peak = -0.5 * (_LOG_2PI + math.log(variance + 1.0))
    length = _grid_length(conns, loads, variance, log_peak)

    def log_envelope(half: "FloatArray") -> "FloatArray":
        lag = 2.0 * half * half
        total = np.zeros_like(half)
        for load in loads:
            total = total + load.worker.workers * load.log_envelope(half, lag)
        return total

    count = frequencies_needed(length, log_envelope, _LOG_TRUNCATION + log_peak)
    log_product = np.zeros(count, dtype=np.complex128)
    for load in loads:
        values = transform(load.masses, load.first - load.centre, length, count)
        log_product += load.worker.workers * complex_log(values)
    offset = sum(load.worker.workers * load.centre for load in loads) - conns
    turn = 2 * math.pi / length * (np.arange(count) * offset % length)
    terms = np.exp(log_product.real) * np.cos(log_product.imag + turn)
    total, condition = grid_sum(terms)
    log, error = _log_norm(conns, rate, loads)
    workers = sum(worker.workers for worker in classes)
    # Shares and rates are rounded; so much the logarithm depends on them.
    steepness = math.fsum(
        load.worker.workers * load.steepness(conns, mean)
        for load, (mean, _) in zip(loads, moments, strict=True)
    )
    rounding = condition * (32.0 + 4.0 * workers) + 2 * steepness
    error += _EPS * rounding + _FLOOR
    return Tail(log + math.log(total / length), error)


class _Load(NamedTuple):
    """The loads of one class in the overflow's sum, X ~ Poisson(n p)."""

    worker: WorkerClass
    mean: float
    first: int  # smallest load that is over
    masses: "FloatArray"  # P(X = first + i)
    log_over: float  # log P(X > cap)
    peak: float  # largest mass within the cap

    @classmethod
    def of(cls, worker: WorkerClass, conns: int) -> "_Load":
        mean = conns * worker.share
        first = worker.cap + 1
        # Where the cap is above the mean, the masses fall faster from there than from the mean.
        last = math.ceil(max(first, mean) + reach_above(mean, NEGLIGIBLE_NATS))
        peak = min(max(int(mean), first), last)
        masses = poisson_shape(mean, first, last) * math.exp(log_poisson_pmf(peak, mean))
        return cls(
            worker,
            mean,
            first,
            masses,
            log_poisson_sf(worker.cap, mean),
            math.exp(log_poisson_pmf(min(int(mean), worker.cap), mean)),
        )

    def over(self, length: int, count: int) -> "ComplexArray":
        """Return the transform of the loads that are over, turned back by their mean."""
        centre = round(self.mean)
        values = transform(self.masses, self.first - centre, length, count)
        angle = (2 * math.pi / length * (centre - self.mean)) * np.arange(count)
        return np.asarray(values * np.exp(1j * angle))

    def log_envelope(self, half: "FloatArray", lag: "FloatArray") -> "FloatArray":
        """Return a falling upper bound of log |transform of the loads within the cap|."""
        near = np.exp(-self.mean * lag) + math.exp(self.log_over)
        return np.log(np.maximum(np.minimum(near, self.peak / half), _TINY))


class _CappedLoad(NamedTuple):
    """The loads of one class in the sum for no overflow, X ~ Poisson(s p) given X <= cap."""

    worker: WorkerClass
    law: TruncatedPoisson
    centre: int
    first: int
    masses: "FloatArray"  # P(X = first + i)
    log_scale: float  # log of the sum over all masses, the largest taken as one

    @classmethod
    def of(cls, worker: WorkerClass, law: TruncatedPoisson, mean: float) -> "_CappedLoad":
        first, last = law.window()
        shape = poisson_shape(law.mean, first, last)
        total = float(shape.sum())
        return cls(worker, law, round(mean), first, shape / total, math.log(total))

    @property
    def at_cap(self) -> bool:
        """Whether the cap is the likeliest load."""
        return self.law.cap <= self.law.mean

    def steepness(self, conns: int, mean: float) -> float:
        """Return how fast the answer's logarithm moves with those of this share and this rate."""
        by_rate = min(self.law.mean, float(self.law.cap)) - mean
        return abs(by_rate) + abs(mean - conns * self.worker.share)

    def log_envelope(self, half: "FloatArray", lag: "FloatArray") -> "FloatArray":
        """Return a falling upper bound of log |transform|."""
        bound = float(self.masses.max()) / half
        if not self.at_cap:
            near = np.exp(-self.law.mean * lag) - math.expm1(self.law.log_within)
            bound = np.minimum(bound, near * math.exp(-self.law.log_within))
        return np.minimum(np.log(np.maximum(bound, _TINY)), 0.0)


def _balancing_rate(conns: int, classes: Sequence[WorkerClass]) -> float:
    """Return s for which the capped loads have a mean of about n in all, by Newton's method."""
    low, high = math.log(conns), math.inf
    at = low
    for _ in range(200):
        mean = variance = 0.0
        for worker in classes:
            its_mean, its_variance = TruncatedPoisson(
                math.exp(at) * worker.share, worker.cap
            ).moments()
            mean += worker.workers * its_mean
            variance += worker.workers * its_variance
        missing = conns - mean
        if abs(missing) <= 0.05 * math.sqrt(variance):
            break
        low, high = (at, high) if missing > 0 else (low, at)
        step = missing / variance if variance > 0 else math.inf
        # A step of the logarithm by more than one may leave the range where the slope means much.
        at += math.copysign(min(abs(step), 1.0), missing)
        if not low < at < high:
            at = (low + high) / 2
    return math.exp(at)


def _grid_length(conns: int, loads: Sequence[_CappedLoad], variance: float, log_peak: float) -> int:
    """Return an odd number of points so that what folds onto n is negligible."""
    allowed = _LOG_TRUNCATION + log_peak
    room = sum(load.worker.workers * load.law.cap for load in loads) - conns
    length = 20.0 + math.sqrt(-2 * allowed * variance)
    while True:
        beyond = [-math.inf]
        if length <= room:
            beyond.append(_log_chance_beyond(conns, loads, variance, length))
        if length <= conns:
            beyond.append(_log_chance_beyond(conns, loads, variance, -length))
        if max(beyond) <= allowed:
            return math.ceil(length) | 1
        length *= 1.25


def _log_chance_beyond(
    conns: int, loads: Sequence[_CappedLoad], variance: float, distance: float
) -> float:
    """Return a bound of log P(sum >= n + distance), or <= where that is negative (Chernoff)."""
    # Right for a Poisson sum; capped loads fall off more slowly below, and want a smaller one.
    theta = math.copysign(math.log1p(abs(distance) / variance), distance)
    best = 0.0
    for _ in range(_HALVINGS):
        log_mgf = sum(load.worker.workers * load.law.log_mgf(theta) for load in loads)
        bound = log_mgf - theta * (conns + distance)
        if bound > best and best < 0.0:  # convex in theta: smaller ones are worse still
            break
        best = min(best, bound)
        theta /= 2
    return best


def _log_norm(conns: int, rate: float, loads: Sequence[_CappedLoad]) -> tuple[float, float]:
    """Return log of P(all X_i <= m_i) / P(Poisson(s) = n), and the error of its exponential.

    Where caps bind hard, s is far from n and both chances are astronomically small. So loads that
    are likeliest at their cap are taken relative to their mass there, and both that mass and the
    whole at the rate n instead of s; what this changes is known in closed form.
    """
    parts = [-log_poisson_pmf(conns, float(conns))]
    error = 0.0
    at_caps, bound, free = 0, 0.0, 0.0
    for load in loads:
        workers, share, cap = load.worker
        if load.at_cap:
            at_caps += workers * cap
            bound += workers * share
            parts.append(workers * (log_poisson_pmf(cap, conns * share) + load.log_scale))
        else:
            free += workers * share
            parts.append(workers * load.law.log_within)
            error += 2e-14 * abs(parts[-1])
    log_excess = math.log1p((rate - conns) / conns)
    parts.append((at_caps - conns * bound) * log_excess)
    parts.append(free * deviance(conns, Pair(rate, 0.0)))
    return math.fsum(parts), error + 8 * _EPS * sum(abs(part) for part in parts)
