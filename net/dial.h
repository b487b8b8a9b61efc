/* The master's way to an agent that listens: dialled, secured, proven. */
#ifndef MM_NET_DIAL_H
#define MM_NET_DIAL_H

#include "net/link.h"

#include <sys/socket.h>

enum { MM_DIAL_TARGETS = 16, MM_DIAL_MS = 2000 };

struct mm_dial;

struct mm_target {
    struct sockaddr_storage address;
    socklen_t n;
};

/* A numeric address with a port. false: it is none. */
bool mm_target_of(struct mm_target *target, const char *address, uint16_t port);
/* An address that is known, with another port. */
struct mm_target mm_target_at(const struct sockaddr_storage *address, socklen_t n, uint16_t port);

/* Dials them all, one 250 ms after the other; the first that proves the key is handed over, the others are closed. kind: PLAIN
 * or TLS. on_done: from the loop, once: a link with nobody listening, or NULL and why, a piece of a sentence; then only
 * mm_dial_close is left. ENOMEM. */
int mm_dial_begin(struct mm_dial **dial, uv_loop_t *loop, const struct mm_target *targets, unsigned n,
                  enum mm_stream_kind kind, const unsigned char key[MM_KEY_BYTES], const char *nonce,
                  void (*on_done)(void *owner, struct mm_link *link, const char *why), void *owner,
                  mamuto_error_t *err);
/* Legal in on_done. */
void mm_dial_close(struct mm_dial *dial);

#endif
