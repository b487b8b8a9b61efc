/* The pump of an ssh channel. It holds at most one buffer in each direction, and reads no more before that is gone: so the
 * channel's window, and the socket's buffer, hold their writers up. After the far side's end of file reading alone would not
 * move libssh any more: ssh_event_dopoll does, and the exit status comes by it. A keepalive goes out every 30 s, or a firewall
 * would cut an idle connection.
 */
#include "net/login_pump.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <time.h>

enum { BUFFER = 64 << 10, MOST_WRITE = 32 << 10, KEEPALIVE_S = 30, LINGER_MS = 1000, LOOK_MS = 1000, STATUS_MS = 500 };

struct pump {
    ssh_session session;
    ssh_channel channel;
    ssh_event event;
    int socket;
    char to[BUFFER], from[BUFFER]; /* the channel */
    size_t n_to, at_to, n_from, at_from;
    bool socket_ended, eof_sent, far_ended;
    time_t kept_alive;
    void (*on_stderr)(void *owner, const char *bytes, size_t n);
    void *owner;
};

/* Each returns whether it moved something. */
static bool from_channel(struct pump *p)
{
    bool moved = false;
    if (!p->n_from && !p->far_ended) {
        int n = ssh_channel_read_nonblocking(p->channel, p->from, BUFFER, 0);
        if (n > 0) {
            p->n_from = (size_t)n;
            p->at_from = 0;
            moved = true;
        } else if (n < 0 || ssh_channel_is_eof(p->channel) || ssh_channel_is_closed(p->channel))
            p->far_ended = true;
    }
    while (p->n_from) {
        ssize_t n = send(p->socket, p->from + p->at_from, p->n_from, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            p->socket_ended = true;
            p->n_from = 0;
        }
        if (n <= 0)
            break;
        p->at_from += (size_t)n;
        p->n_from -= (size_t)n;
        moved = true;
    }
    return moved;
}

static bool from_stderr(struct pump *p)
{
    char text[4096];
    int n = ssh_channel_read_nonblocking(p->channel, text, sizeof text, 1);
    if (n > 0)
        p->on_stderr(p->owner, text, (size_t)n);
    return n > 0;
}

static bool to_channel(struct pump *p)
{
    bool moved = false;
    if (!p->n_to && !p->socket_ended) {
        ssize_t n = recv(p->socket, p->to, BUFFER, MSG_DONTWAIT);
        if (n > 0) {
            p->n_to = (size_t)n;
            p->at_to = 0;
            moved = true;
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            p->socket_ended = true;
    }
    while (p->n_to && !p->far_ended && !(ssh_get_status(p->session) & SSH_WRITE_PENDING)) {
        size_t most = p->n_to < MOST_WRITE ? p->n_to : MOST_WRITE, window = ssh_channel_window_size(p->channel);
        int n = window ? ssh_channel_write(p->channel, p->to + p->at_to, (uint32_t)(most < window ? most : window)) : 0;
        if (n < 0)
            p->far_ended = true;
        if (n <= 0)
            break;
        p->at_to += (size_t)n;
        p->n_to -= (size_t)n;
        moved = true;
    }
    if (p->socket_ended && !p->n_to && !p->eof_sent) {
        ssh_channel_send_eof(p->channel);
        p->eof_sent = moved = true;
    }
    return moved;
}

static void wait(struct pump *p, int ms)
{
    struct pollfd fds[2] = { { .fd = ssh_get_fd(p->session), .events = POLLIN }, { .fd = p->socket } };
    if (ssh_get_poll_flags(p->session) & SSH_WRITE_PENDING)
        fds[0].events |= POLLOUT;
    fds[1].events = (short)((!p->n_to && !p->socket_ended ? POLLIN : 0) | (p->n_from ? POLLOUT : 0));
    if (!fds[1].events)
        fds[1].fd = -1; /* it would say HUP for ever */
    poll(fds, 2, ms);
    if (ssh_event_dopoll(p->event, 0) == SSH_ERROR)
        p->far_ended = true;
    time_t now = time(NULL);
    if (now - p->kept_alive < KEEPALIVE_S)
        return;
    p->kept_alive = now;
    ssh_send_ignore(p->session, "");
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void run(struct pump *p)
{
    long ended = 0;
    while (!p->far_ended || p->n_from) {
        bool moved = from_channel(p);
        moved |= from_stderr(p);
        moved |= to_channel(p);
        if (p->eof_sent && !ended)
            ended = now_ms();
        if (p->socket_ended && ended && now_ms() - ended > LINGER_MS)
            return;
        if (!p->far_ended || p->n_from)
            wait(p, moved ? 0 : p->socket_ended ? 20 : LOOK_MS);
    }
}

static int exit_status(struct pump *p)
{
    long begun = now_ms();
    int status;
    while ((status = ssh_channel_get_exit_status(p->channel)) < 0 && now_ms() - begun < STATUS_MS &&
           ssh_is_connected(p->session)) {
        from_stderr(p);
        if (ssh_event_dopoll(p->event, 20) == SSH_ERROR)
            break;
    }
    return status;
}

int mm_login_pump(ssh_session session, ssh_channel channel, int socket,
                  void (*on_stderr)(void *owner, const char *bytes, size_t n), void *owner)
{
    struct pump pump = { .session = session,
                         .channel = channel,
                         .event = ssh_event_new(),
                         .socket = socket,
                         .kept_alive = time(NULL),
                         .on_stderr = on_stderr,
                         .owner = owner };
    if (!pump.event)
        return -1;
    ssh_set_blocking(session, 0);
    ssh_event_add_session(pump.event, session);
    run(&pump);
    int status = exit_status(&pump);
    ssh_event_remove_session(pump.event, session);
    ssh_event_free(pump.event);
    return status;
}
