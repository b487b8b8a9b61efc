/* A stream of bytes between two agents of the protocol, whatever carries it: pipes, a socket, TLS, an ssh channel.
 * Non-blocking and without a loop: its owner polls. Plain C11 + POSIX, for the master and for the agent. */
#ifndef MM_NET_WIRE_H
#define MM_NET_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct mm_wire;

struct mm_wire_ops {
    /* Bytes that were read or written, 0 (read): the far side has ended, or -errno; -EAGAIN: not now. Neither ever blocks,
     * raises SIGPIPE, or touches the buffers after it has returned. */
    ssize_t (*readv)(struct mm_wire *wire, const struct iovec *iov, int n);
    ssize_t (*writev)(struct mm_wire *wire, const struct iovec *iov, int n);
    /* What was written may be held back, while wants() asks for POLLOUT: writev of anything, or of nothing (n = 0), then
     * goes on with it. */
    /* What its owner is to poll for next, given what it wants to do: POLLIN, POLLOUT on fd_in and fd_out. TLS may have to
     * write in order to read. */
    void (*wants)(const struct mm_wire *wire, bool reading, bool writing, short *in, short *out);
    /* Are there bytes that can be read at once, and of which poll() says nothing? */
    bool (*has_more)(const struct mm_wire *wire);
    /* What went wrong last, as a piece of a sentence; never NULL. */
    const char *(*reason)(const struct mm_wire *wire);
    void (*close)(struct mm_wire *wire); /* and frees it; descriptors with it */
};

/* First member of each kind of wire. fd_out may equal fd_in. */
struct mm_wire {
    const struct mm_wire_ops *ops;
    int fd_in, fd_out;
};

/* Of plain descriptors, which it owns from now on and makes non-blocking. NULL: no memory; they stay the caller's. */
struct mm_wire *mm_wire_of_fds(int fd_in, int fd_out);

#endif
