/* Slots that are still taken by connections gone elsewhere, first in first out: all linger equally
 * long, so they fall due in the order in which they came. */
#ifndef MEMPLAN_RELEASE_QUEUE_H
#define MEMPLAN_RELEASE_QUEUE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  double due_s;
  uint32_t worker;
} release;

/* A ring; its capacity is 0 or a power of two and doubles when it is full. */
typedef struct {
  release *ring;
  size_t capacity;
  size_t head; /* counts pops, not wrapped */
  size_t tail; /* counts pushes, not wrapped */
} release_queue;

/* Adds one; returns 0 or -ENOMEM, which leaves the queue as it was. */
int release_queue_push(release_queue *queue, release item);
void release_queue_free(release_queue *queue);

/* The next to fall due, or NULL. Valid until the next push. */
static inline const release *release_queue_first(const release_queue *queue) {
  return queue->head == queue->tail ? NULL : &queue->ring[queue->head & (queue->capacity - 1)];
}

static inline void release_queue_pop(release_queue *queue) { queue->head++; }

static inline void release_queue_clear(release_queue *queue) { queue->head = queue->tail = 0; }

#endif
