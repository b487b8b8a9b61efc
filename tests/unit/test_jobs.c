/* The master's own copies of what it has put on the board: a worker's stray write into a slot leads it nowhere. The lanes
 * are played by the test. */
#include "shm/jobs.h"

#include "tests/support/handmade.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

enum { WORKERS = 3, ITEMS = 4000 };

static struct mm_pool pool;
static struct mm_jobs jobs;
static struct mm_function function;
static struct mm_run run;
static struct mm_board_map *map;
static uint64_t x[ITEMS], out[ITEMS];

static int set_up(void **state)
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
    run = (struct mm_run){
        .function = &function, .n = ITEMS, .n_in = 1, .result = out, .result_stride = 8, .out_size = 8, .out_len = 1
    };
    run.in[0] = (struct mm_run_arg){ .data = x, .stride = 8, .size = 8, .len = 1 };
    memset(out, 0xa5, sizeof out);
    assert_int_equal(mm_jobs_submit(&jobs, &run, NULL), 0);
    map = mm_job_map(&jobs, run.job);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mm_jobs_fini(&jobs);
    handmade_free(pool.board);
    return 0;
}

static void damage(void)
{
    map->first = UINT64_MAX / 2;
    map->n = 1;
    map->grain_items = 0;
    map->n_grains = map->n_lanes = UINT32_MAX;
    map->retries = UINT32_MAX;
    map->out.size = UINT64_MAX / 4;
    map->out.where = MM_WHERE_ARENA;
    pool.board->n_workers = UINT32_MAX;
}

static void finish_all(uint32_t n_grains)
{
    for (uint32_t i = 0; i < n_grains; i++)
        mm_grain_commit(map, atomic_load(&map->gen), i, 0);
}

/* It was never taken for ended. */
static void jobs_see_the_end_of_a_map_whose_slot_was_damaged(void **state)
{
    (void)state;
    uint32_t n_grains = map->n_grains;
    assert_true(n_grains > 1 && n_grains <= ITEMS);
    assert_int_equal(mm_jobs_check(&jobs, run.job), MM_JOB_RUNS);
    finish_all(n_grains);
    damage();
    assert_int_equal(mm_jobs_check(&jobs, run.job), MM_JOB_ENDED);
    uint64_t failed = 7;
    mamuto_error_t err = { 0 };
    assert_int_equal(mm_jobs_result(&jobs, run.job, &failed, &err, NULL, NULL), 0);
    assert_int_equal(failed, 0);
    mm_jobs_remove(&jobs, run.job);
    assert_int_equal(jobs.used, 0);
    assert_int_equal(pool.board->n_workers, WORKERS);
}

/* The sweep went through lanes and grains that are not there, and wrote the result's zeros where the board said. */
static void jobs_sweep_a_death_by_their_own_numbers(void **state)
{
    (void)state;
    uint64_t items = map->grain_items;
    struct mm_lane *lane = &pool.board->lanes[1];
    handmade_claim(pool.board, 1, map, MM_CLAIM_OWNED, true, 0, map->n_grains);
    for (uint32_t i = 0; i < map->n_lanes; i++)
        handmade_word(map, i, 0, 0);
    atomic_store(&lane->cursor, 5);
    atomic_store(&lane->attempts, MM_SPARED);
    damage();
    mm_jobs_on_death(&jobs, &(struct mm_death){ .lane = 1, .status = SIGSEGV });
    assert_int_equal(map->grain_items, items);
    assert_int_equal(map->n_records, 1);
    assert_int_equal(map->records[0].item, 5);
    assert_int_equal(map->records[0].signal, SIGSEGV);
    assert_int_equal(out[5], 0);
    assert_true(out[4] != 0 && out[6] != 0);
    assert_int_equal(handmade_ready(map, 0)->first_item, 6);
}

static void jobs_that_were_stopped_wait_for_the_lanes_that_there_are(void **state)
{
    (void)state;
    handmade_claim(pool.board, 2, map, MM_CLAIM_OWNED, false, 0, 1);
    mm_jobs_stop(&jobs, run.job, MAMUTO_ECANCELED);
    damage();
    assert_int_equal(mm_jobs_check(&jobs, run.job), MM_JOB_RUNS);
    atomic_store(&pool.board->lanes[2].in, 0);
    damage();
    assert_int_equal(mm_jobs_check(&jobs, run.job), MM_JOB_ENDED);
}

/* Killed for a map that it had left before the signal came: what it ran then is run again, and nothing has failed. */
static void jobs_hold_a_kill_that_came_too_late_against_no_item(void **state)
{
    (void)state;
    static const enum mm_verdict verdicts[] = { MM_VERDICT_CANCELED, MM_VERDICT_TIMEOUT };
    struct mm_lane *lane = &pool.board->lanes[1];
    for (uint32_t i = 0; i < map->n_lanes; i++)
        handmade_word(map, i, 0, 0);
    for (uint64_t i = 0; i < 2; i++) {
        handmade_claim(pool.board, 1, map, MM_CLAIM_OWNED, true, (uint32_t)i, (uint32_t)i + 1);
        uint64_t item = mm_grain_item(map, (uint32_t)i);
        atomic_store(&lane->cursor, item);
        atomic_store(&lane->attempts, MM_SPARED); /* a worker died of this range before */
        struct mm_death death = { .lane = 1, .status = SIGKILL, .verdict = verdicts[i], .verdict_at = item + 1 };
        mm_jobs_on_death(&jobs, &death);
        assert_int_equal(map->n_records, 0);
        assert_int_equal(handmade_ready(map, (unsigned)i)->first_item, item);
    }
    assert_int_equal(mm_jobs_check(&jobs, run.job), MM_JOB_RUNS);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(jobs_see_the_end_of_a_map_whose_slot_was_damaged),
        TEST(jobs_sweep_a_death_by_their_own_numbers),
        TEST(jobs_that_were_stopped_wait_for_the_lanes_that_there_are),
        TEST(jobs_hold_a_kill_that_came_too_late_against_no_item),
    };
    return cmocka_run_group_tests_name("jobs", tests, NULL, NULL);
}
