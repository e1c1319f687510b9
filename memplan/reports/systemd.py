"""A drop-in for a systemd service: memory limits, descriptors and the settings' environment."""

from typing import TYPE_CHECKING

from memplan.reports import exports as out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memplan.plan import Plan


def render(plan: "Plan") -> str:
    """Return a drop-in, as for /etc/systemd/system/NAME.service.d/memplan.conf."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: "Plan") -> "Iterator[str]":
    limits, descriptors, tasks = out.memory_limits(plan), out.nofile(plan), out.tasks(plan)
    yield from (f"# {line}" for line in out.heading(plan))
    yield "# Install as /etc/systemd/system/NAME.service.d/memplan.conf."
    for note in out.host_notes(plan):
        yield from _comment(note)
    yield "[Service]"
    yield from _comment(out.headroom_line(limits))
    yield f"MemoryHigh={out.size(limits.high_bytes, 'M')}"
    yield f"MemoryMax={out.size(limits.max_bytes, 'M')}"
    if descriptors is not None:
        yield f"LimitNOFILE={descriptors}"
    if tasks is not None:
        yield "# More tasks than the usual default allows."
        yield f"TasksMax={tasks}"
    for one in out.assignments(plan):
        if one.value is None:
            yield from _comment(one.why)
        else:
            # systemd expands % in values, so a literal one is doubled.
            yield f"Environment={one.name}={one.value.replace('%', '%%')}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in out.comment(text)]
