"""Slots held by connections that are gone: an independent Poisson number on top of the load."""

import math

import pytest
import scipy.stats

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
