/* Results of variable length: the bytes and offsets that a serial loop makes, for any number of workers, whatever is
 * emitted how; failed items empty; workers killed; cancelled and closed in every phase; and no memory left behind. */
#include "core/mapper.h"
#include "core/varlen.h"
#include "shm/arena.h"
#include "tests/support/e2e.h"
#include "tests/support/private.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include <cmocka.h>

static mamuto_t *m; /* of most tests: four workers */

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    m = e2e_open(4, E2E_MODULE("varout"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_close(m);
    e2e_scratch_end();
    return 0;
}

/* --- what is expected --------------------------------------------------------------------------------------------- */

/* The serial loop: each item's bytes are written to out, if it is set; returns how many. */
typedef size_t emits(const void *args, uint64_t i, uint8_t *out);

static void check(const mamuto_var_t *v, size_t n, size_t element, emits *expected, const void *args)
{
    static uint8_t want[32 << 20];
    const uint8_t *data = v->data;
    size_t at = 0;
    assert_int_equal(v->count, n);
    assert_int_equal(v->offsets[0], 0);
    for (uint64_t i = 0; i < n; i++) {
        size_t bytes = expected(args, i, want);
        if (v->offsets[i] != (int64_t)(at / element) || v->offsets[i + 1] != (int64_t)((at + bytes) / element))
            fail_msg("of %zu: item %llu is elements %lld to %lld, not %zu to %zu", n, (unsigned long long)i,
                     (long long)v->offsets[i], (long long)v->offsets[i + 1], at / element, (at + bytes) / element);
        if (memcmp(data + at, want, bytes) != 0)
            fail_msg("of %zu: item %llu has other elements than the serial loop", n, (unsigned long long)i);
        at += bytes;
    }
}

struct words {
    uint8_t (*word)[16];
    int32_t *times;
};

static struct words words(size_t n, int most)
{
    struct words w = { malloc((n ? n : 1) * 16), malloc((n ? n : 1) * sizeof *w.times) };
    for (size_t i = 0; i < n; i++) {
        memset(w.word[i], 0, 16);
        for (size_t k = 0; k < i * 7 % 17 && k < 16; k++)
            w.word[i][k] = (uint8_t)('A' + (i * 31 + k * 5) % 58);
        w.times[i] = (int32_t)((i * 2654435761u >> 7) % (unsigned)(most + 1));
    }
    return w;
}

static void free_words(struct words *w)
{
    free(w->word);
    free(w->times);
}

static size_t upper(const void *args, uint64_t i, uint8_t *out)
{
    const uint8_t *word = ((const struct words *)args)->word[i];
    size_t n = 0;
    for (; n < 16 && word[n]; n++)
        out[n] = (uint8_t)(word[n] >= 'a' && word[n] <= 'z' ? word[n] - 32 : word[n]);
    return n;
}

static size_t repeat(const void *args, uint64_t i, uint8_t *out)
{
    const struct words *w = args;
    size_t n = strnlen((const char *)w->word[i], 16);
    for (int32_t k = 0; k < w->times[i]; k++)
        memcpy(out + (size_t)k * n, w->word[i], n);
    return n * (size_t)w->times[i];
}

static size_t pieces(const void *args, uint64_t i, uint8_t *out)
{
    const int32_t *times = args;
    for (int32_t k = 0; k < times[i]; k++) {
        double x = (double)i * 0.5 + k;
        memcpy(out + (size_t)k * sizeof x, &x, sizeof x);
    }
    return (size_t)times[i] * sizeof(double);
}

static size_t blocks(const void *args, uint64_t i, uint8_t *out)
{
    const int64_t *sizes = args;
    for (int64_t k = 0; k < sizes[i]; k++)
        out[k] = (uint8_t)(i + (uint64_t)k);
    return (size_t)sizes[i];
}

static size_t none(const void *args, uint64_t i, uint8_t *out)
{
    (void)args, (void)i, (void)out;
    return 0;
}

static size_t numbers_but(int32_t i, int32_t modulus, uint8_t *out)
{
    int32_t n = i % modulus == 3 ? 0 : i % 50;
    for (int32_t k = 0; k < n; k++)
        memcpy(out + (size_t)k * sizeof i, &i, sizeof i);
    return (size_t)n * sizeof i;
}
static size_t fails(const void *args, uint64_t i, uint8_t *out)
{
    (void)args;
    return numbers_but((int32_t)i, 7, out);
}
static size_t crashes(const void *args, uint64_t i, uint8_t *out)
{
    return numbers_but((int32_t)i, *(const int32_t *)args, out);
}

static size_t random_numbers(const void *args, uint64_t i, uint8_t *out)
{
    mamuto_rng_t r = mamuto_rng(*(const uint64_t *)args, i);
    uint32_t n = mamuto_random32(&r) % 40;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t x = mamuto_random32(&r);
        memcpy(out + k * sizeof x, &x, sizeof x);
    }
    return n * sizeof(uint32_t);
}

static int32_t *counting(size_t n)
{
    int32_t *x = malloc((n ? n : 1) * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (int32_t)i;
    return x;
}

static void must_map(mamuto_t *mapper, const mamuto_call_t *call)
{
    mamuto_error_t err = { 0 };
    if (mamuto_map_wait(mapper, call, &err) != 0)
        fail_msg("%s: %s", call->function, err.text);
}

/* Is nearly all of the memory there is to be had? Without taking any page. */
static void check_nothing_is_left(mamuto_t *mapper)
{
    mamuto_error_t err = { 0 };
    void *all = NULL;
    uint64_t bytes = mm_memory_budget() / 10 * 8;
    for (int i = 0; i < 2000 && !all; i++) { /* some may be on its way back */
        err.code = 0;
        all = mapper->ops->reserve(mapper->node, bytes, &err);
        if (!all) {
            mamuto_var_t v; /* an idle mapper's loop does not hear of it */
            must_map(mapper, &(mamuto_call_t){ .function = "random", .count = 1, .result_var = &v });
            mamuto_free(mapper, v.data);
            e2e_nap();
        }
    }
    if (!all)
        fail_msg("%s", err.text);
    mapper->ops->free(mapper->node, all);
}

/* --- right results ------------------------------------------------------------------------------------------------ */

static const size_t lengths[] = { 0, 1, 2, 3, 5, 63, 64, 65, 255, 256, 257, 1000, 4095, 4096, 4097, 100003, 1000000 };
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

static void upper_and_repeat(mamuto_t *mapper, size_t n, int help)
{
    struct words w = words(n, 5);
    mamuto_var_t v = { 0 };
    mamuto_call_t call = { .function = "upper", .args = { mamuto_scatter(w.word, n) }, .result_var = &v, .help = help };
    must_map(mapper, &call);
    check(&v, n, 1, upper, &w);
    assert_int_equal(mamuto_free(mapper, v.data), 0);
    call.function = "varout.repeat";
    call.args[1] = mamuto_scatter(w.times, n);
    must_map(mapper, &call);
    check(&v, n, 1, repeat, &w);
    assert_int_equal(mamuto_free(mapper, v.data), 0);
    free_words(&w);
}

static void varout_of_every_length_is_the_serial_loops(void **state)
{
    (void)state;
    for (int i = 0; i < N_LENGTHS; i++)
        upper_and_repeat(m, lengths[i], 0);
    check_nothing_is_left(m);
}

static void varout_with_help_is_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < N_LENGTHS; i++)
        upper_and_repeat(m, lengths[i], 1);
    check_nothing_is_left(m);
}

static void varout_is_the_same_for_any_number_of_workers(void **state)
{
    (void)state;
    static const int workers[] = { 1, 2, 3, 7 };
    for (int i = 0; i < 4; i++) {
        mamuto_t *mapper = e2e_open(workers[i], E2E_MODULE("varout"));
        upper_and_repeat(mapper, 5000, 0);
        upper_and_repeat(mapper, 50000, i % 2);
        e2e_close(mapper);
    }
}

struct texts {
    char *text;
    int64_t *at;
};

static size_t upper_text(const void *args, uint64_t i, uint8_t *out)
{
    const struct texts *t = args;
    for (int64_t k = t->at[i]; k < t->at[i + 1]; k++)
        *out++ = (uint8_t)(t->text[k] >= 'a' && t->text[k] <= 'z' ? t->text[k] - 32 : t->text[k]);
    return (size_t)(t->at[i + 1] - t->at[i]);
}

/* Strings of up to so many bytes, in ordinary memory or of mamuto_alloc; then, by way of result_var, those results
 * again. */
static void upper_texts(size_t n, uint64_t most, bool shared, int help)
{
    mamuto_error_t err = { 0 };
    size_t room = n * (size_t)most + 1;
    struct texts t = { shared ? mamuto_alloc(m, room, 1, &err) : malloc(room), malloc((n + 1) * sizeof *t.at) };
    t.at[0] = 0;
    for (size_t i = 0; i < n; i++)
        t.at[i + 1] = t.at[i] + (int64_t)(i * 2654435761u % (most + 1));
    for (int64_t k = 0; k < t.at[n]; k++)
        t.text[k] = (char)(' ' + k * 7 % 95);
    mamuto_var_t v = { 0 }, again = { 0 };
    mamuto_call_t call = {
        .function = "upper_text", .args = { mamuto_scatter_var(t.text, t.at, n) }, .result_var = &v, .help = help
    };
    must_map(m, &call);
    check(&v, n, 1, upper_text, &t);
    call.args[0] = mamuto_scatter_var(v.data, v.offsets, n);
    call.result_var = &again;
    must_map(m, &call);
    check(&again, n, 1, upper_text, &t);
    mamuto_free(m, v.data);
    mamuto_free(m, again.data);
    if (shared)
        mamuto_free(m, t.text);
    else
        free(t.text);
    free(t.at);
}

static void varout_of_arguments_of_variable_length_is_the_serial_loops(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        upper_texts(1, 1000, i % 2, i / 2);
        upper_texts(300, 3000, i % 2, i / 2);
        upper_texts(100000, 200, i % 2, i / 2);
    }
    check_nothing_is_left(m);
}

static void varout_in_many_small_pieces_is_whole(void **state)
{
    (void)state;
    size_t n = 30000;
    struct words w = words(n, 40);
    w.times[5] = 3000000; /* 24 MB in pieces of 8 bytes: it moves from slab to slab */
    mamuto_var_t v = { 0 };
    mamuto_call_t call = { .function = "pieces", .args = { mamuto_scatter(w.times, n) }, .result_var = &v };
    must_map(m, &call);
    check(&v, n, sizeof(double), pieces, w.times);
    mamuto_free(m, v.data);
    free_words(&w);
    check_nothing_is_left(m);
}

static void varout_of_huge_items_among_small_ones_is_right(void **state)
{
    (void)state;
    enum { N = 40 };
    int64_t sizes[N];
    static const int32_t block_sizes[] = { 65536, 1000, 65535 };
    for (int i = 0; i < N; i++)
        sizes[i] = i % 13 == 5 ? 20000000 : i % 13 == 6 ? (1 << 24) - 4 + i / 13 : i % 3 ? 700000 : i;
    for (int k = 0; k < 6; k++) {
        mamuto_var_t v = { 0 };
        mamuto_call_t call = { .function = "blocks",
                               .args = { mamuto_scatter(sizes, N), mamuto_broadcast(&block_sizes[k % 3]) },
                               .result_var = &v };
        must_map(m, &call);
        check(&v, N, 1, blocks, sizes);
        mamuto_free(m, v.data);
    }
    check_nothing_is_left(m);
}

static void varout_of_nothing_is_empty(void **state)
{
    (void)state;
    static const size_t some[] = { 0, 1, 5, 4096, 4097, 200000 };
    for (int i = 0; i < 6; i++) {
        int32_t *x = counting(some[i]);
        mamuto_var_t v = { 0 };
        mamuto_call_t call = { .function = "nothing", .args = { mamuto_scatter(x, some[i]) }, .result_var = &v };
        must_map(m, &call);
        check(&v, some[i], 16, none, NULL);
        assert_int_equal(mamuto_free(m, v.data), 0);
        assert_int_equal(mamuto_free(m, v.data), MAMUTO_EINVAL); /* it freed the offsets, too */
        free(x);
    }
}

static void varout_of_a_seed_is_the_same_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 4; seed++) {
        mamuto_var_t v = { 0 };
        mamuto_call_t call = { .function = "random", .count = 20000, .seed = seed, .result_var = &v };
        must_map(m, &call);
        check(&v, 20000, 4, random_numbers, &seed);
        mamuto_free(m, v.data);
    }
}

static void varout_stays_when_the_next_map_runs(void **state)
{
    (void)state;
    struct words w = words(20000, 5);
    mamuto_var_t v[8] = { 0 };
    for (int i = 0; i < 8; i++) {
        mamuto_call_t call = { .function = "repeat",
                               .args = { mamuto_scatter(w.word, 20000), mamuto_scatter(w.times, 20000) },
                               .result_var = &v[i] };
        must_map(m, &call);
    }
    for (int i = 0; i < 8; i++) {
        check(&v[i], 20000, 1, repeat, &w);
        mamuto_free(m, v[i].data);
    }
    free_words(&w);
}

/* --- failures ----------------------------------------------------------------------------------------------------- */

static int items_failed;
static void count_failures(mamuto_map_t *map, const mamuto_error_t *err)
{
    (void)map, (void)err;
    items_failed++;
}

static void varout_of_items_that_fail_after_emitting_is_empty_there(void **state)
{
    (void)state;
    static const size_t some[] = { 20, 3000, 100000 };
    for (int i = 0; i < 3; i++) {
        size_t n = some[i];
        int32_t *x = counting(n);
        mamuto_var_t v = { 0 };
        mamuto_error_t err = { 0 };
        mamuto_call_t call = { .function = "fails",
                               .args = { mamuto_scatter(x, n) },
                               .result_var = &v,
                               .on_error = MAMUTO_ON_ERROR_SKIP,
                               .on_item_error = count_failures };
        items_failed = 0;
        e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EITEM, "items failed; the first: item ");
        assert_int_equal(err.item_code, 42);
        size_t failed = (n + 3) / 7;
        assert_int_equal(items_failed, failed < 1000 ? failed : 1000);
        check(&v, n, 4, fails, NULL);
        mamuto_free(m, v.data);
        free(x);
    }
    check_nothing_is_left(m);
}

static void varout_is_untouched_when_an_item_fails(void **state)
{
    (void)state;
    int32_t *x = counting(30000);
    mamuto_var_t v = { .count = 17 };
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "fails", .args = { mamuto_scatter(x, 30000) }, .result_var = &v };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EITEM, "failed with code 42: it leaves 3");
    assert_null(v.data);
    assert_int_equal(v.count, 17);
    free(x);
    check_nothing_is_left(m);
}

static void varout_of_items_that_crash_after_emitting_is_empty_there(void **state)
{
    (void)state;
    size_t n = 20000;
    int32_t *x = counting(n), modulus = 5000;
    mamuto_var_t v = { 0 };
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "crashes",
                           .args = { mamuto_scatter(x, n), mamuto_broadcast(&modulus) },
                           .result_var = &v,
                           .on_error = MAMUTO_ON_ERROR_SKIP };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EITEM, "4 of 20000 items failed; the first: item 3");
    check(&v, n, 4, crashes, &modulus);
    mamuto_free(m, v.data);
    free(x);
    check_nothing_is_left(m);
}

static void varout_beyond_memory_fails_the_item(void **state)
{
    (void)state;
    mamuto_var_t v = { 0 };
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "greedy", .count = 3, .result_var = &v };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EITEM, "no memory for what it emits");
    assert_int_equal(err.item_code, MAMUTO_ENOMEM);
    err = (mamuto_error_t){ 0 };
    call.on_error = MAMUTO_ON_ERROR_SKIP;
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EITEM, "3 of 3 items failed");
    check(&v, 3, 1, none, NULL);
    mamuto_free(m, v.data);
    check_nothing_is_left(m);
}

static void emit_without_such_an_output_fails_the_item(void **state)
{
    (void)state;
    int32_t x[4] = { 0, 2, 3, 4 }, out[4];
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "astray", .args = { mamuto_scatter(x, 4) }, .result = out };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EITEM, "no result of variable length");
    assert_int_equal(err.item, 2);
}

static void is_refused(const mamuto_call_t *call, int code, const char *part)
{
    mamuto_error_t err = { 0 };
    e2e_is_error(mamuto_map_wait(m, call, &err), &err, code, part);
}

static void varout_that_is_asked_for_wrongly_is_refused(void **state)
{
    (void)state;
    int32_t x[4] = { 0 }, out[4];
    mamuto_var_t v = { .count = 5 };
    mamuto_call_t call = { .function = "fails", .args = { mamuto_scatter(x, 4) }, .result = out, .result_var = &v };
    is_refused(&call, MAMUTO_EARGS, "call.result_var takes it");
    call.result = NULL;
    call.result_stride = 4;
    is_refused(&call, MAMUTO_EARGS, "result_stride");
    call.result_stride = 0;
    call.result_var = NULL;
    is_refused(&call, MAMUTO_EARGS, "result_var is NULL");
    call.function = "astray";
    call.result = out;
    call.result_var = &v;
    is_refused(&call, MAMUTO_EARGS, "a result of fixed size");
    assert_int_equal(v.count, 5);
    call.result = NULL;
    call.function = "fails";
    call.fold = "sum";
    call.value = out;
    mamuto_error_t err = { 0 };
    assert_int_not_equal(mamuto_reduce_wait(m, &call, &err), 0); /* there is no fold of variable length */
    call.result_var = NULL;
    err = (mamuto_error_t){ 0 };
    assert_int_not_equal(mamuto_reduce_wait(m, &call, &err), 0);
    print_message("%s\n", err.text);
    call = (mamuto_call_t){ .function = "random", .count = (size_t)1 << 47, .result_var = &v };
    is_refused(&call, MAMUTO_ENOMEM, "for the lengths of the results");
    check_nothing_is_left(m);
}

/* --- killed, cancelled, closed ------------------------------------------------------------------------------------ */

struct flight {
    mamuto_map_t *map;
    int done, status;
    mamuto_error_t err;
};

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    struct flight *flight = mamuto_map_data(map);
    flight->done++;
    flight->status = status;
    flight->map = NULL;
    if (err)
        flight->err = *err;
}

static void begin(mamuto_t *mapper, struct flight *flight, mamuto_call_t *call)
{
    *flight = (struct flight){ .status = 1 };
    call->data = flight;
    call->on_done = on_done;
    mamuto_error_t err = { 0 };
    if (mamuto_map(mapper, call, &flight->map, &err) != 0)
        fail_msg("%s", err.text);
}

/* true: it is in this phase, false: it has ended before. */
static bool reach(mamuto_t *mapper, const struct flight *flight, int op)
{
    while (!flight->done && (int)flight->map->run.op != op)
        uv_run(mapper->loop, UV_RUN_ONCE);
    return !flight->done;
}

static void finish(mamuto_t *mapper, const struct flight *flight)
{
    while (!flight->done)
        uv_run(mapper->loop, UV_RUN_ONCE);
}

static void varout_that_is_cancelled_in_any_phase_leaves_nothing(void **state)
{
    (void)state;
    size_t n = 200000;
    struct words w = words(n, 30);
    mamuto_var_t v = { 0 };
    int reached[MM_N_OPS] = { 0 };
    for (int i = 0; i < 30; i++) {
        struct flight flight;
        mamuto_call_t call = { .function = "repeat",
                               .args = { mamuto_scatter(w.word, n), mamuto_scatter(w.times, n) },
                               .result_var = &v };
        begin(m, &flight, &call);
        int op = i % MM_N_OPS;
        if (reach(m, &flight, op)) {
            reached[op]++;
            assert_int_equal(mamuto_cancel(flight.map), 0);
            finish(m, &flight);
        }
        assert_int_equal(flight.done, 1);
        assert_true(flight.status == 0 || flight.status == MAMUTO_ECANCELED);
        if (flight.status == 0)
            mamuto_free(m, v.data);
        v.data = NULL;
    }
    assert_true(reached[MM_OP_CALL] && reached[MM_OP_SUM] && reached[MM_OP_GATHER]);
    check_nothing_is_left(m);
    upper_and_repeat(m, 5000, 0);
    free_words(&w);
}

static void varout_that_is_cancelled_while_it_waits_leaves_nothing(void **state)
{
    (void)state;
    enum { MANY = 80 };
    static struct flight flights[MANY];
    static mamuto_var_t v[MANY];
    static const int32_t x[1] = { 7 };
    for (int i = 0; i < MANY; i++) {
        mamuto_call_t call = { .function = "gate", .args = { mamuto_scatter(x, 1) }, .result_var = &v[i] };
        begin(m, &flights[i], &call);
    }
    assert_true(e2e_has_size("begun", 0));
    for (int i = 1; i < MANY; i += 2)
        assert_int_equal(mamuto_cancel(flights[i].map), 0);
    e2e_touch("go");
    for (int i = 0; i < MANY; i++) {
        finish(m, &flights[i]);
        assert_true(flights[i].status == 0 || (i % 2 && flights[i].status == MAMUTO_ECANCELED));
        if (flights[i].status)
            continue;
        assert_int_equal(v[i].offsets[1], 1);
        assert_int_equal(*(int32_t *)v[i].data, 7);
        mamuto_free(m, v[i].data);
    }
    check_nothing_is_left(m);
}

static void varout_that_is_closed_in_any_phase_is_called_back(void **state)
{
    (void)state;
    size_t n = 200000;
    struct words w = words(n, 30);
    struct e2e_held before = e2e_hold();
    for (int i = 0; i < 9; i++) {
        mamuto_t *mapper = e2e_open(2, E2E_MODULE("varout"));
        struct flight flight;
        mamuto_var_t v = { .count = 3 };
        mamuto_call_t call = { .function = "repeat",
                               .args = { mamuto_scatter(w.word, n), mamuto_scatter(w.times, n) },
                               .result_var = &v };
        begin(mapper, &flight, &call);
        reach(mapper, &flight, i % MM_N_OPS);
        e2e_close(mapper);
        assert_int_equal(flight.done, 1);
        assert_true(flight.status == MAMUTO_ECANCELED || flight.status == 0);
        assert_true(flight.status == 0 || v.count == 3);
    }
    e2e_holds_as(&before);
    free_words(&w);
}

static void kill_one(unsigned *random)
{
    pid_t pids[E2E_MAX_PIDS];
    int n = e2e_workers(pids, E2E_MAX_PIDS);
    *random = *random * 1103515245u + 12345u;
    pid_t victim = n ? pids[(*random >> 16) % (unsigned)n] : 0;
    if (victim && victim != e2e_server())
        kill(victim, SIGKILL);
}

static void varout_is_right_while_workers_are_killed(void **state)
{
    (void)state;
    const char *text = getenv("MAMUTO_SEED");
    unsigned random = text ? (unsigned)strtoul(text, NULL, 10) : (unsigned)uv_hrtime();
    print_message("MAMUTO_SEED=%u\n", random);
    size_t n = 200000;
    struct words w = words(n, 30);
    int right = 0;
    for (int i = 0; i < 40; i++) {
        struct flight flight;
        mamuto_var_t v = { 0 };
        mamuto_call_t call = { .function = "repeat",
                               .args = { mamuto_scatter(w.word, n), mamuto_scatter(w.times, n) },
                               .retries = 3,
                               .result_var = &v };
        begin(m, &flight, &call);
        reach(m, &flight, i % MM_N_OPS);
        for (int k = 0; k < 2 && !flight.done; k++) {
            kill_one(&random);
            uv_run(m->loop, UV_RUN_NOWAIT);
        }
        finish(m, &flight);
        if (flight.status)
            fail_msg("map %d: %s", i, flight.err.text);
        if (i % 8 == 0 || i > 36)
            check(&v, n, 1, repeat, &w);
        right++;
        mamuto_free(m, v.data);
    }
    assert_int_equal(right, 40);
    check_nothing_is_left(m);
    free_words(&w);
}

static void varout_outlives_the_death_of_the_fork_server(void **state)
{
    (void)state;
    size_t n = 200000;
    struct words w = words(n, 30);
    for (int op = 0; op < MM_N_OPS; op++) {
        struct flight flight;
        mamuto_var_t v = { 0 };
        mamuto_call_t call = { .function = "repeat",
                               .args = { mamuto_scatter(w.word, n), mamuto_scatter(w.times, n) },
                               .result_var = &v };
        begin(m, &flight, &call);
        reach(m, &flight, op);
        e2e_kill_server();
        finish(m, &flight);
        if (flight.status)
            fail_msg("phase %d: %s", op, flight.err.text);
        check(&v, n, 1, repeat, &w);
        mamuto_free(m, v.data);
    }
    check_nothing_is_left(m);
    free_words(&w);
}

/* The lengths lie where a function may write by mistake: here the test does. */
static void varout_of_damaged_lengths_is_an_error(void **state)
{
    (void)state;
    static const size_t some[] = { 100, 100000 };
    for (int i = 0; i < 6; i++) {
        size_t n = some[i % 2];
        struct words w = words(n, 3);
        struct flight flight;
        mamuto_var_t v = { .count = 3 };
        mamuto_call_t call = { .function = "repeat",
                               .args = { mamuto_scatter(w.word, n), mamuto_scatter(w.times, n) },
                               .result_var = &v };
        begin(m, &flight, &call);
        mm_varlen_record *records = flight.map->run.result;
        while (!flight.done && flight.map->run.op == MM_OP_CALL) { /* on and on: it is zeroed when its item begins */
            *(volatile mm_varlen_record *)&records[n - 2] = i < 2 ? UINT64_MAX : i < 4 ? UINT64_C(1) << 60 | 1 : 1;
            uv_run(m->loop, UV_RUN_NOWAIT);
        }
        finish(m, &flight);
        if (flight.status == 0)
            mamuto_free(m, v.data);              /* the item came later; or 1 is what it was, or nothing can tell */
        else if (flight.status != MAMUTO_ECRASH) /* of a worker that was adding to the item just then */
            assert_int_equal(flight.status, MAMUTO_EPROTOCOL);
        free_words(&w);
    }
    check_nothing_is_left(m);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static void varout_thousands_of_times_leaves_nothing(void **state)
{
    (void)state;
    struct words w = words(3000, 4);
    struct e2e_held before = e2e_hold();
    for (int i = 0; i < 5000; i++) {
        mamuto_var_t v = { 0 };
        size_t n = i % 100 == 99 ? 3000 : (size_t)(i * 37 % 60);
        mamuto_call_t call = { .function = "repeat",
                               .args = { mamuto_scatter(w.word, n), mamuto_scatter(w.times, n) },
                               .result_var = &v,
                               .help = i % 2 };
        must_map(m, &call);
        if (i % 50 == 49)
            check(&v, n, 1, repeat, &w);
        mamuto_free(m, v.data);
    }
    e2e_holds_as(&before);
    check_nothing_is_left(m);
    free_words(&w);
}

static void varout_of_growing_results_is_right(void **state)
{
    (void)state;
    enum { N = 300 };
    int64_t sizes[N];
    static const int32_t block = 4096;
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < N; i++)
            sizes[i] = (int64_t)(i + 1) << (round < 8 ? round * 3 / 2 : 14 - round);
        mamuto_var_t v = { 0 };
        mamuto_call_t call = { .function = "blocks",
                               .args = { mamuto_scatter(sizes, N), mamuto_broadcast(&block) },
                               .result_var = &v };
        must_map(m, &call);
        check(&v, N, 1, blocks, sizes);
        mamuto_free(m, v.data);
    }
    check_nothing_is_left(m);
}

/* Where workers may not read this process' memory: the arguments are copied, the results are not. */
static void varout_of_copied_arguments_is_the_same(void **state)
{
    (void)state;
    private_copied();
    for (int i = 0; i < N_LENGTHS; i++) {
        upper_and_repeat(m, lengths[i], 0);
        upper_and_repeat(m, lengths[i], 1);
    }
    assert_true(private_copied() > 0);
    check_nothing_is_left(m);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(varout_of_every_length_is_the_serial_loops),
        TEST(varout_with_help_is_the_same),
        TEST(varout_is_the_same_for_any_number_of_workers),
        TEST(varout_of_arguments_of_variable_length_is_the_serial_loops),
        TEST(varout_in_many_small_pieces_is_whole),
        TEST(varout_of_huge_items_among_small_ones_is_right),
        TEST(varout_of_nothing_is_empty),
        TEST(varout_of_a_seed_is_the_same_again),
        TEST(varout_stays_when_the_next_map_runs),
        TEST(varout_of_items_that_fail_after_emitting_is_empty_there),
        TEST(varout_is_untouched_when_an_item_fails),
        TEST(varout_of_items_that_crash_after_emitting_is_empty_there),
        TEST(varout_beyond_memory_fails_the_item),
        TEST(emit_without_such_an_output_fails_the_item),
        TEST(varout_that_is_asked_for_wrongly_is_refused),
        TEST(varout_that_is_cancelled_in_any_phase_leaves_nothing),
        TEST(varout_that_is_cancelled_while_it_waits_leaves_nothing),
        TEST(varout_that_is_closed_in_any_phase_is_called_back),
        TEST(varout_is_right_while_workers_are_killed),
        TEST(varout_outlives_the_death_of_the_fork_server),
        TEST(varout_of_damaged_lengths_is_an_error),
        TEST(varout_thousands_of_times_leaves_nothing),
        TEST(varout_of_growing_results_is_right),
    };
    const struct CMUnitTest denied[] = {
        TEST(varout_of_copied_arguments_is_the_same),
        TEST(varout_of_arguments_of_variable_length_is_the_serial_loops),
        TEST(varout_that_is_cancelled_in_any_phase_leaves_nothing),
        TEST(varout_that_is_closed_in_any_phase_is_called_back),
        TEST(varout_is_right_while_workers_are_killed),
    };
    int failed = cmocka_run_group_tests_name("varout", tests, NULL, NULL);
    private_deny();
    return failed + cmocka_run_group_tests_name("varout_denied", denied, NULL, NULL);
}
