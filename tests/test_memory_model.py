"""Every term of the memory model adds up, keeps its account, and is what the kernel counts."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memplan.errors import UsageError
from memplan.memory import kernel_memory as kernel
from memplan.memory.calibration import Calibration, Point
from memplan.memory_model import PINNABLE, Prediction, SlotsMemory, predict
from memplan.profiler.host import HostFacts, read_host
from memplan.quantity import Quantity
from memplan.units import GIB, KIB, MIB
from memplan.workload import Traffic, Workload

SLOT_BYTES = 12 * KIB
WORKLOAD = Workload(workers=64, conns=Quantity.exactly(4096))


def static(max_conn: int = 128, slots: int = 4096, high_water: int | None = None) -> SlotsMemory:
    """Return what 64 static arrays of 12 KiB slots take."""
    resident = SLOT_BYTES * (high_water or slots)
    return SlotsMemory(
        strategy="static",
        virtual_bytes=64 * max_conn * SLOT_BYTES,
        table_bytes=0,
        resident_bytes=resident,
        low_bytes=int(0.99 * resident),
        high_bytes=int(1.01 * resident),
        mappings=1,
        slot_bytes_now=SLOT_BYTES * slots,
    )


def charge_points() -> Calibration:
    """Return the seed's published charge."""
    return Calibration.fit([Point(512, 75 * MIB, "charge"), Point(4096, 184 * MIB, "charge")])


def process_points() -> Calibration:
    """Return a process's memory at the same loads."""
    return Calibration.fit([Point(512, 60 * MIB), Point(4096, 150 * MIB)])


def adds_up(prediction: Prediction) -> None:
    """Check that points and accounts are consistent."""
    assert sum(r.process_bytes for r in prediction.regions) == prediction.process.bytes
    assert sum(r.charge_bytes for r in prediction.regions) == prediction.charge.bytes
    for total in (prediction.process, prediction.charge):
        assert 0 <= total.low_bytes <= total.bytes <= total.high_bytes
    for r in prediction.regions:
        assert r.process_low_bytes <= r.process_bytes <= r.process_high_bytes
        assert r.charge_low_bytes <= r.charge_bytes <= r.charge_high_bytes
        assert r.provenance.source


workloads = st.builds(
    Workload,
    workers=st.integers(1, 128),
    conns=st.one_of(
        st.integers(1, 10**6).map(Quantity.exactly),
        st.integers(1, 10**6).map(lambda n: Quantity.between(n, 2 * n)),
    ),
    reconnects_per_s=st.sampled_from([None, 0.0, 10.0, 260_000.0]),
    active_fraction=st.sampled_from([0.0, 0.1, 1.0]),
    slow_fraction=st.sampled_from([0.0, 0.01]),
    tls_bytes=st.sampled_from([0, 30_000]),
    backlog=st.sampled_from([0, 128]),
    deploy_overlap=st.booleans(),
    process_model=st.sampled_from(["threads", "processes"]),
    traffic=st.sampled_from(
        [
            Traffic(),
            Traffic(
                request_bytes=Quantity.quantiles({0.5: 200, 0.99: 1400}),
                response_bytes=Quantity.exactly(8000),
                pipeline=Quantity.exactly(16),
            ),
        ]
    ),
)
fits = st.sampled_from([(None, None), (process_points(), None), (None, charge_points())])


@given(workloads, fits)
@settings(max_examples=150)
def test_regions_add_up_exactly(
    workload: Workload, fit: tuple[Calibration | None, Calibration | None]
) -> None:
    """Each account's total is the exact sum of its regions, in every configuration."""
    prediction = predict(workload, static(), calibration_process=fit[0], calibration_charge=fit[1])
    adds_up(prediction)
    names = [r.name for r in prediction.regions]
    assert len(names) == len(set(names))
    json.dumps(prediction.to_dict())


def test_without_measurement_it_is_a_prior_and_called_one() -> None:
    """No measurement: both totals rest on the prior, and the interval spans servers."""
    prediction = predict(WORKLOAD, static())
    assert prediction.process.rests_on == prediction.charge.rests_on == "prior"
    assert prediction.region("unexplained") is None
    assert prediction.process.high_bytes > GIB
    assert prediction.process.low_bytes < prediction.process.bytes


def test_kernel_memory_is_charged_and_never_shown_by_the_process() -> None:
    """Sockets, page tables and kernel stacks are in the charge alone; slots are in both."""
    prediction = predict(replace(WORKLOAD, slow_fraction=0.1), static())
    for name in ("sockets", "loop items", "page tables", "kernel stacks and threads", "mappings"):
        region = prediction.region(name)
        assert region is not None
        assert region.process_high_bytes == 0 < region.charge_bytes
    slots = prediction.region("slots")
    assert slots is not None
    assert slots.process_bytes == slots.charge_bytes == 4096 * SLOT_BYTES
    assert prediction.charge.bytes > prediction.process.bytes


def test_measured_total_is_the_calibrations() -> None:
    """With points of an account its total is the calibration's, and the rest is unexplained."""
    fit = charge_points()
    prediction = predict(WORKLOAD, static(), calibration_charge=fit)
    assert prediction.charge.bytes == 184 * MIB
    assert prediction.charge.high_bytes == fit.predict(4096).high_bytes
    rest = prediction.region("unexplained")
    assert rest is not None
    explained = sum(r.charge_bytes for r in prediction.regions if r is not rest)
    assert rest.charge_bytes == 184 * MIB - explained
    assert prediction.assumptions == fit.assumptions
    adds_up(prediction)


def test_unexplained_may_be_negative() -> None:
    """Where the regions explain more than was measured, the row says so with a minus."""
    fit = Calibration.fit([Point(4096, 50 * MIB)])
    prediction = predict(WORKLOAD, static(), calibration_process=fit)
    rest = prediction.region("unexplained")
    assert rest is not None
    assert rest.process_bytes < 0
    assert prediction.process.bytes == 50 * MIB
    adds_up(prediction)


def test_one_account_informs_the_other_without_taking_its_name() -> None:
    """Process points leave the charge above them; charge points bound the process."""
    by_process = predict(WORKLOAD, static(), calibration_process=process_points())
    assert by_process.process.bytes == 150 * MIB
    assert by_process.charge.bytes > by_process.process.bytes
    assert by_process.charge.rests_on == "data and prior"
    by_charge = predict(WORKLOAD, static(), calibration_charge=charge_points())
    assert by_charge.process.bytes <= by_charge.charge.bytes
    assert by_charge.process.high_bytes <= by_charge.charge.high_bytes
    assert by_charge.process.rests_on == "data and prior"


def test_both_accounts_stand_beside_each_other() -> None:
    """Points of both give two totals, each its own; shown above charged is warned of."""
    prediction = predict(
        WORKLOAD,
        static(),
        calibration_process=process_points(),
        calibration_charge=charge_points(),
    )
    assert (prediction.process.bytes, prediction.charge.bytes) == (150 * MIB, 184 * MIB)
    assert prediction.warnings == ()
    swapped = predict(
        WORKLOAD,
        static(),
        calibration_process=Calibration.fit([Point(4096, 300 * MIB)]),
        calibration_charge=charge_points(),
    )
    assert any("more than the container is charged" in w for w in swapped.warnings)


def test_calibration_of_the_other_account_is_refused() -> None:
    """The charge is never passed off as the process's memory."""
    with pytest.raises(UsageError, match="two figures"):
        predict(WORKLOAD, static(), calibration_process=charge_points())
    with pytest.raises(UsageError, match="two figures"):
        predict(WORKLOAD, static(), calibration_charge=process_points())


def test_other_slots_than_measured_move_the_total_by_their_difference() -> None:
    """The measured total follows the slots from the measured configuration to the planned one."""
    fit = process_points()
    measured, planned = static(high_water=6010), static(high_water=4500)
    same = predict(WORKLOAD, measured, calibration_process=fit, measured_slots=measured)
    moved = predict(WORKLOAD, planned, calibration_process=fit, measured_slots=measured)
    assert same.process.bytes == 150 * MIB
    assert moved.process.bytes == 150 * MIB - 1510 * SLOT_BYTES
    assert moved.process.rests_on == "data and prior"
    adds_up(moved)
    huge = static(max_conn=4096, slots=200_000)
    floor = predict(WORKLOAD, static(), calibration_process=fit, measured_slots=huge)
    assert floor.process.bytes == 4096 * SLOT_BYTES


def test_untouched_slots_cost_address_space_only() -> None:
    """From MAX_CONN 1024 to 128 nothing resident changes, and 672 MiB of address space go."""
    before, after = predict(WORKLOAD, static(1024)), predict(WORKLOAD, static(128))
    assert before.virtual_bytes - after.virtual_bytes == 672 * MIB
    assert before.process.bytes == after.process.bytes
    assert abs(before.charge.bytes - after.charge.bytes) < MIB


def test_churns_high_water_is_a_row_of_its_own() -> None:
    """Slots touched by churn beyond those in use stand apart: 22.4 MiB in the seed's case."""
    prediction = predict(WORKLOAD, static(high_water=6010))
    row = prediction.region("slots touched by churn")
    assert row is not None
    assert row.process_bytes == (6010 - 4096) * SLOT_BYTES
    assert predict(WORKLOAD, static()).region("slots touched by churn") is None


@pytest.mark.parametrize("name", sorted(PINNABLE))
def test_a_pinned_cost_is_respected_and_marked(name: str) -> None:
    """What the user fixes is taken as it is, has no spread, and is called pinned."""
    workload = replace(WORKLOAD, slow_fraction=0.25)
    prediction = predict(workload, static(), pinned={name: 10_000})
    (row,) = [r for r in prediction.regions if r.provenance.kind == "pinned"]
    assert row.charge_bytes == row.charge_low_bytes == row.charge_high_bytes
    counts = {"base": 1, "stack": 64, "ring": 64, "buffer": 64, "slow": 1024}
    assert row.charge_bytes == 10_000 * counts.get(name.partition("_")[0], 4096)


@pytest.mark.parametrize("pinned", [{"unknown_bytes": 1}, {"base_bytes": -1}])
def test_impossible_pins_are_refused(pinned: dict[str, float]) -> None:
    """A pin is of a cost in the model, and not negative."""
    with pytest.raises(UsageError):
        predict(WORKLOAD, static(), pinned=pinned)


def test_footprint_outside_its_interval_is_refused() -> None:
    """A footprint's point lies in its interval."""
    with pytest.raises(UsageError):
        replace(static(), low_bytes=static().resident_bytes + 1)
    with pytest.raises(UsageError):
        replace(static(), mappings=-1)


def test_processes_have_a_base_each_and_threads_share_one() -> None:
    """64 processes take 64 bases; threads take one."""
    threads = predict(WORKLOAD, static(), pinned={"base_bytes": 3 * MIB}).region("process base")
    apart = replace(WORKLOAD, process_model="processes")
    processes = predict(apart, static(), pinned={"base_bytes": 3 * MIB}).region("process base")
    assert threads is not None
    assert processes is not None
    assert processes.process_bytes == 64 * threads.process_bytes == 192 * MIB


def test_a_deploy_holds_two_processes_but_its_connections_once() -> None:
    """The old process adds base, workers and slots again, and no second set of sockets."""
    alone = predict(WORKLOAD, static())
    both = predict(replace(WORKLOAD, deploy_overlap=True), static())
    assert both.process.bytes == 2 * alone.process.bytes
    kernel_part = sum(r.charge_bytes for r in alone.regions if r.scope == "connection")
    assert both.charge.bytes == 2 * alone.charge.bytes - kernel_part
    fit = process_points()
    twice = predict(replace(WORKLOAD, deploy_overlap=True), static(), calibration_process=fit)
    assert twice.process.bytes == 300 * MIB
    adds_up(twice)


def test_unknown_connections_widen_the_interval() -> None:
    """A range of connections is never surer than its middle."""
    wide = replace(WORKLOAD, conns=Quantity.between(2048, 6144))
    for fit in (None, process_points()):
        exact = predict(WORKLOAD, static(), calibration_process=fit)
        spread = predict(wide, static(), calibration_process=fit)
        assert spread.charge.low_bytes < exact.charge.low_bytes
        assert spread.charge.high_bytes > exact.charge.high_bytes


def host(release: str, version: int) -> HostFacts:
    """Return this host's facts with another kernel and cgroup."""
    facts = read_host()
    limits = facts.memory_cgroup
    if limits is None:
        pytest.skip("no memory cgroup is visible here to vary")
    return replace(
        facts,
        kernel_release=release,
        memory_cgroup=replace(limits, version=version),
        tcp_wmem_bytes=(4096, 16384, 8 * MIB),
    )


def test_kernel_and_cgroup_decide_what_a_socket_is_charged() -> None:
    """1.5 KiB a connection on version 1 or an old kernel, 3.75 on version 2 of a new one."""
    for release, version, expected in (
        ("6.18.44-x", 1, 1.5),
        ("6.18.44-x", 2, 3.75),
        ("6.1.0-13-amd64", 2, 1.5),
    ):
        prediction = predict(WORKLOAD, static(), host=host(release, version))
        rows = [prediction.region(name) for name in ("sockets", "loop items")]
        charged = sum(row.charge_bytes for row in rows if row is not None)
        assert charged == 4096 * expected * KIB
    assert kernel.sockets_charged("unknown", 2) is None
    assert kernel.sockets_charged("6.13-rc1", 2) is True


def test_slow_readers_reach_up_to_the_kernels_send_buffer() -> None:
    """A slow client holds up to tcp_wmem's most, and its response where that is smaller."""
    slow = replace(WORKLOAD, slow_fraction=0.5)
    row = predict(slow, static(), host=host("6.18", 2)).region("slow readers")
    assert row is not None
    assert row.charge_high_bytes == 2048 * 8 * MIB
    traffic = Traffic(response_bytes=Quantity.exactly(3000))
    small = predict(replace(slow, traffic=traffic), static()).region("slow readers")
    assert small is not None
    assert small.charge_bytes == 2048 * 4096


def test_time_wait_is_capped_by_tuples() -> None:
    """Sockets in TIME_WAIT cannot outnumber the client tuples; no group is charged for them."""
    churn = replace(WORKLOAD, reconnects_per_s=260_000.0, client_addresses=1)
    row = predict(churn, static()).region("TIME_WAIT")
    assert row is not None
    assert row.charge_bytes == 0
    assert row.charge_high_bytes == 14_116 * 256


def test_summary_names_both_accounts_and_every_region() -> None:
    """People read the same rows that the JSON has."""
    prediction = predict(WORKLOAD, static(), calibration_charge=charge_points())
    text = prediction.summary()
    assert "process memory: " in text
    assert "container's charge: 184 MiB" in text
    assert all(r.name in text for r in prediction.regions)
