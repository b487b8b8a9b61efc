/* The agent's life: one poll loop over its streams, its workers' pipes and its engine.
 *
 *   HELLO ──► START ──► BIND ──► serves ──► the channel ends, a wrong frame, silence, a fork server that died ──► leaves
 *
 * The channel is the lifeline: when it ends, the agent stops its workers and leaves, as it does when nothing has come for the
 * deadline that START names. It holds no file but what the cache keeps. Why it leaves it says in BYE, if it can.
 */
#include "net/agent.h"

#include "core/alloc.h"
#include "core/error.h"
#include "net/launch_words.h"
#include "shm/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
    DEFAULT_DEADLINE_MS = 60000,
    BYE_MS = 500,
    LOOK_MS = 1000,
    MOST_FDS = 8 + 2 * MM_MAX_LANES + MM_AGENT_LISTEN_FDS
};

struct mm_stream *mm_agent_stream(struct mm_agent *agent) { return agent->stream ? agent->stream : agent->channel; }

void mm_agent_leave(struct mm_agent *agent, const mamuto_error_t *why)
{
    agent->leaving = true;
    if (why)
        mm_error_copy(&agent->error, why);
}

int mm_agent_wrong(struct mm_agent *agent, const char *format, ...)
{
    mamuto_error_t err = { 0 };
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    mm_error_set(&err, MAMUTO_EPROTOCOL, "%s", text);
    mm_agent_leave(agent, &err);
    return MAMUTO_EPROTOCOL;
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

static int on_start(struct mm_agent *agent, const unsigned char *body, size_t n)
{
    struct mm_start start;
    mamuto_error_t err = { 0 };
    const char *why = "";
    if (agent->started)
        return mm_agent_wrong(agent, "START again");
    if (mm_get_start(&start, body, n, &why))
        return mm_agent_wrong(agent, "START: %s", why);
    if (strcmp(start.nonce, agent->nonce) != 0)
        return mm_agent_wrong(agent, "START of another agent");
    agent->started = true;
    agent->deadline_ms = start.deadline_ms;
    agent->memory = start.memory ? start.memory : mm_memory_budget() / 4;
    int code = mm_agent_start_engine(agent, &start, &err); /* exec'd before the key is anywhere but in this process */
    if (!code && start.kind != MM_STREAM_CHANNEL)
        code = mm_agent_listen(agent, &start, &err);
    explicit_bzero(start.key, sizeof start.key);
    if (code)
        mm_agent_leave(agent, &err);
    return code;
}

static int on_credit(struct mm_agent *agent, const unsigned char *body, size_t n)
{
    uint64_t bytes = 0;
    const char *why = "";
    if (mm_get_credit(&bytes, body, n, &why))
        return mm_agent_wrong(agent, "CREDIT: %s", why);
    mm_agent_outputs_credit(&agent->outputs, bytes);
    return 0;
}

static int on_early(struct mm_agent *agent, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    switch (frame->type) {
    case MM_FRAME_PING:
        return mm_stream_send(mm_agent_stream(agent), MM_FRAME_PONG, frame->id, NULL, 0);
    case MM_FRAME_PONG:
        return 0;
    case MM_FRAME_START:
        return on_start(agent, body, n);
    case MM_FRAME_BYE:
        mm_agent_leave(agent, NULL);
        return 0;
    case MM_FRAME_BIND:
        if (!agent->started || agent->stream)
            return mm_agent_wrong(agent, "BIND before START, or again");
        mm_agent_end_listening(agent);
        mm_agent_take_stream(agent, agent->channel);
        return 0;
    default:
        return mm_agent_wrong(agent, "%s before BIND", mm_frame_name(frame->type));
    }
}

static int on_frame(void *owner, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct mm_agent *agent = owner;
    if (!agent->stream)
        return on_early(agent, frame, body, n);
    switch (frame->type) {
    case MM_FRAME_MODULE:
        return mm_agent_on_module(agent, frame, body, n);
    case MM_FRAME_CALL:
        return mm_agent_on_call(agent, frame, body, n);
    case MM_FRAME_RUN:
        return mm_agent_on_run(agent, frame, body, n);
    case MM_FRAME_CANCEL:
        return mm_agent_on_cancel(agent, frame->id);
    case MM_FRAME_END:
        return mm_agent_on_end(agent, frame->id);
    case MM_FRAME_FORGET:
        return mm_agent_on_forget(agent, frame->id);
    case MM_FRAME_CREDIT:
        return on_credit(agent, body, n);
    default:
        return on_early(agent, frame, body, n);
    }
}

static int on_payload(void *owner, const struct mm_frame *frame, size_t done, void **to)
{
    struct mm_agent *agent = owner;
    if (!agent->stream)
        return mm_agent_wrong(agent, "%s before BIND", mm_frame_name(frame->type));
    switch (frame->type) {
    case MM_FRAME_FILE:
        return mm_agent_on_file(agent, frame, done, to);
    case MM_FRAME_KEEP:
        return mm_agent_on_keep(agent, frame, done, to);
    default:
        return mm_agent_on_input(agent, frame, done, to);
    }
}

static int on_payload_end(void *owner, const struct mm_frame *frame)
{
    switch (frame->type) {
    case MM_FRAME_FILE:
        return mm_agent_on_file_end(owner, frame);
    case MM_FRAME_KEEP:
        return mm_agent_on_keep_end(owner, frame);
    default:
        return mm_agent_on_input_end(owner, frame);
    }
}

static const struct mm_stream_events stream_events = { on_frame, on_payload, on_payload_end, NULL };

void mm_agent_take_stream(struct mm_agent *agent, struct mm_stream *stream)
{
    mm_stream_set_events(stream, &stream_events, agent);
    agent->stream = stream;
    mm_agent_tell_up(agent);
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

static nfds_t stream_fds(struct mm_stream *stream, struct pollfd *fds)
{
    const struct mm_wire *wire = mm_stream_wire(stream);
    short in = 0, out = 0;
    mm_stream_wants(stream, &in, &out);
    fds[0] = (struct pollfd){ .fd = wire->fd_in, .events = in };
    fds[1] = (struct pollfd){ .fd = wire->fd_out, .events = out };
    return 2;
}

/* Reads and writes what can be. true: there is more to do at once. */
static bool turn_stream(struct mm_agent *agent, struct mm_stream *stream, const struct pollfd *fds, bool again)
{
    bool more_in = false, more_out = false;
    int code = 0;
    if (fds[0].revents || again)
        code = mm_stream_read(stream, &more_in);
    if (!code && !agent->leaving)
        code = mm_stream_write(stream, &more_out);
    if (code && !agent->leaving)
        mm_agent_leave(agent, mm_stream_error(stream)->code == MAMUTO_EPROTOCOL ? mm_stream_error(stream) : NULL);
    return more_in || more_out;
}

/* Silence is counted while we run: a machine that slept has not waited. */
static void look_at_silence(struct mm_agent *agent)
{
    uint64_t now = mm_now_ns(), received = mm_stream_received(mm_agent_stream(agent));
    if (received != agent->received)
        agent->heard_ns = now;
    agent->received = received;
    if (now - agent->heard_ns > (uint64_t)agent->deadline_ms * 1000000)
        mm_agent_leave(agent, NULL);
}

static int timeout_ms(const struct mm_agent *agent, bool again)
{
    int engine = agent->has_pool ? mm_agent_engine_timeout_ms(agent) : -1;
    int deadline = agent->deadline_ms < LOOK_MS ? (int)agent->deadline_ms / 2 + 1 : LOOK_MS;
    if (again)
        return 0;
    return engine >= 0 && engine < deadline ? engine : deadline;
}

static void serve(struct mm_agent *agent)
{
    static struct pollfd fds[MOST_FDS];
    bool again = false;
    while (!agent->leaving) {
        nfds_t n = stream_fds(agent->channel, fds), stream = n;
        bool apart = agent->stream && agent->stream != agent->channel;
        if (apart)
            n += stream_fds(agent->stream, fds + n);
        nfds_t engine = n;
        mm_agent_engine_fds(agent, fds + n);
        n += MM_AGENT_ENGINE_FDS;
        n += mm_agent_outputs_fds(&agent->outputs, fds + n);
        n += mm_agent_listen_fds(agent, fds + n);
        if (poll(fds, n, timeout_ms(agent, again)) < 0 && errno != EINTR)
            return;
        mm_agent_on_engine(agent, fds + engine);
        mm_agent_outputs_read(agent, false);
        again = !agent->leaving && turn_stream(agent, agent->channel, fds, again);
        if (apart && !agent->leaving && turn_stream(agent, agent->stream, fds + stream, again))
            again = true;
        mm_agent_on_listen(agent);
        if (!agent->leaving && mm_agent_end_sent(agent))
            return;
        look_at_silence(agent);
    }
}

/* Why it leaves, as far as it can be said. */
static void say_bye(struct mm_agent *agent)
{
    unsigned char body[1024];
    struct mm_writer w = { .at = body, .room = sizeof body };
    bool more = true;
    uint64_t begun = mm_now_ns();
    mm_put_bye(&w, agent->error.code, agent->error.text);
    if (!agent->error.code || mm_stream_send(mm_agent_stream(agent), MM_FRAME_BYE, 0, body, w.n))
        return;
    while (mm_stream_queued(mm_agent_stream(agent)) && (mm_now_ns() - begun) / 1000000 < BYE_MS) {
        struct pollfd fds[2];
        if (mm_stream_write(mm_agent_stream(agent), &more))
            return;
        stream_fds(mm_agent_stream(agent), fds);
        if (mm_stream_queued(mm_agent_stream(agent)))
            poll(&fds[1], 1, BYE_MS / 10);
    }
}

/* --- the beginning and the end ------------------------------------------------------------------------------------ */

static int begin(struct mm_agent *agent, int fd_in, int fd_out)
{
    char line[128];
    int n = snprintf(line, sizeof line, MM_LAUNCH_MAGIC_A MM_LAUNCH_MAGIC_B " %s agent %d.%d\n", agent->nonce,
                     MM_PROTOCOL, 0);
    struct mm_wire *wire = mm_wire_of_fds(fd_in, fd_out);
    if (!wire)
        return MAMUTO_ENOMEM;
    agent->channel = mm_stream_new(wire, MM_BY_MASTER, MM_ON_BOTH, &stream_events, agent);
    if (!agent->channel)
        return MAMUTO_ENOMEM;
    int code = mm_stream_send_raw(agent->channel, line, (size_t)n);
    return code ? code : mm_agent_say_hello(agent);
}

static bool find_self(struct mm_agent *agent)
{
    ssize_t n = readlink("/proc/self/exe", agent->self, sizeof agent->self - 1);
    return n > 0;
}

int mm_agent_main(int fd_in, int fd_out, const char *nonce)
{
    struct mm_agent *agent = mm_alloc(sizeof *agent);
    if (!agent || strlen(nonce) >= MM_AGENT_NONCE || !find_self(agent))
        return 1;
    memcpy(agent->nonce, nonce, strlen(nonce) + 1);
    agent->deadline_ms = DEFAULT_DEADLINE_MS;
    agent->heard_ns = mm_now_ns();
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_DUMPABLE, 0); /* it holds the stream's key for a while */
    if (begin(agent, fd_in, fd_out) == 0) {
        serve(agent);
        say_bye(agent);
    }
    int status = agent->error.code ? 1 : 0;
    mm_agent_free_runs(agent);
    mm_agent_end_listening(agent);
    if (agent->stream && agent->stream != agent->channel)
        mm_stream_free(agent->stream);
    if (agent->channel)
        mm_stream_free(agent->channel);
    mm_agent_free_objects(agent);
    mm_agent_free_modules(agent);
    mm_agent_stop_engine(agent);
    mm_free(agent);
    return status;
}
