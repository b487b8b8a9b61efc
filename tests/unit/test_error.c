/* Errors: the first one wins, texts are whole and bounded, and every code has a number and a text of its own. */
#include "core/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *name;
    int code;
} codes[] = {
#define ROW(name_, number_, text_) { #name_, MAMUTO_##name_ },
    MAMUTO_ERRORS(ROW)
#undef ROW
};
enum { N_CODES = sizeof codes / sizeof *codes };

static void error_set_fills_code_text_and_defaults(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    assert_int_equal(mm_error_set(&err, MAMUTO_EARGS, "argument %d of %s is NULL", 2, "model.like"), MAMUTO_EARGS);
    assert_int_equal(err.code, MAMUTO_EARGS);
    assert_string_equal(err.text, "argument 2 of model.like is NULL");
    assert_int_equal(err.worker, -1);
    assert_true(err.item == MAMUTO_NO_ITEM);
    assert_int_equal(err.item_code, 0);
    assert_int_equal(err.signal, 0);
    assert_int_equal(err.line, 0);
    assert_string_equal(err.host, "");
    assert_string_equal(err.file, "");
}

static void error_set_twice_keeps_the_first(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 }, other = { 0 };
    mm_error_set(&err, MAMUTO_EHOST, "first");
    err.line = 7;
    mamuto_error_t before = err;
    assert_int_equal(mm_error_set(&err, MAMUTO_EITEM, "second"), MAMUTO_EITEM); /* its own code is returned */
    assert_int_equal(mm_error_system(&err, ENOENT, "third"), MAMUTO_ESYSTEM);
    mm_error_set(&other, MAMUTO_ESIZE, "fourth");
    assert_int_equal(mm_error_copy(&err, &other), MAMUTO_ESIZE);
    assert_memory_equal(&err, &before, sizeof err);
}

static void error_set_without_a_place_returns_the_code(void **state)
{
    (void)state;
    mamuto_error_t from = { .code = MAMUTO_ECRASH };
    assert_int_equal(mm_error_set(NULL, MAMUTO_ENOMEM, "%d", 1), MAMUTO_ENOMEM);
    assert_int_equal(mm_error_system(NULL, EIO, "%d", 1), MAMUTO_ESYSTEM);
    assert_int_equal(mm_error_copy(NULL, &from), MAMUTO_ECRASH);
}

static void error_set_with_a_long_text_cuts_it(void **state)
{
    (void)state;
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    mamuto_error_t err = { 0 }, system = { 0 };
    memset(err.text, 'y', sizeof err.text);
    mm_error_set(&err, MAMUTO_EITEM, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_int_equal(strspn(err.text, "x"), sizeof err.text - 1);
    mm_error_system(&system, ENOENT, "%s", text);
    assert_int_equal(strlen(system.text), sizeof system.text - 1);
}

static void error_system_appends_the_text_of_errno(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    errno = EACCES;
    assert_int_equal(mm_error_system(&err, ENOENT, "%s cannot be opened", "a.json"), MAMUTO_ESYSTEM);
    assert_int_equal(err.code, MAMUTO_ESYSTEM);
    assert_string_equal(err.text, "a.json cannot be opened: No such file or directory");
}

static void error_copy_into_an_empty_one_copies_all(void **state)
{
    (void)state;
    mamuto_error_t from = { 0 }, to = { 0 };
    mm_error_set(&from, MAMUTO_ECRASH, "item 4711 died");
    from.item = 4711;
    from.signal = 11;
    from.worker = 2;
    strcpy(from.host, "node1");
    assert_int_equal(mm_error_copy(&to, &from), MAMUTO_ECRASH);
    assert_memory_equal(&to, &from, sizeof to);
}

static void error_codes_are_distinct_and_below_5000(void **state)
{
    (void)state;
    for (int k = 0; k < N_CODES; k++) {
        assert_true(codes[k].code < -5000);
        for (int j = 0; j < k; j++)
            assert_int_not_equal(codes[j].code, codes[k].code);
    }
}

static void error_strerror_gives_each_code_its_own_text(void **state)
{
    (void)state;
    assert_string_equal(mamuto_strerror(0), "success");
    assert_string_equal(mamuto_strerror(MAMUTO_ENOMEM), "not enough memory");
    for (int k = 0; k < N_CODES; k++) {
        assert_true(strlen(mamuto_strerror(codes[k].code)) > 5);
        assert_string_not_equal(mamuto_strerror(codes[k].code), "unknown error");
        for (int j = 0; j < k; j++)
            assert_string_not_equal(mamuto_strerror(codes[j].code), mamuto_strerror(codes[k].code));
    }
}

static void error_strerror_of_a_foreign_code_says_unknown(void **state)
{
    (void)state;
    assert_string_equal(mamuto_strerror(1), "unknown error");
    assert_string_equal(mamuto_strerror(-5000), "unknown error");
    assert_string_equal(mamuto_strerror(-ENOENT), "unknown error");
}

static void error_version_is_the_header_s(void **state)
{
    (void)state;
    assert_string_equal(mamuto_version(), MAMUTO_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_set_fills_code_text_and_defaults),
        cmocka_unit_test(error_set_twice_keeps_the_first),
        cmocka_unit_test(error_set_without_a_place_returns_the_code),
        cmocka_unit_test(error_set_with_a_long_text_cuts_it),
        cmocka_unit_test(error_system_appends_the_text_of_errno),
        cmocka_unit_test(error_copy_into_an_empty_one_copies_all),
        cmocka_unit_test(error_codes_are_distinct_and_below_5000),
        cmocka_unit_test(error_strerror_gives_each_code_its_own_text),
        cmocka_unit_test(error_strerror_of_a_foreign_code_says_unknown),
        cmocka_unit_test(error_version_is_the_header_s),
    };
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
