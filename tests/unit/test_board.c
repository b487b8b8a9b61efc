/* Entering a map as under a hazard pointer, leaving it, and looking for work: the board's small operations. The master
 * comes in between through the test points: a hook that runs between two stores. */
#include "shm/claim.h"

#include "tests/support/handmade.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { WORKERS = 3 };

static struct mm_board *board;
static struct mm_board_map *map;
static uint64_t gen;

static void open_map(unsigned slot, uint64_t n, uint64_t grain_items)
{
    map = handmade_map(board, slot, n, grain_items);
    gen = atomic_load(&map->gen);
}

static void (*hook_action)(void);

static void hook(const char *name)
{
    if (strcmp(name, "enter") == 0)
        hook_action();
}

static void close_map(void) { atomic_store(&map->gen, 0); }
static void stop_map(void) { atomic_store(&map->stop, MM_STOP); }

static void enter_of_an_open_map_says_so_until_it_leaves(void **state)
{
    (void)state;
    uint64_t seen = 0;
    open_map(5, 100, 1);
    assert_false(mm_board_enter(board, &board->lanes[1], 6, &seen));
    assert_true(mm_board_enter(board, &board->lanes[1], 5, &seen));
    assert_int_equal(seen, gen);
    assert_int_equal(board->lanes[1].in, gen);
    close_map();
    assert_false(mm_board_reusable(board, 5, gen, WORKERS));
    assert_true(mm_board_reusable(board, 5, gen + 64, WORKERS)); /* a generation that nobody is in */
    assert_false(mm_board_leave(board, &board->lanes[1]));
    assert_true(mm_board_reusable(board, 5, gen, WORKERS));
}

static void enter_of_a_map_that_closes_meanwhile_fails(void **state)
{
    (void)state;
    uint64_t seen = 0;
    open_map(5, 100, 1);
    hook_action = close_map;
    mm_test_point = hook;
    assert_false(mm_board_enter(board, &board->lanes[1], 5, &seen));
    assert_int_equal(board->lanes[1].in, 0);
    assert_int_equal(seen, 0);
}

static void leave_of_a_stopped_map_tells(void **state)
{
    (void)state;
    uint64_t seen = 0;
    open_map(5, 100, 1);
    assert_true(mm_board_enter(board, &board->lanes[1], 5, &seen));
    stop_map();
    assert_true(mm_board_leave(board, &board->lanes[1]));
}

static void reusable_slot_is_closed(void **state)
{
    (void)state;
    open_map(5, 100, 1);
    assert_false(mm_board_reusable(board, 5, gen, WORKERS));
    close_map();
    assert_true(mm_board_reusable(board, 5, gen, WORKERS));
    assert_true(mm_board_reusable(board, 9, 0, WORKERS)); /* never used */
}

static void has_work_looks_at_all_active_maps(void **state)
{
    (void)state;
    bool tell = false;
    open_map(0, 100, 1);
    assert_false(mm_board_has_work(board, &board->lanes[0], &tell));
    open_map(9, 100, 1);
    handmade_word(map, 2, 99, 100);
    assert_true(mm_board_has_work(board, &board->lanes[0], &tell));
    assert_int_equal(board->lanes[0].in, 0);
    handmade_word(map, 2, 100, 100);
    assert_false(mm_board_has_work(board, &board->lanes[0], &tell));
    assert_true(mm_returned_add(map, &(struct mm_taken){ .begin = 3, .end = 9 }));
    assert_true(mm_board_has_work(board, &board->lanes[0], &tell));
    assert_false(tell);
}

static int set_up(void **state)
{
    (void)state;
    board = handmade_board(WORKERS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mm_test_point = NULL;
    handmade_free(board);
    return 0;
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(enter_of_an_open_map_says_so_until_it_leaves),
        TEST(enter_of_a_map_that_closes_meanwhile_fails),
        TEST(leave_of_a_stopped_map_tells),
        TEST(reusable_slot_is_closed),
        TEST(has_work_looks_at_all_active_maps),
    };
    return cmocka_run_group_tests_name("board", tests, NULL, NULL);
}
