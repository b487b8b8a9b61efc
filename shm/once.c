/* Maps in which no item is run twice, for functions with effects of their own.
 *
 * A chunk runs in short blocks of whole grains: about 2 µs, 20 µs where arrays pass through buffers, one grain at least.
 * A block is named before it runs (cursor, then block_end: in between it is empty), and its done words are stored before
 * the next one is named. So of a lane that has died, the grains within its block that are not done may have run: the
 * sweep settles them as failed. Those behind the block have not begun, and are run by others.
 * An item that fails is recorded at once, by its index, and is not tried again: nothing is run singly. A function that
 * returns non-zero fails all items of that call. Called by lanes, through shm/run.c.
 */
#include "shm/once.h"

#include "shm/clock.h"
#include "shm/spans.h"

#include <stdio.h>

static const double BLOCK_US = 2, SPAN_US = 100, STAGED_BLOCK_US = 20;

/* i: of the run of items that goes on, which may take several calls. */
static bool is_marked(const struct mm_runner *runner, uint64_t i) { return runner->once_failed[i / 64] >> i % 64 & 1; }

/* Item i of a call as one of the run. */
static uint64_t place(const struct mm_runner *runner, const mamuto_chunk_t *chunk, size_t i)
{
    return chunk->first - runner->map->first - runner->once_first + i;
}

static bool run_items(struct mm_runner *runner, uint64_t begin, uint64_t end)
{
    memset(runner->once_failed, 0, (end - begin + 63) / 64 * sizeof *runner->once_failed);
    runner->any_once_failed = false;
    runner->once_first = begin;
    return mm_runner_items(runner, begin, end);
}

void mm_once_fail(mamuto_chunk_t *chunk, size_t i, int code, const char *text)
{
    struct mm_runner *runner = chunk->host;
    struct mm_failure failure = { .code = MAMUTO_EITEM, .item_code = code ? code : 1 };
    if (i >= chunk->count) /* no item of this call: the last one is told of it */
        i = chunk->count - 1;
    uint64_t at = place(runner, chunk, i);
    if (is_marked(runner, at))
        return;
    snprintf(failure.text, sizeof failure.text, "%s", text ? text : "");
    runner->once_failed[at / 64] |= UINT64_C(1) << at % 64;
    runner->any_once_failed = true;
    mm_record_add(runner->map, runner->gen, chunk->first + i, runner->eventfd < 0 ? -1 : (int)runner->self, 0,
                  &failure);
    if (runner->map->flags & MM_MAP_FAIL_FAST)
        atomic_fetch_or(&runner->map->stop, MM_STOP);
    MM_POINT("once-failed");
}

/* The item has failed for good: its result is zeroed (what it emitted is dropped), and it is marked where that is wanted. */
static void settle(struct mm_runner *runner, mamuto_chunk_t *chunk, size_t i)
{
    const struct mm_board_map *map = runner->map;
    if (map->flags & MM_MAP_EMITS)
        runner->emitter.records[i] = 0;
    else if (chunk->out)
        memset(chunk->out + (ptrdiff_t)i * chunk->out_stride, 0, chunk->out_size);
    if (map->flags & MM_MAP_MARKS)
        runner->view->arena_write[map->marks + (chunk->first - map->first) + i] = 1;
}

void mm_once_end(struct mm_runner *runner, mamuto_chunk_t *chunk, int code)
{
    for (size_t i = 0; code && i < chunk->count; i++)
        mm_once_fail(chunk, i, code, NULL);
    for (size_t i = 0; runner->any_once_failed && i < chunk->count; i++)
        if (is_marked(runner, place(runner, chunk, i)))
            settle(runner, chunk, i);
}

/* Grains of a block: as many as fit into one call, and take so long. */
static uint32_t block_grains(const struct mm_runner *runner, uint64_t most)
{
    const struct mm_board_map *map = runner->map;
    double item_ticks = runner->pace[mm_map_slot(runner->gen)].item_ticks;
    double us = runner->staged ? STAGED_BLOCK_US : BLOCK_US;
    double grains = us * runner->board->ticks_per_us / (item_ticks * (double)map->grain_items);
    uint64_t fit = most / map->grain_items;
    if (item_ticks <= 0 || grains < 1 || fit < 1) /* of unknown cost: one by one */
        return 1;
    return grains < (double)fit ? (uint32_t)grains : (uint32_t)fit;
}

/* Items that have failed in the run that has just ended, of those from one on. */
static uint32_t failed_in(const struct mm_runner *runner, uint64_t from, uint64_t n)
{
    uint32_t failed = 0;
    for (uint64_t i = from; runner->any_once_failed && i < from + n; i++)
        failed += is_marked(runner, i);
    return failed;
}

static void name_block(struct mm_lane *lane, uint64_t begin, uint64_t end)
{
    atomic_store_explicit(&lane->cursor, begin, memory_order_release);
    MM_POINT("once-cursor");
    atomic_store_explicit(&lane->block_end, end, memory_order_release);
    MM_POINT("once-block");
}

static bool commit(struct mm_runner *runner, uint32_t begin, uint32_t end, uint32_t failed_before)
{
    struct mm_board_map *map = runner->map;
    uint64_t first = mm_grain_item(map, begin);
    bool complete = false;
    for (uint32_t i = begin; i < end; i++) {
        uint64_t at = mm_grain_item(map, i), next = mm_grain_item(map, i + 1);
        uint32_t failed = end - begin > 1 ? failed_in(runner, at - first, next - at) : failed_before;
        complete = mm_grain_commit(map, runner->gen, i, failed);
    }
    return complete;
}

/* Blocks that are not logged yet: those of about 100 µs together, or of the rest of the chunk. */
struct pending {
    uint32_t begin;
    uint64_t start;
};

static void log_blocks(struct mm_runner *runner, struct pending *pending, uint32_t end, bool last)
{
    uint64_t now = mm_ticks();
    if (!last && (double)(now - pending->start) < SPAN_US * runner->board->ticks_per_us)
        return;
    mm_spans_log(runner->board, runner->self, runner->gen, pending->begin, end, pending->start);
    *pending = (struct pending){ end, now };
}

/* One block, in several calls where a grain does not fit into one. false: the map is stopped. */
static bool run_block(struct mm_runner *runner, uint32_t begin, uint32_t end, uint64_t most, uint32_t *n_failed)
{
    uint64_t i = mm_grain_item(runner->map, begin), last = mm_grain_item(runner->map, end);
    uint32_t failed = 0;
    name_block(&runner->board->lanes[runner->self], i, last);
    for (uint64_t next; i < last; i = next) {
        next = last - i > most ? i + most : last;
        if (!run_items(runner, i, next))
            return false;
        failed += failed_in(runner, 0, next - i);
    }
    MM_POINT("once-ran");
    *n_failed = failed;
    return true;
}

bool mm_once_run(struct mm_runner *runner, const struct mm_taken *taken)
{
    uint64_t most = runner->staged ? mm_peer_piece(runner->map) : MM_ONCE_ITEMS;
    if (most > MM_ONCE_ITEMS)
        most = MM_ONCE_ITEMS;
    uint32_t block = block_grains(runner, most);
    struct pending pending = { taken->begin, mm_ticks() };
    bool complete = false;
    uint32_t failed = 0;
    for (uint32_t i = taken->begin, next; i < taken->end; i = next) {
        next = taken->end - i > block ? i + block : taken->end;
        if (mm_map_stopped(runner->map) || !run_block(runner, i, next, most, &failed))
            break;
        if (runner->map->flags & MM_MAP_SPANS)
            log_blocks(runner, &pending, next, next == taken->end);
        complete = commit(runner, i, next, failed);
    }
    return complete;
}
