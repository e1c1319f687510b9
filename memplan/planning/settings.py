"""The advice, line by line: each setting with its value and its reason."""

from collections.abc import Iterator

from memplan.answer import SlotsAnswer
from memplan.plan import Setting
from memplan.planning.comparison import wished
from memplan.planning.goals import AUTO
from memplan.planning.setup import Setup
from memplan.planning.strategy_choice import Rival
from memplan.slot_layout import PAGE_BYTES
from memplan.slots import descriptors_of
from memplan.units import format_bytes, format_duration


def settings_of(
    setup: Setup, chosen: Rival, required: SlotsAnswer, max_conn: int
) -> Iterator[Setting]:
    """Yield the settings, the most important first."""
    goals = setup.goals
    yield Setting(
        name="strategy",
        value=chosen.name,
        pinned=wished(goals)[0] != AUTO,
        why=chosen.strategy.summary,
    )
    over = (
        "at one moment" if setup.horizon_s is None else f"over {format_duration(setup.horizon_s)}"
    )
    yield Setting(
        name="max_conn",
        value=max_conn,
        unit="slots",
        pinned=goals.max_conn is not None,
        why=f"{required.slots:,} hold {goals.overflow:g} {over}"
        + ("" if goals.max_conn is not None else "; the rest is headroom that is never touched"),
    )
    need = descriptors_of(chosen.load)
    max_fd = goals.max_fd or 1 << (need.total - 1).bit_length()
    yield Setting(
        name="max_fd",
        value=max_fd,
        unit="descriptors",
        pinned=goals.max_fd is not None,
        why=need.words(),
    )
    yield Setting(
        name="nofile",
        value=max(max_fd, 1 << (need.total - 1).bit_length()),
        unit="descriptors",
        why=f"RLIMIT_NOFILE of {need.per}, to hold the same sum",
    )
    yield from _own_settings(setup, chosen)
    for field in chosen.layout.fields:
        pinned = getattr(goals, field.name, None) is not None
        yield Setting(
            name=field.name,
            value=field.size_bytes,
            unit="bytes",
            pinned=pinned,
            why="fixed by you" if pinned else _why_size(setup, field.name, field.size_bytes),
        )
    pages = chosen.layout.slot_bytes / chosen.load.page_bytes
    filled = chosen.layout.slot_bytes == sum(field.size_bytes for field in chosen.layout.fields)
    padded = "" if filled else f" padded to whole {format_bytes(chosen.layout.align_bytes)}"
    yield Setting(
        name="slot",
        value=chosen.layout.slot_bytes,
        unit="bytes",
        why=f"the sum{padded}, {pages:.3g} pages of {format_bytes(chosen.load.page_bytes)}",
    )


def _own_settings(setup: Setup, chosen: Rival) -> Iterator[Setting]:
    """Yield what the user has set of the strategy's own settings, so that exports hold it too."""
    for name, typed in wished(setup.goals)[1].items():
        value = getattr(chosen.settings, name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        yield Setting(
            name=name,
            value=value if whole else typed,
            unit="bytes" if whole and name.endswith("_bytes") else "",
            pinned=True,
            why=f"fixed by you, a setting of the strategy {chosen.name}",
        )


def _why_size(setup: Setup, name: str, size: int) -> str:
    if name == "state":
        return "offsets, lengths, flags and a timer: two cache lines"
    needed: int | None = getattr(setup.need, name)
    if needed is None:
        less = ", less the state" if name == "recv" else ""
        return f"traffic not given: a page for each buffer{less}"
    if size >= 2 * needed and size >= PAGE_BYTES // 4:
        return f"the traffic needs {needed:,}; the rest fills pages that are paid for"
    if size > needed:
        return f"the traffic needs {needed:,}, in whole cache lines"
    return f"the traffic needs {needed:,}"
