/* The hosts of a mapper as its program sees them: mamuto_hosts, and on_host when one has joined, was lost, or is back.
 *
 * What there is to say comes from the node (describe), or from the node that is made of all hosts' nodes (describe_host);
 * here it is only copied, so that a reason outlives the node's next change of state. Called on the loop's thread. Counts
 * nothing: shm/account.c does.
 */
#include "core/mapper.h"

#include <stdio.h>

static void describe(mamuto_t *m, size_t i, struct mm_node_state *state)
{
    *state = (struct mm_node_state){ .state = "lost", .reason = "the mapper was closed" };
    if (m->node && m->ops->describe_host)
        m->ops->describe_host(m->node, i, state);
    else if (m->node)
        m->ops->describe(m->node, state);
    else if (m->state == MM_OPENING)
        *state = (struct mm_node_state){ .state = "starting" };
    else if (m->state == MM_FAILED)
        state->reason = m->open_error.text;
}

static void fill(mamuto_t *m, size_t i, mamuto_host_t *host)
{
    struct mm_node_state state;
    char *reason = m->host_reasons[i];
    describe(m, i, &state);
    if (state.reason)
        snprintf(reason, sizeof m->host_reasons[i], "%s", state.reason);
    *host = (mamuto_host_t){ .name = m->config.hosts[i].label,
                             .state = state.state,
                             .reason = state.reason ? reason : NULL,
                             .cores = state.workers,
                             .items = state.items,
                             .bytes_out = state.bytes_out,
                             .bytes_in = state.bytes_in,
                             .rtt_us = state.rtt_us,
                             .busy = state.busy,
                             .transport = state.transport,
                             .login_ms = state.login_ms };
}

size_t mamuto_hosts(mamuto_t *m, mamuto_host_t *hosts, size_t max)
{
    if (mm_mapper_check_process(m, "mamuto_hosts", NULL))
        return 0;
    for (size_t i = 0; hosts && i < m->config.n_hosts && i < max; i++)
        fill(m, i, &hosts[i]);
    return m->config.n_hosts;
}

void mm_hosts_on_host(void *owner, size_t i)
{
    mamuto_t *m = owner;
    mamuto_host_t host;
    if (!m->on_host || i >= m->config.n_hosts)
        return;
    fill(m, i, &host);
    m->depth++;
    m->on_host(m, &host);
    m->depth--;
}

void mm_hosts_on_state(void *owner) { mm_hosts_on_host(owner, 0); }
