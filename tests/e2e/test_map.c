/* Right results: the same as a serial loop's, bit for bit, in both forms, for all lengths that are special, from arrays
 * of every kind; and nothing that is held is more after a mapper is closed than before it was opened. */
#include "tests/support/e2e.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static mamuto_t *m; /* of most tests: four workers */

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    m = e2e_open(4, E2E_MODULE("basic"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_close(m);
    e2e_scratch_end();
    return 0;
}

static void must_map(mamuto_t *mapper, const mamuto_call_t *call)
{
    mamuto_error_t err = { 0 };
    if (mamuto_map_wait(mapper, call, &err) != 0)
        fail_msg("%s: %s", call->function, err.text);
}

static double *numbers(size_t n, double step)
{
    double *p = malloc((n ? n : 1) * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (double)i * step + 0.25;
    return p;
}

static double *shared_numbers(mamuto_t *mapper, size_t n, double step)
{
    mamuto_error_t err = { 0 };
    double *p = mamuto_alloc(mapper, n, sizeof *p, &err);
    if (!p)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < n; i++)
        p[i] = (double)i * step + 0.25;
    return p;
}

static void check_sum(const double *a, const double *b, bool one, const double *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (out[i] != a[i] + b[one ? 0 : i])
            fail_msg("of %zu: item %zu is %g, not %g", n, i, out[i], a[i] + b[one ? 0 : i]);
}

/* a + b and a + b[0] of n private numbers, by one function. */
static void add_private(mamuto_t *mapper, const char *function, size_t n, int help)
{
    double *a = numbers(n, 1), *b = numbers(n ? n : 1, 0.5), *out = numbers(n + 1, 7);
    double guard = out[n];
    mamuto_call_t call = {
        .function = function, .args = { mamuto_scatter(a, n), mamuto_scatter(b, n) }, .result = out, .help = help
    };
    must_map(mapper, &call);
    check_sum(a, b, false, out, n);
    call.args[1] = mamuto_broadcast(b);
    must_map(mapper, &call);
    check_sum(a, b, true, out, n);
    assert_true(out[n] == guard);
    free(a), free(b), free(out);
}

static const size_t lengths[] = { 0, 1, 2, 3, 4, 5, 7, 63, 64, 65, 1000, 1009, 4097, 100003, 1000000 };
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

static void map_of_every_length_is_right_in_item_form(void **state)
{
    (void)state;
    for (int i = 0; i < N_LENGTHS; i++)
        add_private(m, "basic.add", lengths[i], 0);
}

static void map_of_every_length_is_right_in_chunk_form(void **state)
{
    (void)state;
    for (int i = 0; i < N_LENGTHS; i++)
        add_private(m, "basic.add_chunk", lengths[i], 0);
}

static void map_with_help_is_right(void **state)
{
    (void)state;
    for (int i = 0; i < N_LENGTHS; i++) {
        add_private(m, "add", lengths[i], 1);
        add_private(m, "add_chunk", lengths[i], 1);
    }
}

static void map_of_shared_arrays_is_right(void **state)
{
    (void)state;
    for (int i = 1; i < N_LENGTHS; i++) {
        size_t n = lengths[i];
        double *a = shared_numbers(m, n, 1), *b = shared_numbers(m, n, 0.5), *out = shared_numbers(m, n, 0);
        for (int help = 0; help < 2; help++) {
            memset(out, 0, n * sizeof *out);
            mamuto_call_t call = { .function = help ? "add" : "add_chunk",
                                   .result = out,
                                   .help = help,
                                   .args = { mamuto_scatter(a, n), mamuto_scatter(b, n) } };
            must_map(m, &call);
            check_sum(a, b, false, out, n);
        }
        assert_int_equal(mamuto_free(m, a) | mamuto_free(m, b) | mamuto_free(m, out), 0);
    }
}

static void map_of_mixed_arrays_is_right(void **state)
{
    (void)state;
    size_t n = 100003;
    double *shared[3] = { shared_numbers(m, n, 1), shared_numbers(m, n, 0.5), shared_numbers(m, n, 0) };
    double *private[3] = { numbers(n, 1), numbers(n, 0.5), numbers(n, 0) };
    for (int mix = 0; mix < 16; mix++) {
        double *a = mix & 1 ? shared[0] : private[0], *b = mix & 2 ? shared[1] : private[1];
        double *out = mix & 4 ? shared[2] : private[2];
        bool one = mix & 8;
        memset(out, 0, n * sizeof *out);
        mamuto_call_t call = { .function = mix % 3 ? "add" : "add_chunk",
                               .result = out,
                               .args = { mamuto_scatter(a, n), one ? mamuto_broadcast(b) : mamuto_scatter(b, n) } };
        must_map(m, &call);
        check_sum(a, b, one, out, n);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mamuto_free(m, shared[i]), 0);
        free(private[i]);
    }
}

static void map_of_part_of_a_shared_array_is_right(void **state)
{
    (void)state;
    size_t n = 5000;
    double *all = shared_numbers(m, 3 * n, 1), *out = all + 2 * n;
    mamuto_call_t call = { .function = "add",
                           .args = { mamuto_scatter(all + 1, n - 1), mamuto_scatter(all + n, n - 1) },
                           .result = out };
    must_map(m, &call);
    check_sum(all + 1, all + n, false, out, n - 1);
    assert_true(out[n - 1] == (double)(3 * n - 1) + 0.25);
    assert_int_equal(mamuto_free(m, all), 0);
}

static void map_scales_by_a_broadcast_value(void **state)
{
    (void)state;
    size_t n = 20001;
    double *a = numbers(n, 1), *out = numbers(n, 0), factor = 3;
    mamuto_call_t call = { .function = "scale_chunk",
                           .args = { mamuto_scatter(a, n), mamuto_broadcast(&factor) },
                           .result = out };
    must_map(m, &call);
    for (size_t i = 0; i < n; i++)
        assert_true(out[i] == a[i] * 3);
    call.args[1] = mamuto_scatter(a, n);
    must_map(m, &call);
    for (size_t i = 0; i < n; i++)
        assert_true(out[i] == a[i] * a[i]);
    free(a), free(out);
}

static void map_of_broadcast_alone_takes_its_count(void **state)
{
    (void)state;
    double a = 2, b = 3, out[100] = { 0 };
    mamuto_call_t call = {
        .function = "add", .args = { mamuto_broadcast(&a), mamuto_broadcast(&b) }, .count = 100, .result = out
    };
    must_map(m, &call);
    for (int i = 0; i < 100; i++)
        assert_true(out[i] == 5);
}

static void map_without_inputs_takes_its_count(void **state)
{
    (void)state;
    static const char *const names[] = { "index", "index_chunk" };
    size_t n = 100003;
    uint64_t *out = calloc(n, sizeof *out);
    for (int f = 0; f < 4; f++) {
        memset(out, 0, n * sizeof *out);
        mamuto_call_t call = { .function = names[f % 2], .count = n, .result = out, .help = f / 2 };
        must_map(m, &call);
        for (size_t i = 0; i < n; i++)
            assert_true(out[i] == i * 3);
    }
    free(out);
}

static void map_with_equal_count_is_right(void **state)
{
    (void)state;
    double a[10] = { 1 }, out[10];
    mamuto_call_t call = {
        .function = "add", .args = { mamuto_scatter(a, 10), mamuto_scatter(a, 10) }, .count = 10, .result = out
    };
    must_map(m, &call);
    check_sum(a, a, false, out, 10);
}

static void map_with_named_dims_is_right(void **state)
{
    (void)state;
    enum { A = 3, B = 5 };
    size_t n = 1001;
    double *x = numbers(n * A, 1), *y = numbers(B, 2), *out = numbers(n * A * B, 0);
    mamuto_call_t call = {
        .function = "outer", .args = { mamuto_scatter(x, n), mamuto_broadcast(y) }, .dims = { A, B }, .result = out
    };
    must_map(m, &call);
    for (size_t i = 0; i < n * A * B; i++)
        assert_true(out[i] == x[i / B] * y[i % B]);
    free(x), free(y), free(out);
}

static void map_with_another_dim_each_time_is_right(void **state)
{
    (void)state;
    for (size_t d = 1; d < 40; d += 13) {
        size_t n = 777;
        double *x = numbers(n * d, 1), *y = numbers(d, 2), *out = numbers(n, 0);
        mamuto_call_t call = {
            .function = "dot_chunk", .args = { mamuto_scatter(x, n), mamuto_broadcast(y) }, .dims = { d }, .result = out
        };
        must_map(m, &call);
        for (size_t i = 0; i < n; i++) {
            double sum = 0;
            for (size_t k = 0; k < d; k++)
                sum += x[i * d + k] * y[k];
            assert_true(out[i] == sum);
        }
        free(x), free(y), free(out);
    }
}

static void map_of_odd_sizes_is_right(void **state)
{
    (void)state;
    enum { N = 30011 };
    static uint8_t a[N][3], out[N][5];
    static int16_t b[N];
    for (int i = 0; i < N; i++) {
        memset(a[i], i & 127, 3);
        b[i] = (int16_t)i;
    }
    mamuto_call_t call = { .function = "odd", .args = { mamuto_scatter(a, N), mamuto_scatter(b, N) }, .result = out };
    must_map(m, &call);
    for (int i = 0; i < N; i++) {
        assert_int_equal(out[i][2], (i & 127) + 1);
        assert_memory_equal(&out[i][3], &b[i], 2);
    }
}

static void map_with_eight_arguments_is_right(void **state)
{
    (void)state;
    enum { N = 1000 };
    static int32_t a[N];
    static int64_t out[N];
    int32_t one = 10;
    mamuto_call_t call = { .function = "eight", .result = out };
    for (int i = 0; i < N; i++)
        a[i] = i;
    for (int k = 0; k < 8; k++)
        call.args[k] = k % 2 ? mamuto_broadcast(&one) : mamuto_scatter(a, N);
    must_map(m, &call);
    for (int i = 0; i < N; i++)
        assert_int_equal(out[i], i * (1 + 3 + 5 + 7) + 10 * (2 + 4 + 6 + 8));
}

static void map_of_a_large_broadcast_is_right(void **state)
{
    (void)state;
    enum { D = 100000, N = 50 }; /* larger than what fits on the board */
    double *x = numbers(D, 1), *out = numbers(N, 0), sum = 0;
    for (int k = 0; k < D; k++)
        sum += x[k] * x[k];
    mamuto_call_t call = { .function = "dot_chunk",
                           .args = { mamuto_broadcast(x), mamuto_broadcast(x) },
                           .dims = { D },
                           .count = N,
                           .result = out };
    must_map(m, &call);
    for (int i = 0; i < N; i++)
        assert_true(out[i] == sum);
    free(x), free(out);
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

enum { PAGES = 300 };

static int page_file(void)
{
    static uint8_t page[4096];
    const char *path = e2e_path("pages");
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    for (int i = 0; i < PAGES; i++) {
        memset(page, i & 255, sizeof page);
        assert_int_equal(fwrite(page, 1, sizeof page, file), sizeof page);
    }
    assert_int_equal(fclose(file), 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void map_of_an_attached_file_is_right(void **state)
{
    (void)state;
    int fd = page_file();
    static uint64_t out[PAGES];
    mamuto_error_t err = { 0 };
    const void *p = NULL, *rest = NULL;
    assert_int_equal(mamuto_attach(m, fd, 0, PAGES * 4096, &p, &err), 0);
    assert_int_equal(mamuto_attach(m, fd, 4096 * 100, (PAGES - 100) * 4096, &rest, &err), 0);
    close(fd);
    mamuto_call_t call = { .function = "sum_page", .args = { mamuto_scatter(p, PAGES) }, .result = out };
    for (int help = 0; help < 2; help++) {
        memset(out, 0, sizeof out);
        call.help = help;
        must_map(m, &call);
        for (int i = 0; i < PAGES; i++)
            assert_int_equal(out[i], (i & 255) * 4096);
    }
    call.args[0] = mamuto_scatter(rest, PAGES - 100);
    must_map(m, &call);
    assert_int_equal(out[0], 100 * 4096);
    assert_int_equal(mamuto_free(m, (void *)(uintptr_t)p), 0);
    must_map(m, &call); /* the other one is still there */
    assert_int_equal(mamuto_free(m, (void *)(uintptr_t)rest), 0);
    assert_int_equal(mamuto_free(m, (void *)(uintptr_t)rest), MAMUTO_EINVAL);
}

static void map_after_many_attached_files_is_right(void **state)
{
    (void)state;
    int fd = page_file();
    uint64_t out[3];
    for (int i = 0; i < 100; i++) { /* more than there may be at once */
        const void *p = NULL;
        mamuto_error_t err = { 0 };
        if (mamuto_attach(m, fd, i * 4096, 3 * 4096, &p, &err) != 0)
            fail_msg("%s", err.text);
        mamuto_call_t call = { .function = "sum_page", .args = { mamuto_scatter(p, 3) }, .result = out };
        must_map(m, &call);
        assert_int_equal(out[2], ((i + 2) & 255) * 4096);
        assert_int_equal(mamuto_free(m, (void *)(uintptr_t)p), 0);
    }
    close(fd);
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static void alloc_gives_aligned_arrays_again_and_again(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    for (int round = 0; round < 50; round++) {
        size_t bytes = (size_t)1 << (round % 20);
        char *p = mamuto_alloc(m, bytes, 1, &err), *q = mamuto_alloc(m, bytes, 1, &err);
        assert_non_null(p);
        assert_non_null(q);
        assert_int_equal((uintptr_t)p % 64 | (uintptr_t)q % 64, 0);
        memset(p, 0xff, bytes);
        memset(q, 0x11, bytes);
        assert_int_equal(p[0], (char)0xff);
        assert_int_equal(p[bytes - 1], (char)0xff);
        assert_int_equal(mamuto_free(m, p) | mamuto_free(m, q), 0);
        assert_int_equal(mamuto_free(m, p), MAMUTO_EINVAL);
    }
}

/* ---- Mappers ----------------------------------------------------------------------------------------------------- */

static void map_with_one_worker_is_right(void **state)
{
    (void)state;
    mamuto_t *one = e2e_open(1, E2E_MODULE("basic"));
    for (int i = 0; i < N_LENGTHS; i++)
        add_private(one, "add", lengths[i], i % 2);
    e2e_close(one);
}

static void map_with_more_workers_than_cores_is_right(void **state)
{
    (void)state;
    mamuto_t *eight = e2e_open(8, E2E_MODULE("basic"));
    for (int i = 0; i < N_LENGTHS; i++)
        add_private(eight, i % 2 ? "add" : "add_chunk", lengths[i], 0);
    e2e_close(eight);
}

static void open_without_options_uses_all_cores(void **state)
{
    (void)state;
    mamuto_t *all = NULL;
    mamuto_error_t err = { 0 };
    assert_int_equal(mamuto_open_wait(&all, NULL, &err), 0);
    assert_int_equal(mamuto_load_wait(all, E2E_MODULE("basic"), &err), 0);
    add_private(all, "add", 5000, 0);
    e2e_close(all);
}

static void several_mappers_do_not_disturb_each_other(void **state)
{
    (void)state;
    mamuto_t *more[4];
    for (int i = 0; i < 4; i++)
        more[i] = e2e_open(1 + i, E2E_MODULE("basic"));
    for (int round = 0; round < 5; round++)
        for (int i = 0; i < 4; i++)
            add_private(more[i], "add", 10007, round % 2);
    for (int i = 3; i >= 0; i--) {
        e2e_close(more[i]);
        add_private(m, "add", 100, 0);
    }
}

static void *map_in_a_thread(void *wrong_)
{
    int *wrong = wrong_;
    mamuto_t *own = NULL;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 2}}",
                                 .modules = (const char *[]){ E2E_MODULE("basic"), NULL } };
    enum { N = 20011 };
    double *a = malloc(N * sizeof *a), *out = malloc(N * sizeof *out);
    for (int i = 0; i < N; i++)
        a[i] = i;
    *wrong = mamuto_open_wait(&own, &options, &err) != 0;
    for (int round = 0; round < 50 && !*wrong; round++) {
        memset(out, 0, N * sizeof *out);
        mamuto_call_t call = {
            .function = "add", .args = { mamuto_scatter(a, N), mamuto_scatter(a, N) }, .result = out, .help = round % 2
        };
        *wrong += mamuto_map_wait(own, &call, &err) != 0;
        for (int i = 0; i < N; i++)
            *wrong += out[i] != a[i] + a[i];
    }
    if (!*wrong)
        *wrong = mamuto_close_wait(own);
    free(a), free(out);
    return NULL;
}

static void two_mappers_in_two_threads_are_right(void **state)
{
    (void)state;
    pthread_t threads[2];
    int wrong[2] = { 0 };
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, map_in_a_thread, &wrong[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(wrong[0], 0);
    assert_int_equal(wrong[1], 0);
}

static size_t heap_in_use(void)
{
    return e2e_is_sanitized() ? 0 : mallinfo2().uordblks; /* leaks are its business there */
}

static void one_life(int i)
{
    mamuto_t *one = e2e_open(1 + i % 3, E2E_MODULE("basic"));
    mamuto_error_t err = { 0 };
    add_private(one, "add", 1000, i % 2);
    double *p = mamuto_alloc(one, 100000, sizeof *p, &err); /* not freed: close does */
    assert_non_null(p);
    p[99999] = 1;
    e2e_close(one);
}

static void many_mappers_in_turn_leave_nothing_behind(void **state)
{
    (void)state;
    one_life(0); /* what libraries keep for ever, they have now */
    one_life(1);
    int files = e2e_files("/dev/shm");
    struct e2e_held before = e2e_hold();
    size_t heap = heap_in_use();
    for (int i = 0; i < 60; i++)
        one_life(i);
    e2e_holds_as(&before);
    assert_true(heap_in_use() <= heap + 4096);
    assert_true(e2e_files("/dev/shm") <= files);
}

static void functions_are_described(void **state)
{
    (void)state;
    mamuto_function_t info;
    mamuto_error_t err = { 0 };
    assert_int_equal(mamuto_function(m, "outer", &info, &err), 0);
    assert_string_equal(info.name, "outer");
    assert_string_equal(info.module, "basic");
    assert_string_equal(info.signature, "f8[a], f8[b] -> f8[a, b]");
    assert_null(info.doc);
    assert_int_equal(info.n_in, 2);
    assert_int_equal(info.n_dims, 2);
    assert_string_equal(info.dims[1], "b");
    assert_int_equal(info.form, MAMUTO_FORM_ITEM);
    assert_int_equal(mamuto_function(m, "basic.add", &info, &err), 0);
    assert_string_equal(info.doc, "the sum of two numbers");
    assert_int_equal(mamuto_function(m, "basic.add_chunk", &info, &err), 0);
    assert_int_equal(info.form, MAMUTO_FORM_CHUNK);
}

static void function_named_as_one_of_libc_is_the_modules(void **state)
{
    (void)state;
    double in = 5, out = 0;
    mamuto_call_t call = { .function = "basic.exp", .args = { mamuto_scatter(&in, 1) }, .result = &out };
    must_map(m, &call);
    assert_true(out == 2.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_of_every_length_is_right_in_item_form),
        cmocka_unit_test(map_of_every_length_is_right_in_chunk_form),
        cmocka_unit_test(map_with_help_is_right),
        cmocka_unit_test(map_of_shared_arrays_is_right),
        cmocka_unit_test(map_of_mixed_arrays_is_right),
        cmocka_unit_test(map_of_part_of_a_shared_array_is_right),
        cmocka_unit_test(map_scales_by_a_broadcast_value),
        cmocka_unit_test(map_of_broadcast_alone_takes_its_count),
        cmocka_unit_test(map_without_inputs_takes_its_count),
        cmocka_unit_test(map_with_equal_count_is_right),
        cmocka_unit_test(map_with_named_dims_is_right),
        cmocka_unit_test(map_with_another_dim_each_time_is_right),
        cmocka_unit_test(map_of_odd_sizes_is_right),
        cmocka_unit_test(map_with_eight_arguments_is_right),
        cmocka_unit_test(map_of_a_large_broadcast_is_right),
        cmocka_unit_test(map_of_an_attached_file_is_right),
        cmocka_unit_test(map_after_many_attached_files_is_right),
        cmocka_unit_test(alloc_gives_aligned_arrays_again_and_again),
        cmocka_unit_test(map_with_one_worker_is_right),
        cmocka_unit_test(map_with_more_workers_than_cores_is_right),
        cmocka_unit_test(open_without_options_uses_all_cores),
        cmocka_unit_test(several_mappers_do_not_disturb_each_other),
        cmocka_unit_test(two_mappers_in_two_threads_are_right),
        cmocka_unit_test(many_mappers_in_turn_leave_nothing_behind),
        cmocka_unit_test(functions_are_described),
        cmocka_unit_test(function_named_as_one_of_libc_is_the_modules),
    };
    return cmocka_run_group_tests_name("e2e_map", tests, set_up, tear_down);
}
