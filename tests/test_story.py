"""The seed's story, told from the configurations alone: by the library and by the command line.

A server's author changed MAX_CONN, the buffers and the way slots are found by hand and by hope.
Each test is one thing that he would have known before the run.
"""

import re
from typing import Any

import pytest
from planning_tools import HOST, Command, caution, commander, names, plan

from memplan.units import KIB, MIB
from memplan.whatif import WhatIf, what_if

WORKERS, CONNS = 64, 4096
CHURN = 260_000.0
TODAY = "strategy=static,max_conn=128,slot=12KiB,max_fd=4096"
# 2 KiB + 512 B + 4 KiB + 128 B of state: about 6.6 KiB.
SMALLER = "strategy=fd,state=128,recv=2KiB,body=512,write=4KiB,max_fd=4096"
MEASURED = [(512, 75 * MIB), (4096, 184 * MIB)]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    return commander(capfd)


def regions(change: WhatIf) -> dict[str, Any]:
    """Return the changes by region, those that are nothing left out."""
    return {
        one.name: one
        for one in change.changes
        if one.virtual_bytes or one.resident_bytes or one.charge_bytes
    }


def test_fewer_slots_take_address_space_and_no_memory_away() -> None:
    """MAX_CONN 1024 to 128: 64 x 896 x 12 KiB of address space, nothing resident."""
    change = what_if("strategy=static,max_conn=1024,slot=12KiB", "max_conn=128", host=HOST)
    assert change.resident_bytes == 0.0
    assert change.virtual_bytes == -WORKERS * 896 * 12 * KIB == -672 * MIB
    assert "never resident" in regions(change)["slots"].why
    # Tables of 8 bytes a page follow the pages' spread, not their number: next to nothing.
    assert abs(change.charge_bytes) < MIB


def test_explain_says_so_too(command: Command) -> None:
    """The command's JSON holds the same two figures, and its table shows them first."""
    args = ("explain", "--from", "strategy=static,max_conn=1024,slot=12KiB", "--to", "max_conn=128")
    found = command(*args, "--format", "json")
    assert (found.code, found.err) == (0, "")
    assert found.json["resident_bytes"] == 0.0
    assert found.json["virtual_bytes"] == -672 * MIB
    shown = command(*args)
    assert shown.out.splitlines()[0].startswith("resident 0 · virtual -672 MiB")


def test_128_slots_last_a_benchmark_and_not_a_month() -> None:
    """15 s of the churn overflow with 7.5e-7, 30 d with about 0.12."""
    found = plan(reconnects_per_s=CHURN, current=TODAY)
    row = next(row for row in found.slots_table if row.note == "today")
    assert row.max_conn == 128
    assert row.overflow_horizon is not None
    assert row.overflow_horizon.low >= 0.1214
    assert row.overflow_horizon.high <= 0.1294
    text = caution(found, "benchmark-not-horizon")
    assert text.startswith(
        "MAX_CONN 128 (today's) lasts a benchmark of 15 s (7.5e-07) and not 30 d at 260,000/s (0.12"
    )


@pytest.mark.parametrize(("overflow", "slots"), [(1e-3, 135), (1e-6, 144)])
def test_how_many_slots_a_month_of_it_needs(overflow: float, slots: int) -> None:
    """135 hold 1e-3 over 30 d, 144 hold 1e-6, and one slot less does not."""
    found = plan(reconnects_per_s=CHURN, overflow=overflow)
    assert found.required.slots == slots
    assert found.workload.horizon_s == 30 * 86_400
    assert found.basis == "30 d of 260,000/s reconnects"
    less = plan(reconnects_per_s=CHURN, overflow=overflow, max_conn=slots - 1)
    assert not less.feasible
    assert plan(reconnects_per_s=CHURN, overflow=overflow, max_conn=slots).feasible


def test_recommend_with_the_churn_says_so_too(command: Command) -> None:
    """The command gives the generous number, what is needed, and today's chances."""
    found = command(
        *("recommend", "--workers", "64", "--conns", "4096", "--reconnect-rate", "260000/s"),
        *("--current", TODAY, "--client-addresses", "1", "--memory-limit", "1GiB"),
        *("--format", "json"),
    )
    assert (found.code, found.err) == (0, "")
    assert found.json["required"]["slots"] == 144
    settings = {one["name"]: one["value"] for one in found.json["settings"]}
    assert settings["max_conn"] == 256
    assert settings["max_fd"] == 8192
    today = next(row for row in found.json["slots_table"] if row["note"] == "today")
    assert today["overflow_horizon"]["value"] == pytest.approx(0.125, abs=0.004)
    assert [one["name"] for one in found.json["cautions"]][:3] == [
        "few-clients",
        "benchmark-not-horizon",
        "max-fd-too-small",
    ]
    assert {one["severity"] for one in found.json["cautions"][:3]} == {"risk"}


def test_the_single_client_address_is_the_first_risk() -> None:
    """One address has 14,116 tuples: shares differ by sqrt(63 / 14,116) = 6.7% for good."""
    found = plan(reconnects_per_s=CHURN, client_addresses=1, current=TODAY)
    first = found.cautions[0]
    assert (first.name, first.severity) == ("few-clients", "risk")
    assert "1 client address (14,116 tuples)" in first.text
    assert f"differ by {100 * (63 / 14_116) ** 0.5:.1f}% (sd)" in first.text
    assert "few-clients" not in names(plan(reconnects_per_s=CHURN))


def test_max_fd_4096_is_too_small_for_4096_connections() -> None:
    """A process also holds 64 listeners, 64 rings, 64 eventfds and 3 streams: 4,291 in all."""
    assert CONNS + 3 * WORKERS + 3 == 4291
    text = caution(plan(current=TODAY), "max-fd-too-small")
    assert text.startswith("MAX_FD 4,096 (today's) is too small: 4,096 connections + 64 listeners")
    assert "= 4,291 descriptors in one process" in text
    pinned = plan(max_fd=4096)
    assert not pinned.feasible
    assert pinned.binding == "max_fd: cannot be met"
    assert plan(max_fd=4291).feasible


def test_6_6_kib_mapped_alone_is_8_kib(command: Command) -> None:
    """Today's slot of 6,784 bytes takes two pages when each connection maps its own."""
    text = caution(plan(current=SMALLER), "slot-rounds-up")
    assert text.startswith(
        "A slot of 6.62 KiB (today's) mapped alone takes 8 KiB: 1.38 KiB of each"
    )
    found = command("explain", "--from", TODAY, "--to", SMALLER, "--format", "json")
    assert (found.code, found.err) == (0, "")
    (text,) = (one["text"] for one in found.json["cautions"] if one["name"] == "slot-rounds-up")
    assert text.startswith("A slot of 6.62 KiB (as it would be) mapped alone takes 8 KiB")


def test_the_later_change_saves_a_third_of_the_slots() -> None:
    """4,096 connections go from 12 KiB to 8 KiB each, and the tables take 2 MiB of address space.

    Of a worker's table of 4,096 entries of 8 bytes, 8 pages, nearly all are touched by someone.
    """
    change = what_if(TODAY, SMALLER, host=HOST)
    tables = WORKERS * 4096 * 8
    assert regions(change)["slot tables"].virtual_bytes == tables
    slots = regions(change)["slots"]
    assert slots.why == "static to fd; a connection takes 8.01 KiB, not 12 KiB"
    assert -CONNS * 4 * KIB <= slots.resident_bytes <= -CONNS * 4 * KIB + tables


@pytest.mark.parametrize(
    ("before", "after", "measured", "low", "high"),
    [
        # Baseline to limited-conn: 30 more slots of 12 KiB on each of 64 workers in 5 s.
        ("charge=184MiB", "charge=254MiB,reconnect_rate=260000/s,horizon=5s", 70, 22.3, 22.5),
        # Runs 2 and 3 against the same process: three more slots a worker.
        (
            "charge=254MiB,reconnect_rate=260000/s,horizon=5s",
            "charge=272MiB,horizon=15s",
            18,
            2.1,
            2.3,
        ),
    ],
)
def test_what_the_high_water_explains_and_what_not(
    before: str, after: str, measured: int, low: float, high: float
) -> None:
    """Of 70 MiB 22.4 are high water, of the later 18 only 2.2; the rest is named, not smoothed."""
    change = what_if(f"strategy=static,max_conn=128,slot=12KiB,{before}", after, host=HOST)
    explained = regions(change)["slots touched by churn"].charge_bytes / MIB
    assert low <= explained <= high
    assert change.charge_bytes == pytest.approx(measured * MIB, abs=1)
    rest = regions(change)["unexplained"]
    # Page tables and the closed connections' remains are the rest of what is explained.
    assert rest.charge_bytes / MIB == pytest.approx(measured - explained, abs=0.3)
    assert f"measured to change by {measured} MiB, of which" in rest.why
    assert rest.resident_bytes == 0.0


def test_the_two_published_points_are_31_1_kib_a_connection_over_59_4_mib(
    command: Command,
) -> None:
    """75 MiB at 512 and 184 MiB at 4,096: the line through them stands in the plan."""
    slope = (184 - 75) * MIB / (4096 - 512)
    assert f"{slope / KIB:.1f}" == "31.1"
    assert f"{(75 * MIB - 512 * slope) / MIB:.1f}" == "59.4"
    found = plan(charge=MEASURED)
    said = "the container's charge goes on as measured, with 31.1 KiB a connection over 59.4 MiB"
    assert f"{said} (2 points)" in found.assumptions
    assert found.prediction.charge.bytes == 184 * MIB
    shown = command(
        "recommend", "--workers", "64", "--charge", "512=75MiB", "--charge", "4096=184MiB"
    )
    assert said in re.sub(r"\s+", " ", shown.out)
