"""Slots held by connections that are gone: an independent Poisson number on top of the load."""

import math

import numpy as np
import pytest
import scipy.stats

from memplan.reuseport_model import ReuseportModel
from memplan.statistics.lingering import slots_held
from memplan.statistics.load_chain import LoadChain


@pytest.mark.parametrize("lingering", [1e-9, 0.3, 4.0, 60.0])
@pytest.mark.parametrize("level", [0, 3, 30, 64, 90, 128, 160])
def test_the_law_is_the_sum_s(level: int, lingering: float) -> None:
    """Both chances are those of Bin(C, p) + Poisson, summed term by term."""
    held = slots_held(LoadChain.closed(4096, 1 / 64), lingering, level)
    load = scipy.stats.binom(4096, 1 / 64)
    extra = scipy.stats.poisson(lingering)
    at = math.fsum(load.pmf(k) * extra.pmf(level - k) for k in range(level + 1))
    above = math.fsum(load.pmf(k) * extra.sf(level - k) for k in range(level + 1))
    assert held.at == pytest.approx(at, rel=1e-9)
    assert held.above == pytest.approx(above + load.sf(level), rel=1e-9)


def test_levels_out_of_reach() -> None:
    """Below the loads that occur more slots are surely held; far above them, never."""
    chain = LoadChain.closed(10**6, 0.5)
    assert slots_held(chain, 2.0, 100).above == 1.0
    assert slots_held(chain, 2.0, 999_999) == (0.0, 0.0)


def test_lingering_slots_count_at_one_moment_too() -> None:
    """260 slots in the mean still held, by 1 ms of 260,000/s, are 4 more a worker.

    The second way: Bin(4096, 1/64) and Poisson(260/64) folded, over 64 independent workers.
    """
    model = ReuseportModel(workers=64, conns=4096, reconnects_per_s=260_000, linger_s=1e-3)
    counts = np.arange(400)
    load = scipy.stats.binom.pmf(counts, 4096, 1 / 64)
    held = scipy.stats.poisson.pmf(counts, 260 / 64)
    tail = 1 - np.convolve(load, held)[:113].sum()
    answer = model.overflow_probability(112)
    # The workers' union counts what two have at once twice, and the closed population once.
    assert answer.value == pytest.approx(64 * tail, rel=0.02)
    assert answer.low <= 64 * tail <= answer.high * (1 + 1e-9)
    assert answer.value == model.overflow_within(112, 0.0).value
    assert model.required_slots(1e-6).slots > 112
