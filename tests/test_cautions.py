"""Each warning comes when it should, with its figure, and not otherwise."""

from dataclasses import replace
from typing import Any

import pytest
from planning_tools import HOST, caution, names, plan

from memplan.reuseport_model import ReuseportModel
from memplan.units import GIB, MIB

CHURN: dict[str, Any] = {"reconnects_per_s": 260_000.0}


def test_a_snapshot_says_that_it_is_one() -> None:
    """Without churn the reader is told that the target holds at one moment only."""
    assert "112 slots hold the target at one moment only" in caution(plan(), "snapshot")
    assert "snapshot" not in names(plan(**CHURN))


def test_huge_pages_are_named_only_where_they_are_always_on() -> None:
    """THP set to always makes untouched slots resident, two mebibytes at a time."""
    assert "2 MiB at a time" in caution(plan(replace(HOST, thp_mode="always")), "thp")
    assert "thp" not in names(plan(replace(HOST, thp_mode="madvise")))


def test_a_mapping_for_each_connection_is_held_against_the_kernels_limit() -> None:
    """Every other mapping closed splits the rest: half of them count, against vm.max_map_count."""
    near = plan(strategy="fd", conns=80_000)
    assert "40,001 of slots" in caution(near, "max-map-count")
    assert [one.severity for one in near.cautions if one.name == "max-map-count"] == ["warning"]
    beyond = plan(strategy="fd", conns=140_000)
    assert [one.severity for one in beyond.cautions if one.name == "max-map-count"] == ["risk"]
    assert not beyond.feasible
    assert "max-map-count" not in names(plan(strategy="fd"))
    assert "max-map-count" not in names(plan(strategy="static", conns=80_000))


def test_mapping_at_every_accept_is_counted_in_system_calls() -> None:
    """Two system calls a reconnect: 260,000 reconnects/s are 520,000 calls/s."""
    assert "520,000 system calls/s" in caution(plan(strategy="fd", **CHURN), "mapping-calls")
    assert "mapping-calls" not in names(plan(strategy="fd"))
    assert "mapping-calls" not in names(plan(strategy="static", **CHURN))


def test_strict_overcommit_counts_every_slot() -> None:
    """In mode 2 the whole array is committed: 64 x 256 x 12 KiB are 192 MiB."""
    strict = replace(HOST, overcommit_memory=2, commit_limit_bytes=GIB)
    assert "192 MiB of 1 GiB" in caution(plan(strict, strategy="static"), "overcommit")
    tight = plan(replace(strict, commit_limit_bytes=100 * MIB), strategy="static")
    assert [one.severity for one in tight.cautions if one.name == "overcommit"] == ["risk"]
    assert not tight.feasible


def test_more_address_space_than_memory_is_named() -> None:
    """The heuristic may refuse slots that are larger than the machine in one piece."""
    small = replace(HOST, mem_total_bytes=128 * MIB)
    text = caution(plan(small, strategy="static"), "overcommit")
    assert "192 MiB of address space in one piece, more than the machine's 128 MiB" in text
    assert "overcommit" not in names(plan(strategy="static"))


def test_ports_in_time_wait_are_counted() -> None:
    """260,000/s for 60 s leave 15.6 million tuples waiting; one address has 14,116."""
    text = caution(plan(client_addresses=1, **CHURN), "ephemeral-ports")
    assert "15,600,000 tuples in TIME_WAIT" in text
    assert "14,116 tuples" in text
    assert "ephemeral-ports" not in names(plan(client_addresses=8, reconnects_per_s=10.0))


def test_few_clients_are_the_first_risk_with_the_models_own_figures() -> None:
    """The chance over boots is the frozen hash's, which the model gives by itself."""
    found = plan(client_addresses=1, **CHURN)
    assert names(found)[0] == "few-clients"
    model = ReuseportModel(workers=64, conns=4096, client_addresses=1, **CHURN)
    frozen = model.frozen(found.required.slots, found.workload.horizon_s)
    text = caution(found, "few-clients")
    assert f"{100 * frozen.share_sd:.1f}% (sd)" in text
    assert f"{frozen.over_boots.value:.2g} over boots" in text
    many = plan(client_addresses=100_000, reconnects_per_s=1000.0)
    assert [one.severity for one in many.cautions if one.name == "few-clients"] == ["warning"]


def test_a_shell_with_few_descriptors_is_named() -> None:
    """The hard limit of the planning shell is no bound of the plan, but worth a note."""
    low = replace(HOST, nofile_hard=4096)
    assert "may open 4,096 descriptors" in caution(plan(low), "nofile-here")
    assert plan(low).feasible
    assert "nofile-here" not in names(plan())


def test_what_was_not_measured_is_said() -> None:
    """Without a point the interval is a prior's; with one the caution goes."""
    assert "not-measured" in names(plan())
    assert "not-measured" not in names(plan(charge=[(4096, 184 * MIB)]))


def test_the_hashs_own_conditions_are_said_only_where_there_is_a_hash() -> None:
    """SO_INCOMING_CPU and BPF void the model; one worker or an exact balance has none."""
    assert "model-void" in names(plan())
    assert "model-void" not in names(plan(workers=1))
    assert "model-void" not in names(plan(balance="exact"))


def test_the_gravest_come_first() -> None:
    """Risks stand before warnings, warnings before notes."""
    found = plan(client_addresses=1, max_conn=112, max_fd=1024, **CHURN)
    order = [("risk", "warning", "note").index(one.severity) for one in found.cautions]
    assert order == sorted(order)
    assert order[0] == 0


def test_a_prior_reaches_no_higher_than_the_measured_whole() -> None:
    """A region is a part of what was measured: its high end is at most the total's."""
    prediction = plan(charge=[(512, 75 * MIB), (4096, 184 * MIB)]).prediction
    for one in prediction.regions:
        assert one.charge_high_bytes <= max(prediction.charge.high_bytes, one.charge_bytes)
        assert one.charge_low_bytes <= one.charge_bytes <= one.charge_high_bytes


@pytest.mark.parametrize("count", [1, 2])
def test_one_of_a_thing_is_written_in_the_singular(count: int) -> None:
    """`1 listener`, `2 listeners`: sums are read by people."""
    (why,) = (one.why for one in plan(workers=count).settings if one.name == "max_fd")
    assert ("1 listener " in why) == (count == 1)
    assert ("2 listeners " in why) == (count == 2)
