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

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(values_that_no_memory_holds_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
