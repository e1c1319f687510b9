"""The strategies stand side by side, and `auto` takes the one that keeps memory lowest."""

from dataclasses import replace
from typing import Any

import pytest
from planning_tools import HOST, plan

import memplan as mp
from memplan.units import KIB, MIB

STRATEGIES = ("static", "fd", "pooled")
LOADS: list[dict[str, Any]] = [
    {},
    {"reconnects_per_s": 260_000.0},
    {"reconnects_per_s": 50.0, "horizon_s": 3600.0, "conns": 60_000},
    {"active_fraction": 0.02},
    {"active_fraction": 0.1, "request_bytes": 300, "body_bytes": 16_000, "response_bytes": 30_000},
    {"conns": 200, "workers": 8, "process_model": "processes"},
]


def row(found: mp.Plan, name: str) -> Any:  # noqa: ANN401 - a StrategyRow
    """Return one strategy's line of the comparison."""
    (one,) = (one for one in found.strategies if one.name == name)
    return one


@pytest.mark.parametrize("load", LOADS)
def test_auto_takes_the_lowest_charge(load: dict[str, Any]) -> None:
    """Checked by asking for each strategy in turn: none is lower by more than a hair.

    Where memory is as good as equal (2%, or 1 MiB) the simplest wins.
    """
    alone = {name: plan(strategy=name, **load).prediction.charge.bytes for name in STRATEGIES}
    equal = min(alone.values()) + max(MIB, 0.02 * min(alone.values()))
    expected = next(name for name in STRATEGIES if alone[name] <= equal)
    found = plan(**load)
    assert found.setting("strategy") == expected
    assert found.prediction.charge.bytes == alone[expected]


def test_all_strategies_stand_side_by_side_and_one_is_chosen() -> None:
    """Three lines, one of them chosen; each other says what it would cost."""
    found = plan(reconnects_per_s=260_000.0)
    assert tuple(one.name for one in found.strategies) == STRATEGIES
    assert [one.name for one in found.strategies if one.chosen] == [found.setting("strategy")]
    for name in STRATEGIES:
        more = plan(strategy=name, reconnects_per_s=260_000.0).prediction.charge.bytes
        more -= found.prediction.charge.bytes
        if not row(found, name).chosen:
            size = float(row(found, name).verdict.split()[0]) * MIB
            assert row(found, name).verdict.endswith("MiB more in the container")
            assert size == pytest.approx(more, abs=0.5 * MIB)


def test_a_named_strategy_is_taken_though_it_costs_more() -> None:
    """What the user names is respected and marked, and the cheaper ones are still told of."""
    found = plan(strategy="pooled")
    assert found.setting("strategy") == "pooled"
    assert found.settings[0].pinned
    assert row(found, "static").verdict.endswith("MiB less in the container")
    assert not plan().settings[0].pinned


def test_a_strategys_own_settings_are_advised_with_it() -> None:
    """`static:reuse=fifo` walks through all its slots in a month, and the advice says fifo."""
    found = plan(strategy="static:reuse=fifo", reconnects_per_s=1000.0)
    reuse = next(one for one in found.settings if one.name == "reuse")
    assert (reuse.value, reuse.pinned) == ("fifo", True)
    every_slot = 64 * found.number("max_conn") * found.layout.slot_bytes
    assert row(found, "static").high_water_bytes == pytest.approx(every_slot, rel=1e-6)
    lifo = plan(strategy="static", reconnects_per_s=1000.0)
    assert row(lifo, "static").high_water_bytes < 0.5 * every_slot


def test_the_figures_are_those_of_the_simplest_arithmetic() -> None:
    """4,096 connections of three pages each; arrays of 64 x 256 slots; a table of 4,291 entries."""
    found = plan()
    slot = 12 * KIB
    static, fd = row(found, "static"), row(found, "fd")
    assert static.virtual_bytes == 64 * 256 * slot
    assert static.resident_bytes == pytest.approx(4096 * slot, rel=1e-3)
    assert static.mappings == 1
    assert fd.virtual_bytes == 4096 * slot + 64 * 4291 * 8
    assert 4096 * slot <= fd.resident_bytes <= 4096 * slot + 64 * (4291 * 8 + 4096)


def test_a_strategy_that_runs_into_a_limit_is_not_taken() -> None:
    """With churn fd is the lowest; where the machine allows too few mappings it cannot be had."""
    load: dict[str, Any] = {"reconnects_per_s": 260_000.0}
    assert plan(**load).setting("strategy") == "fd"
    found = plan(replace(HOST, max_map_count=2000), **load)
    assert found.setting("strategy") == "static"
    assert row(found, "fd").verdict == "runs into max_map_count"
    assert found.feasible


def test_where_none_is_able_the_lowest_is_shown_and_the_plan_does_not_hold() -> None:
    """Every strategy needs more descriptors than the kernel gives to any process."""
    found = plan(replace(HOST, nr_open=1000))
    assert not found.feasible
    assert found.binding == "nofile: cannot be met"
    assert all("nofile" in one.verdict for one in found.strategies)


def test_measurements_move_all_strategies_and_choose_none() -> None:
    """What the server takes besides its slots is the same for all of them."""
    bare = plan(reconnects_per_s=260_000.0)
    measured = plan(
        reconnects_per_s=260_000.0,
        charge=[(4096, 184 * MIB)],
        current="strategy=static,max_conn=128,slot=12KiB",
    )
    assert measured.setting("strategy") == bare.setting("strategy") == "fd"
    # Nothing had churned when it was measured: 4,096 slots of 12 KiB, which a mapping each costs
    # too, but for the tables that find them.
    more = row(measured, "fd").high_water_bytes - 4096 * 12 * KIB
    assert measured.prediction.charge.bytes - 184 * MIB == pytest.approx(more, abs=MIB)


def test_what_was_measured_before_any_churn_grows_by_its_high_water() -> None:
    """`recommend` and `explain` agree: 184 MiB without reconnects, 42 MiB more in 30 days."""
    today = "strategy=static,max_conn=128,slot=12KiB"
    points = [(4096, 184 * MIB)]
    still = plan(strategy="static", max_conn=128, charge=points, current=today)
    churn: dict[str, Any] = {"reconnects_per_s": 260_000.0, "horizon_s": 30 * 86400.0}
    moved = plan(strategy="static", max_conn=128, charge=points, current=today, **churn)
    change = mp.what_if(today, "reconnect_rate=260000/s,horizon=30d", host=HOST)
    assert still.prediction.charge.bytes == pytest.approx(184 * MIB, abs=MIB / 4)
    grown = moved.prediction.charge.bytes - still.prediction.charge.bytes
    assert grown == pytest.approx(change.charge_bytes, abs=MIB / 2)
    assert grown == pytest.approx((120.1 - 64) * 64 * 12 * KIB, rel=0.01)
    assert any("had seen no reconnects" in one for one in moved.assumptions)
    seen = plan(
        strategy="static",
        max_conn=128,
        charge=points,
        current=f"{today},reconnect_rate=260000/s,horizon=30d",
        **churn,
    )
    assert seen.prediction.charge.bytes == pytest.approx(184 * MIB, abs=MIB / 4)


def test_a_range_of_connections_is_inside_the_interval() -> None:
    """What the fewest and the most connections take by themselves lies between both ends."""
    costs = {"base_bytes": 8 * MIB, "stack_bytes": 16 * KIB, "ring_bytes": 136 * KIB}
    pins = {**costs, "buffer_bytes": 64 * KIB, "in_flight_bytes": 0}
    options: dict[str, Any] = {"strategy": "static", "reconnects_per_s": 100.0, "pins": pins}
    spread = plan(conns=(1000, 10_000), **options)
    for conns in (1000, 5500, 10_000):
        exact = plan(conns=conns, max_conn=spread.number("max_conn"), **options).prediction.process
        assert spread.prediction.process.low_bytes <= exact.bytes
        assert exact.bytes <= spread.prediction.process.high_bytes
    most = plan(conns=10_000, **options).prediction.charge.bytes
    for limit in (most * 0.95, most * 1.05):
        found = plan(conns=(1000, 10_000), memory_limit_bytes=int(limit), headroom=0.0, **options)
        assert found.feasible == (limit > most)


def test_measured_slots_are_replaced_by_the_planned_ones() -> None:
    """Measured with packed slots of 12 KiB, planned with 8 KiB each: 4,096 x 4 KiB go away.

    The table's pages come on top: at most 64 tables of 4,291 entries.
    """
    found = plan(
        strategy="fd",
        request_bytes=2000,
        body_bytes=512,
        response_bytes=4000,
        charge=[(4096, 184 * MIB)],
        current="strategy=static,max_conn=128,slot=12KiB",
    )
    assert found.layout.pages_alone(4096) == 2
    gone = 184 * MIB - found.prediction.charge.bytes
    assert 4096 * 4 * KIB - 64 * (4291 * 8 + 4096) - MIB <= gone <= 4096 * 4 * KIB + MIB


def test_what_was_measured_today_may_stand_in_todays_configuration() -> None:
    """`charge=` beside the slots it was measured with is a point like any other."""
    slots = "strategy=static,max_conn=128,slot=12KiB"
    as_point = plan(charge=[(4096, 184 * MIB)], current=slots)
    within = plan(current=f"{slots},charge=184MiB")
    assert within.prediction == as_point.prediction
    at_512 = plan(current=f"{slots},conns=512,charge=75MiB", charge=[(4096, 184 * MIB)])
    assert any("31.1 KiB a connection over 59.4 MiB" in one for one in at_512.assumptions)


@pytest.mark.parametrize(
    ("current", "message"),
    [
        ("foo=bar", "foo is no setting of the strategy static; it has reuse, align_bytes"),
        ("strategy=fd,reuse=lifo", "reuse is no setting of the strategy fd"),
        ("strategy=nope", "there is no slot strategy 'nope'"),
    ],
)
def test_a_slip_in_todays_configuration_is_told_even_where_it_changes_nothing(
    current: str, message: str
) -> None:
    with pytest.raises(mp.UsageError, match=message):
        plan(current=current)


def test_todays_own_load_is_not_used_and_that_is_said() -> None:
    """Both sides are reckoned under the load planned for; what differs in it is named.

    Today's workers are its own: 8 x 128 slots of 12 KiB are 12 MiB.
    """
    found = plan(
        strategy="static", current="strategy=static,max_conn=128,slot=12KiB,workers=8,conns=512"
    )
    assert any("not under their own conns=512" in one for one in found.assumptions)
    (slots,) = (one for one in found.changes if one.name == "slots")
    assert slots.virtual_bytes == (64 * 256 - 8 * 128) * 12 * KIB
    same = plan(current="strategy=static,max_conn=128,slot=12KiB,workers=64,conns=4096")
    assert not any("under their own" in one for one in same.assumptions)


def test_the_changes_add_up_to_the_difference_of_both_plans() -> None:
    """Each region's change is the difference of what it takes today and would take."""
    today = "strategy=static,max_conn=128,slot=12KiB"
    found = plan(strategy="fd", current=today, reconnects_per_s=260_000.0)
    before = plan(
        strategy="static",
        max_conn=128,
        state=0,
        recv=12 * KIB,
        body=0,
        write=0,
        reconnects_per_s=260_000.0,
    )
    total = sum(change.charge_bytes for change in found.changes)
    difference = found.prediction.charge.bytes - before.prediction.charge.bytes
    assert total == pytest.approx(difference, abs=len(found.changes))
