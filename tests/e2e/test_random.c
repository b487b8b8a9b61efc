/* Random numbers of items: the same digits for any number of workers, with a helping caller, in both forms, and after
 * crashes and failures; others for another seed. */
#include "tests/support/e2e.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { N = 1000 };
static const uint64_t SEED = UINT64_C(0x123456789abcdef0);

static uint64_t out[N][3];

static int begin(void **state)
{
    (void)state;
    e2e_scratch_begin();
    return 0;
}

static int end(void **state)
{
    (void)state;
    e2e_scratch_end();
    return 0;
}

static void draw(mamuto_t *m, const char *function, uint64_t seed, int help, int retries)
{
    mamuto_error_t err = { 0 };
    mamuto_call_t call = {
        .function = function, .count = N, .result = out, .seed = seed, .help = help, .retries = retries
    };
    memset(out, 0, sizeof out);
    if (mamuto_map_wait(m, &call, &err) != 0)
        fail_msg("%s", err.text);
}

static void expect(uint64_t seed)
{
    for (uint64_t i = 0; i < N; i++) {
        mamuto_rng_t r = mamuto_rng(seed, i);
        uint64_t first = mamuto_random(&r);
        double u = mamuto_uniform(&r);
        assert_true(out[i][0] == first);
        assert_memory_equal(&out[i][1], &u, sizeof u);
        assert_true(out[i][2] == mamuto_random(&r));
    }
}

static void digits_are_the_same_for_any_number_of_workers_and_form(void **state)
{
    (void)state;
    static const int workers[] = { 1, 2, 7 };
    for (int i = 0; i < 3; i++) {
        mamuto_t *m = e2e_open(workers[i], E2E_MODULE("dice"));
        draw(m, "dice.item", SEED, 0, 0);
        expect(SEED);
        draw(m, "dice.chunk", SEED, 0, 0);
        expect(SEED);
        draw(m, "dice.item", SEED, 1, 0);
        expect(SEED);
        draw(m, "dice.chunk", SEED, 1, 0);
        expect(SEED);
        e2e_close(m);
    }
}

static void digits_are_the_same_after_crashes_and_retries(void **state)
{
    (void)state;
    mamuto_t *m = e2e_open(3, E2E_MODULE("dice"));
    draw(m, "dice.troubled", SEED, 0, 1);
    expect(SEED);
    e2e_close(m);
}

static void digits_are_others_for_another_seed(void **state)
{
    (void)state;
    mamuto_t *m = e2e_open(2, E2E_MODULE("dice"));
    draw(m, "dice.item", 0, 0, 0);
    expect(0);
    uint64_t of_0 = out[5][0];
    draw(m, "dice.item", UINT64_C(1) << 32, 0, 0);
    expect(UINT64_C(1) << 32);
    assert_true(out[5][0] != of_0);
    e2e_close(m);
}

/* A module may be C++17. */
static void digits_are_the_same_in_cpp(void **state)
{
    (void)state;
    char command[4096];
    const char *include = getenv("MAMUTO_INCLUDE"), *path = e2e_path("dice.so");
    if (!include || system("c++ --version > /dev/null 2>&1") != 0)
        skip();
    snprintf(command, sizeof command,
             "c++ -std=c++17 -Wall -Wextra -Werror -O2 -shared -fPIC -I'%s' -x c++ '%s' -o '%s'", include,
             E2E_MODULE("dice"), path);
    assert_int_equal(system(command), 0);
    mamuto_t *m = e2e_open(2, path);
    draw(m, "dice.item", SEED, 0, 0);
    expect(SEED);
    draw(m, "dice.chunk", SEED, 0, 0);
    expect(SEED);
    e2e_close(m);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(digits_are_the_same_for_any_number_of_workers_and_form),
        TEST(digits_are_the_same_after_crashes_and_retries),
        TEST(digits_are_others_for_another_seed),
        TEST(digits_are_the_same_in_cpp),
    };
    return cmocka_run_group_tests_name("e2e_random", tests, NULL, NULL);
}
