"""The limits that a slot strategy runs into: descriptors, mappings and address space."""

import math
from dataclasses import dataclass

from memplan.constraint import Constraint
from memplan.descriptors import DescriptorSum
from memplan.slot_layout import PAGE_BYTES
from memplan.slot_load import SlotLoad
from memplan.units import format_bytes

MAPPINGS_PER_PROCESS = 64
"""Mappings of a process without workers: its binary, libraries, heap, stack and vdso."""
MAPPINGS_PER_WORKER = 5
"""A thread's stack and its guard page, a ring's two areas, a buffer ring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLimits:
    """What the machine allows; None where it is not known, and then it bounds nothing.

    Attributes:
        max_map_count: Mappings of one process (vm.max_map_count).
        nofile_soft: Descriptors that a process may open now (RLIMIT_NOFILE).
        nofile_hard: Descriptors that it may ask for.
        overcommit_memory: 0 for the heuristic, 1 for always, 2 for never.
        commit_limit_bytes: What all processes together may commit in mode 2.
        mem_total_bytes: Memory of the machine.
        swap_total_bytes: Its swap, which mode 0 counts as well.
        page_bytes: Size of a page.
    """

    max_map_count: int | None = None
    nofile_soft: int | None = None
    nofile_hard: int | None = None
    overcommit_memory: int | None = None
    commit_limit_bytes: int | None = None
    mem_total_bytes: int | None = None
    swap_total_bytes: int = 0
    page_bytes: int = PAGE_BYTES


def descriptors_of(load: SlotLoad) -> DescriptorSum:
    """Return the descriptors of one process: threads of one process add up, processes do not."""
    workers = load.workers if load.one_process else 1
    return DescriptorSum(
        parts=(
            ("connections", load.most_conns_of_a_process),
            *((name, count * workers) for name, count in load.fds_per_worker),
            ("standard streams", load.fds_per_process),
        ),
        per="one process" if load.one_process else "each process",
    )


def table_limit(load: SlotLoad) -> Constraint:
    """Return the need of a table indexed by descriptor: the kernel gives the lowest free number."""
    need = descriptors_of(load)
    return Constraint(
        name="max_fd",
        needed=need.total,
        allowed=load.max_fd,
        unit="descriptors",
        source="entries of the table" if load.max_fd is not None else "made as large as needed",
        detail=need.words(),
    )


def nofile_limit(load: SlotLoad, host: HostLimits) -> Constraint:
    """Return the need of RLIMIT_NOFILE. The hard limit counts: a server may raise its soft one."""
    need = descriptors_of(load)
    allowed = host.nofile_soft if host.nofile_hard is None else host.nofile_hard
    source = "RLIMIT_NOFILE, hard" if host.nofile_hard is not None else "RLIMIT_NOFILE, soft"
    detail = need.words()
    if host.nofile_soft is not None and allowed is not None and host.nofile_soft < allowed:
        detail += f"; the soft limit is {host.nofile_soft:,} until the server raises it"
    return Constraint(
        name="nofile",
        needed=need.total,
        allowed=allowed,
        unit="descriptors",
        source=source,
        detail=detail,
    )


def mappings_limit(load: SlotLoad, host: HostLimits, own: int, detail: str) -> Constraint:
    """Return the need of vm.max_map_count.

    Args:
        load: The load.
        host: The machine.
        own: Mappings of the slots of one process, at worst.
        detail: How that worst comes about.
    """
    workers = load.workers if load.one_process else 1
    other = MAPPINGS_PER_PROCESS + MAPPINGS_PER_WORKER * workers
    return Constraint(
        name="max_map_count",
        needed=own + other,
        allowed=host.max_map_count,
        unit="mappings",
        source="vm.max_map_count",
        detail=f"{own:,} of slots ({detail}) + about {other:,} of the process in itself",
    )


def overcommit_limit(
    host: HostLimits, *, virtual_bytes: int, largest_mapping_bytes: int
) -> tuple[Constraint, ...]:
    """Return what the kernel's overcommit mode asks; nothing in mode 1 or where it is not known.

    Args:
        host: The machine.
        virtual_bytes: Address space of all processes together, touched or not.
        largest_mapping_bytes: The largest piece of it.
    """
    if host.overcommit_memory == 2:
        # Every private writable page is committed when it is mapped (mm/util.c).
        return (
            Constraint(
                name="overcommit",
                needed=virtual_bytes,
                allowed=host.commit_limit_bytes,
                unit="bytes",
                source="CommitLimit, as vm.overcommit_memory = 2",
                detail=f"{format_bytes(virtual_bytes)} of slots, counted whether touched or not, "
                "beside all else that runs",
            ),
        )
    if host.overcommit_memory == 0 and host.mem_total_bytes is not None:
        # The heuristic refuses only one mapping that is larger than memory and swap together.
        return (
            Constraint(
                name="overcommit",
                needed=largest_mapping_bytes,
                allowed=host.mem_total_bytes + host.swap_total_bytes,
                unit="bytes",
                source="memory and swap, as vm.overcommit_memory = 0",
                detail=f"{format_bytes(largest_mapping_bytes)} in one piece",
            ),
        )
    return ()


def most_fragments(places: float) -> int:
    """Return the most separate runs among so many places in a row: every other one is taken."""
    return math.ceil(math.ceil(places) / 2)
