"""What the host says of itself that bears on a plan: limits, memory and network settings.

Every start of `memplan recommend` reads this, so it is plain reads of small files, below a
millisecond in all. What is missing or makes no sense is None, never an error.

Not all that bears on a plan can be read: whether a listener sets SO_INCOMING_CPU, or a BPF program
chooses the worker (SO_ATTACH_REUSEPORT_EBPF, sk_lookup), is kept in the sockets of the server and
shown nowhere. Either one voids the hash model; only counting a live server's connections tells.
"""

import os
from dataclasses import dataclass, fields

from memplan.errors import MeasureError
from memplan.profiler.cgroup import MemoryLimits, find_memory_cgroup, read_limits
from memplan.profiler.procfs import Limit, in_root, parse_kib_table, parse_limits, read_text

UNSEEN = (
    "SO_INCOMING_CPU on a listener",
    "a BPF program that chooses the listener",
)
"""What voids the hash model and no file of the host tells."""

_THP = "/sys/kernel/mm/transparent_hugepage"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """The host's facts; None for each that could not be read.

    Network settings are those of the reader's own network namespace.

    Attributes:
        kernel_release: As of `uname -r`.
        page_bytes: Size of a page.
        cpus: CPUs online.
        mem_total_bytes: Memory that the kernel manages.
        commit_limit_bytes: What may be committed where overcommit is off (mode 2).
        committed_bytes: What is committed already.
        overcommit_memory: 0 for the heuristic, 1 for always, 2 for never.
        overcommit_ratio: Percent of memory that mode 2 adds to swap; 0 where set in kilobytes.
        max_map_count: Mappings that a process may have.
        thp_mode: Transparent huge pages: `always`, `madvise` or `never`.
        thp_bytes: Size of such a page.
        nofile_soft: Descriptors that this process may open now.
        nofile_hard: Descriptors that it may ask for.
        nr_open: Descriptors that any process may be given at most.
        ip_local_port_range: First and last ephemeral port.
        tcp_rmem_bytes: Receive buffer: least, default, most.
        tcp_wmem_bytes: Send buffer: least, default, most.
        tcp_fin_timeout_s: Time that an orphan waits in FIN_WAIT2.
        somaxconn: Most connections that an accept queue may hold.
        memory_cgroup: The limits of the cgroup that this process runs in; None also where it has
            none, or it cannot be seen.
    """

    kernel_release: str | None
    page_bytes: int | None
    cpus: int | None
    mem_total_bytes: int | None
    commit_limit_bytes: int | None
    committed_bytes: int | None
    overcommit_memory: int | None
    overcommit_ratio: int | None
    max_map_count: int | None
    thp_mode: str | None
    thp_bytes: int | None
    nofile_soft: int | None
    nofile_hard: int | None
    nr_open: int | None
    ip_local_port_range: tuple[int, int] | None
    tcp_rmem_bytes: tuple[int, int, int] | None
    tcp_wmem_bytes: tuple[int, int, int] | None
    tcp_fin_timeout_s: int | None
    somaxconn: int | None
    memory_cgroup: MemoryLimits | None

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the facts that could not be read."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) is None)


def parse_cpu_list(text: str) -> int | None:
    """Return how many CPUs a list such as `0-3,8` names; None where it is no such list."""
    count = 0
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            return None
        count += int(last or first) - int(first) + 1
    return count


def parse_choice(text: str) -> str | None:
    """Return the chosen word of `always [madvise] never`; None where none is in brackets."""
    for word in text.split():
        if word.startswith("[") and word.endswith("]"):
            return word[1:-1]
    return None


def parse_numbers(text: str) -> tuple[int, ...] | None:
    """Return the numbers of a line; None where a word of it is none, or it is empty."""
    words = text.split()
    return tuple(int(word) for word in words) if all(map(str.isdecimal, words)) and words else None


def read_host(root: str = "/") -> HostFacts:
    """Return what the host says of itself; nothing is raised."""
    memory = parse_kib_table(_text(root, "/proc/meminfo") or "")
    nofile = _nofile(root)
    ports = _numbers(root, "/proc/sys/net/ipv4/ip_local_port_range", 2)
    rmem = _numbers(root, "/proc/sys/net/ipv4/tcp_rmem", 3)
    wmem = _numbers(root, "/proc/sys/net/ipv4/tcp_wmem", 3)
    return HostFacts(
        kernel_release=(_text(root, "/proc/sys/kernel/osrelease") or "").strip() or None,
        page_bytes=os.sysconf("SC_PAGESIZE"),
        cpus=parse_cpu_list(_text(root, "/sys/devices/system/cpu/online") or ""),
        mem_total_bytes=memory.get("MemTotal"),
        commit_limit_bytes=memory.get("CommitLimit"),
        committed_bytes=memory.get("Committed_AS"),
        overcommit_memory=_number(root, "/proc/sys/vm/overcommit_memory"),
        overcommit_ratio=_number(root, "/proc/sys/vm/overcommit_ratio"),
        max_map_count=_number(root, "/proc/sys/vm/max_map_count"),
        thp_mode=parse_choice(_text(root, f"{_THP}/enabled") or ""),
        thp_bytes=_number(root, f"{_THP}/hpage_pmd_size"),
        nofile_soft=nofile.soft,
        nofile_hard=nofile.hard,
        nr_open=_number(root, "/proc/sys/fs/nr_open"),
        ip_local_port_range=(ports[0], ports[1]) if ports else None,
        tcp_rmem_bytes=(rmem[0], rmem[1], rmem[2]) if rmem else None,
        tcp_wmem_bytes=(wmem[0], wmem[1], wmem[2]) if wmem else None,
        tcp_fin_timeout_s=_number(root, "/proc/sys/net/ipv4/tcp_fin_timeout"),
        somaxconn=_number(root, "/proc/sys/net/core/somaxconn"),
        memory_cgroup=_memory_cgroup(root),
    )


def _text(root: str, path: str) -> str | None:
    try:
        return read_text(in_root(root, path))
    except OSError:
        return None


def _numbers(root: str, path: str, count: int) -> tuple[int, ...] | None:
    numbers = parse_numbers(_text(root, path) or "")
    return numbers if numbers and len(numbers) == count else None


def _number(root: str, path: str) -> int | None:
    numbers = _numbers(root, path, 1)
    return numbers[0] if numbers else None


def _nofile(root: str) -> Limit:
    unknown = Limit(None, None)
    try:
        return parse_limits(_text(root, "/proc/self/limits") or "").get("Max open files", unknown)
    except MeasureError:
        return unknown


def _memory_cgroup(root: str) -> MemoryLimits | None:
    try:
        return read_limits(find_memory_cgroup(root=root))
    except (MeasureError, OSError):
        return None
