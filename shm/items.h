/* Running a map's function on its items, wherever they lie and however they are laid out. */
#ifndef MM_SHM_ITEMS_H
#define MM_SHM_ITEMS_H

#include "shm/run.h"

enum { MM_ITEMS_MOST = 8192 };

/* For the map in runner->map, whose module is loaded. false: a value could not be fetched; the map is stopped. */
bool mm_items_prepare(struct mm_runner *runner);
/* Items of a block, at most. */
uint64_t mm_items_most(const struct mm_runner *runner);
/* Runs items [begin, end), counted from the run's first, no more than mm_items_most. MM_FAILED: one of them failed,
 * runner->failure says how; their results may be stored or not. */
enum mm_outcome mm_items_run(struct mm_runner *runner, uint64_t begin, uint64_t end);
/* The item has failed for good. */
void mm_items_zero(struct mm_runner *runner, uint64_t item);

/* For shm/group.c, of a map over groups: any number of items; results packed at out. */
enum mm_outcome mm_items_map(struct mm_runner *runner, uint64_t begin, uint64_t end, char *out);
/* Of one without a function: the items of input 0 themselves. */
enum mm_outcome mm_items_fetch(struct mm_runner *runner, uint64_t begin, uint64_t end, const char **items,
                               ptrdiff_t *stride);

#endif
