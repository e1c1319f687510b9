/* Draws from a fixed discrete distribution in constant time (Walker's alias method, tables by
 * Vose, 1991). */
#ifndef MEMPLAN_ALIAS_H
#define MEMPLAN_ALIAS_H

#include "rng.h"

typedef struct {
  uint64_t keep;  /* chance, as a 64-bit fraction, to answer this column itself */
  uint32_t other; /* the answer otherwise */
} alias_column;

/* Fills columns[n] from weights[n], positive and finite, of any scale. Returns 0, -EINVAL or
 * -ENOMEM. */
int alias_fill(alias_column *columns, const double *weights, uint32_t n);

/* One draw costs one random number: its product with n gives the column and the fraction. */
static inline uint32_t alias_draw(const alias_column *columns, uint32_t n, rng *r) {
  uint64_t fraction;
  const uint32_t column = rng_below(r, n, &fraction);
  return fraction < columns[column].keep ? column : columns[column].other;
}

#endif
