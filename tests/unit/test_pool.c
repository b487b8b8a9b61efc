/* A pool whose fork server is the test. One that does not come to read: the socket is full, and what cannot be told is
 * done here, or said to have failed, so that it is asked for again. What is told of attached files; what the pool makes
 * of workers that start and die, and of a fork server of another build. */
#include "shm/attach.h"

#include "tests/support/handmade.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 4096, ARRAY = 64 * PAGE };

static struct mm_pool pool;
static int other_end;
static struct mm_message message;

/* What the pool has called back. */
static struct {
    int up, up_status, deaths;
    char text[400];
    struct mm_death death;
} seen;

static void on_up(void *owner, int status, const mamuto_error_t *err)
{
    assert_ptr_equal(owner, &seen);
    seen.up++;
    seen.up_status = status;
    if (err)
        snprintf(seen.text, sizeof seen.text, "%.*s", (int)sizeof seen.text - 1, err->text);
}

static void on_message(void *owner, const struct mm_message *other)
{
    (void)owner, (void)other;
    fail_msg("nothing was loaded");
}

static void on_death(void *owner, const struct mm_death *death)
{
    assert_ptr_equal(owner, &seen);
    seen.deaths++;
    seen.death = *death;
}

static const struct mm_pool_events events = {
    .on_up = on_up, .on_function = on_message, .on_loaded = on_message, .on_death = on_death
};

static int set_up(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    int ends[2];
    memset(&pool, 0, sizeof pool);
    memset(&seen, 0, sizeof seen);
    if (mm_arena_init(&pool.arena, &err) != 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
        return -1;
    pool.board = handmade_board(4);
    pool.config.workers = 4;
    pool.events = &events;
    pool.owner = &seen;
    pool.control = ends[0];
    other_end = ends[1];
    pool.arena.warm_limit = 0; /* what is freed is to be given back at once */
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mm_arena_fini(&pool.arena);
    handmade_free(pool.board);
    if (pool.control >= 0)
        close(pool.control);
    return close(other_end);
}

static void fill_socket(void)
{
    int n = 0;
    while (n < 100000 && mm_pool_tell(&pool, MM_MSG_WATCH, 0, 0, 0) == 0)
        n++;
    assert_in_range(n, 1, 99999);
}

/* The next message to the fork server, which is of this type. */
static void receive(enum mm_message_type type)
{
    int fd;
    assert_int_equal(mm_control_receive(other_end, &message, &fd), 1);
    assert_int_equal(message.type, type);
    if (fd >= 0)
        close(fd);
}

/* The fork server says something, and the pool hears it. */
static bool hear(enum mm_message_type type, uint32_t id, int64_t a, const char *text)
{
    message = (struct mm_message){ .type = type, .id = id, .a = a };
    if (text)
        assert_int_equal(mm_message_add(&message, text), 0);
    assert_int_equal(mm_control_send(other_end, &message, -1), 0);
    return mm_pool_on_control(&pool);
}

static long long pages_taken(void)
{
    struct stat st;
    assert_int_equal(fstat(pool.arena.fd, &st), 0);
    return st.st_blocks * 512;
}

static char *taken_array(void)
{
    mamuto_error_t err = { 0 };
    char *p = mm_arena_alloc(&pool.arena, ARRAY, &err);
    assert_non_null(p);
    memset(p, 1, ARRAY);
    assert_true(pages_taken() >= ARRAY);
    return p;
}

static void pool_asks_the_server_to_punch_out_what_is_freed(void **state)
{
    (void)state;
    char *p = taken_array();
    assert_int_equal(mm_pool_free(&pool, p), 0);
    assert_true(mm_arena_is_punching(&pool.arena));
    receive(MM_MSG_PUNCH);
    assert_int_equal(message.b, ARRAY);
}

/* It was taken for given back, and its pages stayed for ever. */
static void pool_punches_itself_what_the_server_cannot_be_told(void **state)
{
    (void)state;
    long long before = pages_taken();
    char *p = taken_array();
    fill_socket();
    assert_int_equal(mm_pool_free(&pool, p), 0);
    assert_false(mm_arena_is_punching(&pool.arena));
    assert_int_equal(pages_taken(), before);
    assert_int_equal(mm_pool_free(&pool, p), -1);
}

/* Nobody asked again: the worker was never forked anew. */
static void pool_says_that_a_respawn_could_not_be_asked_for(void **state)
{
    (void)state;
    assert_true(mm_pool_respawn(&pool, 3));
    fill_socket();
    assert_false(mm_pool_respawn(&pool, 3));
    int control = pool.control;
    pool.control = -1; /* there is no server at all */
    assert_false(mm_pool_respawn(&pool, 3));
    pool.control = control;
}

/* ---- Attached files -------------------------------------------------------------------------------------------------- */

static const void *attach_pages(int pages)
{
    const void *p = NULL;
    mamuto_error_t err = { 0 };
    int fd = memfd_create("pool", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, (off_t)pages * PAGE), 0);
    assert_int_equal(mm_attach_file(&pool, fd, 0, (size_t)pages * PAGE, &p, &err), 0);
    close(fd);
    return p;
}

/* The fork server took the board's number, which may be of a later file than the one that it was handed. */
static void pool_sends_each_file_with_the_number_that_it_has(void **state)
{
    (void)state;
    const void *first = attach_pages(1), *second = attach_pages(2);
    assert_int_equal(mm_pool_free(&pool, first), 0);
    const void *third = attach_pages(3);
    static const uint32_t types[] = { MM_MSG_ATTACH, MM_MSG_ATTACH, MM_MSG_DETACH, MM_MSG_ATTACH };
    static const uint32_t regions[] = { 0, 1, 0, 0 };
    for (uint32_t i = 0; i < 4; i++) {
        receive((enum mm_message_type)types[i]);
        assert_int_equal(message.id, regions[i]);
        assert_int_equal(message.serial, i + 1); /* though the board is ahead of it by now */
    }
    assert_int_equal(pool.board->attach_serial, 4);
    assert_int_equal(pool.board->attached[0].serial, 4);
    assert_int_equal(pool.board->attached[1].serial, 2);
    assert_int_equal(mm_pool_free(&pool, second), 0);
    assert_int_equal(mm_pool_free(&pool, third), 0);
}

/* ---- Workers that start and die -------------------------------------------------------------------------------------- */

/* They were counted twice: with none left, the pool took some for alive, and a fork that failed was tried for ever. */
static void pool_counts_a_worker_that_was_forked_anew_once(void **state)
{
    (void)state;
    for (uint32_t lane = 0; lane < 4; lane++) {
        assert_int_equal(seen.up, 0);
        for (int times = 0; times < 3; times++)
            hear(MM_MSG_UP, lane, 100 + times, NULL);
        assert_int_equal(pool.n_up, lane + 1);
    }
    assert_int_equal(seen.up, 1);
    assert_int_equal(seen.up_status, 0);
    hear(MM_MSG_UP, 2, 200, NULL);
    hear(MM_MSG_UP, 4, 200, NULL); /* there is none of that number */
    for (uint32_t lane = 0; lane < 4; lane++)
        hear(MM_MSG_DIED, lane, SIGKILL, NULL);
    assert_int_equal(pool.n_up, 0);
    hear(MM_MSG_DIED, 1, -EAGAIN, NULL); /* could not be forked again */
    hear(MM_MSG_DIED, 4, SIGKILL, NULL);
    assert_int_equal(pool.n_up, 0);
    assert_int_equal(seen.deaths, 5);
    assert_int_equal(seen.death.fork_error, EAGAIN);
    hear(MM_MSG_UP, 1, 300, NULL);
    assert_int_equal(pool.n_up, 1);
}

/* A kill may come when the item that it was for is done: the sweep compares it with the one that ran. */
static void pool_tells_of_a_death_what_the_kill_was_for(void **state)
{
    (void)state;
    hear(MM_MSG_UP, 3, 100, NULL);
    atomic_store(&pool.board->lanes[3].verdict, MM_VERDICT_TIMEOUT);
    atomic_store(&pool.board->lanes[3].verdict_at, 41);
    atomic_store(&pool.board->lanes[3].cursor, 42);
    hear(MM_MSG_DIED, 3, SIGKILL, NULL);
    assert_int_equal(seen.deaths, 1);
    assert_int_equal(seen.death.lane, 3);
    assert_int_equal(seen.death.status, SIGKILL);
    assert_int_equal(seen.death.verdict, MM_VERDICT_TIMEOUT);
    assert_int_equal(seen.death.verdict_at, 41);
    assert_int_equal(seen.death.fork_error, 0);
}

/* ---- The fork server's build ----------------------------------------------------------------------------------------- */

static pid_t start_idle_process(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        for (alarm(20);;) /* so that a test that fails ends */
            pause();
    }
    assert_true(pid > 0);
    setpgid(pid, pid);
    return pid;
}

static void pool_refuses_a_fork_server_of_another_build(void **state)
{
    (void)state;
    hear(MM_MSG_HELLO, 0, 0, "some other build");
    assert_int_equal(seen.up, 1);
    assert_int_equal(seen.up_status, MAMUTO_EVERSION);
    assert_non_null(strstr(seen.text, "of build some other build"));
    assert_non_null(strstr(seen.text, ", this library of build "));
}

/* This library's build, by what it says of another one. */
static const char *own_build(void)
{
    static char build[64];
    hear(MM_MSG_HELLO, 0, 0, "some other build");
    const char *at = strstr(seen.text, "this library of build ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "this library of build %63[^:]", build), 1);
    pool.up = false;
    memset(&seen, 0, sizeof seen);
    return build;
}

/* It was trusted, when it was not the first one, with a board that it may not understand. */
static void pool_kills_a_fork_server_of_another_build_that_was_started_anew(void **state)
{
    (void)state;
    const char *build = own_build();
    assert_true(hear(MM_MSG_HELLO, 0, 0, build));
    for (uint32_t lane = 0; lane < 4; lane++)
        hear(MM_MSG_UP, lane, 100, NULL);
    assert_int_equal(seen.up_status, 0);
    assert_true(hear(MM_MSG_HELLO, 0, 0, build));
    assert_true(pool.control >= 0);
    pool.server = start_idle_process();
    assert_false(hear(MM_MSG_HELLO, 0, 0, "some other build"));
    assert_int_equal(pool.control, -1);
    assert_int_equal(seen.up, 1);
    int status;
    assert_int_equal(waitpid(pool.server, &status, 0), pool.server);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pool_asks_the_server_to_punch_out_what_is_freed),
        TEST(pool_punches_itself_what_the_server_cannot_be_told),
        TEST(pool_says_that_a_respawn_could_not_be_asked_for),
        TEST(pool_sends_each_file_with_the_number_that_it_has),
        TEST(pool_counts_a_worker_that_was_forked_anew_once),
        TEST(pool_tells_of_a_death_what_the_kill_was_for),
        TEST(pool_refuses_a_fork_server_of_another_build),
        TEST(pool_kills_a_fork_server_of_another_build_that_was_started_anew),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
