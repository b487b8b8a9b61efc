/* Inputs of variable length on the board.
 *
 * The master has read an input's first and last offset at the call, and nothing else of them: all offsets would be a pass
 * over a gigabyte before anything runs. So each lane looks at those of its own items before the function sees them. Offsets
 * that do not decrease from low to high name bytes of the array alone, whatever a program has written there.
 * Pieces of private bytes are cut by what they hold, since one item may be as large as all others together.
 * Called by the master (place) and by every lane. Does not fetch (shm/peer.c) and does not run (shm/run.c).
 */
#include "shm/variable.h"

#include "core/span.h"

#include <inttypes.h>
#include <stdio.h>

int mm_variable_place(const struct mm_pool *pool, struct mm_board_map *map, const struct mm_run *run)
{
    for (int k = 0; k < run->n_in; k++) {
        const struct mm_run_arg *in = &run->in[k];
        struct mm_board_offsets *offsets = &map->offsets[k];
        *offsets = (struct mm_board_offsets){ .low = in->low, .high = in->high };
        if (!in->offsets)
            continue;
        struct mm_span span = mm_span_of_offsets(run, k);
        offsets->where = mm_pool_locate(pool, span.low, span.bytes, &offsets->region, &offsets->offset);
        if (offsets->where == MM_WHERE_NONE)
            return k;
    }
    return -1;
}

/* The first of n items whose offset is above the next one; n: there is none. */
static uint64_t find_decrease(const int64_t *at, uint64_t n)
{
    int any = 0;
    for (uint64_t i = 0; i < n; i++)
        any |= at[i + 1] < at[i];
    for (uint64_t i = 0; any && i < n; i++)
        if (at[i + 1] < at[i])
            return i;
    return n;
}

static bool check_one(const struct mm_board_offsets *offsets, const int64_t *at, unsigned k, uint64_t first, uint64_t n,
                      char *text)
{
    uint64_t i = find_decrease(at, n);
    if (i == n && at[0] >= offsets->low && at[n] <= offsets->high)
        return true;
    if (i < n)
        snprintf(text, MM_RECORD_TEXT,
                 "argument %u has offsets that decrease: item %" PRIu64 " begins at element %" PRId64
                 " and ends at %" PRId64,
                 k, first + i, at[i], at[i + 1]);
    else if (at[0] < offsets->low)
        snprintf(text, MM_RECORD_TEXT,
                 "argument %u has offsets that decrease: item %" PRIu64 " begins at element %" PRId64
                 ", before the first item's %" PRId64,
                 k, first, at[0], offsets->low);
    else
        snprintf(text, MM_RECORD_TEXT,
                 "argument %u has offsets that decrease: item %" PRIu64 " ends at element %" PRId64
                 ", behind the last item's %" PRId64,
                 k, first + n - 1, at[n], offsets->high);
    return false;
}

bool mm_variable_check(const struct mm_board_map *map, const int64_t *const *at, uint64_t first, uint64_t n,
                       char text[MM_RECORD_TEXT])
{
    for (unsigned k = 0; k < map->n_in; k++)
        if (at[k] && !check_one(&map->offsets[k], at[k], k, first, n, text))
            return false;
    return true;
}

static uint64_t private_bytes(const struct mm_board_map *map, const int64_t *const *at, uint64_t n)
{
    uint64_t bytes = 0;
    for (unsigned k = 0; k < map->n_in; k++)
        if (at[k] && map->in[k].where == MM_WHERE_PRIVATE)
            bytes += (uint64_t)(at[k][n] - at[k][0]) * map->in[k].size;
    return bytes;
}

uint64_t mm_variable_cut(const struct mm_board_map *map, const int64_t *const *at, uint64_t n, uint64_t fixed,
                         uint64_t most)
{
    uint64_t fits = 1, more = n + 1; /* more: the least number that is known not to fit, or is beyond n */
    while (more - fits > 1) {
        uint64_t middle = fits + (more - fits) / 2;
        if (middle * fixed + private_bytes(map, at, middle) <= most)
            fits = middle;
        else
            more = middle;
    }
    return fits;
}
