/* A map whose output is of variable length, as a plan of runs.
 *
 *   MAIN ── few items ─────────► summed here ──┬─ little ─► gathered here ───────────► given
 *     └──── many ──► SUM (a map of groups) ────┴─ much ───► GATHER (a map of groups) ──┘
 *
 * The main run's result, as the node sees it, is a record an item: where in the run's parts its elements are. When it
 * has ended, the lengths are summed, memory is taken for exactly that, and the elements are gathered in item order,
 * by the workers, unless it is so little that waking them takes longer. So the peak is twice the output, and the
 * records. The failed items of a map with MAMUTO_ON_ERROR_SKIP have records of zeros, and so are empty. The scratch
 * memory goes back in fini, however the call ends; the caller's result_var is touched on success alone. Called on the
 * loop's thread, by core/map.c. Knows nothing of slabs (shm/slab.c, shm/room.c).
 */
#include "core/varout.h"

#include "core/alloc.h"
#include "core/error.h"
#include "core/varlen.h"

enum phase { MAIN, SUM, GATHER };

/* Killed from outside, a worker's group is run again: as often as the workers can be kept alive. */
enum { RETRIES = 1 << 20 };

struct varout {
    struct mm_plan plan; /* first */
    enum phase phase;
    mamuto_var_t *out;
    uint64_t group, n_groups;
    mm_varlen_record *records; /* scratch memory of the node: n of them, and behind them: */
    uint64_t *before;          /* n_groups + 1: bytes of each group, then before it */
    uint64_t *ran;             /* n_groups: what the gathering map has for a result */
    struct mm_run_parts parts;
    char *data; /* the result, until it is given */
    uint64_t offsets_at;
    int status; /* of the main run, with its sentence in err */
    mamuto_error_t err;
};

static struct varout *of(const struct mamuto_map_s *map) { return (struct varout *)(void *)map->plan; /* first */ }

static int64_t *offsets_of(const struct varout *v) { return (int64_t *)(void *)(v->data + v->offsets_at); }

static void fini(struct mm_plan *plan, mamuto_t *m)
{
    struct varout *v = (struct varout *)(void *)plan;
    void *scratch[] = { v->parts.data[1], v->parts.data[0], v->records, v->data };
    for (size_t i = 0; m->node && i < sizeof scratch / sizeof *scratch; i++)
        if (scratch[i])
            m->ops->free(m->node, scratch[i]);
    mm_free(v);
}

static void on_item_error(struct mamuto_map_s *map, const mamuto_error_t *err)
{
    if (of(map)->phase == MAIN)
        mm_map_tell_item_error(map, err);
}

static int give(struct varout *v, mamuto_error_t *err)
{
    *v->out = (mamuto_var_t){ v->data, offsets_of(v), (size_t)v->plan.whole.n };
    v->data = NULL;
    return v->status ? mm_error_copy(err, &v->err) : 0;
}

static int damaged(mamuto_error_t *err)
{
    return mm_error_set(err, MAMUTO_EPROTOCOL,
                        "the lengths of the results are damaged: a function has written outside its own output");
}

static struct mm_varlen_parts parts_of(const struct varout *v)
{
    return (struct mm_varlen_parts){ { v->parts.data[0], v->parts.data[1] }, { v->parts.used[0], v->parts.used[1] } };
}

static void broadcast(struct mm_run *run, const void *data, uint64_t bytes)
{
    run->in[run->n_in++] = (struct mm_run_arg){ .data = data, .size = bytes, .len = bytes };
}

/* The next run: groups, by the workers. bytes: that all of them move. */
static int go_on(struct mamuto_map_s *map, enum phase phase, uint64_t *result, uint64_t bytes)
{
    struct varout *v = of(map);
    const struct mm_run *whole = &v->plan.whole;
    v->phase = phase;
    map->run = (struct mm_run){ .n = v->n_groups,
                                .result = result,
                                .result_stride = sizeof *result,
                                .out_size = sizeof *result,
                                .out_len = 1,
                                .op = phase == SUM ? MM_OP_SUM : MM_OP_GATHER,
                                .priority = whole->priority,
                                .retries = RETRIES,
                                .fail_fast = true,
                                .wait = whole->wait,
                                .help = whole->help };
    map->run.gather = (struct mm_run_gather){ .n_records = whole->n,
                                              .group = v->group,
                                              .offsets_at = v->offsets_at,
                                              .element = whole->element,
                                              .bytes = bytes / v->n_groups + 1 };
    broadcast(&map->run, v->records, whole->n * sizeof *v->records);
    for (int i = 0; i < 2; i++)
        broadcast(&map->run, v->parts.used[i] ? v->parts.data[i] : v->records, v->parts.used[i]);
    return MM_PLAN_GOES_ON;
}

static int gather_here(struct varout *v, mamuto_error_t *err)
{
    struct mm_varlen_parts parts = parts_of(v);
    uint64_t n = v->plan.whole.n, at = 0, end = v->before[v->n_groups];
    int64_t *offsets = offsets_of(v);
    if (!mm_varlen_gather(&parts, v->records, n, v->plan.whole.element, false, v->data, offsets, &at, end) || at != end)
        return damaged(err);
    offsets[n] = (int64_t)(end / v->plan.whole.element);
    return give(v, err);
}

static int take_memory(struct mamuto_map_s *map, uint64_t bytes, mamuto_error_t *err)
{
    struct varout *v = of(map);
    mamuto_error_t why = { 0 };
    uint64_t whole;
    if (!mm_varlen_layout(bytes, v->plan.whole.n, &v->offsets_at, &whole))
        return damaged(err); /* no memory can have held the elements */
    v->data = map->mapper->ops->reserve(map->mapper->node, whole, &why);
    if (v->data)
        return 0;
    return mm_error_set(err, why.code,
                        "no memory for the result, which is emitted already, and is to be gathered: %.300s", why.text);
}

/* The bytes of each group are in before[]. */
static int summed(struct mamuto_map_s *map, mamuto_error_t *err)
{
    struct varout *v = of(map);
    uint64_t sum = 0;
    bool right = true;
    for (uint64_t g = 0, bytes; g < v->n_groups; g++, sum += bytes) {
        bytes = v->before[g];
        v->before[g] = sum;
        right &= bytes <= v->parts.used[0] + v->parts.used[1];
    }
    v->before[v->n_groups] = sum;
    if (!right || sum > v->parts.used[0] + v->parts.used[1])
        return damaged(err);
    int code = take_memory(map, sum, err);
    if (code)
        return code;
    if (sum <= MM_VARLEN_TINY && v->plan.whole.n <= MM_VARLEN_GROUP)
        return gather_here(v, err);
    go_on(map, GATHER, v->ran, 2 * sum + v->plan.whole.n * sizeof *v->records);
    broadcast(&map->run, v->before, (v->n_groups + 1) * sizeof *v->before);
    broadcast(&map->run, v->data, v->offsets_at + (v->plan.whole.n + 1) * sizeof(int64_t));
    return MM_PLAN_GOES_ON;
}

static int sum_here(struct mamuto_map_s *map, mamuto_error_t *err)
{
    struct varout *v = of(map);
    struct mm_varlen_parts parts = parts_of(v);
    uint64_t n = v->plan.whole.n;
    for (uint64_t g = 0; g < v->n_groups; g++) {
        uint64_t first = g * v->group, some = n - first < v->group ? n - first : v->group;
        if (!mm_varlen_sum(&parts, v->records + first, some, &v->before[g]))
            return damaged(err);
    }
    return summed(map, err);
}

static int main_ended(struct mamuto_map_s *map, int status, const mamuto_error_t *ran, mamuto_error_t *err)
{
    struct varout *v = of(map);
    if (status && (status != MAMUTO_EITEM || v->plan.whole.fail_fast))
        return status;
    v->status = status;
    if (status)
        mm_error_copy(&v->err, ran);
    map->mapper->ops->settle(map->mapper->node, v->records);
    if (v->plan.whole.n <= MM_VARLEN_GROUP)
        return sum_here(map, err);
    return go_on(map, SUM, v->before, v->plan.whole.n * sizeof *v->records);
}

/* A map of no items has no run: all of it is the offset of their end. */
static int nothing(struct mamuto_map_s *map, mamuto_error_t *err)
{
    int code = take_memory(map, 0, err);
    if (code)
        return code;
    offsets_of(of(map))[0] = 0;
    return give(of(map), err);
}

static int next(struct mamuto_map_s *map, int status, uint64_t failed, const mamuto_error_t *ran, mamuto_error_t *err)
{
    struct varout *v = of(map);
    (void)failed;
    if (v->plan.whole.n == 0)
        return nothing(map, err);
    if (v->phase == MAIN)
        return main_ended(map, status, ran, err);
    if (status)
        return status;
    if (v->phase == SUM)
        return summed(map, err);
    map->mapper->ops->settle(map->mapper->node, v->data);
    return give(v, err);
}

static int take_scratch(struct mamuto_map_s *map, struct varout *v, mamuto_error_t *err)
{
    uint64_t n = map->run.n, bytes, numbers = (2 * v->n_groups + 1) * sizeof *v->before;
    mamuto_error_t why = { 0 };
    if (__builtin_mul_overflow(n, sizeof *v->records, &bytes) || __builtin_add_overflow(bytes, numbers, &bytes))
        return mm_error_set(err, MAMUTO_ESIZE, "%llu results of variable length do not fit into memory",
                            (unsigned long long)n);
    v->records = map->mapper->ops->reserve(map->mapper->node, bytes, &why);
    if (!v->records)
        return mm_error_set(err, why.code, "no memory for the lengths of the results: %.300s", why.text);
    v->before = (uint64_t *)(void *)(v->records + n);
    v->ran = v->before + v->n_groups + 1;
    return 0;
}

int mm_varout_plan(struct mamuto_map_s *map, const mamuto_call_t *call, mamuto_error_t *err)
{
    struct varout *v = mm_alloc(sizeof *v);
    if (!v)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for a map with results of variable length");
    map->plan = &v->plan;
    v->plan.next = next;
    v->plan.on_item_error = on_item_error;
    v->plan.fini = fini;
    v->out = call->result_var;
    v->plan.value = call->result_var; /* it may lie in an array of the mapper */
    v->group = mm_varlen_group(map->run.n);
    v->n_groups = (map->run.n + v->group - 1) / v->group;
    int code = map->run.n ? take_scratch(map, v, err) : 0;
    map->run.result = v->records;
    map->run.result_stride = sizeof *v->records;
    map->run.out_size = sizeof *v->records;
    map->run.parts = &v->parts;
    v->plan.whole = map->run;
    return code;
}
