/* on_progress and on_spans: what a map's caller is told while it runs.
 *
 * One timer of the mapper, on while a map in flight has one of them: every 100 ms for on_progress, every 12 ms where there
 * is an on_spans, so that it is called less than 100 times a second. The figures and the log of what has landed are the
 * node's; here they are told. The last of the log is told when the map has ended, before its on_done.
 * Any callback may begin, cancel or close: the next map to visit is kept in m->visiting, which map.c moves on when it
 * takes that one out of its list. Called on the loop's thread.
 */
#include "core/alloc.h"
#include "core/mapper.h"

enum { PROGRESS_MS = 100, SPANS_MS = 12 };
static const uint64_t PROGRESS_NS = 95000000; /* a timer is not exact */

static void on_tick(uv_timer_t *ticker);

void mm_ticks_init(mamuto_t *m)
{
    uv_timer_init(m->loop, &m->ticker); /* cannot fail */
    m->ticker.data = m;
    uv_unref((uv_handle_t *)&m->ticker);
}

static void set_timer(mamuto_t *m)
{
    uint64_t ms = m->n_spans ? SPANS_MS : m->n_progress ? PROGRESS_MS : 0;
    if (!ms)
        uv_timer_stop(&m->ticker);
    else if (!uv_is_active((uv_handle_t *)&m->ticker) || uv_timer_get_repeat(&m->ticker) != ms) {
        uv_update_time(m->loop); /* which may be old: the caller has not been in its loop for a while */
        uv_timer_start(&m->ticker, on_tick, ms, ms);
    }
}

static void tell_spans(struct mamuto_map_s *map)
{
    size_t n = map->log.n;
    map->log.n = 0;
    if (!n)
        return;
    map->mapper->depth++;
    map->on_spans(map, map->log.at, n);
    map->mapper->depth--;
}

static void flush(struct mm_run *run) { tell_spans((struct mamuto_map_s *)(void *)run); }

void mm_ticks_prepare(struct mamuto_map_s *map, const mamuto_call_t *call)
{
    map->on_progress = call->on_progress;
    map->on_spans = call->on_spans;
    map->ticks = map->begun = false;
    map->running_ns = map->done = map->failed = map->failed_before = 0;
    if (map->on_progress || map->on_spans)
        map->called_ns = map->told_ns = uv_hrtime();
    map->log = (struct mm_span_log){ .begun_ns = map->called_ns, .flush = flush, .run = &map->run };
}

void mm_ticks_fill(struct mamuto_map_s *map)
{
    map->ticks = map->on_progress || map->on_spans;
    map->run.ticks = map->ticks;
    map->run.log = map->on_spans && !map->plan ? &map->log : NULL;
    if (!map->plan)
        return;
    map->plan->whole.ticks = map->ticks;
    map->plan->whole.log = NULL; /* its results are told of as a whole */
}

/* What has gone over the streams to other hosts since the call. */
static void put_bytes(const struct mamuto_map_s *map, mamuto_progress_t *progress)
{
    const mamuto_t *m = map->mapper;
    struct mm_node_state state = { 0 };
    if (!m->ops->hosts || !m->node)
        return;
    m->ops->describe(m->node, &state);
    progress->bytes_out = state.bytes_out - map->bytes_out;
    progress->bytes_in = state.bytes_in - map->bytes_in;
}

void mm_ticks_begin(struct mamuto_map_s *map)
{
    mamuto_t *m = map->mapper;
    mamuto_progress_t before = { 0 };
    if (!map->ticks || !map->run.n) /* of no items: never in flight */
        return;
    map->begun = true;
    map->bytes_out = map->bytes_in = 0;
    put_bytes(map, &before);
    map->bytes_out = before.bytes_out;
    map->bytes_in = before.bytes_in;
    if (map->state == MM_MAP_RUNNING)
        map->running_ns = map->called_ns;
    m->n_progress += map->on_progress != NULL;
    m->n_spans += map->on_spans != NULL;
    set_timer(m);
}

void mm_ticks_running(struct mamuto_map_s *map)
{
    if (map->ticks && !map->running_ns)
        map->running_ns = uv_hrtime();
}

void mm_ticks_ran(struct mamuto_map_s *map, uint64_t failed)
{
    if (map->plan && !map->run.groups)
        map->failed_before += failed;
}

/* A reduction: its items have landed in the value. */
static void put_whole(struct mamuto_map_s *map)
{
    mamuto_span_t span = { .count = map->plan->whole.n, .host = "localhost", .worker = -1 };
    span.start_ns = map->called_ns;
    span.end_ns = uv_hrtime();
    map->mapper->depth++;
    map->on_spans(map, &span, 1);
    map->mapper->depth--;
}

void mm_ticks_end(struct mamuto_map_s *map, int status)
{
    mamuto_t *m = map->mapper;
    if (!map->begun)
        return;
    if (map->on_spans && !map->plan)
        tell_spans(map);
    else if (map->on_spans && (!status || (status == MAMUTO_EITEM && !map->plan->whole.fail_fast)))
        put_whole(map);
    mm_free(map->log.at);
    mm_free(map->log.reported);
    map->begun = false;
    m->n_progress -= map->on_progress != NULL;
    m->n_spans -= map->on_spans != NULL;
    set_timer(m);
}

/* Items of the call that are settled, as far as can be told: of a reduction, those of its runs over values are not. */
static void look(struct mamuto_map_s *map)
{
    const struct mm_run *run = &map->run;
    uint64_t done = 0, failed = 0, total = map->plan ? map->plan->whole.n : run->n;
    if (map->state != MM_MAP_RUNNING)
        return;
    map->mapper->ops->progress(map->mapper->node, run, &done, &failed);
    if (run->groups)
        done = done < run->n ? done * run->groups->group_items : mm_run_n_items(run);
    if (map->plan)
        done += mm_run_first_item(run);
    done = done < total ? done : total;
    failed = run->groups ? map->failed_before : failed + map->failed_before;
    map->done = done > map->done ? done : map->done; /* what a death makes undone again, nobody is told of */
    map->failed = failed > map->failed ? failed : map->failed;
    map->failed = map->failed < map->done ? map->failed : map->done;
}

static void tell_progress(struct mamuto_map_s *map, uint64_t now)
{
    mamuto_t *m = map->mapper;
    uint64_t total = map->plan ? map->plan->whole.n : map->run.n;
    look(map);
    map->told_ns = now;
    double running = map->running_ns ? (double)(now - map->running_ns) / 1e9 : 0;
    mamuto_progress_t progress = { .done = map->done, .failed = map->failed, .total = total };
    progress.seconds = (double)(now - map->called_ns) / 1e9;
    progress.rate = running > 0 ? (double)map->done / running : 0;
    progress.eta = progress.rate > 0 ? (double)(total - map->done) / progress.rate : 0;
    put_bytes(map, &progress);
    m->depth++;
    map->on_progress(map, &progress);
    m->depth--;
}

static void tell(struct mamuto_map_s *map, uint64_t now)
{
    mamuto_t *m = map->mapper;
    if (map->run.log && map->state == MM_MAP_RUNNING && m->ops->spans(m->node, &map->run))
        tell_spans(map);
    if (map->state != MM_MAP_ENDED && m->state == MM_OPEN && map->on_progress && now - map->told_ns >= PROGRESS_NS)
        tell_progress(map, now);
}

static void on_tick(uv_timer_t *ticker)
{
    mamuto_t *m = ticker->data;
    const struct mm_map_list *lists[] = { &m->running, &m->queued };
    uint64_t now = uv_hrtime();
    for (int i = 0; i < 2; i++)
        for (struct mamuto_map_s *map = lists[i]->first; map && m->state == MM_OPEN; map = m->visiting) {
            m->visiting = map->next;
            if (map->begun)
                tell(map, now);
        }
    m->visiting = NULL;
}
