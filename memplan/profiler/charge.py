"""What a memory cgroup is charged, and whom it is charged for.

The charge is defined once for both versions, so that figures compare: what the group uses less
the file cache that the kernel can drop at once (inactive_file), with TCP's memory in it.
Version 2 counts TCP memory in memory.current. Version 1 counts it apart, in
memory.kmem.tcp.usage_in_bytes, and only for a group that was given a TCP limit; whether it did
stands beside the figure, for the same server costs more in a group that counts it.
"""

import os
from dataclasses import dataclass

from memplan.errors import MeasureError
from memplan.profiler.cgroup import MemoryCgroup, parse_amount, parse_memory_stat, read_amount
from memplan.profiler.procfs import in_root, read_text


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCharge:
    """A memory cgroup's charge, and the parts that the kernel names. All in bytes.

    Each CPU holds back up to 256 KiB of changes, which blurs small groups.

    Attributes:
        name: The group.
        version: 1 or 2.
        charge_bytes: Usage less inactive file cache, plus TCP where version 1 counts it apart.
        usage_bytes: memory.current, or memory.usage_in_bytes.
        inactive_file_bytes: File cache that was taken off.
        tcp_bytes: TCP's memory; None where it is not counted.
        tcp_counted: Whether the charge has TCP's memory in it.
        peak_bytes: The highest usage since the group was made; None where the kernel keeps none.
        anon_bytes: Anonymous memory.
        file_bytes: File cache, shared memory and rings' pages included.
        kernel_bytes: Kernel memory: slab, page tables, stacks; None where it is not told.
        slab_reclaimable_bytes: The part of it that the kernel can drop; None where not told.
    """

    name: str
    version: int
    charge_bytes: int
    usage_bytes: int
    inactive_file_bytes: int
    tcp_bytes: int | None
    tcp_counted: bool
    peak_bytes: int | None
    anon_bytes: int
    file_bytes: int
    kernel_bytes: int | None
    slab_reclaimable_bytes: int | None


def read_charge(group: MemoryCgroup, *, root: str = "/") -> MemoryCharge:
    """Return what a group is charged now, with all groups below it.

    Raises:
        MeasureError: Its files cannot be read, or make no sense.
    """
    try:
        return _read_charge_v1(group) if group.version == 1 else _read_charge_v2(group, root)
    except OSError as error:
        raise MeasureError(
            f"the charge of the memory cgroup {group.name} cannot be read: {error.strerror}"
        ) from None


def _read_charge_v2(group: MemoryCgroup, root: str) -> MemoryCharge:
    usage = _amount(group, "memory.current")
    stat = _stat(group)
    kernel = stat.get("kernel")
    if kernel is None and "slab" in stat:  # before Linux 5.18 the sum was left to the reader
        kernel = sum(stat.get(key, 0) for key in ("slab", "kernel_stack", "pagetables", "percpu"))
    counted = "sock" in stat and not _sockets_switched_off(root)
    inactive = stat.get("inactive_file", 0)
    return MemoryCharge(
        name=group.name,
        version=2,
        charge_bytes=usage - inactive,
        usage_bytes=usage,
        inactive_file_bytes=inactive,
        tcp_bytes=stat["sock"] if counted else None,
        tcp_counted=counted,
        peak_bytes=read_amount(group.directory, "memory.peak"),
        anon_bytes=stat.get("anon", 0),
        file_bytes=stat.get("file", 0),
        kernel_bytes=kernel,
        slab_reclaimable_bytes=stat.get("slab_reclaimable"),
    )


def _read_charge_v1(group: MemoryCgroup) -> MemoryCharge:
    usage = _amount(group, "memory.usage_in_bytes")
    stat = _stat(group)
    tcp = read_amount(group.directory, "memory.kmem.tcp.usage_in_bytes")
    # A limit switches the counting on, for good; without one, use above zero shows that it is on.
    limit = read_amount(group.directory, "memory.kmem.tcp.limit_in_bytes")
    counted = tcp is not None and (limit is not None or tcp > 0)
    inactive = _with_children(stat, "inactive_file")
    return MemoryCharge(
        name=group.name,
        version=1,
        charge_bytes=usage - inactive + (tcp if tcp and counted else 0),
        usage_bytes=usage,
        inactive_file_bytes=inactive,
        tcp_bytes=tcp if counted else None,
        tcp_counted=counted,
        peak_bytes=read_amount(group.directory, "memory.max_usage_in_bytes"),
        anon_bytes=_with_children(stat, "rss"),
        file_bytes=_with_children(stat, "cache"),
        kernel_bytes=read_amount(group.directory, "memory.kmem.usage_in_bytes"),
        slab_reclaimable_bytes=None,
    )


def _with_children(stat: dict[str, int], key: str) -> int:
    """Return a v1 figure that covers the groups below, as the usage does."""
    return stat.get(f"total_{key}", stat.get(key, 0))


def _amount(group: MemoryCgroup, name: str) -> int:
    source = f"{group.directory}/{name}"
    value = parse_amount(read_text(source), source)
    if value is None:
        raise MeasureError(f"{source} says 'max', where an amount is used")
    return value


def _stat(group: MemoryCgroup) -> dict[str, int]:
    source = f"{group.directory}/memory.stat"
    return parse_memory_stat(read_text(source), source)


def _sockets_switched_off(root: str) -> bool:
    """Whether the kernel was booted with cgroup.memory=nosocket, which leaves `sock` at zero."""
    try:
        words = read_text(in_root(root, "/proc/cmdline")).split()
    except OSError:
        return False
    prefix = "cgroup.memory="
    options = [word[len(prefix) :].split(",") for word in words if word.startswith(prefix)]
    return any("nosocket" in option for option in options)


def read_members(group: MemoryCgroup) -> frozenset[int]:
    """Return the processes that a group's charge covers: its own and those of the groups below.

    A process outside the reader's PID namespace is 0. Groups that end meanwhile are left out.
    """
    members: set[int] = set()
    for directory, _, _ in os.walk(group.directory):
        try:
            text = read_text(f"{directory}/cgroup.procs")
        except OSError:
            # Gone, or a threaded group, whose processes its domain above lists.
            continue
        members.update(int(word) for word in text.split() if word.isdecimal())
    return frozenset(members)
