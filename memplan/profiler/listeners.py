"""Listening sockets of a process tree: who accepts from which, and what each has accepted.

Sockets that listen on one endpoint in one network namespace form a group; with more than one of
them it is a SO_REUSEPORT group, whose members the kernel chooses by a hash. That a process holds
a listener does not say that it accepts from it: a master opens them all, and forked workers
inherit them all (nginx). What says it is the epoll that waits for the listener; where no epoll
does (blocking accept, io_uring), it is the holder, as long as there is only one that may be meant.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from memplan.profiler.sockets import Descriptors, TcpSocket, format_endpoint

_UNPLACED = 0.05
"""Share of a process's connections that may be in none of its listening loops: just accepted."""


class Holder(NamedTuple):
    """A process of the tree, as far as its sockets go.

    Attributes:
        pid: The process.
        ancestors: The pids above it in the tree.
        namespace: Its network namespace.
        descriptors: What it has open.
    """

    pid: int
    ancestors: frozenset[int]
    namespace: str
    descriptors: Descriptors


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One that accepts from listeners of a group that nobody else accepts from.

    Attributes:
        pid: Its process.
        epoll: The epoll descriptor of its loop, where a process has several; else None.
        listeners: The listeners that it accepts from; its expected share is in proportion.
        connections: Established connections that it has accepted and holds.
        waiting: Established connections in its accept queues.
    """

    pid: int
    epoll: int | None
    listeners: int
    connections: int
    waiting: int

    @property
    def label(self) -> str:
        """The worker's name in a sentence."""
        return f"process {self.pid}" + ("" if self.epoll is None else f", epoll {self.epoll}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerGroup:
    """The listeners of a process tree on one endpoint.

    Attributes:
        endpoint: Address and port, `127.0.0.1:80` or `[::]:80`.
        inodes: The listening sockets that the tree holds; with more than one they share
            the endpoint by SO_REUSEPORT.
        others: Listening sockets on the same endpoint that the tree does not hold.
        connections: Established connections to it that the tree holds, each counted once.
        waiting: Established connections that nobody has accepted yet.
        closing: Connections that the client has closed and the server still holds (CLOSE_WAIT).
        workers: Who accepts from which, where each listener has exactly one that may; else empty.
        unclear: Listeners of which it cannot be seen who accepts from them, or nobody does.
        processes: The processes that may accept, whether or not they can be told apart.
        held_by: (pid, established connections) of each process that any are counted for.
    """

    endpoint: str
    inodes: tuple[int, ...]
    others: int
    connections: int
    waiting: int
    closing: int
    workers: tuple[Worker, ...]
    unclear: int
    processes: tuple[int, ...]
    held_by: tuple[tuple[int, int], ...]

    @property
    def listeners(self) -> int:
        """How many listening sockets the tree holds on the endpoint."""
        return len(self.inodes)

    @property
    def is_reuseport(self) -> bool:
        """Whether several listeners share the endpoint, which only SO_REUSEPORT allows."""
        return self.listeners + self.others > 1


class _Group(NamedTuple):
    """A group while it is put together: inodes of listeners and connections, and their owners."""

    listeners: dict[int, TcpSocket]
    owners: dict[int, int]
    """The process that each established connection is counted for, by inode."""


def first_holders(holders: Sequence[Holder]) -> dict[int, int]:
    """Return for each socket inode the one process that it is counted for.

    A socket that a fork shares is counted once, for the process nearest the root of the tree:
    the child inherits what the parent had. `holders` lists parents before children.
    """
    owners: dict[int, int] = {}
    for holder in holders:
        for inode in holder.descriptors.sockets.values():
            owners.setdefault(inode, holder.pid)
    return owners


def group_listeners(
    holders: Sequence[Holder], tables: Mapping[str, Sequence[TcpSocket]]
) -> tuple[ListenerGroup, ...]:
    """Return the groups that a process tree listens on, by endpoint.

    Args:
        holders: The tree, parents before children.
        tables: The TCP sockets of each network namespace that the tree is in.
    """
    owners = first_holders(holders)
    groups = [
        group
        for namespace, table in tables.items()
        for group in _groups_of(
            [holder for holder in holders if holder.namespace == namespace], table, owners
        )
    ]
    return tuple(sorted(groups, key=lambda group: group.endpoint))


def _groups_of(
    holders: Sequence[Holder], table: Sequence[TcpSocket], owners: Mapping[int, int]
) -> Iterator[ListenerGroup]:
    endpoints: dict[tuple[str, int], list[TcpSocket]] = {}
    for row in table:
        if row.state == "LISTEN":
            endpoints.setdefault((row.local_address, row.local_port), []).append(row)
    accepted: dict[tuple[str, int], list[TcpSocket]] = {}
    for row in table:
        if row.state in {"ESTABLISHED", "CLOSE_WAIT"} and row.inode in owners:
            accepted.setdefault(_endpoint_of(row, endpoints), []).append(row)
    for endpoint, rows in endpoints.items():
        held = {row.inode: row for row in rows if row.inode in owners}
        if not held:
            continue
        sockets = accepted.get(endpoint, ())
        group = _Group(
            held, {row.inode: owners[row.inode] for row in sockets if row.state == "ESTABLISHED"}
        )
        servers = _servers(holders, group)
        yield ListenerGroup(
            endpoint=format_endpoint(*endpoint),
            inodes=tuple(sorted(held)),
            others=len(rows) - len(held),
            connections=len(group.owners),
            waiting=sum(row.receive_queue for row in held.values()),
            closing=sum(row.state == "CLOSE_WAIT" for row in sockets),
            workers=tuple(_workers(holders, group, servers)),
            unclear=sum(len(pids) != 1 for pids in servers.values()),
            processes=tuple(sorted(frozenset().union(*servers.values()))),
            held_by=tuple(sorted(Counter(group.owners.values()).items())),
        )


def _endpoint_of(row: TcpSocket, endpoints: Collection[tuple[str, int]]) -> tuple[str, int]:
    """Return the endpoint that a connection came in by: its own address before the wildcard."""
    exact = (row.local_address, row.local_port)
    return exact if exact in endpoints else ("0" * len(row.local_address), row.local_port)


def _servers(holders: Sequence[Holder], group: _Group) -> dict[int, frozenset[int]]:
    """Return for each listener of a group the processes that may accept from it."""
    polling: dict[int, set[int]] = {inode: set() for inode in group.listeners}
    holding: dict[int, set[int]] = {inode: set() for inode in group.listeners}
    ancestors = {holder.pid: holder.ancestors for holder in holders}
    for holder in holders:
        for targets in holder.descriptors.epolls.values():
            for inode in targets & group.listeners.keys():
                polling[inode].add(holder.pid)
        for inode in group.listeners.keys() & holder.descriptors.sockets.values():
            holding[inode].add(holder.pid)
    accepting = set(group.owners.values())
    servers = {}
    for inode in group.listeners:
        # A master that opened the listener for a worker keeps it, and accepts nothing.
        masters = frozenset[int]().union(*(ancestors[pid] for pid in holding[inode])) - accepting
        servers[inode] = frozenset(polling[inode] or holding[inode] - masters)
    return servers


def _workers(
    holders: Sequence[Holder], group: _Group, servers: Mapping[int, frozenset[int]]
) -> Iterator[Worker]:
    if any(len(pids) != 1 for pids in servers.values()):
        return
    for holder in holders:
        inodes = frozenset(inode for inode, pids in servers.items() if holder.pid in pids)
        connections = frozenset(i for i, pid in group.owners.items() if pid == holder.pid)
        if inodes:
            yield from _loops(holder, group, inodes, connections) or (
                _worker(holder.pid, None, group, inodes, len(connections)),
            )


def _loops(
    holder: Holder, group: _Group, listeners: frozenset[int], connections: frozenset[int]
) -> list[Worker]:
    """Return a worker for each loop of a process that has a loop for each listener, else none.

    So the threads of one process are told apart, as long as a loop keeps what it accepted.
    """
    loops = [
        (epoll, targets & listeners, targets & connections)
        for epoll, targets in holder.descriptors.epolls.items()
        if targets & listeners
    ]
    placed = sum(len(own) for _, _, own in loops)
    distinct = len(frozenset().union(*(own for _, _, own in loops))) == placed
    covered = sorted(inode for _, own, _ in loops for inode in own) == sorted(listeners)
    if len(loops) < 2 or not distinct or not covered:
        return []
    if len(connections) - placed > max(1, _UNPLACED * len(connections)):
        return []
    return [_worker(holder.pid, epoll, group, own, len(held)) for epoll, own, held in loops]


def _worker(
    pid: int, epoll: int | None, group: _Group, inodes: Collection[int], connections: int
) -> Worker:
    waiting = sum(group.listeners[inode].receive_queue for inode in inodes)
    return Worker(
        pid=pid,
        epoll=epoll,
        listeners=len(inodes),
        connections=connections,
        waiting=waiting,
    )
