/* Sleeping and waking of lanes, and of the master. */
#ifndef MM_SHM_PARK_H
#define MM_SHM_PARK_H

#include "shm/board.h"

enum { MM_LINGER_US = 30 }; /* how long a worker looks for work without sleeping */

/* Lane self has found nothing to do: where that pays, spins for a while, trying to serve (true: it did something), then
 * sleeps until it is woken. serial: of the attached files that it has; it does not sleep if there are others. */
void mm_lane_idle(struct mm_board *board, uint32_t self, int eventfd, uint32_t serial, bool (*serve)(void *context),
                  void *context);

/* Lane self does not count as one that spins any more: it sleeps, or has taken something long. */
void mm_lane_busy(struct mm_lane *lane);

/* Wakes up to `want` of the first n lanes, self left out (n_lanes: none is). spinning_cpu: where a caller spins, -1: none
 * does. For one that does, lanes that spin count as awake, and those pinned to its CPU sleep on: it looks for others, in
 * earnest and with -1, when its spin has come to nothing. Work must have been stored before. */
void mm_wake_lanes(struct mm_board *board, uint32_t n, uint32_t want, uint32_t self, int spinning_cpu);
/* Where a caller spins, -1: none does. */
int mm_spinning_cpu(struct mm_board *board);
void mm_wake_all(struct mm_board *board);

/* The master says that it is about to sleep on the eventfd; then it looks at every map once more. */
void mm_master_parks(struct mm_board *board);
/* Tells the master that there is something to look at, if it sleeps. eventfd: non-blocking. */
void mm_wake_master(struct mm_board *board, int eventfd);

#endif
