/* Cancelling while a mapper is being closed: on_done of a map that close has ended cancels it, or all the others, as a
 * program does that gives up at the first error. Each map is called back once, and nothing remains. */
#include "tests/support/e2e.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <uv.h>

#include <cmocka.h>

enum { MOST = 70, ROOM = 64 }; /* more than ROOM in flight: the others wait in the mapper */

static uv_loop_t loop;
static mamuto_t *m;
static const int32_t in[1] = { 1 };
static int32_t out[MOST];
static struct {
    mamuto_map_t *handle;
    int done, status;
} maps[MOST];
static int n_maps, closed;
static int cancel_from, cancel_to; /* in the first on_done */
static bool cancel_itself;

static void on_open(mamuto_t *mapper, int status, const mamuto_error_t *err)
{
    (void)mapper;
    if (status)
        fail_msg("cannot open: %s", err->text);
}

static int begin(void **state)
{
    (void)state;
    e2e_scratch_begin();
    memset(maps, 0, sizeof maps);
    n_maps = closed = cancel_from = cancel_to = 0;
    cancel_itself = false;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 2}}",
                                 .modules = (const char *[]){ E2E_MODULE("items"), NULL },
                                 .loop = &loop,
                                 .on_open = on_open };
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(mamuto_open(&m, &options, &err), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    return 0;
}

static int end(void **state)
{
    (void)state;
    e2e_scratch_end();
    return 0;
}

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    int number = (int)((int32_t *)mamuto_map_data(map) - out);
    assert_true((status == 0) == (err == NULL));
    assert_int_equal(closed, 0);
    maps[number].done++;
    maps[number].status = status;
    if (cancel_itself)
        assert_int_equal(mamuto_cancel(map), 0);
    for (int i = cancel_from; i < cancel_to; i++)
        if (!maps[i].done)
            assert_int_equal(mamuto_cancel(maps[i].handle), 0);
}

static void on_close(void *data)
{
    (void)data;
    closed++;
}

/* So many maps whose items wait for "go"; as soon as one runs, the mapper is closed. */
static void close_with_maps(int n)
{
    n_maps = n;
    for (int i = 0; i < n; i++) {
        mamuto_error_t err = { 0 };
        mamuto_call_t call = { .function = "items.gate",
                               .args = { mamuto_scatter(in, 1) },
                               .result = &out[i],
                               .data = &out[i],
                               .on_done = on_done };
        if (mamuto_map(m, &call, &maps[i].handle, &err) != 0)
            fail_msg("map %d: %s", i, err.text);
    }
    assert_true(e2e_has_size("begun", 1));
    assert_int_equal(mamuto_close(m, on_close), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(closed, 1);
    for (int i = 0; i < n; i++) {
        if (maps[i].done != 1)
            fail_msg("map %d of %d was called back %d times", i, n, maps[i].done);
        assert_int_equal(maps[i].status, MAMUTO_ECANCELED);
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* Its engine was gone by then: cancelling went through a null pointer. */
static void other_map_is_cancelled_in_the_on_done_of_close(void **state)
{
    (void)state;
    cancel_to = 2;
    close_with_maps(2);
}

static void map_is_cancelled_in_its_own_on_done_of_close(void **state)
{
    (void)state;
    cancel_itself = true;
    close_with_maps(2);
}

/* They were moved to the list of the ended ones after close had gone through it: no on_done, and a leak. */
static void waiting_maps_are_cancelled_in_the_on_done_of_close(void **state)
{
    (void)state;
    cancel_from = ROOM;
    cancel_to = MOST;
    close_with_maps(MOST);
}

static void all_maps_are_cancelled_in_the_on_done_of_close(void **state)
{
    (void)state;
    cancel_itself = true;
    cancel_to = MOST;
    close_with_maps(MOST);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(other_map_is_cancelled_in_the_on_done_of_close),
        TEST(map_is_cancelled_in_its_own_on_done_of_close),
        TEST(waiting_maps_are_cancelled_in_the_on_done_of_close),
        TEST(all_maps_are_cancelled_in_the_on_done_of_close),
    };
    return cmocka_run_group_tests_name("e2e_cancel", tests, NULL, NULL);
}
