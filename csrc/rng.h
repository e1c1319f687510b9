/* Random integers: xoshiro256++ (Blackman and Vigna, 2019), seeded by splitmix64.
 *
 * Not for secrets. The state is 32 bytes, a draw costs about a nanosecond, and equal seeds give
 * equal streams on every machine. */
#ifndef MEMPLAN_RNG_H
#define MEMPLAN_RNG_H

#include <stdint.h>

typedef struct {
  uint64_t s[4];
} rng;

__extension__ typedef unsigned __int128 rng_product;

static inline uint64_t rng_rotate(uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }

/* Fills the state from one number; neighbouring seeds give unrelated streams. */
static inline void rng_seed(rng *r, uint64_t seed) {
  for (int i = 0; i < 4; i++) {
    seed += 0x9e3779b97f4a7c15u;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    r->s[i] = z ^ (z >> 31);
  }
}

static inline uint64_t rng_next(rng *r) {
  uint64_t *s = r->s;
  const uint64_t result = rng_rotate(s[0] + s[3], 23) + s[0];
  const uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rng_rotate(s[3], 45);
  return result;
}

/* Splits one draw into a uniform integer below n (returned) and a uniform 64-bit fraction.
 *
 * Multiply and shift, without rejection: an integer's chance is off by less than n / 2^64, which
 * no run of this project can see. */
static inline uint32_t rng_below(rng *r, uint32_t n, uint64_t *fraction) {
  const rng_product product = (rng_product)rng_next(r) * n;
  *fraction = (uint64_t)product;
  return (uint32_t)(product >> 64);
}

/* A uniform number in (0, 1]: never 0, so that its logarithm exists. */
static inline double rng_unit(rng *r) { return (double)((rng_next(r) >> 11) + 1) * 0x1p-53; }

#endif
