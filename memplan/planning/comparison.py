"""The strategies as rivals: each at its best layout, its memory predicted, one of them taken."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from memplan.errors import UsageError
from memplan.memory.calibration import Calibration, Point
from memplan.memory.estimate import Estimate
from memplan.memory.slots_memory import SlotsMemory
from memplan.memory_model import Prediction, predict
from memplan.plan import StrategyRow
from memplan.planning.configuration import Configuration, pairs_of
from memplan.planning.constraints import host_limits, of_the_plan
from memplan.planning.goals import AUTO, Evidence, Goals
from memplan.planning.setup import DEFAULT_STRATEGY, Setup, set_up
from memplan.planning.sizing import candidate_layouts, generous
from memplan.planning.strategy_choice import LoadMaker, Loads, Rival, judge
from memplan.quantity import Quantity
from memplan.units import format_bytes

if TYPE_CHECKING:
    from memplan.workload import ProcessModel

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
        measured: The slots with which memory was measured; None where it was not.
        at_most: The memory of the strategy taken at the most connections, where they are not
            known exactly.
    """

    rivals: dict[str, Rival]
    predictions: dict[str, Prediction]
    chosen: Rival
    makers: LoadMaker
    left_out: dict[str, str]
    measured: SlotsMemory | None
    at_most: Prediction | None

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
    rivals, left_out = _rivals(setup, makers.loads(max_conn))
    # Which is the lowest does not hang on what else the server takes, so it is asked without
    # measurements; these then say where all of them lie.
    bare = replace(setup, evidence=Evidence())
    predictions = {name: predicted(bare, rival, None) for name, rival in rivals.items()}
    chosen = rivals[_choose(setup, rivals, predictions)]
    measured = None
    if setup.evidence.rss or setup.evidence.charge:
        measured = slots_memory(_as_measured(setup, chosen, max_conn))
        predictions = {name: predicted(setup, rival, measured) for name, rival in rivals.items()}
    predictions = {
        name: _with_ends(one, _at_the_ends(setup, rivals[name], measured))
        for name, one in predictions.items()
    }
    return Comparison(
        rivals=rivals,
        predictions=predictions,
        chosen=chosen,
        makers=makers,
        left_out=left_out,
        measured=measured,
        at_most=_at_the_ends(setup, chosen, measured)[-1] if chosen.ends else None,
    )


def today(setup: Setup, current: Configuration, *, as_measured: bool = False) -> Setup:
    """Return the set-up with today's workers; as it was measured, with the churn it had seen too.

    Args:
        setup: The load and the evidence.
        current: Today's configuration.
        as_measured: Memory is measured before a plan's horizon has passed: the churn is what the
            configuration says, or none.
    """
    load = setup.workload
    workers = current.workers or load.workers
    model = current.process_model or load.process_model
    load = replace(
        load,
        workers=workers,
        weights=load.weights if workers == load.workers else None,
        workers_lost=min(load.workers_lost, workers - 1),
        process_model=cast("ProcessModel", model),
    )
    if as_measured:
        rate = current.reconnects_per_s
        load = replace(load, reconnects_per_s=rate, horizon_s=current.horizon_s if rate else None)
    goals = replace(setup.goals, max_fd=current.max_fd)
    return set_up(load, goals, setup.evidence, host=setup.host)


def _as_measured(setup: Setup, chosen: Rival, max_conn: int) -> Rival:
    """Return the slots with which memory was measured: today's, or those of the plan."""
    current = setup.evidence.current or Configuration()
    then = today(setup, current, as_measured=True)
    if current.says_layout:
        return rival_of(then, load_maker(then), current)
    return judge(
        chosen.name,
        layouts=[chosen.layout],
        loads=load_maker(then).loads(max_conn),
        host=host_limits(setup.host),
        pairs=chosen.pairs,
    )


def _at_the_ends(
    setup: Setup, rival: Rival, measured: SlotsMemory | None
) -> tuple[Prediction, ...]:
    """Return the memory at the fewest and the most connections; nothing where they are known."""
    conns = setup.workload.conns
    found = []
    for end, footprint in zip((conns.low, conns.high), rival.ends, strict=False):
        known = replace(setup, workload=replace(setup.workload, conns=Quantity.exactly(end)))
        found.append(predicted(known, replace(rival, footprint=footprint, ends=()), measured))
    return tuple(found)


def _with_ends(prediction: Prediction, ends: tuple[Prediction, ...]) -> Prediction:
    """Return a prediction whose intervals hold what either end of the connections takes.

    Connections move all regions alike, so their errors do not average out as others' do.
    """
    process, charge = [prediction.process], [prediction.charge]
    for end in ends:
        process.append(end.process)
        charge.append(end.charge)
    return replace(prediction, process=_hull(process), charge=_hull(charge))


def _hull(estimates: list[Estimate]) -> Estimate:
    return replace(
        estimates[0],
        low_bytes=min(one.low_bytes for one in estimates),
        high_bytes=max(one.high_bytes for one in estimates),
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


def _rivals(setup: Setup, loads: Loads) -> tuple[dict[str, Rival], dict[str, str]]:
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
                one, layouts=layouts, loads=loads, host=limits, pairs=pairs if one == name else {}
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
        low_bytes=round(rival.low_bytes),
        high_bytes=round(rival.high_bytes),
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
        loads=makers.loads(max_conn),
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
            high_water_low_bytes=rival.low_bytes,
            high_water_high_bytes=rival.high_bytes,
            idle_conn_bytes=footprint.idle_conn_bytes,
            mappings=footprint.mappings,
            constraints=tuple(of_the_plan(limit) for limit in rival.limits),
            verdict=verdict,
        )
