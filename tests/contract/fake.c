/* The fake node. Each run is cut into pieces, which are shuffled; a timer of random delays makes one random step at a
 * time: a piece of some run, the end of one whose pieces are all done, a load that was asked for. What order there is
 * comes from the contract alone. Every choice is drawn from the seed.
 *
 *   run ── pieces run, one by one, or are given back ──► none is left ── a later step ──► on_item_error …, on_ran
 *    └── cancel, first failure, lost: what is left of the pieces is dropped ──────────────────┘
 */
#include "tests/contract/fake.h"

#include "core/alloc.h"
#include "core/claims.h"
#include "core/error.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 6, MOST_PIECE = 64, MOST_REPORTED = 1000, MODULES = 16, WORKERS_AT_MOST = 255, NODES = 16, KEEPS = 8 };

struct piece {
    uint64_t begin, end; /* items of the map */
};

struct failure {
    uint64_t item, told; /* of the run; as it is told, of the call */
    int code, item_code;
    const char *text;
};

struct job {
    struct mm_run *run; /* NULL: the slot is free */
    struct piece *pieces;
    size_t n_pieces;
    struct failure *failures;
    size_t n_failures, room;
    uint64_t began_ms;
    int status; /* why it ends early; 0: it does not */
};

struct mm_node {
    uv_timer_t timer;
    const struct mm_node_events *events;
    void *owner;
    int workers;
    bool up, losing, lost, closing;
    char *loading[MODULES]; /* path; on_loaded is owed */
    struct job jobs[SLOTS];
    int n_ended; /* runs that have */
    uint64_t items;
    uint64_t random;
    const char *label;
    bool away, leaving, coming;
    struct {
        struct mm_keep *keep; /* NULL: the place is free */
        bool kept, canceled;
    } keeps[KEEPS];
    int n_calls_ended;
};

struct fake_settings fake_settings;
static struct mm_node *nodes[NODES]; /* that are open */

static bool is_called(const struct mm_node *node, const char *label)
{
    return label && node->label && strcmp(label, node->label) == 0;
}

struct mm_node *fake_find(const char *label)
{
    struct mm_node *found = NULL;
    for (int i = 0; i < NODES; i++)
        if (nodes[i] && is_called(nodes[i], label))
            found = nodes[i];
    return found;
}

static void change_node(const struct mm_node *from, struct mm_node *to)
{
    int i = 0;
    while (nodes[i] != from)
        assert(++i < NODES);
    nodes[i] = to;
}

static bool is_broken(enum fake_break how) { return fake_settings.broken == how; }

/* ---- Chance ---------------------------------------------------------------------------------------------------------- */

static uint64_t below(struct mm_node *node, uint64_t n)
{
    node->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = node->random;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % n;
}

static void *grown(void *p, size_t n, size_t size)
{
    void *fresh = realloc(p, n * size);
    if (!fresh)
        abort(); /* a test's */
    return fresh;
}

static void step(uv_timer_t *timer);

static void step_later(struct mm_node *node)
{
    if (!uv_is_active((uv_handle_t *)&node->timer))
        uv_timer_start(&node->timer, step, below(node, 4) == 0, 0); /* at once, or in a millisecond */
}

/* ---- Pieces ---------------------------------------------------------------------------------------------------------- */

static void cut(struct mm_node *node, struct job *job)
{
    const struct mm_run *run = job->run;
    uint64_t begin = is_broken(FAKE_RANGE_FROM_ZERO) ? 0 : run->first, end = begin + run->n;
    assert(run->n > 0);
    job->pieces = grown(NULL, run->n, sizeof *job->pieces);
    do {
        uint64_t items = 1 + below(node, MOST_PIECE);
        uint64_t to = end - begin < items ? end : begin + items;
        job->pieces[job->n_pieces++] = (struct piece){ begin, to };
        begin = to;
    } while (begin < end);
    for (size_t i = job->n_pieces; i-- > 1;) {
        size_t k = (size_t)below(node, i + 1);
        struct piece other = job->pieces[k];
        job->pieces[k] = job->pieces[i];
        job->pieces[i] = other;
    }
    if (is_broken(FAKE_ITEM_LOST))
        /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): all of them were written */
        job->pieces[job->n_pieces - 1].begin++;
}

static void add_failure(struct job *job, struct failure failure)
{
    if (job->n_failures == job->room) {
        job->room = job->room ? 2 * job->room : 8;
        job->failures = grown(job->failures, job->room, sizeof *job->failures);
    }
    job->failures[job->n_failures++] = failure;
    if (job->run->fail_fast)
        job->status = MAMUTO_EITEM;
}

/* Items that land one after the other are one span. */
static void log_item(struct mm_node *node, struct mm_span_log *log, uint64_t item)
{
    mamuto_span_t *last = log->n ? &log->at[log->n - 1] : NULL;
    if (last && last->first + last->count == item) {
        last->count++;
        last->end_ns = uv_hrtime();
        return;
    }
    if (log->n == log->room) {
        log->room = log->room ? 2 * log->room : 8;
        log->at = mm_realloc(log->at, log->room * sizeof *log->at);
        assert(log->at);
    }
    uint64_t now = uv_hrtime();
    log->at[log->n++] = (mamuto_span_t){ item, 1, node->label, 0, now, now };
}

/* May it be written? Where several nodes share a call, who is first does. */
static bool claim(const struct mm_run *run, uint64_t item)
{
    enum mm_claim_of state;
    uint32_t source;
    if (!run->claims)
        return true;
    mm_claims_look(run->claims, item, 1, &state, &source);
    return state == MM_ITEM_OPEN && mm_claims_take(run->claims, item, 1, run->source) == 0;
}

static void landed(struct mm_node *node, const struct mm_run *run, uint64_t item)
{
    node->items++;
    if (run->claims)
        mm_claims_settle(run->claims, item, 1, run->source);
    if (run->log)
        log_item(node, run->log, item);
}

static int value_of(const struct mm_run *run, uint64_t item, void *value, const char **text)
{
    const void *in[MAMUTO_MAX_ARGS] = { NULL };
    int code = 0;
    for (int k = 0; k < run->n_in; k++)
        in[k] = (const char *)run->in[k].data + (ptrdiff_t)item * run->in[k].stride;
    if (!run->function) {
        memcpy(value, in[0], run->out_size);
        return 0;
    }
    for (int tries = 0; tries <= run->retries; tries++)
        if ((code = fake_settings.functions[run->function->index].item(in, value, item, text)) <= 0)
            break;
    return code;
}

/* Of a fold of numbers: what there is of two. */
struct folded {
    double value;
    bool present;
};

static struct folded fold(const struct mm_groups *groups, struct folded a, struct folded b)
{
    const void *in[] = { &a.value, &b.value };
    const char *text = NULL;
    if (a.present && b.present)
        fake_settings.functions[groups->fold->index].item(in, &a.value, 0, &text);
    return a.present ? a : b;
}

/* Leaves left to right, their values up a binary tree. told: the item that has failed. */
static int value_of_group(const struct mm_run *run, uint64_t group, void *value, uint64_t *told, bool *present,
                          const char **text)
{
    const struct mm_groups *groups = run->groups;
    uint64_t first = group * groups->group_items, begun = run->first * groups->group_items, n = 0;
    struct folded *nodes_of = grown(NULL, groups->group_items / groups->leaf_items, sizeof *nodes_of);
    int code = 0;
    for (uint64_t i = first; i < first + groups->group_items && i < groups->n_items && !code; i++) {
        struct folded one = { .present = !groups->absent || !groups->absent[i - begun] };
        if (one.present)
            code = value_of(run, *told = i, &one.value, text);
        if ((i - first) % groups->leaf_items == 0)
            nodes_of[n++] = one;
        else
            nodes_of[n - 1] = fold(groups, nodes_of[n - 1], one);
    }
    for (; n > 1 && !code; n = (n + 1) / 2)
        for (uint64_t i = 0; i < n; i += 2)
            nodes_of[i / 2] = i + 1 < n ? fold(groups, nodes_of[i], nodes_of[i + 1]) : nodes_of[i];
    memcpy(value, &nodes_of[0].value, sizeof(double));
    *present = nodes_of[0].present;
    free(nodes_of);
    return code;
}

/* false: it is not done yet. */
static bool run_item(struct mm_node *node, struct job *job, uint64_t item)
{
    const struct mm_run *run = job->run;
    char value[64];
    char *out = (char *)run->result + (ptrdiff_t)item * run->result_stride;
    const char *text = NULL;
    uint64_t told = item;
    bool present = true;
    assert(run->out_size <= sizeof value);
    int code =
        run->groups ? value_of_group(run, item, value, &told, &present, &text) : value_of(run, item, value, &text);
    bool never = code == FAKE_NEVER;
    if (never && (!run->item_timeout_ms || uv_now(node->timer.loop) - job->began_ms < (uint64_t)run->item_timeout_ms))
        return false;
    if (!claim(run, item))
        return true;
    if (run->groups && run->groups->absent)
        run->groups->absent_out[item - run->first] = !present;
    if (code == 0 && run->result)
        memcpy(out, value, run->out_size);
    else if (run->result)
        memset(out, 0, run->out_size);
    landed(node, run, item);
    if (code == 0 && text && node->events->on_output)
        node->events->on_output(node->owner, 0, 1, text, strlen(text));
    if (code == 0)
        return true;
    if (run->marks)
        run->marks[item - run->first] = 1;
    add_failure(job, (struct failure){ item, told, never ? MAMUTO_ETIMEOUT : MAMUTO_EITEM, never ? 0 : code, text });
    return true;
}

static void run_piece(struct mm_node *node, struct job *job)
{
    struct piece *last = &job->pieces[job->n_pieces - 1];
    while (last->begin < last->end && !job->status && run_item(node, job, last->begin))
        last->begin++;
    job->n_pieces -= last->begin == last->end;
}

/* ---- Ends ------------------------------------------------------------------------------------------------------------ */

static int by_item(const void *a, const void *b)
{
    const struct failure *x = a, *y = b;
    return x->item < y->item ? -1 : x->item > y->item;
}

static void say(mamuto_error_t *err, const struct failure *failure)
{
    mm_error_set(err, failure->code, "item %llu failed with code %d: %s", (unsigned long long)failure->told,
                 failure->item_code, failure->text ? failure->text : "it took too long");
    err->item = failure->told;
    err->item_code = failure->item_code;
}

static void report_items(struct mm_node *node, struct mm_run *run, const struct job *job)
{
    size_t n = job->n_failures < MOST_REPORTED || is_broken(FAKE_ITEMS_ALL_REPORTED) ? job->n_failures : MOST_REPORTED;
    for (size_t i = 0; i < n; i++) {
        mamuto_error_t err = { 0 };
        say(&err, &job->failures[i]);
        node->events->on_item_error(node->owner, run, &err);
        if (is_broken(FAKE_ITEM_TWICE) && i == n / 2)
            node->events->on_item_error(node->owner, run, &err);
    }
}

static int outcome(const struct job *job, mamuto_error_t *err)
{
    if (job->status && job->status != MAMUTO_EITEM)
        return mm_error_set(err, job->status, "the run has ended early");
    if (!job->n_failures)
        return 0;
    say(err, &job->failures[0]);
    err->code = MAMUTO_EITEM;
    return err->code;
}

/* The slot is free before anybody is told, so that there is room. */
static void end(struct mm_node *node, struct job *job)
{
    struct job ended = *job;
    mamuto_error_t err = { 0 };
    struct mm_run *run = job->run;
    if (!is_broken(FAKE_ITEMS_SHUFFLED) && ended.n_failures)
        qsort(ended.failures, ended.n_failures, sizeof *ended.failures, by_item);
    *job = (struct job){ 0 };
    node->n_ended++;
    int status = outcome(&ended, &err);
    uint64_t failed = ended.n_failures;
    if (is_broken(FAKE_ITEM_AFTER_RAN))
        node->events->on_ran(node->owner, run, status, failed, &err);
    report_items(node, run, &ended);
    if (!is_broken(FAKE_ITEM_AFTER_RAN))
        node->events->on_ran(node->owner, run, status, failed, &err);
    if (is_broken(FAKE_RAN_TWICE))
        node->events->on_ran(node->owner, run, status, failed, &err);
    free(ended.failures);
    free(ended.pieces);
}

static void say_lost(struct mm_node *node)
{
    mamuto_error_t err = { 0 };
    mm_error_set(&err, MAMUTO_EHOST, "the host was lost");
    if (is_broken(FAKE_LOST_BEFORE_RAN))
        node->events->on_lost(node->owner, &err);
    for (int i = 0; i < SLOTS; i++)
        if (node->jobs[i].run) {
            node->jobs[i].status = MAMUTO_EHOST;
            end(node, &node->jobs[i]);
        }
    if (!is_broken(FAKE_LOST_BEFORE_RAN))
        node->events->on_lost(node->owner, &err);
    node->lost = true;
}

/* For a while: runs, loads and keeps in flight end with EHOST; what was loaded and kept is there again afterwards. */
static void leave(struct mm_node *node)
{
    mamuto_error_t err = { 0 };
    mm_error_set(&err, MAMUTO_EHOST, "the host was lost for a while");
    node->leaving = false;
    node->away = true;
    for (int i = 0; i < SLOTS; i++)
        if (node->jobs[i].run) {
            node->jobs[i].status = MAMUTO_EHOST;
            end(node, &node->jobs[i]);
        }
    for (uint32_t i = 0; i < MODULES; i++)
        if (node->loading[i]) {
            free(node->loading[i]);
            node->loading[i] = NULL;
            node->events->on_loaded(node->owner, i, err.code, &err);
        }
    for (int i = 0; i < KEEPS; i++) {
        struct mm_keep *keep = node->keeps[i].keep;
        if (!keep || node->keeps[i].kept)
            continue;
        node->keeps[i].keep = NULL;
        node->events->on_kept(node->owner, keep, err.code, &err);
    }
    node->events->on_state(node->owner);
}

static bool step_keep(struct mm_node *node)
{
    for (int i = 0; i < KEEPS; i++) {
        struct mm_keep *keep = node->keeps[i].keep;
        mamuto_error_t err = { 0 };
        if (!keep || node->keeps[i].kept)
            continue;
        if (node->keeps[i].canceled)
            mm_error_set(&err, MAMUTO_ECANCELED, "it was given up");
        else if (is_called(node, fake_settings.full))
            mm_error_set(&err, MAMUTO_ENOMEM, "there is no memory for so much");
        node->keeps[i].kept = err.code == 0;
        if (err.code)
            node->keeps[i].keep = NULL;
        node->events->on_kept(node->owner, keep, err.code, &err);
        return true;
    }
    return false;
}

static bool is_known(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return strncmp(name, FAKE_MODULE, strlen(FAKE_MODULE)) == 0;
}

static void say_loaded(struct mm_node *node, uint32_t module)
{
    mamuto_error_t err = { 0 };
    bool known = is_known(node->loading[module]) && !is_called(node, fake_settings.bare);
    for (int i = is_called(node, fake_settings.other); known && fake_settings.functions[i].name; i++)
        node->events->on_function(node->owner, module, fake_settings.functions[i].name,
                                  fake_settings.functions[i].signature, NULL, 0, i + 1);
    if (!known)
        mm_error_set(&err, MAMUTO_EMODULE, "there is no module %s", node->loading[module]);
    free(node->loading[module]);
    node->loading[module] = NULL;
    node->events->on_loaded(node->owner, module, err.code, &err);
}

/* ---- Steps ----------------------------------------------------------------------------------------------------------- */

static void step_load(struct mm_node *node)
{
    for (uint32_t i = 0; i < MODULES; i++)
        if (node->loading[i] && below(node, 2)) {
            say_loaded(node, i);
            return;
        }
}

static void step_run(struct mm_node *node)
{
    struct job *job = NULL;
    for (uint64_t i = 0, from = below(node, SLOTS); i < SLOTS && !(job && job->run); i++)
        job = &node->jobs[(from + i) % SLOTS];
    bool stuck = is_called(node, fake_settings.stuck);
    for (uint64_t n = 1 + below(node, 40); n > 0 && job->run && job->n_pieces && !job->status && !stuck; n--)
        run_piece(node, job);
    if (job->run && (job->status || !job->n_pieces) && below(node, 2))
        end(node, job);
}

static void step(uv_timer_t *timer)
{
    struct mm_node *node = timer->data;
    mamuto_error_t err = { 0 };
    if (!node->up && is_called(node, fake_settings.down)) {
        node->up = node->away = true;
        mm_error_set(&err, MAMUTO_EHOST, "nobody listens there");
        node->events->on_up(node->owner, err.code, &err);
    } else if (!node->up) {
        node->up = true;
        node->events->on_up(node->owner, 0, NULL);
    } else if (node->losing)
        say_lost(node);
    else if (node->leaving)
        leave(node);
    else if (node->coming) {
        node->coming = node->away = false;
        node->events->on_state(node->owner);
    } else if (below(node, 8) == 0)
        step_load(node);
    else if (!step_keep(node))
        step_run(node);
    bool busy = node->leaving || node->coming;
    for (int i = 0; i < KEEPS; i++)
        busy |= node->keeps[i].keep && !node->keeps[i].kept;
    for (int i = 0; i < SLOTS; i++)
        busy |= node->jobs[i].run != NULL;
    for (int i = 0; i < MODULES; i++)
        busy |= node->loading[i] != NULL;
    if (busy && !node->closing && !node->lost)
        step_later(node);
}

/* ---- Operations ------------------------------------------------------------------------------------------------------ */

static int open_node(struct mm_node **out, const struct mm_config_host *config, uv_loop_t *loop,
                     const struct mm_node_events *events, void *owner, mamuto_error_t *err)
{
    struct mm_node *node = calloc(1, sizeof *node);
    if (!node)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for a fake node");
    node->events = events;
    node->owner = owner;
    node->workers = config->cores ? config->cores : WORKERS_AT_MOST;
    node->random = fake_settings.seed ^ (uint64_t)(config->label ? config->label[0] : 0) << 32;
    node->label = config->label;
    change_node(NULL, node);
    uv_timer_init(loop, &node->timer);
    node->timer.data = node;
    step_later(node);
    *out = node;
    return 0;
}

static void on_timer_closed(uv_handle_t *timer)
{
    struct mm_node *node = timer->data;
    const struct mm_node_events *events = node->events;
    void *owner = node->owner;
    change_node(node, NULL);
    for (int i = 0; i < SLOTS; i++) {
        if (is_broken(FAKE_RAN_AFTER_CLOSE) && node->jobs[i].run)
            events->on_ran(owner, node->jobs[i].run, 0, 0, NULL);
        free(node->jobs[i].failures);
        free(node->jobs[i].pieces);
    }
    for (int i = 0; i < MODULES; i++)
        free(node->loading[i]);
    free(node);
    events->on_closed(owner);
    if (is_broken(FAKE_CLOSED_TWICE))
        events->on_closed(owner);
}

static void close_node(struct mm_node *node)
{
    node->closing = true;
    uv_close((uv_handle_t *)&node->timer, on_timer_closed);
}

static int load(struct mm_node *node, uint32_t module, const char *path, const struct mm_config_host *config,
                mamuto_error_t *err)
{
    (void)config;
    if (module >= MODULES)
        return mm_error_set(err, MAMUTO_ENOMEM, "module %s: a fake has room for %d modules", path, MODULES);
    if (node->lost || node->losing || node->away)
        return mm_error_set(err, MAMUTO_EHOST, "the host was lost");
    free(node->loading[module]);
    node->loading[module] = strdup(path);
    step_later(node);
    return 0;
}

static bool is_kept(const struct mm_node *node, const struct mm_keep *keep)
{
    for (int i = 0; i < KEEPS; i++)
        if (node->keeps[i].keep == keep && node->keeps[i].kept)
            return true;
    return false;
}

static int run(struct mm_node *node, struct mm_run *run, mamuto_error_t *err)
{
    struct job *job = NULL;
    if (node->lost || node->closing || node->away)
        return mm_error_set(err, MAMUTO_EHOST, "the host was lost");
    for (int k = 0; k < run->n_in; k++)
        assert(!run->in[k].keep || !run->call || is_kept(node, run->in[k].keep));
    assert(!run->parts && run->op == MM_OP_CALL);
    for (int i = 0; i < SLOTS && !job; i++)
        if (!node->jobs[i].run)
            job = &node->jobs[i];
    if (job && is_broken(FAKE_FULL_FOR_EVER) && node->n_ended)
        return MM_NODE_FULL;
    if (!job)
        return MM_NODE_FULL;
    *job = (struct job){ .run = run, .began_ms = uv_now(node->timer.loop) };
    cut(node, job);
    if (is_broken(FAKE_RAN_FROM_INSIDE))
        end(node, job);
    step_later(node);
    return 0;
}

static struct job *job_of(struct mm_node *node, const struct mm_run *run)
{
    for (int i = 0; i < SLOTS; i++)
        if (node->jobs[i].run == run)
            return &node->jobs[i];
    return NULL;
}

static void cancel(struct mm_node *node, struct mm_run *run)
{
    struct job *job = job_of(node, run);
    if (job && !job->status && !is_broken(FAKE_CANCEL_UNHEARD))
        job->status = MAMUTO_ECANCELED;
}

/* The end of the piece that comes last, and the pieces before it as far as they adjoin. */
static uint64_t give_back(struct mm_node *node, struct mm_run *run, uint64_t want, uint64_t *first)
{
    struct job *job = job_of(node, run);
    uint64_t begin = 0, end = 0, got = 0;
    if (!job || job->status)
        return 0;
    for (size_t i = 0; i < job->n_pieces; i++)
        end = begin = job->pieces[i].end > end ? job->pieces[i].end : end;
    for (size_t i = 0; i < job->n_pieces && got < want;) {
        struct piece *piece = &job->pieces[i];
        uint64_t items = piece->end - piece->begin, taken = items < want - got ? items : want - got;
        if (piece->end != begin) {
            i++;
            continue;
        }
        got += taken;
        begin -= taken;
        if (!is_broken(FAKE_RUNS_WHAT_IT_GAVE))
            piece->end -= taken;
        if (taken == items && !is_broken(FAKE_RUNS_WHAT_IT_GAVE))
            *piece = job->pieces[--job->n_pieces];
        i = 0; /* the one before it may lie anywhere */
    }
    if (got)
        *first = begin;
    return got;
}

static int keep(struct mm_node *node, struct mm_keep *keep, mamuto_error_t *err)
{
    if (node->lost || node->closing || node->away)
        return mm_error_set(err, MAMUTO_EHOST, "the host was lost");
    int i = 0;
    while (node->keeps[i].keep)
        assert(++i < KEEPS);
    node->keeps[i].keep = keep;
    node->keeps[i].kept = node->keeps[i].canceled = false;
    step_later(node);
    return 0;
}

static void cancel_keep(struct mm_node *node, struct mm_keep *keep)
{
    for (int i = 0; i < KEEPS; i++)
        if (node->keeps[i].keep == keep)
            node->keeps[i].canceled = true;
}

static void drop(struct mm_node *node, struct mm_keep *keep)
{
    for (int i = 0; i < KEEPS; i++)
        if (node->keeps[i].keep == keep)
            node->keeps[i].keep = NULL;
}

static void end_call(struct mm_node *node, uint64_t call)
{
    assert(call);
    for (int i = 0; i < SLOTS; i++)
        assert(!node->jobs[i].run || node->jobs[i].run->call != call);
    node->n_calls_ended++;
}

static bool spans(struct mm_node *node, const struct mm_run *run)
{
    (void)node;
    return run->log != NULL;
}

static int workers(const struct mm_node *node) { return node->up && !node->away ? node->workers : 0; }

static void describe(struct mm_node *node, struct mm_node_state *state)
{
    *state = (struct mm_node_state){ .state = node->lost || node->away ? "lost"
                                              : node->up               ? "up"
                                                                       : "starting",
                                     .reason = !node->away                           ? NULL
                                               : is_called(node, fake_settings.down) ? "nobody listens there"
                                                                                     : "the host was lost for a while",
                                     .workers = workers(node),
                                     .items = node->items };
}

void fake_lose(struct mm_node *node)
{
    node->losing = true;
    if (!node->lost)
        step_later(node);
}

void fake_lose_for_a_while(struct mm_node *node)
{
    node->leaving = !node->away;
    step_later(node);
}

void fake_come_back(struct mm_node *node)
{
    node->coming = node->away;
    step_later(node);
}

uint64_t fake_items(const struct mm_node *node) { return node->items; }
int fake_calls_ended(const struct mm_node *node) { return node->n_calls_ended; }

int fake_kept(const struct mm_node *node)
{
    int n = 0;
    for (int i = 0; i < KEEPS; i++)
        n += node->keeps[i].keep && node->keeps[i].kept;
    return n;
}

const struct mm_node_ops fake_node = {
    .kind = "fake",
    .open = open_node,
    .close = close_node,
    .load = load,
    .run = run,
    .cancel = cancel,
    .give_back = give_back,
    .end_call = end_call,
    .keep = keep,
    .cancel_keep = cancel_keep,
    .drop = drop,
    .spans = spans,
    .workers = workers,
    .describe = describe,
};
