"""How many connections each worker of an SO_REUSEPORT group gets, and when that is too many.

The kernel sends a new connection to the worker that a hash of its addresses and ports picks, with
no look at anyone's load. Over boots the hash is as good as random, so that the loads at one moment
are multinomial. `ReuseportModel` answers what follows from that: at one moment (the snapshot), over
time while connections close and reopen (churn), and for clients so few that the hash freezes their
spread until the next boot.

    >>> model = ReuseportModel(workers=64, conns=4096)
    >>> model.required_slots(1e-6).slots
    112
    >>> f"{model.overflow_probability(100).value:.9e}"
    '6.372170030e-04'
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from memplan.answer import Answer, SlotsAnswer
from memplan.errors import UsageError
from memplan.quantity import Quantity, QuantityLike
from memplan.statistics.churn import Churn
from memplan.statistics.marginal import WorkerMarginal
from memplan.statistics.running_maximum import RunningMaximum
from memplan.statistics.sensitivity import Sensitivity, sensitivity
from memplan.statistics.slot_search import check_target, maximum_quantile, settled
from memplan.statistics.uncertain import at_whole, mixed, spread
from memplan.statistics.worker_group import Caps, WorkerGroup
from memplan.workload import EVEN_EPHEMERAL_PORTS, Balance, Population

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from memplan.statistics.frozen_hash import FrozenHashAnswer

# Values that stand for connections not known exactly, in a law that has no tail to speak of.
_VALUES = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseportModel:
    """The spread of connections over the workers of one group.

    Attributes:
        workers: Listening sockets in the group, each with its own loop.
        conns: Connections open at the same time: a number, a (low, high) range, or quantiles as
            `{0.5: 4000, 0.99: 6000}`. Answers are then means over it, with a bracket that holds
            for whatever it may be between the values given.
        weights: Chance of each worker to get a new connection, up to a factor; None for equal.
        population: `closed` for a fixed number of connections, `open` for Poisson arrivals with
            `conns` in the mean.
        reconnects_per_s: Connections that close and reopen each second, in all.
        horizon_s: The time that answers over time take when asked for none, in seconds.
        linger_s: Time for which a closed connection still holds its slot after it has reopened.
        client_tuples: Distinct client 4-tuples in all, where few.
        client_addresses: Distinct client addresses instead, each with `ports_per_address` tuples.
        ports_per_address: Source ports that one client address uses.
        balance: `hash` as the kernel does it, or `exact` where connections are handed out evenly.

    Raises:
        UsageError: A field is out of range, or fields contradict each other.
    """

    workers: int
    conns: QuantityLike
    weights: Sequence[float] | None = None
    population: Population = "closed"
    reconnects_per_s: float | None = None
    horizon_s: float | None = None
    linger_s: float = 0.0
    client_tuples: int | None = None
    client_addresses: int | None = None
    ports_per_address: int = EVEN_EPHEMERAL_PORTS
    balance: Balance = "hash"
    _conns: Quantity = field(init=False, repr=False, compare=False)
    _group: WorkerGroup = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        conns = Quantity.of(self.conns)
        if not 1 <= conns.low <= conns.high < math.inf:
            raise UsageError(f"conns must be at least 1, not {conns.low:g}")
        for name in ("reconnects_per_s", "horizon_s", "linger_s"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise UsageError(f"{name} must be zero or more, not {value:g}")
        if self.weights is not None and not isinstance(self.weights, tuple):
            object.__setattr__(self, "weights", tuple(self.weights))
        group = WorkerGroup(
            workers=self.workers,
            weights=self.weights if self.weights is None else tuple(self.weights),
            population=self.population,
            balance=self.balance,
        )
        object.__setattr__(self, "_conns", conns)
        object.__setattr__(self, "_group", group)

    @property
    def tuples(self) -> int | None:
        """Distinct client 4-tuples; None where there is no limit."""
        if self.client_tuples is not None:
            return self.client_tuples
        if self.client_addresses is not None:
            return self.client_addresses * self.ports_per_address
        return None

    # At one moment.

    def overflow_probability(self, max_conn: Caps) -> Answer:
        """Return the chance that some worker has more connections than slots at one moment.

        Args:
            max_conn: Slots of every worker, or of each one.
        """
        if self.linger_s and self.reconnects_per_s:
            # Closed connections that still hold their slots count at any one moment, too.
            return self.overflow_within(max_conn, 0.0)
        return self._over_conns(lambda conns: self._group.chances(conns, max_conn).overflow())

    def required_slots(self, overflow: float) -> SlotsAnswer:
        """Return the fewest slots a worker that keep `overflow_probability` within a target.

        Args:
            overflow: The target, between 0 and 1.
        """
        check_target(overflow)
        if self.linger_s and self.reconnects_per_s:
            return self.required_slots_within(overflow, 0.0)
        return self._fewest(
            lambda conns: self._group.required_slots(conns, overflow),
            self.overflow_probability,
            overflow,
        )

    def max_sf(self, m: int) -> Answer:
        """Return P(M > m), M the connections of the fullest worker at one moment."""
        return self.overflow_probability(m) if m >= 0 else Answer.exactly(1.0, "certain")

    def max_cdf(self, m: int) -> Answer:
        """Return P(M <= m), accurate in relative terms where it is small, too."""
        if m < 0:
            return Answer.exactly(0.0, "certain")
        if self._conns.exact:
            return self._group.chances(self._conns.low, m).no_overflow()
        # What falls with the connections is averaged by its complement, which rises.
        over = self.overflow_probability(m)
        return replace(over, value=1 - over.value, low=1 - over.high, high=1 - over.low)

    def max_quantile(self, q: float) -> Answer:
        """Return the smallest m with P(M <= m) >= q.

        For levels near one use `required_slots`, which takes 1 - q with all its digits.
        """
        if not 0 < q < 1:
            raise UsageError(f"a quantile's level lies between 0 and 1, not at {q:g}")
        if q > 0.5 or not self._conns.exact:
            found = self.required_slots(1 - q)
            return Answer(
                value=float(found.slots),
                low=float(found.low),
                high=float(found.high),
                method=found.method,
                relative_error=0.0,
            )
        conns = self._conns.low
        least = int(conns) // self.workers if self.population == "closed" else 0
        return maximum_quantile(lambda cap: self._group.chances(conns, cap), q, least)

    def worker_marginal(self, worker: int = 0) -> WorkerMarginal:
        """Return the law of one worker's load at one moment."""
        share = self._group.share(worker)
        if self.balance == "hash":
            return WorkerMarginal(conns=self._conns, share=share, population=self.population)
        # Evenly handed out, a load has no chance but that of the connections themselves.
        loads = tuple(value * share for value in self._conns.values)
        return WorkerMarginal(conns=Quantity(self._conns.levels, loads), share=1.0)

    def sample(self, size: int, rng: "np.random.Generator") -> "NDArray[np.int64]":
        """Return loads of all workers at independent moments; shape (size, workers)."""
        if self._conns.exact:
            return self._group.sample(np.full(size, self._conns.low), rng)
        conns = [self._conns.quantile(level) for level in rng.random(size)]
        return self._group.sample(np.array(conns), rng)

    # Over time.

    def overflow_within(self, max_conn: Caps, horizon_s: float | None = None) -> Answer:
        """Return the chance that some worker runs out of slots within a time.

        Args:
            max_conn: Slots of every worker, or of each one.
            horizon_s: The time, in seconds; None for the model's own.
        """
        classes, seconds = self._group.classes(max_conn), self._horizon(horizon_s)
        if self.balance == "exact":
            return self.overflow_probability(max_conn)
        return self._over_conns(lambda conns: self._churn(conns).overflow_within(classes, seconds))

    def required_slots_within(self, overflow: float, horizon_s: float | None = None) -> SlotsAnswer:
        """Return the fewest slots a worker that keep `overflow_within` within a target.

        Args:
            overflow: The target, between 0 and 1.
            horizon_s: The time, in seconds; None for the model's own.
        """
        check_target(overflow)
        seconds = self._horizon(horizon_s)

        def at(conns: float) -> SlotsAnswer:
            if self.balance == "exact":
                return self._group.required_slots(conns, overflow)
            churn = self._churn(conns)
            return churn.required_slots_within(self._group.classes(0), overflow, seconds)

        return self._fewest(at, lambda slots: self.overflow_within(slots, seconds), overflow)

    def expected_refusals(self, max_conn: Caps, horizon_s: float | None = None) -> Answer:
        """Return how many reconnects are refused within a time, in the mean.

        Args:
            max_conn: Slots of every worker, or of each one.
            horizon_s: The time, in seconds; None for the model's own. `units.MONTH` for a month.
        """
        from memplan.statistics.refusals import expected_refusals

        classes, seconds = self._group.classes(max_conn), self._horizon(horizon_s)
        if self.balance == "exact":
            # Whoever finds no slot is refused again at each of its reconnects.
            tries, room = self._rate() * seconds, classes[0].cap
            return self._over_conns(
                lambda conns: Answer.exactly(tries * max(0.0, 1 - room / conns), "certain")
            )
        return self._over_conns(
            lambda conns: expected_refusals(self._churn(conns), classes, seconds)
        )

    def running_max(self, horizon_s: float | None = None, worker: int = 0) -> RunningMaximum:
        """Return the law of the most connections that one worker has held within a time.

        It is the high water of slots that are reused lowest first or last-in first-out.

        Args:
            horizon_s: The time, in seconds; None for the model's own.
            worker: Which worker, from 0 on.
        """
        share, seconds = self._group.share(worker), self._horizon(horizon_s)

        def law(conns: float) -> RunningMaximum:
            if self.balance == "hash":
                return self._churn(conns).running_maximum(share, seconds)
            return RunningMaximum(first=self._group.even_load(conns, worker), exceeded=np.empty(0))

        parts = [law(conns) for conns in spread(self._conns, _VALUES)]
        return parts[0] if len(parts) == 1 else _mixture(parts)

    def expected_running_max(self, horizon_s: float | None = None, worker: int = 0) -> Answer:
        """Return the mean of `running_max`."""
        mean = self.running_max(horizon_s, worker).mean()
        lingering = self.linger_s > 0 and self.balance == "hash"
        method = "first passage" + (", lingering in the mean (approximation)" if lingering else "")
        return Answer.exactly(mean, method, 1e-10 if self._conns.exact else 1e-3)

    def running_max_quantile(
        self, level: float, horizon_s: float | None = None, worker: int = 0
    ) -> int:
        """Return the smallest load that one worker stays within with this probability."""
        return self.running_max(horizon_s, worker).quantile(level)

    # Few clients.

    def frozen(self, max_conn: Caps, horizon_s: float | None = None) -> "FrozenHashAnswer":
        """Return what few client tuples make of an overflow's chance, over and between boots.

        Connections that are not known exactly are taken at their median.

        Args:
            max_conn: Slots of every worker, or of each one.
            horizon_s: The time, in seconds; None for the model's own, or one moment of each boot.

        Raises:
            UsageError: No tuples were given, or fewer than connections.
        """
        from memplan.statistics.frozen_hash import frozen_hash

        churn, tuples = self._frozen_churn()
        return frozen_hash(churn, tuples, self._group.classes(max_conn), self._moment(horizon_s))

    def required_slots_over_boots(
        self, overflow: float, horizon_s: float | None = None
    ) -> SlotsAnswer:
        """Return the fewest slots a worker that keep `frozen(...).over_boots` within a target.

        Args:
            overflow: The target, between 0 and 1.
            horizon_s: The time, in seconds; None for the model's own, or one moment of each boot.
        """
        from memplan.statistics.frozen_hash import required_slots_over_boots

        check_target(overflow)
        churn, tuples = self._frozen_churn()
        seconds = self._moment(horizon_s)
        return required_slots_over_boots(churn, tuples, self._group.classes(0), overflow, seconds)

    # Other circumstances.

    def sensitivity(self, max_conn: Caps, horizon_s: float | None = None) -> Sensitivity:
        """Return how an overflow's chance moves with the number of connections.

        Args:
            max_conn: Slots of every worker, or of each one.
            horizon_s: The time, in seconds; None for the model's own, or the snapshot without one.
        """
        seconds = self._moment(horizon_s)

        def overflow(conns: float) -> Answer:
            known = replace(self, conns=conns)
            if seconds == 0 or self.reconnects_per_s is None:
                return known.overflow_probability(max_conn)
            return known.overflow_within(max_conn, seconds)

        return sensitivity(self._conns, overflow)

    def with_workers_lost(self, lost: int) -> "ReuseportModel":
        """Return the group with so many workers gone and all connections on the others.

        Where weights differ the lightest are the lost ones: the heaviest, which overflow first,
        are still there.

        Raises:
            UsageError: No worker would be left.
        """
        workers, weights = self._group.without(lost)
        return replace(self, workers=workers, weights=weights)

    def during_deploy(self) -> "ReuseportModel":
        """Return the group while an old and a new process both listen: twice the workers.

        New connections then spread over both. When the old process closes its listeners, each
        reconnect lands on the new one, which must hold them all by itself, as this model does.
        """
        return replace(
            self, workers=2 * self.workers, weights=self.weights and tuple(self.weights) * 2
        )

    # Within.

    def _fewest(
        self,
        at: Callable[[float], SlotsAnswer],
        answer: Callable[[int], Answer],
        overflow: float,
    ) -> SlotsAnswer:
        if self._conns.exact:
            return at(self._conns.low)
        low, high = at(self._conns.low).low, at(self._conns.high).high
        return settled(answer, overflow, low, high)

    def _over_conns(self, answer: Callable[[float], Answer]) -> Answer:
        # So many more connections bring the heaviest worker half a standard deviation more.
        step = 0.5 * math.sqrt(self._conns.median / self._group.largest_share)
        whole = answer if self.population == "open" else at_whole(answer)
        return mixed(self._conns, whole, step)

    def _churn(self, conns: float) -> Churn:
        return Churn(
            conns=conns if self.population == "open" else round(conns),
            reconnects_per_s=self._rate(),
            linger_s=self.linger_s,
            population=self.population,
        )

    def _frozen_churn(self) -> tuple[Churn, int]:
        if self.tuples is None:
            raise UsageError("a frozen hash needs client_tuples or client_addresses")
        if self.balance == "exact":
            raise UsageError("an exact balance has no hash that could freeze")
        moving = self if self.reconnects_per_s is not None else replace(self, reconnects_per_s=0.0)
        return moving._churn(self._conns.median), self.tuples  # noqa: SLF001 - of the same class

    def _rate(self) -> float:
        if self.reconnects_per_s is None:
            raise UsageError("an answer over time needs reconnects_per_s")
        return self.reconnects_per_s

    def _horizon(self, horizon_s: float | None) -> float:
        seconds = self.horizon_s if horizon_s is None else horizon_s
        if seconds is None:
            raise UsageError("an answer over time needs horizon_s")
        return seconds

    def _moment(self, horizon_s: float | None) -> float:
        return (self.horizon_s or 0.0) if horizon_s is None else horizon_s


def _mixture(parts: Sequence[RunningMaximum]) -> RunningMaximum:
    """Return the law of a maximum that follows each of some laws equally often."""
    first = min(part.first for part in parts)
    last = max(part.first + len(part.exceeded) for part in parts)
    total = np.zeros(last - first)
    for part in parts:
        at = part.first - first
        total[:at] += 1.0
        total[at : at + len(part.exceeded)] += part.exceeded
    return RunningMaximum(first=first, exceeded=total / len(parts))
