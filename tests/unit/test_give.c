/* Ranges that the owner takes back from a map, on boards that are built by hand: how much, where from, and what the sweep
 * makes of lanes that die beside it. */
#include "shm/give.h"

#include "shm/account.h"
#include "tests/support/sweeping.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static bool give(uint64_t want, uint32_t *begin, uint32_t *end)
{
    *begin = *end = 0;
    return mm_give_grains(sweeping.map, sweeping.gen, want, begin, end);
}

static void expect(uint64_t want, uint32_t begin, uint32_t end)
{
    uint32_t from, to, before = atomic_load(&sweeping.map->n_done);
    assert_true(give(want, &from, &to));
    assert_int_equal(from, begin);
    assert_int_equal(to, end);
    assert_int_equal(atomic_load(&sweeping.map->n_done), before + end - begin);
    for (uint32_t i = 0; i < sweeping.map->n_grains; i++)
        if (i >= begin && i < end)
            assert_true(handmade_is_done(sweeping.map, i));
}

static void expect_nothing(uint64_t want)
{
    uint32_t from, to, before = atomic_load(&sweeping.map->n_done);
    assert_false(give(want, &from, &to));
    assert_int_equal(atomic_load(&sweeping.map->n_done), before);
}

static uint64_t word(uint32_t lane) { return atomic_load(&mm_map_words(sweeping.map)[lane]); }

/* ---- Words ----------------------------------------------------------------------------------------------------------- */

static void give_takes_the_end_of_the_longest_word(void **state)
{
    (void)state;
    sweeping_open_map(100, 1);
    handmade_word(sweeping.map, 0, 0, 20);
    handmade_word(sweeping.map, 1, 30, 70);
    handmade_word(sweeping.map, 3, 80, 100);
    expect(15, 55, 70);
    assert_int_equal(word(1), mm_word_pack(sweeping.gen, 30, 55));
    assert_int_equal(word(0), mm_word_pack(sweeping.gen, 0, 20));
    expect(UINT64_MAX, 30, 55);
    expect(UINT64_MAX, 0, 20);
    expect(UINT64_MAX, 80, 100); /* the helping caller's, too */
    expect_nothing(UINT64_MAX);
}

/* Grains are whole, but for the map's last one. */
static void give_ends_at_grains_and_gives_no_more_than_is_wanted(void **state)
{
    (void)state;
    sweeping_open_map(103, 10);
    handmade_word(sweeping.map, 0, 2, 11);
    expect_nothing(0);
    expect_nothing(2);
    expect(3, 10, 11);
    expect_nothing(9);
    expect(19, 9, 10);
    expect(20, 7, 9);
    expect(1000, 2, 7);
    expect_nothing(1000);
}

static void give_of_a_small_map_marks_its_hot_words(void **state)
{
    (void)state;
    sweeping_open_map(1, 1);
    assert_true(mm_map_is_small(sweeping.map));
    handmade_word(sweeping.map, 2, 0, 1);
    expect(1, 0, 1);
    uint64_t failed;
    assert_true(mm_map_all_done(sweeping.map, sweeping.gen, &failed));
    assert_int_equal(failed, 0);
}

static void give_takes_nothing_of_a_map_that_is_stopped_or_damaged(void **state)
{
    (void)state;
    sweeping_open_map(100, 1);
    handmade_word(sweeping.map, 0, 0, 200);
    expect_nothing(10);
    handmade_word(sweeping.map, 0, 0, 50);
    atomic_store(&sweeping.map->stop, MM_STOP);
    expect_nothing(10);
    atomic_store(&sweeping.map->stop, MM_NOTIFY);
    expect(10, 40, 50);
}

/* ---- Returned ranges ------------------------------------------------------------------------------------------------- */

static void give_takes_a_returned_range_where_words_are_empty(void **state)
{
    (void)state;
    sweeping_open_map(100, 1);
    assert_true(mm_returned_add(sweeping.map, &(struct mm_taken){ .begin = 3, .end = 5, .singly = true }));
    assert_true(mm_returned_add(sweeping.map, &(struct mm_taken){ .begin = 20, .end = 50, .first_item = 20 }));
    expect(10, 40, 50);
    sweeping_expect_entry(0, 3, 5, true);
    sweeping_expect_entry(1, 20, 40, false);
    assert_int_equal(handmade_ready(sweeping.map, 1)->first_item, 20);
    expect(UINT64_MAX, 20, 40);
    sweeping_expect_no_entry(1);
    expect_nothing(UINT64_MAX); /* what is run singly stays */
    sweeping_expect_entry(0, 3, 5, true);
}

static void give_takes_no_range_that_a_lane_has_taken(void **state)
{
    (void)state;
    sweeping_open_map(100, 1);
    assert_true(mm_returned_add(sweeping.map, &(struct mm_taken){ .begin = 20, .end = 50, .first_item = 20 }));
    struct mm_returned *entry = handmade_ready(sweeping.map, 0);
    atomic_store(&entry->state, atomic_load(&entry->state) >> 16 << 16 | 1 << 8 | MM_ENTRY_TAKEN);
    expect_nothing(UINT64_MAX);
}

/* A lane that looked at an entry before the rest was offered anew does not get what was taken. */
static void give_of_a_range_makes_a_late_claim_of_it_fail(void **state)
{
    (void)state;
    sweeping_open_map(100, 1);
    assert_true(mm_returned_add(sweeping.map, &(struct mm_taken){ .begin = 20, .end = 50, .first_item = 20 }));
    struct mm_returned *entry = handmade_ready(sweeping.map, 0);
    uint64_t seen = atomic_load(&entry->state);
    expect(10, 40, 50);
    assert_true(handmade_ready(sweeping.map, 0) == entry); /* the same place, the same form */
    assert_false(atomic_compare_exchange_strong(&entry->state, &seen, seen + 1));
}

/* ---- Beside deaths --------------------------------------------------------------------------------------------------- */

static void sweep_beside_a_range_that_was_given_returns_the_rest(void **state)
{
    (void)state;
    sweeping_open_map(100, 1);
    handmade_word(sweeping.map, 0, 10, 50);
    handmade_claim(sweeping.board, 1, sweeping.map, MM_CLAIM_INTENT, false, 30, 50); /* about to steal */
    expect(5, 45, 50);
    assert_int_equal(sweeping_death(1), MM_SWEPT_RETURNED);
    sweeping_expect_no_entry(0); /* all of it is in the word, or done */
}

/* A thief dies between its word and its claim: what was taken out of the word meanwhile is not lost. */
static void sweep_of_a_thief_whose_rest_was_given_returns_its_chunk(void **state)
{
    (void)state;
    sweeping_open_map(100, 1);
    handmade_claim(sweeping.board, 1, sweeping.map, MM_CLAIM_INTENT, false, 30, 50);
    handmade_word(sweeping.map, 1, 35, 50);
    sweeping.board->lanes[1].moves = 1;
    expect(12, 38, 50);
    assert_int_equal(sweeping_death(1), MM_SWEPT_RETURNED);
    sweeping_expect_entry(0, 30, 35, false);
    sweeping_expect_no_entry(1);
}

/* ---- Jobs ------------------------------------------------------------------------------------------------------------ */

enum { WORKERS = 3, ITEMS = 4000 };

static struct mm_pool pool;
static struct mm_jobs jobs;
static struct mm_function function;
static struct mm_run run;
static uint64_t x[ITEMS], out[ITEMS];

static int submit(void **state)
{
    (void)state;
    pool = (struct mm_pool){ .board = handmade_board(WORKERS),
                             .config.workers = WORKERS,
                             .control = -1,
                             .event = -1,
                             .life = -1,
                             .arena.fd = -1 };
    memset(&jobs, 0, sizeof jobs);
    mm_jobs_init(&jobs, &pool, NULL);
    assert_int_equal(mm_jobs_add_module(&jobs, 0, 1, "", 0, NULL), 0);
    run = (struct mm_run){ .function = &function,
                           .first = 100,
                           .n = ITEMS - 100,
                           .n_in = 1,
                           .result = out,
                           .result_stride = 8,
                           .out_size = 8,
                           .out_len = 1 };
    run.in[0] = (struct mm_run_arg){ .data = x, .stride = 8, .size = 8, .len = 1 };
    assert_int_equal(mm_jobs_submit(&jobs, &run, NULL), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mm_jobs_fini(&jobs);
    handmade_free(pool.board);
    return 0;
}

static uint64_t settled(void)
{
    uint64_t items;
    double busy;
    mm_account_total(&jobs, &items, &busy);
    return items;
}

/* All is given: the map has ended, and nothing of it was settled here. */
static void jobs_give_all_back_and_settle_nothing(void **state)
{
    (void)state;
    uint64_t first, got, sum = 0;
    struct mm_job *job = run.job;
    assert_int_equal(mm_jobs_give_back(&jobs, job, 7, &first), 7);
    assert_true(first >= 100 && first + 7 <= ITEMS);
    assert_int_equal(settled(), 0);
    assert_false(mm_jobs_looks_done(&jobs, job));
    while ((got = mm_jobs_give_back(&jobs, job, 300, &first)) > 0)
        sum += got;
    assert_int_equal(sum + 7, ITEMS - 100);
    assert_true(mm_jobs_looks_done(&jobs, job));
    assert_int_equal(mm_jobs_check(&jobs, job), MM_JOB_ENDED);
    uint64_t failed = 9;
    assert_int_equal(mm_jobs_result(&jobs, job, &failed, NULL, NULL, NULL), 0);
    assert_int_equal(failed, 0);
    mm_jobs_remove(&jobs, job);
    assert_int_equal(settled(), 0);
}

static void jobs_count_failures_of_what_was_not_given(void **state)
{
    (void)state;
    uint64_t first, failed;
    struct mm_job *job = run.job;
    struct mm_board_map *map = mm_job_map(&jobs, job);
    uint64_t got = mm_jobs_give_back(&jobs, job, 1000, &first);
    struct mm_failure failure = { .code = MAMUTO_EITEM, .item_code = 7 };
    mamuto_error_t err = { 0 };
    bool one = true;
    assert_true(got > 0);
    for (uint32_t i = 0; i < map->n_grains; i++) {
        if (handmade_is_done(map, i))
            continue;
        if (one)
            mm_record_add(map, job->gen, map->first + mm_grain_item(map, i), 0, 0, &failure);
        mm_grain_commit(map, job->gen, i, one);
        one = false;
    }
    assert_int_equal(mm_jobs_check(&jobs, job), MM_JOB_ENDED);
    assert_int_equal(mm_jobs_result(&jobs, job, &failed, &err, NULL, NULL), MAMUTO_EITEM);
    assert_int_equal(failed, 1);
    char text[64];
    snprintf(text, sizeof text, "1 of %d items failed", (int)(ITEMS - 100 - got));
    assert_non_null(strstr(err.text, text));
    mm_jobs_remove(&jobs, job);
    assert_int_equal(settled(), ITEMS - 100 - got);
}

static void jobs_give_nothing_of_what_is_stopping_or_emits(void **state)
{
    (void)state;
    uint64_t first = 1;
    struct mm_run_parts parts = { 0 };
    run.parts = &parts;
    assert_int_equal(mm_jobs_give_back(&jobs, run.job, 7, &first), 0);
    run.parts = NULL;
    run.op = MM_OP_SUM;
    assert_int_equal(mm_jobs_give_back(&jobs, run.job, 7, &first), 0);
    run.op = MM_OP_CALL;
    mm_jobs_stop(&jobs, run.job, MAMUTO_ECANCELED);
    assert_int_equal(mm_jobs_give_back(&jobs, run.job, 7, &first), 0);
    assert_int_equal(first, 1);
}

#define JOBS_TEST(name_) cmocka_unit_test_setup_teardown(name_, submit, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SWEEPING_TEST(give_takes_the_end_of_the_longest_word),
        SWEEPING_TEST(give_ends_at_grains_and_gives_no_more_than_is_wanted),
        SWEEPING_TEST(give_of_a_small_map_marks_its_hot_words),
        SWEEPING_TEST(give_takes_nothing_of_a_map_that_is_stopped_or_damaged),
        SWEEPING_TEST(give_takes_a_returned_range_where_words_are_empty),
        SWEEPING_TEST(give_takes_no_range_that_a_lane_has_taken),
        SWEEPING_TEST(give_of_a_range_makes_a_late_claim_of_it_fail),
        SWEEPING_TEST(sweep_beside_a_range_that_was_given_returns_the_rest),
        SWEEPING_TEST(sweep_of_a_thief_whose_rest_was_given_returns_its_chunk),
        JOBS_TEST(jobs_give_all_back_and_settle_nothing),
        JOBS_TEST(jobs_count_failures_of_what_was_not_given),
        JOBS_TEST(jobs_give_nothing_of_what_is_stopping_or_emits),
    };
    return cmocka_run_group_tests_name("give", tests, NULL, NULL);
}
