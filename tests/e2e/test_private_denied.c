/* Private arrays give the same results where workers may read the program's memory, and where the kernel denies it and
 * maps run on copies. The same tests run twice in one process: as it is, and behind a seccomp filter. */
#include "tests/support/e2e.h"
#include "tests/support/private.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static bool denied;
static mamuto_t *m;

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    m = e2e_open(2, E2E_MODULE("stage_work"));
    private_copied();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_close(m);
    e2e_scratch_end();
    return 0;
}

static void must_map(const mamuto_call_t *call)
{
    mamuto_error_t err = { 0 };
    if (mamuto_map_wait(m, call, &err) != 0)
        fail_msg("%s: %s", call->function, err.text);
}

/* Arrays are copied exactly where they must be. */
static void has_copied(bool expected) { assert_int_equal(private_copied() > 0, denied && expected); }

static double *numbers(bool shared, size_t n, double step)
{
    mamuto_error_t err = { 0 };
    double *p = shared ? mamuto_alloc(m, n, sizeof *p, &err) : private_array(n * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (double)i * step + 0.25;
    return p;
}

static void free_numbers(bool shared, double *p, size_t n)
{
    if (shared)
        assert_int_equal(mamuto_free(m, p), 0);
    else
        private_free(p, n * sizeof *p);
}

/* Bit 0, 1, 2 of shared: a, b, out. */
static void add(size_t n, unsigned shared, int help)
{
    double *a = numbers(shared & 1, n, 1), *b = numbers(shared & 2, n, 0.5), *out = numbers(shared & 4, n, -3);
    mamuto_call_t call = {
        .function = "add", .args = { mamuto_scatter(a, n), mamuto_scatter(b, n) }, .result = out, .help = help
    };
    must_map(&call);
    for (size_t i = 0; i < n; i++)
        if (out[i] != a[i] + b[i])
            fail_msg("of %zu, shared %u: item %zu is %g", n, shared, i, out[i]);
    has_copied(n && shared != 7);
    free_numbers(shared & 1, a, n);
    free_numbers(shared & 2, b, n);
    free_numbers(shared & 4, out, n);
}

static void map_of_private_shared_and_mixed_arrays_is_right(void **state)
{
    (void)state;
    for (unsigned shared = 0; shared < 8; shared++)
        for (int help = 0; help < 2; help++) {
            static const size_t sizes[] = { 1, 2, 511, 4097, 100000, 131072 };
            for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
                add(sizes[i], shared, help);
        }
}

static void map_of_no_and_of_a_million_items_is_right(void **state)
{
    (void)state;
    mamuto_call_t nothing = { .function = "add", .args = { mamuto_scatter(NULL, 0), mamuto_scatter(NULL, 0) } };
    must_map(&nothing);
    for (int i = 0; i < 5; i++)
        add(1000000, 0, 0);
    add(1000000, 1, 1);
}

static void map_with_help_runs_in_the_caller(void **state)
{
    (void)state;
    uint64_t x[1] = { 0 }, pid[1] = { 0 };
    mamuto_call_t call = { .function = "where", .args = { mamuto_scatter(x, 1) }, .result = pid, .help = 1 };
    for (int i = 0; i < 1000 && pid[0] != (uint64_t)getpid(); i++)
        must_map(&call);
    assert_int_equal(pid[0], getpid());
    has_copied(true);
}

/* 100 KB of broadcast value, one that travels on the board, and one too many for that. */
static void broadcast_map(size_t n_small)
{
    enum { N = 5000 };
    int32_t *x = private_array(N * sizeof *x);
    double *table = private_array(12800 * sizeof *table), *small = private_array(n_small * sizeof *small);
    double *out = private_array(N * sizeof *out);
    for (int i = 0; i < N; i++)
        x[i] = i * 7;
    for (int i = 0; i < 12800; i++)
        table[i] = i * 0.5;
    for (size_t i = 0; i < n_small; i++)
        small[i] = -(double)i;
    mamuto_call_t call = { .function = "table",
                           .args = { mamuto_scatter(x, N), mamuto_broadcast(table), mamuto_broadcast(small) },
                           .dims = { n_small },
                           .result = out };
    must_map(&call);
    for (int i = 0; i < N; i++)
        assert_true(out[i] == table[x[i] % 12800] + small[(size_t)x[i] % n_small]);
    private_free(x, N * sizeof *x);
    private_free(table, 12800 * sizeof *table);
    private_free(small, n_small * sizeof *small);
    private_free(out, N * sizeof *out);
}

static void map_with_large_broadcast_value_is_right(void **state)
{
    (void)state;
    broadcast_map(3);
    broadcast_map(512);
    broadcast_map(513);
    has_copied(true);
}

static void map_of_attached_file_into_private_result_is_right(void **state)
{
    (void)state;
    enum { N = 100000 };
    double *x = private_array(N * sizeof *x), *out = private_array(N * sizeof *out);
    const void *file;
    mamuto_error_t err = { 0 };
    for (int i = 0; i < N; i++)
        x[i] = i;
    e2e_write(e2e_path("numbers"), x, N * sizeof *x);
    int fd = open(e2e_path("numbers"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(mamuto_attach(m, fd, 0, N * sizeof *x, &file, &err), 0);
    close(fd);
    mamuto_call_t call = { .function = "add",
                           .args = { mamuto_scatter(file, N), mamuto_scatter(x, N) },
                           .result = out };
    must_map(&call);
    for (int i = 0; i < N; i++)
        assert_true(out[i] == 2 * i);
    private_free(x, N * sizeof *x);
    private_free(out, N * sizeof *out);
}

/* ---- Failures ----------------------------------------------------------------------------------------------------- */

enum { N_PICKY = 50000 };
#define PICKY ((size_t)N_PICKY)

static void picky_map(int32_t *x, int32_t (*out)[3], int on_error, mamuto_error_t *err)
{
    for (int i = 0; i < N_PICKY; i++) {
        x[i] = i + 1;
        out[i][0] = out[i][1] = out[i][2] = -9;
    }
    mamuto_call_t call = {
        .function = "picky", .args = { mamuto_scatter(x, PICKY) }, .result = out, .on_error = on_error
    };
    x[77] = on_error == MAMUTO_ON_ERROR_SKIP ? -1 : 78;
    assert_int_equal(mamuto_map_wait(m, &call, err), MAMUTO_EITEM);
}

static void map_that_skips_failed_items_stores_all_others(void **state)
{
    (void)state;
    int32_t *x = private_array(PICKY * sizeof *x), (*out)[3] = private_array(PICKY * sizeof *out);
    mamuto_error_t err = { 0 };
    picky_map(x, out, MAMUTO_ON_ERROR_SKIP, &err);
    assert_non_null(strstr(err.text, "51 of 50000 items failed"));
    for (int i = 0; i < N_PICKY; i++) {
        int32_t expected = x[i] == -1 || x[i] % 1000 == 0 ? 0 : x[i] + 1;
        for (int k = 0; k < 3; k++)
            if (out[i][k] != expected)
                fail_msg("item %d is %d, not %d", i, out[i][k], expected);
    }
    private_free(x, PICKY * sizeof *x);
    private_free(out, PICKY * sizeof *out);
}

static void map_that_ends_at_failed_item_reports_it(void **state)
{
    (void)state;
    int32_t *x = private_array(PICKY * sizeof *x), (*out)[3] = private_array(PICKY * sizeof *out);
    mamuto_error_t err = { 0 };
    picky_map(x, out, MAMUTO_ON_ERROR_FAIL, &err);
    assert_int_equal(x[err.item] % 1000, 0);
    assert_int_equal(err.item_code, 7);
    private_free(x, PICKY * sizeof *x);
    private_free(out, PICKY * sizeof *out);
    add(1000, 0, 0);
}

/* The arrays have n items, and n + more are mapped. */
static void map_too_many(size_t n, size_t more, double *a, double *out, const char *part)
{
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "add",
                           .args = { mamuto_scatter(a, n + more), mamuto_scatter(a, n + more) },
                           .result = out };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS, part);
    add(1000, 0, 0);
}

static void map_of_array_that_ends_too_early_is_refused(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 1000, 131072, 300000 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        double *small = private_array(n * sizeof *small), *large = private_array((n + 1000) * sizeof *large);
        map_too_many(n, 1, small, large, "argument 0 is not readable");
        map_too_many(n, 1000, small, large, "argument 0 is not readable");
        map_too_many(n, 1, large, small, "the result is not writable");
        private_free(small, n * sizeof *small);
        munmap((char *)large + (n + 1000) * sizeof *large, 65536); /* nothing behind it at all */
        private_free(large, (n + 1000) * sizeof *large);
    }
}

/* ---- Many, and large ---------------------------------------------------------------------------------------------- */

static void maps_at_once_are_all_right(void **state)
{
    (void)state;
    enum { N_MAPS = 100 };
    static struct private_map maps[N_MAPS];
    uv_loop_t loop;
    mamuto_t *other = private_open(&loop, E2E_MODULE("stage_work"));
    private_copied();
    for (int i = 0; i < N_MAPS; i++) {
        private_map_init(&maps[i], (size_t)(i % 10) * 30011 + 1);
        private_map_begin(&maps[i], other, "add");
    }
    assert_int_equal(private_has_copier(), denied);
    for (int i = 0; i < N_MAPS; i++) {
        private_run_until(&loop, &maps[i].n_done, 1);
        private_map_is_right(&maps[i]);
        private_map_fini(&maps[i]);
    }
    has_copied(true);
    private_close(other, &loop);
    assert_false(private_has_copier());
}

static void on_tick(uv_timer_t *timer) { ++*(int *)timer->data; }

/* 200 MB. That the loop does not wait for the copier is seen for sure where that is held: test_private_stages.c. */
static void loop_stays_responsive_while_large_arrays_are_mapped(void **state)
{
    (void)state;
    uv_loop_t loop;
    uv_timer_t timer;
    int ticks = 0;
    struct private_map map;
    mamuto_t *other = private_open(&loop, E2E_MODULE("stage_work"));
    private_map_init(&map, ((size_t)200 << 20) / (3 * sizeof(double)));
    uv_timer_init(&loop, &timer);
    timer.data = &ticks;
    uv_update_time(&loop);
    uint64_t start = uv_hrtime(), longest = 0, last = start;
    private_map_begin(&map, other, "add");
    uint64_t begun = uv_hrtime();
    uv_timer_start(&timer, on_tick, 1, 1);
    while (!map.n_done) {
        int before = ticks;
        uv_run(&loop, UV_RUN_ONCE);
        uint64_t now = uv_hrtime();
        if (ticks != before) {
            longest = now - last > longest ? now - last : longest;
            last = now;
        }
    }
    uint64_t ms = (last - start) / 1000000;
    print_message("[  FIGURE  ] 200 MB in %d ms: %d ticks, the longest gap %d ms; submitted in %d us\n", (int)ms, ticks,
                  (int)(longest / 1000000), (int)((begun - start) / 1000));
    assert_true(ticks >= 10);
    private_map_is_right(&map);
    private_map_fini(&map);
    uv_close((uv_handle_t *)&timer, NULL);
    private_close(other, &loop);
}

/* A wait and a callback form on the same mapper, whose own loop runs inside the wait. */
static void wait_beside_map_in_flight_is_right(void **state)
{
    (void)state;
    struct private_map map;
    private_map_init(&map, 400000);
    private_map_begin(&map, m, "add");
    for (int i = 0; i < 20 || !map.n_done; i++)
        add(30000, 0, i % 2);
    private_map_is_right(&map);
    private_map_fini(&map);
}

static void mapper_holds_nothing_after_close(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    for (int i = 0; i < 3; i++) {
        uv_loop_t loop;
        struct private_map map;
        mamuto_t *other = private_open(&loop, E2E_MODULE("stage_work"));
        private_map_init(&map, 100000);
        private_map_begin(&map, other, "add");
        private_run_until(&loop, &map.n_done, 1);
        private_map_is_right(&map);
        private_map_fini(&map);
        private_close(other, &loop);
    }
    e2e_holds_as(&before);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(map_of_private_shared_and_mixed_arrays_is_right),
        TEST(map_of_no_and_of_a_million_items_is_right),
        TEST(map_with_help_runs_in_the_caller),
        TEST(map_with_large_broadcast_value_is_right),
        TEST(map_of_attached_file_into_private_result_is_right),
        TEST(map_that_skips_failed_items_stores_all_others),
        TEST(map_that_ends_at_failed_item_reports_it),
        TEST(map_of_array_that_ends_too_early_is_refused),
        TEST(maps_at_once_are_all_right),
        TEST(loop_stays_responsive_while_large_arrays_are_mapped),
        TEST(wait_beside_map_in_flight_is_right),
        TEST(mapper_holds_nothing_after_close),
    };
    int failed = cmocka_run_group_tests_name("private_allowed", tests, NULL, NULL);
    private_deny();
    denied = true;
    return failed + cmocka_run_group_tests_name("private_denied", tests, NULL, NULL);
}
