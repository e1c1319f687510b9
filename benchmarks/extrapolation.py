"""How honest the interval of an extrapolation is, on published servers, each left out in turn.

Reads the memory of servers at three numbers of connections from a CSV (columns `profile`,
`server` and `mem512_mib`, `mem4096_mib`, `mem16384_mib`), by default `../shared/arena_round1.csv`
beside the repository. For each server, everything is learnt from the others; then the server's
first two points are fitted and its third predicted, and likewise its second from the outer two
and its first from the last two. The yardstick is the symmetric conformal interval around the
straight line, learnt the same way.

Prints a row for each prediction, the coverage, and the interval score (Winkler 1972; Gneiting and
Raftery 2007, equation 43), both in bytes and divided by the line's prediction. `--constants`
prints what `memplan/memory/learnt.py` holds.
"""

import argparse
import csv
import math
import pprint
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from memplan.memory.calibration import Calibration, Point
from memplan.memory.extrapolation import Lessons
from memplan.memory.learning import Series, learn
from memplan.units import MIB

DEFAULT_CSV = Path(__file__).resolve().parents[1].parent / "shared" / "arena_round1.csv"
ALPHA = 0.05
CONNS = (512, 4096, 16384)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One profile of one server."""

    profile: str
    series: Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One prediction beside its truth.

    Attributes:
        row: What was left out.
        truth: The bytes measured.
        line: The straight line's prediction.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    row: Row
    truth: float
    line: float
    low: float
    high: float

    @property
    def held(self) -> bool:
        """Whether the interval holds the truth."""
        return self.low <= self.truth <= self.high

    @property
    def score(self) -> float:
        """The interval score: the width, and 2 / alpha for each byte that the truth lies off."""
        missed = max(self.low - self.truth, self.truth - self.high, 0.0)
        return self.high - self.low + 2 / ALPHA * missed

    @property
    def log_score(self) -> float:
        """The interval score on the log scale."""
        missed = max(math.log(self.low / self.truth), math.log(self.truth / self.high), 0.0)
        return math.log(self.high / self.low) + 2 / ALPHA * missed


def read(path: Path) -> list[Row]:
    """Return the rows of the CSV, memory in bytes."""
    rows = []
    with path.open(newline="") as file:
        for record in csv.DictReader(file):
            one, two, three = (float(record[f"mem{conns}_mib"]) * MIB for conns in CONNS)
            series = Series(server=record["server"], conns=CONNS, sizes=(one, two, three))
            rows.append(Row(profile=record["profile"], series=series))
    return rows


def straight(row: Row) -> float:
    """Return the straight line's prediction of the third point from the first two."""
    (xa, xb, xc), (ya, yb, _) = row.series.conns, row.series.sizes
    return yb + (yb - ya) / (xb - xa) * (xc - xb)


def plan(rows: Sequence[Row], asked: int = 2) -> list[Outcome]:
    """Return the plan's prediction of one of the three points, servers left out in turn."""
    outcomes = []
    for row in rows:
        lessons = learn([r.series for r in rows if r.series.server != row.series.server])
        conns, sizes = row.series.conns, row.series.sizes
        points = [Point(conns[i], sizes[i], "charge") for i in range(3) if i != asked]
        estimate = Calibration.fit(points, lessons=lessons).predict(conns[asked])
        outcomes.append(
            Outcome(
                row=row,
                truth=sizes[asked],
                line=straight(row) if asked == 2 else estimate.bytes,
                low=estimate.low_bytes,
                high=estimate.high_bytes,
            )
        )
    return outcomes


def from_one(rows: Sequence[Row]) -> list[bool]:
    """Return whether each point was held when predicted from each other one alone."""
    hits = []
    for row in rows:
        lessons = learn([r.series for r in rows if r.series.server != row.series.server])
        conns, sizes = row.series.conns, row.series.sizes
        for given in range(3):
            fit = Calibration.fit([Point(conns[given], sizes[given], "charge")], lessons=lessons)
            for asked in {0, 1, 2} - {given}:
                estimate = fit.predict(conns[asked])
                hits.append(estimate.low_bytes <= sizes[asked] <= estimate.high_bytes)
    return hits


def from_none(rows: Sequence[Row]) -> list[bool]:
    """Return whether each point was held by what the other servers take."""
    hits = []
    for row in rows:
        lessons = learn([r.series for r in rows if r.series.server != row.series.server])
        fit = Calibration.fit([], account="charge", lessons=lessons)
        for conns, size in zip(row.series.conns, row.series.sizes, strict=True):
            estimate = fit.predict(conns)
            hits.append(estimate.low_bytes <= size <= estimate.high_bytes)
    return hits


def conformal(rows: Sequence[Row]) -> list[Outcome]:
    """Return the symmetric split-conformal interval around the line, servers left out in turn."""
    outcomes = []
    for row in rows:
        others = [r for r in rows if r.series.server != row.series.server]
        errors = sorted(abs(r.series.sizes[2] / straight(r) - 1) for r in others)
        rank = min(math.ceil((len(errors) + 1) * (1 - ALPHA)), len(errors))
        line, half = straight(row), errors[rank - 1]
        outcomes.append(
            Outcome(
                row=row,
                truth=row.series.sizes[2],
                line=line,
                low=line * (1 - half),
                high=line * (1 + half),
            )
        )
    return outcomes


def scores(outcomes: Sequence[Outcome]) -> tuple[float, float, float]:
    """Return the mean interval score in bytes, divided by the line, and on the log scale."""
    n = len(outcomes)
    return (
        math.fsum(outcome.score for outcome in outcomes) / n,
        math.fsum(outcome.score / outcome.line for outcome in outcomes) / n,
        math.fsum(outcome.log_score for outcome in outcomes) / n,
    )


def held(outcomes: Sequence[Outcome]) -> int:
    """Return how many intervals hold their truth."""
    return sum(outcome.held for outcome in outcomes)


def lessons_of(rows: Sequence[Row]) -> Lessons:
    """Return what all rows teach: the constants that memplan ships."""
    return learn([row.series for row in rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One method over all rows: how many intervals held, and its mean interval scores.

    Attributes:
        held: Intervals that held their truth.
        score_bytes: Mean score in bytes.
        score_of_line: Mean score divided by the straight line's prediction.
        score_log: Mean score on the log scale.
    """

    held: int
    score_bytes: float
    score_of_line: float
    score_log: float

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> "Scores":
        """Return the scores of a method's outcomes."""
        in_bytes, of_line, on_log = scores(outcomes)
        return cls(
            held=held(outcomes), score_bytes=in_bytes, score_of_line=of_line, score_log=on_log
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is written: sums over all rows, and no row of the published data.

    Attributes:
        rows: Profiles of servers.
        servers: Servers.
        plan: The plan, third point from the first two.
        conformal: The yardstick, likewise.
        second_held: Second points held, from the outer two.
        first_held: First points held, from the last two.
        from_one_held: Points held, each from each other one alone.
        from_one: How many of these there are.
        from_none_held: Points held, each from the other servers only.
        from_none: How many of these there are.
    """

    rows: int
    servers: int
    plan: Scores
    conformal: Scores
    second_held: int
    first_held: int
    from_one_held: int
    from_one: int
    from_none_held: int
    from_none: int


def print_rows(ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> None:
    """Print a row for each prediction."""
    print(f"{'MiB':26}{'line':>9}{'low':>9}{'truth':>9}{'high':>9}  held   score/line  conformal")
    for mine, other in zip(ours, theirs, strict=True):
        name = f"{mine.row.profile} {mine.row.series.server}"
        sizes = "".join(f"{x / MIB:9.1f}" for x in (mine.line, mine.low, mine.truth, mine.high))
        print(
            f"{name:26}{sizes}  {'yes' if mine.held else 'NO':4}"
            f"{mine.score / mine.line:12.3f}{other.score / other.line:11.3f}"
        )


def print_figures(figures: Figures) -> None:
    """Print the coverage and the scores."""
    print(f"{'':26}{'held':>9}{'bytes':>12}{'of the line':>14}{'log scale':>12}")
    mine, other = figures.plan, figures.conformal
    for name, one in (("plan", mine), ("symmetric conformal", other)):
        print(
            f"{name:26}{one.held:6}/{figures.rows}{one.score_bytes / MIB:8.0f} MiB"
            f"{one.score_of_line:14.3f}{one.score_log:12.3f}"
        )
    better = (
        1 - mine.score_bytes / other.score_bytes,
        1 - mine.score_of_line / other.score_of_line,
        1 - mine.score_log / other.score_log,
    )
    print(f"{'better by':35}{better[0]:12.1%}{better[1]:14.1%}{better[2]:12.1%}")
    print()
    print(f"the second from the outer two {figures.second_held} of {figures.rows} held")
    print(f"the first from the last two   {figures.first_held} of {figures.rows} held")
    print(f"each from each other alone    {figures.from_one_held} of {figures.from_one} held")
    print(f"each from other servers only  {figures.from_none_held} of {figures.from_none} held")


def main() -> None:
    """Print the table, the coverage and the scores, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("csv", nargs="?", type=Path, default=DEFAULT_CSV)
    parser.add_argument("--constants", action="store_true", help="print what learnt.py holds")
    parser.add_argument("-o", "--output", type=Path, help="write the sums as JSON, too")
    arguments = parser.parse_args()
    if not arguments.csv.exists():
        print(f"skipped: the published data are not part of the repository ({arguments.csv.name})")
        return
    rows = read(arguments.csv)
    if arguments.constants:
        print(pprint.pformat(lessons_of(rows), width=100))
        return

    ours, theirs = plan(rows), conformal(rows)
    one, none = from_one(rows), from_none(rows)
    figures = Figures(
        rows=len(rows),
        servers=len({row.series.server for row in rows}),
        plan=Scores.of(ours),
        conformal=Scores.of(theirs),
        second_held=held(plan(rows, 1)),
        first_held=held(plan(rows, 0)),
        from_one_held=sum(one),
        from_one=len(one),
        from_none_held=sum(none),
        from_none=len(none),
    )
    print_rows(ours, theirs)
    print()
    print_figures(figures)
    if arguments.output is not None:
        from support.results import write_results

        write_results(arguments.output, "extrapolation", asdict(figures))


if __name__ == "__main__":
    main()
