/* Where the master's stream comes in: a socket that listens until the first who has the key is bound. */
#ifndef MM_NET_AGENT_LISTEN_H
#define MM_NET_AGENT_LISTEN_H

#include "net/prove.h"
#include "net/stream.h"

#include <poll.h>

struct mm_agent;

enum { MM_AGENT_SOCKETS = 2, MM_AGENT_STRANGERS = 16, MM_AGENT_LISTEN_FDS = MM_AGENT_SOCKETS + 2 * MM_AGENT_STRANGERS };

/* Somebody who has connected, and has not proven the key or has not said BIND. */
struct mm_agent_stranger {
    struct mm_agent *agent;
    struct mm_wire *wire;     /* while TLS shakes hands */
    struct mm_stream *stream; /* then */
    struct mm_proof proof;
    bool proven, bound, wrong;
    uint64_t since_ns; /* 0: the place is free */
};

struct mm_agent_listener {
    int fds[MM_AGENT_SOCKETS], n; /* n 0: it does not listen */
    enum mm_stream_kind kind;
    unsigned char key[MM_KEY_BYTES];
    struct mm_agent_stranger strangers[MM_AGENT_STRANGERS];
};

/* Listens, and says where (LISTEN). EHOST: no port is free. */
int mm_agent_listen(struct mm_agent *agent, const struct mm_start *start, mamuto_error_t *err);
nfds_t mm_agent_listen_fds(struct mm_agent *agent, struct pollfd *fds);
/* Accepts, shakes hands, listens for BIND: then agent->stream is there, and nobody else is listened to. */
void mm_agent_on_listen(struct mm_agent *agent);
void mm_agent_end_listening(struct mm_agent *agent);

#endif
