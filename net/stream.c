/* Frames over a wire, in both directions.
 *
 * IN. What comes is read into a buffer, frame after frame is cut from it. Of a payload, what lies in the buffer is copied
 * to where it belongs; the rest is read straight there, with the buffer behind it for what follows.
 * OUT. Whole frames wait in one queue, sources in another. When all that was handed to the wire is written, the stage is
 * filled anew: with whole frames, then with small slices of sources, then with the header of one large slice, whose
 * payload follows from where it lies. So whole frames go between slices, and many small things in one write.
 * Called by the owner's loop, never from inside its own callbacks (but for sending, which is legal everywhere). Knows
 * nothing of what frames mean.
 */
#include "net/stream.h"

#include "core/alloc.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    BUFFER = MM_FRAME_HEADER + MM_FRAME_SMALL + (8 << 10),
    SCRATCH = 64 << 10,
    SMALL_SLICE = 8 << 10,
    DRAIN = 16 << 10,
    TURN_BYTES = 4 << 20, /* moved in one call */
    PIECES = 16,
};

struct whole {
    struct whole *next;
    size_t n;
    unsigned char bytes[];
};

/* Bytes of a source that are still to be made into frames. */
struct queued {
    struct queued *next;
    struct mm_source *source; /* NULL: it was dropped */
    struct mm_frame frame;    /* of the next slice */
    uint64_t at, left;        /* in the source */
};

struct mm_stream {
    struct mm_wire *wire;
    int by, on;
    const struct mm_stream_events *events;
    void *owner;
    mamuto_error_t error;
    bool cut;
    uint64_t received, sent, queued;
    /* in */
    unsigned char buffer[BUFFER];
    size_t begin, end;
    struct mm_frame frame; /* whose payload is coming */
    bool raw, in_payload;
    size_t done, payload;
    /* out */
    struct whole *first_whole, **last_whole;
    struct queued *first, **last;
    uint64_t turn; /* the last one */
    unsigned char stage[BUFFER];
    size_t stage_begin, stage_end;
    struct queued *slice; /* whose payload follows the stage; in no list */
    size_t slice_left;
    unsigned char scratch[SCRATCH];
};

struct mm_stream *mm_stream_new(struct mm_wire *wire, int by, int on, const struct mm_stream_events *events,
                                void *owner)
{
    struct mm_stream *s = mm_alloc(sizeof *s);
    if (!s)
        return NULL;
    s->wire = wire;
    s->by = by;
    s->on = on;
    s->events = events;
    s->owner = owner;
    s->last_whole = &s->first_whole;
    s->last = &s->first;
    return s;
}

void mm_stream_set_events(struct mm_stream *s, const struct mm_stream_events *events, void *owner)
{
    s->events = events;
    s->owner = owner;
}

static void end_queued(struct queued *q)
{
    struct mm_source *source = q->source;
    mm_free(q);
    if (source)
        source->sent(source);
}

void mm_stream_free(struct mm_stream *s)
{
    s->wire->ops->close(s->wire);
    for (struct whole *w = s->first_whole, *next; w; w = next) {
        next = w->next;
        mm_free(w);
    }
    struct queued *q = s->first, *next;
    if (s->slice) {
        s->slice->next = q;
        q = s->slice;
    }
    for (; q; q = next) {
        next = q->next;
        end_queued(q);
    }
    mm_free(s);
}

void mm_stream_begin_raw(struct mm_stream *s) { s->raw = true; }
void mm_stream_begin_frames(struct mm_stream *s) { s->raw = false; }

uint64_t mm_stream_queued(const struct mm_stream *s) { return s->queued; }
uint64_t mm_stream_received(const struct mm_stream *s) { return s->received; }
uint64_t mm_stream_sent(const struct mm_stream *s) { return s->sent; }
const mamuto_error_t *mm_stream_error(const struct mm_stream *s) { return &s->error; }
bool mm_stream_is_cut(const struct mm_stream *s) { return s->cut; }
struct mm_wire *mm_stream_wire(const struct mm_stream *s) { return s->wire; }

int mm_stream_fail(struct mm_stream *s, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args); /* NOLINT(clang-analyzer-valist.Uninitialized): it has been started */
    va_end(args);
    mm_error_set(&s->error, MAMUTO_EPROTOCOL, "%s", text);
    return MAMUTO_EPROTOCOL;
}

/* n: what the wire has returned. */
static int fail_wire(struct mm_stream *s, const char *what, ssize_t n)
{
    s->cut = n == -ETIMEDOUT || n == -EHOSTUNREACH || n == -EHOSTDOWN || n == -ENETUNREACH || n == -ENETDOWN ||
             n == -ENETRESET;
    return mm_error_set(&s->error, MAMUTO_EHOST, "%s: %s", what, s->wire->ops->reason(s->wire));
}

/* --- in --------------------------------------------------------------------------------------------------------- */

static int fail_frame(struct mm_stream *s, int code, unsigned type, const char *why)
{
    const char *name = mm_frame_name(type);
    return mm_error_set(&s->error, code, "frame %s: %s", name ? name : "of an unknown type", why);
}

/* All of the payload is there. */
static int end_payload(struct mm_stream *s)
{
    s->in_payload = false;
    return s->events->on_payload_end(s->owner, &s->frame);
}

/* Takes what the buffer has of the payload. Of one without a byte, its owner is asked all the same: that is where it
 * looks what the frame names. */
static int take_payload(struct mm_stream *s)
{
    size_t n = s->end - s->begin, left = s->payload - s->done;
    void *to = NULL;
    n = n < left ? n : left;
    if (n || !s->payload) {
        int code = s->events->on_payload(s->owner, &s->frame, s->done, &to);
        if (code)
            return code;
        if (to)
            memcpy(to, s->buffer + s->begin, n);
        s->begin += n;
        s->done += n;
    }
    return s->done == s->payload ? end_payload(s) : 0;
}

/* Cuts the next frame from the buffer. *enough: there was one, or the beginning of one with a payload. */
static int take_frame(struct mm_stream *s, bool *enough)
{
    const unsigned char *at = s->buffer + s->begin;
    size_t there = s->end - s->begin;
    const char *why = "";
    *enough = false;
    if (there < MM_FRAME_HEADER)
        return 0;
    int code = mm_frame_get_header(&s->frame, at, s->by, s->on, &why);
    if (code)
        return fail_frame(s, code, at[4], why);
    size_t prefix = mm_frame_prefix(s->frame.type);
    if (there - MM_FRAME_HEADER < (prefix ? prefix : s->frame.length))
        return 0;
    *enough = true;
    if (prefix) {
        code = mm_frame_get_prefix(&s->frame, at + MM_FRAME_HEADER, &why);
        if (code)
            return fail_frame(s, code, s->frame.type, why);
        s->begin += MM_FRAME_HEADER + prefix;
        s->in_payload = true;
        s->done = 0;
        s->payload = s->frame.length - prefix;
        return take_payload(s);
    }
    s->begin += MM_FRAME_HEADER + s->frame.length;
    return s->events->on_frame(s->owner, &s->frame, at + MM_FRAME_HEADER, s->frame.length);
}

static int take_raw(struct mm_stream *s, bool *enough)
{
    size_t used = 0;
    int code = s->events->on_raw(s->owner, s->buffer + s->begin, s->end - s->begin, &used);
    s->begin += used;
    *enough = !s->raw || used; /* else it waits for more */
    if (!code && !used && s->raw && s->end - s->begin == BUFFER)
        code = mm_stream_fail(s, "what comes before the first frame does not end");
    return code;
}

/* Everything that the buffer has. */
static int take_all(struct mm_stream *s)
{
    int code = 0;
    bool enough = true;
    while (!code && enough && s->begin < s->end)
        code = s->raw ? take_raw(s, &enough) : s->in_payload ? take_payload(s) : take_frame(s, &enough);
    if (s->begin == s->end)
        s->begin = s->end = 0;
    return code;
}

/* What a read has brought: first payload, then buffer. */
static int take_read(struct mm_stream *s, size_t n)
{
    size_t left = s->in_payload ? s->payload - s->done : 0;
    size_t direct = n < left ? n : left;
    s->received += n;
    s->done += direct;
    s->end += n - direct;
    if (s->in_payload && s->done == s->payload) {
        int code = end_payload(s);
        if (code)
            return code;
    }
    return take_all(s);
}

static int read_once(struct mm_stream *s, size_t *moved)
{
    unsigned char drain[DRAIN];
    struct iovec iov[2];
    int n_iov = 0;
    void *to = NULL;
    if (s->begin) { /* what is there of a frame goes to the front */
        memmove(s->buffer, s->buffer + s->begin, s->end - s->begin);
        s->end -= s->begin;
        s->begin = 0;
    }
    if (s->in_payload) {
        size_t left = s->payload - s->done;
        int code = s->events->on_payload(s->owner, &s->frame, s->done, &to);
        if (code)
            return code;
        iov[n_iov++] = (struct iovec){ to ? to : drain, to || left < DRAIN ? left : DRAIN };
    }
    if (!s->in_payload || to || s->payload - s->done <= DRAIN)
        iov[n_iov++] = (struct iovec){ s->buffer + s->end, BUFFER - s->end };
    ssize_t n = s->wire->ops->readv(s->wire, iov, n_iov);
    *moved = n > 0 ? (size_t)n : 0;
    if (n > 0)
        return take_read(s, (size_t)n);
    if (n == -EAGAIN)
        return 0;
    return fail_wire(
        s, n == 0 && (s->in_payload || s->end) ? "the stream ended in the middle of a frame" : "the stream ended", n);
}

int mm_stream_read(struct mm_stream *s, bool *more)
{
    size_t total = 0, moved = 1;
    *more = false;
    int code = s->error.code;
    while (!code && moved && total < TURN_BYTES) {
        code = read_once(s, &moved);
        total += moved;
    }
    *more = !code && (moved || s->wire->ops->has_more(s->wire));
    return code;
}

/* --- out -------------------------------------------------------------------------------------------------------- */

static void append_whole(struct mm_stream *s, struct whole *w)
{
    *s->last_whole = w;
    s->last_whole = &w->next;
    s->queued += w->n;
}

int mm_stream_send(struct mm_stream *s, enum mm_frame_type type, uint64_t id, const void *body, size_t n)
{
    struct mm_frame frame = { .length = (uint32_t)n, .type = (uint8_t)type, .id = id };
    struct whole *w = mm_alloc(sizeof *w + MM_FRAME_HEADER + MM_FRAME_MOST_PREFIX + n);
    if (!w)
        return mm_error_set(&s->error, MAMUTO_ENOMEM, "no memory for a frame of %zu bytes", n);
    w->n = mm_frame_put(&frame, w->bytes);
    if (n)
        memcpy(w->bytes + w->n, body, n);
    w->n += n;
    append_whole(s, w);
    return 0;
}

int mm_stream_send_raw(struct mm_stream *s, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    while (n) {
        size_t some = n < SCRATCH ? n : SCRATCH;
        struct whole *w = mm_alloc(sizeof *w + some);
        if (!w)
            return mm_error_set(&s->error, MAMUTO_ENOMEM, "no memory for %zu bytes", some);
        memcpy(w->bytes, at, some);
        w->n = some;
        append_whole(s, w);
        at += some;
        n -= some;
    }
    return 0;
}

int mm_stream_send_source(struct mm_stream *s, const struct mm_frame *frame, struct mm_source *source, uint64_t from,
                          uint64_t n)
{
    struct queued *q = mm_alloc(sizeof *q);
    if (!q)
        return mm_error_set(&s->error, MAMUTO_ENOMEM, "no memory for what is to be sent");
    q->source = source;
    q->frame = *frame;
    q->at = from;
    q->left = n;
    *s->last = q;
    s->last = &q->next;
    s->queued += n;
    return 0;
}

void mm_stream_drop_source(struct mm_stream *s, struct mm_source *source)
{
    for (struct queued **at = &s->first, *q; (q = *at) != NULL;) {
        if (q->source != source) {
            at = &q->next;
            continue;
        }
        *at = q->next;
        if (!*at)
            s->last = at;
        s->queued -= q->left;
        mm_free(q);
    }
    if (s->slice && s->slice->source == source) {
        s->slice->source = NULL;
        s->queued -= s->slice->left;
        s->slice->left = 0;
    }
}

/* Takes out whose turn it is: of the next turn after the last one, the first that came. */
static struct queued *next_queued(struct mm_stream *s)
{
    struct queued **best = NULL;
    uint64_t best_distance = 0;
    for (struct queued **at = &s->first; *at; at = &(*at)->next) {
        uint64_t distance = (*at)->source->turn - s->turn - 1; /* wraps: the last one is farthest */
        if (!best || distance < best_distance) {
            best = at;
            best_distance = distance;
        }
    }
    struct queued *q = *best;
    *best = q->next;
    if (!*best)
        s->last = best;
    s->turn = q->source->turn;
    return q;
}

/* A slice was taken of it: it is over, or the first of its turn again. */
static void put_back(struct mm_stream *s, struct queued *q)
{
    if (!q->left) {
        end_queued(q);
        return;
    }
    q->next = s->first;
    s->first = q;
    if (!q->next)
        s->last = &q->next;
}

static size_t get(struct mm_stream *s, const struct queued *q, uint64_t at, size_t n, const void **p)
{
    static const unsigned char zeros[SCRATCH];
    size_t most = n < SCRATCH ? n : SCRATCH;
    *p = NULL;
    size_t got = q->source ? q->source->get(q->source, at, n, p, s->scratch) : 0;
    if (*p && got)
        return got;
    *p = zeros;
    return most;
}

/* The header of its next slice goes into the stage. Bytes of the payload. */
static size_t stage_header(struct mm_stream *s, struct queued *q)
{
    size_t prefix = mm_frame_prefix(q->frame.type), most = MM_FRAME_MOST - prefix;
    size_t n = q->left < most ? (size_t)q->left : most;
    q->frame.length = (uint32_t)(prefix + n);
    s->stage_end += mm_frame_put(&q->frame, s->stage + s->stage_end);
    q->frame.offset += n;
    s->queued += MM_FRAME_HEADER + prefix;
    return n;
}

static void stage_payload(struct mm_stream *s, struct queued *q, size_t n)
{
    const void *p;
    while (n) {
        size_t got = get(s, q, q->at, n, &p);
        memcpy(s->stage + s->stage_end, p, got);
        s->stage_end += got;
        q->at += got;
        q->left -= got;
        n -= got;
    }
}

static bool fits(const struct mm_stream *s, size_t n) { return n <= BUFFER - s->stage_end; }

static void fill_stage(struct mm_stream *s)
{
    s->stage_begin = s->stage_end = 0;
    for (struct whole *w; (w = s->first_whole) != NULL && fits(s, w->n);) {
        memcpy(s->stage + s->stage_end, w->bytes, w->n);
        s->stage_end += w->n;
        s->first_whole = w->next;
        if (!s->first_whole)
            s->last_whole = &s->first_whole;
        mm_free(w);
    }
    while (!s->first_whole && s->first && fits(s, MM_FRAME_HEADER + MM_FRAME_MOST_PREFIX + SMALL_SLICE)) {
        struct queued *q = next_queued(s);
        size_t n = stage_header(s, q);
        if (n > SMALL_SLICE) {
            s->slice = q;
            s->slice_left = n;
            return;
        }
        stage_payload(s, q, n);
        put_back(s, q);
    }
}

/* What to hand to the wire: the rest of the stage, and pieces of the slice behind it. */
static int gather(struct mm_stream *s, struct iovec iov[PIECES])
{
    int n_iov = 0;
    if (s->stage_begin < s->stage_end)
        iov[n_iov++] = (struct iovec){ s->stage + s->stage_begin, s->stage_end - s->stage_begin };
    if (!s->slice)
        return n_iov;
    uint64_t at = s->slice->at;
    size_t left = s->slice_left;
    while (left && n_iov < PIECES) {
        const void *p;
        size_t got = get(s, s->slice, at, left, &p);
        iov[n_iov++] = (struct iovec){ (void *)(uintptr_t)p, got };
        at += got;
        left -= got;
        if (p == s->scratch)
            break; /* there is but one */
    }
    return n_iov;
}

static void account(struct mm_stream *s, size_t n)
{
    size_t staged = s->stage_end - s->stage_begin;
    s->sent += n;
    staged = staged < n ? staged : n;
    s->stage_begin += staged;
    n -= staged;
    s->queued -= staged;
    if (!s->slice)
        return;
    struct queued *q = s->slice;
    s->slice_left -= n;
    q->at += n;
    if (q->source) {
        q->left -= n;
        s->queued -= n;
    }
    if (!s->slice_left) {
        s->slice = NULL;
        put_back(s, q);
    }
}

static bool has_staged(const struct mm_stream *s) { return s->stage_begin < s->stage_end || s->slice; }

/* What was written, but the wire holds back, goes out. */
static int flush_wire(struct mm_stream *s)
{
    ssize_t n = s->wire->ops->writev(s->wire, NULL, 0);
    return n < 0 && n != -EAGAIN ? fail_wire(s, "the stream cannot be written", n) : 0;
}

int mm_stream_write(struct mm_stream *s, bool *more)
{
    size_t total = 0;
    *more = false;
    if (s->error.code)
        return s->error.code;
    for (;;) {
        struct iovec iov[PIECES];
        if (!has_staged(s))
            fill_stage(s);
        if (!has_staged(s))
            return flush_wire(s);
        if (total >= TURN_BYTES) {
            *more = true;
            return 0;
        }
        ssize_t n = s->wire->ops->writev(s->wire, iov, gather(s, iov));
        if (n == -EAGAIN)
            return 0;
        if (n < 0)
            return fail_wire(s, "the stream cannot be written", n);
        account(s, (size_t)n);
        total += (size_t)n;
    }
}

void mm_stream_wants(const struct mm_stream *s, short *in, short *out)
{
    s->wire->ops->wants(s->wire, true, has_staged(s) || s->first_whole || s->first, in, out);
}
