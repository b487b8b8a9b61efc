/* Claim and commit, one step at a time: what stands where on the board afterwards. Other lanes come in between through
 * the test points: a hook that runs between two stores of the step. */
#include "shm/claim.h"

#include "tests/support/handmade.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { WORKERS = 3 };

static struct mm_board *board;
static struct mm_board_map *map;
static uint64_t gen;
static const struct mm_pace slow = { .item_ticks = 20000 }; /* 20 µs an item: a chunk is half of what is left */
static const struct mm_pace slower = { .item_ticks = 2e6 }; /* 2 ms, above the cap: one grain a chunk */

static void open_map(unsigned slot, uint64_t n, uint64_t grain_items)
{
    map = handmade_map(board, slot, n, grain_items);
    gen = atomic_load(&map->gen);
}

static bool claim(uint32_t lane, const struct mm_pace *pace, struct mm_taken *taken)
{
    return mm_claim_next(board, map, gen, lane, pace, taken);
}

static void expect_claim(uint32_t lane, enum mm_claim_state state, bool singly, uint32_t begin, uint32_t end)
{
    uint64_t word = atomic_load(&board->lanes[lane].claim);
    assert_int_equal(mm_claim_state(word), state);
    assert_int_equal(mm_claim_singly(word), singly);
    assert_int_equal(mm_claim_slot(word), map - board->maps);
    assert_int_equal(mm_claim_begin(word), begin);
    assert_int_equal(mm_claim_end(word), end);
}

static void expect_word(uint32_t lane, uint32_t begin, uint32_t end)
{
    uint64_t word = atomic_load(&mm_map_words(map)[lane]);
    assert_true(mm_word_is_of(word, gen));
    assert_int_equal(mm_word_begin(word), begin);
    assert_int_equal(mm_word_end(word), end);
}

/* What another lane does when the one under test passes a point for the first time. */
static const char *hook_name;
static void (*hook_action)(void);

static void hook(const char *name)
{
    if (!hook_name || strcmp(name, hook_name) != 0)
        return;
    hook_name = NULL;
    hook_action();
}

static void at_point(const char *name, void (*action)(void))
{
    hook_name = name;
    hook_action = action;
    mm_test_point = hook;
}

/* ---- The words ------------------------------------------------------------------------------------------------------- */

static void claim_words_keep_their_fields(void **state)
{
    (void)state;
    uint64_t any_gen = UINT64_C(0xabcdef) << 6 | 5, word = mm_word_pack(any_gen, 0xfedcb, 0x12345);
    assert_int_equal(mm_word_begin(word), 0xfedcb);
    assert_int_equal(mm_word_end(word), 0x12345);
    assert_true(mm_word_is_of(word, any_gen));
    assert_false(mm_word_is_of(word, any_gen + 64));
    assert_int_equal(mm_word_left(word, any_gen), 0);
    assert_int_equal(mm_word_left(mm_word_pack(any_gen, 3, 10), any_gen), 7);
    uint64_t packed = mm_claim_pack(MM_CLAIM_OWNED, true, 63, 0xfedcb, MM_MAX_GRAINS);
    assert_int_equal(mm_claim_state(packed), MM_CLAIM_OWNED);
    assert_true(mm_claim_singly(packed));
    assert_int_equal(mm_claim_slot(packed), 63);
    assert_int_equal(mm_claim_begin(packed), 0xfedcb);
    assert_int_equal(mm_claim_end(packed), MM_MAX_GRAINS);
}

/* ---- The own part ---------------------------------------------------------------------------------------------------- */

static void claim_own_part_takes_half_from_its_front(void **state)
{
    (void)state;
    struct mm_taken taken;
    open_map(0, 100, 1);
    handmade_word(map, 1, 20, 60);
    assert_true(claim(1, &slow, &taken));
    assert_int_equal(taken.begin, 20);
    assert_int_equal(taken.end, 40);
    assert_false(taken.singly || taken.left_rest);
    expect_claim(1, MM_CLAIM_OWNED, false, 20, 40);
    expect_word(1, 40, 60);
    assert_int_equal(board->lanes[1].cursor, 20);
    assert_int_equal(board->lanes[1].block_end, 20); /* nothing runs yet */
    assert_int_equal(board->lanes[1].seq, 1);
}

static void take_own_front(void) { handmade_word(map, 1, 30, 60); } /* a thief never does: it takes the far end */
static void take_own_end(void) { handmade_word(map, 1, 20, 40); }

static void claim_own_part_is_stolen_from_meanwhile_takes_less(void **state)
{
    (void)state;
    struct mm_taken taken;
    open_map(0, 100, 1);
    handmade_word(map, 1, 20, 60);
    at_point("intent", take_own_end);
    assert_true(claim(1, &slow, &taken));
    assert_int_equal(taken.begin, 20);
    assert_int_equal(taken.end, 30);
    expect_claim(1, MM_CLAIM_OWNED, false, 20, 30);
    expect_word(1, 30, 40);
    handmade_word(map, 1, 20, 60);
    at_point("intent", take_own_front);
    assert_true(claim(1, &slow, &taken));
    assert_int_equal(taken.begin, 30);
}

static void open_next_map(void)
{
    struct mm_board_map *next = handmade_map(board, 0, 100, 1); /* the slot's next generation */
    handmade_word(next, 1, 0, 100);
}

/* Cannot be, since a slot is reused when no lane is in it; if it were, the swap would fail. */
static void claim_by_a_late_lane_fails_on_the_next_map_of_the_slot(void **state)
{
    (void)state;
    struct mm_taken taken;
    open_map(0, 100, 1);
    handmade_word(map, 1, 20, 60);
    at_point("intent", open_next_map);
    assert_false(claim(1, &slow, &taken));
    assert_int_equal(board->lanes[1].claim, 0);
    gen = atomic_load(&map->gen);
    expect_word(1, 0, 100);
}

static void claim_with_an_old_generation_takes_nothing(void **state)
{
    (void)state;
    struct mm_taken taken;
    open_map(0, 100, 1);
    uint64_t old = gen;
    open_next_map();
    assert_false(mm_claim_next(board, map, old, 1, &slow, &taken));
    assert_false(mm_claim_next(board, map, old, 0, &slow, &taken));
    assert_int_equal(board->lanes[1].seq, 0);
}

static void claim_in_a_stopped_map_takes_nothing(void **state)
{
    (void)state;
    struct mm_taken taken;
    open_map(0, 100, 1);
    handmade_word(map, 1, 0, 100);
    atomic_store(&map->stop, MM_NOTIFY);
    assert_true(mm_map_has_work(map, gen));
    atomic_store(&map->stop, MM_STOP);
    assert_false(mm_map_has_work(map, gen));
    assert_false(claim(1, &slow, &taken));
    expect_word(1, 0, 100);
}

/* ---- Stealing -------------------------------------------------------------------------------------------------------- */

static void claim_without_an_own_part_steals_the_far_half(void **state)
{
    (void)state;
    struct mm_taken taken;
    open_map(0, 100, 1);
    handmade_word(map, 2, 0, 100);
    assert_true(claim(0, &slow, &taken));
    assert_int_equal(taken.begin, 50);
    assert_int_equal(taken.end, 75);
    assert_true(taken.left_rest);
    expect_word(2, 0, 50);
    expect_word(0, 75, 100);
    expect_claim(0, MM_CLAIM_OWNED, false, 50, 75);
    assert_int_equal(board->lanes[0].moves, 2);
    assert_int_equal(board->lanes[0].cursor, 50);
}

static uint64_t odd_moves;
static void note_odd_moves(void)
{
    odd_moves += atomic_load(&board->lanes[0].moves) & 1;
    expect_claim(0, MM_CLAIM_INTENT, false, 50, 100); /* the word says the same now: named twice, for this while */
}

static void claim_moves_are_odd_while_the_rest_is_in_two_places(void **state)
{
    (void)state;
    struct mm_taken taken;
    open_map(0, 100, 1);
    handmade_word(map, 2, 0, 100);
    odd_moves = 0;
    at_point("move-word", note_odd_moves);
    assert_true(claim(0, &slow, &taken));
    assert_int_equal(odd_moves, 1);
}

static void claim_of_the_last_grain_is_stolen_whole(void **state)
{
    (void)state;
    struct mm_taken taken;
    open_map(0, 100, 1);
    handmade_word(map, 2, 99, 100);
    assert_true(claim(0, &slower, &taken));
    assert_int_equal(taken.begin, 99);
    assert_int_equal(taken.end, 100);
    assert_false(taken.left_rest);
    assert_int_equal(board->lanes[0].moves, 0);
    expect_word(2, 99, 99);
    assert_false(claim(0, &slower, &taken));
    assert_false(mm_map_has_work(map, gen));
}

static void claim_visits_every_victim(void **state)
{
    (void)state;
    for (uint32_t victim = 0; victim <= WORKERS; victim++) {
        struct mm_taken taken;
        open_map(0, 100, 1);
        handmade_word(map, victim, 7, 8);
        for (uint32_t thief = 0; thief <= WORKERS; thief++) {
            assert_true(claim(thief, &slow, &taken));
            assert_int_equal(taken.begin, 7);
            handmade_word(map, victim, 7, 8);
        }
    }
}

/* ---- Returned ranges ------------------------------------------------------------------------------------------------- */

static const struct mm_taken again = {
    .begin = 3, .end = 9, .singly = true, .first_item = 14, .failed = 2, .attempts = 1
};

static void claim_of_a_returned_range_comes_first(void **state)
{
    (void)state;
    struct mm_taken taken;
    open_map(0, 100, 4);
    handmade_word(map, 1, 10, 20);
    assert_true(mm_returned_add(map, &again));
    assert_true(claim(1, &slow, &taken));
    assert_int_equal(taken.begin, 3);
    assert_int_equal(taken.end, 9);
    assert_int_equal(taken.first_item, 14);
    assert_int_equal(taken.failed, 2);
    assert_int_equal(taken.attempts, 1);
    expect_claim(1, MM_CLAIM_OWNED, true, 3, 9);
    assert_int_equal(board->lanes[1].cursor, 14);
    assert_int_equal(board->lanes[1].failed[0], 2);
    assert_int_equal(board->lanes[1].attempts, 1);
    assert_null(handmade_ready(map, 0));
    assert_true(claim(1, &slow, &taken)); /* the hint still stands, and there is nothing behind it */
    assert_int_equal(taken.begin, 10);
    assert_int_equal(map->ready, 0);
}

static void take_entry(void)
{
    struct mm_taken taken;
    assert_true(claim(2, &slow, &taken));
    assert_int_equal(taken.begin, 3);
}

static void claim_of_a_returned_range_that_another_takes_goes_on(void **state)
{
    (void)state;
    struct mm_taken taken;
    open_map(0, 100, 4);
    assert_true(mm_returned_add(map, &again));
    at_point("intent", take_entry);
    assert_false(claim(1, &slow, &taken));
    assert_int_equal(board->lanes[1].claim, 0);
    expect_claim(2, MM_CLAIM_OWNED, true, 3, 9);
}

static void take_and_refill_entry(void)
{
    take_entry();
    assert_true(mm_returned_add(map, &(struct mm_taken){ .begin = 20, .end = 21 }));
}

/* The entry is READY again, but with another range: its tag says so. And the hint is not cleared by one who has passed it
 * by, though nothing else is left. */
static void claim_of_a_refilled_entry_is_not_taken_for_the_old_one(void **state)
{
    (void)state;
    struct mm_taken taken;
    open_map(0, 100, 4);
    assert_true(mm_returned_add(map, &again));
    at_point("intent", take_and_refill_entry);
    assert_false(claim(1, &slow, &taken));
    assert_true(mm_map_has_work(map, gen));
    assert_true(claim(1, &slow, &taken));
    assert_int_equal(taken.begin, 20);
}

static void returned_table_that_is_full_takes_no_more(void **state)
{
    (void)state;
    open_map(0, 1000, 1);
    for (uint32_t i = 0; i < MM_MAX_RETURNED; i++)
        assert_true(mm_returned_add(map, &(struct mm_taken){ .begin = i, .end = i + 1 }));
    assert_false(mm_returned_add(map, &again));
    struct mm_taken taken;
    for (uint32_t i = 0; i < MM_MAX_RETURNED; i++) {
        assert_true(claim(0, &slow, &taken));
        assert_int_equal(taken.begin, i);
    }
    assert_true(mm_returned_add(map, &again));
}

static void returned_entry_of_a_dead_lane_is_offered_again_or_freed(void **state)
{
    (void)state;
    for (int offer = 0; offer < 2; offer++) {
        open_map(0, 100, 4);
        assert_true(mm_returned_add(map, &again));
        struct mm_returned *entry = handmade_ready(map, 0);
        uint64_t tag = entry->state >> 16;
        entry->state = tag << 16 | 1 << 8 | MM_ENTRY_TAKEN;
        atomic_store(&map->ready, 0);
        mm_returned_untake(map, 2, true); /* not his */
        assert_int_equal(entry->state, tag << 16 | 1 << 8 | MM_ENTRY_TAKEN);
        mm_returned_untake(map, 1, offer != 0);
        assert_int_equal(entry->state, (tag + 1) << 16 | (offer ? MM_ENTRY_READY : MM_ENTRY_FREE));
        assert_true(!offer || map->ready != 0);
        entry->state = MM_ENTRY_FREE;
    }
}

/* ---- Commit ---------------------------------------------------------------------------------------------------------- */

static void commit_of_a_chunk_stores_done_words_and_clears_the_claim(void **state)
{
    (void)state;
    uint64_t failed = 77;
    open_map(0, 100, 10);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, false, 0, 4);
    assert_false(mm_chunk_commit(map, gen, &board->lanes[1], 0, 4));
    assert_int_equal(board->lanes[1].claim, 0);
    assert_int_equal(map->n_done, 4);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(handmade_is_done(map, i), i < 4);
    assert_false(mm_map_all_done(map, gen, &failed));
    assert_int_equal(failed, 77);
    assert_true(mm_chunk_commit(map, gen, &board->lanes[1], 4, 10));
    assert_true(mm_map_all_done(map, gen, &failed));
    assert_int_equal(failed, 0);
}

static void commit_of_a_grain_keeps_the_claim_and_counts_failures(void **state)
{
    (void)state;
    uint64_t failed;
    open_map(0, 30, 10);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 0, 3);
    assert_false(mm_grain_commit(map, gen, 1, 4));
    assert_false(mm_grain_commit(map, gen, 0, 10));
    expect_claim(1, MM_CLAIM_OWNED, true, 0, 3);
    assert_true(mm_grain_commit(map, gen, 2, 0));
    assert_true(mm_map_all_done(map, gen, &failed));
    assert_int_equal(failed, 14);
}

/* Done words of a small map lie in the hot line, of a large one in an array; both know their generation. */
static void commit_is_not_taken_for_one_of_the_next_map(void **state)
{
    (void)state;
    static const uint64_t sizes[] = { 1, 1000 };
    for (int i = 0; i < 2; i++) {
        uint64_t failed;
        open_map(3, sizes[i], 1);
        for (uint32_t k = 0; k < map->n_grains; k++)
            mm_grain_commit(map, gen, k, 0);
        assert_true(mm_map_all_done(map, gen, &failed));
        open_map(3, sizes[i], 1);
        if (!mm_map_is_small(map)) /* small ones are cleared by the master */
            assert_false(mm_map_all_done(map, gen, &failed));
        atomic_store(&map->gen, 0);
    }
}

static void make_singly_names_the_first_item(void **state)
{
    (void)state;
    struct mm_taken taken = { .begin = 2, .end = 5 };
    open_map(0, 100, 10);
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, false, 2, 5);
    board->lanes[1].failed[0] = 9;
    board->lanes[1].attempts = 9;
    mm_claim_make_singly(board, map, 1, &taken);
    assert_true(taken.singly);
    assert_int_equal(taken.first_item, 20);
    expect_claim(1, MM_CLAIM_OWNED, true, 2, 5);
    assert_int_equal(board->lanes[1].cursor, 20);
    assert_int_equal(board->lanes[1].failed[0], 0);
    assert_int_equal(board->lanes[1].attempts, 0);
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
        TEST(claim_words_keep_their_fields),
        TEST(claim_own_part_takes_half_from_its_front),
        TEST(claim_own_part_is_stolen_from_meanwhile_takes_less),
        TEST(claim_by_a_late_lane_fails_on_the_next_map_of_the_slot),
        TEST(claim_with_an_old_generation_takes_nothing),
        TEST(claim_in_a_stopped_map_takes_nothing),
        TEST(claim_without_an_own_part_steals_the_far_half),
        TEST(claim_moves_are_odd_while_the_rest_is_in_two_places),
        TEST(claim_of_the_last_grain_is_stolen_whole),
        TEST(claim_visits_every_victim),
        TEST(claim_of_a_returned_range_comes_first),
        TEST(claim_of_a_returned_range_that_another_takes_goes_on),
        TEST(claim_of_a_refilled_entry_is_not_taken_for_the_old_one),
        TEST(returned_table_that_is_full_takes_no_more),
        TEST(returned_entry_of_a_dead_lane_is_offered_again_or_freed),
        TEST(commit_of_a_chunk_stores_done_words_and_clears_the_claim),
        TEST(commit_of_a_grain_keeps_the_claim_and_counts_failures),
        TEST(commit_is_not_taken_for_one_of_the_next_map),
        TEST(make_singly_names_the_first_item),
    };
    return cmocka_run_group_tests_name("claim", tests, NULL, NULL);
}
