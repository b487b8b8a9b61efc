/* How far maps are, and what the workers have done so far. */
#ifndef MM_SHM_ACCOUNT_H
#define MM_SHM_ACCOUNT_H

#include "shm/jobs.h"

/* Items of a map that are settled, and those of them that failed; counted by grains. */
void mm_account_map(struct mm_board_map *map, uint64_t gen, uint64_t *done, uint64_t *failed);
/* A map leaves the board: what it has settled, and the time that this took, is added up. */
void mm_account_settle(struct mm_jobs *jobs, const struct mm_job *job);
/* All maps so far: items that were settled, and the share of the workers' time that went into items. */
void mm_account_total(struct mm_jobs *jobs, uint64_t *items, double *busy);

#endif
