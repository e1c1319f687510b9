"""What the exporters write to configure a server: settings, limits, and where they are from.

The exporters differ only in syntax. Each carries the same heading as a comment, so that a file
that is found a year later still says what it was made for and how sure that was.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memplan.reports import words
from memplan.reports.memory_sections import memory_limit
from memplan.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memplan.plan import Plan

HEADROOM = 0.1
"""Share of the hard memory limit left free above the high end of the charge's 95% interval.

The interval is for a server in its steady state; an allocation that spikes above it should be
slowed by the soft limit, not killed by the hard one."""

COMMENT_WIDTH = 96
DEFAULT_TASKS = 4915
"""DefaultTasksMax of systemd where pid_max is 32,768: 15% of it."""

SPARE_TASKS = 64
"""Tasks beside the workers: the main thread, helpers of the runtime, a shell that looks around."""

_SYSCTLS = {
    "max_map_count": "vm.max_map_count",
    "overcommit": "vm.overcommit_memory",
    "nofile": "fs.nr_open",
}
_TAKEN = frozenset({"ENV", "HOME", "IFS", "LANG", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "USER"})
"""Variables that a slot's field may not take, whatever its name."""

_DEFAULT_NR_OPEN = 1_048_576
_DEFAULT_MAX_MAP_COUNT = 65_530


@dataclass(frozen=True, slots=True)
class Export:
    """A value with a name that any language takes.

    Attributes:
        name: Letters, digits and underscores, lower case.
        value: The value.
        unit: What a number counts, as in `memplan.plan.Setting`.
        why: The reason, in one line.
    """

    name: str
    value: int | str
    unit: str
    why: str


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """Limits of a container, in bytes.

    Attributes:
        expected_bytes: The charge as expected: what to reserve.
        high_bytes: The high end of its 95% interval: above it, reclaim.
        max_bytes: That with headroom: above it, kill.
    """

    expected_bytes: int
    high_bytes: int
    max_bytes: int


def exports(plan: "Plan") -> "tuple[Export, ...]":
    """Return the load's shape and the settings, each name once."""
    workload = plan.workload
    found = {
        "workers": Export("workers", workload.workers, "", "listening sockets, each with its loop"),
        "process_model": Export(
            "process_model",
            workload.process_model,
            "",
            "workers as threads of one process, or as processes",
        ),
    }
    for setting in plan.settings:
        name = identifier(setting.name)
        why = f"pinned; {setting.why}" if setting.pinned else setting.why
        found.setdefault(name, Export(name, setting.value, setting.unit, words.one_line(why)))
    return tuple(found.values())


def identifier(name: str) -> str:
    """Return a setting's name in letters, digits and underscores, lower case."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "unnamed"
    return f"_{plain}" if plain[0].isdigit() else plain


def memory_limits(plan: "Plan") -> MemoryLimits:
    """Return the limits that follow from the container's charge, in whole MiB.

    None of them is above what the plan was allowed, where something bounds it.
    """
    charge, limit = plan.prediction.charge, memory_limit(plan)
    allowed = None if limit is None else limit.allowed

    def rounded(size: float) -> int:
        whole = MIB * -int(-size // MIB)
        return whole if allowed is None else min(whole, int(allowed))

    return MemoryLimits(
        expected_bytes=rounded(charge.bytes),
        high_bytes=rounded(charge.high_bytes),
        max_bytes=rounded(charge.high_bytes / (1 - HEADROOM)),
    )


def size(value: int, suffix: str) -> str:
    """Return bytes as systemd and docker take them: `261M`, or plain bytes where not whole."""
    return f"{value // MIB}{suffix}" if value % MIB == 0 else str(value)


def heading(plan: "Plan") -> "Iterator[str]":
    """Yield the lines that every exported file begins with, as comments."""
    for line in _heading(plan):
        yield from comment(line)


def comment(text: str) -> list[str]:
    """Return a text as lines short enough to stand in a file, without anything that acts."""
    import textwrap

    # A line that ends in a backslash would go on into the next one, in C and for systemd.
    lines = textwrap.wrap(words.one_line(text), COMMENT_WIDTH, subsequent_indent="  ")
    return [line.rstrip("\\ ") for line in lines]


def _heading(plan: "Plan") -> "Iterator[str]":
    yield "Written by memplan recommend; the reasons are in its table and its JSON."
    yield f"For {words.load_line(plan.workload)}; {words.target_line(plan)}."
    for name, one in (
        ("Container's charge", plan.prediction.charge),
        ("Processes' memory (PSS)", plan.prediction.process),
    ):
        yield (
            f"{name}: {words.amount(one.bytes, 'bytes')} expected, {one.level:.0%} interval "
            f"{words.bytes_range(one.low_bytes, one.high_bytes)}, rests on {one.rests_on} "
            f"({one.method})."
        )
    for caution in plan.cautions:
        if caution.severity == "risk":
            yield f"RISK: {caution.text}"


def headroom_line(limits: MemoryLimits) -> str:
    """Return how the memory limits came about."""
    if limits.max_bytes <= limits.high_bytes:
        return (
            f"Reclaim and kill at what the plan was allowed, {_mib(limits.max_bytes)}; the high "
            "end of the charge's interval is not below it."
        )
    return (
        f"Reclaim above the high end of the charge's interval, {_mib(limits.high_bytes)}; kill "
        f"above that with up to {HEADROOM:.0%} headroom, {_mib(limits.max_bytes)}."
    )


def _mib(value: int) -> str:
    return words.amount(value, "bytes")


def host_notes(plan: "Plan") -> "Iterator[str]":
    """Yield what the host must allow and no container or unit can set."""
    for one in plan.constraints:
        name = _SYSCTLS.get(one.name)
        usual = {"nofile": _DEFAULT_NR_OPEN, "max_map_count": _DEFAULT_MAX_MAP_COUNT}.get(one.name)
        # What every host allows by default needs no word.
        if name is None or (usual is not None and one.needed <= usual):
            continue
        needed = words.amount(one.needed, one.unit)
        allowed = "" if one.allowed is None else f", {words.amount(one.allowed, one.unit)} here"
        detail = f": {one.detail}" if one.detail else ""
        yield words.one_line(
            f"The host's {name} must allow {needed} ({one.source}{allowed}){detail}."
        )


def nofile(plan: "Plan") -> int | None:
    """Return the advised limit of descriptors of one process, None where there is none."""
    return next(
        (one.value for one in plan.settings if one.name == "nofile" and isinstance(one.value, int)),
        None,
    )


def tasks(plan: "Plan") -> int | None:
    """Return a limit of tasks where the usual one is too small, None where it is enough.

    Each worker may have a helper thread of io_uring beside it.
    """
    needed = 2 * plan.workload.workers + SPARE_TASKS
    return needed if needed > DEFAULT_TASKS else None


@dataclass(frozen=True, slots=True)
class Assignment:
    """A variable of the environment.

    Attributes:
        name: The setting's name in capitals.
        value: Its value, None where it cannot be written, and then `why` says the reason.
        why: What it is for.
    """

    name: str
    value: str | None
    why: str


def assignments(plan: "Plan") -> "Iterator[Assignment]":
    """Yield the settings as variables that bash, systemd and docker read alike.

    Docker takes quotes literally and bash breaks at blanks, so a value either needs no quotes or
    is not written for any of them. The slot's size is left out where its fields are written: it is
    their sum, and `memplan explain` would read it as a second answer.
    """
    fields = {one.name for one in plan.layout.fields} - {"slot"}
    for one in exports(plan):
        name, text = one.name.upper(), str(one.value)
        if one.name == "slot" and fields:
            continue
        if name in _TAKEN:
            yield Assignment(name, None, f"{name} is not written: it means something to the system")
        elif re.fullmatch(r"[A-Za-z0-9_./:@%+,=-]*", text) is None:
            yield Assignment(name, None, f"{name} is not written: its value needs quotes")
        else:
            yield Assignment(name, text, one.why)


def load_assignments(plan: "Plan") -> "Iterator[Assignment]":
    """Yield the load beside its workers as variables, so that `memplan explain` knows it.

    Connections that are not known exactly are at their median, as in the plan's own memory.
    """
    workload = plan.workload
    taken = {one.name for one in exports(plan)}
    for name, value, why in (
        ("conns", round(workload.conns.median), "connections open at the same time"),
        ("reconnects_per_s", workload.reconnects_per_s, "connections that close and reopen"),
        ("horizon_s", workload.horizon_s, "the time that it must last, in seconds"),
        ("active_fraction", workload.active_fraction, "share of connections with bytes in flight"),
    ):
        if value is not None and name not in taken:
            yield Assignment(name.upper(), f"{value}", why)
