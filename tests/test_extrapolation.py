"""What was learnt from other servers: derived again, scored with servers left out, well-behaved."""

import math
import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memplan.memory.extrapolation import (
    References,
    Stray,
    between,
    beyond,
    distance,
    gap,
    under,
)
from memplan.memory.learning import Series, learn
from memplan.memory.learnt import LESSONS
from memplan.units import MIB

ROOT = Path(__file__).parent.parent
MEASURED = ROOT.parent / "shared" / "arena_round1.csv"
needs_measurements = pytest.mark.skipif(
    not MEASURED.exists(), reason="the published measurements are not shipped with the repository"
)

sizes = st.floats(min_value=1e5, max_value=1e11)
counts = st.integers(min_value=0, max_value=10**6)


@pytest.fixture(scope="module")
def benchmark() -> dict[str, Any]:
    """Return the names of benchmarks/extrapolation.py."""
    return runpy.run_path(str(ROOT / "benchmarks" / "extrapolation.py"))


def numbers(value: object) -> list[float]:
    """Return the leaves of nested tuples."""
    if isinstance(value, tuple):
        return [leaf for part in value for leaf in numbers(part)]
    assert isinstance(value, float)
    return [value]


@needs_measurements
def test_shipped_lessons_are_what_the_code_learns(benchmark: dict[str, Any]) -> None:
    """The constants are the result of the documented code on all rows, and of nothing else."""
    learnt = benchmark["lessons_of"](benchmark["read"](MEASURED))
    assert numbers(LESSONS) == pytest.approx(numbers(learnt), rel=1e-9)


@needs_measurements
def test_plan_holds_the_third_point_of_servers_left_out(benchmark: dict[str, Any]) -> None:
    """With the server left out, two points' 95% interval holds the third in 22 of 25 rows."""
    outcomes = benchmark["plan"](benchmark["read"](MEASURED))
    assert len(outcomes) == 25
    assert benchmark["held"](outcomes) >= 22


@needs_measurements
def test_plan_scores_better_than_the_symmetric_conformal_interval(
    benchmark: dict[str, Any],
) -> None:
    """The interval score is 15% better in bytes, relative to the line, and on the log scale."""
    rows = benchmark["read"](MEASURED)
    conformal = benchmark["conformal"](rows)
    assert benchmark["held"](conformal) in {23, 24}
    half_widths = {round(one.high / one.line - 1, 2) for one in conformal}
    assert max(half_widths) == 0.76
    for ours, theirs in zip(
        benchmark["scores"](benchmark["plan"](rows)), benchmark["scores"](conformal), strict=True
    ):
        assert ours <= 0.85 * theirs


@needs_measurements
def test_other_directions_hold_too(benchmark: dict[str, Any]) -> None:
    """Between points, below them, from one and from none, left-out servers are held as promised."""
    rows = benchmark["read"](MEASURED)
    assert benchmark["held"](benchmark["plan"](rows, 1)) >= 23
    assert benchmark["held"](benchmark["plan"](rows, 0)) >= 23
    one, none = benchmark["from_one"](rows), benchmark["from_none"](rows)
    assert sum(one) >= 0.95 * len(one)
    assert sum(none) >= 0.95 * len(none)


@needs_measurements
def test_docs_give_the_figures_of_the_benchmark(benchmark: dict[str, Any]) -> None:
    """The table in docs/memory.md is what the benchmark finds."""
    rows = benchmark["read"](MEASURED)
    ours, theirs = benchmark["plan"](rows), benchmark["conformal"](rows)
    pairs = list(zip(benchmark["scores"](ours), benchmark["scores"](theirs), strict=True))
    text = (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")
    for name, outcomes, column in (("plan", ours, 0), ("symmetric conformal", theirs, 1)):
        size, relative, log = (pair[column] for pair in pairs)
        cells = f"{size / MIB:.0f} | {relative:.3f} | {log:.3f}"
        assert f"| {name} | {benchmark['held'](outcomes)} of 25 | {cells} |" in text
    better = " | ".join(f"{1 - a / b:.1%}" for a, b in pairs)
    assert f"| better by | | {better} |" in text


def test_docs_give_the_lessons_that_are_shipped() -> None:
    """The powers in docs/memory.md are those of the constants."""
    text = (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")
    for drift in (LESSONS.beyond, LESSONS.between, LESSONS.under):
        cells = " | ".join(
            f"{stray.strayed:g}, {round(stray.total, 3):g} | {round(stray.power(0.025), 3):g}"
            for stray in (drift.below, drift.above)
        )
        assert f"| {cells} |" in text
    assert f"{LESSONS.half_conns.median:,.0f} connections" in text


@given(
    st.integers(min_value=1, max_value=40),
    st.integers(min_value=0, max_value=40),
    st.floats(min_value=1e-3, max_value=10),
    st.floats(min_value=1e-4, max_value=0.4),
)
def test_power_is_the_tail_of_a_lomax_law(
    strayed: int, stayed: int, total: float, tail: float
) -> None:
    """The closed form agrees with scipy's Lomax law, which knows nothing of it."""
    stray = Stray(servers=float(strayed + stayed), strayed=float(strayed), total=total)
    share = (strayed + 0.5) / (strayed + stayed + 1)
    expected = total * stats.lomax(strayed).isf(tail / share) if tail < share else 0.0
    assert stray.power(tail) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_power_grows_with_confidence_and_is_zero_where_nobody_strayed() -> None:
    """A smaller tail asks for more room; no strayer asks for none."""
    stray = Stray(servers=14.0, strayed=3.0, total=0.5)
    powers = [stray.power(tail) for tail in (0.5, 0.1, 0.025, 0.005)]
    assert powers == sorted(powers)
    assert powers[0] == 0.0
    assert Stray(servers=14.0, strayed=0.0, total=0.0).power(0.025) == 0.0


def ordered(references: References) -> bool:
    """Whether the references stand in their order, but for rounding."""
    slack = 1e-9 * abs(references.high)
    return references.low <= references.point + slack <= references.high + 2 * slack


@given(counts, sizes, counts, sizes, counts)
def test_references_stand_in_order(x1: int, y1: float, x2: int, y2: float, conns: int) -> None:
    """The low reference is never above the point, nor the point above the high one."""
    if x1 == x2:
        x2 += 1
    x1, x2 = sorted((x1, x2))
    where = under if conns < x1 else beyond if conns > x2 else between
    references = where(x1, y1, x2, y2, conns)
    assert references.low > 0
    assert ordered(references)


@given(st.integers(1, 10**5), sizes, st.integers(1, 10**5), sizes)
def test_references_close_on_the_points(x1: int, y1: float, step: int, y2: float) -> None:
    """At a point all references are the point, from each side: no jump."""
    x2 = x1 + step
    for references, value in (
        (beyond(x1, y1, x2, y2, x2), y2),
        (between(x1, y1, x2, y2, x2), y2),
        (between(x1, y1, x2, y2, x1), y1),
        (under(x1, y1, x2, y2, x1), y1),
    ):
        for reference in (references.low, references.point, references.high):
            assert reference == pytest.approx(value, rel=1e-6)


def test_references_of_a_growing_server() -> None:
    """Beyond: flat and the line; between: the chord and growth already ended; under: the line."""
    assert beyond(512, 75.0, 4096, 184.0, 16384) == References(
        184.0, 184.0 + 12288 * 109 / 3584, 184.0 + 12288 * 109 / 3584
    )
    middle = between(512, 75.0, 4096, 184.0, 2304)
    assert middle.low == middle.point == 129.5
    assert middle.high == 184.0
    assert under(512, 75.0, 4096, 184.0, 0).low == pytest.approx(75 - 109 / 7)


def test_bent_upwards_follows_the_power_law() -> None:
    """Where the line would meet zero connections below zero, the steeper power law is upper."""
    references = beyond(100, 1.0, 200, 3.0, 400)
    assert references.point == 7.0
    assert references.high == pytest.approx(3.0 * 2 ** (math.log(3) / math.log(2)))
    assert between(100, 1.0, 200, 3.0, 150).low < between(100, 1.0, 200, 3.0, 150).point


@given(counts, counts, counts)
def test_distance_is_a_metric_that_idle_servers_share(a: int, b: int, c: int) -> None:
    """Distances are symmetric, finite at zero connections, and keep the triangle."""
    assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-12, abs=1e-12)
    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-9
    assert distance(0, 0) == 0
    low, high = min(a, b), max(a, b)
    assert gap(low, high, low) == gap(low, high, high) == 0


SERVERS = [
    Series(server="a", conns=(10, 100, 1000), sizes=(5.0 * MIB, 9.0 * MIB, 60.0 * MIB)),
    Series(server="b", conns=(10, 100, 1000), sizes=(50.0 * MIB, 60.0 * MIB, 55.0 * MIB)),
    Series(server="c", conns=(10, 100, 1000), sizes=(7.0 * MIB, 20.0 * MIB, 150.0 * MIB)),
]


def test_units_of_bytes_have_no_say() -> None:
    """Measured in other units, servers stray alike and only the byte spreads change."""
    scaled = []
    for server in SERVERS:
        one, two, three = server.sizes
        scaled.append(server._replace(sizes=(1000 * one, 1000 * two, 1000 * three)))
    plain, other = learn(SERVERS), learn(scaled)
    for name in ("beyond", "between", "under", "half_conns"):
        assert numbers(getattr(other, name)) == pytest.approx(numbers(getattr(plain, name)))
    assert other.fixed_bytes.median == pytest.approx(1000 * plain.fixed_bytes.median)
    assert other.per_conn_bytes.high == pytest.approx(1000 * plain.per_conn_bytes.high)


def test_rows_of_one_server_share_one_vote() -> None:
    """A server that was measured twice teaches no more than one measured once."""
    assert numbers(learn([*SERVERS, SERVERS[1]])) == pytest.approx(numbers(learn(SERVERS)))


def test_servers_that_keep_to_the_references_teach_no_straying() -> None:
    """Straight servers leave nothing to allow for beyond their line."""
    straight = [
        Series(server=str(i), conns=(1, 11, 101), sizes=(10.0 + i, 20.0 + i, 110.0 + i))
        for i in range(1, 5)
    ]
    lessons = learn(straight)
    assert lessons.beyond.above.power(0.025) == pytest.approx(0.0, abs=1e-9)
    assert lessons.beyond.below.power(0.025) == pytest.approx(0.0, abs=1e-9)
