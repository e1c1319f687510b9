"""Overflow over time, for a group of workers."""

import itertools
import math
from dataclasses import replace

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import memplan.statistics.churn
from memplan.errors import UsageError
from memplan.statistics import worker_classes
from memplan.statistics.churn import Churn, any_of
from memplan.statistics.distributions import binomial_pmf
from memplan.statistics.occupancy import chances
from memplan.statistics.worker_classes import WorkerClass, classes_of

HOUR, DAY = 3600.0, 86_400.0
SEED = Churn(conns=4096, reconnects_per_s=260_000)


def alike(workers: int, cap: int = 0) -> list[WorkerClass]:
    """Return workers that are all alike."""
    return [WorkerClass(workers, 1 / workers, cap)]


@pytest.mark.parametrize(
    ("cap", "horizon_s", "low", "high"),
    [
        (126, HOUR, 7.24407e-4, 7.24409e-4),
        (125, HOUR, 1.435425e-3, 1.435435e-3),
        (128, 15.0, 7.45e-7, 7.55e-7),
        (128, HOUR, 1.75e-4, 1.85e-4),
        (128, 30 * DAY, 0.1214, 0.1294),
        (128, 365 * DAY, 0.79, 1.0),
    ],
)
def test_the_seed_s_known_answers(cap: int, horizon_s: float, low: float, high: float) -> None:
    """64 workers, 4,096 connections, 260,000 reconnects/s: the published numbers."""
    answer = SEED.overflow_within(alike(64, cap), horizon_s)
    assert low <= answer.value <= high
    assert answer.low <= answer.value <= answer.high


def test_the_month_s_bracket_is_the_published_one() -> None:
    """128 slots over 30 days: 0.1214 to 0.1294, to the digit."""
    answer = SEED.overflow_within(alike(64, 128), 30 * DAY)
    assert (round(answer.low, 4), round(answer.high, 4)) == (0.1215, 0.1294)


@pytest.mark.parametrize(
    ("overflow", "horizon_s", "slots"),
    [(1e-3, HOUR, 126), (1e-3, 30 * DAY, 135), (1e-6, 30 * DAY, 144), (1e-6, 15.0, 128)],
)
def test_the_seed_s_slots(overflow: float, horizon_s: float, slots: int) -> None:
    """The fewest slots are the published ones, and one fewer is not enough."""
    answer = SEED.required_slots_within(alike(64), overflow, horizon_s)
    assert answer.slots == slots
    assert answer.overflow.value <= overflow
    assert SEED.overflow_within(alike(64, slots - 1), horizon_s).value > overflow


@pytest.mark.parametrize(
    ("workers", "conns", "overflow", "horizon_s"),
    [(65_536, 10**9, 1e-6, 30 * DAY), (8, 10**6, 1e-6, 0.5), (3, 50, 0.4, 1.0), (7, 90, 0.9, 0.0)],
)
def test_required_slots_are_the_fewest(
    workers: int, conns: int, overflow: float, horizon_s: float
) -> None:
    """At the ends and at the point, the slots given are enough and one fewer is not."""
    churn = Churn(conns=conns, reconnects_per_s=260_000)
    found = churn.required_slots_within(alike(workers), overflow, horizon_s)
    for end in ("low", "value", "high"):
        slots = found.slots if end == "value" else getattr(found, end)
        enough = churn.overflow_within(alike(workers, slots), horizon_s)
        short = churn.overflow_within(alike(workers, slots - 1), horizon_s)
        assert getattr(enough, end) <= overflow < getattr(short, end)


@pytest.mark.parametrize("cap", [80, 90, 100, 112, 150])
def test_a_horizon_of_zero_is_the_snapshot(cap: int) -> None:
    """Without time, and without reconnects, the answer is the multinomial's, to nine digits."""
    snapshot = chances(4096, alike(64, cap)).overflow()
    still = replace(SEED, reconnects_per_s=0.0)
    for answer in (
        SEED.overflow_within(alike(64, cap), 0.0),
        still.overflow_within(alike(64, cap), DAY),
    ):
        assert answer.value == pytest.approx(snapshot.value, rel=1e-9)
        assert answer.low == pytest.approx(snapshot.low, rel=1e-9)
        assert answer.high == pytest.approx(snapshot.high, rel=1e-9)


def test_the_point_begins_at_the_snapshot_and_goes_on_independently() -> None:
    """None over at first, by the multinomial; from there on each worker stays within by itself."""
    for cap, horizon_s in ((85, 1e-3), (92, 0.02), (100, 0.1)):
        answer = SEED.overflow_within(alike(64, cap), horizon_s)
        none = 1 - chances(4096, alike(64, cap)).overflow().value
        chain = SEED.chain(1 / 64)
        stays = 1 - chain.exceeds(cap, SEED.turnovers(horizon_s))
        starts = 1 - chain.exceeds(cap, 0.0)
        assert answer.value == pytest.approx(1 - none * (stays / starts) ** 64, rel=1e-9)


def test_expected_crossings_bound_the_answer() -> None:
    """P(T) <= P(0) + R T P(Bin(C-1, 1/W) = m), a bound that needs no independence over time."""
    for cap, horizon_s in itertools.product((95, 105, 126), (1e-3, 0.1, 15.0)):
        answer = SEED.overflow_within(alike(64, cap), horizon_s)
        snapshot = chances(4096, alike(64, cap)).overflow().value
        crossings = 260_000 * horizon_s * float(binomial_pmf(cap, 4095, 1 / 64))
        assert answer.high <= (snapshot + crossings) * (1 + 1e-9)


@given(
    workers=st.integers(2, 40),
    per_worker=st.integers(1, 60),
    slack=st.floats(0.5, 6.0),
    rate=st.floats(0.1, 1e5),
    horizon_s=st.floats(0.0, 1e6),
)
@settings(max_examples=60, deadline=None)
def test_monotone_in_slots_time_rate_and_connections(
    workers: int, per_worker: int, slack: float, rate: float, horizon_s: float
) -> None:
    """More slots never hurt; more time, reconnects or connections never help."""
    conns = workers * per_worker
    cap = math.ceil(per_worker + slack * math.sqrt(per_worker))
    churn = Churn(conns=conns, reconnects_per_s=rate)
    here = churn.overflow_within(alike(workers, cap), horizon_s)
    assert 0 <= here.low <= here.value <= here.high <= 1
    more_slots = churn.overflow_within(alike(workers, cap + 1), horizon_s)
    longer = churn.overflow_within(alike(workers, cap), 1.3 * horizon_s + 1e-3)
    faster = replace(churn, reconnects_per_s=1.3 * rate)
    # With as many reconnects a connection, one more connection only adds load.
    fuller = Churn(conns=conns + 1, reconnects_per_s=rate * (conns + 1) / conns)
    for end in ("low", "value", "high"):
        value = getattr(here, end)
        assert getattr(more_slots, end) <= value * (1 + 1e-9)
        for worse in (
            longer,
            faster.overflow_within(alike(workers, cap), horizon_s),
            fuller.overflow_within(alike(workers, cap), horizon_s),
        ):
            assert value <= getattr(worse, end) * (1 + 1e-9)


@given(weight=st.floats(0.01, 100.0), cap=st.integers(5, 30), horizon_s=st.floats(0.0, 1e4))
@settings(max_examples=30, deadline=None)
def test_equal_weights_are_no_weights(weight: float, cap: int, horizon_s: float) -> None:
    """Weights that are all alike, even when they are told apart, change nothing."""
    churn = Churn(conns=80, reconnects_per_s=1000)
    shares = [weight / (8 * weight)] * 8
    apart = [WorkerClass(1, share, cap) for share in shares]
    together = churn.overflow_within(classes_of(8, None, cap), horizon_s)
    assert churn.overflow_within(apart, horizon_s).value == pytest.approx(together.value, rel=1e-9)
    assert churn.overflow_within(classes_of(8, shares, cap), horizon_s).value == pytest.approx(
        together.value, rel=1e-9
    )


def test_the_likelier_worker_decides() -> None:
    """With weights the answer lies between that of its likeliest worker and of all being so."""
    classes = [WorkerClass(32, 1 / 96, 135), WorkerClass(32, 2 / 96, 135)]
    mixed = SEED.overflow_within(classes, 60.0)
    one = SEED.chain(2 / 96).exceeds(135, SEED.turnovers(60.0))
    assert one <= mixed.value <= 64 * one


def test_many_classes_are_merged_into_a_bracket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the merged bracket holds the answer class by class."""
    weights = [1 + 0.3 * math.sin(i) for i in range(300)]
    total = math.fsum(weights)
    classes = [WorkerClass(1, weight / total, 55 + i % 3) for i, weight in enumerate(weights)]
    churn = Churn(conns=9000, reconnects_per_s=1000)
    merged = churn.overflow_within(classes, 600.0)
    assert "merged" in merged.method
    monkeypatch.setattr(memplan.statistics.churn, "MOST_CLASSES", 300)
    exact = churn.overflow_within(classes, 600.0)
    assert "merged" not in exact.method
    assert merged.low <= exact.low <= exact.high <= merged.high
    assert merged.value == pytest.approx(exact.value, rel=0.2)


def test_an_open_population_needs_no_bracket() -> None:
    """Poisson arrivals make workers independent, and overflow a little more often."""
    churn = replace(SEED, population="open")
    answer = churn.overflow_within(alike(64, 126), HOUR)
    assert answer.exact
    one = churn.chain(1 / 64).exceeds(126, churn.turnovers(HOUR))
    assert answer.value == pytest.approx(1 - (1 - one) ** 64, rel=1e-9)
    assert answer.value > SEED.overflow_within(alike(64, 126), HOUR).high


def test_lingering_only_adds() -> None:
    """Slots that stay taken raise the answer; the bracket begins at the answer without them."""
    plain = SEED.overflow_within(alike(64, 128), 15.0)
    before = plain.value
    for linger_s in (1e-5, 1e-4, 1e-3):
        answer = replace(SEED, linger_s=linger_s).overflow_within(alike(64, 128), 15.0)
        assert answer.low == plain.low
        assert before <= answer.value <= answer.high
        assert "approximation" in answer.method
        before = answer.value


def test_lingering_is_bounded_by_the_expected_rises() -> None:
    """The high end is 64 (P(Y > m) + R T P(Y = m) / 64), Y = Bin(C, p) + Poisson(R L p)."""
    answer = replace(SEED, linger_s=1e-3).overflow_within(alike(64, 128), 15.0)
    load, extra = scipy.stats.binom(4096, 1 / 64), scipy.stats.poisson(260 / 64)
    at = math.fsum(load.pmf(k) * extra.pmf(128 - k) for k in range(129))
    above = load.sf(128) + math.fsum(load.pmf(k) * extra.sf(128 - k) for k in range(129))
    assert answer.high == pytest.approx(64 * above + 260_000 * 15.0 * at, rel=1e-9)


def test_how_long_slots_last() -> None:
    """The time that 128 slots last is the horizon at which the target is met."""
    lasts_s = SEED.lasts_s(alike(64, 128), 1e-6)
    assert 15 < lasts_s < 25
    reached = SEED.overflow_within(alike(64, 128), lasts_s).value
    assert reached == pytest.approx(1e-6, rel=1e-5)
    assert SEED.lasts_s(alike(64, 90), 1e-6) == 0.0
    assert SEED.lasts_s(alike(64, 4096), 1e-6) == math.inf
    assert replace(SEED, reconnects_per_s=0.0).lasts_s(alike(64, 128), 1e-6) == math.inf


@pytest.mark.parametrize(("horizon_s", "mean"), [(5.0, 93.9), (15.0, 96.8)])
def test_the_seed_s_high_water(horizon_s: float, mean: float) -> None:
    """The expected running maximum of a worker is the published one."""
    assert round(SEED.running_maximum(1 / 64, horizon_s).mean(), 1) == mean


def test_the_running_maximum_is_a_law() -> None:
    """Its masses add up to one, and give the moments and quantiles that it states."""
    law = SEED.running_maximum(1 / 64, 15.0)
    masses = law.pmf()
    loads = law.first + sum(masses.cumsum() < 0.5)
    assert masses.sum() == pytest.approx(1.0, rel=1e-12)
    assert masses.min() >= -1e-15
    values = [law.first + i for i in range(len(masses))]
    assert masses @ values == pytest.approx(law.mean(), rel=1e-12)
    spread = math.sqrt(masses @ [(value - law.mean()) ** 2 for value in values])
    assert law.sd() == pytest.approx(spread, rel=1e-9)
    assert law.quantile(0.5) == loads
    assert law.quantile(0.01) < law.quantile(0.5) < law.quantile(0.99999)
    turnovers = SEED.turnovers(15.0)
    assert 1 - masses[: 110 - law.first + 1].sum() == pytest.approx(
        SEED.chain(1 / 64).exceeds(110, turnovers), rel=1e-6
    )


def test_at_the_start_the_running_maximum_is_the_load() -> None:
    """Without time its mean and variance are the binomial's."""
    law = SEED.running_maximum(1 / 64, 0.0)
    assert law.mean() == pytest.approx(64.0, rel=1e-10)
    assert law.variance() == pytest.approx(63.0, rel=1e-9)


def test_a_cap_cuts_the_running_maximum() -> None:
    """Under a cap nothing changes below it, and nothing is above it."""
    law = SEED.running_maximum(1 / 64, 15.0)
    capped = law.capped(97)
    assert capped.mean() < law.mean()
    assert capped.quantile(0.999999) == 97
    assert capped.quantile(0.2) == law.quantile(0.2)
    assert law.capped(5000).mean() == law.mean()
    assert law.capped(0).mean() == 0


def test_the_running_maximum_grows_with_time_and_with_lingering() -> None:
    """More time or lingering slots leave a higher mark."""
    means = [SEED.running_maximum(1 / 64, t).mean() for t in (0, 0.01, 1, 15, HOUR, 30 * DAY)]
    assert means == sorted(means)
    assert replace(SEED, linger_s=1e-3).running_maximum(1 / 64, 15.0).mean() > means[3]


def test_one_worker_is_certain() -> None:
    """A group of one overflows exactly when it has fewer slots than connections."""
    churn = Churn(conns=100, reconnects_per_s=3)
    assert churn.overflow_within(alike(1, 99), 10.0).value == 1.0
    assert churn.overflow_within(alike(1, 100), 10.0).value == 0.0
    assert churn.required_slots_within(alike(1), 1e-6, 10.0).slots == 100


def test_any_of_keeps_small_chances() -> None:
    """1 - prod(1 - p) of tiny chances is their sum, not zero."""
    assert any_of(alike(64), [1e-200]) == pytest.approx(64e-200, rel=1e-12)
    assert any_of(alike(64), [1.0]) == 1.0
    assert list(worker_classes.alike(alike(3), 7)) == list(alike(3, 7))


@pytest.mark.parametrize(
    "ask",
    [
        lambda: Churn(conns=0, reconnects_per_s=1),
        lambda: Churn(conns=10, reconnects_per_s=-1),
        lambda: Churn(conns=10, reconnects_per_s=1, linger_s=math.nan),
        lambda: SEED.overflow_within(alike(64, 128), -1.0),
        lambda: SEED.overflow_within(alike(64, 128), math.inf),
        lambda: SEED.required_slots_within(alike(64), 0.0, 1.0),
        lambda: SEED.required_slots_within(alike(64), 1.0, 1.0),
        lambda: SEED.running_maximum(1 / 64, 1.0).quantile(1.0),
    ],
)
def test_what_cannot_be_answered_is_refused(ask: object) -> None:
    """Wrong numbers are a user's error, said in one line."""
    assert callable(ask)
    with pytest.raises(UsageError) as refused:
        ask()
    assert "\n" not in str(refused.value)
