/* A large array is kept while the caller's loop goes on: a timer of 1 ms is not late by more than it would be beside any
 * other busy thread. Also a chain of keeps whose on_kept begin the next. */
#include "tests/support/e2e.h"
#include "tests/support/keep.h"
#include "tests/support/private.h"

#include "core/cpus.h"
#include "shm/board.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cmocka.h>

#define LARGE ((size_t)500 << 20)

static uv_loop_t loop;
static mamuto_t *m;
static struct e2e_held before;

static int set_up(void **state)
{
    (void)state;
    before = e2e_hold();
    e2e_scratch_begin();
    m = private_open(&loop, E2E_MODULE("keep_work"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    private_close(m, &loop);
    e2e_scratch_end();
    e2e_holds_as(&before);
    return 0;
}

struct ticks {
    uv_timer_t timer;
    uint64_t last, n, longest_ns;
};

static void on_tick(uv_timer_t *timer)
{
    struct ticks *ticks = timer->data;
    uint64_t now = uv_hrtime(), gap = now - ticks->last;
    if (gap > ticks->longest_ns)
        ticks->longest_ns = gap;
    ticks->last = now;
    ticks->n++;
}

static void begin_ticks(struct ticks *ticks)
{
    *ticks = (struct ticks){ .last = uv_hrtime() };
    uv_timer_init(&loop, &ticks->timer);
    ticks->timer.data = ticks;
    uv_timer_start(&ticks->timer, on_tick, 1, 1);
    uv_unref((uv_handle_t *)&ticks->timer);
}

static void end_ticks(struct ticks *ticks)
{
    uv_close((uv_handle_t *)&ticks->timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
}

/* Taking the pages alone would hold the loop up for 0.35 s. */
static void loop_goes_on_while_a_large_array_is_kept(void **state)
{
    (void)state;
    struct keep_one one = { 0 };
    struct ticks ticks;
    if (mm_cgroup_memory_free("") < 3 * LARGE)
        skip();
    unsigned char *array = malloc(LARGE);
    if (!array)
        skip();
    memset(array, 7, LARGE);
    begin_ticks(&ticks);
    uint64_t start = uv_hrtime();
    keep_begin(&one, m, "u1", mamuto_scatter(array, LARGE));
    uint64_t called_ns = uv_hrtime() - start;
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(one.n_kept, 1);
    assert_int_equal(one.status, 0);
    print_message("the call took %llu us, the keep %llu ms; %llu ticks of 1 ms, the longest took %llu ms\n",
                  (unsigned long long)(called_ns / 1000), (unsigned long long)((uv_hrtime() - start) / 1000000),
                  (unsigned long long)ticks.n, (unsigned long long)(ticks.longest_ns / 1000000));
    assert_true(called_ns < 200000000);
    assert_true(ticks.n >= 10);
    assert_true(ticks.longest_ns < 500000000);
    end_ticks(&ticks);
    free(array);
    assert_int_equal(mamuto_forget(one.handle), 0);
    assert_int_equal(keep_extents(m), 0);
}

static void keep_next(struct keep_one *one)
{
    assert_int_equal(one->status, 0);
    assert_int_equal(mamuto_forget(one->handle), 0);
    struct keep_one *next = one + 1;
    if (next->then)
        keep_begin(next, m, "f8", mamuto_scatter(NULL, 0));
}

/* They are over at once; each is reported on a turn of its own, so that the timer has its turn, too. */
static void chain_of_keeps_leaves_the_loop_its_turns(void **state)
{
    (void)state;
    enum { LINKS = 200 };
    struct keep_one *chain = calloc(LINKS + 1, sizeof *chain);
    for (int i = 0; i < LINKS; i++)
        chain[i].then = keep_next;
    keep_begin(&chain[0], m, "f8", mamuto_scatter(NULL, 0));
    for (int i = 0; i < 3; i++) {
        uv_run(&loop, UV_RUN_ONCE);
        assert_int_equal(chain[LINKS - 1].n_kept, 0);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    for (int i = 0; i < LINKS; i++)
        assert_int_equal(chain[i].n_kept, 1);
    assert_int_equal(keep_extents(m), 0);
    free(chain);
}

static struct keep_one second;
static char bytes[24 << 20];

static void keep_second(struct keep_one *one)
{
    assert_int_equal(one->status, MAMUTO_ECANCELED);
    keep_begin(&second, m, "u1", mamuto_scatter(bytes, sizeof bytes));
}

/* An arena in which one array has room. What was being copied when it was forgotten goes back to the kernel, and another
 * process does that: the next one waits for it. */
static void keep_waits_for_room_that_is_on_its_way_back(void **state)
{
    (void)state;
    struct keep_one first = { 0 };
    struct rlimit old, low;
    mamuto_error_t err = { 0 };
    private_close(m, &loop);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = (struct rlimit){ sizeof(struct mm_board) + (32 << 20), old.rlim_max };
    /* the board is a file as well, and the arena as large as the limit: most of it is taken away */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    m = private_open(&loop, E2E_MODULE("keep_work"));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_non_null(mamuto_alloc(m, 1, sizeof(struct mm_board) & ~(size_t)4095, &err));
    second = (struct keep_one){ 0 };
    private_gate_close("copy_in");
    keep_begin(&first, m, "u1", mamuto_scatter(bytes, sizeof bytes));
    private_gate_reached(&loop);
    keep_begin(&second, m, "u1", mamuto_scatter(bytes, sizeof bytes));
    private_run_until(&loop, &second.n_kept, 1);
    e2e_is_error(second.status, &second.err, MAMUTO_ENOMEM, "no room for the copy");
    first.then = keep_second;
    assert_int_equal(mamuto_forget(first.handle), 0);
    private_gate_open();
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(second.n_kept, 1);
    assert_int_equal(second.status, 0);
    assert_int_equal(keep_extents(m), 2);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(loop_goes_on_while_a_large_array_is_kept),
        TEST(keep_waits_for_room_that_is_on_its_way_back),
        TEST(chain_of_keeps_leaves_the_loop_its_turns),
    };
    uv_loop_init(&loop); /* the first one opens what libuv keeps */
    uv_loop_close(&loop);
    return cmocka_run_group_tests_name("e2e_keep_large", tests, NULL, NULL);
}
