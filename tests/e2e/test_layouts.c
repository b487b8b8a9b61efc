/* Arrays of every layout, in every place, give what a serial loop gives: strides positive, negative, 0, smaller than an
 * item and larger than a page; in the arena, in an attached file, in ordinary memory, and copied where the kernel denies
 * process_vm_readv. Ordinary arrays end at a page that nobody may touch; what lies between results stays as it was.
 * The same tests run twice in one process, the second time behind a seccomp filter. MAMUTO_SEED replays a run. */
#include "tests/support/e2e.h"
#include "tests/support/private.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/e2e/modules/layouts.h"

enum place { ARENA, ATTACHED, PRIVATE };
enum { ROUNDS = 120, GAP_BYTE = 0xA5, MOST_BYTES = 24 << 20 };

static bool denied;
static mamuto_t *m;
static uint64_t state_of_random;

static uint64_t below(uint64_t n)
{
    state_of_random = state_of_random * 6364136223846793005u + 1442695040888963407u;
    return (state_of_random >> 33) % n;
}

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    m = e2e_open(2, E2E_MODULE("layouts"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_close(m);
    e2e_scratch_end();
    return 0;
}

/* ---- Arrays ------------------------------------------------------------------------------------------------------- */

struct array {
    enum place place;
    size_t n, size, bytes; /* bytes: all of them, from the lowest on */
    ptrdiff_t stride;
    char *low, *item; /* item 0 */
    const void *mapped;
};

static size_t absolute(ptrdiff_t stride) { return (size_t)(stride < 0 ? -stride : stride); }

static void fill(char *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        p[i] = (char)below(256);
}

static char *attach(struct array *array)
{
    mamuto_error_t err = { 0 };
    int fd = memfd_create("layouts", MFD_CLOEXEC);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)array->bytes) == 0);
    char *p = mmap(NULL, array->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(p != MAP_FAILED);
    fill(p, array->bytes);
    munmap(p, array->bytes);
    if (mamuto_attach(m, fd, 0, array->bytes, &array->mapped, &err) != 0)
        fail_msg("%s", err.text);
    close(fd);
    union {
        const void *read;
        char *at;
    } u = { array->mapped };
    return u.at;
}

/* n items of size bytes, stride apart, of random bytes. */
static void make(struct array *array, enum place place, size_t n, size_t size, ptrdiff_t stride)
{
    mamuto_error_t err = { 0 };
    size_t reach = (n - 1) * absolute(stride);
    *array = (struct array){ .place = place, .n = n, .size = size, .bytes = reach + size, .stride = stride };
    if (place == ATTACHED)
        array->low = attach(array);
    else if (place == ARENA)
        array->low = mamuto_alloc(m, array->bytes, 1, &err);
    else
        array->low = private_array(array->bytes);
    assert_non_null(array->low);
    if (place != ATTACHED)
        fill(array->low, array->bytes);
    array->item = array->low + (stride < 0 ? reach : 0);
}

static void unmake(struct array *array)
{
    if (array->place == PRIVATE)
        private_free(array->low, array->bytes);
    else
        assert_int_equal(mamuto_free(m, array->low), 0);
}

static const void *at(const struct array *array, size_t i) { return array->item + (ptrdiff_t)i * array->stride; }

static void make_result(struct array *array, enum place place, size_t n, size_t size, ptrdiff_t stride)
{
    make(array, place, n, size, stride);
    memset(array->low, GAP_BYTE, array->bytes);
}

/* All bytes that are no item's are as they were. */
static void gaps_are_untouched(const struct array *array)
{
    char *copy = malloc(array->bytes), *item = copy + (array->item - array->low);
    assert_non_null(copy);
    memcpy(copy, array->low, array->bytes);
    for (size_t i = 0; i < array->n; i++)
        memset(item + (ptrdiff_t)i * array->stride, GAP_BYTE, array->size);
    for (size_t i = 0; i < array->bytes; i++)
        if ((unsigned char)copy[i] != GAP_BYTE)
            fail_msg("byte %zu of %zu, between results %td bytes apart, was written", i, array->bytes, array->stride);
    free(copy);
}

/* ---- Random maps -------------------------------------------------------------------------------------------------- */

struct shape {
    const char *function;
    int n_in;
    size_t in_size[3], in_align[3], out_size, out_align, dims[2];
};

static const struct shape shapes[] = {
    { "mix", 3, { 8, 12, 5 }, { 8, 4, 1 }, 8, 8, { 0 } },
    { "mix_kernel", 3, { 8, 12, 5 }, { 8, 4, 1 }, 8, 8, { 0 } },
    { "twice", 1, { 8 }, { 8 }, 8, 8, { 0 } },
    { "twice_kernel", 1, { 8 }, { 8 }, 8, 8, { 0 } },
    { "odd", 2, { 3, 2 }, { 1, 2 }, 7, 1, { 3, 7 } },
    { "big", 1, { LAYOUTS_BIG_IN }, { 1 }, LAYOUTS_BIG_OUT, 1, { 0 } },
    { "big_kernel", 1, { LAYOUTS_BIG_IN }, { 1 }, LAYOUTS_BIG_OUT, 1, { 0 } },
};

static void compute(const struct shape *shape, const struct array *in, size_t i, void *out)
{
    int64_t a, result;
    int32_t b[3];
    int16_t c;
    memcpy(&a, at(&in[0], i), shape->in_size[0] < 8 ? shape->in_size[0] : 8);
    if (shape->n_in == 3) {
        memcpy(b, at(&in[1], i), sizeof b);
        result = layouts_mix(a, b, at(&in[2], i));
        memcpy(out, &result, 8);
    } else if (shape->n_in == 2) {
        memcpy(&c, at(&in[1], i), 2);
        layouts_odd(at(&in[0], i), c, out);
    } else if (shape->out_size == 8) {
        result = layouts_double(a);
        memcpy(out, &result, 8);
    } else
        layouts_big(at(&in[0], i), out);
}

/* A stride for items of this size; at least of `least` bytes, unless it is 0. */
static ptrdiff_t random_stride(size_t size, size_t align, size_t least, size_t n)
{
    static const size_t gaps[] = { 1, 2, 7, 300, 3072, 3073, 4095, 4096, 4097, 20000 };
    size_t stride = size;
    switch (below(6)) {
    case 0:
        break;
    case 1:
        stride = least ? size : below(2) ? 0 : align;
        break;
    default:
        stride = size + gaps[below(sizeof gaps / sizeof *gaps)] / align * align;
    }
    if (n * stride > MOST_BYTES)
        stride = size;
    if (stride % align)
        stride += align - stride % align;
    return below(3) ? (ptrdiff_t)stride : -(ptrdiff_t)stride;
}

static mamuto_arg_t argument(const struct array *array)
{
    if (array->stride == (ptrdiff_t)array->size && below(2))
        return mamuto_scatter(array->item, array->n);
    return mamuto_scatter_strided(array->item, array->n, array->stride);
}

static void check_results(const struct shape *shape, const struct array *in, const struct array *out)
{
    static char right[LAYOUTS_BIG_OUT];
    for (size_t i = 0; i < out->n; i++) {
        compute(shape, in, i, right);
        if (memcmp(right, at(out, i), out->size) != 0)
            fail_msg("%s: item %zu of %zu is wrong (result %td apart, argument 0 %td apart)", shape->function, i,
                     out->n, out->stride, in[0].stride);
    }
    gaps_are_untouched(out);
}

static void map_randomly(const struct shape *shape)
{
    struct array in[3] = { 0 }, out;
    mamuto_error_t err = { 0 };
    size_t n = below(4) ? 1 + below(shape->out_size > 100 ? 300 : 5000) : 1 + below(5);
    mamuto_call_t call = { .function = shape->function, .help = below(4) == 0 };
    memcpy(call.dims, shape->dims, sizeof shape->dims);
    for (int k = 0; k < shape->n_in; k++) {
        size_t size = shape->in_size[k], align = shape->in_align[k];
        make(&in[k], (enum place)below(3), n, size, random_stride(size, align, 0, n));
        call.args[k] = argument(&in[k]);
    }
    ptrdiff_t stride = random_stride(shape->out_size, shape->out_align, shape->out_size, n);
    make_result(&out, below(2) ? ARENA : PRIVATE, n, shape->out_size, stride);
    call.result = out.item;
    call.result_stride = stride == (ptrdiff_t)shape->out_size && below(2) ? 0 : stride;
    if (mamuto_map_wait(m, &call, &err) != 0)
        fail_msg("%s of %zu items (result %td apart, argument 0 %td apart in place %d): %s", shape->function, n, stride,
                 in[0].stride, (int)in[0].place, err.text);
    check_results(shape, in, &out);
    for (int k = 0; k < shape->n_in; k++)
        unmake(&in[k]);
    unmake(&out);
}

static void map_of_random_layouts_equals_the_serial_loop(void **state)
{
    (void)state;
    const char *given = getenv("MAMUTO_SEED");
    state_of_random = given ? strtoull(given, NULL, 0) : (uint64_t)getpid() * 2654435761u + denied;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", state_of_random);
    for (int i = 0; i < ROUNDS; i++)
        map_randomly(&shapes[below(sizeof shapes / sizeof *shapes)]);
}

/* ---- A struct's fields -------------------------------------------------------------------------------------------- */

struct record {
    int64_t x, twice;
};

/* Results between the arguments, in one array of structs: no byte is shared. */
static void map_from_field_to_field_is_right(void **state)
{
    (void)state;
    enum { N = 3000 };
    static const enum place places[] = { ARENA, PRIVATE };
    for (int i = 0; i < 2; i++) {
        struct array array;
        mamuto_error_t err = { 0 };
        make(&array, places[i], N, sizeof(struct record), sizeof(struct record));
        struct record *records = (struct record *)(void *)array.item;
        for (size_t k = 0; k < N; k++)
            records[k] = (struct record){ (int64_t)k, -1 };
        mamuto_call_t call = { .function = "twice",
                               .args = { mamuto_scatter_strided(&records[0].x, N, sizeof *records) },
                               .result = &records[0].twice,
                               .result_stride = sizeof *records };
        if (mamuto_map_wait(m, &call, &err) != 0)
            fail_msg("%s", err.text);
        for (size_t k = 0; k < N; k++)
            assert_true(records[k].x == (int64_t)k && records[k].twice == layouts_double((int64_t)k));
        call.result = &records[0].x;
        e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EOVERLAP, "the result overlaps argument 0");
        unmake(&array);
    }
}

/* ---- Reductions, and what is kept ------------------------------------------------------------------------------------ */

/* Of the items themselves, of their results, and with the results stored, in every place and layout. */
static void reductions_are_right(void **state)
{
    (void)state;
    static const ptrdiff_t strides[] = { 8, 0, 64, -8, -24, 4096 };
    for (int i = 0; i < 54; i++) {
        struct array in, out;
        mamuto_error_t err = { 0 };
        size_t n = strides[i % 6] == 4096 ? 3000 : 30000;
        int64_t sum = 0;
        uint64_t right = 0;
        make(&in, (enum place)(i / 6 % 3), n, 8, strides[i % 6]);
        make_result(&out, i % 2 ? PRIVATE : ARENA, n, 8, i % 4 < 2 ? 8 : -40);
        mamuto_call_t call = { .function = i < 18 ? NULL : "twice",
                               .fold = "add",
                               .args = { mamuto_scatter_strided(in.item, n, in.stride) },
                               .value = &sum };
        if (i >= 36) {
            call.result = out.item;
            call.result_stride = out.stride;
        }
        if (mamuto_reduce_wait(m, &call, &err) != 0)
            fail_msg("%d: %s", i, err.text);
        for (size_t k = 0; k < n; k++) {
            int64_t x;
            memcpy(&x, at(&in, k), 8);
            right += (uint64_t)(i < 18 ? x : layouts_double(x));
        }
        if ((uint64_t)sum != right)
            fail_msg("%d: items %td apart in place %d are reduced wrongly", i, in.stride, (int)in.place);
        if (i >= 36)
            check_results(&shapes[2], &in, &out);
        unmake(&in);
        unmake(&out);
    }
}

static void kept_arrays_of_every_stride_are_mapped_right(void **state)
{
    (void)state;
    static const ptrdiff_t strides[] = { 8, 0, 64, -8, -24, 5000 };
    for (int i = 0; i < 18; i++) {
        struct array in, out;
        mamuto_error_t err = { 0 };
        mamuto_kept_t *kept = NULL;
        make(&in, (enum place)(i / 6), 2000, 8, strides[i % 6]);
        make_result(&out, PRIVATE, 2000, 8, 8);
        mamuto_keep_t keep = { .type = "i8", .arg = mamuto_scatter_strided(in.item, in.n, in.stride) };
        if (mamuto_keep_wait(m, &keep, &kept, &err) != 0)
            fail_msg("%s", err.text);
        mamuto_call_t call = { .function = "twice", .args = { mamuto_resident(kept) }, .result = out.item };
        if (mamuto_map_wait(m, &call, &err) != 0)
            fail_msg("%s", err.text);
        check_results(&shapes[2], &in, &out);
        assert_int_equal(mamuto_forget(kept), 0);
        unmake(&in);
        unmake(&out);
    }
}

/* ---- Failures ----------------------------------------------------------------------------------------------------- */

struct faults {
    struct array x, what, out;
    mamuto_call_t call;
};

static void make_faults(struct faults *f, const char *function, enum place place, size_t n, ptrdiff_t stride)
{
    make(&f->x, place, n, 8, 24);
    make(&f->what, place, n, 8, -8);
    make_result(&f->out, place, n, 16, stride);
    for (size_t i = 0; i < n; i++) {
        *(int64_t *)(void *)(f->x.item + 24 * i) = (int64_t)i;
        *(int64_t *)(void *)(f->what.item - 8 * i) = LAYOUTS_FINE;
    }
    f->call = (mamuto_call_t){ .function = function,
                               .args = { mamuto_scatter_strided(f->x.item, n, 24),
                                         mamuto_scatter_strided(f->what.item, n, -8) },
                               .result = f->out.item,
                               .result_stride = stride,
                               .on_error = MAMUTO_ON_ERROR_SKIP };
}

static void set_what(struct faults *f, size_t item, int64_t what)
{
    *(int64_t *)(void *)(f->what.item - 8 * item) = what;
}

static void check_faults(const struct faults *f)
{
    for (size_t i = 0; i < f->out.n; i++) {
        int64_t what, out[2], right[2] = { 0, 0 };
        memcpy(&what, at(&f->what, i), 8);
        memcpy(out, at(&f->out, i), 16);
        if (what != LAYOUTS_FAILS && what != LAYOUTS_CRASHES) {
            right[0] = (int64_t)i;
            right[1] = layouts_double((int64_t)i);
        }
        if (memcmp(out, right, 16) != 0)
            fail_msg("%s: item %zu is { %" PRId64 ", %" PRId64 " }", f->call.function, i, out[0], out[1]);
    }
    gaps_are_untouched(&f->out);
}

static void unmake_faults(struct faults *f)
{
    unmake(&f->x);
    unmake(&f->what);
    unmake(&f->out);
}

static void each_fault_layout(void (*test)(struct faults *f))
{
    static const char *const functions[] = { "faulty", "faulty_kernel" };
    static const ptrdiff_t strides[] = { 16, 40, -40, 5000 };
    for (int k = 0; k < 16; k++) {
        struct faults f;
        make_faults(&f, functions[k & 1], k & 2 ? ARENA : PRIVATE, 700, strides[k >> 2]);
        test(&f);
        unmake_faults(&f);
        unlink(e2e_path("killed"));
    }
}

static void fail_some(struct faults *f)
{
    mamuto_error_t err = { 0 };
    static const size_t failing[] = { 0, 13, 14, 350, 699 };
    for (size_t i = 0; i < 5; i++)
        set_what(f, failing[i], LAYOUTS_FAILS);
    e2e_is_error(mamuto_map_wait(m, &f->call, &err), &err, MAMUTO_EITEM, "5 of 700 items failed");
    check_faults(f);
}

static void skipped_items_are_zeroed_and_nothing_else(void **state)
{
    (void)state;
    each_fault_layout(fail_some);
}

static void crash(struct faults *f)
{
    mamuto_error_t err = { 0 };
    set_what(f, 311, LAYOUTS_CRASHES);
    set_what(f, 312, LAYOUTS_FAILS);
    e2e_is_error(mamuto_map_wait(m, &f->call, &err), &err, MAMUTO_EITEM, "2 of 700 items failed");
    assert_int_equal(err.item, 311);
    check_faults(f);
}

static void crash_zeroes_its_item_and_nothing_else(void **state)
{
    (void)state;
    each_fault_layout(crash);
}

static void be_killed(struct faults *f)
{
    mamuto_error_t err = { 0 };
    set_what(f, 400, LAYOUTS_IS_KILLED);
    if (mamuto_map_wait(m, &f->call, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(access(e2e_path("killed"), F_OK), 0);
    check_faults(f);
}

static void killed_worker_costs_nothing(void **state)
{
    (void)state;
    each_fault_layout(be_killed);
}

/* An array that ends one item too early, upwards or downwards: the argument is named. */
static void array_that_ends_too_early_is_named(void **state)
{
    (void)state;
    static const ptrdiff_t strides[] = { 8, 24, -24, 5000, -5000 };
    enum { N = 1000, GUARD = 65536, ROOM = (N * 5000 / 4096 + 1) * 4096 };
    char *whole = mmap(NULL, ROOM + 2 * GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(whole != MAP_FAILED);
    assert_int_equal(mprotect(whole, GUARD, PROT_NONE), 0);
    assert_int_equal(mprotect(whole + GUARD + ROOM, GUARD, PROT_NONE), 0);
    for (int i = 0; i < 5; i++) {
        mamuto_error_t err = { 0 };
        size_t reach = (N - 1) * absolute(strides[i]);
        char *first = whole + GUARD + (strides[i] < 0 ? reach : ROOM - reach - 8), *out = private_array((N + 1) * 8);
        mamuto_call_t call = { .function = "twice",
                               .args = { mamuto_scatter_strided(first, N, strides[i]) },
                               .result = out };
        if (mamuto_map_wait(m, &call, &err) != 0)
            fail_msg("%s", err.text);
        call.args[0].count = N + 1;
        e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EARGS, "argument 0 is not readable");
        private_free(out, (N + 1) * 8);
    }
    munmap(whole, ROOM + 2 * GUARD);
}

/* More items at once than one system call takes. */
static void large_map_of_sparse_private_arrays_is_right(void **state)
{
    (void)state;
    struct array in, out;
    mamuto_error_t err = { 0 };
    make(&in, PRIVATE, 5000, 8, 4000);
    make_result(&out, PRIVATE, 5000, 8, -4800);
    mamuto_call_t call = { .function = "twice",
                           .args = { mamuto_scatter_strided(in.item, in.n, in.stride) },
                           .result = out.item,
                           .result_stride = out.stride };
    for (int i = 0; i < 3; i++) {
        if (mamuto_map_wait(m, &call, &err) != 0)
            fail_msg("%s", err.text);
        check_results(&shapes[2], &in, &out);
    }
    unmake(&in);
    unmake(&out);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(map_of_random_layouts_equals_the_serial_loop),
        TEST(map_from_field_to_field_is_right),
        TEST(skipped_items_are_zeroed_and_nothing_else),
        TEST(crash_zeroes_its_item_and_nothing_else),
        TEST(reductions_are_right),
        TEST(kept_arrays_of_every_stride_are_mapped_right),
        TEST(killed_worker_costs_nothing),
        TEST(array_that_ends_too_early_is_named),
        TEST(large_map_of_sparse_private_arrays_is_right),
    };
    int failed = cmocka_run_group_tests_name("layouts", tests, NULL, NULL);
    private_deny();
    denied = true;
    return failed + cmocka_run_group_tests_name("layouts_denied", tests, NULL, NULL);
}
