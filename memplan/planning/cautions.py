"""The warnings that a good engineer would give with a plan, each with its figure."""

from collections.abc import Callable, Iterator

from memplan.plan import Caution
from memplan.planning.case import BENCHMARK_S, Case
from memplan.units import (
    MIB,
    format_bytes,
    format_duration,
    format_probability,
    format_rate,
)

_CLOSE = 0.25
"""Share of a limit from which on it is worth a word."""
_GRAVITY = {"risk": 0, "warning": 1, "note": 2}
_UNEVEN = 0.02
"""A lasting difference of shares that matters: it widens a worker's load by tens of percent."""
_BUSY_PER_S = 1000.0
"""Reconnects a second from which a system call for each is worth a word."""
TIME_WAIT_S = 60
"""Linux keeps a closed connection's tuple for this long (TCP_TIMEWAIT_LEN)."""


def cautions(case: Case) -> tuple[Caution, ...]:
    """Return the warnings that apply to a case, gravest first; of equal gravity in fixed order."""
    found = [caution for check in _CHECKS for caution in check(case)]
    return tuple(sorted(found, key=lambda caution: _GRAVITY[caution.severity]))


def _few_clients(case: Case) -> Iterator[Caution]:
    """Few client addresses freeze the spread: most boots never overflow, some always do."""
    few, tuples, moment = case.few_clients, case.workload.tuples, case.horizon_s is None
    if few is None or tuples is None:
        return
    addresses = case.workload.client_addresses
    who = f"{tuples:,} client tuples"
    if case.workload.client_tuples is None and addresses is not None:
        who = f"{addresses:,} client address{'es' if addresses > 1 else ''} ({tuples:,} tuples)"
    when = "at one moment" if moment else f"within {format_duration(case.horizon_s or 0.0)}"
    quantiles = ", ".join(format_probability(chance) for _, chance in few.answer.boot_quantiles)
    yield Caution(
        name="few-clients",
        severity="risk" if few.answer.share_sd > _UNEVEN else "warning",
        text=f"All load comes from {who}: the hash sends a tuple to the same worker until the next "
        f"boot, so workers' shares differ by {100 * few.answer.share_sd:.1f}% (sd) for good. "
        f"MAX_CONN {few.max_conn} overflows {when} with a chance of "
        f"{format_probability(few.answer.over_boots.value)} over boots, but each boot has its own: "
        f"{quantiles} at 5, 50 and 95 of 100 boots. {few.required.slots} slots hold "
        f"{case.goals.overflow:g} over boots, {case.required.slots} with clients without number; "
        "MAX_CONN is advised for the more demanding of both. A benchmark from so few tells little "
        "of production.",
    )


def _benchmark_not_horizon(case: Case) -> Iterator[Caution]:
    """MAX_CONN that lasts a benchmark and not the horizon."""
    if case.horizon_s is None or case.horizon_s <= BENCHMARK_S:
        return
    for max_conn, whose in case.settings_in_question("max_conn"):
        horizon = case.overflow(max_conn, case.horizon_s)
        if horizon.value <= case.goals.overflow:
            continue
        bench = case.overflow(max_conn, BENCHMARK_S)
        lasts = (
            f"lasts a benchmark of {format_duration(BENCHMARK_S)} "
            f"({format_probability(bench.value)}) and not"
            if bench.value <= max(case.goals.overflow, 1e-3)
            else f"does not even last {format_duration(BENCHMARK_S)} "
            f"({format_probability(bench.value)}), let alone"
        )
        yield Caution(
            name="benchmark-not-horizon",
            severity="risk",
            text=f"MAX_CONN {max_conn} ({whose}) {lasts} {format_duration(case.horizon_s)} at "
            f"{format_rate(case.workload.reconnects_per_s or 0)} "
            f"({format_probability(horizon.value)}, target {case.goals.overflow:g}); "
            f"{case.required.slots} does.",
        )


def _too_few_slots(case: Case) -> Iterator[Caution]:
    """MAX_CONN that does not even last a moment, or a horizon as short as a benchmark."""
    if case.horizon_s is not None and case.horizon_s > BENCHMARK_S:
        return
    when = (
        "at one moment" if case.horizon_s is None else f"within {format_duration(case.horizon_s)}"
    )
    for max_conn, whose in case.settings_in_question("max_conn"):
        overflow = case.overflow(max_conn, case.horizon_s)
        if overflow.value > case.goals.overflow:
            yield Caution(
                name="max-conn-too-small",
                severity="risk",
                text=f"MAX_CONN {max_conn:,} ({whose}) overflows {when} with a chance of "
                f"{format_probability(overflow.value)} (target {case.goals.overflow:g}); "
                f"{case.required.slots:,} slots hold it.",
            )


def _snapshot(case: Case) -> Iterator[Caution]:
    """Without churn the answer is a snapshot."""
    if case.horizon_s is not None or case.workload.balance != "hash" or case.model.workers == 1:
        return
    slots = f"{case.required.slots:,} slots hold the target at one moment only"
    if case.workload.reconnects_per_s is None:
        yield Caution(
            name="snapshot",
            severity="warning",
            text=f"No reconnect rate was given, so {slots}. Every reconnect is a new draw, and "
            "so more slots are needed with churn: give --reconnect-rate.",
        )
    else:
        yield Caution(
            name="snapshot",
            severity="note",
            text=f"No connection reconnects, so {slots}: until the server restarts and all of "
            "them are drawn anew.",
        )


def _descriptors(case: Case) -> Iterator[Caution]:
    """MAX_FD must hold connections, listeners, rings and standard streams."""
    need = case.descriptors
    for max_fd, whose in case.settings_in_question("max_fd"):
        if max_fd < need.total:
            yield Caution(
                name="max-fd-too-small",
                severity="risk",
                text=f"MAX_FD {max_fd:,} ({whose}) is too small: {need.words()}.",
            )
    hard = case.host.nofile_hard
    if hard is not None and hard < need.total:
        yield Caution(
            name="nofile-here",
            severity="note",
            text=f"A process started from here may open {hard:,} descriptors (RLIMIT_NOFILE's hard "
            f"limit); the plan needs {need.total:,}. Raise it where the server is started "
            "(LimitNOFILE=, --ulimit nofile=).",
        )


def _slot_pages(case: Case) -> Iterator[Caution]:
    """A slot mapped alone rounds up to pages; a packed one can straddle them."""
    for layout, strategy, whose in case.slots_in_question():
        size = layout.slot_bytes
        alone = layout.pages_alone(case.page_bytes) * case.page_bytes
        if strategy == "fd" and alone > size:
            yield Caution(
                name="slot-rounds-up",
                severity="warning" if alone - size >= case.page_bytes // 4 else "note",
                text=f"A slot of {format_bytes(size)} ({whose}) mapped alone takes "
                f"{format_bytes(alone)}: {format_bytes(alone - size)} of each connection is paid "
                "for and not used.",
            )
        if strategy == "static" and size >= case.page_bytes and size % case.page_bytes:
            most = layout.most_pages_straddled(case.page_bytes)
            if most * case.page_bytes > alone:
                yield Caution(
                    name="slot-straddles",
                    severity="note",
                    text=f"A packed slot of {format_bytes(size)} ({whose}) can straddle {most} "
                    f"pages where {alone // case.page_bytes} would do.",
                )


def _huge_pages(case: Case) -> Iterator[Caution]:
    """THP makes a BSS resident two mebibytes at a time."""
    if case.host.thp_mode != "always":
        return
    huge = case.host.thp_bytes or 2 * MIB
    yield Caution(
        name="thp",
        severity="warning",
        text=f"Transparent huge pages are set to always: a large array can become resident "
        f"{format_bytes(huge)} at a time, so slots that are never touched may cost memory after "
        "all. madvise(MADV_NOHUGEPAGE) on the slots undoes it; the figures here assume that.",
    )


def _mappings(case: Case) -> Iterator[Caution]:
    """One mapping a connection runs into vm.max_map_count."""
    limit = case.limit("max_map_count")
    if limit is not None and limit.use >= _CLOSE:
        yield Caution(
            name="max-map-count",
            severity="warning" if limit.ok else "risk",
            text=f"A process may come to hold {limit.needed:,.0f} mappings, against "
            f"vm.max_map_count = {limit.allowed:,.0f}: {limit.detail}. The kernel merges "
            "neighbours while all of them are open; closing every other one splits them again.",
        )


def _mapping_calls(case: Case) -> Iterator[Caution]:
    """A mapping for each connection is two system calls for each reconnect."""
    rate = case.workload.reconnects_per_s or 0.0
    if case.strategy == "fd" and rate >= _BUSY_PER_S:
        yield Caution(
            name="mapping-calls",
            severity="warning",
            text=f"fd maps a slot at every accept and unmaps it at every close: {2 * rate:,.0f} "
            f"system calls/s at {format_rate(rate)} reconnects, and as many page faults as a slot "
            "has pages. Where that costs too much, --strategy static keeps the high water instead.",
        )


def _overcommit(case: Case) -> Iterator[Caution]:
    """A large BSS is refused where overcommit is off, or larger than the machine."""
    limit = case.limit("overcommit")
    if limit is None or limit.allowed is None:
        return
    needed, allowed = format_bytes(limit.needed), format_bytes(limit.allowed)
    if case.host.overcommit_memory == 2:
        yield Caution(
            name="overcommit",
            severity="warning" if limit.ok else "risk",
            text=f"vm.overcommit_memory = 2 counts every slot whether touched or not: {needed} of "
            f"{allowed} that may be committed.",
        )
    elif not limit.ok:
        yield Caution(
            name="overcommit",
            severity="risk",
            text=f"The slots take {needed} of address space in one piece, more than the machine's "
            f"{allowed}: the kernel refuses it while vm.overcommit_memory is 0.",
        )


def _ephemeral_ports(case: Case) -> Iterator[Caution]:
    """Client addresses times ports must hold the connections and those in TIME_WAIT."""
    workload = case.workload
    tuples, rate = workload.tuples, workload.reconnects_per_s
    if tuples is None or not rate:
        return
    waiting = rate * TIME_WAIT_S
    need = workload.conns.high + waiting
    if need > tuples:
        yield Caution(
            name="ephemeral-ports",
            severity="warning",
            text=f"{workload.conns.high:,.0f} connections and {waiting:,.0f} tuples in TIME_WAIT "
            f"({format_rate(rate)} for {TIME_WAIT_S} s, where the client closes first) need more "
            f"than the {tuples:,} tuples that there are: connect() will fail unless tcp_tw_reuse "
            "is on, more client addresses are used, or the server closes first.",
        )


def _prior(case: Case) -> Iterator[Caution]:
    """Nothing was measured: the interval is that of all servers known."""
    if case.unmeasured_high_bytes is not None:
        yield Caution(
            name="not-measured",
            severity="warning",
            text="No memory was measured, so the expected figures are those of a lean native "
            f"server, and the interval reaches {format_bytes(case.unmeasured_high_bytes)}, as "
            "published servers of all kinds do. One --rss or --charge point, or --pid, narrows it "
            "to a few times; two give a line.",
        )


def _model_void(case: Case) -> Iterator[Caution]:
    """What voids the hash, which no file of the machine tells."""
    if case.workload.balance == "hash" and case.workload.workers > 1:
        yield Caution(
            name="model-void",
            severity="note",
            text="The spread is the kernel's hash. With SO_INCOMING_CPU on a listener, a BPF "
            "program on the group or sk_lookup, other rules hold and these chances do not; "
            "--pid tests a live server.",
        )


def _contradictions(case: Case) -> Iterator[Caution]:
    """Measurements that contradict each other."""
    for text in case.contradictions:
        yield Caution(
            name="contradiction", severity="warning", text=f"{text[0].upper()}{text[1:]}."
        )


def _saves_nothing(case: Case) -> Iterator[Caution]:
    """A buffer below what a page holds saves nothing."""
    for text in case.useless_savings:
        yield Caution(name="saves-nothing", severity="note", text=text)


def _imbalance(case: Case) -> Iterator[Caution]:
    """How a live server's connections are spread, gravest where the hash does not explain it."""
    if case.live is not None:
        unexplained = case.live.imbalance.explained is False
        yield Caution(
            name="imbalance" if unexplained else "spread",
            severity="risk" if unexplained else "note",
            text=f"The spread of the connections that {case.live.name} holds now: "
            f"{case.live.imbalance.verdict}.",
        )


def _sensitivity(case: Case) -> Iterator[Caution]:
    """How much the answer moves when the connections are more than thought."""
    if case.sensitivity is not None:
        yield Caution(name="sensitivity", severity="note", text=case.sensitivity)


_CHECKS: tuple[Callable[[Case], Iterator[Caution]], ...] = (
    _few_clients,
    _imbalance,
    _benchmark_not_horizon,
    _too_few_slots,
    _descriptors,
    _mappings,
    _mapping_calls,
    _overcommit,
    _ephemeral_ports,
    _snapshot,
    _contradictions,
    _prior,
    _huge_pages,
    _slot_pages,
    _saves_nothing,
    _sensitivity,
    _model_void,
)
