/* The board's small operations: entering a map as under a hazard pointer, and looking at words and done words.
 *
 * Invariant: a slot is filled again only when no lane's `in` names its last generation. A lane publishes `in`, fences,
 * and looks at gen again; the master closes gen, fences, and looks at every `in`. So either the lane sees the closed gen
 * and leaves, or the master sees the lane and waits.
 * Called by workers, by a helping caller and by the master. Allocates nothing, blocks never.
 */
#include "shm/board.h"

#ifdef MM_TEST_HOOKS
void (*mm_test_point)(const char *name);
#endif

bool mm_board_enter(struct mm_board *board, struct mm_lane *lane, unsigned slot, uint64_t *gen)
{
    struct mm_board_map *map = &board->maps[slot];
    uint64_t seen = atomic_load_explicit(&map->gen, memory_order_acquire);
    if (!seen)
        return false;
    atomic_store_explicit(&lane->in, seen, memory_order_relaxed);
    MM_POINT("enter");
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&map->gen, memory_order_acquire) == seen) {
        *gen = seen;
        return true;
    }
    mm_board_leave(board, lane);
    return false;
}

bool mm_board_leave(struct mm_board *board, struct mm_lane *lane)
{
    uint64_t gen = atomic_load_explicit(&lane->in, memory_order_relaxed);
    atomic_store_explicit(&lane->in, 0, memory_order_release);
    MM_POINT("left");
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&board->maps[mm_map_slot(gen)].stop, memory_order_relaxed) != 0;
}

bool mm_board_reusable(struct mm_board *board, unsigned slot, uint64_t last_gen, unsigned n_lanes)
{
    if (atomic_load_explicit(&board->maps[slot].gen, memory_order_relaxed))
        return false;
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; last_gen && i < n_lanes; i++)
        if (atomic_load_explicit(&board->lanes[i].in, memory_order_acquire) == last_gen)
            return false;
    return true;
}

bool mm_map_has_work(struct mm_board_map *map, uint64_t gen)
{
    if (mm_map_stopped(map))
        return false;
    if (atomic_load_explicit(&map->ready, memory_order_relaxed))
        return true;
    _Atomic uint64_t *words = mm_map_words(map);
    for (uint32_t i = 0; i < map->n_lanes; i++)
        if (mm_word_left(atomic_load_explicit(&words[i], memory_order_relaxed), gen))
            return true;
    return false;
}

bool mm_board_has_work(struct mm_board *board, struct mm_lane *self, bool *tell)
{
    bool found = false;
    for (uint64_t active = atomic_load(&board->active); active && !found; active &= active - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(active);
        uint64_t gen;
        if (mm_board_enter(board, self, slot, &gen)) {
            found = mm_map_has_work(&board->maps[slot], gen);
            *tell |= mm_board_leave(board, self);
        }
    }
    return found;
}

bool mm_map_all_done(struct mm_board_map *map, uint64_t gen, uint64_t *failed)
{
    _Atomic uint64_t *done = mm_map_done(map);
    uint32_t tag = mm_map_tag(gen);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < map->n_grains; i++) {
        uint64_t word = atomic_load_explicit(&done[i], memory_order_acquire);
        if (word >> 32 != tag)
            return false;
        sum += (uint32_t)word;
    }
    *failed = sum;
    return true;
}
