/* A pool whose fork server does not come to read: its socket is full, and what cannot be told is done here, or said to
 * have failed, so that it is asked for again. */
#include "shm/pool.h"

#include "tests/support/handmade.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 4096, ARRAY = 64 * PAGE };

static struct mm_pool pool;
static int other_end;

static int set_up(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    int ends[2];
    memset(&pool, 0, sizeof pool);
    if (mm_arena_init(&pool.arena, &err) != 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
        return -1;
    pool.board = handmade_board(4);
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
    static struct mm_message message;
    int fd;
    assert_int_equal(mm_control_receive(other_end, &message, &fd), 1);
    assert_int_equal(message.type, MM_MSG_PUNCH);
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

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pool_asks_the_server_to_punch_out_what_is_freed),
        TEST(pool_punches_itself_what_the_server_cannot_be_told),
        TEST(pool_says_that_a_respawn_could_not_be_asked_for),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
