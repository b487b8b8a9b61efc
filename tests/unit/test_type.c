/* The type of kept data: one type alone, its dims bound, compared and shown. The rules of types themselves are tested in
 * test_signature.c. */
#include "core/signature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void type_alone_is_parsed_with_its_dims(void **state)
{
    (void)state;
    struct mm_signature sig;
    mamuto_error_t err = { 0 };
    char text[MM_TYPE_TEXT];
    memset(&sig, 0xA5, sizeof sig);
    assert_int_equal(mm_type_parse(&sig, " c16 [ rows,3, cols , rows ] ", &err), 0);
    assert_int_equal(sig.n_in, 1);
    assert_int_equal(sig.n_dims, 2);
    assert_string_equal(sig.dims[1], "cols");
    assert_int_equal(sig.in[0].rank, 4);
    mm_type_bind(&sig.in[0], (const size_t[]){ 5, SIZE_MAX });
    mm_type_show(&sig.in[0], text);
    assert_string_equal(text, "c16[5, 3, 18446744073709551615, 5]");
    static const char *const whole[] = { "f8", "u1[3]", "f8[*]", "bytes", "i2[1, 2, 3, 4, 5, 6, 7, 8]" };
    for (size_t k = 0; k < sizeof whole / sizeof *whole; k++) {
        assert_int_equal(mm_type_parse(&sig, whole[k], &err), 0);
        mm_type_show(&sig.in[0], text);
        assert_string_equal(text, whole[k]);
    }
}

static void longest_type_is_shown_whole(void **state)
{
    (void)state;
    struct mm_signature sig;
    char text[MM_TYPE_TEXT];
    assert_int_equal(mm_type_parse(&sig, "c16[d, d, d, d, d, d, d, d]", NULL), 0);
    mm_type_bind(&sig.in[0], (const size_t[]){ SIZE_MAX });
    mm_type_show(&sig.in[0], text);
    assert_int_equal(strlen(text), 3 + 8 * 22);
}

static void type_refused(const char *text, const char *says)
{
    struct mm_signature sig, before;
    mamuto_error_t err = { 0 };
    memset(&sig, 0xA5, sizeof sig);
    memcpy(&before, &sig, sizeof sig);
    assert_int_equal(mm_type_parse(&sig, text, &err), MAMUTO_ESIGNATURE);
    assert_memory_equal(&sig, &before, sizeof sig);
    if (strncmp(err.text, says, strlen(says)) != 0)
        fail_msg("%s was expected, got: %s", says, err.text);
}

static void bad_type_alone_is_refused_with_its_column(void **state)
{
    (void)state;
    type_refused(NULL, "type \"\", column 1: the type is empty");
    type_refused(" \t", "type \" ?\", column 1: the type is empty");
    type_refused("f8[3] ]", "type \"f8[3] ]\", column 7: unexpected text after the type");
    type_refused("f8[3], f8", "type \"f8[3], f8\", column 6: unexpected text after the type");
    type_refused("f8 -> f8", "type \"f8 -> f8\", column 4: unexpected text after the type");
    type_refused("-> f8", "type \"-> f8\", column 1: expected a type");
    type_refused("bytes[3]", "type \"bytes[3]\", column 6: \"bytes\" has no shape");
    type_refused("f8[0]", "type \"f8[0]\", column 4: a dimension of 0");
}

static void types_are_equal_by_elements_and_bound_shape(void **state)
{
    (void)state;
    static const char *const types[] = { "f8", "f8[1]", "f4", "f8[2, 3]", "f8[3, 2]", "f8[6]", "f8[*]", "u1[*]", "u1" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (size_t j = 0; j < sizeof types / sizeof *types; j++) {
            struct mm_signature a, b;
            assert_int_equal(mm_type_parse(&a, types[i], NULL), 0);
            assert_int_equal(mm_type_parse(&b, types[j], NULL), 0);
            assert_true(mm_type_is_equal(&a.in[0], &b.in[0]) == (i == j));
        }
    struct mm_signature text, bytes, bound, fixed;
    assert_int_equal(mm_type_parse(&text, "bytes", NULL), 0);
    assert_int_equal(mm_type_parse(&bytes, "u1[*]", NULL), 0);
    assert_true(mm_type_is_equal(&text.in[0], &bytes.in[0]));
    assert_int_equal(mm_type_parse(&bound, "f8[a, b, a]", NULL), 0);
    assert_int_equal(mm_type_parse(&fixed, "f8[2, 3, 2]", NULL), 0);
    mm_type_bind(&bound.in[0], (const size_t[]){ 2, 3 });
    assert_true(mm_type_is_equal(&bound.in[0], &fixed.in[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(type_alone_is_parsed_with_its_dims),
        cmocka_unit_test(longest_type_is_shown_whole),
        cmocka_unit_test(bad_type_alone_is_refused_with_its_column),
        cmocka_unit_test(types_are_equal_by_elements_and_bound_shape),
    };
    return cmocka_run_group_tests_name("type", tests, NULL, NULL);
}
