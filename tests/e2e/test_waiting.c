/* Callers that wait: none waits for ever, or for another map's item, because everybody thought that somebody else was
 * awake; and the wait of one mapper inside a callback of another leaves that one's report as it was. */
#include "tests/e2e/modules/items.h"
#include "tests/support/e2e.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

enum { SHORT_MAPS = 1000, ROUNDS = 3, FAILED = 6, OTHERS = 3 };

static int begin(void **state)
{
    (void)state;
    e2e_scratch_begin();
    return 0;
}

static int end(void **state)
{
    (void)state;
    e2e_scratch_end();
    return 0;
}

static time_t seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static int short_map(mamuto_t *m, mamuto_error_t *err)
{
    static const int32_t in[4] = { ACT_WORK, ACT_WORK, ACT_WORK, ACT_WORK };
    int32_t out[4] = { 0 };
    mamuto_call_t call = { .function = "items.item", .args = { mamuto_scatter(in, 4) }, .result = out };
    int code = mamuto_map_wait(m, &call, err);
    return code ? code : out[0] == 1 && out[1] == 3 && out[2] == 5 && out[3] == 7 ? 0 : MAMUTO_EITEM;
}

/* ---- Somebody is awake ------------------------------------------------------------------------------------------- */

static int wait_on_one_cpu(void *unused)
{
    (void)unused;
    cpu_set_t all, one;
    E2E_CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    E2E_CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    mamuto_t *m = NULL;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config_text = "{}", .modules = (const char *[]){ E2E_MODULE("items"), NULL } };
    E2E_CHECK_OK(mamuto_open_wait(&m, &options, &err), &err);
    for (int i = 0; i < SHORT_MAPS; i++)
        E2E_CHECK_OK(short_map(m, &err), &err);
    E2E_CHECK(mamuto_close_wait(m) == 0);
    return 0;
}

/* As soon as the cost of an item was known, the caller spun, on the worker's CPU: the worker was left asleep, and
 * nobody woke it when the spinning had come to nothing. */
static void waiting_caller_on_the_workers_cpu_is_served(void **state)
{
    (void)state;
    assert_int_equal(e2e_child(wait_on_one_cpu, NULL), 0);
}

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    assert_true((status == 0) == (err == NULL));
    assert_int_equal(status, 0);
    ++*(int *)mamuto_map_data(map);
}

/* The worker that had spun for the short maps took the long item, still counted as one that looks for work, and the
 * other one slept on. */
static void waiting_caller_does_not_wait_for_another_maps_item(void **state)
{
    (void)state;
    mamuto_t *m = e2e_open(2, E2E_MODULE("items"));
    mamuto_error_t err = { 0 };
    for (int round = 0; round < ROUNDS; round++) {
        static const int32_t in[1] = { 1 };
        int32_t out[1] = { 0 };
        int done = 0;
        for (int i = 0; i < SHORT_MAPS; i++)
            assert_int_equal(short_map(m, &err), 0);
        mamuto_call_t call = { .function = "items.gate",
                               .args = { mamuto_scatter(in, 1) },
                               .result = out,
                               .data = &done,
                               .on_done = on_done };
        assert_int_equal(mamuto_map(m, &call, NULL, &err), 0);
        assert_true(e2e_has_size("begun", 1));
        time_t start = seconds();
        assert_int_equal(short_map(m, &err), 0);
        assert_true(seconds() - start < 10); /* the item in the gate goes on by itself after 20 s */
        assert_int_equal(done, 0);
        e2e_touch("go");
        while (!done)
            assert_int_equal(short_map(m, &err), 0);
        assert_int_equal(out[0], 1);
        assert_int_equal(remove(e2e_path("begun")) | remove(e2e_path("go")), 0);
    }
    e2e_close(m);
}

/* ---- A wait within a callback ------------------------------------------------------------------------------------ */

static struct {
    mamuto_t *other; /* the callback maps on it */
    bool close;      /* and closes it */
    int n_told, n_told_inside;
    uint64_t items[FAILED];
    bool text_is_right;
} inner;

static void on_item_error_inside(mamuto_map_t *map, const mamuto_error_t *err)
{
    (void)map;
    assert_int_equal(err->item_code, 7);
    assert_int_equal(err->item, inner.n_told_inside++);
}

static void on_item_error(mamuto_map_t *map, const mamuto_error_t *err)
{
    (void)map;
    assert_true(inner.n_told < FAILED);
    inner.text_is_right &= err->item_code == 9 && strstr(err->text, "this item was told to fail");
    inner.items[inner.n_told++] = err->item;
    if (!inner.other)
        return;
    static const int32_t in[OTHERS] = { ACT_RETURN, ACT_RETURN, ACT_RETURN };
    int32_t out[OTHERS];
    mamuto_error_t failed = { 0 };
    mamuto_call_t call = { .function = "items.item",
                           .args = { mamuto_scatter(in, OTHERS) },
                           .result = out,
                           .on_error = MAMUTO_ON_ERROR_SKIP,
                           .on_item_error = on_item_error_inside };
    e2e_is_error(mamuto_map_wait(inner.other, &call, &failed), &failed, MAMUTO_EITEM, "3 of 3 items failed");
    if (inner.close)
        e2e_close(inner.other);
    inner.other = NULL;
}

static void map_within_on_item_error(bool close)
{
    mamuto_t *m = e2e_open(2, E2E_MODULE("items")), *other = e2e_open(2, E2E_MODULE("items"));
    memset(&inner, 0, sizeof inner);
    inner.other = other;
    inner.close = close;
    inner.text_is_right = true;
    int32_t in[2 * FAILED], out[2 * FAILED];
    for (int i = 0; i < 2 * FAILED; i++)
        in[i] = i % 2 ? ACT_FAIL : ACT_WORK;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "items.item",
                           .args = { mamuto_scatter(in, 2 * FAILED) },
                           .result = out,
                           .on_error = MAMUTO_ON_ERROR_SKIP,
                           .on_item_error = on_item_error };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EITEM, "6 of 12 items failed; the first: item 1");
    assert_int_equal(inner.n_told_inside, OTHERS);
    assert_int_equal(inner.n_told, FAILED);
    assert_true(inner.text_is_right);
    for (int i = 0; i < FAILED; i++)
        assert_int_equal(inner.items[i], 2 * i + 1);
    if (!close)
        e2e_close(other);
    e2e_close(m);
}

/* All maps of a thread shared one list of failed items: the inner map's replaced the rest of the outer one's. */
static void map_of_another_mapper_within_on_item_error_leaves_its_report(void **state)
{
    (void)state;
    map_within_on_item_error(false);
}

static void close_of_another_mapper_within_on_item_error_leaves_its_report(void **state)
{
    (void)state;
    map_within_on_item_error(true); /* its records were read after they had been unmapped */
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(waiting_caller_on_the_workers_cpu_is_served),
        TEST(waiting_caller_does_not_wait_for_another_maps_item),
        TEST(map_of_another_mapper_within_on_item_error_leaves_its_report),
        TEST(close_of_another_mapper_within_on_item_error_leaves_its_report),
    };
    return cmocka_run_group_tests_name("e2e_waiting", tests, NULL, NULL);
}
