/* A login's two sides: the loop, which began it and is told, and a thread, which works with libssh and then pumps bytes
 * between the channel and a socket pair for as long as the command runs. So nothing of libssh ever runs on the loop: neither
 * an ssh-agent that does not answer, nor a slow key, nor the channel's encryption can hold it up.
 *
 * Both sides share a structure under a lock; the last one frees it. A thread that is stuck is given up, never joined: it
 * frees what it has when it wakes. Threads of our own, not libuv's pool, which belongs to the application. The thread takes
 * no signals.
 */
#include "net/login.h"

#include "core/alloc.h"
#include "core/error.h"
#include "net/login_pump.h"
#include "net/login_session.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STACK_BYTES = 512 << 10 };

/* What both sides see; under its lock, but for what the thread alone uses. */
struct shared {
    pthread_mutex_t lock;
    int users;
    struct mm_login *login; /* NULL: the loop has given it up */
    struct mm_login_target target;
    int socket;      /* the thread's end */
    bool over, open; /* the login, and how */
    mamuto_error_t err;
    struct sockaddr_storage peer;
    socklen_t n_peer;
    char tail[2 * MM_LOGIN_TAIL]; /* the first half goes when it is full */
    size_t n_tail;
    bool ended;
    int status;
};

struct mm_login {
    struct shared *shared;
    uv_async_t async;
    uv_timer_t timer;
    int wire; /* the loop's end of the pair; -1: handed over */
    int closing;
    bool told;
    int timeout_ms;
    const struct mm_login_events *events;
    void *owner;
};

/* --- the thread --------------------------------------------------------------------------------------------------- */

static void release(struct shared *s)
{
    pthread_mutex_lock(&s->lock);
    bool last = --s->users == 0;
    pthread_mutex_unlock(&s->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&s->lock);
    mm_login_target_fini(&s->target);
    mm_free(s);
}

/* Tells the loop, if it still listens. */
static void notify(struct shared *s)
{
    if (s->login)
        uv_async_send(&s->login->async);
}

static void on_stderr(void *owner, const char *bytes, size_t n)
{
    struct shared *s = owner;
    pthread_mutex_lock(&s->lock);
    while (n) {
        if (s->n_tail == sizeof s->tail) {
            memmove(s->tail, s->tail + MM_LOGIN_TAIL, MM_LOGIN_TAIL);
            s->n_tail = MM_LOGIN_TAIL;
        }
        size_t room = sizeof s->tail - s->n_tail, some = n < room ? n : room;
        memcpy(s->tail + s->n_tail, bytes, some);
        s->n_tail += some;
        bytes += some;
        n -= some;
    }
    pthread_mutex_unlock(&s->lock);
}

static bool tell_login(struct shared *s, int code, const mamuto_error_t *err, ssh_session session)
{
    pthread_mutex_lock(&s->lock);
    s->over = true;
    s->open = code == 0;
    s->err = *err;
    if (s->open)
        s->n_peer = mm_login_peer(session, &s->peer);
    bool wanted = s->login && s->open;
    notify(s);
    pthread_mutex_unlock(&s->lock);
    return wanted;
}

static void *work(void *context)
{
    struct shared *s = context;
    ssh_session session = NULL;
    ssh_channel channel = NULL;
    mamuto_error_t err = { 0 };
    int code = mm_login_session(&s->target, &session, &channel, &err), status = -1;
    if (tell_login(s, code, &err, session))
        status = mm_login_pump(session, channel, s->socket, on_stderr, s);
    if (channel)
        ssh_channel_free(channel);
    if (session) {
        ssh_disconnect(session);
        ssh_free(session);
    }
    pthread_mutex_lock(&s->lock);
    s->ended = code == 0;
    s->status = status;
    pthread_mutex_unlock(&s->lock);
    close(s->socket); /* the wire ends: whoever asks now finds how the command did */
    release(s);
    return NULL;
}

static int start_thread(struct shared *s)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&thread, &attributes, work, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return code;
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

static void on_async(uv_async_t *async)
{
    struct mm_login *l = async->data;
    struct shared *s = l->shared;
    mamuto_error_t err;
    struct sockaddr_storage peer;
    pthread_mutex_lock(&s->lock);
    bool over = s->over && !l->told, open = s->open;
    socklen_t n = s->n_peer;
    err = s->err;
    peer = s->peer;
    pthread_mutex_unlock(&s->lock);
    if (!over)
        return;
    l->told = true;
    uv_timer_stop(&l->timer);
    struct mm_wire *wire = open ? mm_wire_of_fds(l->wire, l->wire) : NULL;
    if (wire) {
        l->wire = -1;
        l->events->on_open(l->owner, wire, &peer, n);
        return;
    }
    if (open)
        mm_error_set(&err, MAMUTO_ENOMEM, "no memory for a connection");
    l->events->on_failed(l->owner, &err);
}

static void on_late(uv_timer_t *timer)
{
    struct mm_login *l = timer->data;
    struct shared *s = l->shared;
    mamuto_error_t err = { 0 };
    const char *stage = s->target.stage;
    if (l->told)
        return;
    l->told = true;
    mm_error_set(&err, MAMUTO_EHOST, "host %s: %s: nothing within %d ms (connect_timeout_ms)%s", s->target.label,
                 stage ? stage : "CONNECT", l->timeout_ms,
                 stage && strcmp(stage, "AUTH") == 0 ? "; does the ssh-agent answer?" : "");
    l->events->on_failed(l->owner, &err);
}

static int make_shared(struct mm_login *l, const struct mm_config_host *host, const char *command, mamuto_error_t *err)
{
    int ends[2];
    struct shared *s = l->shared = mm_alloc(sizeof *s);
    if (!s || mm_login_target_copy(&s->target, host, command)) {
        if (s)
            mm_login_target_fini(&s->target);
        mm_free(s);
        return mm_error_set(err, MAMUTO_ENOMEM, "host %s: no memory to log in", host->label);
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        int code = mm_error_system(err, errno, "host %s: cannot make a socket for a login", host->label);
        mm_login_target_fini(&s->target);
        mm_free(s);
        return code;
    }
    pthread_mutex_init(&s->lock, NULL);
    s->users = 2;
    s->login = l;
    l->wire = ends[0];
    s->socket = ends[1];
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct mm_login *l = handle->data;
    if (--l->closing)
        return;
    if (l->wire >= 0)
        close(l->wire);
    release(l->shared);
    mm_free(l);
}

int mm_login_begin(struct mm_login **out, uv_loop_t *loop, const struct mm_config_host *host, const char *command,
                   const struct mm_login_events *events, void *owner, mamuto_error_t *err)
{
    struct mm_login *l = mm_alloc(sizeof *l);
    if (!l)
        return mm_error_set(err, MAMUTO_ENOMEM, "host %s: no memory to log in", host->label);
    int code = make_shared(l, host, command, err);
    if (code || uv_async_init(loop, &l->async, on_async) != 0) {
        if (!code) {
            l->shared->users = 1;
            close(l->wire);
            close(l->shared->socket);
            release(l->shared);
            code = mm_error_set(err, MAMUTO_ESYSTEM, "host %s: cannot make a handle", host->label);
        }
        mm_free(l);
        return code;
    }
    l->events = events;
    l->owner = owner;
    l->timeout_ms = host->connect_timeout_ms;
    uv_timer_init(loop, &l->timer);
    l->async.data = l->timer.data = l;
    uv_unref((uv_handle_t *)&l->async);
    uv_unref((uv_handle_t *)&l->timer);
    uv_timer_start(&l->timer, on_late, (uint64_t)host->connect_timeout_ms, 0);
    int failed = start_thread(l->shared);
    if (failed) {
        close(l->shared->socket);
        release(l->shared); /* the thread's part */
        code = mm_error_system(err, failed, "host %s: cannot start a thread to log in", host->label);
        mm_login_stop(l);
        return code;
    }
    *out = l;
    return 0;
}

size_t mm_login_tail(struct mm_login *l, char *text, size_t size)
{
    struct shared *s = l->shared;
    pthread_mutex_lock(&s->lock);
    size_t n = s->n_tail < size - 1 ? s->n_tail : size - 1;
    memcpy(text, s->tail + s->n_tail - n, n);
    pthread_mutex_unlock(&s->lock);
    text[n] = '\0';
    return n;
}

bool mm_login_end(struct mm_login *l, char *text, size_t size)
{
    struct shared *s = l->shared;
    pthread_mutex_lock(&s->lock);
    bool ended = s->ended;
    if (ended && s->status >= 0)
        snprintf(text, size, "it exited with status %d", s->status);
    else if (ended)
        snprintf(text, size, "the connection ended");
    pthread_mutex_unlock(&s->lock);
    return ended;
}

void mm_login_stop(struct mm_login *l)
{
    pthread_mutex_lock(&l->shared->lock);
    l->shared->login = NULL;
    pthread_mutex_unlock(&l->shared->lock);
    l->closing = 2;
    uv_close((uv_handle_t *)&l->async, on_handle_closed);
    uv_close((uv_handle_t *)&l->timer, on_handle_closed);
}
