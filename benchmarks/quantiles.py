"""How long an exact quantile of the fullest worker takes, beside a Monte Carlo that cannot see it.

Usage: python benchmarks/quantiles.py [--overflow P] [--budget SECONDS] [-o FILE]

For each case: the slots that keep an overflow within the target; the median time of that answer in
a running process, and of the first one after the import, each in a process of its own; and 10**6
draws of the maximum of a multinomial by numpy. Where the draws would take longer than the budget
their time is extrapolated from those made, and the table says so. Draws tell no more of a chance
that they have never seen than that it is probably below 3 over their number.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from memplan.reuseport_model import ReuseportModel

CASES = ((64, 4096, 10.0), (1024, 10**6, 100.0), (65536, 10**9, 2000.0))
"""Workers, connections, and the milliseconds that an answer may take."""

DRAWS = 1_000_000
REPEATS = 101
COLD_RUNS = 5
SEED = 20_240_601

COLD = """
import sys, time
from memplan.reuseport_model import ReuseportModel
workers, conns, overflow = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
start = time.perf_counter()
ReuseportModel(workers=workers, conns=conns).required_slots(overflow)
print(1e3 * (time.perf_counter() - start))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case.

    Attributes:
        workers: Workers in the group.
        conns: Connections in all.
        overflow: The target.
        slots: Fewest slots a worker that keep it.
        chance: The overflow's chance at them.
        relative_error: Bound on its relative error.
        method: How it was found.
        median_ms: Median time of the answer.
        first_ms: Median time of a process's first answer, after the import.
        allowed_ms: What it may take.
        draws: Maxima drawn.
        draws_s: Time of 10**6 draws; extrapolated where fewer were made.
        seen: Draws in which some worker was over.
        seen_at_most: 95% upper bound of the chance, by the draws alone.
    """

    workers: int
    conns: int
    overflow: float
    slots: int
    chance: float
    relative_error: float
    method: str
    median_ms: float
    first_ms: float
    allowed_ms: float
    draws: int
    draws_s: float
    seen: int
    seen_at_most: float


def median_ms(model: ReuseportModel, overflow: float) -> float:
    """Return the median time of an answer in a process that has answered before."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        model.required_slots(overflow)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def first_ms(workers: int, conns: int, overflow: float) -> float:
    """Return the median time of a process's first answer."""
    command = [sys.executable, "-c", COLD, str(workers), str(conns), str(overflow)]
    return statistics.median(
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(COLD_RUNS)
    )


def drawn(model: ReuseportModel, slots: int, budget_s: float) -> tuple[int, float, int]:
    """Return draws made within a budget, their time in seconds, and those with a worker over."""
    rng = np.random.default_rng(SEED)
    batch = max(1, min(2000, 4_000_000 // model.workers))
    draws = seen = 0
    start = time.perf_counter()
    while draws < DRAWS and time.perf_counter() - start < budget_s:
        size = min(batch, DRAWS - draws)
        seen += int((model.sample(size, rng).max(axis=1) > slots).sum())
        draws += size
    return draws, time.perf_counter() - start, seen


def upper_bound(seen: int, draws: int) -> float:
    """Return the exact 95% upper bound of a chance (Clopper and Pearson, one-sided)."""
    from scipy.stats import beta

    return float(beta.ppf(0.95, seen + 1, draws - seen))


def measured(workers: int, conns: int, allowed_ms: float, overflow: float, budget_s: float) -> Row:
    """Return a case's row."""
    model = ReuseportModel(workers=workers, conns=conns)
    found = model.required_slots(overflow)
    draws, seconds, seen = drawn(model, found.slots, budget_s)
    return Row(
        workers=workers,
        conns=conns,
        overflow=overflow,
        slots=found.slots,
        chance=found.overflow.value,
        relative_error=found.overflow.relative_error,
        method=found.method,
        median_ms=median_ms(model, overflow),
        first_ms=first_ms(workers, conns, overflow),
        allowed_ms=allowed_ms,
        draws=draws,
        draws_s=seconds * DRAWS / draws,
        seen=seen,
        seen_at_most=upper_bound(seen, draws),
    )


def markdown(rows: Sequence[Row]) -> str:
    """Return the table."""
    lines = [
        (
            "| workers | connections | target | slots | chance (relative error) | first answer "
            "| median answer | allowed | 10⁶ draws | of which over | chance by the draws, 95% |"
        ),
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        made = "" if row.draws == DRAWS else f" (extrapolated from {row.draws:,})"
        lines.append(
            f"| {row.workers:,} | {row.conns:,} | {row.overflow:g} | {row.slots:,} "
            f"| {row.chance:.9e} ({row.relative_error:.0e}) | {row.first_ms:.2f} ms "
            f"| {row.median_ms:.2f} ms | {row.allowed_ms:g} ms | {row.draws_s:,.0f} s{made} "
            f"| {row.seen:,} | at most {row.seen_at_most:.1e} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; exit 1 if an answer took longer than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--overflow", type=float, nargs="+", default=[1e-6, 1e-9])
    parser.add_argument("--budget", type=float, default=30.0, help="seconds of draws for each row")
    parser.add_argument("-o", "--output", type=Path, help="write the rows as JSON, too")
    args = parser.parse_args(argv)
    rows = [measured(*case, overflow, args.budget) for case in CASES for overflow in args.overflow]
    print(markdown(rows))
    if args.output is not None:
        from support.results import write_results

        write_results(args.output, "quantiles", {"rows": [asdict(row) for row in rows]})
    return int(any(max(row.first_ms, row.median_ms) > row.allowed_ms for row in rows))


if __name__ == "__main__":
    sys.exit(main())
