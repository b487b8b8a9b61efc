/* Frames over a wire: what comes in is told by a callback, or read straight to where it belongs; what goes out is queued
 * and written when the wire takes it, straight from where it lies. Without a loop: its owner polls and calls. Plain C11 +
 * POSIX, for the master and for the agent.
 *
 * Nothing is outstanding on anybody's memory between two calls: a destination is asked for again whenever bytes for it
 * have come, and a source is read only inside mm_stream_write. */
#ifndef MM_NET_STREAM_H
#define MM_NET_STREAM_H

#include "core/error.h"
#include "net/message.h"
#include "net/wire.h"

struct mm_stream;

struct mm_stream_events {
    /* A frame that is taken whole; its body is borrowed. Non-zero: it is wrong (the callee has filled stream->error by
     * mm_stream_fail): the stream is over. */
    int (*on_frame)(void *owner, const struct mm_frame *frame, const unsigned char *body, size_t n);
    /* Header and prefix of a frame with a payload have come; or more of the payload has: done bytes of it are there. *to:
     * where byte `done` and what follows is to be put; NULL: it is to be thrown away. Asked again before each read. */
    int (*on_payload)(void *owner, const struct mm_frame *frame, size_t done, void **to);
    /* The payload is there, whole. */
    int (*on_payload_end)(void *owner, const struct mm_frame *frame);
    /* In raw mode, bytes have come; *used: so many of them were taken. NULL: never in raw mode. */
    int (*on_raw)(void *owner, const unsigned char *bytes, size_t n, size_t *used);
};

/* A payload that is still to be written: where from. Freed by its owner, never while it is queued. */
struct mm_source {
    uint64_t
        turn; /* those of one turn go in the order of their coming; those of several turns take turns, slice by slice */
    /* Bytes [offset, offset + n) of it: *at, in one piece, as many as lie there so (at least 1, at most n), or copied to
     * scratch, which has room for n. NULL as *at: they are gone, zeros are sent. */
    size_t (*get)(struct mm_source *source, uint64_t offset, size_t n, const void **at, void *scratch);
    /* What one mm_stream_send_source asked for was written, or the stream is being freed: it is queued no more. */
    void (*sent)(struct mm_source *source);
};

/* Takes over the wire. by: who writes at the other end; on: MM_ON_*. NULL: no memory; the wire stays the caller's. */
struct mm_stream *mm_stream_new(struct mm_wire *wire, int by, int on, const struct mm_stream_events *events,
                                void *owner);
/* From the next frame on, others are told. */
void mm_stream_set_events(struct mm_stream *stream, const struct mm_stream_events *events, void *owner);
/* Closes the wire; every source that is queued is told. */
void mm_stream_free(struct mm_stream *stream);

/* Queues a whole frame; the body is copied. Whole frames go out in order, and before sources. ENOMEM. */
int mm_stream_send(struct mm_stream *stream, enum mm_frame_type type, uint64_t id, const void *body, size_t n);
/* Queues bytes [from, from + n) of a source as frames of at most 1 MiB; frames of other sources and whole frames go between
 * them. frame: type, id, part, total, lo, hi; the offset that is told begins with frame->offset. n >= 1. ENOMEM. */
int mm_stream_send_source(struct mm_stream *stream, const struct mm_frame *frame, struct mm_source *source,
                          uint64_t from, uint64_t n);
/* What is queued of this source and not begun is dropped; a frame that is begun is ended with zeros. It is not told. */
void mm_stream_drop_source(struct mm_stream *stream, struct mm_source *source);
uint64_t mm_stream_queued(const struct mm_stream *stream); /* bytes */

/* What to poll for. */
void mm_stream_wants(const struct mm_stream *stream, short *in, short *out);
/* Reads (writes) until there is nothing more, or some 4 MiB were moved, so that others get their turn. 0, or a code: the
 * stream is over, stream's error says why (EPROTOCOL; EHOST: the wire broke or ended). more: call again without polling. */
int mm_stream_read(struct mm_stream *stream, bool *more);
int mm_stream_write(struct mm_stream *stream, bool *more);
/* For the owner's callbacks: the frame is wrong. Returns EPROTOCOL. */
__attribute__((format(printf, 2, 3))) int mm_stream_fail(struct mm_stream *stream, const char *format, ...);
const mamuto_error_t *mm_stream_error(const struct mm_stream *stream);
/* It is over because the way to the far side is cut, not because that has ended it, or has sent what is wrong. */
bool mm_stream_is_cut(const struct mm_stream *stream);
uint64_t mm_stream_received(const struct mm_stream *stream); /* bytes, ever: any is a sign of life */
uint64_t mm_stream_sent(const struct mm_stream *stream);
struct mm_wire *mm_stream_wire(const struct mm_stream *stream);
/* Before the frames: what comes is told by on_raw, until it calls mm_stream_begin_frames. */
void mm_stream_begin_raw(struct mm_stream *stream);
void mm_stream_begin_frames(struct mm_stream *stream);
/* Queues bytes that are no frame; they are copied. ENOMEM. */
int mm_stream_send_raw(struct mm_stream *stream, const void *bytes, size_t n);

#endif
