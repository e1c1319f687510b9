"""Connections that a full worker turns away, in the mean over a horizon."""

import math

import numpy as np

from memplan.answer import Answer
from memplan.statistics.churn import MOST_CLASSES, Churn, Classes, between, bracketed
from memplan.statistics.lingering import slots_held

_STEADY = "stationary chain under the cap"
_LINGERING = "stationary chain under the cap, lingering slots in the mean (approximation)"
# Loads so far below the mean hold less than 1e-18 of the mass.
_SIGMAS_BELOW = 9.0
_STATES_BELOW = 30.0


def expected_refusals(churn: Churn, classes: Classes, horizon_s: float) -> Answer:
    """Return how many reconnects are refused within a horizon, in the mean.

    A refused connection tries again at its next reconnect. Then a worker's load under its cap m is
    a chain of its own, with the same rates up to m (what another worker has refused still tries
    here), and its stationary refusals are theta (C-m) p pi_m / (pi_0 + ... + pi_m): the point and
    the low end. The high end adds what the start brings, when connections that were placed before
    leave more workers full: a load that starts at m instead of stationary is there more often by
    (1 - pi_m) e^(-theta t) at most, theta being a lower bound of the chain's spectral gap.

    Args:
        churn: How connections come and go.
        classes: All workers with their caps.
        horizon_s: The horizon, in seconds.
    """
    if len(classes) > MOST_CLASSES:
        return between(churn, classes, lambda part: expected_refusals(churn, part, horizon_s))
    turnovers = churn.turnovers(horizon_s)
    steady = start = 0.0
    for workers, share, cap in classes:
        tries = workers * _tries_when_full(churn, share, cap)
        full = _share_full(churn, share, cap)
        over = churn.chain(share).exceeds(cap, 0.0)
        steady += turnovers * tries * full
        start += over * tries * (1 - full) * -math.expm1(-turnovers)
    if churn.lingering <= 0:
        return bracketed(steady, steady, steady + start, _STEADY)
    longer = expected_refusals(churn.lengthened(), classes, horizon_s)
    high = 0.0
    for workers, share, cap in classes:
        held = slots_held(churn.chain(share), churn.lingering * share, cap)
        high += workers * churn.reconnects_per_s * horizon_s * share * (held.at + held.above)
    return bracketed(longer.value, steady, high, _LINGERING)


def _tries_when_full(churn: Churn, share: float, cap: int) -> float:
    """Return how many connections try to enter a full worker, per turnover."""
    if churn.population == "open":
        return churn.conns * share
    return max(churn.conns - cap, 0.0) * share


def _share_full(churn: Churn, share: float, cap: int) -> float:
    """Return the stationary share of time that a worker with a cap is full.

    Erlang's and Engset's loss formula: pi_m over the sum of pi_0 to pi_m, each mass taken relative
    to pi_m on the way down.
    """
    mean = churn.conns * share
    closed = churn.population == "closed"
    if cap > churn.chain(share).last:
        return 0.0
    if cap == 0 or (closed and share >= 1):
        return 1.0
    sigma = math.sqrt(mean * (1 - share) if closed else mean)
    lowest = max(0, math.floor(min(cap, mean) - _SIGMAS_BELOW * sigma - _STATES_BELOW))
    load = np.arange(cap, lowest, -1.0)
    births = (churn.conns - load + 1) * share if closed else np.full_like(load, mean)
    deaths = load * (1 - share) if closed else load
    log_masses = np.cumsum(np.log(deaths / births))
    peak = max(float(log_masses.max()), 0.0)
    return math.exp(-peak) / (math.exp(-peak) + float(np.exp(log_masses - peak).sum()))
