"""The churn simulator: how fast it is, and how it and the formulas agree at full scale.

Usage: python benchmarks/churn_simulation.py [--repeats N] [-o FILE]

The workload is 64 workers, 4,096 connections and 260,000 reconnects/s for 15 s; one repeat plays
3.9 million reconnects. A row of the table gives the formula's bracket and point beside the share of
repeats that overflowed, with its exact (Clopper-Pearson) 95% interval.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from memplan.statistics.churn import Churn
from memplan.statistics.churn_simulator import ChurnSimulation, simulate_churn
from memplan.statistics.worker_classes import WorkerClass

WORKERS, CONNS, RATE, HORIZON_S = 64, 4096, 260_000.0, 15.0
SPEED_RUNS = 11
SPEED_EVENTS = 4_000_000


def nanoseconds_an_event(**options: object) -> float:
    """Return the median time of an event over several runs, starts and reading included."""
    times = []
    for seed in range(SPEED_RUNS):
        start = time.perf_counter()
        run = simulate_churn(
            WORKERS,
            CONNS,
            RATE,
            [SPEED_EVENTS / RATE],
            repeats=1,
            seed=seed,
            **options,  # type: ignore[arg-type]
        )
        times.append((time.perf_counter() - start) / int(run.events[0, -1]) * 1e9)
    return statistics.median(times)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast one kind of simulation is: the median time of an event."""

    simulation: str
    ns_an_event: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Overflow:
    """An overflow's chance by formula and by simulation.

    Attributes:
        max_conn: Slots a worker.
        low: Lower end of the formula's bracket.
        point: Its point.
        high: Its upper end.
        simulated: Share of the repeats that overflowed.
        simulated_low: Lower end of that share's 95% interval.
        simulated_high: Its upper end.
    """

    max_conn: int
    low: float
    point: float
    high: float
    simulated: float
    simulated_low: float
    simulated_high: float

    @property
    def inside(self) -> bool:
        """Whether the simulation's interval holds the formula's point."""
        return self.simulated_low <= self.point <= self.simulated_high


@dataclass(frozen=True, slots=True, kw_only=True)
class HighWater:
    """One worker's expected running maximum after a time, by formula and by simulation."""

    after_s: float
    formula: float
    simulated: float
    standard_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is printed and written."""

    workers: int
    conns: int
    reconnects_per_s: float
    horizon_s: float
    repeats: int
    events: int
    took_s: float
    speeds: tuple[Speed, ...]
    overflows: tuple[Overflow, ...]
    high_waters: tuple[HighWater, ...]


def speeds() -> Iterator[Speed]:
    """Yield the speed of each kind of simulation."""
    cases: dict[str, dict[str, object]] = {
        "a fresh hash": {},
        "caps": {"max_conn": 100},
        "weights": {"weights": [1 + i % 3 for i in range(WORKERS)]},
        "frozen hash, 14,116 tuples": {"client_tuples": 14_116},
        "slots that linger 1 ms": {"linger_s": 1e-3},
    }
    for name, options in cases.items():
        yield Speed(simulation=name, ns_an_event=nanoseconds_an_event(**options))


def interval(hits: int, repeats: int) -> tuple[float, float]:
    """Return the Clopper-Pearson 95% interval of a share."""
    from scipy.stats import binomtest

    found = binomtest(hits, repeats).proportion_ci(0.95, "exact")
    return float(found.low), float(found.high)


def overflows(run: ChurnSimulation, churn: Churn) -> Iterator[Overflow]:
    """Yield the overflow's chance by formula and by simulation."""
    repeats = len(run.events)
    for cap in range(100, 120, 2):
        answer = churn.overflow_within([WorkerClass(WORKERS, 1 / WORKERS, cap)], HORIZON_S)
        hits = int(run.overflows(cap)[-1])
        low, high = interval(hits, repeats)
        yield Overflow(
            max_conn=cap,
            low=answer.low,
            point=answer.value,
            high=answer.high,
            simulated=hits / repeats,
            simulated_low=low,
            simulated_high=high,
        )


def high_waters(run: ChurnSimulation, churn: Churn) -> Iterator[HighWater]:
    """Yield one worker's expected running maximum by formula and by simulation."""
    for i, horizon_s in enumerate(run.checkpoints_s.tolist()):
        means = run.maxima[:, i].mean(axis=1)
        yield HighWater(
            after_s=horizon_s,
            formula=churn.running_maximum(1 / WORKERS, horizon_s).mean(),
            simulated=float(means.mean()),
            standard_error=float(means.std(ddof=1)) / len(means) ** 0.5,
        )


def measured(repeats: int) -> Figures:
    """Return the figures of so many repeats."""
    fast = tuple(speeds())
    churn = Churn(conns=CONNS, reconnects_per_s=RATE)
    start = time.perf_counter()
    run = simulate_churn(WORKERS, CONNS, RATE, [5.0, HORIZON_S], repeats=repeats, seed=2025)
    took_s = time.perf_counter() - start
    return Figures(
        workers=WORKERS,
        conns=CONNS,
        reconnects_per_s=RATE,
        horizon_s=HORIZON_S,
        repeats=repeats,
        events=int(run.events[:, -1].sum()),
        took_s=took_s,
        speeds=fast,
        overflows=tuple(overflows(run, churn)),
        high_waters=tuple(high_waters(run, churn)),
    )


def markdown(figures: Figures) -> Iterator[str]:
    """Yield the tables, line by line."""
    yield f"| simulation (median of {SPEED_RUNS}) | ns an event | million events/s |"
    yield "|---|---:|---:|"
    for speed in figures.speeds:
        cost = speed.ns_an_event
        yield f"| {speed.simulation} | {cost:.1f} | {1e3 / cost:.0f} |"
    yield ""
    yield f"{figures.repeats:,} repeats, {figures.events:,} reconnects, {figures.took_s:.1f} s"
    yield ""
    yield "| MAX_CONN | low | point | high | simulated | its 95% interval | point inside |"
    yield "|---:|---:|---:|---:|---:|---:|---|"
    for row in figures.overflows:
        yield (
            f"| {row.max_conn} | {row.low:.4g} | {row.point:.4g} | {row.high:.4g} "
            f"| {row.simulated:.4g} | {row.simulated_low:.4g} to {row.simulated_high:.4g} "
            f"| {'yes' if row.inside else 'no'} |"
        )
    yield ""
    yield "| after | formula | simulated | standard error |"
    yield "|---:|---:|---:|---:|"
    for high in figures.high_waters:
        yield (
            f"| {high.after_s:g} s | {high.formula:.3f} | {high.simulated:.3f} "
            f"| {high.standard_error:.3f} |"
        )


def main() -> None:
    """Run the benchmark, print its tables in Markdown, and write its figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1000, help="runs of 15 s to simulate")
    parser.add_argument("-o", "--output", type=Path, help="write the figures as JSON, too")
    arguments = parser.parse_args()

    figures = measured(arguments.repeats)
    print("\n".join(markdown(figures)))
    if arguments.output is not None:
        from support.results import write_results

        write_results(arguments.output, "churn_simulation", asdict(figures))


if __name__ == "__main__":
    main()
