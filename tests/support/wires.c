/* Pumping two ends of a wire. */
#include "tests/support/wires.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { BLOCK = (1 << 20) + 7, MOST = 60000, PIECES = 4 };

static _Thread_local uint64_t random_state = 88172645463325252u;
static unsigned char block[2 * BLOCK]; /* twice the same, so that a piece never wraps */

bool wires_is_slow(void)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    return true;
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return true;
#endif
#endif
    return getenv("MAMUTO_TEST_UNDER");
}

uint64_t wires_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

void wires_seed(uint64_t seed)
{
    random_state = seed * 0x9E3779B97F4A7C15u + 88172645463325252u;
    for (size_t k = 0; k < BLOCK; k++)
        block[k] = block[k + BLOCK] = (unsigned char)(wires_random() >> 32);
}

static void set_buffers(const int fds[2], int bytes)
{
    for (int k = 0; k < 2 && bytes; k++) {
        assert_int_equal(setsockopt(fds[k], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
        assert_int_equal(setsockopt(fds[k], SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
    }
}

void wires_socketpair(int fds[2], int buffer_bytes)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    set_buffers(fds, buffer_bytes);
}

void wires_tcp(int fds[2], int buffer_bytes)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, n), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &n), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int connected = connect(fds[0], (struct sockaddr *)&address, n);
    assert_true(connected == 0 || errno == EINPROGRESS);
    fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fds[1] >= 0);
    close(listener);
    set_buffers(fds, buffer_bytes);
    for (int k = 0; k < 2; k++)
        setsockopt(fds[k], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* --- one end ----------------------------------------------------------------------------------------------------- */

static size_t piece(const struct wires_end *end, uint64_t left)
{
    uint64_t n = 1 + wires_random() % (end->most ? end->most : MOST);
    if (wires_random() % 4 == 0)
        n = 1 + n % 40; /* many pieces are small, as headers are */
    return n < left ? (size_t)n : (size_t)left;
}

static bool write_some(struct wires_end *end)
{
    struct iovec iov[PIECES];
    int n = 0, want = 1 + (int)(wires_random() % PIECES);
    uint64_t at = end->written;
    for (; n < want && at < end->to_write; n++) {
        iov[n].iov_len = piece(end, end->to_write - at);
        iov[n].iov_base = block + (at + end->offset_out) % BLOCK;
        at += iov[n].iov_len;
    }
    ssize_t result = end->wire->ops->writev(end->wire, iov, n); /* n = 0: what is held back */
    if (result > 0)
        end->written += (uint64_t)result;
    else if (result != -EAGAIN && (n || result < 0))
        end->write_result = result;
    return result > 0;
}

static bool is_right(struct wires_end *end, const unsigned char *got, size_t n)
{
    bool right = end->read + n <= end->to_read && !memcmp(got, block + (end->read + end->offset_in) % BLOCK, n);
    if (!right)
        fprintf(stderr, "wrong bytes from %llu on\n", (unsigned long long)end->read);
    end->read += n;
    return right;
}

static bool read_some(struct wires_end *end)
{
    static _Thread_local unsigned char to[PIECES][MOST];
    struct iovec iov[PIECES];
    int n = 0, want = 1 + (int)(wires_random() % PIECES);
    for (; n < want; n++)
        iov[n] = (struct iovec){ to[n], piece(end, MOST) };
    ssize_t result = end->wire->ops->readv(end->wire, iov, n);
    if (result <= 0) {
        end->read_result = result != -EAGAIN ? result : end->read_result;
        return false;
    }
    size_t left = (size_t)result;
    for (int k = 0; k < n && left; k++) {
        size_t here = left < iov[k].iov_len ? left : iov[k].iov_len;
        if (!is_right(end, iov[k].iov_base, here)) {
            end->read_result = -EILSEQ;
            return false;
        }
        left -= here;
    }
    return true;
}

bool wires_turn(struct wires_end *end)
{
    bool moved = end->read_result == 1 && read_some(end);
    if (end->write_result == 1)
        moved |= write_some(end);
    return moved;
}

/* --- both -------------------------------------------------------------------------------------------------------- */

static bool is_over(const struct wires_end *end)
{
    short in = 0, out = 0;
    end->wire->ops->wants(end->wire, false, false, &in, &out);
    return end->written == end->to_write && end->read == end->to_read && !out;
}

static bool has_failed(const struct wires_end *end) { return end->read_result != 1 || end->write_result != 1; }

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void wait_for(struct wires_end ends[2])
{
    struct pollfd p[2];
    for (int k = 0; k < 2; k++) {
        short in = 0, out = 0;
        const struct mm_wire *w = ends[k].wire;
        if (w->ops->has_more(w))
            return;
        w->ops->wants(w, true, ends[k].written < ends[k].to_write, &in, &out);
        p[k] = (struct pollfd){ w->fd_in, (short)(in | out), 0 };
    }
    poll(p, 2, 100);
}

bool wires_pump(struct wires_end ends[2])
{
    int64_t end_ms = now_ms() + (wires_is_slow() ? 600000 : 30000);
    for (int k = 0; k < 2; k++)
        ends[k].read_result = ends[k].write_result = 1;
    while (!has_failed(&ends[0]) && !has_failed(&ends[1]) && (!is_over(&ends[0]) || !is_over(&ends[1]))) {
        bool moved = wires_turn(&ends[0]);
        moved |= wires_turn(&ends[1]);
        if (now_ms() > end_ms) {
            fprintf(stderr, "the time is over: %llu and %llu bytes were read\n", (unsigned long long)ends[0].read,
                    (unsigned long long)ends[1].read);
            return false;
        }
        if (!moved)
            wait_for(ends);
    }
    return ends[0].read_result != -EILSEQ && ends[1].read_result != -EILSEQ;
}
