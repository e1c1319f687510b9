"""What comes in: workers, connections, how they come and go, and the bytes that they carry."""

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from memplan.bounds import (
    MOST_BUFFER_BYTES,
    MOST_CONNS,
    MOST_WORKERS,
    SHARE,
    Bounds,
    check_number,
    check_numbers,
    check_words,
    whole,
)
from memplan.errors import UsageError
from memplan.quantity import Quantity
from memplan.units import YEAR

Balance = Literal["hash", "exact"]
Population = Literal["closed", "open"]
ProcessModel = Literal["threads", "processes"]

EVEN_EPHEMERAL_PORTS = 14_116
"""Ports that connect() hands out first from the default range 32768 to 60999: its even half."""

ONE = Quantity.exactly(1)

_NUMBERS = {
    "workers": whole(1, MOST_WORKERS),
    "workers_lost": whole(0, MOST_WORKERS),
    "reconnects_per_s": Bounds(0.0, 1e12),
    "horizon_s": Bounds(0.0, 1000 * YEAR),
    "linger_s": Bounds(0.0, YEAR),
    "client_tuples": whole(1, math.inf),
    "client_addresses": whole(1, math.inf),
    "ports_per_address": whole(1, 65_536),
    "active_fraction": SHARE,
    "slow_fraction": SHARE,
    "tls_bytes": whole(0, MOST_BUFFER_BYTES),
    "backlog": whole(0, MOST_CONNS),
}
_WORDS = {
    "balance": get_args(Balance),
    "population": get_args(Population),
    "process_model": get_args(ProcessModel),
}
_CONNS = Bounds(1.0, MOST_CONNS)
_SIZE = Bounds(0.0, 2.0**62)
_MOST_UNLIKE = 1e6
"""A worker with less than a millionth of another's chance is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The bytes that a connection carries.

    Attributes:
        request_bytes: A request's head (request line and headers), in bytes.
        body_bytes: A request's body, in bytes; 0 where requests have none.
        response_bytes: A response with its head, in bytes.
        pipeline: Requests that a client sends before it waits for an answer.
    """

    request_bytes: Quantity | None = None
    body_bytes: Quantity | None = None
    response_bytes: Quantity | None = None
    pipeline: Quantity = ONE

    def __post_init__(self) -> None:
        check_number("pipeline", self.pipeline.low, Bounds(1.0, math.inf))
        for field in fields(self):
            quantity = getattr(self, field.name)
            if quantity is not None:
                check_number(field.name, quantity.high, _SIZE)

    def to_dict(self) -> dict[str, Any]:
        """Return what was said of the traffic, unknown sizes as None."""
        return {
            "request_bytes": self.request_bytes and self.request_bytes.to_dict(),
            "body_bytes": self.body_bytes and self.body_bytes.to_dict(),
            "response_bytes": self.response_bytes and self.response_bytes.to_dict(),
            "pipeline": self.pipeline.to_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The load that a plan is made for.

    Attributes:
        workers: Listening sockets in the SO_REUSEPORT group, each with its own loop.
        conns: Connections open at the same time, over all workers.
        reconnects_per_s: Connections that close and reopen each second; None where not known.
        horizon_s: The time over which the overflow target must hold; None means a snapshot.
        linger_s: Time for which a closed connection still holds its slot after it has reopened.
        client_tuples: Distinct client 4-tuples in all, where few; None means unbounded.
        client_addresses: Distinct client addresses, each with `ports_per_address` tuples.
        ports_per_address: Source ports that one client address uses.
        weights: Chance of each worker to get a new connection, where not equal.
        workers_lost: Workers that may be down while all connections stay.
        balance: `hash` as the kernel does it, or `exact` where connections are handed out evenly.
        population: `closed` for a fixed number of connections, `open` for Poisson arrivals.
        process_model: Workers as `threads` of one process, or as `processes`.
        active_fraction: Share of connections with bytes in flight at one time.
        slow_fraction: Share of connections whose client reads slower than the server writes.
        tls_bytes: User memory of a TLS session, per connection.
        backlog: Connections waiting in each listener's accept queue.
        deploy_overlap: Whether an old process still runs beside the new one during a deploy.
        traffic: The bytes that a connection carries.
    """

    workers: int
    conns: Quantity
    reconnects_per_s: float | None = None
    horizon_s: float | None = None
    linger_s: float = 0.0
    client_tuples: int | None = None
    client_addresses: int | None = None
    ports_per_address: int = EVEN_EPHEMERAL_PORTS
    weights: tuple[float, ...] | None = None
    workers_lost: int = 0
    balance: Balance = "hash"
    population: Population = "closed"
    process_model: ProcessModel = "threads"
    active_fraction: float = 1.0
    slow_fraction: float = 0.0
    tls_bytes: int = 0
    backlog: int = 0
    deploy_overlap: bool = False
    traffic: Traffic = Traffic()

    def __post_init__(self) -> None:
        check_numbers(self, _NUMBERS)
        check_words(self, _WORDS)
        check_number("conns", self.conns.low, _CONNS)
        check_number("conns", self.conns.high, _CONNS)
        lingering = (self.reconnects_per_s or 0.0) * self.linger_s
        check_number("reconnects_per_s times linger_s", lingering, Bounds(0.0, MOST_CONNS))
        self._check_workers()
        self._check_clients()

    def _check_workers(self) -> None:
        if not 0 <= self.workers_lost < self.workers:
            raise UsageError(
                f"workers lost must leave at least one of {self.workers}, not {self.workers_lost}"
            )
        if self.weights is None:
            return
        try:
            object.__setattr__(self, "weights", tuple(float(weight) for weight in self.weights))
        except (TypeError, ValueError):
            raise UsageError(
                f"weights are numbers, as in [2, 1, 1], not {self.weights!r}"
            ) from None
        if len(self.weights) != self.workers:
            raise UsageError(
                f"{self.workers} workers need {self.workers} weights, not {len(self.weights)}"
            )
        if any(not 0 < weight < math.inf for weight in self.weights):
            raise UsageError("weights must be positive numbers")
        if max(self.weights) > _MOST_UNLIKE * min(self.weights):
            raise UsageError(
                f"weights may differ by a factor of {_MOST_UNLIKE:,.0f}; a worker with less is none"
            )

    def _check_clients(self) -> None:
        if self.client_tuples is not None and self.client_addresses is not None:
            raise UsageError("give either client_tuples or client_addresses, not both")
        tuples = self.tuples
        if tuples is not None and tuples < self.conns.high:
            raise UsageError(
                f"{tuples:,} client tuples cannot hold {self.conns.high:,.0f} connections; "
                "give more client addresses"
            )

    @property
    def tuples(self) -> int | None:
        """Distinct client 4-tuples, from `client_tuples` or the addresses; None where unbounded."""
        if self.client_tuples is not None:
            return self.client_tuples
        if self.client_addresses is not None:
            return self.client_addresses * self.ports_per_address
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return every field under its own name, quantities as numbers or quantiles."""
        plain = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in {"conns", "traffic", "weights"}
        }
        return {
            **plain,
            "conns": self.conns.to_dict(),
            "weights": None if self.weights is None else list(self.weights),
            "traffic": self.traffic.to_dict(),
        }
