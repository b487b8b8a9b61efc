/* The watch over item timeouts, on a board that is built by hand; the workers are processes that wait to be killed. */
#include "shm/watch.h"

#include "tests/support/handmade.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WORKERS = 2, SLOT = 3, TIMEOUT_MS = 40 };
static const uint64_t MS = 1000000;

static struct mm_board *board;
static struct mm_board_map *map;
static struct mm_lane *lane; /* lane 1, which runs something */
static struct mm_watched watched[WORKERS];
static pid_t pids[WORKERS];

static pid_t start_idle_process(void)
{
    pid_t pid = fork();
    if (pid == 0)
        for (alarm(20);;) /* so that a test that fails ends */
            pause();
    assert_true(pid > 0);
    return pid;
}

static int set_up(void **state)
{
    (void)state;
    board = handmade_board(WORKERS);
    map = handmade_map(board, SLOT, 100, 10);
    map->timeout_ms = TIMEOUT_MS;
    lane = &board->lanes[1];
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 2, 5);
    atomic_store(&lane->cursor, 27);
    memset(watched, 0, sizeof watched);
    for (int i = 0; i < WORKERS; i++)
        pids[i] = start_idle_process();
    atomic_store(&lane->pid, pids[1]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < WORKERS; i++) {
        if (pids[i] <= 0)
            continue;
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    handmade_free(board);
    return 0;
}

static void look_at(uint64_t ms)
{
    assert_int_equal(mm_watch_lanes(board, pids, watched, ms * MS), TIMEOUT_MS / 8);
    assert_int_equal(lane->verdict, MM_VERDICT_NONE);
}

static void watch_kills_the_worker_of_an_item_that_takes_too_long(void **state)
{
    (void)state;
    int status;
    look_at(1000);
    look_at(1000 + TIMEOUT_MS);
    mm_watch_lanes(board, pids, watched, (1001 + TIMEOUT_MS) * MS);
    assert_int_equal(lane->verdict, MM_VERDICT_TIMEOUT);
    assert_int_equal(waitpid(pids[1], &status, 0), pids[1]);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(waitpid(pids[0], &status, WNOHANG), 0);
}

/* The worker may go on to the next item before it is hit; that one is not to be taken for it. */
static void watch_notes_which_item_its_kill_was_for(void **state)
{
    (void)state;
    look_at(1000);
    mm_watch_lanes(board, pids, watched, (1001 + TIMEOUT_MS) * MS);
    atomic_store(&lane->cursor, 28);
    assert_int_equal(lane->verdict, MM_VERDICT_TIMEOUT);
    assert_int_equal(lane->verdict_at, 27);
}

static void watch_begins_anew_with_whatever_changes(void **state)
{
    (void)state;
    look_at(1000);
    atomic_store(&lane->cursor, 28); /* the next item */
    look_at(1041);
    atomic_store(&lane->attempts, 1); /* the same one, once more */
    look_at(1082);
    atomic_fetch_add(&lane->seq, 1); /* another chunk */
    look_at(1123);
    map = handmade_map(board, SLOT, 100, 10); /* another map, in the same slot */
    map->timeout_ms = TIMEOUT_MS;
    handmade_claim(board, 1, map, MM_CLAIM_OWNED, true, 2, 5);
    look_at(1164);
    look_at(1204);
}

static void watch_leaves_maps_without_a_timeout_alone(void **state)
{
    (void)state;
    map->timeout_ms = 0;
    assert_int_equal(mm_watch_lanes(board, pids, watched, 0), -1);
    handmade_map(board, SLOT + 1, 100, 10)->timeout_ms = TIMEOUT_MS; /* nobody is in it */
    look_at(1000);
    look_at(9000);
}

/* The board's pid may have been overwritten by a worker: with -1, it would be all that the user runs. */
static void watch_kills_no_process_that_the_board_names(void **state)
{
    (void)state;
    int status;
    atomic_store(&lane->pid, pids[0]);
    look_at(1000);
    mm_watch_lanes(board, pids, watched, (1001 + TIMEOUT_MS) * MS);
    assert_int_equal(waitpid(pids[1], &status, 0), pids[1]);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    pids[1] = 0; /* it is gone: nobody is to be killed in its place */
    mm_watch_lanes(board, pids, watched, (1042 + 2 * TIMEOUT_MS) * MS);
    assert_int_equal(waitpid(pids[0], &status, WNOHANG), 0);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(watch_kills_the_worker_of_an_item_that_takes_too_long),
        TEST(watch_notes_which_item_its_kill_was_for),
        TEST(watch_begins_anew_with_whatever_changes),
        TEST(watch_leaves_maps_without_a_timeout_alone),
        TEST(watch_kills_no_process_that_the_board_names),
    };
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
