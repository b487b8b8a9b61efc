/* mamuto_reduce: the value is that of a serial reference, bit for bit, for lengths around every boundary, any number
 * of workers, both forms of functions and folds, all kinds of arrays, and values from 4 bytes to 100,000. The tests run
 * twice: as it is, and where the kernel denies process_vm_readv. */
#include "tests/e2e/modules/reduce.h"
#include "tests/support/e2e.h"
#include "tests/support/private.h"
#include "tests/support/reference.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 1000000, DIM = 5 };

struct kind {
    const char *name;
    size_t size;
    void (*make)(uint64_t x, void *out);
    reference_fold *fold;
};

#define KIND(name_, E, n_)                                                                                             \
    static void ref_make_##name_(uint64_t x, void *out) { make_##name_(x, (E *)out); }                                 \
    static void ref_fold_##name_(const void *a, const void *b, void *out, size_t dim)                                  \
    {                                                                                                                  \
        (void)dim;                                                                                                     \
        fold_##name_((const E *)a, (const E *)b, (E *)out);                                                            \
    }                                                                                                                  \
    static const struct kind kind_##name_ = { #name_, (n_) * sizeof(E), ref_make_##name_, ref_fold_##name_ };

KIND(f8, double, 1)
KIND(f4, float, 1)
KIND(i8, int64_t, 1)
KIND(c16, double, 2)
KIND(f8x3, double, 3)
KIND(large, uint8_t, LARGE)

static void ref_make_dim(uint64_t x, void *out) { make_dim(x, out, DIM); }
static void ref_fold_dim(const void *a, const void *b, void *out, size_t dim) { fold_dim(a, b, out, dim); }
static const struct kind kind_dim = { "dim", DIM * sizeof(double), ref_make_dim, ref_fold_dim };

/* Where the items are, how they are computed and folded. */
struct way {
    bool shared, keep, help; /* arrays of mamuto_alloc; call.result is set; call.help */
    bool folded;             /* no function: the items themselves */
    const char *item, *fold; /* "item_" or "chunk_"; "fold_" or "fold_chunk_" */
};

static uint64_t x[MOST], seed;

static uint64_t draw(void)
{
    static uint64_t state;
    state = state ? state : seed;
    state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = (state ^ state >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb) >> 3;
}

/* Zeroed, since valgrind does not see what workers write. */
static void *array(mamuto_t *m, bool shared, size_t n, size_t size)
{
    mamuto_error_t err = { 0 };
    void *p = shared ? mamuto_alloc(m, n, size, &err) : calloc(n, size);
    if (!p)
        fail_msg("%zu x %zu bytes: %s", n, size, err.text);
    return p;
}

static void free_array(mamuto_t *m, bool shared, void *p)
{
    if (shared)
        assert_int_equal(mamuto_free(m, p), 0);
    else
        free(p);
}

/* What comes out of items, in the reference and by the mapper. */
static void compare(mamuto_t *m, const struct kind *kind, const struct way *way, size_t n, const void *in,
                    const char *items)
{
    char function[40], fold[40], *expected = malloc(kind->size), *value = calloc(1, kind->size);
    struct reference reference = { .size = kind->size, .dim = DIM, .fold = kind->fold };
    assert_true(reference_reduce(&reference, items, n, expected));
    snprintf(function, sizeof function, "reduce.%s%s", way->item, kind->name);
    snprintf(fold, sizeof fold, "reduce.%s%s", way->fold, kind->name);
    void *kept = way->keep ? array(m, way->shared, n, kind->size) : NULL;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = way->folded ? NULL : function,
                           .args = { mamuto_scatter(in, n) },
                           .dims = { kind == &kind_dim ? DIM : 0 },
                           .fold = fold,
                           .value = value,
                           .result = kept,
                           .help = way->help };
    memset(value, 0xa5, kind->size);
    if (mamuto_reduce_wait(m, &call, &err) != 0)
        fail_msg("%s, %s, n = %zu: %s", call.function, fold, n, err.text);
    if (memcmp(value, expected, kind->size) != 0)
        fail_msg("%s, %s, n = %zu, shared %d, result %d, help %d: the value is wrong; MAMUTO_SEED=%" PRIu64,
                 call.function, fold, n, way->shared, way->keep, way->help, seed);
    if (kept && memcmp(kept, items, n * kind->size) != 0)
        fail_msg("%s, %s, n = %zu: the result is wrong", call.function, fold, n);
    if (kept)
        free_array(m, way->shared, kept);
    free(expected);
    free(value);
}

static void reduce(mamuto_t *m, const struct kind *kind, const struct way *way, size_t n)
{
    char *items = malloc(n * kind->size), *in = array(m, way->shared, n, way->folded ? kind->size : sizeof *x);
    for (size_t i = 0; i < n; i++)
        kind->make(x[i], items + i * kind->size);
    if (way->folded)
        memcpy(in, items, n * kind->size);
    else
        memcpy(in, x, n * sizeof *x);
    compare(m, kind, way, n, in, items);
    free_array(m, way->shared, in);
    free(items);
}

static const size_t lengths[] = { 1,    2,    63,   64,   65,   127,  128,   129,   1000,  2047,  2048,  2049,
                                  4095, 4096, 4097, 8191, 8192, 8193, 16383, 16384, 16385, 65535, 65536, 65537 };
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

/* All ways but under valgrind, which is slow: there, some, among which each bit is both set and not. */
static unsigned ways_apart(void) { return getenv("MAMUTO_UNDER_VALGRIND") ? 7 : 1; }

static struct way way_of(unsigned bits)
{
    return (struct way){ .shared = bits & 1,
                         .keep = bits & 2,
                         .help = bits & 4,
                         .folded = bits & 8 && !(bits & 2),
                         .item = bits & 16 ? "chunk_" : "item_",
                         .fold = bits & 32 ? "fold_chunk_" : "fold_" };
}

static void all_lengths_and_ways(int workers)
{
    mamuto_t *m = e2e_open(workers, E2E_MODULE("reduce"));
    for (unsigned bits = 0; bits < 64; bits += ways_apart()) {
        struct way way = way_of(bits);
        for (size_t i = 0; i < N_LENGTHS; i++)
            if (i < 8 || (i + bits) % 3 == 0)
                reduce(m, i % 2 ? &kind_f8 : &kind_i8, &way, lengths[i]);
    }
    e2e_close(m);
}

static void value_is_right_by_one_worker(void **state)
{
    (void)state;
    all_lengths_and_ways(1);
}
static void value_is_right_by_two_workers(void **state)
{
    (void)state;
    all_lengths_and_ways(2);
}
static void value_is_right_by_three_workers(void **state)
{
    (void)state;
    all_lengths_and_ways(3);
}
static void value_is_right_by_seven_workers(void **state)
{
    (void)state;
    all_lengths_and_ways(7);
}

static void value_of_any_type_is_right(void **state)
{
    (void)state;
    static const struct kind *const kinds[] = { &kind_f4, &kind_c16, &kind_f8x3, &kind_dim };
    for (int workers = 1; workers <= 3; workers += 2) {
        mamuto_t *m = e2e_open(workers, E2E_MODULE("reduce"));
        for (unsigned bits = 0; bits < 64; bits += ways_apart()) {
            struct way way = way_of(bits);
            for (size_t i = 0; i < N_LENGTHS; i++)
                if (i % 8 == bits % 8)
                    for (size_t k = 0; k < 4; k++)
                        reduce(m, kinds[k], &way, lengths[i]);
        }
        e2e_close(m);
    }
}

static void large_values_are_right(void **state)
{
    (void)state;
    mamuto_t *m = e2e_open(2, E2E_MODULE("reduce"));
    static const size_t few[] = { 1, 2, 63, 64, 65, 129, 200 };
    for (unsigned bits = 0; bits < 64; bits += ways_apart()) {
        struct way way = way_of(bits);
        reduce(m, &kind_large, &way, few[bits % 7]);
    }
    e2e_close(m);
    m = e2e_open(1, E2E_MODULE("reduce")); /* mapped and folded at once */
    struct way way = way_of(0);
    reduce(m, &kind_large, &way, 1100);
    e2e_close(m);
}

static void value_of_any_length_is_right(void **state)
{
    (void)state;
    mamuto_t *m = e2e_open(3, E2E_MODULE("reduce"));
    for (unsigned i = 0; i < 150; i++) {
        struct way way = way_of((unsigned)draw());
        reduce(m, draw() % 2 ? &kind_f8 : &kind_f8x3, &way, 1 + draw() % (UINT64_C(1) << (4 + i % 14)));
    }
    e2e_close(m);
}

static void value_of_many_items_is_right(void **state)
{
    (void)state;
    for (int workers = 1; workers <= 7; workers += 3) {
        mamuto_t *m = e2e_open(workers, E2E_MODULE("reduce"));
        for (unsigned bits = 0; bits < 64; bits += 7) {
            struct way way = way_of(bits);
            reduce(m, &kind_f8, &way, 100000);
            reduce(m, &kind_f4, &way, MOST - (bits & 1));
        }
        e2e_close(m);
    }
}

/* The value does not depend on what the compiler makes of the module. */
static void value_is_the_same_for_any_processor(void **state)
{
    (void)state;
    static const char config[] = "{\"hosts\": {\"localhost\": {\"cores\": 2, "
                                 "\"cflags\": [\"-O3\", \"-march=x86-64\", \"-ffp-contract=off\"]}}}";
    mamuto_error_t err = { 0 };
    mamuto_t *m = NULL;
    mamuto_options_t options = { .config_text = config, .modules = (const char *[]){ E2E_MODULE("reduce"), NULL } };
    if (mamuto_open_wait(&m, &options, &err) != 0)
        fail_msg("%s", err.text);
    for (unsigned bits = 0; bits < 64; bits += ways_apart()) {
        struct way way = way_of(bits);
        reduce(m, &kind_f8, &way, lengths[bits % N_LENGTHS]);
        reduce(m, &kind_f4, &way, 65537);
        reduce(m, &kind_dim, &way, 8193);
    }
    e2e_close(m);
}

static void broadcast_value_alone_is_folded_count_times(void **state)
{
    (void)state;
    mamuto_t *m = e2e_open(2, E2E_MODULE("reduce"));
    enum { N = 20001 };
    static uint64_t ones[N];
    uint64_t one = 12345, value = 0, expected = 0;
    struct reference reference = { .size = sizeof value, .fold = kind_i8.fold };
    for (int i = 0; i < N; i++)
        ones[i] = one;
    for (size_t n = 1; n <= N; n = n * 3 + 1) {
        mamuto_error_t err = { 0 };
        mamuto_call_t call = {
            .args = { mamuto_broadcast(&one) }, .count = n, .fold = "reduce.fold_u8", .value = &value
        };
        assert_true(reference_reduce(&reference, ones, n, &expected));
        if (mamuto_reduce_wait(m, &call, &err) != 0)
            fail_msg("n = %zu: %s", n, err.text);
        assert_true(value == expected);
    }
    e2e_close(m);
}

/* A column from its last item to its first, folded itself and through a function, with results that lie apart. */
static void strided_items_are_folded(void **state)
{
    (void)state;
    enum { N = 20001, COLUMNS = 3 };
    mamuto_t *m = e2e_open(2, E2E_MODULE("reduce"));
    for (int shared = 0; shared < 2; shared++)
        for (int how = 0; how < 3; how++) {
            uint64_t *table = array(m, shared, N * COLUMNS, sizeof *table), value = 0, expected = 0;
            uint64_t *out = array(m, shared, N * COLUMNS, sizeof *out), *items = malloc(N * sizeof *items);
            for (size_t i = 0; i < N * COLUMNS; i++) {
                table[i] = x[i];
                out[i] = 7;
            }
            for (size_t i = 0; i < N; i++)
                items[i] = table[(N - 1 - i) * COLUMNS + 1];
            struct reference reference = { .size = sizeof value, .fold = kind_i8.fold };
            assert_true(reference_reduce(&reference, items, N, &expected));
            ptrdiff_t stride = COLUMNS * sizeof *table;
            mamuto_error_t err = { 0 };
            mamuto_call_t call = { .function = how ? "reduce.same" : NULL,
                                   .args = { mamuto_scatter_strided(table + (N - 1) * COLUMNS + 1, N, -stride) },
                                   .result = how == 2 ? out : NULL,
                                   .result_stride = how == 2 ? stride : 0,
                                   .fold = "reduce.fold_u8",
                                   .value = &value };
            if (mamuto_reduce_wait(m, &call, &err) != 0)
                fail_msg("shared %d, way %d: %s", shared, how, err.text);
            if (value != expected)
                fail_msg("shared %d, way %d: the value is wrong", shared, how);
            for (size_t i = 0; how == 2 && i < N; i++)
                assert_true(out[i * COLUMNS] == items[i] && out[i * COLUMNS + 1] == 7);
            free_array(m, shared, table);
            free_array(m, shared, out);
            free(items);
        }
    e2e_close(m);
}

static void items_of_variable_length_are_reduced(void **state)
{
    (void)state;
    enum { LONGEST = 9 };
    mamuto_t *m = e2e_open(2, E2E_MODULE("reduce"));
    for (size_t n = 1; n < 60000; n = n * 9 + 1)
        for (int way = 0; way < 4; way++) {
            bool shared = way & 1;
            uint8_t *data = array(m, shared, n * LONGEST + 1, 1);
            int64_t *offsets = array(m, shared, n + 1, sizeof *offsets);
            uint64_t *items = malloc(n * sizeof *items), value = 0, expected = 0;
            offsets[0] = 0;
            for (size_t i = 0; i < n; i++) {
                uint64_t length = x[i] % (LONGEST + 1);
                offsets[i + 1] = offsets[i] + (int64_t)length;
                memset(data + offsets[i], (int)(x[i] >> 8 & 0xff), length);
                items[i] = length ? length * 256 + (x[i] >> 8 & 0xff) : 0;
            }
            struct reference reference = { .size = sizeof value, .fold = kind_i8.fold };
            assert_true(reference_reduce(&reference, items, n, &expected));
            mamuto_error_t err = { 0 };
            mamuto_call_t call = { .function = "reduce.last",
                                   .args = { mamuto_scatter_var(data, offsets, n) },
                                   .fold = "reduce.fold_u8",
                                   .value = &value,
                                   .help = way & 2 };
            if (mamuto_reduce_wait(m, &call, &err) != 0)
                fail_msg("n = %zu, way %d: %s", n, way, err.text);
            if (value != expected)
                fail_msg("n = %zu, way %d: the value is wrong", n, way);
            free_array(m, shared, data);
            free_array(m, shared, offsets);
            free(items);
        }
    e2e_close(m);
}

static void function_without_arguments_is_told_the_items_index(void **state)
{
    (void)state;
    mamuto_t *m = e2e_open(2, E2E_MODULE("reduce"));
    static uint64_t indices[70000];
    uint64_t value = 0, expected = 0;
    struct reference reference = { .size = sizeof value, .fold = kind_i8.fold };
    for (uint64_t i = 0; i < 70000; i++)
        indices[i] = i;
    for (size_t n = 1; n <= 70000; n = n * 5 + 2) {
        mamuto_error_t err = { 0 };
        mamuto_call_t call = {
            .function = "reduce.index", .count = n, .fold = "reduce.fold_u8", .value = &value, .help = n % 2
        };
        assert_true(reference_reduce(&reference, indices, n, &expected));
        if (mamuto_reduce_wait(m, &call, &err) != 0)
            fail_msg("n = %zu: %s", n, err.text);
        assert_true(value == expected);
    }
    e2e_close(m);
}

/* What the worker holds in memory of its own. */
static long anonymous_kb(void)
{
    pid_t pid = 0;
    char path[64], line[256];
    long kb = -1;
    assert_int_equal(e2e_workers(&pid, 1), 1);
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        (void)sscanf(line, "RssAnon: %ld", &kb);
    fclose(file);
    return kb;
}

/* Items of 64 KB: a worker fetched those of a whole group, or of 8,192 items, at once. */
static void large_private_items_are_fetched_in_pieces(void **state)
{
    (void)state;
    enum { N = 1500, PAGE = 65536 };
    mamuto_t *m = e2e_open(1, E2E_MODULE("reduce"));
    uint8_t *pages = calloc(N, PAGE);
    uint64_t value = 0, expected = 0, items[N];
    for (size_t i = 0; i < N; i++) {
        pages[i * PAGE] = (uint8_t)i;
        pages[i * PAGE + PAGE - 1] = (uint8_t)(i >> 8);
        items[i] = i;
    }
    struct reference reference = { .size = sizeof value, .fold = kind_i8.fold };
    assert_true(reference_reduce(&reference, items, N, &expected));
    long before = anonymous_kb();
    mamuto_error_t err = { 0 };
    mamuto_call_t call = {
        .function = "reduce.page", .args = { mamuto_scatter(pages, N) }, .fold = "reduce.fold_u8", .value = &value
    };
    if (mamuto_reduce_wait(m, &call, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(value == expected);
    if (!e2e_is_sanitized())
        assert_in_range(anonymous_kb() - before, 0, 2000);
    free(pages);
    e2e_close(m);
}

static int set_up(void **state)
{
    (void)state;
    const char *text = getenv("MAMUTO_SEED");
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    seed = seed ? seed : 1;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", seed);
    for (size_t i = 0; i < MOST; i++)
        x[i] = draw();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_is_right_by_one_worker),
        cmocka_unit_test(value_is_right_by_two_workers),
        cmocka_unit_test(value_is_right_by_three_workers),
        cmocka_unit_test(value_is_right_by_seven_workers),
        cmocka_unit_test(value_of_any_type_is_right),
        cmocka_unit_test(large_values_are_right),
        cmocka_unit_test(value_of_any_length_is_right),
        cmocka_unit_test(value_of_many_items_is_right),
        cmocka_unit_test(value_is_the_same_for_any_processor),
        cmocka_unit_test(broadcast_value_alone_is_folded_count_times),
        cmocka_unit_test(strided_items_are_folded),
        cmocka_unit_test(items_of_variable_length_are_reduced),
        cmocka_unit_test(function_without_arguments_is_told_the_items_index),
        cmocka_unit_test(large_private_items_are_fetched_in_pieces),
    };
    int failed = cmocka_run_group_tests_name("e2e_reduce", tests, set_up, NULL);
    private_deny();
    return failed + cmocka_run_group_tests_name("e2e_reduce_denied", tests, set_up, NULL);
}
