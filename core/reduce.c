/* mamuto_reduce: a map whose results are folded into one value, as a plan of several runs.
 *
 *   FUSED ── all right ───────────────────────────────────────────► LEVEL … LEVEL ──► value
 *     └── groups in which an item failed, one after the other ─┐      ▲
 *   ITEMS (a window's items are mapped) ──► LEAF (and folded) ─┴──────┘ when there is no window left
 *
 * The value is that of a fixed tree: blocks of 64 items left to right, block values up a binary tree. Each run of groups
 * (core/run.h) yields values of nodes of that tree, of a height that n and the number of workers choose; which nodes does
 * not matter to the bits.
 * FUSED maps and folds at once: nothing is stored per item. It is for many items; where there are few, or one may time
 * out or must not run twice, or their results are wanted, windows of them are mapped into an array and that is folded.
 * A group of a FUSED run that fails is mapped again as a window, which names the items at fault and leaves them out.
 * A failed fold ends the reduction. Called on the loop's thread, by core/map.c.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "core/fold.h"
#include "core/mapper.h"
#include "core/span.h"

#include <stdio.h>

enum { BLOCK = 64, MOST_GROUP = 8192, MOST_FANOUT = 256, GROUPS_PER_WORKER = 16, FUSED_BLOCKS_PER_WORKER = 16 };
enum { WINDOW_BYTES = 1 << 20, MOST_WINDOW = 1 << 20, MOST_ERRORS = 1000 };

enum phase { EMPTY, FUSED, ITEMS, LEAF, LEVEL };

struct reduce {
    struct mm_plan plan; /* first */
    const struct mm_function *function;
    struct mm_function identity; /* function, where the call has none */
    struct mm_groups groups;     /* of the run in flight */
    enum phase phase;
    bool fused, again, skip, wait, help;
    size_t size;                        /* of a value */
    uint64_t group, window, begin, end; /* items of a group; of a window; the window in work */
    uint64_t fanout;                    /* values of a group, above the items */
    uint64_t bad;                       /* fused: groups before it are right */
    uint64_t n_values, unit;            /* unit: items of the call in a value, the last one apart */
    /* in one array of the node */
    char *scratch, *values, *spare, *items;
    uint8_t *absent, *spare_absent, *marks, *bad_groups;
    uint64_t failed;
    uint64_t n_reported;
    mamuto_error_t first; /* item that failed */
};

static struct reduce *reduce_of(const struct mamuto_map_s *map) { return (struct reduce *)(void *)map->plan; }

static uint64_t divide_up(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* --- sizes -------------------------------------------------------------------------------------------------------- */

/* How the items are cut: pure arithmetic on n, the workers and the size of a value. Where a fold has a time limit, groups
 * are small: only a group is watched, which may take as long as its folds. */
static void cut(struct reduce *r, int workers)
{
    const struct mm_run *call = &r->plan.whole;
    uint64_t n = call->n, lanes = (uint64_t)(workers > 0 ? workers : 1);
    bool plain = !call->item_timeout_ms && !call->once && !call->result;
    r->fused = r->function == &r->identity || (plain && n >= lanes * FUSED_BLOCKS_PER_WORKER * BLOCK);
    r->group = BLOCK;
    r->window = n;
    uint64_t most_group = call->item_timeout_ms ? BLOCK : MOST_GROUP;
    r->fanout = call->item_timeout_ms ? BLOCK : MOST_FANOUT;
    if (r->fused) {
        while (r->group < most_group && n / (2 * r->group) >= GROUPS_PER_WORKER * lanes &&
               r->size <= WINDOW_BYTES / (2 * r->group))
            r->group *= 2;
        r->window = r->group;
        return;
    }
    for (r->window = BLOCK; r->window < MOST_WINDOW && r->window < n && r->size <= WINDOW_BYTES / (2 * r->window);)
        r->window *= 2;
    while (r->group < most_group && r->group < r->window && n / r->group > MOST_FANOUT)
        r->group *= 2;
}

static char *take(char **at, uint64_t bytes)
{
    char *p = *at;
    *at += (bytes + 63) / 64 * 64;
    return p;
}

/* Places all arrays behind base; returns how many bytes they are. Every factor is below 2^48, and values are counted in
 * memory that is there, so no product overflows but that of values, which is checked before. */
static uint64_t lay_out(struct reduce *r, char *base)
{
    char *at = base;
    uint64_t upper = divide_up(r->n_values, r->fanout);
    bool maps = r->function != &r->identity;
    r->values = take(&at, r->n_values * r->size);
    r->spare = take(&at, upper * r->size);
    r->absent = (uint8_t *)take(&at, r->n_values);
    r->spare_absent = (uint8_t *)take(&at, upper);
    r->bad_groups = (uint8_t *)take(&at, maps && r->fused ? r->n_values : 0);
    uint64_t in_work = least(r->window, r->plan.whole.n);
    r->marks = (uint8_t *)take(&at, maps ? in_work : 0);
    r->items = take(&at, maps && !r->plan.whole.result ? in_work * r->size : 0);
    return (uint64_t)(at - base);
}

static int take_scratch(struct reduce *r, mamuto_t *m, mamuto_error_t *err)
{
    uint64_t each, bytes;
    mamuto_error_t why = { 0 };
    static char nowhere[1];
    cut(r, m->ops->workers(m->node));
    r->n_values = divide_up(r->plan.whole.n, r->group);
    r->unit = r->group;
    if (__builtin_mul_overflow(r->size, 2, &each) || __builtin_add_overflow(each, 4, &each) ||
        __builtin_mul_overflow(r->n_values + r->window, each, &bytes) || bytes > INT64_MAX)
        return mm_error_set(err, MAMUTO_ESIZE,
                            "mamuto_reduce: partial results of %zu bytes for so many items do not "
                            "fit into memory",
                            r->size);
    r->scratch = m->ops->alloc(m->node, lay_out(r, nowhere), &why);
    if (!r->scratch)
        return mm_error_copy(err, &why);
    lay_out(r, r->scratch);
    memset(r->absent, 0, r->n_values);
    return 0;
}

static void fini(struct mm_plan *plan, mamuto_t *m)
{
    struct reduce *r = (struct reduce *)(void *)plan;
    if (r->scratch && m->node)
        m->ops->free(m->node, r->scratch);
    mm_free(r);
}

/* --- runs --------------------------------------------------------------------------------------------------------- */

static struct mm_run *next_run(struct reduce *r, struct mamuto_map_s *map, enum phase phase)
{
    r->phase = phase;
    map->run = r->plan.whole;
    map->run.wait = r->wait;
    map->run.help = r->help;
    return &map->run;
}

/* A run over groups of n_items in all, from item begin on, to values. */
static struct mm_run *groups_run(struct reduce *r, struct mamuto_map_s *map, enum phase phase, uint64_t begin,
                                 uint64_t end, char *values)
{
    struct mm_run *run = next_run(r, map, phase);
    r->groups.n_items = end;
    r->groups.group_items = phase == LEVEL ? r->fanout : r->group;
    r->groups.leaf_items = phase == LEVEL ? 1 : BLOCK;
    r->groups.values = phase != FUSED;
    r->groups.absent = r->groups.absent_out = NULL;
    run->groups = &r->groups;
    run->first = begin / r->groups.group_items;
    run->n = divide_up(end - begin, r->groups.group_items);
    run->result = values;
    run->result_stride = (ptrdiff_t)r->size;
    run->retries = 0;
    run->once = false;
    run->fail_fast = true;
    run->item_timeout_ms = run->item_timeout_ms > INT32_MAX / BLOCK ? INT32_MAX : run->item_timeout_ms * BLOCK;
    return run;
}

static void fold_array(const struct reduce *r, struct mm_run *run, const void *data, ptrdiff_t stride)
{
    run->function = NULL;
    run->n_in = 1;
    run->in[0] = (struct mm_run_arg){ .data = data, .stride = stride, .size = r->size, .len = run->out_len };
}

static int begin_fused(struct reduce *r, struct mamuto_map_s *map)
{
    struct mm_run *run = groups_run(r, map, FUSED, 0, r->plan.whole.n, r->values);
    if (r->function == &r->identity)
        run->function = NULL;
    else if (r->skip || r->again) {
        memset(r->bad_groups, 0, r->n_values);
        run->marks = r->bad_groups;
        run->fail_fast = false;
    }
    return MM_PLAN_GOES_ON;
}

static int begin_items(struct reduce *r, struct mamuto_map_s *map, uint64_t begin)
{
    struct mm_run *run = next_run(r, map, ITEMS);
    r->begin = begin;
    r->end = least(begin + r->window, r->plan.whole.n);
    run->first = begin;
    run->n = r->end - begin;
    mm_span_narrow(run);
    if (!run->result) {
        run->result = mm_span_array(r->items, begin * r->size);
        run->result_stride = (ptrdiff_t)r->size;
    }
    if (r->skip) {
        memset(r->marks, 0, run->n);
        run->marks = r->marks;
    }
    return MM_PLAN_GOES_ON;
}

static int begin_leaf(struct reduce *r, struct mamuto_map_s *map, bool some_absent)
{
    const struct mm_run *call = &r->plan.whole;
    struct mm_run *run = groups_run(r, map, LEAF, r->begin, r->end, r->values);
    if (call->result)
        fold_array(r, run, call->result, call->result_stride);
    else
        fold_array(r, run, mm_span_array(r->items, r->begin * r->size), (ptrdiff_t)r->size);
    if (some_absent) {
        r->groups.absent = r->marks;
        r->groups.absent_out = r->absent + run->first;
    }
    return MM_PLAN_GOES_ON;
}

static int begin_level(struct reduce *r, struct mamuto_map_s *map)
{
    struct mm_run *run = groups_run(r, map, LEVEL, 0, r->n_values, r->spare);
    fold_array(r, run, r->values, (ptrdiff_t)r->size);
    if (r->failed) {
        r->groups.absent = r->absent;
        r->groups.absent_out = r->spare_absent;
    }
    return MM_PLAN_GOES_ON;
}

/* --- from run to run ---------------------------------------------------------------------------------------------- */

static int finish(struct reduce *r, mamuto_error_t *err)
{
    bool absent = r->failed && r->absent[0];
    if (!absent)
        memcpy(r->plan.value, r->values, r->size);
    else if (r->plan.if_empty)
        memmove(r->plan.value, r->plan.if_empty, r->size); /* they may be one */
    if (!r->failed)
        return 0;
    mamuto_error_t all = r->first;
    all.code = MAMUTO_EITEM;
    snprintf(all.text, sizeof all.text, "%llu of %llu items failed%s; the first: %.400s", (unsigned long long)r->failed,
             (unsigned long long)r->plan.whole.n,
             absent && !r->plan.if_empty ? ", so that there is nothing to reduce" : " and were left out",
             r->first.text);
    return mm_error_copy(err, &all);
}

static int go_up(struct reduce *r, struct mamuto_map_s *map, mamuto_error_t *err)
{
    return r->n_values > 1 ? begin_level(r, map) : finish(r, err);
}

static int after_level(struct reduce *r, struct mamuto_map_s *map, mamuto_error_t *err)
{
    char *values = r->values;
    uint8_t *absent = r->absent;
    r->n_values = map->run.n;
    r->unit *= r->fanout;
    r->values = r->spare;
    r->absent = r->spare_absent;
    r->spare = values;
    r->spare_absent = absent;
    return go_up(r, map, err);
}

/* The next group of a fused run that an item failed in. */
static int next_bad(struct reduce *r, struct mamuto_map_s *map, mamuto_error_t *err)
{
    while (r->bad < r->n_values && !r->bad_groups[r->bad])
        r->bad++;
    return r->bad < r->n_values ? begin_items(r, map, r->bad++ * r->group) : go_up(r, map, err);
}

static int after_leaf(struct reduce *r, struct mamuto_map_s *map, mamuto_error_t *err)
{
    if (!r->fused)
        return r->end < r->plan.whole.n ? begin_items(r, map, r->end) : go_up(r, map, err);
    if (r->skip || r->again)
        return next_bad(r, map, err);
    r->again = true; /* what failed in this group does not fail again: all groups once more, none ends the run */
    return begin_fused(r, map);
}

static bool is_of_an_item(int status)
{
    return status == MAMUTO_EITEM || status == MAMUTO_ECRASH || status == MAMUTO_ETIMEOUT;
}

static int after_fused(struct reduce *r, struct mamuto_map_s *map, const mamuto_error_t *ran, mamuto_error_t *err)
{
    r->bad = 0;
    if (r->skip || r->again)
        return next_bad(r, map, err);
    return begin_items(r, map, ran->item / r->group * r->group);
}

/* A fold has failed: its item is one of the values that it was given. */
static int fold_failed(const struct reduce *r, const mamuto_error_t *ran, mamuto_error_t *err)
{
    mamuto_error_t why = *ran;
    if (r->phase == LEVEL && why.item != MAMUTO_NO_ITEM)
        why.item *= r->unit;
    snprintf(why.text, sizeof why.text, "%.400s, in the node that begins with item %llu", ran->text,
             (unsigned long long)why.item);
    return mm_error_copy(err, &why);
}

static int next(struct mamuto_map_s *map, int status, uint64_t failed, const mamuto_error_t *ran, mamuto_error_t *err)
{
    struct reduce *r = reduce_of(map);
    if (status && !is_of_an_item(status))
        return mm_error_copy(err, ran);
    switch (r->phase) {
    case EMPTY:
        memmove(r->plan.value, r->plan.if_empty, r->size); /* they may be one */
        return 0;
    case FUSED:
        if (!status)
            return go_up(r, map, err);
        return r->function == &r->identity ? fold_failed(r, ran, err) : after_fused(r, map, ran, err);
    case ITEMS:
        if (status && !r->skip)
            return mm_error_copy(err, ran);
        r->failed += failed;
        return begin_leaf(r, map, failed > 0);
    case LEAF:
        return status ? fold_failed(r, ran, err) : after_leaf(r, map, err);
    case LEVEL:
        return status ? fold_failed(r, ran, err) : after_level(r, map, err);
    }
    return 0;
}

static void on_item_error(struct mamuto_map_s *map, const mamuto_error_t *err)
{
    struct reduce *r = reduce_of(map);
    if (r->phase != ITEMS)
        return; /* of a group: its items are looked at one by one later */
    mm_error_copy(&r->first, err);
    if (r->n_reported++ < MOST_ERRORS)
        mm_map_tell_item_error(map, err);
}

/* --- the call ----------------------------------------------------------------------------------------------------- */

static void describe_identity(struct reduce *r, const struct mm_function *fold)
{
    r->identity = *fold;
    r->identity.signature.n_in = 1;
    r->function = &r->identity;
}

static int check_value(const struct reduce *r, const mamuto_call_t *call, mamuto_error_t *err)
{
    const struct mm_run *run = &r->plan.whole;
    const struct mm_type *type = &r->groups.fold->signature.out;
    if (!call->value)
        return mm_error_set(err, MAMUTO_EARGS, "mamuto_reduce: call.value is NULL, and %zu bytes come out of it",
                            r->size);
    if ((uintptr_t)call->value % type->elem_align)
        return mm_error_set(err, MAMUTO_EALIGN,
                            "mamuto_reduce: call.value is at an address that is no multiple of %u, as \"%s\" needs",
                            (unsigned)type->elem_align, type->dtype);
    struct mm_span value = mm_span_of(call->value, 0, r->size, 1), other;
    for (int k = 0; k < run->n_in && run->n; k++) {
        other = mm_span_of_input(run, k);
        bool overlaps = mm_span_overlap(&value, &other);
        if (run->in[k].offsets) {
            other = mm_span_of_offsets(run, k);
            overlaps |= mm_span_overlap(&value, &other);
        }
        if (overlaps)
            return mm_error_set(err, MAMUTO_EOVERLAP, "mamuto_reduce: call.value overlaps argument %d", k);
    }
    if (!run->result || !run->n)
        return 0;
    other = mm_span_of_result(run);
    if (mm_span_overlap(&value, &other))
        return mm_error_set(err, MAMUTO_EOVERLAP, "mamuto_reduce: call.value overlaps the result");
    return 0;
}

static int check(struct reduce *r, mamuto_t *m, const mamuto_call_t *call, mamuto_error_t *err)
{
    if (!call->fold)
        return mm_error_set(err, MAMUTO_EINVAL,
                            "mamuto_reduce: call.fold is NULL; it must name a function \"T, T -> T\", where T is what "
                            "call.function gives, as \"model.add\" would");
    const struct mm_function *fold = mm_mapper_find(m, call->fold, err);
    if (!fold)
        return MAMUTO_EFUNCTION;
    r->groups.fold = fold;
    if (!call->function && (call->result || call->result_stride))
        return mm_error_set(err, MAMUTO_EINVAL,
                            "mamuto_reduce: call.result is set, but call.function is NULL: the argument's items are "
                            "the results");
    if (!call->function)
        describe_identity(r, fold);
    else if ((r->function = mm_mapper_find(m, call->function, err)) == NULL)
        return MAMUTO_EFUNCTION;
    struct mm_run *run = &r->plan.whole;
    int code = mm_fold_check_form(fold, err);
    if (!code)
        code = mm_resident_check(m, r->function, call, run, err);
    if (!code)
        code = mm_fold_bind(fold, r->function, run->dims, r->groups.dims, err);
    r->size = run->out_size;
    return code ? code : check_value(r, call, err);
}

/* Of nothing: told on the loop's next turn, or at once if it is an error. */
static int check_empty(const struct reduce *r, mamuto_error_t *err)
{
    if (r->plan.if_empty)
        return 0;
    return mm_error_set(err, MAMUTO_EEMPTY, "mamuto_reduce: there is nothing to reduce, and call.if_empty is NULL");
}

static int begin(struct reduce *r, struct mamuto_map_s *map, const mamuto_call_t *call, mamuto_error_t *err)
{
    mamuto_t *m = map->mapper;
    int code = check(r, m, call, err);
    if (code)
        return code;
    r->skip = call->on_error == MAMUTO_ON_ERROR_SKIP;
    r->wait = map->run.wait;
    r->help = map->run.help;
    r->plan.value = call->value;
    r->plan.if_empty = call->if_empty;
    map->run.n = r->plan.whole.n;
    if (!map->run.n)
        return check_empty(r, err);
    if (call->function)
        code = mm_map_prepare_help(map, r->function, err);
    if (!code)
        code = mm_map_prepare_help(map, r->groups.fold, err);
    if (!code)
        code = take_scratch(r, m, err);
    if (!code)
        (void)(r->fused ? begin_fused(r, map) : begin_items(r, map, 0));
    return code;
}

static int fill(struct mamuto_map_s *map, mamuto_t *m, const mamuto_call_t *call, mamuto_error_t *err)
{
    (void)m;
    struct reduce *r = mm_alloc(sizeof *r);
    if (!r)
        return mm_error_set(err, MAMUTO_ENOMEM, "mamuto_reduce: no memory for a reduction");
    r->plan.next = next;
    r->plan.on_item_error = on_item_error;
    r->plan.fini = fini;
    map->plan = &r->plan;
    return begin(r, map, call, err);
}

int mamuto_reduce(mamuto_t *m, const mamuto_call_t *call, mamuto_map_t **map, mamuto_error_t *err)
{
    return mm_map_submit(m, "mamuto_reduce", call, fill, map, err);
}

int mamuto_reduce_wait(mamuto_t *m, const mamuto_call_t *call, mamuto_error_t *err)
{
    int code = mm_mapper_may_wait(m, "mamuto_reduce_wait", err);
    return code ? code : mm_map_submit_wait(m, "mamuto_reduce", call, fill, err);
}
