/* The node of this machine, as the files know it that make it: node_shm.c, node_calls.c, node_arrays.c. */
#ifndef MM_SHM_NODE_SHM_H
#define MM_SHM_NODE_SHM_H

#include "core/node.h"
#include "shm/jobs.h"
#include "shm/keep.h"
#include "shm/loop_output.h"
#include "shm/loop_watch.h"
#include "shm/stage.h"

enum mm_node_shm_state { STARTING, UP, RESTARTING, LOST, CLOSING };

struct mm_node {
    enum mm_node_shm_state state;
    struct mm_pool pool;
    struct mm_jobs jobs;
    struct mm_stager stager;
    struct mm_keeper keeper;
    uv_loop_t *loop;
    const struct mm_node_events *events;
    void *owner;
    struct mm_loop_watch *control, *event, *life;
    struct mm_outputs outputs;
    uv_timer_t timer;  /* while a map is stopping or copied, a sweep was put off, or processes are to leave */
    unsigned tick_ms;  /* its period, 0: it is off */
    uint64_t leave_ns; /* since when they are to leave */
    uint32_t n_functions[MM_MAX_MODULES];
    bool loading[MM_MAX_MODULES]; /* on_loaded is owed */
    uint32_t restarts;            /* since a map has ended */
    char reason[512];             /* why it is RESTARTING or LOST */
};

/* Of the operations, those that only tell, or give back: node_calls.c. */
uint64_t mm_node_shm_give_back(struct mm_node *node, struct mm_run *run, uint64_t want, uint64_t *first);
int mm_node_shm_workers(const struct mm_node *node);
void mm_node_shm_progress(struct mm_node *node, const struct mm_run *run, uint64_t *done, uint64_t *failed);
bool mm_node_shm_spans(struct mm_node *node, const struct mm_run *run);
void mm_node_shm_describe(struct mm_node *node, struct mm_node_state *state);

/* Of the operations, those of memory: node_arrays.c. */
void *mm_node_shm_alloc(struct mm_node *node, size_t bytes, mamuto_error_t *err);
void *mm_node_shm_reserve(struct mm_node *node, size_t bytes, mamuto_error_t *err);
void mm_node_shm_settle(struct mm_node *node, void *p);
void mm_node_shm_free(struct mm_node *node, void *p);
uint64_t mm_node_shm_array_bytes(const struct mm_node *node, const void *p);
int mm_node_shm_attach(struct mm_node *node, int fd, int64_t offset, size_t bytes, const void **p, mamuto_error_t *err);
int mm_node_shm_keep(struct mm_node *node, struct mm_keep *keep, mamuto_error_t *err);
void mm_node_shm_cancel_keep(struct mm_node *node, struct mm_keep *keep);
void mm_node_shm_drop(struct mm_node *node, struct mm_keep *keep);

#endif
