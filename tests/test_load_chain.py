"""One worker's load: two methods in the library, three more here, and they agree."""

import math

import mpmath
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memplan.errors import UsageError
from memplan.statistics.distributions import binomial_pmf, binomial_sf, poisson_sf
from memplan.statistics.load_chain import LoadChain

FloatArray = NDArray[np.float64]

SEED = LoadChain.closed(4096, 1 / 64)


def killed(chain: LoadChain, level: int) -> FloatArray:
    """Return the generator of the chain up to a level, with one absorbing state for all above."""
    n = level - chain.first + 1
    generator = np.zeros((n + 1, n + 1))
    for i in range(n):
        generator[i, i + 1] = chain.births[i]
        if i:
            generator[i, i - 1] = chain.deaths[i]
        generator[i, i] = -generator[i].sum()
    return generator


def exceeded_by_doubling(chain: LoadChain, level: int, turnovers: float) -> float:
    """Return the chance to have been above a level, by squaring a matrix without negative entries.

    Uniformisation gives the transitions over a short time, squaring over a long one. Nothing is
    ever subtracted, so that small chances keep their digits.
    """
    generator = killed(chain, level)
    rate = -generator.diagonal().min()
    squarings = max(0, math.ceil(math.log2(max(rate * turnovers, 1e-9))) + 1)
    jumps = rate * turnovers / 2**squarings
    stay = np.eye(len(generator)) + generator / rate
    np.clip(stay, 0.0, None, out=stay)
    term = np.eye(len(generator))
    total = term.copy()
    for k in range(1, 30):
        term = term @ stay * (jumps / k)
        total += term
    total *= math.exp(-jumps)
    for _ in range(squarings):
        total = total @ total
        total /= total.sum(axis=1, keepdims=True)  # rows are laws; keeps 2**40 squarings from drift
    start = chain.pi[: len(generator) - 1]
    return float(start @ total[:-1, -1]) + float(chain.pi[len(start) :].sum())


@pytest.mark.parametrize("level", [70, 90, 110, 126, 150, 200])
@pytest.mark.parametrize("turnovers", [1e-3, 0.1, 1.0, 7.0, 300.0, 2e5, 1.6e8])
def test_both_methods_agree_with_doubling(level: int, turnovers: float) -> None:
    """The inverted transform, the bracket and a method without subtractions give one chance."""
    value = SEED.exceeded(turnovers, last=level)[-1]
    low, high = SEED.exit_law(level).exceeded(turnovers)
    doubled = exceeded_by_doubling(SEED, level, turnovers)
    assert value == pytest.approx(doubled, rel=1e-9)
    assert low * (1 - 1e-10) <= doubled <= high * (1 + 1e-10)
    assert SEED.exceeds(level, turnovers) == pytest.approx(doubled, rel=1e-9)


@pytest.mark.parametrize(
    ("chain", "level"),
    [
        (LoadChain.closed(12, 0.3), 5),
        (LoadChain.closed(12, 0.3), 10),
        (LoadChain.closed(9, 0.5), 4),
        (LoadChain.closed(30, 0.02), 6),
        (LoadChain.frozen(10, 14, 6), 5),
        (LoadChain.frozen(10, 25, 7), 5),
    ],
)
@pytest.mark.parametrize("turnovers", [0.02, 0.9, 12.0])
def test_small_chains_agree_with_the_matrix_exponential(
    chain: LoadChain, level: int, turnovers: float
) -> None:
    """The generator's exponential by scipy and by mpmath gives the same chance."""
    generator = killed(chain, level)
    inside = len(generator) - 1
    above = chain.pi[inside:].sum()
    scipy_value = chain.pi[:inside] @ scipy.linalg.expm(generator * turnovers)[:-1, -1] + above
    value = chain.exceeded(turnovers, last=level)[-1]
    assert value == pytest.approx(scipy_value, rel=1e-7)
    with mpmath.workdps(40):
        exact = mpmath.expm(mpmath.matrix(generator.tolist()) * turnovers)
        weights = chain.pi[:inside].tolist()
        exact_value = above + float(sum(w * exact[i, inside] for i, w in enumerate(weights)))
    assert value == pytest.approx(exact_value, rel=1e-10)
    low, high = chain.exit_law(level).exceeded(turnovers)
    assert low * (1 - 1e-12) <= exact_value <= high * (1 + 1e-12)


@pytest.mark.parametrize("level", [60, 80, 100, 126])
def test_the_exit_rate_is_the_least_eigenvalue(level: int) -> None:
    """A dense symmetric eigenproblem gives the same rate, weight and rest."""
    n = level + 1
    births, deaths = SEED.births[:n], SEED.deaths[:n]
    off = -np.sqrt(births[:-1] * deaths[1:])
    values, vectors = scipy.linalg.eigh_tridiagonal(births + deaths, off)
    weights = (vectors.T @ np.sqrt(SEED.pi[:n])) ** 2
    law = SEED.exit_law(level)
    assert law.rate == pytest.approx(values[0], rel=1e-6, abs=1e-11)
    assert law.weight == pytest.approx(weights[0], rel=1e-10)
    assert law.rest == pytest.approx(weights[1:].sum(), rel=1e-5)
    assert values[1] >= law.gap
    assert law.rest_rate == pytest.approx(weights[1:] @ values[1:] / weights[1:].sum(), rel=1e-4)


@pytest.mark.parametrize("level", [90, 110, 126, 144])
@pytest.mark.parametrize("turnovers", [1.0, 1e3, 2e5, 1e8])
def test_the_chance_lies_in_the_aldous_brown_bracket(level: int, turnovers: float) -> None:
    """1 - exp(-T/E) <= P <= 1 - (1 - 1/E) exp(-T/E), E by the passage times of neighbours.

    E is the mean exit time from the quasi-stationary law; it is taken here by iterating that law,
    with h_k = 1/b_k + (d_k/b_k) h_{k-1} for the mean passage from k to k+1.
    """
    n = level + 1
    births, deaths = SEED.births[:n], SEED.deaths[:n]
    passage = np.zeros(n)
    for k in range(n):
        passage[k] = (1 + (deaths[k] * passage[k - 1] if k else 0.0)) / births[k]
    exit_time = passage[::-1].cumsum()[::-1]
    mean = float(SEED.pi[:n] @ exit_time / SEED.pi[:n].sum())
    # From the stationary law the mean exit time is a little shorter than from the quasi-stationary
    # one; both lie within one relaxation time, which the bracket's width allows for.
    quasi = 1 / SEED.exit_law(level).rate
    assert mean * (1 - 1e-10) <= quasi <= mean * (1 + 1e-10) + 1.0
    value = SEED.exceeds(level, turnovers)
    assert -math.expm1(-turnovers / quasi) <= value * (1 + 1e-9)
    assert value <= (1 - (1 - 1 / quasi) * math.exp(-turnovers / quasi)) * (1 + 1e-9)


@given(
    conns=st.integers(2, 3000),
    chance=st.floats(0.001, 0.9),
    where=st.floats(-5.0, 6.0),
    turnovers=st.floats(1e-4, 1e6),
)
@settings(max_examples=60, deadline=None)
def test_the_bracket_brackets(conns: int, chance: float, where: float, turnovers: float) -> None:
    """For any chain, level and time the transform's chance lies in the rigorous bracket."""
    chain = LoadChain.closed(conns, chance)
    sigma = math.sqrt(conns * chance * (1 - chance))
    level = math.floor(conns * chance + where * sigma)
    level = min(max(level, chain.first), chain.last - 1)
    value = chain.exceeded(turnovers, last=level)[-1]
    low, high = chain.exit_law(level).exceeded(turnovers)
    assert low * (1 - 1e-9) <= value <= high * (1 + 1e-9)


@given(conns=st.integers(1, 500), chance=st.floats(0.001, 0.999), turnovers=st.floats(0.0, 1e9))
@settings(max_examples=60, deadline=None)
def test_chances_fall_with_the_level_and_rise_with_time(
    conns: int, chance: float, turnovers: float
) -> None:
    """A higher level is exceeded less often, and longer time never undoes it."""
    chain = LoadChain.closed(conns, chance)
    now = chain.exceeded(turnovers)
    later = chain.exceeded(1.5 * turnovers + 0.01)
    assert np.all((now >= 0) & (now <= 1))
    assert np.all(np.diff(now) <= 1e-12 * now[:-1])
    assert np.all(now <= later * (1 + 1e-9))


@pytest.mark.parametrize(("conns", "chance"), [(4096, 1 / 64), (10**6, 1 / 8), (50, 0.9), (3, 0.5)])
def test_closed_chains_are_stationary_at_the_binomial(conns: int, chance: float) -> None:
    """The masses are Loader's binomial ones, and the tails too, down to 1e-300."""
    chain = LoadChain.closed(conns, chance)
    loads = np.arange(chain.first, chain.last + 1)
    assert chain.pi == pytest.approx(binomial_pmf(loads, conns, chance), rel=1e-10)
    for load in loads[:: max(1, len(loads) // 7)][:-1].tolist():
        tail = binomial_sf(load, conns, chance)
        assert chain.exceeds(load, 0.0) == pytest.approx(tail, rel=1e-10)
    # How often a level is exceeded, per turnover: C p (1-p) P(Bin(C-1, p) = k)
    flux = conns * chance * (1 - chance) * binomial_pmf(loads, conns - 1, chance)
    assert chain.flux() == pytest.approx(flux, rel=1e-10, abs=1e-300)


def test_open_chains_are_stationary_at_the_poisson() -> None:
    """M/M/infinity: the tails are Poisson's."""
    chain = LoadChain.open(64.0)
    for load in (50, 64, 100, 200, 300):
        assert chain.exceeds(load, 0.0) == pytest.approx(poisson_sf(load, 64.0), rel=1e-10)


@pytest.mark.parametrize(("conns", "tuples", "owned"), [(4096, 14116, 230), (10, 12, 5), (9, 9, 4)])
def test_frozen_chains_are_stationary_at_the_hypergeometric(
    conns: int, tuples: int, owned: int
) -> None:
    """Given who owns which tuples, the load is hypergeometric."""
    chain = LoadChain.frozen(conns, tuples, owned)
    loads = np.arange(chain.first, chain.last + 1)
    expected = scipy.stats.hypergeom.pmf(loads, tuples, owned, conns)
    assert chain.pi == pytest.approx(expected, rel=1e-7, abs=1e-250)
    assert chain.pi.sum() == pytest.approx(1.0, rel=1e-12)


def test_the_frozen_chain_has_the_urn_s_gap() -> None:
    """N/(N-C+1) is the second eigenvalue of the whole chain (Bernoulli-Laplace)."""
    chain = LoadChain.frozen(12, 30, 11)
    off = -np.sqrt(chain.births[:-1] * chain.deaths[1:])
    values = scipy.linalg.eigh_tridiagonal(chain.births + chain.deaths, off, eigvals_only=True)
    assert values[0] == pytest.approx(0.0, abs=1e-9)
    assert values[1] == pytest.approx(chain.gap, rel=1e-9)


def test_deep_levels_keep_their_digits() -> None:
    """Chances near 1e-290 still agree between the transform and the exit law."""
    level = int(np.searchsorted(-SEED.log_pi, 670.0))
    for turnovers in (1.0, 50.0, 1e6):
        value = SEED.exceeded(turnovers, last=level)[-1]
        low, high = SEED.exit_law(level).exceeded(turnovers)
        assert 1e-295 < value < 1e-280
        assert low * (1 - 1e-9) <= value <= high * (1 + 1e-9)
    assert SEED.exit_law(level).exceeded(1e6)[1] == pytest.approx(
        SEED.exceeded(1e6, last=level)[-1], rel=1e-9
    )


def test_a_lone_worker_holds_them_all() -> None:
    """With one worker the load never moves."""
    chain = LoadChain.closed(100, 1.0)
    assert chain.exceeds(99, 1e6) == 1.0
    assert chain.exceeds(100, 1e6) == 0.0


def test_blocks_do_not_show() -> None:
    """A chain longer than one block of the recursion is as exact as its bracket says."""
    chain = LoadChain.closed(40_000_000, 0.25)
    level = math.floor(10_000_000 + 4.5 * 2739)
    assert level - chain.first > 2 * 4096
    value = chain.exceeded(500.0, last=level)[-1]
    low, high = chain.exit_law(level).exceeded(500.0)
    assert low * (1 - 1e-9) <= value <= high * (1 + 1e-9)
    assert high / low - 1 < 1e-9


@pytest.mark.parametrize(
    "build",
    [
        lambda: LoadChain.closed(0, 0.5),
        lambda: LoadChain.closed(10, 0.0),
        lambda: LoadChain.closed(10, 1.5),
        lambda: LoadChain.open(0.0),
        lambda: LoadChain.frozen(10, 9, 3),
        lambda: LoadChain.frozen(10, 12, 13),
    ],
)
def test_chains_that_cannot_be_are_refused(build: object) -> None:
    """Wrong numbers are a user's error, said in one line."""
    assert callable(build)
    with pytest.raises(UsageError):
        build()
