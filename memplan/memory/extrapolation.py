"""How far a server's memory strays from what two of its points suggest, learnt from servers.

Between "it stops growing at the last point" and "the straight line goes on" lies what most
servers do. How far the others stray beyond these two references is a factor (C / C_last) to some
power, so that nothing strays at the last point itself, and more the further one looks. Each
side's power is a 95% prediction from servers whose memory is known at three points:

- A share p of the servers strays at all; Jeffreys' estimate (k + 1/2) / (n + 1) from k of n.
- Those that do stray by a power that is exponentially distributed with an unknown scale. With
  the scale's posterior under Jeffreys' prior, k strayers of sum S predict the next one by
  P(power > u) = p (1 + u / S)^-k, a Lomax law, hence u = S ((p / tail)^(1/k) - 1).

Rows of one server share one vote, so n counts servers. Ratios alone enter: the unit of memory
has no say. `memplan.memory.learning` learns; what it learnt is in `memplan.memory.learnt`.
"""

import math
from typing import NamedTuple

_STEEPEST = 2.0


class Stray(NamedTuple):
    """How servers strayed beyond a reference, to one side.

    Attributes:
        servers: Servers seen; rows of one server share one vote.
        strayed: How many of them strayed.
        total: Sum of their powers.
    """

    servers: float
    strayed: float
    total: float

    def power(self, tail: float) -> float:
        """Return the power that the next server exceeds with chance `tail`."""
        share = (self.strayed + 0.5) / (self.servers + 1)
        if self.strayed == 0 or share <= tail:
            return 0.0
        return float(self.total * math.expm1(math.log(share / tail) / self.strayed))


class Drift(NamedTuple):
    """How servers strayed below the lower reference, and above the upper one."""

    below: Stray
    above: Stray


class Spread(NamedTuple):
    """A positive number as it differs between servers: a median and 95% limits.

    The limits come from each side's own root mean square of log ratios to the median, times
    Student's t with as many degrees of freedom as servers lie on that side.
    """

    low: float
    median: float
    high: float


class Lessons(NamedTuple):
    """All that was learnt from servers known at three points.

    Attributes:
        beyond: Predicting beyond the last of two points.
        between: Predicting between two points.
        under: Predicting below the first of two points.
        half_conns: Connections whose memory equals the fixed part: the split of a single point.
        fixed_bytes: The part of a server's memory that has no connections.
        per_conn_bytes: The memory that one more connection takes.
    """

    beyond: Drift
    between: Drift
    under: Drift
    half_conns: Spread
    fixed_bytes: Spread
    per_conn_bytes: Spread


class References(NamedTuple):
    """What two points suggest for a number of connections.

    Attributes:
        low: What it would be by the hypothesis that takes least.
        point: What the straight line says, or the nearer point where the line falls.
        high: What it would be by the hypothesis that takes most.
    """

    low: float
    point: float
    high: float


def distance(conns: float, other: float) -> float:
    """Return how far apart two numbers of connections are: |log((1 + a) / (1 + b))|.

    The 1 lets an idle server's 0 connections take part.
    """
    return abs(math.log((1 + conns) / (1 + other)))


def beyond(x1: float, y1: float, x2: float, y2: float, conns: float) -> References:
    """Return the references beyond the last of two points: flat from there, and the line.

    A line that meets zero connections below zero bytes bends upwards; then the power law through
    both points (its exponent at most 2) is the upper reference where that is more. Memory that
    fell is taken to stay, or at most to rise as fast as it fell.
    """
    slope = (y2 - y1) / (x2 - x1)
    line = y2 + abs(slope) * (conns - x2)
    if slope < 0:
        return References(y2, y2, line)
    high = line
    if y2 < slope * x2 and x1 > 0:
        exponent = min(_STEEPEST, math.log(y2 / y1) / math.log(x2 / x1))
        high = max(line, y2 * (conns / x2) ** exponent)
    return References(y2, line, high)


def between(x1: float, y1: float, x2: float, y2: float, conns: float) -> References:
    """Return the references between two points: their chord, and growth that has already ended.

    Growth ends the earliest where memory was in proportion to connections up to then. Where the
    chord would meet zero connections below zero bytes, the power law lies below it.
    """
    chord = y1 + (y2 - y1) * (conns - x1) / (x2 - x1)
    if y2 < y1:
        return References(chord, chord, max(chord, min(y1, y2 * (x2 + 1) / (conns + 1))))
    low = chord
    if x1 > 0 and y1 * x2 < y2 * x1:
        low = min(chord, y1 * (conns / x1) ** (math.log(y2 / y1) / math.log(x2 / x1)))
    return References(low, chord, max(chord, min(y2, y1 * (conns + 1) / (x1 + 1))))


def under(x1: float, y1: float, x2: float, y2: float, conns: float) -> References:
    """Return the references below the first of two points: the line down to there, and flat.

    The line is not followed below what is in proportion to connections.
    """
    slope = (y2 - y1) / (x2 - x1)
    line = max(y1 - abs(slope) * (x1 - conns), y1 * (conns + 1) / (x1 + 1))
    return References(line, y1 if slope < 0 else line, y1)


def gap(x1: float, x2: float, conns: float) -> float:
    """Return how far a number of connections between two points is from the nearer one."""
    return min(distance(conns, x1), distance(x2, conns))
