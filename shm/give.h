/* Ranges of a map that no lane has begun, taken back by the owner: somebody else settles them. */
#ifndef MM_SHM_GIVE_H
#define MM_SHM_GIVE_H

#include "shm/jobs.h"

/* Takes grains [*begin, *end), of at most `want` items, out of an open map, and marks them as done. false: there are none
 * that can be had. Called by the process that sweeps, and by no other. */
bool mm_give_grains(struct mm_board_map *map, uint64_t gen, uint64_t want, uint32_t *begin, uint32_t *end);

/* Takes back items [*first, …) of a run: how many, at most `want`. 0: none can be had; of a run that emits, none ever. The
 * run may have nothing left to wait for then: the caller looks. */
uint64_t mm_jobs_give_back(struct mm_jobs *jobs, struct mm_job *job, uint64_t want, uint64_t *first);

/* After mm_jobs_give_back: may the run have ended by it? */
bool mm_jobs_looks_done(struct mm_jobs *jobs, const struct mm_job *job);

#endif
