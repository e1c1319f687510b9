"""Few clients: which worker a connection meets is then frozen until the next boot.

The kernel's hash of a client's 4-tuple has a secret drawn at boot. With N distinct tuples in all,
each tuple has its worker until the next boot, and a worker owns a random number K of them, Bin(N,
p) over boots. One client address has few thousand tuples: most loads from one machine are this.

Given K, a worker's load is a `LoadChain.frozen`. Two questions differ:

- over boots: the chance of an overflow within the horizon, the boot being part of the chance.
  One worker's is a mean over K; the group's bracket is that of `churn` (the numbers owned
  are negatively associated over boots);
- between boots: each boot has a chance of its own, and these can lie anywhere between 0 and 1.
  Boots are sampled; given who owns what, workers are taken as independent (approximation).
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from memplan.answer import Answer, SlotsAnswer
from memplan.errors import UsageError
from memplan.statistics.churn import Churn, Classes, fewest_slots
from memplan.statistics.distributions import binomial_pmf, binomial_sf
from memplan.statistics.load_chain import LoadChain
from memplan.statistics.worker_classes import alike

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

QUANTILE_LEVELS = (0.05, 0.5, 0.95)
"""Which quantiles of a boot's own chance are given."""

_METHOD = "frozen hash, mean over boots"
_SIGMAS = 9.0
_STATES = 30.0
# The mean over K is a sum in steps; steps are halved until the sum does not change by more.
_TOLERANCE = 1e-10
_STEPS_PER_SIGMA = 4
_NEGLIGIBLE = 1e-14
# One worker's chance is computed at about so many numbers of owned tuples for the sampled boots.
_TABLE_STEPS = 128
_SURE = 800.0  # -log(1 - chance) of what is certain: exp(-800) is zero
_NEARLY_ZERO = 1e-300
# Numbers drawn in all when boots are sampled: enough for a percent, quick at any group size.
_DRAWS = 1_000_000
_MOST_BOOTS = 4000
_FEWEST_BOOTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenHashAnswer:
    """What few clients make of an overflow's chance.

    Attributes:
        tuples: Distinct client tuples, N.
        over_boots: Chance of an overflow within the horizon, the boot being part of the chance.
        boot_quantiles: Quantiles of a boot's own chance: pairs of level and chance.
        share_of_boots_above_half: Share of boots whose own chance is above one half.
        boots: Number of boots sampled for the two above.
        share_sd: Relative standard deviation over boots of the tuples that a worker owns; of the
            least likely worker, where they differ.
    """

    tuples: int
    over_boots: Answer
    boot_quantiles: tuple[tuple[float, float], ...]
    share_of_boots_above_half: float
    boots: int
    share_sd: float

    def to_dict(self) -> dict[str, object]:
        """Return the fields by name, the quantiles as `{"p5": ...}`."""
        return {
            "tuples": self.tuples,
            "over_boots": self.over_boots.to_dict(),
            "boot_quantiles": {f"p{level * 100:g}": value for level, value in self.boot_quantiles},
            "share_of_boots_above_half": self.share_of_boots_above_half,
            "boots": self.boots,
            "share_sd": self.share_sd,
        }


def frozen_hash(
    churn: Churn, tuples: int, classes: Classes, horizon_s: float, *, seed: int = 0
) -> FrozenHashAnswer:
    """Return the chance of an overflow within a horizon when clients are few.

    Args:
        churn: How connections come and go; the population is taken as closed.
        tuples: Distinct client tuples in all, at least the number of connections.
        classes: All workers with their caps.
        horizon_s: The horizon, in seconds.
        seed: Of the sample of boots; the same seed gives the same sample.
    """
    law = _Boots(churn, tuples, horizon_s)
    own = law.sample(classes, np.random.default_rng(seed))
    quantiles = np.quantile(own, QUANTILE_LEVELS)
    least = min(worker.share for worker in classes)
    return FrozenHashAnswer(
        tuples=tuples,
        over_boots=law.overflow(classes),
        boot_quantiles=tuple(zip(QUANTILE_LEVELS, quantiles.tolist(), strict=True)),
        share_of_boots_above_half=float(np.mean(own > 0.5)),
        boots=len(own),
        share_sd=math.sqrt((1 - least) / (tuples * least)),
    )


def required_slots_over_boots(
    churn: Churn, tuples: int, classes: Classes, overflow: float, horizon_s: float
) -> SlotsAnswer:
    """Return the fewest slots a worker that keep overflow within a target, over boots.

    Args:
        churn: How connections come and go; the population is taken as closed.
        tuples: Distinct client tuples in all.
        classes: All workers; their caps are not looked at, all get the same.
        overflow: The target, between 0 and 1.
        horizon_s: The horizon, in seconds.
    """
    law = _Boots(churn, tuples, horizon_s)
    return fewest_slots(
        lambda slots: law.overflow(alike(classes, slots)),
        overflow,
        churn.required_slots_within(classes, overflow, horizon_s).slots,
    )


class _Boots:
    """The group over boots and between them; what one worker does is computed once and kept."""

    def __init__(self, churn: Churn, tuples: int, horizon_s: float) -> None:
        # Lingering slots are taken as further connections, in the mean.
        self._churn = churn.lengthened() if churn.lingering > 0 else churn
        self._conns = math.ceil(self._churn.conns)
        self._tuples = tuples
        self._turnovers = self._churn.turnovers(horizon_s)
        self._known: dict[tuple[int, int], float] = {}
        if tuples < self._conns:
            raise UsageError(
                f"{tuples:,} client tuples cannot hold {self._conns:,} connections; "
                "give more client addresses"
            )

    def overflow(self, classes: Classes) -> Answer:
        """Return the chance of an overflow, over boots."""
        start, end = [], []
        for _, share, cap in classes:
            # A mixture of hypergeometric laws over Bin(N, p) owned tuples is Bin(C, p).
            start.append(LoadChain.closed(self._conns, share).exceeds(cap, 0.0))
            end.append(max(self._mean(cap, share), start[-1]))
        return replace(self._churn.together(classes, start, end), method=_METHOD)

    def sample(self, classes: Classes, rng: np.random.Generator) -> "FloatArray":
        """Return the own chances of sampled boots; shape (boots,)."""
        workers = [worker.workers for worker in classes]
        shares = np.repeat([worker.share for worker in classes], workers)
        caps = np.repeat([worker.cap for worker in classes], workers)
        boots = min(max(_DRAWS // len(shares), _FEWEST_BOOTS), _MOST_BOOTS)
        owned = rng.multinomial(self._tuples, shares / shares.sum(), size=boots)
        hazards = np.zeros(boots)
        for cap in np.unique(caps):
            hazards += self._hazards(int(cap), owned[:, caps == cap]).sum(axis=1)
        return -np.expm1(-hazards)

    def _at(self, cap: int, owned: int) -> float:
        """Return one worker's chance to overflow given the tuples that it owns."""
        key = cap, owned
        if key not in self._known:
            chain = LoadChain.frozen(self._conns, self._tuples, owned)
            self._known[key] = chain.exceeds(cap, self._turnovers)
        return self._known[key]

    def _mean(self, cap: int, share: float) -> float:
        """Return one worker's chance to overflow, over boots."""
        sigma = math.sqrt(self._tuples * share * (1 - share))
        step = 1 << int(math.log2(max(sigma / _STEPS_PER_SIGMA, 1.0)))
        while True:
            terms = self._terms(cap, share, step)
            total = step * sum(terms)
            if step == 1 or abs(total - 2 * step * sum(terms[::2])) <= _TOLERANCE * total:
                return min(total, 1.0)
            step //= 2

    def _terms(self, cap: int, share: float, step: int) -> list[float]:
        """Return the chances to own a number of tuples and to overflow, in steps of that number."""
        n = self._tuples
        mean, sigma = n * share, math.sqrt(n * share * (1 - share))
        first = max(cap + 1, math.floor(mean - _SIGMAS * sigma - _STATES))
        terms: list[float] = []
        total = 0.0
        for owned in range(first, n + 1, step):
            terms.append(binomial_pmf(owned, n, share) * self._at(cap, owned))
            total += terms[-1]
            if owned > mean and binomial_sf(owned, n, share) <= _NEGLIGIBLE * total:
                break
        return terms

    def _hazards(self, cap: int, owned: "NDArray[np.int64]") -> "FloatArray":
        """Return -log(1 - chance) for numbers of owned tuples, interpolated in its logarithm."""
        low, high = int(owned.min()), int(owned.max())
        step = max(1, (high - low) // _TABLE_STEPS)
        grid = np.append(np.arange(low, high, step), high)
        chance = np.array([self._at(cap, int(one)) for one in grid])
        hazard = np.full(len(chance), _SURE)
        hazard[chance < 1] = -np.log1p(-chance[chance < 1])
        logs = np.log(np.maximum(hazard, _NEARLY_ZERO))
        hazards: FloatArray = np.exp(np.interp(owned, grid, logs))
        hazards[hazards < 2 * _NEARLY_ZERO] = 0.0
        return hazards
