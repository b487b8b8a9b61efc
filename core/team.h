/* A node made of nodes: this machine's and those of other hosts. What is given to it, they share. */
#ifndef MM_CORE_TEAM_H
#define MM_CORE_TEAM_H

#include "core/node.h"

struct mm_team_hosts {
    const struct mm_config_host *hosts; /* borrowed until on_closed; labels differ */
    size_t n;
    const struct mm_node_ops *local, *remote; /* remote: NULL, where all are this machine */
};

/* Begins to bring the nodes of all hosts up. As open of core/node.h: where *node is set in spite of a failure, it is to be
 * closed. on_up comes when all have come up, or have failed: with 0, if one that computes is left and none that is required
 * has failed. */
int mm_team_open(struct mm_node **node, const struct mm_team_hosts *hosts, uv_loop_t *loop,
                 const struct mm_node_events *events, void *owner, mamuto_error_t *err);

/* Its open makes a team of one host, of the kinds of core/nodes.c. */
extern const struct mm_node_ops mm_node_team;

#endif
