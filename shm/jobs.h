/* Maps on the board, as their owner sees them: put there, watched, swept after deaths, taken off. */
#ifndef MM_SHM_JOBS_H
#define MM_SHM_JOBS_H

#include "core/run.h"
#include "shm/pool.h"
#include "shm/room.h"
#include "shm/run.h"

/* From map.first to the end of map.out. */
enum { MM_SHAPE_BYTES = offsetof(struct mm_board_map, in) - offsetof(struct mm_board_map, first) };

/* One slot of the board. */
struct mm_job {
    struct mm_run *run; /* NULL: free */
    uint64_t gen;
    bool saw_death;
    bool stopping; /* no lane claims any more; ends when none is in it */
    int status;    /* why it stops, 0: the records say */
    uint64_t stop_ns;
    char shape[MM_SHAPE_BYTES]; /* the slot's constants, for it lies where a worker's stray write may hit it */
    uint32_t deaths;            /* since an item was settled */
    uint64_t progress;
    uint64_t given, given_items; /* taken back from it: items of the run, and those of the call that it would settle */
};

/* What a function's items have cost. */
struct mm_cost {
    double item_ticks; /* 0: not known */
    size_t item_bytes; /* that it was measured with */
    struct mm_emitted emitted;
};

struct mm_record_list {
    const struct mm_record *at[MM_MAX_RECORDS + MM_MAX_LANES];
    uint32_t n;
};

struct mm_jobs {
    struct mm_pool *pool;
    struct mm_job slots[MM_MAX_MAPS];
    uint64_t used;
    uint64_t reusable;                          /* slots that are known to be */
    struct mm_cost (*costs[MM_MAX_MODULES])[2]; /* by function index; as itself, in runs over groups */
    uint32_t n_costs[MM_MAX_MODULES];
    struct mm_cost op_costs[MM_N_OPS];   /* of what needs no function */
    bool dead[MM_MAX_LANES];             /* known to be, and not yet forked again */
    struct mm_death later[MM_MAX_LANES]; /* deaths whose sweep was put off */
    uint32_t n_later;
    struct mm_record_list records; /* of the map that is being reported: 8 KB that no caller's stack has to hold */
    uint32_t fork_failures;        /* in a row, while no worker is up */
    uint64_t items, busy_ticks;    /* of all maps that have left the board: shm/account.c */
    uint64_t up_ns;                /* since when the workers are up; 0: they are not */
    /* of a caller that waits: shm/caller.c */
    struct mm_runner caller;
    const mamuto_module_t *own; /* the program's functions, or NULL */
    int most_spinning_callers;
    uint32_t spin_off, spin_off_for; /* waits for which spinning is off, and was the last time */
    struct mm_view view;
    struct mm_loaded loaded[MM_MAX_MODULES];
};

/* The slot of a job, its constants put right if a worker has damaged them. */
struct mm_board_map *mm_job_map(struct mm_jobs *jobs, const struct mm_job *job);

enum mm_job_state { MM_JOB_RUNS, MM_JOB_ENDED };

void mm_jobs_init(struct mm_jobs *jobs, struct mm_pool *pool, const mamuto_module_t *own);
void mm_jobs_fini(struct mm_jobs *jobs);

/* A module's functions are known: room for their costs. ENOMEM. */
int mm_jobs_add_module(struct mm_jobs *jobs, uint32_t module, uint32_t n_functions, const char *path, uint64_t mark,
                       mamuto_error_t *err);
/* Puts a run on the board and wakes workers. MM_NODE_FULL: no slot is free; EARGS: an array is partly not of this pool,
 * or the result is in a file. */
int mm_jobs_submit(struct mm_jobs *jobs, struct mm_run *run, mamuto_error_t *err);
/* No lane claims for it any more; status: why. */
void mm_jobs_stop(struct mm_jobs *jobs, struct mm_job *job, int status);
/* Looks whether it has ended; kills workers that hold a stopped one for more than 100 ms. */
enum mm_job_state mm_jobs_check(struct mm_jobs *jobs, struct mm_job *job);
/* Its outcome, when it has ended: 0 or a code with its sentence; failed items; calls each (sorted) for its failures. */
int mm_jobs_result(struct mm_jobs *jobs, struct mm_job *job, uint64_t *failed, mamuto_error_t *err,
                   void (*each)(void *context, const mamuto_error_t *err), void *context);
/* Takes it off the board. */
void mm_jobs_remove(struct mm_jobs *jobs, struct mm_job *job);
/* A worker has died: sweeps all jobs, has the lane forked anew. later: what could not be swept yet stays in jobs. */
void mm_jobs_on_death(struct mm_jobs *jobs, const struct mm_death *death);
void mm_jobs_sweep_later(struct mm_jobs *jobs);
/* The fork server and all workers are gone: everything that they held is returned. */
void mm_jobs_on_all_dead(struct mm_jobs *jobs);
/* How the caller waits: what workers linger for. */
void mm_jobs_set_caller(struct mm_jobs *jobs, enum mm_caller caller);
/* How long a map of so much work takes while its caller spins, and so has a CPU for itself. */
double mm_spin_us(const struct mm_board *board, double work_us);
/* The caller works and spins for a job; true: it has worked for a while, and there is more. See core/node.h. */
bool mm_jobs_assist(struct mm_jobs *jobs, struct mm_job *job);
int mm_jobs_prepare_help(struct mm_jobs *jobs, uint32_t module, mamuto_error_t *err);

#endif
