/* What the node of this machine tells: its state, and how far a map is; and what it gives back. Operations of core/node.h.
 * Called on the loop's thread. */
#include "shm/account.h"
#include "shm/give.h"
#include "shm/node_shm.h"
#include "shm/spans.h"

#include <unistd.h>

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
    state->transport = node->state == UP ? "shm" : NULL;
    mm_account_total(&node->jobs, &state->items, &state->busy);
}

uint64_t mm_node_shm_give_back(struct mm_node *node, struct mm_run *run, uint64_t want, uint64_t *first)
{
    struct mm_job *job = run->job;
    if (node->state == LOST || node->state == CLOSING || !job || job->run != run) /* else it runs on copies */
        return 0;
    uint64_t got = mm_jobs_give_back(&node->jobs, job, want, first), one = 1;
    if (got && mm_jobs_looks_done(&node->jobs, job) && write(node->pool.event, &one, sizeof one) < 0)
        return got; /* it is full, so it is readable */
    return got;
}

void mm_node_shm_progress(struct mm_node *node, const struct mm_run *run, uint64_t *done, uint64_t *failed)
{
    const struct mm_job *job = run->job;
    if (!job) /* it waits for memory or a slot, or its result is being copied */
        return;
    mm_account_map(mm_job_map(&node->jobs, job), job->gen, done, failed);
    *done -= job->given < *done ? job->given : *done;
}

bool mm_node_shm_spans(struct mm_node *node, const struct mm_run *run)
{
    mm_spans_drain(&node->jobs);
    return !mm_stager_find(&node->stager, run); /* what was copied lands when it has been copied back */
}
