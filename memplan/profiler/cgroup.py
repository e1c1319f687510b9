"""The memory cgroup of a process, version 1 or 2: which one it is, its limits and its request.

A machine may mount both versions with memory on one of them only. Paths in /proc/PID/cgroup count
from the root of the reader's cgroup namespace, mount points may show a part of a hierarchy, and a
version 2 group without a memory controller of its own is charged to an ancestor: all three are
followed here, so that what is returned is the group that really pays.
"""

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from memplan.errors import MeasureError
from memplan.profiler.procfs import in_root, lines_of, read_text

_V1_UNLIMITED = 1 << 62
"""Version 1 writes "no limit" as the highest page-aligned number, which differs by page size."""
_V1_CHARGE = "memory.usage_in_bytes"
_V2_CHARGE = "memory.current"


class CgroupMount(NamedTuple):
    """One mount of a cgroup hierarchy.

    Attributes:
        version: 1 or 2.
        root: The group that the mount point shows, `/` for the whole hierarchy.
        point: The mount point.
        options: The super block's options; of version 1 the controllers are among them.
    """

    version: int
    root: str
    point: str
    options: frozenset[str]


class MemoryCgroup(NamedTuple):
    """The group that a process's memory is charged to.

    Attributes:
        name: Its path in the hierarchy, as the reader's cgroup namespace sees it.
        version: 1 or 2.
        directory: Where its files are.
        top: The mount point: the highest ancestor whose files can be seen.
    """

    name: str
    version: int
    directory: str
    top: str

    def ancestry(self) -> Iterator[str]:
        """Yield the directories of the group and of its visible ancestors, the group first."""
        directory = self.directory
        yield directory
        while directory != self.top:
            directory = posixpath.dirname(directory)
            yield directory


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimits:
    """What a memory cgroup may take, in bytes; None where nothing is set.

    Attributes:
        name: The group.
        version: 1 or 2.
        limit_bytes: The hard limit, past which the kernel kills: the tightest of the group and
            its ancestors. Version 1 tells the ancestors' limit even where they cannot be seen.
        high_bytes: Version 2's memory.high, past which the kernel slows and reclaims: the tightest
            of the group and its visible ancestors.
        request_bytes: What the group was promised: the larger of memory.min and memory.low, or
            version 1's soft limit.
    """

    name: str
    version: int
    limit_bytes: int | None
    high_bytes: int | None
    request_bytes: int | None

    @property
    def ceiling_bytes(self) -> int | None:
        """The lower of the hard limit and memory.high: what a plan should stay under."""
        return _lowest(self.limit_bytes, self.high_bytes)


def parse_proc_cgroup(text: str, source: str = "cgroup") -> dict[str, str]:
    """Return the group of a process by controller, from /proc/PID/cgroup; version 2's is ``""``.

    Raises:
        MeasureError: The text is no such file.
    """
    groups = {}
    for line in lines_of(text):
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not number.isdecimal() or not colon or not path.startswith("/"):
            raise MeasureError(f"{source} has a line that names no group: '{line}'")
        for controller in controllers.split(","):
            groups[controller] = path
    return groups


def parse_cgroup_mounts(text: str) -> list[CgroupMount]:
    """Return the cgroup mounts in /proc/PID/mountinfo, in its order."""
    mounts = []
    for line in lines_of(text):
        if " - cgroup" not in line:  # a host of containers has thousands of other mounts
            continue
        left, _, right = line.partition(" - ")
        fields, filesystem = left.split(), right.split()
        if len(fields) > 4 and len(filesystem) > 2 and filesystem[0] in {"cgroup", "cgroup2"}:
            version = 2 if filesystem[0] == "cgroup2" else 1
            options = frozenset(filesystem[2].split(","))
            mounts.append(CgroupMount(version, _unescape(fields[3]), _unescape(fields[4]), options))
    return mounts


def _unescape(path: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path


def parse_amount(text: str, source: str) -> int | None:
    """Return the bytes in a cgroup's file of one number; None for no limit.

    Raises:
        MeasureError: The text is neither a number nor `max`.
    """
    word = text.strip()
    if word in {"max", "-1"}:
        return None
    if not word.isdecimal():
        raise MeasureError(f"{source} says '{word[:40]}', neither a number of bytes nor 'max'")
    value = int(word)
    return value if value < _V1_UNLIMITED else None


def parse_memory_stat(text: str, source: str = "memory.stat") -> dict[str, int]:
    """Return memory.stat by key. Keys vary by kernel and version, so look each up by name.

    Raises:
        MeasureError: The text is no such file.
    """
    table = {}
    for line in lines_of(text):
        key, _, value = line.partition(" ")
        if not value.isdecimal():
            raise MeasureError(f"{source} has a line without a number: '{line[:60]}'")
        table[key] = int(value)
    return table


def find_memory_cgroup(pid: int | str = "self", *, root: str = "/") -> MemoryCgroup:
    """Return the group that a process's memory is charged to.

    Raises:
        OSError: `procfs.GONE` where the process has ended.
        MeasureError: Its group cannot be seen from here; says why.
    """
    source = in_root(root, f"/proc/{pid}/cgroup")
    groups = parse_proc_cgroup(read_text(source), source)
    version, path = (1, groups["memory"]) if "memory" in groups else (2, groups.get(""))
    if path is None:
        raise MeasureError("no memory cgroup: this kernel has none, or it is switched off")
    mounts = parse_cgroup_mounts(read_text(in_root(root, "/proc/self/mountinfo")))
    mounts = [
        mount
        for mount in mounts
        if mount.version == version and (version == 2 or "memory" in mount.options)
    ]
    if not mounts:
        raise MeasureError(
            f"the memory cgroup {path} cannot be read: version {version} is not mounted"
        )
    for mount in mounts:
        below = _below(path, mount.root)
        top = in_root(root, mount.point).rstrip("/")
        directory = f"{top}/{below}".rstrip("/")
        if below is not None and os.path.isdir(directory):  # noqa: PTH112 - a string, kept cheap
            group = MemoryCgroup(name=path, version=version, directory=directory, top=top)
            return _paying(group)
    raise MeasureError(
        f"the memory cgroup {path} cannot be seen from this mount or cgroup namespace"
    )


def _below(path: str, mount_root: str) -> str | None:
    """Return the group's path below what a mount shows; None for one outside of it."""
    if ".." in path.split("/") or ".." in mount_root.split("/"):
        return None  # above this cgroup namespace
    if mount_root == "/":
        return path[1:]
    if path == mount_root:
        return ""
    return path[len(mount_root) + 1 :] if path.startswith(mount_root + "/") else None


def _paying(group: MemoryCgroup) -> MemoryCgroup:
    """Return the nearest group at or above the given one that has a memory controller."""
    charge = _V1_CHARGE if group.version == 1 else _V2_CHARGE
    name = group.name
    for directory in group.ancestry():
        if os.access(f"{directory}/{charge}", os.F_OK):
            return MemoryCgroup(
                name=name, version=group.version, directory=directory, top=group.top
            )
        name = posixpath.dirname(name)
    raise MeasureError(f"no memory is counted for the cgroup {group.name} or any group above it")


def read_limits(group: MemoryCgroup) -> MemoryLimits:
    """Return a group's limits and request.

    Raises:
        MeasureError: A file makes no sense.
    """
    if group.version == 1:
        return _read_limits_v1(group)
    limit = high = None
    for directory in group.ancestry():
        limit = _lowest(limit, read_amount(directory, "memory.max"))
        high = _lowest(high, read_amount(directory, "memory.high"))
    promised = [read_amount(group.directory, name) for name in ("memory.min", "memory.low")]
    return MemoryLimits(
        name=group.name,
        version=2,
        limit_bytes=limit,
        high_bytes=high,
        request_bytes=max((value for value in promised if value), default=None),
    )


def _read_limits_v1(group: MemoryCgroup) -> MemoryLimits:
    limit = read_amount(group.directory, "memory.limit_in_bytes")
    source = f"{group.directory}/memory.stat"
    try:
        stat = parse_memory_stat(read_text(source), source)
    except OSError:
        stat = {}
    hierarchical = stat.get("hierarchical_memory_limit", _V1_UNLIMITED)
    return MemoryLimits(
        name=group.name,
        version=1,
        limit_bytes=_lowest(limit, hierarchical if hierarchical < _V1_UNLIMITED else None),
        high_bytes=None,
        request_bytes=read_amount(group.directory, "memory.soft_limit_in_bytes"),
    )


def read_amount(directory: str, name: str) -> int | None:
    """Return the bytes in one file of a group; None for no limit, or where it has no such file.

    Raises:
        MeasureError: The file makes no sense.
    """
    source = f"{directory}/{name}"
    try:
        text = read_text(source)
    except OSError:
        return None
    return parse_amount(text, source)


def _lowest(first: int | None, second: int | None) -> int | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)
