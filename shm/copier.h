/* Copies between private arrays and the arena: by a thread of its own, or by a caller that waits. */
#ifndef MM_SHM_COPIER_H
#define MM_SHM_COPIER_H

#include "shm/arena.h"

#include <pthread.h>

/* One array. */
struct mm_copy {
    char *to;
    const char *from; /* NULL: nothing to copy, the pages of `to` alone are taken */
    uint64_t bytes;   /* 1 or more; without what lies between items */
    int argument;     /* the caller's: which one it is */
    uint64_t size;    /* of an item, where they lie apart on one side; 0: they do not */
    ptrdiff_t to_stride, from_stride;
};

/* The arrays of one map, in one direction. It belongs to the copier from push until it comes back by take. */
struct mm_copy_job {
    void *owner;
    struct mm_copy copies[2 * MAMUTO_MAX_ARGS + 1]; /* an argument may have offsets */
    struct mm_copy_job *behind;                     /* in a queue */
    uint64_t done;                                  /* bytes of the copy that goes on, */
    int at;                                         /* which is this one */
    int n_copies;
    int failure;     /* out: 0; MAMUTO_EARGS: copies[at]'s private side is not there; MAMUTO_ENOMEM: no pages for it */
    bool canceled;   /* out */
    bool into_arena; /* the private side is read; else it is written */
    bool cold;       /* the arena side has no pages yet */
    bool look;       /* at every page of the private side before it is touched: takes half as long as copying */
};

struct mm_copy_queue {
    struct mm_copy_job *first, *last;
};

struct mm_copier {
    const struct mm_arena *arena;
    int event;      /* eventfd: a job has come back */
    bool can_check; /* this kernel can say whether a page is readable */
    bool has_thread;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows, and the jobs in it */
    pthread_cond_t work;
    struct mm_copy_queue queued, copied;
    bool leave;
};

void mm_copier_init(struct mm_copier *copier, const struct mm_arena *arena, int event);
/* No piece is begun any more, so no job comes back; returns at once. */
void mm_copier_stop(struct mm_copier *copier);
/* Stops, and waits for the piece of 1 MiB that is being copied: then all jobs are their owners' again. */
void mm_copier_join(struct mm_copier *copier);
void mm_copier_fini(struct mm_copier *copier);

/* Copies now. Before: at, done, failure and canceled are 0, here and in push. */
void mm_copier_run(const struct mm_copier *copier, struct mm_copy_job *job);
/* Starts the thread, if it does not run yet. ESYSTEM. */
int mm_copier_start(struct mm_copier *copier, mamuto_error_t *err);
/* Has the thread copy; a piece of each job in turn. */
void mm_copier_push(struct mm_copier *copier, struct mm_copy_job *job);
/* A pushed job that is not taken yet is given up: it comes back soon, with canceled set, even if all was copied. */
void mm_copier_cancel(struct mm_copier *copier, struct mm_copy_job *job);
/* A job that has come back, or NULL. */
struct mm_copy_job *mm_copier_take(struct mm_copier *copier);

#endif
