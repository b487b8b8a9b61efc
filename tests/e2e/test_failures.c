/* Items that fail in company: tries that each stay below the time limit, an array that ends behind a thousand failed
 * items, and a result that is not there. Each map says what was wrong, and the program lives. */
#include "tests/e2e/modules/items.h"
#include "tests/support/e2e.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

enum { PAGE = 4096, TIMEOUT_MS = 400 };

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_scratch_end();
    return 0;
}

/* Two pages, and nothing behind the first. */
static char *page_with_nothing_behind(void)
{
    char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    assert_int_equal(munmap(p + PAGE, PAGE), 0);
    return p;
}

/* An item that failed ran again under the same claim, and the watch took its tries for one long run. */
static void tries_of_an_item_have_a_time_limit_each(void **state)
{
    (void)state;
    mamuto_t *m = e2e_open(2, NULL);
    mamuto_error_t err = { 0 };
    static const char module[] = "#include <mamuto.h>\n#include <time.h>\n"
                                 "MAMUTO_FUNCTION(slow, \"i4 -> i4\")\n{\n"
                                 "    nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);\n"
                                 "    if (MAMUTO_IN(int32_t, 0) == 1)\n"
                                 "        MAMUTO_FAIL(9, \"planned\");\n"
                                 "    MAMUTO_OUT(int32_t) = 5;\n"
                                 "    return 0;\n}\n";
    e2e_write(e2e_path("tries.c"), module, sizeof module - 1);
    if (mamuto_load_wait(m, e2e_path("tries.c"), &err) != 0)
        fail_msg("%s", err.text);
    static const int32_t in[2] = { 1, 0 };
    int32_t out[2] = { -1, -1 };
    pid_t before[2], after[2];
    assert_int_equal(e2e_workers(before, 2), 2);
    mamuto_call_t call = { .function = "tries.slow",
                           .args = { mamuto_scatter(in, 2) },
                           .result = out,
                           .retries = 8, /* nine tries of 100 ms */
                           .item_timeout_ms = TIMEOUT_MS,
                           .on_error = MAMUTO_ON_ERROR_SKIP };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EITEM,
                 "tries.slow: 1 of 2 items failed; the first: item 0 failed with code 9");
    assert_int_equal(err.item_code, 9);
    assert_int_equal(out[0], 0);
    assert_int_equal(out[1], 5);
    assert_int_equal(e2e_workers(after, 2), 2); /* nobody was killed */
    assert_memory_equal(before, after, sizeof before);
    e2e_close(m);
}

/* The table of failed items was full: that the map had been stopped found no place in it, and "1000 of 100000 items
 * failed" said that the others had been computed. */
static void array_that_ends_behind_a_thousand_failed_items_is_named(void **state)
{
    (void)state;
    enum { N = 100000, READABLE = N / 2 * (int)sizeof(int32_t) / PAGE * PAGE };
    mamuto_t *m = e2e_open(1, E2E_MODULE("items"));
    int32_t *result = malloc(N * sizeof *result);
    char *p = mmap(NULL, N * sizeof *result, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    int32_t *in = (int32_t *)(void *)p;
    for (size_t i = 0; i < N; i++)
        in[i] = ACT_RETURN;
    assert_int_equal(munmap(p + READABLE, N * sizeof *result - READABLE), 0);
    mamuto_error_t err = { 0 };
    mamuto_call_t call = {
        .function = "items.item", .args = { mamuto_scatter(in, N) }, .result = result, .on_error = MAMUTO_ON_ERROR_SKIP
    };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS, "argument 0 is not readable");
    munmap(p, READABLE);
    free(result);
    e2e_close(m);
}

/* The item in the last place dies; its result lies where nothing is. Zeroing it was the end of the program. */
static void result_that_is_not_there_is_no_end_of_the_program(void **state)
{
    (void)state;
    enum { N = PAGE / (int)sizeof(int32_t) + 1 };
    mamuto_t *m = e2e_open(1, E2E_MODULE("items"));
    char *p = page_with_nothing_behind();
    static int32_t in[N];
    in[N - 1] = ACT_SEGFAULT;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = {
        .function = "items.item", .args = { mamuto_scatter(in, N) }, .result = p, .on_error = MAMUTO_ON_ERROR_SKIP
    };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS, "the result is not writable");
    munmap(p, PAGE);
    e2e_close(m);
}

static void result_that_is_read_only_is_no_end_of_the_program(void **state)
{
    (void)state;
    enum { N = PAGE / (int)sizeof(int32_t) };
    mamuto_t *m = e2e_open(1, E2E_MODULE("items"));
    char *p = page_with_nothing_behind();
    assert_int_equal(mprotect(p, PAGE, PROT_READ), 0);
    static int32_t in[N];
    for (int i = 0; i < N; i++)
        in[i] = ACT_SEGFAULT;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = {
        .function = "items.item", .args = { mamuto_scatter(in, N) }, .result = p, .on_error = MAMUTO_ON_ERROR_SKIP
    };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS, "the result is not writable");
    munmap(p, PAGE);
    e2e_close(m);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tries_of_an_item_have_a_time_limit_each),
        TEST(array_that_ends_behind_a_thousand_failed_items_is_named),
        TEST(result_that_is_not_there_is_no_end_of_the_program),
        TEST(result_that_is_read_only_is_no_end_of_the_program),
    };
    return cmocka_run_group_tests_name("e2e_failures", tests, NULL, NULL);
}
