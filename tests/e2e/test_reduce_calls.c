/* Reductions as calls: bad input is named and nothing runs, none is left of a cancelled or closed one, many at once are
 * all right, and none leaves memory behind. */
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
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

enum { MOST = 300000, MANY = 200 };

static uint64_t in[MOST], seed, random_state;
static mamuto_t *m;

static uint64_t draw(void)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = (random_state ^ random_state >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb) >> 5;
}

static void fold_u8(const void *a, const void *b, void *out, size_t dim)
{
    (void)dim;
    *(uint64_t *)out = *(const uint64_t *)a * 31 + *(const uint64_t *)b;
}

static uint64_t expect(size_t n)
{
    struct reference reference = { .size = sizeof(uint64_t), .fold = fold_u8 };
    uint64_t value = 0;
    assert_true(reference_reduce(&reference, in, n, &value));
    return value;
}

static int begin(void **state)
{
    (void)state;
    e2e_scratch_begin();
    m = e2e_open(2, E2E_MODULE("reduce"));
    return 0;
}

static int end(void **state)
{
    (void)state;
    e2e_close(m);
    e2e_scratch_end();
    return 0;
}

/* Items folded themselves. */
static mamuto_call_t call_of(size_t n, uint64_t *value)
{
    return (mamuto_call_t){ .args = { mamuto_scatter(in, n) }, .fold = "reduce.fold_u8", .value = value };
}

static void good_reduce(void)
{
    uint64_t value = 0;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = call_of(5000, &value);
    if (mamuto_reduce_wait(m, &call, &err) != 0)
        fail_msg("a good reduction after the bad one: %s", err.text);
    assert_true(value == expect(5000));
}

/* ---- Bad input --------------------------------------------------------------------------------------------------- */

static mamuto_call_t good_call(uint64_t *value)
{
    return (mamuto_call_t){
        .function = "reduce.item_f8", .args = { mamuto_scatter(in, 10) }, .fold = "reduce.fold_f8", .value = value
    };
}

static void is_refused(mamuto_call_t call, int expected, const char *part)
{
    mamuto_error_t err = { 0 };
    mamuto_map_t *map = NULL;
    e2e_is_error(mamuto_reduce_wait(m, &call, &err), &err, expected, part);
    memset(&err, 0, sizeof err);
    e2e_is_error(mamuto_reduce(m, &call, &map, &err), &err, expected, part);
    assert_null(map);
}

#define REFUSED(code_, part_, ...)                                                                                     \
    do {                                                                                                               \
        mamuto_call_t call = good_call(value);                                                                         \
        __VA_ARGS__;                                                                                                   \
        is_refused(call, (code_), (part_));                                                                            \
    } while (0)

static void bad_input_is_named(void **state)
{
    (void)state;
    uint64_t value[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    double square[9];
    REFUSED(MAMUTO_EINVAL, "call.fold is NULL; it must name a function", call.fold = NULL);
    REFUSED(MAMUTO_EFUNCTION, "fold_f8", call.fold = "reduce.fold_f9");
    REFUSED(MAMUTO_EFUNCTION, "item_f8", call.function = "reduce.itm_f8");
    REFUSED(MAMUTO_ESIGNATURE, "is no fold", call.fold = "reduce.three");
    REFUSED(MAMUTO_ESIGNATURE, "is no fold", call.fold = "reduce.mixed");
    REFUSED(MAMUTO_ESIGNATURE, "is no fold", call.fold = "reduce.other_out");
    REFUSED(MAMUTO_ESIGNATURE, "is no fold", call.fold = "reduce.item_f8");
    REFUSED(MAMUTO_ESIGNATURE, "variable length", call.fold = "reduce.variable");
    REFUSED(MAMUTO_ESIGNATURE, "does not fold what", call.fold = "reduce.fold_f4");
    REFUSED(MAMUTO_ESIGNATURE, "does not fold what", call.fold = "reduce.fold_f8x3");
    REFUSED(MAMUTO_ESIGNATURE, "does not fold what", call.fold = "reduce.fold_dim");
    REFUSED(MAMUTO_ESIGNATURE, "does not fold what", call.fold = "reduce.fold_square"; call.function = "reduce.square";
            call.args[0] = mamuto_broadcast(square); call.args[1] = mamuto_broadcast(square); call.count = 5;
            call.dims[0] = 2; call.dims[1] = 3);
    REFUSED(MAMUTO_EARGS, "call.value is NULL", call.value = NULL);
    REFUSED(MAMUTO_EALIGN, "call.value is at an address that is no multiple of 8", call.value = (char *)value + 4);
    REFUSED(MAMUTO_EOVERLAP, "call.value overlaps argument 0", call.value = &in[9]);
    REFUSED(MAMUTO_EOVERLAP, "call.value overlaps argument 0", call.value = &in[0]);
    REFUSED(MAMUTO_EOVERLAP, "call.value overlaps the result", call.args[0].count = 5; call.result = value;
            call.value = &value[4]);
    REFUSED(MAMUTO_EOVERLAP, "the result overlaps argument 0", call.result = &in[3]);
    REFUSED(MAMUTO_EARGS, "argument 0 is NULL", call.args[0] = mamuto_scatter(NULL, 10));
    REFUSED(MAMUTO_EARGS, "it takes 1 argument", call.args[1] = mamuto_scatter(in, 10));
    REFUSED(MAMUTO_ELENGTH, "call.count", call.count = 11);
    REFUSED(MAMUTO_EARGS, "call.dims[0] is set", call.dims[0] = 3);
    REFUSED(MAMUTO_EINVAL, "retries is -1", call.retries = -1);
    REFUSED(MAMUTO_EINVAL, "help", call.help = 1; call.item_timeout_ms = 10);
    REFUSED(MAMUTO_EEMPTY, "nothing to reduce", call.args[0] = mamuto_scatter(in, 0));
    REFUSED(MAMUTO_EEMPTY, "nothing to reduce", call.args[0] = mamuto_scatter(NULL, 0));
    for (uint64_t i = 0; i < 8; i++)
        assert_true(value[i] == i + 1);
    good_reduce();
}

static void fields_of_reduce_are_refused_by_map(void **state)
{
    (void)state;
    double out[10];
    uint64_t value;
    for (int field = 0; field < 3; field++) {
        mamuto_error_t err = { 0 };
        mamuto_call_t call = { .function = "reduce.item_f8",
                               .args = { mamuto_scatter(in, 10) },
                               .result = out,
                               .fold = field == 0 ? "reduce.fold_f8" : NULL,
                               .value = field == 1 ? &value : NULL,
                               .if_empty = field == 2 ? &value : NULL };
        e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EINVAL, "for mamuto_reduce");
    }
    good_reduce();
}

static void fold_square(const void *a, const void *b, void *out, size_t dim) { fold_dim(a, b, out, dim); }

static void square_value_is_folded_by_a_fold_of_one_dim(void **state)
{
    (void)state;
    double a[100][2], b[2] = { 1, 1 }, value[4], items[100][4], expected[4];
    for (int i = 0; i < 100; i++) {
        a[i][0] = i;
        a[i][1] = -i;
        for (int k = 0; k < 4; k++)
            items[i][k] = a[i][k / 2] + b[0];
    }
    struct reference reference = { .size = sizeof value, .dim = 4, .fold = fold_square };
    assert_true(reference_reduce(&reference, items, 100, expected));
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "reduce.square",
                           .args = { mamuto_scatter(a, 100), mamuto_broadcast(b) },
                           .dims = { 2, 2 },
                           .fold = "reduce.fold_square",
                           .value = value };
    if (mamuto_reduce_wait(m, &call, &err) != 0)
        fail_msg("%s", err.text);
    assert_memory_equal(value, expected, sizeof value);
}

/* The value may be where if_empty is. */
static void of_nothing_the_value_is_if_empty(void **state)
{
    (void)state;
    uint64_t value = 9, empty = 77;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = call_of(0, &value);
    call.if_empty = &empty;
    assert_int_equal(mamuto_reduce_wait(m, &call, &err), 0);
    assert_true(value == 77);
    value = 5;
    call.if_empty = &value;
    call.function = "reduce.fold_u8"; /* a function of two: u8, u8 -> u8 */
    call.args[1] = mamuto_scatter(NULL, 0);
    assert_int_equal(mamuto_reduce_wait(m, &call, &err), 0);
    assert_true(value == 5);
    good_reduce();
}

/* ---- On a loop --------------------------------------------------------------------------------------------------- */

static struct {
    uv_loop_t loop;
    mamuto_t *m;
    struct slot {
        mamuto_map_t *map;
        size_t n;
        uint64_t value;
        int done, status;
    } slots[MANY];
    int n_done, closed, from_inside;
} on;

static void on_open(mamuto_t *mapper, int status, const mamuto_error_t *err)
{
    (void)mapper;
    if (status)
        fail_msg("cannot open: %s", err->text);
}

static void on_close(void *data)
{
    (void)data;
    on.closed++;
}

static void open_on_loop(void)
{
    mamuto_error_t err = { 0 };
    memset(&on, 0, sizeof on);
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 2}}",
                                 .modules = (const char *[]){ E2E_MODULE("reduce"), NULL },
                                 .loop = &on.loop,
                                 .on_open = on_open };
    assert_int_equal(uv_loop_init(&on.loop), 0);
    assert_int_equal(mamuto_open(&on.m, &options, &err), 0);
    uv_run(&on.loop, UV_RUN_DEFAULT);
}

static void close_on_loop(void)
{
    assert_int_equal(mamuto_close(on.m, on_close), 0);
    uv_run(&on.loop, UV_RUN_DEFAULT);
    assert_int_equal(on.closed, 1);
    assert_int_equal(uv_loop_close(&on.loop), 0);
}

static void start(int i, size_t n);

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    struct slot *slot = mamuto_map_data(map);
    assert_true((status == 0) == (err == NULL));
    slot->done++;
    slot->status = status;
    on.n_done++;
    if (on.from_inside > 0) {
        int next = on.from_inside--;
        start(next, slot->n);
    }
}

static void start(int i, size_t n)
{
    struct slot *slot = &on.slots[i];
    mamuto_error_t err = { 0 };
    *slot = (struct slot){ .n = n, .value = 1234567 };
    mamuto_call_t call = call_of(n, &slot->value);
    call.data = slot;
    call.on_done = on_done;
    if (mamuto_reduce(on.m, &call, &slot->map, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(slot->done, 0);
}

static void are_right(int begin_, int end_)
{
    for (int i = begin_; i < end_; i++) {
        assert_int_equal(on.slots[i].done, 1);
        assert_int_equal(on.slots[i].status, 0);
        assert_true(on.slots[i].value == expect(on.slots[i].n));
    }
}

static void two_hundred_at_once_are_right(void **state)
{
    (void)state;
    open_on_loop();
    for (int i = 0; i < MANY; i++)
        start(i, i % 5 ? 1 + draw() % 3000 : 20000 + draw() % 100000);
    uv_run(&on.loop, UV_RUN_DEFAULT);
    are_right(0, MANY);
    close_on_loop();
}

static void reductions_are_begun_in_callbacks(void **state)
{
    (void)state;
    open_on_loop();
    on.from_inside = 99;
    start(0, 30000);
    uv_run(&on.loop, UV_RUN_DEFAULT);
    are_right(0, 100);
    close_on_loop();
}

/* At moments that fall into all phases, of reductions that map and fold at once, and of others. */
static void cancelled_one_ends_once_and_leaves_the_value_alone(void **state)
{
    (void)state;
    open_on_loop();
    unsigned cancelled = 0;
    for (int round = 0; round < 300; round++) {
        bool fused = round % 2;
        start(0, fused ? MOST : 1 + draw() % 2000);
        uint64_t until = uv_hrtime() + draw() % 1500000;
        while (uv_hrtime() < until && !on.slots[0].done)
            uv_run(&on.loop, UV_RUN_NOWAIT);
        if (!on.slots[0].done)
            assert_int_equal(mamuto_cancel(on.slots[0].map), 0);
        uv_run(&on.loop, UV_RUN_DEFAULT);
        assert_int_equal(on.slots[0].done, 1);
        cancelled += on.slots[0].status == MAMUTO_ECANCELED;
        if (on.slots[0].status == 0)
            assert_true(on.slots[0].value == expect(on.slots[0].n));
        else {
            assert_int_equal(on.slots[0].status, MAMUTO_ECANCELED);
            assert_true(on.slots[0].value == 1234567);
        }
    }
    print_message("%u of 300 were cancelled\n", cancelled);
    assert_true(cancelled > 10);
    close_on_loop();
}

static void close_ends_those_in_flight(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        open_on_loop();
        for (int i = 0; i < 100; i++)
            start(i, i % 3 ? 2000 : MOST);
        for (int turns = 0; turns < round; turns++)
            uv_run(&on.loop, UV_RUN_NOWAIT);
        close_on_loop();
        for (int i = 0; i < 100; i++) {
            assert_int_equal(on.slots[i].done, 1);
            if (on.slots[i].status)
                assert_int_equal(on.slots[i].status, MAMUTO_ECANCELED);
            else
                assert_true(on.slots[i].value == expect(on.slots[i].n));
        }
    }
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static void array_in_use_is_not_freed(void **state)
{
    (void)state;
    open_on_loop();
    mamuto_error_t err = { 0 };
    enum { N = 100000 };
    void *arrays[5];
    for (int i = 0; i < 5; i++)
        assert_non_null(arrays[i] = mamuto_alloc(on.m, N, sizeof *in, &err));
    memcpy(arrays[0], in, N * sizeof *in);
    memcpy(arrays[1], in, N * sizeof *in);
    struct slot *slot = &on.slots[0];
    mamuto_call_t call = { .function = "reduce.fold_u8",
                           .args = { mamuto_scatter(arrays[0], N), mamuto_scatter(arrays[1], N) },
                           .result = arrays[2],
                           .fold = "reduce.fold_u8",
                           .value = (char *)arrays[3] + 800,
                           .if_empty = (char *)arrays[4] + 64,
                           .data = slot,
                           .on_done = on_done };
    assert_int_equal(mamuto_reduce(on.m, &call, &slot->map, &err), 0);
    int turns = 0;
    for (; !slot->done; turns++) {
        for (int i = 0; i < 5; i++)
            assert_int_equal(mamuto_free(on.m, arrays[i]), MAMUTO_EINVAL);
        uv_run(&on.loop, UV_RUN_ONCE);
    }
    assert_int_equal(slot->status, 0);
    assert_true(turns > 1); /* there were several phases */
    for (int i = 0; i < 5; i++)
        assert_int_equal(mamuto_free(on.m, arrays[i]), 0);
    close_on_loop();
}

/* There is room for 160 MB, and each tenth reduction takes half a MB for itself. */
static void thousands_leave_no_memory_behind(void **state)
{
    (void)state;
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 160 << 20;
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    m = e2e_open(2, E2E_MODULE("reduce"));
    uint64_t value = 0, huge = expect(70000), large = expect(30000), small = expect(3000);
    for (int i = 0; i < 3000; i++) {
        mamuto_error_t err = { 0 };
        bool fused = i % 2, fails = i % 7 == 0;
        mamuto_call_t call = {
            .function = fails ? "reduce.span" : "reduce.fold_u8",
            .args = { mamuto_scatter(in, fused ? 30000 : 3000) },
            .fold = fails ? "reduce.join" : "reduce.fold_u8",
            .value = &value,
        };
        int64_t span[3];
        if (fails)
            call.value = span;
        else
            call.function = NULL;
        if (i % 10 == 0) {
            call.item_timeout_ms = 10000;
            call.args[0] = mamuto_scatter(in, 70000);
            call.function = fails ? "reduce.span" : "reduce.same";
        }
        int code = mamuto_reduce_wait(m, &call, &err);
        if (fails)
            e2e_is_error(code, &err, MAMUTO_EITEM, NULL);
        else if (code)
            fail_msg("reduction %d: %s", i, err.text);
        else
            assert_true(value == (i % 10 == 0 ? huge : fused ? large : small));
    }
    mamuto_error_t err = { 0 };
    void *most = mamuto_alloc(m, 150, 1 << 20, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, old);
    if (!most)
        fail_msg("%s", err.text);
    e2e_close(m);
}

static int set_up(void **state)
{
    (void)state;
    const char *text = getenv("MAMUTO_SEED");
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", seed);
    random_state = seed;
    for (size_t i = 0; i < MOST; i++)
        in[i] = (uint64_t)SPAN_CODE << SPAN_SHIFT | draw() >> 8; /* as a span, each fails */
    return 0;
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bad_input_is_named),
        TEST(fields_of_reduce_are_refused_by_map),
        TEST(square_value_is_folded_by_a_fold_of_one_dim),
        TEST(of_nothing_the_value_is_if_empty),
        cmocka_unit_test(two_hundred_at_once_are_right),
        cmocka_unit_test(reductions_are_begun_in_callbacks),
        cmocka_unit_test(cancelled_one_ends_once_and_leaves_the_value_alone),
        cmocka_unit_test(close_ends_those_in_flight),
        cmocka_unit_test(array_in_use_is_not_freed),
        cmocka_unit_test(thousands_leave_no_memory_behind),
    };
    return cmocka_run_group_tests_name("e2e_reduce_calls", tests, set_up, NULL);
}
