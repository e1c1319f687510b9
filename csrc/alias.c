#include "alias.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* Rounding may put a chance a hair outside of [0, 1]. */
static uint64_t as_fraction(double chance) {
  if (chance <= 0) return 0;
  return chance >= 1 ? UINT64_MAX : (uint64_t)ldexp(chance, 64);
}

/* Pairs each column that has too little with one that has too much. `share` is each column's
 * chance times n, so that 1 is just enough; `order` holds the poor columns from its front and the
 * rich ones from its back. */
static void pair_columns(alias_column *columns, double *share, uint32_t *order, uint32_t n) {
  uint32_t poor = 0, rich = n;
  for (uint32_t i = 0; i < n; i++) {
    if (share[i] < 1)
      order[poor++] = i;
    else
      order[--rich] = i;
  }
  while (poor > 0 && rich < n) {
    const uint32_t small = order[--poor], large = order[rich];
    columns[small] = (alias_column){as_fraction(share[small]), large};
    share[large] -= 1 - share[small];
    if (share[large] < 1) {
      rich++;
      order[poor++] = large;
    }
  }
  /* What is left on either side is just enough but for rounding. */
  while (poor > 0) {
    const uint32_t i = order[--poor];
    columns[i] = (alias_column){UINT64_MAX, i};
  }
  for (; rich < n; rich++) columns[order[rich]] = (alias_column){UINT64_MAX, order[rich]};
}

int alias_fill(alias_column *columns, const double *weights, uint32_t n) {
  double total = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (!(weights[i] > 0 && isfinite(weights[i]))) return -EINVAL;
    total += weights[i];
  }
  if (n == 0 || !isfinite(total)) return -EINVAL;

  double *share = malloc(n * sizeof *share);
  uint32_t *order = malloc(n * sizeof *order);
  int rc = -ENOMEM;
  if (share && order) {
    for (uint32_t i = 0; i < n; i++) share[i] = weights[i] / total * n;
    pair_columns(columns, share, order, n);
    rc = 0;
  }
  free(share);
  free(order);
  return rc;
}
