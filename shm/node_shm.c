/* The node of this machine: ties pool and jobs to the caller's libuv loop. With shm/node_life.c, which watches the
 * processes, the only file of shm/ that knows a loop. No event is called from inside an operation.
 */
#include "shm/node_shm.h"

#include "core/alloc.h"
#include "core/cpus.h"
#include "core/program.h"
#include "shm/clock.h"
#include "shm/park.h"

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

static void finish(struct mm_node *node, struct mm_job *job)
{
    mamuto_error_t err; /* large: its code alone says whether it is filled */
    uint64_t failed;
    struct mm_run *run = job->run;
    struct mm_stage *stage = mm_stager_find(&node->stager, run);
    err.code = 0;
    struct report report = { node, stage ? stage->run : run };
    int status = mm_jobs_result(&node->jobs, job, &failed, &err, report_item, &report);
    mm_jobs_remove(&node->jobs, job);
    node->restarts = 0;
    if (stage)
        mm_stage_finish(&node->stager, stage, status, failed, &err);
    else
        report_ran(node, run, status, failed, &err);
}

/* Looks at every map, having said before that it is about to sleep. */
void mm_node_check_all(struct mm_node *node)
{
    atomic_store(&node->pool.board->polling, 1);
    atomic_thread_fence(memory_order_seq_cst);
    for (uint64_t used = node->jobs.used; used; used &= used - 1) {
        struct mm_job *job = &node->jobs.slots[__builtin_ctzll(used)];
        if (node->state != MM_NODE_CLOSING && job->run && mm_jobs_check(&node->jobs, job) == MM_JOB_ENDED)
            finish(node, job);
    }
    if (node->state == MM_NODE_CLOSING)
        return;
    mm_stager_go_on(&node->stager);
    mm_keeper_go_on(&node->keeper);
    mm_node_set_timer(node);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct mm_node *node = mm_node_of(poll);
    mm_pool_on_event(&node->pool);
    mm_node_check_all(node);
}

static int run(struct mm_node *node, struct mm_run *map, mamuto_error_t *err)
{
    if (node->state == MM_NODE_LOST || node->state == MM_NODE_CLOSING)
        return mm_error_set(err, MAMUTO_EHOST, "the workers of this machine are gone");
    if (mm_stager_is_full(&node->stager))
        return MM_NODE_FULL;
    if (!mm_stager_wants(&node->stager, map))
        return mm_jobs_submit(&node->jobs, map, err);
    int code = mm_stager_begin(&node->stager, map, err);
    if (code == 0)
        mm_node_set_timer(node);
    return code;
}

static void cancel(struct mm_node *node, struct mm_run *map)
{
    struct mm_stage *stage = mm_stager_find(&node->stager, map);
    if (node->state == MM_NODE_CLOSING) /* which ends it anyway */
        return;
    if (map->job)
        mm_jobs_stop(&node->jobs, map->job, MAMUTO_ECANCELED);
    else if (stage)
        mm_stage_cancel(&node->stager, stage);
    else
        return;
    uint64_t one = 1; /* looked at from the loop, not from here */
    if (write(node->pool.event, &one, sizeof one) < 0)
        mm_node_set_timer(node);
    mm_node_set_timer(node);
}

static void assist(struct mm_node *node, struct mm_run *map)
{
    if (!map->job) /* it waits for memory or a slot */
        return;
    struct mm_job *job = map->job;
    _Atomic uint32_t *polling = &node->pool.board->polling; /* workers read it: written only where it changes */
    if (node->jobs.used == UINT64_C(1) << mm_map_slot(job->gen) && atomic_load_explicit(polling, memory_order_relaxed))
        atomic_store(polling, 0);
    mm_jobs_assist(&node->jobs, job);
    if (mm_jobs_check(&node->jobs, job) == MM_JOB_ENDED)
        finish(node, job);
    else
        mm_node_check_all(node);
}

static int prepare_help(struct mm_node *node, uint32_t module, mamuto_error_t *err)
{
    return mm_jobs_prepare_help(&node->jobs, module, err);
}

/* --- kept arrays -------------------------------------------------------------------------------------------------- */

static void report_kept(void *context, struct mm_keep *keep, int status, const mamuto_error_t *err)
{
    struct mm_node *node = context;
    node->events->on_kept(node->owner, keep, status, err);
}

static int keep(struct mm_node *node, struct mm_keep *what, mamuto_error_t *err)
{
    if (node->state == MM_NODE_LOST || node->state == MM_NODE_CLOSING)
        return mm_error_set(err, MAMUTO_EHOST, "mamuto_keep: the workers of this machine are gone");
    int code = mm_keeper_begin(&node->keeper, what, err);
    mm_node_set_timer(node);
    return code;
}

static void cancel_keep(struct mm_node *node, struct mm_keep *what)
{
    if (node->state != MM_NODE_CLOSING) /* which ends it anyway */
        mm_keeper_cancel(&node->keeper, what);
}

static void drop(struct mm_node *node, struct mm_keep *what)
{
    if (node->state != MM_NODE_CLOSING) /* then the arena goes as a whole */
        mm_keeper_drop(&node->keeper, what);
}

/* --- what the pool tells --------------------------------------------------------------------------------------- */

static void on_up(void *owner, int status, const mamuto_error_t *err)
{
    struct mm_node *node = owner;
    if (node->state != MM_NODE_STARTING)
        return;
    node->state = status ? MM_NODE_LOST : MM_NODE_UP;
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
    mm_jobs_on_death(&node->jobs, death);
}

static const struct mm_pool_events pool_events = { on_up, on_function, on_loaded, on_death };

/* --- open and close --------------------------------------------------------------------------------------------- */

static bool pins(const struct mm_config *config, int workers)
{
    return config->pin == MM_PIN_ON || (config->pin == MM_PIN_AUTO && workers == mm_cpus_allowed());
}

static int open_node(struct mm_node **out, const struct mm_config *config, uv_loop_t *loop,
                     const struct mm_node_events *events, void *owner, mamuto_error_t *err)
{
    struct mm_node *node = mm_alloc(sizeof *node);
    if (!node)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for this machine's node");
    int workers = config->cores ? config->cores : mm_cpus_allowed();
    if (workers > MM_MAX_LANES - 1)
        workers = MM_MAX_LANES - 1;
    struct mm_pool_config pool = { workers, pins(config, workers), config->core_dumps };
    node->loop = loop;
    node->events = events;
    node->owner = owner;
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
    code = mm_node_watch_fd(node, &node->event, node->pool.event, on_event, err);
    if (!code)
        code = mm_node_start(node, err);
    *out = node; /* also after a failure: what was begun is taken down by close */
    return code;
}

static void close_node(struct mm_node *node)
{
    node->state = MM_NODE_CLOSING;
    mm_stager_stop(&node->stager);
    mm_keeper_stop(&node->keeper);
    for (unsigned slot = 0; slot < MM_MAX_MAPS; slot++)
        node->jobs.slots[slot].run = NULL;
    node->jobs.used = 0;
    mm_node_unwatch(&node->control);
    mm_pool_stop(&node->pool, false);
    if (!node->life) {
        if (node->pool.server > 0) /* started, but never watched */
            mm_pool_end_server(&node->pool);
        mm_node_take_down(node);
        return;
    }
    node->leave_ns = mm_now_ns();
    mm_node_set_timer(node);
}

static int load(struct mm_node *node, uint32_t module, const char *path, const struct mm_config *config,
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

static void *alloc(struct mm_node *node, size_t bytes, mamuto_error_t *err)
{
    return mm_arena_alloc(&node->pool.arena, bytes, err);
}

static void free_array(struct mm_node *node, void *p) { mm_pool_free(&node->pool, p); }

static uint64_t array_bytes(const struct mm_node *node, const void *p) { return mm_pool_size(&node->pool, p); }

static int attach(struct mm_node *node, int fd, int64_t offset, size_t bytes, const void **p, mamuto_error_t *err)
{
    if (node->pool.control < 0)
        return mm_error_set(err, MAMUTO_EHOST, "mamuto_attach: the workers of this machine are gone");
    return mm_pool_attach(&node->pool, fd, offset, bytes, p, err);
}

static int workers(const struct mm_node *node)
{
    return node->state == MM_NODE_STARTING ? 0 : (int)node->pool.board->n_workers;
}

const struct mm_node_ops mm_node_shm = { .kind = "shm",
                                         .open = open_node,
                                         .close = close_node,
                                         .load = load,
                                         .run = run,
                                         .cancel = cancel,
                                         .assist = assist,
                                         .prepare_help = prepare_help,
                                         .alloc = alloc,
                                         .free = free_array,
                                         .array_bytes = array_bytes,
                                         .attach = attach,
                                         .keep = keep,
                                         .cancel_keep = cancel_keep,
                                         .drop = drop,
                                         .workers = workers };
