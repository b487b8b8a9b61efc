/* What one node keeps: the copies of kept arrays in the arena, and their making. */
#ifndef MM_SHM_KEEP_H
#define MM_SHM_KEEP_H

#include "core/run.h"
#include "shm/copier.h"
#include "shm/pool.h"

enum mm_keeping_state {
    MM_KEEPING_NO_ROOM, /* arena memory is on its way back */
    MM_KEEPING_COPYING, /* queued for it, or at it */
    MM_KEEPING_OVER,    /* status and err are the outcome */
};

/* One copy that is being made. */
struct mm_keeping {
    struct mm_keep *keep; /* its job is this, and the room when it is kept */
    enum mm_keeping_state state;
    int status;
    mamuto_error_t err;
    char *room;                 /* in the arena; NULL: none yet */
    uint64_t bytes, offsets_at; /* of the room; where offsets begin in it */
    struct mm_copy_job job;
    struct mm_keeping *next; /* in the order of their coming */
};

/* on_kept of core/node.h. */
typedef void mm_keep_report(void *context, struct mm_keep *keep, int status, const mamuto_error_t *err);

/* All of them in one node. */
struct mm_keeper {
    struct mm_pool *pool;
    struct mm_copier copier;
    struct mm_keeping *first, *last; /* in flight */
    mm_keep_report *report;
    void *context;
};

void mm_keeper_init(struct mm_keeper *keeper, struct mm_pool *pool, mm_keep_report *report, void *context);
/* Nothing is copied any more, but for a piece that is being copied; returns at once. */
void mm_keeper_stop(struct mm_keeper *keeper);
/* Waits for that piece, and frees what is in flight; before the fini of the pool. */
void mm_keeper_fini(struct mm_keeper *keeper);

/* Takes room and begins to copy; where somebody waits for it, copies. 0: it is reported later, by mm_keeper_go_on.
 * ENOMEM: no heap for it; ESYSTEM: no thread. */
int mm_keeper_begin(struct mm_keeper *keeper, struct mm_keep *keep, mamuto_error_t *err);
/* Gives it up, if it is in flight; reported by mm_keeper_go_on. */
void mm_keeper_cancel(struct mm_keeper *keeper, struct mm_keep *keep);
/* Gives back the memory of what is kept. */
void mm_keeper_drop(struct mm_keeper *keeper, struct mm_keep *keep);
/* Reports what is over: to be called when the pool's eventfd says so, and when memory has come back. */
void mm_keeper_go_on(struct mm_keeper *keeper);
/* The workers are gone for good: reports all in flight with EHOST. */
void mm_keeper_lose(struct mm_keeper *keeper, const mamuto_error_t *err);

#endif
