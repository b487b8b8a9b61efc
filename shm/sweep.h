/* After a death: which grains are lost, which item is at fault, what is to be run again. */
#ifndef MM_SHM_SWEEP_H
#define MM_SHM_SWEEP_H

#include "shm/claim.h"

/* How a lane died. */
struct mm_death {
    uint32_t lane;
    int status; /* of waitpid */
    enum mm_verdict verdict;
    uint64_t verdict_at; /* the item that it ran, singly, when it was sentenced */
    int fork_error;      /* errno: it was not alive, it could not be forked */
};

enum mm_swept {
    MM_SWEPT_NOTHING,  /* the lane held nothing of this map */
    MM_SWEPT_RETURNED, /* its grains are offered again */
    MM_SWEPT_SETTLED,  /* and an item has failed, for good or once more */
    MM_SWEPT_LATER,    /* a live lane is in mid-claim, or there is no room: sweep again in a while */
};

/* Accounts for what the dead lane held of an open map. dead: by lane, those that are known to be dead and not yet
 * forked again. result: item 0 of the map's range, in this process; marks: the run's. Called by the master for each map in flight, before
 * the lane is forked again. */
enum mm_swept mm_sweep(struct mm_board *board, struct mm_board_map *map, uint64_t gen, const struct mm_death *death,
                       const bool *dead, char *result, uint8_t *marks);

/* Is no lane in this map any more? */
bool mm_map_quiet(const struct mm_board *board, uint64_t gen, uint32_t n_lanes);

#endif
