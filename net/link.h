/* A stream on the caller's loop: polled, read, written. */
#ifndef MM_NET_LINK_H
#define MM_NET_LINK_H

#include "net/stream.h"

#include <uv.h>

struct mm_link;

struct mm_link_events {
    struct mm_stream_events stream;
    /* The stream is over, by the far side or by a wrong frame. Once; then only mm_link_close is left. */
    void (*on_end)(void *owner, const mamuto_error_t *err);
};

/* Takes over the wire. ENOMEM, ESYSTEM: the wire stays the caller's. */
int mm_link_new(struct mm_link **link, uv_loop_t *loop, struct mm_wire *wire, int on,
                const struct mm_link_events *events, void *owner, mamuto_error_t *err);
/* From the next frame on, others are told. */
void mm_link_set_events(struct mm_link *link, const struct mm_link_events *events, void *owner);
/* Reads and writes nothing any more, closes the wire. Legal in every event of it; none comes after. */
void mm_link_close(struct mm_link *link);

/* What was queued on its stream, or fed to it, is written and taken on the loop's next turn; to be called after that. */
void mm_link_wake(struct mm_link *link);
struct mm_stream *mm_link_stream(struct mm_link *link);
/* Turns of a second in which the loop ran and nothing was there to read: what the silence is measured by. */
unsigned mm_link_silence(struct mm_link *link);
/* To be called once a second: counts, and sends PING where a second has passed with nothing sent. */
void mm_link_tick(struct mm_link *link);
double mm_link_rtt_us(const struct mm_link *link); /* of the last ping that was answered; 0: none was */

#endif
