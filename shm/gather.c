/* The built-in functions by which workers gather what a map has emitted: an item is a group of records.
 *
 * They run as functions of a module do, so a worker that is killed costs nothing: a group's sum and copy are the same
 * however often they are made. They write where the board says; who writes where else would be a bug of ours, but the
 * records are checked, and so is where a group's bytes are to go: all of it lies where functions may have written. What is
 * damaged ends the map with EPROTOCOL.
 */
#include "shm/gather.h"

#include "core/varlen.h"
#include "shm/run.h"

enum {
    AT_ONCE = 256,        /* records between two looks at the stop word */
    PAST_CACHES = 8 << 20 /* bytes of the result, from which on it is not kept in the caches */
};

union address {
    const char *bytes;
    const mm_varlen_record *records;
    const uint64_t *numbers;
    char *target;
    uint64_t *result;
    int64_t *offsets;
};

static int damaged(struct mm_runner *runner)
{
    mm_runner_stop(runner, MAMUTO_EPROTOCOL,
                   "the lengths of the results are damaged: a function has written outside its own output");
    return 0;
}

static struct mm_varlen_parts parts_of(const mamuto_chunk_t *chunk)
{
    return (struct mm_varlen_parts){ { chunk->in[1].data, chunk->in[2].data },
                                     { chunk->in[1].size, chunk->in[2].size } };
}

/* Records of a group: from where, and how many. */
static const mm_varlen_record *records_of(const mamuto_chunk_t *chunk, const struct mm_board_map *map, uint64_t group,
                                          uint64_t *n)
{
    union address records = { .bytes = chunk->in[0].data };
    uint64_t first = group * map->group;
    *n = map->emitted_items - first < map->group ? map->emitted_items - first : map->group;
    return records.records + first;
}

static int sum(mamuto_chunk_t *chunk)
{
    struct mm_runner *runner = chunk->host;
    struct mm_varlen_parts parts = parts_of(chunk);
    union address out = { .target = chunk->out };
    for (size_t i = 0; i < chunk->count; i++) {
        uint64_t n;
        const mm_varlen_record *records = records_of(chunk, runner->map, chunk->first + i, &n);
        if (!mm_varlen_sum(&parts, records, n, &out.result[i]))
            return damaged(runner);
    }
    return 0;
}

static bool gather_group(struct mm_runner *runner, const mamuto_chunk_t *chunk, uint64_t group, char *data,
                         int64_t *offsets)
{
    const struct mm_board_map *map = runner->map;
    struct mm_varlen_parts parts = parts_of(chunk);
    union address before = { .bytes = chunk->in[3].data };
    uint64_t n, at = before.numbers[group], end = before.numbers[group + 1], some;
    const mm_varlen_record *records = records_of(chunk, map, group, &n);
    if (at > end || end > map->offsets_at) /* the offsets lie behind the elements */
        return false;
    offsets += group * map->group;
    for (uint64_t i = 0; i < n; i += some) {
        some = n - i < AT_ONCE ? n - i : AT_ONCE;
        if (!mm_varlen_gather(&parts, records + i, some, map->element, map->in[4].size > PAST_CACHES, data, offsets + i,
                              &at, end))
            return false;
        if (mm_map_stopped(runner->map))
            return true; /* nobody will look at it */
    }
    return at == end;
}

static int gather(mamuto_chunk_t *chunk)
{
    struct mm_runner *runner = chunk->host;
    const struct mm_board_map *map = runner->map;
    char *data = runner->view->arena_write + map->in[4].offset;
    union address offsets = { .target = data + map->offsets_at }, out = { .target = chunk->out };
    union address before = { .bytes = chunk->in[3].data };
    for (size_t i = 0; i < chunk->count; i++) {
        if (!gather_group(runner, chunk, chunk->first + i, data, offsets.offsets))
            return damaged(runner);
        out.result[i] = 1;
    }
    if ((chunk->first + chunk->count) * map->group >= map->emitted_items)
        offsets.offsets[map->emitted_items] = (int64_t)(before.numbers[chunk->first + chunk->count] / map->element);
    return 0;
}

int (*mm_gather_function(uint32_t op))(mamuto_chunk_t *) { return op == MM_OP_SUM ? sum : gather; }
