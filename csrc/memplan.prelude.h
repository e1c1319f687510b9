/* Put at the head of the glue that cffi emits: the headers that memplan.cdef.h speaks of. */
#include "churn_sim.h"
