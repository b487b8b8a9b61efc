/* Peer: libmamuto on a loop, while four gigabytes of private arrays are mapped.
 *   ours-loop delay   how late a 1 ms timer on that loop is
 *   ours-loop entry   how long the library holds the loop: each of its callbacks by the wall clock and by the thread's
 *                     CPU time
 *
 * libmamuto gets at the loop through libuv's functions alone, and this program defines those that take a callback:
 * the linker's rule that the program comes first hands the library ours. They keep the callback, give libuv one of
 * ours in its place, and call the kept one between two readings of the clocks. The 1 ms timer is not counted; what
 * the library does in mamuto_map() is, within the callback that called it or, for the first map, by itself. */
#include "tests/bench/ours.h"

#include <dlfcn.h>

#include "tests/bench/lateness.h"
#include "tests/bench/like3.h"

enum { LANES = 2, MAPS = 4, MAX_ENTRIES = 1000000, MAX_KEPT = 4096 };

typedef void any_fn(void);

/* The callbacks that are kept, by handle or request and by kind. */
enum kind { POLL, ASYNC, TIMER, PREPARE, CHECK, IDLE, CLOSE, WORK };
struct kept {
    const void *handle;
    enum kind kind;
    any_fn *callback;
};
static struct kept kept[MAX_KEPT];
static size_t n_kept;

static double entry_ms[MAX_ENTRIES], longest_cpu_ms;
static size_t n_entries;
static int depth;
static uint64_t wall_ns, cpu_ns;

static void enter(void)
{
    if (depth++)
        return;
    cpu_ns = peer_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    wall_ns = peer_now_ns();
}

static void leave(void)
{
    if (--depth)
        return;
    const double wall = (double)(peer_now_ns() - wall_ns) / 1e6;
    const double cpu = (double)(peer_clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns) / 1e6;
    if (n_entries < MAX_ENTRIES)
        entry_ms[n_entries++] = wall;
    if (cpu > longest_cpu_ms)
        longest_cpu_ms = cpu;
}

static struct kept *find(const void *handle, enum kind kind)
{
    for (size_t i = 0; i < n_kept; i++)
        if (kept[i].handle == handle && kept[i].kind == kind)
            return &kept[i];
    return NULL;
}

static void keep(const void *handle, enum kind kind, any_fn *callback)
{
    struct kept *k = find(handle, kind);
    if (!k && n_kept == MAX_KEPT)
        peer_die("more than %d handles", MAX_KEPT);
    if (!k)
        k = &kept[n_kept++];
    *k = (struct kept){ handle, kind, callback };
}

static any_fn *kept_for(const void *handle, enum kind kind)
{
    struct kept *k = find(handle, kind);
    if (!k || !k->callback)
        peer_die("a callback of kind %d that nobody asked for", (int)kind);
    return k->callback;
}

static any_fn *real(const char *name)
{
    any_fn *f;
    *(void **)&f = dlsym(RTLD_NEXT, name);
    if (!f)
        peer_die("libuv has no %s", name);
    return f;
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    uv_poll_cb callback = (uv_poll_cb)kept_for(handle, POLL);
    enter();
    callback(handle, status, events);
    leave();
}

int uv_poll_start(uv_poll_t *handle, int events, uv_poll_cb callback)
{
    static any_fn *next;
    next = next ? next : real("uv_poll_start");
    keep(handle, POLL, (any_fn *)callback);
    return ((int (*)(uv_poll_t *, int, uv_poll_cb))next)(handle, events, on_poll);
}

static void on_after_work(uv_work_t *request, int status)
{
    uv_after_work_cb callback = (uv_after_work_cb)kept_for(request, WORK);
    enter();
    callback(request, status);
    leave();
}

int uv_queue_work(uv_loop_t *loop, uv_work_t *request, uv_work_cb work, uv_after_work_cb after)
{
    static any_fn *next;
    next = next ? next : real("uv_queue_work");
    keep(request, WORK, (any_fn *)after);
    return ((int (*)(uv_loop_t *, uv_work_t *, uv_work_cb, uv_after_work_cb))next)(loop, request, work,
                                                                                   after ? on_after_work : NULL);
}

static void on_time(uv_timer_t *timer)
{
    uv_timer_cb callback = (uv_timer_cb)kept_for(timer, TIMER);
    enter();
    callback(timer);
    leave();
}

int uv_timer_start(uv_timer_t *timer, uv_timer_cb callback, uint64_t timeout, uint64_t repeat)
{
    static any_fn *next;
    next = next ? next : real("uv_timer_start");
    if (callback != lateness_fired) {
        keep(timer, TIMER, (any_fn *)callback);
        callback = on_time;
    }
    return ((int (*)(uv_timer_t *, uv_timer_cb, uint64_t, uint64_t))next)(timer, callback, timeout, repeat);
}

/* Callbacks that take their handle alone, by functions of (handle, callback). */
#define WRAP(type, kind, name, hook)                                                                                   \
    static void hook(type *handle)                                                                                     \
    {                                                                                                                  \
        void (*callback)(type *) = (void (*)(type *))kept_for(handle, kind);                                           \
        enter();                                                                                                       \
        callback(handle);                                                                                              \
        leave();                                                                                                       \
    }                                                                                                                  \
    int name(type *handle, void (*callback)(type *))                                                                   \
    {                                                                                                                  \
        static any_fn *next;                                                                                           \
        next = next ? next : real(#name);                                                                              \
        keep(handle, kind, (any_fn *)callback);                                                                        \
        return ((int (*)(type *, void (*)(type *)))next)(handle, hook);                                                \
    }

WRAP(uv_prepare_t, PREPARE, uv_prepare_start, on_prepare)
WRAP(uv_check_t, CHECK, uv_check_start, on_check)
WRAP(uv_idle_t, IDLE, uv_idle_start, on_idle)

static void on_async(uv_async_t *async)
{
    uv_async_cb callback = (uv_async_cb)kept_for(async, ASYNC);
    enter();
    callback(async);
    leave();
}

int uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb callback)
{
    static any_fn *next;
    next = next ? next : real("uv_async_init");
    keep(async, ASYNC, (any_fn *)callback);
    return ((int (*)(uv_loop_t *, uv_async_t *, uv_async_cb))next)(loop, async, callback ? on_async : NULL);
}

static void on_closed(uv_handle_t *handle)
{
    uv_close_cb callback = (uv_close_cb)kept_for(handle, CLOSE);
    enter();
    callback(handle);
    leave();
}

void uv_close(uv_handle_t *handle, uv_close_cb callback)
{
    static any_fn *next;
    next = next ? next : real("uv_close");
    if (callback)
        keep(handle, CLOSE, (any_fn *)callback);
    ((void (*)(uv_handle_t *, uv_close_cb))next)(handle, callback ? on_closed : NULL);
}

/* ---- the run ---- */

static mamuto_t *m;
static mamuto_call_t call;
static struct lateness lateness;
static int maps_left, want_entry;

static void submit(void)
{
    mamuto_error_t err = { 0 };
    enter();
    if (mamuto_map(m, &call, NULL, &err))
        peer_die("mamuto_map: %s", err.text);
    leave();
}

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    (void)map;
    if (status)
        peer_die("on_done: %s", err->text);
    if (--maps_left > 0)
        submit();
    else
        lateness_stop(&lateness);
}

static void report(double ms)
{
    stats_sort(entry_ms, n_entries);
    const double wall = stats_quantile(entry_ms, n_entries, 0.999);
    if (want_entry)
        peer_figure("hold", wall > longest_cpu_ms ? wall : longest_cpu_ms, "ms");
    peer_figure("p99", stats_quantile(lateness.late_ms, lateness.n, 0.99), "ms");
    peer_figure("p50", stats_quantile(lateness.late_ms, lateness.n, 0.5), "ms");
    peer_figure("duration", ms, "ms");
    peer_figure("callbacks", (double)n_entries, "1");
    peer_figure("longest-cpu", longest_cpu_ms, "ms");
    peer_figure("p99.9-wall", wall, "ms");
    peer_figure("longest-wall", n_entries ? entry_ms[n_entries - 1] : 0, "ms");
}

static void turn(void *ctx, double ms, long arg)
{
    uv_loop_t *loop = ctx;
    const uint64_t start = peer_now_ns();
    (void)ms;
    (void)arg;
    n_entries = 0;
    longest_cpu_ms = 0;
    maps_left = MAPS;
    lateness_start(&lateness, loop);
    submit();
    uv_run(loop, UV_RUN_DEFAULT);
    report((double)(peer_now_ns() - start) / 1e6);
}

static void ignore(void *data) { (void)data; }

int main(int argc, char **argv)
{
    const size_t n = 1000000000 / (4 * sizeof(double)); /* 1 GB a map, p and out */
    double data[3];
    uv_loop_t loop;

    want_entry = argc > 1 && !strcmp(argv[1], "entry");
    if (uv_loop_init(&loop))
        peer_die("no loop");
    m = ours_open(LANES, "", "like3", &loop);
    double *p = peer_memory(n * 3 * sizeof *p);
    like3_fill(p, data, n);
    call = (mamuto_call_t){ .function = "like3.like3",
                            .args = { mamuto_scatter(p, n), mamuto_broadcast(data) },
                            .result = peer_memory(n * sizeof(double)),
                            .on_done = on_done };
    peer_serve(turn, NULL, &loop);
    mamuto_close(m, ignore);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) ? 1 : 0;
}
