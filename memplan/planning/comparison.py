"""The strategies as rivals: each at its best layout, its memory predicted, one of them taken."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from memplan.errors import UsageError
from memplan.memory.calibration import Calibration, Point
from memplan.memory.slots_memory import SlotsMemory
from memplan.memory_model import Prediction, predict
from memplan.plan import StrategyRow
from memplan.planning.configuration import Configuration, pairs_of
from memplan.planning.constraints import host_limits, of_the_plan
from memplan.planning.goals import AUTO, Evidence, Goals
from memplan.planning.setup import DEFAULT_STRATEGY, Setup
from memplan.planning.sizing import candidate_layouts, generous
from memplan.planning.strategy_choice import LoadMaker, Rival, judge
from memplan.slots import SlotLoad
from memplan.units import format_bytes

BUILT_IN = ("static", "fd", "pooled")
"""The strategies that stand side by side, the simplest first: it wins where memory is equal."""
_EQUAL_SHARE = 0.02
_EQUAL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The strategies side by side, each with its prediction, and the one that is taken.

    Attributes:
        rivals: The strategies by name.
        predictions: Their memory by name.
        chosen: The one taken.
        makers: Makes the load for any number of slots.
        left_out: Why strategies that were not asked for by name cannot have these slots, by name.
    """

    rivals: dict[str, Rival]
    predictions: dict[str, Prediction]
    chosen: Rival
    makers: LoadMaker
    left_out: dict[str, str]

    @property
    def prediction(self) -> Prediction:
        """The memory of the strategy taken."""
        return self.predictions[self.chosen.name]

    def rows(self) -> tuple[StrategyRow, ...]:
        """Return the strategies as a table."""
        return tuple(_strategy_rows(self.rivals, self.predictions, self.chosen))


def compare(setup: Setup, max_conn: int) -> Comparison:
    """Return the strategies at so many slots a worker, and the one that keeps memory lowest."""
    makers = load_maker(setup)
    rivals, left_out = _rivals(setup, makers.load(max_conn))
    # Which is the lowest does not hang on what else the server takes, so it is asked without
    # measurements; these then say where all of them lie.
    bare = replace(setup, evidence=Evidence())
    predictions = {name: predicted(bare, rival, None) for name, rival in rivals.items()}
    chosen = rivals[_choose(setup, rivals, predictions)]
    evidence = setup.evidence
    if evidence.rss or evidence.charge:
        current = evidence.current
        says = current is not None and current.says_layout
        measured = rival_of(setup, makers, current) if current is not None and says else chosen
        predictions = {
            name: predicted(setup, rival, slots_memory(measured)) for name, rival in rivals.items()
        }
    return Comparison(
        rivals=rivals, predictions=predictions, chosen=chosen, makers=makers, left_out=left_out
    )


def wished(goals: Goals) -> tuple[str, dict[str, str]]:
    """Return the strategy asked for and its settings, from `NAME` or `NAME:KEY=VALUE,..`.

    Raises:
        UsageError: The settings are no such list, or none can be set.
    """
    name, _, settings = goals.strategy.partition(":")
    pairs = pairs_of(settings.split(","))
    if name == AUTO and pairs:
        raise UsageError("auto has no settings; name the strategy, as in static:reuse=fifo")
    return name, pairs


def load_maker(setup: Setup) -> LoadMaker:
    """Return what makes the strategies' load."""
    return LoadMaker(
        workload=setup.workload,
        model=setup.model,
        need=setup.need,
        horizon_s=setup.horizon_s,
        most_conns=setup.most_conns(),
        max_fd=setup.goals.max_fd,
        page_bytes=host_limits(setup.host).page_bytes,
    )


def _rivals(setup: Setup, load: SlotLoad) -> tuple[dict[str, Rival], dict[str, str]]:
    """Return the strategies that can have slots of these sizes, and why the others cannot."""
    name, pairs = wished(setup.goals)
    names = BUILT_IN if name == AUTO else tuple(dict.fromkeys((*BUILT_IN, name)))
    limits = host_limits(setup.host)
    layouts = candidate_layouts(setup.need, setup.goals)
    rivals: dict[str, Rival] = {}
    left_out: dict[str, str] = {}
    for one in names:
        try:
            rivals[one] = judge(
                one, layouts=layouts, load=load, host=limits, pairs=pairs if one == name else {}
            )
        except UsageError as refusal:
            # What the user asks for must be told to be impossible; a mere rival steps back.
            if one == name:
                raise
            left_out[one] = str(refusal)
    return rivals, left_out


def slots_memory(rival: Rival) -> SlotsMemory:
    """Return a strategy's memory at the high water as the memory model takes it."""
    footprint = rival.footprint
    return SlotsMemory(
        strategy=rival.name,
        virtual_bytes=footprint.virtual_bytes,
        table_bytes=footprint.table_bytes,
        resident_bytes=round(footprint.high_water.mean_bytes),
        low_bytes=round(footprint.high_water.low_bytes),
        high_bytes=round(footprint.high_water.high_bytes),
        mappings=round(footprint.mappings),
        slot_bytes_now=round(footprint.now.mean_bytes),
    )


def predicted(setup: Setup, rival: Rival, measured: SlotsMemory | None) -> Prediction:
    """Return the memory of a strategy, calibrated by what was measured.

    Args:
        setup: The load and the evidence.
        rival: The strategy.
        measured: The slots with which memory was measured, under this load; None for the same.
    """
    evidence = setup.evidence
    return predict(
        setup.workload,
        slots_memory(rival),
        calibration_process=fitted(evidence.rss),
        calibration_charge=fitted(evidence.charge),
        measured_slots=measured,
        pinned=setup.goals.pins,
        host=setup.host,
    )


def fitted(points: tuple[Point, ...]) -> Calibration | None:
    """Return the calibration of what was measured, None where nothing was."""
    return Calibration.fit(points) if points else None


def rival_of(setup: Setup, makers: LoadMaker, current: Configuration) -> Rival:
    """Return a configuration's own strategy and slot under the load."""
    max_conn = current.max_conn or generous(setup.required(setup.horizon_s).high)
    return judge(
        current.strategy or DEFAULT_STRATEGY,
        layouts=[current.layout],
        load=makers.load(max_conn),
        host=host_limits(setup.host),
        pairs=current.settings,
    )


def _choose(setup: Setup, rivals: dict[str, Rival], predictions: dict[str, Prediction]) -> str:
    name, _ = wished(setup.goals)
    if name != AUTO:
        return name
    able = [one for one, rival in rivals.items() if all(limit.ok for limit in rival.limits)]
    names = able or list(rivals)
    least = min(predictions[one].charge.bytes for one in names)
    equal = least + max(_EQUAL_BYTES, _EQUAL_SHARE * least)
    return next(one for one in names if predictions[one].charge.bytes <= equal)


def _strategy_rows(
    rivals: dict[str, Rival], predictions: dict[str, Prediction], chosen: Rival
) -> Iterator[StrategyRow]:
    least = predictions[chosen.name].charge.bytes
    for name, rival in rivals.items():
        footprint = rival.footprint
        more = predictions[name].charge.bytes - least
        broken = [limit.name for limit in rival.limits if not limit.ok]
        if broken:
            verdict = f"runs into {', '.join(broken)}"
        elif name == chosen.name:
            verdict = rival.strategy.summary
        elif more >= 0:
            verdict = f"{format_bytes(more)} more in the container"
        else:
            verdict = f"{format_bytes(-more)} less in the container"
        yield StrategyRow(
            name=name,
            chosen=name == chosen.name,
            layout=rival.layout,
            virtual_bytes=footprint.virtual_bytes,
            resident_bytes=footprint.now.mean_bytes,
            high_water_bytes=footprint.high_water.mean_bytes,
            high_water_low_bytes=footprint.high_water.low_bytes,
            high_water_high_bytes=footprint.high_water.high_bytes,
            idle_conn_bytes=footprint.idle_conn_bytes,
            mappings=footprint.mappings,
            constraints=tuple(of_the_plan(limit) for limit in rival.limits),
            verdict=verdict,
        )
