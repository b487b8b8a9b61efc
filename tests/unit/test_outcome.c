/* What a map's end says: from done words and records, some of which a worker has left half-written, to a code and a
 * sentence. */
#include "core/error.h"
#include "shm/jobs.h"
#include "tests/support/handmade.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

static struct mm_pool pool;
static struct mm_jobs jobs;
static struct mm_board_map *map;
static struct mm_run run;
static struct mm_job job;
static uint64_t gen, failed;
static mamuto_error_t err, seen[MM_MAX_RECORDS];
static unsigned n_seen;

static void see(void *context, const mamuto_error_t *item_error)
{
    assert_ptr_equal(context, &job);
    seen[n_seen++] = *item_error;
}

static int set_up(void **state)
{
    (void)state;
    pool = (struct mm_pool){
        .board = handmade_board(2), .config.workers = 2, .control = -1, .event = -1, .life = -1, .arena.fd = -1
    };
    jobs.pool = &pool;
    map = handmade_map(pool.board, 4, 100, 10);
    gen = map->gen;
    run = (struct mm_run){ .n = 100 };
    job = (struct mm_job){ .run = &run, .gen = gen };
    err = (mamuto_error_t){ 0 };
    n_seen = 0;
    failed = 77;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    handmade_free(pool.board);
    return 0;
}

static int result(void)
{
    memcpy(job.shape, (const char *)map + offsetof(struct mm_board_map, first), sizeof job.shape); /* as submit does */
    return mm_jobs_result(&jobs, &job, &failed, &err, see, &job);
}

static void record(uint64_t item, int code, int item_code, int signal, const char *text)
{
    struct mm_failure failure = { .code = code, .item_code = item_code };
    memcpy(failure.text, text, strlen(text));
    mm_record_add(map, gen, item, 1, signal, &failure);
}

/* All grains done; each with so many failed items. */
static void all_done(uint32_t failed_each)
{
    for (uint32_t i = 0; i < map->n_grains; i++)
        mm_grain_commit(map, gen, i, failed_each);
}

static void expect(int code, const char *part)
{
    assert_int_equal(result(), code);
    assert_int_equal(err.code, code);
    if (!strstr(err.text, part))
        fail_msg("\"%s\" has no \"%s\"", err.text, part);
}

static void outcome_of_a_map_without_failures_is_0(void **state)
{
    (void)state;
    all_done(0);
    assert_int_equal(result(), 0);
    assert_int_equal(failed, 0);
    job.saw_death = true; /* then it looks closer, and sees the same */
    assert_int_equal(result(), 0);
    assert_int_equal(failed, 0);
    assert_int_equal(err.code, 0);
}

static void outcome_that_fails_at_once_is_its_first_item(void **state)
{
    (void)state;
    map->flags = MM_MAP_FAIL_FAST;
    record(42, MAMUTO_EITEM, 7, 0, "no such luck");
    record(17, MAMUTO_EITEM, 8, 0, "");
    expect(MAMUTO_EITEM, "item 17 failed with code 8");
    assert_int_equal(err.item, 17);
    assert_int_equal(err.item_code, 8);
    assert_int_equal(err.worker, 1);
    assert_string_equal(err.host, "localhost");
    assert_int_equal(failed, 2);
    assert_int_equal(n_seen, 2);
    assert_int_equal(seen[1].item, 42);
    assert_non_null(strstr(seen[1].text, "no such luck"));
}

static void outcome_that_skips_counts_and_names_the_first(void **state)
{
    (void)state;
    all_done(3);
    for (uint64_t i = 30; i-- > 0;)
        record(i * 3, MAMUTO_EITEM, 5, 0, "bad");
    expect(MAMUTO_EITEM, "30 of 100 items failed; the first: item 0 failed with code 5: bad");
    assert_int_equal(failed, 30);
    assert_int_equal(n_seen, 30);
    for (unsigned i = 0; i < n_seen; i++)
        assert_int_equal(seen[i].item, 3 * i);
}

static void outcome_says_how_a_worker_died(void **state)
{
    (void)state;
    map->flags = MM_MAP_FAIL_FAST;
    map->timeout_ms = 250;
    record(5, MAMUTO_ECRASH, 0, SIGSEGV, "");
    record(6, MAMUTO_ECRASH, 0, 0, "exited with status 3");
    record(7, MAMUTO_ETIMEOUT, 0, SIGKILL, "");
    expect(MAMUTO_ECRASH, "item 5: worker 1 died of signal 11");
    assert_int_equal(err.signal, SIGSEGV);
    assert_non_null(strstr(seen[1].text, "item 6: worker 1 exited with status 3"));
    assert_int_equal(seen[2].code, MAMUTO_ETIMEOUT);
    assert_non_null(strstr(seen[2].text, "item 7 took longer than 250 ms"));
}

/* Run once more after a death between record and done word. */
static void outcome_of_an_item_that_is_recorded_twice_counts_it_once(void **state)
{
    (void)state;
    record(5, MAMUTO_EITEM, 1, 0, "");
    record(9, MAMUTO_EITEM, 1, 0, "");
    record(5, MAMUTO_EITEM, 1, 0, "");
    assert_int_equal(result(), MAMUTO_EITEM);
    assert_int_equal(failed, 2);
    assert_int_equal(n_seen, 2);
}

static void outcome_does_not_believe_records_that_are_not_ready_or_out_of_range(void **state)
{
    (void)state;
    all_done(0);
    job.saw_death = true;
    record(5, MAMUTO_EITEM, 1, 0, "");
    map->records[0].ready = 0; /* its worker died before */
    record(6, MAMUTO_EITEM, 1, 0, "");
    map->records[1].ready = mm_map_tag(gen) - 1; /* of the slot's last map */
    record(100, MAMUTO_EITEM, 1, 0, "");
    record(UINT64_MAX - 1, MAMUTO_EITEM, 1, 0, "");
    assert_int_equal(result(), 0);
    assert_int_equal(n_seen, 0);
    map->first = 1000; /* a part of a larger map: items are the call's */
    assert_int_equal(result(), 0);
    record(1099, MAMUTO_EITEM, 1, 0, "");
    assert_int_equal(result(), MAMUTO_EITEM);
    assert_int_equal(err.item, 1099);
}

static void outcome_of_a_text_without_end_is_cut(void **state)
{
    (void)state;
    record(5, MAMUTO_EITEM, 1, 0, "");
    memset(map->records[0].text, 'x', sizeof map->records[0].text);
    expect(MAMUTO_EITEM, "xxx");
    assert_true(strlen(err.text) < sizeof err.text);
}

static void outcome_of_more_failures_than_records_counts_them_all(void **state)
{
    (void)state;
    map = handmade_map(pool.board, 5, 5000, 5);
    gen = map->gen;
    run.n = 5000;
    job.gen = gen;
    all_done(2);
    for (uint64_t i = 0; i < 2000; i++)
        record(i, MAMUTO_EITEM, 1, 0, "");
    expect(MAMUTO_EITEM, "2000 of 5000 items failed; the first: item 0");
    assert_int_equal(failed, 2000);
    assert_int_equal(n_seen, MM_MAX_RECORDS);
}

/* The worker died between the done word of an item that failed and its record: it is counted all the same. */
static void outcome_of_a_failure_without_a_record_is_an_error(void **state)
{
    (void)state;
    all_done(0);
    mm_map_done(map)[3] |= 1;
    job.saw_death = true;
    expect(MAMUTO_EITEM, "1 items failed");
    assert_int_equal(failed, 1);
}

static void outcome_of_a_cancelled_map_says_so(void **state)
{
    (void)state;
    job.status = MAMUTO_ECANCELED;
    record(5, MAMUTO_EITEM, 1, 0, "");
    expect(MAMUTO_ECANCELED, "cancelled");
    assert_int_equal(n_seen, 1);
}

static void outcome_of_workers_that_keep_dying_says_so(void **state)
{
    (void)state;
    job.status = MAMUTO_EHOST;
    job.deaths = 7;
    expect(MAMUTO_EHOST, "the last 7 deaths");
}

static void outcome_of_what_is_no_items_fault_is_told_as_it_is(void **state)
{
    (void)state;
    record(MAMUTO_NO_ITEM, MAMUTO_EARGS, 0, 0, "argument 0 is not readable");
    expect(MAMUTO_EARGS, "argument 0 is not readable");
    assert_int_equal(n_seen, 0);
}

/* Items have failed, too, but most were never run: "2 of 100 items failed" would say that the others are there. */
static void outcome_of_what_ended_the_map_comes_before_failed_items(void **state)
{
    (void)state;
    record(3, MAMUTO_EITEM, 1, 0, "");
    record(MAMUTO_NO_ITEM, MAMUTO_EARGS, 0, 0, "argument 0 is not readable");
    record(4, MAMUTO_EITEM, 1, 0, "");
    expect(MAMUTO_EARGS, "argument 0 is not readable");
    assert_int_equal(n_seen, 2);
}

/* The table of records was full of failed items: what ended the map found no place in it. */
static void outcome_of_what_ended_the_map_is_told_behind_a_full_table(void **state)
{
    (void)state;
    map = handmade_map(pool.board, 5, 5000, 5);
    gen = map->gen;
    run.n = 5000;
    job.gen = gen;
    for (uint64_t i = 0; i < MM_MAX_RECORDS + 10u; i++)
        record(i, MAMUTO_EITEM, 1, 0, "");
    record(MAMUTO_NO_ITEM, MAMUTO_EARGS, 0, 0, "argument 0 is not readable");
    record(MAMUTO_NO_ITEM, MAMUTO_EARGS, 0, 0, "argument 0 is not readable"); /* by every worker */
    record(4999, MAMUTO_EITEM, 1, 0, "");
    expect(MAMUTO_EARGS, "argument 0 is not readable");
    assert_int_equal(n_seen, MM_MAX_RECORDS);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(outcome_of_a_map_without_failures_is_0),
        TEST(outcome_that_fails_at_once_is_its_first_item),
        TEST(outcome_that_skips_counts_and_names_the_first),
        TEST(outcome_says_how_a_worker_died),
        TEST(outcome_of_an_item_that_is_recorded_twice_counts_it_once),
        TEST(outcome_does_not_believe_records_that_are_not_ready_or_out_of_range),
        TEST(outcome_of_a_text_without_end_is_cut),
        TEST(outcome_of_more_failures_than_records_counts_them_all),
        TEST(outcome_of_a_failure_without_a_record_is_an_error),
        TEST(outcome_of_a_cancelled_map_says_so),
        TEST(outcome_of_workers_that_keep_dying_says_so),
        TEST(outcome_of_what_is_no_items_fault_is_told_as_it_is),
        TEST(outcome_of_what_ended_the_map_comes_before_failed_items),
        TEST(outcome_of_what_ended_the_map_is_told_behind_a_full_table),
    };
    return cmocka_run_group_tests_name("outcome", tests, NULL, NULL);
}
