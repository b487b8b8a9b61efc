/* A mapper in a program with an event loop of another kind (epoll, poll, GLib): what to watch, how long to wait, and one
 * turn of the mapper's own loop.
 *
 * libuv's loop is a descriptor itself: it is readable when something that the loop watches is. Its timers, and what was
 * begun since its last turn (a handle to be closed, a watch that the kernel does not know yet), are no event there; they
 * are in the timeout. Of an idle mapper nothing is pending: it has no timer, and its one handle that counts, kick, is
 * referenced all the time, since libuv has no timeout but 0 for a loop that nothing keeps alive.
 * Called on the mapper's thread, but for no callback of the mapper. Never blocks.
 */
#include "core/error.h"
#include "core/mapper.h"

static bool is_dispatched(const mamuto_t *m)
{
    return mm_mapper_check_process(m, "mamuto_dispatch", NULL) == 0 && m->owns_loop;
}

int mamuto_fd(const mamuto_t *m) { return is_dispatched(m) ? uv_backend_fd(m->loop) : -1; }

int mamuto_timeout_ms(const mamuto_t *m)
{
    if (!is_dispatched(m) || m->gone) /* gone: mamuto_close_wait is all that is left to do */
        return -1;
    uv_update_time(m->loop); /* timers are told relative to the loop's idea of now, which is its last turn's */
    return uv_backend_timeout(m->loop);
}

int mamuto_dispatch(mamuto_t *m)
{
    if (!is_dispatched(m) || m->depth)
        return MAMUTO_EINVAL;
    if (!m->gone)
        uv_run(m->loop, UV_RUN_NOWAIT);
    if (!m->gone) /* the kernel hears of watches that a callback has made at the beginning of a turn */
        uv_run(m->loop, UV_RUN_NOWAIT);
    if (m->gone && m->on_close)
        mm_mapper_free(m);
    return 0;
}
