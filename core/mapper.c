/* The life of a mapper: config, node, modules; open and close.
 *
 *   OPENING ── node up, modules loaded ──► OPEN ──┐
 *      └────── one of them failed ───────► FAILED ┴── close ──► CLOSING ── node closed, kick closed ──► freed
 *
 * One async handle, kick, brings everything that must not happen inside a call to the loop's next turn; it also keeps the
 * caller's loop alive, by being referenced while anything is in flight. Close takes the node down first: only then can
 * nothing touch the caller's arrays any more, and the maps in flight are told.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "core/mapper.h"
#include "core/program.h"
#include "core/team.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

/* Counts the forks that led to this process: a mapper is not for the children of fork(), which share its sockets. */
static _Atomic unsigned n_forks;
static pthread_once_t watch_forks = PTHREAD_ONCE_INIT;

static void on_forked(void) { n_forks++; }
static void begin_watching_forks(void) { pthread_atfork(NULL, NULL, on_forked); }

int mm_mapper_check_process(const mamuto_t *m, const char *call, mamuto_error_t *err)
{
    if (!m)
        return mm_error_set(err, MAMUTO_EINVAL, "%s: the mapper is NULL", call);
    if (m->process != n_forks)
        return mm_error_set(err, MAMUTO_EINVAL,
                            "%s: the mapper belongs to the process that opened it, of which this one is a child: open "
                            "another one here",
                            call);
    return 0;
}

void mm_mapper_kick(mamuto_t *m) { uv_async_send(&m->kick); }

void mm_mapper_hold(mamuto_t *m)
{
    if (m->busy++ == 0)
        uv_ref((uv_handle_t *)&m->kick);
}

void mm_mapper_release(mamuto_t *m)
{
    if (--m->busy == 0 && !m->owns_loop) /* of its own loop it is kept alive for core/dispatch.c */
        uv_unref((uv_handle_t *)&m->kick);
}

int mm_mapper_may_wait(const mamuto_t *m, const char *call, mamuto_error_t *err)
{
    int code = mm_mapper_check_process(m, call, err);
    if (code)
        return code;
    if (!m->owns_loop)
        return mm_error_set(err, MAMUTO_EINVAL,
                            "%s: the mapper lives on a loop of yours, which it must not block: use the "
                            "form with a callback",
                            call);
    if (m->depth)
        return mm_error_set(err, MAMUTO_EINVAL, "%s: not allowed inside a callback of the same mapper", call);
    return 0;
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

static void end_opening(mamuto_t *m, int status, const mamuto_error_t *err)
{
    m->open_owed = false;
    m->depth++;
    if (m->on_open)
        m->on_open(m, status, status ? err : NULL);
    m->depth--;
    mm_mapper_release(m);
}

void mm_mapper_look(mamuto_t *m)
{
    if (m->state != MM_OPENING || !m->open_owed)
        return;
    if (!m->open_error.code && (!m->node_up || m->n_loading))
        return;
    m->state = m->open_error.code ? MM_FAILED : MM_OPEN;
    end_opening(m, m->open_error.code, &m->open_error);
}

static void on_up(void *owner, int status, const mamuto_error_t *err)
{
    mamuto_t *m = owner;
    m->node_up = status == 0;
    if (!status && !m->ops->hosts) /* else each of them was told when it came */
        mm_hosts_on_state(m);
    if (status)
        mm_error_copy(&m->open_error, err);
    mm_mapper_look(m);
}

static void on_lost(void *owner, const mamuto_error_t *err)
{
    (void)owner, (void)err; /* no host is left: each call that follows says so itself */
}

static void on_host_output(void *owner, size_t host, int worker, int fd, const char *line, size_t n)
{
    mamuto_t *m = owner;
    const char *name = host < m->config.n_hosts ? m->config.hosts[host].label : MM_CONFIG_LOCAL;
    m->depth++;
    m->on_output(m, name, worker, fd, line, n);
    m->depth--;
}

static void on_output(void *owner, int worker, int fd, const char *line, size_t n)
{
    on_host_output(owner, 0, worker, fd, line, n);
}

static void on_closed(void *owner);

static const struct mm_node_events events = { .on_up = on_up,
                                              .on_function = mm_mapper_on_function,
                                              .on_loaded = mm_mapper_on_loaded,
                                              .on_item_error = mm_map_on_item_error,
                                              .on_ran = mm_map_on_ran,
                                              .on_state = mm_hosts_on_state,
                                              .on_output = on_output,
                                              .on_host_state = mm_hosts_on_host,
                                              .on_host_output = on_host_output,
                                              .on_lost = on_lost,
                                              .on_closed = on_closed,
                                              .on_kept = mm_keep_on_kept };

static int read_config(mamuto_t *m, const mamuto_options_t *options, mamuto_error_t *err)
{
    if (options->config && options->config_text)
        return mm_error_set(err, MAMUTO_EINVAL, "mamuto_open: config and config_text are both set; give one of them");
    if (options->config_text)
        return mm_config_parse(&m->config, options->config_text, err);
    const char *path = options->config ? options->config : getenv("MAMUTO_CONFIG");
    return path && *path ? mm_config_load(&m->config, path, err) : mm_config_default(&m->config, err);
}

static int check_options(const mamuto_options_t *options, mamuto_error_t *err)
{
    for (size_t i = 0; i < sizeof options->reserved / sizeof *options->reserved; i++)
        if (options->reserved[i])
            return mm_error_set(err, MAMUTO_EINVAL,
                                "mamuto_open: reserved field %zu of the options is not 0: zero the "
                                "struct before it is filled",
                                i);
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            return mm_error_set(err, MAMUTO_EINVAL,
                                "mamuto_open: file descriptor %d is closed, and the next file or socket would take its "
                                "place: open it, on /dev/null if on nothing else",
                                fd);
    if (getenv(MM_WORKER_MARK))
        return mm_error_set(err, MAMUTO_ENESTED,
                            "mamuto_open: this is a worker of a mapper; a worker cannot open another "
                            "one");
    return 0;
}

static void on_kick(uv_async_t *kick);

static int begin(mamuto_t *m, mamuto_error_t *err)
{
    if (m->owns_loop) {
        int code = uv_loop_init(&m->own_loop);
        if (code)
            return mm_error_set(err, MAMUTO_ESYSTEM, "mamuto_open: cannot make a loop: %s", uv_strerror(code));
    }
    int code = uv_async_init(m->loop, &m->kick, on_kick);
    if (code == 0) {
        m->kick.data = m;
        mm_ticks_init(m);
        if (m->owns_loop)
            uv_run(m->loop, UV_RUN_NOWAIT); /* from now on a kick makes its descriptor readable */
        else
            uv_unref((uv_handle_t *)&m->kick);
        return 0;
    }
    if (m->owns_loop)
        uv_loop_close(&m->own_loop);
    return mm_error_set(err, MAMUTO_ESYSTEM, "mamuto_open: cannot make a handle: %s", uv_strerror(code));
}

static int load_all(mamuto_t *m, const char *const *modules, mamuto_error_t *err)
{
    int code = 0;
    for (size_t i = 0; !code && modules && modules[i]; i++)
        code = mm_mapper_load(m, modules[i], true, NULL, err);
    return code;
}

/* This machine alone is one node; several hosts are a team of nodes. */
static int open_node(mamuto_t *m, mamuto_error_t *err)
{
    const struct mm_config *config = &m->config;
    struct mm_team_hosts hosts = { config->hosts, config->n_hosts, mm_node_kinds[MM_KIND_LOCAL],
                                   mm_node_kinds[MM_KIND_REMOTE] };
    m->ops = config->other_line ? &mm_node_team : mm_node_kinds[MM_KIND_LOCAL];
    if (config->other_line)
        return mm_team_open(&m->node, &hosts, m->loop, &m->events, m, err);
    return m->ops->open(&m->node, &config->hosts[0], m->loop, &m->events, m, err);
}

/* From here on a failure is told by on_open: what was begun can only be taken down from the loop. */
static void start(mamuto_t *m, const char *const *modules)
{
    m->open_owed = true;
    mm_mapper_hold(m);
    mamuto_error_t *err = &m->open_error;
    int code = open_node(m, err);
    if (!code)
        code = mm_mapper_load_program(m, err);
    if (!code)
        code = load_all(m, (const char *const *)m->config.modules, err);
    if (!code)
        code = load_all(m, modules, err);
    if (code || m->owns_loop) /* a first turn, for the watches */
        mm_mapper_kick(m);
}

static int open_mapper(mamuto_t **out, const mamuto_options_t *options, mamuto_error_t *err)
{
    int code = check_options(options, err);
    if (code)
        return code;
    mamuto_t *m = mm_alloc(sizeof *m);
    if (!m)
        return mm_error_set(err, MAMUTO_ENOMEM, "mamuto_open: no memory for a mapper");
    m->owns_loop = options->loop == NULL;
    m->loop = options->loop ? options->loop : &m->own_loop;
    m->data = options->data;
    m->on_open = options->on_open;
    m->on_output = options->on_output;
    m->events = events;
    if (!m->on_output) {
        m->events.on_output = NULL;
        m->events.on_host_output = NULL;
    }
    m->on_host = options->on_host;
    code = read_config(m, options, err);
    if (!code && !(m->host_reasons = mm_alloc_array(m->config.n_hosts, sizeof *m->host_reasons)))
        code = mm_error_set(err, MAMUTO_ENOMEM, "mamuto_open: no memory for %zu hosts", m->config.n_hosts);
    if (!code)
        code = begin(m, err);
    if (code) {
        mm_free(m->host_reasons);
        mm_config_fini(&m->config);
        mm_free(m);
        return code;
    }
    pthread_once(&watch_forks, begin_watching_forks);
    m->process = n_forks;
    start(m, options->modules);
    *out = m;
    return 0;
}

int mamuto_open(mamuto_t **out, const mamuto_options_t *options, mamuto_error_t *err)
{
    if (!out)
        return mm_error_set(err, MAMUTO_EINVAL, "mamuto_open: there is nowhere to put the mapper (m is NULL)");
    if (!options || (!options->loop && !options->on_open))
        return mm_error_set(err, MAMUTO_EINVAL,
                            "mamuto_open: options.loop is NULL: give it your loop, or on_open, which comes from "
                            "mamuto_dispatch then, or use mamuto_open_wait");
    return open_mapper(out, options, err);
}

/* --- closing ---------------------------------------------------------------------------------------------------- */

void mm_mapper_free(mamuto_t *m)
{
    if (m->owns_loop) {
        uv_run(m->loop, UV_RUN_NOWAIT);
        uv_loop_close(m->loop);
    }
    mm_free(m->host_reasons);
    mm_config_fini(&m->config);
    mm_mapper_free_modules(m);
    mm_keep_free_all(m);
    mm_free(m);
}

static void on_kick_closed(uv_handle_t *kick)
{
    mamuto_t *m = kick->data;
    void (*on_close)(void *) = m->on_close;
    void *data = m->data;
    bool kept = m->owns_loop; /* it is freed with its loop, when this turn of it is over */
    m->gone = true;
    m->depth++;
    if (!kept)
        mm_mapper_free(m);
    if (on_close)
        on_close(data);
    if (kept)
        m->depth--;
}

static void on_ticker_closed(uv_handle_t *ticker)
{
    mamuto_t *m = ticker->data;
    uv_close((uv_handle_t *)&m->kick, on_kick_closed);
}

/* The node is gone: nobody can touch an array any more. */
static void on_closed(void *owner)
{
    mamuto_t *m = owner;
    m->node = NULL;
    if (m->open_owed) {
        mamuto_error_t err = { 0 };
        mm_error_set(&err, MAMUTO_ECANCELED, "mamuto_open: the mapper was closed before it was open");
        end_opening(m, err.code, &err);
    }
    mm_mapper_cancel_loads(m);
    mm_keep_cancel_all(m);
    mm_map_cancel_all(m);
    uv_close((uv_handle_t *)&m->ticker, on_ticker_closed);
}

static void on_kick(uv_async_t *kick)
{
    mamuto_t *m = kick->data;
    mm_mapper_look(m);
    mm_map_deliver_ended(m);
    if (m->state != MM_CLOSING || m->node_closing)
        return;
    m->node_closing = true;
    if (m->node)
        m->ops->close(m->node);
    else
        on_closed(m);
}

int mamuto_close(mamuto_t *m, void (*on_close)(void *data))
{
    if (mm_mapper_check_process(m, "mamuto_close", NULL) || m->state == MM_CLOSING)
        return MAMUTO_EINVAL;
    m->state = MM_CLOSING;
    m->on_close = on_close;
    mm_mapper_hold(m);
    mm_mapper_kick(m);
    return 0;
}

/* --- arrays ----------------------------------------------------------------------------------------------------- */

void *mamuto_alloc(mamuto_t *m, size_t count, size_t size, mamuto_error_t *err)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        mm_error_set(err, MAMUTO_ESIZE, "mamuto_alloc: %zu * %zu bytes do not fit into a size_t", count, size);
        return NULL;
    }
    if (mm_mapper_check_process(m, "mamuto_alloc", err))
        return NULL;
    if (!m->node || m->state == MM_CLOSING) {
        mm_error_set(err, MAMUTO_EINVAL, "mamuto_alloc: the mapper is not open");
        return NULL;
    }
    return m->ops->alloc(m->node, bytes, err);
}

int mamuto_free(mamuto_t *m, void *p)
{
    if (!p)
        return 0;
    if (mm_mapper_check_process(m, "mamuto_free", NULL))
        return MAMUTO_EINVAL;
    uint64_t bytes = m->node && m->state != MM_CLOSING ? m->ops->array_bytes(m->node, p) : 0;
    if (!bytes || mm_map_uses(m, p, bytes))
        return MAMUTO_EINVAL;
    m->ops->free(m->node, p);
    return 0;
}

int mamuto_attach(mamuto_t *m, int fd, int64_t offset, size_t bytes, const void **p, mamuto_error_t *err)
{
    int code = mm_mapper_check_process(m, "mamuto_attach", err);
    if (code)
        return code;
    if (!p || !m->node || m->state == MM_CLOSING)
        return mm_error_set(err, MAMUTO_EINVAL, "mamuto_attach: %s", p ? "the mapper is not open" : "p is NULL");
    return m->ops->attach(m->node, fd, offset, bytes, p, err);
}

void *mamuto_data(const mamuto_t *m) { return m->data; }

/* --- the _wait forms of open and close ---------------------------------------------------------------------------- */

int mamuto_close_wait(mamuto_t *m)
{
    if (!m)
        return 0;
    int code = mm_mapper_may_wait(m, "mamuto_close_wait", NULL);
    if (!code && m->state != MM_CLOSING) /* it is, if a callback has closed it */
        code = mamuto_close(m, NULL);
    if (code)
        return code;
    while (!m->gone)
        uv_run(&m->own_loop, UV_RUN_ONCE);
    mm_mapper_free(m);
    return 0;
}

int mamuto_open_wait(mamuto_t **out, const mamuto_options_t *options, mamuto_error_t *err)
{
    static const mamuto_options_t defaults;
    mamuto_t *m = NULL;
    options = options ? options : &defaults;
    if (!out)
        return mm_error_set(err, MAMUTO_EINVAL, "mamuto_open_wait: there is nowhere to put the mapper (m is NULL)");
    if (options->loop)
        return mm_error_set(err, MAMUTO_EINVAL,
                            "mamuto_open_wait: it would block the loop that options.loop names: use "
                            "mamuto_open");
    int code = open_mapper(&m, options, err);
    if (code || !m)
        return code;
    while (m->state == MM_OPENING)
        uv_run(&m->own_loop, UV_RUN_ONCE);
    if (m->state == MM_OPEN) {
        *out = m;
        return 0;
    }
    code = m->open_error.code ? mm_error_copy(err, &m->open_error)
                              : mm_error_set(err, MAMUTO_ECANCELED, "mamuto_open_wait: closed in a callback");
    mamuto_close_wait(m);
    return code;
}
