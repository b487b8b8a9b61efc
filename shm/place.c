/* A run's arrays on the board: each is the span of its items, whichever way its stride goes, and lies whole in the arena, in
 * an attached file, or in the program's own memory; small values of the latter travel on the board. What crosses is where
 * item 0 lies. Called by the master, while the slot is closed (shm/jobs.c).
 */
#include "shm/place.h"

#include "core/error.h"
#include "core/span.h"
#include "shm/variable.h"

static const char in_part[] =
    "an array or file of this mapper (mamuto_alloc, mamuto_attach), but ends beyond it, or it was freed";

static enum mm_where locate(const struct mm_pool *pool, const struct mm_span *span, uint32_t *region, uint64_t *offset)
{
    enum mm_where where = mm_pool_locate(pool, span->low, span->bytes, region, offset);
    *offset += span->back;
    return where;
}

static struct mm_board_arg place_input(const struct mm_pool *pool, struct mm_board_map *map, const struct mm_run *run,
                                       int k, uint64_t *inline_used)
{
    const struct mm_run_arg *in = &run->in[k];
    struct mm_span span = mm_span_of_input(run, k);
    struct mm_board_arg arg = { .stride = in->stride, .size = in->size, .len = in->len };
    if (!span.bytes) { /* nothing is read: any place will do */
        arg.where = MM_WHERE_INLINE;
        return arg;
    }
    arg.where = locate(pool, &span, &arg.region, &arg.offset);
    if (arg.where == MM_WHERE_PRIVATE && !in->stride && mm_inline_take(inline_used, in->size, &arg.offset)) {
        memcpy(map->inline_bytes + arg.offset, span.low, in->size);
        arg.where = MM_WHERE_INLINE;
    }
    return arg;
}

static int place_result(const struct mm_pool *pool, struct mm_board_map *map, const struct mm_run *run,
                        mamuto_error_t *err)
{
    struct mm_span span = mm_span_of_result(run);
    map->out = (struct mm_board_arg){ .stride = run->result_stride, .size = run->out_size, .len = run->out_len };
    map->out.where = locate(pool, &span, &map->out.region, &map->out.offset);
    if (map->out.where == MM_WHERE_NONE)
        return mm_error_set(err, MAMUTO_EARGS, "the result begins in %s", in_part);
    if (map->out.where == MM_WHERE_ATTACHED)
        return mm_error_set(err, MAMUTO_EARGS,
                            "the result lies in a file of mamuto_attach, which is read-only: give it an "
                            "array of its own");
    return 0;
}

int mm_place_arrays(const struct mm_pool *pool, struct mm_board_map *map, const struct mm_run *run, mamuto_error_t *err)
{
    uint64_t inline_used = 0;
    map->n_in = (uint8_t)run->n_in;
    for (int k = 0; k < run->n_in; k++)
        if ((map->in[k] = place_input(pool, map, run, k, &inline_used)).where == MM_WHERE_NONE)
            return mm_error_set(err, MAMUTO_EARGS, "argument %d begins in %s", k, in_part);
    int partly = mm_variable_has(run) ? mm_variable_place(pool, map, run) : -1;
    if (partly >= 0)
        return mm_error_set(err, MAMUTO_EARGS, "the offsets of argument %d begin in %s", partly, in_part);
    return place_result(pool, map, run, err);
}
