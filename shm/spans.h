/* What has landed, and who ran it: rings on the board, read by the owner of a map whose caller wants to know. */
#ifndef MM_SHM_SPANS_H
#define MM_SHM_SPANS_H

#include "shm/jobs.h"

/* A lane's: grains [begin, end) of the map that it runs are about to be marked as done. */
void mm_spans_log(struct mm_board *board, uint32_t self, uint64_t gen, uint32_t begin, uint32_t end, uint64_t start);

/* The owner's: a run whose caller wants to know (run->log) gets its slot. ENOMEM. */
int mm_spans_begin(struct mm_run *run, const struct mm_board_map *map, mamuto_error_t *err);
/* Puts what the rings hold into the logs of the jobs. */
void mm_spans_drain(struct mm_jobs *jobs);
/* The job has ended, and is still on the board: what is done and was never logged goes into its log, too. */
void mm_spans_finish(struct mm_jobs *jobs, struct mm_job *job);

#endif
