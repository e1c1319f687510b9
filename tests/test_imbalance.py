"""The test of a spread against the hash: right figures, few false alarms, reasons for silence."""

import numpy as np
import pytest
from scipy import stats

from memplan.profiler.imbalance import UNEXPLAINED_BELOW, judge_imbalance, pearson_statistic
from memplan.profiler.listeners import ListenerGroup, Worker


def group(
    counts: list[int],
    *,
    listeners: list[int] | None = None,
    waiting: list[int] | None = None,
    endpoint: str = "127.0.0.1:80",
) -> ListenerGroup:
    each = listeners or [1] * len(counts)
    queued = waiting or [0] * len(counts)
    workers = tuple(
        Worker(pid=100 + i, epoll=None, listeners=each[i], connections=n, waiting=queued[i])
        for i, n in enumerate(counts)
    )
    return ListenerGroup(
        endpoint=endpoint,
        inodes=tuple(range(sum(each))),
        others=0,
        connections=sum(counts),
        waiting=sum(queued),
        closing=0,
        workers=workers,
        unclear=0,
        processes=tuple(worker.pid for worker in workers),
        held_by=(),
    )


def blank(inodes: int, processes: int, unclear: int) -> ListenerGroup:
    return ListenerGroup(
        endpoint="127.0.0.1:80",
        inodes=tuple(range(inodes)),
        others=0,
        connections=100,
        waiting=0,
        closing=0,
        workers=(),
        unclear=unclear,
        processes=tuple(range(processes)),
        held_by=(),
    )


@pytest.mark.parametrize("counts", [[23, 31, 27, 19], [64, 70, 58, 61, 90, 41], [10, 30]])
def test_statistic_and_chance_are_those_of_scipy(counts: list[int]) -> None:
    judged = judge_imbalance([group(counts)])
    statistic, p_value = stats.chisquare(counts)
    assert judged.statistic == pytest.approx(statistic, rel=1e-12)
    assert judged.p_value == pytest.approx(p_value, rel=1e-9)
    assert judged.degrees_of_freedom == len(counts) - 1


def test_a_worker_with_two_listeners_is_expected_to_hold_twice_as_much() -> None:
    judged = judge_imbalance([group([80, 41, 39], listeners=[2, 1, 1])])
    assert judged.statistic == pytest.approx(stats.chisquare([80, 41, 39], [80, 40, 40])[0])
    assert judged.explained
    assert not judge_imbalance([group([80, 41, 39])]).explained


def test_what_waits_in_a_queue_was_assigned_by_the_hash_too() -> None:
    judged = judge_imbalance([group([0, 26, 25], waiting=[24, 0, 0])])
    assert judged.explained
    assert judged.statistic == pytest.approx(stats.chisquare([24, 26, 25])[0])


def test_endpoints_are_independent_so_their_statistics_add_up() -> None:
    one, two = group([30, 20]), group([40, 60, 50], endpoint="127.0.0.1:443")
    judged = judge_imbalance([one, two, blank(1, 4, 1)])
    parts = [judge_imbalance([part]).statistic or 0.0 for part in (one, two)]
    assert judged.statistic == pytest.approx(sum(parts))
    assert judged.degrees_of_freedom == 3
    assert len(judged.workers) == 5


@pytest.mark.parametrize(("workers", "conns"), [(2, 10), (4, 20), (64, 320), (64, 4096)])
def test_a_spread_that_the_hash_made_is_seldom_called_unexplained(workers: int, conns: int) -> None:
    """About one in 1,000 draws of the hash's own law is called unexplained.

    At the least count that is tested the chi-square law's roughness may at most triple that.
    """
    rng = np.random.default_rng(20240)
    draws = rng.multinomial(conns, np.full(workers, 1 / workers), size=100_000)
    expected = conns / workers
    statistic = ((draws - expected) ** 2).sum(axis=1) / expected
    threshold = stats.chi2.isf(UNEXPLAINED_BELOW, workers - 1)
    assert (statistic > threshold).mean() < 3 * UNEXPLAINED_BELOW
    for counts, value in zip(draws[:50].tolist(), statistic[:50], strict=True):
        assert pearson_statistic(counts, [1 / workers] * workers) == pytest.approx(value)
        assert judge_imbalance([group(counts)]).explained == (value <= threshold)


def test_an_imbalance_names_the_worker_that_is_farthest_off() -> None:
    judged = judge_imbalance([group([25, 26, 90, 27])])
    assert judged.explained is False
    assert judged.verdict.startswith("an imbalance that the hash does not explain: chi-square ")
    assert "process 102 has 90 of 168 on 127.0.0.1:80, where 42 ± 6 are expected" in judged.verdict


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ([blank(1, 4, 1)], "4 processes share one listener"),
        ([blank(1, 1, 0)], "one listener has nothing to be compared with"),
        ([blank(4, 4, 3)], "for 3 of 4 listeners it is not to be seen which of 4 processes"),
        ([group([200], listeners=[4])], "one process holds all 4 listeners"),
        ([group([5, 4])], "9 connections on 2 listeners are too few"),
        ([group([0, 0])], "0 connections on 2 listeners are too few"),
    ],
)
def test_what_cannot_be_tested_says_why(groups: list[ListenerGroup], reason: str) -> None:
    judged = judge_imbalance(groups)
    assert judged.explained is None
    assert judged.statistic is judged.p_value is None
    assert judged.verdict.startswith("not testable; 127.0.0.1:80: ")
    assert reason in judged.verdict


def test_no_connections_deviate_from_nothing() -> None:
    assert pearson_statistic([0, 0, 0], [0.5, 0.25, 0.25]) == 0.0
