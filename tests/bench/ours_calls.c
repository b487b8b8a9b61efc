/* Many maps at once, a small one beside a big one, and cancelling. */
#include "tests/bench/ours.h"

enum { LANES = 2, MANY = 1000, ITEMS = 100, MAX_TIMES = 1000, STRIDE = 128, WARM = 3 };
enum { BIG_N = 20000, BIG_ITEM_US = 1000, HEAD_START_MS = 5, GAP_MS = 2, LONG_ITEM_US = 10000000 };

struct calls {
    mamuto_t *m;
    uv_loop_t loop;
    uv_timer_t timer;
    uint32_t *in, *out; /* of map i from i * STRIDE on */
    int left;
    uint64_t start_ns;
    double times[MAX_TIMES];
    size_t n;
    mamuto_map_t *big;
    uint32_t *big_in, *big_out;
};

static struct calls calls;

static void start_loop(const char *module)
{
    if (uv_loop_init(&calls.loop) || uv_timer_init(&calls.loop, &calls.timer))
        peer_die("no loop");
    calls.m = ours_open(LANES, "", module, &calls.loop);
}

static void ignore(void *data) { (void)data; }

static int end_loop(void)
{
    mamuto_close(calls.m, ignore);
    uv_close((uv_handle_t *)&calls.timer, NULL);
    uv_run(&calls.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&calls.loop) ? 1 : 0;
}

static void submit(const mamuto_call_t *call, mamuto_map_t **map)
{
    mamuto_error_t err = { 0 };
    if (mamuto_map(calls.m, call, map, &err))
        peer_die("mamuto_map: %s", err.text);
}

static void on_time(uv_timer_t *timer) { (void)timer; }

static void wait_ms(uint64_t ms)
{
    uv_update_time(&calls.loop);
    uv_timer_start(&calls.timer, on_time, ms, 0);
    while (uv_is_active((uv_handle_t *)&calls.timer))
        uv_run(&calls.loop, UV_RUN_ONCE);
}

/* ---- many-maps ---- */

static void on_one_of_many(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    (void)map;
    if (status)
        peer_die("on_done: %s", err->text);
    calls.left--;
}

static mamuto_call_t one_of_many(int i)
{
    return (mamuto_call_t){ .function = "trivial.next",
                            .args = { mamuto_scatter(calls.in + i * STRIDE, ITEMS) },
                            .result = calls.out + i * STRIDE };
}

static void make_many(void)
{
    calls.in = ours_alloc(calls.m, MANY * STRIDE, sizeof *calls.in);
    calls.out = ours_alloc(calls.m, MANY * STRIDE, sizeof *calls.out);
    memset(calls.in, 0, MANY * STRIDE * sizeof *calls.in);
}

static void run_many(int wait)
{
    memset(calls.out, 0, MANY * STRIDE * sizeof *calls.out);
    calls.start_ns = peer_now_ns();
    calls.left = MANY;
    for (int i = 0; i < MANY; i++) {
        mamuto_call_t call = one_of_many(i);
        call.on_done = wait ? NULL : on_one_of_many;
        if (wait)
            ours_map(calls.m, &call);
        else
            submit(&call, NULL);
    }
    const double submitted = (double)(peer_now_ns() - calls.start_ns) / 1e3;
    while (calls.left && !wait)
        uv_run(&calls.loop, UV_RUN_ONCE);
    calls.times[calls.n++] = (double)(peer_now_ns() - calls.start_ns) / 1e3;
    if (calls.out[(MANY - 1) * STRIDE + ITEMS - 1] != 1)
        peer_die("the last item of the last map is wrong");
    if (!wait)
        calls.times[MAX_TIMES - 1] = submitted;
}

static void turn_many(void *ctx, double ms, long arg)
{
    const uint64_t start = peer_now_ns();
    (void)arg;
    calls.n = 0;
    do
        run_many(ctx != NULL);
    while (calls.n < MAX_TIMES / 2 && (double)(peer_now_ns() - start) < ms * 1e6);
    peer_figure("time", stats_median(calls.times, calls.n), "us");
    if (!ctx)
        peer_figure("submit", calls.times[MAX_TIMES - 1], "us");
}

int ours_many(void)
{
    start_loop("trivial");
    make_many();
    for (int i = 0; i < WARM; i++)
        run_many(0);
    peer_serve(turn_many, NULL, NULL);
    return end_loop();
}

int ours_many_wait(void)
{
    calls.m = ours_open(LANES, "", "trivial", NULL);
    make_many();
    for (int i = 0; i < WARM; i++)
        run_many(1);
    peer_serve(turn_many, NULL, &calls);
    return mamuto_close_wait(calls.m) ? 1 : 0;
}

/* ---- small-beside-big, cancel ---- */

static void on_big(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    (void)map;
    if (status != MAMUTO_ECANCELED)
        peer_die("the big map ended before it was cancelled: %s", err ? err->text : "it is done");
    calls.big = NULL;
}

static void start_big(size_t n, uint32_t item_us)
{
    for (size_t i = 0; i < n; i++)
        calls.big_in[i] = item_us;
    mamuto_call_t call = { .function = "trivial.spend",
                           .args = { mamuto_scatter(calls.big_in, n) },
                           .result = calls.big_out,
                           .on_done = on_big };
    submit(&call, &calls.big);
    wait_ms(HEAD_START_MS);
}

/* Milliseconds from the cancel to on_done. */
static double cancel_big(void)
{
    const uint64_t start = peer_now_ns();
    mamuto_cancel(calls.big);
    while (calls.big)
        uv_run(&calls.loop, UV_RUN_ONCE);
    return (double)(peer_now_ns() - start) / 1e6;
}

static void turn_beside(void *ctx, double ms, long arg)
{
    (void)ctx;
    (void)arg;
    start_big(BIG_N, BIG_ITEM_US);
    const uint64_t start = peer_now_ns();
    calls.n = 0;
    do {
        mamuto_call_t call = one_of_many(0);
        call.args[0].count = 1;
        call.on_done = on_one_of_many;
        calls.left = 1;
        const uint64_t before = peer_now_ns();
        submit(&call, NULL);
        while (calls.left)
            uv_run(&calls.loop, UV_RUN_ONCE);
        calls.times[calls.n++] = (double)(peer_now_ns() - before) / 1e6;
        wait_ms(GAP_MS);
    } while (calls.n < MAX_TIMES && (double)(peer_now_ns() - start) < ms * 1e6);
    cancel_big();
    stats_sort(calls.times, calls.n);
    peer_figure("time", stats_quantile(calls.times, calls.n, 0.5), "ms");
    peer_figure("longest", calls.times[calls.n - 1], "ms");
}

static void turn_cancel(void *ctx, double ms, long arg)
{
    (void)ctx;
    (void)ms;
    (void)arg;
    start_big(LANES, LONG_ITEM_US);
    peer_figure("time", cancel_big(), "ms");
}

static int serve_big(peer_turn_fn *turn)
{
    start_loop("trivial");
    make_many();
    calls.big_in = ours_alloc(calls.m, BIG_N, sizeof *calls.big_in);
    calls.big_out = ours_alloc(calls.m, BIG_N, sizeof *calls.big_out);
    run_many(0);
    peer_serve(turn, NULL, NULL);
    return end_loop();
}

int ours_beside(void) { return serve_big(turn_beside); }

int ours_cancel(void) { return serve_big(turn_cancel); }
