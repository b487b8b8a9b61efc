/* Calls of a team: a run of its owner, from run to on_ran, shared among the nodes in leases (core/team_lease.c).
 *
 *   run ── this machine has all of it, or nobody has anything ──► leases ──► none is left, and nothing is open ──► on_ran
 *    └── cancel, the first failure where that ends it, no host left: leases are cancelled ──► none is left ──────────┘
 *
 * Not shared, but this machine's alone, as they come: runs that emit, the steps by which emitted elements become one array,
 * and runs that fold what is stored here already. They have no call: their run has no number.
 * Failed items are collected as leases report them, and told at the end: in order, each once, 1,000 at most. The outcome is
 * that of a node: with fail_fast the lowest item that had failed, else how many failed, and the first.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "core/team_node.h"

#include <stdio.h>

enum { SHARE_AFTER_MS = 1 }; /* what this machine has done by itself by then is not worth a message */

bool mm_team_is_shared(const struct mm_run *run)
{
    return run->op == MM_OP_CALL && !run->parts && !(run->groups && run->groups->values);
}

/* --- begin ------------------------------------------------------------------------------------------------------------ */

/* Behind all of its priority. */
static void link_call(struct mm_node *team, struct mm_call *call)
{
    struct mm_call *before = team->last;
    while (before && before->run->priority < call->run->priority)
        before = before->previous;
    call->previous = before;
    call->next = before ? before->next : team->first;
    if (call->next)
        call->next->previous = call;
    else
        team->last = call;
    if (before)
        before->next = call;
    else
        team->first = call;
    team->n_calls++;
}

static void unlink_call(struct mm_node *team, struct mm_call *call)
{
    if (call->previous)
        call->previous->next = call->next;
    else
        team->first = call->next;
    if (call->next)
        call->next->previous = call->previous;
    else
        team->last = call->previous;
    team->n_calls--;
}

static struct mm_call *new_call(struct mm_node *team, struct mm_run *run)
{
    struct mm_call *call = mm_alloc(sizeof *call);
    if (!call)
        return NULL;
    call->parts = mm_alloc_array(team->n_children, sizeof *call->parts);
    call->claims = mm_claims_new(run->first, run->n);
    if (!call->parts || !call->claims) {
        mm_call_free(call);
        return NULL;
    }
    call->team = team;
    call->run = run;
    call->number = call->arrival = ++team->last_number;
    call->begun_ns = uv_hrtime();
    return call;
}

void mm_call_free(struct mm_call *call)
{
    for (struct mm_lease *lease; (lease = call->leases) != NULL;) {
        call->leases = lease->next;
        mm_lease_free(lease);
    }
    if (call->claims)
        mm_claims_free(call->claims);
    mm_free(call->parts);
    mm_free(call->open);
    mm_free(call->errors.at);
    mm_free(call);
}

static bool anybody_will(const struct mm_call *call)
{
    for (size_t i = 0; i < call->team->n_children; i++)
        if (mm_child_will(&call->team->children[i], call))
            return true;
    return false;
}

static int no_host(struct mm_node *team, mamuto_error_t *err)
{
    char why[400];
    mm_team_say_why(team, why, sizeof why);
    return mm_error_set(err, MAMUTO_ENOHOST, "no host is left that could run this: %s", *why ? why : "they refuse it");
}

/* This machine has all of it at first, where it computes; else it is nobody's. */
static int begin(struct mm_call *call, mamuto_error_t *err)
{
    struct mm_range all = { call->run->first, call->run->n, 0 };
    struct mm_child *local = mm_team_local(call->team);
    if (mm_child_can(local, call))
        return mm_lease_begin(call, local, MM_LEASE_OWN, all, err);
    if (!anybody_will(call))
        return no_host(call->team, err);
    if (mm_call_open(call, all))
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for a map that hosts share");
    return 0;
}

int mm_team_run(struct mm_node *team, struct mm_run *run, mamuto_error_t *err)
{
    struct mm_child *local = mm_team_local(team);
    if (team->lost)
        return mm_error_copy(err, &team->why_lost);
    if (!mm_team_is_shared(run))
        return local->ops->run(local->node, run, err);
    if (team->n_calls == MM_TEAM_CALLS)
        return MM_NODE_FULL;
    struct mm_call *call = new_call(team, run);
    if (!call)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for a map that hosts share");
    int code = begin(call, err);
    if (code) {
        mm_call_free(call);
        return code;
    }
    run->job = call;
    link_call(team, call);
    if (call->leases)
        mm_team_wake(team, SHARE_AFTER_MS);
    else
        mm_team_hand_out(team);
    return 0;
}

bool mm_team_assist(struct mm_node *team, struct mm_run *run)
{
    struct mm_child *local = mm_team_local(team);
    if (!mm_team_is_shared(run))
        return local->ops->assist(local->node, run);
    struct mm_call *call = run->job;
    for (struct mm_lease *lease = call ? call->leases : NULL; lease; lease = lease->next)
        if (lease->kind == MM_LEASE_OWN)
            return local->ops->assist(local->node, &lease->run); /* in which the call may end */
    return false;
}

/* --- ends early ------------------------------------------------------------------------------------------------------- */

void mm_call_stop(struct mm_call *call, const mamuto_error_t *err)
{
    if (call->ending)
        return;
    call->ending = true;
    call->n_open = 0;
    if (err) {
        call->err = *err;
        call->status = err->code;
    }
    for (struct mm_lease *lease = call->leases; lease; lease = lease->next)
        if (!lease->child->closing)
            lease->child->ops->cancel(lease->child->node, &lease->run);
}

void mm_team_cancel(struct mm_node *team, struct mm_run *run)
{
    struct mm_child *local = mm_team_local(team);
    struct mm_call *call = run->job;
    mamuto_error_t err = { 0 };
    if (team->closing)
        return;
    if (!mm_team_is_shared(run)) {
        local->ops->cancel(local->node, run);
        return;
    }
    if (!call)
        return;
    mm_error_set(&err, MAMUTO_ECANCELED, "the map was cancelled");
    mm_call_stop(call, &err);
    mm_team_wake(team, 0); /* it may have no lease that could end it */
}

/* --- end -------------------------------------------------------------------------------------------------------------- */

static void report_items(struct mm_node *team, struct mm_run *run, const struct mm_team_errors *errors)
{
    for (size_t i = 0; i < errors->n; i++)
        team->events->on_item_error(team->owner, run, &errors->at[i]);
}

static int outcome(const struct mm_call *call, mamuto_error_t *err)
{
    const mamuto_error_t *first = call->errors.n ? &call->errors.at[0] : NULL;
    unsigned long long failed = call->failed, n = call->run->n;
    if (call->status)
        return mm_error_copy(err, &call->err);
    if (!first)
        return failed ? mm_error_set(err, MAMUTO_EITEM, "%llu items failed", failed) : 0;
    if (call->run->fail_fast)
        return mm_error_copy(err, first);
    mamuto_error_t all = *first;
    all.code = MAMUTO_EITEM;
    snprintf(all.text, sizeof all.text, "%llu of %llu items failed; the first: %.400s", failed, n, first->text);
    return mm_error_copy(err, &all);
}

static void end_everywhere(struct mm_call *call)
{
    for (size_t i = 0; i < call->team->n_children; i++) {
        const struct mm_child *child = &call->team->children[i];
        if (call->parts[i].had && child->node && !child->closing && child->ops->end_call)
            child->ops->end_call(child->node, call->number);
    }
}

/* There is room for another one before anybody is told. */
static void end(struct mm_call *call)
{
    struct mm_node *team = call->team;
    struct mm_run *run = call->run;
    mamuto_error_t err = { 0 };
    unlink_call(team, call);
    run->job = NULL;
    end_everywhere(call);
    mm_errors_trim(&call->errors);
    int status = outcome(call, &err);
    report_items(team, run, &call->errors);
    uint64_t failed = call->failed;
    mm_call_free(call);
    team->events->on_ran(team->owner, run, status, failed, &err);
}

/* Nobody is left who could run what is open. */
static void look_for_hosts(struct mm_call *call)
{
    mamuto_error_t err = { 0 };
    if (call->ending || call->leases || !call->n_open || anybody_will(call))
        return;
    no_host(call->team, &err);
    mm_call_stop(call, call->refusal.code ? &call->refusal : &err);
}

static struct mm_call *next_over(const struct mm_node *team)
{
    for (struct mm_call *call = team->first; call; call = call->next) {
        look_for_hosts(call);
        if (!call->leases && (call->ending || !call->n_open))
            return call;
    }
    return NULL;
}

void mm_team_end_calls(struct mm_node *team)
{
    for (struct mm_call *call; !team->closing && (call = next_over(team)) != NULL;)
        end(call);
}
