/* What the node of this machine tells: its state, and how far a map is. Operations of core/node.h.
 * Called on the loop's thread. */
#include "shm/account.h"
#include "shm/node_shm.h"
#include "shm/spans.h"

int mm_node_shm_workers(const struct mm_node *node)
{
    return node->state == STARTING ? 0 : (int)node->pool.board->n_workers;
}

void mm_node_shm_describe(struct mm_node *node, struct mm_node_state *state)
{
    static const char *const names[] = { "starting", "up", "lost", "lost", "lost" };
    const char *reason = node->state == CLOSING ? "the mapper is being closed" : node->reason;
    *state = (struct mm_node_state){ .state = names[node->state] };
    state->reason = node->state > UP ? reason : NULL;
    state->workers = mm_node_shm_workers(node);
    mm_account_total(&node->jobs, &state->items, &state->busy);
}

void mm_node_shm_progress(struct mm_node *node, const struct mm_run *run, uint64_t *done, uint64_t *failed)
{
    const struct mm_job *job = run->job;
    if (job) /* else it waits for memory or a slot, or its result is being copied */
        mm_account_map(mm_job_map(&node->jobs, job), job->gen, done, failed);
}

bool mm_node_shm_spans(struct mm_node *node, const struct mm_run *run)
{
    mm_spans_drain(&node->jobs);
    return !mm_stager_find(&node->stager, run); /* what was copied lands when it has been copied back */
}
