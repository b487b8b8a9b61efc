/* Reductions whose items or folds fail, die or hang: what is reported, what is left out, and that the mapper is as good
 * as new afterwards. Values are spans {first, last, count}, whose folds find out whether they are given neighbours. */
#include "tests/e2e/modules/reduce.h"
#include "tests/support/e2e.h"
#include "tests/support/reference.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MOST = 1000000, SMALL = 1500, LARGE_N = 40000, TOLD = 1000 };

static uint64_t in[MOST];
static uint8_t absent[MOST];
static int64_t items[MOST][3];
static struct {
    uint64_t n, item[TOLD + 1];
    int code[TOLD + 1];
} told;
static mamuto_t *m;

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    m = e2e_open(2, E2E_MODULE("reduce"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_close(m);
    e2e_scratch_end();
    return 0;
}

/* Items that are all right, but for those that are set afterwards. */
static void fill(size_t n)
{
    for (size_t i = 0; i < n; i++)
        in[i] = i;
    memset(absent, 0, n);
}

static void set(size_t i, uint64_t what)
{
    in[i] = i | what << SPAN_SHIFT;
    absent[i] = what == SPAN_CODE || what == SPAN_FAIL || what == SPAN_CRASH || what == SPAN_HANG;
}

static void join(const void *a_, const void *b_, void *out_, size_t dim)
{
    const int64_t *a = a_, *b = b_;
    int64_t *out = out_;
    (void)dim;
    assert_true(a[1] < b[0]);
    out[0] = a[0];
    out[1] = b[1];
    out[2] = a[2] + b[2];
}

static bool expect(size_t n, int64_t *value)
{
    struct reference reference = { .size = 3 * sizeof *value, .fold = join, .absent = absent };
    for (size_t i = 0; i < n; i++) {
        items[i][0] = items[i][1] = (int64_t)i;
        items[i][2] = 1;
    }
    return reference_reduce(&reference, items, n, value);
}

static void on_item_error(mamuto_map_t *map, const mamuto_error_t *err)
{
    (void)map;
    assert_true(told.n < TOLD);
    assert_true(told.n == 0 || told.item[told.n - 1] < err->item);
    told.item[told.n] = err->item;
    told.code[told.n++] = err->code;
}

static mamuto_call_t call_of(size_t n, const char *fold, int64_t *value)
{
    told.n = 0;
    value[0] = value[1] = value[2] = -7;
    return (mamuto_call_t){ .function = "reduce.span",
                            .args = { mamuto_scatter(in, n) },
                            .fold = fold,
                            .value = value,
                            .on_error = MAMUTO_ON_ERROR_SKIP,
                            .on_item_error = on_item_error };
}

static void good_reduce(void)
{
    int64_t value[3];
    mamuto_error_t err = { 0 };
    static const size_t sizes[] = { 100, 30000 };
    for (int i = 0; i < 2; i++) {
        fill(sizes[i]);
        mamuto_call_t call = call_of(sizes[i], "reduce.join", value);
        if (mamuto_reduce_wait(m, &call, &err) != 0)
            fail_msg("a good reduction after the bad one: %s", err.text);
        assert_true(value[0] == 0 && value[1] == (int64_t)sizes[i] - 1 && value[2] == (int64_t)sizes[i]);
    }
    assert_int_equal(told.n, 0);
}

/* ---- Items that are left out ------------------------------------------------------------------------------------- */

/* Reduces what fill and set have prepared; every failed item is left out, and told of. */
static void skips_as(mamuto_call_t *call, size_t n)
{
    int64_t value[3] = { -1, -1, -1 }, *got = call->value;
    mamuto_error_t err = { 0 };
    uint64_t failed = 0, first = MAMUTO_NO_ITEM;
    char part[80];
    for (size_t i = n; i-- > 0;)
        if (absent[i]) {
            failed++;
            first = i;
        }
    bool any = expect(n, value);
    int code = mamuto_reduce_wait(m, call, &err);
    if (!failed && code)
        fail_msg("n = %zu: %s", n, err.text);
    if (failed) {
        snprintf(part, sizeof part, "%" PRIu64 " of %zu items failed", failed, n);
        e2e_is_error(code, &err, MAMUTO_EITEM, part);
        if (failed <= TOLD)
            assert_true(err.item == first);
        else
            assert_true(err.item < n && absent[err.item]);
        assert_non_null(strstr(err.text, any || call->if_empty ? "were left out" : "nothing to reduce"));
    }
    assert_int_equal(told.n, failed < TOLD ? failed : TOLD);
    for (uint64_t i = 0; i < told.n; i++)
        assert_true(told.item[i] < n && absent[told.item[i]]);
    if (any && memcmp(got, value, sizeof value) != 0)
        fail_msg("n = %zu, %" PRIu64 " failed: %" PRId64 " to %" PRId64 ", %" PRId64 " items; it is %" PRId64
                 " to %" PRId64 ", %" PRId64,
                 n, failed, got[0], got[1], got[2], value[0], value[1], value[2]);
    if (!any && !call->if_empty)
        assert_true(got[0] == -7 && got[1] == -7 && got[2] == -7); /* untouched */
}

static void skips(size_t n)
{
    for (int keep = 0; keep < 2; keep++)
        for (int help = 0; help < 2; help++) {
            /* calloc: valgrind does not see what workers write */
            int64_t value[3], (*result)[3] = keep ? calloc(n, sizeof *result) : NULL;
            mamuto_call_t call = call_of(n, "reduce.join_gaps", value);
            call.help = help;
            call.result = result;
            skips_as(&call, n);
            for (size_t i = 0; result && i < n; i++)
                assert_true(absent[i] ? result[i][0] == 0 && result[i][2] == 0 : result[i][0] == (int64_t)i);
            free(result);
        }
}

static void few_failed_items_are_left_out(void **state)
{
    (void)state;
    static const size_t at[] = { 0, 1, 63, 64, 65, 127, 128, 640, 1023, 1024, SMALL - 1, LARGE_N - 2, LARGE_N - 1 };
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        for (int k = 0; k < 2; k++) {
            size_t n = k ? LARGE_N : SMALL;
            if (at[i] >= n)
                continue;
            fill(n);
            set(at[i], i % 2 ? SPAN_CODE : SPAN_FAIL);
            set(n / 2, SPAN_FAIL);
            skips(n);
        }
    good_reduce();
}

static void every_hundredth_of_a_million_is_left_out(void **state)
{
    (void)state;
    fill(MOST);
    for (size_t i = 7; i < MOST; i += 100)
        set(i, SPAN_FAIL);
    int64_t value[3];
    mamuto_call_t call = call_of(MOST, "reduce.join_gaps", value);
    skips_as(&call, MOST);
    good_reduce();
}

/* All of a block, of many blocks, of a group, of all but one. */
static void stretches_of_failed_items_are_left_out(void **state)
{
    (void)state;
    static const struct {
        size_t n, begin, end;
    } parts[] = { { SMALL, 64, 128 },      { SMALL, 60, 200 },          { SMALL, 0, 64 },
                  { SMALL, 1472, SMALL },  { 129, 128, 129 },           { 130, 0, 129 },
                  { LARGE_N, 0, 8192 },    { LARGE_N, 1024, 2048 },     { LARGE_N, 0, LARGE_N - 1 },
                  { LARGE_N, 1, LARGE_N }, { LARGE_N, 39936, LARGE_N }, { LARGE_N, 500, 39000 } };
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
        fill(parts[k].n);
        for (size_t i = parts[k].begin; i < parts[k].end; i++)
            set(i, SPAN_FAIL);
        skips(parts[k].n);
    }
    good_reduce();
}

static void of_failed_items_alone_nothing_is_left_but_if_empty(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 64, 65, SMALL, LARGE_N };
    static const int64_t empty[3] = { 5, 6, 7 };
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t n = sizes[k];
        fill(n);
        for (size_t i = 0; i < n; i++)
            set(i, SPAN_FAIL);
        skips(n);
        int64_t value[3];
        mamuto_call_t call = call_of(n, "reduce.join_gaps", value);
        call.if_empty = empty;
        skips_as(&call, n);
        assert_memory_equal(value, empty, sizeof empty);
    }
    good_reduce();
}

static void items_that_kill_their_worker_are_left_out(void **state)
{
    (void)state;
    static const size_t sizes[] = { SMALL, LARGE_N };
    for (int k = 0; k < 2; k++) {
        fill(sizes[k]);
        for (size_t i = 0; i < 6; i++)
            set(i * (sizes[k] / 6) + i, SPAN_CRASH);
        set(200, SPAN_FAIL);
        int64_t value[3];
        mamuto_call_t call = call_of(sizes[k], "reduce.join_gaps", value);
        skips_as(&call, sizes[k]);
        unsigned crashes = 0;
        for (uint64_t i = 0; i < told.n; i++)
            crashes += told.code[i] == MAMUTO_ECRASH;
        assert_int_equal(crashes, 6);
    }
    good_reduce();
}

static void items_that_hang_are_left_out(void **state)
{
    (void)state;
    static const size_t sizes[] = { SMALL, 5000 };
    for (int k = 0; k < 2; k++) {
        fill(sizes[k]);
        set(3, SPAN_HANG);
        set(sizes[k] - 1, SPAN_HANG);
        int64_t value[3];
        mamuto_call_t call = call_of(sizes[k], "reduce.join_gaps", value);
        call.item_timeout_ms = 400;
        skips_as(&call, sizes[k]);
        assert_true(told.code[0] == MAMUTO_ETIMEOUT && told.code[1] == MAMUTO_ETIMEOUT);
    }
    good_reduce();
}

static void items_that_work_at_the_second_try_are_in(void **state)
{
    (void)state;
    static const size_t sizes[] = { SMALL, LARGE_N };
    for (int k = 0; k < 4; k++) {
        size_t n = sizes[k / 2];
        fill(n);
        for (size_t i = 0; i < 5; i++)
            set(i * n / 5 + (size_t)k, i % 2 ? SPAN_SECOND_TRY : SPAN_CRASH_ONCE);
        int64_t value[3];
        mamuto_call_t call = call_of(n, "reduce.join", value);
        call.on_error = k % 2 ? MAMUTO_ON_ERROR_SKIP : MAMUTO_ON_ERROR_FAIL;
        call.retries = 1;
        skips_as(&call, n);
        tear_down(NULL); /* with the marks of those that have tried */
        set_up(NULL);
    }
    good_reduce();
}

/* ---- Items that end the reduction -------------------------------------------------------------------------------- */

static void fails_with(size_t n, size_t at, uint64_t what, int expected, int item_code, const char *part)
{
    fill(n);
    set(at, what);
    int64_t value[3];
    mamuto_error_t err = { 0 };
    char named[40];
    mamuto_call_t call = call_of(n, "reduce.join", value);
    call.on_error = MAMUTO_ON_ERROR_FAIL;
    call.item_timeout_ms = what == SPAN_HANG ? 400 : 0;
    snprintf(named, sizeof named, "item %zu", at);
    e2e_is_error(mamuto_reduce_wait(m, &call, &err), &err, expected, named);
    e2e_is_error(err.code, &err, expected, part);
    assert_true(err.item == at);
    assert_int_equal(err.item_code, item_code);
    if (what == SPAN_CRASH)
        assert_int_equal(err.signal, SIGSEGV);
    assert_true(value[0] == -7 && value[2] == -7); /* untouched */
    assert_true(told.n == 1 && told.item[0] == at);
}

static void failed_item_is_named(void **state)
{
    (void)state;
    static const size_t sizes[] = { SMALL, LARGE_N };
    for (int k = 0; k < 2; k++)
        for (size_t at = 0; at < sizes[k]; at += sizes[k] / 4 - 1) {
            fails_with(sizes[k], at, SPAN_CODE, MAMUTO_EITEM, 11, "failed with code 11");
            fails_with(sizes[k], at, SPAN_FAIL, MAMUTO_EITEM, 12, "failed with code 12: the test says so");
            fails_with(sizes[k], at, SPAN_CRASH, MAMUTO_ECRASH, 0, "died of signal 11");
        }
    fails_with(1, 0, SPAN_FAIL, MAMUTO_EITEM, 12, "the test says so");
    fails_with(SMALL, 70, SPAN_HANG, MAMUTO_ETIMEOUT, 0, "took longer than 400 ms");
    fails_with(5000, 4999, SPAN_HANG, MAMUTO_ETIMEOUT, 0, "took longer than 400 ms");
    good_reduce();
}

/* ---- Folds that fail --------------------------------------------------------------------------------------------- */

/* The fold fails; the node at fault begins with this item, or with one up to it. */
static void fold_fails(const char *fold, size_t n, int on_error, int expected, int item_code, const char *part,
                       uint64_t node)
{
    for (int how = 0; how < 4; how++) { /* the result, help */
        int64_t value[3], (*result)[3] = how & 1 ? malloc(n * sizeof *result) : NULL;
        mamuto_error_t err = { 0 };
        char named[64];
        fill(n);
        mamuto_call_t call = call_of(n, fold, value);
        call.on_error = on_error;
        call.result = result;
        call.help = how & 2 && item_code;
        e2e_is_error(mamuto_reduce_wait(m, &call, &err), &err, expected, "a fold");
        e2e_is_error(err.code, &err, expected, part);
        snprintf(named, sizeof named, "in the node that begins with item %" PRIu64, err.item);
        e2e_is_error(err.code, &err, expected, named);
        assert_int_equal(err.item_code, item_code);
        if (item_code ? err.item != node : err.item > node || node - err.item >= 8192)
            fail_msg("%s, n = %zu: item %" PRIu64 ", expected %" PRIu64, fold, n, err.item, node);
        assert_true(value[0] == -7);
        assert_int_equal(told.n, 0);
        free(result);
    }
}

static void failed_fold_is_told_with_its_node(void **state)
{
    (void)state;
    static const size_t sizes[] = { 701, SMALL, LARGE_N };
    for (int k = 0; k < 3; k++)
        for (int skip = 0; skip < 2; skip++) {
            int on_error = skip ? MAMUTO_ON_ERROR_SKIP : MAMUTO_ON_ERROR_FAIL;
            fold_fails("reduce.join_code", sizes[k], on_error, MAMUTO_EITEM, 22, "failed with code 22", TRAP / 64 * 64);
            fold_fails("reduce.join_fail", sizes[k], on_error, MAMUTO_EITEM, 23, "code 23: the fold says so",
                       TRAP / 64 * 64);
            fold_fails("reduce.join_chunk", sizes[k], on_error, MAMUTO_EITEM, 25, "failed with code 25",
                       TRAP / 64 * 64);
            fold_fails("reduce.join_crash", sizes[k], on_error, MAMUTO_ECRASH, 0, "died of signal 11", TRAP / 64 * 64);
        }
    good_reduce();
}

static void fold_that_fails_high_up_is_told(void **state)
{
    (void)state;
    fold_fails("reduce.join_high", LARGE_N, MAMUTO_ON_ERROR_FAIL, MAMUTO_EITEM, 24, "failed with code 24", 0);
    fold_fails("reduce.join_high", 900000, MAMUTO_ON_ERROR_SKIP, MAMUTO_EITEM, 24, "failed with code 24", 0);
    good_reduce();
}

/* Items folded themselves: {first, last, 1} are given. */
static void fold_without_function_fails_as_well(void **state)
{
    (void)state;
    static const size_t sizes[] = { 701, LARGE_N };
    for (int k = 0; k < 2; k++) {
        int64_t value[3];
        mamuto_error_t err = { 0 };
        fill(sizes[k]);
        expect(sizes[k], value);
        mamuto_call_t call = call_of(sizes[k], "reduce.join_fail", value);
        call.function = NULL;
        call.args[0] = mamuto_scatter(items, sizes[k]);
        e2e_is_error(mamuto_reduce_wait(m, &call, &err), &err, MAMUTO_EITEM, "a fold failed with code 23");
        assert_true(err.item == TRAP / 64 * 64);
        memset(&err, 0, sizeof err);
        call.fold = "reduce.join_crash";
        e2e_is_error(mamuto_reduce_wait(m, &call, &err), &err, MAMUTO_ECRASH, "died of signal 11");
        memset(&err, 0, sizeof err);
        call.fold = "reduce.join";
        if (mamuto_reduce_wait(m, &call, &err) != 0)
            fail_msg("%s", err.text);
        assert_true(value[2] == (int64_t)sizes[k]);
    }
}

static void fold_that_hangs_is_ended(void **state)
{
    (void)state;
    int64_t value[3];
    mamuto_error_t err = { 0 };
    fill(SMALL);
    mamuto_call_t call = call_of(SMALL, "reduce.join_hang", value);
    call.function = NULL; /* folds alone: a busy machine might keep an item waiting for so long */
    call.args[0] = mamuto_scatter(items, SMALL);
    call.item_timeout_ms = 10;
    e2e_is_error(mamuto_reduce_wait(m, &call, &err), &err, MAMUTO_ETIMEOUT, "a fold took longer");
    good_reduce();
}

/* Its worker died of it once, and the groups ran again. */
static void fold_that_crashes_once_is_no_failure(void **state)
{
    (void)state;
    int64_t value[3];
    fill(LARGE_N);
    mamuto_call_t call = call_of(LARGE_N, "reduce.join_once", value);
    skips_as(&call, LARGE_N);
}

/* Folds of 4 ms, where an item may take 200 ms: a group of them was stopped for its sum. */
static void time_limit_is_not_that_of_a_whole_group(void **state)
{
    (void)state;
    const size_t n = 400;
    int64_t value[3];
    fill(n);
    mamuto_call_t call = call_of(n, "reduce.join_slowly", value);
    call.item_timeout_ms = 200;
    skips_as(&call, n);
    mamuto_error_t err = { 0 };
    expect(n, value);
    call.function = NULL;
    call.args[0] = mamuto_scatter(items, n);
    if (mamuto_reduce_wait(m, &call, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(value[2] == n);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(few_failed_items_are_left_out),
        TEST(every_hundredth_of_a_million_is_left_out),
        TEST(stretches_of_failed_items_are_left_out),
        TEST(of_failed_items_alone_nothing_is_left_but_if_empty),
        TEST(items_that_kill_their_worker_are_left_out),
        TEST(items_that_hang_are_left_out),
        TEST(items_that_work_at_the_second_try_are_in),
        TEST(failed_item_is_named),
        TEST(failed_fold_is_told_with_its_node),
        TEST(fold_that_fails_high_up_is_told),
        TEST(fold_without_function_fails_as_well),
        TEST(fold_that_hangs_is_ended),
        TEST(fold_that_crashes_once_is_no_failure),
        TEST(time_limit_is_not_that_of_a_whole_group),
    };
    return cmocka_run_group_tests_name("e2e_reduce_failures", tests, NULL, NULL);
}
