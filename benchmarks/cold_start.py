"""How long `memplan recommend` takes from a cold start, against `python -c "import numpy"`.

Usage: python benchmarks/cold_start.py [--rounds N] [-o FILE]

All are whole processes, started in turn; which goes first changes from round to round, so that a
machine that slows down slows all alike. Bytecode is cached first, as it is for anybody who has run
them once. The ratio is taken round by round: its median has an interval made of order statistics,
which holds whatever the times' law is.

numpy starts a thread for each CPU when it is imported, and memplan tells it not to. So that this
does not hide what memplan itself takes, numpy is run a second time with one thread.
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
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round: the command, numpy as it is, and numpy with one thread."""

    memplan: Run
    numpy: Run
    one_thread: Run


def rounds(count: int) -> list[Round]:
    """Return the times of so many rounds."""
    environment = {
        name: value
        for name, value in os.environ.items()
        # Without its cache a package is compiled again at each start, and that would be measured.
        if name not in {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", *ONE_THREAD}
    }
    cases = [
        ("memplan", MEMPLAN, environment),
        ("numpy", NUMPY, environment),
        ("one_thread", NUMPY, environment | ONE_THREAD),
    ]
    for _, command, settings in cases:
        run(command, settings)
    found = []
    for _ in range(count):
        found.append(Round(**{name: run(command, settings) for name, command, settings in cases}))
        cases.append(cases.pop(0))
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
class Ratio:
    """A ratio taken round by round: its median, an interval for that, and the interval's level."""

    value: float
    low: float
    high: float
    level: float

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> "Ratio":
        """Return the ratio of pairs, first over second."""
        ratios = [first / second for first, second in pairs]
        low, high, level = median_interval(ratios)
        return cls(value=statistics.median(ratios), low=low, high=high, level=level)

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.level:.1%} interval {self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is printed and written: medians over the rounds, and ratios taken round by round.

    Attributes:
        rounds: How often each was run.
        memplan: Median times of the command.
        numpy: Median times of `import numpy`.
        one_thread: Median times of the same with one thread.
        ratio: Elapsed time of the command over that of numpy; the target is for this one.
        ratio_one_thread: The same over numpy with one thread.
        cpu_ratio: CPU time of the command over that of numpy.
        target: What the ratio may be.
    """

    rounds: int
    memplan: Run
    numpy: Run
    one_thread: Run
    ratio: Ratio
    ratio_one_thread: Ratio
    cpu_ratio: Ratio
    target: float = TARGET

    @classmethod
    def of(cls, found: Sequence[Round]) -> "Figures":
        """Return the figures of some rounds."""
        return cls(
            rounds=len(found),
            memplan=median_run([one.memplan for one in found]),
            numpy=median_run([one.numpy for one in found]),
            one_thread=median_run([one.one_thread for one in found]),
            ratio=Ratio.of([(one.memplan.wall_s, one.numpy.wall_s) for one in found]),
            ratio_one_thread=Ratio.of(
                [(one.memplan.wall_s, one.one_thread.wall_s) for one in found]
            ),
            cpu_ratio=Ratio.of([(one.memplan.cpu_s, one.numpy.cpu_s) for one in found]),
        )

    @property
    def holds(self) -> bool:
        """Whether the ratio is within its target."""
        return self.ratio.value <= self.target

    def __str__(self) -> str:
        names = {
            "memplan recommend --workers 64 --conns 4096": self.memplan,
            "python -c 'import numpy'": self.numpy,
            "python -c 'import numpy', one thread": self.one_thread,
        }
        rows = [
            f"  {name:44} {one.wall_s:.3f} s, {one.cpu_s:.3f} s of CPU"
            for name, one in names.items()
        ]
        verdict = "holds" if self.holds else "DOES NOT HOLD"
        return "\n".join(
            [
                f"{self.rounds} rounds in turn, medians",
                *rows,
                f"over numpy, round by round: {self.ratio}; of CPU {self.cpu_ratio.value:.2f}",
                f"over numpy with one thread: {self.ratio_one_thread}",
                f"over numpy at most {self.target}: {verdict}",
            ]
        )


def median_run(runs: Sequence[Run]) -> Run:
    """Return the median times of some runs."""
    return Run(
        wall_s=statistics.median(one.wall_s for one in runs),
        cpu_s=statistics.median(one.cpu_s for one in runs),
    )


def main() -> int:
    """Run the benchmark, print its figures, write them where asked; 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11, help="how often each is run")
    parser.add_argument("-o", "--output", type=Path, help="write the figures as JSON, too")
    arguments = parser.parse_args()

    measured = Figures.of(rounds(arguments.rounds))
    print(measured)
    if arguments.output is not None:
        from support.results import write_results

        write_results(arguments.output, "cold_start", asdict(measured))
    return int(not measured.holds)


if __name__ == "__main__":
    sys.exit(main())
