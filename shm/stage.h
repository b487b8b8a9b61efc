/* Private arrays where process_vm_readv is denied: copied into the arena, mapped there, the result copied back. */
#ifndef MM_SHM_STAGE_H
#define MM_SHM_STAGE_H

#include "core/run.h"
#include "shm/pool.h"

#include <pthread.h>

enum mm_stage_state {
    MM_STAGE_NO_ROOM,     /* arena memory that others have is on its way back */
    MM_STAGE_COPYING_IN,  /* queued for it, or at it */
    MM_STAGE_READY,       /* copied; to be put on the board */
    MM_STAGE_RUNNING,     /* on the board */
    MM_STAGE_COPYING_OUT, /* queued for it, or at it */
    MM_STAGE_OVER,        /* status, failed and err are the outcome */
};

struct mm_stage_copy {
    char *to;
    const char *from; /* NULL: nothing to copy, the pages alone are taken */
    uint64_t bytes;
    int argument; /* -1: the result */
};

/* One map whose arrays are copied. */
struct mm_stage {
    struct mm_run *run; /* the caller's */
    struct mm_run copy; /* what runs: the same with its private arrays in the arena */
    enum mm_stage_state state;
    int status;
    uint64_t failed;
    mamuto_error_t err;
    char *room; /* in the arena; NULL: none yet */
    uint64_t bytes;
    bool cold; /* the room's pages are not all there */
    struct mm_stage *next; /* in the order of their coming */
    /* of whoever copies, or under the mutex */
    struct mm_stage_copy copies[MAMUTO_MAX_ARGS + 1];
    int n_copies, at;  /* at: the copy that goes on */
    uint64_t done;     /* bytes of it */
    int failure;       /* MAMUTO_EARGS or MAMUTO_ENOMEM, at copies[at] */
    bool canceled;
    struct mm_stage *behind; /* in a queue */
};

struct mm_stage_queue {
    struct mm_stage *first, *last;
};

/* All of them in one node, and the thread that copies. */
struct mm_stager {
    struct mm_pool *pool;
    struct mm_stage *first, *last; /* in flight */
    bool can_check;                /* this kernel can say whether memory is readable */
    bool has_thread;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t work;
    struct mm_stage_queue queued, copied;
    bool leave;
};

void mm_stager_init(struct mm_stager *stager, struct mm_pool *pool);
/* No copy begins any more. The one that runs ends within its piece of 1 MiB: mm_stager_join waits for that. */
void mm_stager_stop(struct mm_stager *stager);
void mm_stager_join(struct mm_stager *stager);
/* Joins, and frees all that is in flight; before the pool's own fini. */
void mm_stager_fini(struct mm_stager *stager);

/* Has this run arrays that must be copied? Where workers may read the program's memory, never. */
bool mm_stager_wants(const struct mm_stager *stager, const struct mm_run *run);
/* Takes room and begins to copy; a run that is waited for is copied at once, by the caller. 0: *stage, which stays until
 * mm_stage_free. ENOMEM; ESYSTEM: no thread; EARGS, of a run that is waited for: an array is not readable. */
int mm_stager_begin(struct mm_stager *stager, struct mm_run *run, struct mm_stage **stage, mamuto_error_t *err);
/* The stage of a run, the caller's or the copy's; NULL: it has none. */
struct mm_stage *mm_stager_find(const struct mm_stager *stager, const struct mm_run *run);
/* Maps that will want a slot of the board, or may be waiting for one. */
unsigned mm_stager_coming(const struct mm_stager *stager);
/* What is to be gone on with: one that is OVER, else one that is READY, else NULL. The pool's eventfd says when to look. */
struct mm_stage *mm_stager_next(struct mm_stager *stager);

/* READY: it is on the board now. */
void mm_stage_started(struct mm_stage *stage);
/* RUNNING: its map has ended so. The result is copied back, unless it counts for nothing; then it is OVER. */
void mm_stage_ran(struct mm_stager *stager, struct mm_stage *stage, int status, uint64_t failed,
                  const mamuto_error_t *err);
/* Ends it with ECANCELED; one that is RUNNING or OVER is left alone. mm_stager_next has it next, or soon. */
void mm_stage_cancel(struct mm_stager *stager, struct mm_stage *stage);
/* Frees it and its room. Nobody copies for it: it is OVER, READY or RUNNING, or the stager was joined. */
void mm_stage_free(struct mm_stager *stager, struct mm_stage *stage);

#endif
