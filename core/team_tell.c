/* What a team tells: of its hosts, of how far its calls are, and what has landed.
 *
 * This machine's items are counted by its node, those of other hosts by the claims. Each lease has a log of its own, whose
 * spans get the host's label on their way into the log of the call. Counts nothing itself but what it sums up. Called on the
 * loop's thread.
 */
#include "core/alloc.h"
#include "core/team_node.h"

enum { FIRST_ROOM = 64 };

/* --- hosts -------------------------------------------------------------------------------------------------------------- */

int mm_team_workers(const struct mm_node *team)
{
    int workers = 0;
    for (size_t i = 0; i < team->n_children && team->up; i++) {
        const struct mm_child *child = &team->children[i];
        if (child->state == MM_CHILD_UP && mm_child_computes(child))
            workers += child->ops->workers(child->node);
    }
    return workers;
}

static void describe(const struct mm_child *child, struct mm_node_state *state)
{
    *state = (struct mm_node_state){ 0 };
    if (child->node && !child->closing)
        child->ops->describe(child->node, state);
    state->items += child->landed;
    if (child->state == MM_CHILD_OUT || !state->state) {
        state->state = "lost";
        state->workers = 0;
    }
    if (child->state == MM_CHILD_STARTING && child->node)
        state->state = "starting";
    if (child->state > MM_CHILD_UP && (!state->reason || child->state == MM_CHILD_OUT))
        state->reason = child->reason;
}

size_t mm_team_hosts(const struct mm_node *team) { return team->n_children - !mm_child_computes(&team->children[0]); }

void mm_team_describe_host(struct mm_node *team, size_t host, struct mm_node_state *state)
{
    *state = (struct mm_node_state){ .state = "lost", .reason = "there is no such host" };
    for (size_t i = 0; i < team->n_children; i++)
        if (team->children[i].host == host)
            describe(&team->children[i], state);
}

/* All of them as one. */
void mm_team_describe(struct mm_node *team, struct mm_node_state *state)
{
    *state = (struct mm_node_state){ .state = team->lost ? "lost" : team->up ? "up" : "starting" };
    state->reason = team->lost ? team->why_lost.text : NULL;
    for (size_t i = 0; i < team->n_children; i++) {
        struct mm_node_state one;
        if (!mm_child_computes(&team->children[i]))
            continue;
        describe(&team->children[i], &one);
        double busy = state->busy * state->workers + one.busy * one.workers;
        state->workers += team->up ? one.workers : 0;
        state->busy = state->workers ? busy / state->workers : 0;
        state->items += one.items;
        state->bytes_out += one.bytes_out;
        state->bytes_in += one.bytes_in;
    }
}

/* --- progress ------------------------------------------------------------------------------------------------------------ */

void mm_team_progress(struct mm_node *team, const struct mm_run *run, uint64_t *done, uint64_t *failed)
{
    const struct mm_child *local = mm_team_local(team);
    const struct mm_call *call = run->job;
    if (!mm_team_is_shared(run)) {
        local->ops->progress(local->node, run, done, failed);
        return;
    }
    if (!call)
        return;
    *done = call->done + mm_claims_settled(call->claims);
    *failed = call->failed;
    for (struct mm_lease *lease = call->leases; lease; lease = lease->next) {
        uint64_t landed = 0, bad = 0;
        if (lease->child->ops->progress && !lease->child->closing && !lease->scratch)
            lease->child->ops->progress(lease->child->node, &lease->run, &landed, &bad);
        *done += lease->kind == MM_LEASE_OWN ? landed : 0;
        *failed += bad;
    }
    *done = *done < run->n ? *done : run->n;
}

/* --- spans --------------------------------------------------------------------------------------------------------------- */

/* Without memory, what there is is told at once. */
void mm_team_log(struct mm_call *call, const struct mm_child *child, const mamuto_span_t *span)
{
    struct mm_span_log *log = call->run->log;
    if (!log)
        return;
    if (log->n == log->room) {
        size_t room = log->room ? 2 * log->room : FIRST_ROOM;
        mamuto_span_t *more = mm_realloc(log->at, room * sizeof *more);
        if (!more && !log->room)
            return;
        if (!more)
            log->flush(log->run);
        log->at = more ? more : log->at;
        log->room = more ? room : log->room;
    }
    log->at[log->n] = *span;
    log->at[log->n++].host = mm_child_label(child);
}

void mm_lease_log(struct mm_lease *lease)
{
    for (size_t i = 0; i < lease->log.n; i++)
        mm_team_log(lease->call, lease->child, &lease->log.at[i]);
    lease->log.n = 0;
}

void mm_lease_flush(struct mm_run *run) { mm_lease_log(mm_lease_of(run)); }

/* This machine's node makes the room of a log itself. Without memory for one, nothing is told. */
void mm_lease_begin_log(struct mm_lease *lease)
{
    const struct mm_run *whole = lease->call->run;
    lease->log = (struct mm_span_log){ .flush = mm_lease_flush, .run = &lease->run };
    lease->run.log = whole->log ? &lease->log : NULL;
    if (!whole->log)
        return;
    lease->log.begun_ns = whole->log->begun_ns;
    if (mm_child_is_local(lease->child))
        return;
    lease->log.at = mm_alloc_array(FIRST_ROOM, sizeof *lease->log.at);
    lease->log.room = lease->log.at ? FIRST_ROOM : 0;
}

bool mm_team_spans(struct mm_node *team, const struct mm_run *run)
{
    const struct mm_child *local = mm_team_local(team);
    struct mm_call *call = run->job;
    if (!mm_team_is_shared(run))
        return local->ops->spans(local->node, run);
    for (struct mm_lease *lease = call ? call->leases : NULL; lease; lease = lease->next)
        if (lease->run.log && lease->child->ops->spans && !lease->child->closing &&
            lease->child->ops->spans(lease->child->node, &lease->run))
            mm_lease_log(lease);
    return call != NULL;
}
