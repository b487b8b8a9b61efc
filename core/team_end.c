/* What becomes of a lease: its failed items, its end, and what it leaves undone.
 *
 * A lease of this machine settles all of its items but those that were taken back, or its call ends with it: what it has
 * stored before it was lost is not known. A lease of another host asks the claims before it writes, and settles there; when
 * it ends early, what it has not settled is open again, unless a copy of it is under way. A copy that ran here has its
 * results in scratch: what is still open is claimed, and copied into the result.
 * No item of a call with `once` runs twice: what a lost host had and did not settle has failed; so has an item that was
 * alone on a host when it was the third one to die of it. Called from the events of nodes.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "core/team_node.h"

#include <stdio.h>
#include <stdlib.h>

/* --- failed items ------------------------------------------------------------------------------------------------------ */

static int by_item(const void *a, const void *b)
{
    const mamuto_error_t *x = a, *y = b;
    return x->item < y->item ? -1 : x->item > y->item;
}

void mm_errors_trim(struct mm_team_errors *errors)
{
    size_t n = 0;
    if (errors->n)
        qsort(errors->at, errors->n, sizeof *errors->at, by_item);
    for (size_t i = 0; i < errors->n && n < MM_TEAM_ERRORS; i++)
        if (!n || errors->at[n - 1].item != errors->at[i].item)
            errors->at[n++] = errors->at[i];
    errors->n = n;
}

/* Without memory for one more, it is counted but not told of. */
static void add_error(struct mm_team_errors *errors, const mamuto_error_t *err, const char *host)
{
    if (errors->n == 2 * (size_t)MM_TEAM_ERRORS)
        mm_errors_trim(errors);
    if (errors->n == errors->room) {
        size_t room = errors->room ? 2 * errors->room : 4;
        room = room < 2 * (size_t)MM_TEAM_ERRORS ? room : 2 * (size_t)MM_TEAM_ERRORS;
        mamuto_error_t *more = mm_realloc(errors->at, room * sizeof *more);
        if (!more)
            return;
        errors->at = more;
        errors->room = room;
    }
    errors->at[errors->n] = *err;
    snprintf(errors->at[errors->n].host, sizeof err->host, "%s", host);
    errors->n++;
}

void mm_team_on_item_error(void *owner, struct mm_run *run, const mamuto_error_t *err)
{
    struct mm_child *child = owner;
    struct mm_node *team = child->team;
    if (team->closing)
        return;
    if (!run->call) { /* this machine's alone */
        team->events->on_item_error(team->owner, run, err);
        return;
    }
    struct mm_lease *lease = mm_lease_of(run);
    add_error(lease->scratch ? &lease->errors : &lease->call->errors, err, mm_child_label(child));
}

/* --- what a lease leaves ------------------------------------------------------------------------------------------------ */

static bool is_same_range(const struct mm_lease *a, const struct mm_lease *b)
{
    return a->run.first == b->run.first && a->run.n == b->run.n;
}

/* A copy of it, or what it is a copy of, that is under way. */
static struct mm_lease *other_of(const struct mm_lease *ended)
{
    for (struct mm_lease *lease = ended->call->leases; lease; lease = lease->next)
        if (lease->kind != MM_LEASE_OWN && !lease->revoked && is_same_range(lease, ended))
            return lease;
    return NULL;
}

/* An item that may have run, and may not run again; or that kills whoever runs it. */
static void fail_item(struct mm_lease *lease, uint64_t item, const mamuto_error_t *why)
{
    struct mm_call *call = lease->call;
    const struct mm_run *run = call->run;
    mamuto_error_t err = { 0 };
    if (run->once)
        mm_error_set(&err, MAMUTO_ECRASH, "item %llu may have run, and is not run again (once): %.300s",
                     (unsigned long long)item, why->text);
    else
        mm_error_set(&err, MAMUTO_ECRASH, "item %llu: %u agents have died while they had it: %.300s",
                     (unsigned long long)item, lease->deaths, why->text);
    err.item = run->groups ? item * run->groups->group_items : item;
    add_error(&call->errors, &err, mm_child_label(lease->child));
    memset((char *)run->result + (ptrdiff_t)item * run->result_stride, 0, run->out_size);
    if (run->marks)
        run->marks[item - run->first] = 1;
    call->failed++;
}

static void fail_range(struct mm_lease *lease, struct mm_range range, const mamuto_error_t *why)
{
    struct mm_call *call = lease->call;
    if (mm_claims_take(call->claims, range.first, range.n, lease->run.source)) {
        mamuto_error_t err = { 0 };
        mm_error_set(&err, MAMUTO_ENOMEM, "no memory for which items have landed");
        mm_call_stop(call, &err);
        return;
    }
    for (uint64_t i = range.first; i < range.first + range.n; i++)
        fail_item(lease, i, why);
    mm_claims_settle(call->claims, range.first, range.n, lease->run.source); /* all that was claimed: it cannot fail */
    if (call->run->fail_fast)
        mm_call_stop(call, NULL);
}

static void return_range(struct mm_lease *lease, struct mm_range range, const mamuto_error_t *why)
{
    mamuto_error_t err = { 0 };
    bool culprit = lease->alone && lease->run.died;
    range.deaths = lease->deaths;
    if (lease->call->run->once || culprit) {
        fail_range(lease, range, why);
        return;
    }
    if (mm_call_open(lease->call, range) == 0)
        return;
    mm_error_set(&err, MAMUTO_ENOMEM, "no memory for what a lost host has left undone");
    mm_call_stop(lease->call, &err);
}

/* Goes through the lease's items that are open: each stretch of them. */
static void each_open(struct mm_lease *lease, const mamuto_error_t *why,
                      void (*what)(struct mm_lease *lease, struct mm_range range, const mamuto_error_t *why))
{
    struct mm_call *call = lease->call;
    uint64_t end = lease->run.first + lease->run.n;
    for (uint64_t at = lease->run.first, n; at < end; at += n) {
        enum mm_claim_of state;
        uint32_t source;
        n = mm_claims_look(call->claims, at, end - at, &state, &source);
        if (state == MM_ITEM_OPEN)
            what(lease, (struct mm_range){ at, n, 0 }, why);
    }
}

static void return_undone(struct mm_lease *lease, const mamuto_error_t *why)
{
    struct mm_lease *other = other_of(lease);
    mm_claims_release(lease->call->claims, lease->run.source);
    lease->deaths += lease->run.died;
    if (other)
        other->deaths += lease->run.died;
    else if (!lease->call->ending)
        each_open(lease, why, return_range);
}

/* Of a copy that ran here: what nobody has landed meanwhile. */
static void land(struct mm_lease *lease, struct mm_range range, const mamuto_error_t *unused)
{
    struct mm_call *call = lease->call;
    const struct mm_run *to = call->run, *from = &lease->run;
    (void)unused;
    if (mm_claims_take(call->claims, range.first, range.n, from->source))
        return; /* no memory: the other one will */
    for (uint64_t i = range.first; i < range.first + range.n; i++)
        memcpy((char *)to->result + (ptrdiff_t)i * to->result_stride,
               (const char *)from->result + (ptrdiff_t)i * from->result_stride, to->out_size);
    const uint8_t *marks = from->marks + (range.first - from->first);
    if (to->marks)
        memcpy(to->marks + (range.first - to->first), marks, range.n);
    for (uint64_t i = 0; i < range.n; i++)
        call->failed += marks[i];
    for (size_t i = 0; i < lease->errors.n; i++) {
        uint64_t unit = to->groups ? to->groups->group_items : 1, item = lease->errors.at[i].item / unit;
        if (item - range.first < range.n)
            add_error(&call->errors, &lease->errors.at[i], mm_child_label(lease->child));
    }
    mm_claims_settle(call->claims, range.first, range.n, from->source);
    struct mm_run landed = *from;
    landed.first = range.first;
    landed.n = range.n;
    landed.copy = false;
    lease->child->landed += mm_run_settles(&landed);
    mamuto_span_t span = { range.first, range.n, NULL, -1, lease->begun_ns, uv_hrtime() };
    mm_team_log(call, lease->child, &span);
}

/* All of it has landed: who else has it can stop. Or what has not is being sent by somebody. */
static void revoke_others(const struct mm_lease *ended)
{
    for (struct mm_lease *lease = ended->call->leases; lease; lease = lease->next) {
        enum mm_claim_of state;
        uint32_t source;
        if (lease->kind == MM_LEASE_OWN || lease->revoked || !is_same_range(lease, ended))
            continue;
        lease->copied = true;
        uint64_t n = mm_claims_look(ended->call->claims, ended->run.first, ended->run.n, &state, &source);
        if (state != MM_ITEM_SETTLED || n < ended->run.n)
            continue;
        lease->revoked = true;
        if (!lease->child->closing)
            lease->child->ops->cancel(lease->child->node, &lease->run);
    }
}

/* --- the end of a lease -------------------------------------------------------------------------------------------------- */

static void take_out(struct mm_lease *lease)
{
    if (lease->previous)
        lease->previous->next = lease->next;
    else
        lease->call->leases = lease->next;
    if (lease->next)
        lease->next->previous = lease->previous;
}

static bool is_of_an_item(int status)
{
    return status == MAMUTO_EITEM || status == MAMUTO_ECRASH || status == MAMUTO_ETIMEOUT;
}

/* How fast the child is with this call: what it has done in the time in which it had leases. With several at once, the time
 * of one says nothing. Of late counts for more: at times both are halved. */
static void learn(const struct mm_lease *lease)
{
    static const double OF_LATE_NS = 1e9;
    struct mm_team_part *part = &lease->call->parts[lease->child - lease->call->team->children];
    uint64_t now = uv_hrtime();
    part->items += (double)(lease->run.n - lease->given);
    part->ns += (double)(now - part->since_ns + 1);
    part->since_ns = now;
    part->rate = part->items / part->ns;
    if (part->ns < OF_LATE_NS)
        return;
    part->items /= 2;
    part->ns /= 2;
}

/* The host cannot run this, though it is up. */
static void refuse(struct mm_lease *lease, const mamuto_error_t *err)
{
    struct mm_call *call = lease->call;
    call->parts[lease->child - call->team->children].refused = true;
    mm_error_copy(&call->refusal, err); /* to be told if nobody else can */
}

/* An item that another source was writing when it came is open again, if that one is gone meanwhile. */
static void settle(struct mm_lease *lease, uint64_t failed)
{
    static const mamuto_error_t lacks = { .text = "the host that was sending it was lost" };
    struct mm_call *call = lease->call;
    if (lease->scratch) {
        mm_errors_trim(&lease->errors);
        each_open(lease, NULL, land);
    } else {
        call->failed += failed;
        learn(lease);
    }
    if (lease->kind == MM_LEASE_OWN) {
        call->done += lease->run.n - lease->given;
        return;
    }
    revoke_others(lease);
    return_undone(lease, &lacks);
}

static bool is_the_hosts(int status)
{
    return status == MAMUTO_EHOST || status == MAMUTO_ENOMEM || status == MAMUTO_ESYSTEM || status == MAMUTO_EMODULE ||
           status == MAMUTO_EINVAL;
}

static void ended(struct mm_lease *lease, int status, uint64_t failed, const mamuto_error_t *err)
{
    struct mm_call *call = lease->call;
    bool whole = status == 0 || (is_of_an_item(status) && !call->run->fail_fast);
    if (whole) {
        settle(lease, failed);
        return;
    }
    call->failed += lease->scratch ? 0 : failed;
    if (lease->scratch || lease->revoked || call->ending) /* nobody waits for it */
        return_undone(lease, err);
    else if (is_of_an_item(status)) {
        if (failed)
            mm_call_stop(call, NULL);
        else /* another source has settled that item, and well */
            return_undone(lease, err);
    } else if (lease->kind == MM_LEASE_OWN || !is_the_hosts(status))
        mm_call_stop(call, err);
    else {
        if (status != MAMUTO_EHOST)
            refuse(lease, err);
        return_undone(lease, err);
    }
}

static void end_lease(struct mm_lease *lease, int status, uint64_t failed, const mamuto_error_t *err)
{
    struct mm_child *child = lease->child;
    mm_lease_log(lease);
    take_out(lease);
    child->n_leases--;
    child->n_alone -= lease->alone;
    child->full = false;
    struct mm_team_part *part = &lease->call->parts[child - child->team->children];
    part->n_leases--;
    part->in_leases -= lease->run.n;
    ended(lease, status, failed, err);
    mm_lease_free(lease);
}

void mm_team_on_ran(void *owner, struct mm_run *run, int status, uint64_t failed, const mamuto_error_t *err)
{
    struct mm_child *child = owner;
    struct mm_node *team = child->team;
    if (team->closing)
        return;
    if (run->call)
        end_lease(mm_lease_of(run), status, failed, err);
    else {
        child->full = false;
        team->events->on_ran(team->owner, run, status, failed, err);
    }
    mm_team_go_on(team);
}

void mm_team_end_leases(struct mm_child *child)
{
    mamuto_error_t err = { 0 };
    mm_error_set(&err, MAMUTO_EHOST, "%s", child->reason);
    for (struct mm_call *call = child->team->first; call; call = call->next)
        for (struct mm_lease *lease = call->leases, *next; lease; lease = next) {
            next = lease->next;
            if (lease->child == child)
                end_lease(lease, err.code, 0, &err);
        }
}
