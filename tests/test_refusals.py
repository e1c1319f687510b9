"""Connections that full workers turn away, in the mean."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

import memplan.statistics.churn
import memplan.statistics.refusals
from memplan.statistics.churn import Churn
from memplan.statistics.distributions import binomial_pmf, binomial_sf
from memplan.statistics.refusals import expected_refusals
from memplan.statistics.worker_classes import WorkerClass

SEED = Churn(conns=4096, reconnects_per_s=260_000)


def alike(workers: int, cap: int) -> list[WorkerClass]:
    """Return workers that are all alike."""
    return [WorkerClass(workers, 1 / workers, cap)]


def by_generator(conns: int, share: float, cap: int, turnovers: float) -> float:
    """Return one worker's expected refusals from loads min(Bin(C, p), m), by exponentials.

    The chain under a cap is written out as a matrix; refusals are counted by one more state that
    only grows, so that one exponential integrates their rate over time.
    """
    n = cap + 1
    loads = np.arange(n)
    births, deaths = (conns - loads) * share, loads * (1 - share)
    generator = np.zeros((n + 1, n + 1))
    generator[loads[:-1], loads[1:]] = births[:-1]
    generator[loads[1:], loads[:-1]] = deaths[1:]
    np.fill_diagonal(generator, -generator.sum(axis=1))
    generator[cap, n] = births[cap]
    start = np.append(binomial_pmf(loads, conns, share), 0.0)
    start[cap] += binomial_sf(cap, conns, share)
    return float(start @ scipy.linalg.expm(generator * turnovers)[:, n])


@pytest.mark.parametrize(("conns", "workers", "cap"), [(4096, 64, 100), (400, 8, 52), (60, 3, 22)])
@pytest.mark.parametrize("turnovers", [0.05, 1.0, 30.0, 900.0])
def test_the_bracket_holds_the_exact_chain(
    conns: int, workers: int, cap: int, turnovers: float
) -> None:
    """From the start that connections really have, the exact expectation lies in the bracket."""
    churn = Churn(conns=conns, reconnects_per_s=conns)
    answer = expected_refusals(churn, alike(workers, cap), turnovers)
    exact = workers * by_generator(conns, 1 / workers, cap, turnovers)
    assert answer.low * (1 - 1e-7) <= exact <= answer.high * (1 + 1e-7)


def test_the_point_is_the_loss_formula() -> None:
    """R T p (1-p) P(Bin(C-1, p) = m) / P(Bin(C, p) <= m), summed over the workers."""
    answer = expected_refusals(SEED, alike(64, 128), 86_400.0)
    p = 1 / 64
    blocked = binomial_pmf(128, 4095, p) / (1 - binomial_sf(128, 4096, p))
    assert answer.value == pytest.approx(260_000 * 86_400 * (1 - p) * blocked, rel=1e-9)
    assert answer.low == answer.value
    assert answer.high == pytest.approx(answer.value, rel=1e-6)


def test_the_high_end_counts_the_start() -> None:
    """Each worker that starts over its cap adds (C - m) p (1 - its share of full time), no more."""
    churn = Churn(conns=60, reconnects_per_s=60)
    answer = expected_refusals(churn, alike(3, 22), 500.0)
    tries, over = 38 / 3, binomial_sf(22, 60, 1 / 3)
    full = answer.value / (500 * 3 * tries)
    assert full == pytest.approx(binomial_pmf(22, 60, 1 / 3) / (1 - over), rel=1e-9)
    assert answer.high - answer.low == pytest.approx(3 * over * tries * (1 - full), rel=1e-9)


def test_refusals_are_at_least_the_chance_of_one() -> None:
    """Over a horizon that dwarfs the start, the mean number is no less than the chance of any."""
    for cap in (120, 128, 140):
        refused = expected_refusals(SEED, alike(64, cap), 3600.0)
        assert refused.value >= SEED.overflow_within(alike(64, cap), 3600.0).value
        assert refused.high <= 260_000 * 3600 * binomial_sf(cap - 1, 4095, 1 / 64) * (1 + 1e-9)


@given(
    workers=st.integers(1, 30),
    per_worker=st.integers(1, 50),
    cap=st.integers(0, 120),
    turnovers=st.floats(0.0, 1e5),
)
@settings(max_examples=80, deadline=None)
def test_refusals_are_bounded_and_monotone(
    workers: int, per_worker: int, cap: int, turnovers: float
) -> None:
    """Never more than reconnects, never fewer with fewer slots, none with a slot for each."""
    conns = workers * per_worker
    churn = Churn(conns=conns, reconnects_per_s=conns)
    answer = expected_refusals(churn, alike(workers, cap), turnovers)
    more = expected_refusals(churn, alike(workers, cap + 1), turnovers)
    assert 0 <= answer.low <= answer.value <= answer.high
    assert answer.high <= conns * turnovers * (1 + 1e-9)
    assert more.value <= answer.value * (1 + 1e-9)
    assert more.high <= answer.high * (1 + 1e-9)
    if cap >= conns:
        assert answer.high == 0


def test_workers_without_slots_refuse_all() -> None:
    """With no slots each reconnect is a refusal; with one worker too small, the rest of them."""
    assert expected_refusals(SEED, alike(64, 0), 2.0).value == pytest.approx(520_000)
    lone = Churn(conns=100, reconnects_per_s=50)
    assert expected_refusals(lone, alike(1, 90), 2.0).value == pytest.approx(10.0)
    assert expected_refusals(lone, alike(1, 100), 2.0).high == 0.0


def test_a_cap_far_beyond_the_load_costs_nothing() -> None:
    """Neither refusals nor memory: a thousand million slots are asked about at once."""
    huge = Churn(conns=10**9, reconnects_per_s=1000, linger_s=0.1)
    classes = [WorkerClass(10_000, 1e-4, 10**9 - 1)]
    assert expected_refusals(huge, classes, 10.0).high == 0.0
    assert huge.overflow_within(classes, 10.0).high == 0.0


def test_an_open_population_loses_by_erlang() -> None:
    """Poisson arrivals are refused with Erlang's B, by its recursion in the slots."""
    churn = Churn(conns=64 * 20, reconnects_per_s=1000, population="open")
    blocked = 1.0
    for slots in range(1, 31):
        blocked = 20 * blocked / (slots + 20 * blocked)
    answer = expected_refusals(churn, alike(64, 30), 10.0)
    assert answer.value == pytest.approx(10_000 * blocked, rel=1e-10)


def test_lingering_slots_refuse_more() -> None:
    """The point grows with the linger and stays in its bracket, which begins without it."""
    plain = expected_refusals(SEED, alike(64, 110), 15.0)
    answer = expected_refusals(replace(SEED, linger_s=1e-3), alike(64, 110), 15.0)
    assert plain.value == answer.low < answer.value < answer.high
    assert "approximation" in answer.method


def test_many_classes_are_merged_into_a_bracket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the merged bracket holds the answer class by class."""
    weights = [1 + 0.3 * math.sin(i) for i in range(300)]
    total = math.fsum(weights)
    classes = [WorkerClass(1, weight / total, 55) for weight in weights]
    churn = Churn(conns=9000, reconnects_per_s=1000)
    merged = expected_refusals(churn, classes, 600.0)
    monkeypatch.setattr(memplan.statistics.refusals, "MOST_CLASSES", 300)
    exact = expected_refusals(churn, classes, 600.0)
    assert merged.low <= exact.low <= exact.high <= merged.high
    assert merged.low < merged.high
