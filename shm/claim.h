/* Claiming: how a lane takes a range of grains so that a death at any store loses nothing. */
#ifndef MM_SHM_CLAIM_H
#define MM_SHM_CLAIM_H

#include "shm/board.h"
#include "shm/chunks.h"

/* What a lane has taken. */
struct mm_taken {
    uint32_t begin, end; /* grains */
    bool singly;         /* to be run one item at a time */
    uint64_t first_item; /* singly: where in the first grain to go on */
    uint32_t failed;     /* singly: failed items of the first grain before that */
    uint32_t attempts;   /* singly: failures of first_item so far */
    bool left_rest;      /* stolen, and there is more in the own word now: somebody may have gone to sleep meanwhile */
};

/* Takes the next chunk for lane self: of the returned ranges, of its own part, or of another lane's. The lane has
 * entered the map. false: nothing to take, or the map is stopped. */
bool mm_claim_next(struct mm_board *board, struct mm_board_map *map, uint64_t gen, uint32_t self,
                   const struct mm_pace *pace, struct mm_taken *taken);

/* Puts the grains that the lane ran into the done words, clears its claim, counts. true: all grains look done. */
bool mm_chunk_commit(struct mm_board_map *map, uint64_t gen, struct mm_lane *lane, uint32_t begin, uint32_t end);
/* One grain of a chunk that is run singly, with its number of failed items; the claim stays. */
bool mm_grain_commit(struct mm_board_map *map, uint64_t gen, uint32_t grain, uint32_t failed);
/* A chunk in which an item failed: from now on its claim says that it is run singly, from its first item. */
void mm_claim_make_singly(struct mm_board *board, struct mm_board_map *map, uint32_t self, struct mm_taken *taken);
/* Clears the claim. */
void mm_claim_release(struct mm_lane *lane);

/* The master's: a range that is to be run (again). false: the table is full. */
bool mm_returned_add(struct mm_board_map *map, const struct mm_taken *range);
/* The master's, for a dead lane's entry: offers it once more, or frees it. */
void mm_returned_untake(struct mm_board_map *map, uint32_t lane, bool offer);

#endif
