/* The heap's contract: zeroed, no NULL but for "no memory", and the hook of test builds that fails the n-th request.
 * Built with MM_TEST_HOOKS. */
#include "core/alloc.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool all_zero(const unsigned char *p, size_t n)
{
    for (size_t k = 0; k < n; k++)
        if (p[k])
            return false;
    return true;
}

static void alloc_after_a_dirty_free_returns_zeros(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) { /* the same block comes back, dirty if nothing cleans it */
        unsigned char *p = round % 2 ? mm_alloc(200) : mm_alloc_array(20, 10);
        assert_non_null(p);
        assert_true(all_zero(p, 200));
        memset(p, 0xAA, 200);
        mm_free(p);
    }
}

static void alloc_of_nothing_returns_a_block(void **state)
{
    (void)state;
    void *p = mm_alloc(0), *q = mm_alloc_array(0, 8), *r = mm_realloc(NULL, 0);
    assert_non_null(p);
    assert_non_null(q);
    assert_non_null(r);
    assert_ptr_not_equal(p, q);
    r = mm_realloc(r, 0); /* frees nothing and is not NULL */
    assert_non_null(r);
    mm_free(p);
    mm_free(q);
    mm_free(r);
    mm_free(NULL);
}

static void alloc_array_whose_product_overflows_returns_null(void **state)
{
    (void)state;
    errno = 0;
    assert_null(mm_alloc_array(SIZE_MAX / 2 + 1, 2)); /* 2^64: 0 if it were multiplied blindly */
    assert_int_equal(errno, ENOMEM);
    assert_null(mm_alloc_array(3, SIZE_MAX / 2));
}

static void alloc_realloc_keeps_the_content(void **state)
{
    (void)state;
    char *p = mm_alloc(4);
    assert_non_null(p);
    memcpy(p, "abc", 4);
    char *q = mm_realloc(p, 10000);
    assert_non_null(q);
    assert_string_equal(q, "abc");
    mm_free(q);
}

static void alloc_strdup_copies_the_text(void **state)
{
    (void)state;
    char text[] = "a text";
    char *copy = mm_strdup(text);
    assert_non_null(copy);
    text[0] = 'X';
    assert_string_equal(copy, "a text");
    mm_free(copy);
    copy = mm_strdup("");
    assert_non_null(copy);
    assert_string_equal(copy, "");
    mm_free(copy);
}

static void alloc_hook_fails_the_nth_of_any_kind_once(void **state)
{
    (void)state;
    char *kept = mm_strdup("kept");
    for (int n = 1; n <= 4; n++) {
        mm_alloc_fail_at(n);
        void *got[4];
        errno = 0;
        got[0] = mm_alloc(8);
        got[1] = mm_alloc_array(2, 8);
        got[2] = mm_strdup("x");
        got[3] = mm_realloc(NULL, 8);
        for (int k = 0; k < 4; k++) {
            assert_true((got[k] == NULL) == (k == n - 1));
            mm_free(got[k]);
        }
        assert_int_equal(errno, ENOMEM);
        assert_int_equal(mm_alloc_fail_at(0), 4);
    }
    mm_alloc_fail_at(1);
    assert_null(mm_realloc(kept, 100));
    assert_string_equal(kept, "kept"); /* still valid after the failure */
    mm_alloc_fail_at(0);
    mm_free(kept);
}

static void alloc_hook_of_zero_fails_none(void **state)
{
    (void)state;
    mm_alloc_fail_at(5);
    mm_alloc_fail_at(0); /* takes the first order back */
    for (int k = 0; k < 20; k++) {
        void *p = mm_alloc(1);
        assert_non_null(p);
        mm_free(p);
    }
    assert_int_equal(mm_alloc_fail_at(0), 20);
    assert_int_equal(mm_alloc_fail_at(0), 0);
}

enum { N_THREADS = 4, PER_THREAD = 20000 };
static atomic_long failures;

static void *allocate(void *unused)
{
    for (int k = 0; k < PER_THREAD; k++) {
        void *p = mm_alloc(1);
        if (!p)
            atomic_fetch_add(&failures, 1);
        mm_free(p);
    }
    return unused;
}

static void alloc_hook_with_threads_fails_exactly_one(void **state)
{
    (void)state;
    pthread_t threads[N_THREADS];
    mm_alloc_fail_at(N_THREADS * PER_THREAD / 2);
    for (int k = 0; k < N_THREADS; k++)
        assert_int_equal(pthread_create(&threads[k], NULL, allocate, NULL), 0);
    for (int k = 0; k < N_THREADS; k++)
        assert_int_equal(pthread_join(threads[k], NULL), 0);
    assert_int_equal(atomic_load(&failures), 1);
    assert_int_equal(mm_alloc_fail_at(0), N_THREADS * PER_THREAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc_after_a_dirty_free_returns_zeros),
        cmocka_unit_test(alloc_of_nothing_returns_a_block),
        cmocka_unit_test(alloc_array_whose_product_overflows_returns_null),
        cmocka_unit_test(alloc_realloc_keeps_the_content),
        cmocka_unit_test(alloc_strdup_copies_the_text),
        cmocka_unit_test(alloc_hook_fails_the_nth_of_any_kind_once),
        cmocka_unit_test(alloc_hook_of_zero_fails_none),
        cmocka_unit_test(alloc_hook_with_threads_fails_exactly_one),
    };
    return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
