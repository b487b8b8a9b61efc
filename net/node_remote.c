/* The node of another host: its agents, one after the other, and what is told of them.
 *
 *   STARTING ── launch, UP ──► UP ◄── modules and kept data are there ── RETURNING
 *      │                       └── its stream breaks, it is silent ──► AWAY ── launch, UP ──►─┘
 *      └── it fails ──► LOST                                            └◄── fails: again, later
 *                                                              any ── close ──► CLOSING ──► gone
 *
 * A stream is one agent's whole life: when it breaks, everything that the agent had is reported with EHOST, and nothing of
 * it can arrive any more. Operations call no event: what there is to tell is told by `soon`, a timer of no delay. Silence is
 * counted in seconds in which the loop ran and nothing came, any byte is a sign of life. All handles are unreferenced: what
 * keeps the loop alive is core's business. Called on the loop's thread.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "net/remote.h"

#include <stdarg.h>
#include <stdio.h>

enum { TICK_MS = 1000, MOST_SILENT_TICKS = 5, FIRST_BACKOFF_MS = 250, MOST_BACKOFF_MS = 60000 };

static void on_soon(uv_timer_t *timer);
static void on_again(uv_timer_t *timer);

void mm_remote_soon(struct mm_node *node)
{
    if (node->state != MM_REMOTE_CLOSING)
        uv_timer_start(&node->soon, on_soon, 0, 0);
}

int mm_remote_wrong(struct mm_node *node, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args); /* NOLINT(clang-analyzer-valist.Uninitialized): it has been started */
    va_end(args);
    if (node->channel != node->stream)
        mm_stream_fail(mm_link_stream(node->channel), "%s", text);
    return mm_stream_fail(mm_link_stream(node->stream), "%s", text);
}

/* --- losing an agent ---------------------------------------------------------------------------------------------- */

static void on_timer_closed(uv_handle_t *timer);

static void finish_if_gone(struct mm_node *node)
{
    if (node->open)
        return;
    node->events->on_closed(node->owner);
    mm_free(node->scratch);
    mm_free(node);
}

static void on_launch_gone(void *owner)
{
    struct mm_node *node = owner;
    node->open--;
    finish_if_gone(node);
}

static void close_launch(struct mm_node *node)
{
    if (node->stream) {
        node->bytes_out += mm_stream_sent(mm_link_stream(node->stream));
        node->bytes_in += mm_stream_received(mm_link_stream(node->stream));
    }
    node->channel = node->stream = NULL;
    node->up = node->died = false;
    node->workers = 0;
    if (node->launch)
        mm_launch_close(node->launch, on_launch_gone, node);
    node->launch = NULL;
}

static unsigned backoff_ms(unsigned failures)
{
    uint64_t ms = (uint64_t)FIRST_BACKOFF_MS << (failures < 16 ? failures : 16);
    return ms < MOST_BACKOFF_MS ? (unsigned)ms : MOST_BACKOFF_MS;
}

/* Its launch has failed, or its agent is gone. */
static void lose(struct mm_node *node, const mamuto_error_t *err)
{
    snprintf(node->reason, sizeof node->reason, "%s", err->text);
    if (node->stream) {
        mamuto_error_t why = { 0 };
        mm_error_set(&why, MAMUTO_EHOST, "%s", err->text);
        mm_remote_end_runs(node, &why);
        mm_remote_modules_lost(node);
        mm_remote_keeps_lost(node);
    }
    close_launch(node);
    if (node->state == MM_REMOTE_STARTING) {
        node->state = MM_REMOTE_LOST;
        node->error = *err;
        node->up_owed = true;
    } else {
        node->state_owed |= node->state == MM_REMOTE_UP;
        node->state = MM_REMOTE_AWAY;
        uv_timer_start(&node->again, on_again, backoff_ms(node->failures++), 0);
    }
    mm_remote_soon(node);
}

void mm_remote_lose_agent(struct mm_node *node, const mamuto_error_t *err)
{
    mamuto_error_t why = { 0 };
    if (!node->stream || node->state == MM_REMOTE_CLOSING)
        return;
    const char *words = mm_launch_last_words(node->launch);
    mm_error_set(&why, MAMUTO_EHOST, "host %s: %s%s%s", node->host->label,
                 err->text[0] ? err->text : "its agent is gone", *words ? "; " : "", words);
    lose(node, &why);
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

static int on_up(struct mm_node *node, const unsigned char *body, size_t n)
{
    struct mm_up up;
    mamuto_error_t err = { 0 };
    const char *why = "";
    if (mm_get_up(&up, body, n, &why) || node->up)
        return mm_remote_wrong(node, "UP: %s", node->up ? "again" : why);
    if (up.outcome.code) {
        mm_outcome_to_error(&up.outcome, &err);
        mm_remote_lose_agent(node, &err);
        return 0;
    }
    node->up = true;
    node->workers = (int)up.workers;
    if (node->state == MM_REMOTE_AWAY) {
        node->state = MM_REMOTE_RETURNING;
        if (mm_remote_send_modules(node) || mm_remote_send_keeps(node))
            return mm_remote_wrong(node, "no memory for what it is to be sent again");
    }
    mm_remote_soon(node);
    return 0;
}

static int on_out(struct mm_node *node, const unsigned char *body, size_t n)
{
    struct mm_out_body out;
    const char *why = "";
    unsigned char credit[8];
    struct mm_writer w = { .at = credit, .room = sizeof credit };
    if (mm_get_out(&out, body, n, &why))
        return mm_remote_wrong(node, "OUT: %s", why);
    mm_put_credit(&w, n);
    int code = mm_stream_send(mm_link_stream(node->stream), MM_FRAME_CREDIT, 0, credit, w.n);
    if (node->events->on_output)
        node->events->on_output(node->owner, (int)out.worker, (int)out.fd, out.text, out.n);
    return code;
}

static int on_bye(struct mm_node *node, const unsigned char *body, size_t n)
{
    struct mm_bye bye;
    mamuto_error_t err = { 0 };
    const char *why = "";
    if (mm_get_bye(&bye, body, n, &why))
        return mm_remote_wrong(node, "BYE: %s", why);
    node->died = true;
    mm_bye_to_error(&bye, &err);
    return mm_remote_wrong(node, "the agent left: %s", err.text);
}

static int on_frame(void *owner, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct mm_node *node = owner;
    switch (frame->type) {
    case MM_FRAME_UP:
        return on_up(node, body, n);
    case MM_FRAME_FUNCTION:
        return mm_remote_on_function(node, frame, body, n);
    case MM_FRAME_LOADED:
        return mm_remote_on_loaded(node, frame, body, n);
    case MM_FRAME_KEPT:
        return mm_remote_on_kept(node, frame, body, n);
    case MM_FRAME_FAIL:
        return mm_remote_on_fail(node, frame, body, n);
    case MM_FRAME_DONE:
        return mm_remote_on_done(node, frame, body, n);
    case MM_FRAME_OUT:
        return on_out(node, body, n);
    case MM_FRAME_BYE:
        return on_bye(node, body, n);
    default:
        return mm_remote_wrong(node, "frame %s does not belong here", mm_frame_name(frame->type));
    }
}

static int on_payload(void *owner, const struct mm_frame *frame, size_t done, void **to)
{
    return mm_remote_on_result(owner, frame, done, to); /* no other has one */
}

static int on_payload_end(void *owner, const struct mm_frame *frame) { return mm_remote_on_result_end(owner, frame); }

static void on_end(void *owner, const mamuto_error_t *err)
{
    struct mm_node *node = owner;
    node->died |= err->code == MAMUTO_EHOST && node->stream && !mm_stream_is_cut(mm_link_stream(node->channel)) &&
                  !mm_stream_is_cut(mm_link_stream(node->stream));
    mm_remote_lose_agent(node, err);
}

static const struct mm_link_events link_events = {
    .stream = { .on_frame = on_frame, .on_payload = on_payload, .on_payload_end = on_payload_end }, .on_end = on_end
};

/* --- launches ----------------------------------------------------------------------------------------------------- */

static void on_ready(void *owner)
{
    struct mm_node *node = owner;
    node->channel = mm_launch_channel(node->launch);
    node->stream = mm_launch_stream(node->launch);
    node->memory = mm_launch_info(node->launch)->memory;
    mm_link_set_events(node->channel, &link_events, node);
    mm_link_set_events(node->stream, &link_events, node);
    mm_link_wake(node->stream);
}

static void on_failed(void *owner, const mamuto_error_t *err) { lose(owner, err); }

static const struct mm_launch_events launch_events = { on_ready, on_failed };

static int begin_launch(struct mm_node *node, mamuto_error_t *err)
{
    int code = mm_launch_begin(&node->launch, node->loop, node->host, node->events->on_output != NULL, &launch_events,
                               node, err);
    if (!code)
        node->open++;
    return code;
}

static void on_again(uv_timer_t *timer)
{
    struct mm_node *node = timer->data;
    mamuto_error_t err = { 0 };
    if (begin_launch(node, &err))
        lose(node, &err);
}

/* --- what is told ------------------------------------------------------------------------------------------------- */

static void come_up(struct mm_node *node)
{
    bool first = node->state == MM_REMOTE_STARTING;
    node->state = MM_REMOTE_UP;
    node->failures = 0;
    node->reason[0] = '\0';
    node->up_ns = uv_hrtime();
    if (first)
        node->events->on_up(node->owner, 0, NULL);
    else
        node->events->on_state(node->owner);
}

static void on_soon(uv_timer_t *timer)
{
    struct mm_node *node = timer->data;
    mm_remote_report_modules(node);
    mm_remote_report_runs(node);
    mm_remote_report_keeps(node);
    if (node->up_owed) {
        node->up_owed = false;
        node->events->on_up(node->owner, node->error.code, &node->error);
    }
    if (node->state_owed) {
        node->state_owed = false;
        node->events->on_state(node->owner);
    }
    bool all_there = mm_remote_modules_there(node) && mm_remote_keeps_there(node);
    if (node->up && (node->state == MM_REMOTE_STARTING || (node->state == MM_REMOTE_RETURNING && all_there)))
        come_up(node);
}

static void on_tick(uv_timer_t *timer)
{
    struct mm_node *node = timer->data;
    if (!node->stream)
        return;
    mm_link_tick(node->stream);
    if (node->channel != node->stream)
        mm_link_tick(node->channel);
    if (mm_link_silence(node->stream) < MOST_SILENT_TICKS)
        return;
    mamuto_error_t err = { 0 };
    mm_error_set(&err, MAMUTO_EHOST, "nothing was heard of it for %d s", MOST_SILENT_TICKS * TICK_MS / 1000);
    mm_remote_lose_agent(node, &err);
}

static void describe(struct mm_node *node, struct mm_node_state *state)
{
    static const char *const names[] = { "starting", "up", "lost", "lost", "lost", "lost" };
    bool closing = node->state == MM_REMOTE_CLOSING;
    *state = (struct mm_node_state){ .state = names[node->state],
                                     .workers = node->state == MM_REMOTE_UP ? node->workers : 0,
                                     .items = node->items,
                                     .bytes_out = node->bytes_out,
                                     .bytes_in = node->bytes_in };
    if (node->state > MM_REMOTE_UP)
        state->reason = closing ? "the mapper is being closed" : node->reason;
    if (node->state == MM_REMOTE_UP) {
        state->reason = mm_launch_note(node->launch);
        state->transport = mm_launch_transport(node->launch);
        state->login_ms = mm_launch_info(node->launch)->login_ms;
    }
    if (!node->stream)
        return;
    state->bytes_out += mm_stream_sent(mm_link_stream(node->stream));
    state->bytes_in += mm_stream_received(mm_link_stream(node->stream));
    state->rtt_us = mm_link_rtt_us(node->stream);
    double since = (double)(uv_hrtime() - node->up_ns) * node->workers;
    if (node->up_ns && since > 0)
        state->busy = (double)node->busy_ns / since < 1 ? (double)node->busy_ns / since : 1;
}

static int workers(const struct mm_node *node) { return node->state == MM_REMOTE_UP ? node->workers : 0; }

static bool spans(struct mm_node *node, const struct mm_run *run)
{
    (void)node, (void)run;
    return true; /* they are logged as they land */
}

/* --- open and close ----------------------------------------------------------------------------------------------- */

static void init_timer(struct mm_node *node, uv_timer_t *timer)
{
    uv_timer_init(node->loop, timer);
    uv_unref((uv_handle_t *)timer);
    timer->data = node;
    node->open++;
}

static int open_node(struct mm_node **out, const struct mm_config_host *config, uv_loop_t *loop,
                     const struct mm_node_events *events, void *owner, mamuto_error_t *err)
{
    struct mm_node *node = mm_alloc(sizeof *node);
    if (!node)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory for host %s", config->label);
    node->loop = loop;
    node->host = config;
    node->events = events;
    node->owner = owner;
    node->last_lease = &node->leases;
    init_timer(node, &node->tick);
    init_timer(node, &node->soon);
    init_timer(node, &node->again);
    uv_timer_start(&node->tick, on_tick, TICK_MS, TICK_MS);
    *out = node; /* also after a failure: what was begun is taken down by close */
    return begin_launch(node, err);
}

static void on_timer_closed(uv_handle_t *timer)
{
    struct mm_node *node = timer->data;
    node->open--;
    finish_if_gone(node);
}

static void close_node(struct mm_node *node)
{
    node->state = MM_REMOTE_CLOSING;
    mm_remote_end_runs(node, NULL);
    if (node->stream) {
        mm_remote_modules_lost(node);
        mm_remote_keeps_lost(node);
    }
    close_launch(node);
    mm_remote_free_keeps(node);
    mm_remote_free_modules(node);
    uv_close((uv_handle_t *)&node->tick, on_timer_closed);
    uv_close((uv_handle_t *)&node->soon, on_timer_closed);
    uv_close((uv_handle_t *)&node->again, on_timer_closed);
}

const struct mm_node_ops mm_node_remote = { .kind = "remote",
                                            .open = open_node,
                                            .close = close_node,
                                            .load = mm_remote_load,
                                            .run = mm_remote_run,
                                            .cancel = mm_remote_cancel,
                                            .end_call = mm_remote_end_call,
                                            .keep = mm_remote_keep,
                                            .cancel_keep = mm_remote_cancel_keep,
                                            .drop = mm_remote_drop,
                                            .workers = workers,
                                            .progress = mm_remote_progress,
                                            .spans = spans,
                                            .describe = describe };
