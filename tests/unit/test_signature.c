/* Signatures: every rule of the grammar accepted, and every way to break one refused with its column and its own
 * sentence. The random side of it is tests/fuzz/fuzz_signature.c. */
#include "core/signature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct mm_signature parsed(const char *text)
{
    struct mm_signature sig;
    mamuto_error_t err = { 0 };
    memset(&sig, 0xA5, sizeof sig);
    int rc = mm_signature_parse(&sig, text, &err);
    if (rc)
        fail_msg("%s", err.text);
    assert_int_equal(err.code, 0);
    return sig;
}

/* text is refused at the column with a sentence that begins with `says`, and the structure is left alone. */
static void refused(const char *text, size_t column, const char *says)
{
    struct mm_signature sig, before;
    char where[64];
    mamuto_error_t err = { 0 };
    memset(&sig, 0xA5, sizeof sig);
    memcpy(&before, &sig, sizeof sig);
    assert_int_equal(mm_signature_parse(&sig, text, &err), MAMUTO_ESIGNATURE);
    assert_int_equal(err.code, MAMUTO_ESIGNATURE);
    assert_memory_equal(&sig, &before, sizeof sig);
    snprintf(where, sizeof where, "\", column %zu: ", column);
    const char *found = strstr(err.text, where);
    if (!found || strncmp(found + strlen(where), says, strlen(says)) != 0)
        fail_msg("column %zu: %s was expected, got: %s", column, says, err.text);
}

/* ---- what is right ---- */

static void signature_of_the_manual_is_parsed(void **state)
{
    (void)state;
    struct mm_signature sig = parsed("f8[3], f8[3] -> f8");
    assert_int_equal(sig.n_in, 2);
    assert_int_equal(sig.n_dims, 0);
    for (int k = 0; k < 2; k++) {
        assert_string_equal(sig.in[k].dtype, "f8");
        assert_int_equal(sig.in[k].elem_bytes, 8);
        assert_int_equal(sig.in[k].rank, 1);
        assert_int_equal(sig.in[k].shape[0].fixed, 3);
        assert_false(sig.in[k].variable);
        assert_false(sig.in[k].text);
    }
    assert_string_equal(sig.out.dtype, "f8");
    assert_int_equal(sig.out.rank, 0);
}

static void signature_element_types_have_size_and_alignment(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int bytes, align;
    } types[] = {
        { "i1", 1, 1 }, { "i2", 2, 2 },   { "i4", 4, 4 }, { "i8", 8, 8 }, { "u1", 1, 1 },
        { "u2", 2, 2 }, { "u4", 4, 4 },   { "u8", 8, 8 }, { "f4", 4, 4 }, { "f8", 8, 8 },
        { "c8", 8, 4 }, { "c16", 16, 8 }, { "b1", 1, 1 },
    };
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        char text[32];
        snprintf(text, sizeof text, "%s[2] -> %s", types[k].name, types[k].name);
        struct mm_signature sig = parsed(text);
        assert_string_equal(sig.in[0].dtype, types[k].name);
        assert_string_equal(sig.out.dtype, types[k].name);
        assert_int_equal(sig.out.elem_bytes, types[k].bytes);
        assert_int_equal(sig.out.elem_align, types[k].align);
    }
}

static void signature_names_are_numbered_by_first_appearance(void **state)
{
    (void)state;
    struct mm_signature sig =
        parsed("f8[n, 2, m], i4[m], f8[n] -> f8[k9_, n]"); /* a name only in the output is legal */
    assert_int_equal(sig.n_dims, 3);
    assert_string_equal(sig.dims[0], "n");
    assert_string_equal(sig.dims[1], "m");
    assert_string_equal(sig.dims[2], "k9_");
    assert_int_equal(sig.in[0].rank, 3);
    assert_int_equal(sig.in[0].shape[0].fixed, 0);
    assert_int_equal(sig.in[0].shape[0].name, 0);
    assert_int_equal(sig.in[0].shape[1].fixed, 2);
    assert_int_equal(sig.in[0].shape[2].name, 1);
    assert_int_equal(sig.in[1].shape[0].name, 1);
    assert_int_equal(sig.in[2].shape[0].name, 0);
    assert_int_equal(sig.out.shape[0].name, 2);
    assert_int_equal(sig.out.shape[1].name, 0);
}

static void signature_name_that_begins_another_is_a_name_of_its_own(void **state)
{
    (void)state;
    struct mm_signature sig = parsed("f8[rows], f8[row], f8[r], f8[Row] -> f8[f8]");
    assert_int_equal(sig.n_dims, 5);
    assert_string_equal(sig.dims[1], "row");
    assert_string_equal(sig.dims[4], "f8");
}

static void signature_without_input_is_parsed(void **state)
{
    (void)state;
    struct mm_signature sig = parsed("->f8");
    assert_int_equal(sig.n_in, 0);
    assert_string_equal(sig.out.dtype, "f8");
}

static void signature_blanks_are_free(void **state)
{
    (void)state;
    struct mm_signature tight = parsed("f8[3,d],bytes,u1[*]->c16[d]"),
                        wide = parsed(" \tf8 [ 3\t,d ] , bytes , u1 [ * ] \t->  c16 [ d ] \t");
    assert_int_equal(wide.n_in, tight.n_in);
    assert_int_equal(wide.in[0].rank, 2);
    assert_int_equal(wide.in[0].shape[0].fixed, 3);
    assert_int_equal(wide.in[0].shape[1].name, 0);
    assert_string_equal(wide.dims[0], "d");
    assert_true(wide.in[1].text && wide.in[2].variable);
    assert_int_equal(wide.out.rank, 1);
}

static void signature_star_is_variable(void **state)
{
    (void)state;
    struct mm_signature sig = parsed("f8[*] -> i4[*]");
    assert_true(sig.in[0].variable && sig.out.variable);
    assert_false(sig.in[0].text || sig.out.text);
    assert_int_equal(sig.in[0].elem_bytes, 8);
    assert_int_equal(sig.out.elem_bytes, 4);
}

static void signature_bytes_is_u1_star_that_is_text(void **state)
{
    (void)state;
    struct mm_signature sig = parsed("bytes -> bytes");
    assert_string_equal(sig.in[0].dtype, "u1");
    assert_true(sig.in[0].variable && sig.in[0].text && sig.out.text);
    assert_int_equal(sig.in[0].elem_bytes, 1);
    assert_int_equal(sig.in[0].elem_align, 1);
}

static void signature_at_every_limit_is_parsed(void **state)
{
    (void)state;
    struct mm_signature sig = parsed("f8[1,2,3,4,5,6,7,8],f8,f8,f8,f8,f8,f8,f8 -> f8[a,b,c,d,e,f,g,h]");
    assert_int_equal(sig.n_in, 8);
    assert_int_equal(sig.n_dims, 8);
    assert_int_equal(sig.in[0].rank, 8);
    assert_int_equal(sig.in[0].shape[7].fixed, 8);
    assert_int_equal(sig.out.shape[7].name, 7);
    sig = parsed("f8[abcdefghijklmnopqrstuvwxyzABCDE] -> u1[9223372036854775807]");
    assert_int_equal(strlen(sig.dims[0]), 31);
    assert_true(sig.out.shape[0].fixed == INT64_MAX);
}

/* ---- what is wrong, each with its sentence ---- */

static void signature_empty_is_refused(void **state)
{
    (void)state;
    refused("", 1, "the signature is empty");
    refused(" \t ", 1, "the signature is empty");
    refused(NULL, 1, "the signature is empty");
}

static void signature_with_unknown_type_names_it_and_the_known(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    struct mm_signature sig;
    assert_int_equal(mm_signature_parse(&sig, "f9[3] -> f8", &err), MAMUTO_ESIGNATURE);
    assert_string_equal(err.text,
                        "signature \"f9[3] -> f8\", column 1: unknown type \"f9\": expected one of i1, i2, i4, "
                        "i8, u1, u2, u4, u8, f4, f8, c8, c16, b1, bytes");
    refused("f8, double -> f8", 5, "unknown type \"double\"");
    refused("f8 -> F8", 7, "unknown type \"F8\"");
    refused("f8 -> f88", 7, "unknown type \"f88\"");
    refused("f -> f8", 1, "unknown type \"f\"");
    refused("c1 -> f8", 1, "unknown type \"c1\"");
    refused("byte -> f8", 1, "unknown type \"byte\"");
    refused("bytes_ -> f8", 1, "unknown type \"bytes_\"");
    refused("3 -> f8", 1, "unknown type \"3\"");
}

static void signature_with_missing_type_is_refused(void **state)
{
    (void)state;
    refused(", f8 -> f8", 1, "expected a type, one of i1, i2");
    refused("f8, -> f8", 5, "expected a type");
    refused("f8,, f8 -> f8", 4, "expected a type");
    refused("[3] -> f8", 1, "expected a type");
    refused("f8 -> [3]", 7, "expected a type");
    refused("f8 -> -> f8", 7, "expected a type");
    refused("f8,", 4, "expected a type");
}

static void signature_with_missing_arrow_is_refused(void **state)
{
    (void)state;
    refused("f8", 3, "the arrow is missing; expected \"->\"");
    refused("f8[3], i4 ", 11, "the arrow is missing");
}

static void signature_with_anything_else_after_an_input_is_refused(void **state)
{
    (void)state;
    refused("f8 f8 -> f8", 4, "expected \",\" or \"->\" after an input");
    refused("f8 - > f8", 4, "expected \",\" or \"->\"");
    refused("f8 > f8", 4, "expected \",\" or \"->\"");
    refused("f8 => f8", 4, "expected \",\" or \"->\"");
    refused("f8; f8 -> f8", 3, "expected \",\" or \"->\"");
    refused("f8[3][3] -> f8", 6, "expected \",\" or \"->\"");
    refused("f8\n-> f8", 3, "expected \",\" or \"->\"");
    refused("f8]-> f8", 3, "expected \",\" or \"->\"");
}

static void signature_with_missing_output_is_refused(void **state)
{
    (void)state;
    refused("f8 ->", 6, "the output is missing; expected its type");
    refused("->  ", 5, "the output is missing");
}

static void signature_with_two_outputs_is_refused(void **state)
{
    (void)state;
    refused("f8 -> f8, f8", 9, "a function has one output");
    refused("f8 -> f8[2] ,", 13, "a function has one output");
}

static void signature_with_trailing_text_is_refused(void **state)
{
    (void)state;
    refused("f8 -> f8 x", 10, "unexpected text after the output");
    refused("f8 -> f8[2]]", 12, "unexpected text after the output");
    refused("f8 -> f8 -> f8", 10, "unexpected text after the output");
    refused("f8 -> f8\n", 9, "unexpected text after the output");
    refused("f8 -> f8[2] [2]", 13, "unexpected text after the output");
}

static void signature_with_nine_inputs_is_refused(void **state)
{
    (void)state;
    refused("f8,f8,f8,f8,f8,f8,f8,f8, f8 -> f8", 26, "one input too many; a function has up to 8");
}

static void signature_with_nine_names_is_refused(void **state)
{
    (void)state;
    refused("f8[a,b,c,d], f8[e,f,g,h] -> f8[a, i]", 35, "\"i\" is one name too many; a signature has up to 8");
}

static void signature_with_nine_dimensions_is_refused(void **state)
{
    (void)state;
    refused("f8[1,2,3,4,5,6,7,8,9] -> f8", 20, "one dimension too many; a type has up to 8");
    refused("f8[1,2,3,4,5,6,7,8,n] -> f8", 20, "one dimension too many; a type has up to 8");
}

static void signature_with_a_name_of_32_characters_is_refused(void **state)
{
    (void)state;
    refused("f8[abcdefghijklmnopqrstuvwxyzABCDEF] -> f8", 4, "the name \"abcdefghijklmnopqrstuvwxyzABCDEF\" is longer");
}

static void signature_with_a_name_that_begins_with_no_letter_is_refused(void **state)
{
    (void)state;
    refused("f8[_a] -> f8", 4, "the name \"_a\" begins with \"_\"");
    refused("f8[3x] -> f8", 4, "\"3x\" is neither a number nor a name");
    refused("f8[0x10] -> f8", 4, "\"0x10\" is neither a number nor a name");
    refused("f8[1_000] -> f8", 4, "\"1_000\" is neither a number nor a name");
}

static void signature_with_a_dimension_of_zero_is_refused(void **state)
{
    (void)state;
    refused("f8[0] -> f8", 4, "a dimension of 0 holds nothing; the least is 1");
    refused("f8[3, 00] -> f8", 7, "a dimension of 0 holds nothing");
}

static void signature_with_a_leading_zero_is_refused(void **state)
{
    (void)state;
    refused("f8[010] -> f8", 4, "a number has no leading zero; write 10"); /* C would read 8 */
}

static void signature_with_a_number_above_the_largest_is_refused(void **state)
{
    (void)state;
    refused("u1[9223372036854775808] -> f8", 4, "the number \"9223372036854775808\" is too large");
    refused("u1[18446744073709551617] -> f8", 4, "the number \"18446744073709551617\" is too large"); /* 2^64 + 1 */
    refused("u1[2, 99999999999999999999999999999999999999999999999999] -> f8", 7,
            "the number \"9999999999999999999999999999999999999999...\" is too large; the largest is "
            "9223372036854775807");
}

static void signature_with_star_beside_others_is_refused(void **state)
{
    (void)state;
    refused("f8[*, 3] -> f8", 4, "\"*\" stands alone");
    refused("f8[3, *] -> f8", 7, "\"*\" stands alone");
    refused("f8[*,*] -> f8", 4, "\"*\" stands alone");
    refused("f8[* 3] -> f8", 6, "expected \"]\" after \"*\"");
    refused("f8[*", 5, "expected \"]\" after \"*\"");
}

static void signature_of_bytes_with_a_shape_is_refused(void **state)
{
    (void)state;
    refused("bytes[3] -> f8", 6, "\"bytes\" has no shape");
    refused("f8 -> bytes [*]", 13, "\"bytes\" has no shape");
}

static void signature_with_an_empty_shape_is_refused(void **state)
{
    (void)state;
    refused("f8[] -> f8", 4, "the shape is empty; leave \"[]\" out");
    refused("f8 -> f8[ ]", 11, "the shape is empty");
}

static void signature_with_a_broken_shape_is_refused(void **state)
{
    (void)state;
    refused("f8[3,] -> f8", 6, "expected a dimension: a number from 1 up or a name");
    refused("f8[,3] -> f8", 4, "expected a dimension: a number from 1 up or a name, or \"*\"");
    refused("f8[-1] -> f8", 4, "expected a dimension");
    refused("f8[", 4, "expected a dimension");
    refused("f8[3", 5, "expected \",\" or \"]\" after a dimension");
    refused("f8[3 4] -> f8", 6, "expected \",\" or \"]\" after a dimension");
    refused("f8[3; 4] -> f8", 5, "expected \",\" or \"]\" after a dimension");
    refused("f8[2.5] -> f8", 5, "expected \",\" or \"]\" after a dimension");
    refused("f8[3 -> f8", 6, "expected \",\" or \"]\" after a dimension");
}

static void signature_of_any_byte_is_quoted_as_printable_ascii(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        char text[] = "f8[3] x -> f8";
        text[6] = (char)c;
        struct mm_signature sig;
        mamuto_error_t err = { 0 };
        if (c == ' ' || c == '\t') {
            assert_int_equal(mm_signature_parse(&sig, text, &err), 0);
            continue;
        }
        assert_int_equal(mm_signature_parse(&sig, text, &err), MAMUTO_ESIGNATURE);
        for (const char *p = err.text; *p; p++)
            assert_true(*p >= ' ' && *p <= '~');
    }
    mamuto_error_t err = { 0 };
    struct mm_signature sig;
    mm_signature_parse(&sig, "f8\033[31m\n", &err);
    assert_non_null(strstr(err.text, "signature \"f8?[31m?\", column 3"));
}

static void signature_of_great_length_is_quoted_around_the_error(void **state)
{
    (void)state;
    char text[4001];
    memset(text, ' ', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    memcpy(text + 2000, "f9", 2);
    mamuto_error_t err = { 0 };
    struct mm_signature sig;
    assert_int_equal(mm_signature_parse(&sig, text, &err), MAMUTO_ESIGNATURE);
    assert_non_null(strstr(err.text, "signature \"... "));
    assert_non_null(strstr(err.text, " f9 "));
    assert_non_null(strstr(err.text, " ...\", column 2001: unknown type \"f9\""));
    memset(text, 'a', sizeof text - 1); /* one long word */
    memset(&err, 0, sizeof err);
    assert_int_equal(mm_signature_parse(&sig, text, &err), MAMUTO_ESIGNATURE);
    assert_non_null(strstr(err.text, "aaa...\", column 1: unknown type \"aaa"));
    assert_non_null(strstr(err.text, "b1, bytes")); /* the sentence is whole */
}

static void signature_error_after_an_error_keeps_the_first(void **state)
{
    (void)state;
    struct mm_signature sig;
    mamuto_error_t err = { .code = MAMUTO_EHOST, .text = "before" };
    assert_int_equal(mm_signature_parse(&sig, "f9", &err), MAMUTO_ESIGNATURE);
    assert_int_equal(err.code, MAMUTO_EHOST);
    assert_string_equal(err.text, "before");
    assert_int_equal(mm_signature_parse(&sig, "f9", NULL), MAMUTO_ESIGNATURE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signature_of_the_manual_is_parsed),
        cmocka_unit_test(signature_element_types_have_size_and_alignment),
        cmocka_unit_test(signature_names_are_numbered_by_first_appearance),
        cmocka_unit_test(signature_name_that_begins_another_is_a_name_of_its_own),
        cmocka_unit_test(signature_without_input_is_parsed),
        cmocka_unit_test(signature_blanks_are_free),
        cmocka_unit_test(signature_star_is_variable),
        cmocka_unit_test(signature_bytes_is_u1_star_that_is_text),
        cmocka_unit_test(signature_at_every_limit_is_parsed),
        cmocka_unit_test(signature_empty_is_refused),
        cmocka_unit_test(signature_with_unknown_type_names_it_and_the_known),
        cmocka_unit_test(signature_with_missing_type_is_refused),
        cmocka_unit_test(signature_with_missing_arrow_is_refused),
        cmocka_unit_test(signature_with_anything_else_after_an_input_is_refused),
        cmocka_unit_test(signature_with_missing_output_is_refused),
        cmocka_unit_test(signature_with_two_outputs_is_refused),
        cmocka_unit_test(signature_with_trailing_text_is_refused),
        cmocka_unit_test(signature_with_nine_inputs_is_refused),
        cmocka_unit_test(signature_with_nine_names_is_refused),
        cmocka_unit_test(signature_with_nine_dimensions_is_refused),
        cmocka_unit_test(signature_with_a_name_of_32_characters_is_refused),
        cmocka_unit_test(signature_with_a_name_that_begins_with_no_letter_is_refused),
        cmocka_unit_test(signature_with_a_dimension_of_zero_is_refused),
        cmocka_unit_test(signature_with_a_leading_zero_is_refused),
        cmocka_unit_test(signature_with_a_number_above_the_largest_is_refused),
        cmocka_unit_test(signature_with_star_beside_others_is_refused),
        cmocka_unit_test(signature_of_bytes_with_a_shape_is_refused),
        cmocka_unit_test(signature_with_an_empty_shape_is_refused),
        cmocka_unit_test(signature_with_a_broken_shape_is_refused),
        cmocka_unit_test(signature_of_any_byte_is_quoted_as_printable_ascii),
        cmocka_unit_test(signature_of_great_length_is_quoted_around_the_error),
        cmocka_unit_test(signature_error_after_an_error_keeps_the_first),
    };
    return cmocka_run_group_tests_name("signature", tests, NULL, NULL);
}
