"""`what_if()`: what a change of configuration does, from the two configurations alone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from memplan.errors import UsageError
from memplan.memory_model import Prediction
from memplan.plan import Caution, RegionChange
from memplan.planning.case import Case
from memplan.planning.cautions import cautions
from memplan.planning.changes import region_changes
from memplan.planning.comparison import load_maker, predicted, rival_of
from memplan.planning.configuration import Configuration
from memplan.planning.goals import Evidence, Goals
from memplan.planning.setup import Setup, set_up
from memplan.planning.sizing import generous
from memplan.planning.strategy_choice import Rival
from memplan.quantity import Quantity
from memplan.slots import descriptors_of
from memplan.units import format_bytes
from memplan.workload import ProcessModel, Workload

if TYPE_CHECKING:
    from memplan.profiler.host import HostFacts

DEFAULT = Configuration(strategy="static", workers=64, conns=4096, process_model="threads")
"""What a configuration that does not say it is taken to be: the reference server's load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """What a change of configuration does to memory.

    Attributes:
        before: The configuration as it is, what it did not say filled in.
        after: The configuration as it would be, likewise.
        changes: Each region's change. Where both configurations say what was measured, the last
            one is `unexplained`: the measured change less the explained.
        before_prediction: Memory as it is.
        after_prediction: Memory as it would be.
        cautions: What to watch in the configuration as it would be, gravest first.
    """

    before: Configuration
    after: Configuration
    changes: tuple[RegionChange, ...]
    before_prediction: Prediction
    after_prediction: Prediction
    cautions: tuple[Caution, ...]

    @property
    def virtual_bytes(self) -> float:
        """Change of address space."""
        return sum(change.virtual_bytes for change in self.changes)

    @property
    def resident_bytes(self) -> float:
        """Change of the process's resident memory, expected."""
        return sum(change.resident_bytes for change in self.changes)

    @property
    def charge_bytes(self) -> float:
        """Change of the container's charge, expected."""
        return sum(change.charge_bytes for change in self.changes)

    def summary(self) -> str:
        """Return the totals and each region that changes, a line each."""
        totals = ", ".join(
            f"{name} {_signed(size)}"
            for name, size in (
                ("resident", self.resident_bytes),
                ("virtual", self.virtual_bytes),
                ("charge", self.charge_bytes),
            )
        )
        lines = [totals]
        lines += [
            f"  {change.name}: resident {_signed(change.resident_bytes)}, virtual "
            f"{_signed(change.virtual_bytes)} ({change.why})"
            for change in self.changes
            if change.virtual_bytes or change.resident_bytes or change.charge_bytes
        ]
        lines += [f"  {caution.severity}: {caution.text}" for caution in self.cautions]
        return "\n".join(lines)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ANN401, FBT001 - IPython's protocol
        """Print the summary where IPython would print every field."""
        del cycle
        printer.text(self.summary())

    def _repr_html_(self) -> str:
        """Return the changes as HTML for a notebook."""
        from memplan.reports.html import what_if_html

        return what_if_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "schema": "memplan.whatif/1",
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "virtual_bytes": self.virtual_bytes,
            "resident_bytes": self.resident_bytes,
            "charge_bytes": self.charge_bytes,
            "before_prediction": self.before_prediction.to_dict(),
            "after_prediction": self.after_prediction.to_dict(),
            "changes": [change.to_dict() for change in self.changes],
            "cautions": [caution.to_dict() for caution in self.cautions],
        }


def what_if(
    before: Configuration | str,
    after: Configuration | str,
    *,
    default: Configuration = DEFAULT,
    host: "HostFacts | None" = None,
) -> WhatIf:
    """Return what changes between two configurations, each with its own load.

    Args:
        before: The configuration as it is, or its KEY=VALUE list.
        after: The configuration as it would be; what it does not say is as before.
        default: What neither of them says.
        host: The machine; None reads this one.

    Raises:
        UsageError: A configuration says nothing of the slot, or contradicts itself.

    Example:
        >>> change = what_if("strategy=static,max_conn=1024,slot=12KiB", "max_conn=128")
        >>> change.resident_bytes
        0.0
    """
    if host is None:
        from memplan.profiler.host import read_host

        host = read_host()
    before = Configuration.parse(before) if isinstance(before, str) else before
    after = Configuration.parse(after) if isinstance(after, str) else after
    before = before.over(default)
    # What was measured was measured as it is, and says nothing of how it would be.
    after = after.over(before, but=("rss", "charge"))
    churned = any(one.reconnects_per_s is not None for one in (before, after))
    if not churned and any(one.horizon_s is not None for one in (before, after)):
        raise UsageError(
            "a horizon needs a reconnect rate: connections that stay do not move; "
            "say reconnect_rate=100/s"
        )
    old_setup, old = _laid_out(before, host)
    new_setup, new = _laid_out(after, host)
    first = predicted(old_setup, old, None)
    second = predicted(new_setup, new, None)
    changes = region_changes(first, second, old, new)
    return WhatIf(
        before=before,
        after=after,
        changes=(*changes, *_unexplained(before, after, changes)),
        before_prediction=first,
        after_prediction=second,
        cautions=cautions(_case(new_setup, new)),
    )


def _signed(size: float) -> str:
    return f"{'+' if size > 0 else ''}{format_bytes(size)}"


def _laid_out(configuration: Configuration, host: "HostFacts") -> tuple[Setup, Rival]:
    """Return a configuration's load and its slots under it."""
    if configuration.workers is None or configuration.conns is None:
        raise UsageError("say the load: workers=64,conns=4096")
    workload = Workload(
        workers=configuration.workers,
        conns=Quantity.exactly(configuration.conns),
        reconnects_per_s=configuration.reconnects_per_s,
        horizon_s=configuration.horizon_s if configuration.reconnects_per_s else None,
        process_model=cast("ProcessModel", configuration.process_model or "threads"),
        active_fraction=1.0
        if configuration.active_fraction is None
        else configuration.active_fraction,
    )
    goals = Goals(max_conn=configuration.max_conn, max_fd=configuration.max_fd)
    setup = set_up(workload, goals, Evidence(), host=host)
    return setup, rival_of(setup, load_maker(setup), configuration)


def _unexplained(
    before: Configuration, after: Configuration, changes: tuple[RegionChange, ...]
) -> tuple[RegionChange, ...]:
    """Return the measured change less the explained one, where both were measured."""
    explained = {
        "rss": sum(change.resident_bytes for change in changes),
        "charge": sum(change.charge_bytes for change in changes),
    }
    rest, words = {"rss": 0.0, "charge": 0.0}, []
    for account, name in (("rss", "the process's memory"), ("charge", "the charge")):
        was, now = getattr(before, account), getattr(after, account)
        if was is not None and now is not None:
            rest[account] = now - was - explained[account]
            words.append(
                f"{name} was measured to change by {format_bytes(now - was)}, of which "
                f"{format_bytes(explained[account])} is explained"
            )
    if not words:
        return ()
    return (
        RegionChange(
            name="unexplained",
            virtual_bytes=0.0,
            resident_bytes=rest["rss"],
            charge_bytes=rest["charge"],
            why="; ".join(words),
        ),
    )


def _case(setup: Setup, rival: Rival) -> Case:
    required = setup.required(setup.horizon_s)
    return Case(
        workload=setup.workload,
        goals=setup.goals,
        host=setup.host,
        model=setup.model,
        horizon_s=setup.horizon_s,
        required=required,
        max_conn=setup.goals.max_conn or generous(required.high),
        descriptors=descriptors_of(rival.load),
        strategy=rival.name,
        layout=rival.layout,
        limits=rival.limits,
        whose="as it would be",
    )
