"""What the sample plans are made of: layouts, regions, strategies, settings and constraints."""

from dataclasses import replace

from memplan.answer import Answer
from memplan.constraint import Constraint
from memplan.memory.estimate import Estimate
from memplan.memory.region import Provenance, Region, Scope
from memplan.plan import Setting, StrategyRow
from memplan.slots import SlotField, SlotLayout
from memplan.units import KIB, MIB

LAYOUT = SlotLayout.of(state=128, recv=4096 - 128, body=4096, write=4096)
SMALL = SlotLayout.of(state=128, recv=2 * KIB, body=512, write=4 * KIB)
ALIGNED = SlotLayout(
    (SlotField("head", 100), SlotField("recv", 3000, 64), SlotField("comptime", 129, 8)), 128
)
"""Padding inside and at the end, an alignment of its own, and a field that Zig keeps for itself."""

NASTY = "a|b `c` <b>&\"' */ // # \\ \n\r\t\x1b[31m _d_ *e* [f](g) $(h) %i \u202e~"
"""What may stand in a text that comes from a user's own strategy or a process's name."""


def bracketed(value: float, spread: float = 0.0, method: str = "Levin exact") -> Answer:
    """Return an answer with a bracket of so much about its value."""
    return Answer(
        value=value,
        low=value * (1 - spread),
        high=value * (1 + spread),
        method=method,
        relative_error=1e-12,
    )


def region(
    name: str,
    scope: Scope,
    provenance: Provenance,
    *,
    virtual: int = 0,
    process: int = 0,
    charge: int = 0,
) -> Region:
    """Return a region with intervals of a quarter below and a half above."""
    return Region(
        name=name,
        scope=scope,
        virtual_bytes=virtual,
        process_bytes=process,
        process_low_bytes=process - abs(process) // 4,
        process_high_bytes=process + abs(process) // 2,
        charge_bytes=charge,
        charge_low_bytes=charge * 3 // 4,
        charge_high_bytes=charge * 3 // 2,
        provenance=provenance,
    )


REGIONS = (
    region(
        "process base",
        "process",
        Provenance(
            "default",
            "8 MiB, a lean native server; published servers took from a few MiB to GiB, so one "
            "measurement is worth most here",
        ),
        process=8 * MIB,
        charge=8 * MIB,
    ),
    region(
        "rings or epolls",
        "worker",
        Provenance("default", "an io_uring of 1024/4096 entries; epoll takes next to nothing"),
        process=64 * 140 * KIB,
        charge=64 * 140 * KIB,
    ),
    region(
        "kernel stacks and threads",
        "worker",
        Provenance("kernel", "a stack of 16 KiB and about 7 KiB of structures a worker"),
        charge=64 * 23 * KIB,
    ),
    region(
        "slots",
        "slots",
        Provenance("predicted", "pages that strategy static touches"),
        virtual=64 * 256 * LAYOUT.slot_bytes,
        process=4096 * LAYOUT.slot_bytes,
        charge=4096 * LAYOUT.slot_bytes,
    ),
    region(
        "sockets",
        "connection",
        Provenance("pinned", "given by the user"),
        charge=4096 * 3648,
    ),
    region(
        "unexplained",
        "whole",
        Provenance("measured", "what was measured, less what the regions explain"),
        process=-3 * MIB,
        charge=12 * MIB,
    ),
)

STATIC = StrategyRow(
    name="static",
    chosen=True,
    layout=LAYOUT,
    virtual_bytes=64 * 256 * LAYOUT.slot_bytes,
    resident_bytes=4096.0 * LAYOUT.slot_bytes,
    high_water_bytes=6010.4 * LAYOUT.slot_bytes,
    high_water_low_bytes=5990.0 * LAYOUT.slot_bytes,
    high_water_high_bytes=6031.0 * LAYOUT.slot_bytes,
    idle_conn_bytes=12.0 * KIB,
    mappings=1.0,
    constraints=(),
    verdict="[workers][max_conn] slots in one array; a slot that is never used is never resident",
)
FD = replace(
    STATIC,
    name="fd",
    chosen=False,
    layout=SMALL,
    resident_bytes=4096.0 * 8 * KIB,
    high_water_bytes=4096.0 * 8 * KIB,
    high_water_low_bytes=4096.0 * 8 * KIB,
    high_water_high_bytes=4096.0 * 8 * KIB,
    idle_conn_bytes=8.0 * KIB,
    mappings=1853.2,
    verdict="8.1 MiB more in the container",
)
POOLED = replace(
    FD, name="pooled", idle_conn_bytes=143.0, mappings=65.0, verdict="runs into pool buffers"
)


def estimate(expected: int, *, prior: bool = False) -> Estimate:
    """Return an estimate with a lopsided interval."""
    return Estimate(
        bytes=expected,
        low_bytes=expected * 4 // 5,
        high_bytes=expected * 3 // 2 + 12345,
        rests_on="prior" if prior else "data and prior",
        method="sum of the regions, their errors independent"
        if prior
        else "2.5 times beyond the last of 2 points",
    )


def settings(layout: SlotLayout = LAYOUT) -> tuple[Setting, ...]:
    """Return advice as the planner words it."""
    return (
        Setting(name="strategy", value="static", why="one packed array of slots for each worker"),
        Setting(
            name="max_conn",
            value=256,
            unit="slots",
            why="144 hold 1e-06 over 30 d; the rest is headroom that is never touched",
        ),
        Setting(
            name="max_fd",
            value=8192,
            unit="descriptors",
            pinned=True,
            why="4,096 connections + 64 listeners + 64 rings or epolls + 64 eventfds + 3 standard "
            "streams = 4,291 descriptors in one process",
        ),
        Setting(name="nofile", value=8192, unit="descriptors", why="RLIMIT_NOFILE of one process"),
        *(
            Setting(
                name=one.name,
                value=one.size_bytes,
                unit="bytes",
                why="traffic not given: a page for each buffer, less the state",
            )
            for one in layout.fields
        ),
        Setting(name="slot", value=layout.slot_bytes, unit="bytes", why="the sum, 3 pages"),
    )


def constraints(*, limit: int = 512 * MIB, needed: int = 276 * MIB) -> tuple[Constraint, ...]:
    """Return what must hold; the memory limit can be made too small."""
    return (
        Constraint(
            name="overflow",
            needed=6.1e-9,
            allowed=1e-6,
            unit="probability",
            source="target",
            detail="some worker gets more than 256 connections (quasi-stationary exit)",
        ),
        Constraint(
            name="memory limit",
            needed=needed,
            allowed=int(limit * 0.9),
            unit="bytes",
            source="given, less 10% headroom",
            detail="the high end of the charge's 95% interval",
        ),
        Constraint(
            name="nofile",
            needed=4291,
            allowed=1_048_576,
            unit="descriptors",
            source="fs.nr_open, the most that LimitNOFILE can set",
            detail="4,096 connections + 64 listeners + 64 rings or epolls + 64 eventfds + 3 "
            "standard streams = 4,291 descriptors in one process",
        ),
        Constraint(
            name="max_map_count",
            needed=70_123,
            allowed=262_144,
            unit="mappings",
            source="vm.max_map_count",
            detail="69,739 of slots + about 384 of the process in itself",
        ),
        Constraint(
            name="pool buffers", needed=64, allowed=None, unit="slots", source="grown on demand"
        ),
    )
