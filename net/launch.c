/* The stages of a launch, one state machine for every kind of channel.
 *
 *   EXEC ── the agent's first line ──► HELLO ──► START is sent ─┬─ channel ────────────────────────► BIND ──► READY
 *                                                               └─► LISTEN ──► DIAL ──► SECURE ────► BIND ──► READY
 *   any stage ── its link ends, a wrong frame, the deadline ──► FAILED
 *
 * The key of the stream is made here, goes out in START, and is wiped when the stream is secure. Where the stream of its own
 * cannot be had and the config does not insist on it, it goes through the channel, and the note says why. Called on the
 * loop's thread; no event comes from inside mm_launch_begin.
 */
#include "net/launch.h"

#include "core/alloc.h"
#include "net/command.h"
#include "net/dial.h"
#include "net/deliver.h"
#include "net/login.h"
#include "net/payload.h"
#include "net/script.h"
#include "net/tls_library.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum stage { EXEC, PUT, HELLO, LISTEN, DIAL, SECURE, READY, FAILED };
static const char *const stage_names[] = { "EXEC", "PUT", "HELLO", "LISTEN", "DIAL", "SECURE", "READY", "FAILED" };

enum {
    NONCE_DIGITS = 16,
    COMMAND_BYTES = 8192,
    START_BYTES = MM_FRAME_SMALL,
    AGENT_DEADLINE_MS = 60000,
    LAST_WORDS_MS = 100,
    GRACE_MS = 100
};

struct mm_launch {
    uv_loop_t *loop;
    const struct mm_config_host *host;
    bool output;
    const struct mm_launch_events *events;
    void *owner;
    enum stage stage;
    mamuto_error_t error;
    uv_timer_t timer;
    uint64_t begun_ns;
    char nonce[NONCE_DIGITS + 1];
    struct mm_deliver deliver;
    struct mm_command *command; /* one of the two */
    struct mm_login *login;
    struct sockaddr_storage peer; /* of the login; n_peer 0: not known */
    socklen_t n_peer;
    struct mm_link *channel, *stream;
    struct mm_dial *dial; /* NULL: it is not dialling */
    unsigned char key[MM_KEY_BYTES];
    enum mm_stream_kind kind;
    struct mm_launched info;
    char note[256], words[768];
    int open; /* of what is to be gone before it is */
    void (*on_gone)(void *owner);
    void *gone_owner;
};

/* --- failing ------------------------------------------------------------------------------------------------------ */

static void on_timer(uv_timer_t *timer);

/* Told from the loop, when nothing of ours is on the stack, and when a command that has closed its stdio has had a moment to
 * end: how it did may be all that there is to say. */
static void fail(struct mm_launch *l, int code, const char *text)
{
    if (l->stage >= READY)
        return;
    mm_error_set(&l->error, code, "host %s: %s: %s", l->host->label, stage_names[l->stage], text);
    l->stage = FAILED;
    uv_timer_start(&l->timer, on_timer, l->command && !mm_command_end(l->command) ? LAST_WORDS_MS : 0, 0);
}

static void tell_failure(struct mm_launch *l)
{
    mamuto_error_t whole = { 0 };
    const char *words = mm_launch_last_words(l);
    mm_error_set(&whole, l->error.code, "%s%s%s", l->error.text, *words ? "; " : "", words);
    l->events->on_failed(l->owner, &whole);
}

static void on_timer(uv_timer_t *timer)
{
    struct mm_launch *l = timer->data;
    if (l->stage == FAILED)
        tell_failure(l);
    else if (l->stage == READY)
        l->events->on_ready(l->owner);
    else {
        char text[128];
        snprintf(text, sizeof text, "nothing was heard within %d ms (connect_timeout_ms)", l->host->connect_timeout_ms);
        fail(l, MAMUTO_EHOST, text);
    }
}

/* --- what is sent ------------------------------------------------------------------------------------------------- */

static bool send_start(struct mm_launch *l)
{
    unsigned char *body = mm_alloc(START_BYTES);
    if (!body)
        return false;
    const struct mm_config_host *host = l->host;
    struct mm_start start = { .protocol = MM_PROTOCOL,
                              .kind = l->kind,
                              .nonce = l->nonce,
                              .port_first = (uint16_t)host->data_port_first,
                              .port_last = (uint16_t)host->data_port_last,
                              .cores = (uint32_t)host->cores,
                              .nice = host->nice,
                              .pin = (int32_t)host->pin,
                              .core_dumps = host->core_dumps,
                              .output = l->output,
                              .memory = l->info.memory,
                              .deadline_ms = AGENT_DEADLINE_MS,
                              .workdir = host->workdir ? host->workdir : "" };
    struct mm_writer w = { .at = body, .room = START_BYTES };
    memcpy(start.key, l->key, sizeof start.key);
    mm_put_start(&w, &start, (const char *const *)host->env);
    explicit_bzero(start.key, sizeof start.key);
    int code = w.full ? MAMUTO_ESIZE : mm_stream_send(mm_link_stream(l->channel), MM_FRAME_START, 0, body, w.n);
    mm_free(body);
    return code == 0;
}

/* The stream is bound: the launch is over. */
static void be_ready(struct mm_launch *l, struct mm_link *stream)
{
    l->stream = stream;
    if (mm_stream_send(mm_link_stream(stream), MM_FRAME_BIND, 0, NULL, 0)) {
        fail(l, MAMUTO_ENOMEM, "no memory");
        return;
    }
    l->info.login_ms = (double)(uv_hrtime() - l->begun_ns) / 1e6;
    l->stage = READY;
    uv_timer_start(&l->timer, on_timer, 0, 0);
}

/* --- what comes --------------------------------------------------------------------------------------------------- */

static void keep_info(struct mm_launched *info, const struct mm_hello *hello)
{
    snprintf(info->build, sizeof info->build, "%s", hello->build);
    snprintf(info->os, sizeof info->os, "%s", hello->os);
    snprintf(info->arch, sizeof info->arch, "%s", hello->arch);
    snprintf(info->cpu, sizeof info->cpu, "%s", hello->cpu);
    snprintf(info->libc, sizeof info->libc, "%s", hello->libc);
    snprintf(info->tls, sizeof info->tls, "%s", hello->tls);
    info->cores = hello->cores;
    info->memory = hello->memory / 2; /* the rest is for its workers */
}

/* The stream goes through the channel after all; or must not. */
static void use_channel(struct mm_launch *l, const char *why)
{
    if (l->host->transport == MM_TRANSPORT_TCP) {
        fail(l, MAMUTO_EHOST, why);
        return;
    }
    snprintf(l->note, sizeof l->note, "its stream goes through the launch channel: %s", why);
    l->kind = MM_STREAM_CHANNEL;
    if (l->stage >= LISTEN)
        be_ready(l, l->channel);
}

/* What the config asks for, as far as the host has it. Confidentiality never drops: without TLS there, the channel. */
static void choose_kind(struct mm_launch *l)
{
    const struct mm_config_host *host = l->host;
    l->kind = host->transport == MM_TRANSPORT_SSH ? MM_STREAM_CHANNEL : host->encrypt ? MM_STREAM_TLS : MM_STREAM_PLAIN;
    if (l->kind == MM_STREAM_CHANNEL)
        return;
    if (!l->info.tls[0])
        use_channel(l, "there is no OpenSSL on that host");
    else if (!mm_tls_library())
        use_channel(l, "there is no OpenSSL on this machine");
    else if (getrandom(l->key, sizeof l->key, 0) != (ssize_t)sizeof l->key)
        fail(l, MAMUTO_ESYSTEM, "no random numbers for a key");
}

static int on_hello(struct mm_launch *l, const unsigned char *body, size_t n)
{
    struct mm_hello hello;
    const char *why = "";
    int code = mm_get_hello(&hello, body, n, &why);
    if (code) {
        fail(l, code, why);
        return code;
    }
    keep_info(&l->info, &hello);
    choose_kind(l);
    if (l->stage == FAILED)
        return MAMUTO_EHOST;
    if (!send_start(l)) {
        fail(l, MAMUTO_ESIZE, "env and workdir together are too long");
        return MAMUTO_ESIZE;
    }
    if (l->kind == MM_STREAM_CHANNEL)
        be_ready(l, l->channel);
    else
        l->stage = LISTEN;
    return 0;
}

/* --- a stream of its own ------------------------------------------------------------------------------------------ */

static void on_dialled(void *owner, struct mm_link *link, const char *why)
{
    struct mm_launch *l = owner;
    mm_dial_close(l->dial);
    l->dial = NULL;
    explicit_bzero(l->key, sizeof l->key);
    if (link)
        be_ready(l, link);
    else
        use_channel(l, why);
}

static unsigned targets_of(struct mm_launch *l, const struct mm_listen *listen, struct mm_target *targets)
{
    unsigned n = 0;
    const char *address = listen->addresses.first;
    if (l->host->data_address)
        return mm_target_of(&targets[0], l->host->data_address, listen->port);
    if (l->n_peer) /* as it is seen from here: scope and NAT included */
        targets[n++] = mm_target_at(&l->peer, l->n_peer, listen->port);
    for (uint32_t i = 0; i < listen->addresses.n && n < MM_DIAL_TARGETS; i++) {
        n += mm_target_of(&targets[n], address, listen->port);
        if (i + 1 < listen->addresses.n)
            address = mm_strings_next(address);
    }
    return n;
}

static int on_listen(struct mm_launch *l, const unsigned char *body, size_t n)
{
    struct mm_target targets[MM_DIAL_TARGETS];
    struct mm_listen listen;
    mamuto_error_t err = { 0 };
    const char *why = "";
    if (mm_get_listen(&listen, body, n, &why))
        return mm_stream_fail(mm_link_stream(l->channel), "LISTEN: %s", why);
    unsigned found = targets_of(l, &listen, targets);
    l->stage = DIAL;
    if (!found)
        use_channel(l, l->host->data_address ? "data_address is no numeric address" : "it has no address to dial");
    else if (mm_dial_begin(&l->dial, l->loop, targets, found, l->kind, l->key, l->nonce, on_dialled, l, &err))
        fail(l, err.code, err.text);
    return 0;
}

static int on_frame(void *owner, const struct mm_frame *frame, const unsigned char *body, size_t n)
{
    struct mm_launch *l = owner;
    struct mm_bye bye;
    const char *why = "";
    if (frame->type == MM_FRAME_HELLO && l->stage == HELLO)
        return on_hello(l, body, n);
    if (frame->type == MM_FRAME_LISTEN && l->stage == LISTEN)
        return on_listen(l, body, n);
    if (frame->type == MM_FRAME_BYE && mm_get_bye(&bye, body, n, &why) == 0) {
        mamuto_error_t err = { 0 };
        mm_bye_to_error(&bye, &err);
        fail(l, err.code, err.text);
        return err.code;
    }
    return mm_stream_fail(mm_link_stream(l->channel), "frame %s does not belong here", mm_frame_name(frame->type));
}

static int on_payload(void *owner, const struct mm_frame *frame, size_t done, void **to)
{
    struct mm_launch *l = owner;
    (void)done, (void)to;
    return mm_stream_fail(mm_link_stream(l->channel), "frame %s does not belong here", mm_frame_name(frame->type));
}

static int on_payload_end(void *owner, const struct mm_frame *frame) { return on_payload(owner, frame, 0, NULL); }

static void on_end(void *owner, const mamuto_error_t *err)
{
    struct mm_launch *l = owner;
    fail(l, err->code, err->text);
}

/* --- the beginning ------------------------------------------------------------------------------------------------ */

static int make_nonce(struct mm_launch *l, mamuto_error_t *err)
{
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return mm_error_system(err, errno, "no random numbers");
    snprintf(l->nonce, sizeof l->nonce, "%016llx", (unsigned long long)random);
    return 0;
}

/* It has no agent of this build: it is sent one. */
static int send_agent(struct mm_launch *l)
{
    const struct mm_deliver *d = &l->deliver;
    const struct mm_payload *payload = NULL;
    struct mm_stream *stream = mm_link_stream(l->channel);
    mamuto_error_t err = { 0 };
    char line[128];
    if (l->stage != EXEC)
        return mm_stream_fail(stream, "it asks for an agent again");
    l->stage = PUT;
    if (!mm_payload_fits(d->system, d->machine, d->libc))
        return mm_stream_fail(
            stream, "there is no agent for %s on %s with %s: install mamuto-agent there, and name it in \"agent\"",
            d->system, d->machine, d->libc);
    if (mm_payload(&payload, &err))
        return mm_stream_fail(stream, "%s", err.text);
    int n = snprintf(line, sizeof line, "put bin %zu %s\n", payload->n, payload->sha256);
    int code = mm_stream_send_raw(stream, line, (size_t)n);
    return code ? code : mm_stream_send_raw(stream, payload->bytes, payload->n);
}

static int on_raw(void *owner, const unsigned char *bytes, size_t n, size_t *used)
{
    struct mm_launch *l = owner;
    switch (mm_deliver_take(&l->deliver, bytes, n, used)) {
    case MM_DELIVERED_NEED:
        return send_agent(l);
    case MM_DELIVERED_AGENT:
        l->stage = HELLO;
        mm_stream_begin_frames(mm_link_stream(l->channel));
        return 0;
    case MM_DELIVERED_BAD:
    case MM_DELIVERED_WRONG:
        return mm_stream_fail(mm_link_stream(l->channel), "%s", l->deliver.why);
    default: /* what was sent runs, and will speak; or nothing yet */
        return 0;
    }
}

static const struct mm_link_events channel_events = {
    .stream = { .on_frame = on_frame, .on_payload = on_payload, .on_payload_end = on_payload_end, .on_raw = on_raw },
    .on_end = on_end
};

/* The one argument behind the launch command's own: what the far side's shell is to run. */
static int exec_string(const struct mm_launch *l, char *text, size_t size, mamuto_error_t *err)
{
    const struct mm_payload *payload = NULL;
    int code = l->host->agent ? 0 : mm_payload(&payload, err);
    if (!code && mm_script_make(text, size, l->host->agent, l->nonce, payload ? payload->name : NULL))
        code =
            mm_error_set(err, MAMUTO_ECONFIG,
                         "host %s: \"agent\" may have letters, digits and ._/+~- only, where it is another host's path",
                         l->host->label);
    return code;
}

static int begin_talk(struct mm_launch *l, struct mm_wire *wire, mamuto_error_t *err)
{
    int code = mm_link_new(&l->channel, l->loop, wire, MM_ON_BOTH, &channel_events, l, err);
    if (code)
        wire->ops->close(wire);
    else
        mm_stream_begin_raw(mm_link_stream(l->channel));
    return code;
}

static void on_login(void *owner, struct mm_wire *wire, const struct sockaddr_storage *peer, socklen_t n)
{
    struct mm_launch *l = owner;
    mamuto_error_t err = { 0 };
    l->peer = *peer;
    l->n_peer = n;
    if (begin_talk(l, wire, &err))
        fail(l, err.code, err.text);
}

static void on_no_login(void *owner, const mamuto_error_t *err)
{
    struct mm_launch *l = owner;
    if (l->stage >= READY)
        return;
    l->error = *err; /* it names host and stage itself */
    l->stage = FAILED;
    uv_timer_start(&l->timer, on_timer, 0, 0);
}

static const struct mm_login_events login_events = { on_login, on_no_login };

static int open_channel(struct mm_launch *l, mamuto_error_t *err)
{
    char text[COMMAND_BYTES];
    struct mm_wire *wire = NULL;
    int code = exec_string(l, text, sizeof text, err);
    if (code)
        return code;
    if (!l->host->launch)
        return mm_login_begin(&l->login, l->loop, l->host, text, &login_events, l, err);
    code = mm_command_start(&l->command, l->loop, l->host->launch, text, &wire, err);
    return code ? code : begin_talk(l, wire, err);
}

int mm_launch_begin(struct mm_launch **out, uv_loop_t *loop, const struct mm_config_host *host, bool output,
                    const struct mm_launch_events *events, void *owner, mamuto_error_t *err)
{
    struct mm_launch *l = mm_alloc(sizeof *l);
    if (!l)
        return mm_error_set(err, MAMUTO_ENOMEM, "no memory to launch an agent on host %s", host->label);
    *l = (struct mm_launch){
        .loop = loop, .host = host, .output = output, .events = events, .owner = owner, .begun_ns = uv_hrtime()
    };
    uv_timer_init(loop, &l->timer);
    uv_unref((uv_handle_t *)&l->timer);
    l->timer.data = l;
    l->open = 1;
    *out = l;
    int code = make_nonce(l, &l->error);
    mm_deliver_begin(&l->deliver, l->nonce);
    if (!code)
        code = open_channel(l, &l->error);
    if (code) { /* told from the loop, as everything that fails later is */
        l->stage = FAILED;
        uv_timer_start(&l->timer, on_timer, 0, 0);
    } else
        uv_timer_start(&l->timer, on_timer, (uint64_t)host->connect_timeout_ms + GRACE_MS, 0); /* a login has its own */
    return 0;
}

/* --- what there is, and the end ------------------------------------------------------------------------------------ */

struct mm_link *mm_launch_channel(struct mm_launch *l) { return l->channel; }
struct mm_link *mm_launch_stream(struct mm_launch *l) { return l->stream; }
const struct mm_launched *mm_launch_info(const struct mm_launch *l) { return &l->info; }
enum mm_stream_kind mm_launch_kind(const struct mm_launch *l) { return l->kind; }
const char *mm_launch_transport(const struct mm_launch *l)
{
    static const char *const names[] = { "launch", "tcp", "tcp+tls" };
    return l->kind == MM_STREAM_CHANNEL && !l->host->launch ? "ssh" : names[l->kind];
}

const char *mm_launch_note(const struct mm_launch *l) { return l->note[0] ? l->note : NULL; }

/* Control characters come out as \xNN: it is another machine's text, for a terminal. */
static size_t escape(char *to, size_t room, const char *from, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n && used + 5 < room; i++) {
        unsigned char c = (unsigned char)from[i];
        if (c == '\n')
            used += (size_t)snprintf(to + used, room - used, " | ");
        else if (c < ' ' || c == 0x7f)
            used += (size_t)snprintf(to + used, room - used, "\\x%02x", c);
        else
            to[used++] = (char)c;
    }
    to[used] = '\0';
    return used;
}

/* What the far side has said on stderr, the end of it. */
static size_t tail_of(struct mm_launch *l, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    if (l->login)
        return mm_login_tail(l->login, text, size);
    const char *tail = l->command ? mm_command_tail(l->command, &n) : "";
    size_t most = n < size - 1 ? n : size - 1;
    memcpy(text, tail + n - most, most);
    return most;
}

static size_t end_of(struct mm_launch *l, char *text, size_t size)
{
    const char *end = l->command ? mm_command_end(l->command) : NULL;
    text[0] = '\0';
    if (l->login)
        mm_login_end(l->login, text, size);
    else if (end)
        snprintf(text, size, "%s", end);
    return strlen(text);
}

const char *mm_launch_last_words(struct mm_launch *l)
{
    char tail[300];
    size_t n = tail_of(l, tail, sizeof tail), used = end_of(l, l->words, sizeof l->words / 4);
    while (n && tail[n - 1] == '\n')
        n--;
    if (!n)
        return l->words;
    used += (size_t)snprintf(l->words + used, sizeof l->words - used, "%sit said: ", used ? "; " : "");
    escape(l->words + used, sizeof l->words - used, tail, n);
    return l->words;
}

static void release(struct mm_launch *l)
{
    if (--l->open)
        return;
    void (*on_gone)(void *) = l->on_gone;
    void *owner = l->gone_owner;
    mm_free(l);
    on_gone(owner);
}

static void on_command_gone(void *owner) { release(owner); }

static void on_timer_closed(uv_handle_t *timer) { release(timer->data); }

void mm_launch_close(struct mm_launch *l, void (*on_gone)(void *owner), void *owner)
{
    l->on_gone = on_gone;
    l->gone_owner = owner;
    if (l->dial)
        mm_dial_close(l->dial);
    l->dial = NULL;
    explicit_bzero(l->key, sizeof l->key);
    if (l->stream && l->stream != l->channel)
        mm_link_close(l->stream);
    if (l->channel)
        mm_link_close(l->channel);
    l->stream = l->channel = NULL;
    if (l->login)
        mm_login_stop(l->login);
    l->login = NULL;
    if (l->command) {
        l->open++;
        mm_command_stop(l->command, on_command_gone, l);
    }
    uv_close((uv_handle_t *)&l->timer, on_timer_closed);
}
