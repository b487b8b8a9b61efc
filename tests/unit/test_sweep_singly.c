/* The sweep after a death of a lane that ran items one by one: which item is at fault, and where it goes on. */
#include "shm/sweep.h"

#include "shm/run.h"
#include "tests/support/sweeping.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct mm_record *only_record(void)
{
    assert_int_equal(sweeping.map->n_records, 1);
    assert_int_equal(sweeping.map->records[0].ready, mm_map_tag(sweeping.gen));
    return &sweeping.map->records[0];
}

static void sweep_blames_the_item_at_the_cursor(void **state)
{
    (void)state;
    sweeping_open_map(100, 10);
    sweeping.map->first = 1000; /* of the call */
    handmade_claim(sweeping.board, 1, sweeping.map, MM_CLAIM_OWNED, true, 2, 5);
    sweeping_mark_done(2, 3);
    sweeping_set_cursor(1, 34, 3, 0);
    assert_int_equal(sweeping_death(1), MM_SWEPT_SETTLED);
    sweeping_expect_entry(0, 3, 5, true);
    assert_int_equal(handmade_ready(sweeping.map, 0)->first_item, 35);
    assert_int_equal(handmade_ready(sweeping.map, 0)->failed, 4);
    assert_int_equal(handmade_ready(sweeping.map, 0)->attempts & ~MM_SPARED, 0);
    const struct mm_record *record = only_record();
    assert_int_equal(record->code, MAMUTO_ECRASH);
    assert_int_equal(record->signal, SIGKILL);
    assert_int_equal(record->item, 1034);
    assert_int_equal(record->worker, 1);
    assert_int_equal(sweeping.results[34], 0);
    assert_true(sweeping.results[33] != 0 && sweeping.results[35] != 0);
    assert_int_equal(sweeping.map->stop & MM_STOP, 0);
}

static void sweep_blames_by_how_the_worker_ended(void **state)
{
    (void)state;
    sweeping_open_map(100, 10);
    handmade_claim(sweeping.board, 1, sweeping.map, MM_CLAIM_OWNED, true, 2, 5);
    sweeping_set_cursor(1, 20, 0, 0);
    assert_int_equal(sweeping_death_as(1, 3 << 8, MM_VERDICT_NONE), MM_SWEPT_SETTLED);
    assert_string_equal(only_record()->text, "exited with status 3");
    assert_int_equal(only_record()->signal, 0);
    sweeping_open_map(100, 10);
    handmade_claim(sweeping.board, 1, sweeping.map, MM_CLAIM_OWNED, true, 2, 5);
    sweeping_set_cursor(1, 20, 0, 0);
    assert_int_equal(sweeping_death_as(1, SIGKILL, MM_VERDICT_TIMEOUT), MM_SWEPT_SETTLED);
    assert_int_equal(only_record()->code, MAMUTO_ETIMEOUT);
}

static void sweep_spares_the_item_of_a_first_kill_from_outside(void **state)
{
    (void)state; /* it ran singly because an item of its chunk had failed, not because of a death */
    static const enum mm_verdict verdicts[] = { MM_VERDICT_NONE, MM_VERDICT_CANCELED, MM_VERDICT_TIMEOUT };
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        sweeping_open_map(100, 5);
        handmade_claim(sweeping.board, 1, sweeping.map, MM_CLAIM_OWNED, true, 2, 6);
        sweeping_set_cursor(1, 12, 1, 0);
        sweeping.board->lanes[1].attempts = 0;
        const struct mm_death death = { .lane = 1, .status = SIGKILL, .verdict = verdicts[i], .verdict_at = 11 };
        sweeping.dead[1] = true;
        assert_int_equal(
            mm_sweep(sweeping.board, sweeping.map, sweeping.gen, &death, sweeping.dead, (char *)sweeping.results, NULL),
            MM_SWEPT_SETTLED);
        assert_int_equal(sweeping.map->n_records, 0);
        assert_int_equal(handmade_ready(sweeping.map, 0)->first_item, 12);
        assert_int_equal(handmade_ready(sweeping.map, 0)->failed, 1);
        assert_int_equal(handmade_ready(sweeping.map, 0)->attempts, MM_SPARED); /* the second one counts */
    }
}

static void sweep_blames_with_retries_tries_again(void **state)
{
    (void)state;
    sweeping_open_map(100, 10);
    sweeping.map->retries = 2;
    handmade_claim(sweeping.board, 1, sweeping.map, MM_CLAIM_OWNED, true, 2, 5);
    sweeping_set_cursor(1, 24, 1, 1);
    assert_int_equal(sweeping_death(1), MM_SWEPT_SETTLED);
    sweeping_expect_entry(0, 2, 5, true);
    assert_int_equal(handmade_ready(sweeping.map, 0)->first_item, 24);
    assert_int_equal(handmade_ready(sweeping.map, 0)->attempts & ~MM_SPARED, 2);
    assert_int_equal(handmade_ready(sweeping.map, 0)->failed, 1);
    assert_int_equal(sweeping.map->n_records, 0);
    assert_true(sweeping.results[24] != 0);
}

static void sweep_blames_the_last_item_of_a_grain_settles_the_grain(void **state)
{
    (void)state;
    uint64_t word;
    sweeping_open_map(100, 10);
    handmade_claim(sweeping.board, 1, sweeping.map, MM_CLAIM_OWNED, true, 2, 5);
    sweeping_set_cursor(1, 29, 1, 0);
    assert_int_equal(sweeping_death(1), MM_SWEPT_SETTLED);
    word = mm_map_done(sweeping.map)[2];
    assert_true(handmade_is_done(sweeping.map, 2));
    assert_int_equal((uint32_t)word, 2);
    sweeping_expect_entry(0, 3, 5, true);
    assert_int_equal(handmade_ready(sweeping.map, 0)->first_item, 30);
    assert_int_equal(handmade_ready(sweeping.map, 0)->failed, 0);
}

static void sweep_blames_the_very_last_item_leaves_nothing(void **state)
{
    (void)state;
    uint64_t failed;
    sweeping_open_map(25, 10);
    sweeping_mark_done(0, 2);
    handmade_claim(sweeping.board, 1, sweeping.map, MM_CLAIM_OWNED, true, 2, 3);
    sweeping_set_cursor(1, 24, 0, 0);
    assert_int_equal(sweeping_death(1), MM_SWEPT_SETTLED);
    sweeping_expect_no_entry(0);
    assert_true(mm_map_all_done(sweeping.map, sweeping.gen, &failed));
    assert_int_equal(failed, 1);
}

static void sweep_between_done_word_and_cursor_blames_nobody(void **state)
{
    (void)state;
    sweeping_open_map(100, 10);
    handmade_claim(sweeping.board, 1, sweeping.map, MM_CLAIM_OWNED, true, 2, 5);
    sweeping_set_cursor(1, 29, 1, 0);
    mm_grain_commit(sweeping.map, sweeping.gen, 2, 2);
    assert_int_equal(sweeping_death(1), MM_SWEPT_RETURNED);
    assert_int_equal(sweeping.map->n_records, 0);
    sweeping_expect_entry(0, 3, 5, true);
    assert_int_equal(handmade_ready(sweeping.map, 0)->first_item, 30);
    assert_int_equal(handmade_ready(sweeping.map, 0)->failed, 0);
    assert_int_equal((uint32_t)mm_map_done(sweeping.map)[2], 2);
}

static void sweep_of_an_item_that_is_recorded_does_not_record_it_twice(void **state)
{
    (void)state;
    sweeping_open_map(100, 10);
    handmade_claim(sweeping.board, 1, sweeping.map, MM_CLAIM_OWNED, true, 2, 5);
    sweeping_set_cursor(1, 24, 0, 0);
    mm_record_add(sweeping.map, sweeping.gen, 24, 1, 0, &(struct mm_failure){ .code = MAMUTO_EITEM, .item_code = 7 });
    assert_int_equal(sweeping_death(1), MM_SWEPT_SETTLED);
    assert_int_equal(only_record()->code, MAMUTO_EITEM);
    assert_int_equal(handmade_ready(sweeping.map, 0)->failed, 1);
}

/* The lane had settled the item, and was killed from outside before its cursor moved on. */
static void sweep_of_an_item_that_is_recorded_spares_it_no_more(void **state)
{
    (void)state;
    uint8_t marks[100] = { 0 };
    sweeping_open_map(100, 10);
    handmade_claim(sweeping.board, 1, sweeping.map, MM_CLAIM_OWNED, true, 2, 5);
    sweeping_set_cursor(1, 24, 0, 0);
    sweeping.board->lanes[1].attempts = 0;
    mm_record_add(sweeping.map, sweeping.gen, 24, 1, 0, &(struct mm_failure){ .code = MAMUTO_EITEM, .item_code = 7 });
    const struct mm_death death = { .lane = 1, .status = SIGKILL };
    sweeping.dead[1] = true;
    assert_int_equal(
        mm_sweep(sweeping.board, sweeping.map, sweeping.gen, &death, sweeping.dead, (char *)sweeping.results, marks),
        MM_SWEPT_SETTLED);
    assert_int_equal(only_record()->code, MAMUTO_EITEM);
    assert_int_equal(handmade_ready(sweeping.map, 0)->first_item, 25);
    assert_int_equal(handmade_ready(sweeping.map, 0)->failed, 1);
    assert_int_equal(marks[24], 1);
}

static void sweep_of_a_damaged_cursor_stays_in_the_claim(void **state)
{
    (void)state;
    sweeping_open_map(100, 10);
    handmade_claim(sweeping.board, 1, sweeping.map, MM_CLAIM_OWNED, true, 2, 5);
    sweeping_set_cursor(1, 3, 0, 0);
    assert_int_equal(sweeping_death(1), MM_SWEPT_SETTLED);
    assert_int_equal(only_record()->item, 20);
    assert_true(sweeping.results[3] != 0);
}

static void sweep_in_a_map_that_fails_at_once_stops_it(void **state)
{
    (void)state;
    sweeping_open_map(100, 10);
    sweeping.map->flags = MM_MAP_FAIL_FAST;
    handmade_claim(sweeping.board, 1, sweeping.map, MM_CLAIM_OWNED, true, 2, 5);
    sweeping_set_cursor(1, 24, 0, 0);
    assert_int_equal(sweeping_death(1), MM_SWEPT_SETTLED);
    assert_int_equal(sweeping.map->stop & MM_STOP, MM_STOP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SWEEPING_TEST(sweep_blames_the_item_at_the_cursor),
        SWEEPING_TEST(sweep_blames_by_how_the_worker_ended),
        SWEEPING_TEST(sweep_spares_the_item_of_a_first_kill_from_outside),
        SWEEPING_TEST(sweep_blames_with_retries_tries_again),
        SWEEPING_TEST(sweep_blames_the_last_item_of_a_grain_settles_the_grain),
        SWEEPING_TEST(sweep_blames_the_very_last_item_leaves_nothing),
        SWEEPING_TEST(sweep_between_done_word_and_cursor_blames_nobody),
        SWEEPING_TEST(sweep_of_an_item_that_is_recorded_does_not_record_it_twice),
        SWEEPING_TEST(sweep_of_an_item_that_is_recorded_spares_it_no_more),
        SWEEPING_TEST(sweep_of_a_damaged_cursor_stays_in_the_claim),
        SWEEPING_TEST(sweep_in_a_map_that_fails_at_once_stops_it),
    };
    return cmocka_run_group_tests_name("sweep_singly", tests, NULL, NULL);
}
