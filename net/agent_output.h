/* What the agent's workers print, on its way to the master. */
#ifndef MM_NET_AGENT_OUTPUT_H
#define MM_NET_AGENT_OUTPUT_H

#include "shm/board.h"

#include <poll.h>

struct mm_agent;

enum { MM_AGENT_PIECE = 8 << 10, MM_AGENT_UNREAD = 256 << 10 };

struct mm_agent_pipe {
    int fd;     /* -1: there is none */
    bool split; /* a piece of the line was sent already */
    size_t used;
    char *text; /* MM_AGENT_PIECE bytes: a line that has not ended */
};

struct mm_agent_outputs {
    struct mm_agent_pipe *pipes; /* two a lane: stdout, stderr */
    uint32_t n_lanes;
    uint64_t unread; /* bytes that were sent and that the master has not taken */
};

/* For n lanes; 0 or ENOMEM. */
int mm_agent_outputs_init(struct mm_agent_outputs *outputs, uint32_t n);
int mm_agent_outputs_add(struct mm_agent_outputs *outputs, uint32_t lane, int fd, int pipe);
/* What to poll: at most two a lane. */
nfds_t mm_agent_outputs_fds(const struct mm_agent_outputs *outputs, struct pollfd *fds);
/* Reads each pipe once; all: empties them, whatever is unread. */
void mm_agent_outputs_read(struct mm_agent *agent, bool all);
void mm_agent_outputs_end_worker(struct mm_agent *agent, uint32_t lane); /* it has died: the rest of its line */
void mm_agent_outputs_credit(struct mm_agent_outputs *outputs, uint64_t bytes);
void mm_agent_outputs_fini(struct mm_agent_outputs *outputs);

#endif
