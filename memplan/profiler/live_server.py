"""The figures of a running server: its processes, its charge, its connections and their spread."""

from dataclasses import asdict, dataclass
from typing import Any

from memplan.profiler.charge import MemoryCharge
from memplan.profiler.imbalance import Imbalance
from memplan.profiler.listeners import ListenerGroup
from memplan.profiler.processes import ProcessMemory
from memplan.units import format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveProcess:
    """One process of a running server.

    Attributes:
        pid: The process.
        parent: Its parent.
        name: Its command's name.
        threads: Its threads.
        memory: What it maps.
        page_table_bytes: Its page tables, which are in no figure of `memory`.
        descriptors: What it has open, of any kind.
        nofile_soft: Descriptors that it may have open; None where unlimited.
        nofile_hard: What it may raise that to; None where unlimited.
        connections: Established connections that it accepted; one that a fork shares is counted
            once, for the process nearest the root of the tree.
    """

    pid: int
    parent: int
    name: str
    threads: int
    memory: ProcessMemory
    page_table_bytes: int
    descriptors: int
    nofile_soft: int | None
    nofile_hard: int | None
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCharge:
    """The charge of the memory cgroup that the server runs in, and how far it is the server's.

    Attributes:
        charge: The group's charge.
        others: Processes that the charge covers and that are not of the server.
        outside: Processes of the server that run in no part of this group.
    """

    charge: MemoryCharge
    others: int
    outside: int

    @property
    def is_the_servers(self) -> bool:
        """Whether the charge is for the server's processes, all of them and nothing else."""
        return self.others == 0 and self.outside == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveServer:
    """A running server as it stood when it was read.

    Attributes:
        pid: The root of the process tree.
        name: Its command's name.
        processes: The tree, parents before children.
        groups: The endpoints that it listens on, with who accepts and what they hold.
        charge: The charge of its memory cgroup; None where it cannot be read.
        charge_missing: Why the charge cannot be read; None where it is.
        imbalance: Whether the hash explains how its connections are spread.
        notes: What a reader of the figures must know, a sentence each.
    """

    pid: int
    name: str
    processes: tuple[LiveProcess, ...]
    groups: tuple[ListenerGroup, ...]
    charge: LiveCharge | None
    charge_missing: str | None
    imbalance: Imbalance
    notes: tuple[str, ...]

    @property
    def pss_bytes(self) -> int:
        """Proportional resident memory of the tree: shared pages are counted once."""
        return sum(process.memory.pss_bytes for process in self.processes)

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the tree: shared pages are counted once for each process."""
        return sum(process.memory.rss_bytes for process in self.processes)

    @property
    def page_table_bytes(self) -> int:
        """Page tables of the tree."""
        return sum(process.page_table_bytes for process in self.processes)

    @property
    def threads(self) -> int:
        """Threads of the tree."""
        return sum(process.threads for process in self.processes)

    @property
    def listeners(self) -> int:
        """Listening sockets of the tree, over all endpoints."""
        return sum(group.listeners for group in self.groups)

    @property
    def connections(self) -> int:
        """Established connections that the tree has accepted and holds."""
        return sum(group.connections for group in self.groups)

    @property
    def waiting(self) -> int:
        """Established connections that wait to be accepted."""
        return sum(group.waiting for group in self.groups)

    def to_dict(self) -> dict[str, Any]:
        """Return all figures, the sums over the tree too, as plain values."""
        totals = ("pss_bytes", "rss_bytes", "page_table_bytes", "threads", "listeners")
        counts = ("connections", "waiting")
        return asdict(self) | {name: getattr(self, name) for name in totals + counts}

    def summary(self) -> str:
        """Return the figures in a few lines of text."""
        tree = (
            f"{self.name} (process {self.pid}): processes {len(self.processes)}, "
            f"threads {self.threads}, listeners {self.listeners}"
        )
        memory = (
            f"PSS {format_bytes(self.pss_bytes)}, RSS {format_bytes(self.rss_bytes)}, "
            f"page tables {format_bytes(self.page_table_bytes)}, "
        )
        if self.charge is None:
            memory += f"charge not known: {self.charge_missing}"
        else:
            memory += f"charge {format_bytes(self.charge.charge.charge_bytes)}"
        connections = f"connections {self.connections:,}, not yet accepted {self.waiting:,}"
        each = (
            f"  process {process.pid}: connections {process.connections:,}, "
            f"PSS {format_bytes(process.memory.pss_bytes)}"
            for process in self.processes
        )
        spread = f"spread: {self.imbalance.verdict}"
        notes = (f"note: {note}" for note in self.notes)
        return "\n".join((tree, memory, connections, *each, spread, *notes))
