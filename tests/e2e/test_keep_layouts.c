/* Kept arrays of every layout: strided either way, windows that overlap, one for all, of variable length. Each is mapped
 * kept and in place, and the results must be the same bytes. */
#include "tests/support/e2e.h"
#include "tests/support/keep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include <cmocka.h>

enum { N = 4000 };

static mamuto_t *m;
static double numbers[8 * N + 8], in_place[N], resident[N];
static int64_t offsets[N + 1];
static struct e2e_held before;

static int set_up(void **state)
{
    (void)state;
    before = e2e_hold();
    e2e_scratch_begin();
    m = e2e_open(2, E2E_MODULE("keep_work"));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        numbers[i] = (double)i / 7;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_close(m);
    e2e_scratch_end();
    e2e_holds_as(&before);
    return 0;
}

static mamuto_kept_t *kept(const char *type, mamuto_arg_t arg)
{
    mamuto_error_t err = { 0 };
    mamuto_kept_t *handle = NULL;
    if (mamuto_keep_wait(m, &(mamuto_keep_t){ .type = type, .arg = arg }, &handle, &err) != 0)
        fail_msg("%s: %s", type, err.text);
    return handle;
}

static void map(const char *function, mamuto_arg_t arg, double *out)
{
    mamuto_error_t err = { 0 };
    double one = 1;
    mamuto_call_t call = { .function = function, .args = { arg, mamuto_broadcast(&one) }, .count = N, .result = out };
    for (int i = 0; i < N; i++)
        out[i] = -1;
    if (mamuto_map_wait(m, &call, &err) != 0)
        fail_msg("%s: %s", function, err.text);
}

/* arg, kept, is as arg in place; what it was copied from is changed before it is mapped. */
static void is_as_in_place(const char *type, const char *function, mamuto_arg_t arg)
{
    map(function, arg, in_place);
    mamuto_kept_t *handle = kept(type, arg);
    static double saved[sizeof numbers / sizeof *numbers];
    static int64_t saved_offsets[N + 1];
    memcpy(saved, numbers, sizeof numbers);
    memcpy(saved_offsets, offsets, sizeof offsets);
    memset(numbers, 0xff, sizeof numbers);
    memset(offsets, 0xff, sizeof offsets);
    for (int i = 0; i < 3; i++) {
        map(function, mamuto_resident(handle), resident);
        assert_memory_equal(in_place, resident, sizeof resident);
    }
    memcpy(numbers, saved, sizeof numbers);
    memcpy(offsets, saved_offsets, sizeof offsets);
    assert_int_equal(mamuto_forget(handle), 0);
    assert_int_equal(keep_extents(m), 0);
}

static void strided_arrays_are_kept(void **state)
{
    (void)state;
    static const ptrdiff_t strides[] = { 64, 24, 16, 8, 0, -8, -16, -24, -64 };
    for (size_t i = 0; i < sizeof strides / sizeof *strides; i++) {
        const double *first = strides[i] < 0 ? numbers + 8 * N - 8 : numbers;
        is_as_in_place("f8[2]", "pair", mamuto_scatter_strided(first, N, strides[i]));
    }
    is_as_in_place("f8[2]", "pair", mamuto_scatter_strided(numbers, N, 16));
    is_as_in_place("f8[2]", "pair", mamuto_scatter(numbers, N));
    is_as_in_place("f8[2]", "pair", mamuto_broadcast(numbers + 3));
}

static void array_of_large_items_that_lie_apart_is_kept(void **state)
{
    (void)state;
    enum { ITEM = 300000, ITEMS = 3 };
    mamuto_error_t err = { 0 };
    double *large = calloc((size_t)ITEMS * (ITEM + 1000), sizeof *large), sums[2][ITEMS], one = 1;
    for (int i = 0; i < ITEMS * (ITEM + 1000); i++)
        large[i] = i % 1000;
    mamuto_arg_t arg = mamuto_scatter_strided(large + 2 * (ITEM + 1000), ITEMS, -8 * (ITEM + 1000));
    mamuto_keep_t keep = { .type = "f8[d]", .arg = arg, .dims = { ITEM } };
    mamuto_kept_t *handle = NULL;
    assert_int_equal(mamuto_keep_wait(m, &keep, &handle, &err), 0);
    for (int i = 0; i < 2; i++) {
        mamuto_call_t call = { .function = "many",
                               .args = { i ? mamuto_resident(handle) : arg, mamuto_broadcast(&one) },
                               .dims = { ITEM },
                               .result = sums[i] };
        if (mamuto_map_wait(m, &call, &err) != 0)
            fail_msg("%s", err.text);
    }
    assert_memory_equal(sums[0], sums[1], sizeof sums[0]);
    assert_int_equal(mamuto_forget(handle), 0);
    free(large);
}

/* Item i has i % 5 elements, behind so many that are nobody's. */
static mamuto_arg_t variable(int64_t from)
{
    offsets[0] = from;
    for (int i = 0; i < N; i++)
        offsets[i + 1] = offsets[i] + i % 5;
    return mamuto_scatter_var(numbers, offsets, N);
}

static void arrays_of_variable_length_are_kept(void **state)
{
    (void)state;
    is_as_in_place("f8[*]", "total", variable(0));
    is_as_in_place("f8[*]", "total", variable(1));
    is_as_in_place("f8[*]", "total", variable(777));
    for (int i = 0; i <= N; i++)
        offsets[i] = 5;
    is_as_in_place("f8[*]", "total", mamuto_scatter_var(numbers, offsets, N));
    is_as_in_place("f8[*]", "total", mamuto_broadcast_var(numbers + 1, 1000));
    is_as_in_place("f8[*]", "total", mamuto_broadcast_var(numbers, 0));
    is_as_in_place("f8[*]", "total", mamuto_broadcast_var(NULL, 0));
    mamuto_kept_t *none = kept("f8[*]", mamuto_scatter_var(NULL, offsets, 0));
    assert_int_equal(mamuto_forget(none), 0);
}

static void bytes_are_u1_of_any_length(void **state)
{
    (void)state;
    static const char text[] = "one two three four";
    static const int64_t words[] = { 0, 3, 4, 7, 8, 13, 18 };
    mamuto_error_t err = { 0 };
    for (int i = 0; i < 2; i++) {
        uint64_t lengths[6] = { 0 };
        mamuto_kept_t *handle = kept(i ? "bytes" : "u1[*]", mamuto_scatter_var(text, words, 6));
        mamuto_call_t call = { .function = "length", .args = { mamuto_resident(handle) }, .result = lengths };
        assert_int_equal(mamuto_map_wait(m, &call, &err), 0);
        for (int k = 0; k < 6; k++)
            assert_int_equal(lengths[k], words[k + 1] - words[k]);
        assert_int_equal(mamuto_forget(handle), 0);
    }
}

static void layouts_that_do_not_go_with_the_type_are_refused(void **state)
{
    (void)state;
    static const int64_t down[] = { 5, 3 }, negative[] = { -1, 3 };
    const struct {
        const char *type;
        mamuto_arg_t arg;
        int code;
        const char *part;
    } cases[] = {
        { "f8[*]", mamuto_scatter(numbers, 1), MAMUTO_EARGS, "variable length" },
        { "f8", mamuto_scatter_var(numbers, offsets, 1), MAMUTO_EARGS, "fixed size" },
        { "f8", mamuto_broadcast_var(numbers, 1), MAMUTO_EARGS, "fixed size" },
        { "f8", mamuto_scatter_strided(numbers, 2, 4), MAMUTO_EALIGN, "stride of 4" },
        { "f8[*]", mamuto_scatter_var(numbers, NULL, 1), MAMUTO_EARGS, "no offsets" },
        { "f8[*]", mamuto_scatter_var(numbers, down, 1), MAMUTO_EARGS, "decrease" },
        { "f8[*]", mamuto_scatter_var(numbers, negative, 1), MAMUTO_EARGS, "negative" },
        { "f8[*]", mamuto_broadcast_var(numbers, SIZE_MAX / 2), MAMUTO_ESIZE, "does not fit" },
        { "f8[*]", mamuto_broadcast_var(NULL, 1), MAMUTO_EARGS, "NULL" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mamuto_error_t err = { 0 };
        mamuto_kept_t *handle = NULL;
        mamuto_keep_t keep = { .type = cases[i].type, .arg = cases[i].arg };
        e2e_is_error(mamuto_keep_wait(m, &keep, &handle, &err), &err, cases[i].code, cases[i].part);
        assert_null(handle);
    }
    is_as_in_place("f8[2]", "pair", mamuto_scatter(numbers, N));
}

/* Offsets between the first and the last are looked at where they are used. */
static void kept_offsets_that_decrease_fail_the_map(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    double one = 1;
    mamuto_arg_t arg = variable(0);
    offsets[N / 2] = 0;
    mamuto_kept_t *handle = kept("f8[*]", arg);
    mamuto_call_t call = { .function = "total",
                           .args = { mamuto_resident(handle), mamuto_broadcast(&one) },
                           .result = resident };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS, "decrease");
    assert_int_equal(mamuto_forget(handle), 0);
    is_as_in_place("f8[*]", "total", variable(0));
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(strided_arrays_are_kept),
        TEST(array_of_large_items_that_lie_apart_is_kept),
        TEST(arrays_of_variable_length_are_kept),
        TEST(bytes_are_u1_of_any_length),
        TEST(layouts_that_do_not_go_with_the_type_are_refused),
        TEST(kept_offsets_that_decrease_fail_the_map),
    };
    uv_loop_t loop;
    uv_loop_init(&loop); /* the first one opens what libuv keeps */
    uv_loop_close(&loop);
    return cmocka_run_group_tests_name("e2e_keep_layouts", tests, NULL, NULL);
}
