/* Bad calls and arrays: each an error before anything runs, with a code and a whole sentence that says what is wrong;
 * and a good map on the same mapper right afterwards. */
#include "tests/support/e2e.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static mamuto_t *m;
static double a[64], b[64], out[64];

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    m = e2e_open(2, E2E_MODULE("basic"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_close(m);
    e2e_scratch_end();
    return 0;
}

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

static void never_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    (void)map, (void)status, (void)err;
    fail_msg("a call that failed called back");
}

/* The call is refused in both forms, touches nothing, and a good one follows. */
static void refused(mamuto_call_t call, int code, const char *part)
{
    mamuto_error_t err = { 0 };
    mamuto_map_t *map = NULL;
    call.on_done = never_done;
    memset(out, 0x55, sizeof out);
    double before[64];
    memcpy(before, out, sizeof out);
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, code, part);
    assert_int_equal(err.item, MAMUTO_NO_ITEM);
    err = (mamuto_error_t){ 0 };
    e2e_is_error(mamuto_map(m, &call, &map, &err), &err, code, part);
    assert_null(map);
    assert_int_equal(mamuto_map_wait(m, &call, NULL), code);
    assert_memory_equal(before, out, sizeof out);
    e2e_good_map(m);
}

static mamuto_call_t adding(mamuto_arg_t first, mamuto_arg_t second)
{
    return (mamuto_call_t){ .function = "basic.add", .args = { first, second }, .result = out };
}

static mamuto_call_t good_call(void) { return adding(mamuto_scatter(a, 64), mamuto_scatter(b, 64)); }

static void function_mistyped_gets_the_nearest_name(void **state)
{
    (void)state;
    mamuto_call_t call = good_call();
    call.function = "basic.ad";
    refused(call, MAMUTO_EFUNCTION, "there is no function \"basic.ad\"; did you mean basic.add?");
    call.function = "add_chunks";
    refused(call, MAMUTO_EFUNCTION, "did you mean add_chunk?");
    call.function = "basci.like3";
    refused(call, MAMUTO_EFUNCTION, "did you mean basic.like3?");
    call.function = "something_else_altogether";
    refused(call, MAMUTO_EFUNCTION, "there is no function \"something_else_altogether\"");
    call.function = "";
    refused(call, MAMUTO_EFUNCTION, "there is no function");
    call.function = NULL;
    refused(call, MAMUTO_EFUNCTION, "NULL");
    mamuto_error_t err = { 0 };
    e2e_is_error(mamuto_function(m, "basic.outre", NULL, &err), &err, MAMUTO_EFUNCTION, "did you mean basic.outer?");
}

static void call_that_is_null_is_refused(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    e2e_is_error(mamuto_map_wait(m, NULL, &err), &err, MAMUTO_EINVAL, "NULL");
    e2e_good_map(m);
}

static void number_of_arguments_must_fit(void **state)
{
    (void)state;
    mamuto_call_t call = good_call();
    call.args[1] = (mamuto_arg_t){ 0 };
    refused(call, MAMUTO_EARGS, "basic.add: it takes 2 arguments (\"f8, f8 -> f8\"), 1 given");
    call = good_call();
    call.args[2] = mamuto_scatter(a, 64);
    refused(call, MAMUTO_EARGS, "3 given");
    call = good_call();
    call.args[5] = mamuto_scatter(a, 64);
    refused(call, MAMUTO_EARGS, "argument 5 is set behind an empty one");
    call = (mamuto_call_t){ .function = "index", .args = { mamuto_scatter(a, 64) }, .result = out };
    refused(call, MAMUTO_EARGS, "it takes 0 arguments");
}

static void kind_of_argument_must_be_known(void **state)
{
    (void)state;
    mamuto_call_t call = good_call();
    call.args[1].kind = 77;
    refused(call, MAMUTO_EARGS, "argument 1 is of no known kind (77)");
}

static void lengths_must_be_equal(void **state)
{
    (void)state;
    refused(adding(mamuto_scatter(a, 64), mamuto_scatter(b, 63)), MAMUTO_ELENGTH,
            "argument 0 has 64 items, argument 1 has 63");
    mamuto_call_t call = good_call();
    call.count = 65;
    refused(call, MAMUTO_ELENGTH, "call.count says 65");
    call = adding(mamuto_broadcast(a), mamuto_broadcast(b));
    refused(call, MAMUTO_ELENGTH, "call.count must say how many items there are");
}

static void arrays_must_be_aligned(void **state)
{
    (void)state;
    refused(adding(mamuto_scatter((char *)a + 4, 62), mamuto_scatter(b, 62)), MAMUTO_EALIGN,
            "argument 0 begins at an address that is no multiple of 8");
    refused(adding(mamuto_scatter(a, 62), mamuto_broadcast((char *)b + 1)), MAMUTO_EALIGN, "argument 1");
    mamuto_call_t call = adding(mamuto_scatter(a, 62), mamuto_scatter(b, 62));
    call.result = (char *)out + 2;
    refused(call, MAMUTO_EALIGN, "the result begins at");
}

static void result_must_not_overlap(void **state)
{
    (void)state;
    mamuto_call_t call = good_call();
    call.result = b;
    refused(call, MAMUTO_EOVERLAP, "the result overlaps argument 1");
    call = adding(mamuto_scatter(a, 32), mamuto_scatter(b, 32));
    call.result = a + 31;
    refused(call, MAMUTO_EOVERLAP, "the result overlaps argument 0");
    call = adding(mamuto_scatter(a, 32), mamuto_broadcast(out + 31));
    refused(call, MAMUTO_EOVERLAP, "argument 1");
}

static void result_may_lie_beside_an_argument(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = adding(mamuto_scatter(a, 32), mamuto_scatter(b, 32));
    call.result = a + 32;
    assert_int_equal(mamuto_map_wait(m, &call, &err), 0);
    call.args[1] = mamuto_scatter(a, 32); /* two arguments may be one array */
    assert_int_equal(mamuto_map_wait(m, &call, &err), 0);
}

static void null_arrays_are_refused(void **state)
{
    (void)state;
    refused(adding(mamuto_scatter(NULL, 64), mamuto_scatter(b, 64)), MAMUTO_EARGS, "argument 0 is NULL");
    refused(adding(mamuto_scatter_strided(NULL, 64, -8), mamuto_scatter(b, 64)), MAMUTO_EARGS, "argument 0 is NULL");
    refused(adding(mamuto_scatter(a, 64), mamuto_broadcast(NULL)), MAMUTO_EARGS, "argument 1 is NULL");
    mamuto_call_t call = good_call();
    call.result = NULL;
    refused(call, MAMUTO_EARGS, "the result is NULL");
}

static void null_arrays_of_no_items_are_fine(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = adding(mamuto_scatter(NULL, 0), mamuto_scatter(NULL, 0));
    call.result = NULL;
    assert_int_equal(mamuto_map_wait(m, &call, &err), 0);
}

static void sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    size_t huge = (size_t)1 << 48;
    refused(adding(mamuto_scatter(a, huge), mamuto_scatter(b, huge)), MAMUTO_ESIZE, "less than 2^48");
    refused(adding(mamuto_scatter(a, SIZE_MAX), mamuto_scatter(b, SIZE_MAX)), MAMUTO_ESIZE, NULL);
    mamuto_call_t call = { .function = "outer",
                           .args = { mamuto_scatter(a, 2), mamuto_scatter(b, 2) },
                           .result = out,
                           .dims = { (size_t)1 << 40, (size_t)1 << 40 } };
    refused(call, MAMUTO_ESIZE, NULL);
    call.dims[0] = SIZE_MAX / 8 + 1;
    refused(call, MAMUTO_ESIZE, NULL);
    call.dims[0] = (size_t)1 << 30, call.dims[1] = 1; /* an item is possible, 2^47 are not */
    call.args[0].count = call.args[1].count = (size_t)1 << 47;
    refused(call, MAMUTO_ESIZE, NULL);
}

static void options_of_a_call_are_checked(void **state)
{
    (void)state;
    mamuto_call_t call = good_call();
    call.item_timeout_ms = -1;
    refused(call, MAMUTO_EINVAL, "item_timeout_ms is -1");
    call = good_call();
    call.retries = -2;
    refused(call, MAMUTO_EINVAL, "retries is -2");
    call = good_call();
    call.on_error = 2;
    refused(call, MAMUTO_EINVAL, "on_error is 2");
    call = good_call();
    call.help = 1, call.item_timeout_ms = 10;
    refused(call, MAMUTO_EINVAL, "help and item_timeout_ms = 10 exclude each other");
}

static void reserved_fields_must_be_zero(void **state)
{
    (void)state;
    mamuto_call_t call = good_call();
    call.reserved[15] = 1;
    refused(call, MAMUTO_EINVAL, "reserved field 15");
    call = good_call();
    call.args[1].reserved[1] = 1;
    refused(call, MAMUTO_EINVAL, "argument 1 has a reserved field");
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .reserved = { 1 } };
    mamuto_t *other = NULL;
    e2e_is_error(mamuto_open_wait(&other, &options, &err), &err, MAMUTO_EINVAL, "reserved field 0");
    assert_null(other);
}

static void strides_of_packed_arguments_are_refused(void **state)
{
    (void)state;
    mamuto_call_t call = adding(mamuto_scatter(a, 32), mamuto_scatter(b, 32));
    call.args[0].stride = 16;
    refused(call, MAMUTO_EARGS, "argument 0 has a stride of 16 bytes");
}

static void dims_must_be_set(void **state)
{
    (void)state;
    mamuto_call_t call = {
        .function = "outer", .args = { mamuto_scatter(a, 2), mamuto_scatter(b, 2) }, .result = out, .dims = { 3 }
    };
    refused(call, MAMUTO_EARGS, "the dim \"b\" has no value: set call.dims[1]");
    call = good_call();
    call.dims[0] = 3;
    refused(call, MAMUTO_EARGS, "call.dims[0] is set");
}

static void variable_lengths_need_their_own_kinds(void **state)
{
    (void)state;
    mamuto_call_t call = { .function = "variable", .args = { mamuto_scatter(a, 2) }, .result = out };
    refused(call, MAMUTO_EARGS, "argument 0 is of variable length (\"f8[*] -> f8\")");
}

static void result_in_an_attached_file_is_refused(void **state)
{
    (void)state;
    static const char page[4096];
    e2e_write(e2e_path("page"), page, sizeof page);
    int fd = open(e2e_path("page"), O_RDWR | O_CLOEXEC);
    mamuto_error_t err = { 0 };
    const void *p = NULL;
    assert_int_equal(mamuto_attach(m, fd, 0, sizeof page, &p, &err), 0);
    close(fd);
    mamuto_call_t call = good_call();
    call.result = (void *)(uintptr_t)p;
    refused(call, MAMUTO_EARGS, "the result");
    assert_int_equal(mamuto_free(m, (void *)(uintptr_t)p), 0);
}

static void array_beyond_its_allocation_is_refused(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    double *small = mamuto_alloc(m, 512, sizeof *small, &err); /* a page */
    assert_non_null(small);
    static double result[1024];
    mamuto_call_t call = adding(mamuto_scatter(small, 1024), mamuto_broadcast(a));
    call.result = result;
    int code = mamuto_map_wait(m, &call, &err);
    e2e_is_error(code, &err, MAMUTO_EARGS, "argument 0");
    assert_int_equal(mamuto_free(m, small), 0);
    e2e_good_map(m);
}

/* An array that ends in unmapped memory: seen only when it is read, and an error of the map. */
static void array_that_is_not_readable_is_named(void **state)
{
    (void)state;
    size_t page = 4096, n = page / sizeof(double);
    char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    assert_int_equal(munmap(p + page, page), 0);
    double *result = malloc(2 * n * sizeof *result);
    mamuto_error_t err = { 0 };
    mamuto_call_t call = adding(mamuto_broadcast(a), mamuto_scatter(p, 2 * n));
    call.result = result;
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS,
                 "basic.add: argument 1 is not readable: its address is wrong, or it ends");
    e2e_good_map(m);
    err = (mamuto_error_t){ 0 };
    call.args[1] = mamuto_scatter((void *)page, 2 * n); /* an address that no array has */
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS,
                 "basic.add: argument 1 is not readable: its address is wrong");
    err = (mamuto_error_t){ 0 };
    call.args[1] = mamuto_scatter(result, 2 * n);
    call.result = p;
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS,
                 "basic.add: the result is not writable: its address");
    e2e_good_map(m);
    munmap(p, page);
    free(result);
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static void alloc_refuses_what_cannot_be(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    struct e2e_held before = e2e_hold();
    assert_null(mamuto_alloc(m, SIZE_MAX / 2, 3, &err));
    e2e_is_error(err.code, &err, MAMUTO_ESIZE, "do not fit into a size_t");
    err = (mamuto_error_t){ 0 };
    assert_null(mamuto_alloc(m, (size_t)1 << 50, 1, &err)); /* more than any machine has: nothing of it is taken */
    e2e_is_error(err.code, &err, MAMUTO_ENOMEM, "1125899906842624 bytes");
    err = (mamuto_error_t){ 0 };
    assert_null(mamuto_alloc(m, SIZE_MAX, 1, &err));
    assert_true(err.code == MAMUTO_ENOMEM || err.code == MAMUTO_ESIZE);
    e2e_holds_as(&before);
    e2e_good_map(m);
}

static void free_refuses_what_is_not_its_own(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    char *p = mamuto_alloc(m, 10000, 1, &err);
    assert_non_null(p);
    assert_int_equal(mamuto_free(m, a), MAMUTO_EINVAL);
    assert_int_equal(mamuto_free(m, p + 64), MAMUTO_EINVAL);
    assert_int_equal(mamuto_free(m, p), 0);
    assert_int_equal(mamuto_free(m, p), MAMUTO_EINVAL);
    assert_int_equal(mamuto_free(m, NULL), 0);
    e2e_good_map(m);
}

static void attach_refused(int fd, int64_t offset, size_t bytes, int code, const char *part)
{
    mamuto_error_t err = { 0 };
    const void *p = a;
    e2e_is_error(mamuto_attach(m, fd, offset, bytes, &p, &err), &err, code, part);
    assert_ptr_equal(p, a);
    e2e_good_map(m);
}

static void attach_refuses_what_is_not_in_the_file(void **state)
{
    (void)state;
    static const char pages[3 * 4096];
    e2e_write(e2e_path("pages"), pages, sizeof pages);
    int fd = open(e2e_path("pages"), O_RDONLY | O_CLOEXEC), ends[2];
    assert_int_equal(pipe(ends), 0);
    attach_refused(fd, 0, 3 * 4096 + 1, MAMUTO_EINVAL, "are not all in the file, which has 12288");
    attach_refused(fd, 4 * 4096, 1, MAMUTO_EINVAL, "are not all in the file");
    attach_refused(fd, 100, 1, MAMUTO_EINVAL, "not 0 or a positive multiple of the page size");
    attach_refused(fd, -4096, 1, MAMUTO_EINVAL, "not 0 or a positive multiple of the page size");
    attach_refused(fd, 0, 0, MAMUTO_EINVAL, "there is nothing to attach");
    attach_refused(fd, 4096, SIZE_MAX - 100, MAMUTO_EINVAL, NULL);
    attach_refused(ends[0], 0, 1, MAMUTO_EINVAL, "not a regular file");
    close(fd), close(ends[0]), close(ends[1]);
    attach_refused(fd, 0, 1, MAMUTO_ESYSTEM, NULL);
    fd = open(e2e_path("pages"), O_WRONLY | O_CLOEXEC);
    attach_refused(fd, 0, 1, MAMUTO_EINVAL, "open it for reading");
    close(fd);
}

/* Pointers that a first program forgets; each was the end of it. */
static void null_where_something_is_to_be_put_is_refused(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    e2e_is_error(mamuto_open_wait(NULL, NULL, &err), &err, MAMUTO_EINVAL, "m is NULL");
    err = (mamuto_error_t){ 0 };
    e2e_is_error(mamuto_open(NULL, NULL, &err), &err, MAMUTO_EINVAL, "m is NULL");
    err = (mamuto_error_t){ 0 };
    static const char page[4096];
    e2e_write(e2e_path("page"), page, sizeof page);
    int fd = open(e2e_path("page"), O_RDONLY | O_CLOEXEC);
    e2e_is_error(mamuto_attach(m, fd, 0, 4096, NULL, &err), &err, MAMUTO_EINVAL, "p is NULL");
    close(fd);
    e2e_good_map(m);
}

static void mapper_that_is_null_is_refused(void **state)
{
    (void)state;
    const void *p;
    mamuto_error_t errs[7] = { { 0 } };
    mamuto_call_t call = good_call();
    int codes[7] = { mamuto_map(NULL, &call, NULL, &errs[0]),
                     mamuto_map_wait(NULL, &call, &errs[1]),
                     mamuto_load(NULL, "a.c", NULL, &errs[2]),
                     mamuto_load_wait(NULL, "a.c", &errs[3]),
                     mamuto_function(NULL, "basic.add", NULL, &errs[4]),
                     mamuto_attach(NULL, 0, 0, 1, &p, &errs[5]),
                     mamuto_alloc(NULL, 1, 1, &errs[6]) ? 0 : errs[6].code };
    for (int i = 0; i < 7; i++)
        e2e_is_error(codes[i], &errs[i], MAMUTO_EINVAL, "the mapper is NULL");
    assert_int_equal(mamuto_free(NULL, a), MAMUTO_EINVAL);
    assert_int_equal(mamuto_cancel(NULL), MAMUTO_EINVAL);
}

/* Nobody would ever learn whether the mapper is open. */
static void open_without_loop_and_on_open_is_refused(void **state)
{
    (void)state;
    mamuto_t *other = NULL;
    mamuto_error_t err = { 0 };
    e2e_is_error(mamuto_open(&other, NULL, &err), &err, MAMUTO_EINVAL, "options.loop is NULL");
    err = (mamuto_error_t){ 0 };
    mamuto_options_t options = { .config_text = "{}" };
    e2e_is_error(mamuto_open(&other, &options, &err), &err, MAMUTO_EINVAL, "options.loop is NULL");
    assert_null(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(function_mistyped_gets_the_nearest_name),
        cmocka_unit_test(call_that_is_null_is_refused),
        cmocka_unit_test(number_of_arguments_must_fit),
        cmocka_unit_test(kind_of_argument_must_be_known),
        cmocka_unit_test(lengths_must_be_equal),
        cmocka_unit_test(arrays_must_be_aligned),
        cmocka_unit_test(result_must_not_overlap),
        cmocka_unit_test(result_may_lie_beside_an_argument),
        cmocka_unit_test(null_arrays_are_refused),
        cmocka_unit_test(null_arrays_of_no_items_are_fine),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(options_of_a_call_are_checked),
        cmocka_unit_test(reserved_fields_must_be_zero),
        cmocka_unit_test(strides_of_packed_arguments_are_refused),
        cmocka_unit_test(dims_must_be_set),
        cmocka_unit_test(variable_lengths_need_their_own_kinds),
        cmocka_unit_test(result_in_an_attached_file_is_refused),
        cmocka_unit_test(array_beyond_its_allocation_is_refused),
        cmocka_unit_test(array_that_is_not_readable_is_named),
        cmocka_unit_test(alloc_refuses_what_cannot_be),
        cmocka_unit_test(free_refuses_what_is_not_its_own),
        cmocka_unit_test(attach_refuses_what_is_not_in_the_file),
        cmocka_unit_test(null_where_something_is_to_be_put_is_refused),
        cmocka_unit_test(mapper_that_is_null_is_refused),
        cmocka_unit_test(open_without_loop_and_on_open_is_refused),
    };
    return cmocka_run_group_tests_name("e2e_bad_input", tests, set_up, tear_down);
}
