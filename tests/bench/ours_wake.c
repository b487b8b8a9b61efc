/* Maps after idleness, the time that opening takes, and idleness itself. */
#include "tests/bench/ours.h"

#include <limits.h>

#include "tests/bench/like3.h"

enum { LANES = 2, MAX_TIMES = 1000, IDLE_MS = 5, MANY_N = 1000000, WARM_N = 1000 };

struct wake {
    mamuto_t *m;
    mamuto_call_t call;
    uv_loop_t loop;
    uv_timer_t timer;
    uint64_t start_ns;
    double times[MAX_TIMES], submit[MAX_TIMES], submit_cpu[MAX_TIMES];
    size_t n;
    uint32_t in[LANES], out[LANES];
};

static struct wake wake;

static void start_loop(void)
{
    if (uv_loop_init(&wake.loop) || uv_timer_init(&wake.loop, &wake.timer))
        peer_die("no loop");
}

static void on_close(void *data) { (void)data; }

static int end_loop(void)
{
    mamuto_close(wake.m, on_close);
    uv_close((uv_handle_t *)&wake.timer, NULL);
    uv_run(&wake.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&wake.loop) ? 1 : 0;
}

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    (void)map;
    if (status)
        peer_die("on_done: %s", err->text);
    wake.times[wake.n++] = (double)(peer_now_ns() - wake.start_ns) / 1e3;
}

static void on_timer(uv_timer_t *timer)
{
    mamuto_error_t err = { 0 };
    (void)timer;
    const uint64_t cpu_ns = peer_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    wake.start_ns = peer_now_ns();
    if (mamuto_map(wake.m, &wake.call, NULL, &err))
        peer_die("mamuto_map: %s", err.text);
    wake.submit[wake.n] = (double)(peer_now_ns() - wake.start_ns) / 1e3;
    wake.submit_cpu[wake.n] = (double)(peer_clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns) / 1e3;
}

/* Each map is submitted by a timer after 5 ms in which the loop and the workers had nothing to do. */
static void run_loop(double ms)
{
    const uint64_t start = peer_now_ns();
    wake.n = 0;
    do {
        uv_update_time(&wake.loop);
        uv_timer_start(&wake.timer, on_timer, IDLE_MS, 0);
        uv_run(&wake.loop, UV_RUN_DEFAULT);
    } while (wake.n < MAX_TIMES && (double)(peer_now_ns() - start) < ms * 1e6);
    stats_sort(wake.times, wake.n);
    stats_sort(wake.submit, wake.n);
    stats_sort(wake.submit_cpu, wake.n);
}

static void turn_wake(void *ctx, double ms, long arg)
{
    (void)ctx;
    (void)arg;
    run_loop(ms);
    peer_figure("time", stats_quantile(wake.times, wake.n, 0.5), "us");
    peer_figure("submit", stats_quantile(wake.submit, wake.n, 0.5), "us");
}

static mamuto_call_t trivial_call(void)
{
    uint32_t *arrays = ours_alloc(wake.m, 64, sizeof *arrays);
    return (mamuto_call_t){
        .function = "trivial.next", .args = { mamuto_scatter(arrays, LANES) }, .result = arrays + 32, .on_done = on_done
    };
}

int ours_wake(void)
{
    start_loop();
    wake.m = ours_open(LANES, "", "trivial", &wake.loop);
    wake.call = trivial_call();
    run_loop(50);
    peer_serve(turn_wake, NULL, NULL);
    return end_loop();
}

static void once_map(void *ctx)
{
    (void)ctx;
    ours_map(wake.m, &wake.call);
}

static void turn_wake_help(void *ctx, double ms, long arg)
{
    (void)arg;
    size_t n = peer_each_us(once_map, ctx, ms, IDLE_MS, wake.times, MAX_TIMES);
    peer_figure("time", stats_quantile(wake.times, n, 0.5), "us");
}

int ours_wake_help(void)
{
    wake.m = ours_open(LANES - 1, "", "trivial", NULL);
    wake.call = trivial_call();
    wake.call.on_done = NULL;
    wake.call.help = 1;
    for (int i = 0; i < WARM_N; i++)
        once_map(NULL);
    peer_serve(turn_wake_help, NULL, NULL);
    return mamuto_close_wait(wake.m) ? 1 : 0;
}

static void turn_wake_many(void *ctx, double ms, long arg)
{
    (void)ctx;
    (void)arg;
    run_loop(ms);
    peer_figure("submit", stats_quantile(wake.submit, wake.n, 0.5), "us");
    peer_figure("submit-cpu", stats_quantile(wake.submit_cpu, wake.n, 0.5), "us");
    peer_figure("longest", wake.submit[wake.n - 1], "us");
    peer_figure("time", stats_quantile(wake.times, wake.n, 0.5), "us");
}

static mamuto_call_t like_call(size_t n)
{
    static double data[3];
    double *p = ours_alloc(wake.m, n, 3 * sizeof(double));
    like3_fill(p, data, n);
    return (mamuto_call_t){ .function = "like3.like3",
                            .args = { mamuto_scatter(p, n), mamuto_broadcast(data) },
                            .result = ours_alloc(wake.m, n, sizeof(double)),
                            .on_done = on_done };
}

int ours_wake_many(int workers)
{
    start_loop();
    wake.m = ours_open(workers, "", "like3", &wake.loop);
    wake.call = like_call(MANY_N);
    run_loop(200);
    peer_serve(turn_wake_many, NULL, NULL);
    return end_loop();
}

/* The mapper is opened and used, and closed again when the clock has been read. */
static void open_once(void)
{
    wake.m = ours_open(LANES, "", "trivial", NULL);
    wake.call =
        (mamuto_call_t){ .function = "trivial.next", .args = { mamuto_scatter(wake.in, LANES) }, .result = wake.out };
    ours_map(wake.m, &wake.call);
}

static void turn_open(void *ctx, double ms, long arg)
{
    const uint64_t start = peer_now_ns();
    size_t n = 0;
    (void)ctx;
    (void)arg;
    do {
        const uint64_t before = peer_now_ns();
        open_once();
        wake.times[n++] = (double)(peer_now_ns() - before) / 1e6;
        if (wake.out[0] != 1 || mamuto_close_wait(wake.m))
            peer_die("the mapper does not work, or does not close");
    } while (n < MAX_TIMES && (double)(peer_now_ns() - start) < ms * 1e6);
    peer_figure("time", stats_median(wake.times, n), "ms");
}

int ours_open_row(void) { return peer_serve(turn_open, NULL, NULL); }

static void time_is_up(uv_timer_t *timer) { uv_stop(timer->loop); }

/* Idles in uv_run() for the length of the turn; the driver reads what all of our processes used. */
static void turn_idle(void *ctx, double ms, long arg)
{
    (void)ctx;
    (void)arg;
    uv_update_time(&wake.loop);
    uv_timer_start(&wake.timer, time_is_up, (uint64_t)ms, 0);
    uv_run(&wake.loop, UV_RUN_DEFAULT);
    peer_figure("idle", ms / 1e3, "s");
}

int ours_idle(void)
{
    start_loop();
    wake.m = ours_open(LANES, "", "like3", &wake.loop);
    wake.call = like_call(WARM_N);
    run_loop(100);
    peer_serve(turn_idle, NULL, NULL);
    return end_loop();
}
