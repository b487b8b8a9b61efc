/* The parts of the arena for what a map emits, as its owner takes them, and gives back what nobody touched.
 *
 * The first part is as long as what the function emitted the last time, in proportion to the items, and a little
 * more: when maps come again and again, it is the same warm extent each time. The second is for what goes beyond, a
 * sparse extent of half of what memory can be had. All of it counts against the budget as long as the map runs,
 * though only what is touched takes pages: so the next such map has an eighth of what is left, and none can end in a
 * SIGBUS. What was used is counted by the workers. A function that writes wildly may damage the count: then pages
 * stay with extents that count as having none, until these are used again.
 */
#include "shm/room.h"

#include "core/varlen.h"

static const uint64_t UNKNOWN = UINT64_C(1) << 20, LEAST = UINT64_C(1) << 16, AT_ONCE = UINT64_C(2) << 20;
static const uint64_t MOST_SLAB = UINT64_C(1) << 20, LEAST_SLAB = 4096;
enum { SLABS_A_LANE = 8 };

static uint64_t up_to(uint64_t bytes, uint64_t multiple) { return (bytes + multiple - 1) / multiple * multiple; }

/* Bytes of the first part. */
static uint64_t expected(const struct mm_emitted *emitted, uint64_t n)
{
    if (!emitted->n || emitted->n == n)
        return emitted->n ? emitted->bytes : UNKNOWN;
    double bytes = (double)emitted->bytes / (double)emitted->n * (double)n;
    if (bytes > (double)(MM_VARLEN_SECOND - LEAST))
        return MM_VARLEN_SECOND - LEAST;
    return bytes < (double)LEAST ? LEAST : up_to((uint64_t)bytes, LEAST);
}

static uint64_t slab_bytes(const struct mm_pool *pool, uint64_t part)
{
    uint64_t slab = part / ((uint64_t)(pool->config.workers + 1) * SLABS_A_LANE) / LEAST_SLAB * LEAST_SLAB;
    return slab < LEAST_SLAB ? LEAST_SLAB : slab < MOST_SLAB ? slab : MOST_SLAB;
}

int mm_room_take(struct mm_pool *pool, const struct mm_emitted *emitted, struct mm_run *run, mamuto_error_t *err)
{
    struct mm_run_parts *parts = run->parts;
    mamuto_error_t why = { 0 }; /* no first part is no failure: there is the second */
    bool cold;
    *parts = (struct mm_run_parts){ .bytes = { expected(emitted, run->n), 0 } };
    parts->data[0] = parts->bytes[0] <= AT_ONCE ? mm_arena_alloc(&pool->arena, parts->bytes[0], &why)
                                                : mm_arena_reserve(&pool->arena, parts->bytes[0], &cold, &why);
    if (!parts->data[0])
        parts->bytes[0] = 0;
    parts->data[1] = mm_arena_reserve_sparse(&pool->arena, &parts->bytes[1]);
    if (!parts->data[1])
        parts->bytes[1] = 0;
    if (parts->bytes[1] >= MM_VARLEN_SECOND) { /* no place is beyond */
        parts->bytes[1] = MM_VARLEN_SECOND - LEAST;
        mm_arena_trim(&pool->arena, parts->data[1], parts->bytes[1]);
    }
    if (!parts->data[0] && !parts->data[1])
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for what the function emits: %.300s", why.text);
    return 0;
}

void mm_room_describe(const struct mm_pool *pool, const struct mm_run *run, struct mm_board_map *map)
{
    map->op = (uint32_t)run->op;
    map->element = run->op ? run->gather.element : run->element;
    map->emitted_items = run->gather.n_records;
    map->group = run->gather.group;
    map->offsets_at = run->gather.offsets_at;
    map->flags |= run->op ? MM_MAP_BUILTIN : MM_MAP_EMITS;
    for (int i = 0; i < 2 && !run->op; i++) {
        const struct mm_run_parts *parts = run->parts;
        map->parts[i].offset = parts->data[i] ? (uint64_t)((char *)parts->data[i] - pool->arena.base) : 0;
        map->parts[i].bytes = parts->bytes[i];
        map->parts[i].slab = slab_bytes(pool, parts->bytes[i]);
        atomic_store_explicit(&map->parts[i].used, 0, memory_order_relaxed);
    }
}

/* A part whose pages came by first touch is as good as warm where most of it was touched. */
static void keep(struct mm_pool *pool, void *data, uint64_t bytes, uint64_t used)
{
    if (used < bytes / 4 * 3)
        mm_arena_trim(&pool->arena, data, used); /* to nothing, if need be */
    mm_arena_settle(&pool->arena, data);
}

static void learn(const struct mm_pool *pool, struct mm_emitted *emitted, const struct mm_run *run)
{
    const struct mm_run_parts *parts = run->parts;
    uint64_t used = parts->used[0] + parts->used[1], needed = up_to(used + used / 8, LEAST);
    needed += (uint64_t)(pool->config.workers + 1) * 2 * slab_bytes(pool, needed);
    if (emitted->n == run->n && !parts->used[1] && emitted->bytes / 4 <= needed)
        return; /* it fits: the same extent the next time */
    emitted->n = run->n;
    emitted->bytes = needed < MM_VARLEN_SECOND ? up_to(needed, LEAST) : MM_VARLEN_SECOND - LEAST;
}

void mm_room_close(struct mm_pool *pool, struct mm_emitted *emitted, struct mm_run *run, struct mm_board_map *map)
{
    struct mm_run_parts *parts = run->parts;
    for (int i = 0; i < 2; i++) {
        uint64_t used = atomic_load(&map->parts[i].used);
        parts->used[i] = used < parts->bytes[i] ? used : parts->bytes[i];
    }
    if (parts->data[0] && parts->bytes[0] > AT_ONCE)
        keep(pool, parts->data[0], parts->bytes[0], parts->used[0]);
    if (parts->data[1])
        mm_arena_trim(&pool->arena, parts->data[1], parts->used[1]);
    if (!parts->used[1])
        parts->data[1] = NULL;
    if (parts->bytes[0] > AT_ONCE && !parts->used[0])
        parts->data[0] = NULL;
    if (emitted)
        learn(pool, emitted, run);
}
