/* Sizes of grains, parts and chunks. Pure: no clock, no shared memory, so that it is tested in microseconds.
 *
 * A part is what a lane owns at the start; a chunk what it claims at once; a grain the unit in which both are counted
 * and in which the board remembers what is done. Long chunks cost balance at the end, short ones cost claims: a chunk
 * is half of what is left, within 10 µs and the cap. The cap (1 ms) keeps a map whose first eighth holds most of the
 * cost from being held up by one early, huge chunk. While the cost is not known, chunks grow from one grain.
 * Called by the master (mm_cut_map) and by every lane.
 */
#include "shm/chunks.h"

#include "shm/board.h"

static const double MIN_CHUNK_US = 10, MIN_GRAIN_US = 0.25, KNOWN_US = 2;

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

struct mm_cut mm_cut_map(uint64_t n, double item_ticks, double ticks_per_us, size_t out_size, uint32_t n_lanes,
                         double min_part_us)
{
    struct mm_cut cut = { .grain_items = (n + MM_MAX_GRAINS - 1) / MM_MAX_GRAINS, .n_parts = n_lanes };
    if (item_ticks > 0) {
        double total_us = item_ticks * (double)n / ticks_per_us;
        double parts = total_us / min_part_us, items = MIN_GRAIN_US * ticks_per_us / item_ticks;
        cut.n_parts = parts < 1 ? 1 : parts < n_lanes ? (uint32_t)parts : n_lanes;
        if (items > (double)cut.grain_items)
            cut.grain_items = items < (double)n ? (uint64_t)items : n;
    }
    if (cut.grain_items > 1 && out_size) {
        uint64_t align = MM_LINE / common_divisor(MM_LINE, out_size);
        cut.grain_items = (cut.grain_items + align - 1) / align * align;
    }
    cut.n_grains = (uint32_t)((n + cut.grain_items - 1) / cut.grain_items);
    if (cut.n_parts > cut.n_grains)
        cut.n_parts = cut.n_grains;
    return cut;
}

uint32_t mm_chunk_grains(const struct mm_pace *pace, uint32_t left, uint64_t grain_items, double ticks_per_us,
                         uint32_t cap_us)
{
    if (pace->item_ticks <= 0) {
        uint32_t probe = pace->probe ? pace->probe : 1, half = left > 1 ? left / 2 : 1;
        return probe < half ? probe : half;
    }
    double grain_us = pace->item_ticks * (double)grain_items / ticks_per_us;
    double least = MIN_CHUNK_US / grain_us, most = cap_us / grain_us, take = (double)left / 2;
    if (take < least)
        take = least;
    if (take > most)
        take = most;
    if (take < 1)
        take = 1;
    return take < left ? (uint32_t)take : left;
}

void mm_pace_learn(struct mm_pace *pace, uint64_t items, uint64_t ticks, double ticks_per_us)
{
    if (pace->item_ticks > 0 || (double)ticks >= KNOWN_US * ticks_per_us)
        pace->item_ticks = (double)(ticks ? ticks : 1) / (double)items;
    else
        pace->probe = pace->probe ? pace->probe * 2 : 2;
}
