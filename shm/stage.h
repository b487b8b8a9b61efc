/* Maps of private arrays where process_vm_readv is denied: they run on copies in the arena. */
#ifndef MM_SHM_STAGE_H
#define MM_SHM_STAGE_H

#include "core/run.h"
#include "shm/copier.h"
#include "shm/pool.h"

enum mm_stage_state {
    MM_STAGE_NO_ROOM,     /* arena memory that others have is on its way back */
    MM_STAGE_COPYING_IN,  /* queued for it, or at it */
    MM_STAGE_READY,       /* to be put on the board */
    MM_STAGE_RUNNING,     /* on the board */
    MM_STAGE_COPYING_OUT, /* queued for it, or at it */
    MM_STAGE_OVER,        /* status, failed and err are the outcome */
};

/* One such map. */
struct mm_stage {
    struct mm_run *run; /* the caller's */
    struct mm_run copy; /* what runs: the same, with its private arrays in the arena */
    enum mm_stage_state state;
    int status;
    uint64_t failed;
    mamuto_error_t err;
    char *room; /* in the arena; NULL: none yet */
    uint64_t bytes;
    struct mm_copy_job job;
    struct mm_stage *next; /* in the order of their coming */
};

/* All of them in one node. */
struct mm_stager {
    struct mm_pool *pool;
    struct mm_copier copier;
    struct mm_stage *first, *last;
};

void mm_stager_init(struct mm_stager *stager, struct mm_pool *pool);
/* Frees all that is in flight; before the pool's own fini. Waits for the copier: shm/copier.h. */
void mm_stager_fini(struct mm_stager *stager);

/* Has this run arrays that must be copied? Never, where workers may read the program's memory. */
bool mm_stager_wants(const struct mm_stager *stager, const struct mm_run *run);
/* Takes room and begins to copy; a run that is waited for is copied at once, by the caller. 0: *stage, which stays until
 * mm_stage_free. ENOMEM; ESYSTEM: no thread; EARGS, of a run that is waited for: an array is not there. */
int mm_stager_begin(struct mm_stager *stager, struct mm_run *run, struct mm_stage **stage, mamuto_error_t *err);
/* The stage of a run, be it the caller's or the copy; NULL: it has none. */
struct mm_stage *mm_stager_find(const struct mm_stager *stager, const struct mm_run *run);
/* How many will want a slot of the board, or want one now. */
unsigned mm_stager_coming(const struct mm_stager *stager);
/* What is to be gone on with: one that is OVER, else one that is READY, else NULL. To be asked when the pool's eventfd
 * says so, when arena memory has come back, and after a stage was freed. */
struct mm_stage *mm_stager_next(struct mm_stager *stager);

/* READY: it is on the board now. */
void mm_stage_started(struct mm_stage *stage);
/* RUNNING: its map has ended so. If the result counts it is copied back, then it is OVER; else it is so at once. */
void mm_stage_ran(struct mm_stager *stager, struct mm_stage *stage, int status, uint64_t failed,
                  const mamuto_error_t *err);
/* Ends one that is not RUNNING with ECANCELED; mm_stager_next has it soon. */
void mm_stage_cancel(struct mm_stager *stager, struct mm_stage *stage);
/* Frees it and its room. The copier has it not: it is OVER or READY or RUNNING, or the copier was joined. */
void mm_stage_free(struct mm_stager *stager, struct mm_stage *stage);

#endif
