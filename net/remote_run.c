/* Calls and leases of one agent: what is sent so that it runs a range, and how that ends.
 *
 *   run ──► CALL once, BCAST once a call; RUN; IN … ──► RESULT, FAIL … ──► DONE ──► on_ran
 *     └── cancel: CANCEL; sources dropped; told at once ──► revoked: what still comes is thrown away ──► DONE
 *
 * A lease that was revoked stays until its DONE, so that its id is known; its memory of the run is gone. Broadcast values of
 * a call belong to its first run's arrays: when the last run of a call ends early, what of them was not sent is dropped,
 * and the call is stale: a later run of it is announced anew. Called on the loop's thread; reports come from the loop.
 */
#include "core/alloc.h"
#include "core/claims.h"
#include "core/error.h"
#include "net/remote.h"

#include <stdlib.h>

enum { CALL_BYTES = 4096 };

/* --- calls -------------------------------------------------------------------------------------------------------- */

static uint32_t call_flags(const struct mm_run *run)
{
    const struct mm_groups *groups = run->groups;
    uint32_t flags = (run->fail_fast ? MM_CALL_FAIL_FAST : 0) | (run->once ? MM_CALL_ONCE : 0) |
                     (run->marks ? MM_CALL_MARKS : 0) | (run->function ? 0 : MM_CALL_FOLD_ONLY);
    if (!groups)
        return flags;
    return flags | MM_CALL_GROUPS | (groups->values ? MM_CALL_VALUES : 0) | (groups->absent ? MM_CALL_ABSENT : 0);
}

static void fill_arguments(const struct mm_node *node, const struct mm_run *run, struct mm_call_body *body)
{
    body->n_in = (uint32_t)run->n_in;
    for (int k = 0; k < run->n_in; k++) {
        const struct mm_run_arg *in = &run->in[k];
        body->in[k] = (struct mm_call_argument){ .kind = in->keep                    ? MM_ARGUMENT_KEPT
                                                         : in->stride || in->offsets ? MM_ARGUMENT_SCATTER
                                                                                     : MM_ARGUMENT_BROADCAST,
                                                 .variable = in->offsets != NULL,
                                                 .one = !in->stride && !in->offsets,
                                                 .size = in->size,
                                                 .len = in->len,
                                                 .object = in->keep ? mm_remote_object(node, in->keep) : 0 };
    }
}

static void fill_call(const struct mm_node *node, const struct mm_run *run, struct mm_call_body *body)
{
    *body = (struct mm_call_body){ .flags = call_flags(run),
                                   .out_size = run->out_size,
                                   .out_len = run->out_len,
                                   .seed = run->seed,
                                   .item_timeout_ms = run->item_timeout_ms,
                                   .retries = run->retries,
                                   .priority = run->priority };
    if (run->function) {
        body->module = run->function->module;
        body->function = run->function->index;
        body->n_dims = (uint32_t)run->function->signature.n_dims;
        memcpy(body->dims, run->dims, sizeof run->dims);
    }
    fill_arguments(node, run, body);
    if (!run->groups)
        return;
    body->fold_module = run->groups->fold->module;
    body->fold_function = run->groups->fold->index;
    body->n_fold_dims = (uint32_t)run->groups->fold->signature.n_dims;
    memcpy(body->fold_dims, run->groups->dims, sizeof run->groups->dims);
    body->n_items = run->groups->n_items;
    body->group_items = run->groups->group_items;
    body->leaf_items = run->groups->leaf_items;
}

static int send_call(struct mm_node *node, struct mm_remote_call *call, const struct mm_run *run)
{
    struct mm_stream *stream = mm_link_stream(node->stream);
    unsigned char bytes[CALL_BYTES];
    struct mm_call_body body;
    struct mm_writer w = { .at = bytes, .room = sizeof bytes };
    fill_call(node, run, &body);
    mm_put_call(&w, &body);
    int code = mm_stream_send(stream, MM_FRAME_CALL, call->id, bytes, w.n);
    call->run = *run;
    for (int k = 0; !code && k < run->n_in; k++) {
        if (body.in[k].kind != MM_ARGUMENT_BROADCAST || !run->in[k].size)
            continue;
        uint64_t n = mm_remote_input(&call->in[k], &call->run, k, MM_WHAT_ITEMS, call->id, &call->sending);
        struct mm_frame frame = { .type = MM_FRAME_BCAST, .id = call->id, .part = (uint32_t)k };
        call->sending++;
        code = mm_stream_send_source(stream, &frame, &call->in[k].source, 0, n);
    }
    return code;
}

static struct mm_remote_call *find_call(const struct mm_node *node, const struct mm_run *run)
{
    for (struct mm_remote_call *call = node->calls; call && run->call; call = call->next)
        if (call->call == run->call && !call->ended && !call->stale)
            return call;
    return NULL;
}

static struct mm_remote_call *begin_call(struct mm_node *node, const struct mm_run *run)
{
    struct mm_remote_call *call = mm_alloc(sizeof *call);
    if (!call)
        return NULL;
    call->id = ++node->last_id;
    call->call = run->call;
    call->ended = !run->call; /* of one run alone */
    call->next = node->calls;
    node->calls = call;
    return call;
}

static void drop_broadcasts(struct mm_node *node, struct mm_remote_call *call)
{
    if (!call->sending)
        return;
    for (int k = 0; k < call->run.n_in; k++)
        if (call->in[k].run)
            mm_stream_drop_source(mm_link_stream(node->stream), &call->in[k].source);
    call->sending = 0;
    call->stale = true;
}

/* A lease less. */
static void leave_call(struct mm_node *node, struct mm_remote_call *call)
{
    if (call->n_leases)
        return;
    if (!call->ended && !call->stale)
        return;
    if (node->stream)
        mm_stream_send(mm_link_stream(node->stream), MM_FRAME_END, call->id, NULL, 0);
    struct mm_remote_call **at = &node->calls;
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    mm_free(call);
}

void mm_remote_end_call(struct mm_node *node, uint64_t number)
{
    for (struct mm_remote_call *call = node->calls, *next; call; call = next) {
        next = call->next;
        if (call->call != number || !number)
            continue;
        call->ended = true;
        leave_call(node, call);
    }
    if (node->stream)
        mm_link_wake(node->stream);
}

/* --- leases ------------------------------------------------------------------------------------------------------- */

/* What a run will take of the agent's memory. */
static uint64_t bytes_of(const struct mm_run *run)
{
    uint64_t bytes = run->n * run->out_size, n = mm_run_n_items(run);
    for (int k = 0; k < run->n_in; k++) {
        const struct mm_run_arg *in = &run->in[k];
        if (in->offsets && !in->keep)
            bytes += (n + 1) * sizeof(int64_t) + (uint64_t)(in->high - in->low) * in->size;
        else if (in->stride && !in->keep)
            bytes += n * in->size;
    }
    return bytes;
}

static int send_input(struct mm_node *node, struct mm_remote_lease *lease, int k, enum mm_frame_what what,
                      struct mm_remote_input *in)
{
    uint64_t n = mm_remote_input(in, lease->run, k, what, lease->call->id, &lease->sending);
    struct mm_frame frame = { .type = MM_FRAME_IN, .id = lease->id, .part = (uint32_t)k | (uint32_t)what << 8 };
    if (!n)
        return 0;
    lease->sending++;
    return mm_stream_send_source(mm_link_stream(node->stream), &frame, &in->source, 0, n);
}

static int send_inputs(struct mm_node *node, struct mm_remote_lease *lease)
{
    const struct mm_run *run = lease->run;
    struct mm_remote_input *in = lease->in;
    int code = 0;
    for (int k = 0; !code && k < run->n_in; k++) {
        if (run->in[k].keep || (!run->in[k].stride && !run->in[k].offsets))
            continue;
        if (run->in[k].offsets)
            code = send_input(node, lease, k, MM_WHAT_OFFSETS, in++);
        if (!code)
            code = send_input(node, lease, k, MM_WHAT_ITEMS, in++);
    }
    if (!code && run->groups && run->groups->absent)
        code = send_input(node, lease, 0, MM_WHAT_ABSENT, in++);
    return code;
}

static int send_lease(struct mm_node *node, struct mm_remote_lease *lease)
{
    const struct mm_run *run = lease->run;
    unsigned char bytes[CALL_BYTES];
    struct mm_writer w = { .at = bytes, .room = sizeof bytes };
    struct mm_run_body body = { .call = lease->call->id, .lo = run->first, .hi = run->first + run->n };
    uint64_t n = mm_run_n_items(run);
    for (int k = 0; k < run->n_in; k++) {
        const struct mm_run_arg *in = &run->in[k];
        if (!in->keep && (in->stride || in->offsets))
            body.bytes[k] = in->offsets ? (uint64_t)(in->high - in->low) * in->size : n * in->size;
    }
    mm_put_run(&w, &body, (uint32_t)run->n_in);
    int code = mm_stream_send(mm_link_stream(node->stream), MM_FRAME_RUN, lease->id, bytes, w.n);
    return code ? code : send_inputs(node, lease);
}

static void drop_inputs(struct mm_node *node, struct mm_remote_lease *lease)
{
    if (!lease->sending || !node->stream)
        return;
    for (size_t i = 0; i < sizeof lease->in / sizeof *lease->in; i++)
        if (lease->in[i].run)
            mm_stream_drop_source(mm_link_stream(node->stream), &lease->in[i].source);
    lease->sending = 0;
}

static bool is_full(const struct mm_node *node, uint64_t bytes)
{
    uint64_t budget = (uint64_t)node->host->inflight_bytes;
    uint64_t left = node->memory > node->kept_bytes ? node->memory - node->kept_bytes : 0;
    if (budget > left)
        budget = left;
    return node->n_leases == MM_REMOTE_RUNS || (node->n_leases && node->in_flight + bytes > budget);
}

int mm_remote_run(struct mm_node *node, struct mm_run *run, mamuto_error_t *err)
{
    if (node->state != MM_REMOTE_UP)
        return mm_error_set(err, MAMUTO_EHOST, "host %s: %s", node->host->label,
                            node->reason[0] ? node->reason : "it is not up");
    uint64_t bytes = bytes_of(run);
    if (is_full(node, bytes))
        return MM_NODE_FULL;
    for (int k = 0; k < run->n_in; k++)
        if (run->in[k].keep && !mm_remote_object(node, run->in[k].keep))
            return mm_error_set(err, MAMUTO_EHOST, "host %s: it does not have the data of argument %d",
                                node->host->label, k);
    struct mm_remote_lease *lease = mm_alloc(sizeof *lease);
    struct mm_claims *claims = run->claims ? run->claims : mm_claims_new(run->first, run->n);
    struct mm_remote_call *call = find_call(node, run);
    bool fresh = !call;
    if (lease && claims && fresh)
        call = begin_call(node, run);
    if (!lease || !claims || !call) {
        mm_free(lease);
        if (!run->claims)
            mm_claims_free(claims);
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for a range of a map");
    }
    *lease = (struct mm_remote_lease){ .id = ++node->last_id,
                                       .run = run,
                                       .call = call,
                                       .first = run->first,
                                       .n = run->n,
                                       .out_size = run->out_size,
                                       .bytes = bytes,
                                       .claims = claims,
                                       .source = run->claims ? run->source : 1,
                                       .begun_ns = uv_hrtime() };
    call->n_leases++;
    call->n_live++;
    *node->last_lease = lease;
    node->last_lease = &lease->next;
    node->n_leases++;
    node->in_flight += bytes;
    run->job = lease;
    int code = fresh ? send_call(node, call, run) : 0;
    if (!code)
        code = send_lease(node, lease);
    if (code) /* half of it may be queued: the agent is of no use any more, which is told from the loop */
        mm_remote_lose_agent(node, mm_stream_error(mm_link_stream(node->stream)));
    else
        mm_link_wake(node->stream);
    return 0;
}

/* It is the run's no more. */
static void let_go(struct mm_node *node, struct mm_remote_lease *lease)
{
    drop_inputs(node, lease);
    node->n_leases--;
    node->in_flight -= lease->bytes;
    if (lease->run->claims)
        mm_claims_release(lease->claims, lease->source); /* of an item that came in part */
    else
        mm_claims_free(lease->claims);
    lease->claims = NULL;
    mm_free(lease->marks);
    lease->marks = NULL;
    lease->run->job = NULL;
    lease->run = NULL;
    if (--lease->call->n_live == 0 && node->stream) /* nobody says that the arrays are still there */
        drop_broadcasts(node, lease->call);
}

static void end_early(struct mm_node *node, struct mm_remote_lease *lease, int status, const char *text)
{
    drop_inputs(node, lease);
    lease->over = true;
    lease->status = mm_error_set(&lease->err, status, "%s", text);
    mm_remote_soon(node);
}

void mm_remote_cancel(struct mm_node *node, struct mm_run *run)
{
    struct mm_remote_lease *lease = run->job;
    if (!lease || lease->over || node->state == MM_REMOTE_CLOSING)
        return;
    end_early(node, lease, MAMUTO_ECANCELED, "the map was cancelled");
    if (!node->stream)
        return;
    mm_stream_send(mm_link_stream(node->stream), MM_FRAME_CANCEL, lease->id, NULL, 0);
    mm_link_wake(node->stream);
}

void mm_remote_progress(struct mm_node *node, const struct mm_run *run, uint64_t *done, uint64_t *failed)
{
    const struct mm_remote_lease *lease = run->job;
    (void)node;
    if (!lease)
        return;
    *done = lease->settled;
    *failed = lease->failed;
}

/* --- their ends --------------------------------------------------------------------------------------------------- */

static void remove_lease(struct mm_node *node, struct mm_remote_lease *lease)
{
    struct mm_remote_lease **at = &node->leases;
    while (*at != lease)
        at = &(*at)->next;
    *at = lease->next;
    if (!*at)
        node->last_lease = at;
    lease->call->n_leases--;
    leave_call(node, lease->call);
    mm_free(lease->errors);
    mm_free(lease);
}

/* Is there an item that nobody has settled or is about to? What was thrown away because another source was writing it may
 * be open again: that one is gone. */
static bool is_missing(const struct mm_remote_lease *lease)
{
    enum mm_claim_of state = MM_ITEM_SETTLED;
    uint32_t source = 0;
    for (uint64_t at = lease->first, end = at + lease->n; at < end;) {
        at += mm_claims_look(lease->claims, at, end - at, &state, &source);
        if ((state == MM_ITEM_OPEN && !lease->lacks) || (state == MM_ITEM_CLAIMED && source == lease->source))
            return true;
    }
    return false;
}

/* The agent has no more to say of a lease. */
int mm_remote_on_done(struct mm_node *node, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct mm_remote_lease *lease = mm_remote_find_lease(node, frame->id);
    struct mm_done_body done;
    const char *why = "";
    if (!lease)
        return mm_remote_wrong(node, "DONE of a lease that it does not have");
    if (mm_get_done(&done, body, n, &why))
        return mm_remote_wrong(node, "DONE: %s", why);
    node->busy_ns += done.busy_ns;
    if (!lease->run) {
        remove_lease(node, lease);
        return 0;
    }
    if (lease->over) { /* cancelled, and not told yet */
        lease->closed = true;
        return 0;
    }
    bool complete = !done.outcome.code || (done.outcome.code == MAMUTO_EITEM && !lease->run->fail_fast);
    if (complete && is_missing(lease))
        return mm_remote_wrong(node, "DONE, but not all of its items have come");
    lease->over = lease->closed = true;
    lease->status = done.outcome.code;
    if (done.outcome.code)
        mm_outcome_to_error(&done.outcome, &lease->err);
    if (lease->settled == lease->n)
        lease->failed = done.failed;
    mm_remote_soon(node);
    return 0;
}

static int by_item(const void *a, const void *b)
{
    uint64_t x = ((const mamuto_error_t *)a)->item, y = ((const mamuto_error_t *)b)->item;
    return x < y ? -1 : x > y;
}

static void report(struct mm_node *node, struct mm_remote_lease *lease)
{
    struct mm_run *run = lease->run;
    mamuto_error_t err = lease->err, *errors = lease->errors;
    uint64_t failed = lease->failed;
    uint32_t n_errors = lease->n_errors;
    int status = lease->status;
    lease->errors = NULL;
    let_go(node, lease);
    if (lease->closed)
        remove_lease(node, lease);
    if (n_errors)
        qsort(errors, n_errors, sizeof *errors, by_item);
    for (uint32_t i = 0; i < n_errors; i++)
        node->events->on_item_error(node->owner, run, &errors[i]);
    mm_free(errors);
    node->events->on_ran(node->owner, run, status, failed, status ? &err : NULL);
}

static struct mm_remote_lease *next_over(const struct mm_node *node)
{
    struct mm_remote_lease *lease = node->leases;
    while (lease && !(lease->run && lease->over))
        lease = lease->next;
    return lease;
}

void mm_remote_report_runs(struct mm_node *node)
{
    for (struct mm_remote_lease *lease; (lease = next_over(node)) != NULL;)
        report(node, lease);
}

/* The next agent knows none of them. */
static void end_calls(struct mm_node *node)
{
    for (struct mm_remote_call *call = node->calls, *next; call; call = next) {
        next = call->next;
        call->stale = true;
        leave_call(node, call);
    }
}

void mm_remote_end_runs(struct mm_node *node, const mamuto_error_t *err)
{
    for (struct mm_remote_lease *lease = node->leases; lease; lease = lease->next) {
        if (lease->run && !lease->over && err) {
            lease->run->died = node->died;
            end_early(node, lease, MAMUTO_EHOST, err->text);
        }
        lease->closed = true;
    }
    for (struct mm_remote_lease *lease = node->leases, *next; lease; lease = next) {
        next = lease->next;
        if (!lease->run)
            remove_lease(node, lease);
        else if (!err) {
            let_go(node, lease);
            remove_lease(node, lease);
        }
    }
    end_calls(node);
}
