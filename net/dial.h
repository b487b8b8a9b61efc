/* One connection to a host that has several addresses, of which some may not answer: they are tried 250 ms one after the
 * other, or at once where one refuses. Without a loop or a clock of its own. Plain C11 + POSIX. */
#ifndef MM_NET_DIAL_H
#define MM_NET_DIAL_H

#include "core/mamuto.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

enum {
    MM_DIAL_MOST = 32, /* addresses */
    MM_DIAL_STAGGER_MS = 250,
    MM_DIAL_TOTAL_MS = 2000,
};

struct mm_dial_address {
    struct sockaddr_storage at;
    socklen_t n;
};

struct mm_dial;

/* A number, of IPv4 or IPv6 (with %interface where that is needed), and a port. False: it is none. */
bool mm_dial_parse(struct mm_dial_address *address, const char *text, uint16_t port);

/* Begins; times are ns of one clock. 1 to MM_DIAL_MOST addresses, which are copied. NULL with err: EINVAL, ENOMEM. */
struct mm_dial *mm_dial_new(const struct mm_dial_address *addresses, unsigned n, uint64_t now_ns, mamuto_error_t *err);
/* Goes on. 0: *fd is connected (non-blocking, without Nagle's delay) and the caller's; 1: nothing yet; call again when
 * one of mm_dial_polls' descriptors is ready, or at mm_dial_wake_ns; EHOST: no address is left, err says of each why.
 * After a 0 the others go on: who finds that it is a stranger who answered calls again. */
int mm_dial_step(struct mm_dial *dial, uint64_t now_ns, int *fd, mamuto_error_t *err);
/* What to poll for; returns how many. They change with each step. */
unsigned mm_dial_polls(const struct mm_dial *dial, struct pollfd polls[MM_DIAL_MOST]);
uint64_t mm_dial_wake_ns(const struct mm_dial *dial);
void mm_dial_free(struct mm_dial *dial); /* closes what was not given away; NULL: nothing */

#endif
