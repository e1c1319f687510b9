"""A running server as it stands now: its processes' memory, its cgroup's charge, its connections.

All is read from /proc and the cgroup files while the server runs on, so it is a snapshot whose
parts are milliseconds apart: exact for a server at rest, close for one under load.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from memplan.errors import MeasureError, MemplanError, UsageError
from memplan.profiler.cgroup import find_memory_cgroup
from memplan.profiler.charge import read_charge, read_members
from memplan.profiler.imbalance import judge_imbalance
from memplan.profiler.listeners import Holder, ListenerGroup, group_listeners
from memplan.profiler.live_server import LiveCharge, LiveProcess, LiveServer
from memplan.profiler.processes import (
    ProcessMemory,
    ProcessStatus,
    descendants,
    read_memory,
    read_processes,
    read_status,
)
from memplan.profiler.procfs import (
    GONE,
    Limit,
    ProcessStat,
    in_root,
    parse_limits,
    parse_stat,
    read_text,
)
from memplan.profiler.sockets import (
    TcpSocket,
    read_descriptors,
    read_network_namespace,
    read_tcp_sockets,
)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one process shows apart from its sockets."""

    stat: ProcessStat
    status: ProcessStatus
    memory: ProcessMemory
    nofile: Limit


def read_live_server(pid: int, *, root: str = "/") -> LiveServer:
    """Return a running server, from the process at the root of its tree.

    Processes that end while they are read are left out, and a note says so.

    Args:
        pid: The server's process: of several the one that started the others.
        root: Where /proc and /sys hang.

    Raises:
        UsageError: The pid is no process's.
        MeasureError: The process is gone, listens on no TCP port, or may not be read.
    """
    if pid < 1:
        raise UsageError(f"a pid is a number from 1 up, not {pid}")
    processes = read_processes(root=root)
    if pid not in processes:
        raise _not_a_process(pid, root)
    tree = descendants(pid, processes)
    if not tree:
        raise MeasureError(f"process {pid} has ended, and only waits for its parent to notice")
    charge, missing = _read_charge(pid, tree, root)
    parts = _read_parts(tree, processes, root)
    holders = _read_holders(parts, processes, root)
    tables = _read_tables(holders, root)
    if pid not in {holder.pid for holder in holders} or not _is_still(processes[pid], root):
        raise MeasureError(f"process {pid} ended while it was read")
    groups = group_listeners(holders, tables)
    if not groups:
        raise MeasureError(
            f"process {pid} ('{processes[pid].name}') listens on no TCP port, nor does any of its "
            f"{len(holders) - 1} descendants; give the pid of a server"
        )
    notes = (
        _note_ended(len(tree) - len(holders)),
        _note_parent(processes[pid], groups, processes, root),
        *_notes_on_groups(groups),
        *_notes_on_charge(charge),
    )
    return LiveServer(
        pid=pid,
        name=processes[pid].name,
        processes=tuple(_live_process(parts[holder.pid], holder, groups) for holder in holders),
        groups=groups,
        charge=charge,
        charge_missing=missing,
        imbalance=judge_imbalance(groups),
        notes=tuple(note for note in notes if note),
    )


def _not_a_process(pid: int, root: str) -> MemplanError:
    try:
        owner = read_status(pid, root=root).thread_group
    except GONE:
        return MeasureError(f"there is no process {pid}: it has ended, or /proc hides it")
    return UsageError(f"{pid} is a thread of process {owner}; give {owner}")


def _is_still(process: ProcessStat, root: str) -> bool:
    """Whether the pid is still that process's, and not a later one's."""
    path = in_root(root, f"/proc/{process.pid}/stat")
    try:
        return parse_stat(read_text(path), path).started_ticks == process.started_ticks
    except GONE:
        return False


def _read_parts(
    tree: Sequence[int], processes: Mapping[int, ProcessStat], root: str
) -> dict[int, _Part]:
    parts = {}
    for pid in tree:
        limits = in_root(root, f"/proc/{pid}/limits")
        try:
            parts[pid] = _Part(
                processes[pid],
                read_status(pid, root=root),
                read_memory(pid, root=root),
                parse_limits(read_text(limits), limits)["Max open files"],
            )
        except GONE:
            continue
        except PermissionError:
            raise _not_allowed("memory (smaps_rollup)", processes[pid]) from None
        except KeyError:
            raise MeasureError(f"{limits} has no row 'Max open files'") from None
    return parts


def _read_holders(
    pids: Iterable[int], processes: Mapping[int, ProcessStat], root: str
) -> list[Holder]:
    """Return the sockets of each process. Read last, close to the tables, since they move most."""
    holders = []
    for pid in pids:
        try:
            holders.append(
                Holder(
                    pid,
                    _ancestors(pid, processes),
                    read_network_namespace(pid, root=root),
                    read_descriptors(pid, root=root),
                )
            )
        except GONE:
            continue
        except PermissionError:
            raise _not_allowed("descriptors (fd)", processes[pid]) from None
    return holders


def _not_allowed(what: str, process: ProcessStat) -> MeasureError:
    return MeasureError(
        f"the {what} of process {process.pid} ('{process.name}') may not be read: that needs root, "
        "or the right to trace it (CAP_SYS_PTRACE, or the same user and a process that allows it)"
    )


def _ancestors(pid: int, processes: Mapping[int, ProcessStat]) -> frozenset[int]:
    above: set[int] = set()
    while pid in processes and processes[pid].parent not in above:
        pid = processes[pid].parent
        above.add(pid)
    return frozenset(above)


def _read_tables(holders: Sequence[Holder], root: str) -> dict[str, list[TcpSocket]]:
    tables: dict[str, list[TcpSocket]] = {}
    for holder in holders:
        if holder.namespace not in tables:
            try:
                tables[holder.namespace] = read_tcp_sockets(holder.pid, root=root)
            except GONE:
                continue  # the next process of the namespace shows the same table
    return tables


def _read_charge(pid: int, tree: Sequence[int], root: str) -> tuple[LiveCharge | None, str | None]:
    try:
        group = find_memory_cgroup(pid, root=root)
        charge = read_charge(group, root=root)
    except GONE:
        return None, "the process shows no cgroup"
    except PermissionError:
        return None, "its cgroup's files may not be read"
    except MeasureError as error:
        return None, str(error)
    members = read_members(group)
    own = frozenset(tree)
    return LiveCharge(charge=charge, others=len(members - own), outside=len(own - members)), None


def _live_process(part: _Part, holder: Holder, groups: Sequence[ListenerGroup]) -> LiveProcess:
    return LiveProcess(
        pid=holder.pid,
        parent=part.stat.parent,
        name=part.status.name,
        threads=part.status.threads,
        memory=part.memory,
        page_table_bytes=part.status.page_table_bytes or 0,
        descriptors=holder.descriptors.opened,
        nofile_soft=part.nofile.soft,
        nofile_hard=part.nofile.hard,
        connections=sum(dict(group.held_by).get(holder.pid, 0) for group in groups),
    )


def _note_ended(count: int) -> str | None:
    return f"{count} processes ended while they were read, and are left out" if count else None


def _note_parent(
    process: ProcessStat,
    groups: Sequence[ListenerGroup],
    processes: Mapping[int, ProcessStat],
    root: str,
) -> str | None:
    """Return a note where the pid is one worker's of a server whose master is above it."""
    parent = processes.get(process.parent)
    if parent is None:
        return None
    try:
        above = set(read_descriptors(parent.pid, root=root).sockets.values())
    except (*GONE, PermissionError):
        return None
    listening = {inode for group in groups for inode in group.inodes}
    if above.isdisjoint(listening):
        return None
    return (
        f"its parent {parent.pid} ('{parent.name}') holds the same listeners: where that is the "
        f"master of several workers, give {parent.pid} for the whole server"
    )


def _notes_on_groups(groups: Sequence[ListenerGroup]) -> Iterator[str]:
    for group in groups:
        if group.others:
            yield (
                f"{group.others} more listeners on {group.endpoint} are not of this tree, "
                "and take their share of new connections"
            )
        if group.waiting:
            yield f"{group.waiting} connections to {group.endpoint} wait to be accepted"
        if group.closing:
            yield (
                f"{group.closing} connections to {group.endpoint} are closed by the client "
                "and still held"
            )


def _notes_on_charge(charge: LiveCharge | None) -> Iterator[str]:
    if charge is None:
        return
    name = charge.charge.name
    if charge.others:
        yield f"the cgroup {name} is charged for {charge.others} other processes too"
    if charge.outside:
        yield f"{charge.outside} processes of the server are charged to other cgroups than {name}"
    if not charge.charge.tcp_counted:
        yield f"the cgroup {name} does not count TCP's memory, so the charge is without it"
