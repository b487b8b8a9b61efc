/* Inputs of variable length: where their offsets lie, whether they are sound, how much of one is a piece. */
#ifndef MM_SHM_VARIABLE_H
#define MM_SHM_VARIABLE_H

#include "core/run.h"
#include "shm/pool.h"

/* Has an input of this run offsets? */
static inline bool mm_variable_has(const struct mm_run *run)
{
    for (int k = 0; k < run->n_in; k++)
        if (run->in[k].offsets)
            return true;
    return false;
}

/* Says on the board where the offsets lie. -1, or the argument whose offsets begin in an array of the pool and end beyond
 * it. Called by the master. */
int mm_variable_place(const struct mm_pool *pool, struct mm_board_map *map, const struct mm_run *run);

/* at: by argument, the offsets of item `first`; NULL: it has none. Called by a lane before the function sees them. */
/* Do the n items' offsets not decrease, and stay within [low, high]? Else false, and a sentence that names argument and
 * item. */
bool mm_variable_check(const struct mm_board_map *map, const int64_t *const *at, uint64_t first, uint64_t n,
                       char text[MM_RECORD_TEXT]);
/* Of n items whose offsets are sound, as many as have `most` private bytes, at least one. fixed: bytes of an item beside
 * those of variable length. */
uint64_t mm_variable_cut(const struct mm_board_map *map, const int64_t *const *at, uint64_t n, uint64_t fixed,
                         uint64_t most);

#endif
