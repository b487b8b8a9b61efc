/* Reductions at the ends of what can be asked for: few and large values, values that no memory holds, fields
 * that mean nothing beside others. */
#include "tests/support/e2e.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cmocka.h>

static mamuto_t *m;

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    m = e2e_open(2, E2E_MODULE("reduce"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (m)
        e2e_close(m);
    e2e_scratch_end();
    return 0;
}

static mamuto_call_t call_of(const uint8_t *in, size_t n, size_t bytes, void *value)
{
    return (mamuto_call_t){ .function = "reduce.block",
                            .args = { mamuto_scatter(in, n) },
                            .dims = { bytes },
                            .fold = "reduce.fold_block",
                            .value = value };
}

/* Three values of 4 MB: room for 64 of them would be more than a quarter of a GB. */
static void few_large_values_take_no_room_for_many(void **state)
{
    (void)state;
    enum { BYTES = 4 << 20 };
    static const uint8_t in[] = { 1, 2, 39 };
    static uint8_t value[BYTES];
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 160 << 20;
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    e2e_close(m);
    m = NULL;
    m = e2e_open(2, E2E_MODULE("reduce"));
    mamuto_error_t err = { 0 };
    mamuto_call_t call = call_of(in, 3, BYTES, value);
    int code = mamuto_reduce_wait(m, &call, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, old);
    if (code)
        fail_msg("%s", err.text);
    assert_true(value[0] == 42 && value[BYTES - 1] == 42);
}

static void values_that_no_memory_holds_are_refused(void **state)
{
    (void)state;
    static const size_t sizes[] = { PTRDIFF_MAX, PTRDIFF_MAX - 1, (size_t)1 << 62 };
    static struct {
        uint8_t in[5000], value[1]; /* behind them, so that it does not overlap them */
    } at;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t n = 1; n <= sizeof at.in; n *= 5) {
            mamuto_error_t err = { 0 };
            mamuto_call_t call = call_of(at.in, n, sizes[i], at.value);
            e2e_is_error(mamuto_reduce_wait(m, &call, &err), &err, MAMUTO_ESIZE, NULL);
        }
    assert_int_equal(at.value[0], 0);
}

/* A filled error is left as it is, and the code is the call's own; so it is where no error is wanted. */
static void code_is_that_of_the_call_whatever_err_holds(void **state)
{
    (void)state;
    static struct {
        uint8_t in[200], value[1];
    } at;
    mamuto_call_t call = call_of(at.in, 200, (size_t)1 << 50, at.value);
    mamuto_error_t fresh = { 0 }, filled = { .code = MAMUTO_ECONFIG };
    int code = mamuto_reduce_wait(m, &call, &fresh);
    assert_int_not_equal(code, 0);
    assert_int_equal(code, fresh.code);
    assert_int_equal(mamuto_reduce_wait(m, &call, &filled), code);
    assert_int_equal(mamuto_reduce_wait(m, &call, NULL), code);
    assert_int_equal(filled.code, MAMUTO_ECONFIG);
}

static void results_of_no_function_are_refused(void **state)
{
    (void)state;
    uint64_t in[3] = { 1, 2, 3 }, out[3] = { 7, 7, 7 }, value = 9;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = {
        .args = { mamuto_scatter(in, 3) }, .fold = "reduce.fold_u8", .value = &value, .result = out
    };
    e2e_is_error(mamuto_reduce_wait(m, &call, &err), &err, MAMUTO_EINVAL, "call.result");
    assert_true(value == 9 && out[0] == 7);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(few_large_values_take_no_room_for_many),
        TEST(values_that_no_memory_holds_are_refused),
        TEST(code_is_that_of_the_call_whatever_err_holds),
        TEST(results_of_no_function_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
