/* The sweep after a death, on boards that are built by hand: what is returned, what is blamed, what is put off.
 * test_sweep_deaths.c has the same with lanes that run the engine's own code. */
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
    struct mm_death death = { .lane = lane, .status = status, .verdict = verdict };
    dead[lane] = true;
    return mm_sweep(board, map, gen, &death, dead, (char *)results, NULL);
}

static enum mm_swept sweep(uint32_t lane) { return sweep_as(lane, SIGKILL, MM_VERDICT_NONE); }

static void forked_again(uint32_t lane)
{
    dead[lane] = false;
    atomic_store(&board->lanes[lane].claim, 0);
    atomic_store(&board->lanes[lane].in, 0);
    atomic_store(&board->lanes[lane].moves, 0);
}

static void set_cursor(uint32_t lane, uint64_t item, uint32_t failed, uint32_t attempts)
{
    struct mm_lane *at = &board->lanes[lane];
    at->cursor = item;
    at->failed[item & 1] = failed;
    at->failed[~item & 1] = 99;
    at->attempts = attempts | MM_SPARED; /* a worker died of this range before */
}

static void set_block(uint32_t lane, uint64_t begin, uint64_t end)
{
    board->lanes[lane].cursor = begin;
    board->lanes[lane].block_end = end;
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

/* ---- It held nothing ---------------------------------------------------------------------------------------------- */

static void sweep_of_a_lane_without_a_claim_does_nothing(void **state)
{
    (void)state;
    open_map(100, 1);
    handmade_claim(board, 1, map, MM_CLAIM_NONE, false, 0, 0);
    assert_int_equal(sweep(1), MM_SWEPT_NOTHING);
    expect_no_entry(0);
}

static void sweep_of_a_claim_in_another_map_does_nothing(void **state)
{
    (void)state;
    open_map(100, 1);
    handmade_claim(board, 1, &board->maps[7], MM_CLAIM_OWNED, false, 0, 10);
    assert_int_equal(sweep(1), MM_SWEPT_NOTHING);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, false, 0, 10);
    board->lanes[1].in = gen - 64; /* of the slot's last map */
    assert_int_equal(sweep(1), MM_SWEPT_NOTHING);
    expect_no_entry(0);
}

/* ---- It was about to take ------------------------------------------------------------------------------------------ */

static void sweep_of_an_intent_before_the_swap_returns_nothing(void **state)
{
    (void)state;
    open_map(100, 1);
    handmade_word(map, 1, 10, 50);
    handmade_claim(board, 1, map, MM_CLAIM_INTENT, false, 10, 20);
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED);
    expect_no_entry(0);
}

static void sweep_of_an_intent_after_the_swap_returns_it_whole(void **state)
{
    (void)state;
    open_map(100, 1);
    handmade_word(map, 1, 20, 50);
    handmade_claim(board, 1, map, MM_CLAIM_INTENT, false, 10, 20);
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED);
    expect_entry(0, 10, 20, false);
    expect_no_entry(1);
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED); /* once more: it stands in the entry now */
    expect_no_entry(1);
}

static void sweep_of_an_intent_that_another_won_returns_nothing(void **state)
{
    (void)state;
    open_map(100, 1);
    handmade_claim(board, 1, map, MM_CLAIM_INTENT, false, 10, 20);
    handmade_claim(board, 0, map, MM_CLAIM_OWNED, false, 10, 15);
    mark_done(15, 20);
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED);
    expect_no_entry(0);
}

static void sweep_beside_a_live_intent_is_put_off(void **state)
{
    (void)state;
    open_map(100, 1);
    handmade_claim(board, 1, map, MM_CLAIM_INTENT, false, 10, 20);
    handmade_claim(board, 0, map, MM_CLAIM_INTENT, false, 15, 25);
    assert_int_equal(sweep(1), MM_SWEPT_LATER);
    handmade_claim(board, 0, map, MM_CLAIM_OWNED, false, 15, 25); /* it was he who had won */
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED);
    expect_entry(0, 10, 15, false);
    expect_no_entry(1);
}

/* Two that are dead do not wait for each other. */
static void sweep_beside_an_intent_of_another_dead_lane_returns_it_once(void **state)
{
    (void)state;
    open_map(100, 1);
    handmade_claim(board, 0, map, MM_CLAIM_INTENT, false, 10, 20);
    handmade_claim(board, 1, map, MM_CLAIM_INTENT, false, 10, 20);
    dead[0] = dead[1] = true;
    board->lanes[0].moves = 5;
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED);
    forked_again(1);
    assert_int_equal(sweep(0), MM_SWEPT_RETURNED);
    expect_entry(0, 10, 20, false);
    expect_no_entry(1);
}

static void sweep_during_a_live_move_is_put_off(void **state)
{
    (void)state;
    open_map(100, 1);
    handmade_claim(board, 1, map, MM_CLAIM_INTENT, false, 10, 20);
    board->lanes[WORKERS].moves = 1; /* the caller's lane counts, too */
    assert_int_equal(sweep(1), MM_SWEPT_LATER);
    expect_no_entry(0);
    board->lanes[WORKERS].moves = 2;
    board->lanes[1].moves = 7; /* its own do not */
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED);
    expect_entry(0, 10, 20, false);
}

/* The thief died between its word and its claim: the rest is in both. */
static void sweep_of_a_thief_in_mid_move_returns_what_its_word_does_not_name(void **state)
{
    (void)state;
    open_map(100, 1);
    handmade_word(map, 0, 0, 50);
    handmade_word(map, 1, 75, 100);
    handmade_claim(board, 1, map, MM_CLAIM_INTENT, false, 50, 100);
    board->lanes[1].moves = 1;
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED);
    expect_entry(0, 50, 75, false);
    expect_no_entry(1);
}

static void sweep_with_holes_returns_each_run(void **state)
{
    (void)state;
    open_map(100, 1);
    handmade_claim(board, 1, map, MM_CLAIM_INTENT, false, 10, 20);
    mark_done(12, 13);
    handmade_claim(board, 0, map, MM_CLAIM_OWNED, false, 15, 17);
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED);
    expect_entry(0, 10, 12, false);
    expect_entry(1, 13, 15, false);
    expect_entry(2, 17, 20, false);
    expect_no_entry(3);
}

/* ---- It ran a chunk ------------------------------------------------------------------------------------------------- */

static void sweep_of_a_chunk_singles_out_the_block_that_ran(void **state)
{
    (void)state;
    open_map(120, 4);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, false, 5, 15);
    set_block(1, 30, 37); /* from within grain 7 to within grain 9 */
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED);
    expect_entry(0, 5, 7, false);
    expect_entry(1, 7, 10, true);
    assert_int_equal(handmade_ready(map, 1)->first_item, 28);
    expect_entry(2, 10, 15, false);
    expect_no_entry(3);
}

static void sweep_of_a_chunk_that_has_not_begun_suspects_nothing(void **state)
{
    (void)state;
    open_map(120, 4);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, false, 5, 15);
    set_block(1, 20, 20);
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED);
    for (unsigned i = 0; handmade_ready(map, i); i++)
        assert_false(handmade_ready(map, i)->singly);
    assert_non_null(handmade_ready(map, 0));
}

static void sweep_of_a_chunk_that_is_partly_committed_returns_the_rest(void **state)
{
    (void)state;
    open_map(120, 4);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, false, 5, 15);
    set_block(1, 20, 60);
    mark_done(5, 9);
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED);
    expect_entry(0, 9, 15, true);
    expect_no_entry(1);
}

static void sweep_of_a_chunk_that_is_committed_returns_nothing(void **state)
{
    (void)state;
    open_map(120, 4);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, false, 5, 15);
    set_block(1, 20, 60);
    mark_done(5, 15);
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED);
    expect_no_entry(0);
}

static void sweep_of_a_damaged_claim_stays_within_the_map(void **state)
{
    (void)state;
    open_map(100, 10);
    mark_done(0, 8);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, false, 5, 0xfffff);
    set_block(1, 0, UINT64_MAX);
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED);
    expect_entry(0, 8, 10, true);
    expect_no_entry(1);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 0xffff0, 0xfffff);
    set_cursor(1, UINT64_MAX, 0, 0);
    sweep(1);
    expect_no_entry(1);
}

static void sweep_without_room_is_put_off_and_changes_nothing(void **state)
{
    (void)state;
    open_map(1000, 1);
    for (uint32_t i = 0; i < MM_MAX_RETURNED - 1; i++)
        assert_true(mm_returned_add(map, &(struct mm_taken){ .begin = 500 + i, .end = 501 + i }));
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 0, 10);
    set_cursor(1, 3, 0, 0);
    assert_int_equal(sweep(1), MM_SWEPT_LATER);
    assert_int_equal(map->n_records, 0);
    assert_int_equal(map->n_done, 0);
    for (unsigned i = 0; i < 8; i++)
        map->returned[i].state = map->returned[i].state >> 16 << 16;
    assert_int_equal(sweep(1), MM_SWEPT_SETTLED);
    assert_int_equal(map->n_records, 1);
}

/* ---- It had a returned range ---------------------------------------------------------------------------------------- */

static void sweep_of_an_intent_on_an_entry_offers_it_again(void **state)
{
    (void)state;
    const struct mm_taken range = {
        .begin = 3, .end = 6, .singly = true, .first_item = 17, .failed = 2, .attempts = 1
    };
    open_map(100, 5);
    assert_true(mm_returned_add(map, &range));
    struct mm_returned *entry = handmade_ready(map, 0);
    entry->state = entry->state >> 16 << 16 | 1 << 8 | MM_ENTRY_TAKEN;
    handmade_claim(board, 1, map, MM_CLAIM_INTENT, true, 3, 6);
    assert_int_equal(sweep(1), MM_SWEPT_RETURNED);
    expect_entry(0, 3, 6, true);
    assert_ptr_equal(handmade_ready(map, 0), entry);
    assert_int_equal(entry->first_item, 17);
    assert_int_equal(entry->failed, 2);
    assert_int_equal(entry->attempts, 1);
    expect_no_entry(1);
}

static void sweep_of_an_owned_entry_frees_it_and_goes_by_the_cursor(void **state)
{
    (void)state;
    const struct mm_taken range = { .begin = 3, .end = 6, .singly = true, .first_item = 17 };
    open_map(100, 5);
    assert_true(mm_returned_add(map, &range));
    struct mm_returned *entry = handmade_ready(map, 0);
    entry->state = entry->state >> 16 << 16 | 1 << 8 | MM_ENTRY_TAKEN;
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 3, 6);
    set_cursor(1, 17, 0, 0);
    assert_int_equal(sweep(1), MM_SWEPT_SETTLED);
    expect_entry(0, 3, 6, true);
    assert_int_equal(handmade_ready(map, 0)->first_item, 18);
    expect_no_entry(1);
}

static void quiet_map_is_one_that_no_lane_is_in(void **state)
{
    (void)state;
    open_map(100, 10);
    assert_true(mm_map_quiet(board, gen, WORKERS));
    handmade_claim(board, 2, map, MM_CLAIM_NONE, false, 0, 0);
    assert_false(mm_map_quiet(board, gen, WORKERS));
    board->lanes[2].in = gen + 64;
    assert_true(mm_map_quiet(board, gen, WORKERS));
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
        TEST(sweep_of_a_lane_without_a_claim_does_nothing),
        TEST(sweep_of_a_claim_in_another_map_does_nothing),
        TEST(sweep_of_an_intent_before_the_swap_returns_nothing),
        TEST(sweep_of_an_intent_after_the_swap_returns_it_whole),
        TEST(sweep_of_an_intent_that_another_won_returns_nothing),
        TEST(sweep_beside_a_live_intent_is_put_off),
        TEST(sweep_beside_an_intent_of_another_dead_lane_returns_it_once),
        TEST(sweep_during_a_live_move_is_put_off),
        TEST(sweep_of_a_thief_in_mid_move_returns_what_its_word_does_not_name),
        TEST(sweep_with_holes_returns_each_run),
        TEST(sweep_of_a_chunk_singles_out_the_block_that_ran),
        TEST(sweep_of_a_chunk_that_has_not_begun_suspects_nothing),
        TEST(sweep_of_a_chunk_that_is_partly_committed_returns_the_rest),
        TEST(sweep_of_a_chunk_that_is_committed_returns_nothing),
        TEST(sweep_of_a_damaged_claim_stays_within_the_map),
        TEST(sweep_without_room_is_put_off_and_changes_nothing),
        TEST(sweep_of_an_intent_on_an_entry_offers_it_again),
        TEST(sweep_of_an_owned_entry_frees_it_and_goes_by_the_cursor),
        TEST(quiet_map_is_one_that_no_lane_is_in),
    };
    return cmocka_run_group_tests_name("sweep", tests, NULL, NULL);
}
