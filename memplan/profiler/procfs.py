"""The kernel's text files: read whole, and parsed where several readers share a format.

Parsers are pure: text in, values out. They take the name of the file only to name it in an error.
"""

import os
from typing import NamedTuple

from memplan.errors import MeasureError

GONE = (FileNotFoundError, ProcessLookupError)
"""What reading a file of /proc/PID raises once the process has ended."""

_KIB = 1024


class Limit(NamedTuple):
    """A resource limit of a process, in the unit of its row; None means unlimited."""

    soft: int | None
    hard: int | None


class ProcessStat(NamedTuple):
    """The first fields of /proc/PID/stat that tell one process from another.

    Attributes:
        pid: The process.
        name: Its command's name, at most 15 bytes.
        state: One letter: R, S, D, T, and Z for one that has ended and is not yet reaped.
        parent: The parent's pid; 0 for the first process of a PID namespace.
        started_ticks: Clock ticks from boot to its start; tells a reused pid from the old one.
    """

    pid: int
    name: str
    state: str
    parent: int
    started_ticks: int


def read_text(path: str) -> str:
    """Return a kernel file's whole text.

    Raw descriptors, not `open`: three times as fast for the twenty small files that every start
    of the program reads.

    Raises:
        OSError: As the kernel gives it; `GONE` where the process has ended.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(descriptor, 1 << 16):
            chunks.append(chunk)
    finally:
        os.close(descriptor)
    return b"".join(chunks).decode("utf-8", "replace")


def in_root(root: str, path: str) -> str:
    """Return a path such as `/proc/7/stat` below the given root."""
    return root.rstrip("/") + path


def lines_of(text: str) -> list[str]:
    """Return the lines of a kernel file, which end with a newline and nothing else.

    Not `splitlines`: the names of commands and groups may hold every other character at which it
    splits, and so forge lines of their own.
    """
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def parse_kib_table(text: str) -> dict[str, int]:
    """Return the bytes of each `Key:  N kB` line, as in smaps_rollup, status and meminfo.

    Lines of another shape are left out, since kernels add some that are no sizes. A key that
    comes again is added up, so that the many mappings of smaps give what smaps_rollup gives.
    """
    table: dict[str, int] = {}
    for line in lines_of(text):
        key, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdecimal():
            table[key] = table.get(key, 0) + int(words[0]) * _KIB
    return table


def parse_limits(text: str, source: str = "limits") -> dict[str, Limit]:
    """Return /proc/PID/limits by row, named as the kernel does: `Max open files`.

    Raises:
        MeasureError: The text is no such table.
    """
    lines = lines_of(text)
    header = lines[0] if lines else ""
    # The kernel pads the columns to fixed widths, and a row's name contains spaces.
    soft_at, hard_at = header.find("Soft Limit"), header.find("Hard Limit")
    if not 0 < soft_at < hard_at:
        raise MeasureError(f"{source} is no table of limits: it has no 'Limit  Soft Limit' header")
    limits = {}
    for line in lines[1:]:
        name = line[:soft_at].rstrip()
        soft, hard = line[soft_at:hard_at].split(), line[hard_at:].split()
        if not name or not soft or not hard:
            raise MeasureError(f"{source} has a row without a soft and a hard limit: '{line}'")
        limits[name] = Limit(_limit(soft[0], source), _limit(hard[0], source))
    return limits


def _limit(word: str, source: str) -> int | None:
    if word == "unlimited":
        return None
    if not word.isdecimal():
        raise MeasureError(f"{source} has the limit '{word}', neither a number nor 'unlimited'")
    return int(word)


def parse_stat(text: str, source: str = "stat") -> ProcessStat:
    """Return who a process is from /proc/PID/stat.

    Raises:
        MeasureError: The text is no such line.
    """
    # A command's name may hold spaces and brackets of its own, so the last bracket ends it.
    head, bracket, tail = text.rpartition(")")
    pid, _, name = head.partition(" (")
    fields = tail.split()
    numbers = (fields[1], fields[19]) if len(fields) > 19 else ("", "")
    if not bracket or not pid.isdecimal() or not all(word.isdecimal() for word in numbers):
        raise MeasureError(f"{source} is no process line: '{text.strip()[:60]}'")
    return ProcessStat(int(pid), name, fields[0], int(numbers[0]), int(numbers[1]))
