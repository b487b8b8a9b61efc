/* The node of this machine, as its two files see it: shm/node_shm.c (operations and maps) and shm/node_life.c (watches,
 * timer, what becomes of the processes). */
#ifndef MM_SHM_NODE_SHM_H
#define MM_SHM_NODE_SHM_H

#include "core/node.h"
#include "shm/jobs.h"
#include "shm/keep.h"
#include "shm/stage.h"

enum mm_node_state { MM_NODE_STARTING, MM_NODE_UP, MM_NODE_RESTARTING, MM_NODE_LOST, MM_NODE_CLOSING };

struct mm_node_watch {
    uv_poll_t poll;
    struct mm_node *node;
};

struct mm_node {
    enum mm_node_state state;
    struct mm_pool pool;
    struct mm_jobs jobs;
    struct mm_stager stager;
    struct mm_keeper keeper;
    uv_loop_t *loop;
    const struct mm_node_events *events;
    void *owner;
    struct mm_node_watch *control, *event, *life;
    uv_timer_t
        timer; /* while a map is stopping or copied, an array kept, a sweep was put off, or processes are to leave */
    uint64_t leave_ns; /* since when they are to leave */
    uint32_t n_functions[MM_MAX_MODULES];
    bool loading[MM_MAX_MODULES]; /* on_loaded is owed */
    uint32_t restarts;            /* since a map has ended */
};

/* node_life.c */
/* Watches a descriptor for reading; unreferenced. ENOMEM, ESYSTEM. */
int mm_node_watch_fd(struct mm_node *node, struct mm_node_watch **watch, int fd, uv_poll_cb on_ready,
                     mamuto_error_t *err);
void mm_node_unwatch(struct mm_node_watch **watch);
struct mm_node *mm_node_of(uv_poll_t *poll);
void mm_node_set_timer(struct mm_node *node); /* runs while something needs to be looked at now and then */
int mm_node_start(struct mm_node *node, mamuto_error_t *err); /* the processes */
void mm_node_take_down(struct mm_node *node);                 /* no process is left: frees all, then on_closed */

/* node_shm.c */
void mm_node_check_all(struct mm_node *node); /* what may have ended */

#endif
