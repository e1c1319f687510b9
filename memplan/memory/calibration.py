"""Measured points become fixed and per-connection bytes, and predictions with honest intervals.

What a prediction rests on depends on how many points there are:

- none: what servers take, from the least to the most seen;
- one: it carries the prediction, split into fixed and per-connection bytes as servers' medians;
- two: the line through them, and how far servers strayed from it (`memplan.memory.extrapolation`);
- three or more: the least-squares line if they lie on one within their noise, else the chain of
  segments through them. Inside a tested line the interval is the line's own; between two points
  of a chain and beyond the outermost points, servers' strays join it.

The two causes of error, noise and straying, are independent and join in quadrature on the log
scale. An interval is for a new measurement, not for a mean.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from memplan.errors import UsageError
from memplan.memory import calibration_notes as notes
from memplan.memory import extrapolation
from memplan.memory.estimate import Estimate, RestsOn
from memplan.memory.extrapolation import Drift, Lessons, References, Stray
from memplan.memory.fitting import Group, Line, Noise, bend_p_value, fit_line, noise, repeat_squares
from memplan.memory.learnt import LESSONS
from memplan.memory.student import t_quantile
from memplan.units import format_bytes

Account = Literal["process", "charge"]
Kind = Literal["prior", "one point", "line", "segments"]

LEVEL = 0.95
_BENT = 0.05
_MOST_NOISE = 0.95
_NEVER = Stray(servers=0.0, strayed=0.0, total=0.0)
_NO_DRIFT = Drift(below=_NEVER, above=_NEVER)


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement.

    Attributes:
        conns: Connections open at the time.
        bytes: Memory taken.
        account: `process` for the processes' PSS, `charge` for the container's charge.
    """

    conns: float
    bytes: float
    account: Account = "process"

    def __post_init__(self) -> None:
        if not 0 <= self.conns < math.inf:
            raise UsageError(f"a point's connections must be zero or more, not {self.conns:g}")
        if not 0 < self.bytes < math.inf:
            raise UsageError(f"a point's memory must be above zero bytes, not {self.bytes:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Fixed and per-connection bytes as fitted, and what is needed to predict from them.

    Attributes:
        account: What the points measured.
        kind: `prior`, `one point`, `line` or `segments`.
        groups: The points, repeats together, by increasing connections.
        fixed_bytes: Bytes at zero connections by the line, or by the last segment of a chain.
        per_conn_bytes: Bytes for one more connection by the same line.
        fixed_interval: 95% interval of the fixed bytes, from noise and the spread of servers.
        per_conn_interval: 95% interval of the bytes per connection.
        noise: How far repeats differ.
        bend_p: Chance of points at least this far off a line if it were straight; None below
            three numbers of connections.
        assumptions: What the points do not say and is assumed instead.
        warnings: What the points contradict.
        lines: The line, or the chain's segments.
        lessons: What was learnt from other servers.
    """

    account: Account
    kind: Kind
    groups: tuple[Group, ...]
    fixed_bytes: float
    per_conn_bytes: float
    fixed_interval: tuple[float, float]
    per_conn_interval: tuple[float, float]
    noise: Noise
    bend_p: float | None
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]
    lines: tuple[Line, ...]
    lessons: Lessons

    @property
    def n(self) -> int:
        """Points, repeats counted."""
        return sum(len(group.sizes) for group in self.groups)

    @classmethod
    def fit(
        cls,
        points: Iterable[Point],
        *,
        account: Account = "process",
        lessons: Lessons = LESSONS,
    ) -> "Calibration":
        """Return the calibration for any number of points, none included.

        Args:
            points: Measurements of one account, in any order, with any repeats.
            account: What a calibration without points is for; points bring their own.
            lessons: What was learnt from other servers.

        Raises:
            UsageError: The points are of two accounts.
        """
        points = list(points)
        accounts = {point.account for point in points}
        if len(accounts) > 1:
            raise UsageError(
                "points of process memory and of the container's charge are two calibrations; "
                "give each its own"
            )
        by_conns: dict[float, list[float]] = {}
        for point in points:
            by_conns.setdefault(float(point.conns), []).append(float(point.bytes))
        groups = tuple(
            Group(conns=conns, sizes=tuple(sorted(sizes)))
            for conns, sizes in sorted(by_conns.items())
        )
        kept = accounts.pop() if accounts else account
        if not groups:
            return _without_points(kept, lessons)
        if len(groups) == 1:
            return _with_one(kept, groups[0], lessons)
        return _with_lines(kept, groups, lessons)

    def predict(self, conns: float, *, level: float = LEVEL) -> Estimate:
        """Return the memory at a number of connections, as one measurement would find it.

        Args:
            conns: Connections, zero or more.
            level: Chance that the interval is meant to hold.

        Raises:
            UsageError: The connections are negative, or the level is no chance.
        """
        if not 0 <= conns < math.inf:
            raise UsageError(f"connections must be zero or more, not {conns:g}")
        if not 0 < level < 1:
            raise UsageError(f"a level is between 0 and 1, not {level:g}")
        if self.kind == "prior":
            return self._predict_prior(conns, level)
        if self.kind == "one point":
            return self._predict_one(conns, level)
        return self._predict_line(conns, level)

    def _predict_prior(self, conns: float, level: float) -> Estimate:
        if level != LEVEL:
            raise UsageError("without any point there is a 95% interval only")
        # A server that is lean when idle is lean with connections too, so the ends add up.
        fixed, per_conn = self.lessons.fixed_bytes, self.lessons.per_conn_bytes
        return _estimate(
            fixed.median + conns * per_conn.median,
            fixed.low + conns * per_conn.low,
            fixed.high + conns * per_conn.high,
            level=level,
            rests_on="prior",
            method="what servers take, no measurement",
        )

    def _predict_one(self, conns: float, level: float) -> Estimate:
        group = self.groups[0]
        size, half = group.mean, self.lessons.half_conns
        # The steepest server known and one that takes no memory for connections are the
        # references. The former is an extreme already, and nothing is known to take less under
        # load than when idle, so that only the flat reference of a loaded server strays, and down.
        steepest = size * (conns + half.low) / (group.conns + half.low)
        references = References(
            min(size, steepest), self.fixed_bytes + self.per_conn_bytes * conns, max(size, steepest)
        )
        relative = self.noise.sd * math.sqrt(1 + 1 / len(group.sizes))
        strays = conns > group.conns > 0
        same = conns == group.conns
        return self._interval(
            references,
            noise_below=relative,
            noise_above=relative,
            drift=Drift(below=self.lessons.beyond.below, above=_NEVER) if strays else _NO_DRIFT,
            away=extrapolation.distance(conns, group.conns),
            level=level,
            rests_on="data" if same and self.noise.measured else "data and prior",
            method="at the connections measured" if same else "one point, split as servers do",
        )

    def _predict_line(self, conns: float, level: float) -> Estimate:
        first, last = self.groups[0].conns, self.groups[-1].conns
        line = next((one for one in self.lines if conns <= one.last_conns), self.lines[-1])
        x1, x2 = line.first_conns, line.last_conns
        y1, y2 = self._level(line, x1), self._level(line, x2)
        anchor = conns
        if conns > last:
            references = extrapolation.beyond(x1, y1, x2, y2, conns)
            drift, away = self.lessons.beyond, extrapolation.distance(conns, last)
            how, anchor = f"at {conns / last:.4g} times the last of", x2
        elif conns < first:
            references = extrapolation.under(x1, y1, x2, y2, conns)
            drift, away = self.lessons.under, extrapolation.distance(conns, first)
            how = "below the first of"
        elif self.kind == "line" and len(self.groups) > 2:
            value = self._level(line, conns)
            references = References(value, value, value)
            drift, away, how = _NO_DRIFT, 0.0, "inside the tested line of"
        else:
            references = extrapolation.between(x1, y1, x2, y2, conns)
            drift, away = self.lessons.between, extrapolation.gap(x1, x2, conns)
            how = "between two of" if away else "at the connections of one of"
        # A new measurement's noise is added to the line's own. The lower reference beyond the
        # last point is that point's level, whose error does not grow with the reach.
        return self._interval(
            references,
            noise_below=self._relative_error(line, anchor, references.low),
            noise_above=self._relative_error(line, conns, references.high),
            drift=drift,
            away=away,
            level=level,
            rests_on="data" if self.noise.measured and not away else "data and prior",
            method=f"{how} {self.n} points",
        )

    def _level(self, line: Line, conns: float) -> float:
        # A noisy line may touch zero inside its points; memory does not.
        return max(line.at(conns), 0.01 * max(group.mean for group in self.groups))

    def _relative_error(self, line: Line, conns: float, reference: float) -> float:
        return self.noise.sd * math.hypot(1.0, line.spread_at(conns) / reference)

    def _interval(
        self,
        references: References,
        *,
        noise_below: float,
        noise_above: float,
        drift: Drift,
        away: float,
        level: float,
        rests_on: RestsOn,
        method: str,
    ) -> Estimate:
        tail = (1 - level) / 2
        t = t_quantile(tail, self.noise.df)
        below = math.hypot(
            math.log1p(-min(_MOST_NOISE, t * noise_below)), drift.below.power(tail) * away
        )
        above = math.hypot(math.log1p(t * noise_above), drift.above.power(tail) * away)
        return _estimate(
            references.point,
            references.low * math.exp(-below),
            references.high * math.exp(above),
            level=level,
            rests_on=rests_on,
            method=method,
        )

    def summary(self) -> str:
        """Return the fit, what is assumed and what is contradicted, a line each."""
        fit = (
            f"{format_bytes(self.per_conn_bytes)} a connection over "
            f"{format_bytes(self.fixed_bytes)} ({self.account}, by {self.n or 'no'} "
            f"point{'' if self.n == 1 else 's'}: {self.kind})"
        )
        assumed = [f"assumed: {text}" for text in self.assumptions]
        return "\n".join([fit, *assumed, *(f"warning: {text}" for text in self.warnings)])

    def to_dict(self) -> dict[str, Any]:
        """Return the points, the fit and its intervals as plain values."""
        return {
            "account": self.account,
            "kind": self.kind,
            "points": [
                {"conns": group.conns, "bytes": size}
                for group in self.groups
                for size in group.sizes
            ],
            "fixed_bytes": self.fixed_bytes,
            "fixed_interval": list(self.fixed_interval),
            "per_conn_bytes": self.per_conn_bytes,
            "per_conn_interval": list(self.per_conn_interval),
            "noise_sd": self.noise.sd,
            "noise_df": self.noise.df,
            "noise_measured": self.noise.measured,
            "bend_p": self.bend_p,
            "assumptions": list(self.assumptions),
            "warnings": list(self.warnings),
        }


def _estimate(
    point: float, low: float, high: float, *, level: float, rests_on: RestsOn, method: str
) -> Estimate:
    return Estimate(
        bytes=round(point),
        low_bytes=max(0, min(math.floor(low), round(point))),
        high_bytes=max(math.ceil(high), round(point)),
        level=level,
        rests_on=rests_on,
        method=method,
    )


def _without_points(account: Account, lessons: Lessons) -> Calibration:
    fixed, per_conn = lessons.fixed_bytes, lessons.per_conn_bytes
    return Calibration(
        account=account,
        kind="prior",
        groups=(),
        fixed_bytes=fixed.median,
        per_conn_bytes=per_conn.median,
        fixed_interval=(fixed.low, fixed.high),
        per_conn_interval=(per_conn.low, per_conn.high),
        noise=noise(0.0, 0),
        bend_p=None,
        assumptions=("no point was given: fixed and per-connection bytes are servers' medians",),
        warnings=(),
        lines=(),
        lessons=lessons,
    )


def _with_one(account: Account, group: Group, lessons: Lessons) -> Calibration:
    half, size = lessons.half_conns, group.mean
    repeats = noise(*repeat_squares([group]))

    def per_conn(half_conns: float) -> float:
        return size / (group.conns + half_conns)

    return Calibration(
        account=account,
        kind="one point",
        groups=(group,),
        fixed_bytes=per_conn(half.median) * half.median,
        per_conn_bytes=per_conn(half.median),
        fixed_interval=(per_conn(half.low) * half.low, per_conn(half.high) * half.high),
        per_conn_interval=(per_conn(half.high), per_conn(half.low)),
        noise=repeats,
        bend_p=None,
        assumptions=(notes.split(group.conns, half.median), *notes.noise(repeats)),
        warnings=notes.loud(repeats),
        lines=(),
        lessons=lessons,
    )


def _with_lines(account: Account, groups: tuple[Group, ...], lessons: Lessons) -> Calibration:
    line = fit_line(groups)
    bend = bend_p_value(groups, line) if len(groups) > 2 else None
    lines: tuple[Line, ...] = (line,)
    repeats = noise(line.squares, sum(len(group.sizes) for group in groups) - 2)
    warnings = []
    if bend is not None and bend < _BENT:
        lines = tuple(fit_line(pair) for pair in pairwise(groups))
        repeats = noise(*repeat_squares(groups))
        warnings.append(notes.bend(bend, lines))
    last = lines[-1]
    width = t_quantile((1 - LEVEL) / 2, repeats.df) * repeats.sd
    fixed_width, slope_width = width * last.spread_at(0.0), width * last.slope_spread()
    return Calibration(
        account=account,
        kind="segments" if warnings else "line",
        groups=groups,
        fixed_bytes=last.fixed,
        per_conn_bytes=last.slope,
        fixed_interval=(last.fixed - fixed_width, last.fixed + fixed_width),
        per_conn_interval=(last.slope - slope_width, last.slope + slope_width),
        noise=repeats,
        bend_p=bend,
        assumptions=notes.noise(repeats),
        warnings=(*warnings, *notes.loud(repeats), *notes.contradictions(groups, last, width)),
        lines=lines,
        lessons=lessons,
    )
