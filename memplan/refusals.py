"""Connections that a full worker turns away, in the mean over a horizon."""

import math

import numpy as np

from memplan.answer import Answer
from memplan.churn import Caps, Churn, between, bracketed
from memplan.lingering import slots_held

_STEADY = "stationary chain under the cap"
_LINGERING = "stationary chain under the cap, lingering slots in the mean (approximation)"
# Loads so far below the mean hold less than 1e-18 of the mass.
_SIGMAS_BELOW = 9.0
_STATES_BELOW = 30.0


def expected_refusals(churn: Churn, caps: Caps, horizon_s: float) -> Answer:
    """Return how many reconnects are refused within a horizon, in the mean.

    A refused connection tries again at its next reconnect. Then a worker's load under its cap m is
    a chain of its own, with the same rates up to m (what another worker has refused still tries
    here), and its stationary refusals are theta (C-m) p pi_m / (pi_0 + ... + pi_m): the point and
    the low end. The high end adds what the start brings, when connections that were placed before
    leave more workers full; it is the lesser of two rigorous bounds:

    - the excess of full workers at the start dies out at the chain's spectral gap, which a cap does
      not lower;
    - loads under caps stay below those without caps, event by event: R T P(Bin(C-1, p) >= m).

    Args:
        churn: How connections come and go.
        caps: Slots a worker, for all or for each class.
        horizon_s: The horizon, in seconds.
    """
    caps = churn.caps_by_class(caps)
    if churn.mergeable:
        return between(churn, caps, lambda part, own: expected_refusals(part, own, horizon_s))
    turnovers = churn.turnovers(horizon_s)
    steady = start = uncapped = 0.0
    for count, chance, cap in zip(churn.counts, churn.chances, caps, strict=True):
        tries = _tries_when_full(churn, chance, cap)
        chain = churn.chain(chance)
        steady += count * turnovers * tries * _share_full(churn, chance, cap)
        start += count * chain.exceeds(cap, 0.0) * tries * -math.expm1(-turnovers)
        uncapped += count * turnovers * _tries_uncapped(churn, chance, cap)
    high = max(steady, min(steady + start, uncapped))
    if churn.lingering <= 0:
        return bracketed(steady, steady, high, _STEADY)
    longer = expected_refusals(churn.lengthened(), caps, horizon_s)
    high = 0.0
    for count, chance, cap in zip(churn.counts, churn.chances, caps, strict=True):
        held = slots_held(churn.chain(chance), churn.lingering * chance, cap)
        high += count * churn.reconnects_per_s * horizon_s * chance * (held.at + held.above)
    return bracketed(longer.value, steady, high, _LINGERING)


def _tries_when_full(churn: Churn, chance: float, cap: int) -> float:
    """Return how many connections try to enter a full worker, per turnover."""
    if churn.population == "open":
        return churn.conns * chance
    return max(churn.conns - cap, 0.0) * chance


def _share_full(churn: Churn, chance: float, cap: int) -> float:
    """Return the stationary share of time that a worker with a cap is full.

    Erlang's and Engset's loss formula: pi_m over the sum of pi_0 to pi_m, each mass taken relative
    to pi_m on the way down.
    """
    mean = churn.conns * chance
    closed = churn.population == "closed"
    if closed and cap >= churn.conns:
        return 0.0
    if cap == 0 or (closed and chance >= 1):
        return 1.0
    sigma = math.sqrt(mean * (1 - chance) if closed else mean)
    lowest = max(0, math.floor(min(cap, mean) - _SIGMAS_BELOW * sigma - _STATES_BELOW))
    load = np.arange(cap, lowest, -1.0)
    births = (churn.conns - load + 1) * chance if closed else np.full_like(load, mean)
    deaths = load * (1 - chance) if closed else load
    log_masses = np.cumsum(np.log(deaths / births))
    peak = max(float(log_masses.max()), 0.0)
    return math.exp(-peak) / (math.exp(-peak) + float(np.exp(log_masses - peak).sum()))


def _tries_uncapped(churn: Churn, chance: float, cap: int) -> float:
    """Return how many reconnects would meet m or more others without caps, per turnover."""
    mean = churn.conns * chance
    chain = churn.chain(chance)
    if cap > chain.last:
        return 0.0
    if chance >= 1 or cap < chain.first:
        return mean
    others = float(chain.flux()[cap - chain.first :].sum())
    # The flux C p q P(Bin(C-1, p) = k) leaves out reconnects to the same worker.
    return others / (1 - chance) if churn.population == "closed" else others
