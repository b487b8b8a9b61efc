/* Many maps at once: all of them end right, those of a higher priority sooner, and none starves. */
#include "tests/support/e2e.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <uv.h>

#include <cmocka.h>

enum { MOST = 200, ITEMS = 16 };

static uv_loop_t loop;
static mamuto_t *m;
static uint32_t in[ITEMS];
static struct {
    uint64_t out[ITEMS];
    int done, rank; /* rank: so many maps ended before it */
} maps[MOST];
static int n_done;
static bool again; /* maps of priority 1 begin anew when they are done */

static void on_open(mamuto_t *mapper, int status, const mamuto_error_t *err)
{
    (void)mapper;
    if (status)
        fail_msg("cannot open: %s", err->text);
}

static void open_with(const char *config)
{
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config_text = config,
                                 .modules = (const char *[]){ E2E_MODULE("stamp"), NULL },
                                 .loop = &loop,
                                 .on_open = on_open };
    memset(maps, 0, sizeof maps);
    n_done = 0;
    again = false;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(mamuto_open(&m, &options, &err), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
}

static int begin(void **state)
{
    (void)state;
    e2e_scratch_begin();
    open_with("{\"hosts\": {\"localhost\": 2}}");
    return 0;
}

static int begin_with_one_worker(void **state)
{
    (void)state;
    e2e_scratch_begin();
    open_with("{\"hosts\": {\"localhost\": 1}}");
    return 0;
}

static int end(void **state)
{
    (void)state;
    mamuto_close(m, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    e2e_scratch_end();
    return 0;
}

static void submit(int number, const char *function, size_t n, int priority);

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    int number = (int)(intptr_t)mamuto_map_data(map);
    if (status && status != MAMUTO_ECANCELED)
        fail_msg("map %d: %s", number, err->text);
    maps[number].done++;
    maps[number].rank = n_done++;
    if (again && number)
        submit(number, "stamp", 1, 1);
}

static void submit(int number, const char *function, size_t n, int priority)
{
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = function,
                           .args = { mamuto_scatter(in, n) },
                           .result = maps[number].out,
                           .priority = priority,
                           .data = (void *)(intptr_t)number,
                           .on_done = on_done };
    if (mamuto_map(m, &call, NULL, &err) != 0)
        fail_msg("map %d: %s", number, err.text);
}

static void items_of(uint32_t us)
{
    for (int i = 0; i < ITEMS; i++)
        in[i] = us;
}

static void priority_out_of_range_is_refused(void **state)
{
    (void)state;
    static const int bad[] = { -101, 101, INT32_MIN, INT32_MAX };
    for (int i = 0; i < 4; i++) {
        mamuto_error_t err = { 0 };
        mamuto_call_t call = {
            .function = "stamp", .args = { mamuto_scatter(in, 1) }, .result = maps[0].out, .priority = bad[i]
        };
        e2e_is_error(mamuto_map(m, &call, NULL, &err), &err, MAMUTO_EINVAL, "it is -100 to 100");
    }
    submit(0, "stamp", 1, -100);
    submit(1, "stamp", 1, 100);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_done, 2);
}

static void two_hundred_maps_at_once_end_right(void **state)
{
    (void)state;
    items_of(5);
    for (int i = 0; i < MOST; i++)
        submit(i, "stamp", ITEMS, i % 7 - 3);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (int i = 0; i < MOST; i++) {
        assert_int_equal(maps[i].done, 1);
        for (int k = 0; k < ITEMS; k++)
            assert_true(maps[i].out[k] != 0);
    }
}

static void map_of_high_priority_overtakes_a_hundred(void **state)
{
    (void)state;
    items_of(300);
    for (int i = 1; i <= 100; i++)
        submit(i, "stamp", ITEMS, 0);
    submit(0, "stamp", ITEMS, 1);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_done, 101);
    assert_true(maps[0].rank < 70); /* 64 are on the board, a chunk each in turn, and may end at about the same time */
}

/* While a gate holds the only worker, others are put on the board: they are served by priority, but for one plain turn. */
static void maps_on_the_board_are_served_by_priority(void **state)
{
    (void)state;
    static const int priorities[] = { 0, -3, 100, 5, 0, -100, 5, 1 };
    enum { N = sizeof priorities / sizeof *priorities };
    int inversions = 0;
    submit(MOST - 1, "gate", 1, 0);
    for (int i = 0; i < N; i++)
        submit(i, "stamp", 1, priorities[i]);
    e2e_touch("go");
    uv_run(&loop, UV_RUN_DEFAULT);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            inversions += priorities[i] > priorities[k] && maps[i].out[0] > maps[k].out[0];
    assert_true(inversions <= N - 1); /* one that was served before its turn */
}

/* 64 maps are on the board: the others wait in the mapper, and begin by priority. */
static void maps_in_the_queue_begin_by_priority(void **state)
{
    (void)state;
    int later = 0;
    for (int i = 0; i < 64; i++)
        submit(i, "gate", 1, 0);
    for (int i = 64; i < MOST; i++)
        submit(i, "stamp", ITEMS, i < 132 ? -1 : 1);
    items_of(200);
    e2e_touch("go");
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_done, MOST);
    for (int i = 132; i < MOST; i++)
        later += maps[i].rank > 64 + 68 + 10; /* 64 gates, 68 high ones, and what plain turns let through */
    assert_int_equal(later, 0);
}

static bool turn_until_0_is_done(void *unused)
{
    (void)unused;
    uv_run(&loop, UV_RUN_NOWAIT);
    return maps[0].done;
}

static void low_map_beside_endless_high_ones_ends(int high)
{
    items_of(100);
    again = true;
    for (int i = 1; i <= high; i++)
        submit(i, "stamp", ITEMS, 1);
    submit(0, "stamp", ITEMS, -1);
    bool ended = e2e_until(turn_until_0_is_done, NULL, E2E_PATIENCE_MS);
    again = false;
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(ended);
}

static void low_map_on_the_board_does_not_starve(void **state)
{
    (void)state;
    low_map_beside_endless_high_ones_ends(8);
}

static void low_map_in_the_queue_does_not_starve(void **state)
{
    (void)state;
    low_map_beside_endless_high_ones_ends(120);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(priority_out_of_range_is_refused),
        TEST(two_hundred_maps_at_once_end_right),
        TEST(map_of_high_priority_overtakes_a_hundred),
        cmocka_unit_test_setup_teardown(maps_on_the_board_are_served_by_priority, begin_with_one_worker, end),
        TEST(maps_in_the_queue_begin_by_priority),
        TEST(low_map_on_the_board_does_not_starve),
        TEST(low_map_in_the_queue_does_not_starve),
    };
    return cmocka_run_group_tests_name("e2e_priority", tests, NULL, NULL);
}
