/* Watching for items that take too long. */
#ifndef MM_SHM_WATCH_H
#define MM_SHM_WATCH_H

#include "shm/board.h"

#include <sys/types.h>

/* What the watcher saw a lane do last, and since when. */
struct mm_watched {
    uint64_t gen, seq, cursor, since_ns;
    uint32_t attempts;
};

/* Looks at every lane that runs a chunk of a map with an item timeout; marks and kills the worker of one that has been
 * at the same chunk, or singly at the same item, for longer. Returns after how many ms to look again: an eighth of the
 * shortest timeout in flight, at least 1; -1: there is no map with a timeout. pids: the workers', by lane, 0: none (never
 * the board's, which a worker may have damaged). */
int mm_watch_lanes(struct mm_board *board, const pid_t *pids, struct mm_watched *watched, uint64_t now_ns);

#endif
