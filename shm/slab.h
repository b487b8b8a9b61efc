/* What functions emit, in the worker: elements go into slabs, a record says where. */
#ifndef MM_SHM_SLAB_H
#define MM_SHM_SLAB_H

#include "core/mamuto.h"
#include "shm/board.h"

/* What a lane has of a map's parts: the rest of a slab. */
struct mm_slab {
    uint64_t gen;   /* of the map */
    uint64_t place; /* of the next element (core/varlen.h) */
    uint64_t left;  /* bytes */
    char *at;       /* its memory */
    uint64_t mark;  /* place before the call that runs, or the slab's begin if that is later */
};

/* Of the call that runs. */
struct mm_emitter {
    struct mm_slab *slab;
    uint64_t *records; /* of the chunk's items: core/varlen.h */
    int shift;         /* of the element's bytes */
};

/* Items [begin, end) of the map are about to run: they have emitted nothing. */
struct mm_runner;
void mm_slab_begin(struct mm_runner *runner, uint64_t begin, uint64_t end);
/* They will be run again: what they emitted into this slab is forgotten. */
void mm_slab_undo(struct mm_runner *runner);
/* mamuto_chunk_t's emit. */
int mm_slab_emit(mamuto_chunk_t *chunk, size_t i, const void *elements, size_t n);

#endif
