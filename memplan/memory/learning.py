"""Learning from servers known at three points how far others stray: see `extrapolation`."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from memplan.memory.extrapolation import (
    Drift,
    Lessons,
    Spread,
    Stray,
    between,
    beyond,
    distance,
    gap,
    under,
)
from memplan.memory.student import t_quantile

_ROUNDING = 1e-9


class Series(NamedTuple):
    """One server's memory at three numbers of connections.

    Attributes:
        server: The server's name; rows of one name share one vote.
        conns: Connections, increasing.
        sizes: The bytes at these, above zero.
    """

    server: str
    conns: tuple[float, float, float]
    sizes: tuple[float, float, float]


def learn(series: Sequence[Series]) -> Lessons:
    """Return what servers known at three points teach.

    Each of the three points is predicted from the other two, and the powers by which the truth
    strayed beyond the two references are collected. The split into fixed and per-connection bytes
    is that of the line through the first two points.
    """
    rows_of = Counter(row.server for row in series)
    strays: dict[str, list[tuple[float, float]]] = {
        f"{where} {side}": [] for where in ("beyond", "between", "under") for side in ("<", ">")
    }
    halves, fixed, per_conn = [], [], []
    for row in series:
        vote = 1 / rows_of[row.server]
        (xa, xb, xc), (ya, yb, yc) = row.conns, row.sizes
        for where, references, away, truth in (
            ("beyond", beyond(xa, ya, xb, yb, xc), distance(xc, xb), yc),
            ("between", between(xa, ya, xc, yc, xb), gap(xa, xc, xb), yb),
            ("under", under(xb, yb, xc, yc, xa), distance(xb, xa), ya),
        ):
            strays[f"{where} <"].append((vote, math.log(references.low / truth) / away))
            strays[f"{where} >"].append((vote, math.log(truth / references.high) / away))
        slope = (yb - ya) / (xb - xa)
        intercept = ya - slope * xa
        if slope > 0:
            per_conn.append((vote, slope))
        if intercept > 0:
            fixed.append((vote, intercept))
        if slope > 0 and intercept > 0:
            halves.append((vote, intercept / slope))
    found = {name: _stray(powers) for name, powers in strays.items()}
    return Lessons(
        beyond=Drift(below=found["beyond <"], above=found["beyond >"]),
        between=Drift(below=found["between <"], above=found["between >"]),
        under=Drift(below=found["under <"], above=found["under >"]),
        half_conns=_spread(halves),
        fixed_bytes=_spread(fixed),
        per_conn_bytes=_spread(per_conn),
    )


def _stray(powers: Iterable[tuple[float, float]]) -> Stray:
    # A server on its reference does not stray, whichever way the last digit was rounded.
    votes = [(vote, power if power > _ROUNDING else 0.0) for vote, power in powers]
    return Stray(
        servers=math.fsum(vote for vote, _ in votes),
        strayed=math.fsum(vote for vote, power in votes if power > 0),
        total=math.fsum(vote * power for vote, power in votes),
    )


def _spread(values: Iterable[tuple[float, float]]) -> Spread:
    votes = sorted(((value, vote) for vote, value in values))
    half = math.fsum(vote for _, vote in votes) / 2
    passed, median = 0.0, votes[-1][0]
    for value, vote in votes:
        passed += vote
        if passed >= half:
            median = value
            break
    limits = []
    for side in (-1, 1):
        steps = [(math.log(value / median), vote) for value, vote in votes]
        beside = [(step, vote) for step, vote in steps if step * side > 0]
        weight = math.fsum(vote for _, vote in beside)
        width = 0.0
        if weight > 0:
            square = math.fsum(vote * step * step for step, vote in beside) / weight
            width = math.sqrt(square) * t_quantile(0.025, weight)
        limits.append(median * math.exp(side * width))
    return Spread(low=limits[0], median=median, high=limits[1])
