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

void mm_ticks_fill(struct mamuto_map_s *map, const mamuto_call_t *call)
{
    map->on_progress = call->on_progress;
    map->on_spans = call->on_spans;
    map->run.ticks = call->on_progress || call->on_spans;
    map->run.log = call->on_spans ? &map->log : NULL;
    if (!map->run.ticks)
        return;
    map->called_ns = map->told_ns = uv_hrtime();
    map->running_ns = map->done = map->failed = 0;
    map->log = (struct mm_span_log){ .begun_ns = map->called_ns, .flush = flush, .run = &map->run };
}

void mm_ticks_begin(struct mamuto_map_s *map)
{
    mamuto_t *m = map->mapper;
    if (!map->run.ticks)
        return;
    if (map->state == MM_MAP_RUNNING)
        map->running_ns = map->called_ns;
    m->n_progress += map->on_progress != NULL;
    m->n_spans += map->on_spans != NULL;
    set_timer(m);
}

void mm_ticks_end(struct mamuto_map_s *map)
{
    mamuto_t *m = map->mapper;
    if (!map->run.ticks || !map->run.n) /* one of no items never was in flight */
        return;
    if (map->on_spans)
        tell_spans(map);
    mm_free(map->log.at);
    mm_free(map->log.reported);
    m->n_progress -= map->on_progress != NULL;
    m->n_spans -= map->on_spans != NULL;
    map->run.ticks = false;
    set_timer(m);
}

static void tell_progress(struct mamuto_map_s *map, uint64_t now)
{
    mamuto_t *m = map->mapper;
    uint64_t done = map->done, failed = map->failed;
    if (map->state == MM_MAP_RUNNING)
        m->ops->progress(m->node, &map->run, &done, &failed);
    map->done = done > map->done ? done : map->done; /* whatever a death makes undone again, nobody is told of that */
    map->failed = failed > map->failed ? failed : map->failed;
    map->told_ns = now;
    double running = map->running_ns ? (double)(now - map->running_ns) / 1e9 : 0;
    mamuto_progress_t progress = { .done = map->done, .failed = map->failed, .total = map->run.n };
    progress.seconds = (double)(now - map->called_ns) / 1e9;
    progress.rate = running > 0 ? (double)map->done / running : 0;
    progress.eta = progress.rate > 0 ? (double)(map->run.n - map->done) / progress.rate : 0;
    m->depth++;
    map->on_progress(map, &progress);
    m->depth--;
}

static void tell(struct mamuto_map_s *map, uint64_t now)
{
    mamuto_t *m = map->mapper;
    if (map->on_spans && map->state == MM_MAP_RUNNING && m->ops->spans(m->node, &map->run))
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
            if (map->run.ticks)
                tell(map, now);
        }
    m->visiting = NULL;
}
