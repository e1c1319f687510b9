"""What a slot strategy has to know of the load: how many connections a worker holds, and how full.

The figures come from the reuseport model; here they become the law of a count, which the closed
forms of the strategies sum over.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memplan.descriptors import PER_WORKER, STANDARD_STREAMS
from memplan.errors import UsageError
from memplan.slot_layout import PAGE_BYTES, Used
from memplan.workload import ProcessModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

IDLE_USE: Used = {"recv": 0, "body": 0, "write": 0}
"""What an accepted connection writes before its first byte arrives: the parser's state alone."""

_SDS = 9.0
"""Half the width of a law's window; a normal tail beyond it is below 1e-18."""
_GUMBEL_SDS = 15.0
"""The same for a maximum's right tail, which falls as exp(-1.28 x): below 1e-8 here."""
_MOST_VALUES = 1024
_EULER_GAMMA = 0.5772156649015329


@dataclass(frozen=True, slots=True, eq=False)
class CountLaw:
    """The probabilities of a count, such as the slots that one worker has touched.

    Attributes:
        values: Counts, increasing, shape (k,). Where the law is wider than 1,024 counts they are
            evenly spaced, and the missing ones are stood for by their neighbours.
        probs: Their probabilities, shape (k,), summing to 1.
    """

    values: "IntArray"
    probs: "FloatArray"

    @classmethod
    def exactly(cls, mean: float, cap: int) -> "CountLaw":
        """Return the law of a count that is known; a fraction lies on the two counts around it."""
        bounded = min(max(mean, 0.0), cap)
        whole = math.floor(bounded)
        part = bounded - whole
        if part == 0.0:
            return cls(np.array([whole]), np.array([1.0]))
        return cls(np.array([whole, whole + 1]), np.array([1.0 - part, part]))

    @classmethod
    def spread(cls, mean: float, sd: float, cap: int) -> "CountLaw":
        """Return the binomial, Poisson or negative binomial law with a mean and an sd.

        These three are one family, p[k+1] / p[k] = a + b / (k+1) (Panjer 1981), so that the exact
        law of a worker's load comes out where the two moments are those of Bin(C, p).

        Args:
            mean: Mean of the count.
            sd: Its standard deviation; 0 means the count is known.
            cap: The count cannot be higher; what would be is put there.
        """
        part = mean - math.floor(mean)
        # No whole count varies less than one that lies on the two around its mean.
        if mean <= 0 or sd**2 <= part * (1 - part) * (1 + 1e-9) + 1e-9:
            return cls.exactly(mean, cap)
        values = _window(mean - _SDS * sd, mean + _SDS * sd + _SDS)
        if values[-1] - values[0] >= len(values):
            z = (values - mean) / sd
            return _capped(values, np.exp(-0.5 * z * z), cap)
        a = 1 - mean / sd**2
        b = mean * (1 - a) - a
        # A binomial ends where the ratio would turn negative; the tiny floor only spares a log(0).
        ratio = np.maximum(a + b / values[1:], 1e-300)
        logs = np.concatenate(([0.0], np.cumsum(np.log(ratio))))
        return _capped(values, np.exp(logs - logs.max()), cap)

    @classmethod
    def maximum(cls, mean: float, sd: float, cap: int) -> "CountLaw":
        """Return a running maximum's law: Gumbel with a mean and an sd, on whole counts.

        The maximum over a long time of a load that wanders around its mean is Gumbel in the limit
        (Leadbetter, Lindgren and Rootzén 1983, ch. 1 and 8).
        """
        # Rounding to whole counts adds 1/12 to the variance (Sheppard); below half a count there
        # is no tail to speak of.
        if sd < 0.5 or mean <= 0:
            return cls.exactly(mean, cap)
        values = _window(mean - _SDS * sd, mean + _GUMBEL_SDS * sd)
        scale = math.sqrt((sd * sd - 1 / 12) * 6) / math.pi
        mode = mean - _EULER_GAMMA * scale
        half = (values[1] - values[0]) / 2
        edges = np.append(values - half, values[-1] + half)
        cdf = np.exp(-np.exp(-(edges - mode) / scale))
        return _capped(values, np.diff(cdf), cap)

    @property
    def mean(self) -> float:
        """The mean."""
        return float(self.values @ self.probs)

    @property
    def variance(self) -> float:
        """The variance."""
        return float((self.values - self.mean) ** 2 @ self.probs)

    def at_least(self, count: "IntArray") -> "FloatArray":
        """Return P(count or more), for an array of counts."""
        above = np.append(np.cumsum(self.probs[::-1])[::-1], 0.0)
        tail: FloatArray = above[np.searchsorted(self.values, count)]
        return tail


def _window(low: float, high: float) -> "IntArray":
    first, last = max(0, math.floor(low)), math.ceil(high) + 1
    step = -(-(last - first) // _MOST_VALUES)
    return np.arange(first, last + step, step)


def _capped(values: "IntArray", masses: "FloatArray", cap: int) -> CountLaw:
    probs = masses / masses.sum()
    inside = int(np.searchsorted(values, cap))
    if inside < len(values):
        probs = np.append(probs[:inside], probs[inside:].sum())
        values = np.append(values[:inside], cap)
    return CountLaw(values, probs)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotShape:
    """How many slots there are, whatever their load.

    Attributes:
        workers: Workers, each with its own slots.
        max_conn: Slots a worker.
        max_fd: Entries of a table indexed by descriptor; None makes it as large as is needed.
        process_model: Workers as `threads` of one process, or as `processes`.
        page_bytes: Size of a page.
    """

    workers: int
    max_conn: int
    max_fd: int | None = None
    process_model: ProcessModel = "threads"
    page_bytes: int = PAGE_BYTES

    def __post_init__(self) -> None:
        for name in ("workers", "max_conn"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.page_bytes < 1 or self.page_bytes & (self.page_bytes - 1):
            raise UsageError(f"a page is a power of two, not {self.page_bytes} bytes")

    @property
    def processes(self) -> int:
        """Processes that hold workers."""
        return 1 if self.process_model == "threads" else self.workers

    def find(self, worker: int, number: int, array: int) -> tuple[int, int]:
        """Return where an element of a worker's array lies: its process, and its place there.

        Args:
            worker: The worker.
            number: The element, counted within the worker's own array.
            array: Elements of a worker's array; threads' arrays are packed behind each other.
        """
        return (0, worker * array + number) if self.processes == 1 else (worker, number)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotLoad:
    """The load as a slot strategy meets it.

    Attributes:
        workers: Workers, each with its own slots.
        max_conn: Slots a worker.
        conns: Connections open over all workers, in the mean.
        load_mean: Connections on one worker, in the mean over workers.
        load_sd: Standard deviation of that, differences between unequal workers included.
        high_mean: The most that one worker has held at a time within the horizon, in the mean.
        high_sd: Standard deviation of that.
        conns_sd: Standard deviation of all connections; 0 where their number is fixed.
        conns_high: The most that are open at a time within the horizon; `conns` where not given.
        max_fd: Entries of a table indexed by descriptor; None makes it as large as is needed.
        active_fraction: Share of connections with bytes in flight at one time. Above 0, every
            connection has had bytes in flight at some time and has written its buffers; at 0, none
            has.
        used_idle: Bytes written of each field by a connection that was only accepted.
        used_active: Bytes written of each field by one that has had bytes in flight; None: all.
        accepts: Connections that one worker accepts within the horizon, in the mean, those that it
            starts with included; None where not known, which counts as endless.
        process_model: Workers as `threads` of one process, or as `processes`.
        fds_per_worker: What each worker has open beside its connections, with counts.
        fds_per_process: Further descriptors of each process: the standard streams, log files.
        page_bytes: Size of a page.
    """

    workers: int
    max_conn: int
    conns: float
    load_mean: float
    load_sd: float
    high_mean: float
    high_sd: float
    conns_sd: float = 0.0
    conns_high: float | None = None
    max_fd: int | None = None
    active_fraction: float = 1.0
    used_idle: Used | None = None
    used_active: Used | None = None
    accepts: float | None = None
    process_model: ProcessModel = "threads"
    fds_per_worker: tuple[tuple[str, int], ...] = PER_WORKER
    fds_per_process: int = STANDARD_STREAMS
    page_bytes: int = PAGE_BYTES

    def __post_init__(self) -> None:
        for name in ("workers", "max_conn"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("conns", "load_mean", "load_sd", "high_mean", "high_sd", "conns_sd"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be zero or more, not {getattr(self, name):g}")
        if not 0 <= self.active_fraction <= 1:
            raise UsageError(f"active_fraction is a share, not {self.active_fraction:g}")
        if self.page_bytes < 1 or self.page_bytes & (self.page_bytes - 1):
            raise UsageError(f"a page is a power of two, not {self.page_bytes} bytes")

    @classmethod
    def balanced(
        cls, workers: int, conns: int, *, max_conn: int, used_active: Used | None = None
    ) -> "SlotLoad":
        """Return the snapshot of connections hashed over equal workers: Bin(conns, 1 / workers)."""
        mean, sd = conns / workers, math.sqrt(conns * (workers - 1)) / workers
        return cls(
            workers=workers,
            max_conn=max_conn,
            conns=conns,
            load_mean=mean,
            load_sd=sd,
            high_mean=mean,
            high_sd=sd,
            accepts=mean,
            used_active=used_active,
        )

    @classmethod
    def full(cls, shape: SlotShape) -> "SlotLoad":
        """Return the load in which every slot holds a connection."""
        return cls(
            workers=shape.workers,
            max_conn=shape.max_conn,
            conns=shape.workers * shape.max_conn,
            load_mean=shape.max_conn,
            load_sd=0.0,
            high_mean=shape.max_conn,
            high_sd=0.0,
            max_fd=shape.max_fd,
            process_model=shape.process_model,
            page_bytes=shape.page_bytes,
        )

    @property
    def used_now(self) -> Used | None:
        """Bytes that a connection has written of each field by now."""
        if self.active_fraction > 0:
            return self.used_active
        return IDLE_USE if self.used_idle is None else self.used_idle

    @property
    def one_process(self) -> bool:
        """Whether all workers are threads of one process."""
        return self.process_model == "threads"

    @property
    def processes(self) -> int:
        """Processes that hold workers."""
        return 1 if self.one_process else self.workers

    @property
    def most_conns(self) -> float:
        """The most connections that are open at a time, over all workers."""
        high = self.conns if self.conns_high is None else self.conns_high
        return min(high, float(self.workers * self.max_conn))

    @property
    def most_conns_of_a_process(self) -> int:
        """Connections that one process must be able to hold: its slots, or all connections."""
        slots = self.max_conn * (self.workers if self.one_process else 1)
        return min(math.ceil(self.most_conns), slots)

    @property
    def other_fds_of_a_process(self) -> int:
        """Descriptors that a process has open before it accepts its first connection."""
        workers = self.workers if self.one_process else 1
        return self.fds_per_process + workers * sum(count for _, count in self.fds_per_worker)

    def load_law(self) -> CountLaw:
        """Return the law of the connections that one worker holds."""
        return CountLaw.spread(self.load_mean, self.load_sd, self.max_conn)

    def high_law(self) -> CountLaw:
        """Return the law of the most connections that one worker has held within the horizon."""
        if self.high_mean == self.load_mean and self.high_sd == self.load_sd:
            return self.load_law()
        return CountLaw.maximum(self.high_mean, self.high_sd, self.max_conn)
