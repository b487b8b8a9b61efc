/* What was broken in the package that this one re-creates, a test for each case that one machine can show: fewer items than
 * workers, results of an earlier call after an error, a failing function that hangs its caller, a killed worker, one value
 * among arrays, arrays of unequal length, a data value that is taken for a placeholder. */
#include "tests/e2e/modules/items.h"
#include "tests/support/e2e.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { WORKERS = 5, MOST = 1001, ALL_I2 = 65536 };

static mamuto_t *m;

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    m = e2e_open(WORKERS, E2E_MODULE("basic"));
    mamuto_error_t err = { 0 };
    if (mamuto_load_wait(m, E2E_MODULE("items"), &err) != 0)
        fail_msg("%s", err.text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_close(m);
    e2e_scratch_end();
    return 0;
}

static int32_t in[MOST], out[MOST];

static void count_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    int *n_done = mamuto_map_data(map);
    (void)status, (void)err;
    ++*n_done;
}

static int run_items(size_t n, int on_error, mamuto_error_t *err)
{
    int n_done = 0;
    mamuto_call_t call = { .function = "items.item",
                           .args = { mamuto_scatter(in, n) },
                           .result = out,
                           .on_error = on_error,
                           .data = &n_done,
                           .on_done = count_done };
    *err = (mamuto_error_t){ 0 };
    int code = mamuto_map_wait(m, &call, err);
    assert_int_equal(n_done, 1);
    return code;
}

/* ---- Fewer items than workers -------------------------------------------------------------------------------------- */

static void adds(size_t n, double first)
{
    double *x = calloc(n + 1, sizeof *x), *y = calloc(n + 1, sizeof *y), *sum = calloc(n + 1, sizeof *sum);
    mamuto_error_t err = { 0 };
    assert_true(x && y && sum);
    for (size_t i = 0; i < n; i++) {
        x[i] = first + (double)i;
        y[i] = 1000 * (double)i;
    }
    sum[n] = -1;
    mamuto_call_t call = { .function = "basic.add",
                           .args = { mamuto_scatter(x, n), mamuto_scatter(y, n) },
                           .result = sum };
    if (mamuto_map_wait(m, &call, &err) != 0)
        fail_msg("%zu items for %d workers: %s", n, WORKERS, err.text);
    for (size_t i = 0; i < n; i++)
        assert_true(sum[i] == x[i] + y[i]);
    assert_true(sum[n] == -1);
    free(x);
    free(y);
    free(sum);
}

static void no_items_are_no_error(void **state)
{
    (void)state;
    adds(0, 1);
    adds(0, 2);
}

static void fewer_items_than_workers_are_no_error(void **state)
{
    (void)state;
    for (size_t n = 1; n < WORKERS; n++)
        adds(n, (double)n);
}

static void items_need_not_be_divisible_by_the_workers(void **state)
{
    (void)state;
    for (size_t n = WORKERS; n <= 4 * WORKERS; n++)
        adds(n, (double)n);
    for (size_t n = MOST - WORKERS; n <= MOST; n++)
        adds(n, (double)n);
}

/* ---- After an error ------------------------------------------------------------------------------------------------ */

/* A good call with results that no earlier one had. */
static void next_call_is_right(size_t n)
{
    static double first = 1e6;
    first += 1e6;
    adds(n, first);
    mamuto_error_t err;
    for (size_t i = 0; i < n; i++)
        in[i] = ACT_WORK, out[i] = -7;
    if (run_items(n, MAMUTO_ON_ERROR_FAIL, &err) != 0)
        fail_msg("after an error: %s", err.text);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(out[i], (int)i * 2 + 1);
}

static void call_after_an_error_has_no_stale_results(void **state)
{
    (void)state;
    static const int acts[] = { ACT_RETURN, ACT_FAIL, ACT_ABORT, ACT_EXIT };
    mamuto_error_t err;
    for (size_t k = 0; k < 2 * sizeof acts / sizeof *acts; k++) {
        for (size_t i = 0; i < MOST; i++)
            in[i] = i % 100 == 50 ? acts[k / 2] : ACT_WORK;
        assert_true(run_items(MOST, k % 2 ? MAMUTO_ON_ERROR_SKIP : MAMUTO_ON_ERROR_FAIL, &err) != 0);
        next_call_is_right(k % 2 ? 3 : MOST);
    }
}

static void call_after_a_refused_one_has_no_stale_results(void **state)
{
    (void)state;
    double x[4] = { 1, 2, 3, 4 }, sum[4];
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "basic.add",
                           .args = { mamuto_scatter(x, 4), mamuto_scatter(x, 3) },
                           .result = sum };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_ELENGTH, "argument 0 has 4 items, argument 1 has 3");
    next_call_is_right(4);
}

/* ---- Functions that fail, workers that die ------------------------------------------------------------------------- */

static void function_that_fails_for_every_item_ends(void **state)
{
    (void)state;
    mamuto_error_t err;
    for (int skip = 0; skip < 2; skip++)
        for (size_t n = 1; n <= MOST; n += 500) {
            for (size_t i = 0; i < n; i++)
                in[i] = ACT_RETURN;
            int code = run_items(n, skip ? MAMUTO_ON_ERROR_SKIP : MAMUTO_ON_ERROR_FAIL, &err);
            e2e_is_error(code, &err, MAMUTO_EITEM, "failed with code 7");
        }
    next_call_is_right(MOST);
}

static void function_that_kills_every_worker_ends(void **state)
{
    (void)state;
    mamuto_error_t err;
    for (size_t i = 0; i < 2 * WORKERS; i++)
        in[i] = ACT_SEGFAULT;
    assert_int_equal(run_items(2 * WORKERS, MAMUTO_ON_ERROR_SKIP, &err), MAMUTO_EITEM);
    assert_int_equal(err.signal, SIGSEGV);
    next_call_is_right(MOST);
}

static void kill_one(void)
{
    pid_t pids[E2E_MAX_PIDS];
    assert_true(e2e_workers(pids, E2E_MAX_PIDS) > 0);
    assert_int_equal(kill(pids[0], SIGKILL), 0);
}

static void worker_killed_between_calls_is_replaced(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        kill_one();
        next_call_is_right(MOST);
    }
}

static bool is_over;
static int ended_with;

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    (void)map, (void)err;
    is_over = true;
    ended_with = status;
}

static bool dispatched(void *unused)
{
    (void)unused;
    assert_int_equal(mamuto_dispatch(m), 0);
    return is_over;
}

static void worker_killed_in_a_call_costs_nothing(void **state)
{
    (void)state;
    enum { N = 400 };
    static int32_t us[N], done[N];
    mamuto_error_t err = { 0 };
    for (int i = 0; i < N; i++)
        us[i] = 500;
    mamuto_call_t call = {
        .function = "items.work", .args = { mamuto_scatter(us, N) }, .result = done, .on_done = on_done
    };
    is_over = false;
    assert_int_equal(mamuto_map(m, &call, NULL, &err), 0);
    kill_one();
    assert_true(e2e_until(dispatched, NULL, E2E_PATIENCE_MS));
    assert_int_equal(ended_with, 0);
    next_call_is_right(MOST);
}

/* ---- Arguments ----------------------------------------------------------------------------------------------------- */

static void single_value_among_arrays_is_every_items(void **state)
{
    (void)state;
    double x[MOST], one = 0.25, sum[MOST];
    mamuto_error_t err = { 0 };
    for (int i = 0; i < MOST; i++)
        x[i] = i;
    for (int place = 0; place < 2; place++) {
        mamuto_call_t call = { .function = "basic.add", .result = sum };
        call.args[place] = mamuto_broadcast(&one);
        call.args[!place] = mamuto_scatter(x, MOST);
        assert_int_equal(mamuto_map_wait(m, &call, &err), 0);
        for (int i = 0; i < MOST; i++)
            assert_true(sum[i] == i + 0.25);
    }
}

/* Also not where one is a single item: that is an array of one. */
static void arrays_of_unequal_length_are_refused_and_nothing_is_padded(void **state)
{
    (void)state;
    static const size_t lengths[][2] = { { 10, 9 }, { 9, 10 }, { 1, 10 }, { 10, 1 }, { 0, 10 }, { 10, 0 } };
    double x[10] = { 0 }, sum[10];
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        mamuto_error_t err = { 0 };
        for (int i = 0; i < 10; i++)
            sum[i] = -1;
        mamuto_call_t call = { .function = "basic.add",
                               .args = { mamuto_scatter(x, lengths[k][0]), mamuto_scatter(x, lengths[k][1]) },
                               .result = sum };
        e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_ELENGTH, "scattered arguments are of one length");
        for (int i = 0; i < 10; i++)
            assert_true(sum[i] == -1);
    }
}

/* All values of two bytes pass through. */
static void no_value_of_the_data_is_a_placeholder(void **state)
{
    (void)state;
    static const uint8_t three[3] = { 0, 254, 255 };
    int16_t *values = calloc(ALL_I2, sizeof *values);
    uint8_t(*got)[5] = calloc(ALL_I2, sizeof *got);
    mamuto_error_t err = { 0 };
    assert_true(values && got);
    for (int i = 0; i < ALL_I2; i++)
        values[i] = (int16_t)(i - 32768);
    mamuto_call_t call = { .function = "basic.odd",
                           .args = { mamuto_broadcast(three), mamuto_scatter(values, ALL_I2) },
                           .result = got };
    assert_int_equal(mamuto_map_wait(m, &call, &err), 0);
    for (int i = 0; i < ALL_I2; i++) {
        assert_memory_equal(got[i] + 3, &values[i], sizeof *values);
        assert_true(got[i][0] == 1 && got[i][1] == 255 && got[i][2] == 0);
    }
    free(values);
    free(got);
}

/* In place of the original's None there is what was kept: it may hold anything, and so may the array beside it. */
static void no_value_beside_kept_data_is_a_placeholder(void **state)
{
    (void)state;
    static const double values[] = { 0, -0.0, -1, NAN, INFINITY, -INFINITY, 1e308, 5e-324 };
    enum { N = sizeof values / sizeof *values };
    mamuto_error_t err = { 0 };
    for (int k = 0; k < N; k++) {
        double sum[N];
        mamuto_keep_t keep = { .type = "f8", .arg = mamuto_broadcast(&values[k]) };
        mamuto_kept_t *kept = NULL;
        assert_int_equal(mamuto_keep_wait(m, &keep, &kept, &err), 0);
        mamuto_call_t call = { .function = "basic.add",
                               .args = { mamuto_scatter(values, N), mamuto_resident(kept) },
                               .result = sum };
        assert_int_equal(mamuto_map_wait(m, &call, &err), 0);
        for (int i = 0; i < N; i++) {
            double right = values[i] + values[k];
            assert_true(isnan(right) ? isnan(sum[i]) : sum[i] == right);
        }
        assert_int_equal(mamuto_forget(kept), 0);
    }
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_items_are_no_error),
        TEST(fewer_items_than_workers_are_no_error),
        TEST(items_need_not_be_divisible_by_the_workers),
        TEST(call_after_an_error_has_no_stale_results),
        TEST(call_after_a_refused_one_has_no_stale_results),
        TEST(function_that_fails_for_every_item_ends),
        TEST(function_that_kills_every_worker_ends),
        TEST(worker_killed_between_calls_is_replaced),
        TEST(worker_killed_in_a_call_costs_nothing),
        TEST(single_value_among_arrays_is_every_items),
        TEST(arrays_of_unequal_length_are_refused_and_nothing_is_padded),
        TEST(no_value_of_the_data_is_a_placeholder),
        TEST(no_value_beside_kept_data_is_a_placeholder),
    };
    return cmocka_run_group_tests_name("article", tests, NULL, NULL);
}
