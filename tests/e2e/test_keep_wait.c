/* Kept arrays where the caller waits: types, bad input and what follows it, what there is no memory for, arrays that are
 * not there, and that nothing is left of a thousand of them. Also what does not depend on who waits. */
#include "tests/support/e2e.h"
#include "tests/support/keep.h"
#include "tests/support/private.h"

#include "core/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 1000 };

static mamuto_t *m;
static double x[N], out[N], vectors[N][3], data[3] = { 1, 2, 3 };
static struct e2e_held before;

static int set_up(void **state)
{
    (void)state;
    before = e2e_hold();
    e2e_scratch_begin();
    m = e2e_open(2, E2E_MODULE("keep_work"));
    for (int i = 0; i < N; i++) {
        x[i] = i;
        for (int k = 0; k < 3; k++)
            vectors[i][k] = i + k;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_close(m);
    e2e_scratch_end();
    e2e_holds_as(&before);
    return 0;
}

static mamuto_kept_t *kept(const mamuto_keep_t *keep)
{
    mamuto_error_t err = { 0 };
    mamuto_kept_t *handle = NULL;
    if (mamuto_keep_wait(m, keep, &handle, &err) != 0)
        fail_msg("mamuto_keep_wait: %s", err.text);
    assert_non_null(handle);
    return handle;
}

static mamuto_kept_t *keep_x(void) { return kept(&(mamuto_keep_t){ .type = "f8", .arg = mamuto_scatter(x, N) }); }

/* Kept and mapped well, and nothing of it is left: after something that was not well. */
static void good_keep(void)
{
    mamuto_error_t err = { 0 };
    mamuto_kept_t *handle = keep_x();
    mamuto_call_t call = { .function = "add",
                           .args = { mamuto_resident(handle), mamuto_broadcast(&x[7]) },
                           .result = out };
    if (mamuto_map_wait(m, &call, &err) != 0)
        fail_msg("a good map after the bad one: %s", err.text);
    for (int i = 0; i < N; i++)
        assert_true(out[i] == i + 7);
    assert_int_equal(mamuto_forget(handle), 0);
    assert_int_equal(keep_extents(m), 0);
}

/* ---- What is mapped ------------------------------------------------------------------------------------------------- */

static void all_arguments_may_be_resident(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_kept_t *p = kept(&(mamuto_keep_t){ .type = "f8[n]", .arg = mamuto_scatter(vectors, N), .dims = { 3 } });
    mamuto_kept_t *v = kept(&(mamuto_keep_t){ .type = " f8 [ 3 ]", .arg = mamuto_broadcast(data) });
    mamuto_call_t call = {
        .function = "dot", .args = { mamuto_resident(p), mamuto_resident(v) }, .dims = { 3 }, .result = out
    };
    for (int help = 0; help < 2; help++) {
        call.help = help;
        memset(out, 0, sizeof out);
        if (mamuto_map_wait(m, &call, &err) != 0)
            fail_msg("%s", err.text);
        for (int i = 0; i < N; i++)
            assert_true(out[i] == 6 * i + 8);
    }
    call.count = N + 1;
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_ELENGTH, "argument 0 has 1000 items");
    assert_int_equal(mamuto_forget(p), 0);
    assert_int_equal(mamuto_forget(v), 0);
    assert_int_equal(mamuto_forget(NULL), 0);
    good_keep();
}

static void same_array_may_be_two_arguments(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_kept_t *handle = keep_x();
    mamuto_call_t call = { .function = "add",
                           .args = { mamuto_resident(handle), mamuto_resident(handle) },
                           .result = out };
    assert_int_equal(mamuto_map_wait(m, &call, &err), 0);
    for (int i = 0; i < N; i++)
        assert_true(out[i] == 2 * i);
    assert_int_equal(mamuto_forget(handle), 0);
    good_keep();
}

static void shape_of_two_dims_is_bound(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    double table[3][4];
    int32_t index[12];
    for (int i = 0; i < 12; i++)
        table[i / 4][i % 4] = index[i] = i;
    mamuto_kept_t *handle =
        kept(&(mamuto_keep_t){ .type = "f8[a, b]", .arg = mamuto_broadcast(table), .dims = { 3, 4 } });
    mamuto_call_t call = { .function = "table",
                           .args = { mamuto_scatter(index, 12), mamuto_resident(handle) },
                           .dims = { 4 },
                           .result = out };
    assert_int_equal(mamuto_map_wait(m, &call, &err), 0);
    for (int i = 0; i < 12; i++)
        assert_true(out[i] == i);
    call.dims[0] = 5;
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS,
                 "keep_work.table: argument 1 is kept as \"f8[3, 4]\", and the function takes \"f8[3, 5]\" there");
    err.code = 0;
    call.dims[0] = 0;
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS, "the dim \"e\" has no value");
    assert_int_equal(mamuto_forget(handle), 0);
    good_keep();
}

static void kept_array_is_reduced(void **state)
{
    (void)state;
    enum { MANY = 200000 };
    mamuto_error_t err = { 0 };
    static double ones[MANY];
    double sum = 0, one = 1;
    for (int i = 0; i < MANY; i++)
        ones[i] = i % 3;
    mamuto_kept_t *handle = kept(&(mamuto_keep_t){ .type = "f8", .arg = mamuto_scatter(ones, MANY) });
    mamuto_call_t call = { .fold = "add", .args = { mamuto_resident(handle) }, .value = &sum };
    if (mamuto_reduce_wait(m, &call, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(sum == MANY - 1);
    call.function = "add";
    call.args[1] = mamuto_broadcast(&one);
    assert_int_equal(mamuto_reduce_wait(m, &call, &err), 0);
    assert_true(sum == 2 * MANY - 1);
    call.on_error = MAMUTO_ON_ERROR_SKIP;
    assert_int_equal(mamuto_reduce(m, &call, NULL, &err), 0);
    assert_int_equal(mamuto_forget(handle), 0); /* the reduction's several runs hold it */
    e2e_is_error(mamuto_reduce_wait(m, &call, &err), &err, MAMUTO_EINVAL, "was forgotten");
    for (int i = 0; i < E2E_PATIENCE_MS && keep_extents(m); i++, e2e_nap())
        mamuto_forget(keep_x());
    assert_true(sum == 2 * MANY - 1);
    good_keep();
}

static int n_called;
static mamuto_kept_t *seen;

static void forget_it(mamuto_kept_t *handle, int status, const mamuto_error_t *err)
{
    (void)err;
    assert_int_equal(status, 0);
    assert_int_equal(*(int *)mamuto_kept_data(handle), 17);
    n_called++;
    seen = handle;
    if (n_called == 1)
        assert_int_equal(mamuto_forget(handle), 0);
}

static void forgotten_in_its_on_kept_is_canceled_for_who_waits(void **state)
{
    (void)state;
    int mine = 17;
    mamuto_error_t err = { 0 };
    mamuto_kept_t *handle = NULL;
    mamuto_keep_t keep = { .type = "f8", .arg = mamuto_scatter(x, N), .data = &mine, .on_kept = forget_it };
    n_called = 0;
    e2e_is_error(mamuto_keep_wait(m, &keep, &handle, &err), &err, MAMUTO_ECANCELED, "forgotten in its on_kept");
    assert_null(handle);
    err.code = 0;
    assert_int_equal(mamuto_keep_wait(m, &keep, &handle, &err), 0);
    assert_ptr_equal(handle, seen);
    assert_int_equal(n_called, 2);
    assert_int_equal(mamuto_forget(handle), 0);
    good_keep();
}

/* ---- What is refused -------------------------------------------------------------------------------------------------- */

static void bad_keeps_are_refused(void **state)
{
    (void)state;
    static const struct {
        mamuto_keep_t keep;
        int code;
        const char *part;
    } cases[] = {
        { { .type = NULL }, MAMUTO_ESIGNATURE, "the type is empty" },
        { { .type = "f9" }, MAMUTO_ESIGNATURE, "type \"f9\", column 1: unknown type" },
        { { .type = "f8[3" }, MAMUTO_ESIGNATURE, "column 5: expected \",\" or \"]\"" },
        { { .type = "f8, f8" }, MAMUTO_ESIGNATURE, "column 3: unexpected text after the type" },
        { { .type = "f8 -> f8" }, MAMUTO_ESIGNATURE, "column 4: unexpected text" },
        { { .type = "f8" }, MAMUTO_EARGS, "mamuto_keep_wait: it takes 1 argument (\"f8\"), 0 given" },
        { { .type = "f8", .arg = { .kind = 99 } }, MAMUTO_EARGS, "of no known kind (99)" },
        { { .type = "f8", .arg = { .kind = MAMUTO_ARG_RESIDENT } }, MAMUTO_EARGS, "kept already" },
        { { .type = "f8", .arg = { .kind = MAMUTO_ARG_SCATTER, .count = 1 } }, MAMUTO_EARGS, "is NULL" },
        { { .type = "f8", .arg = { .kind = MAMUTO_ARG_BROADCAST } }, MAMUTO_EARGS, "is NULL" },
        { { .type = "f8", .arg = { .kind = MAMUTO_ARG_SCATTER, .data = (const char *)x + 1, .count = 1 } },
          MAMUTO_EALIGN,
          "no multiple of 8" },
        { { .type = "f8", .arg = { .kind = MAMUTO_ARG_SCATTER, .data = x, .count = SIZE_MAX } }, MAMUTO_ESIZE, "2^48" },
        { { .type = "f8[1000000]", .arg = { .kind = MAMUTO_ARG_SCATTER, .data = x, .count = (size_t)1 << 44 } },
          MAMUTO_ESIZE,
          "does not fit into memory" },
        { { .type = "f8[d]", .arg = { .kind = MAMUTO_ARG_BROADCAST, .data = x } },
          MAMUTO_EARGS,
          "the dim \"d\" has no value: set keep.dims[0]" },
        { { .type = "f8[d]", .arg = { .kind = MAMUTO_ARG_BROADCAST, .data = x }, .dims = { 3, 3 } },
          MAMUTO_EARGS,
          "keep.dims[1] is set, but \"f8[d]\" has 1 named dims" },
        { { .type = "f8[d]", .arg = { .kind = MAMUTO_ARG_BROADCAST, .data = x }, .dims = { SIZE_MAX } },
          MAMUTO_ESIZE,
          "too large" },
        { { .type = "f8", .arg = { .kind = MAMUTO_ARG_BROADCAST, .data = x, .reserved = { 1 } } },
          MAMUTO_EINVAL,
          "reserved" },
        { { .type = "f8", .arg = { .kind = MAMUTO_ARG_BROADCAST, .data = x }, .reserved = { 0, 1 } },
          MAMUTO_EINVAL,
          "reserved field 1" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mamuto_error_t err = { 0 };
        mamuto_kept_t *handle = NULL;
        e2e_is_error(mamuto_keep_wait(m, &cases[i].keep, &handle, &err), &err, cases[i].code, cases[i].part);
        assert_null(handle);
        err.code = 0;
        assert_int_equal(mamuto_keep(m, &cases[i].keep, &handle, &err), cases[i].code);
        assert_null(handle);
    }
    good_keep();
}

static void bad_calls_of_keep_are_refused(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_kept_t *handle = NULL;
    mamuto_keep_t keep = { .type = "f8", .arg = mamuto_scatter(x, N) };
    e2e_is_error(mamuto_keep_wait(m, NULL, &handle, &err), &err, MAMUTO_EINVAL, "keep is NULL");
    err.code = 0;
    e2e_is_error(mamuto_keep(m, NULL, &handle, &err), &err, MAMUTO_EINVAL, "keep is NULL");
    err.code = 0;
    e2e_is_error(mamuto_keep_wait(m, &keep, NULL, &err), &err, MAMUTO_EINVAL, "nowhere to put the handle");
    err.code = 0;
    e2e_is_error(mamuto_keep(m, &keep, NULL, &err), &err, MAMUTO_EINVAL, "nowhere to put the handle");
    err.code = 0;
    e2e_is_error(mamuto_keep(NULL, &keep, &handle, &err), &err, MAMUTO_EINVAL, "the mapper is NULL");
    good_keep();
}

static void residents_of_another_type_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *type, *shown;
        size_t dim;
    } cases[] = { { "f4", "f4", 0 },       { "f8[1]", "f8[1]", 0 }, { "f8[d]", "f8[2]", 2 },
                  { "u1[8]", "u1[8]", 0 }, { "i8", "i8", 0 },       { "f8[1,2]", "f8[1, 2]", 0 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mamuto_error_t err = { 0 };
        char part[128];
        mamuto_kept_t *handle =
            kept(&(mamuto_keep_t){ .type = cases[i].type, .arg = mamuto_broadcast(vectors), .dims = { cases[i].dim } });
        mamuto_call_t call = { .function = "add",
                               .args = { mamuto_scatter(x, N), mamuto_resident(handle) },
                               .result = out };
        snprintf(part, sizeof part, "argument 1 is kept as \"%s\", and the function takes \"f8\" there",
                 cases[i].shown);
        e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS, part);
        assert_int_equal(mamuto_forget(handle), 0);
    }
    good_keep();
}

static void residents_of_another_length_or_number_are_refused(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_kept_t *handle = keep_x();
    mamuto_call_t call = { .function = "add",
                           .args = { mamuto_scatter(x, N - 1), mamuto_resident(handle) },
                           .result = out };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_ELENGTH,
                 "argument 0 has 999 items, argument 1 has 1000");
    err.code = 0;
    call.args[0].kind = MAMUTO_ARG_NONE;
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS, "2 arguments");
    err.code = 0;
    call.args[0] = call.args[2] = call.args[1];
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS, "2 arguments");
    err.code = 0;
    call.args[2] = (mamuto_arg_t){ 0 };
    call.args[1] = mamuto_resident(NULL);
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS, "what is kept is NULL");
    assert_int_equal(mamuto_forget(handle), 0);
    good_keep();
}

static void resident_of_another_mapper_is_refused(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_t *second = e2e_open(1, E2E_MODULE("keep_work"));
    mamuto_kept_t *handle = keep_x();
    mamuto_call_t call = { .function = "add",
                           .args = { mamuto_scatter(x, N), mamuto_resident(handle) },
                           .result = out };
    e2e_is_error(mamuto_map_wait(second, &call, &err), &err, MAMUTO_EINVAL, "kept by another mapper");
    e2e_close(second);
    assert_int_equal(mamuto_forget(handle), 0);
    good_keep();
}

static void resident_is_refused_until_it_is_kept(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_kept_t *handle = NULL;
    mamuto_keep_t keep = { .type = "f8", .arg = mamuto_scatter(x, N) };
    assert_int_equal(mamuto_keep(m, &keep, &handle, &err), 0);
    mamuto_call_t call = { .function = "add",
                           .args = { mamuto_scatter(x, N), mamuto_resident(handle) },
                           .result = out };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EINVAL, "not kept yet: wait for on_kept");
    assert_int_equal(mamuto_forget(handle), 0);
    for (int i = 0; i < 1000 && keep_extents(m); i++) /* the first ends while others are waited for */
        mamuto_forget(keep_x());
    good_keep();
}

/* ---- Memory ------------------------------------------------------------------------------------------------------------- */

static void unreadable_arrays_are_refused(void **state)
{
    (void)state;
    const size_t bytes = 5 << 20, page = 4096;
    char *array = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(array != MAP_FAILED);
    static const struct {
        size_t at, length;
        int unmapped;
    } holes[] = { { 0, 5 << 20, 0 }, { (5 << 20) - 4096, 4096, 0 }, { 3 << 20, 4096, 0 }, { 4096 * 7, 4096, 1 } };
    for (size_t i = 0; i < sizeof holes / sizeof *holes; i++) {
        char *hole = array + holes[i].at;
        mamuto_error_t err = { 0 };
        mamuto_kept_t *handle = NULL;
        mamuto_keep_t keep = { .type = "u1", .arg = mamuto_scatter(array, bytes - page / 2) };
        assert_int_equal(holes[i].unmapped ? munmap(hole, holes[i].length) : mprotect(hole, holes[i].length, PROT_NONE),
                         0);
        e2e_is_error(mamuto_keep_wait(m, &keep, &handle, &err), &err, MAMUTO_EARGS, "not readable");
        assert_null(handle);
        good_keep();
        if (!holes[i].unmapped)
            assert_int_equal(mprotect(hole, holes[i].length, PROT_READ), 0);
    }
    munmap(array, bytes);
}

static void keep_of_more_than_there_is_is_refused(void **state)
{
    (void)state;
    const size_t bytes = (size_t)sysconf(_SC_PHYS_PAGES) * 4096;
    char *huge = mmap(NULL, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(huge != MAP_FAILED);
    for (size_t times = 1; times < 3; times++) {
        mamuto_error_t err = { 0 };
        mamuto_kept_t *handle = NULL;
        char part[64];
        mamuto_keep_t keep = { .type = "u1", .arg = mamuto_scatter(huge, times * bytes) };
        snprintf(part, sizeof part, "%zu bytes of shared memory were asked for", times * bytes);
        e2e_is_error(mamuto_keep_wait(m, &keep, &handle, &err), &err, MAMUTO_ENOMEM, part);
        assert_null(handle);
        good_keep();
    }
    munmap(huge, 2 * bytes);
}

static void keep_without_heap_is_refused(void **state)
{
    (void)state;
    long failed = 0;
    for (int wait = 0; wait < 2; wait++)
        for (long n = 1;; n++) {
            mamuto_error_t err = { 0 };
            mamuto_kept_t *handle = NULL;
            mamuto_keep_t keep = { .type = "f8", .arg = mamuto_scatter(x, N) };
            mm_alloc_fail_at(n);
            int code = wait ? mamuto_keep_wait(m, &keep, &handle, &err) : mamuto_keep(m, &keep, &handle, &err);
            mm_alloc_fail_at(0);
            if (code == 0) {
                mamuto_forget(handle);
                break;
            }
            e2e_is_error(code, &err, MAMUTO_ENOMEM, NULL);
            failed++;
        }
    assert_true(failed >= 4);
    mamuto_forget(keep_x());
    good_keep();
}

static long arena_pages(void)
{
    FILE *file = fopen("/proc/self/smaps", "re");
    char line[512];
    bool inside = false;
    long kib = 0, value;
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (strstr(line, "mamuto-arena"))
            inside = true;
        else if (inside && sscanf(line, "Rss: %ld", &value) == 1) {
            kib += value;
            inside = false;
        }
    }
    fclose(file);
    return kib / 4;
}

static void nothing_is_left_of_a_thousand(void **state)
{
    (void)state;
    static char bytes[1 << 20];
    mamuto_kept_t *handles[10] = { NULL };
    for (int i = 0; i < 1000; i++) {
        mamuto_forget(handles[i % 10]);
        handles[i % 10] =
            kept(&(mamuto_keep_t){ .type = "u1", .arg = mamuto_scatter(bytes, (size_t)(i * 7919 % (1 << 20))) });
    }
    assert_int_equal(keep_extents(m), 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(mamuto_forget(handles[i]), 0);
    assert_int_equal(keep_extents(m), 0);
    if (arena_pages() > 64 * 256) /* 64 MB; all of them together were 500 */
        fail_msg("the arena has %ld pages", arena_pages());
    good_keep();
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_arguments_may_be_resident),
        TEST(same_array_may_be_two_arguments),
        TEST(shape_of_two_dims_is_bound),
        TEST(kept_array_is_reduced),
        TEST(forgotten_in_its_on_kept_is_canceled_for_who_waits),
        TEST(bad_keeps_are_refused),
        TEST(bad_calls_of_keep_are_refused),
        TEST(residents_of_another_type_are_refused),
        TEST(residents_of_another_length_or_number_are_refused),
        TEST(resident_of_another_mapper_is_refused),
        TEST(resident_is_refused_until_it_is_kept),
        TEST(unreadable_arrays_are_refused),
        TEST(keep_of_more_than_there_is_is_refused),
        TEST(keep_without_heap_is_refused),
        TEST(nothing_is_left_of_a_thousand),
    };
    uv_loop_t loop;
    uv_loop_init(&loop); /* the first one opens what libuv keeps */
    uv_loop_close(&loop);
    return cmocka_run_group_tests_name("e2e_keep_wait", tests, NULL, NULL);
}
