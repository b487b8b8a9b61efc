/* The hosts of a mapper as its program sees them: mamuto_hosts, and on_host when one has joined, was lost, or is back.
 *
 * What there is to say comes from the node (describe); here it is only copied, so that a reason outlives the node's next
 * change of state. Called on the loop's thread. Counts nothing: shm/account.c does.
 */
#include "core/mapper.h"

#include <stdio.h>

static void fill(mamuto_t *m, mamuto_host_t *host)
{
    struct mm_node_state state = { .state = "lost", .reason = "the mapper was closed" };
    if (m->node)
        m->ops->describe(m->node, &state);
    else if (m->state == MM_OPENING)
        state = (struct mm_node_state){ .state = "starting" };
    else if (m->state == MM_FAILED)
        state.reason = m->open_error.text;
    if (state.reason)
        snprintf(m->host_reason, sizeof m->host_reason, "%s", state.reason);
    *host = (mamuto_host_t){ .name = "localhost",
                             .state = state.state,
                             .reason = state.reason ? m->host_reason : NULL,
                             .cores = state.workers,
                             .items = state.items,
                             .busy = state.busy };
}

size_t mamuto_hosts(mamuto_t *m, mamuto_host_t *hosts, size_t max)
{
    if (mm_mapper_check_process(m, "mamuto_hosts", NULL))
        return 0;
    if (hosts && max)
        fill(m, &hosts[0]);
    return 1;
}

void mm_hosts_on_state(void *owner)
{
    mamuto_t *m = owner;
    mamuto_host_t host;
    if (!m->on_host)
        return;
    fill(m, &host);
    m->depth++;
    m->on_host(m, &host);
    m->depth--;
}
