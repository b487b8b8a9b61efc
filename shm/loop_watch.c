/* Watched descriptors of a node. Each is a heap object of its own, since a handle lives until its close callback, which may
 * come after the node is gone. Unreferenced: what keeps the loop alive is core's business. Called by shm/node_shm.c.
 */
#include "shm/loop_watch.h"

#include "core/alloc.h"
#include "core/error.h"

static void free_watch(uv_handle_t *handle) { mm_free(handle->data); }

void mm_loop_unwatch(struct mm_loop_watch **watch)
{
    if (*watch)
        uv_close((uv_handle_t *)&(*watch)->poll, free_watch);
    *watch = NULL;
}

int mm_loop_watch_fd(uv_loop_t *loop, void *owner, struct mm_loop_watch **watch, int fd, uv_poll_cb on_ready,
                     mamuto_error_t *err)
{
    struct mm_loop_watch *fresh = mm_alloc(sizeof *fresh);
    if (!fresh)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for a handle");
    fresh->owner = owner;
    int code = uv_poll_init(loop, &fresh->poll, fd);
    if (code) {
        mm_free(fresh);
        return mm_error_set(err, MAMUTO_ESYSTEM, "cannot watch a descriptor: %s", uv_strerror(code));
    }
    fresh->poll.data = fresh;
    *watch = fresh;
    uv_poll_start(&fresh->poll, UV_READABLE, on_ready);
    uv_unref((uv_handle_t *)&fresh->poll);
    return 0;
}
