/* The sizes of types with their dims bound, and what an identifier is. */
#include "core/signature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct mm_signature parsed(const char *text)
{
    struct mm_signature sig;
    mamuto_error_t err = { 0 };
    if (mm_signature_parse(&sig, text, &err))
        fail_msg("%s", err.text);
    return sig;
}

static void size_of(const char *text, const size_t *dims, size_t len, size_t bytes)
{
    struct mm_signature sig = parsed(text);
    mamuto_error_t err = { 0 };
    size_t got_len = 77, got_bytes = 77;
    assert_int_equal(mm_type_size(&sig.out, &sig, dims, &got_len, &got_bytes, &err), 0);
    assert_int_equal(got_len, len);
    assert_int_equal(got_bytes, bytes);
}

static void size_refused(const char *text, const size_t *dims, int code, const char *says)
{
    struct mm_signature sig = parsed(text);
    mamuto_error_t err = { 0 };
    size_t len = 77, bytes = 77;
    assert_int_equal(mm_type_size(&sig.out, &sig, dims, &len, &bytes, &err), code);
    if (!strstr(err.text, says))
        fail_msg("\"%s\" was expected, got: %s", says, err.text);
    assert_int_equal(len, 77);
    assert_int_equal(bytes, 77);
}

static void signature_type_size_multiplies_the_shape(void **state)
{
    (void)state;
    size_of("-> f8", NULL, 1, 8);
    size_of("-> c16[2,3]", NULL, 6, 96);
    size_of("f8[n] -> i2[m, 2, n]", (size_t[]){ 5, 7 }, 70, 140);
    size_of("-> u1[9223372036854775807]", NULL, INT64_MAX, INT64_MAX);
    size_of("-> u1[n, 7]", (size_t[]){ INT64_MAX / 7 }, INT64_MAX, INT64_MAX); /* 7 divides 2^63 - 1 */
}

static void signature_type_size_above_the_largest_is_esize(void **state)
{
    (void)state;
    size_refused("-> u2[9223372036854775807]", NULL, MAMUTO_ESIZE,
                 "u2[9223372036854775807] is too large; the most is 9223372036854775807 bytes");
    size_refused("-> u1[4611686018427387904, 2]", NULL, MAMUTO_ESIZE, "u1[4611686018427387904, 2] is too large");
    size_refused("-> f8[n, n]", (size_t[]){ (size_t)1 << 32 }, MAMUTO_ESIZE, "f8[4294967296, 4294967296] is too large");
    size_refused("-> u1[n]", (size_t[]){ SIZE_MAX }, MAMUTO_ESIZE, "u1[18446744073709551615] is too large");
    size_refused("-> c16[a,a,a,a,a,a,a,a]", (size_t[]){ SIZE_MAX }, MAMUTO_ESIZE, "is too large; the most is");
}

static void signature_type_size_with_a_dim_of_zero_is_eargs(void **state)
{
    (void)state;
    size_refused("f8[n] -> f8[m]", (size_t[]){ 3, 0 }, MAMUTO_EARGS, "dimension \"m\" is 0; call.dims[1] should be");
    size_refused("-> f8[m, n]", (size_t[]){ SIZE_MAX, 0 }, MAMUTO_EARGS, "dimension \"n\" is 0; call.dims[1]");
    size_of("f8[n] -> f8[m]", (size_t[]){ 0, 3 }, 3, 24); /* n is not of this type */
}

static void signature_type_size_of_a_variable_length_is_esignature(void **state)
{
    (void)state;
    size_refused("-> bytes", NULL, MAMUTO_ESIGNATURE, "variable length");
    size_refused("-> f8[*]", NULL, MAMUTO_ESIGNATURE, "variable length");
}

static void signature_identifier_follows_the_grammar(void **state)
{
    (void)state;
    char name[66];
    memset(name, 'x', sizeof name);
    name[63] = '\0';
    assert_true(mm_is_identifier("a"));
    assert_true(mm_is_identifier("Like_3"));
    assert_true(mm_is_identifier(name));
    name[63] = 'x';
    name[64] = '\0';
    assert_false(mm_is_identifier(name));
    static const char *const bad[] = { "",    "_a", "3a", "a-b", "a.b", "a b", " a", "a\n", "\xc3\xa9t\xc3\xa9",
                                       "a/b", NULL };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        assert_false(mm_is_identifier(bad[k]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signature_type_size_multiplies_the_shape),
        cmocka_unit_test(signature_type_size_above_the_largest_is_esize),
        cmocka_unit_test(signature_type_size_with_a_dim_of_zero_is_eargs),
        cmocka_unit_test(signature_type_size_of_a_variable_length_is_esignature),
        cmocka_unit_test(signature_identifier_follows_the_grammar),
    };
    return cmocka_run_group_tests_name("signature_sizes", tests, NULL, NULL);
}
