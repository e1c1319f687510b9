"""Few clients: the hash that is drawn once a boot."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from memplan.errors import UsageError
from memplan.statistics.churn import Churn
from memplan.statistics.frozen_hash import frozen_hash, required_slots_over_boots
from memplan.statistics.load_chain import LoadChain
from memplan.statistics.occupancy import chances
from memplan.statistics.worker_classes import WorkerClass

SEED = Churn(conns=4096, reconnects_per_s=260_000)
MONTH = 30 * 86_400.0
ONE_ADDRESS = 14_116


def alike(workers: int, cap: int) -> list[WorkerClass]:
    """Return workers that are all alike."""
    return [WorkerClass(workers, 1 / workers, cap)]


def one_worker_over_boots(churn: Churn, tuples: int, share: float, cap: int, t: float) -> float:
    """Return one worker's chance over boots, summed over each number of tuples it may own."""
    total = 0.0
    for owned in range(cap + 1, tuples + 1):
        mass = scipy.stats.binom.pmf(owned, tuples, share)
        if mass > 1e-40:
            chain = LoadChain.frozen(int(churn.conns), tuples, owned)
            total += mass * chain.exceeds(cap, churn.turnovers(t))
    return total


def test_one_address_over_a_month() -> None:
    """The seed's load from one client address: over boots less than with many clients.

    Between boots, from hardly ever to more often than not.
    """
    answer = frozen_hash(SEED, ONE_ADDRESS, alike(64, 128), MONTH)
    many = SEED.overflow_within(alike(64, 128), MONTH)
    low, median, high = (value for _, value in answer.boot_quantiles)
    assert 0.03 < answer.over_boots.value < 0.04 < many.low
    assert low < 1e-3 < median < 1e-2
    assert high > 0.1
    assert 0.01 < answer.share_of_boots_above_half < 0.03
    assert answer.share_sd == pytest.approx(math.sqrt(63 / ONE_ADDRESS))
    assert answer.to_dict()["boot_quantiles"] == {"p5": low, "p50": median, "p95": high}


@pytest.mark.parametrize(
    ("tuples", "cap", "horizon_s"),
    [(4096, 100, 1.0), (4100, 100, 1.0), (4400, 105, 60.0), (ONE_ADDRESS, 128, MONTH)],
)
def test_the_mean_over_boots_is_the_full_sum(tuples: int, cap: int, horizon_s: float) -> None:
    """Summing in steps, where it is smooth, is as good as summing over every number owned."""
    answer = frozen_hash(SEED, tuples, alike(64, cap), horizon_s).over_boots
    one = one_worker_over_boots(SEED, tuples, 1 / 64, cap, horizon_s)
    snapshot = chances(4096, alike(64, cap)).overflow().value
    risen = 64 * (one - scipy.stats.binom.sf(cap, 4096, 1 / 64))
    assert answer.high == pytest.approx(snapshot + risen, rel=1e-8)
    assert answer.low == pytest.approx(max(1 - (1 - one) ** 64, snapshot), rel=1e-8)


def test_many_tuples_in_steps_agree_with_each() -> None:
    """A law wide enough to be summed in steps gives the sum over every number owned."""
    churn = Churn(conns=900, reconnects_per_s=900)
    answer = frozen_hash(churn, 40_000, alike(4, 300), 20.0).over_boots
    one = one_worker_over_boots(churn, 40_000, 0.25, 300, 20.0)
    assert answer.low == pytest.approx(1 - (1 - one) ** 4, rel=1e-8)


def test_sampled_boots_have_the_mean_over_boots() -> None:
    """The boots' own chances average to the chance over boots, within their error."""
    for tuples, cap in ((ONE_ADDRESS, 128), (5000, 110)):
        answer = frozen_hash(SEED, tuples, alike(64, cap), MONTH, seed=5)
        from memplan.statistics.frozen_hash import _Boots

        own = _Boots(SEED, tuples, MONTH).sample(alike(64, cap), np.random.default_rng(5))
        error = own.std() / math.sqrt(len(own))
        assert abs(own.mean() - answer.over_boots.value) < 4 * error
        assert answer.boots == len(own)


@pytest.mark.parametrize(("cap", "horizon_s"), [(110, 1.0), (128, MONTH)])
def test_endless_tuples_are_a_fresh_hash(cap: int, horizon_s: float) -> None:
    """As tuples grow, the answer tends to the churn's, and boots stop differing."""
    fresh = SEED.overflow_within(alike(64, cap), horizon_s)
    gaps = []
    for tuples in (10**5, 10**7, 10**9):
        answer = frozen_hash(SEED, tuples, alike(64, cap), horizon_s)
        gaps.append(abs(answer.over_boots.value / fresh.value - 1))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-6
    (_, low), _, (_, high) = answer.boot_quantiles
    assert high / low < 1.01


def test_as_many_tuples_as_connections_never_move() -> None:
    """With no tuple free a reconnect comes back to its worker: over boots the snapshot stays.

    Each boot overflows surely or never.
    """
    snapshot = chances(4096, alike(64, 90)).overflow().value
    answer = frozen_hash(SEED, 4096, alike(64, 90), MONTH)
    assert answer.over_boots.value == pytest.approx(snapshot, rel=1e-9)
    assert {value for _, value in answer.boot_quantiles} <= {0.0, 1.0}
    assert answer.share_of_boots_above_half == pytest.approx(snapshot, abs=0.02)


def test_a_snapshot_is_multinomial_over_boots() -> None:
    """Without time the hash's age does not matter."""
    for tuples in (4096, 5000, ONE_ADDRESS):
        answer = frozen_hash(SEED, tuples, alike(64, 100), 0.0).over_boots
        snapshot = chances(4096, alike(64, 100)).overflow().value
        assert answer.value == pytest.approx(snapshot, rel=1e-9)


@given(
    workers=st.integers(2, 8),
    conns=st.integers(4, 60),
    spare=st.integers(0, 100),
    slack=st.integers(1, 12),
    horizon_s=st.floats(0.0, 1e4),
)
@settings(max_examples=30, deadline=None)
def test_monotone_in_slots_and_time(
    workers: int, conns: int, spare: int, slack: int, horizon_s: float
) -> None:
    """More slots never hurt, more time never helps, and the bracket brackets."""
    churn = Churn(conns=conns, reconnects_per_s=10)
    cap = conns // workers + slack
    here = frozen_hash(churn, conns + spare, alike(workers, cap), horizon_s).over_boots
    more = frozen_hash(churn, conns + spare, alike(workers, cap + 1), horizon_s).over_boots
    later = frozen_hash(churn, conns + spare, alike(workers, cap), 2 * horizon_s + 1).over_boots
    assert 0 <= here.low <= here.value <= here.high <= 1
    assert more.value <= here.value * (1 + 1e-9)
    assert here.value <= later.value * (1 + 1e-9)


def test_slots_over_boots() -> None:
    """The fewest slots over boots are enough, and one fewer is not; never more than a fresh hash.

    A frozen hash moves less.
    """
    found = required_slots_over_boots(SEED, ONE_ADDRESS, alike(64, 0), 1e-3, MONTH)
    enough = frozen_hash(SEED, ONE_ADDRESS, alike(64, found.slots), MONTH).over_boots
    short = frozen_hash(SEED, ONE_ADDRESS, alike(64, found.slots - 1), MONTH).over_boots
    assert enough.value <= 1e-3 < short.value
    assert found.slots <= SEED.required_slots_within(alike(64, 0), 1e-3, MONTH).slots


def test_weighted_workers_and_their_caps() -> None:
    """Classes of workers are each taken with their share and their cap."""
    classes = [WorkerClass(32, 1 / 96, 90), WorkerClass(32, 2 / 96, 140)]
    answer = frozen_hash(SEED, ONE_ADDRESS, classes, 60.0)
    ones = [one_worker_over_boots(SEED, ONE_ADDRESS, c.share, c.cap, 60.0) for c in classes]
    assert answer.over_boots.low == pytest.approx(
        1 - (1 - ones[0]) ** 32 * (1 - ones[1]) ** 32, rel=1e-8
    )
    assert answer.share_sd == pytest.approx(math.sqrt(95 / ONE_ADDRESS))


def test_the_same_seed_is_the_same_sample() -> None:
    """A plan does not change between two runs; another seed samples other boots."""
    first, second, other = (
        frozen_hash(SEED, ONE_ADDRESS, alike(64, 128), MONTH, seed=seed) for seed in (1, 1, 2)
    )
    assert first == second
    assert first.boot_quantiles != other.boot_quantiles


def test_lingering_slots_need_tuples_too() -> None:
    """What lingers counts as connections, in the mean."""
    answer = frozen_hash(replace(SEED, linger_s=1e-3), ONE_ADDRESS, alike(64, 128), 15.0)
    plain = frozen_hash(SEED, ONE_ADDRESS, alike(64, 128), 15.0)
    assert answer.over_boots.value > plain.over_boots.value


def test_too_few_tuples_are_refused() -> None:
    """Connections need a tuple each."""
    with pytest.raises(UsageError, match="4,095 client tuples cannot hold 4,096 connections"):
        frozen_hash(SEED, 4095, alike(64, 128), 1.0)
