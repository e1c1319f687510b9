"""Arguments of `docker run`, one a line, with what no container can set as comments."""

from typing import TYPE_CHECKING

from memplan.reports import exports as out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memplan.plan import Plan


def render(plan: "Plan") -> str:
    """Return the arguments, each on its own line and without blanks or quotes in it."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: "Plan") -> "Iterator[str]":
    limits, descriptors, tasks = out.memory_limits(plan), out.nofile(plan), out.tasks(plan)
    yield from (f"# {line}" for line in out.heading(plan))
    yield "# Use: docker run $(grep ^-- FILE) IMAGE"
    for note in out.host_notes(plan):
        yield from _comment(note)
    yield from _comment(out.headroom_line(limits))
    yield f"--memory={out.size(limits.max_bytes, 'm')}"
    yield "# Reserved is the charge as expected; under cgroup v2 it is memory.low, which protects."
    yield f"--memory-reservation={out.size(limits.expected_bytes, 'm')}"
    if descriptors is not None:
        yield f"--ulimit=nofile={descriptors}:{descriptors}"
    if tasks is not None:
        yield f"--pids-limit={tasks}"
    for one in out.assignments(plan):
        if one.value is None:
            yield from _comment(one.why)
        else:
            yield f"--env={one.name}={one.value}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in out.comment(text)]
