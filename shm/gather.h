/* The steps that make one array of what a map has emitted (core/run.h's enum mm_op), in the worker. */
#ifndef MM_SHM_GATHER_H
#define MM_SHM_GATHER_H

#include "core/run.h"

/* What a map of this op runs in place of a module's function. */
int (*mm_gather_function(uint32_t op))(mamuto_chunk_t *);

#endif
