"""The facade answers what the parts do, for whatever may be known of the connections."""

import doctest
import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import memplan.reuseport_model
from memplan.answer import Answer, SlotsAnswer
from memplan.errors import UsageError
from memplan.quantity import Quantity
from memplan.reuseport_model import ReuseportModel
from memplan.statistics.distributions import binomial_pmf, binomial_sf, chi2_sf, poisson_pmf
from memplan.statistics.uncertain import mixed, variance
from memplan.units import DAY, HOUR, MONTH, YEAR

if TYPE_CHECKING:
    from memplan.workload import Balance, Population

SEED = ReuseportModel(workers=64, conns=4096, reconnects_per_s=260_000, horizon_s=HOUR)


def test_the_example_of_the_module_is_true() -> None:
    """What the module's docstring shows is what it does."""
    result = doctest.testmod(memplan.reuseport_model)
    assert result.attempted == 3
    assert result.failed == 0


def test_the_seed_s_snapshot() -> None:
    """64 workers and 4,096 connections: the known chances and slots."""
    assert SEED.overflow_probability(100).value == pytest.approx(6.372170030e-4, rel=1e-9)
    assert SEED.overflow_probability(112).value == pytest.approx(9.616027511e-7, rel=1e-9)
    assert SEED.required_slots(1e-3).slots == 100
    assert SEED.required_slots(1e-6).slots == 112
    assert SEED.max_quantile(0.999).value == 100


def test_cdf_and_sf_are_one_law() -> None:
    """P(M <= m) and P(M > m) add up, and the quantile is where the first reaches its level."""
    for m in (-1, 70, 85, 100):
        assert SEED.max_cdf(m).value + SEED.max_sf(m).value == pytest.approx(1.0, abs=1e-12)
    for level in (1e-9, 0.1, 0.5, 0.9):
        m = int(SEED.max_quantile(level).value)
        assert SEED.max_cdf(m).value >= level > SEED.max_cdf(m - 1).value


@pytest.mark.parametrize(
    ("max_conn", "horizon_s", "low", "high"),
    [
        (126, HOUR, 7.24408e-4, 7.24409e-4),
        (125, HOUR, 1.43542e-3, 1.43544e-3),
        (128, 15.0, 7.45e-7, 7.55e-7),
        (128, HOUR, 1.75e-4, 1.85e-4),
        (128, 30 * DAY, 0.1214, 0.1294),
        (128, YEAR, 0.79, 1.0),
    ],
)
def test_the_seed_s_churn(max_conn: int, horizon_s: float, low: float, high: float) -> None:
    """The known answers over time come through the facade, point and bracket."""
    answer = SEED.overflow_within(max_conn, horizon_s)
    assert low <= answer.value <= high
    assert answer.low <= answer.value <= answer.high
    assert low <= answer.high


def test_the_seed_s_slots_over_time() -> None:
    """126 slots last an hour at 1e-3, 135 a month at 1e-3, 144 a month at 1e-6."""
    assert SEED.required_slots_within(1e-3).slots == 126
    assert SEED.required_slots_within(1e-3, MONTH).slots == 135
    assert SEED.required_slots_within(1e-6, MONTH).slots == 144


def test_the_seed_s_high_water() -> None:
    """A worker has touched 93.9 slots in the mean after five seconds, 96.8 after fifteen."""
    assert SEED.expected_running_max(5.0).value == pytest.approx(93.9, abs=0.05)
    assert SEED.expected_running_max(15.0).value == pytest.approx(96.8, abs=0.06)
    law = SEED.running_max(5.0)
    assert law.mean() == SEED.expected_running_max(5.0).value
    assert SEED.running_max_quantile(0.5, 5.0) == law.quantile(0.5)


def test_no_time_is_the_snapshot() -> None:
    """Within no time at all, a worker is over just when it is now."""
    assert SEED.overflow_within(100, 0.0).value == pytest.approx(
        SEED.overflow_probability(100).value, rel=1e-9
    )


def test_refusals_grow_with_time_and_fall_with_slots() -> None:
    """Expected refusals are in proportion to the horizon, and fewer with more slots."""
    hour, two = SEED.expected_refusals(120), SEED.expected_refusals(120, 2 * HOUR)
    assert two.value == pytest.approx(2 * hour.value, rel=1e-6)
    assert SEED.expected_refusals(121).value < hour.value


def test_few_clients_freeze_the_hash() -> None:
    """One client address: some boots are far worse than the mean over boots, most far better."""
    model = replace(SEED, client_addresses=1)
    assert model.tuples == 14_116
    found = model.frozen(112, 15.0)
    low, middle, high = (chance for _, chance in found.boot_quantiles)
    assert low < middle < found.over_boots.value < high
    assert found.share_sd == pytest.approx(math.sqrt(63 / 14_116))
    assert replace(SEED, client_tuples=5000).tuples == 5000
    slots = model.required_slots_over_boots(1e-3, 15.0)
    assert model.frozen(slots.slots, 15.0).over_boots.value <= 1e-3


@pytest.mark.parametrize("horizon_s", [None, 15.0])
def test_workers_may_change_places(horizon_s: float | None) -> None:
    """Weights and caps together, in another order, give the same chance."""
    rng = np.random.default_rng(7)
    weights = rng.choice([1.0, 1.5, 2.0], size=24)
    caps = (60 + 40 * weights).astype(int)
    order = rng.permutation(24)
    chances = []
    for at in (np.arange(24), order):
        model = ReuseportModel(
            workers=24, conns=1500, weights=tuple(weights[at].tolist()), reconnects_per_s=1e4
        )
        own = caps[at].tolist()
        if horizon_s is None:
            chances.append(model.overflow_probability(own).value)
        else:
            chances.append(model.overflow_within(own, horizon_s).value)
    assert chances[0] == pytest.approx(chances[1], rel=1e-12)


@given(
    workers=st.integers(1, 40),
    conns=st.integers(1, 2000),
    weight=st.floats(1e-3, 1e3),
    z=st.floats(0, 8),
)
@settings(max_examples=60, deadline=None)
def test_equal_weights_are_no_weights(workers: int, conns: int, weight: float, z: float) -> None:
    """Weights that are all the same change nothing, nor does a cap for each worker."""
    cap = int(conns / workers + z * math.sqrt(conns / workers))
    plain = ReuseportModel(workers=workers, conns=conns)
    weighted = ReuseportModel(workers=workers, conns=conns, weights=(weight,) * workers)
    assert weighted.overflow_probability(cap) == plain.overflow_probability(cap)
    own = plain.overflow_probability([cap] * workers)
    assert own.value == pytest.approx(plain.overflow_probability(cap).value, rel=1e-12)


def test_a_heavier_worker_needs_more() -> None:
    """Uneven weights make an overflow likelier than even ones."""
    uneven = ReuseportModel(workers=64, conns=4096, weights=[1.0] * 63 + [1.2])
    assert uneven.overflow_probability(112).value > SEED.overflow_probability(112).value
    assert uneven.required_slots(1e-6).slots > 112
    assert uneven.worker_marginal(63).mean == pytest.approx(4096 * 1.2 / 64.2)


def test_samples_follow_the_marginal_law() -> None:
    """A chi-square test of 40,000 sampled loads against Bin(C, 1/W), fixed seed."""
    loads = SEED.sample(20_000, np.random.default_rng(20_240_601))[:, :2]
    edges = np.arange(45, 85)
    probs = SEED.worker_marginal().pmf(edges)
    seen = np.array([(loads == k).sum() for k in edges])
    seen = np.append(seen, loads.size - seen.sum())
    expected = loads.size * np.append(probs, 1 - probs.sum())
    statistic = float(((seen - expected) ** 2 / expected).sum())
    # Two loads of one moment are hardly correlated: -1/63.
    assert 0.001 < chi2_sf(statistic, len(edges)) < 0.999


def test_samples_overflow_as_often_as_said() -> None:
    """The share of sampled moments with a worker over is the exact chance, within four sigmas."""
    moments = 20_000
    largest = SEED.sample(moments, np.random.default_rng(3)).max(axis=1)
    for cap in (80, 85, 90):
        chance = SEED.overflow_probability(cap).value
        sigma = math.sqrt(chance * (1 - chance) / moments)
        assert abs((largest > cap).mean() - chance) < 4 * sigma


def test_samples_of_every_population() -> None:
    """Closed moments hold all connections, open ones about as many, even ones no more than due."""
    rng = np.random.default_rng(1)
    assert SEED.sample(10, rng).shape == (10, 64)
    assert (SEED.sample(10, rng).sum(axis=1) == 4096).all()
    open_sums = replace(SEED, population="open").sample(2000, rng).sum(axis=1)
    assert abs(open_sums.mean() - 4096) < 4 * 64 / math.sqrt(2000)
    even = replace(SEED, conns=4097, balance="exact").sample(1, rng)
    assert (even.sum(), even.min(), even.max()) == (4097, 64, 65)
    ranged = replace(SEED, conns=(1000, 3000)).sample(500, rng).sum(axis=1)
    assert 1000 <= ranged.min() < 1100
    assert 2900 < ranged.max() <= 3000


def test_the_marginal_is_binomial_or_poisson() -> None:
    """One worker's load has its law's mean, deviation and masses."""
    k = np.arange(200)
    closed = SEED.worker_marginal()
    assert closed.mean == 64.0
    assert closed.sd == pytest.approx(7.937254, abs=1e-6)
    np.testing.assert_allclose(closed.pmf(k), binomial_pmf(k, 4096, 1 / 64))
    opened = replace(SEED, population="open").worker_marginal()
    assert (opened.mean, opened.sd) == (64.0, 8.0)
    np.testing.assert_allclose(opened.pmf(k), poisson_pmf(k, 64.0))


def test_a_range_brackets_by_its_ends() -> None:
    """With nothing known inside a range its ends are the bracket, the uniform mean the point."""
    ranged = replace(SEED, conns=(3000, 5000))
    low, high = replace(SEED, conns=3000), replace(SEED, conns=5000)
    found = ranged.overflow_probability(112)
    assert found.low == low.overflow_probability(112).low
    assert found.high == high.overflow_probability(112).high
    grid = [replace(SEED, conns=n).overflow_probability(112).value for n in range(3000, 5001, 4)]
    assert found.value == pytest.approx(np.trapezoid(grid) / 500, rel=2e-4)
    slots = ranged.required_slots(1e-6)
    assert slots.low == low.required_slots(1e-6).slots
    assert slots.high == high.required_slots(1e-6).slots
    assert slots.low < slots.slots < slots.high


def test_quantiles_mix_the_overflow() -> None:
    """Known quantiles give the mean chance, and every cap within the target is within it."""
    model = replace(SEED, conns={0.5: 4000, 0.9: 4400, 0.99: 5000})
    found = model.overflow_probability(112)
    levels = (np.arange(4000) + 0.5) / 4000
    conns = np.rint([Quantity.of({0.5: 4000, 0.9: 4400, 0.99: 5000}).quantile(x) for x in levels])
    values, counts = np.unique(conns, return_counts=True)
    each = [replace(SEED, conns=n).overflow_probability(112).value for n in values]
    assert found.value == pytest.approx(float(counts @ np.array(each)) / 4000, rel=2e-3)
    assert found.low < found.value < found.high
    slots = model.required_slots(1e-6)
    assert model.overflow_probability(slots.slots).value <= 1e-6
    assert model.overflow_probability(slots.slots - 1).value > 1e-6
    assert model.max_quantile(0.3).low <= model.max_quantile(0.3).value
    assert model.max_cdf(112).value == pytest.approx(1 - found.value)


def test_uncertain_connections_over_time() -> None:
    """Over time, too, a range's answer lies between those of its ends."""
    ranged = replace(SEED, conns=(4000, 4200))
    ends = [replace(SEED, conns=n) for n in (4000, 4200)]
    asked: tuple[Callable[[ReuseportModel], float], ...] = (
        lambda model: model.overflow_within(128).value,
        lambda model: model.required_slots_within(1e-3).slots,
        lambda model: model.expected_refusals(120).value,
        lambda model: model.expected_running_max().value,
        lambda model: model.running_max().quantile(0.9),
    )
    for ask in asked:
        low, high = map(ask, ends)
        assert low <= ask(ranged) <= high
    law = ranged.running_max()
    assert np.all(np.diff(law.exceeded) <= 1e-15)
    assert law.mean() == pytest.approx(
        np.mean([model.expected_running_max().value for model in ends]), abs=0.02
    )


def test_a_mixture_is_right_where_the_answer_is_known() -> None:
    """The mean of exp(c) over a uniform c is known, and so is the bracket."""

    def exponential(conns: float) -> Answer:
        return Answer.exactly(math.exp(conns), "exponential")

    found = mixed(Quantity.between(10, 70), exponential, 5.0)
    assert found.value == pytest.approx((math.exp(70) - math.exp(10)) / 60, rel=1e-4)
    assert (found.low, found.high) == (math.exp(10), math.exp(70))
    assert variance(Quantity.between(0, 12)) == 12.0
    assert variance(Quantity.exactly(5)) == 0.0


def test_sensitivity_is_the_slope_of_logarithms() -> None:
    """One percent more connections multiplies the chance by 1.01 to the elasticity."""
    found = SEED.sensitivity(112, 0.0)
    more = replace(SEED, conns=4137).overflow_probability(112).value
    assert more / found.point.value == pytest.approx((4137 / 4096) ** found.elasticity, rel=0.05)
    over_time = replace(SEED, conns=(3500, 4500)).sensitivity(128)
    assert over_time.low.value < over_time.point.value < over_time.high.value
    assert over_time.point.value == replace(SEED, conns=4000).overflow_within(128).value
    assert SEED.sensitivity(5000, 0.0).elasticity == 0
    json.dumps(over_time.to_dict())


def test_lost_workers_leave_more_for_the_others() -> None:
    """With workers gone the rest carry all, and of weighted ones the heaviest are still there."""
    left = SEED.with_workers_lost(4)
    assert (left.workers, left.required_slots(1e-6).slots) == (60, 118)
    weighted = ReuseportModel(workers=3, conns=300, weights=[1.0, 3.0, 2.0]).with_workers_lost(1)
    assert weighted.weights == (3.0, 2.0)
    with pytest.raises(UsageError, match="at least one of 64"):
        SEED.with_workers_lost(64)


def test_a_deploy_has_two_groups_in_one() -> None:
    """While old and new listen together, new connections spread over twice the workers."""
    both = SEED.during_deploy()
    assert (both.workers, both.worker_marginal().mean) == (128, 32.0)
    weighted = ReuseportModel(workers=2, conns=300, weights=[1.0, 3.0]).during_deploy()
    assert weighted.weights == (1.0, 3.0, 1.0, 3.0)


def test_an_exact_balance_leaves_nothing_to_chance() -> None:
    """Handed out evenly, a worker holds its share rounded up, and is over just below that."""
    even = replace(SEED, conns=4097, balance="exact")
    assert [even.overflow_probability(m).value for m in (64, 65)] == [1, 0]
    assert [even.overflow_within(m).value for m in (64, 65)] == [1, 0]
    assert even.required_slots(1e-6).slots == even.required_slots_within(1e-6).slots == 65
    assert (even.max_quantile(0.3).value, even.max_cdf(64).value) == (65, 0)
    assert (even.worker_marginal().mean, even.worker_marginal().sd) == (4097 / 64, 0)
    assert even.expected_running_max().value == 65
    assert even.expected_refusals(65).value == 0
    assert even.expected_refusals(64).value == pytest.approx(260_000 * HOUR / 4097)
    uneven = ReuseportModel(workers=2, conns=400, weights=[1.0, 3.0], balance="exact")
    assert uneven.required_slots(0.5).slots == 300
    assert uneven.overflow_probability([100, 300]).value == 0
    assert uneven.overflow_probability([99, 300]).value == 1


def test_an_open_population_varies_more() -> None:
    """Poisson arrivals need at least the slots of a fixed number, and have their own lower tail."""
    opened = replace(SEED, population="open")
    assert opened.required_slots(1e-6).slots == 113
    assert opened.max_quantile(0.5).value >= SEED.max_quantile(0.5).value
    assert opened.overflow_within(126).value > SEED.overflow_within(126).value
    assert opened.required_slots_within(1e-3).slots == 127


def test_one_worker_takes_everything() -> None:
    """With one worker there is no chance: it has all connections."""
    alone = ReuseportModel(workers=1, conns=100)
    assert [alone.overflow_probability(m).value for m in (99, 100)] == [1, 0]
    assert alone.required_slots(1e-6).slots == 100


def test_two_workers_are_the_binomial() -> None:
    """With two workers one of them is over when the binomial is, on either side."""
    pair = ReuseportModel(workers=2, conns=1000)
    expected = 2 * binomial_sf(560, 1000, 0.5)
    assert pair.overflow_probability(560).value == pytest.approx(expected, rel=1e-13)


def test_answers_go_into_json_and_numbers() -> None:
    """Answers are numbers where one is wanted, and plain dictionaries for JSON."""
    answer, slots = SEED.overflow_probability(112), SEED.required_slots(1e-6)
    assert (float(answer), int(slots)) == (answer.value, 112)
    assert answer.exact
    assert json.loads(json.dumps(slots.to_dict()))["overflow"]["value"] == answer.value
    with pytest.raises(ValueError, match="no bracket"):
        Answer(value=1.0, low=2.0, high=3.0, method="", relative_error=0.0)
    with pytest.raises(ValueError, match="no bracket"):
        SlotsAnswer(slots=1, low=2, high=3, overflow=answer, method="")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: ReuseportModel(workers=0, conns=1), "workers must be at least 1"),
        (lambda: ReuseportModel(workers=1, conns=0), "conns must be at least 1"),
        (lambda: ReuseportModel(workers=2, conns=9, weights=[1.0]), "2 weights"),
        (lambda: ReuseportModel(workers=2, conns=9, weights=[1.0, 0.0]), "positive"),
        (lambda: replace(SEED, linger_s=-1.0), "linger_s must be zero or more"),
        (lambda: replace(SEED, population=cast("Population", "ajar")), "closed or open"),
        (lambda: replace(SEED, balance=cast("Balance", "fair")), "hash or exact"),
        (lambda: replace(SEED, balance="exact", population="open"), "closed population"),
        (lambda: SEED.overflow_probability(-1), "max_conn"),
        (lambda: SEED.overflow_probability([100]), "64 caps"),
        (lambda: SEED.required_slots(0.0), "between 0 and 1"),
        (lambda: SEED.required_slots_within(1.0), "between 0 and 1"),
        (lambda: SEED.max_quantile(1.0), "between 0 and 1"),
        (lambda: SEED.worker_marginal(64), "counted from 0 to 63"),
        (lambda: SEED.frozen(100), "client_tuples"),
        (lambda: replace(SEED, client_tuples=5000, balance="exact").frozen(100), "no hash"),
        (lambda: replace(SEED, reconnects_per_s=None).overflow_within(9, 1.0), "reconnects_per_s"),
        (lambda: replace(SEED, horizon_s=None).overflow_within(9), "horizon_s"),
    ],
)
def test_wrong_input_is_named(wrong: Callable[[], object], words: str) -> None:
    """What cannot be is refused in one line that says what would be right."""
    with pytest.raises(UsageError, match=words) as error:
        wrong()
    assert "\n" not in str(error.value)
