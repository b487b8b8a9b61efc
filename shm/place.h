/* Where the arrays of a run are, as the board says it. */
#ifndef MM_SHM_PLACE_H
#define MM_SHM_PLACE_H

#include "core/run.h"
#include "shm/pool.h"

/* Fills in, out, offsets, n_in and the inline bytes of a map. EARGS: an array is partly not of this pool, or the result is
 * in a file. */
int mm_place_arrays(const struct mm_pool *pool, struct mm_board_map *map, const struct mm_run *run,
                    mamuto_error_t *err);

#endif
