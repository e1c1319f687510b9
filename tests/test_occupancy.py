"""The maximum's law is exact: against other methods, at every size, in both tails."""

import math
import random
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from occupancy_reference import counted, doubled, enumerated, sequences

from memplan.answer import Answer
from memplan.statistics import occupancy, spectrum
from memplan.statistics.levin import log_no_overflow, log_overflow
from memplan.statistics.occupancy import (
    BONFERRONI,
    EXACT,
    MERGED,
    chances,
    chances_open,
    log_bounds,
)
from memplan.statistics.slot_search import maximum_quantile, required_slots, required_slots_open
from memplan.statistics.worker_classes import WorkerClass, alike, classes_of


def overflow(conns: int, workers: int, cap: int) -> Answer:
    """Return the chance that some of equal workers is over."""
    return chances(conns, classes_of(workers, None, cap)).overflow()


# Workers, connections, cap, and the chance of an overflow to ten digits.
KNOWN = [
    (64, 4096, 99, 1.030257436e-3),
    (64, 4096, 100, 6.372170030e-4),
    (64, 4096, 112, 9.616027511e-7),
    (64, 512, 22, 5.864748321e-4),
    (64, 512, 28, 3.321651820e-7),
]


@pytest.mark.parametrize(("workers", "conns", "cap", "known"), KNOWN)
def test_known_answers_by_two_methods(workers: int, conns: int, cap: int, known: float) -> None:
    """The known answers hold to ten digits by Fourier inversion and by counting ways."""
    answer = overflow(conns, workers, cap)
    assert answer.value == pytest.approx(known, rel=1e-9)
    assert answer.value == pytest.approx(float(counted(conns, workers, cap)), rel=1e-12)
    assert answer.method == EXACT
    assert answer.relative_error < 1e-11


@pytest.mark.parametrize(
    ("workers", "conns", "cap", "digits"),
    [(8, 10**6, 126213, "9.9091e-04"), (8, 10**6, 126709, "9.9107e-07")],
)
def test_known_answers_of_a_million(workers: int, conns: int, cap: int, digits: str) -> None:
    """The known answers of 8 workers hold, also by doubling the two positive sequences."""
    answer = overflow(conns, workers, cap).value
    assert f"{answer:.4e}" == digits
    assert answer == pytest.approx(doubled(conns, workers, cap)[1], rel=1e-11)


@pytest.mark.parametrize(
    ("workers", "conns", "overflow_target", "slots"),
    [
        (64, 4096, 1e-3, 100),
        (64, 4096, 1e-6, 112),
        (64, 512, 1e-3, 22),
        (64, 512, 1e-6, 28),
        (8, 10**6, 1e-3, 126213),
        (8, 10**6, 1e-6, 126709),
    ],
)
def test_known_required_slots(workers: int, conns: int, overflow_target: float, slots: int) -> None:
    """The fewest slots for a target are the known ones, and one fewer is too few."""
    found = required_slots(conns, classes_of(workers, None, 0), overflow_target)
    assert (found.low, found.slots, found.high) == (slots, slots, slots)
    assert found.overflow.value <= overflow_target < overflow(conns, workers, slots - 1).value


@pytest.mark.parametrize(
    ("workers", "conns", "cap"),
    [
        (64, 4096, 75),
        (1024, 10**6, 1050),
        (1024, 10**6, 1129),
        (1024, 10**6, 1170),
        (65536, 10**9, 15700),
        (65536, 10**9, 16087),
    ],
)
def test_both_chances_agree_with_doubling_at_any_size(workers: int, conns: int, cap: int) -> None:
    """Overflow and no overflow are those of the doubled sequences, to the digits these have."""
    found = chances(conns, classes_of(workers, None, cap))
    none, some = doubled(conns, workers, cap)
    assert found.overflow().value == pytest.approx(some, rel=1e-10)
    assert found.no_overflow().value == pytest.approx(none, rel=1e-10)


@pytest.mark.parametrize(
    ("weights", "caps"),
    [
        ((1, 1, 1), (2, 2, 2)),
        ((1, 2, 5), (2, 3, 5)),
        ((1, 2, 5), (0, 7, 4)),
        ((3, 1, 1, 1), (4, 2, 2, 1)),
        ((7, 1), (5, 1)),
    ],
)
@pytest.mark.parametrize("conns", [1, 3, 5, 7])
def test_small_cases_by_enumeration(
    weights: tuple[int, ...], caps: tuple[int, ...], conns: int
) -> None:
    """Weights and caps give what adding up all outcomes gives."""
    shares = [Fraction(weight, sum(weights)) for weight in weights]
    classes = classes_of(len(weights), [float(share) for share in shares], caps)
    truth = float(enumerated(conns, shares, caps))
    found = chances(conns, classes)
    assert found.overflow().value == pytest.approx(truth, rel=1e-11, abs=1e-300)
    assert found.no_overflow().value == pytest.approx(1 - truth, rel=1e-11, abs=1e-14)


def some_classes(rng: random.Random) -> tuple[int, list[WorkerClass]]:
    """Return connections and classes of workers of all kinds, their shares adding up to one."""
    kinds = rng.choice([1, 2, 3, 5])
    workers = [rng.choice([1, 1, 2, 5, 17, 64]) for _ in range(kinds)]
    weights = [10 ** rng.uniform(-1.5, 0) for _ in range(kinds)]
    total = math.fsum(n * w for n, w in zip(workers, weights, strict=True))
    conns = rng.choice([2, 5, 10, 20, 40, 60])
    classes = []
    for n, weight in zip(workers, weights, strict=True):
        mean = conns * weight / total
        cap = int(mean + rng.uniform(-1.5, 6) * math.sqrt(mean) + rng.random())
        classes.append(WorkerClass(n, weight / total, max(0, cap)))
    return conns, classes


@pytest.mark.parametrize("seed", range(150))
def test_any_classes_agree_with_many_digits(seed: int) -> None:
    """Whatever the method, the error is within its bound, which is below 1e-9, in both tails."""
    conns, classes = some_classes(random.Random(seed))  # noqa: S311 - no secret
    none, some = sequences(conns, classes)
    found = chances(conns, classes)
    for answer, truth in ((found.overflow(), some), (found.no_overflow(), none)):
        scaled = truth / (none + some)  # shares add up to one only to their last digit
        if scaled < mpf(10) ** -305:
            assert answer.value < 1e-304
            continue
        error = abs(answer.value / scaled - 1)
        assert answer.relative_error < 1e-9
        assert error <= answer.relative_error + 1e-14
        assert answer.low * (1 - 1e-12) <= scaled <= answer.high * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(60))
def test_the_two_exact_forms_add_up_to_one(seed: int) -> None:
    """Overflow and no overflow, each from its own terms, add up to one: many classes, up to 1e9."""
    rng = random.Random(1000 + seed)  # noqa: S311 - no secret
    kinds = rng.choice([1, 2, 8, 64])
    workers = [rng.choice([1 if kinds > 1 else 2, 2, 8, 64, 1000]) for _ in range(kinds)]
    weights = [10 ** rng.uniform(-1, 0) for _ in range(kinds)]
    total = math.fsum(n * w for n, w in zip(workers, weights, strict=True))
    conns = int(10 ** rng.uniform(2, 9))
    z = math.sqrt(2 * math.log(sum(workers) + 1)) + rng.uniform(-0.7, 0.0)
    classes = []
    for n, weight in zip(workers, weights, strict=True):
        mean = conns * weight / total
        classes.append(WorkerClass(n, weight / total, min(conns, int(mean + z * mean**0.5) + 1)))
    low, _ = log_bounds(conns, classes)
    risky = [worker for worker in classes if worker.cap < conns]
    assert low > math.log(1e-12)
    over, within = log_overflow(conns, risky, low), log_no_overflow(conns, classes)
    allowed = 1e-12 + over.relative_error + within.relative_error
    assert math.exp(over.log) + math.exp(within.log) == pytest.approx(1.0, abs=allowed)


@pytest.mark.parametrize("share", [0.55, 0.75, 0.9375])
@pytest.mark.parametrize("z", [1.0, 3.0, 4.5, 5.8])
def test_a_worker_with_most_connections_is_no_worse(share: float, z: float) -> None:
    """One worker with most of the load, and seven with the rest: right in many digits."""
    conns = 300
    classes = []
    for workers, its_share in ((1, share), (7, (1 - share) / 7)):
        sigma = math.sqrt(conns * its_share * (1 - its_share))
        classes.append(WorkerClass(workers, its_share, int(conns * its_share + z * sigma)))
    none, some = sequences(conns, classes)
    answer = chances(conns, classes).overflow()
    truth = float(some / (none + some))
    assert answer.value == pytest.approx(truth, rel=1e-11)
    assert answer.low * (1 - 1e-11) <= truth <= answer.high * (1 + 1e-11)


def test_small_and_exact_answers_join() -> None:
    """Where the sum of tails takes over from the exact law, the two differ by 1e-10 at most."""
    classes = classes_of(64, None, 0)
    cap = required_slots(4096, classes, 2e-10).slots
    found = chances(4096, alike(classes, cap))
    assert found.method == BONFERRONI
    low, _ = log_bounds(4096, alike(classes, cap))
    exact = math.exp(log_overflow(4096, alike(classes, cap), low).log)
    assert found.overflow().value == pytest.approx(exact, rel=1e-10)
    assert found.overflow().low <= exact * (1 + 1e-12)
    assert exact <= found.overflow().high * (1 + 1e-12)
    assert chances(4096, alike(classes, cap - 1)).method == EXACT


@pytest.mark.parametrize("exponent", [10, 20, 50, 100, 200, 300])
@pytest.mark.parametrize(("workers", "conns"), [(64, 4096), (1024, 10**6), (65536, 10**9)])
def test_deep_tails_lie_between_their_bounds_in_many_digits(
    workers: int, conns: int, exponent: int
) -> None:
    """Down to 1e-300 the overflow is within 1e-9 of both of its bounds, taken in many digits."""
    cap = required_slots(conns, classes_of(workers, None, 0), 10.0**-exponent).slots
    with mp.workdps(60):
        share = mpf(1) / workers
        ways = mpmath.loggamma(conns + 1) - mpmath.loggamma(cap + 2)
        log_mass = ways - mpmath.loggamma(conns - cap)
        log_mass += (cap + 1) * mpmath.log(share) + (conns - cap - 1) * mpmath.log1p(-share)
        term = total = mpf(1)
        for k in range(cap + 1, conns):
            term *= (conns - k) * share / ((k + 1) * (1 - share))
            total += term
            if term < total * mpf(10) ** -25:
                break
        tail = mpmath.exp(log_mass) * total
        high = workers * tail
        low = -mpmath.expm1(workers * mpmath.log1p(-tail))
        answer = overflow(conns, workers, cap)
        assert low * (1 - mpf("1e-10")) <= answer.value <= high * (1 + mpf("1e-10"))
    assert answer.relative_error < 1e-9
    assert 10.0**-exponent / 10 < answer.value <= 10.0**-exponent


@pytest.mark.parametrize("cap", range(64, 74))
def test_the_lower_tail_agrees_with_counting(cap: int) -> None:
    """P(max <= m) is right to twelve digits where it is smallest, 1e-40 and less."""
    conns, workers = 64 * 24, 24
    found = chances(conns, classes_of(workers, None, cap)).no_overflow()
    truth = 1 - counted(conns, workers, cap)
    assert found.value == pytest.approx(float(truth), rel=1e-11)
    assert found.relative_error < 1e-10


@pytest.mark.parametrize("cap", [1_000_001, 1_000_003, 1_000_030, 1_000_900, 1_002_000])
def test_the_lower_tail_of_hard_caps_is_smooth_at_any_depth(cap: int) -> None:
    """Where caps leave next to no room, caps in a row have steadily falling ratios."""
    workers, conns = 70, 70 * 10**6
    logs = [
        log_no_overflow(conns, classes_of(workers, None, m)).log for m in (cap - 1, cap, cap + 1)
    ]
    assert logs[0] < logs[1] < logs[2] < 0
    assert logs[2] - logs[1] < logs[1] - logs[0]


def test_full_workers_have_one_outcome() -> None:
    """With no slot to spare the chance is one multinomial mass."""
    conns, workers = 640, 64
    found = chances(conns, classes_of(workers, None, 10)).no_overflow().value
    with mp.workdps(40):
        truth = mpmath.factorial(640) / mpmath.factorial(10) ** 64 / mpf(64) ** 640
        assert found == pytest.approx(float(truth), rel=1e-11)


@given(
    workers=st.integers(2, 300),
    conns=st.integers(1, 10**5),
    z=st.floats(-1, 12),
)
@settings(max_examples=150, deadline=None)
def test_the_chance_is_monotone_and_within_its_bounds(workers: int, conns: int, z: float) -> None:
    """More slots or workers make an overflow rarer, more connections likelier."""
    mean = conns / workers
    cap = max(0, int(mean + z * math.sqrt(mean)))
    answer = overflow(conns, workers, cap)
    low, high = log_bounds(conns, classes_of(workers, None, cap))
    allowed = 1 + 1e-10
    assert 0 <= answer.low <= answer.value <= answer.high <= 1
    assert math.exp(low) <= answer.value * allowed
    assert answer.value <= math.exp(high) * allowed
    assert overflow(conns, workers, cap + 1).value <= answer.value * allowed
    assert overflow(conns, workers + 1, cap).value <= answer.value * allowed
    assert answer.value <= overflow(conns + 1, workers, cap).value * allowed
    assert answer.value > 0 or cap >= conns or low < -700


@given(
    workers=st.integers(1, 200),
    conns=st.integers(1, 5000),
    log_target=st.floats(-40, -0.01),
)
@settings(max_examples=150, deadline=None)
def test_required_slots_are_the_fewest(workers: int, conns: int, log_target: float) -> None:
    """So many slots are within the target, one fewer is not."""
    target = math.exp(log_target)
    slots = required_slots(conns, classes_of(workers, None, 0), target).slots
    assert overflow(conns, workers, slots).value <= target
    assert slots == 0 or overflow(conns, workers, slots - 1).value > target


@given(level=st.floats(-60, -0.7).map(math.exp))
@settings(max_examples=50, deadline=None)
def test_a_low_quantile_is_the_first_cap_that_reaches_its_level(level: float) -> None:
    """P(max <= m) reaches the level at the quantile and not before."""

    def within(cap: int) -> float:
        return chances(4096, classes_of(64, None, cap)).no_overflow().value

    found = maximum_quantile(lambda cap: chances(4096, classes_of(64, None, cap)), level, 64)
    assert within(int(found.value)) >= level > within(int(found.value) - 1)


def distinct(workers: int, spread: float) -> tuple[float, ...]:
    """Return shares that all differ, the largest so many times the least."""
    weights = [spread ** (i / (workers - 1)) for i in range(workers)]
    return tuple(weight / math.fsum(weights) for weight in weights)


@pytest.mark.parametrize("spread", [1.01, 1.5, 5.0])
@pytest.mark.parametrize("z", [0.0, 1.5, 3.0, 5.0, 9.0])
def test_beyond_64_classes_a_bracket_holds_the_exact_answer(
    spread: float, z: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 100 distinct weights the bracket says its width, and what is exact lies inside."""
    shares = distinct(100, spread)
    mean = 6400 * shares[-1]
    classes = classes_of(100, shares, int(mean + z * math.sqrt(mean)))
    found = chances(6400, classes)
    monkeypatch.setattr(occupancy, "MOST_CLASSES", 100)
    exact = chances(6400, classes)
    assert exact.method == (EXACT if z < 9 else BONFERRONI)
    for bracket, inside in (
        (found.overflow(), exact.overflow()),
        (found.no_overflow(), exact.no_overflow()),
    ):
        assert bracket.low * (1 - 1e-11) <= inside.value <= bracket.high * (1 + 1e-11)
        assert z > 5 or "bracket" in bracket.method
    assert z > 5 or found.overflow().width + found.no_overflow().width > 0


def test_merged_classes_narrow_a_wide_bracket() -> None:
    """Where the simple bounds are far apart, merging brings them within a few percent."""
    classes = classes_of(100, distinct(100, 1.5), 100)
    found = chances(6400, classes)
    low, high = log_bounds(6400, classes)
    assert found.method == MERGED
    assert found.overflow().width < 0.3 * (math.exp(high) - math.exp(low))


def test_a_bracket_gives_required_slots_with_both_ends() -> None:
    """With many classes the ends of the bracket enclose the point."""
    found = required_slots(6400, classes_of(100, distinct(100, 5.0), 0), 0.5)
    assert found.low <= found.slots <= found.high
    assert found.overflow.low < found.overflow.high


@pytest.mark.parametrize("cap", [70, 90, 112, 200, 533])
def test_open_populations_agree_with_scipy(cap: int) -> None:
    """With Poisson arrivals the loads are independent: scipy's tails give the same chance."""
    found = chances_open(4096.0, classes_of(64, None, cap))
    one = scipy.stats.poisson.sf(cap, 64.0)
    expected = -math.expm1(64 * math.log1p(-one))
    assert found.overflow().value == pytest.approx(expected, rel=1e-10)
    log_none = 64 * scipy.stats.poisson.logcdf(cap, 64.0)
    assert found.no_overflow().value == pytest.approx(math.exp(log_none), rel=1e-10)
    assert found.overflow().value + found.no_overflow().value == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("target", [0.9, 0.1, 1e-3, 1e-6, 1e-100, 1e-300])
def test_open_required_slots_are_the_fewest(target: float) -> None:
    """So many slots are within the target when arrivals are Poisson, one fewer is not."""
    classes = classes_of(64, None, 0)
    slots = required_slots_open(4096.5, classes, target).slots
    assert chances_open(4096.5, alike(classes, slots)).overflow().value <= target
    assert chances_open(4096.5, alike(classes, slots - 1)).overflow().value > target


def test_two_that_cannot_both_be_over_need_no_correction() -> None:
    """Where an overflow leaves too little for a second one, the sum of tails is exact."""
    found = chances(10, classes_of(3, None, 5))
    assert found.method == occupancy.DISJOINT
    assert found.overflow().value == pytest.approx(float(counted(10, 3, 5)), rel=1e-13)


def test_the_pigeonhole_decides_what_it_can() -> None:
    """Too few slots in all are surely over, as many slots as connections surely not."""
    assert overflow(10, 3, 3).value == 1
    assert chances(10, classes_of(3, None, 3)).no_overflow().value == 0
    assert overflow(10, 3, 10).value == overflow(10, 3, 99).value == 0
    assert overflow(10, 1, 9).value == 1


@pytest.mark.parametrize("size", [1, 7, 300, 5000])
def test_both_transforms_are_the_plain_sum(size: int) -> None:
    """Products of blocks and the fast transform both give the sum that defines them."""
    rng = np.random.default_rng(size)
    values, start, length, count = rng.random(size), -11, 1201, 601
    k = start + np.arange(size)
    j = np.arange(count)
    plain = np.exp(2j * np.pi * np.outer(j, k) / length) @ values
    for found in (
        spectrum._by_products(values, start, length, count),
        spectrum._by_fft(values, start, length, count),
        spectrum.transform(values, start, length, count),
    ):
        np.testing.assert_allclose(found, plain, atol=1e-11 * size)
