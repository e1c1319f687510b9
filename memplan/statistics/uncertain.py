"""Answers for connections that are not known exactly: a mixture over what is known of them."""

import math
from collections.abc import Callable
from dataclasses import replace

from memplan.answer import Answer
from memplan.quantity import Quantity

# Gauss and Legendre's five points on [-1, 1] and their weights, which add up to two.
_GAUSS = (
    (0.0, 0.568888888888888889),
    (-0.538469310105683091, 0.478628670499366468),
    (0.538469310105683091, 0.478628670499366468),
    (-0.906179845938663993, 0.236926885056189088),
    (0.906179845938663993, 0.236926885056189088),
)
# Panels grow downwards, where a chance that rises with the connections is small.
_GROWTH = 1.3
_NEGLIGIBLE = 1e-6
_RELATIVE_ERROR = 1e-4


def mixed(conns: Quantity, answer: Callable[[float], Answer], step: float) -> Answer:
    """Return an answer over all values of a quantity, in the mean.

    The point takes the quantiles as linear between the levels given. The bracket does not: between
    two levels the quantity may be anywhere between their values, and beyond the outermost levels
    it has theirs.

    Args:
        conns: The quantity; a range is uniform for the point and anything for the bracket.
        answer: The answer at a value, rising with it.
        step: A difference of values over which the logarithm of the answer is nearly straight.
    """
    if conns.exact:
        return answer(conns.low)
    levels, values = conns.levels, conns.values
    ends = [answer(value) for value in values]
    below, above = levels[0], 1.0 - levels[-1]
    point = below * ends[0].value + above * ends[-1].value
    low = below * ends[0].low + above * ends[-1].low
    high = below * ends[0].high + above * ends[-1].high
    for i in range(len(levels) - 1):
        part = levels[i + 1] - levels[i]
        low += part * ends[i].low
        high += part * ends[i + 1].high
        point += part * _mean(answer, values[i], values[i + 1], step)
    return Answer(
        value=min(max(point, low), high),
        low=low,
        high=high,
        method=f"{ends[-1].method}, mixed over the connections",
        relative_error=max(_RELATIVE_ERROR, *(end.relative_error for end in ends)),
    )


def at_whole(answer: Callable[[float], Answer]) -> Callable[[float], Answer]:
    """Return an answer for whole numbers as one for all: linear between two neighbours."""

    def between(value: float) -> Answer:
        below = math.floor(value)
        part = value - below
        if part == 0.0:
            return answer(float(below))
        low, high = answer(float(below)), answer(float(below + 1))
        return replace(
            high,
            value=(1 - part) * low.value + part * high.value,
            low=(1 - part) * low.low + part * high.low,
            high=(1 - part) * low.high + part * high.high,
        )

    return between


def variance(quantity: Quantity) -> float:
    """Return the variance under linear quantiles, the outermost values carrying their tails."""
    levels, values = quantity.levels, quantity.values
    square = levels[0] * values[0] ** 2 + (1 - levels[-1]) * values[-1] ** 2
    for i in range(len(levels) - 1):
        a, b = values[i], values[i + 1]
        square += (levels[i + 1] - levels[i]) * (a * a + a * b + b * b) / 3
    return max(0.0, square - quantity.mean() ** 2)


def spread(quantity: Quantity, size: int) -> tuple[float, ...]:
    """Return values that stand for the quantity, each with the same weight."""
    if quantity.exact:
        return (quantity.low,)
    return tuple(quantity.quantile((i + 0.5) / size) for i in range(size))


def _mean(answer: Callable[[float], Answer], low: float, high: float, step: float) -> float:
    """Return the mean of an answer over low..high, from the top down to where it is negligible."""
    if low == high:
        return answer(low).value
    total, top, width = 0.0, high, step
    while top > low:
        bottom = top - width if top - 1.5 * width > low else low
        half, middle = (top - bottom) / 2, (top + bottom) / 2
        total += half * math.fsum(
            weight * answer(middle + half * at).value for at, weight in _GAUSS
        )
        if (bottom - low) * answer(bottom).value <= _NEGLIGIBLE * total:
            break
        top, width = bottom, width * _GROWTH
    return total / (high - low)
