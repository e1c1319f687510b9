"""How long `memplan recommend` takes from a cold start, against `python -c "import numpy"`.

Usage: python benchmarks/cold_start.py [--pairs N] [-o FILE]

Both are whole processes, started in turn; which goes first changes from pair to pair, so that a
machine that slows down slows both alike. The bytecode of both is cached first, as it is for anybody
who has run them once. The ratio is taken pair by pair: its median has an interval made of order
statistics, which holds whatever the times' law is.
"""

import argparse
import os
import statistics
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb
from pathlib import Path

TARGET = 2.5
NUMPY = (sys.executable, "-c", "import numpy")
MEMPLAN = (
    str(Path(sysconfig.get_path("scripts")) / "memplan"),
    *("recommend", "--workers", "64", "--conns", "4096"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One process: how long it took, and the CPU time of all its threads.

    Attributes:
        wall_s: Seconds from its start to its end.
        cpu_s: Seconds of user and system time.
    """

    wall_s: float
    cpu_s: float


def run(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run a command to its end and return its times.

    Raises:
        RuntimeError: It failed; its time would mean nothing.
    """
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    start = time.perf_counter()
    pid = os.posix_spawn(command[0], list(command), environment, file_actions=quiet)
    # wait4 tells this child's CPU time alone; resource's sums all children.
    _, status, usage = os.wait4(pid, 0)
    wall_s = time.perf_counter() - start
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {code}")
    return Run(wall_s=wall_s, cpu_s=usage.ru_utime + usage.ru_stime)


def pairs(count: int) -> list[tuple[Run, Run]]:
    """Return the times of memplan and of numpy, run in turn so many times."""
    environment = {
        name: value
        for name, value in os.environ.items()
        # Without its cache a package is compiled again at each start, and that would be measured.
        if name not in {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "MEMPLAN_DEBUG"}
    }
    for command in (MEMPLAN, NUMPY):
        run(command, environment)
    found = []
    for index in range(count):
        if index % 2:
            numpy = run(NUMPY, environment)
            memplan = run(MEMPLAN, environment)
        else:
            memplan = run(MEMPLAN, environment)
            numpy = run(NUMPY, environment)
        found.append((memplan, numpy))
    return found


def median_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Return the narrowest interval of order statistics for a median, and its true level.

    The k-th smallest and the k-th largest of n values hold the median with chance
    1 - 2 P(Bin(n, 1/2) < k), for any continuous law (e.g. David and Nagaraja, Order Statistics,
    section 7.1).
    """
    n, ordered = len(values), sorted(values)
    missed, k = 2 * 0.5**n, 1
    while k < n // 2 and missed + 2 * comb(n, k) * 0.5**n <= 1 - level:
        missed += 2 * comb(n, k) * 0.5**n
        k += 1
    return ordered[k - 1], ordered[n - k], 1 - missed


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is printed and written: medians over the pairs, and ratios taken pair by pair."""

    pairs: int
    memplan_s: float
    numpy_s: float
    memplan_cpu_s: float
    numpy_cpu_s: float
    ratio: float
    ratio_low: float
    ratio_high: float
    ratio_level: float
    cpu_ratio: float
    target: float
    holds: bool

    @classmethod
    def of(cls, found: Sequence[tuple[Run, Run]]) -> "Figures":
        """Return the figures of runs of memplan and of numpy, pair by pair."""
        ratios = [memplan.wall_s / numpy.wall_s for memplan, numpy in found]
        low, high, level = median_interval(ratios)
        ratio = statistics.median(ratios)
        return cls(
            pairs=len(found),
            memplan_s=statistics.median(memplan.wall_s for memplan, _ in found),
            numpy_s=statistics.median(numpy.wall_s for _, numpy in found),
            memplan_cpu_s=statistics.median(memplan.cpu_s for memplan, _ in found),
            numpy_cpu_s=statistics.median(numpy.cpu_s for _, numpy in found),
            ratio=ratio,
            ratio_low=low,
            ratio_high=high,
            ratio_level=level,
            cpu_ratio=statistics.median(memplan.cpu_s / numpy.cpu_s for memplan, numpy in found),
            target=TARGET,
            holds=ratio <= TARGET,
        )

    def __str__(self) -> str:
        verdict = "holds" if self.holds else "DOES NOT HOLD"
        return (
            f"{self.pairs} pairs in turn, medians\n"
            f"  memplan recommend --workers 64 --conns 4096  {self.memplan_s:.3f} s, "
            f"{self.memplan_cpu_s:.3f} s of CPU\n"
            f"  python -c 'import numpy'                     {self.numpy_s:.3f} s, "
            f"{self.numpy_cpu_s:.3f} s of CPU\n"
            f"ratio, pair by pair: {self.ratio:.2f} ({self.ratio_level:.1%} interval "
            f"{self.ratio_low:.2f} to {self.ratio_high:.2f}), of CPU {self.cpu_ratio:.2f}\n"
            f"at most {self.target}: {verdict}"
        )


def main() -> int:
    """Run the benchmark, print its figures, write them where asked; 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=11, help="how often both are run")
    parser.add_argument("-o", "--output", type=Path, help="write the figures as JSON, too")
    arguments = parser.parse_args()

    measured = Figures.of(pairs(arguments.pairs))
    print(measured)
    if arguments.output is not None:
        from support.results import write_results

        write_results(arguments.output, "cold_start", asdict(measured))
    return int(not measured.holds)


if __name__ == "__main__":
    sys.exit(main())
