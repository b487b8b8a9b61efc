/* Attempts side by side, each at its own stage:
 *
 *   WAITING ── its turn ──► CONNECTING ──► SECURING (TLS) or PROVING (plain) ──► won
 *
 * An attempt that fails says why, and another one goes on: who answers first, and does not have the key, costs nothing. A
 * reason is that of the attempt that came farthest. Handles outlive an attempt until their close callbacks, so each attempt
 * is a heap object. Called on the loop's thread; on_done never comes from inside mm_dial_begin.
 */
#include "net/dial.h"

#include "core/alloc.h"
#include "net/prove.h"
#include "net/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { STAGGER_MS = 250, TICK_MS = 25 };
enum stage { WAITING, CONNECTING, SECURING, PROVING, OVER };

struct attempt {
    struct mm_dial *dial;
    struct mm_target target;
    enum stage stage;
    int fd;               /* -1: none, or a wire's */
    struct mm_wire *wire; /* until it is a link's */
    struct mm_link *link;
    struct mm_proof proof;
    struct watch *watch; /* NULL: none, or the link has its own */
};

/* Lives until its close callback. */
struct watch {
    uv_poll_t poll;
    struct attempt *attempt; /* NULL: it is watched no more */
};

struct mm_dial {
    uv_loop_t *loop;
    uv_timer_t timer;
    enum mm_stream_kind kind;
    unsigned char key[MM_KEY_BYTES];
    char nonce[64], why[256];
    enum stage farthest; /* that why is of */
    struct attempt *attempts[MM_DIAL_TARGETS];
    unsigned n, begun;
    uint64_t begun_ms;
    struct mm_link *won;
    bool closing;
    void (*on_done)(void *owner, struct mm_link *link, const char *why);
    void *owner;
};

bool mm_target_of(struct mm_target *target, const char *address, uint16_t port)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM }, *found = NULL;
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(address, service, &hints, &found) != 0)
        return false;
    memset(target, 0, sizeof *target);
    memcpy(&target->address, found->ai_addr, found->ai_addrlen);
    target->n = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

struct mm_target mm_target_at(const struct sockaddr_storage *address, socklen_t n, uint16_t port)
{
    struct mm_target target = { .address = *address, .n = n };
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&target.address)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)&target.address)->sin_port = htons(port);
    return target;
}

/* --- an attempt's end --------------------------------------------------------------------------------------------- */

static void on_watch_closed(uv_handle_t *poll) { mm_free(poll->data); }

/* Before another handle watches the descriptor, and before it is closed. */
static void end_watch(struct attempt *a)
{
    if (!a->watch)
        return;
    a->watch->attempt = NULL;
    uv_close((uv_handle_t *)&a->watch->poll, on_watch_closed);
    a->watch = NULL;
}

static void drop(struct attempt *a)
{
    mm_proof_end(&a->proof);
    end_watch(a);
    if (a->link)
        mm_link_close(a->link);
    else if (a->wire)
        a->wire->ops->close(a->wire);
    else if (a->fd >= 0)
        close(a->fd);
    mm_free(a);
}

static void give_up(struct attempt *a, const char *text)
{
    struct mm_dial *d = a->dial;
    char host[128] = "?", port[16] = "?";
    getnameinfo((const struct sockaddr *)&a->target.address, a->target.n, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    if (a->stage > d->farthest || !d->why[0]) {
        snprintf(d->why, sizeof d->why, "%s port %s: %s", host, port, text);
        d->farthest = a->stage;
    }
    for (unsigned i = 0; i < d->n; i++)
        if (d->attempts[i] == a)
            d->attempts[i] = NULL;
    if (a->link && d->won == a->link)
        d->won = NULL;
    drop(a);
}

/* --- the proof of a plain stream ---------------------------------------------------------------------------------- */

static int send_prove(struct attempt *a, const struct mm_prove *prove)
{
    unsigned char body[MM_CHALLENGE_BYTES + MM_PROOF_BYTES];
    struct mm_writer w = { .at = body, .room = sizeof body };
    mm_put_prove(&w, prove);
    return mm_stream_send(mm_link_stream(a->link), MM_FRAME_PROVE, 0, body, w.n);
}

static int on_frame(void *owner, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct attempt *a = owner;
    struct mm_stream *stream = mm_link_stream(a->link);
    struct mm_prove in, out;
    mamuto_error_t err = { 0 };
    const char *why = "";
    bool sends = false;
    if (frame->type != MM_FRAME_PROVE || a->dial->won || mm_get_prove(&in, body, n, &why))
        return mm_stream_fail(stream, "what answers is no agent of ours");
    int code = mm_proof_take(&a->proof, &in, &out, &sends, &err);
    if (code)
        return mm_stream_fail(stream, "%s", err.text);
    if (sends)
        code = send_prove(a, &out);
    if (a->proof.state == MM_PROOF_DONE)
        a->dial->won = a->link; /* handed over by the timer, when the link is not at work */
    return code;
}

static int on_payload(void *owner, const struct mm_frame *frame, size_t done, void **to)
{
    struct attempt *a = owner;
    (void)frame, (void)done, (void)to;
    return mm_stream_fail(mm_link_stream(a->link), "what answers is no agent of ours");
}

static int on_payload_end(void *owner, const struct mm_frame *frame) { return on_payload(owner, frame, 0, NULL); }

static void on_end(void *owner, const mamuto_error_t *err) { give_up(owner, err->text); }

static const struct mm_link_events link_events = {
    .stream = { .on_frame = on_frame, .on_payload = on_payload, .on_payload_end = on_payload_end }, .on_end = on_end
};

/* --- its stages --------------------------------------------------------------------------------------------------- */

static void make_link(struct attempt *a)
{
    mamuto_error_t err = { 0 };
    end_watch(a);
    if (mm_link_new(&a->link, a->dial->loop, a->wire, MM_ON_STREAM, &link_events, a, &err)) {
        give_up(a, err.text);
        return;
    }
    a->wire = NULL;
    if (a->dial->kind == MM_STREAM_TLS) {
        a->dial->won = a->link;
        return;
    }
    a->stage = PROVING;
    struct mm_prove out;
    bool sends = false;
    if (mm_proof_begin(&a->proof, MM_PROOF_MASTER, a->dial->key, &out, &sends, &err) || send_prove(a, &out))
        give_up(a, err.code ? err.text : "no memory");
    else
        mm_link_wake(a->link);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void secure(struct attempt *a)
{
    short in = 0, out = 0;
    int code = mm_tls_handshake(a->wire);
    if (code == 1) {
        a->wire->ops->wants(a->wire, true, false, &in, &out);
        uv_poll_start(&a->watch->poll, (in ? UV_READABLE : 0) | (out ? UV_WRITABLE : 0), on_poll);
        return;
    }
    if (code)
        give_up(a, a->wire->ops->reason(a->wire));
    else
        make_link(a);
}

static void on_connected(struct attempt *a)
{
    mamuto_error_t err = { 0 };
    int one = 1;
    setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (a->dial->kind == MM_STREAM_TLS)
        a->wire = mm_tls_client(a->fd, a->dial->key, a->dial->nonce, &err);
    else
        a->wire = mm_wire_of_fds(a->fd, a->fd);
    if (!a->wire) {
        give_up(a, err.code ? err.text : "no memory");
        return;
    }
    a->fd = -1;
    a->stage = SECURING;
    if (a->dial->kind == MM_STREAM_TLS)
        secure(a);
    else
        make_link(a);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct attempt *a = ((struct watch *)poll->data)->attempt;
    int error = 0;
    socklen_t n = sizeof error;
    (void)status, (void)events;
    if (!a)
        return;
    if (a->stage == SECURING) {
        secure(a);
        return;
    }
    if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
        error = errno;
    if (error)
        give_up(a, strerror(error));
    else
        on_connected(a);
}

static void begin_attempt(struct attempt *a)
{
    a->stage = CONNECTING;
    a->fd = socket(a->target.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool on_way = a->fd >= 0 && (connect(a->fd, (const struct sockaddr *)&a->target.address, a->target.n) == 0 ||
                                 errno == EINPROGRESS);
    if (!on_way) {
        give_up(a, strerror(errno));
        return;
    }
    struct watch *watch = mm_alloc(sizeof *watch);
    if (!watch || uv_poll_init(a->dial->loop, &watch->poll, a->fd) != 0) {
        mm_free(watch);
        give_up(a, "it cannot be watched");
        return;
    }
    watch->poll.data = watch;
    watch->attempt = a;
    a->watch = watch;
    uv_unref((uv_handle_t *)&watch->poll);
    uv_poll_start(&watch->poll, UV_WRITABLE, on_poll);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static struct mm_link *take_won(struct mm_dial *d)
{
    for (unsigned i = 0; i < d->n; i++)
        if (d->attempts[i] && d->attempts[i]->link == d->won)
            d->attempts[i]->link = NULL;
    return d->won;
}

static void on_tick(uv_timer_t *timer)
{
    struct mm_dial *d = timer->data;
    uint64_t passed = uv_now(d->loop) - d->begun_ms;
    bool any = d->begun < d->n;
    if (d->won) {
        uv_timer_stop(timer);
        d->on_done(d->owner, take_won(d), NULL);
        return;
    }
    for (unsigned i = 0; i < d->begun; i++)
        any |= d->attempts[i] != NULL;
    if (!any || passed > MM_DIAL_MS) {
        uv_timer_stop(timer);
        d->on_done(d->owner, NULL, d->why[0] ? d->why : "nothing answers within 2 s");
        return;
    }
    bool idle = true;
    for (unsigned i = 0; i < d->begun; i++)
        idle &= d->attempts[i] == NULL;
    if (d->begun < d->n && (idle || passed >= (uint64_t)d->begun * STAGGER_MS))
        begin_attempt(d->attempts[d->begun++]);
}

int mm_dial_begin(struct mm_dial **out, uv_loop_t *loop, const struct mm_target *targets, unsigned n,
                  enum mm_stream_kind kind, const unsigned char key[MM_KEY_BYTES], const char *nonce,
                  void (*on_done)(void *owner, struct mm_link *link, const char *why), void *owner, mamuto_error_t *err)
{
    struct mm_dial *d = mm_alloc(sizeof *d);
    if (!d)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory to dial");
    d->loop = loop;
    d->kind = kind;
    memcpy(d->key, key, sizeof d->key);
    snprintf(d->nonce, sizeof d->nonce, "%s", nonce);
    d->on_done = on_done;
    d->owner = owner;
    for (; d->n < n && d->n < MM_DIAL_TARGETS; d->n++) {
        struct attempt *a = mm_alloc(sizeof *a);
        if (!a)
            break;
        *a = (struct attempt){ .dial = d, .target = targets[d->n], .fd = -1 };
        d->attempts[d->n] = a;
    }
    uv_timer_init(loop, &d->timer);
    d->timer.data = d;
    uv_unref((uv_handle_t *)&d->timer);
    d->begun_ms = uv_now(loop);
    uv_timer_start(&d->timer, on_tick, 0, TICK_MS);
    *out = d;
    return 0;
}

static void on_timer_closed(uv_handle_t *timer)
{
    struct mm_dial *d = timer->data;
    explicit_bzero(d->key, sizeof d->key);
    mm_free(d);
}

void mm_dial_close(struct mm_dial *d)
{
    if (d->closing)
        return;
    d->closing = true;
    for (unsigned i = 0; i < d->n; i++)
        if (d->attempts[i])
            drop(d->attempts[i]);
    d->n = 0;
    explicit_bzero(d->key, sizeof d->key);
    uv_close((uv_handle_t *)&d->timer, on_timer_closed);
}
