/* A lane's chunk: arguments resolved, the function called in blocks, results stored, failures recorded, grains committed.
 *
 * A chunk runs in blocks of about 10 µs, whose bounds the lane stores, so that a death puts one block under suspicion; the
 * map's stop word is looked at every 50 µs. If an item fails in a chunk, the chunk is run again one item a call under the
 * lane's cursor, which names the items that fail; a block whose lane died comes back from the sweep in the same way. No
 * clock is read and nothing is stored per item otherwise.
 * Private arrays pass through the lane's buffers in pieces (shm/peer.c); a helping caller works on them in place.
 * Called by workers and by a helping caller. Does not claim (shm/claim.c) and does not sleep (shm/park.c).
 */
#include "shm/run.h"

#include "shm/clock.h"
#include "shm/gather.h"
#include "shm/group.h"
#include "shm/park.h"

#include <stdio.h>

static const double BLOCK_US = 10, STAGED_BLOCK_US = 200, STOP_LOOK_US = 50;
enum { BLOCK_ITEMS = 8192 };

static void on_fail(mamuto_chunk_t *chunk, size_t i, int code, const char *text)
{
    (void)i; /* which item it is becomes known when it runs alone */
    struct mm_failure *failure = &((struct mm_runner *)chunk->host)->failure;
    if (failure->code)
        return;
    failure->code = MAMUTO_EITEM;
    failure->item_code = code ? code : 1;
    snprintf(failure->text, sizeof failure->text, "%s", text ? text : "");
}

static const void *on_pack(mamuto_chunk_t *chunk, int k)
{
    struct mm_runner *runner = chunk->host;
    const mamuto_chunk_in_t *in = &chunk->in[k];
    char *room = NULL;
    size_t bytes;
    if (!__builtin_mul_overflow(chunk->count, in->size, &bytes))
        room = mm_buffer_reserve(&runner->packed[k], bytes ? bytes : 1);
    for (size_t i = 0; room && i < chunk->count; i++)
        memcpy(room + i * in->size, in->data + (ptrdiff_t)i * in->stride, in->size);
    return room;
}

static bool is_in_place(const struct mm_runner *runner) { return runner->peer.pid == 0; }

/* Where an argument begins in this process; NULL: its pieces come through the peer's buffers. */
static const char *resolve(const struct mm_runner *runner, const struct mm_board_map *map,
                           const struct mm_board_arg *arg)
{
    union {
        uint64_t number;
        const char *pointer;
    } address = { .number = arg->offset };
    switch ((enum mm_where)arg->where) {
    case MM_WHERE_ARENA:
        return runner->view->arena_read + arg->offset;
    case MM_WHERE_ATTACHED:
        return runner->view->attached[arg->region].base + arg->offset;
    case MM_WHERE_INLINE:
        return map->inline_bytes + arg->offset;
    case MM_WHERE_PRIVATE:
        return is_in_place(runner) ? address.pointer : NULL;
    case MM_WHERE_NONE:
        break;
    }
    return NULL;
}

void mm_runner_stop(struct mm_runner *runner, int code, const char *text)
{
    struct mm_failure failure = { .code = code };
    snprintf(failure.text, sizeof failure.text, "%s", text);
    mm_record_add(runner->map, runner->gen, MAMUTO_NO_ITEM, (int)runner->self, 0, &failure);
    atomic_fetch_or(&runner->map->stop, MM_STOP);
    MM_POINT("map-stopped");
}

static bool peer_failed(struct mm_runner *runner, enum mm_peer_result result, int bad)
{
    char text[MM_RECORD_TEXT];
    switch (result) {
    case MM_PEER_OK:
        return false;
    case MM_PEER_UNREADABLE:
        snprintf(text, sizeof text, "argument %d is not readable: its array ends before its last item", bad);
        mm_runner_stop(runner, MAMUTO_EARGS, text);
        break;
    case MM_PEER_UNWRITABLE:
        mm_runner_stop(runner, MAMUTO_EARGS, "the result is not writable: its array ends before its last item");
        break;
    case MM_PEER_NO_MEMORY:
        mm_runner_stop(runner, MAMUTO_ENOMEM, "a worker has no memory for the items of private arrays");
        break;
    case MM_PEER_GONE:
        mm_runner_stop(runner, MAMUTO_ESYSTEM, "a worker may not read the arrays of this program any more");
        break;
    }
    return true;
}

static void describe_inputs(struct mm_runner *runner, const struct mm_board_map *map)
{
    for (unsigned k = 0; k < map->n_in; k++) {
        const struct mm_board_arg *arg = &map->in[k];
        const char *data = resolve(runner, map, arg);
        if (!data && arg->stride == 0)
            data = runner->peer.in[k].data;
        runner->staged |= arg->where == MM_WHERE_PRIVATE && arg->stride && !is_in_place(runner);
        runner->base.in[k] = (mamuto_chunk_in_t){ data, (ptrdiff_t)arg->stride, arg->size, arg->len, NULL };
    }
}

static void describe_output(struct mm_runner *runner, const struct mm_board_map *map)
{
    union {
        const char *read;
        char *write;
    } place = { resolve(runner, map, &map->out) };
    if (map->out.where == MM_WHERE_ARENA)
        place.write = runner->view->arena_write + map->out.offset;
    runner->staged |= map->out.where == MM_WHERE_PRIVATE && !is_in_place(runner);
    runner->base.out = place.write;
    runner->base.out_stride = (ptrdiff_t)map->out.size;
    runner->base.out_size = map->out.size;
}

bool mm_runner_prepare(struct mm_runner *runner, struct mm_board_map *map, uint64_t gen)
{
    if (runner->gen == gen)
        return true;
    runner->gen = gen;
    runner->map = map;
    runner->staged = false;
    runner->emitter.slab = NULL;
    runner->run = map->flags & MM_MAP_BUILTIN ? mm_gather_function(map->op) : NULL;
    if (map->module != MM_NO_FUNCTION)
        runner->run = runner->modules[map->module].functions[map->function]->run;
    bool groups = map->flags & MM_MAP_GROUPS;
    if (groups)
        mm_group_prepare(runner);
    runner->base = (mamuto_chunk_t){ .first = groups ? map->first * map->groups.group_items : map->first,
                                     .dims = runner->dims,
                                     .seed = map->seed,
                                     .fail = on_fail,
                                     .pack = on_pack,
                                     .emit = mm_slab_emit,
                                     .host = runner };
    for (unsigned j = 0; j < map->n_dims; j++)
        runner->dims[j] = map->dims[j];
    struct mm_pace *pace = &runner->pace[mm_map_slot(gen)];
    if (pace->gen != gen) /* else it comes back from another map: what it has learnt stands */
        *pace = (struct mm_pace){ .gen = gen, .item_ticks = map->item_ticks };
    int bad = 0;
    enum mm_peer_result fetched = is_in_place(runner) ? MM_PEER_OK : mm_peer_fetch_values(&runner->peer, map, &bad);
    if (peer_failed(runner, fetched, bad)) {
        runner->gen = 0;
        return false;
    }
    describe_inputs(runner, map);
    describe_output(runner, map);
    return true;
}

uint64_t mm_runner_first(const struct mm_runner *runner) { return runner->base.first; }

const char *mm_runner_input(const struct mm_runner *runner, unsigned k, uint64_t begin)
{
    const mamuto_chunk_in_t *in = &runner->base.in[k];
    return in->data ? in->data + (ptrdiff_t)begin * in->stride : runner->peer.in[k].data;
}

/* What the engine sees as the output are the records of what is emitted; the function has no other. */
static void prepare_to_emit(struct mm_runner *runner, mamuto_chunk_t *chunk, uint64_t begin)
{
    mm_slab_begin(runner, begin, begin + chunk->count);
    chunk->out = NULL;
    chunk->out_size = (size_t)runner->map->element;
    chunk->out_stride = (ptrdiff_t)chunk->out_size;
}

bool mm_runner_call(struct mm_runner *runner, uint64_t begin, uint64_t end, char *out)
{
    mamuto_chunk_t chunk = runner->base;
    chunk.first += begin;
    chunk.count = (size_t)(end - begin);
    for (unsigned k = 0; k < runner->map->n_in; k++)
        chunk.in[k].data = mm_runner_input(runner, k, begin);
    chunk.out = out;
    bool emits = runner->map->flags & MM_MAP_EMITS;
    if (emits)
        prepare_to_emit(runner, &chunk, begin);
    int code = runner->run(&chunk);
    if (code)
        on_fail(&chunk, 0, code, NULL);
    if (runner->failure.code && emits)
        mm_slab_undo(runner);
    return runner->failure.code == 0;
}

/* One call of the function for items [begin, end). */
static bool call(struct mm_runner *runner, uint64_t begin, uint64_t end)
{
    char *out = runner->base.out ? runner->base.out + begin * runner->base.out_size : runner->peer.out.data;
    return mm_runner_call(runner, begin, end, out);
}

enum mm_outcome mm_runner_fetch(struct mm_runner *runner, uint64_t begin, uint64_t end)
{
    int bad = 0;
    if (!runner->staged)
        return MM_RAN;
    enum mm_peer_result fetched = mm_peer_fetch(&runner->peer, runner->map, begin, end, &bad);
    return peer_failed(runner, fetched, bad) ? MM_STOPPED : MM_RAN;
}

static enum mm_outcome run_groups(struct mm_runner *runner, uint64_t begin, uint64_t end)
{
    enum mm_outcome outcome = MM_RAN;
    for (uint64_t group = begin; group < end && outcome == MM_RAN; group++)
        outcome = mm_group_run(runner, group);
    return outcome;
}

static enum mm_outcome run_piece(struct mm_runner *runner, uint64_t begin, uint64_t end)
{
    enum mm_outcome outcome = mm_runner_fetch(runner, begin, end);
    if (outcome != MM_RAN)
        return outcome;
    if (!call(runner, begin, end))
        return MM_FAILED;
    if (runner->map->out.where == MM_WHERE_PRIVATE &&
        peer_failed(runner, mm_peer_store(&runner->peer, runner->map, begin, end), 0))
        return MM_STOPPED;
    return MM_RAN;
}

static enum mm_outcome run_items(struct mm_runner *runner, uint64_t begin, uint64_t end)
{
    runner->failure.code = 0;
    runner->failure.node_item = 0;
    if (runner->map->flags & MM_MAP_GROUPS)
        return run_groups(runner, begin, end);
    if (runner->staged)
        return run_piece(runner, begin, end);
    return call(runner, begin, end) ? MM_RAN : MM_FAILED;
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
    uint64_t most = runner->staged && !(runner->map->flags & MM_MAP_GROUPS) ? mm_peer_piece(runner->map) : BLOCK_ITEMS;
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
    if (runner->base.out)
        memset(runner->base.out + item * map->out.size, 0, map->out.size);
    else {
        memset(runner->peer.out.data, 0, map->out.size);
        peer_failed(runner, mm_peer_store(&runner->peer, map, item, item + 1), 0);
    }
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

void mm_runner_execute(struct mm_runner *runner, struct mm_taken *taken)
{
    struct mm_board_map *map = runner->map;
    struct mm_lane *lane = &runner->board->lanes[runner->self];
    bool complete = false;
    uint64_t start = mm_ticks();
    enum mm_outcome outcome = taken->singly ? MM_FAILED : run_whole(runner, taken);
    if (outcome == MM_RAN) {
        uint64_t ticks = mm_ticks() - start;
        runner->busy_ticks += ticks;
        uint64_t items = mm_grain_item(map, taken->end) - mm_grain_item(map, taken->begin);
        mm_pace_learn(&runner->pace[mm_map_slot(runner->gen)], items, ticks, runner->board->ticks_per_us);
        MM_POINT("ran");
        atomic_fetch_add_explicit(&map->busy_ticks, ticks, memory_order_relaxed);
        MM_POINT("timed");
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
