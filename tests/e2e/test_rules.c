/* The rules 1 to 5 at the head of mamuto.h, where no other test holds the library to them: what was refused calls nothing
 * back, what was borrowed may be overwritten, arrays are left alone after on_done, a cancel spares the workers that come
 * back by themselves, what is in flight keeps the loop going, and no callback may wait. */
#include "tests/e2e/modules/items.h"
#include "tests/support/e2e.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

#include <cmocka.h>

enum { N = 20000, WORKERS = 3 };

static uv_loop_t loop;
static mamuto_t *m;
static int32_t in[N], out[N];
static struct {
    int open, open_status, done, loaded, kept, item_errors, closed, hosts, spans, progress, status;
    uint64_t ended_ns;
    bool wait_everywhere; /* each callback tries to */
    int waits, refused;
    int32_t *overwrite; /* by on_done */
    mamuto_kept_t *forget;
} seen;

/* ---- Callbacks --------------------------------------------------------------------------------------------------- */

/* All forms that wait, on the mapper whose callback this is. */
static void try_to_wait(mamuto_t *mapper)
{
    if (!seen.wait_everywhere)
        return;
    int32_t result[4], value;
    mamuto_kept_t *kept = NULL;
    mamuto_call_t call = { .function = "item", .args = { mamuto_scatter(in, 4) }, .result = result };
    mamuto_call_t folded = { .function = "item", .args = { mamuto_scatter(in, 4) }, .fold = "plus", .value = &value };
    mamuto_keep_t keep = { .type = "i4", .arg = mamuto_scatter(in, 4) };
    mamuto_error_t err = { 0 };
    int codes[] = { mamuto_map_wait(mapper, &call, &err), mamuto_load_wait(mapper, E2E_MODULE("basic"), NULL),
                    mamuto_reduce_wait(mapper, &folded, NULL), mamuto_keep_wait(mapper, &keep, &kept, NULL),
                    mamuto_close_wait(mapper) };
    seen.waits++;
    seen.refused += strstr(err.text, "callback") != NULL;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        assert_int_equal(codes[i], MAMUTO_EINVAL);
    assert_null(kept);
}

static void on_open(mamuto_t *mapper, int status, const mamuto_error_t *err)
{
    (void)err;
    seen.open++;
    seen.open_status = status;
    try_to_wait(mapper);
}

static void on_host(mamuto_t *mapper, const mamuto_host_t *host)
{
    (void)host;
    seen.hosts++;
    try_to_wait(mapper);
}

static void on_close(void *data)
{
    (void)data;
    seen.closed++;
}

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    (void)map, (void)err;
    seen.done++;
    seen.status = status;
    seen.ended_ns = uv_hrtime();
    for (int i = 0; seen.overwrite && i < N; i++)
        seen.overwrite[i] = -7;
    if (seen.forget)
        assert_int_equal(mamuto_forget(seen.forget), 0);
    seen.forget = NULL;
    try_to_wait(m);
}

static void on_item_error(mamuto_map_t *map, const mamuto_error_t *err)
{
    (void)map, (void)err;
    if (seen.item_errors++ == 0)
        try_to_wait(m);
}

static void on_spans(mamuto_map_t *map, const mamuto_span_t *spans, size_t n)
{
    (void)map, (void)spans, (void)n;
    if (seen.spans++ == 0)
        try_to_wait(m);
}

static void on_progress(mamuto_map_t *map, const mamuto_progress_t *progress)
{
    (void)map, (void)progress;
    if (seen.progress++ == 0)
        try_to_wait(m);
}

static void on_loaded(mamuto_t *mapper, int status, const mamuto_error_t *err)
{
    (void)err;
    seen.loaded++;
    seen.status = status;
    try_to_wait(mapper);
}

static void on_kept(mamuto_kept_t *kept, int status, const mamuto_error_t *err)
{
    (void)kept, (void)err;
    seen.kept++;
    seen.status = status;
    try_to_wait(m);
}

/* ---- A mapper on a loop ------------------------------------------------------------------------------------------ */

static int begin(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    memset(in, 0, sizeof in);
    e2e_scratch_begin();
    return 0;
}

static int end(void **state)
{
    (void)state;
    e2e_scratch_end();
    return 0;
}

static void run_loop(void) { uv_run(&loop, UV_RUN_DEFAULT); }

static void open_on_loop(void)
{
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 3}}",
                                 .modules = (const char *[]){ E2E_MODULE("items"), NULL },
                                 .loop = &loop,
                                 .on_open = on_open };
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(mamuto_open(&m, &options, NULL), 0);
    run_loop();
    assert_int_equal(seen.open_status, 0);
}

static void close_loop(void)
{
    assert_int_equal(mamuto_close(m, on_close), 0);
    run_loop();
    assert_int_equal(seen.closed, 1);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static mamuto_call_t call_of(const char *function, size_t n)
{
    return (mamuto_call_t){ .function = function,
                            .args = { mamuto_scatter(in, n) },
                            .result = out,
                            .on_error = MAMUTO_ON_ERROR_SKIP,
                            .on_done = on_done,
                            .on_item_error = on_item_error };
}

static mamuto_map_t *start(const mamuto_call_t *call)
{
    mamuto_error_t err = { 0 };
    mamuto_map_t *map = NULL;
    if (mamuto_map(m, call, &map, &err) != 0)
        fail_msg("%s", err.text);
    return map;
}

static void nothing_was_called_back(void)
{
    assert_int_equal(uv_loop_alive(&loop), 0);
    run_loop();
    assert_int_equal(seen.done + seen.loaded + seen.kept + seen.item_errors, 0);
}

/* ---- Rule 1 ------------------------------------------------------------------------------------------------------ */

static void refused_call_does_nothing_and_calls_nothing_back(void **state)
{
    (void)state;
    open_on_loop();
    memset(out, 0x55, sizeof out);
    mamuto_map_t *map = NULL;
    mamuto_call_t calls[] = { call_of("nothing", 4), call_of("item", 4), call_of("item", 4), call_of("item", 4) };
    calls[1].args[0].data = NULL;
    calls[2].result = NULL;
    calls[3].reserved[0] = 1;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        assert_true(mamuto_map(m, &calls[i], &map, NULL) < 0);
        calls[i].fold = "plus";
        calls[i].value = &out[0];
        assert_true(mamuto_reduce(m, &calls[i], &map, NULL) < 0);
        assert_null(map);
    }
    nothing_was_called_back();
    mamuto_kept_t *kept = NULL;
    mamuto_keep_t keep = { .type = "i5", .arg = mamuto_scatter(in, 4), .on_kept = on_kept };
    assert_int_equal(mamuto_keep(m, &keep, &kept, NULL), MAMUTO_ESIGNATURE);
    assert_null(kept);
    nothing_was_called_back();
    for (size_t i = 0; i < sizeof out; i++)
        assert_int_equal(((unsigned char *)out)[i], 0x55);
    assert_int_equal(mamuto_close(m, on_close), 0);
    assert_int_equal(mamuto_close(m, on_close), MAMUTO_EINVAL); /* which is no second on_close */
    assert_int_equal(mamuto_load(m, E2E_MODULE("basic"), on_loaded, NULL), MAMUTO_EINVAL);
    run_loop();
    assert_int_equal(seen.closed, 1);
    assert_int_equal(seen.loaded, 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void refused_open_calls_nothing_back(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    assert_int_equal(uv_loop_init(&loop), 0);
    m = NULL;
    mamuto_options_t options = { .config_text = "{", .loop = &loop, .on_open = on_open, .on_host = on_host };
    assert_int_equal(mamuto_open(&m, &options, NULL), MAMUTO_ECONFIG);
    assert_null(m);
    options.config = "/nowhere";
    assert_int_equal(mamuto_open(&m, &options, NULL), MAMUTO_EINVAL);
    assert_int_equal(uv_loop_alive(&loop), 0);
    run_loop();
    assert_int_equal(seen.open + seen.hosts, 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    e2e_holds_as(&before);
}

/* ---- Rule 2 ------------------------------------------------------------------------------------------------------ */

static void strings_and_structs_are_borrowed_for_the_call_alone(void **state)
{
    (void)state;
    char config[] = "{\"hosts\": {\"localhost\": 3}}", module[256], function[] = "items.item";
    snprintf(module, sizeof module, "%s", E2E_MODULE("items"));
    const char *modules[] = { module, NULL };
    mamuto_options_t options = { .config_text = config, .modules = modules, .loop = &loop, .on_open = on_open };
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(mamuto_open(&m, &options, NULL), 0);
    memset(config, 'x', sizeof config - 1);
    memset(module, 'x', sizeof module - 1);
    memset(modules, 0xff, sizeof modules);
    memset(&options, 0xff, sizeof options);
    run_loop();
    assert_int_equal(seen.open_status, 0);
    mamuto_call_t call = call_of(function, 100);
    start(&call);
    memset(function, 'x', sizeof function - 1);
    memset(&call, 0xff, sizeof call);
    snprintf(module, sizeof module, "%s", E2E_MODULE("basic"));
    assert_int_equal(mamuto_load(m, module, on_loaded, NULL), 0);
    memset(module, 'x', sizeof module - 1);
    run_loop();
    assert_int_equal(seen.done, 1);
    assert_int_equal(seen.loaded, 1);
    assert_int_equal(seen.status, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(out[i], 2 * i + 1);
    close_loop();
}

/* Workers are in the middle of it when it is cancelled: not one of them writes on_done's numbers over. */
static void arrays_are_left_alone_after_on_done(void **state)
{
    (void)state;
    open_on_loop();
    int32_t *shared = mamuto_alloc(m, N, sizeof *shared, NULL);
    assert_non_null(shared);
    for (int i = 0; i < N; i++)
        in[i] = 20;
    for (int round = 0; round < 30; round++) {
        mamuto_call_t call = call_of("work", N);
        call.result = seen.overwrite = round % 2 ? shared : out;
        seen.done = 0;
        mamuto_map_t *map = start(&call);
        for (int k = 0; k < 1 + round % 5; k++)
            e2e_nap();
        assert_int_equal(mamuto_cancel(map), 0);
        run_loop();
        assert_int_equal(seen.done, 1);
        assert_int_equal(seen.status, MAMUTO_ECANCELED);
        for (int k = 0; k < 20; k++)
            e2e_nap();
        for (int i = 0; i < N; i++)
            if (seen.overwrite[i] != -7)
                fail_msg("item %d of round %d was written after on_done", i, round);
    }
    close_loop();
}

/* ---- Rule 3 ------------------------------------------------------------------------------------------------------ */

static int workers_of(pid_t *pids)
{
    int n = e2e_workers(pids, E2E_MAX_PIDS);
    assert_true(n <= E2E_MAX_PIDS);
    return n;
}

static int still_alive(const pid_t *pids, int n)
{
    int alive = 0;
    for (int i = 0; i < n; i++)
        alive += e2e_is_alive(pids[i]);
    return alive;
}

static void cancel_spares_workers_that_come_back(void **state)
{
    (void)state;
    pid_t pids[E2E_MAX_PIDS];
    open_on_loop();
    int n = workers_of(pids);
    for (int i = 0; i < N; i++)
        in[i] = 100; /* µs: more than two seconds in all */
    mamuto_call_t call = call_of("work", N);
    for (int round = 0; round < 10; round++) {
        mamuto_map_t *map = start(&call);
        e2e_nap();
        uint64_t cancelled_ns = uv_hrtime();
        assert_int_equal(mamuto_cancel(map), 0);
        run_loop();
        assert_int_equal(seen.status, MAMUTO_ECANCELED);
        assert_true(seen.ended_ns - cancelled_ns < 1000000000);
    }
    assert_int_equal(still_alive(pids, n), n);
    close_loop();
}

static void cancel_kills_a_worker_after_a_tenth_of_a_second(void **state)
{
    (void)state;
    pid_t pids[E2E_MAX_PIDS];
    open_on_loop();
    int n = workers_of(pids);
    in[0] = 1;
    mamuto_call_t call = call_of("gate", 1);
    mamuto_map_t *map = start(&call);
    assert_true(e2e_has_size("begun", 1));
    uint64_t cancelled_ns = uv_hrtime();
    assert_int_equal(mamuto_cancel(map), 0);
    run_loop();
    assert_int_equal(seen.status, MAMUTO_ECANCELED);
    uint64_t took_ns = seen.ended_ns - cancelled_ns;
    assert_true(took_ns >= 90000000 && took_ns < UINT64_C(5000000000));
    assert_int_equal(still_alive(pids, n), n - 1);
    close_loop();
}

static void kept_data_can_be_forgotten_in_a_callback(void **state)
{
    (void)state;
    open_on_loop();
    mamuto_kept_t *kept = NULL;
    mamuto_keep_t keep = { .type = "i4", .arg = mamuto_scatter(in, 100), .on_kept = on_kept };
    assert_int_equal(mamuto_keep(m, &keep, &kept, NULL), 0);
    run_loop();
    assert_int_equal(seen.kept, 1);
    assert_int_equal(seen.status, 0);
    mamuto_call_t call = call_of("item", 100);
    call.args[0] = mamuto_resident(kept);
    seen.forget = kept;
    start(&call);
    start(&call);
    run_loop();
    assert_int_equal(seen.done, 2);
    assert_int_equal(seen.status, 0);
    assert_int_equal(out[99], 199);
    close_loop();
}

/* ---- Rule 4 ------------------------------------------------------------------------------------------------------ */

static void what_is_in_flight_keeps_the_loop_going(void **state)
{
    (void)state;
    mamuto_options_t options = {
        .config_text = "{}", .modules = (const char *[]){ E2E_MODULE("items"), NULL }, .loop = &loop, .on_open = on_open
    };
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(mamuto_open(&m, &options, NULL), 0);
    assert_int_equal(uv_loop_alive(&loop), 1);
    run_loop();
    assert_int_equal(seen.open, 1);
    assert_int_equal(uv_loop_alive(&loop), 0);
    mamuto_call_t call = call_of("item", 100);
    start(&call);
    assert_int_equal(uv_loop_alive(&loop), 1);
    run_loop();
    assert_int_equal(seen.done, 1);
    assert_int_equal(uv_loop_alive(&loop), 0);
    assert_int_equal(mamuto_load(m, E2E_MODULE("basic"), on_loaded, NULL), 0);
    assert_int_equal(uv_loop_alive(&loop), 1);
    run_loop();
    assert_int_equal(seen.loaded, 1);
    assert_int_equal(uv_loop_alive(&loop), 0);
    mamuto_kept_t *kept;
    mamuto_keep_t keep = { .type = "i4", .arg = mamuto_scatter(in, 100), .on_kept = on_kept };
    assert_int_equal(mamuto_keep(m, &keep, &kept, NULL), 0);
    assert_int_equal(uv_loop_alive(&loop), 1);
    run_loop();
    assert_int_equal(seen.kept, 1);
    assert_int_equal(uv_loop_alive(&loop), 0);
    assert_int_equal(mamuto_close(m, on_close), 0);
    assert_int_equal(uv_loop_alive(&loop), 1);
    run_loop();
    assert_int_equal(seen.closed, 1);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- Rule 5 ------------------------------------------------------------------------------------------------------ */

static void no_callback_may_wait(void **state)
{
    (void)state;
    seen.wait_everywhere = true;
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 3}}",
                                 .modules = (const char *[]){ E2E_MODULE("items"), NULL },
                                 .on_open = on_open,
                                 .on_host = on_host };
    assert_int_equal(mamuto_open_wait(&m, &options, NULL), 0);
    mamuto_call_t call = call_of("item", 2000);
    in[7] = ACT_RETURN;
    call.on_spans = on_spans;
    call.on_progress = on_progress;
    assert_int_equal(mamuto_map_wait(m, &call, NULL), MAMUTO_EITEM);
    assert_int_equal(mamuto_load(m, E2E_MODULE("basic"), on_loaded, NULL), 0);
    mamuto_kept_t *kept = NULL;
    mamuto_keep_t keep = { .type = "i4", .arg = mamuto_scatter(in, 4), .on_kept = on_kept };
    assert_int_equal(mamuto_keep(m, &keep, &kept, NULL), 0);
    in[7] = 0;
    call.on_spans = NULL;
    call.on_progress = NULL;
    while (!seen.loaded || !seen.kept)
        assert_int_equal(mamuto_map_wait(m, &call, NULL), 0);
    assert_true(seen.open == 1 && seen.hosts == 1 && seen.item_errors == 1);
    assert_true(seen.waits >= 6);
    assert_int_equal(seen.refused, seen.waits);
    seen.wait_everywhere = false;
    assert_int_equal(mamuto_map_wait(m, &call, NULL), 0); /* outside of them all is well */
    e2e_close(m);
}

static void no_form_waits_on_a_loop_of_the_callers(void **state)
{
    (void)state;
    open_on_loop();
    int32_t value = 0;
    mamuto_kept_t *kept = NULL;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = call_of("item", 4), folded = call_of("item", 4);
    folded.fold = "plus";
    folded.value = &value;
    mamuto_keep_t keep = { .type = "i4", .arg = mamuto_scatter(in, 4), .on_kept = on_kept };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EINVAL, "a loop of yours");
    err = (mamuto_error_t){ 0 };
    e2e_is_error(mamuto_reduce_wait(m, &folded, &err), &err, MAMUTO_EINVAL, "a loop of yours");
    err = (mamuto_error_t){ 0 };
    e2e_is_error(mamuto_keep_wait(m, &keep, &kept, &err), &err, MAMUTO_EINVAL, "a loop of yours");
    err = (mamuto_error_t){ 0 };
    e2e_is_error(mamuto_load_wait(m, E2E_MODULE("basic"), &err), &err, MAMUTO_EINVAL, "a loop of yours");
    assert_int_equal(mamuto_close_wait(m), MAMUTO_EINVAL);
    nothing_was_called_back();
    close_loop();
}

/* libuv keeps some descriptors from the first loop on: they are there before anything is counted. */
static int set_up(void **state)
{
    (void)state;
    return uv_loop_init(&loop) || uv_loop_close(&loop);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(refused_call_does_nothing_and_calls_nothing_back),
        TEST(refused_open_calls_nothing_back),
        TEST(strings_and_structs_are_borrowed_for_the_call_alone),
        TEST(arrays_are_left_alone_after_on_done),
        TEST(cancel_spares_workers_that_come_back),
        TEST(cancel_kills_a_worker_after_a_tenth_of_a_second),
        TEST(kept_data_can_be_forgotten_in_a_callback),
        TEST(what_is_in_flight_keeps_the_loop_going),
        TEST(no_callback_may_wait),
        TEST(no_form_waits_on_a_loop_of_the_callers),
    };
    return cmocka_run_group_tests_name("e2e_rules", tests, set_up, NULL);
}
