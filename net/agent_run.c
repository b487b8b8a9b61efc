/* Calls and leases at the agent: announced, filled with what comes, put on the board when all of it is there, answered.
 *
 *   RUN ──► waits for IN and for the call's BCAST ──► on the board ──► FAIL …, RESULT … ──► DONE ──► gone
 *                 └── CANCEL, or no memory ────────────────┴─────────────────────────────► DONE
 *
 * What comes for a lease that is over is thrown away. A call lives until END and its last lease's end. Called by net/agent.c.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "net/agent.h"

static struct mm_agent_call *find_call(const struct mm_agent *agent, uint64_t id)
{
    struct mm_agent_call *call = agent->calls;
    while (call && call->id != id)
        call = call->next;
    return call;
}

static struct mm_agent_lease *find_lease(const struct mm_agent *agent, uint64_t id)
{
    struct mm_agent_lease *lease = agent->leases;
    while (lease && lease->id != id)
        lease = lease->next;
    return lease;
}

/* --- the ends of both --------------------------------------------------------------------------------------------- */

static void free_call(struct mm_agent *agent, struct mm_agent_call *call)
{
    struct mm_agent_call **at = &agent->calls;
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    for (unsigned k = 0; k < MAMUTO_MAX_ARGS; k++)
        mm_agent_give(agent, call->values[k], call->body.in[k].size);
    mm_free(call);
}

static void free_lease(struct mm_agent *agent, struct mm_agent_lease *lease)
{
    struct mm_agent_lease **at = &agent->leases;
    struct mm_agent_call *call = lease->call;
    while (*at != lease)
        at = &(*at)->next;
    *at = lease->next;
    mm_agent_give(agent, lease->room, lease->bytes);
    for (unsigned k = 0; k < MAMUTO_MAX_ARGS; k++)
        if (lease->kept[k])
            mm_agent_release(agent, lease->kept[k]);
    mm_free(lease);
    if (--call->n_leases == 0 && call->ended)
        free_call(agent, call);
}

static int send_done(struct mm_agent *agent, const struct mm_agent_lease *lease)
{
    unsigned char body[1024];
    struct mm_writer w = { .at = body, .room = sizeof body };
    struct mm_done_body done = { .failed = lease->failed, .busy_ns = lease->busy_ns };
    mamuto_error_t none = { 0 };
    mm_error_to_outcome(lease->status ? &lease->err : &none, &done.outcome);
    mm_put_done(&w, &done);
    return mm_stream_send(mm_agent_stream(agent), MM_FRAME_DONE, lease->id, body, w.n);
}

/* Nothing of it runs, and all that it had to send is sent. */
static int end_lease(struct mm_agent *agent, struct mm_agent_lease *lease)
{
    int code = send_done(agent, lease);
    if (code)
        mm_agent_leave(agent, mm_stream_error(mm_agent_stream(agent)));
    free_lease(agent, lease);
    return code;
}

/* It is over before it has begun. What of it still comes is thrown away; its DONE goes when all has come, so that nothing
 * comes for an id that is not known any more. */
static int give_up(struct mm_agent *agent, struct mm_agent_lease *lease)
{
    lease->over = true;
    return lease->missing ? 0 : end_lease(agent, lease);
}

/* --- onto the board and off it ------------------------------------------------------------------------------------ */

static int begin_if_ready(struct mm_agent *agent, struct mm_agent_lease *lease)
{
    if (lease->missing || lease->call->missing || lease->submitted)
        return 0;
    if (lease->over)
        return lease->sending ? 0 : end_lease(agent, lease);
    int code = mm_agent_ready_lease(agent, lease, &lease->err);
    if (!code)
        code = mm_jobs_submit(&agent->jobs, &lease->run, &lease->err);
    if (code == MM_NODE_FULL)
        return 0; /* looked at again when one has ended */
    lease->submitted = code == 0;
    lease->status = code;
    return code ? give_up(agent, lease) : 0;
}

static int begin_ready(struct mm_agent *agent)
{
    int code = 0;
    for (struct mm_agent_lease *lease = agent->leases, *next; lease && !code; lease = next) {
        next = lease->next;
        code = begin_if_ready(agent, lease);
    }
    return code;
}

struct report {
    struct mm_agent *agent;
    const struct mm_agent_lease *lease;
};

static void report_item(void *context, const mamuto_error_t *err)
{
    const struct report *to = context;
    unsigned char body[1024];
    struct mm_writer w = { .at = body, .room = sizeof body };
    struct mm_outcome_body outcome;
    mm_error_to_outcome(err, &outcome);
    mm_put_outcome(&w, &outcome);
    if (mm_stream_send(mm_agent_stream(to->agent), MM_FRAME_FAIL, to->lease->id, body, w.n))
        mm_agent_leave(to->agent, mm_stream_error(mm_agent_stream(to->agent)));
}

static void on_sent(struct mm_source *source)
{
    struct mm_agent_lease *lease =
        (struct mm_agent_lease *)(void *)((char *)source - offsetof(struct mm_agent_lease, source));
    lease->sending--;
}

static size_t get_result(struct mm_source *source, uint64_t offset, size_t n, const void **at, void *scratch)
{
    const struct mm_agent_lease *lease =
        (const struct mm_agent_lease *)(const void *)((const char *)source - offsetof(struct mm_agent_lease, source));
    (void)scratch;
    *at = lease->room + offset;
    return n;
}

void mm_agent_finish(struct mm_agent *agent, struct mm_agent_lease *lease)
{
    struct report to = { agent, lease };
    struct mm_job *job = lease->run.job;
    mm_agent_outputs_read(agent, true); /* what its items have printed comes before its end */
    lease->status = mm_jobs_result(&agent->jobs, job, &lease->failed, &lease->err, report_item, &to);
    uint64_t ticks = agent->jobs.busy_ticks;
    mm_jobs_remove(&agent->jobs, job);
    lease->busy_ns = (uint64_t)((double)(agent->jobs.busy_ticks - ticks) / agent->pool.board->ticks_per_us * 1000);
    lease->submitted = false;
    lease->over = true;
    lease->source = (struct mm_source){ lease->call->id, get_result, on_sent };
    bool whole = !lease->status || (lease->status == MAMUTO_EITEM && !lease->run.fail_fast);
    int code = whole && !lease->canceled ? mm_agent_send_result(agent, lease) : 0;
    if (!code && !lease->sending)
        code = end_lease(agent, lease);
    if (!code)
        code = begin_ready(agent);
    if (code)
        mm_agent_leave(agent, mm_stream_error(mm_agent_stream(agent)));
}

int mm_agent_end_sent(struct mm_agent *agent)
{
    int code = 0;
    for (struct mm_agent_lease *lease = agent->leases, *next; lease && !code; lease = next) {
        next = lease->next;
        if (lease->over && !lease->sending && !lease->missing && !lease->submitted)
            code = end_lease(agent, lease);
    }
    return code;
}

/* --- what the master says ----------------------------------------------------------------------------------------- */

int mm_agent_on_call(struct mm_agent *agent, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    const char *why = "";
    struct mm_agent_call *call = find_call(agent, frame->id) ? NULL : mm_alloc(sizeof *call);
    mamuto_error_t err = { 0 };
    if (!call)
        return mm_agent_wrong(agent, "CALL again, or no memory for it");
    call->id = frame->id;
    call->next = agent->calls;
    agent->calls = call;
    if (mm_get_call(&call->body, body, n, &why) || mm_agent_check_call(agent, call, &why))
        return mm_agent_wrong(agent, "CALL: %s", why);
    for (uint32_t k = 0; k < call->body.n_in; k++) {
        const struct mm_call_argument *in = &call->body.in[k];
        if (in->kind != MM_ARGUMENT_BROADCAST || !in->size)
            continue;
        call->values[k] = mm_agent_take(agent, in->size, &err); /* NULL: its leases say so */
        call->missing++;
    }
    return 0;
}

int mm_agent_on_run(struct mm_agent *agent, const struct mm_frame *frame, const unsigned char *bytes, size_t n)
{
    struct mm_run_body body;
    const char *why = "";
    if (mm_get_run(&body, bytes, n, &why))
        return mm_agent_wrong(agent, "RUN: %s", why);
    struct mm_agent_call *call = find_call(agent, body.call);
    if (!call || call->ended || find_lease(agent, frame->id))
        return mm_agent_wrong(agent, "RUN of a call that there is not, or again");
    struct mm_agent_lease *lease = mm_alloc(sizeof *lease);
    if (!lease)
        return mm_agent_wrong(agent, "no memory for a lease");
    lease->id = frame->id;
    lease->call = call;
    call->n_leases++;
    lease->next = agent->leases;
    agent->leases = lease;
    int code = mm_agent_make_lease(agent, lease, &body, &lease->err);
    if (code == MAMUTO_EPROTOCOL)
        return mm_agent_wrong(agent, "RUN: %s", lease->err.text);
    lease->status = code;
    return code ? give_up(agent, lease) : begin_if_ready(agent, lease);
}

int mm_agent_on_cancel(struct mm_agent *agent, uint64_t id)
{
    struct mm_agent_lease *lease = find_lease(agent, id);
    if (!lease || lease->canceled) /* it has ended meanwhile */
        return 0;
    lease->canceled = true;
    if (lease->submitted) {
        mm_jobs_stop(&agent->jobs, lease->run.job, MAMUTO_ECANCELED); /* looked at in the next turn */
        return 0;
    }
    if (lease->over) {
        mm_stream_drop_source(mm_agent_stream(agent), &lease->source);
        lease->sending = 0;
    }
    if (!lease->status)
        lease->status = mm_error_set(&lease->err, MAMUTO_ECANCELED, "cancelled");
    lease->missing = 0; /* the master has dropped what was still to come; a slice that was begun goes nowhere */
    return end_lease(agent, lease);
}

int mm_agent_on_end(struct mm_agent *agent, uint64_t id)
{
    struct mm_agent_call *call = find_call(agent, id);
    if (!call)
        return mm_agent_wrong(agent, "END of a call that there is not");
    call->ended = true;
    if (!call->n_leases)
        free_call(agent, call);
    return 0;
}

/* --- payloads ----------------------------------------------------------------------------------------------------- */

struct place {
    char *at; /* NULL: it is thrown away */
    uint64_t total, *got;
    bool known;
};

static struct place place_of_value(struct mm_agent *agent, const struct mm_frame *frame)
{
    struct mm_agent_call *call = find_call(agent, frame->id);
    unsigned k = frame->part;
    if (!call || k >= call->body.n_in || call->body.in[k].kind != MM_ARGUMENT_BROADCAST)
        return (struct place){ .known = !call }; /* of a call that was ended early, a slice may still come */
    return (struct place){ call->values[k], call->body.in[k].size, &call->got[k], true };
}

static struct place place_of_input(struct mm_agent *agent, const struct mm_frame *frame)
{
    struct mm_agent_lease *lease = find_lease(agent, frame->id);
    unsigned k = frame->part & 0xff;
    if (!lease)
        return (struct place){ .known = true }; /* cancelled: the slice that was begun */
    switch (frame->part >> 8) {
    case MM_WHAT_ITEMS:
        return (struct place){ lease->items[k], lease->items_bytes[k], &lease->items_got[k], true };
    case MM_WHAT_OFFSETS:
        return (struct place){ lease->offsets[k], lease->offsets_bytes[k], &lease->offsets_got[k], true };
    default:
        return (struct place){ lease->absent, lease->absent_bytes, &lease->absent_got, true };
    }
}

static struct place place_of(struct mm_agent *agent, const struct mm_frame *frame)
{
    return frame->type == MM_FRAME_BCAST ? place_of_value(agent, frame) : place_of_input(agent, frame);
}

int mm_agent_on_input(struct mm_agent *agent, const struct mm_frame *frame, size_t done, void **to)
{
    struct place place = place_of(agent, frame);
    uint64_t n = frame->length - mm_frame_prefix(frame->type);
    *to = NULL;
    if (!place.known)
        return mm_agent_wrong(agent, "%s of an argument that is not sent", mm_frame_name(frame->type));
    if (place.got && !done && (frame->offset != *place.got || n > place.total - *place.got || !n))
        return mm_agent_wrong(agent, "%s beyond its size, or not the next piece", mm_frame_name(frame->type));
    if (place.at)
        *to = place.at + frame->offset + done;
    return 0;
}

int mm_agent_on_input_end(struct mm_agent *agent, const struct mm_frame *frame)
{
    struct place place = place_of(agent, frame);
    if (!place.got)
        return 0;
    *place.got += frame->length - mm_frame_prefix(frame->type);
    if (*place.got < place.total)
        return 0;
    if (frame->type == MM_FRAME_BCAST) {
        find_call(agent, frame->id)->missing--;
        return begin_ready(agent);
    }
    struct mm_agent_lease *lease = find_lease(agent, frame->id);
    lease->missing--;
    return begin_if_ready(agent, lease);
}

void mm_agent_free_runs(struct mm_agent *agent)
{
    while (agent->leases) {
        agent->leases->call->ended = false; /* freed below */
        if (agent->leases->sending)
            mm_stream_drop_source(mm_agent_stream(agent), &agent->leases->source);
        free_lease(agent, agent->leases);
    }
    while (agent->calls)
        free_call(agent, agent->calls);
}
