/* A fork server in earnest, driven over its socket: what it makes of messages that come late, or of files that are
 * attached while workers start. Its workers are those of this program. All that it says is read here, not by the pool. */
#include "shm/jobs.h"

#include "core/program.h"
#include "shm/load.h"
#include "shm/park.h"

#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

MAMUTO_FUNCTION(copy, "f8 -> f8")
{
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0);
    return 0;
}

#include <cmocka.h>

enum { PAGE = 4096, PATIENCE_MS = 20000, ITEMS = 100 };

static struct mm_pool pool;
static struct mm_message message;
static pid_t last; /* the worker that was started last */

static int set_up(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    const struct mm_pool_config config = { .workers = 1 };
    if (mm_pool_init(&pool, &config, NULL, NULL, &err) != 0 || mm_pool_start(&pool, &err) != 0) {
        print_error("%s\n", err.text);
        return -1;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mm_pool_end_server(&pool);
    mm_pool_fini(&pool);
    return 0;
}

/* ---- Talking --------------------------------------------------------------------------------------------------------- */

static void next(void)
{
    struct pollfd fd = { pool.control, POLLIN, 0 };
    int passed;
    assert_int_equal(poll(&fd, 1, PATIENCE_MS), 1);
    assert_int_equal(mm_control_receive(pool.control, &message, &passed), 1);
    assert_int_equal(passed, -1);
    if (message.type == MM_MSG_UP)
        last = (pid_t)message.a;
}

static void expect(enum mm_message_type type)
{
    next();
    assert_int_equal(message.type, type);
}

static pid_t started(void)
{
    expect(MM_MSG_HELLO);
    expect(MM_MSG_UP);
    return (pid_t)message.a;
}

/* The worker is forked anew, by itself. */
static pid_t renewed(pid_t before)
{
    expect(MM_MSG_UP);
    assert_int_equal(message.id, 0);
    assert_int_not_equal(message.a, before);
    return (pid_t)message.a;
}

/* All that was sent before has been handled. Workers that start and leave meanwhile: how many. */
static int handled(void)
{
    int n_up = 0;
    assert_int_equal(mm_pool_tell(&pool, MM_MSG_PUNCH, 0, 0, PAGE), 0);
    for (next(); message.type != MM_MSG_PUNCHED; next()) {
        assert_int_equal(message.type, MM_MSG_UP);
        n_up++;
    }
    return n_up;
}

static void bump(uint32_t serial)
{
    atomic_store(&pool.board->attach_serial, serial);
    mm_wake_all(pool.board);
}

static void tell_of_serial(uint32_t serial)
{
    pool.message.serial = serial;
    assert_int_equal(mm_pool_tell(&pool, MM_MSG_DETACH, MM_MAX_ATTACHED - 1, 0, 0), 0);
}

/* ---- Kills that come late -------------------------------------------------------------------------------------------- */

static void forkserver_kills_a_worker_that_holds_the_map(void **state)
{
    (void)state;
    struct mm_lane *lane = &pool.board->lanes[0];
    pid_t pid = started();
    atomic_store(&lane->in, 3 << 6); /* the test, not the worker, for which there is nothing to do */
    assert_int_equal(mm_pool_tell(&pool, MM_MSG_KILL, 0, pid, 3 << 6), 0);
    expect(MM_MSG_DIED);
    assert_int_equal(message.id, 0);
    assert_true(WIFSIGNALED((int)message.a) && WTERMSIG((int)message.a) == SIGKILL);
    assert_int_equal(lane->verdict, MM_VERDICT_CANCELED);
    assert_int_equal(lane->pid, 0);
}

/* It had gone on to another map, an innocent item of which was reported. */
static void forkserver_spares_a_worker_that_has_left_the_map(void **state)
{
    (void)state;
    struct mm_lane *lane = &pool.board->lanes[0];
    pid_t pid = started();
    static const int64_t in[] = { 0, 4 << 6, 3 << 6 | 1 }; /* no map; another one; another slot */
    for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
        atomic_store(&lane->in, (uint64_t)in[i]);
        assert_int_equal(mm_pool_tell(&pool, MM_MSG_KILL, 0, pid, 3 << 6), 0);
        assert_int_equal(handled(), 0);
        assert_int_equal(lane->verdict, MM_VERDICT_NONE);
    }
    atomic_store(&lane->in, 3 << 6);
    assert_int_equal(mm_pool_tell(&pool, MM_MSG_KILL, 0, pid + 1, 3 << 6), 0); /* the one before it */
    assert_int_equal(mm_pool_tell(&pool, MM_MSG_KILL, 1, pid, 3 << 6), 0);     /* there is no such lane */
    assert_int_equal(handled(), 0);
    assert_int_equal(lane->verdict, MM_VERDICT_NONE);
    assert_int_equal(lane->pid, pid);
    assert_int_equal(kill(pid, 0), 0);
}

/* The next death of that lane was taken for a timeout. */
static void forkserver_forgets_the_verdict_on_a_worker_that_left_by_itself(void **state)
{
    (void)state;
    pid_t pid = started();
    atomic_store(&pool.board->lanes[0].verdict, MM_VERDICT_TIMEOUT); /* and it leaves before the signal comes */
    bump(1);
    renewed(pid);
    assert_int_equal(pool.board->lanes[0].verdict, MM_VERDICT_NONE);
}

/* ---- Files that are attached ----------------------------------------------------------------------------------------- */

static int make_file(double value)
{
    int fd = memfd_create("forkserver", MFD_CLOEXEC);
    double page[PAGE / sizeof value];
    for (size_t i = 0; i < PAGE / sizeof value; i++)
        page[i] = value;
    assert_int_equal(write(fd, page, sizeof page), sizeof page);
    return fd;
}

static void send_file(int fd, uint32_t serial)
{
    pool.message = (struct mm_message){ .type = MM_MSG_ATTACH, .id = 0, .b = PAGE, .serial = serial };
    assert_int_equal(mm_control_send(pool.control, &pool.message, fd), 0);
}

/* A worker took the number that the board had when it started for its own, though its files were older. */
static void forkserver_renews_workers_until_it_has_heard_of_the_newest_file(void **state)
{
    (void)state;
    pid_t pid = started();
    bump(2); /* the messages are still to come */
    for (int i = 0; i < 4; i++)
        pid = renewed(pid);
    int fd = make_file(1);
    send_file(fd, 1);
    close(fd);
    handled();
    for (int i = 0; i < 4; i++)
        renewed(0);
    tell_of_serial(2);
    handled(); /* the last worker may have been forked before that: one that is forked from here on stays */
    kill(last, SIGKILL);
    for (next(); message.type == MM_MSG_UP; next())
        kill((pid_t)message.a, SIGKILL);
    assert_int_equal(message.type, MM_MSG_DIED);
    mm_pool_respawn(&pool, 0);
    pid = renewed(0);
    while (!atomic_load(&pool.board->lanes[0].parked))
        sched_yield();
    assert_int_equal(handled(), 0);
    assert_int_equal(pool.board->lanes[0].pid, pid);
}

/* A map of the items of the newest file, as this process has it. */
static void begin_map(struct mm_jobs *jobs, struct mm_run *run, int fd, double *out)
{
    static struct mm_function function;
    mamuto_error_t err = { 0 };
    struct mm_loaded own = { 0 };
    assert_int_equal(mm_load_module(&own, MM_MODULE_SELF, "the program", mm_program_functions(), &err), 0);
    mm_jobs_init(jobs, &pool, mm_program_functions());
    assert_int_equal(mm_jobs_add_module(jobs, 0, own.n, MM_MODULE_SELF, mm_load_mark(&own), &err), 0);
    mm_load_fini(&own);
    void *base = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(base != MAP_FAILED);
    pool.attached[0] = (struct mm_attachment){ base, PAGE, 0, fd };
    pool.n_attached = 1;
    *run = (struct mm_run){
        .function = &function, .n = ITEMS, .n_in = 1, .result = out, .result_stride = 8, .out_size = 8, .out_len = 1
    };
    run->in[0] = (struct mm_run_arg){ .data = base, .stride = 8, .size = 8, .len = 1 };
    assert_int_equal(mm_jobs_submit(jobs, run, &err), 0);
}

/* How many workers start before the map ends, at most so many. */
static int starts_before_the_end(struct mm_jobs *jobs, struct mm_run *run, int most)
{
    int n = 0;
    while (n < most && mm_jobs_check(jobs, run->job) == MM_JOB_RUNS) {
        struct pollfd fds[] = { { pool.control, POLLIN, 0 }, { pool.event, POLLIN, 0 } };
        assert_true(poll(fds, 2, PATIENCE_MS) > 0);
        mm_pool_on_event(&pool);
        if (!fds[0].revents)
            continue;
        expect(MM_MSG_UP);
        n++;
    }
    return n;
}

/* The first file is given back and another one attached in its place, before the fork server has heard of either: it gave
 * the first one the second one's number. */
static void forkserver_takes_no_file_for_a_later_one_in_its_place(void **state)
{
    (void)state;
    static struct mm_jobs jobs;
    struct mm_run run;
    int first = make_file(1), second = make_file(2);
    double *out = mm_arena_alloc(&pool.arena, PAGE, NULL);
    assert_non_null(out);
    pid_t pid = started();
    atomic_store(&pool.board->attached[0].serial, 3); /* 1: attached; 2: given back; 3: the other one */
    send_file(first, 1);
    bump(1);
    renewed(pid);
    while (handled() > 0)
        ;
    begin_map(&jobs, &run, second, out);
    assert_int_equal(starts_before_the_end(&jobs, &run, 3), 3); /* it has work, and has not the file */
    assert_int_equal(mm_pool_tell(&pool, MM_MSG_DETACH, 0, 0, 0), 0);
    send_file(second, 3);
    bump(3);
    starts_before_the_end(&jobs, &run, 1 << 20);
    for (int i = 0; i < ITEMS; i++)
        assert_true(out[i] == 2);
    mm_jobs_remove(&jobs, run.job);
    mm_jobs_fini(&jobs);
    close(first);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(int argc, char **argv)
{
    mamuto_main(argc, argv); /* the fork server is this program, started again */
    const struct CMUnitTest tests[] = {
        TEST(forkserver_kills_a_worker_that_holds_the_map),
        TEST(forkserver_spares_a_worker_that_has_left_the_map),
        TEST(forkserver_forgets_the_verdict_on_a_worker_that_left_by_itself),
        TEST(forkserver_renews_workers_until_it_has_heard_of_the_newest_file),
        TEST(forkserver_takes_no_file_for_a_later_one_in_its_place),
    };
    return cmocka_run_group_tests_name("forkserver", tests, NULL, NULL);
}
