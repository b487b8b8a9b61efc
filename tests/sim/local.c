/* A node of this machine, as shm/ is one: workers that take chunks of their runs, from the front; what nobody has
 * begun can be taken back, from the end. A chunk that was begun is stored, whatever becomes of its run. */
#include "core/error.h"
#include "tests/sim/sim.h"

#include <string.h>

enum { JOBS = 6, WORKERS = 8, CHUNK = 8 };

struct job {
    struct mm_run *run; /* NULL: free */
    uint64_t next, end; /* not begun */
    uint64_t gave, gave_n;
    int running;
    uint64_t done, failed;
    bool canceled, ending;
};

struct mm_node {
    const struct mm_node_events *events;
    void *owner;
    struct job jobs[JOBS];
    struct worker {
        struct mm_node *node;
        struct job *job; /* NULL: idle */
        uint64_t first, n;
    } workers[WORKERS];
    bool loading, closed, up;
    uint32_t module;
};

uint64_t sim_local_item_ns;
int sim_local_workers;

/* ---- work -------------------------------------------------------------------------------------------------------- */

static void look_for_work(void *owner);

static void end_job(struct mm_node *node, struct job *job)
{
    struct job ended = *job;
    mamuto_error_t err = { 0 };
    int status = 0;
    *job = (struct job){ 0 };
    if (ended.failed && (!ended.canceled || ended.run->fail_fast))
        status = mm_error_set(&err, MAMUTO_EITEM, "items failed");
    else if (ended.canceled)
        status = mm_error_set(&err, MAMUTO_ECANCELED, "cancelled");
    int before = sim_act_for(SIM_LOCAL, false);
    struct mm_run *run = ended.run;
    for (uint64_t i = run->first, gave = ended.gave; i < run->first + run->n && ended.failed; i++) {
        bool given = gave && i >= gave && i < gave + ended.gave_n;
        mamuto_error_t item = { 0 };
        if (given || i >= ended.next || !sim_fails(i, SIM_LOCAL) ||
            (!run->copy && sim_item(i, NULL)->host != SIM_LOCAL))
            continue;
        mm_error_set(&item, MAMUTO_EITEM, "it failed");
        item.item = i;
        node->events->on_item_error(node->owner, run, &item);
    }
    sim_trace("here: run of %llu ends with %d", (unsigned long long)run->n, status);
    node->events->on_ran(node->owner, run, status, ended.failed, status ? &err : NULL);
    sim_act_for(before, false);
    look_for_work(node);
}

static bool is_over(const struct job *job)
{
    return job->run && !job->running && (job->canceled || job->next >= job->end);
}

static void end_jobs(void *owner)
{
    struct mm_node *node = owner;
    for (int i = 0; i < JOBS && !node->closed; i++)
        if (is_over(&node->jobs[i]))
            end_job(node, &node->jobs[i]);
}

static void store(struct job *job, uint64_t item)
{
    const struct mm_run *run = job->run;
    struct sim_call *call;
    sim_item(item, &call);
    const struct mm_run_arg *in = &run->in[0];
    unsigned char *out = (unsigned char *)run->result + (ptrdiff_t)item * run->result_stride;
    bool failed = sim_fails(item, SIM_LOCAL),
         in_result = out >= call->result && out < call->result + call->result_bytes;
    uint64_t value;
    memcpy(&value, (const char *)in->data + (ptrdiff_t)item * in->stride, sizeof value);
    if (in_result && sim_item(item, NULL)->state != SIM_RUNNING)
        sim_broken("a copy here writes into the result");
    if (failed)
        memset(out, 0, run->out_size);
    else
        sim_value(item, value, out, run->out_size);
    if (run->marks && failed)
        run->marks[item - run->first] = 1;
    if (!run->copy)
        sim_item_stored_here(item, failed);
    job->done++;
    job->failed += failed;
    if (failed && run->fail_fast)
        job->canceled = true;
}

static void on_chunk(void *owner)
{
    struct worker *worker = owner;
    struct job *job = worker->job;
    for (uint64_t i = worker->first; i < worker->first + worker->n; i++)
        store(job, i);
    worker->job = NULL;
    job->running--;
    if (is_over(job))
        sim_at(sim_below(50) * SIM_US, end_jobs, worker->node);
    look_for_work(worker->node);
}

static bool begin_chunk(struct worker *worker, struct job *job)
{
    if (!job->run || job->canceled || job->next >= job->end)
        return false;
    uint64_t n = 1 + sim_below(CHUNK);
    worker->n = n < job->end - job->next ? n : job->end - job->next;
    worker->first = job->next;
    worker->job = job;
    job->next += worker->n;
    job->running++;
    for (uint64_t i = worker->first; i < worker->first + worker->n; i++)
        sim_item_begins(i, SIM_LOCAL, job->run->copy);
    sim_at(sim_about(worker->n * sim_local_item_ns), on_chunk, worker);
    return true;
}

static void look_for_work(void *owner)
{
    struct mm_node *node = owner;
    for (int w = 0; w < sim_local_workers && !node->closed; w++)
        for (int i = 0; i < JOBS && !node->workers[w].job; i++)
            begin_chunk(&node->workers[w], &node->jobs[i]);
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

static void on_up(void *owner)
{
    struct mm_node *node = owner;
    node->up = true;
    if (!node->closed)
        node->events->on_up(node->owner, 0, NULL);
}

static int open_node(struct mm_node **out, const struct mm_config_host *config, uv_loop_t *loop,
                     const struct mm_node_events *events, void *owner, mamuto_error_t *err)
{
    struct mm_node *node = sim_keep(sizeof *node);
    (void)config, (void)loop, (void)err;
    node->events = events;
    node->owner = owner;
    for (int w = 0; w < WORKERS; w++)
        node->workers[w].node = node;
    sim_at(SIM_MS, on_up, node);
    *out = node;
    return 0;
}

static void on_closed(void *owner)
{
    struct mm_node *node = owner;
    node->events->on_closed(node->owner);
}

/* Workers are stopped at once: what they run is not stored. */
static void close_node(struct mm_node *node)
{
    node->closed = true;
    sim_at(SIM_MS, on_closed, node);
}

static void on_loaded(void *owner)
{
    struct mm_node *node = owner;
    if (node->closed)
        return;
    node->events->on_function(node->owner, node->module, "f", "u64 -> u64", "", 0, 1);
    node->events->on_loaded(node->owner, node->module, 0, NULL);
}

static int load(struct mm_node *node, uint32_t module, const char *path, const struct mm_config_host *config,
                mamuto_error_t *err)
{
    (void)path, (void)config, (void)err;
    node->module = module;
    sim_at(SIM_MS, on_loaded, node);
    return 0;
}

static int run(struct mm_node *node, struct mm_run *of, mamuto_error_t *err)
{
    (void)err;
    for (int i = 0; i < JOBS; i++) {
        struct job *job = &node->jobs[i];
        if (job->run)
            continue;
        *job = (struct job){ .run = of, .next = of->first, .end = of->first + of->n };
        of->job = job;
        if (sim_plant == SIM_PLANT_copy_in_place && of->copy) {
            struct sim_call *call;
            sim_item(of->first, &call);
            of->result = call->run.result;
            of->result_stride = call->run.result_stride;
        }
        sim_trace("here: run of %llu%s", (unsigned long long)of->n, of->copy ? ", a copy" : "");
        sim_at(SIM_US, look_for_work, node);
        return 0;
    }
    return MM_NODE_FULL;
}

static void cancel(struct mm_node *node, struct mm_run *of)
{
    struct job *job = of->job;
    if (job->run != of)
        sim_broken("a run is cancelled that is not here");
    job->canceled = true;
    sim_at(SIM_US, end_jobs, node);
}

static uint64_t give_back(struct mm_node *node, struct mm_run *of, uint64_t want, uint64_t *first)
{
    struct job *job = of->job;
    uint64_t left = job->end - job->next, n = want < left ? want : left;
    if (job->canceled || !n || sim_percent(5))
        return 0;
    *first = job->end - n;
    if (sim_plant != SIM_PLANT_runs_what_it_gave) {
        job->end -= n;
        job->gave = job->end;
        job->gave_n = of->first + of->n - job->end;
    }
    if (is_over(job))
        sim_at(SIM_US, end_jobs, node);
    return n;
}

static void *alloc(struct mm_node *node, size_t bytes, mamuto_error_t *err)
{
    (void)node, (void)err;
    return sim_keep(bytes);
}

static void free_array(struct mm_node *node, void *p) { (void)node, (void)p; }
static uint64_t array_bytes(const struct mm_node *node, const void *p)
{
    (void)node, (void)p;
    return 0;
}
static int workers(const struct mm_node *node) { return node->up ? sim_local_workers : 0; }
static void progress(struct mm_node *node, const struct mm_run *of, uint64_t *done, uint64_t *failed)
{
    const struct job *job = of->job;
    (void)node;
    *done = job->done;
    *failed = job->failed;
}
static bool spans(struct mm_node *node, const struct mm_run *of)
{
    (void)node, (void)of;
    return true;
}
static void describe(struct mm_node *node, struct mm_node_state *state)
{
    *state = (struct mm_node_state){ .state = "up", .workers = workers(node) };
}

const struct mm_node_ops sim_local = { .kind = "simulated",
                                       .open = open_node,
                                       .close = close_node,
                                       .load = load,
                                       .run = run,
                                       .cancel = cancel,
                                       .give_back = give_back,
                                       .alloc = alloc,
                                       .free = free_array,
                                       .array_bytes = array_bytes,
                                       .workers = workers,
                                       .progress = progress,
                                       .spans = spans,
                                       .describe = describe };
