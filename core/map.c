/* Maps in flight: from the call to on_done.
 *
 *   checked ── node has room ──► RUNNING ── on_ran ──► on_done
 *      ├────── no room ────────► QUEUED ── a map ends ──► RUNNING
 *      └────── no items, node gone, cancelled while queued ──► ENDED ── next turn of the loop ──► on_done
 *
 * Those that are queued begin by priority, then in the order of their coming; but each MM_PLAIN_TURN-th is the one that
 * waits longest. on_done never comes from inside the call that began the map. A handle is freed when its on_done has
 * returned. Called on the loop's thread.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "core/mapper.h"
#include "core/span.h"
#include "core/varout.h"

#include <stdio.h>

static void append(struct mm_map_list *list, struct mamuto_map_s *map)
{
    map->next = NULL;
    map->previous = list->last;
    if (list->last)
        list->last->next = map;
    else
        list->first = map;
    list->last = map;
}

/* Into the queue: behind all of its priority, before those of a lower one. */
static void enqueue(struct mm_map_list *list, struct mamuto_map_s *map)
{
    struct mamuto_map_s *before = list->last;
    struct mamuto_map_s *behind = NULL;
    while (before && before->run.priority < map->run.priority) {
        behind = before;
        before = before->previous;
    }
    if (!behind) {
        append(list, map);
        return;
    }
    map->previous = before;
    map->next = behind;
    behind->previous = map;
    if (before)
        before->next = map;
    else
        list->first = map;
}

static void take_out(struct mm_map_list *list, struct mamuto_map_s *map)
{
    if (map->mapper->visiting == map)
        map->mapper->visiting = map->next;
    if (map->previous)
        map->previous->next = map->next;
    else
        list->first = map->next;
    if (map->next)
        map->next->previous = map->previous;
    else
        list->last = map->previous;
}

static struct mamuto_map_s *new_map(mamuto_t *m)
{
    struct mamuto_map_s *map = m->spare;
    m->spare = NULL;
    return map ? map : mm_alloc(sizeof *map);
}

/* The call as it was checked. */
static const struct mm_run *whole_of(const struct mamuto_map_s *map)
{
    return map->plan ? &map->plan->whole : &map->run;
}

static void end_plan(mamuto_t *m, struct mamuto_map_s *map)
{
    struct mm_plan *plan = map->plan;
    map->plan = NULL;
    if (plan)
        plan->fini(plan, m);
}

static void free_map(mamuto_t *m, struct mamuto_map_s *map)
{
    end_plan(m, map);
    if (m->spare)
        mm_free(map);
    else
        m->spare = map;
}

/* The last word on a map that is in no list any more. */
static void deliver(struct mamuto_map_s *map, int status, const mamuto_error_t *err)
{
    mamuto_t *m = map->mapper;
    map->state = MM_MAP_ENDED; /* a cancel from its own on_done finds nothing to do */
    mm_ticks_end(map, status);
    mm_keep_release(whole_of(map)); /* so that what is forgotten in on_done is gone at once */
    end_plan(m, map);
    m->depth++;
    if (map->waited) {
        map->waited->over = true;
        map->waited->status = status;
        if (status)
            mm_error_copy(map->waited->err, err);
    }
    if (map->on_done)
        map->on_done(map, status, status ? err : NULL);
    m->depth--;
    free_map(m, map);
    mm_mapper_release(m);
}

/* To be told on the loop's next turn. */
static void end_later(struct mamuto_map_s *map)
{
    map->state = MM_MAP_ENDED;
    append(&map->mapper->ended, map);
    mm_mapper_kick(map->mapper);
}

static int begin(struct mamuto_map_s *map, mamuto_error_t *err)
{
    mamuto_t *m = map->mapper;
    int code = m->queued.first && !m->lost ? MM_NODE_FULL : m->ops->run(m->node, &map->run, err);
    if (code < 0)
        return code;
    if (code == MM_NODE_FULL) {
        map->state = MM_MAP_QUEUED;
        map->run.wait = map->run.help = false; /* when it begins, the caller will be asleep */
        map->arrival = m->n_queued++;
        enqueue(&m->queued, map);
    } else {
        map->state = MM_MAP_RUNNING;
        map->fresh = true;
        append(&m->running, map);
    }
    return 0;
}

static int check_state(const mamuto_t *m, const char *name, const mamuto_call_t *call, mamuto_error_t *err)
{
    int code = mm_mapper_check_process(m, name, err);
    if (code)
        return code;
    if (!call)
        return mm_error_set(err, MAMUTO_EINVAL, "%s: the call is NULL", name);
    if (m->state == MM_OPEN)
        return 0;
    static const char *const why[] = { "is not open yet: wait for on_open", "", "could not be opened: close it",
                                       "is being closed" };
    return mm_error_set(err, MAMUTO_EINVAL, "%s: the mapper %s", name, why[m->state]);
}

int mm_map_prepare_help(struct mamuto_map_s *map, const struct mm_function *function, mamuto_error_t *err)
{
    mamuto_t *m = map->mapper;
    if (!map->run.help || !map->run.n || !function || !m->ops->prepare_help)
        return 0;
    return m->ops->prepare_help(m->node, function->module, err);
}

static int fill(struct mamuto_map_s *map, mamuto_t *m, const mamuto_call_t *call, mamuto_error_t *err)
{
    if (call->fold || call->value || call->if_empty)
        return mm_error_set(err, MAMUTO_EINVAL, "mamuto_map: call.fold, value and if_empty are for mamuto_reduce");
    const struct mm_function *function = mm_mapper_find(m, call->function, err);
    if (!function)
        return MAMUTO_EFUNCTION;
    int code = mm_resident_check(m, function, call, &map->run, err);
    if (!code && function->signature.out.variable)
        code = mm_varout_plan(map, call, err);
    return code ? code : mm_map_prepare_help(map, function, err);
}

static int submit(mamuto_t *m, const char *name, const mamuto_call_t *call, mm_map_fill *fill_in, mamuto_map_t **handle,
                  struct mm_waited *waited, mamuto_error_t *err)
{
    int code = check_state(m, name, call, err);
    if (code)
        return code;
    struct mamuto_map_s *map = new_map(m);
    if (!map)
        return mm_error_set(err, MAMUTO_ENOMEM, "%s: no memory for another map", name);
    map->mapper = m;
    map->plan = NULL;
    map->data = call->data;
    map->on_done = call->on_done;
    map->on_item_error = call->on_item_error;
    map->canceled = false;
    map->waited = waited;
    mm_ticks_prepare(map, call);
    map->run.n_in = 0;
    map->run.wait = waited != NULL;
    map->run.help = waited && call->help;
    code = fill_in(map, m, call, err);
    mm_ticks_fill(map);
    if (!code && map->run.n)
        code = begin(map, err);
    if (code) {
        free_map(m, map);
        return code;
    }
    mm_ticks_begin(map);
    mm_keep_hold(whole_of(map));
    mm_mapper_hold(m);
    if (!map->run.n)
        end_later(map);
    if (handle)
        *handle = map;
    return 0;
}

int mm_map_submit(mamuto_t *m, const char *name, const mamuto_call_t *call, mm_map_fill *fill_in, mamuto_map_t **map,
                  mamuto_error_t *err)
{
    return submit(m, name, call, fill_in, map, NULL, err);
}

int mm_map_submit_wait(mamuto_t *m, const char *name, const mamuto_call_t *call, mm_map_fill *fill_in,
                       mamuto_error_t *err)
{
    mamuto_map_t *map = NULL;
    struct mm_waited waited = { .err = err };
    int code = submit(m, name, call, fill_in, &map, &waited, err);
    if (code || !map)
        return code;
    while (!waited.over) {
        bool fresh = map->fresh && map->state == MM_MAP_RUNNING && m->ops->assist;
        map->fresh = false;
        if (!fresh)
            uv_run(&m->own_loop, UV_RUN_ONCE);
        else if (m->ops->assist(m->node, &map->run) && !waited.over) { /* works or spins, where that pays */
            map->fresh = true;
            uv_run(&m->own_loop, UV_RUN_NOWAIT);
        }
    }
    return waited.status;
}

int mamuto_map(mamuto_t *m, const mamuto_call_t *call, mamuto_map_t **map, mamuto_error_t *err)
{
    return mm_map_submit(m, "mamuto_map", call, fill, map, err);
}

int mamuto_map_wait(mamuto_t *m, const mamuto_call_t *call, mamuto_error_t *err)
{
    int code = mm_mapper_may_wait(m, "mamuto_map_wait", err);
    return code ? code : mm_map_submit_wait(m, "mamuto_map", call, fill, err);
}

int mamuto_cancel(mamuto_map_t *map)
{
    if (!map || mm_mapper_check_process(map->mapper, "mamuto_cancel", NULL))
        return MAMUTO_EINVAL;
    if (!map->mapper->node) /* taken down: close ends it with ECANCELED anyway */
        return 0;
    map->canceled = true;
    switch (map->state) {
    case MM_MAP_RUNNING:
        map->mapper->ops->cancel(map->mapper->node, &map->run);
        break;
    case MM_MAP_QUEUED:
        take_out(&map->mapper->queued, map);
        end_later(map);
        break;
    case MM_MAP_ENDED:
        break;
    }
    return 0;
}

static bool is_in(const void *at, const char *p, uint64_t bytes)
{
    return (const char *)at >= p && (const char *)at < p + bytes;
}

/* One of no bytes begins nowhere: where it would may be in another array. */
static bool begins_in(struct mm_span span, const char *p, uint64_t bytes)
{
    return span.bytes && is_in(span.low, p, bytes);
}

/* Does an array of it begin in there? All of it lies where it begins. */
static bool run_uses(const struct mm_run *run, const char *p, uint64_t bytes)
{
    bool uses = begins_in(mm_span_of_result(run), p, bytes);
    for (int k = 0; k < run->n_in; k++) {
        uses |= begins_in(mm_span_of_input(run, k), p, bytes);
        if (run->in[k].offsets)
            uses |= begins_in(mm_span_of_offsets(run, k), p, bytes);
    }
    return uses;
}

static bool plan_uses(const struct mm_plan *plan, const char *p, uint64_t bytes)
{
    return run_uses(&plan->whole, p, bytes) || is_in(plan->value, p, bytes) || is_in(plan->if_empty, p, bytes);
}

static bool list_uses(const struct mm_map_list *list, const char *p, uint64_t bytes)
{
    for (const struct mamuto_map_s *map = list->first; map; map = map->next)
        if (run_uses(&map->run, p, bytes) || (map->plan && plan_uses(map->plan, p, bytes)))
            return true;
    return false;
}

/* Is one that begins in there being kept? */
static bool keeping_uses(const mamuto_t *m, const char *p, uint64_t bytes)
{
    for (const struct mamuto_kept *kept = m->keeping; kept; kept = kept->next) {
        struct mm_run run = { .n = kept->keep.n, .n_in = 1, .in = { kept->keep.in } };
        if (run.n && run_uses(&run, p, bytes))
            return true;
    }
    return false;
}

bool mm_map_uses(const mamuto_t *m, const void *p, uint64_t bytes)
{
    return list_uses(&m->running, p, bytes) || list_uses(&m->queued, p, bytes) || keeping_uses(m, p, bytes);
}

void *mamuto_map_data(const mamuto_map_t *map) { return map->data; }

static struct mamuto_map_s *map_of(struct mm_run *run) { return (struct mamuto_map_s *)(void *)run; }

void mm_map_tell_item_error(struct mamuto_map_s *map, const mamuto_error_t *err)
{
    map->mapper->depth++;
    if (map->on_item_error)
        map->on_item_error(map, err);
    map->mapper->depth--;
}

/* The error of an item or of an array, with its function's name before it. */
static const mamuto_error_t *name_function(const struct mm_run *run, const mamuto_error_t *err, mamuto_error_t *named)
{
    bool folds = run->groups && (!run->function || (err && err->item != MAMUTO_NO_ITEM));
    const struct mm_function *function = folds ? run->groups->fold : run->function;
    char name[2 * MM_MAX_MODULE_NAME + 8];
    if (!err || (err->item == MAMUTO_NO_ITEM && err->code != MAMUTO_EARGS) || !function || !function->info.name)
        return err;
    int length = snprintf(name, sizeof name, "%s.%s: ", function->info.module, function->info.name);
    size_t n = (size_t)length < sizeof name ? (size_t)length : sizeof name - 1, rest = strlen(err->text) + 1;
    if (strncmp(err->text, name, n) == 0)
        return err;
    *named = *err;
    rest = rest < sizeof named->text - n ? rest : sizeof named->text - n;
    memcpy(named->text, name, n);
    memcpy(named->text + n, err->text, rest);
    named->text[n + rest - 1] = '\0';
    return named;
}

void mm_map_on_item_error(void *owner, struct mm_run *run, const mamuto_error_t *err)
{
    struct mamuto_map_s *map = map_of(run);
    mamuto_error_t named;
    (void)owner;
    err = name_function(run, err, &named);
    if (map->plan)
        map->plan->on_item_error(map, err);
    else
        mm_map_tell_item_error(map, err);
}

/* The queued map that is to begin next; the queue is not empty. */
static struct mamuto_map_s *next_queued(const mamuto_t *m)
{
    struct mamuto_map_s *next = m->queued.first;
    bool by_priority = next->run.priority == m->queued.last->run.priority || (m->n_begun + 1) % MM_PLAIN_TURN;
    for (struct mamuto_map_s *map = next; map && !by_priority; map = map->next)
        next = map->arrival < next->arrival ? map : next;
    return next;
}

/* There is room on the node again. */
static void begin_queued(mamuto_t *m)
{
    while (m->queued.first && m->state != MM_CLOSING) {
        struct mamuto_map_s *map = next_queued(m);
        mamuto_error_t err = { 0 };
        int code = m->ops->run(m->node, &map->run, &err);
        if (code == MM_NODE_FULL)
            return;
        m->lost |= code == MAMUTO_EHOST ||
                   code == MAMUTO_ENOHOST; /* what on_done begins anew is refused, not queued for ever */
        m->n_begun++;
        take_out(&m->queued, map);
        if (code) {
            deliver(map, code, &err);
            continue;
        }
        map->state = MM_MAP_RUNNING;
        append(&m->running, map);
        mm_ticks_running(map);
    }
}

/* The run of a plan has ended so. true: the next one has begun. */
static bool goes_on(struct mamuto_map_s *map, int *status, uint64_t failed, const mamuto_error_t *ran,
                    mamuto_error_t *err)
{
    if (map->canceled && !*status)
        *status = mm_error_set(err, MAMUTO_ECANCELED, "the map was cancelled");
    else if ((*status = map->plan->next(map, *status, failed, ran, err)) == MM_PLAN_GOES_ON)
        *status = begin(map, err);
    else
        return false;
    return *status == 0;
}

void mm_map_on_ran(void *owner, struct mm_run *run, int status, uint64_t failed, const mamuto_error_t *err)
{
    mamuto_t *m = owner;
    struct mamuto_map_s *map = map_of(run);
    mamuto_error_t outcome, named;
    take_out(&m->running, map);
    outcome.code = 0; /* large: its code alone says whether it is filled */
    if (status)
        err = name_function(run, err, &named);
    mm_ticks_ran(map, failed);
    bool more = map->plan && goes_on(map, &status, failed, err, &outcome);
    if (!more)
        deliver(map, status, outcome.code ? &outcome : err);
    if (m->queued.first)
        begin_queued(m);
}

static void deliver_canceled(struct mamuto_map_s *map)
{
    mamuto_error_t err = { 0 };
    int code = mm_error_set(&err, MAMUTO_ECANCELED, "the map was cancelled");
    deliver(map, code, &err);
}

/* A map of no items: no run, but a plan may have something to give. */
static void deliver_empty(struct mamuto_map_s *map)
{
    mamuto_error_t err = { 0 };
    int status = map->plan ? map->plan->next(map, 0, 0, NULL, &err) : 0;
    deliver(map, status, &err);
}

void mm_map_deliver_ended(mamuto_t *m)
{
    struct mamuto_map_s *last = m->ended.last, *map;
    while (last && (map = m->ended.first) != NULL) {
        take_out(&m->ended, map);
        if (map->canceled)
            deliver_canceled(map);
        else
            deliver_empty(map);
        if (map == last)
            return; /* what ended meanwhile waits for another turn */
    }
}

void mm_map_cancel_all(mamuto_t *m)
{
    struct mm_map_list *lists[] = { &m->ended, &m->running, &m->queued };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        while (lists[i]->first) {
            struct mamuto_map_s *map = lists[i]->first;
            take_out(lists[i], map);
            deliver_canceled(map);
        }
    mm_free(m->spare);
    m->spare = NULL;
}
