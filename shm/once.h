/* Maps in which no item is run twice (MM_MAP_ONCE). */
#ifndef MM_SHM_ONCE_H
#define MM_SHM_ONCE_H

#include "shm/run.h"

/* For mamuto_chunk_t.fail: the item has failed for good. */
void mm_once_fail(mamuto_chunk_t *chunk, size_t i, int code, const char *text);
/* A call of the function has returned this code: results of failed items are zeroed where chunk has them. */
void mm_once_end(struct mm_runner *runner, mamuto_chunk_t *chunk, int code);
/* Runs what was taken, block by block, each with its done words. true: all grains of the map look done; the claim stays. */
bool mm_once_run(struct mm_runner *runner, const struct mm_taken *taken);

#endif
