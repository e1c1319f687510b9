"""Buffers are sized from traffic and pages: every needed byte fits, and no page is paid in vain."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from planning_tools import HOST, names, plan

import memplan as mp
from memplan.planning.comparison import compare
from memplan.planning.goals import Evidence, Goals
from memplan.planning.setup import set_up
from memplan.planning.sizing import (
    LARGEST_BUFFER_BYTES,
    STATE_BYTES,
    BufferNeed,
    buffer_need,
    candidate_layouts,
    generous,
)
from memplan.quantity import Quantity
from memplan.slots import find_strategy
from memplan.units import KIB, MIB
from memplan.workload import Traffic, Workload

PAGE = 4096
BUFFERS = ("recv", "body", "write")
sizes = st.one_of(st.none(), st.integers(0, 70_000))
needs = st.builds(BufferNeed, recv=sizes, body=sizes, write=sizes)


def exactly(**values: float) -> Traffic:
    return Traffic(**{name: Quantity.exactly(value) for name, value in values.items()})


def pages_alone(layout: mp.SlotLayout, used: dict[str, int]) -> int:
    """Count the pages that a slot at a page's start touches, one byte after the other."""
    touched, start = set(), 0
    for field in layout.fields:
        written = min(used.get(field.name, field.size_bytes), field.size_bytes)
        touched |= {byte // PAGE for byte in range(start, start + written)}
        start += field.size_bytes
    return len(touched)


def test_a_pipelined_batch_fits_with_the_bodies_between_its_heads() -> None:
    """16 heads of 80 B and 15 bodies between them; the last body goes to its own buffer."""
    need = buffer_need(exactly(request_bytes=80, body_bytes=512, response_bytes=200, pipeline=16))
    assert need == BufferNeed(recv=16 * 80 + 15 * 512, body=512, write=16 * 200)


def test_what_is_not_said_of_the_traffic_is_not_known() -> None:
    """A batch without sizes says nothing; one size says nothing of the others."""
    assert not buffer_need(exactly(pipeline=16)).known
    assert buffer_need(exactly(request_bytes=300)) == BufferNeed(recv=300, body=None, write=None)


def test_buffers_hold_what_99_of_100_requests_need() -> None:
    """The 99th percentile counts, between the quantiles given, and what is above is streamed."""
    seen = Quantity.quantiles({0.5: 200, 0.99: 1400, 1.0: 90_000})
    assert buffer_need(Traffic(request_bytes=seen)).recv == 1400
    assert buffer_need(Traffic(request_bytes=Quantity.between(100, 200))).recv == 199
    huge = buffer_need(exactly(request_bytes=100, body_bytes=8 * MIB, pipeline=4))
    assert huge.body == huge.recv == LARGEST_BUFFER_BYTES


@given(needs)
def test_every_candidate_holds_the_need(need: BufferNeed) -> None:
    """However it rounds, no candidate is a byte short, and the first one wastes no cache line.

    A server that is sent nothing still has one cache line to find that out with.
    """
    found = candidate_layouts(need, Goals())
    assert list(found) == sorted(found, key=lambda layout: layout.slot_bytes)
    for layout, name in itertools.product(found, BUFFERS):
        assert layout.size_of(name) >= (getattr(need, name) or 0)
    if None not in {need.recv, need.body, need.write}:
        lines = {name: -(-getattr(need, name) // 64) for name in BUFFERS}
        lines["recv"] = max(lines["recv"], 1)
        least = STATE_BYTES + 64 * sum(lines.values())
        assert found[0].slot_bytes == least


@given(needs, st.sets(st.sampled_from(["state", *BUFFERS])), st.integers(1, 20_000))
def test_a_fixed_size_is_in_every_candidate(need: BufferNeed, fixed: set[str], size: int) -> None:
    """What the user fixes is respected, even where the traffic needs more."""
    wishes: dict[str, Any] = dict.fromkeys(fixed, size)
    goals = Goals(**wishes)
    for layout in candidate_layouts(need, goals):
        assert all(layout.size_of(name) == size for name in fixed)


@given(needs, st.sampled_from(["static", "fd", "pooled"]))
@settings(max_examples=40)
def test_a_roomier_slot_makes_no_more_resident(need: BufferNeed, name: str) -> None:
    """The layout taken is within half a percent of the least of all candidates."""
    traffic = Traffic(
        request_bytes=None if need.recv is None else Quantity.exactly(need.recv),
        body_bytes=None if need.body is None else Quantity.exactly(need.body),
        response_bytes=None if need.write is None else Quantity.exactly(need.write),
    )
    workload = Workload(workers=16, conns=Quantity.exactly(1000), traffic=traffic)
    setup = set_up(workload, Goals(strategy=name), Evidence(), host=HOST)
    chosen = compare(setup, 256).chosen
    strategy = find_strategy(name)
    least = min(
        strategy.footprint(chosen.load, layout, chosen.settings).high_water.mean_bytes
        for layout in candidate_layouts(setup.need, setup.goals)
    )
    assert chosen.footprint.high_water.mean_bytes <= 1.005 * least


@pytest.mark.parametrize("strategy", ["auto", "static", "fd", "pooled", "pooled:buffers=5000"])
def test_traffic_of_nothing_has_a_plan_of_every_strategy(strategy: str) -> None:
    """Heads, bodies and answers of no bytes: a cache line to read into, and the rest is given."""
    found = plan(strategy=strategy, request_bytes=0, body_bytes=0, response_bytes=0)
    assert found.number("recv") >= 64
    assert len(found.strategies) == len(BUFFERS)


def test_a_rival_that_cannot_have_the_sizes_steps_back_and_a_wish_is_refused() -> None:
    """Fixed to a header and no buffers, static and fd have a plan, pooled has nothing to pool."""
    fixed: dict[str, Any] = {"recv": 0, "body": 0, "write": 0}
    found = plan(**fixed)
    assert [one.name for one in found.strategies] == ["static", "fd"]
    reason = "a slot of 128 bytes is all header; pooled needs a buffer"
    assert f"pooled is left out of the comparison: {reason}" in found.assumptions
    with pytest.raises(mp.UsageError, match=reason):
        plan(strategy="pooled", **fixed)
    assert not any("left out" in one for one in plan().assumptions)


def test_a_buffer_that_cannot_be_halved_is_not_said_to_save_nothing() -> None:
    """Without a state of its own, a pooled slot of 200 bytes halved would be all header."""
    sizes: dict[str, Any] = {"state": 0, "recv": 200, "body": 0, "write": 0}
    found = plan(strategy="pooled", request_bytes=50, **sizes)
    assert found.layout.slot_bytes == 200
    assert "saves-nothing" not in names(found)


@given(st.integers(1, 9000), st.integers(0, 9000), st.integers(0, 9000), st.integers(1, 16))
@settings(max_examples=30)
def test_every_needed_byte_fits_in_the_advice(
    request: int, body: int, response: int, depth: int
) -> None:
    """Whatever the traffic, the sizes advised hold it, and the slot is their sum."""
    found = plan(request_bytes=request, body_bytes=body, response_bytes=response, pipeline=depth)
    size = {field.name: field.size_bytes for field in found.layout.fields}
    assert size["recv"] >= min(depth * request + (depth - 1) * body, LARGEST_BUFFER_BYTES)
    assert size.get("body", 0) >= min(body, LARGEST_BUFFER_BYTES)
    assert size.get("write", 0) >= min(depth * response, LARGEST_BUFFER_BYTES)
    assert found.number("slot") == found.layout.slot_bytes >= sum(size.values())
    for name, value in size.items():
        assert found.number(name) == value


@pytest.mark.parametrize("strategy", ["fd", "static"])
@pytest.mark.parametrize(
    ("request_bytes", "body", "response"),
    [(80, 64, 200), (80, 512, 5000), (3000, 3000, 3000), (4096, 4096, 4096)],
)
def test_a_smaller_size_that_saves_nothing_is_said_and_no_other(
    strategy: str, request_bytes: int, body: int, response: int
) -> None:
    """Halving a buffer that stays large enough is called vain just where no page goes away.

    Checked by counting: of a slot mapped alone the pages that a connection writes; of slots packed
    behind each other the share of the pages, which is the slot's size where it is written whole.
    """
    found = plan(
        strategy=strategy, request_bytes=request_bytes, body_bytes=body, response_bytes=response
    )
    used = {"recv": request_bytes, "body": body, "write": response}
    said = [one.text for one in found.cautions if one.name == "saves-nothing"]
    for name in BUFFERS:
        size = found.layout.size_of(name)
        half = size // 2
        if used[name] > half or not half:
            assert not any(text.startswith(f"{name} at") for text in said)
            continue
        smaller = mp.SlotLayout(
            tuple(
                replace(field, size_bytes=half) if field.name == name else field
                for field in found.layout.fields
            )
        )
        if strategy == "fd":
            vain = pages_alone(smaller, used) == pages_alone(found.layout, used)
            assert any(text.startswith(f"{name} at") for text in said) == vain


def test_a_vain_saving_is_told_with_both_sizes() -> None:
    """All that a slot holds fits one page, so no half of a buffer is worth anything."""
    found = plan(strategy="fd", request_bytes=80, body_bytes=64, response_bytes=200, body=1024)
    assert found.layout.slot_bytes == PAGE
    said = [one.text for one in found.cautions if one.name == "saves-nothing"]
    assert (
        "body at 512 B instead of 1 KiB would save nothing: fd makes the same pages resident."
        in said
    )


def test_without_traffic_it_is_a_page_for_each_buffer_and_that_is_said() -> None:
    """The advice is three whole pages, and how to do better is the first assumption."""
    found = plan()
    assert found.layout.slot_bytes == 12 * KIB
    assert found.number("recv") == 4 * KIB - STATE_BYTES
    assert any("--request-bytes" in one for one in found.assumptions)
    assert "saves-nothing" not in names(found)
    assert not any("--request-bytes" in one for one in plan(request_bytes=80).assumptions)


@given(st.integers(1, 10**9))
def test_the_generous_number_is_round_and_has_half_as_much_to_spare(slots: int) -> None:
    """A power of two, at least half above what is needed, at most three times it."""
    found = generous(slots)
    assert found & (found - 1) == 0
    assert 2 * found >= 3 * slots
    assume(slots >= 3)
    assert found < 3 * slots


def test_at_one_moment_the_slots_of_all_workers_are_the_connections() -> None:
    """Loads add up: 4,096 slots of three pages each are 48 MiB, with nothing left to vary."""
    (static,) = (one for one in plan().strategies if one.name == "static")
    assert static.high_water_low_bytes == pytest.approx(48 * MIB, abs=1)
    assert static.high_water_high_bytes == pytest.approx(48 * MIB, abs=1)
    (churned,) = (one for one in plan(reconnects_per_s=1e5).strategies if one.name == "static")
    assert churned.high_water_low_bytes < churned.high_water_bytes < churned.high_water_high_bytes
