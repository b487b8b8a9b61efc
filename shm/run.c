/* A lane's chunk: arguments resolved, the function called in blocks, results stored, failures recorded, grains committed.
 *
 * A chunk runs in blocks of about 10 µs, whose bounds the lane stores, so that a death puts one block under suspicion; the
 * map's stop word is looked at every 50 µs. If an item fails in a chunk, the chunk is run again one item a call under the
 * lane's cursor, which names the items that fail; a block whose lane died comes back from the sweep in the same way. No
 * clock is read and nothing is stored per item otherwise.
 * How items are called, wherever they lie, is in shm/items.c.
 * Called by workers and by a helping caller. Does not claim (shm/claim.c) and does not sleep (shm/park.c).
 */
#include "shm/run.h"

#include "shm/clock.h"
#include "shm/gather.h"
#include "shm/group.h"
#include "shm/items.h"
#include "shm/once.h"
#include "shm/park.h"
#include "shm/spans.h"

#include <stdio.h>

static const double BLOCK_US = 10, STAGED_BLOCK_US = 200, STOP_LOOK_US = 50;

void mm_runner_stop(struct mm_runner *runner, int code, const char *text)
{
    struct mm_failure failure = { .code = code };
    snprintf(failure.text, sizeof failure.text, "%s", text);
    mm_record_add(runner->map, runner->gen, MAMUTO_NO_ITEM, (int)runner->self, 0, &failure);
    atomic_fetch_or(&runner->map->stop, MM_STOP);
    MM_POINT("map-stopped");
}

bool mm_runner_prepare(struct mm_runner *runner, struct mm_board_map *map, uint64_t gen)
{
    if (runner->gen == gen)
        return true;
    runner->gen = gen;
    runner->map = map;
    runner->run = map->flags & MM_MAP_BUILTIN ? mm_gather_function(map->op) : NULL;
    if (map->module != MM_NO_FUNCTION)
        runner->run = runner->modules[map->module].functions[map->function]->run;
    if (map->flags & MM_MAP_GROUPS)
        mm_group_prepare(runner);
    struct mm_pace *pace = &runner->pace[mm_map_slot(gen)];
    if (pace->gen != gen) /* else it comes back from another map: what it has learnt stands */
        *pace = (struct mm_pace){ .gen = gen, .item_ticks = map->item_ticks };
    if (mm_items_prepare(runner))
        return true;
    runner->gen = 0;
    return false;
}

uint64_t mm_runner_first(const struct mm_runner *runner) { return runner->base.first; }

static enum mm_outcome run_groups(struct mm_runner *runner, uint64_t begin, uint64_t end)
{
    enum mm_outcome outcome = MM_RAN;
    for (uint64_t group = begin; group < end && outcome == MM_RAN; group++)
        outcome = mm_group_run(runner, group);
    return outcome;
}

static enum mm_outcome run_items(struct mm_runner *runner, uint64_t begin, uint64_t end)
{
    runner->failure.code = 0;
    runner->failure.node_item = 0;
    return runner->map->flags & MM_MAP_GROUPS ? run_groups(runner, begin, end) : mm_items_run(runner, begin, end);
}

bool mm_runner_items(struct mm_runner *runner, uint64_t begin, uint64_t end)
{
    return run_items(runner, begin, end) == MM_RAN;
}

/* Items that take about so long, of at most `all`. */
static uint64_t items_in(const struct mm_runner *runner, double us, uint64_t all)
{
    double item_ticks = runner->pace[mm_map_slot(runner->gen)].item_ticks;
    double items = item_ticks > 0 ? us * runner->board->ticks_per_us / item_ticks : (double)all;
    return items < 1 ? 1 : items < (double)all ? (uint64_t)items : all;
}

/* Items of a block: what a death costs to run again one by one. */
static uint64_t block_items(const struct mm_runner *runner, uint64_t all)
{
    uint64_t block = items_in(runner, runner->staged ? STAGED_BLOCK_US : BLOCK_US, all);
    uint64_t most = runner->map->flags & MM_MAP_GROUPS ? MM_ITEMS_MOST : mm_items_most(runner);
    return block < most ? block : most;
}

static enum mm_outcome run_block(struct mm_runner *runner, struct mm_lane *lane, uint64_t begin, uint64_t end)
{
    atomic_store_explicit(&lane->block_end, end, memory_order_relaxed);
    MM_POINT("block-end");
    atomic_store_explicit(&lane->cursor, begin, memory_order_release);
    MM_POINT("block");
    return run_items(runner, begin, end);
}

static enum mm_outcome run_whole(struct mm_runner *runner, const struct mm_taken *taken)
{
    struct mm_lane *lane = &runner->board->lanes[runner->self];
    uint64_t i = mm_grain_item(runner->map, taken->begin), end = mm_grain_item(runner->map, taken->end);
    uint64_t block = block_items(runner, end - i), look = items_in(runner, STOP_LOOK_US, end - i), looked = i;
    enum mm_outcome outcome = MM_RAN;
    while (i < end && outcome == MM_RAN) {
        uint64_t stop = end - i > block ? i + block : end;
        outcome = run_block(runner, lane, i, stop);
        i = stop;
        if (i - looked < look || i == end)
            continue;
        if (outcome == MM_RAN && mm_map_stopped(runner->map))
            return MM_STOPPED;
        looked = i;
    }
    return outcome;
}

void mm_record_add(struct mm_board_map *map, uint64_t gen, uint64_t item, int worker, int signal,
                   const struct mm_failure *failure)
{
    uint32_t i = atomic_fetch_add(&map->n_records, 1);
    MM_POINT("record-counted");
    if (item != MAMUTO_NO_ITEM && i >= MM_MAX_RECORDS)
        return;
    struct mm_record *record = item == MAMUTO_NO_ITEM ? &map->ended[worker] : &map->records[i];
    record->code = failure->code;
    record->item_code = failure->item_code;
    record->signal = signal;
    record->worker = worker;
    record->item = item;
    record->node_item = failure->node_item;
    memcpy(record->text, failure->text, sizeof record->text);
    MM_POINT("record-filled");
    atomic_store_explicit(&record->ready, mm_map_tag(gen), memory_order_release);
    MM_POINT("record-ready");
}

/* The item has failed for good: recorded, its result zeroed. */
static void settle_failed(struct mm_runner *runner, uint64_t item)
{
    struct mm_board_map *map = runner->map;
    mm_items_zero(runner, item);
    if (map->flags & MM_MAP_MARKS)
        runner->view->arena_write[map->marks + item] = 1;
    MM_POINT("zeroed");
    int worker = runner->eventfd < 0 ? -1 : (int)runner->self;
    mm_record_add(map, runner->gen, map->first + item, worker, 0, &runner->failure);
    if (map->flags & MM_MAP_FAIL_FAST)
        atomic_fetch_or(&map->stop, MM_STOP);
    MM_POINT("settled");
}

/* One item, with its retries. MM_FAILED: for good. */
static enum mm_outcome run_one(struct mm_runner *runner, struct mm_lane *lane, uint64_t item, uint32_t attempts)
{
    enum mm_outcome outcome;
    uint32_t spared = attempts & MM_SPARED, failures = attempts ^ spared;
    do {
        atomic_store_explicit(&lane->attempts, failures | spared, memory_order_relaxed);
        MM_POINT("attempt");
        outcome = run_items(runner, item, item + 1);
        MM_POINT("item-ran");
    } while (outcome == MM_FAILED && failures++ < runner->map->retries);
    if (outcome == MM_FAILED)
        settle_failed(runner, item);
    return outcome;
}

/* Items of the chunk one by one. The cursor names the one that runs; failed[] beside it, by the cursor's lowest bit,
 * changes with it in one store, so that a death leaves both in step. true: all grains of the map look done. */
static bool run_singly(struct mm_runner *runner, const struct mm_taken *taken)
{
    uint64_t start = mm_ticks();
    struct mm_board_map *map = runner->map;
    struct mm_lane *lane = &runner->board->lanes[runner->self];
    uint64_t item = taken->first_item;
    uint32_t failed = taken->failed, attempts = taken->attempts, spared = attempts & MM_SPARED;
    bool complete = false;
    for (uint32_t grain = taken->begin; grain < taken->end; grain++) {
        for (uint64_t end = mm_grain_item(map, grain + 1); item < end; item++, attempts = spared) {
            enum mm_outcome outcome = run_one(runner, lane, item, attempts);
            if (outcome == MM_STOPPED)
                return complete;
            failed += outcome == MM_FAILED;
            if (item + 1 == end) {
                if (map->flags & MM_MAP_SPANS)
                    mm_spans_log(runner->board, runner->self, runner->gen, grain, grain + 1, start);
                start = mm_ticks();
                complete = mm_grain_commit(map, runner->gen, grain, failed);
                failed = 0;
            }
            atomic_store_explicit(&lane->attempts, spared, memory_order_relaxed);
            MM_POINT("attempts-cleared");
            atomic_store_explicit(&lane->failed[(item + 1) & 1], failed, memory_order_relaxed);
            MM_POINT("failed-moved");
            atomic_store_explicit(&lane->cursor, item + 1, memory_order_release);
            MM_POINT("cursor");
            if (mm_map_stopped(map))
                return complete;
        }
    }
    return complete;
}

/* A chunk that ran whole took so long. */
static void account(struct mm_runner *runner, const struct mm_taken *taken, uint64_t ticks)
{
    struct mm_board_map *map = runner->map;
    runner->busy_ticks += ticks;
    uint64_t items = mm_grain_item(map, taken->end) - mm_grain_item(map, taken->begin);
    mm_pace_learn(&runner->pace[mm_map_slot(runner->gen)], items, ticks, runner->board->ticks_per_us);
    MM_POINT("ran");
    atomic_fetch_add_explicit(&map->busy_ticks, ticks, memory_order_relaxed);
    MM_POINT("timed");
}

void mm_runner_execute(struct mm_runner *runner, struct mm_taken *taken)
{
    struct mm_board_map *map = runner->map;
    struct mm_lane *lane = &runner->board->lanes[runner->self];
    bool complete = false, once = map->flags & MM_MAP_ONCE;
    uint64_t start = mm_ticks();
    enum mm_outcome outcome = once || taken->singly ? MM_FAILED : run_whole(runner, taken);
    if (once) {
        complete = mm_once_run(runner, taken);
        if (!mm_map_stopped(map))
            account(runner, taken, mm_ticks() - start);
        mm_claim_release(lane);
    } else if (outcome == MM_RAN) {
        account(runner, taken, mm_ticks() - start);
        if (map->flags & MM_MAP_SPANS)
            mm_spans_log(runner->board, runner->self, runner->gen, taken->begin, taken->end, start);
        complete = mm_chunk_commit(map, runner->gen, lane, taken->begin, taken->end);
    } else {
        if (outcome == MM_FAILED) {
            if (!taken->singly)
                mm_claim_make_singly(runner->board, map, runner->self, taken);
            complete = run_singly(runner, taken);
        }
        uint64_t ticks = mm_ticks() - start;
        runner->busy_ticks += ticks;
        atomic_fetch_add_explicit(&map->singly_ticks, ticks, memory_order_relaxed);
        mm_claim_release(lane);
    }
    bool tell = atomic_load(&map->stop) & MM_NOTIFY || (complete && atomic_load(&runner->board->polling));
    if (runner->eventfd >= 0 && tell)
        mm_wake_master(runner->board, runner->eventfd);
}

void mm_runner_fini(struct mm_runner *runner)
{
    mm_peer_fini(&runner->peer);
    for (int k = 0; k < MAMUTO_MAX_ARGS; k++)
        mm_buffer_fini(&runner->packed[k]);
    mm_group_fini(&runner->folder);
}
