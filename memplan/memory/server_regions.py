"""What a server takes before anybody connects, and what its slots take.

Where a default differs between servers its interval is wide on purpose: it is what one
measurement would narrow.
"""

import math

from memplan.descriptors import PER_WORKER, STANDARD_STREAMS
from memplan.memory import kernel_memory as kernel
from memplan.memory.costs import Server, Unit, processes_of
from memplan.memory.learnt import LESSONS
from memplan.memory.page_tables import expected_page_table_bytes, page_table_bounds
from memplan.memory.region import Amount, Provenance, Region, region
from memplan.memory.slots_memory import SlotsMemory
from memplan.units import KIB, MIB, format_bytes
from memplan.workload import Workload

BASE_BYTES = 8 * MIB
SMALLEST_PROCESS_PAGE_TABLES = 44 * KIB
"""VmPTE of a small C program. Measured."""
STACK_RESERVED_BYTES = 8 * MIB
"""The usual RLIMIT_STACK, which threads reserve."""


def process_regions(server: Server) -> list[Region]:
    """Return what each process takes: its base, and its table of descriptors."""
    fixed = LESSONS.fixed_bytes
    base = server.unit(
        "base_bytes",
        Amount(BASE_BYTES, fixed.low, fixed.high),
        Provenance(
            "default",
            f"{format_bytes(BASE_BYTES)}, a lean native server; published servers took from a few "
            "MiB to GiB, so one measurement is worth most here",
        ),
    )
    workload = server.workload
    count = processes_of(workload)
    # The widest base seen was a whole server's, so more processes do not multiply it.
    amount = Amount(
        base.amount.point * count,
        base.amount.low * count,
        base.amount.high + base.amount.point * (count - 1),
    )
    serving = workload.workers if count == 1 else 1
    descriptors = (
        math.ceil(workload.conns.median / count)
        + serving * sum(number for _, number in PER_WORKER)
        + STANDARD_STREAMS
    )
    table = kernel.descriptor_table_bytes(descriptors) * count
    return [
        region("process base", "process", base.provenance, process=amount, charge=amount),
        region(
            "descriptor tables",
            "process",
            Provenance("kernel", f"a power of two of entries for {descriptors:,} descriptors"),
            charge=Amount(table, table, 2 * table),
        ),
    ]


def worker_regions(server: Server) -> list[Region]:
    """Return what each worker takes: stacks, ring or epoll, and its loop's buffers."""
    stack = server.unit(
        "stack_bytes",
        Amount(16 * KIB, 8 * KIB, 128 * KIB),
        Provenance("default", "4 touched pages; an idle thread was measured at 2"),
    )
    ring = server.unit(
        "ring_bytes",
        Amount(kernel.ring_bytes(1024, 4096), 0, kernel.ring_bytes(8192, 32768)),
        Provenance("default", "an io_uring of 1024/4096 entries; epoll takes next to nothing"),
    )
    buffers = server.unit(
        "buffer_bytes",
        Amount(64 * KIB, 0, 512 * KIB),
        Provenance("default", "64 buffers of 1 KiB, enough for a busy loop"),
    )
    workers = server.workload.workers
    threads = kernel.KERNEL_STACK_BYTES + kernel.THREAD_BYTES
    rows: tuple[tuple[str, Unit, int], ...] = (
        ("worker stacks", stack, STACK_RESERVED_BYTES),
        ("rings or epolls", ring, round(ring.amount.point)),
        ("loop buffers", buffers, round(buffers.amount.point)),
    )
    return [
        *(
            region(
                name,
                "worker",
                unit.provenance,
                virtual=virtual * workers,
                process=unit.amount.times(workers),
                charge=unit.amount.times(workers),
            )
            for name, unit, virtual in rows
        ),
        region(
            "kernel stacks and threads",
            "worker",
            Provenance("kernel", "a stack of 16 KiB and about 7 KiB of structures a worker"),
            charge=Amount(threads, 0.9 * threads, 1.4 * threads).times(workers),
        ),
    ]


def slot_regions(workload: Workload, slots: SlotsMemory) -> list[Region]:
    """Return the slots, what churn adds to them, and the page tables: what a layout decides."""
    now = min(slots.slot_bytes_now, slots.resident_bytes)
    high_water = slots.resident_bytes - now
    source = Provenance("predicted", f"pages that strategy {slots.strategy} touches")
    in_use = Amount(now, min(now, slots.low_bytes), now if high_water else slots.high_bytes)
    churned = Amount(
        high_water,
        max(0, slots.low_bytes - now),
        slots.high_bytes - now if high_water else 0,
    )
    processes = processes_of(workload)
    mappings = kernel.MAPPING_BYTES * slots.mappings * processes
    return [
        region(
            "slots",
            "slots",
            source,
            virtual=slots.virtual_bytes - slots.table_bytes,
            process=in_use,
            charge=in_use,
        ),
        region(
            "slot tables",
            "slots",
            Provenance("predicted", "address space; touched pages are counted with the slots"),
            virtual=slots.table_bytes,
        ),
        region(
            "slots touched by churn",
            "slots",
            Provenance("predicted", "high water over the horizon, beyond the slots in use at once"),
            process=churned,
            charge=churned,
        ),
        region(
            "page tables",
            "slots",
            Provenance("predicted", "8 bytes for each touched page, in tables of whole pages"),
            charge=_page_tables(workload, slots, processes),
        ),
        region(
            "mappings",
            "slots",
            Provenance("kernel", f"{kernel.MAPPING_BYTES} B each, measured on Linux 6.18"),
            charge=Amount(mappings, mappings, 2 * mappings),
        ),
    ]


def _page_tables(workload: Workload, slots: SlotsMemory, processes: int) -> Amount:
    # Each worker's stack lies alone in its reserve, so it needs a table of its own.
    elsewhere = processes * SMALLEST_PROCESS_PAGE_TABLES + workload.workers * 4 * KIB
    runs = max(workload.workers, slots.mappings * processes)
    low, _ = page_table_bounds(slots.low_bytes, slots.virtual_bytes)
    _, high = page_table_bounds(slots.high_bytes, slots.virtual_bytes)
    expected = expected_page_table_bytes(slots.resident_bytes, slots.virtual_bytes, runs)
    return Amount(
        elsewhere + expected, elsewhere + min(low, expected), 2 * elsewhere + max(high, expected)
    )
