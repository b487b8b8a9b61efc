/* Mappers in programs with a loop of another kind: poll, epoll and GLib's, each with hundreds of maps in flight, with
 * cancels, failing items and killed workers; an idle mapper wakes none of them; what dispatch refuses and survives. */
#include "tests/e2e/modules/items.h"
#include "tests/support/e2e.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>
#ifdef MM_HAVE_GLIB
#include <glib-unix.h>
#endif

#include <cmocka.h>

enum { N = 50, MAPS = 300, WORKERS = 3 };

static mamuto_t *m;
static int32_t in[MAPS][N], out[MAPS][N];
static struct map {
    mamuto_map_t *handle;
    int done, status, item_errors;
} maps[MAPS];
static struct {
    int open, open_status, done, closed, dispatches;
    bool inside, called_from_inside; /* a call of the library is on the stack */
    bool close_in_done, dispatch_in_done;
    int refused;
    mamuto_error_t err;
} seen;

/* ---- Three loops ------------------------------------------------------------------------------------------------- */

/* How a program waits for a mapper: a turn of its loop blocks until there is something to do, and dispatches. */
struct kind {
    void (*begin)(void);
    void (*turn)(void);
    void (*end)(void);
    bool (*sleeps)(int ms); /* nothing wakes it for so long; else it has turned */
};

static void dispatch(void)
{
    seen.dispatches++;
    assert_int_equal(mamuto_dispatch(m), 0);
}

/* So long a turn may block: a wake-up that was lost must not hang the test. */
static int patience(void)
{
    int ms = mamuto_timeout_ms(m);
    assert_true(ms >= -1);
    return ms < 0 ? E2E_PATIENCE_MS : ms;
}

static void begin_poll(void) {}

static int poll_once(int ms) { return poll(&(struct pollfd){ mamuto_fd(m), POLLIN, 0 }, 1, ms); }

static void turn_poll(void)
{
    int ms = patience();
    if (poll_once(ms) == 0 && ms == E2E_PATIENCE_MS)
        fail_msg("nothing wakes poll");
    dispatch();
}

static bool sleeps_poll(int ms)
{
    if (mamuto_timeout_ms(m) == -1 && poll_once(ms) == 0)
        return true;
    dispatch();
    return false;
}

static int epoll_fd;

static void begin_epoll(void)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = { .events = EPOLLIN };
    assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, mamuto_fd(m), &event), 0);
}

static void turn_epoll(void)
{
    int ms = patience();
    struct epoll_event event;
    if (epoll_wait(epoll_fd, &event, 1, ms) == 0 && ms == E2E_PATIENCE_MS)
        fail_msg("nothing wakes epoll");
    dispatch();
}

static void end_epoll(void) { close(epoll_fd); }

static bool sleeps_epoll(int ms)
{
    struct epoll_event event;
    if (mamuto_timeout_ms(m) == -1 && epoll_wait(epoll_fd, &event, 1, ms) == 0)
        return true;
    dispatch();
    return false;
}

static const struct kind poll_kind = { begin_poll, turn_poll, begin_poll, sleeps_poll };
static const struct kind epoll_kind = { begin_epoll, turn_epoll, end_epoll, sleeps_epoll };

#ifdef MM_HAVE_GLIB
static GMainContext *context;
static struct source {
    GSource source;
    gpointer tag;
} * source;

static gboolean prepare_source(GSource *unused, gint *timeout)
{
    (void)unused;
    *timeout = mamuto_timeout_ms(m);
    return *timeout == 0;
}

static gboolean check_source(GSource *mine)
{
    return g_source_query_unix_fd(mine, ((struct source *)mine)->tag) || mamuto_timeout_ms(m) == 0;
}

static gboolean dispatch_source(GSource *mine, GSourceFunc function, gpointer data)
{
    (void)mine, (void)function, (void)data;
    dispatch();
    return seen.closed ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

static GSourceFuncs source_functions = { prepare_source, check_source, dispatch_source, NULL, NULL, NULL };

static void begin_glib(void)
{
    context = g_main_context_new();
    source = (struct source *)g_source_new(&source_functions, sizeof *source);
    source->tag = g_source_add_unix_fd(&source->source, mamuto_fd(m), G_IO_IN);
    g_source_attach(&source->source, context);
}

static void end_glib(void)
{
    g_source_destroy(&source->source);
    g_source_unref(&source->source);
    g_main_context_unref(context);
}

static gboolean on_limit(gpointer over)
{
    *(bool *)over = true;
    return G_SOURCE_REMOVE;
}

/* Turns until the mapper's source is dispatched; false: it was not, for so long. */
static bool glib_within(int ms)
{
    bool over = false;
    int before = seen.dispatches;
    GSource *limit = g_timeout_source_new((guint)ms);
    g_source_set_callback(limit, on_limit, &over, NULL);
    g_source_attach(limit, context);
    while (!over && seen.dispatches == before)
        g_main_context_iteration(context, TRUE);
    g_source_destroy(limit);
    g_source_unref(limit);
    return seen.dispatches > before;
}

static void turn_glib(void)
{
    if (!glib_within(E2E_PATIENCE_MS))
        fail_msg("nothing wakes GLib's loop");
}

static bool sleeps_glib(int ms) { return !glib_within(ms); }

static const struct kind glib_kind = { begin_glib, turn_glib, end_glib, sleeps_glib };
#endif

/* ---- A mapper on one of them ------------------------------------------------------------------------------------- */

static int begin(void **state)
{
    (void)state;
    e2e_scratch_begin();
    memset(&seen, 0, sizeof seen);
    memset(maps, 0, sizeof maps);
    memset(in, 0, sizeof in);
    memset(out, 0xff, sizeof out);
    return 0;
}

static int end(void **state)
{
    (void)state;
    e2e_scratch_end();
    return 0;
}

static void on_open(mamuto_t *mapper, int status, const mamuto_error_t *err)
{
    assert_ptr_equal(mamuto_data(mapper), &seen);
    seen.called_from_inside |= seen.inside;
    seen.open++;
    seen.open_status = status;
    if (err)
        seen.err = *err;
}

static void on_close(void *data)
{
    assert_ptr_equal(data, &seen);
    seen.called_from_inside |= seen.inside;
    seen.closed++;
}

static void begin_open(const char *module)
{
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 3}}",
                                 .data = &seen,
                                 .modules = (const char *[]){ module, NULL },
                                 .on_open = on_open };
    seen.inside = true;
    if (mamuto_open(&m, &options, &err) != 0)
        fail_msg("%s", err.text);
    seen.inside = false;
}

static void open_on(const struct kind *kind)
{
    begin_open(E2E_MODULE("items"));
    kind->begin();
    while (!seen.open)
        kind->turn();
    if (seen.open_status)
        fail_msg("%s", seen.err.text);
}

static void close_on(const struct kind *kind)
{
    seen.inside = true;
    assert_int_equal(mamuto_close(m, on_close), 0);
    seen.inside = false;
    while (!seen.closed)
        kind->turn();
    kind->end();
    assert_int_equal(seen.closed, 1);
    assert_int_equal(seen.open, 1);
    assert_false(seen.called_from_inside);
}

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    struct map *mine = mamuto_map_data(map);
    assert_true((status == 0) == (err == NULL));
    seen.called_from_inside |= seen.inside;
    seen.done++;
    mine->done++;
    mine->status = status;
    if (seen.dispatch_in_done)
        seen.refused += mamuto_dispatch(m) == MAMUTO_EINVAL;
    if (seen.close_in_done)
        assert_int_equal(mamuto_close(m, on_close), 0);
    seen.close_in_done = false;
}

static void on_item_error(mamuto_map_t *map, const mamuto_error_t *err)
{
    assert_true(err->code == MAMUTO_EITEM || err->code == MAMUTO_ECRASH);
    ((struct map *)mamuto_map_data(map))->item_errors++;
}

static void start(int k, const char *function)
{
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = function,
                           .args = { mamuto_scatter(in[k], N) },
                           .result = out[k],
                           .on_error = MAMUTO_ON_ERROR_SKIP,
                           .retries = 3, /* a second kill that hits an item alone counts against it */
                           .data = &maps[k],
                           .on_done = on_done,
                           .on_item_error = on_item_error };
    seen.inside = true;
    if (mamuto_map(m, &call, &maps[k].handle, &err) != 0)
        fail_msg("%s", err.text);
    seen.inside = false;
}

static void is_right(int k, bool failing)
{
    for (int i = 0; i < N; i++)
        if (out[k][i] != (failing && in[k][i] ? 0 : i * 2 + 1))
            fail_msg("map %d: item %d is %d", k, i, out[k][i]);
}

/* ---- The same on each -------------------------------------------------------------------------------------------- */

static void kill_a_worker(void)
{
    pid_t pids[E2E_MAX_PIDS];
    int n = e2e_workers(pids, E2E_MAX_PIDS);
    if (n > 0)
        kill(pids[seen.done % n], SIGKILL);
}

/* Of four maps one works for a while, one has items that fail, one has an item that kills its worker, one is cancelled. */
static void start_all(void)
{
    for (int k = 0; k < MAPS; k++) {
        for (int i = 0; i < N; i++)
            in[k][i] = k % 4 == 0 ? 5 : k % 4 == 1 && i % 10 == 3 ? ACT_RETURN : ACT_WORK;
        if (k % 20 == 2)
            in[k][7] = ACT_SEGFAULT;
        start(k, k % 4 == 0 ? "work" : "item");
    }
    for (int k = 3; k < MAPS; k += 4)
        assert_int_equal(mamuto_cancel(maps[k].handle), 0);
    assert_int_equal(seen.done, 0);
}

static void all_ended_as_told(void)
{
    for (int k = 0; k < MAPS; k++) {
        bool fails = k % 4 == 1, crashes = k % 20 == 2;
        assert_int_equal(maps[k].done, 1);
        if (k % 4 == 3) {
            assert_true(maps[k].status == MAMUTO_ECANCELED || maps[k].status == 0);
            continue;
        }
        assert_int_equal(maps[k].status, fails || crashes ? MAMUTO_EITEM : 0);
        assert_int_equal(maps[k].item_errors, fails ? N / 10 : crashes);
        is_right(k, k % 4 != 0);
    }
}

static void many_maps_on(const struct kind *kind)
{
    struct e2e_held before = e2e_hold();
    open_on(kind);
    start_all();
    for (int kills = 0; seen.done < MAPS;) {
        kind->turn();
        if (kills < 5 && seen.done > kills * 20) {
            kill_a_worker();
            kills++;
        }
    }
    all_ended_as_told();
    close_on(kind);
    e2e_holds_as(&before);
}

/* What was left is done in a few turns: a timer that has nothing to do any more, and the like. */
static void be_quiet(const struct kind *kind)
{
    int turns = 0;
    while (!kind->sleeps(200))
        assert_true(++turns < 1000);
}

/* Between the maps of a program that has little to do, nothing runs. */
static void idleness_on(const struct kind *kind)
{
    open_on(kind);
    for (int round = 0; round < 3; round++) {
        be_quiet(kind);
        int before = seen.dispatches;
        assert_true(kind->sleeps(400));
        assert_int_equal(seen.dispatches, before);
        start(round, "item");
        while (seen.done <= round)
            kind->turn();
        is_right(round, false);
    }
    kill_a_worker(); /* it is replaced, and silence again */
    kind->turn();
    be_quiet(kind);
    close_on(kind);
}

/* The fork server dies with maps in flight; they are finished. */
static void restart_on(const struct kind *kind)
{
    open_on(kind);
    for (int k = 0; k < 20; k++) {
        for (int i = 0; i < N; i++)
            in[k][i] = 200;
        start(k, "work");
    }
    kind->turn();
    e2e_kill_server();
    while (seen.done < 20)
        kind->turn();
    for (int k = 0; k < 20; k++) {
        assert_int_equal(maps[k].status, 0);
        is_right(k, false);
    }
    close_on(kind);
}

static void closing_on(const struct kind *kind)
{
    struct e2e_held before = e2e_hold();
    begin_open(E2E_MODULE("items")); /* before it is open */
    kind->begin();
    close_on(kind);
    assert_int_equal(seen.open_status, MAMUTO_ECANCELED);
    memset(&seen, 0, sizeof seen);
    begin_open("/nowhere/module.c"); /* when it could not be opened */
    kind->begin();
    while (!seen.open)
        kind->turn();
    assert_int_equal(seen.open_status, MAMUTO_EMODULE);
    close_on(kind);
    memset(&seen, 0, sizeof seen);
    open_on(kind); /* in a callback, with maps in flight that would not end by themselves */
    seen.close_in_done = true;
    for (int k = 1; k < 80; k++) {
        in[k][0] = ACT_LOOP;
        start(k, "item");
    }
    start(0, "gate");
    assert_int_equal(mamuto_cancel(maps[79].handle), 0); /* the first to be done: it had not begun */
    while (!seen.closed)
        kind->turn();
    kind->end();
    assert_int_equal(seen.done, 80);
    for (int k = 0; k < 80; k++)
        assert_true(maps[k].done == 1 && (k == 0 || maps[k].status == MAMUTO_ECANCELED));
    e2e_holds_as(&before);
}

static void poll_has_many_maps(void **state) { (void)state, many_maps_on(&poll_kind); }
static void poll_is_not_woken_by_an_idle_mapper(void **state) { (void)state, idleness_on(&poll_kind); }
static void poll_outlives_the_fork_server(void **state) { (void)state, restart_on(&poll_kind); }
static void poll_closes_mappers(void **state) { (void)state, closing_on(&poll_kind); }
static void epoll_has_many_maps(void **state) { (void)state, many_maps_on(&epoll_kind); }
static void epoll_is_not_woken_by_an_idle_mapper(void **state) { (void)state, idleness_on(&epoll_kind); }
static void epoll_outlives_the_fork_server(void **state) { (void)state, restart_on(&epoll_kind); }
static void epoll_closes_mappers(void **state) { (void)state, closing_on(&epoll_kind); }

#ifdef MM_HAVE_GLIB
#define ON_GLIB(test_) test_(&glib_kind)
#else
#define ON_GLIB(test_) ((void)test_, skip())
#endif
static void glib_has_many_maps(void **state) { (void)state, ON_GLIB(many_maps_on); }
static void glib_is_not_woken_by_an_idle_mapper(void **state) { (void)state, ON_GLIB(idleness_on); }
static void glib_outlives_the_fork_server(void **state) { (void)state, ON_GLIB(restart_on); }
static void glib_closes_mappers(void **state) { (void)state, ON_GLIB(closing_on); }

/* ---- Dispatch by itself ------------------------------------------------------------------------------------------ */

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void dispatch_without_need_does_nothing_and_returns(void **state)
{
    (void)state;
    open_on(&poll_kind);
    in[0][0] = 1;
    start(0, "gate");
    assert_true(e2e_has_size("begun", 1));
    long long started = now_ms();
    for (int i = 0; i < 1000; i++)
        dispatch();
    assert_true(now_ms() - started < 10000); /* the item goes on by itself after 20 s */
    assert_int_equal(seen.done, 0);
    assert_int_equal(mamuto_cancel(maps[0].handle), 0);
    assert_int_equal(seen.done, 0);
    int timeout = mamuto_timeout_ms(m);
    assert_true(timeout >= 0 && timeout <= 20); /* the worker is looked after, now that it is to stop */
    while (!seen.done)
        turn_poll();
    assert_int_equal(maps[0].status, MAMUTO_ECANCELED);
    close_on(&poll_kind);
}

static void dispatch_in_a_callback_is_refused(void **state)
{
    (void)state;
    open_on(&poll_kind);
    seen.dispatch_in_done = true;
    for (int k = 0; k < 10; k++)
        start(k, "item");
    while (seen.done < 10)
        turn_poll();
    assert_int_equal(seen.refused, 10);
    close_on(&poll_kind);
}

/* A loop of the caller's is turned by the caller. */
static void mapper_on_a_uv_loop_has_nothing_to_dispatch(void **state)
{
    (void)state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    mamuto_options_t options = { .config_text = "{}", .loop = &loop, .data = &seen, .on_open = on_open };
    assert_int_equal(mamuto_open(&m, &options, NULL), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(seen.open, 1);
    assert_int_equal(mamuto_fd(m), -1);
    assert_int_equal(mamuto_timeout_ms(m), -1);
    assert_int_equal(mamuto_dispatch(m), MAMUTO_EINVAL);
    assert_int_equal(mamuto_close(m, on_close), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(seen.closed, 1);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(mamuto_fd(NULL), -1);
    assert_int_equal(mamuto_timeout_ms(NULL), -1);
    assert_int_equal(mamuto_dispatch(NULL), MAMUTO_EINVAL);
}

static int dispatch_in_a_child(void *unused)
{
    (void)unused;
    E2E_CHECK(mamuto_fd(m) == -1);
    E2E_CHECK(mamuto_timeout_ms(m) == -1);
    E2E_CHECK(mamuto_dispatch(m) == MAMUTO_EINVAL);
    return 0;
}

static void dispatch_in_a_child_of_fork_is_refused(void **state)
{
    (void)state;
    open_on(&poll_kind);
    assert_int_equal(e2e_child(dispatch_in_a_child, NULL), 0);
    start(0, "item");
    while (!seen.done)
        turn_poll();
    close_on(&poll_kind);
}

/* Both ways on one mapper: what was begun without waiting goes on in a wait, and the other way round. */
static void waits_and_dispatches_mix(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    m = e2e_open(WORKERS, E2E_MODULE("items"));
    int32_t zeros[N] = { 0 }, result[N];
    mamuto_call_t call = { .function = "item", .args = { mamuto_scatter(zeros, N) }, .result = result };
    for (int round = 0; round < 50; round++) {
        start(2 * round, "item");
        assert_int_equal(mamuto_map_wait(m, &call, NULL), 0);
        start(2 * round + 1, "item");
        while (seen.done < 2 * (round + 1))
            turn_poll();
    }
    be_quiet(&poll_kind);
    assert_int_equal(mamuto_map_wait(m, &call, NULL), 0);
    start(0, "item");
    assert_int_equal(mamuto_close(m, NULL), 0); /* nobody is told: only close_wait can end it */
    for (int i = 0; i < 1000 && mamuto_timeout_ms(m) >= 0; i++)
        turn_poll();
    assert_int_equal(mamuto_dispatch(m), 0);
    e2e_close(m);
    e2e_holds_as(&before);
}

/* libuv keeps some descriptors from the first loop on: they are there before anything is counted. */
static int set_up(void **state)
{
    (void)state;
    uv_loop_t loop;
    return uv_loop_init(&loop) || uv_loop_close(&loop);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(poll_has_many_maps),
        TEST(poll_is_not_woken_by_an_idle_mapper),
        TEST(poll_outlives_the_fork_server),
        TEST(poll_closes_mappers),
        TEST(epoll_has_many_maps),
        TEST(epoll_is_not_woken_by_an_idle_mapper),
        TEST(epoll_outlives_the_fork_server),
        TEST(epoll_closes_mappers),
        TEST(glib_has_many_maps),
        TEST(glib_is_not_woken_by_an_idle_mapper),
        TEST(glib_outlives_the_fork_server),
        TEST(glib_closes_mappers),
        TEST(dispatch_without_need_does_nothing_and_returns),
        TEST(dispatch_in_a_callback_is_refused),
        TEST(mapper_on_a_uv_loop_has_nothing_to_dispatch),
        TEST(dispatch_in_a_child_of_fork_is_refused),
        TEST(waits_and_dispatches_mix),
    };
    return cmocka_run_group_tests_name("e2e_foreign_loop", tests, set_up, NULL);
}
