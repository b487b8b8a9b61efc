/* on_spans and on_progress: each item that has landed is told exactly once, whatever is killed; not too often; from one
 * worker, at a time that can be. $MAMUTO_SEED replays the kills of an earlier run. */
#include "tests/e2e/modules/once.h"
#include "tests/support/e2e.h"
#include "tests/support/private.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

enum { N = 3000, WORKERS = 3 };

static mamuto_t *m;
static uint32_t in[N];
static uint64_t out[N];
static unsigned char told[N];
static struct {
    unsigned calls, spans, unknown, late, progress;
    uint64_t begun_ns, last_ns, items, last_done;
    unsigned done;
    int status;
    bool check_result, cancel_in_spans, cancel_in_progress, close_in_spans;
    double most_rate;
} seen;
static uint64_t seed, state_of_random;

static uint64_t below(uint64_t n)
{
    state_of_random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = state_of_random;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % n;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int begin(void **state)
{
    (void)state;
    e2e_scratch_begin();
    int fd = open(e2e_path("counts"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, N) == 0);
    close(fd);
    m = e2e_open(WORKERS, E2E_MODULE("once"));
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (m)
        e2e_close(m);
    e2e_scratch_end();
    return 0;
}

static void work(uint32_t ns)
{
    for (int i = 0; i < N; i++)
        in[i] = ns << ONCE_ACT_BITS;
}

static void on_spans(mamuto_map_t *map, const mamuto_span_t *spans, size_t n)
{
    uint64_t now = now_ns();
    assert_true(n > 0 && !seen.done);
    seen.calls++;
    seen.spans += (unsigned)n;
    for (size_t k = 0; k < n; k++) {
        const mamuto_span_t *span = &spans[k];
        assert_true(span->count > 0 && span->first < N && span->count <= N - span->first);
        assert_string_equal(span->host, "localhost");
        assert_true(span->worker >= -1 && span->worker < WORKERS);
        assert_true(span->start_ns >= seen.begun_ns && span->start_ns <= span->end_ns && span->end_ns <= now);
        seen.unknown += span->worker < 0;
        for (uint64_t i = span->first; i < span->first + span->count; i++) {
            if (told[i]++)
                fail_msg("item %" PRIu64 " is told twice; MAMUTO_SEED=%" PRIu64, i, seed);
            if (seen.check_result && out[i] != 3 * i + 1 && out[i] != 0)
                fail_msg("item %" PRIu64 " has not landed, and is told; MAMUTO_SEED=%" PRIu64, i, seed);
        }
        seen.items += span->count;
    }
    if (seen.cancel_in_spans)
        assert_int_equal(mamuto_cancel(map), 0);
    if (seen.close_in_spans) {
        seen.close_in_spans = false;
        assert_int_equal(mamuto_close(m, NULL), 0);
    }
}

static void on_progress(mamuto_map_t *map, const mamuto_progress_t *p)
{
    assert_int_equal(seen.done, 0);
    seen.progress++;
    assert_int_equal(p->total, N);
    assert_true(p->done <= N && p->failed <= p->done && p->done >= seen.last_done);
    assert_true(p->seconds > 0 && p->rate >= 0 && p->eta >= 0 && (p->done || p->rate == 0));
    assert_true(p->bytes_in == 0 && p->bytes_out == 0);
    seen.last_done = p->done;
    if (seen.cancel_in_progress)
        assert_int_equal(mamuto_cancel(map), 0);
}

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    (void)map;
    assert_true((status == 0) == (err == NULL));
    seen.done++;
    seen.status = status;
}

static mamuto_call_t call_of(const char *function)
{
    memset(told, 0, sizeof told);
    memset(&seen, 0, sizeof seen);
    for (int i = 0; i < N; i++)
        out[i] = 12345;
    seen.begun_ns = now_ns();
    return (mamuto_call_t){ .function = function,
                            .args = { mamuto_scatter(in, N) },
                            .result = out,
                            .on_done = on_done,
                            .on_spans = on_spans,
                            .on_progress = on_progress };
}

/* All that was asked for has been told, and not too often. */
static void expect_whole(void)
{
    double seconds = (double)(now_ns() - seen.begun_ns) / 1e9;
    for (int i = 0; i < N; i++)
        if (told[i] != 1)
            fail_msg("item %d is told %d times; MAMUTO_SEED=%" PRIu64, i, told[i], seed);
    assert_int_equal(seen.items, N);
    assert_true(seen.calls <= 100 * seconds + 2);
    assert_true(seen.progress <= 11 * seconds + 1);
    assert_int_equal(seen.done, 1);
}

static void run_whole(mamuto_call_t *call)
{
    mamuto_error_t err = { 0 };
    if (mamuto_map_wait(m, call, &err) != 0)
        fail_msg("%s", err.text);
    expect_whole();
}

/* ---- Spans -------------------------------------------------------------------------------------------------------- */

static void spans_tell_each_item_once(void **state)
{
    (void)state;
    static const uint32_t ns[] = { 0, 100, 20000, 50000 };
    for (int round = 0; round < 16; round++) {
        work(ns[round % 4]);
        mamuto_call_t call = call_of(round & 1 ? "once.chunk" : "once.item");
        seen.check_result = true;
        call.once = round & 4 ? 1 : 0;
        call.help = round & 8 ? 1 : 0;
        run_whole(&call);
        if (!call.help && !call.once)
            assert_int_equal(seen.unknown, 0);
        if (round % 4 == 3 && !call.help)
            assert_true(seen.calls > 3 && seen.spans > 3);
    }
}

static void spans_of_failed_items_are_told(void **state)
{
    (void)state;
    for (int once = 0; once < 2; once++) {
        mamuto_error_t err = { 0 };
        work(10000);
        for (int i = 3; i < N; i += 500)
            in[i] |= ONCE_FAIL;
        mamuto_call_t call = call_of("once.item");
        seen.check_result = true;
        call.on_error = MAMUTO_ON_ERROR_SKIP;
        call.once = once;
        e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EITEM, "6 of 3000");
        expect_whole();
    }
}

static void spans_of_a_map_that_ends_early_are_what_is_stored(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    work(10000);
    in[N / 2] |= ONCE_FAIL;
    mamuto_call_t call = call_of("once.item");
    seen.check_result = true;
    assert_int_equal(mamuto_map_wait(m, &call, &err), MAMUTO_EITEM);
    for (int i = 0; i < N; i++)
        assert_true(told[i] <= 1 && (!told[i] || i == N / 2 || out[i] == 3 * (uint64_t)i + 1));
}

static void map_of_no_items_has_no_spans(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = call_of("once.item");
    call.args[0].count = 0;
    call.count = 0;
    assert_int_equal(mamuto_map_wait(m, &call, &err), 0);
    assert_int_equal(seen.calls, 0);
    work(0);
    call = call_of("once.item");
    run_whole(&call);
}

static void many_maps_at_once_are_told_each_of_its_own(void **state)
{
    (void)state;
    enum { MAPS = 100, EACH = N / MAPS };
    mamuto_error_t err = { 0 };
    work(50000);
    mamuto_call_t call = call_of("once.item");
    call.on_progress = NULL;
    for (int i = 0; i < MAPS; i++) { /* first is counted from each map's own item 0: all say the same */
        call.args[0] = mamuto_scatter(in, EACH);
        call.result = out + (ptrdiff_t)i * EACH;
        call.on_spans = NULL;
        call.on_done = NULL;
        assert_int_equal(mamuto_map(m, &call, NULL, &err), 0);
    }
    call = call_of("once.item"); /* behind all these */
    run_whole(&call);
}

static struct {
    pthread_t thread;
    bool servers;
    _Atomic bool over;
} killer;

static void *kill_at_random(void *unused)
{
    (void)unused;
    bool servers = killer.servers; /* one of them a map: a few in a row are too much for it */
    while (!killer.over) {
        pid_t pids[E2E_MAX_PIDS];
        int n = e2e_descendants(getpid(), "mamuto-worker", pids, E2E_MAX_PIDS);
        nanosleep(&(struct timespec){ .tv_nsec = (long)below(8000000) }, NULL);
        if (killer.over)
            break;
        if (servers && below(8) == 0) {
            e2e_kill_server();
            servers = false;
        } else if (n > 0)
            kill(pids[below((uint64_t)n)], SIGKILL);
    }
    return NULL;
}

static void kill_under(mamuto_call_t *call)
{
    mamuto_error_t err = { 0 };
    killer.over = false;
    assert_int_equal(pthread_create(&killer.thread, NULL, kill_at_random, NULL), 0);
    int code = mamuto_map_wait(m, call, &err);
    killer.over = true;
    pthread_join(killer.thread, NULL);
    if (code && code != MAMUTO_EITEM)
        fail_msg("%d: %s; MAMUTO_SEED=%" PRIu64, code, err.text, seed);
    expect_whole();
}

static void spans_are_whole_under_random_kills(void **state)
{
    (void)state;
    for (int round = 0; round < 12; round++) {
        killer.servers = round % 3 == 2;
        work(round & 1 ? 20000 : 60000);
        for (int i = 1; i < N && round & 2; i += 1000)
            in[i] |= ONCE_FAIL;
        mamuto_call_t call = call_of(round & 1 ? "once.chunk" : "once.item");
        call.on_error = MAMUTO_ON_ERROR_SKIP;
        call.once = round & 4 ? 1 : 0;
        call.help = round == 3;
        seen.check_result = true;
        kill_under(&call);
    }
}

/* Where workers may not read the program's memory, items land when they are copied back. */
static int copied(void *unused)
{
    (void)unused;
    private_deny();
    m = e2e_open(WORKERS, E2E_MODULE("once"));
    for (int round = 0; round < 4; round++) {
        work(20000);
        mamuto_call_t call = call_of("once.item");
        call.on_error = MAMUTO_ON_ERROR_SKIP;
        call.once = round & 1;
        seen.check_result = true;
        killer.servers = false;
        kill_under(&call);
    }
    e2e_close(m);
    return 0;
}

static void spans_of_copied_maps_are_told_when_they_have_landed(void **state)
{
    (void)state;
    assert_int_equal(e2e_child(copied, NULL), 0);
}

/* ---- In the callbacks ---------------------------------------------------------------------------------------------- */

static void map_is_cancelled_in_on_spans(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    work(200000);
    mamuto_call_t call = call_of("once.item");
    seen.cancel_in_spans = seen.check_result = true;
    assert_int_equal(mamuto_map_wait(m, &call, &err), MAMUTO_ECANCELED);
    assert_int_equal(seen.done, 1);
    assert_true(seen.items > 0 && seen.items < N);
    work(0);
    call = call_of("once.item");
    run_whole(&call);
}

static void map_is_cancelled_in_on_progress(void **state)
{
    (void)state;
    for (int help = 0; help < 2; help++) {
        mamuto_error_t err = { 0 };
        work(500000);
        mamuto_call_t call = call_of("once.item");
        seen.cancel_in_progress = true;
        call.help = help;
        assert_int_equal(mamuto_map_wait(m, &call, &err), MAMUTO_ECANCELED);
        assert_int_equal(seen.progress, 1);
        assert_true(seen.last_done > 0 && seen.last_done < N);
    }
}

static void on_open(mamuto_t *mapper, int status, const mamuto_error_t *err)
{
    (void)mapper;
    if (status)
        fail_msg("cannot open: %s", err->text);
}

static void mapper_is_closed_in_on_spans(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    uv_loop_t loop;
    e2e_close(m);
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 3}}",
                                 .modules = (const char *[]){ E2E_MODULE("once"), NULL },
                                 .loop = &loop,
                                 .on_open = on_open };
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(mamuto_open(&m, &options, &err), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    work(200000);
    mamuto_call_t call = call_of("once.item");
    seen.close_in_spans = true;
    assert_int_equal(mamuto_map(m, &call, NULL, &err), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(seen.done, 1);
    assert_int_equal(seen.status, MAMUTO_ECANCELED);
    assert_int_equal(uv_loop_close(&loop), 0);
    m = NULL;
}

/* ---- Progress ------------------------------------------------------------------------------------------------------ */

static bool has_progress(void *at_least)
{
    uv_run(*(uv_loop_t **)at_least, UV_RUN_NOWAIT);
    return seen.progress >= 5;
}

/* All items hang: nothing lands, and the calls come all the same; also to maps that wait for room. */
static void progress_comes_when_nothing_lands(void **state)
{
    (void)state;
    static mamuto_map_t *handles[70];
    mamuto_error_t err = { 0 };
    uv_loop_t loop, *at = &loop;
    e2e_close(m);
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 3}}",
                                 .modules = (const char *[]){ E2E_MODULE("once"), NULL },
                                 .loop = &loop,
                                 .on_open = on_open };
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(mamuto_open(&m, &options, &err), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (int i = 0; i < N; i++)
        in[i] = ONCE_HANG;
    mamuto_call_t call = call_of("once.item");
    call.on_progress = NULL;
    call.on_done = NULL;
    for (int i = 0; i < 69; i++)
        assert_int_equal(mamuto_map(m, &call, &handles[i], &err), 0);
    call.on_progress = on_progress;
    assert_int_equal(mamuto_map(m, &call, &handles[69], &err), 0);
    assert_true(e2e_until(has_progress, &at, E2E_PATIENCE_MS));
    assert_int_equal(seen.last_done, 0);
    for (int i = 0; i < 70; i++)
        assert_int_equal(mamuto_cancel(handles[i]), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    mamuto_close(m, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    m = NULL;
}

static void progress_comes_in_wait_forms(void **state)
{
    (void)state;
    for (int help = 0; help < 2; help++) {
        work(200000); /* 0.4 s and more */
        mamuto_call_t call = call_of("once.item");
        call.help = help;
        run_whole(&call);
        assert_true(seen.progress >= 2);
        assert_true(seen.last_done > 0);
    }
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, begin, end)

int main(void)
{
    const char *text = getenv("MAMUTO_SEED");
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", seed);
    state_of_random = seed;
    const struct CMUnitTest tests[] = {
        TEST(spans_tell_each_item_once),
        TEST(spans_of_failed_items_are_told),
        TEST(spans_of_a_map_that_ends_early_are_what_is_stored),
        TEST(map_of_no_items_has_no_spans),
        TEST(many_maps_at_once_are_told_each_of_its_own),
        TEST(spans_are_whole_under_random_kills),
        TEST(spans_of_copied_maps_are_told_when_they_have_landed),
        TEST(map_is_cancelled_in_on_spans),
        TEST(map_is_cancelled_in_on_progress),
        TEST(mapper_is_closed_in_on_spans),
        TEST(progress_comes_when_nothing_lands),
        TEST(progress_comes_in_wait_forms),
    };
    return cmocka_run_group_tests_name("e2e_spans", tests, NULL, NULL);
}
