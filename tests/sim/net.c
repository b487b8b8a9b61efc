/* Launches, links and streams as net/ has them (net/launch.h, net/link.h, net/stream.h), without a descriptor: frames
 * that arrive after a while, in order on one link, in no order among links; payloads piece by piece. A link can be
 * cut (nothing arrives any more, in either direction), reset, or end with its agent, in mid-frame too. The real node
 * of another host is on top of it. Links stay until the end of the seed, as late events look at them. */
#include "core/error.h"
#include "net/remote.h"
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_SLICE = 1000, SCRATCH = 1 << 16 };

struct parcel {
    struct parcel *next;
    struct mm_frame frame;
    struct mm_source *source; /* of one that is still to be read */
    uint64_t from, left, at;
    size_t n;
    unsigned char body[];
};

struct queue {
    struct parcel *first, **last;
    uint64_t arrives; /* the last of it */
};

struct mm_stream {
    mamuto_error_t error;
};

struct mm_link {
    struct mm_stream stream;
    struct sim_host *host;
    struct sim_agent *agent;
    struct mm_link_events events;
    void *owner;
    struct queue whole, sources, there, here;      /* to be written; on its way there, and here */
    bool writing, closed, ended, cut, reset, dead; /* dead: the agent is */
    size_t done;                                   /* of the payload that is coming */
    unsigned silence;
};

struct mm_launch {
    struct sim_host *host;
    const struct mm_launch_events *events;
    void *owner;
    struct mm_link *link;
    bool closed;
    void (*on_gone)(void *owner);
    void *gone_owner;
};

struct sim_host sim_hosts[SIM_HOSTS];
unsigned sim_crashes;

/* ---- queues ------------------------------------------------------------------------------------------------------ */

static struct parcel *put(struct queue *queue, const struct mm_frame *frame, const void *body, size_t n)
{
    struct parcel *parcel = sim_keep(sizeof *parcel + n);
    parcel->frame = *frame;
    parcel->n = n;
    if (n)
        memcpy(parcel->body, body, n);
    if (!queue->first)
        queue->last = &queue->first;
    *queue->last = parcel;
    queue->last = &parcel->next;
    return parcel;
}

static void drop_first(struct queue *queue) { queue->first = queue->first->next; }

static uint64_t arrival(struct queue *queue, const struct sim_host *host)
{
    uint64_t at = sim_now() + sim_about(host->trip_ns / 2 + 1);
    queue->arrives = at > queue->arrives ? at : queue->arrives + 1;
    return queue->arrives - sim_now();
}

/* ---- to the agent ------------------------------------------------------------------------------------------------ */

bool sim_is_over(const struct mm_link *link) { return link->closed || link->dead; }

static void arrive_there(void *owner)
{
    struct mm_link *link = owner;
    struct parcel *parcel = link->there.first;
    drop_first(&link->there);
    if (!link->dead && !link->cut)
        sim_agent_frame(link->agent, &parcel->frame, parcel->body, parcel->n);
}

static void send_there(struct mm_link *link, const struct mm_frame *frame, const void *body, size_t n)
{
    put(&link->there, frame, body, n);
    sim_at(arrival(&link->there, link->host), arrive_there, link);
}

/* One slice of a source; those of other turns come in between. */
static void write_slice(struct mm_link *link)
{
    static char scratch[SCRATCH];
    struct parcel **at = &link->sources.first, *parcel;
    while (sim_percent(30) && (*at)->next && (*at)->next->source->turn != (*at)->source->turn)
        at = &(*at)->next;
    for (struct parcel *earlier = link->sources.first; earlier != *at; earlier = earlier->next)
        if (earlier->source->turn == (*at)->source->turn) { /* those of one turn go in order */
            at = &link->sources.first;
            break;
        }
    parcel = *at;
    const void *bytes;
    size_t n = parcel->left < MOST_SLICE ? (size_t)parcel->left : MOST_SLICE;
    n = parcel->source->get(parcel->source, parcel->from, n, &bytes, scratch);
    sim_check_read(bytes);
    struct mm_frame frame = parcel->frame;
    frame.offset += parcel->from;
    frame.length = mm_frame_prefix(frame.type) + (uint32_t)n;
    send_there(link, &frame, bytes, n);
    parcel->from += n;
    parcel->left -= n;
    if (parcel->left)
        return;
    *at = parcel->next;
    if (!*at)
        link->sources.last = at;
    parcel->source->sent(parcel->source);
}

static void write_some(void *owner)
{
    struct mm_link *link = owner;
    link->writing = false;
    if (link->closed || link->ended)
        return;
    while (link->whole.first && !sim_percent(10)) {
        send_there(link, &link->whole.first->frame, link->whole.first->body, link->whole.first->n);
        drop_first(&link->whole);
    }
    if (!link->whole.first && link->sources.first)
        write_slice(link);
    if (link->whole.first || link->sources.first)
        mm_link_wake(link);
}

int mm_stream_send(struct mm_stream *stream, enum mm_frame_type type, uint64_t id, const void *body, size_t n)
{
    struct mm_link *link = (struct mm_link *)stream;
    struct mm_frame frame = { .type = (uint8_t)type, .id = id, .length = (uint32_t)n };
    put(&link->whole, &frame, body, n);
    return 0;
}

int mm_stream_send_source(struct mm_stream *stream, const struct mm_frame *frame, struct mm_source *source,
                          uint64_t from, uint64_t n)
{
    struct mm_link *link = (struct mm_link *)stream;
    struct parcel *parcel = put(&link->sources, frame, NULL, 0);
    parcel->source = source;
    parcel->from = from;
    parcel->left = n;
    return 0;
}

void mm_stream_drop_source(struct mm_stream *stream, struct mm_source *source)
{
    struct mm_link *link = (struct mm_link *)stream;
    struct parcel **at = &link->sources.first;
    if (sim_plant == SIM_PLANT_sources_stay)
        return;
    while (*at)
        if ((*at)->source == source)
            *at = (*at)->next;
        else
            at = &(*at)->next;
    link->sources.last = at;
}

/* ---- from the agent ---------------------------------------------------------------------------------------------- */

static void end_link(struct mm_link *link, const char *why)
{
    if (link->closed || link->ended)
        return;
    link->ended = true;
    mm_error_set(&link->stream.error, MAMUTO_EHOST, "%s", why);
    sim_trace("host %d: link ends: %s", link->host->number, link->stream.error.text);
    link->events.on_end(link->owner, &link->stream.error);
}

static void arrive_here(void *owner);

/* A piece of a payload, to where it belongs. True: it is whole. */
static bool take_payload(struct mm_link *link, struct parcel *parcel, int *code)
{
    const struct sim_host *host = link->host;
    void *to = NULL;
    *code = link->events.stream.on_payload(link->owner, &parcel->frame, link->done, &to);
    size_t n = sim_percent(host->slow_sender ? 80 : 20) ? 1 + (size_t)sim_below(parcel->n - link->done) : parcel->n;
    n = n < parcel->n - link->done ? n : parcel->n - link->done;
    if (sim_percent(20))
        n = 0; /* asked again before anything has come */
    if (*code || (link->done + n < parcel->n && !n))
        return false;
    if (to && n) {
        sim_check_write(to, n, host->number);
        memcpy(to, parcel->body + link->done, n);
    }
    link->done += n;
    return link->done == parcel->n;
}

static int take(struct mm_link *link, struct parcel *parcel, bool *whole)
{
    const struct mm_frame *frame = &parcel->frame;
    int code = 0;
    *whole = true;
    if (!mm_frame_prefix(frame->type))
        return link->events.stream.on_frame(link->owner, frame, parcel->body, parcel->n);
    *whole = take_payload(link, parcel, &code);
    if (code || !*whole)
        return code;
    link->done = 0;
    return link->events.stream.on_payload_end(link->owner, frame);
}

static void next_here(struct mm_link *link)
{
    uint64_t at = link->here.first->at;
    sim_at(at > sim_now() ? at - sim_now() : 0, arrive_here, link);
}

static void arrive_here(void *owner)
{
    struct mm_link *link = owner;
    struct parcel *parcel = link->here.first;
    bool whole;
    if (link->closed || link->ended || link->cut)
        return;
    if (!parcel->frame.type) {
        end_link(link, "the far side has ended it");
        return;
    }
    int before = sim_act_for(link->host->number, parcel->frame.type == MM_FRAME_FAIL);
    int code = take(link, parcel, &whole);
    sim_act_for(before, false);
    link->silence = 0;
    if (code) {
        if (link->stream.error.code == MAMUTO_EPROTOCOL && !sim_is_poor)
            sim_broken("host %d, which has kept the protocol, is told: %s", link->host->number,
                       link->stream.error.text);
        end_link(link, "");
        return;
    }
    if (link->closed || link->ended)
        return;
    if (!whole) {
        sim_at(sim_about(link->host->slow_sender ? 30 * SIM_MS : 20 * SIM_US), arrive_here, link);
        return;
    }
    drop_first(&link->here);
    if (link->here.first)
        next_here(link);
}

void sim_agent_sends(struct mm_link *link, const struct mm_frame *frame, const void *body, size_t n)
{
    bool idle = !link->here.first;
    if (link->dead && frame->type)
        return;
    struct parcel *parcel = put(&link->here, frame, body, n);
    parcel->frame.length = mm_frame_prefix(frame->type) + (uint32_t)n;
    (void)arrival(&link->here, link->host);
    parcel->at = link->here.arrives;
    if (idle)
        next_here(link);
}

/* What has not left yet is lost, in mid-frame too: the last that was sent may come in part. */
void sim_agent_dies(struct mm_link *link)
{
    struct mm_frame end = { 0 };
    if (link->dead)
        return;
    link->dead = true;
    sim_trace("host %d: the agent dies", link->host->number);
    if (sim_percent(50) && link->here.first && link->here.first->next) {
        link->here.first->next = NULL;
        link->here.last = &link->here.first->next;
    }
    sim_agent_sends(link, &end, NULL, 0);
}

static void reset(void *owner)
{
    struct mm_link *link = owner;
    link->reset = true;
    end_link(link, "no route to host");
}

void sim_fault(struct sim_host *host, enum sim_fault fault)
{
    static const char *const names[] = { "cut", "reset", "crash", "freeze" };
    struct mm_link *link = host->link;
    if (!link || link->closed)
        return;
    sim_trace("host %d: fault %s", host->number, names[fault]);
    switch (fault) {
    case SIM_CUT:
        link->cut = true;
        if (sim_percent(50))
            host->unreachable_until = sim_now() + sim_below(20) * SIM_S;
        break;
    case SIM_RESET:
        link->dead = true;
        sim_at(0, reset, link);
        break;
    case SIM_CRASH:
        sim_crashes++;
        sim_agent_dies(link);
        break;
    case SIM_FREEZE:
        host->frozen_until = sim_now() + sim_about(SIM_S);
        break;
    case SIM_N_FAULTS:
        break;
    }
}

/* ---- streams and links ------------------------------------------------------------------------------------------- */

int mm_stream_fail(struct mm_stream *stream, const char *format, ...)
{
    va_list args;
    if (stream->error.code)
        return MAMUTO_EPROTOCOL;
    va_start(args, format);
    vsnprintf(stream->error.text, sizeof stream->error.text, format, args);
    va_end(args);
    return stream->error.code = MAMUTO_EPROTOCOL;
}

const mamuto_error_t *mm_stream_error(const struct mm_stream *stream) { return &stream->error; }
uint64_t mm_stream_received(const struct mm_stream *stream) { return stream->error.code != 0; }
uint64_t mm_stream_sent(const struct mm_stream *stream) { return stream->error.code != 0; }
struct mm_stream *mm_link_stream(struct mm_link *link) { return &link->stream; }
bool mm_stream_is_cut(const struct mm_stream *stream) { return ((const struct mm_link *)stream)->reset; }
double mm_link_rtt_us(const struct mm_link *link) { return (double)link->host->trip_ns / 1000; }
unsigned mm_link_silence(struct mm_link *link) { return link->silence; }

/* PING and PONG: the agent answers, unless it cannot. */
void mm_link_tick(struct mm_link *link)
{
    bool answers = !link->cut && !link->dead && sim_now() >= link->host->frozen_until;
    link->silence = answers ? 0 : link->silence + 1;
}

void mm_link_set_events(struct mm_link *link, const struct mm_link_events *events, void *owner)
{
    link->events = *events;
    link->owner = owner;
}

void mm_link_wake(struct mm_link *link)
{
    if (link->writing || link->closed)
        return;
    link->writing = true;
    sim_at(sim_below(20) * SIM_US, write_some, link);
}

/* ---- launches ---------------------------------------------------------------------------------------------------- */

static void launch_now(void *owner)
{
    struct mm_launch *launch = owner;
    struct sim_host *host = launch->host;
    mamuto_error_t err = { 0 };
    if (launch->closed)
        return;
    if (sim_now() < host->unreachable_until || (host->launches && host->no_return)) {
        mm_error_set(&err, MAMUTO_EHOST, "host %d is not reached", host->number);
        launch->events->on_failed(launch->owner, &err);
        return;
    }
    host->launches++;
    host->frozen_until = 0;
    struct mm_link *link = launch->link = host->link = sim_keep(sizeof *link);
    link->host = host;
    link->agent = sim_agent_new(link, host);
    sim_trace("host %d: launched", host->number);
    launch->events->on_ready(launch->owner);
}

int mm_launch_begin(struct mm_launch **out, uv_loop_t *loop, const struct mm_config_host *config, bool output,
                    const struct mm_launch_events *events, void *owner, mamuto_error_t *err)
{
    struct mm_launch *launch = *out = sim_keep(sizeof *launch);
    (void)loop, (void)output, (void)err;
    launch->host = &sim_hosts[config->port];
    launch->events = events;
    launch->owner = owner;
    sim_at(sim_about(50 * SIM_MS), launch_now, launch);
    return 0;
}

const char *mm_launch_note(const struct mm_launch *launch)
{
    (void)launch;
    return NULL;
}

const char *mm_launch_transport(const struct mm_launch *launch)
{
    (void)launch;
    return "sim";
}

struct mm_link *mm_launch_channel(struct mm_launch *launch) { return launch->link; }
struct mm_link *mm_launch_stream(struct mm_launch *launch) { return launch->link; }
const char *mm_launch_last_words(struct mm_launch *launch) { return launch->closed ? "closed" : ""; }
const struct mm_launched *mm_launch_info(const struct mm_launch *launch)
{
    static const struct mm_launched info = { .memory = UINT64_C(1) << 40 };
    (void)launch;
    return &info;
}

static void gone(void *owner)
{
    struct mm_launch *launch = owner;
    launch->on_gone(launch->gone_owner);
}

void mm_launch_close(struct mm_launch *launch, void (*on_gone)(void *owner), void *owner)
{
    launch->closed = true;
    if (launch->link) {
        launch->link->closed = true;
        launch->host->link = NULL;
        launch->host->losses++;
    }
    launch->on_gone = on_gone;
    launch->gone_owner = owner;
    sim_at(sim_about(SIM_MS), gone, launch);
}
