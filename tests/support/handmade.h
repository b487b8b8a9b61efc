/* A job board in memory of this process alone, in states that are built by hand. */
#ifndef MM_TESTS_SUPPORT_HANDMADE_H
#define MM_TESTS_SUPPORT_HANDMADE_H

#include "shm/claim.h"

/* Lanes 0 … n_workers - 1, and the caller's. A tick is a nanosecond. */
struct mm_board *handmade_board(uint32_t n_workers);
void handmade_free(struct mm_board *board);
/* Opens a map of n items in a slot, its generation one above the slot's last, all range words empty, results of 8 bytes,
 * no retries. */
struct mm_board_map *handmade_map(struct mm_board *board, unsigned slot, uint64_t n, uint64_t grain_items);
void handmade_word(struct mm_board_map *map, uint32_t lane, uint32_t begin, uint32_t end);
/* A lane that is in the map and has this claim. */
void handmade_claim(struct mm_board *board, uint32_t lane, const struct mm_board_map *map, enum mm_claim_state state,
                    bool singly, uint32_t begin, uint32_t end);
bool handmade_is_done(struct mm_board_map *map, uint32_t grain);
/* The index-th entry of the returned ranges that is READY; NULL: there are fewer. */
struct mm_returned *handmade_ready(struct mm_board_map *map, unsigned index);

#endif
