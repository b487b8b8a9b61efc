/* The arithmetic of results of variable length: sums, offsets and bytes against a plain loop, at random; and records
 * that lie about where their elements are. */
#include "core/varlen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { MOST = 3000, ROOM = 1 << 17 };

static char first[ROOM], second[ROOM], data[2 * ROOM], want[2 * ROOM];
static mm_varlen_record records[MOST];
static int64_t offsets[MOST + 1];
static uint64_t length[MOST];
static const struct mm_varlen_parts parts = { { first, second }, { ROOM, ROOM } };

static unsigned next(unsigned *random)
{
    *random = *random * 1103515245u + 12345u;
    return *random >> 8;
}

/* Records in places at random, mostly one behind the other; returns their bytes, which are also in want. */
static uint64_t fill(unsigned *random, uint64_t n, size_t element)
{
    uint64_t sum = 0, at[2] = { 0, 0 };
    for (uint64_t i = 0; i < n; i++) {
        unsigned part = next(random) % 50 == 0 ? next(random) % 2 : 0;
        uint64_t bytes = (next(random) % 4 ? next(random) % 20 : 0) / element * element;
        if (next(random) % 20 == 0 && at[part] + 100 < ROOM)
            at[part] += element; /* a gap */
        if (at[part] + bytes > ROOM)
            bytes = 0;
        bool is_long = next(random) % 30 == 0 && at[part] + MM_VARLEN_HEAD + bytes <= ROOM;
        uint64_t place = at[part] | (part ? MM_VARLEN_SECOND : 0);
        records[i] = bytes || next(random) % 2 ? mm_varlen_pack(place, is_long ? MM_VARLEN_LONG : bytes) : 0;
        if (is_long && records[i]) {
            memcpy((part ? second : first) + at[part], &bytes, MM_VARLEN_HEAD);
            at[part] += MM_VARLEN_HEAD;
        }
        memcpy(want + sum, parts.data[part] + at[part], bytes);
        length[i] = bytes;
        at[part] += bytes;
        sum += bytes;
    }
    return sum;
}

static void varlen_gather_is_the_plain_loop(void **state)
{
    (void)state;
    const char *text = getenv("MAMUTO_SEED");
    unsigned random = text ? (unsigned)strtoul(text, NULL, 10) : (unsigned)time(NULL);
    print_message("MAMUTO_SEED=%u\n", random);
    for (int i = 0; i < ROOM; i++) {
        first[i] = (char)next(&random);
        second[i] = (char)next(&random);
    }
    for (int round = 0; round < 2000; round++) {
        size_t element = (size_t)1 << next(&random) % 5;
        uint64_t n = next(&random) % MOST + 1, sum, at = next(&random) % 100 * element, begin = at;
        uint64_t bytes = fill(&random, n, element);
        assert_true(mm_varlen_sum(&parts, records, n, &sum));
        assert_int_equal(sum, bytes);
        memset(data, 7, sizeof data);
        assert_true(mm_varlen_gather(&parts, records, n, element, round % 2, data, offsets, &at, begin + bytes));
        assert_int_equal(at, begin + bytes);
        assert_memory_equal(data + begin, want, bytes);
        assert_true(begin == 0 || data[begin - 1] == 7);
        assert_int_equal(data[at], 7);
        for (uint64_t i = 0; i < n; begin += length[i++])
            assert_int_equal(offsets[i], begin / element);
    }
}

static void refused(mm_varlen_record record, uint64_t end)
{
    uint64_t at = 0, sum;
    records[0] = mm_varlen_pack(0, 10);
    records[1] = record;
    assert_false(mm_varlen_gather(&parts, records, 2, 1, false, data, offsets, &at, end));
    assert_true(at <= end);
    assert_true(mm_varlen_sum(&parts, records, 2, &sum) == (end == 15));
}

/* A long item at this place of the first part. */
static mm_varlen_record long_item(uint64_t place, uint64_t bytes)
{
    memcpy(first + place, &bytes, MM_VARLEN_HEAD);
    return mm_varlen_pack(place, MM_VARLEN_LONG);
}

static void varlen_of_records_that_lie_is_refused(void **state)
{
    (void)state;
    static const uint64_t all = 2 * ROOM;
    refused(mm_varlen_pack(ROOM, 1), all);
    refused(mm_varlen_pack(ROOM - 5, 6), all);
    refused(mm_varlen_pack(10, ROOM), all); /* behind the one before it, and too long */
    refused(mm_varlen_pack(MM_VARLEN_SECOND | (ROOM - 1), 2), all);
    refused(mm_varlen_pack(MM_VARLEN_SECOND - 1, 1), all);
    refused(UINT64_MAX, all); /* long, nowhere */
    refused(UINT64_MAX - 1, all);
    refused(mm_varlen_pack(ROOM - 7, MM_VARLEN_LONG), all);
    refused(long_item(ROOM - 8, 1), all);
    refused(long_item(100, ROOM), all);
    refused(long_item(100, UINT64_MAX), all);
    refused(long_item(100, UINT64_MAX - 107), all);
    refused(mm_varlen_pack(50, 6), 15); /* more than the group has by its sum */
    refused(mm_varlen_pack(10, 6), 15);
    refused(long_item(100, 6), 15);
}

static void varlen_sum_does_not_overflow(void **state)
{
    (void)state;
    const struct mm_varlen_parts wide = { { first, second }, { MM_VARLEN_SECOND - 1, 0 } };
    uint64_t sum;
    for (int i = 0; i < MOST; i++)
        records[i] = long_item(0, MM_VARLEN_SECOND - 100);
    assert_true(mm_varlen_sum(&wide, records, MOST, &sum));
    assert_true(sum == MOST * (MM_VARLEN_SECOND - 100));
}

static void varlen_groups_are_few_and_whole(void **state)
{
    (void)state;
    assert_int_equal(mm_varlen_group(0), 1);
    assert_int_equal(mm_varlen_group(1), 1);
    assert_int_equal(mm_varlen_group(511), 1);
    assert_int_equal(mm_varlen_group(100000), 390);
    assert_int_equal(mm_varlen_group(UINT64_C(1) << 47), MM_VARLEN_GROUP);
}

static void varlen_layout_is_data_then_offsets(void **state)
{
    (void)state;
    uint64_t at, whole;
    assert_true(mm_varlen_layout(0, 0, &at, &whole));
    assert_true(at == 0 && whole == 8);
    assert_true(mm_varlen_layout(65, 3, &at, &whole));
    assert_true(at == 128 && whole == 128 + 32);
    assert_false(mm_varlen_layout(UINT64_MAX - 3, 3, &at, &whole));
    assert_false(mm_varlen_layout(1, UINT64_MAX / 8, &at, &whole));
    assert_false(mm_varlen_layout((uint64_t)INT64_MAX - 10, 3, &at, &whole));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(varlen_gather_is_the_plain_loop),    cmocka_unit_test(varlen_of_records_that_lie_is_refused),
        cmocka_unit_test(varlen_sum_does_not_overflow),       cmocka_unit_test(varlen_groups_are_few_and_whole),
        cmocka_unit_test(varlen_layout_is_data_then_offsets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
