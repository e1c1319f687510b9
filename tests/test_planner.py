"""From a load to the advice: what is fixed, what is filled in, and how it all adds up."""

import math
import os
from dataclasses import replace
from typing import Any

import pytest
from planning_tools import HOST, constraint, names, plan
from scipy import stats

import memplan as mp
from memplan.planning.goals import Goals
from memplan.profiler.cgroup import MemoryLimits
from memplan.reuseport_model import ReuseportModel
from memplan.units import DAY, GIB, KIB, MIB

PINS: dict[str, Any] = {
    "strategy": "pooled",
    "max_conn": 300,
    "max_fd": 5000,
    "state": 64,
    "recv": 3000,
    "body": 100,
    "write": 5000,
}


def settings(found: mp.Plan) -> dict[str, Any]:
    return {one.name: one for one in found.settings}


@pytest.mark.parametrize("name", list(PINS))
def test_what_the_user_fixes_is_respected_and_marked(name: str) -> None:
    """One value is fixed: it is advised as given and marked, and no other is marked."""
    found = settings(plan(**{name: PINS[name]}))
    assert found[name].value == PINS[name]
    assert [one for one in found if found[one].pinned] == [name]


def test_all_may_be_fixed_at_once() -> None:
    found = settings(plan(**PINS))
    assert {name: found[name].value for name in PINS} == PINS
    whole = 64 + 3000 + 100 + 5000
    assert found["slot"].value == -(-whole // 8) * 8
    assert found["slot"].why == "the sum padded to whole 8 B, 1.99 pages of 4 KiB"
    assert found["nofile"].value == 8192


def test_without_workers_it_is_the_cpus_that_may_be_used_and_that_is_said() -> None:
    """The number is the affinity's, not the machine's."""
    cpus = len(os.sched_getaffinity(0))
    found = mp.recommend(conns=4096, host=HOST)
    assert found.workload.workers == cpus
    assert found.assumptions[0].startswith(f"{cpus} worker")
    assert "--workers" in found.assumptions[0]


def test_without_connections_it_is_4096_and_that_is_said() -> None:
    found = mp.recommend(workers=64, host=HOST)
    assert found.workload.conns.exact
    assert found.workload.conns.median == 4096
    assert found.assumptions[0] == "4,096 connections (--conns)"
    assert not any("--conns" in one for one in plan().assumptions)


def test_without_any_word_there_is_a_plan() -> None:
    """Nobody has to say anything to get a first answer."""
    assert mp.recommend().number("max_conn") > 0


def test_a_snapshot_is_called_one_and_shows_what_churn_would_do() -> None:
    """Each cell of the table is the model's own answer for that rate and that time."""
    found = plan()
    assert found.basis == "snapshot"
    assert found.required.slots == 112
    assert "snapshot" in names(found)
    table = found.churn_table
    assert table is not None
    for rate, row in zip(table.reconnects_per_s, table.max_conn, strict=True):
        for horizon, slots in zip(table.horizons_s, row, strict=True):
            model = ReuseportModel(workers=64, conns=4096, reconnects_per_s=rate)
            assert slots == model.required_slots_within(1e-6, horizon).slots
            assert model.overflow_within(slots, horizon).value <= 1e-6
            assert model.overflow_within(slots - 1, horizon).value > 1e-6
        assert list(row) == sorted(row)
    assert list(table.max_conn) == sorted(table.max_conn)


def test_with_churn_the_horizon_is_a_month_and_the_table_is_gone() -> None:
    found = plan(reconnects_per_s=100.0)
    assert found.workload.horizon_s == 30 * DAY
    assert found.basis == "30 d of 100/s reconnects"
    assert found.churn_table is None
    assert "snapshot" not in names(found)
    assert plan(reconnects_per_s=100.0, horizon_s=3600.0).basis == "1 h of 100/s reconnects"


def test_no_churn_at_all_is_not_the_same_as_none_given() -> None:
    """At a rate of zero nobody reconnects: the moment's answer holds until the next restart."""
    found = plan(reconnects_per_s=0.0)
    assert found.required.slots == 112
    (text,) = (one.text for one in found.cautions if one.name == "snapshot")
    assert text.startswith("No connection reconnects, so 112 slots")
    assert plan(reconnects_per_s=0.0, horizon_s=DAY).required.slots == 112


def test_a_horizon_without_churn_is_refused() -> None:
    with pytest.raises(mp.UsageError, match="a horizon needs a reconnect rate"):
        plan(horizon_s=DAY)


def test_connections_as_a_range_lie_between_its_ends() -> None:
    """More is needed than at the low end, no more than at the high end, and the slope is told."""
    found = plan(conns=(3000, 5000))
    low, high = plan(conns=3000), plan(conns=5000)
    assert low.required.slots < found.required.slots <= high.required.slots
    assert (
        low.prediction.charge.bytes < found.prediction.charge.bytes < high.prediction.charge.bytes
    )
    (text,) = (one.text for one in found.cautions if one.name == "sensitivity")
    slots = found.number("max_conn")
    for conns in (3000, 5000):
        model = ReuseportModel(workers=64, conns=conns)
        assert f"{model.overflow_probability(slots).value:.2g} at {conns:,}" in text
    assert found.prediction.charge.high_bytes >= high.prediction.charge.bytes
    assert "sensitivity" not in names(plan())
    assert found.churn_table == high.churn_table
    assert "MAX_CONN under churn is that of the most connections, 5,000" in found.assumptions


def test_connections_as_quantiles_count_at_their_highest_for_descriptors() -> None:
    found = plan(conns={0.5: 4000, 0.99: 6000})
    assert "6,000 connections" in settings(found)["max_fd"].why
    assert plan(conns=4000).required.slots < found.required.slots
    assert found.required.slots <= plan(conns=6000).required.slots


def test_equal_weights_are_none_and_unequal_ones_ask_for_more() -> None:
    """A worker with twice the chance decides: its own binomial tail is the answer here."""
    assert plan(weights=[3.0] * 64).required == plan().required
    found = plan(weights=[2.0] * 32 + [1.0] * 32)
    heavy = 2 / 96
    slots = found.required.slots
    assert 32 * stats.binom.sf(slots, 4096, heavy) <= 1e-6
    assert 32 * stats.binom.sf(slots - 1, 4096, heavy) > 1e-6
    assert found.number("max_conn") >= slots


def test_lost_workers_leave_their_connections_to_the_others() -> None:
    """The slots are those of 56 workers; arrays and descriptors are still there for 64."""
    found, fewer = plan(workers_lost=8), plan(workers=56)
    assert found.required == fewer.required
    assert found.slots_table[0].virtual_bytes == 64 * found.slots_table[0].max_conn * 12 * KIB
    assert "64 listeners" in settings(found)["max_fd"].why
    static = next(row for row in found.strategies if row.name == "static")
    assert static.resident_bytes == pytest.approx(4096 * 12 * KIB, rel=0.01)


def test_an_even_balance_needs_no_more_than_the_share() -> None:
    """Handed out evenly, 100 connections over 8 workers are 13 at most, with certainty."""
    found = plan(workers=8, conns=100, balance="exact")
    assert found.required.slots == math.ceil(100 / 8)
    assert found.required.overflow.value == 0.0
    assert found.churn_table is None
    assert not {"snapshot", "model-void"} & set(names(found))
    assert plan(workers=8, conns=100, balance="exact", max_conn=13).feasible
    assert not plan(workers=8, conns=100, balance="exact", max_conn=12).feasible


def test_one_worker_holds_all_connections() -> None:
    """There is nothing to hash: no more slots than connections, and no caution of the hash."""
    found = plan(workers=1, conns=500)
    assert found.required.slots == 500
    assert found.churn_table is None
    assert not {"snapshot", "model-void"} & set(names(found))


def test_an_open_population_may_be_more_than_its_mean() -> None:
    """64 Poisson loads ask for at least as much, and all of them together are a Poisson count."""
    found = plan(population="open")
    assert found.required.slots >= plan().required.slots
    needed = next(n for n in range(4096, 6000) if stats.poisson.sf(n, 4096) <= 1e-6)
    assert f"{needed:,} connections" in settings(found)["max_fd"].why


def test_connections_that_linger_hold_a_slot_and_a_descriptor_more() -> None:
    """In the mean 1,000 closed ones are still there, and now and then some more."""
    found = plan(reconnects_per_s=1000.0, linger_s=1.0)
    assert found.required.slots > plan(reconnects_per_s=1000.0).required.slots
    conns = int(settings(found)["max_fd"].why.split()[0].replace(",", ""))
    assert 4096 + 1000 + 4 * math.sqrt(1000) < conns < 4096 + 1000 + 12 * math.sqrt(1000)


def test_threads_add_their_descriptors_up_and_processes_do_not() -> None:
    """64 threads share one table of descriptors; each of 64 processes has its own."""
    threads, processes = settings(plan()), settings(plan(process_model="processes"))
    assert "= 4,291 descriptors in one process" in threads["max_fd"].why
    assert threads["max_fd"].value == 8192
    slots = processes["max_conn"].value
    assert f"= {slots + 3 + 3} descriptors in each process" in processes["max_fd"].why
    assert processes["max_fd"].value == 2 * slots


def test_an_old_process_beside_the_new_one_is_charged_too() -> None:
    """During a deploy its base, its workers and its slots are there once more."""
    alone, both = plan(), plan(deploy_overlap=True)
    old = both.prediction.region("old process during a deploy")
    assert old is not None
    assert both.prediction.charge.bytes == alone.prediction.charge.bytes + old.charge_bytes
    assert 0.5 * alone.prediction.process.bytes < old.process_bytes
    assert both.number("max_conn") == alone.number("max_conn")


def test_every_regions_bytes_are_in_the_totals() -> None:
    """Points add up exactly, in both accounts, however little was measured."""
    for found in (plan(), plan(rss=[(512, 75 * MIB)]), plan(charge=[(4096, 184 * MIB)])):
        regions = found.prediction.regions
        assert sum(one.process_bytes for one in regions) == found.prediction.process.bytes
        assert sum(one.charge_bytes for one in regions) == found.prediction.charge.bytes
        assert sum(one.virtual_bytes for one in regions) == found.prediction.virtual_bytes


def test_slots_are_shown_against_what_they_cost_and_how_long_they_last() -> None:
    """Each line is arithmetic and the model's own answer; the lines go from few to many."""
    found = plan(reconnects_per_s=260_000.0, current="max_conn=128", strategy="static")
    model = ReuseportModel(workers=64, conns=4096, reconnects_per_s=260_000.0)
    lines = {row.max_conn: row for row in found.slots_table}
    assert list(lines) == sorted(lines)
    assert {lines[slots].note for slots in lines} == {
        "enough at one moment",
        "today",
        "needed",
        "advised",
        "",
    }
    for slots, row in lines.items():
        assert row.virtual_bytes == 64 * slots * 12 * KIB
        assert row.overflow_snapshot == model.overflow_probability(slots)
        assert row.overflow_horizon == model.overflow_within(slots, 30 * DAY)
    resident = [row.resident_bytes for row in lines.values()]
    assert resident[-1] == pytest.approx(resident[-2], rel=1e-3)


def test_a_limit_that_measured_memory_does_not_fit_cannot_be_met() -> None:
    """The high end of the measured charge counts against the limit less its headroom."""
    found = plan(charge=[(512, 75 * MIB), (4096, 184 * MIB)], memory_limit_bytes=190 * MIB)
    memory = constraint(found, "memory limit")
    assert memory.allowed == int(190 * MIB * 0.9)
    assert memory.needed == found.prediction.charge.high_bytes
    assert memory.source == "given, less 10% headroom"
    assert not found.feasible
    assert found.binding == "memory limit: cannot be met"
    roomy = plan(charge=[(512, 75 * MIB), (4096, 184 * MIB)], memory_limit_bytes=300 * MIB)
    assert roomy.feasible
    assert constraint(roomy, "memory limit").use == pytest.approx(
        roomy.prediction.charge.high_bytes / (300 * MIB * 0.9), rel=1e-6
    )
    assert roomy.binding.startswith("memory limit: ")


def test_without_a_measurement_the_expected_charge_counts() -> None:
    """A prior's high end is that of any server, and no limit would hold it."""
    memory = constraint(plan(memory_limit_bytes=512 * MIB), "memory limit")
    assert memory.needed == plan().prediction.charge.bytes
    assert memory.ok


@pytest.mark.parametrize(
    ("group", "total", "allowed", "source"),
    [
        (None, 8 * GIB, 8 * GIB, "this machine's memory"),
        (512 * MIB, 8 * GIB, 512 * MIB, "cgroup v2 of this process"),
        (16 * GIB, 8 * GIB, 8 * GIB, "this machine's memory"),
        (None, None, None, "this machine's memory"),
    ],
)
def test_without_a_limit_given_the_tightest_that_there_is_counts(
    group: int | None, total: int | None, allowed: int | None, source: str
) -> None:
    """The cgroup's limit, or the machine's memory where that is less or there is no group."""
    limits = None
    if group is not None:
        limits = MemoryLimits(
            name="/server", version=2, limit_bytes=2 * group, high_bytes=group, request_bytes=None
        )
    memory = constraint(
        plan(replace(HOST, memory_cgroup=limits, mem_total_bytes=total)), "memory limit"
    )
    assert memory.allowed == (None if allowed is None else int(allowed * 0.9))
    assert memory.source.startswith(source)


def test_too_few_slots_fixed_cannot_be_met() -> None:
    """64 slots for a mean of 64 overflow for certain; the constraint says the chance."""
    found = plan(max_conn=64)
    overflow = constraint(found, "overflow")
    assert overflow.needed == pytest.approx(1.0)
    assert overflow.allowed == 1e-6
    assert found.binding == "overflow: cannot be met"
    assert not found.feasible


def test_mappings_of_a_machine_that_allows_few_cannot_be_met_by_fd() -> None:
    """Every other of 100,000 connections closed leaves 50,000 pieces, beside the process's own."""
    found = plan(replace(HOST, max_map_count=50_000), strategy="fd", conns=100_000)
    mappings = constraint(found, "max_map_count")
    assert mappings.needed == 50_000 + 1 + 64 + 5 * 64
    assert (mappings.allowed, mappings.ok) == (50_000, False)
    assert found.binding == "max_map_count: cannot be met"


def test_the_decisive_constraint_is_the_one_used_most() -> None:
    """Among those that fail the worst; else the fullest once it is at least half used."""
    both = plan(replace(HOST, nr_open=1000), max_conn=64)
    assert both.binding == "overflow: cannot be met"
    near = plan(replace(HOST, nr_open=5000))
    assert near.binding == "nofile: 86% of what is allowed"
    assert plan().binding.startswith("overflow: MAX_CONN was chosen to meet it; next is ")
    nothing = replace(
        HOST, nr_open=None, max_map_count=None, mem_total_bytes=None, overcommit_memory=1
    )
    assert plan(nothing).binding.endswith("nothing else bounds the plan")


def test_an_unknown_option_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(mp.UsageError, match=r"there is no option 'conn'; there are .*conns"):
        mp.recommend(conn=4096)


def test_goals_are_checked_when_they_are_made() -> None:
    """Where the bounds are."""
    for wrong in (
        {"overflow": 0.0},
        {"overflow": 1.0},
        {"headroom": 1.0},
        {"max_conn": 0},
        {"max_conn": 2.5},
        {"max_fd": 2**31},
        {"recv": -1},
        {"recv": 2**31},
        {"memory_limit_bytes": 0},
    ):
        with pytest.raises(mp.UsageError):
            Goals(**wrong)


def test_a_plan_tells_the_value_of_a_setting_by_name() -> None:
    found = plan()
    assert found.setting("strategy") == "static"
    for missing in ("strategy", "nothing"):
        with pytest.raises(KeyError):
            found.number(missing)
