/* A wire of plain descriptors: a socket, or two pipes.
 *
 * Sockets are written with MSG_NOSIGNAL. A pipe cannot be: who writes to one ignores SIGPIPE, as the agent does; the
 * master uses sockets alone. Called by the owner's loop; knows nothing of frames.
 */
#include "net/wire.h"

#include "core/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct fd_wire {
    struct mm_wire wire;
    bool out_is_socket;
    int last; /* errno */
};

static ssize_t keep_error(struct fd_wire *w, ssize_t n)
{
    if (n >= 0)
        return n;
    if (errno == EWOULDBLOCK || errno == EINTR)
        return -EAGAIN;
    w->last = errno;
    return -w->last;
}

static ssize_t fd_readv(struct mm_wire *wire, const struct iovec *iov, int n)
{
    return keep_error((struct fd_wire *)wire, readv(wire->fd_in, iov, n));
}

static ssize_t fd_writev(struct mm_wire *wire, const struct iovec *iov, int n)
{
    struct fd_wire *w = (struct fd_wire *)wire;
    if (!n)
        return 0;
    if (!w->out_is_socket)
        return keep_error(w, writev(wire->fd_out, iov, n));
    struct msghdr message = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n };
    return keep_error(w, sendmsg(wire->fd_out, &message, MSG_NOSIGNAL));
}

static void fd_wants(const struct mm_wire *wire, bool reading, bool writing, short *in, short *out)
{
    (void)wire;
    *in = reading ? POLLIN : 0;
    *out = writing ? POLLOUT : 0;
}

static bool fd_has_more(const struct mm_wire *wire)
{
    (void)wire;
    return false;
}

static const char *fd_reason(const struct mm_wire *wire)
{
    const struct fd_wire *w = (const struct fd_wire *)wire;
    return w->last ? strerror(w->last) : "the far side has ended it";
}

static void fd_close(struct mm_wire *wire)
{
    close(wire->fd_in);
    if (wire->fd_out != wire->fd_in)
        close(wire->fd_out);
    mm_free(wire);
}

static const struct mm_wire_ops fd_ops = { .readv = fd_readv,
                                           .writev = fd_writev,
                                           .wants = fd_wants,
                                           .has_more = fd_has_more,
                                           .reason = fd_reason,
                                           .close = fd_close };

static void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

struct mm_wire *mm_wire_of_fds(int fd_in, int fd_out)
{
    struct stat out;
    struct fd_wire *w = mm_alloc(sizeof *w);
    if (!w)
        return NULL;
    w->wire = (struct mm_wire){ &fd_ops, fd_in, fd_out };
    w->out_is_socket = fstat(fd_out, &out) == 0 && S_ISSOCK(out.st_mode);
    set_nonblocking(fd_in);
    set_nonblocking(fd_out);
    return &w->wire;
}
