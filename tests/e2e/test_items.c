/* Items that fail, die or hang: each alone fails, with its index, its cause and its worker; all others are right, and
 * their number is exact. In both forms, for private and shared arrays, first, in the middle and last. */
#include "tests/e2e/modules/items.h"
#include "tests/support/e2e.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* MOST: as many failed items are told one by one. TIMEOUT_MS: no other item takes so long, on a busy machine either. */
enum { WORKERS = 4, MOST = 1000, TIMEOUT_MS = 600 /* a busy machine may keep a worker waiting */ };

static mamuto_t *m;

/* A map that is being tested: its arrays, and what it told. */
static struct {
    size_t n;
    bool shared;
    int32_t *in, *out;
    mamuto_error_t err, told[MOST + 1];
    size_t n_told;
    bool done, told_after_done;
} it;

static int set_up(void **state)
{
    (void)state;
    e2e_scratch_begin();
    m = e2e_open(WORKERS, E2E_MODULE("items"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_close(m);
    e2e_scratch_end();
    return 0;
}

static int32_t *array(size_t n)
{
    int32_t *p = it.shared ? mamuto_alloc(m, n, sizeof *p, NULL) : calloc(n, sizeof *p);
    assert_non_null(p);
    return p;
}

static void give_back(int32_t *p)
{
    if (it.shared)
        assert_int_equal(mamuto_free(m, p), 0);
    else
        free(p);
}

static void begin(size_t n, bool shared)
{
    memset(&it, 0, sizeof it);
    it.n = n;
    it.shared = shared;
    it.in = array(n);
    it.out = array(n);
    for (size_t i = 0; i < n; i++)
        it.in[i] = 0, it.out[i] = -1;
}

static void end(void)
{
    give_back(it.in);
    give_back(it.out);
}

static void on_item_error(mamuto_map_t *map, const mamuto_error_t *err)
{
    (void)map;
    it.told_after_done |= it.done;
    if (it.n_told <= MOST)
        it.told[it.n_told++] = *err;
}

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    (void)map;
    assert_true((status == 0) == (err == NULL));
    it.done = true;
}

static int run(mamuto_call_t call)
{
    it.n_told = 0;
    it.done = false;
    it.err = (mamuto_error_t){ 0 };
    call.args[0] = mamuto_scatter(it.in, it.n);
    call.result = it.out;
    call.on_item_error = on_item_error;
    call.on_done = on_done;
    int code = mamuto_map_wait(m, &call, &it.err);
    assert_true(it.done && !it.told_after_done);
    assert_int_equal(it.err.code, code);
    for (size_t i = 1; i < it.n_told; i++)
        assert_true(it.told[i].item > it.told[i - 1].item);
    return code;
}

static int32_t right(size_t i) { return (int32_t)i * 2 + 1; }

/* All results are right, but those of items whose input is not 0, which are zero bytes. */
static void others_are_right(void)
{
    for (size_t i = 0; i < it.n; i++)
        if (it.out[i] != (it.in[i] ? 0 : right(i)))
            fail_msg("of %zu: item %zu, input %d, is %d, not %d", it.n, i, it.in[i], it.out[i],
                     it.in[i] ? 0 : right(i));
}

/* After a map that ended early: a result is right, or was never written. */
static void nothing_is_wrong(void)
{
    for (size_t i = 0; i < it.n; i++)
        if (it.out[i] != -1 && it.out[i] != (it.in[i] ? 0 : right(i)))
            fail_msg("of %zu: item %zu, input %d, is %d", it.n, i, it.in[i], it.out[i]);
}

/* What an action is to be called. */
struct cause {
    int32_t act;
    int code, item_code, signal;
    const char *text;
};

static const struct cause causes[] = {
    { ACT_RETURN, MAMUTO_EITEM, 7, 0, "failed with code 7" },
    { ACT_FAIL, MAMUTO_EITEM, 9, 0, "failed with code 9: this item was told to fail" },
    { ACT_ABORT, MAMUTO_ECRASH, 0, SIGABRT, "died of signal 6" },
    { ACT_SEGFAULT, MAMUTO_ECRASH, 0, SIGSEGV, "died of signal 11" },
    { ACT_OVERFLOW, MAMUTO_ECRASH, 0, SIGSEGV, "died of signal 11" },
    { ACT_EXIT, MAMUTO_ECRASH, 0, 0, "exited with status" },
    { ACT_EXIT_RENEW, MAMUTO_ECRASH, 0, 0, "exited with status" },
    { ACT_LOOP, MAMUTO_ETIMEOUT, 0, SIGKILL, "took longer than 600 ms" },
};

enum { N_CAUSES = sizeof causes / sizeof *causes };

static void is_of(const mamuto_error_t *err, const struct cause *cause, size_t item)
{
    e2e_is_error(err->code, err, cause->code, cause->text);
    char name[64];
    assert_int_equal(strncmp(err->text, "items.", 6), 0);
    snprintf(name, sizeof name, ": item %zu", item);
    e2e_is_error(err->code, err, cause->code, name);
    assert_int_equal(err->item, item);
    assert_int_equal(err->item_code, cause->item_code);
    assert_int_equal(err->signal, cause->signal);
    assert_true(err->worker >= 0 && err->worker < WORKERS);
    assert_string_equal(err->host, "localhost");
}

static mamuto_call_t call_of(const char *function, const struct cause *cause, int on_error)
{
    return (mamuto_call_t){ .function = function,
                            .on_error = on_error,
                            .item_timeout_ms = cause->act == ACT_LOOP ? TIMEOUT_MS : 0 };
}

/* One such item among n, at a place: with SKIP all others are there, with FAIL it is named at once. */
static void one_item_fails(const char *function, const struct cause *cause, size_t n, size_t place, bool shared)
{
    begin(n, shared);
    it.in[place] = cause->act;
    assert_int_equal(run(call_of(function, cause, MAMUTO_ON_ERROR_SKIP)), MAMUTO_EITEM);
    others_are_right();
    assert_int_equal(it.n_told, 1);
    is_of(&it.told[0], cause, place);
    assert_int_equal(it.err.item, place);
    char text[64];
    snprintf(text, sizeof text, "1 of %zu items failed; the first: item %zu", n, place);
    e2e_is_error(it.err.code, &it.err, MAMUTO_EITEM, text);
    for (size_t i = 0; i < n; i++)
        it.out[i] = -1;
    assert_int_equal(run(call_of(function, cause, MAMUTO_ON_ERROR_FAIL)), cause->code);
    is_of(&it.err, cause, place);
    assert_int_equal(it.n_told, 1);
    nothing_is_wrong();
    end();
}

static void every_cause(const char *function, bool shared)
{
    for (int i = 0; i < N_CAUSES; i++) {
        if (causes[i].act == ACT_LOOP && shared != (strcmp(function, "chunk") == 0))
            continue; /* time */
        size_t n = 3001, places[] = { n / 2, 0, n - 1 };
        for (int k = 0; k < (causes[i].act == ACT_LOOP ? 1 : 3); k++) /* time */
            one_item_fails(function, &causes[i], n, places[k], shared);
        one_item_fails(function, &causes[i], 1, 0, shared);
    }
}

static void item_that_fails_in_item_form_fails_alone(void **state)
{
    (void)state;
    every_cause("item", false);
}

static void item_that_fails_in_chunk_form_fails_alone(void **state)
{
    (void)state;
    every_cause("chunk", false);
}

static void item_of_shared_arrays_fails_alone(void **state)
{
    (void)state;
    every_cause("item", true);
    every_cause("chunk", true);
}

static void item_that_writes_its_input_fails_alone(void **state)
{
    (void)state;
    static const struct cause cause = { ACT_WRITE_INPUT, MAMUTO_ECRASH, 0, SIGSEGV, "died of signal 11" };
    one_item_fails("item", &cause, 3001, 1234, true);
    one_item_fails("chunk", &cause, 3001, 1234, true);
}

static void item_that_writes_its_private_input_writes_a_copy(void **state)
{
    (void)state;
    begin(1000, false);
    it.in[500] = ACT_WRITE_INPUT;
    assert_int_equal(run((mamuto_call_t){ .function = "item" }), 0);
    for (size_t i = 0; i < it.n; i++)
        assert_int_equal(it.out[i], right(i));
    assert_int_equal(it.in[500], ACT_WRITE_INPUT);
    end();
}

static void crash_in_a_million_items_costs_no_other(void **state)
{
    (void)state;
    one_item_fails("chunk", &causes[3], 1000000, 999999, true);
    one_item_fails("item", &causes[2], 1000000, 123456, false);
}

static void item_that_fails_in_the_helping_caller_is_named(void **state)
{
    (void)state;
    begin(3001, false);
    it.in[7] = ACT_FAIL, it.in[2999] = ACT_RETURN;
    assert_int_equal(run((mamuto_call_t){ .function = "chunk", .help = 1, .on_error = MAMUTO_ON_ERROR_SKIP }),
                     MAMUTO_EITEM);
    others_are_right();
    assert_int_equal(it.n_told, 2);
    assert_int_equal(it.told[0].item, 7);
    assert_int_equal(it.told[0].item_code, 9);
    assert_int_equal(it.told[1].item, 2999);
    assert_int_equal(it.told[1].item_code, 7);
    end();
}

/* ---- Many -------------------------------------------------------------------------------------------------------- */

static void many_items_fail(const char *function, size_t n, size_t step, int32_t act, size_t expected)
{
    begin(n, false);
    for (size_t i = 0; i < n; i += step)
        it.in[i] = act;
    assert_int_equal(run((mamuto_call_t){ .function = function, .on_error = MAMUTO_ON_ERROR_SKIP }), MAMUTO_EITEM);
    others_are_right();
    char text[64];
    snprintf(text, sizeof text, "%zu of %zu items failed; the first: item ", expected, n);
    e2e_is_error(it.err.code, &it.err, MAMUTO_EITEM, text);
    assert_int_equal(it.n_told, expected < MOST ? expected : MOST);
    if (expected <= MOST)
        for (size_t k = 0; k < it.n_told; k++)
            assert_int_equal(it.told[k].item, k * step);
    end();
}

static void more_than_a_thousand_failed_items_are_counted(void **state)
{
    (void)state;
    many_items_fail("item", 20000, 4, ACT_RETURN, 5000);
    many_items_fail("chunk", 20000, 4, ACT_FAIL, 5000);
    many_items_fail("item", 2000, 2, ACT_RETURN, 1000);
    many_items_fail("item", 2002, 2, ACT_RETURN, 1001);
}

static void every_item_fails(void **state)
{
    (void)state;
    many_items_fail("item", 3000, 1, ACT_RETURN, 3000);
    many_items_fail("chunk", 3000, 1, ACT_RETURN, 3000);
}

static void every_item_crashes(void **state)
{
    (void)state;
    many_items_fail("item", 60, 1, ACT_ABORT, 60);
    many_items_fail("chunk", 60, 1, ACT_SEGFAULT, 60);
}

static void many_items_crash(void **state)
{
    (void)state;
    many_items_fail("item", 20000, 500, ACT_SEGFAULT, 40);
    many_items_fail("chunk", 20000, 500, ACT_EXIT, 40);
}

static void more_than_a_thousand_crashes_are_counted(void **state)
{
    (void)state;
    many_items_fail("item", 1100, 1, ACT_ABORT, 1100);
}

static void items_fail_for_every_reason_at_once(void **state)
{
    (void)state;
    begin(4000, true);
    for (int i = 0; i < N_CAUSES; i++)
        it.in[i * 487 + 3] = causes[i].act;
    for (int form = 0; form < 2; form++) {
        for (size_t i = 0; i < it.n; i++)
            it.out[i] = -1;
        mamuto_call_t call = { .function = form ? "chunk" : "item",
                               .on_error = MAMUTO_ON_ERROR_SKIP,
                               .item_timeout_ms = TIMEOUT_MS };
        assert_int_equal(run(call), MAMUTO_EITEM);
        others_are_right();
        assert_int_equal(it.n_told, N_CAUSES);
        for (int i = 0; i < N_CAUSES; i++)
            is_of(&it.told[i], &causes[i], (size_t)i * 487 + 3);
    }
    end();
}

static void first_failure_ends_the_map(void **state)
{
    (void)state;
    begin(100000, false);
    for (size_t i = 0; i < it.n; i++)
        it.in[i] = ACT_RETURN;
    assert_int_equal(run((mamuto_call_t){ .function = "item" }), MAMUTO_EITEM);
    assert_true(it.n_told >= 1 && it.n_told <= 2 * WORKERS); /* what was running, no more */
    assert_int_equal(it.err.item, it.told[0].item);
    end();
}

/* ---- Retries ----------------------------------------------------------------------------------------------------- */

/* Runs that an item has left in the scratch folder, which is cleaned. */
static long runs_of(int item)
{
    char name[32];
    snprintf(name, sizeof name, "run-%d", item);
    long runs = e2e_size(name);
    remove(e2e_path(name));
    return runs;
}

/* An item that fails so many times and then works, with so many retries. Two runs are none: in its chunk, and alone. */
static void item_is_tried(const char *function, int failures, int retries, bool works)
{
    begin(500, false);
    it.in[321] = failures;
    mamuto_call_t call = { .function = function, .retries = retries, .on_error = MAMUTO_ON_ERROR_SKIP };
    assert_int_equal(run(call), works ? 0 : MAMUTO_EITEM);
    assert_int_equal(it.n_told, works ? 0 : 1);
    assert_int_equal(runs_of(321), works ? failures + 1 : retries + 2);
    if (works)
        it.in[321] = 0;
    others_are_right();
    end();
}

static void item_that_fails_is_tried_again(void **state)
{
    (void)state;
    item_is_tried("flaky", 1, 0, true);
    item_is_tried("flaky", 2, 0, false);
    item_is_tried("flaky", 2, 1, true);
    item_is_tried("flaky", 5, 4, true);
    item_is_tried("flaky", 6, 4, false);
}

static void item_that_crashes_is_tried_again(void **state)
{
    (void)state;
    item_is_tried("crashing", 1, 0, true);
    item_is_tried("crashing", 2, 0, false);
    item_is_tried("crashing", 2, 1, true);
    item_is_tried("crashing", 5, 4, true);
    item_is_tried("crashing", 6, 4, false);
    item_is_tried("crashing", 20, 50, true);
}

static void item_is_tried_no_more_after_it_worked(void **state)
{
    (void)state;
    begin(200, false);
    for (int i = 0; i < 200; i += 10)
        it.in[i] = 2;
    assert_int_equal(run((mamuto_call_t){ .function = "flaky", .retries = 3 }), 0);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(it.out[i], right((size_t)i));
        if (i % 10 == 0)
            assert_int_equal(runs_of(i), 3);
    }
    end();
}

/* ---- Time -------------------------------------------------------------------------------------------------------- */

static void slow_items_below_the_timeout_are_right(void **state)
{
    (void)state;
    begin(1500, false);
    for (size_t i = 0; i < it.n; i++)
        it.in[i] = 3000; /* µs: together far longer than the timeout */
    assert_int_equal(run((mamuto_call_t){ .function = "work", .item_timeout_ms = 1000 }), 0);
    for (size_t i = 0; i < it.n; i++)
        assert_int_equal(it.out[i], right(i));
    end();
}

static void several_items_that_hang_are_all_named(void **state)
{
    (void)state;
    begin(1000, false);
    for (size_t i = 100; i < it.n; i += 200)
        it.in[i] = ACT_LOOP;
    mamuto_call_t call = { .function = "chunk", .item_timeout_ms = TIMEOUT_MS, .on_error = MAMUTO_ON_ERROR_SKIP };
    assert_int_equal(run(call), MAMUTO_EITEM);
    others_are_right();
    assert_int_equal(it.n_told, 5);
    for (size_t k = 0; k < 5; k++) {
        assert_int_equal(it.told[k].code, MAMUTO_ETIMEOUT);
        assert_int_equal(it.told[k].item, 100 + 200 * k);
    }
    end();
}

static bool all_workers(void *unused)
{
    (void)unused;
    pid_t pids[WORKERS + 2];
    return e2e_workers(pids, WORKERS + 2) == WORKERS;
}

static void workers_are_as_many_as_before(void **state)
{
    (void)state;
    many_items_fail("item", 100, 5, ACT_ABORT, 20);
    assert_true(e2e_until(all_workers, NULL, 5000));
    begin(1000, false);
    assert_int_equal(run((mamuto_call_t){ .function = "item" }), 0);
    others_are_right();
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(item_that_fails_in_item_form_fails_alone),
        cmocka_unit_test(item_that_fails_in_chunk_form_fails_alone),
        cmocka_unit_test(item_of_shared_arrays_fails_alone),
        cmocka_unit_test(item_that_writes_its_input_fails_alone),
        cmocka_unit_test(item_that_writes_its_private_input_writes_a_copy),
        cmocka_unit_test(crash_in_a_million_items_costs_no_other),
        cmocka_unit_test(item_that_fails_in_the_helping_caller_is_named),
        cmocka_unit_test(more_than_a_thousand_failed_items_are_counted),
        cmocka_unit_test(every_item_fails),
        cmocka_unit_test(every_item_crashes),
        cmocka_unit_test(many_items_crash),
        cmocka_unit_test(more_than_a_thousand_crashes_are_counted),
        cmocka_unit_test(items_fail_for_every_reason_at_once),
        cmocka_unit_test(first_failure_ends_the_map),
        cmocka_unit_test(item_that_fails_is_tried_again),
        cmocka_unit_test(item_that_crashes_is_tried_again),
        cmocka_unit_test(item_is_tried_no_more_after_it_worked),
        cmocka_unit_test(slow_items_below_the_timeout_are_right),
        cmocka_unit_test(several_items_that_hang_are_all_named),
        cmocka_unit_test(workers_are_as_many_as_before),
    };
    return cmocka_run_group_tests_name("e2e_items", tests, set_up, tear_down);
}
