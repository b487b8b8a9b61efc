/* fold.c: what is a fold, and whether it folds what a function returns; the fold's own dims get their values. */
#include "core/fold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array_) (sizeof(array_) / sizeof *(array_))

static void make(struct mm_function *function, const char *name, const char *signature)
{
    mamuto_error_t err = { 0 };
    memset(function, 0, sizeof *function);
    function->info.module = "unit";
    function->info.name = name;
    function->info.signature = signature;
    if (mm_signature_parse(&function->signature, signature, &err) != 0)
        fail_msg("%s: %s", signature, err.text);
}

static void fold_of_equal_types_is_one(void **state)
{
    (void)state;
    static const char *const good[] = { "f8, f8 -> f8",
                                        "i1,i1->i1",
                                        "b1, b1 -> b1",
                                        "c16[2], c16[2] -> c16[2]",
                                        "f4[2, 3], f4[2, 3] -> f4[2, 3]",
                                        "f8[k], f8[k] -> f8[k]",
                                        "u1[a, 3, b], u1[a, 3, b] -> u1[a, 3, b]",
                                        "f8[n, n], f8[n, n] -> f8[n, n]" };
    for (size_t i = 0; i < COUNT(good); i++) {
        struct mm_function fold;
        mamuto_error_t err = { 0 };
        make(&fold, "good", good[i]);
        if (mm_fold_check_form(&fold, &err) != 0)
            fail_msg("%s: %s", good[i], err.text);
        assert_int_equal(err.code, 0);
    }
}

static void fold_of_other_forms_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *signature, *part;
    } bad[] = {
        { "-> f8", "is no fold" },
        { "f8 -> f8", "is no fold" },
        { "f8, f8, f8 -> f8", "is no fold" },
        { "f8, f4 -> f8", "is no fold" },
        { "f4, f8 -> f8", "is no fold" },
        { "f8, f8 -> f4", "is no fold" },
        { "f8, f8 -> f8[1]", "is no fold" },
        { "f8[2], f8[3] -> f8[2]", "is no fold" },
        { "f8[2], f8[2] -> f8[3]", "is no fold" },
        { "f8[a], f8[b] -> f8[a]", "is no fold" },
        { "f8[a], f8[a] -> f8[b]", "is no fold" },
        { "f8[a, b], f8[b, a] -> f8[a, b]", "is no fold" },
        { "f8[a], f8[2] -> f8[a]", "is no fold" },
        { "f8[2, 3], f8[6] -> f8[6]", "is no fold" },
        { "f8[*], f8[*] -> f8", "is no fold" },
        { "f8[*], f8[*] -> f8[*]", "variable length" },
        { "bytes, bytes -> bytes", "variable length" },
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct mm_function fold;
        mamuto_error_t err = { 0 };
        make(&fold, "bad", bad[i].signature);
        if (mm_fold_check_form(&fold, &err) != MAMUTO_ESIGNATURE || err.code != MAMUTO_ESIGNATURE)
            fail_msg("%s: %d, %s", bad[i].signature, err.code, err.text);
        if (!strstr(err.text, bad[i].part) || !strstr(err.text, bad[i].signature) || !strstr(err.text, "unit.bad"))
            fail_msg("%s: %s", bad[i].signature, err.text);
    }
}

struct pair {
    const char *fold, *function;
    size_t dims[MAMUTO_MAX_DIMS]; /* of the function */
    size_t bound[MAMUTO_MAX_DIMS];
};

static int bind(const struct pair *pair, size_t *bound, mamuto_error_t *err)
{
    struct mm_function fold, function;
    make(&fold, "fold", pair->fold);
    make(&function, "function", pair->function);
    memset(bound, 0xff, MAMUTO_MAX_DIMS * sizeof *bound);
    return mm_fold_bind(&fold, &function, pair->dims, bound, err);
}

static void fold_of_what_the_function_returns_is_bound(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        { "f8, f8 -> f8", "u1[7], f4 -> f8", { 0 }, { 0 } },
        { "f8[3], f8[3] -> f8[3]", "f8 -> f8[3]", { 0 }, { 0 } },
        { "f8[3], f8[3] -> f8[3]", "f8 -> f8[d]", { 3 }, { 0 } },
        { "f8[k], f8[k] -> f8[k]", "f8 -> f8[3]", { 0 }, { 3 } },
        { "f8[k], f8[k] -> f8[k]", "f8[a], f8[b] -> f8[b]", { 4, 9 }, { 9 } },
        { "f8[x, y], f8[x, y] -> f8[x, y]", "f8[a], f8[b] -> f8[b, a]", { 4, 9 }, { 9, 4 } },
        { "f8[n, n], f8[n, n] -> f8[n, n]", "f8[a], f8[b] -> f8[a, b]", { 5, 5 }, { 5 } },
        { "f8[n, 2], f8[n, 2] -> f8[n, 2]", "f8[a] -> f8[a, b]", { 5, 2 }, { 5 } },
    };
    for (size_t i = 0; i < COUNT(pairs); i++) {
        mamuto_error_t err = { 0 };
        size_t bound[MAMUTO_MAX_DIMS];
        if (bind(&pairs[i], bound, &err) != 0)
            fail_msg("%s of %s: %s", pairs[i].fold, pairs[i].function, err.text);
        assert_memory_equal(bound, pairs[i].bound, sizeof bound);
    }
}

static void fold_of_something_else_is_refused(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        { "f8, f8 -> f8", "f8 -> f4", { 0 }, { 0 } },
        { "i8, i8 -> i8", "f8 -> u8", { 0 }, { 0 } },
        { "f8, f8 -> f8", "f8 -> f8[1]", { 0 }, { 0 } },
        { "f8[1], f8[1] -> f8[1]", "f8 -> f8", { 0 }, { 0 } },
        { "f8[3], f8[3] -> f8[3]", "f8 -> f8[4]", { 0 }, { 0 } },
        { "f8[3], f8[3] -> f8[3]", "f8 -> f8[d]", { 4 }, { 0 } },
        { "f8[6], f8[6] -> f8[6]", "f8 -> f8[2, 3]", { 0 }, { 0 } },
        { "f8[n, n], f8[n, n] -> f8[n, n]", "f8[a], f8[b] -> f8[a, b]", { 5, 6 }, { 0 } },
        { "u1[k], u1[k] -> u1[k]", "f8 -> bytes", { 0 }, { 0 } },
        { "f8[k], f8[k] -> f8[k]", "f8 -> f8[*]", { 0 }, { 0 } },
    };
    for (size_t i = 0; i < COUNT(pairs); i++) {
        mamuto_error_t err = { 0 };
        size_t bound[MAMUTO_MAX_DIMS];
        if (bind(&pairs[i], bound, &err) != MAMUTO_ESIGNATURE)
            fail_msg("%s of %s is taken", pairs[i].fold, pairs[i].function);
        assert_int_equal(err.code, MAMUTO_ESIGNATURE);
        assert_non_null(strstr(err.text, "does not fold what unit.function"));
        assert_non_null(strstr(err.text, pairs[i].fold));
        assert_non_null(strstr(err.text, pairs[i].function));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fold_of_equal_types_is_one),
        cmocka_unit_test(fold_of_other_forms_is_refused),
        cmocka_unit_test(fold_of_what_the_function_returns_is_bound),
        cmocka_unit_test(fold_of_something_else_is_refused),
    };
    return cmocka_run_group_tests_name("fold", tests, NULL, NULL);
}
