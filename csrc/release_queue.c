#include "release_queue.h"

#include <errno.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 1024 };

static int grow(release_queue *queue) {
  const size_t capacity = queue->capacity ? 2 * queue->capacity : FIRST_CAPACITY;
  if (capacity > SIZE_MAX / sizeof(release)) return -ENOMEM;
  release *ring = malloc(capacity * sizeof *ring);
  if (!ring) return -ENOMEM;
  /* The counts go on, so an item's place changes with the mask. */
  for (size_t i = queue->head; i != queue->tail; i++)
    ring[i & (capacity - 1)] = queue->ring[i & (queue->capacity - 1)];
  free(queue->ring);
  queue->ring = ring;
  queue->capacity = capacity;
  return 0;
}

int release_queue_push(release_queue *queue, release item) {
  if (queue->tail - queue->head == queue->capacity) {
    const int rc = grow(queue);
    if (rc) return rc;
  }
  queue->ring[queue->tail++ & (queue->capacity - 1)] = item;
  return 0;
}

void release_queue_free(release_queue *queue) {
  free(queue->ring);
  *queue = (release_queue){0};
}
