/* The owner's side of what functions emit: the parts of the arena that a map's slabs are taken of. */
#ifndef MM_SHM_ROOM_H
#define MM_SHM_ROOM_H

#include "core/run.h"
#include "shm/pool.h"

/* What a function emitted the last time. */
struct mm_emitted {
    uint64_t n, bytes; /* items; the first part's bytes that would have held it. 0: not known */
};

/* Takes the parts for a run of a function that emits. ENOMEM. */
int mm_room_take(struct mm_pool *pool, const struct mm_emitted *emitted, struct mm_run *run, mamuto_error_t *err);
/* Writes them, and what else a map with them, or of another op, needs, on the board. */
void mm_room_describe(const struct mm_pool *pool, const struct mm_run *run, struct mm_board_map *map);
/* The map has ended: what nobody touched goes back at once. emitted: learns from it; NULL: it ended early. */
void mm_room_close(struct mm_pool *pool, struct mm_emitted *emitted, struct mm_run *run, struct mm_board_map *map);

#endif
