"""What the planner answers: the advice, what it costs, how sure it is, and what to watch.

Every class here is a result: frozen, without I/O, and drawn by `memplan.reports`.
"""

from dataclasses import dataclass
from typing import Any, Literal

from memplan.answer import Answer, SlotsAnswer
from memplan.constraint import Constraint, Unit
from memplan.memory_model import Prediction
from memplan.slots import SlotLayout
from memplan.workload import Workload

SCHEMA_VERSION = 1
"""Version of `Plan.to_dict()`; grows when a field changes its meaning or goes away."""

Severity = Literal["risk", "warning", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One line of the advice: a value to set, and why.

    Attributes:
        name: `strategy`, `max_conn`, `max_fd`, `nofile`, `state`, `recv`, `body`, `write`, ...
        value: What to set it to.
        unit: What the value counts.
        pinned: Whether the user fixed it and the planner only respected that.
        why: The reason, in one line.
    """

    name: str
    value: int | str
    unit: Unit = ""
    pinned: bool = False
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "pinned": self.pinned,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Probability:
    """A named chance with its bracket and its method."""

    name: str
    answer: Answer

    def to_dict(self) -> dict[str, Any]:
        """Return the name beside the answer's own fields."""
        return {"name": self.name, **self.answer.to_dict()}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsRow:
    """One candidate for MAX_CONN against what it costs and how long it lasts.

    Attributes:
        max_conn: Slots a worker.
        virtual_bytes: Address space of all slots.
        resident_bytes: Their expected high water over the horizon.
        overflow_snapshot: Chance that some worker holds more connections at one moment.
        overflow_horizon: Chance that some worker gets to hold more within the horizon.
        note: `needed`, `advised`, `today`, ... or nothing.
    """

    max_conn: int
    virtual_bytes: int
    resident_bytes: float
    overflow_snapshot: Answer
    overflow_horizon: Answer | None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, answers as objects."""
        return {
            "max_conn": self.max_conn,
            "virtual_bytes": self.virtual_bytes,
            "resident_bytes": self.resident_bytes,
            "overflow_snapshot": self.overflow_snapshot.to_dict(),
            "overflow_horizon": self.overflow_horizon and self.overflow_horizon.to_dict(),
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ChurnTable:
    """MAX_CONN that holds the overflow target, over reconnect rates and horizons.

    Attributes:
        reconnects_per_s: The rows' rates; 0 is the snapshot.
        horizons_s: The columns' horizons.
        max_conn: One row a rate, one column a horizon.
        overflow: The target that every cell holds.
    """

    reconnects_per_s: tuple[float, ...]
    horizons_s: tuple[float, ...]
    max_conn: tuple[tuple[int, ...], ...]
    overflow: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, tuples as lists."""
        return {
            "reconnects_per_s": list(self.reconnects_per_s),
            "horizons_s": list(self.horizons_s),
            "max_conn": [list(row) for row in self.max_conn],
            "overflow": self.overflow,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyRow:
    """One slot strategy beside the others, each at its own best layout.

    Attributes:
        name: The strategy.
        chosen: Whether the plan takes it.
        layout: Its slot.
        virtual_bytes: Address space of its slots and tables.
        resident_bytes: Slots resident with the connections of now, expected.
        high_water_bytes: Slots resident at the horizon's high water, expected.
        high_water_low_bytes: Lower end of its 95% interval.
        high_water_high_bytes: Upper end of its 95% interval.
        idle_conn_bytes: Resident bytes of one idle connection.
        mappings: Memory mappings that it holds.
        constraints: The limits that it runs into.
        verdict: Why it was taken or not, in one line.
    """

    name: str
    chosen: bool
    layout: SlotLayout
    virtual_bytes: int
    resident_bytes: float
    high_water_bytes: float
    high_water_low_bytes: float
    high_water_high_bytes: float
    idle_conn_bytes: float
    mappings: float
    constraints: tuple[Constraint, ...]
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, the layout as its fields' sizes."""
        return {
            "name": self.name,
            "chosen": self.chosen,
            "layout": {field.name: field.size_bytes for field in self.layout.fields},
            "slot_bytes": self.layout.slot_bytes,
            "virtual_bytes": self.virtual_bytes,
            "resident_bytes": self.resident_bytes,
            "high_water_bytes": self.high_water_bytes,
            "high_water_low_bytes": self.high_water_low_bytes,
            "high_water_high_bytes": self.high_water_high_bytes,
            "idle_conn_bytes": self.idle_conn_bytes,
            "mappings": self.mappings,
            "constraints": [constraint.to_dict() for constraint in self.constraints],
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """A warning that a good engineer would give, with its figure.

    Attributes:
        name: A short slug that stays the same between versions, such as `few-clients`.
        severity: `risk` comes before `warning` before `note`.
        text: One or two sentences with the figure in them.
    """

    name: str
    severity: Severity
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return {"name": self.name, "severity": self.severity, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionChange:
    """How one region of memory changes between two configurations, before any run.

    Attributes:
        name: The region.
        virtual_bytes: Change of address space.
        resident_bytes: Change of resident memory of the process, expected.
        charge_bytes: Change of the container's charge, expected.
        why: The reason, in one line.
    """

    name: str
    virtual_bytes: float
    resident_bytes: float
    charge_bytes: float
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return {
            "name": self.name,
            "virtual_bytes": self.virtual_bytes,
            "resident_bytes": self.resident_bytes,
            "charge_bytes": self.charge_bytes,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A recommendation with everything that it rests on.

    Attributes:
        workload: The load that it is made for.
        basis: `snapshot`, or the horizon and the churn that the overflow target holds over.
        overflow: The overflow target.
        settings: The advice, most important first.
        required: The smallest MAX_CONN that holds the target, with its bracket.
        slots_table: MAX_CONN against cost and overflow.
        churn_table: MAX_CONN over reconnect rate and horizon, where no churn was given.
        strategies: The strategies side by side.
        prediction: Regions, the process's memory and the container's charge.
        constraints: What must hold, the chosen strategy's limits included.
        binding: The name of the constraint that decides, and how near it is.
        probabilities: The chances that were worked out.
        cautions: Warnings, gravest first.
        changes: Each region against today's configuration, where that was given.
        assumptions: What was assumed for want of an answer.
    """

    workload: Workload
    basis: str
    overflow: float
    settings: tuple[Setting, ...]
    required: SlotsAnswer
    slots_table: tuple[SlotsRow, ...]
    churn_table: ChurnTable | None
    strategies: tuple[StrategyRow, ...]
    prediction: Prediction
    constraints: tuple[Constraint, ...]
    binding: str
    probabilities: tuple[Probability, ...]
    cautions: tuple[Caution, ...]
    changes: tuple[RegionChange, ...] = ()
    assumptions: tuple[str, ...] = ()

    @property
    def feasible(self) -> bool:
        """Whether every constraint holds."""
        return all(constraint.ok for constraint in self.constraints)

    @property
    def layout(self) -> SlotLayout:
        """The chosen strategy's slot."""
        return next(row.layout for row in self.strategies if row.chosen)

    def setting(self, name: str) -> int | str:
        """Return the value advised for a setting.

        Raises:
            KeyError: The plan advises nothing of that name.
        """
        for setting in self.settings:
            if setting.name == name:
                return setting.value
        raise KeyError(name)

    def number(self, name: str) -> int:
        """Return the value advised for a setting that is a number.

        Raises:
            KeyError: The plan advises no number of that name.
        """
        value = self.setting(name)
        if isinstance(value, int):
            return value
        raise KeyError(name)

    def summary(self) -> str:
        """Return the advice, the memory it takes and the gravest warnings as plain text."""
        from memplan.reports.text import summary

        return summary(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ANN401, FBT001 - IPython's protocol
        """Print the summary where IPython would print every field."""
        del cycle
        printer.text(self.summary())

    def _repr_html_(self) -> str:
        """Return the plan as HTML for a notebook."""
        from memplan.reports.html import plan_html

        return plan_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain data, as `--format json` writes it and the schema describes."""
        return {
            "schema": f"memplan.plan/{SCHEMA_VERSION}",
            "basis": self.basis,
            "overflow": self.overflow,
            "feasible": self.feasible,
            "binding": self.binding,
            "workload": self.workload.to_dict(),
            "settings": [setting.to_dict() for setting in self.settings],
            "required": self.required.to_dict(),
            "slots_table": [row.to_dict() for row in self.slots_table],
            "churn_table": self.churn_table and self.churn_table.to_dict(),
            "strategies": [row.to_dict() for row in self.strategies],
            "prediction": self.prediction.to_dict(),
            "constraints": [constraint.to_dict() for constraint in self.constraints],
            "probabilities": [probability.to_dict() for probability in self.probabilities],
            "cautions": [caution.to_dict() for caution in self.cautions],
            "changes": [change.to_dict() for change in self.changes],
            "assumptions": list(self.assumptions),
        }
