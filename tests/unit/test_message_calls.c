/* Each field of the bodies of calls and leases at the ends of its range, and just beyond: test_message_fields.c goes
 * on. */
#include "tests/support/fields.h"

#include <stdlib.h>

/* --- calls and leases --------------------------------------------------------------------------------------------- */

static struct mm_call_body call_of(uint32_t flags)
{
    struct mm_call_body call = { .flags = flags, .n_in = 1, .n_dims = 1, .out_size = 8, .out_len = 1 };
    call.in[0] = (struct mm_call_argument){ .kind = MM_ARGUMENT_SCATTER, .size = 24, .len = 3 };
    call.dims[0] = call.fold_dims[0] = 3;
    call.n_fold_dims = 1;
    call.leaf_items = 64;
    call.group_items = 128;
    call.n_items = 1000;
    return call;
}

#define CALL(flags_, field_, value_, expected_)                                                                        \
    WITH(call, struct mm_call_body, call_of(flags_), field_, value_, expected_)

static void a_call_is_held_against_its_ranges(void **state)
{
    (void)state;
    CALL(0, module, UINT32_MAX, NULL); /* the agent knows which there are */
    CALL(0, flags, MM_CALL_FAIL_FAST | MM_CALL_ONCE | MM_CALL_MARKS, NULL);
    CALL(0, flags, MM_CALL_ALL_FLAGS, NULL);
    CALL(0, flags, MM_CALL_ALL_FLAGS + 1, RANGE);
    CALL(0, flags, MM_CALL_VALUES, RANGE);
    CALL(0, flags, MM_CALL_FOLD_ONLY, RANGE);
    CALL(0, flags, MM_CALL_ABSENT, RANGE);
    CALL(0, n_in, 0, NULL);
    CALL(0, n_in, MAMUTO_MAX_ARGS + 1, RANGE);
    CALL(0, n_dims, 0, NULL);
    CALL(0, n_dims, MAMUTO_MAX_DIMS + 1, RANGE);
    CALL(0, dims[0], UINT64_MAX, NULL); /* held against the signature */
    CALL(0, dims[0], 0, RANGE);
    CALL(0, out_size, INT64_MAX, NULL);
    CALL(0, out_size, (uint64_t)INT64_MAX + 1, RANGE);
    CALL(0, out_size, 0, RANGE);
    CALL(0, out_len, INT64_MAX, NULL);
    CALL(0, out_len, (uint64_t)INT64_MAX + 1, RANGE);
    CALL(0, out_len, 0, RANGE);
    CALL(0, seed, UINT64_MAX, NULL);
    CALL(0, item_timeout_ms, INT32_MAX, NULL);
    CALL(0, item_timeout_ms, -1, RANGE);
    CALL(0, retries, INT32_MAX, NULL);
    CALL(0, retries, -1, RANGE);
    CALL(0, priority, 100, NULL);
    CALL(0, priority, 101, RANGE);
    CALL(0, priority, -100, NULL);
    CALL(0, priority, -101, RANGE);
}

static void a_reduction_is_held_against_its_ranges(void **state)
{
    (void)state;
    CALL(MM_CALL_GROUPS, n_fold_dims, MAMUTO_MAX_DIMS + 1, RANGE);
    CALL(MM_CALL_GROUPS, fold_dims[0], 0, RANGE);
    CALL(MM_CALL_GROUPS, leaf_items, 1, NULL);
    CALL(MM_CALL_GROUPS, leaf_items, 0, RANGE);
    CALL(MM_CALL_GROUPS, leaf_items, (1 << 20) + 1, RANGE);
    CALL(MM_CALL_GROUPS, n_items, MAMUTO_MAX_ITEMS, NULL);
    CALL(MM_CALL_GROUPS, n_items, MAMUTO_MAX_ITEMS + 1, RANGE);
    CALL(MM_CALL_GROUPS, n_items, 0, RANGE);
    CALL(MM_CALL_GROUPS, group_items, 64, NULL);
    CALL(MM_CALL_GROUPS, group_items, 8192, NULL);
    CALL(MM_CALL_GROUPS, group_items, MAMUTO_MAX_ITEMS, NULL);
    CALL(MM_CALL_GROUPS, group_items, 0, RANGE);
    CALL(MM_CALL_GROUPS, group_items, 32, RANGE);  /* less than a leaf */
    CALL(MM_CALL_GROUPS, group_items, 129, RANGE); /* not of leaves */
    CALL(MM_CALL_GROUPS, group_items, 192, RANGE); /* of three */
    CALL(MM_CALL_GROUPS, group_items, 2 * MAMUTO_MAX_ITEMS, RANGE);
}

static void argument(enum mm_argument_kind kind, bool variable, bool one, uint64_t size, uint64_t object,
                     const char *expected)
{
    struct mm_call_argument in = {
        .kind = kind, .variable = variable, .one = one, .size = size, .len = 1, .object = object
    };
    CALL(0, in[0], in, expected);
}

static void the_arguments_of_a_call_are_held_against_their_ranges(void **state)
{
    (void)state;
    const enum mm_argument_kind SCATTER = MM_ARGUMENT_SCATTER, BROADCAST = MM_ARGUMENT_BROADCAST;
    const enum mm_argument_kind KEPT = MM_ARGUMENT_KEPT;
    argument(SCATTER, false, false, 24, 0, NULL);
    argument(SCATTER, true, false, 24, 0, NULL);
    argument(SCATTER, false, true, 24, 0, RANGE);
    argument(SCATTER, false, false, 0, 0, RANGE);
    argument(SCATTER, false, false, 24, 5, RANGE); /* an object, and not kept */
    argument(BROADCAST, false, true, 24, 0, NULL);
    argument(BROADCAST, false, true, 0, 0, NULL); /* of variable length, and empty */
    argument(BROADCAST, false, false, 24, 0, RANGE);
    argument(BROADCAST, true, false, 24, 0, RANGE);
    argument(BROADCAST, false, true, 24, 5, RANGE);
    argument(KEPT, false, false, 24, 5, NULL);
    argument(KEPT, true, false, 24, 5, NULL);
    argument(KEPT, false, true, 0, 5, NULL);
    argument(KEPT, true, true, 24, 5, RANGE);
    argument(KEPT, false, false, 0, 5, RANGE);
    argument(KEPT, false, false, 24, 0, RANGE);
    argument((enum mm_argument_kind)3, false, false, 24, 0, RANGE);
    CALL(0, in[0].size, INT64_MAX, NULL);
    CALL(0, in[0].size, (uint64_t)INT64_MAX + 1, RANGE);
    CALL(0, in[0].len, INT64_MAX, NULL);
    CALL(0, in[0].len, (uint64_t)INT64_MAX + 1, RANGE);
    struct mm_call_body bits = call_of(0);
    mm_put_call(begin(), &bits);
    overwrite(4 + 4 + 4 + 4 + 8 + 4 + 4, 4, 4); /* a bit that there is not */
    IS(call, struct mm_call_body, RANGE);
}

static void run(uint64_t lo, uint64_t hi, uint32_t n_in, uint64_t bytes_of_last, const char *expected)
{
    struct mm_run_body body = { .call = 5, .lo = lo, .hi = hi };
    body.bytes[MAMUTO_MAX_ARGS - 1] = bytes_of_last;
    mm_put_run(begin(), &body, n_in);
    IS(run, struct mm_run_body, expected);
}

static void a_run_is_held_against_its_ranges(void **state)
{
    (void)state;
    run(0, 1, 8, 0, NULL);
    run(MAMUTO_MAX_ITEMS - 1, MAMUTO_MAX_ITEMS, 8, INT64_MAX, NULL);
    run(0, MAMUTO_MAX_ITEMS + 1, 8, 0, RANGE);
    run(1, 1, 8, 0, RANGE);
    run(2, 1, 8, 0, RANGE);
    run(0, 0, 8, 0, RANGE);
    run(0, 1, 9, 0, RANGE);
    run(0, 1, 0, 0, NULL);
    run(0, 1, 8, (uint64_t)INT64_MAX + 1, RANGE);
    struct mm_run_body got;
    const char *why = "";
    mm_put_run(begin(), &(struct mm_run_body){ .call = 5, .hi = 1, .bytes = { 1, 2, 3 } }, 2);
    assert_int_equal(mm_get_run(&got, bytes, w.n, &why), 0);
    assert_int_equal(got.n_in, 2);
    assert_int_equal(got.bytes[1], 2);
    assert_int_equal(got.bytes[2], 0);
}

static void a_line_of_a_worker_is_held_against_its_ranges(void **state)
{
    (void)state;
    static const struct mm_out_body out = { 0, 1, "line", 4 };
#define OUT(field_, value_, expected_) WITH(out, struct mm_out_body, out, field_, value_, expected_)
    OUT(worker, MM_MOST_WORKERS - 1, NULL);
    OUT(worker, MM_MOST_WORKERS, RANGE);
    OUT(fd, 2, NULL);
    OUT(fd, 0, RANGE);
    OUT(fd, 3, RANGE);
    OUT(n, 0, NULL);
#undef OUT
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_is_held_against_its_ranges),
        cmocka_unit_test(a_reduction_is_held_against_its_ranges),
        cmocka_unit_test(the_arguments_of_a_call_are_held_against_their_ranges),
        cmocka_unit_test(a_run_is_held_against_its_ranges),
        cmocka_unit_test(a_line_of_a_worker_is_held_against_its_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
