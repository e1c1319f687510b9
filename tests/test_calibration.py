"""Measured points become fixed and per-connection bytes whose intervals hold what they promise."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memplan.errors import UsageError
from memplan.memory.calibration import Calibration, Point
from memplan.memory.fitting import Group, fit_line
from memplan.memory.learnt import LESSONS
from memplan.memory.student import f_sf, incomplete_beta, t_quantile, t_sf
from memplan.units import KIB, MIB

SEED = [Point(512, 75 * MIB, "charge"), Point(4096, 184 * MIB, "charge")]


def points_of(series: dict[int, list[float]]) -> list[Point]:
    """Return the points of connections with their repeats."""
    return [Point(conns, size) for conns, repeats in series.items() for size in repeats]


def test_seed_takes_31_kib_a_connection_over_59_mib() -> None:
    """The reference server's two published points give its known line."""
    fit = Calibration.fit(SEED)
    assert fit.per_conn_bytes / KIB == pytest.approx(31.14, abs=0.005)
    assert fit.fixed_bytes / MIB == pytest.approx(59.43, abs=0.005)
    assert fit.account == "charge"
    assert fit.predict(16384).bytes == pytest.approx(558 * MIB, rel=0.001)
    assert "31.1 KiB a connection over 59.4 MiB" in fit.summary()


def test_extrapolation_is_asymmetric() -> None:
    """Servers that stop growing are many, so the interval reaches further down than up."""
    estimate = Calibration.fit(SEED).predict(16384)
    assert estimate.low_bytes < 184 * MIB < estimate.bytes < estimate.high_bytes
    assert estimate.bytes - estimate.low_bytes > 2 * (estimate.high_bytes - estimate.bytes)


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        ([], "prior"),
        (SEED[:1], "one point"),
        ([SEED[0]] * 3, "one point"),
        (SEED, "line"),
        ([*SEED, Point(16384, 560 * MIB, "charge")], "line"),
        ([*SEED, Point(16384, 190 * MIB, "charge")], "segments"),
    ],
)
def test_number_of_points_decides_the_kind(points: list[Point], kind: str) -> None:
    """None rests on the prior, one is split, two make a line, three are tested for a bend."""
    assert Calibration.fit(points).kind == kind


def test_what_an_interval_rests_on_is_said() -> None:
    """A prior is called one, and only repeats at the very load make it data alone."""
    assert Calibration.fit([]).predict(4096).rests_on == "prior"
    assert Calibration.fit(SEED[:1]).predict(4096).rests_on == "data and prior"
    assert Calibration.fit(SEED).predict(16384).rests_on == "data and prior"
    repeated = points_of({0: [99.0, 101.0], 50: [149.0, 152.0], 100: [198.0, 201.0]})
    assert Calibration.fit(repeated).predict(70).rests_on == "data"
    assert Calibration.fit(repeated).predict(170).rests_on == "data and prior"


def test_one_point_states_its_assumed_split() -> None:
    """A single measurement is split as the median server, and the summary says so."""
    fit = Calibration.fit(SEED[1:])
    half = LESSONS.half_conns.median
    assert fit.fixed_bytes == pytest.approx(184 * MIB * half / (4096 + half))
    assert fit.fixed_bytes + 4096 * fit.per_conn_bytes == pytest.approx(184 * MIB)
    assert fit.fixed_interval[0] < fit.fixed_bytes < fit.fixed_interval[1]
    assert any("50% of the memory is taken to be the connections'" in a for a in fit.assumptions)


def test_idle_base_alone_is_not_undercut() -> None:
    """A server measured idle is not predicted to take less under load, but for noise."""
    fit = Calibration.fit([Point(0, 20 * MIB)])
    assert fit.predict(4096).low_bytes > 18 * MIB
    assert fit.predict(4096).high_bytes > 500 * MIB
    assert fit.predict(0).bytes == 20 * MIB


@pytest.mark.parametrize(
    ("conns", "size"), [(-1, 10), (1, 0), (1, -5), (math.inf, 1), (1, math.nan), (math.nan, 1)]
)
def test_impossible_points_are_refused(conns: float, size: float) -> None:
    """No negative connections, no memory of nothing, nothing infinite."""
    with pytest.raises(UsageError):
        Point(conns, size)


def test_accounts_do_not_mix() -> None:
    """Points of the process and of the charge are two calibrations."""
    with pytest.raises(UsageError, match="two calibrations"):
        Calibration.fit([Point(1, 1, "process"), Point(2, 2, "charge")])


@pytest.mark.parametrize("conns", [-1.0, math.inf])
def test_impossible_questions_are_refused(conns: float) -> None:
    """No prediction for fewer connections than none."""
    with pytest.raises(UsageError):
        Calibration.fit(SEED).predict(conns)
    with pytest.raises(UsageError):
        Calibration.fit(SEED).predict(1, level=1.0)
    with pytest.raises(UsageError):
        Calibration.fit([]).predict(1, level=0.5)


def test_only_points_at_zero_connections_leave_the_slope_to_the_prior() -> None:
    """Two idle points are repeats of one, not a line without a slope."""
    fit = Calibration.fit([Point(0, 20 * MIB), Point(0, 21 * MIB)])
    assert fit.kind == "one point"
    assert fit.fixed_bytes == pytest.approx(20.5 * MIB)
    assert fit.predict(1000).rests_on == "data and prior"


def test_falling_memory_is_warned_of_and_widens() -> None:
    """Points that contradict growth give a warning and a wide interval, not a crash."""
    fit = Calibration.fit([Point(1000, 200 * MIB), Point(2000, 100 * MIB)])
    assert any("memory falls" in w and "more than noise" in w for w in fit.warnings)
    estimate = fit.predict(4000)
    assert estimate.bytes == pytest.approx(100 * MIB)
    assert estimate.low_bytes < 100 * MIB
    assert estimate.high_bytes > 300 * MIB


def test_growth_beyond_proportion_is_warned_of() -> None:
    """A line that meets zero connections far below zero bytes is no process and connections."""
    fit = Calibration.fit([Point(1000, 10 * MIB), Point(2000, 100 * MIB)])
    assert any("faster than in proportion" in w for w in fit.warnings)
    assert Calibration.fit(SEED).warnings == ()


def test_wild_points_do_not_crash() -> None:
    """Neighbouring connections with a hundredfold difference give finite answers."""
    for pair in ((1.0, 100.0), (100.0, 1.0)):
        fit = Calibration.fit([Point(100, pair[0] * MIB), Point(101, pair[1] * MIB)])
        for conns in (0, 50, 100.5, 101, 10**7):
            estimate = fit.predict(conns)
            assert 0 <= estimate.low_bytes <= estimate.bytes <= estimate.high_bytes


def test_noisy_repeats_are_warned_of() -> None:
    """Measurements that differ by a third at the same load are called so."""
    fit = Calibration.fit(points_of({0: [100.0, 150.0, 80.0], 10: [200.0, 120.0, 260.0]}))
    assert any("differ by" in w for w in fit.warnings)


def test_a_bend_is_found_and_followed() -> None:
    """A server that stops growing is a chain of segments, and the last one is carried on."""
    stops = points_of(
        {0: [100.0, 101.0], 1000: [200.0, 201.0], 2000: [299.0, 301.0], 4000: [310.0, 311.0]}
    )
    fit = Calibration.fit(stops)
    assert fit.kind == "segments"
    assert fit.bend_p is not None
    assert fit.bend_p < 0.001
    assert any("do not lie on one line" in w for w in fit.warnings)
    assert fit.predict(8000).bytes == pytest.approx(331, abs=1.5)
    assert fit.predict(1500).bytes == pytest.approx(250, abs=1.0)


def test_line_is_the_weighted_least_squares_solution() -> None:
    """The line agrees with numpy's least squares at the weights of its own levels."""
    groups = [
        Group(conns=0.0, sizes=(60.0, 62.0)),
        Group(conns=256.0, sizes=(70.0,)),
        Group(conns=1024.0, sizes=(88.0, 93.0, 90.0)),
        Group(conns=4096.0, sizes=(180.0, 191.0)),
    ]
    line = fit_line(groups)
    x = np.array([g.conns for g in groups for _ in g.sizes])
    y = np.array([size for g in groups for size in g.sizes])
    weight = 1 / (line.fixed + line.slope * x)
    design = np.column_stack([np.ones_like(x), x]) * weight[:, None]
    solution, residual, _, _ = np.linalg.lstsq(design, y * weight, rcond=None)
    assert (line.fixed, line.slope) == pytest.approx(tuple(solution), rel=1e-9)
    assert line.squares == pytest.approx(residual[0], rel=1e-9)
    covariance = np.linalg.inv(design.T @ design)
    at = np.array([1.0, 777.0])
    assert line.spread_at(777.0) == pytest.approx(math.sqrt(at @ covariance @ at), rel=1e-9)


def test_order_of_points_has_no_say() -> None:
    """Shuffled points give the same calibration."""
    series = points_of({0: [99.0, 101.0], 50: [149.0, 152.0], 100: [198.0, 201.0]})
    assert Calibration.fit(series) == Calibration.fit(series[::-1])


counts = st.lists(st.integers(0, 10**5), min_size=1, max_size=4, unique=True)
some_points = counts.flatmap(
    lambda xs: st.tuples(
        st.just(sorted(xs)),
        st.lists(st.floats(1e6, 1e10), min_size=len(xs), max_size=len(xs)),
    )
)


@given(some_points, st.integers(0, 10**6), st.sampled_from([0.001, 1000.0]))
def test_units_of_bytes_have_no_say(
    series: tuple[list[int], list[float]], conns: int, unit: float
) -> None:
    """In other units of memory the prediction is the same, times the unit."""
    points = [Point(x, y) for x, y in zip(*series, strict=True)]
    scaled = [Point(x, y * unit) for x, y in zip(*series, strict=True)]
    one, other = Calibration.fit(points).predict(conns), Calibration.fit(scaled).predict(conns)
    for name in ("bytes", "low_bytes", "high_bytes"):
        expected = getattr(one, name) * unit
        assert getattr(other, name) == pytest.approx(expected, rel=1e-6, abs=2 + 2 * unit)


@given(some_points, st.floats(1.0, 30.0), st.floats(1.0, 3.0))
def test_further_out_is_never_surer(
    series: tuple[list[int], list[float]], factor: float, more: float
) -> None:
    """Beyond the last point the ends move apart, relative to each other, as one looks further."""
    fit = Calibration.fit([Point(x, y) for x, y in zip(*series, strict=True)])
    last = series[0][-1]
    near = fit.predict(last * factor)
    far = fit.predict(last * factor * more)
    assert near.low_bytes <= near.bytes <= near.high_bytes
    assert far.low_bytes <= near.low_bytes + 1
    assert far.high_bytes >= near.high_bytes - 1


@given(some_points)
def test_nothing_jumps_at_a_measured_point(series: tuple[list[int], list[float]]) -> None:
    """Just beside each measured load the prediction is the same as at it."""
    fit = Calibration.fit([Point(x, y) for x, y in zip(*series, strict=True)])
    for x in series[0]:
        at = fit.predict(x)
        for beside in (x * (1 - 1e-9), x * (1 + 1e-9)):
            estimate = fit.predict(beside)
            for name in ("bytes", "low_bytes", "high_bytes"):
                assert getattr(estimate, name) == pytest.approx(getattr(at, name), rel=1e-4, abs=2)


def held_share(
    loads: list[int], repeats: int, asked: float, noise: float, rounds: int = 1500
) -> float:
    """Return how often the interval of a straight server holds a new measurement."""
    rng = np.random.default_rng(20240611)
    held = 0
    for _ in range(rounds):
        points = [
            Point(x, (60e6 + 32e3 * x) * (1 + noise * rng.standard_normal()))
            for x in loads
            for _ in range(repeats)
        ]
        truth = (60e6 + 32e3 * asked) * (1 + noise * rng.standard_normal())
        estimate = Calibration.fit(points).predict(asked)
        held += estimate.low_bytes <= truth <= estimate.high_bytes
    return held / rounds


@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_interval_at_one_repeated_point_holds_95_percent(noise: float) -> None:
    """Five repeats at one load predict a sixth with Student's t."""
    assert held_share([4096], 5, 4096, noise) == pytest.approx(0.95, abs=0.017)


@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_interval_of_two_repeated_points_holds_95_percent(noise: float) -> None:
    """Three repeats at each of two loads hold a new measurement at one of them."""
    assert held_share([512, 4096], 3, 4096, noise) == pytest.approx(0.95, abs=0.017)


@pytest.mark.parametrize(("loads", "asked"), [([0, 512, 2048, 4096], 1024), ([0, 4096], 4096)])
def test_interval_inside_a_tested_line_holds_95_percent(loads: list[int], asked: int) -> None:
    """Repeats over several loads hold a new measurement between them."""
    assert held_share(loads, 3, asked, 0.02) == pytest.approx(0.95, abs=0.017)


def test_interval_beyond_holds_at_least_95_percent_of_straight_servers() -> None:
    """A server that goes on straight is held, though others stray."""
    assert held_share([512, 4096], 1, 16384, 0.02, 600) >= 0.95
    assert held_share([0, 512, 2048, 4096], 2, 16384, 0.02, 600) >= 0.95


def test_one_point_holds_servers_of_any_split() -> None:
    """Servers whose fixed part is worth few or many connections are held from one point."""
    rng = np.random.default_rng(7)
    held = []
    for _ in range(1000):
        half = LESSONS.half_conns.median * math.exp(1.2 * rng.standard_normal())
        fit = Calibration.fit([Point(2048, 1e6 * (half + 2048))])
        truth = 1e6 * (half + 12000) * (1 + 0.02 * rng.standard_normal())
        estimate = fit.predict(12000)
        held.append(estimate.low_bytes <= truth <= estimate.high_bytes)
    assert np.mean(held) >= 0.95


def test_straight_servers_are_seldom_called_bent() -> None:
    """The test of a bend keeps its 5% where the noise is measured."""
    rng = np.random.default_rng(3)
    bent = 0
    for _ in range(800):
        points = [
            Point(x, (60e6 + 32e3 * x) * (1 + 0.03 * rng.standard_normal()))
            for x in (0, 512, 2048, 4096)
            for _ in range(3)
        ]
        bent += Calibration.fit(points).kind == "segments"
    assert bent / 800 == pytest.approx(0.05, abs=0.025)


def test_to_dict_carries_points_fit_and_words() -> None:
    """Nothing of the fit is lost on its way into JSON."""
    found = Calibration.fit(SEED).to_dict()
    assert [p["conns"] for p in found["points"]] == [512, 4096]
    assert found["per_conn_interval"][0] < found["per_conn_bytes"] < found["per_conn_interval"][1]
    assert found["assumptions"]
    assert found["warnings"] == []


@given(st.floats(0.3, 200), st.floats(-30, 30))
def test_student_agrees_with_scipy(df: float, t: float) -> None:
    """Student's tail by the continued fraction is scipy's."""
    assert t_sf(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-9, abs=1e-14)


@given(st.floats(1, 200), st.floats(1e-6, 0.5))
def test_student_quantile_inverts_its_tail(df: float, tail: float) -> None:
    """The quantile is the point whose tail is the one asked for."""
    assert t_sf(t_quantile(tail, df), df) == pytest.approx(tail, rel=1e-8)


@given(st.floats(0, 1e3), st.integers(1, 30), st.integers(1, 30))
def test_fisher_agrees_with_scipy(f: float, top: int, bottom: int) -> None:
    """Fisher's tail is scipy's, and the beta function keeps its ends."""
    assert f_sf(f, top, bottom) == pytest.approx(stats.f.sf(f, top, bottom), rel=1e-8, abs=1e-14)
    assert incomplete_beta(top, bottom, 0.0) == 0.0
    assert incomplete_beta(top, bottom, 1.0) == 1.0


def test_beyond_grows_continuously_from_repeat_noise() -> None:
    """At the last load the interval is the noise's; it widens smoothly with the factor."""
    fit = Calibration.fit(SEED)
    widths = [
        math.log(e.high_bytes / e.low_bytes)
        for e in (fit.predict(4096 * factor) for factor in (1, 1.01, 1.1, 2, 4, 16, 64))
    ]
    assert widths == sorted(widths)
    assert widths[0] == pytest.approx(widths[1], abs=0.02)
    assert all(b - a < 3 for a, b in pairwise(widths))
