"""The churn simulator: how fast it is, and how it and the formulas agree at full scale.

Usage: python benchmarks/churn_simulation.py [--repeats N]

The workload is 64 workers, 4,096 connections and 260,000 reconnects/s for 15 s; one repeat plays
3.9 million reconnects. A row of the table gives the formula's bracket and point beside the share of
repeats that overflowed, with its exact (Clopper-Pearson) 95% interval.
"""

import argparse
import statistics
import time

from memplan.churn import Churn
from memplan.churn_simulator import ChurnSimulation, simulate_churn
from memplan.worker_classes import WorkerClass

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


def print_speed() -> None:
    """Print the speed of each kind of simulation."""
    cases: dict[str, dict[str, object]] = {
        "a fresh hash": {},
        "caps": {"max_conn": 100},
        "weights": {"weights": [1 + i % 3 for i in range(WORKERS)]},
        "frozen hash, 14,116 tuples": {"client_tuples": 14_116},
        "slots that linger 1 ms": {"linger_s": 1e-3},
    }
    print(f"| simulation (median of {SPEED_RUNS}) | ns an event | million events/s |")
    print("|---|---:|---:|")
    for name, options in cases.items():
        cost = nanoseconds_an_event(**options)
        print(f"| {name} | {cost:.1f} | {1e3 / cost:.0f} |")


def interval(hits: int, repeats: int) -> tuple[float, float]:
    """Return the Clopper-Pearson 95% interval of a share."""
    from scipy.stats import binomtest

    found = binomtest(hits, repeats).proportion_ci(0.95, "exact")
    return float(found.low), float(found.high)


def print_overflow(run: ChurnSimulation, churn: Churn) -> None:
    """Print the overflow's chance by formula and by simulation."""
    repeats = len(run.events)
    print("| MAX_CONN | low | point | high | simulated | its 95% interval | point inside |")
    print("|---:|---:|---:|---:|---:|---:|---|")
    for cap in range(100, 120, 2):
        answer = churn.overflow_within([WorkerClass(WORKERS, 1 / WORKERS, cap)], HORIZON_S)
        hits = int(run.overflows(cap)[-1])
        low, high = interval(hits, repeats)
        print(
            f"| {cap} | {answer.low:.4g} | {answer.value:.4g} | {answer.high:.4g} "
            f"| {hits / repeats:.4g} | {low:.4g} to {high:.4g} "
            f"| {'yes' if low <= answer.value <= high else 'no'} |"
        )


def print_high_water(run: ChurnSimulation, churn: Churn) -> None:
    """Print one worker's expected running maximum by formula and by simulation."""
    print("| after | formula | simulated | standard error |")
    print("|---:|---:|---:|---:|")
    for i, horizon_s in enumerate(run.checkpoints_s.tolist()):
        means = run.maxima[:, i].mean(axis=1)
        error = float(means.std(ddof=1)) / len(means) ** 0.5
        law = churn.running_maximum(1 / WORKERS, horizon_s)
        print(f"| {horizon_s:g} s | {law.mean():.3f} | {means.mean():.3f} | {error:.3f} |")


def main() -> None:
    """Run the benchmark and print its tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1000, help="runs of 15 s to simulate")
    repeats = parser.parse_args().repeats

    print_speed()
    churn = Churn(conns=CONNS, reconnects_per_s=RATE)
    start = time.perf_counter()
    run = simulate_churn(WORKERS, CONNS, RATE, [5.0, HORIZON_S], repeats=repeats, seed=2025)
    took_s = time.perf_counter() - start
    print(f"\n{repeats:,} repeats, {int(run.events[:, -1].sum()):,} reconnects, {took_s:.1f} s\n")
    print_overflow(run, churn)
    print()
    print_high_water(run, churn)


if __name__ == "__main__":
    main()
