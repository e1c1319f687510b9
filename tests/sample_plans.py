"""Plans for the reports' tests: real `Plan` objects whose figures are free, for drawing only."""

from dataclasses import replace

from sample_parts import (
    ALIGNED,
    FD,
    LAYOUT,
    NASTY,
    POOLED,
    REGIONS,
    STATIC,
    bracketed,
    constraints,
    estimate,
    region,
    settings,
)

from memplan.answer import SlotsAnswer
from memplan.memory.region import Provenance
from memplan.memory_model import Prediction
from memplan.plan import (
    Caution,
    ChurnTable,
    Plan,
    Probability,
    RegionChange,
    Setting,
    SlotsRow,
)
from memplan.planning.configuration import Configuration
from memplan.quantity import Quantity
from memplan.slots import SlotLayout
from memplan.units import DAY, GIB, HOUR, KIB, MIB, YEAR
from memplan.whatif import WhatIf
from memplan.workload import Traffic, Workload


def snapshot_plan() -> Plan:
    """Return a plan without churn that holds, on no measurement."""
    overflow = bracketed(9.616027511e-7)
    return Plan(
        workload=Workload(workers=64, conns=Quantity.exactly(4096)),
        basis="snapshot",
        overflow=1e-6,
        settings=settings(),
        required=SlotsAnswer(slots=112, low=112, high=112, overflow=overflow, method="Levin exact"),
        slots_table=(
            SlotsRow(
                max_conn=112,
                virtual_bytes=84 * MIB,
                resident_bytes=48.0 * MIB,
                overflow_snapshot=overflow,
                overflow_horizon=None,
                note="needed",
            ),
            SlotsRow(
                max_conn=256,
                virtual_bytes=192 * MIB,
                resident_bytes=48.0 * MIB,
                overflow_snapshot=bracketed(2.7e-83),
                overflow_horizon=None,
                note="advised",
            ),
        ),
        churn_table=ChurnTable(
            reconnects_per_s=(10.0, 1_000.0, 100_000.0),
            horizons_s=(HOUR, DAY, 30 * DAY, YEAR),
            max_conn=((114, 121, 129, 134), (124, 131, 138, 142), (132, 138, 143, 147)),
            overflow=1e-6,
        ),
        strategies=(STATIC, FD, POOLED),
        prediction=Prediction(
            regions=REGIONS[:-1],
            process=estimate(65 * MIB, prior=True),
            charge=estimate(87 * MIB, prior=True),
        ),
        constraints=constraints(needed=131 * MIB),
        binding="overflow: MAX_CONN was chosen to meet it; next is memory limit, 28% used",
        probabilities=(
            Probability(
                name="some worker needs more than 256 slots, at one moment",
                answer=bracketed(2.7e-83),
            ),
        ),
        cautions=(
            Caution(
                name="snapshot",
                severity="warning",
                text="No reconnect rate was given, so 112 slots hold the target at one moment only."
                " Every reconnect is a new draw.",
            ),
        ),
        assumptions=(
            "64 workers: one for each CPU that this process may use (--workers)",
            (
                "a page for each of recv, body and write, all written: give --request-bytes, "
                "--body-bytes, --response-bytes and --pipeline to size them"
            ),
        ),
    )


def churn_plan() -> Plan:
    """Return a plan over 30 days of churn, measured, with today's configuration to compare."""
    workload = Workload(
        workers=64,
        conns=Quantity.quantiles({0.5: 4096, 0.99: 5000}),
        reconnects_per_s=260_000.0,
        horizon_s=30 * DAY,
        client_addresses=1,
        traffic=Traffic(
            request_bytes=Quantity.quantiles({0.5: 80, 0.99: 300}),
            response_bytes=Quantity.between(100, 3000),
            pipeline=Quantity.exactly(16),
        ),
    )
    held = bracketed(7.31e-7, 0.034, "quasi-stationary exit")
    within = {112: 0.999, 128: 0.1254, 144: 7.31e-7, 256: 1.2e-61}
    return replace(
        snapshot_plan(),
        workload=workload,
        basis="30 d of 260,000/s reconnects",
        required=SlotsAnswer(
            slots=144, low=143, high=144, overflow=held, method="quasi-stationary exit"
        ),
        slots_table=tuple(
            SlotsRow(
                max_conn=slots,
                virtual_bytes=64 * slots * LAYOUT.slot_bytes,
                resident_bytes=72.3 * MIB,
                overflow_snapshot=bracketed(9.6e-7 / 10.0 ** (slots - 112)),
                overflow_horizon=bracketed(chance, 0.0005, "quasi-stationary exit"),
                note={112: "enough at one moment", 128: "today", 144: "needed", 256: "advised"}[
                    slots
                ],
            )
            for slots, chance in within.items()
        ),
        churn_table=None,
        prediction=Prediction(
            regions=REGIONS,
            process=estimate(150 * MIB),
            charge=estimate(184 * MIB),
            assumptions=("noise of 3%",),
            warnings=("the points bend",),
        ),
        constraints=constraints(),
        binding="memory limit: 60% of what is allowed",
        probabilities=(
            Probability(
                name="some worker needs more than 256 slots, within 30 d",
                answer=bracketed(1.2e-61, 0.02, "quasi-stationary exit"),
            ),
            Probability(
                name="most connections that a worker has held within 30 d, expected",
                answer=bracketed(93.9, 0.004, "exit-time sum"),
            ),
        ),
        cautions=(
            Caution(
                name="few-clients",
                severity="risk",
                text="All load comes from 1 client address (14,116 tuples): the hash sends a tuple "
                "to the same worker until the next boot, so workers' shares differ by 6.7% (sd) "
                "for good. A benchmark from one machine tells nothing of production.",
            ),
            Caution(
                name="benchmark-not-horizon",
                severity="risk",
                text="MAX_CONN 128 (today's) lasts a benchmark of 15 s (7.5e-07) and not 30 d at "
                "260,000/s (0.13, target 1e-06); 144 does.",
            ),
            Caution(
                name="thp",
                severity="warning",
                text="Transparent huge pages are set to always: a large array can become resident "
                "2 MiB at a time.",
            ),
            Caution(name="model-void", severity="note", text="The spread is the kernel's hash."),
        ),
        changes=(
            RegionChange(
                name="slots",
                virtual_bytes=-672.0 * MIB,
                resident_bytes=0.0,
                charge_bytes=0.0,
                why="slots that no connection reaches are address space and never resident",
            ),
            RegionChange(
                name="page tables",
                virtual_bytes=0.0,
                resident_bytes=0.0,
                charge_bytes=4.5 * KIB,
                why="8 bytes for each touched page",
            ),
            RegionChange(
                name="sockets", virtual_bytes=0.0, resident_bytes=0.0, charge_bytes=0.0, why="same"
            ),
        ),
    )


def infeasible_plan() -> Plan:
    """Return a plan whose memory limit is far too small."""
    return replace(
        churn_plan(),
        constraints=constraints(limit=64 * MIB),
        binding="memory limit: cannot be met",
    )


def huge_plan() -> Plan:
    """Return a plan at the far end of every figure, texts of awkward length included."""
    slots_row = SlotsRow(
        max_conn=1_234_567,
        virtual_bytes=1023 * 1024 * GIB,
        resident_bytes=999.4 * GIB,
        overflow_snapshot=bracketed(9.99e-300),
        overflow_horizon=bracketed(9.99e-299, 0.01),
        note="enough at one moment, today, needed, advised",
    )
    strategy = replace(
        STATIC,
        name="my_own_strategy",
        virtual_bytes=1023 * 1024 * GIB,
        resident_bytes=1023.4 * GIB,
        high_water_bytes=1023.4 * GIB,
        high_water_low_bytes=999.0 * MIB,
        high_water_high_bytes=1023.4 * GIB,
        mappings=123_456_789.0,
    )
    big = region(
        "old process during a deploy",
        "deploy",
        Provenance("predicted", "x" * 300),
        virtual=1023 * 1024 * GIB,
        process=1023 * GIB,
        charge=1023 * GIB,
    )
    plan = churn_plan()
    return replace(
        plan,
        workload=replace(
            plan.workload, workers=65_536, conns=Quantity.exactly(1e9), client_addresses=None
        ),
        slots_table=(slots_row,),
        strategies=(strategy, replace(strategy, name="fd", chosen=False)),
        prediction=Prediction(
            regions=(big,), process=estimate(1023 * GIB), charge=estimate(1023 * GIB)
        ),
        constraints=(*constraints(limit=4096 * GIB, needed=1600 * GIB),),
        churn_table=ChurnTable(
            reconnects_per_s=(123_456_789.0,),
            horizons_s=(HOUR, DAY, 30 * DAY, 123_456 * YEAR),
            max_conn=((1_234_567, 1_234_568, 1_234_569, 1_234_570),),
            overflow=1e-300,
        ),
        overflow=1e-300,
    )


def nasty_plan() -> Plan:
    """Return a plan whose every free text tries to break out of its format."""
    plan = churn_plan()
    own = tuple(
        Setting(name=f"own {value!r}"[:24], value=value, why=NASTY)
        for value in (NASTY, "two words", "100%", "tame-1.0")
    )
    return replace(
        plan,
        settings=tuple(replace(one, why=NASTY) for one in plan.settings) + own,
        strategies=tuple(replace(one, verdict=NASTY) for one in plan.strategies),
        prediction=replace(
            plan.prediction,
            regions=tuple(
                replace(one, name=f"r {NASTY}", provenance=Provenance("pinned", NASTY))
                for one in plan.prediction.regions
            ),
        ),
        cautions=(Caution(name="nasty", severity="risk", text=NASTY),),
        assumptions=(NASTY,),
        binding=NASTY,
    )


def aligned_plan() -> Plan:
    """Return a plan whose slot has padding, alignment and names of its own."""
    plan = snapshot_plan()
    return replace(
        plan,
        settings=settings(ALIGNED),
        strategies=(replace(STATIC, layout=ALIGNED), FD),
    )


def opaque_plan() -> Plan:
    """Return a plan whose slot is known only by its size."""
    plan = snapshot_plan()
    layout = SlotLayout.opaque(12 * KIB)
    return replace(plan, settings=settings(layout), strategies=(replace(STATIC, layout=layout),))


FEASIBLE = {
    "snapshot": snapshot_plan(),
    "churn": churn_plan(),
    "huge": huge_plan(),
    "nasty": nasty_plan(),
    "aligned": aligned_plan(),
    "opaque": opaque_plan(),
}
ALL = {**FEASIBLE, "infeasible": infeasible_plan()}


def sample_change() -> WhatIf:
    """Return what the seed's first change does, with a warning."""
    plan = churn_plan()
    before = Configuration.parse("strategy=static,max_conn=1024,slot=12KiB")
    return WhatIf(
        before=before,
        after=Configuration.parse("max_conn=128").over(before),
        changes=plan.changes,
        before_prediction=plan.prediction,
        after_prediction=snapshot_plan().prediction,
        cautions=plan.cautions,
    )
