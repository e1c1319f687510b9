/* A group of SO_REUSEPORT workers under churn, simulated event by event at full scale.
 *
 * A fixed number of connections; an event is one of them, uniformly chosen, closing and opening
 * again on a worker drawn afresh. Events are a Poisson process, so the caller draws how many fall
 * into a stretch of time (a segment) and this code runs them.
 *
 * Rules, each a choice that the model in Python shares:
 * - A worker at its cap refuses. The refused connection is then on no worker, and tries again at
 *   its next event, like any other connection.
 * - With a linger, the slot that a connection leaves stays taken for that long after it has
 *   reopened elsewhere. Only then do the times inside a segment matter; they are drawn as the
 *   order statistics of uniform times, which is what a Poisson process is, given its count.
 * - With client tuples, worker = hash[tuple], frozen at the start of a run; an event gives the
 *   connection a uniform tuple out of the free ones and its own. A refused connection keeps its
 *   tuple until its next event.
 *
 * Not thread-safe: one simulation belongs to one thread at a time. */
#ifndef MEMPLAN_CHURN_SIM_H
#define MEMPLAN_CHURN_SIM_H

#include <stdint.h>

typedef struct churn_sim churn_sim;

/* Allocates a simulation; NULL if memory is short or an argument is out of range.
 *
 * workers    1 or more
 * conns      1 or more
 * tuples     0 for a fresh hash at each event, else at least conns
 * weights    [workers] chance of each worker, positive, any scale; NULL where equal
 * caps       [workers] slots of each worker; NULL for no caps
 * linger_s   0 or more
 * levels     length of the array of up-crossings, 2 or more; loads beyond count in its last */
churn_sim *churn_sim_new(uint32_t workers, uint32_t conns, uint32_t tuples, const double *weights,
                         const uint32_t *caps, double linger_s, uint32_t levels);
void churn_sim_free(churn_sim *sim);

/* Begins a run at time 0: every connection is placed in turn, an independent draw for each (those
 * that a cap refuses are placed nowhere and are not counted as refusals). With a linger, the run
 * begins without lingering slots. Running maxima begin at the loads. */
void churn_sim_start(churn_sim *sim, uint64_t seed);

/* Announces the next segment: `events` events between now and until_s. */
void churn_sim_segment(churn_sim *sim, uint64_t events, double until_s);

/* Runs at most `most` events of the segment. Returns how many are left (the caller
 * keeps segments below 2^63), or -ENOMEM. At 0 the clock
 * stands at the segment's end. */
int64_t churn_sim_run(churn_sim *sim, uint32_t most);

/* Copies what has been counted since the start.
 *
 * loads, maxima   [workers] slots taken now, and the most so far
 * upcrossings     [levels] how often some worker's load rose from k - 1 to k, at index k
 * refusals        events that a cap turned away */
void churn_sim_read(const churn_sim *sim, uint32_t *loads, uint32_t *maxima, uint64_t *upcrossings,
                    uint64_t *refusals);

#endif
