/* What OpenSSL reads and writes, to and from a socket.
 *
 * OUT. What OpenSSL writes is taken whole, always, and held back where the socket does not take it. So a record that was
 * made counts as written, and OpenSSL never asks for the same write again, which would bind the owner to bytes that it may
 * have to give up; and several records leave in one system call. Before a record is made, there must be room for it.
 * IN. OpenSSL asks for 5 bytes, then for the rest of the record; what the socket has beyond that is read with it, into a
 * buffer. (Its own read-ahead moves what is left of its buffer to the front at each record.) Not before the key was
 * proved: a stranger costs no buffer, and may_read bounds what he can send.
 *
 * Invariants: never blocks (MSG_DONTWAIT) and never raises SIGPIPE (MSG_NOSIGNAL), whatever the socket's flags are; an
 * error stays. Called by OpenSSL inside the calls of net/tls.c, and by those. Knows nothing of TLS.
 */
#include "net/tls_socket.h"

#include "core/alloc.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

static struct mm_tls_socket *the_socket(struct bio_st *bio)
{
    return mm_tls_library()->BIO_get_data(bio); /* it is there: its BIO is */
}

static bool is_later(int e) { return e == EAGAIN || e == EWOULDBLOCK || e == EINTR; }

/* --- in --------------------------------------------------------------------------------------------------------- */

static size_t take_buffered(struct mm_tls_socket *s, char *to, size_t n)
{
    size_t there = s->in_end - s->in_begin;
    n = n < there ? n : there;
    memcpy(to, s->in + s->in_begin, n);
    s->in_begin += n;
    return n;
}

/* Bytes for `to`, and into the buffer what comes beyond them; 0: the end, or -1 with errno. */
static ssize_t receive(struct mm_tls_socket *s, char *to, size_t n)
{
    struct iovec iov[2] = { { to, n < s->may_read ? n : s->may_read }, { NULL, 0 } };
    if (!iov[0].iov_len) {
        errno = EMSGSIZE;
        return -1;
    }
    if (s->buffers && !s->in)
        s->in = mm_realloc(NULL, MM_TLS_READ); /* none: slower */
    if (s->in && s->buffers)
        iov[1] = (struct iovec){ s->in, MM_TLS_READ };
    struct msghdr message = { .msg_iov = iov, .msg_iovlen = iov[1].iov_len ? 2 : 1 };
    ssize_t got = recvmsg(s->fd, &message, MSG_DONTWAIT);
    if (got <= 0)
        return got;
    s->in_begin = 0;
    s->in_end = (size_t)got > iov[0].iov_len ? (size_t)got - iov[0].iov_len : 0;
    s->may_read -= (size_t)got - s->in_end;
    return got - (ssize_t)s->in_end;
}

static int on_read(struct bio_st *bio, char *to, int n)
{
    struct mm_tls_socket *s = the_socket(bio);
    s->library->BIO_clear_flags(bio, MM_BIO_FLAGS_RWS | MM_BIO_FLAGS_SHOULD_RETRY);
    if (n <= 0 || s->ended || s->read_error)
        return s->ended ? 0 : -1;
    if (mm_tls_socket_has_read(s))
        return (int)take_buffered(s, to, (size_t)n);
    ssize_t got = receive(s, to, (size_t)n);
    s->ended = got == 0;
    if (got >= 0)
        return (int)got;
    if (is_later(errno))
        s->library->BIO_set_flags(bio, MM_BIO_FLAGS_READ | MM_BIO_FLAGS_SHOULD_RETRY);
    else
        s->read_error = errno;
    return -1;
}

/* --- out -------------------------------------------------------------------------------------------------------- */

static int on_write(struct bio_st *bio, const char *from, int n)
{
    struct mm_tls_socket *s = the_socket(bio);
    s->library->BIO_clear_flags(bio, MM_BIO_FLAGS_RWS | MM_BIO_FLAGS_SHOULD_RETRY);
    if (n <= 0 || s->write_error)
        return -1;
    if (MM_TLS_HELD - s->out_end < (size_t)n) {
        s->library->BIO_set_flags(bio, MM_BIO_FLAGS_WRITE | MM_BIO_FLAGS_SHOULD_RETRY);
        return -1;
    }
    if (!s->out && !(s->out = mm_realloc(NULL, MM_TLS_HELD))) {
        s->write_error = ENOMEM;
        return -1;
    }
    memcpy(s->out + s->out_end, from, (size_t)n);
    s->out_end += (size_t)n;
    return n;
}

int mm_tls_socket_flush(struct mm_tls_socket *s)
{
    while (mm_tls_socket_holds(s) && !s->write_error) {
        ssize_t n = send(s->fd, s->out + s->out_begin, s->out_end - s->out_begin, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && is_later(errno))
            return -EAGAIN;
        if (n < 0)
            s->write_error = errno;
        else
            s->out_begin += (size_t)n;
    }
    if (!mm_tls_socket_holds(s))
        s->out_begin = s->out_end = 0;
    return -s->write_error;
}

bool mm_tls_socket_has_room(const struct mm_tls_socket *s) { return MM_TLS_HELD - s->out_end >= MM_TLS_RECORD_ROOM; }

/* --- the BIO ---------------------------------------------------------------------------------------------------- */

static long on_control(struct bio_st *bio, int command, long value, void *pointer)
{
    (void)value, (void)pointer;
    if (command == MM_BIO_CTRL_EOF)
        return the_socket(bio)->ended;
    return command == MM_BIO_CTRL_FLUSH; /* which is done when OpenSSL has returned */
}

static struct bio_method_st *new_method(const struct mm_tls_library *library)
{
    struct bio_method_st *method =
        library->BIO_meth_new(library->BIO_get_new_index() | MM_BIO_TYPE_SOURCE_SINK, "mamuto");
    if (!method)
        return NULL;
    library->BIO_meth_set_read(method, on_read);
    library->BIO_meth_set_write(method, on_write);
    library->BIO_meth_set_ctrl(method, on_control);
    return method;
}

/* One for the life of the process. */
static struct bio_method_st *the_method(const struct mm_tls_library *library)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct bio_method_st *method;
    pthread_mutex_lock(&lock);
    if (!method)
        method = new_method(library);
    struct bio_method_st *found = method;
    pthread_mutex_unlock(&lock);
    return found;
}

struct bio_st *mm_tls_socket_bio(struct mm_tls_socket *s)
{
    struct bio_method_st *method = the_method(s->library);
    struct bio_st *bio = method ? s->library->BIO_new(method) : NULL;
    if (!bio)
        return NULL;
    s->library->BIO_set_data(bio, s);
    s->library->BIO_set_init(bio, 1);
    return bio;
}

void mm_tls_socket_trim(struct mm_tls_socket *s)
{
    if (!mm_tls_socket_has_read(s)) {
        mm_free(s->in);
        s->in = NULL;
    }
    if (!mm_tls_socket_holds(s)) {
        mm_free(s->out);
        s->out = NULL;
    }
}

void mm_tls_socket_fini(struct mm_tls_socket *s)
{
    mm_free(s->in);
    mm_free(s->out);
    s->in = s->out = NULL;
}
