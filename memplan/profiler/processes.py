"""Processes: what memory each holds, and who descends from whom.

psutil covers part of this, but takes no root to read from, and gives neither page tables nor the
parts of PSS.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from memplan.errors import MeasureError
from memplan.profiler.procfs import (
    GONE,
    ProcessStat,
    in_root,
    lines_of,
    parse_kib_table,
    parse_stat,
    read_text,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMemory:
    """What memory one process maps, in bytes, as smaps_rollup tells it.

    Attributes:
        rss_bytes: Resident pages, each counted whole; hugetlb pages are not in it.
        pss_bytes: Resident pages, each divided by the processes that map it: may be added up.
        pss_anon_bytes: The anonymous part of PSS; None before Linux 5.4.
        pss_file_bytes: The part of PSS that is file pages, io_uring's rings too; None before 5.4.
        pss_shmem_bytes: The shared-memory part of PSS; None before 5.4.
        private_bytes: Pages that only this process maps: what ending it frees (USS).
        anon_huge_bytes: Anonymous memory in transparent huge pages.
        swap_pss_bytes: Swapped-out memory, shared parts divided.
    """

    rss_bytes: int
    pss_bytes: int
    pss_anon_bytes: int | None
    pss_file_bytes: int | None
    pss_shmem_bytes: int | None
    private_bytes: int
    anon_huge_bytes: int
    swap_pss_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """The lines of /proc/PID/status that a measurement wants.

    Attributes:
        pid: The process or thread.
        thread_group: The process that it belongs to: `pid` itself but for a thread.
        name: Its command's name.
        state: One letter, as in `ProcessStat`.
        threads: Threads of the process.
        peak_rss_bytes: Its highest resident memory (VmHWM); None for one without memory.
        rss_bytes: Its resident memory (VmRSS), readable by everyone; None for one without memory.
        page_table_bytes: Its page tables (VmPTE), which neither RSS nor PSS counts; None likewise.
    """

    pid: int
    thread_group: int
    name: str
    state: str
    threads: int
    peak_rss_bytes: int | None
    rss_bytes: int | None
    page_table_bytes: int | None


def parse_smaps_rollup(text: str, source: str = "smaps_rollup") -> ProcessMemory:
    """Return a process's memory from smaps_rollup, or summed from the mappings of smaps.

    Raises:
        MeasureError: The text holds no resident and proportional size.
    """
    table = parse_kib_table(text)
    if "Rss" not in table or "Pss" not in table:
        raise MeasureError(f"{source} is no sum of mappings: it has no Rss and Pss in kB")
    return ProcessMemory(
        rss_bytes=table["Rss"],
        pss_bytes=table["Pss"],
        pss_anon_bytes=table.get("Pss_Anon"),
        pss_file_bytes=table.get("Pss_File"),
        pss_shmem_bytes=table.get("Pss_Shmem"),
        private_bytes=table.get("Private_Clean", 0) + table.get("Private_Dirty", 0),
        anon_huge_bytes=table.get("AnonHugePages", 0),
        swap_pss_bytes=table.get("SwapPss", 0),
    )


def parse_status(text: str, source: str = "status") -> ProcessStatus:
    """Return what /proc/PID/status says.

    Raises:
        MeasureError: The text is no such file.
    """
    words = {}
    for line in lines_of(text):
        key, _, rest = line.partition(":")
        words[key] = rest.strip()
    numbers = {key: words.get(key, "") for key in ("Pid", "Tgid", "Threads")}
    if "Name" not in words or not all(word.isdecimal() for word in numbers.values()):
        raise MeasureError(
            f"{source} is no status of a process: it has no Name, Pid, Tgid, Threads"
        )
    table = parse_kib_table(text)
    return ProcessStatus(
        pid=int(numbers["Pid"]),
        thread_group=int(numbers["Tgid"]),
        name=words["Name"],
        state=words.get("State", "?")[:1],
        threads=int(numbers["Threads"]),
        peak_rss_bytes=table.get("VmHWM"),
        rss_bytes=table.get("VmRSS"),
        page_table_bytes=table.get("VmPTE"),
    )


def read_memory(pid: int, *, root: str = "/") -> ProcessMemory:
    """Return a process's memory now.

    Raises:
        OSError: `GONE` where it has ended or is a kernel thread, PermissionError where not allowed.
        MeasureError: The file makes no sense.
    """
    path = in_root(root, f"/proc/{pid}/smaps_rollup")
    try:
        text = read_text(path)
    except FileNotFoundError:
        # Linux before 4.14 has no rollup; for a process that ended, smaps is missing as well.
        path = in_root(root, f"/proc/{pid}/smaps")
        text = read_text(path)
        if not text:
            raise ProcessLookupError(f"{path} is empty: no memory is mapped") from None
    return parse_smaps_rollup(text, path)


def read_status(pid: int, *, root: str = "/") -> ProcessStatus:
    """Return a process's status now; errors as of `read_memory`."""
    path = in_root(root, f"/proc/{pid}/status")
    return parse_status(read_text(path), path)


def read_processes(*, root: str = "/") -> dict[int, ProcessStat]:
    """Return every process that /proc shows, by pid; those that end meanwhile are left out."""
    processes = {}
    for entry in os.listdir(in_root(root, "/proc")):  # noqa: PTH208 - names, no Path for each
        if entry.isdecimal():
            path = in_root(root, f"/proc/{entry}/stat")
            try:
                processes[int(entry)] = parse_stat(read_text(path), path)
            except GONE:
                continue
    return processes


def descendants(pid: int, processes: Mapping[int, ProcessStat]) -> tuple[int, ...]:
    """Return the process and all that descend from it, parents before their children.

    Processes that have ended and wait to be reaped hold nothing and are left out.
    """
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    tree = [pid]
    for parent in tree:  # grows while it is walked
        tree.extend(sorted(children.get(parent, ())))
    return tuple(member for member in tree if processes[member].state != "Z")
