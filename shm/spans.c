/* Spans: which grains a lane has finished, from when to when.
 *
 * A lane writes an entry into its ring before it stores the done words of a map with MM_MAP_SPANS; nothing else is
 * written, and nothing at all for other maps. The owner reads the rings every few milliseconds, and once more when a map
 * has ended, and keeps a bit for each grain that it has put into the log. A grain goes into the log once, and only if
 * its done word is set. What a full ring, a death or a stray write has lost is found in the done words at the end, and is
 * logged with worker -1, for the whole time from the call on: so each item that has landed is told exactly once.
 * Called by lanes (mm_spans_log) and by the owner's thread (the rest).
 */
#include "shm/spans.h"

#include "core/alloc.h"
#include "core/error.h"
#include "shm/clock.h"

enum { FIRST_ROOM = 64, UNKNOWN = -1 };

/* Who has run grains, and when. */
struct span {
    int worker;
    uint64_t start_ns, end_ns;
};

void mm_spans_log(struct mm_board *board, uint32_t self, uint64_t gen, uint32_t begin, uint32_t end, uint64_t start)
{
    struct mm_span_ring *ring = &board->rings[self];
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head - atomic_load_explicit(&ring->tail, memory_order_acquire) >= MM_RING_SPANS)
        return;
    struct mm_span_entry *entry = &ring->entries[head % MM_RING_SPANS];
    atomic_store_explicit(&entry->gen, gen, memory_order_relaxed);
    atomic_store_explicit(&entry->begin, begin, memory_order_relaxed);
    atomic_store_explicit(&entry->end, end, memory_order_relaxed);
    atomic_store_explicit(&entry->start, start, memory_order_relaxed);
    atomic_store_explicit(&entry->stop, mm_ticks(), memory_order_relaxed);
    MM_POINT("span-filled");
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    MM_POINT("span-logged");
}

int mm_spans_begin(struct mm_run *run, const struct mm_board_map *map, mamuto_error_t *err)
{
    struct mm_span_log *log = run->log;
    log->reported = mm_alloc_array((map->n_grains + 63) / 64, sizeof *log->reported);
    log->at = mm_alloc_array(FIRST_ROOM, sizeof *log->at);
    log->room = FIRST_ROOM;
    log->n = 0;
    return log->reported && log->at ? 0 : mm_error_set(err, MAMUTO_ENOMEM, "no memory for the spans of a map");
}

/* Room for one more: the log grows, or is told at once. */
static void make_room(struct mm_span_log *log)
{
    if (log->n < log->room)
        return;
    mamuto_span_t *more = mm_realloc(log->at, 2 * log->room * sizeof *more);
    if (!more) {
        log->flush(log->run);
        return;
    }
    log->at = more;
    log->room *= 2;
}

static void put(struct mm_span_log *log, const struct mm_board_map *map, uint32_t begin, uint32_t end,
                const struct span *span)
{
    uint64_t first = map->first + mm_grain_item(map, begin), count = map->first + mm_grain_item(map, end) - first;
    mamuto_span_t *last = log->n ? &log->at[log->n - 1] : NULL;
    if (last && last->worker == span->worker && last->first + last->count == first) {
        last->count += count;
        last->start_ns = span->start_ns < last->start_ns ? span->start_ns : last->start_ns;
        last->end_ns = span->end_ns > last->end_ns ? span->end_ns : last->end_ns;
        return;
    }
    make_room(log);
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a log begins with room */
    log->at[log->n++] = (mamuto_span_t){ .first = first,
                                         .count = count,
                                         .host = "localhost",
                                         .worker = span->worker,
                                         .start_ns = span->start_ns,
                                         .end_ns = span->end_ns };
}

/* Of these grains, those that are done and not in the log yet. */
static void put_new(struct mm_span_log *log, struct mm_board_map *map, uint64_t gen, uint32_t begin, uint32_t end,
                    const struct span *span)
{
    const _Atomic uint64_t *done = mm_map_done(map);
    uint32_t from = begin;
    for (uint32_t i = begin; i < end; i++) {
        bool is_done = atomic_load_explicit(&done[i], memory_order_acquire) >> 32 == mm_map_tag(gen);
        if (is_done && !(log->reported[i / 64] >> i % 64 & 1)) {
            log->reported[i / 64] |= UINT64_C(1) << i % 64;
            continue;
        }
        if (from < i)
            put(log, map, from, i, span);
        from = i + 1;
    }
    if (from < end)
        put(log, map, from, end, span);
}

/* A moment of the tick counter on the clock, of which this is one pair of readings. */
struct anchor {
    uint64_t ticks, ns;
    double ticks_per_us;
};

static uint64_t ns_of(const struct anchor *anchor, uint64_t ticks)
{
    double ago = ticks < anchor->ticks ? (double)(anchor->ticks - ticks) / anchor->ticks_per_us * 1000 : 0;
    return ago < (double)anchor->ns ? anchor->ns - (uint64_t)ago : 0;
}

/* Is the lane about to store its done words? */
static bool is_pending(struct mm_board *board, uint32_t lane, struct mm_board_map *map, uint64_t gen, uint32_t end)
{
    bool is_done = atomic_load(&mm_map_done(map)[end - 1]) >> 32 == mm_map_tag(gen);
    return !is_done && !mm_map_stopped(map) && atomic_load(&board->lanes[lane].in) == gen &&
           mm_claim_state(atomic_load(&board->lanes[lane].claim)) == MM_CLAIM_OWNED;
}

/* false: it is to be looked at later. */
static bool drain_entry(struct mm_jobs *jobs, const struct mm_span_entry *entry, uint32_t lane,
                        const struct anchor *anchor)
{
    uint64_t gen = atomic_load_explicit(&entry->gen, memory_order_relaxed);
    uint32_t begin = atomic_load_explicit(&entry->begin, memory_order_relaxed);
    uint32_t end = atomic_load_explicit(&entry->end, memory_order_relaxed);
    const struct mm_job *job = &jobs->slots[mm_map_slot(gen)];
    if (!job->run || job->gen != gen || !job->run->log)
        return true;
    struct mm_board_map *map = mm_job_map(jobs, job);
    if (begin >= end || end > map->n_grains) /* what a damaged process has left behind */
        return true;
    if (is_pending(jobs->pool->board, lane, map, gen, end))
        return false;
    struct span span = { lane < jobs->pool->board->n_workers ? (int)lane : UNKNOWN,
                         ns_of(anchor, atomic_load_explicit(&entry->start, memory_order_relaxed)),
                         ns_of(anchor, atomic_load_explicit(&entry->stop, memory_order_relaxed)) };
    if (span.start_ns < job->run->log->begun_ns)
        span.start_ns = job->run->log->begun_ns;
    if (span.end_ns < span.start_ns)
        span.end_ns = span.start_ns;
    put_new(job->run->log, map, gen, begin, end, &span);
    return true;
}

void mm_spans_drain(struct mm_jobs *jobs)
{
    struct mm_board *board = jobs->pool->board;
    struct anchor anchor = { mm_ticks(), mm_now_ns(), board->ticks_per_us };
    for (uint32_t i = 0; i <= board->n_workers; i++) {
        struct mm_span_ring *ring = &board->rings[i];
        uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
        uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        if (head == tail)
            continue;
        if (head - tail > MM_RING_SPANS) /* damaged */
            tail = head;
        while (tail != head && drain_entry(jobs, &ring->entries[tail % MM_RING_SPANS], i, &anchor))
            tail++;
        atomic_store_explicit(&ring->tail, tail, memory_order_release);
    }
}

void mm_spans_finish(struct mm_jobs *jobs, struct mm_job *job)
{
    struct mm_span_log *log = job->run->log;
    if (!log)
        return;
    mm_spans_drain(jobs);
    struct mm_board_map *map = mm_job_map(jobs, job);
    struct span span = { UNKNOWN, log->begun_ns, mm_now_ns() };
    put_new(log, map, job->gen, 0, map->n_grains, &span);
}
