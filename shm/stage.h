/* Maps of private arrays where process_vm_readv is denied: they run on copies in the arena. */
#ifndef MM_SHM_STAGE_H
#define MM_SHM_STAGE_H

#include "shm/copier.h"
#include "shm/jobs.h"

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

/* A run has ended: on_ran of core/node.h. */
typedef void mm_stage_report(void *context, struct mm_run *run, int status, uint64_t failed, const mamuto_error_t *err);

/* All of them in one node. */
struct mm_stager {
    struct mm_jobs *jobs;
    struct mm_pool *pool; /* of jobs */
    struct mm_copier copier;
    struct mm_stage *first, *last;
    mm_stage_report *report;
    void *context;
};

void mm_stager_init(struct mm_stager *stager, struct mm_jobs *jobs, mm_stage_report *report, void *context);
/* Nothing is copied any more, but for a piece that is being copied; returns at once. */
void mm_stager_stop(struct mm_stager *stager);
/* Waits for that piece, and frees all that is in flight; before the fini of pool and jobs. */
void mm_stager_fini(struct mm_stager *stager);

/* Has this run arrays that must be copied? Never, where workers may read the program's memory. */
bool mm_stager_wants(const struct mm_stager *stager, const struct mm_run *run);
/* Are all slots of the board promised to maps that are being copied? */
bool mm_stager_is_full(const struct mm_stager *stager);
/* Takes room and begins to copy; a run that is waited for is copied at once and put on the board. 0: it is reported when
 * it has ended. ENOMEM; ESYSTEM: no thread; EARGS, of a run that is waited for: an array is not there. */
int mm_stager_begin(struct mm_stager *stager, struct mm_run *run, mamuto_error_t *err);
/* The stage of a run, be it the caller's or the copy; NULL: it has none. */
struct mm_stage *mm_stager_find(const struct mm_stager *stager, const struct mm_run *run);
/* Goes on with what can go on: to be called when the pool's eventfd says so, when memory has come back, and now and then
 * while there is a stage. Reports. */
void mm_stager_go_on(struct mm_stager *stager);
/* The workers are gone for good: reports all with EHOST. */
void mm_stager_lose(struct mm_stager *stager, const mamuto_error_t *err);

/* The map of its copy has ended so, and is off the board. It is reported now, or after its result was copied back. */
void mm_stage_finish(struct mm_stager *stager, struct mm_stage *stage, int status, uint64_t failed,
                     const mamuto_error_t *err);
/* Ends one that is not on the board with ECANCELED; reported by mm_stager_go_on, soon. */
void mm_stage_cancel(struct mm_stager *stager, struct mm_stage *stage);

#endif
