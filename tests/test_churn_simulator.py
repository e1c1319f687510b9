"""The simulation at full scale and the formulas: each is the other's second method.

Seeds are fixed, so a test passes always or never. The limits are four standard errors, taken from
the spread between repeats, which are independent.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from memplan.errors import UsageError
from memplan.statistics.churn import Churn
from memplan.statistics.churn_simulator import ChurnSimulation, simulate_churn
from memplan.statistics.distributions import binomial_pmf, chi2_sf
from memplan.statistics.frozen_hash import frozen_hash
from memplan.statistics.occupancy import chances
from memplan.statistics.refusals import expected_refusals
from memplan.statistics.worker_classes import WorkerClass

WORKERS, CONNS, RATE = 64, 4096, 260_000
SEED = Churn(conns=CONNS, reconnects_per_s=RATE)
HORIZONS_S = (5.0, 15.0)
REPEATS = 400


def alike(cap: int) -> list[WorkerClass]:
    """Return the seed's workers."""
    return [WorkerClass(WORKERS, 1 / WORKERS, cap)]


def mean_is(samples: NDArray[np.generic], expected: float) -> bool:
    """Return whether independent samples may have this mean: within four standard errors."""
    values = samples.astype(np.float64)
    return bool(abs(values.mean() - expected) < 4 * values.std() / math.sqrt(len(values)))


def share_is(hits: int, repeats: int, chance: float) -> bool:
    """Return whether so many hits may have this chance each: within four standard errors."""
    error = math.sqrt(chance * (1 - chance) / repeats)
    return abs(hits / repeats - chance) < 4 * error + 1 / repeats


@pytest.fixture(scope="module")
def full_scale() -> ChurnSimulation:
    """The seed's churn, 400 times 15 s: one and a half thousand million reconnects."""
    return simulate_churn(WORKERS, CONNS, RATE, HORIZONS_S, repeats=REPEATS, seed=20_251)


@pytest.mark.parametrize("i", [0, 1])
def test_the_expected_high_water(full_scale: ChurnSimulation, i: int) -> None:
    """A worker's running maximum is 93.9 after 5 s and 96.8 after 15 s, in both."""
    law = SEED.running_maximum(1 / WORKERS, HORIZONS_S[i])
    by_repeat = full_scale.maxima[:, i].mean(axis=1)
    assert mean_is(by_repeat, law.mean())
    assert round(law.mean(), 1) == (93.9, 96.8)[i]
    assert abs(by_repeat.mean() - law.mean()) < 0.1


@pytest.mark.parametrize("i", [0, 1])
def test_the_whole_law_of_the_high_water(full_scale: ChurnSimulation, i: int) -> None:
    """At each level the share of workers that went beyond it is the law's."""
    law = SEED.running_maximum(1 / WORKERS, HORIZONS_S[i])
    for level in range(law.quantile(0.01), law.quantile(0.995), 2):
        beyond = (full_scale.maxima[:, i] > level).mean(axis=1)
        assert mean_is(beyond, law.exceeded[level - law.first])


@pytest.mark.parametrize("i", [0, 1])
def test_the_touched_slots_of_all_workers(full_scale: ChurnSimulation, i: int) -> None:
    """The sum over the workers spreads no more than independent workers would, and hardly less."""
    law = SEED.running_maximum(1 / WORKERS, HORIZONS_S[i])
    total = full_scale.maxima[:, i].sum(axis=1, dtype=np.int64)
    independent = math.sqrt(WORKERS * law.variance())
    assert 0.85 * independent < total.std() < 1.1 * independent


@pytest.mark.parametrize("i", [0, 1])
@pytest.mark.parametrize("cap", [100, 102, 104, 106, 108, 110])
def test_the_chance_of_an_overflow(full_scale: ChurnSimulation, i: int, cap: int) -> None:
    """Where it can be seen, the share of runs that overflow is the formula's point."""
    answer = SEED.overflow_within(alike(cap), HORIZONS_S[i])
    hits = int(full_scale.overflows(cap)[i])
    assert share_is(hits, REPEATS, answer.value)
    error = math.sqrt(answer.value * (1 - answer.value) / REPEATS)
    assert answer.low - 4 * error <= hits / REPEATS <= answer.high + 4 * error


@pytest.mark.parametrize("level", [64, 80, 90, 100, 104])
def test_the_rises_above_a_level(full_scale: ChurnSimulation, level: int) -> None:
    """A level is risen above R T p (1-p) P(Bin(C-1, p) = m) times by each worker, in the mean."""
    expected = RATE * 15 * (1 - 1 / WORKERS) * float(binomial_pmf(level, CONNS - 1, 1 / WORKERS))
    assert mean_is(full_scale.upcrossings[:, 1, level + 1], expected)


def test_reconnects_are_a_poisson_process(full_scale: ChurnSimulation) -> None:
    """As many reconnects as rate times time, with a Poisson law's spread."""
    assert mean_is(full_scale.events[:, 1], RATE * 15.0)
    spread = full_scale.events[:, 1].var() / (RATE * 15.0)
    assert 0.75 < spread < 1.3


def test_the_snapshot_is_multinomial() -> None:
    """At the start and some turnovers later, loads are binomial and the fullest multinomial."""
    run = simulate_churn(WORKERS, CONNS, RATE, [0.0, 0.1], repeats=4000, seed=2)
    edges = np.arange(46, 84)
    masses = binomial_pmf(np.arange(CONNS + 1), CONNS, 1 / WORKERS)
    bins = np.searchsorted(edges, np.arange(CONNS + 1))
    for i in (0, 1):
        loads = run.loads[:, i]
        assert (loads.sum(axis=1) == CONNS).all()
        expected = np.bincount(bins, weights=masses) * loads.size
        observed = np.bincount(np.searchsorted(edges, loads.ravel()), minlength=len(expected))
        distance = float(((observed - expected) ** 2 / expected).sum())
        assert chi2_sf(distance, len(expected) - 1) > 1e-3
        fullest = loads.max(axis=1)
        for cap in range(76, 100, 2):
            over = chances(CONNS, alike(cap)).overflow().value
            assert share_is(int((fullest > cap).sum()), 4000, over)


@pytest.mark.parametrize("cap", [90, 100])
def test_refusals_at_full_scale(cap: int) -> None:
    """Workers with caps refuse as many reconnects as the chain under the cap."""
    run = simulate_churn(WORKERS, CONNS, RATE, [5.0], repeats=60, seed=3, max_conn=cap)
    assert mean_is(run.refusals[:, 0], expected_refusals(SEED, alike(cap), 5.0).value)
    assert run.maxima.max() == cap


def test_refusals_where_slots_are_scarce() -> None:
    """With caps near the mean the refusals, the start's excess included, lie in the bracket."""
    churn = Churn(conns=400, reconnects_per_s=4000)
    run = simulate_churn(8, 400, 4000, [0.05, 1.0, 5.0], repeats=400, seed=4, max_conn=52)
    for i, horizon_s in enumerate(run.checkpoints_s.tolist()):
        answer = expected_refusals(churn, [WorkerClass(8, 1 / 8, 52)], horizon_s)
        refusals = run.refusals[:, i]
        error = 4 * refusals.std() / math.sqrt(len(refusals))
        assert answer.low - error <= refusals.mean() <= answer.high + error


def test_refusals_when_there_are_not_enough_slots() -> None:
    """With fewer slots than connections the steady refusals are still exact."""
    churn = Churn(conns=400, reconnects_per_s=4000)
    run = simulate_churn(8, 400, 4000, [5.0, 15.0], repeats=60, seed=5, max_conn=45)
    rate = (run.refusals[:, 1] - run.refusals[:, 0]) / 10.0
    steady = expected_refusals(churn, [WorkerClass(8, 1 / 8, 45)], 1.0).value
    assert mean_is(rate, steady)


def test_weighted_workers() -> None:
    """With weights each class has its own high water, and the group its overflow."""
    run = simulate_churn(
        WORKERS, CONNS, RATE, [1.0], repeats=300, seed=6, weights=[1] * 32 + [2] * 32
    )
    light, heavy = run.maxima[:, 0, :32].mean(axis=1), run.maxima[:, 0, 32:].mean(axis=1)
    assert mean_is(light, SEED.running_maximum(1 / 96, 1.0).mean())
    assert mean_is(heavy, SEED.running_maximum(2 / 96, 1.0).mean())
    for cap in (118, 122, 126):
        classes = [WorkerClass(32, 1 / 96, cap), WorkerClass(32, 2 / 96, cap)]
        chance = SEED.overflow_within(classes, 1.0).value
        assert share_is(int(run.overflows(cap)[0]), 300, chance)


def test_uneven_weights_of_any_scale() -> None:
    """The alias table gives each worker its share, however uneven they are."""
    weights = [1e-3, 5.0, 0.7, 40.0, 2.0, 2.0, 11.0]
    run = simulate_churn(7, 10_000, 1e5, [0.5], repeats=40, seed=7, weights=weights)
    for worker, weight in enumerate(weights):
        assert mean_is(run.loads[:, 0, worker], 10_000 * weight / sum(weights))


@pytest.mark.parametrize("linger_s", [2e-4, 1e-3])
def test_lingering_slots(linger_s: float) -> None:
    """With slots that stay taken, the point agrees to a few percent, and the bracket holds."""
    churn = replace(SEED, linger_s=linger_s)
    run = simulate_churn(WORKERS, CONNS, RATE, [1.0], repeats=150, seed=8, linger_s=linger_s)
    held = run.loads[:, 0].sum(axis=1, dtype=np.int64)
    assert mean_is(held, CONNS + churn.lingering)
    high_water = run.maxima[:, 0].mean()
    assert high_water == pytest.approx(churn.running_maximum(1 / WORKERS, 1.0).mean(), rel=0.005)
    assert high_water > SEED.running_maximum(1 / WORKERS, 1.0).mean() + 0.3
    for cap in (96, 98, 100, 102, 104):
        answer = churn.overflow_within(alike(cap), 1.0)
        hits = int(run.overflows(cap)[0])
        error = 4 * math.sqrt(0.25 / 150)
        assert answer.low - error <= hits / 150 <= answer.high + error
        assert share_is(hits, 150, answer.value)


@pytest.mark.parametrize("tuples", [4096, 5000, 14_116])
def test_a_frozen_hash(tuples: int) -> None:
    """Over boots the share of runs that overflow is the mean over boots."""
    run = simulate_churn(WORKERS, CONNS, RATE, [1.0], repeats=300, seed=9, client_tuples=tuples)
    for cap in (88, 92, 96, 100):
        answer = frozen_hash(SEED, tuples, alike(cap), 1.0).over_boots
        assert share_is(int(run.overflows(cap)[0]), 300, answer.value)
    if tuples == CONNS:
        assert (run.maxima[:, 0] == run.loads[:, 0]).all()
        assert run.upcrossings.sum() == 0


def test_loads_beyond_the_levels_are_still_counted() -> None:
    """One worker, full from the start, does not write beyond the up-crossings' end."""
    run = simulate_churn(1, 50, 1000, [0.0, 1.0], repeats=2, seed=1, linger_s=0.5)
    assert (run.maxima[:, 0] == 50).all()
    assert (run.loads[:, 1] > 300).all()
    assert (run.upcrossings[:, 1].sum(axis=1) == run.events[:, 1]).all()


@pytest.mark.parametrize(
    "arguments",
    [
        {"workers": 0},
        {"conns": 0},
        {"repeats": 0},
        {"reconnects_per_s": -1.0},
        {"checkpoints_s": []},
        {"checkpoints_s": [2.0, 1.0]},
        {"checkpoints_s": [-1.0]},
        {"weights": [1.0, 2.0]},
        {"weights": [1.0, 0.0, 1.0, 1.0]},
        {"client_tuples": 5},
        {"max_conn": -1},
        {"linger_s": -1.0},
    ],
)
def test_what_cannot_be_simulated_is_refused(arguments: dict[str, object]) -> None:
    """Wrong arguments are a user's error, before anything is allocated."""
    good = {
        "workers": 4,
        "conns": 20,
        "reconnects_per_s": 10.0,
        "checkpoints_s": [1.0],
        "repeats": 1,
        "seed": 1,
    }
    with pytest.raises(UsageError):
        simulate_churn(**{**good, **arguments})  # type: ignore[arg-type]
