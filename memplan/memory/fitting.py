"""Straight lines through measured points whose noise grows with their level.

The weights are 1 / level^2, since a server's memory repeats to some per cent of itself, not to
some bytes; the level is the fitted one, found in a few rounds (iteratively reweighted least
squares, as for a generalised linear model with identity link and constant relative variance).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from memplan.memory.learnt import REPEAT_NOISE, REPEAT_NOISE_DF
from memplan.memory.student import f_sf

_ROUNDS = 25
_SETTLED = 1e-13
_LOWEST_LEVEL = 0.05
_ENOUGH_DF = 3
_BEST_NOISE = 0.001


class Group(NamedTuple):
    """The repeats at one number of connections.

    Attributes:
        conns: Connections.
        sizes: The bytes measured.
    """

    conns: float
    sizes: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean of the bytes."""
        return math.fsum(self.sizes) / len(self.sizes)


class Line(NamedTuple):
    """A weighted straight line, with what its uncertainty needs.

    Attributes:
        first_conns: Fewest connections that it was fitted to.
        last_conns: Most connections that it was fitted to.
        fixed: Bytes at zero connections.
        slope: Bytes for one more connection.
        weight: Sum of the weights, in 1 / bytes^2.
        centre: Weighted mean of the connections.
        spread: Weighted sum of squared distances from the centre.
        squares: Sum of the squared relative residuals of all points.
    """

    first_conns: float
    last_conns: float
    fixed: float
    slope: float
    weight: float
    centre: float
    spread: float
    squares: float

    def at(self, conns: float) -> float:
        """Return the line's bytes at a number of connections."""
        return self.fixed + self.slope * conns

    def spread_at(self, conns: float) -> float:
        """Return the line's own standard error there, in bytes for a relative noise of 1."""
        return math.sqrt(1 / self.weight + (conns - self.centre) ** 2 / self.spread)

    def slope_spread(self) -> float:
        """Return the slope's standard error, in bytes for a relative noise of 1."""
        return math.sqrt(1 / self.spread)


def fit_line(groups: Sequence[Group]) -> Line:
    """Return the line through at least two groups at different numbers of connections."""
    overall = math.fsum(group.mean for group in groups) / len(groups)
    levels = [group.mean for group in groups]
    fixed = slope = weight = centre = spread = 0.0
    for _ in range(_ROUNDS):
        weights = [
            len(group.sizes) / _off_zero(level, group) ** 2
            for group, level in zip(groups, levels, strict=True)
        ]
        rows = list(zip(weights, groups, strict=True))
        weight = math.fsum(weights)
        centre = math.fsum(w * g.conns for w, g in rows) / weight
        middle = math.fsum(w * g.mean for w, g in rows) / weight
        spread = math.fsum(w * (g.conns - centre) ** 2 for w, g in rows)
        slope = math.fsum(w * (g.conns - centre) * (g.mean - middle) for w, g in rows) / spread
        fixed = middle - slope * centre
        before, levels = levels, [fixed + slope * group.conns for group in groups]
        if all(abs(a - b) <= _SETTLED * overall for a, b in zip(before, levels, strict=True)):
            break
    squares = math.fsum(
        ((size - level) / _off_zero(level, group)) ** 2
        for group, level in zip(groups, levels, strict=True)
        for size in group.sizes
    )
    return Line(
        first_conns=groups[0].conns,
        last_conns=groups[-1].conns,
        fixed=fixed,
        slope=slope,
        weight=weight,
        centre=centre,
        spread=spread,
        squares=squares,
    )


def _off_zero(level: float, group: Group) -> float:
    """Return a level for a weight: one near or below zero would let its group decide alone."""
    return max(level, _LOWEST_LEVEL * group.mean)


class Noise(NamedTuple):
    """How far repeats differ.

    Attributes:
        sd: Relative standard deviation of one measurement.
        df: Degrees of freedom that it is known with.
        measured: Whether the points alone tell it.
    """

    sd: float
    df: float
    measured: bool


def repeat_squares(groups: Sequence[Group]) -> tuple[float, int]:
    """Return the repeats' squared relative deviations from their means, and their freedom."""
    squares = math.fsum(
        ((size - group.mean) / group.mean) ** 2 for group in groups for size in group.sizes
    )
    return squares, sum(len(group.sizes) - 1 for group in groups)


def noise(squares: float, df: int) -> Noise:
    """Return the noise from a sum of squares; with little freedom pooled with the assumed one.

    The assumed noise enters as a scaled inverse chi-square prior, which is the same as further
    squares of `REPEAT_NOISE_DF` degrees of freedom.
    """
    if df >= _ENOUGH_DF:
        # Equal repeats show the meter's steps, not a memory that is known to the byte.
        return Noise(sd=max(_BEST_NOISE, math.sqrt(squares / df)), df=df, measured=True)
    total = squares + REPEAT_NOISE_DF * REPEAT_NOISE**2
    return Noise(
        sd=math.sqrt(total / (REPEAT_NOISE_DF + df)), df=REPEAT_NOISE_DF + df, measured=False
    )


def bend_p_value(groups: Sequence[Group], line: Line) -> float:
    """Return the chance of points at least this far off a line if it were straight.

    The F test of lack of fit: the group means' squares about the line against the repeats' own
    (or the assumed noise, where there are few repeats).
    """
    within, df = repeat_squares(groups)
    repeats = noise(within, df)
    free = len(groups) - 2
    lack = max(0.0, line.squares - within) / free
    return f_sf(lack / repeats.sd**2, free, repeats.df)
