/* Claim and commit: the steps in which ranges of grains move between words, claims, returned entries and done words.
 *
 * Every step is one atomic store, and a range is named in its next place before it leaves the one before: intent in the
 * claim, then the compare-and-swap of the word, then owned. Done words are written after the results and before the claim
 * is cleared. So whoever looks, after a death, at words, entries, claims and done words in this order finds each grain
 * in one of them, or knows that it is lost (shm/sweep.c). The one move backwards, a stolen rest from the claim into the
 * thief's own word, is bracketed by lane.moves. tests/model/claim.pml has these steps.
 * Called by lanes only (workers, a helping caller), but for mm_returned_*: the master's.
 */
#include "shm/claim.h"

static struct mm_lane *intend(struct mm_board *board, struct mm_board_map *map, uint32_t self, uint32_t begin,
                              uint32_t end, bool singly)
{
    struct mm_lane *lane = &board->lanes[self];
    unsigned slot = (unsigned)(map - board->maps);
    atomic_store_explicit(&lane->claim, mm_claim_pack(MM_CLAIM_INTENT, singly, slot, begin, end), memory_order_release);
    MM_POINT("intent");
    return lane;
}

static void own(struct mm_board *board, struct mm_board_map *map, struct mm_lane *lane, const struct mm_taken *taken)
{
    unsigned slot = (unsigned)(map - board->maps);
    uint64_t seq = atomic_load_explicit(&lane->seq, memory_order_relaxed); /* the lane is its only writer */
    atomic_store_explicit(&lane->seq, seq + 1, memory_order_relaxed);
    MM_POINT("numbered");
    atomic_store_explicit(&lane->claim, mm_claim_pack(MM_CLAIM_OWNED, taken->singly, slot, taken->begin, taken->end),
                          memory_order_release);
    MM_POINT("owned");
}

/* Before a chunk is owned: the cursor names its first item, and no block of it runs. */
static void set_cursor(struct mm_lane *lane, uint64_t item, uint32_t failed, uint32_t attempts)
{
    atomic_store_explicit(&lane->failed[item & 1], failed, memory_order_relaxed);
    MM_POINT("failed-set");
    atomic_store_explicit(&lane->attempts, attempts, memory_order_relaxed);
    MM_POINT("attempts-set");
    atomic_store_explicit(&lane->block_end, item, memory_order_relaxed);
    MM_POINT("block-end-set");
    atomic_store_explicit(&lane->cursor, item, memory_order_release);
    MM_POINT("cursor-set");
}

void mm_claim_make_singly(struct mm_board *board, struct mm_board_map *map, uint32_t self, struct mm_taken *taken)
{
    taken->singly = true;
    taken->first_item = mm_grain_item(map, taken->begin);
    taken->failed = taken->attempts = 0;
    set_cursor(&board->lanes[self], taken->first_item, 0, 0);
    own(board, map, &board->lanes[self], taken);
}

static uint64_t entry_state(uint64_t old, uint32_t lane, enum mm_entry_state state)
{
    return (old >> 16) << 16 | (uint64_t)lane << 8 | (uint64_t)state;
}

static bool claim_returned(struct mm_board *board, struct mm_board_map *map, uint32_t self, struct mm_taken *taken)
{
    uint32_t version = atomic_load(&map->ready);
    if (!version)
        return false;
    for (unsigned i = 0; i < MM_MAX_RETURNED; i++) {
        struct mm_returned *entry = &map->returned[i];
        uint64_t state = atomic_load(&entry->state);
        if ((state & 0xff) != MM_ENTRY_READY)
            continue;
        *taken = (struct mm_taken){ entry->begin,    entry->end, entry->singly != 0, entry->first_item, entry->failed,
                                    entry->attempts, false };
        struct mm_lane *lane = intend(board, map, self, taken->begin, taken->end, taken->singly);
        if (!atomic_compare_exchange_strong(&entry->state, &state, entry_state(state, self, MM_ENTRY_TAKEN))) {
            mm_claim_release(lane);
            continue;
        }
        MM_POINT("returned-taken");
        set_cursor(lane, taken->first_item, taken->failed, taken->attempts);
        own(board, map, lane, taken);
        atomic_store(&entry->state, entry_state(state, self, MM_ENTRY_FREE));
        MM_POINT("returned-freed");
        return true;
    }
    atomic_compare_exchange_strong(&map->ready, &version, 0); /* fails where the master has added one meanwhile */
    MM_POINT("ready-cleared");
    return false;
}

static bool claim_own(struct mm_board *board, struct mm_board_map *map, uint64_t gen, uint32_t self,
                      const struct mm_pace *pace, struct mm_taken *taken)
{
    _Atomic uint64_t *word = &mm_map_words(map)[self];
    uint64_t old = atomic_load(word);
    for (uint32_t left; (left = mm_word_left(old, gen)) != 0;) {
        uint32_t begin = mm_word_begin(old);
        uint32_t take = mm_chunk_grains(pace, left, map->grain_items, board->ticks_per_us, map->chunk_cap_us);
        struct mm_lane *lane = intend(board, map, self, begin, begin + take, false);
        if (atomic_compare_exchange_strong(word, &old, mm_word_pack(gen, begin + take, mm_word_end(old)))) {
            MM_POINT("own-swapped");
            *taken = (struct mm_taken){ .begin = begin, .end = begin + take };
            set_cursor(lane, mm_grain_item(map, begin), 0, 0);
            own(board, map, lane, taken);
            return true;
        }
        mm_claim_release(lane);
    }
    return false;
}

/* The rest of a stolen range beyond its first chunk goes into the thief's own word, where others can steal it again. */
static void keep_rest(struct mm_board *board, struct mm_board_map *map, uint64_t gen, uint32_t self,
                      struct mm_taken *taken, uint32_t end)
{
    struct mm_lane *lane = &board->lanes[self];
    atomic_fetch_add(&lane->moves, 1);
    MM_POINT("move-begin");
    atomic_store(&mm_map_words(map)[self], mm_word_pack(gen, taken->end, end));
    MM_POINT("move-word");
    own(board, map, lane, taken);
    atomic_fetch_add(&lane->moves, 1);
    taken->left_rest = true;
    MM_POINT("move-end");
}

static bool steal_from(struct mm_board *board, struct mm_board_map *map, uint64_t gen, uint32_t self, uint32_t victim,
                       const struct mm_pace *pace, struct mm_taken *taken)
{
    _Atomic uint64_t *word = &mm_map_words(map)[victim];
    uint64_t old = atomic_load(word);
    for (uint32_t left; (left = mm_word_left(old, gen)) != 0;) {
        uint32_t end = mm_word_end(old), begin = mm_word_begin(old);
        uint32_t chunk = mm_chunk_grains(pace, left, map->grain_items, board->ticks_per_us, map->chunk_cap_us);
        uint32_t from = chunk >= left ? begin : begin + left / 2;
        struct mm_lane *lane = intend(board, map, self, from, end, false);
        if (atomic_compare_exchange_strong(word, &old, mm_word_pack(gen, begin, from))) {
            MM_POINT("stolen");
            chunk = mm_chunk_grains(pace, end - from, map->grain_items, board->ticks_per_us, map->chunk_cap_us);
            *taken = (struct mm_taken){ .begin = from, .end = from + chunk };
            set_cursor(lane, mm_grain_item(map, from), 0, 0);
            if (taken->end < end)
                keep_rest(board, map, gen, self, taken, end);
            else
                own(board, map, lane, taken);
            return true;
        }
        mm_claim_release(lane);
    }
    return false;
}

bool mm_claim_next(struct mm_board *board, struct mm_board_map *map, uint64_t gen, uint32_t self,
                   const struct mm_pace *pace, struct mm_taken *taken)
{
    if (mm_map_stopped(map))
        return false;
    bool found = claim_returned(board, map, self, taken) || claim_own(board, map, gen, self, pace, taken);
    for (uint32_t i = 1; !found && i < map->n_lanes; i++)
        found = steal_from(board, map, gen, self, (self + i) % map->n_lanes, pace, taken);
    return found;
}

bool mm_chunk_commit(struct mm_board_map *map, uint64_t gen, struct mm_lane *lane, uint32_t begin, uint32_t end)
{
    _Atomic uint64_t *done = mm_map_done(map);
    uint64_t word = (uint64_t)mm_map_tag(gen) << 32;
    for (uint32_t i = begin; i < end; i++) {
        atomic_store_explicit(&done[i], word, memory_order_release);
        MM_POINT("done-word");
    }
    atomic_store_explicit(&lane->claim, 0, memory_order_release);
    MM_POINT("claim-cleared");
    uint32_t before = atomic_fetch_add(&map->n_done, end - begin);
    MM_POINT("counted");
    return before + (end - begin) == map->n_grains;
}

bool mm_grain_commit(struct mm_board_map *map, uint64_t gen, uint32_t grain, uint32_t failed)
{
    atomic_store_explicit(&mm_map_done(map)[grain], (uint64_t)mm_map_tag(gen) << 32 | failed, memory_order_release);
    MM_POINT("grain-done");
    uint32_t before = atomic_fetch_add(&map->n_done, 1);
    MM_POINT("grain-counted");
    return before + 1 == map->n_grains;
}

void mm_claim_release(struct mm_lane *lane)
{
    atomic_store(&lane->claim, 0);
    MM_POINT("released");
}

static void announce(struct mm_board_map *map)
{
    map->ready_version = map->ready_version + 1 ? map->ready_version + 1 : 1;
    atomic_store(&map->ready, map->ready_version);
}

bool mm_returned_add(struct mm_board_map *map, const struct mm_taken *range)
{
    for (unsigned i = 0; i < MM_MAX_RETURNED; i++) {
        struct mm_returned *entry = &map->returned[i];
        uint64_t state = atomic_load(&entry->state);
        if ((state & 0xff) != MM_ENTRY_FREE)
            continue;
        entry->begin = range->begin;
        entry->end = range->end;
        entry->singly = range->singly;
        entry->first_item = range->first_item;
        entry->failed = range->failed;
        entry->attempts = range->attempts;
        atomic_store(&entry->state, ((state >> 16) + 1) << 16 | MM_ENTRY_READY);
        announce(map);
        return true;
    }
    return false;
}

void mm_returned_untake(struct mm_board_map *map, uint32_t lane, bool offer)
{
    for (unsigned i = 0; i < MM_MAX_RETURNED; i++) {
        struct mm_returned *entry = &map->returned[i];
        uint64_t state = atomic_load(&entry->state);
        if ((state & 0xffff) != ((uint64_t)lane << 8 | MM_ENTRY_TAKEN))
            continue;
        atomic_store(&entry->state, ((state >> 16) + 1) << 16 | (offer ? MM_ENTRY_READY : MM_ENTRY_FREE));
        announce(map);
    }
}
