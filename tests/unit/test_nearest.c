/* nearest.c: the edit distance, and which candidate is taken. */
#include "core/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array_) (sizeof(array_) / sizeof *(array_))

static void nearest_distance_counts_edits_and_swaps(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        int distance;
    } cases[] = {
        { "", "", 0 },       { "", "abc", 3 },          { "abc", "abc", 0 },
        { "ABC", "abc", 0 }, { "abc", "abd", 1 },       { "abc", "acb", 1 },
        { "abc", "ab", 1 },  { "abc", "xabc", 1 },      { "kitten", "sitting", 3 },
        { "ca", "abc", 3 },  { "abcdef", "badcfe", 3 },
    };
    char longest[MM_NEAREST_MAX + 1];
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(mm_nearest_distance(cases[i].a, cases[i].b), cases[i].distance);
        assert_int_equal(mm_nearest_distance(cases[i].b, cases[i].a), cases[i].distance);
    }
    memset(longest, 'a', MM_NEAREST_MAX);
    longest[MM_NEAREST_MAX] = '\0';
    assert_int_equal(mm_nearest_distance(longest, longest), MM_NEAREST_MAX);
    assert_int_equal(mm_nearest_distance(longest + 1, "a"), MM_NEAREST_MAX - 2);
}

static void nearest_offer_takes_what_resembles(void **state)
{
    (void)state;
    struct mm_nearest nearest = { 0 };
    char longest[300];
    mm_nearest_offer(&nearest, "croes", "libs");
    assert_null(nearest.name);
    mm_nearest_offer(&nearest, "croes", "core");
    assert_string_equal(nearest.name, "core");
    mm_nearest_offer(&nearest, "croes", "cores");
    assert_string_equal(nearest.name, "cores");
    mm_nearest_offer(&nearest, "croes", "Cores"); /* not nearer: the first stays */
    assert_string_equal(nearest.name, "cores");
    nearest = (struct mm_nearest){ 0 };
    memset(longest, 'h', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    mm_nearest_offer(&nearest, longest, "hosts"); /* a long one once was near to everything */
    mm_nearest_offer(&nearest, "", "cc");
    assert_null(nearest.name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nearest_distance_counts_edits_and_swaps),
        cmocka_unit_test(nearest_offer_takes_what_resembles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
