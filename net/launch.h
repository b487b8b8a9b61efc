/* Bringing one agent up on another host: from a channel (the stdio of a launch command, or of an ssh exec) to a stream that
 * is bound. One launch is one agent's life. */
#ifndef MM_NET_LAUNCH_H
#define MM_NET_LAUNCH_H

#include "core/config.h"
#include "net/link.h"

struct mm_launch;

/* What the agent has said of its host. */
struct mm_launched {
    char build[64], os[32], arch[32], cpu[128], libc[64], tls[64];
    uint32_t cores;
    uint64_t memory;
    double login_ms; /* from the beginning until it was ready */
};

struct mm_launch_events {
    /* The stream is bound: mm_launch_channel and mm_launch_stream are there, with nobody listening: set their events. */
    void (*on_ready)(void *owner);
    /* It has failed, at a stage that the sentence names; only mm_launch_close is left. Once, instead of on_ready. */
    void (*on_failed)(void *owner, const mamuto_error_t *err);
};

/* host is borrowed as long as the launch lives. output: what workers print is wanted. ENOMEM, ESYSTEM; EHOST: it cannot
 * begin. No event comes from inside. */
int mm_launch_begin(struct mm_launch **launch, uv_loop_t *loop, const struct mm_config_host *host, bool output,
                    const struct mm_launch_events *events, void *owner, mamuto_error_t *err);
/* The link by which code travels, and that of everything else: of a stream in the channel the same. */
struct mm_link *mm_launch_channel(struct mm_launch *launch);
struct mm_link *mm_launch_stream(struct mm_launch *launch);
const struct mm_launched *mm_launch_info(const struct mm_launch *launch);
enum mm_stream_kind mm_launch_kind(const struct mm_launch *launch);
const char *mm_launch_transport(const struct mm_launch *launch); /* of mamuto_host_t */
/* Why the stream is in the channel though it was not asked for; NULL: it is as it was asked for. */
const char *mm_launch_note(const struct mm_launch *launch);
/* What the far side said last on stderr, and how the channel's process ended: a piece of a sentence, escaped; "" where
 * there is nothing to say. */
const char *mm_launch_last_words(struct mm_launch *launch);
/* Closes both links and the channel. on_gone: nothing of it is left here; it is freed. Legal in its events. */
void mm_launch_close(struct mm_launch *launch, void (*on_gone)(void *owner), void *owner);

#endif
