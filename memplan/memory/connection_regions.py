"""What connections take outside their slots: sockets, bytes on their way, and those just closed."""

import math

from memplan.memory import kernel_memory as kernel
from memplan.memory.costs import Server, Unit
from memplan.memory.region import Amount, Provenance, Region, region
from memplan.quantity import Quantity
from memplan.units import KIB, MIB, format_bytes
from memplan.workload import Workload

UNKNOWN_REQUEST_BYTES = Quantity.between(80, 2048)
DEFAULT_WMEM = (4 * KIB, 16 * KIB, 4 * MIB)
"""net.ipv4.tcp_wmem as most hosts have it: least, first, most."""


def socket_regions(server: Server) -> list[Region]:
    """Return what an open connection takes though it be idle: socket, loop item, TLS session."""
    host = server.host
    version = host.memory_cgroup.version if host and host.memory_cgroup else None
    charged = kernel.sockets_charged(host.kernel_release if host else None, version)
    whole, accepted = kernel.SOCKET_BYTES, kernel.SOCKET_ACCEPTED_BYTES
    per_host = format_bytes(server.workload.conns.median * (whole + kernel.EPOLL_ITEM_BYTES))
    said = {
        True: "3.6 KiB a connection, charged when it is accepted",
        False: "1.3 KiB of a connection's 3.6 KiB: this kernel charges the group for no more, "
        "unless kmem.tcp.limit_in_bytes is set",
        None: "3.6 KiB a connection; 1.3 KiB of it where the kernel or its cgroup charge no more",
    }[charged]
    socket = server.unit(
        "socket_bytes",
        Amount(accepted if charged is False else whole, 0.95 * accepted, 1.1 * whole),
        Provenance(
            "default" if charged is None else "kernel",
            f"{said}; the host's slab grows by {per_host} in all",
        ),
    )
    item = server.unit(
        "loop_bytes",
        Amount(kernel.EPOLL_ITEM_BYTES, 123, kernel.MULTISHOT_BYTES),
        Provenance("default", "an epoll item; an armed multishot recv of io_uring takes 857 B"),
    )
    tls = Amount.exactly(server.workload.tls_bytes)
    rows: list[Region] = [
        _charged(server, "sockets", socket),
        _charged(server, "loop items", item),
    ]
    if tls.point:
        rows.append(
            region(
                "TLS sessions",
                "connection",
                Provenance("pinned", "given by the user, per connection"),
                process=server.per_connection(tls),
                charge=server.per_connection(tls),
            )
        )
    return rows


def _charged(server: Server, name: str, unit: Unit, share: float = 1.0) -> Region:
    charge = server.per_connection(unit.amount, share)
    return region(name, "connection", unit.provenance, charge=charge)


def traffic_regions(server: Server) -> list[Region]:
    """Return the bytes in socket buffers, and the sockets not yet or no longer open."""
    workload, rows = server.workload, []
    if workload.active_fraction:
        rows.append(
            _charged(server, "bytes in flight", _in_flight(server), workload.active_fraction)
        )
    if workload.slow_fraction:
        rows.append(_charged(server, "slow readers", _slow(server), workload.slow_fraction))
    rows += [*_time_wait(workload), *_backlog(workload)]
    return rows


def _in_flight(server: Server) -> Unit:
    traffic = server.workload.traffic
    request = traffic.request_bytes or UNKNOWN_REQUEST_BYTES
    parts = [request, traffic.body_bytes or Quantity.exactly(0)]
    known = traffic.request_bytes is not None
    coming = [_piped(parts, traffic.pipeline, end) for end in ("low", "median", "high")]
    going = [
        _piped([traffic.response_bytes], traffic.pipeline, end) if traffic.response_bytes else 0.0
        for end in ("low", "median", "high")
    ]
    # A connection waits for its request or for its response's way out, the larger of the two; at
    # worst for both, in small segments. At best bytes are taken out before anyone looks.
    amount = Amount(
        max(kernel.in_flight_bytes(coming[1]), kernel.in_flight_bytes(going[1])),
        0.0,
        kernel.in_flight_bytes_at_most(coming[2]) + kernel.in_flight_bytes_at_most(going[2]),
    )
    return server.unit(
        "in_flight_bytes",
        amount,
        Provenance(
            "predicted" if known else "default",
            "whole pages for the larger of request and response, "
            + ("of the traffic given" if known else "a request of 80 B to 2 KiB assumed")
            + f", in {server.workload.active_fraction:.0%} of the connections at once",
        ),
    )


def _piped(parts: list[Quantity], pipeline: Quantity, end: str) -> float:
    total = math.fsum(float(getattr(part, end)) for part in parts)
    return total * float(getattr(pipeline, end))


def _slow(server: Server) -> Unit:
    traffic, host = server.workload.traffic, server.host
    read = host.tcp_wmem_bytes if host else None
    _, usual, most = read or DEFAULT_WMEM
    point = float(usual)
    if traffic.response_bytes is not None:
        answer = _piped([traffic.response_bytes], traffic.pipeline, "median")
        point = min(kernel.in_flight_bytes(answer), most)
    return server.unit(
        "slow_bytes",
        Amount(point, 0.0, max(point, most)),
        Provenance(
            "kernel" if read else "default",
            f"what a server has written and a client not read, up to {format_bytes(most)} "
            "(the most of net.ipv4.tcp_wmem)",
        ),
    )


def _time_wait(workload: Workload) -> list[Region]:
    if not workload.reconnects_per_s:
        return []
    waiting = workload.reconnects_per_s * kernel.TIME_WAIT_S
    bounds = (waiting, kernel.MOST_TIME_WAIT, workload.tuples or math.inf)
    size = min(bounds) * kernel.TIME_WAIT_BYTES
    source = (
        f"at most {min(bounds):,.0f} sockets of {kernel.TIME_WAIT_BYTES} B for 60 s, where the "
        f"server closes first: {format_bytes(size)} of the host's slab, which Linux 6.18 charges "
        "to no group"
    )
    return [
        region("TIME_WAIT", "connection", Provenance("kernel", source), charge=Amount(0, 0, size))
    ]


def _backlog(workload: Workload) -> list[Region]:
    if not workload.backlog:
        return []
    size = workload.workers * workload.backlog * (kernel.TCP_SOCK_BYTES + kernel.REQUEST_SOCK_BYTES)
    source = (
        f"{workload.backlog:,} connections waiting at each listener: {format_bytes(size)} of the "
        "host's slab, charged to the group only when they are accepted"
    )
    return [
        region(
            "accept backlog", "connection", Provenance("kernel", source), charge=Amount(0, 0, size)
        )
    ]
