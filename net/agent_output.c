/* Lines of the workers, as frames. A pipe is read once in a turn, into the room of one piece of a line; with 256 KiB on the
 * way that the master has not taken, pipes are read no more, and their workers wait. Before the end of a lease is told, and
 * when a worker has died, pipes are emptied, of no more than a pipe can hold.
 */
#include "net/agent_output.h"

#include "core/alloc.h"
#include "net/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { PIPE_BYTES = 64 << 10 };

int mm_agent_outputs_init(struct mm_agent_outputs *outputs, uint32_t n)
{
    outputs->pipes = mm_alloc_array(2 * (size_t)n, sizeof *outputs->pipes);
    if (!outputs->pipes)
        return MAMUTO_ENOMEM;
    outputs->n_lanes = n;
    for (uint32_t i = 0; i < 2 * n; i++)
        outputs->pipes[i].fd = -1;
    return 0;
}

int mm_agent_outputs_add(struct mm_agent_outputs *outputs, uint32_t lane, int fd, int pipe)
{
    struct mm_agent_pipe *p = lane < outputs->n_lanes ? &outputs->pipes[2 * lane + (fd == STDERR_FILENO)] : NULL;
    if (!p || p->fd >= 0 || (!p->text && !(p->text = mm_alloc(MM_AGENT_PIECE)))) {
        close(pipe);
        return MAMUTO_ENOMEM;
    }
    fcntl(pipe, F_SETFL, O_NONBLOCK);
    p->fd = pipe;
    return 0;
}

static bool is_full(const struct mm_agent_outputs *outputs) { return outputs->unread >= MM_AGENT_UNREAD; }

nfds_t mm_agent_outputs_fds(const struct mm_agent_outputs *outputs, struct pollfd *fds)
{
    nfds_t n = 0;
    for (uint32_t i = 0; !is_full(outputs) && i < 2 * outputs->n_lanes; i++)
        if (outputs->pipes[i].fd >= 0)
            fds[n++] = (struct pollfd){ .fd = outputs->pipes[i].fd, .events = POLLIN };
    return n;
}

static void tell(struct mm_agent *agent, uint32_t i, const char *text, size_t n)
{
    unsigned char body[MM_AGENT_PIECE + 16];
    struct mm_writer w = { .at = body, .room = sizeof body };
    mm_put_out(&w, &(struct mm_out_body){ .worker = i / 2, .fd = 1 + i % 2, .text = text, .n = n });
    agent->outputs.unread += w.n;
    if (mm_stream_send(mm_agent_stream(agent), MM_FRAME_OUT, 0, body, w.n))
        mm_agent_leave(agent, mm_stream_error(mm_agent_stream(agent)));
}

static void tell_lines(struct mm_agent *agent, uint32_t i)
{
    struct mm_agent_pipe *p = &agent->outputs.pipes[i];
    size_t at = 0;
    for (const char *end; (end = memchr(p->text + at, '\n', p->used - at)) != NULL;) {
        size_t n = (size_t)(end - p->text) - at;
        if (n || !p->split) /* what ends here was sent as a whole piece */
            tell(agent, i, p->text + at, n);
        p->split = false;
        at += n + 1;
    }
    p->used -= at;
    memmove(p->text, p->text + at, p->used);
    if (p->used < MM_AGENT_PIECE)
        return;
    tell(agent, i, p->text, p->used);
    p->used = 0;
    p->split = true;
}

/* Bytes; 0: nothing now, or for ever. */
static size_t read_once(struct mm_agent *agent, uint32_t i)
{
    struct mm_agent_pipe *p = &agent->outputs.pipes[i];
    if (p->fd < 0)
        return 0;
    ssize_t n = read(p->fd, p->text + p->used, MM_AGENT_PIECE - p->used);
    if (n > 0) {
        p->used += (size_t)n;
        tell_lines(agent, i);
        return (size_t)n;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        close(p->fd);
        p->fd = -1;
    }
    return 0;
}

static void empty(struct mm_agent *agent, uint32_t i)
{
    size_t n = 1;
    for (size_t bytes = 0; n && bytes < PIPE_BYTES; bytes += n)
        n = read_once(agent, i);
}

void mm_agent_outputs_read(struct mm_agent *agent, bool all)
{
    for (uint32_t i = 0; i < 2 * agent->outputs.n_lanes; i++)
        if (all)
            empty(agent, i);
        else if (!is_full(&agent->outputs))
            read_once(agent, i);
}

void mm_agent_outputs_end_worker(struct mm_agent *agent, uint32_t lane)
{
    for (uint32_t i = 2 * lane; lane < agent->outputs.n_lanes && i < 2 * lane + 2; i++) {
        struct mm_agent_pipe *p = &agent->outputs.pipes[i];
        empty(agent, i);
        if (p->used)
            tell(agent, i, p->text, p->used);
        p->used = 0;
        p->split = false;
    }
}

void mm_agent_outputs_credit(struct mm_agent_outputs *outputs, uint64_t bytes)
{
    outputs->unread -= bytes < outputs->unread ? bytes : outputs->unread;
}

void mm_agent_outputs_fini(struct mm_agent_outputs *outputs)
{
    for (uint32_t i = 0; i < 2 * outputs->n_lanes; i++) {
        if (outputs->pipes[i].fd >= 0)
            close(outputs->pipes[i].fd);
        mm_free(outputs->pipes[i].text);
    }
    mm_free(outputs->pipes);
    *outputs = (struct mm_agent_outputs){ 0 };
}
