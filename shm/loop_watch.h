/* Watching a descriptor on the caller's loop. */
#ifndef MM_SHM_LOOP_WATCH_H
#define MM_SHM_LOOP_WATCH_H

#include "core/mamuto.h"

#include <uv.h>

struct mm_loop_watch {
    uv_poll_t poll; /* data: the watch */
    void *owner;
};

/* Calls on_ready whenever fd can be read; does not keep the loop going. ENOMEM, ESYSTEM. */
int mm_loop_watch_fd(uv_loop_t *loop, void *owner, struct mm_loop_watch **watch, int fd, uv_poll_cb on_ready,
                     mamuto_error_t *err);
/* Ends it; the watch becomes NULL. To be called before the descriptor is closed. */
void mm_loop_unwatch(struct mm_loop_watch **watch);

#endif
