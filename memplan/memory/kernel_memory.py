"""What the kernel takes for a server's threads, rings, descriptors and sockets, in bytes.

Figures marked "measured" are of Linux 6.18 on x86-64 (slab statistics, SO_MEMINFO on loopback,
a memory cgroup of version 1); the rest follows from the kernel's own structures.
"""

import math

from memplan.units import KIB

PAGE_BYTES = 4096

KERNEL_STACK_BYTES = 16 * KIB
"""THREAD_SIZE of x86-64 and arm64."""

THREAD_BYTES = 7 * KIB
"""The rest of a thread: task_struct (5.8 KiB), its mappings, credentials, signals. Measured:
27,188 B a thread in all, with its kernel stack and one page of page table."""

EPOLL_ITEM_BYTES = 192
"""An epoll item with its wait-queue entry; 123 to 378 B were measured."""

MULTISHOT_BYTES = 857
"""An armed multishot recv of io_uring. Measured."""

SOCKET_BYTES = 3648
"""An accepted TCP socket without its loop's item: struct tcp_sock, inode, dentry and file, with
the slabs' own rounding; 3.75 KiB a connection were measured with an epoll item."""

SOCKET_ACCEPTED_BYTES = 1344
"""The part of it that accept() itself allocates, so that it is charged to the server's group even
where the socket is not: 1.5 KiB were measured with an epoll item."""

CHARGED_ON_ACCEPT_RELEASE = (6, 13)
"""Since this release accept() charges the socket to the acceptor's group, if the group accounts
for sockets: version 2 does, version 1 only with kmem.tcp.limit_in_bytes set."""

TIME_WAIT_BYTES = 256
"""struct tcp_timewait_sock's slab. Allocated when a packet comes in, so not charged (measured)."""

TIME_WAIT_S = 60.0
"""TCP_TIMEWAIT_LEN, fixed in the kernel."""

MOST_TIME_WAIT = 262_144
"""net.ipv4.tcp_max_tw_buckets at its most usual default."""

REQUEST_SOCK_BYTES = 320
"""What a connection waiting in the accept queue holds beside its struct tcp_sock."""

TCP_SOCK_BYTES = 2520
"""struct tcp_sock as slabs hold it: 13 in 32 KiB."""

MAPPING_BYTES = 200
"""A mapping's vm_area_struct (192 B) and its share of the tree. Measured."""

BUFFER_OVERHEAD_BYTES = 832
"""What the kernel counts for a received buffer beside its data. Measured, for 1 B to 32 KiB."""

_BUFFER_DATA_BYTES = 32 * KIB
_SEGMENT_BYTES = 1448
_LEAST_TABLE = 256


def in_flight_bytes(size: float) -> float:
    """Return what a socket is charged for bytes that wait in it, arrived in large pieces.

    Each piece of up to 32 KiB counts 832 B beside its data, and a socket reserves whole pages.
    This equals rmem_alloc plus fwd_alloc of SO_MEMINFO on loopback.
    """
    if size <= 0:
        return 0.0
    held = size + BUFFER_OVERHEAD_BYTES * math.ceil(size / _BUFFER_DATA_BYTES)
    return float(PAGE_BYTES * math.ceil(held / PAGE_BYTES))


def in_flight_bytes_at_most(size: float) -> float:
    """Return the same for bytes that arrived as single segments of a 1,500-byte network."""
    if size <= 0:
        return 0.0
    held = size + BUFFER_OVERHEAD_BYTES * math.ceil(size / _SEGMENT_BYTES)
    return float(PAGE_BYTES * math.ceil(held / PAGE_BYTES))


def ring_bytes(sq_entries: int, cq_entries: int) -> int:
    """Return the pages of an io_uring: 64 B a submission, 16 B a completion, 4 B an index.

    The submissions are one allocation; the completions, the indices and the header (at most
    256 B) another. 64 rings of 1024/4096 took 8.8 MiB, which is 1.1 pages a ring more: its context.
    """
    submissions = PAGE_BYTES * math.ceil(64 * sq_entries / PAGE_BYTES)
    queues = PAGE_BYTES * math.ceil((256 + 16 * cq_entries + 4 * sq_entries) / PAGE_BYTES)
    return submissions + queues


def descriptor_table_bytes(descriptors: int) -> int:
    """Return the kernel's table for so many descriptors of one process: a power of two of them.

    8 B a descriptor and two bits in bitmaps, and one bit for each 64. FDSize in /proc/PID/status
    is the entries.
    """
    entries = max(_LEAST_TABLE, 1 << max(0, descriptors - 1).bit_length())
    return 8 * entries + 2 * entries // 8 + entries // 64 // 8


def sockets_charged(release: str | None, cgroup_version: int | None) -> bool | None:
    """Return whether the server's group is charged for whole sockets; None where not known.

    Args:
        release: As of `uname -r`.
        cgroup_version: 1 or 2.
    """
    if cgroup_version == 1:
        return False
    if cgroup_version is None or release is None:
        return None
    numbers = []
    for part in release.split(".")[:2]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            return None
        numbers.append(int(digits))
    return tuple(numbers) >= CHARGED_ON_ACCEPT_RELEASE
