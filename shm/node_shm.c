/* The node of this machine: ties pool and jobs to the caller's libuv loop. With loop_watch.c the only
 * file of shm/ that knows a loop; what only tells something is in node_calls.c, memory in
 * node_arrays.c.
 *
 *   STARTING ── all workers up ──► UP ◄── server started anew ── RESTARTING
 *       │                          └── its socket ended ──────────►─┘ │
 *       └── it died ──► LOST ◄──────────────── died again and again ──┘        any ── close ──► CLOSING ── life ended ──► gone
 *
 * Three descriptors are watched: the eventfd (a map may have ended), the control socket (deaths, modules), the life pipe
 * (all processes are gone). All are unreferenced: what keeps the loop alive is core's business. No event is called from
 * inside an operation.
 */
#include "core/alloc.h"
#include "core/cpus.h"
#include "core/program.h"
#include "shm/clock.h"
#include "shm/loop_watch.h"
#include "shm/node_shm.h"
#include "shm/park.h"
#include "shm/spans.h"

#include <stdio.h>

enum { TICK_MS = 20, STOPPING_TICK_MS = 2, FORCE_AFTER_MS = 1000, GIVE_UP_AFTER_MS = 2000, RESTARTS = 3 };

static struct mm_node *node_of(uv_poll_t *poll) { return ((struct mm_loop_watch *)poll->data)->owner; }

/* --- maps ------------------------------------------------------------------------------------------------------ */

struct report {
    struct mm_node *node;
    struct mm_run *run;
};

static void report_item(void *context, const mamuto_error_t *err)
{
    struct report *report = context;
    report->node->events->on_item_error(report->node->owner, report->run, err);
}

static void report_ran(void *context, struct mm_run *run, int status, uint64_t failed, const mamuto_error_t *err)
{
    struct mm_node *node = context;
    node->events->on_ran(node->owner, run, status, failed, err);
}

static void report_kept(void *context, struct mm_keep *keep, int status, const mamuto_error_t *err)
{
    struct mm_node *node = context;
    node->events->on_kept(node->owner, keep, status, err);
}

static void finish(struct mm_node *node, struct mm_job *job)
{
    mamuto_error_t err; /* large: its code alone says whether it is filled */
    uint64_t failed;
    struct mm_run *run = job->run;
    struct mm_stage *stage = mm_stager_find(&node->stager, run);
    err.code = 0;
    struct report report = { node, stage ? stage->run : run };
    mm_outputs_drain(&node->outputs); /* what its items have printed comes before its end */
    int status = mm_jobs_result(&node->jobs, job, &failed, &err, report_item, &report);
    mm_spans_finish(&node->jobs, job);
    mm_jobs_remove(&node->jobs, job);
    node->restarts = 0;
    if (stage)
        mm_stage_finish(&node->stager, stage, status, failed, &err);
    else
        report_ran(node, run, status, failed, &err);
}

static void on_tick(uv_timer_t *timer);

/* How often it is to be looked at by itself; 0: not at all. */
static unsigned tick_ms(const struct mm_node *node)
{
    bool needed = node->jobs.n_later > 0 || node->leave_ns || node->stager.first;
    for (uint64_t used = node->jobs.used; used; used &= used - 1)
        if (node->jobs.slots[__builtin_ctzll(used)].stopping)
            return STOPPING_TICK_MS;
    return needed ? TICK_MS : 0;
}

static void set_timer(struct mm_node *node)
{
    unsigned ms = tick_ms(node);
    if (ms == node->tick_ms)
        return;
    node->tick_ms = ms;
    if (ms)
        uv_timer_start(&node->timer, on_tick, ms, ms);
    else
        uv_timer_stop(&node->timer);
}

/* Looks at every map, having said before that it is about to sleep. */
static void check_all(struct mm_node *node)
{
    mm_master_parks(node->pool.board);
    for (uint64_t used = node->jobs.used; used; used &= used - 1) {
        struct mm_job *job = &node->jobs.slots[__builtin_ctzll(used)];
        if (node->state != CLOSING && job->run && mm_jobs_check(&node->jobs, job) == MM_JOB_ENDED)
            finish(node, job);
    }
    if (node->state == CLOSING)
        return;
    mm_stager_go_on(&node->stager);
    mm_keeper_go_on(&node->keeper);
    set_timer(node);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct mm_node *node = node_of(poll);
    mm_pool_on_event(&node->pool);
    check_all(node);
}

static int run(struct mm_node *node, struct mm_run *map, mamuto_error_t *err)
{
    if (node->state == LOST || node->state == CLOSING)
        return mm_error_set(err, MAMUTO_EHOST, "the workers of this machine are gone");
    if (mm_stager_is_full(&node->stager))
        return MM_NODE_FULL;
    if (!mm_stager_wants(&node->stager, map))
        return mm_jobs_submit(&node->jobs, map, err);
    int code = mm_stager_begin(&node->stager, map, err);
    if (code == 0)
        set_timer(node);
    return code;
}

static void cancel(struct mm_node *node, struct mm_run *map)
{
    struct mm_stage *stage = mm_stager_find(&node->stager, map);
    if (node->state == CLOSING) /* which ends it anyway */
        return;
    if (map->job)
        mm_jobs_stop(&node->jobs, map->job, MAMUTO_ECANCELED);
    else if (stage)
        mm_stage_cancel(&node->stager, stage);
    else
        return;
    uint64_t one = 1; /* looked at from the loop, not from here */
    if (write(node->pool.event, &one, sizeof one) < 0)
        set_timer(node);
    set_timer(node);
}

static bool assist(struct mm_node *node, struct mm_run *map)
{
    if (!map->job) /* it waits for memory or a slot */
        return false;
    struct mm_job *job = map->job;
    _Atomic uint32_t *polling = &node->pool.board->polling; /* workers read it: written only where it changes */
    if (node->jobs.used == UINT64_C(1) << mm_map_slot(job->gen) && atomic_load_explicit(polling, memory_order_relaxed))
        atomic_store(polling, 0);
    bool more = mm_jobs_assist(&node->jobs, job);
    if (mm_jobs_check(&node->jobs, job) == MM_JOB_ENDED) {
        finish(node, job);
        return false;
    }
    check_all(node);
    return more;
}

static int prepare_help(struct mm_node *node, uint32_t module, mamuto_error_t *err)
{
    return mm_jobs_prepare_help(&node->jobs, module, err);
}

/* --- what the pool tells --------------------------------------------------------------------------------------- */

static void on_up(void *owner, int status, const mamuto_error_t *err)
{
    struct mm_node *node = owner;
    if (node->state != STARTING)
        return;
    node->state = status ? LOST : UP;
    node->jobs.up_ns = mm_now_ns();
    if (status)
        snprintf(node->reason, sizeof node->reason, "%s", err->text);
    node->events->on_up(node->owner, status, err);
}

static void on_function(void *owner, const struct mm_message *message)
{
    struct mm_node *node = owner;
    size_t at = 0;
    const char *name = mm_message_next(message, &at), *signature = mm_message_next(message, &at);
    const char *doc = mm_message_next(message, &at);
    if (message->id >= MM_MAX_MODULES || !doc)
        return;
    node->n_functions[message->id]++;
    node->events->on_function(node->owner, message->id, name, signature, *doc ? doc : NULL, (int)message->a,
                              (int)message->b);
}

static void on_loaded(void *owner, const struct mm_message *message)
{
    struct mm_node *node = owner;
    mamuto_error_t err = { 0 };
    size_t at = 0;
    const char *text = mm_message_next(message, &at), *file = mm_message_next(message, &at);
    uint32_t module = message->id;
    if (module >= MM_MAX_MODULES || !file || !node->loading[module])
        return;
    node->loading[module] = false;
    int code = (int)message->a;
    if (code) {
        mm_error_set(&err, code, "%s", text);
        err.line = (int)message->b;
        strncpy(err.file, file, sizeof err.file - 1);
    } else
        code = mm_jobs_add_module(&node->jobs, module, node->n_functions[module], text, (uint64_t)message->b, &err);
    node->n_functions[module] = 0;
    node->events->on_loaded(node->owner, module, code, &err);
}

static void on_death(void *owner, const struct mm_death *death)
{
    struct mm_node *node = owner;
    mm_outputs_end_worker(&node->outputs, death->lane);
    mm_jobs_on_death(&node->jobs, death);
}

static int on_output(void *owner, uint32_t lane, int fd, int pipe, mamuto_error_t *err)
{
    struct mm_node *node = owner;
    return mm_outputs_add(&node->outputs, lane, fd, pipe, err);
}

static const struct mm_pool_events pool_events = { on_up, on_function, on_loaded, on_death, on_output };

/* --- life and death of the processes ---------------------------------------------------------------------------- */

static void give_up_control(struct mm_node *node, bool force)
{
    mm_loop_unwatch(&node->control);
    mm_pool_stop(&node->pool, force);
    node->leave_ns = mm_now_ns();
    set_timer(node);
}

/* Its workers are gone, or are going; others will be forked. */
static void set_restarting(struct mm_node *node)
{
    if (node->state != UP)
        return;
    node->state = RESTARTING;
    snprintf(node->reason, sizeof node->reason, "the process that forks the workers died; it is started anew");
    node->events->on_state(node->owner);
}

static void on_control(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct mm_node *node = node_of(poll);
    if (!mm_pool_on_control(&node->pool) || status < 0) {
        give_up_control(node, false);
        set_restarting(node);
    }
    if (node->state != CLOSING)
        check_all(node);
}

static void on_life(uv_poll_t *poll, int status, int events);

static int start(struct mm_node *node, mamuto_error_t *err)
{
    int code = mm_pool_start(&node->pool, err);
    if (node->pool.life >= 0 && !code)
        code = mm_loop_watch_fd(node->loop, node, &node->life, node->pool.life, on_life, err);
    if (node->pool.control >= 0 && !code)
        code = mm_loop_watch_fd(node->loop, node, &node->control, node->pool.control, on_control, err);
    return code;
}

static void lose(struct mm_node *node, const mamuto_error_t *err)
{
    bool was_up = node->state != STARTING;
    node->state = LOST;
    snprintf(node->reason, sizeof node->reason, "%s", err->text);
    for (unsigned slot = 0; slot < MM_MAX_MAPS; slot++) {
        struct mm_job *job = &node->jobs.slots[slot];
        if (!job->run)
            continue;
        struct mm_run *map = job->run;
        mm_spans_finish(&node->jobs, job);
        mm_jobs_remove(&node->jobs, job);
        if (!mm_stager_find(&node->stager, map))
            node->events->on_ran(node->owner, map, MAMUTO_EHOST, 0, err);
    }
    mm_stager_lose(&node->stager, err);
    mm_keeper_lose(&node->keeper, err);
    if (was_up) {
        node->events->on_state(node->owner);
        node->events->on_lost(node->owner, err);
    } else
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
    set_restarting(node);
    fail_loads(node);
    mm_jobs_on_all_dead(&node->jobs);
    if (node->state == STARTING)
        mm_error_set(&err, MAMUTO_EHOST, "the helper program that forks the workers died while it started");
    else if (++node->restarts > RESTARTS)
        mm_error_set(&err, MAMUTO_EHOST, "the process that forks the workers died %d times in a row", RESTARTS + 1);
    else if (start(node, &err) == 0) {
        node->state = UP;
        node->events->on_state(node->owner);
        check_all(node);
        return;
    }
    lose(node, &err);
}

static void on_timer_closed(uv_handle_t *timer)
{
    struct mm_node *node = timer->data;
    node->events->on_closed(node->owner);
    mm_pool_fini(&node->pool);
    mm_free(node);
}

static void take_down(struct mm_node *node)
{
    mm_loop_unwatch(&node->control);
    mm_loop_unwatch(&node->event);
    mm_loop_unwatch(&node->life);
    mm_outputs_close(&node->outputs);
    mm_jobs_fini(&node->jobs);
    mm_stager_fini(&node->stager);
    mm_keeper_fini(&node->keeper);
    uv_close((uv_handle_t *)&node->timer, on_timer_closed);
}

/* No process of the pool is left. */
static void on_all_gone(struct mm_node *node)
{
    mm_loop_unwatch(&node->life);
    mm_pool_close_life(&node->pool);
    if (node->control) /* what it said before it died */
        mm_pool_on_control(&node->pool);
    mm_loop_unwatch(&node->control);
    mm_pool_stop(&node->pool, false);
    mm_outputs_close(&node->outputs);
    node->leave_ns = 0;
    if (node->state == CLOSING)
        take_down(node);
    else if (node->state != LOST)
        restart(node);
}

static void on_life(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct mm_node *node = node_of(poll);
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
    if (node->state == CLOSING)
        return;
    mm_jobs_sweep_later(&node->jobs);
    check_all(node);
}

/* --- open and close --------------------------------------------------------------------------------------------- */

static bool pins(const struct mm_config_host *config, int workers)
{
    return config->pin == MM_PIN_ON || (config->pin == MM_PIN_AUTO && workers == mm_cpus_allowed());
}

static int open_node(struct mm_node **out, const struct mm_config_host *config, uv_loop_t *loop,
                     const struct mm_node_events *events, void *owner, mamuto_error_t *err)
{
    struct mm_node *node = mm_alloc(sizeof *node);
    if (!node)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for this machine's node");
    int workers = config->cores ? config->cores : mm_cpus_allowed();
    if (workers > MM_MAX_LANES - 1)
        workers = MM_MAX_LANES - 1;
    struct mm_pool_config pool = { .workers = workers,
                                   .pin = pins(config, workers),
                                   .core_dumps = config->core_dumps,
                                   .output = events->on_output != NULL,
                                   .nice = config->nice,
                                   .workdir = config->workdir,
                                   .env = config->env,
                                   .agent = config->agent };
    node->loop = loop;
    node->events = events;
    node->owner = owner;
    node->outputs.loop = loop;
    node->outputs.on_line = events->on_output;
    node->outputs.owner = owner;
    int code = mm_pool_init(&node->pool, &pool, &pool_events, node, err);
    if (code) {
        mm_free(node);
        return code;
    }
    mm_jobs_init(&node->jobs, &node->pool, mm_program_functions());
    mm_stager_init(&node->stager, &node->jobs, report_ran, node);
    mm_keeper_init(&node->keeper, &node->pool, report_kept, node);
    uv_timer_init(loop, &node->timer);
    uv_unref((uv_handle_t *)&node->timer);
    node->timer.data = node;
    code = mm_loop_watch_fd(node->loop, node, &node->event, node->pool.event, on_event, err);
    if (!code)
        code = start(node, err);
    *out = node; /* also after a failure: what was begun is taken down by close */
    return code;
}

static void close_node(struct mm_node *node)
{
    node->state = CLOSING;
    mm_stager_stop(&node->stager);
    mm_keeper_stop(&node->keeper);
    for (unsigned slot = 0; slot < MM_MAX_MAPS; slot++) {
        struct mm_job *job = &node->jobs.slots[slot];
        if (job->run && !mm_stager_find(&node->stager, job->run))
            mm_spans_finish(&node->jobs, job);
        job->run = NULL;
    }
    node->jobs.used = 0;
    mm_loop_unwatch(&node->control);
    mm_pool_stop(&node->pool, false);
    if (!node->life) {
        if (node->pool.server > 0) /* started, but never watched */
            mm_pool_end_server(&node->pool);
        take_down(node);
        return;
    }
    node->leave_ns = mm_now_ns();
    set_timer(node);
}

static int load(struct mm_node *node, uint32_t module, const char *path, const struct mm_config_host *config,
                mamuto_error_t *err)
{
    if (module >= MM_MAX_MODULES)
        return mm_error_set(err, MAMUTO_ENOMEM, "module %s: %d modules are loaded, no more can be", path,
                            MM_MAX_MODULES);
    if (node->pool.control < 0)
        return mm_error_set(err, MAMUTO_EHOST, "module %s: the fork server is gone", path);
    node->n_functions[module] = 0;
    int code = mm_pool_load(&node->pool, module, path, config->cc, config->cflags, config->libs, err);
    node->loading[module] = code == 0;
    return code;
}

const struct mm_node_ops mm_node_shm = { .kind = "shm",
                                         .open = open_node,
                                         .close = close_node,
                                         .load = load,
                                         .run = run,
                                         .cancel = cancel,
                                         .give_back = mm_node_shm_give_back,
                                         .assist = assist,
                                         .prepare_help = prepare_help,
                                         .alloc = mm_node_shm_alloc,
                                         .free = mm_node_shm_free,
                                         .array_bytes = mm_node_shm_array_bytes,
                                         .attach = mm_node_shm_attach,
                                         .reserve = mm_node_shm_reserve,
                                         .settle = mm_node_shm_settle,
                                         .keep = mm_node_shm_keep,
                                         .cancel_keep = mm_node_shm_cancel_keep,
                                         .drop = mm_node_shm_drop,
                                         .workers = mm_node_shm_workers,
                                         .progress = mm_node_shm_progress,
                                         .spans = mm_node_shm_spans,
                                         .describe = mm_node_shm_describe };
