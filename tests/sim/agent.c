/* The far end of a link: an agent that keeps the protocol (net/PROTOCOL.md), in any way that it allows: leases run at
 * the same time, their pieces in any order, results as they come or all at the end, failures before or after others'
 * results. It ends by itself when a worker begins an item that kills. */
#include "net/message.h"
#include "net/remote.h"
#include "tests/sim/sim.h"

enum { WORKERS = 4, CHUNK = 6, BODY = 1024 };

enum done { NOT_BEGUN, BEGUN, DONE, SENT };

struct lease {
    struct lease *next;
    uint64_t id, lo, hi;
    struct agent_call *call;
    uint64_t got;   /* bytes of its argument */
    uint64_t n_run; /* items that are done, or never will be */
    uint64_t failed;
    uint64_t *in;
    uint8_t *state; /* enum done, by item */
    int running;
    bool canceled, over;
};

struct agent_call {
    struct agent_call *next;
    uint64_t id, value, got;
    struct mm_call_body body;
};

struct sim_agent {
    struct mm_link *link;
    struct sim_host *host;
    struct agent_call *calls;
    struct lease *leases;
    bool all_at_the_end;
    struct agent_worker {
        struct sim_agent *agent;
        struct lease *lease; /* NULL: idle */
        uint64_t first, n;
    } workers[WORKERS];
};

static bool is_dead(const struct sim_agent *agent) { return sim_is_over(agent->link); }

/* ---- what it sends ----------------------------------------------------------------------------------------------- */

static void send_whole(struct sim_agent *agent, enum mm_frame_type type, uint64_t id, const struct mm_writer *w)
{
    struct mm_frame frame = { .type = (uint8_t)type, .id = id };
    if (w->full)
        sim_broken("a body that does not fit");
    sim_agent_sends(agent->link, &frame, w->at, w->n);
}

static void send_failure(struct sim_agent *agent, struct lease *lease, uint64_t item)
{
    unsigned char body[BODY];
    struct mm_writer w = { .at = body, .room = sizeof body };
    struct mm_outcome_body outcome = { .code = MAMUTO_EITEM, .item_code = 1, .item = item, .file = "", .text = "no" };
    mm_put_outcome(&w, &outcome);
    send_whole(agent, MM_FRAME_FAIL, lease->id, &w);
    lease->failed++;
}

static void value_of(const struct lease *lease, uint64_t item, int host, void *out, size_t size)
{
    memset(out, 0, size);
    if (!sim_fails(item, host))
        sim_value(item, lease->in[item - lease->lo], out, size);
}

/* They come before the items that they are about. */
static void send_marks(struct sim_agent *agent, const struct lease *lease, uint64_t first, uint64_t n)
{
    unsigned char marks[4096];
    struct mm_frame frame = {
        .type = MM_FRAME_RESULT, .id = lease->id, .part = MM_WHAT_MARKS, .lo = first, .hi = first + n
    };
    for (uint64_t i = 0; i < n; i++)
        marks[i] = sim_fails(first + i, agent->host->number);
    sim_agent_sends(agent->link, &frame, marks, n);
}

/* Items that are done, side by side: one frame; or one item in slices. */
static void send_items(struct sim_agent *agent, struct lease *lease, uint64_t first, uint64_t n)
{
    size_t size = (size_t)lease->call->body.out_size;
    static unsigned char bytes[1 << 20];
    struct mm_frame frame = { .type = MM_FRAME_RESULT, .id = lease->id, .lo = first, .hi = first + n };
    for (uint64_t i = 0; i < n; i++) {
        value_of(lease, first + i, agent->host->number, bytes + i * size, size);
        lease->state[first + i - lease->lo] = SENT;
    }
    if (lease->call->body.flags & MM_CALL_MARKS)
        send_marks(agent, lease, first, n);
    if (n > 1 || size <= agent->host->slice) {
        sim_agent_sends(agent->link, &frame, bytes, n * size);
        return;
    }
    for (size_t at = 0, some; at < size; at += some) {
        some = size - at < agent->host->slice ? size - at : (size_t)agent->host->slice;
        frame.offset = at;
        sim_agent_sends(agent->link, &frame, bytes + at, some);
    }
}

static void send_ready(struct sim_agent *agent, struct lease *lease)
{
    uint64_t n = lease->hi - lease->lo, size = lease->call->body.out_size, most = size > 100 ? 1 : 40;
    for (uint64_t i = 0, k; i < n; i = k) {
        for (k = i; k < n && k - i < most && lease->state[k] == DONE; k++)
            ;
        if (k > i)
            send_items(agent, lease, lease->lo + i, k - i);
        else
            k++;
    }
}

static void end_lease(struct sim_agent *agent, struct lease *lease)
{
    unsigned char body[BODY];
    struct mm_writer w = { .at = body, .room = sizeof body };
    struct mm_done_body done = { .failed = lease->failed, .busy_ns = 1, .outcome = { .file = "", .text = "" } };
    bool stopped = lease->failed && (lease->call->body.flags & MM_CALL_FAIL_FAST);
    done.outcome.item = UINT64_MAX;
    if (lease->canceled)
        done.outcome.code = MAMUTO_ECANCELED;
    else if (lease->failed)
        done.outcome.code = MAMUTO_EITEM;
    if (!lease->canceled && !stopped)
        send_ready(agent, lease);
    mm_put_done(&w, &done);
    send_whole(agent, MM_FRAME_DONE, lease->id, &w);
    lease->over = true;
}

/* ---- work -------------------------------------------------------------------------------------------------------- */

static bool is_ready(const struct lease *lease)
{
    return !lease->over && !lease->canceled && lease->got == (lease->hi - lease->lo) * sizeof *lease->in &&
           lease->call->got == sizeof lease->call->value;
}

static void look_for_work(struct sim_agent *agent);

static void end_if_over(struct sim_agent *agent, struct lease *lease)
{
    bool stopped = lease->failed && (lease->call->body.flags & MM_CALL_FAIL_FAST);
    if (!lease->over && !lease->running && (lease->canceled || stopped || lease->n_run == lease->hi - lease->lo))
        end_lease(agent, lease);
}

static void on_chunk(void *owner)
{
    struct agent_worker *worker = owner;
    struct sim_agent *agent = worker->agent;
    struct lease *lease = worker->lease;
    if (is_dead(agent))
        return;
    if (sim_now() < agent->host->frozen_until) {
        sim_at(agent->host->frozen_until - sim_now(), on_chunk, worker);
        return;
    }
    worker->lease = NULL;
    lease->running--;
    for (uint64_t i = worker->first; i < worker->first + worker->n && !lease->canceled; i++) {
        if (lease->in[i - lease->lo] != sim_hash(i, 9))
            sim_broken("host %d has got another argument than item %llu has", agent->host->number,
                       (unsigned long long)i);
        lease->state[i - lease->lo] = DONE;
        lease->n_run++;
        if (sim_fails(i, agent->host->number))
            send_failure(agent, lease, i);
    }
    if (!agent->all_at_the_end && !lease->canceled)
        send_ready(agent, lease);
    end_if_over(agent, lease);
    look_for_work(agent);
}

/* A chunk from anywhere in the lease. */
static bool begin_chunk(struct sim_agent *agent, struct agent_worker *worker, struct lease *lease)
{
    uint64_t n = lease->hi - lease->lo, at = sim_percent(50) ? sim_below(n) : 0, most = 1 + sim_below(CHUNK);
    for (uint64_t i = 0; i < n && lease->state[at] != NOT_BEGUN; i++)
        at = (at + 1) % n;
    if (lease->state[at] != NOT_BEGUN)
        return false;
    worker->first = lease->lo + at;
    for (worker->n = 0; worker->n < most && at < n && lease->state[at] == NOT_BEGUN; worker->n++, at++) {
        lease->state[at] = BEGUN;
        sim_item_begins(lease->lo + at, agent->host->number, false);
        if (!sim_kills(lease->lo + at))
            continue;
        sim_item_kills(lease->lo + at);
        sim_agent_dies(agent->link);
        return false;
    }
    worker->lease = lease;
    lease->running++;
    sim_at(sim_about(worker->n * agent->host->item_ns), on_chunk, worker);
    return true;
}

static void look_for_work(struct sim_agent *agent)
{
    for (int w = 0; w < agent->host->workers && !is_dead(agent); w++)
        for (struct lease *lease = agent->leases; lease && !agent->workers[w].lease && !is_dead(agent);
             lease = lease->next)
            if (is_ready(lease))
                begin_chunk(agent, &agent->workers[w], lease);
}

/* ---- what comes -------------------------------------------------------------------------------------------------- */

static struct agent_call *find_call(const struct sim_agent *agent, uint64_t id)
{
    struct agent_call *call = agent->calls;
    while (call && call->id != id)
        call = call->next;
    return call;
}

static struct lease *find_lease(const struct sim_agent *agent, uint64_t id)
{
    struct lease *lease = agent->leases;
    while (lease && lease->id != id)
        lease = lease->next;
    return lease;
}

static void on_call(struct sim_agent *agent, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct agent_call *call = sim_keep(sizeof *call);
    const char *why;
    if (find_call(agent, frame->id) || mm_get_call(&call->body, body, n, &why) || call->body.n_in != 2)
        sim_broken("host %d gets a wrong CALL", agent->host->number);
    call->id = frame->id;
    call->next = agent->calls;
    agent->calls = call;
}

static void on_run(struct sim_agent *agent, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct lease *lease = sim_keep(sizeof *lease);
    struct mm_run_body run;
    const char *why;
    if (find_lease(agent, frame->id) || mm_get_run(&run, body, n, &why))
        sim_broken("host %d gets a wrong RUN", agent->host->number);
    *lease = (struct lease){ .id = frame->id, .lo = run.lo, .hi = run.hi, .call = find_call(agent, run.call) };
    if (!lease->call || run.bytes[0] != (run.hi - run.lo) * sizeof *lease->in)
        sim_broken("host %d gets a RUN of no call, or of wrong size", agent->host->number);
    lease->in = sim_keep((run.hi - run.lo) * sizeof *lease->in);
    lease->state = sim_keep(run.hi - run.lo);
    struct lease **last = &agent->leases;
    while (*last)
        last = &(*last)->next;
    *last = lease;
    sim_trace("host %d: lease %llu of %llu items from %llu of call %llu on", agent->host->number,
              (unsigned long long)lease->id, (unsigned long long)(run.hi - run.lo),
              (unsigned long long)run.lo % (1ULL << 32), (unsigned long long)(run.lo >> 32) - 1);
}

static void on_input(struct sim_agent *agent, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct lease *lease = find_lease(agent, frame->id);
    if (!lease || frame->offset != lease->got || lease->got + n > (lease->hi - lease->lo) * sizeof *lease->in)
        sim_broken("host %d gets a wrong IN", agent->host->number);
    memcpy((char *)lease->in + lease->got, body, n);
    lease->got += n;
}

static void on_value(struct sim_agent *agent, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct agent_call *call = find_call(agent, frame->id);
    if (!call)
        return; /* it was ended early */
    if (frame->offset != call->got || call->got + n > sizeof call->value)
        sim_broken("host %d gets a wrong BCAST", agent->host->number);
    memcpy((char *)&call->value + call->got, body, n);
    call->got += n;
}

static void on_cancel(struct sim_agent *agent, uint64_t id)
{
    struct lease *lease = find_lease(agent, id);
    if (!lease || lease->over)
        return;
    lease->canceled = true;
    end_if_over(agent, lease);
}

static void on_end(struct sim_agent *agent, uint64_t id)
{
    struct agent_call **at = &agent->calls;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    if (!*at)
        sim_broken("host %d gets END of no call", agent->host->number);
    *at = (*at)->next;
}

void sim_agent_frame(struct sim_agent *agent, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    switch ((enum mm_frame_type)frame->type) {
    case MM_FRAME_CALL:
        on_call(agent, frame, body, n);
        break;
    case MM_FRAME_RUN:
        on_run(agent, frame, body, n);
        break;
    case MM_FRAME_IN:
        on_input(agent, frame, body, n);
        break;
    case MM_FRAME_BCAST:
        on_value(agent, frame, body, n);
        break;
    case MM_FRAME_CANCEL:
        on_cancel(agent, frame->id);
        break;
    case MM_FRAME_END:
        on_end(agent, frame->id);
        break;
    default:
        sim_broken("host %d gets frame %s", agent->host->number, mm_frame_name(frame->type));
    }
    look_for_work(agent);
}

struct sim_agent *sim_agent_new(struct mm_link *link, struct sim_host *host)
{
    struct sim_agent *agent = sim_keep(sizeof *agent);
    unsigned char body[BODY];
    struct mm_writer w = { .at = body, .room = sizeof body };
    struct mm_up up = { .outcome = { .item = UINT64_MAX, .file = "", .text = "" }, .workers = (uint32_t)host->workers };
    agent->link = link;
    agent->host = host;
    agent->all_at_the_end = sim_percent(50);
    for (int w_of = 0; w_of < WORKERS; w_of++)
        agent->workers[w_of].agent = agent;
    mm_put_up(&w, &up);
    send_whole(agent, MM_FRAME_UP, 0, &w);
    return agent;
}
