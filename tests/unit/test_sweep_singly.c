/* The sweep after a death of a lane that ran items one by one: which item is at fault, and where it goes on. */
#include "shm/sweep.h"

#include "shm/run.h"
#include "tests/support/handmade.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

enum { WORKERS = 3, MAX_ITEMS = 256 };

static struct mm_board *board;
static struct mm_board_map *map;
static uint64_t gen, results[MAX_ITEMS];
static bool dead[MM_MAX_LANES];

static void open_map(uint64_t n, uint64_t grain_items)
{
    map = handmade_map(board, 2, n, grain_items);
    gen = atomic_load(&map->gen);
    memset(results, 0xa5, sizeof results);
}

static enum mm_swept sweep_as(uint32_t lane, int status, enum mm_verdict verdict)
{
    struct mm_death death = {
        .lane = lane, .status = status, .verdict = verdict, .verdict_at = board->lanes[lane].cursor
    };
    dead[lane] = true;
    return mm_sweep(board, map, gen, &death, dead, (char *)results, NULL);
}

static enum mm_swept sweep(uint32_t lane) { return sweep_as(lane, SIGKILL, MM_VERDICT_NONE); }

static void set_cursor(uint32_t lane, uint64_t item, uint32_t failed, uint32_t attempts)
{
    struct mm_lane *at = &board->lanes[lane];
    at->cursor = item;
    at->failed[item & 1] = failed;
    at->failed[~item & 1] = 99;
    at->attempts = attempts | MM_SPARED; /* a worker died of this range before */
}

static void expect_entry(unsigned index, uint32_t begin, uint32_t end, bool singly)
{
    struct mm_returned *entry = handmade_ready(map, index);
    assert_non_null(entry);
    assert_int_equal(entry->begin, begin);
    assert_int_equal(entry->end, end);
    assert_int_equal(entry->singly, singly);
    assert_true(map->ready != 0);
}

static void expect_no_entry(unsigned index) { assert_null(handmade_ready(map, index)); }

static void mark_done(uint32_t begin, uint32_t end)
{
    for (uint32_t i = begin; i < end; i++)
        mm_grain_commit(map, gen, i, 0);
}

static const struct mm_record *only_record(void)
{
    assert_int_equal(map->n_records, 1);
    assert_int_equal(map->records[0].ready, mm_map_tag(gen));
    return &map->records[0];
}

static void sweep_blames_the_item_at_the_cursor(void **state)
{
    (void)state;
    open_map(100, 10);
    map->first = 1000; /* of the call */
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 2, 5);
    mark_done(2, 3);
    set_cursor(1, 34, 3, 0);
    assert_int_equal(sweep(1), MM_SWEPT_SETTLED);
    expect_entry(0, 3, 5, true);
    assert_int_equal(handmade_ready(map, 0)->first_item, 35);
    assert_int_equal(handmade_ready(map, 0)->failed, 4);
    assert_int_equal(handmade_ready(map, 0)->attempts & ~MM_SPARED, 0);
    const struct mm_record *record = only_record();
    assert_int_equal(record->code, MAMUTO_ECRASH);
    assert_int_equal(record->signal, SIGKILL);
    assert_int_equal(record->item, 1034);
    assert_int_equal(record->worker, 1);
    assert_int_equal(results[34], 0);
    assert_true(results[33] != 0 && results[35] != 0);
    assert_int_equal(map->stop & MM_STOP, 0);
}

static void sweep_blames_by_how_the_worker_ended(void **state)
{
    (void)state;
    open_map(100, 10);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 2, 5);
    set_cursor(1, 20, 0, 0);
    assert_int_equal(sweep_as(1, 3 << 8, MM_VERDICT_NONE), MM_SWEPT_SETTLED);
    assert_string_equal(only_record()->text, "it called exit(3)");
    assert_int_equal(only_record()->signal, 0);
    open_map(100, 10);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 2, 5);
    set_cursor(1, 20, 0, 0);
    assert_int_equal(sweep_as(1, SIGKILL, MM_VERDICT_TIMEOUT), MM_SWEPT_SETTLED);
    assert_int_equal(only_record()->code, MAMUTO_ETIMEOUT);
}

static void sweep_spares_the_item_of_a_first_kill_from_outside(void **state)
{
    (void)state; /* it ran singly because an item of its chunk had failed, not because of a death */
    static const enum mm_verdict verdicts[] = { MM_VERDICT_NONE, MM_VERDICT_CANCELED, MM_VERDICT_TIMEOUT };
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        open_map(100, 5);
        handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 2, 6);
        set_cursor(1, 12, 1, 0);
        board->lanes[1].attempts = 0;
        const struct mm_death death = { .lane = 1, .status = SIGKILL, .verdict = verdicts[i], .verdict_at = 11 };
        dead[1] = true;
        assert_int_equal(mm_sweep(board, map, gen, &death, dead, (char *)results, NULL), MM_SWEPT_SETTLED);
        assert_int_equal(map->n_records, 0);
        assert_int_equal(handmade_ready(map, 0)->first_item, 12);
        assert_int_equal(handmade_ready(map, 0)->failed, 1);
        assert_int_equal(handmade_ready(map, 0)->attempts, MM_SPARED); /* the second one counts */
    }
}

static void sweep_blames_with_retries_tries_again(void **state)
{
    (void)state;
    open_map(100, 10);
    map->retries = 2;
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 2, 5);
    set_cursor(1, 24, 1, 1);
    assert_int_equal(sweep(1), MM_SWEPT_SETTLED);
    expect_entry(0, 2, 5, true);
    assert_int_equal(handmade_ready(map, 0)->first_item, 24);
    assert_int_equal(handmade_ready(map, 0)->attempts & ~MM_SPARED, 2);
    assert_int_equal(handmade_ready(map, 0)->failed, 1);
    assert_int_equal(map->n_records, 0);
    assert_true(results[24] != 0);
}

static void sweep_blames_the_last_item_of_a_grain_settles_the_grain(void **state)
{
    (void)state;
    uint64_t word;
    open_map(100, 10);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 2, 5);
    set_cursor(1, 29, 1, 0);
    assert_int_equal(sweep(1), MM_SWEPT_SETTLED);
    word = mm_map_done(map)[2];
    assert_true(handmade_is_done(map, 2));
    assert_int_equal((uint32_t)word, 2);
    expect_entry(0, 3, 5, true);
    assert_int_equal(handmade_ready(map, 0)->first_item, 30);
    assert_int_equal(handmade_ready(map, 0)->failed, 0);
}

static void sweep_blames_the_very_last_item_leaves_nothing(void **state)
{
    (void)state;
    uint64_t failed;
    open_map(25, 10);
    mark_done(0, 2);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 2, 3);
    set_cursor(1, 24, 0, 0);
    assert_int_equal(sweep(1), MM_SWEPT_SETTLED);
    expect_no_entry(0);
    assert_true(mm_map_all_done(map, gen, &failed));
    assert_int_equal(failed, 1);
}

static void sweep_between_done_word_and_cursor_blames_nobody(void **state)
{
    (void)state;
    open_map(100, 10);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 2, 5);
    set_cursor(1, 29, 1, 0);
    mm_grain_commit(map, gen, 2, 2);
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED);
    assert_int_equal(map->n_records, 0);
    expect_entry(0, 3, 5, true);
    assert_int_equal(handmade_ready(map, 0)->first_item, 30);
    assert_int_equal(handmade_ready(map, 0)->failed, 0);
    assert_int_equal((uint32_t)mm_map_done(map)[2], 2);
}

static void sweep_of_an_item_that_is_recorded_does_not_record_it_twice(void **state)
{
    (void)state;
    open_map(100, 10);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 2, 5);
    set_cursor(1, 24, 0, 0);
    mm_record_add(map, gen, 24, 1, 0, &(struct mm_failure){ .code = MAMUTO_EITEM, .item_code = 7 });
    assert_int_equal(sweep(1), MM_SWEPT_SETTLED);
    assert_int_equal(only_record()->code, MAMUTO_EITEM);
    assert_int_equal(handmade_ready(map, 0)->failed, 1);
}

static void sweep_in_a_map_that_fails_at_once_stops_it(void **state)
{
    (void)state;
    open_map(100, 10);
    map->flags = MM_MAP_FAIL_FAST;
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 2, 5);
    set_cursor(1, 24, 0, 0);
    assert_int_equal(sweep(1), MM_SWEPT_SETTLED);
    assert_int_equal(map->stop & MM_STOP, MM_STOP);
}

static int set_up(void **state)
{
    (void)state;
    board = handmade_board(WORKERS);
    memset(dead, 0, sizeof dead);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    handmade_free(board);
    return 0;
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sweep_blames_the_item_at_the_cursor),
        TEST(sweep_blames_by_how_the_worker_ended),
        TEST(sweep_spares_the_item_of_a_first_kill_from_outside),
        TEST(sweep_blames_with_retries_tries_again),
        TEST(sweep_blames_the_last_item_of_a_grain_settles_the_grain),
        TEST(sweep_blames_the_very_last_item_leaves_nothing),
        TEST(sweep_between_done_word_and_cursor_blames_nobody),
        TEST(sweep_of_an_item_that_is_recorded_does_not_record_it_twice),
        TEST(sweep_in_a_map_that_fails_at_once_stops_it),
    };
    return cmocka_run_group_tests_name("sweep_singly", tests, NULL, NULL);
}
