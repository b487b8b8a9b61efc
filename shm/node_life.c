/* The node of this machine, its other half: what is watched on the loop, and what becomes of the processes.
 *
 *   STARTING ── all workers up ──► UP ◄── server started anew ── RESTARTING
 *       │                          └── its socket ended ──────────►─┘ │
 *       └── it died ──► LOST ◄──────────────── died again and again ──┘        any ── close ──► CLOSING ── life ended ──► gone
 *
 * Three descriptors are watched: the eventfd (a map may have ended), the control socket (deaths, modules), the life pipe
 * (all processes are gone). Watches are heap objects of their own, since a handle lives until its close callback. All
 * are unreferenced: what keeps the loop alive is core's business. Called by shm/node_shm.c and from the loop.
 */
#include "shm/node_shm.h"

#include "core/alloc.h"
#include "shm/clock.h"

enum { TICK_MS = 20, FORCE_AFTER_MS = 1000, GIVE_UP_AFTER_MS = 2000, RESTARTS = 3 };

/* --- watches --------------------------------------------------------------------------------------------------- */

static void free_watch(uv_handle_t *handle) { mm_free(handle->data); }

void mm_node_unwatch(struct mm_node_watch **watch)
{
    if (*watch)
        uv_close((uv_handle_t *)&(*watch)->poll, free_watch);
    *watch = NULL;
}

int mm_node_watch_fd(struct mm_node *node, struct mm_node_watch **watch, int fd, uv_poll_cb on_ready,
                     mamuto_error_t *err)
{
    struct mm_node_watch *fresh = mm_alloc(sizeof *fresh);
    if (!fresh)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for a handle");
    fresh->node = node;
    int code = uv_poll_init(node->loop, &fresh->poll, fd);
    if (code) {
        mm_free(fresh);
        return mm_error_set(err, MAMUTO_ESYSTEM, "cannot watch a descriptor: %s", uv_strerror(code));
    }
    fresh->poll.data = fresh;
    *watch = fresh;
    uv_poll_start(&fresh->poll, UV_READABLE, on_ready);
    uv_unref((uv_handle_t *)&fresh->poll);
    return 0;
}

struct mm_node *mm_node_of(uv_poll_t *poll) { return ((struct mm_node_watch *)poll->data)->node; }

/* --- the timer ---------------------------------------------------------------------------------------------------- */

static void on_tick(uv_timer_t *timer);

static bool needs_ticks(const struct mm_node *node)
{
    bool needed = node->jobs.n_later > 0 || node->leave_ns || node->stager.first || node->keeper.first;
    for (uint64_t used = node->jobs.used; used && !needed; used &= used - 1)
        needed = node->jobs.slots[__builtin_ctzll(used)].stopping;
    return needed;
}

void mm_node_set_timer(struct mm_node *node)
{
    if (!needs_ticks(node))
        uv_timer_stop(&node->timer);
    else if (!uv_is_active((uv_handle_t *)&node->timer))
        uv_timer_start(&node->timer, on_tick, TICK_MS, TICK_MS);
}

/* --- life and death of the processes ---------------------------------------------------------------------------- */

static void give_up_control(struct mm_node *node, bool force)
{
    mm_node_unwatch(&node->control);
    mm_pool_stop(&node->pool, force);
    node->leave_ns = mm_now_ns();
    mm_node_set_timer(node);
}

static void on_control(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct mm_node *node = mm_node_of(poll);
    if (!mm_pool_on_control(&node->pool) || status < 0) {
        if (node->state == MM_NODE_UP)
            node->state = MM_NODE_RESTARTING;
        give_up_control(node, false);
    }
    if (node->state != MM_NODE_CLOSING)
        mm_node_check_all(node);
}

static void on_life(uv_poll_t *poll, int status, int events);

int mm_node_start(struct mm_node *node, mamuto_error_t *err)
{
    int code = mm_pool_start(&node->pool, err);
    if (node->pool.life >= 0 && !code)
        code = mm_node_watch_fd(node, &node->life, node->pool.life, on_life, err);
    if (node->pool.control >= 0 && !code)
        code = mm_node_watch_fd(node, &node->control, node->pool.control, on_control, err);
    return code;
}

static void lose(struct mm_node *node, const mamuto_error_t *err)
{
    bool was_up = node->state != MM_NODE_STARTING;
    node->state = MM_NODE_LOST;
    for (unsigned slot = 0; slot < MM_MAX_MAPS; slot++) {
        struct mm_job *job = &node->jobs.slots[slot];
        if (!job->run)
            continue;
        struct mm_run *map = job->run;
        mm_jobs_remove(&node->jobs, job);
        if (!mm_stager_find(&node->stager, map))
            node->events->on_ran(node->owner, map, MAMUTO_EHOST, 0, err);
    }
    mm_stager_lose(&node->stager, err);
    mm_keeper_lose(&node->keeper, err);
    if (was_up)
        node->events->on_lost(node->owner, err);
    else
        node->events->on_up(node->owner, err->code, err);
}

/* The process that was to load them is gone. */
static void fail_loads(struct mm_node *node)
{
    for (uint32_t i = 0; i < MM_MAX_MODULES; i++) {
        mamuto_error_t err = { 0 };
        if (!node->loading[i])
            continue;
        node->loading[i] = false;
        mm_error_set(&err, MAMUTO_EHOST, "the process that loads modules was killed meanwhile: load it again");
        node->events->on_loaded(node->owner, i, err.code, &err);
    }
}

static void restart(struct mm_node *node)
{
    mamuto_error_t err = { 0 };
    fail_loads(node);
    mm_jobs_on_all_dead(&node->jobs);
    if (node->state == MM_NODE_STARTING)
        mm_error_set(&err, MAMUTO_EHOST, "the helper program that forks the workers died while it started");
    else if (++node->restarts > RESTARTS)
        mm_error_set(&err, MAMUTO_EHOST, "the process that forks the workers died %d times in a row", RESTARTS + 1);
    else if (mm_node_start(node, &err) == 0) {
        node->state = MM_NODE_UP;
        mm_node_check_all(node);
        return;
    }
    lose(node, &err);
}

static void on_timer_closed(uv_handle_t *timer)
{
    struct mm_node *node = timer->data;
    const struct mm_node_events *events = node->events;
    void *owner = node->owner;
    mm_free(node);
    events->on_closed(owner);
}

void mm_node_take_down(struct mm_node *node)
{
    mm_node_unwatch(&node->control);
    mm_node_unwatch(&node->event);
    mm_node_unwatch(&node->life);
    mm_jobs_fini(&node->jobs);
    mm_stager_fini(&node->stager);
    mm_keeper_fini(&node->keeper);
    mm_pool_fini(&node->pool);
    uv_close((uv_handle_t *)&node->timer, on_timer_closed);
}

/* No process of the pool is left. */
static void on_all_gone(struct mm_node *node)
{
    mm_node_unwatch(&node->life);
    mm_pool_close_life(&node->pool);
    if (node->control) /* what it said before it died */
        mm_pool_on_control(&node->pool);
    mm_node_unwatch(&node->control);
    mm_pool_stop(&node->pool, false);
    node->leave_ns = 0;
    if (node->state == MM_NODE_CLOSING)
        mm_node_take_down(node);
    else if (node->state != MM_NODE_LOST)
        restart(node);
}

static void on_life(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct mm_node *node = mm_node_of(poll);
    if (node->life && mm_pool_on_life(&node->pool))
        on_all_gone(node);
}

static void on_tick(uv_timer_t *timer)
{
    struct mm_node *node = timer->data;
    uint64_t left_for_ms = node->leave_ns ? (mm_now_ns() - node->leave_ns) / 1000000 : 0;
    if (left_for_ms > FORCE_AFTER_MS)
        mm_pool_stop(&node->pool, true);
    if (left_for_ms > GIVE_UP_AFTER_MS && mm_pool_server_is_gone(&node->pool)) {
        on_all_gone(node);
        return;
    }
    if (node->state == MM_NODE_CLOSING)
        return;
    mm_jobs_sweep_later(&node->jobs);
    mm_node_check_all(node);
}
