#include "churn_sim.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "alias.h"
#include "release_queue.h"
#include "rng.h"

struct churn_sim {
  uint32_t workers, conns, tuples, levels;
  double linger_s;
  rng random;

  /* `nowhere` (= workers) is a worker without a listener: a refused connection lies there, so that
   * leaving needs no branch. Its load counts nothing and may wrap. */
  uint32_t *owner;   /* [conns] the worker of each connection, or nowhere */
  uint32_t *load;    /* [workers + 1] slots taken */
  uint32_t *cap;     /* [workers] */
  uint32_t *maximum; /* [workers] */
  alias_column *columns; /* [workers], or NULL where all are equally likely */

  uint32_t *hash; /* [tuples] worker of each tuple, or NULL */
  uint32_t *pool; /* [tuples] first the tuple of each connection, then the free ones */

  uint64_t *upcrossings; /* [levels] */
  uint64_t refusals;

  double now_s, until_s; /* kept only where slots linger */
  uint64_t left;         /* events left in the segment */
  release_queue lingering;
};

static uint32_t any_worker(churn_sim *sim) {
  uint64_t unused;
  return sim->columns ? alias_draw(sim->columns, sim->workers, &sim->random)
                      : rng_below(&sim->random, sim->workers, &unused);
}

static bool set_caps(churn_sim *sim, const uint32_t *caps) {
  sim->cap = malloc(sim->workers * sizeof *sim->cap);
  if (!sim->cap) return false;
  for (uint32_t i = 0; i < sim->workers; i++) sim->cap[i] = caps ? caps[i] : UINT32_MAX;
  return true;
}

static bool set_weights(churn_sim *sim, const double *weights) {
  if (!weights) return true;
  sim->columns = malloc(sim->workers * sizeof *sim->columns);
  return sim->columns && alias_fill(sim->columns, weights, sim->workers) == 0;
}

static bool set_tuples(churn_sim *sim) {
  if (sim->tuples == 0) return true;
  sim->hash = malloc(sim->tuples * sizeof *sim->hash);
  sim->pool = malloc(sim->tuples * sizeof *sim->pool);
  return sim->hash && sim->pool;
}

churn_sim *churn_sim_new(uint32_t workers, uint32_t conns, uint32_t tuples, const double *weights,
                         const uint32_t *caps, double linger_s, uint32_t levels) {
  if (workers == 0 || workers == UINT32_MAX || conns == 0 || (tuples && tuples < conns) ||
      !(linger_s >= 0) || levels < 2)
    return NULL;
  churn_sim *sim = calloc(1, sizeof *sim);
  if (!sim) return NULL;
  sim->workers = workers;
  sim->conns = conns;
  sim->tuples = tuples;
  sim->levels = levels;
  sim->linger_s = linger_s;
  sim->owner = malloc(conns * sizeof *sim->owner);
  sim->load = malloc(((size_t)workers + 1) * sizeof *sim->load);
  sim->maximum = malloc(workers * sizeof *sim->maximum);
  sim->upcrossings = malloc(levels * sizeof *sim->upcrossings);
  if (!sim->owner || !sim->load || !sim->maximum || !sim->upcrossings || !set_caps(sim, caps) ||
      !set_weights(sim, weights) || !set_tuples(sim)) {
    churn_sim_free(sim);
    return NULL;
  }
  churn_sim_start(sim, 0);
  return sim;
}

void churn_sim_free(churn_sim *sim) {
  if (!sim) return;
  free(sim->owner);
  free(sim->load);
  free(sim->cap);
  free(sim->maximum);
  free(sim->columns);
  free(sim->hash);
  free(sim->pool);
  free(sim->upcrossings);
  release_queue_free(&sim->lingering);
  free(sim);
}

void churn_sim_start(churn_sim *sim, uint64_t seed) {
  rng_seed(&sim->random, seed);
  memset(sim->load, 0, ((size_t)sim->workers + 1) * sizeof *sim->load);
  memset(sim->upcrossings, 0, sim->levels * sizeof *sim->upcrossings);
  sim->refusals = 0;
  sim->now_s = sim->until_s = 0;
  sim->left = 0;
  release_queue_clear(&sim->lingering);

  for (uint32_t t = 0; t < sim->tuples; t++) {
    sim->hash[t] = any_worker(sim);
    sim->pool[t] = t;
  }
  for (uint32_t c = 0; c < sim->conns; c++) {
    const uint32_t worker = sim->tuples ? sim->hash[c] : any_worker(sim);
    const bool taken = sim->load[worker] < sim->cap[worker];
    sim->owner[c] = taken ? worker : sim->workers;
    sim->load[sim->owner[c]]++;
  }
  memcpy(sim->maximum, sim->load, sim->workers * sizeof *sim->maximum);
}

void churn_sim_segment(churn_sim *sim, uint64_t events, double until_s) {
  sim->left = events;
  sim->until_s = until_s;
}

/* Moves the clock to the next of the `left` uniform times that remain in the segment: the least of
 * them lies a fraction 1 - u^(1/left) of the way to its end. */
static void advance(churn_sim *sim) {
  const double fraction = -expm1(log(rng_unit(&sim->random)) / (double)sim->left);
  sim->now_s += (sim->until_s - sim->now_s) * fraction;
}

static void release_due(churn_sim *sim) {
  const release *first;
  while ((first = release_queue_first(&sim->lingering)) && first->due_s <= sim->now_s) {
    sim->load[first->worker]--;
    release_queue_pop(&sim->lingering);
  }
}

/* The connection's new worker under a frozen hash: it takes a uniform tuple out of the free ones
 * and its own. */
static inline uint32_t take_tuple(churn_sim *sim, uint32_t connection) {
  uint64_t unused;
  uint32_t *const pool = sim->pool;
  const uint32_t pick = rng_below(&sim->random, sim->tuples - sim->conns + 1, &unused);
  const uint32_t place = pick == 0 ? connection : sim->conns + (pick - 1);
  const uint32_t tuple = pool[place];
  pool[place] = pool[connection];
  pool[connection] = tuple;
  return sim->hash[tuple];
}

/* One event. The flags are constants where it is called, so each combination is compiled to its
 * own loop without their branches. Returns 0 or -ENOMEM. */
__attribute__((always_inline)) static inline int step(churn_sim *sim, rng *random, bool weighted,
                                                      bool tuples, bool linger) {
  uint64_t unused;
  const uint32_t connection = rng_below(random, sim->conns, &unused);
  const uint32_t from = sim->owner[connection];
  const uint32_t to = tuples     ? take_tuple(sim, connection)
                      : weighted ? alias_draw(sim->columns, sim->workers, random)
                                 : rng_below(random, sim->workers, &unused);
  if (linger) {
    const release held = {sim->now_s + sim->linger_s, from};
    if (from != sim->workers && release_queue_push(&sim->lingering, held)) return -ENOMEM;
  } else {
    sim->load[from]--;
  }
  if (sim->load[to] >= sim->cap[to]) {
    sim->owner[connection] = sim->workers;
    sim->refusals++;
    return 0;
  }
  const uint32_t load = ++sim->load[to];
  sim->owner[connection] = to;
  if (load > sim->maximum[to]) sim->maximum[to] = load;
  /* Back to where it came from is no crossing, unless its old slot is still taken. */
  sim->upcrossings[load < sim->levels ? load : sim->levels - 1] += linger || to != from;
  return 0;
}

static void run_fresh(churn_sim *sim, uint32_t events) {
  rng random = sim->random; /* a local copy stays in registers */
  while (events--) (void)step(sim, &random, false, false, false);
  sim->random = random;
}

static void run_weighted(churn_sim *sim, uint32_t events) {
  rng random = sim->random;
  while (events--) (void)step(sim, &random, true, false, false);
  sim->random = random;
}

static void run_tuples(churn_sim *sim, uint32_t events) {
  while (events--) (void)step(sim, &sim->random, false, true, false);
}

/* Only here do times matter, and only here can memory run short. */
static int run_lingering(churn_sim *sim, uint32_t events) {
  for (; events > 0; events--) {
    advance(sim);
    release_due(sim);
    sim->left--;
    const int rc = sim->tuples    ? step(sim, &sim->random, false, true, true)
                   : sim->columns ? step(sim, &sim->random, true, false, true)
                                  : step(sim, &sim->random, false, false, true);
    if (rc) return rc;
  }
  return 0;
}

int64_t churn_sim_run(churn_sim *sim, uint32_t most) {
  const uint32_t events = sim->left < most ? (uint32_t)sim->left : most;
  if (sim->linger_s > 0) {
    const int rc = run_lingering(sim, events);
    if (rc) return rc;
  } else {
    if (sim->tuples)
      run_tuples(sim, events);
    else if (sim->columns)
      run_weighted(sim, events);
    else
      run_fresh(sim, events);
    sim->left -= events;
  }
  if (sim->left == 0) {
    sim->now_s = sim->until_s;
    release_due(sim);
  }
  return (int64_t)sim->left;
}

void churn_sim_read(const churn_sim *sim, uint32_t *loads, uint32_t *maxima, uint64_t *upcrossings,
                    uint64_t *refusals) {
  memcpy(loads, sim->load, sim->workers * sizeof *loads);
  memcpy(maxima, sim->maximum, sim->workers * sizeof *maxima);
  memcpy(upcrossings, sim->upcrossings, sim->levels * sizeof *upcrossings);
  *refusals = sim->refusals;
}
