/* Sizes: how a map is cut into grains and parts, and how much a lane takes at once. Pure arithmetic, no clock. */
#ifndef MM_SHM_CHUNKS_H
#define MM_SHM_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a lane knows of the cost of a map's items. */
struct mm_pace {
    uint64_t gen;      /* of the map it speaks of */
    double item_ticks; /* 0: not known yet */
    uint32_t probe;    /* grains of the next chunk while the cost is not known: 1, 2, 4, … */
};

struct mm_cut {
    uint64_t grain_items;
    uint32_t n_grains, n_parts;
};

/* Cuts n items (>= 1) of an estimated cost (item_ticks, 0: not known) for up to n_lanes lanes. A grain is at least
 * 0.25 µs of work and, where that costs nothing, ends on a 64-byte boundary of results of out_size bytes. */
struct mm_cut mm_cut_map(uint64_t n, double item_ticks, double ticks_per_us, size_t out_size, uint32_t n_lanes,
                         double min_part_us);

/* Grains to take of left (>= 1): at most half of what is left and cap_us of measured time, at least 10 µs or one. */
uint32_t mm_chunk_grains(const struct mm_pace *pace, uint32_t left, uint64_t grain_items, double ticks_per_us,
                         uint32_t cap_us);

/* Takes a finished chunk's cost into account. */
void mm_pace_learn(struct mm_pace *pace, uint64_t items, uint64_t ticks, double ticks_per_us);

#endif
