/* A stream on a libuv loop. Descriptors are watched by uv_poll, and all reading and writing is done here, synchronously, so
 * that between two callbacks of the loop nothing is outstanding on anybody's memory.
 *
 * A stream that has more to do than one turn allows goes on at the next turn (an idle handle). Its handles outlive it until
 * their close callbacks, so they are heap objects of their own. Unreferenced: what keeps the loop alive is core's business.
 * Silence is counted in ticks on which the socket was drained and nothing was there: a stall of our own process counts as
 * one. Called on the loop's thread.
 */
#include "net/link.h"

#include "core/alloc.h"

#include <poll.h>

struct handles {
    uv_poll_t in, out;
    uv_idle_t again;
    bool has_in, has_out;
    int open; /* close callbacks to come */
    struct mm_link *link;
};

struct mm_link {
    uv_loop_t *loop;
    struct mm_stream *stream;
    const struct mm_link_events *events;
    void *owner;
    struct handles *handles;
    int polls_in, polls_out; /* UV_* that each is started with */
    bool busy;               /* in a read or write: a close waits for its end */
    bool closing, ended;
    unsigned silence;
    uint64_t pinged_ns; /* 0: no ping is out */
    double rtt_us;
    uint64_t received, sent; /* at the last tick */
};

/* --- events of the stream, handed on ----------------------------------------------------------------------------- */

static int on_frame(void *owner, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct mm_link *link = owner;
    if (frame->type == MM_FRAME_PING)
        return mm_stream_send(link->stream, MM_FRAME_PONG, frame->id, NULL, 0);
    if (frame->type == MM_FRAME_PONG) {
        if (link->pinged_ns)
            link->rtt_us = (double)(uv_hrtime() - link->pinged_ns) / 1000;
        link->pinged_ns = 0;
        return 0;
    }
    int code = link->events->stream.on_frame(link->owner, frame, body, n);
    return link->closing && !code ? MAMUTO_ECANCELED : code;
}

static int on_payload(void *owner, const struct mm_frame *frame, size_t done, void **to)
{
    struct mm_link *link = owner;
    int code = link->events->stream.on_payload(link->owner, frame, done, to);
    return link->closing && !code ? MAMUTO_ECANCELED : code;
}

static int on_payload_end(void *owner, const struct mm_frame *frame)
{
    struct mm_link *link = owner;
    int code = link->events->stream.on_payload_end(link->owner, frame);
    return link->closing && !code ? MAMUTO_ECANCELED : code;
}

static int on_raw(void *owner, const unsigned char *bytes, size_t n, size_t *used)
{
    struct mm_link *link = owner;
    int code = link->events->stream.on_raw(link->owner, bytes, n, used);
    return link->closing && !code ? MAMUTO_ECANCELED : code;
}

static const struct mm_stream_events stream_events = { on_frame, on_payload, on_payload_end, on_raw };

/* --- watching ---------------------------------------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct handles *h = handle->data;
    if (--h->open == 0)
        mm_free(h);
}

static void close_handles(struct handles *h)
{
    h->link = NULL;
    uv_close((uv_handle_t *)&h->again, on_handle_closed);
    if (h->has_in)
        uv_close((uv_handle_t *)&h->in, on_handle_closed);
    if (h->has_out)
        uv_close((uv_handle_t *)&h->out, on_handle_closed);
}

static void destroy(struct mm_link *link)
{
    close_handles(link->handles); /* before the descriptors are */
    mm_stream_free(link->stream);
    mm_free(link);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static int uv_events(short events)
{
    return (events & POLLIN ? UV_READABLE : 0) | (events & POLLOUT ? UV_WRITABLE : 0);
}

static void start(uv_poll_t *poll, int *now, int events)
{
    if (*now == events)
        return;
    *now = events;
    if (events)
        uv_poll_start(poll, events, on_poll);
    else
        uv_poll_stop(poll);
}

static void watch(struct mm_link *link)
{
    struct handles *h = link->handles;
    short in = 0, out = 0;
    mm_stream_wants(link->stream, &in, &out);
    if (h->has_out)
        start(&h->out, &link->polls_out, uv_events(out));
    start(&h->in, &link->polls_in, uv_events(h->has_out ? in : (short)(in | out)));
}

static void on_again(uv_idle_t *idle);

/* Reads and writes what can be. */
static void turn(struct mm_link *link, bool readable)
{
    bool more_in = false, more_out = false;
    int code = 0;
    if (link->ended)
        return;
    link->busy = true;
    if (readable)
        code = mm_stream_read(link->stream, &more_in);
    if (!code)
        code = mm_stream_write(link->stream, &more_out);
    link->busy = false;
    if (link->closing) {
        destroy(link);
        return;
    }
    if (code) {
        link->ended = true;
        uv_idle_stop(&link->handles->again);
        start(&link->handles->in, &link->polls_in, 0);
        if (link->handles->has_out)
            start(&link->handles->out, &link->polls_out, 0);
        link->events->on_end(link->owner, mm_stream_error(link->stream));
        return;
    }
    if (more_in || more_out)
        uv_idle_start(&link->handles->again, on_again);
    else
        uv_idle_stop(&link->handles->again);
    watch(link);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct handles *h = poll->data;
    if (h->link)
        turn(h->link, status < 0 || (events & UV_READABLE) || poll == &h->in);
}

static void on_again(uv_idle_t *idle)
{
    struct handles *h = idle->data;
    if (h->link)
        turn(h->link, true);
}

void mm_link_wake(struct mm_link *link)
{
    if (!link->ended && !link->closing && !link->busy)
        uv_idle_start(&link->handles->again, on_again);
}

/* --- its life ---------------------------------------------------------------------------------------------------- */

static int init_poll(struct handles *h, uv_loop_t *loop, uv_poll_t *poll, int fd, bool *has, mamuto_error_t *err)
{
    int code = uv_poll_init(loop, poll, fd);
    if (code)
        return mm_error_set(err, MAMUTO_ESYSTEM, "cannot watch a descriptor: %s", uv_strerror(code));
    poll->data = h;
    *has = true;
    h->open++;
    uv_unref((uv_handle_t *)poll);
    return 0;
}

static int init_handles(struct handles *h, uv_loop_t *loop, const struct mm_wire *wire, mamuto_error_t *err)
{
    uv_idle_init(loop, &h->again);
    h->again.data = h;
    h->open = 1;
    uv_unref((uv_handle_t *)&h->again);
    int code = init_poll(h, loop, &h->in, wire->fd_in, &h->has_in, err);
    if (!code && wire->fd_out != wire->fd_in)
        code = init_poll(h, loop, &h->out, wire->fd_out, &h->has_out, err);
    return code;
}

int mm_link_new(struct mm_link **out, uv_loop_t *loop, struct mm_wire *wire, int on,
                const struct mm_link_events *events, void *owner, mamuto_error_t *err)
{
    struct mm_link *link = mm_alloc(sizeof *link);
    struct handles *h = mm_alloc(sizeof *h);
    if (!link || !h) {
        mm_free(link);
        mm_free(h);
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for a connection");
    }
    *link = (struct mm_link){ .loop = loop, .events = events, .owner = owner, .handles = h };
    h->link = link;
    int code = init_handles(h, loop, wire, err);
    if (!code && !(link->stream = mm_stream_new(wire, MM_BY_AGENT, on, &stream_events, link)))
        code = mm_error_set(err, MAMUTO_ENOMEM, "no memory for a connection");
    if (code) {
        close_handles(h);
        mm_free(link);
        return code;
    }
    watch(link);
    *out = link;
    return 0;
}

void mm_link_set_events(struct mm_link *link, const struct mm_link_events *events, void *owner)
{
    link->events = events;
    link->owner = owner;
}

void mm_link_close(struct mm_link *link)
{
    link->closing = true;
    if (!link->busy)
        destroy(link);
}

struct mm_stream *mm_link_stream(struct mm_link *link) { return link->stream; }

unsigned mm_link_silence(struct mm_link *link) { return link->silence; }

void mm_link_tick(struct mm_link *link)
{
    if (link->ended)
        return;
    uint64_t received = mm_stream_received(link->stream), sent = mm_stream_sent(link->stream);
    link->silence = received == link->received ? link->silence + 1 : 0;
    link->received = received;
    if (sent == link->sent && !mm_stream_queued(link->stream)) {
        link->pinged_ns = uv_hrtime();
        mm_stream_send(link->stream, MM_FRAME_PING, sent, NULL, 0);
    }
    link->sent = sent;
    mm_link_wake(link);
}

double mm_link_rtt_us(const struct mm_link *link) { return link->rtt_us; }
