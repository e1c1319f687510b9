"""The law of a multinomial's maximum by other ways, to check the model's: slow, plain, independent.

- `enumerated`: all outcomes, one by one, in fractions; for a handful of connections.
- `counted`: the number of ways to place n connections with none over m, in whole numbers.
- `sequences`: the two positive sequences "none over" and "some over" in many digits; any classes.
- `doubled`: the same two sequences in doubles, doubled W = 2, 4, 8, ... times; any size.
"""

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import mpmath
import numpy as np
from mpmath import mp, mpf
from numpy.typing import NDArray

from memplan.statistics.worker_classes import WorkerClass


def enumerated(n: int, shares: Sequence[Fraction], caps: Sequence[int]) -> Fraction:
    """Return P(some N_i > m_i), adding up every way in which n connections can fall."""
    total = Fraction(0)
    for loads in itertools.product(range(n + 1), repeat=len(shares)):
        if sum(loads) == n and any(k > cap for k, cap in zip(loads, caps, strict=True)):
            ways = math.factorial(n)
            chance = Fraction(1)
            for k, share in zip(loads, shares, strict=True):
                ways //= math.factorial(k)
                chance *= share**k
            total += ways * chance
    return total


def counted(n: int, workers: int, cap: int) -> Fraction:
    """Return P(max > cap) for equal workers, exactly.

    The generating function T = sum of x^k/k! up to the cap has T' = T - x^cap/cap!, so that the
    number a(w, n) of ways over w workers obeys
    a(w, n+1) = w a(w, n) - w binomial(n, cap) a(w-1, n-cap).
    """
    before = [1] + [0] * n  # no worker: only nothing can be placed
    for w in range(1, workers + 1):
        now = [1] * (n + 1)
        for k in range(n):
            now[k + 1] = w * now[k]
            if k >= cap:
                now[k + 1] -= w * math.comb(k, cap) * before[k - cap]
        before = now
    return Fraction(workers**n - before[n], workers**n)


def sequences(n: int, classes: Sequence[WorkerClass], digits: int = 50) -> tuple[mpf, mpf]:
    """Return P(no N_i > m_i) and P(some N_i > m_i), neither from the other."""
    with mp.workdps(digits):
        whole = ([mpf(1)] + [mpf(0)] * n, [mpf(0)] * (n + 1))
        for workers, share, cap in classes:
            terms = [mpf(share) ** k / mpmath.factorial(k) for k in range(n + 1)]
            part = (
                [term if k <= cap else mpf(0) for k, term in enumerate(terms)],
                [term if k > cap else mpf(0) for k, term in enumerate(terms)],
            )
            for bit in range(workers.bit_length()):
                if workers >> bit & 1:
                    whole = _joined(whole, part)
                part = _joined(part, part)
        ways = mpmath.factorial(n)
        return whole[0][n] * ways, whole[1][n] * ways


_Pair = tuple[list[mpf], list[mpf]]


def _joined(one: _Pair, two: _Pair) -> _Pair:
    both = [a + b for a, b in zip(*two, strict=True)]
    over = _convolved(one[1], both), _convolved(one[0], two[1])
    return _convolved(one[0], two[0]), [a + b for a, b in zip(*over, strict=True)]


def _convolved(a: list[mpf], b: list[mpf]) -> list[mpf]:
    return [mpmath.fdot(a[: k + 1], b[k::-1]) for k in range(len(a))]


def doubled(n: int, workers: int, cap: int) -> tuple[float, float]:
    """Return P(max <= cap) and P(max > cap) for equal workers, their number a power of two.

    Each sequence lives on a window of eleven standard deviations about the mean, with a further
    one for what an overflowing worker brings.
    """
    mean = n / workers
    over = 13 * math.sqrt(mean) + 60
    first = max(0, math.floor(mean - over))
    numbers = np.arange(first, math.ceil(max(mean, cap) + over) + 1)
    masses = _poisson(numbers, mean)
    none, some = np.where(numbers <= cap, masses, 0.0), np.where(numbers > cap, masses, 0.0)
    w = 1
    while w < workers:
        both = none + some
        some = _product(some, both) + _product(none, some)
        none = _product(none, none)
        w, first = 2 * w, 2 * first
        reach = over * math.sqrt(w) + max(0.0, cap - mean)
        low = max(0, math.floor(w * mean - reach) - first)
        high = math.ceil(w * mean + reach) - first + 1
        none, some, first = none[low:high], some[low:high], first + low
    (alone,) = _poisson(np.array([n]), float(n))
    return float(none[n - first] / alone), float(some[n - first] / alone)


def _product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    size = len(a) + len(b) - 1
    if size < 4000:
        return np.convolve(a, b)
    length = 1 << (size - 1).bit_length()
    both = np.fft.irfft(np.fft.rfft(a, length) * np.fft.rfft(b, length), length)
    return both[:size]


def _poisson(k: NDArray[np.int64], mean: float) -> NDArray[np.float64]:
    with mp.workdps(30):
        peak = int(mean)
        at_peak = mpmath.exp(peak * mpmath.log(mean) - mean - mpmath.loggamma(peak + 1))
    out = np.empty(len(k))
    value = float(at_peak)
    out_by = {peak: value}
    for number in range(peak + 1, int(k[-1]) + 1):
        value *= mean / number
        out_by[number] = value
    value = float(at_peak)
    for number in range(peak, int(k[0]), -1):
        value *= number / mean
        out_by[number - 1] = value
    for i, number in enumerate(k.tolist()):
        out[i] = out_by[number]
    return out
