"""What the benchmarks reckon from their times is right; the times themselves are not tested."""

import json
import math
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def cold_start() -> dict[str, Any]:
    """Return the names of benchmarks/cold_start.py."""
    return runpy.run_path(str(ROOT / "benchmarks" / "cold_start.py"))


@pytest.mark.parametrize("n", [5, 6, 11, 12, 25])
def test_the_intervals_level_is_the_binomials(cold_start: dict[str, Any], n: int) -> None:
    """The level that is stated is that of the order statistics taken, by summing the binomial."""
    low, high, level = cold_start["median_interval"]([float(i) for i in range(1, n + 1)])
    k = int(low)
    assert high == n + 1 - k
    inside = sum(math.comb(n, i) for i in range(k, n - k + 1)) / 2**n
    assert level == pytest.approx(inside, rel=1e-12)
    # One order statistic further in would no longer reach 95%; of 5 values even all do not.
    tighter = sum(math.comb(n, i) for i in range(k + 1, n - k)) / 2**n
    assert tighter < 0.95
    assert level >= 0.95 or k == 1


def test_the_interval_holds_the_median_as_often_as_it_says(cold_start: dict[str, Any]) -> None:
    """Over skewed times drawn at random, the interval holds the true median at its level."""
    rng = np.random.default_rng(11)
    draws = rng.exponential(size=(4000, 11))
    held = 0
    for draw in draws:
        low, high, level = cold_start["median_interval"](draw.tolist())
        held += low <= math.log(2) <= high
    error = math.sqrt(level * (1 - level) / len(draws))
    assert held / len(draws) == pytest.approx(level, abs=4 * error)


def test_ratios_are_taken_round_by_round(cold_start: dict[str, Any]) -> None:
    """A machine that slows down in the middle moves the medians, and not the ratios."""
    run, one_round = cold_start["Run"], cold_start["Round"]
    found = [
        one_round(
            memplan=run(wall_s=2.0 * slow, cpu_s=3.0 * slow),
            numpy=run(wall_s=1.0 * slow, cpu_s=1.0 * slow),
            one_thread=run(wall_s=0.5 * slow, cpu_s=0.5 * slow),
        )
        for slow in (1.0, 1.0, 1.0, 7.0, 7.0, 7.0, 7.0)
    ]
    figures = cold_start["Figures"].of(found)
    assert figures.memplan == run(wall_s=14.0, cpu_s=21.0)
    assert figures.ratio.low == figures.ratio.value == figures.ratio.high == 2.0
    assert figures.ratio_one_thread.value == 4.0
    assert figures.cpu_ratio.value == 3.0
    assert figures.holds
    assert "over numpy at most 2.5: holds" in str(figures)


def test_a_ratio_above_the_target_is_said(cold_start: dict[str, Any]) -> None:
    """A command that takes 2.6 times as long as numpy does not hold."""
    run, one_round = cold_start["Run"], cold_start["Round"]
    numpy = run(wall_s=1.0, cpu_s=1.0)
    found = [one_round(memplan=run(wall_s=2.6, cpu_s=1.0), numpy=numpy, one_thread=numpy)] * 6
    figures = cold_start["Figures"].of(found)
    assert not figures.holds
    assert "DOES NOT HOLD" in str(figures)


def test_a_command_that_fails_is_not_timed(cold_start: dict[str, Any]) -> None:
    """The time of a command that ended in an error would mean nothing."""
    with pytest.raises(RuntimeError, match="ended with 3"):
        cold_start["run"]([sys.executable, "-c", "raise SystemExit(3)"], {})


def test_results_carry_the_machine(tmp_path: Path) -> None:
    """What is written reads back, with the machine's facts beside the figures."""
    support = runpy.run_path(str(ROOT / "benchmarks" / "support" / "results.py"))
    path = tmp_path / "results" / "one.json"
    support["write_results"](path, "one", {"ratio": 1.5})
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["figures"] == {"ratio": 1.5}
    assert written["machine"]["cpus"] >= 1
    assert written["machine"]["numpy"] == np.__version__
