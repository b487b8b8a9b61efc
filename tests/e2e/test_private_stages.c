/* Cancel, close, deaths and shortage at each stage of a map that runs on copies: on_done comes once, and nothing touches
 * the caller's arrays after it (they are sealed in it), nor after on_close. The kernel denies process_vm_readv here. */
#include "tests/support/e2e.h"
#include "tests/support/private.h"

#include "core/alloc.h"
#include "shm/board.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define N ((size_t)300000) /* some MB: several pieces each way */

static uv_loop_t loop;
static mamuto_t *m;
static struct e2e_held before;

static int set_up(void **state)
{
    (void)state;
    before = e2e_hold();
    e2e_scratch_begin();
    m = private_open(&loop, E2E_MODULE("stage_work"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    private_gate_open();
    if (m)
        private_close(m, &loop);
    assert_false(private_has_copier());
    e2e_scratch_end();
    e2e_holds_as(&before);
    return 0;
}

static void is_canceled(struct private_map *map)
{
    private_run_until(&loop, &map->n_done, 1);
    e2e_is_error(map->status, &map->err, MAMUTO_ECANCELED, "cancelled");
}

static void good_map(void)
{
    struct private_map map;
    private_map_init(&map, 1000);
    private_map_begin(&map, m, "add");
    private_run_until(&loop, &map.n_done, 1);
    private_map_is_right(&map);
    private_map_fini(&map);
}

static void few_turns(void)
{
    for (int i = 0; i < 5; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

/* ---- Cancel ------------------------------------------------------------------------------------------------------- */

/* One map stands at the gate; the one behind it has not begun. */
static void cancel_while_queued(const char *point)
{
    struct private_map first, second;
    private_map_init(&first, N);
    private_map_init(&second, N);
    private_gate_close(point);
    private_map_begin(&first, m, "add");
    private_gate_reached(&loop);
    private_map_begin(&second, m, "add");
    few_turns();
    mamuto_cancel(second.handle);
    assert_int_equal(second.n_done, 0);
    if (point[5] == 'i') { /* it ends though the copier has not moved */
        is_canceled(&second);
        assert_int_equal(first.n_done, 0);
    }
    private_gate_open();
    is_canceled(&second);
    private_run_until(&loop, &first.n_done, 1);
    private_map_is_right(&first);
    private_map_fini(&first);
    private_map_fini(&second);
    good_map();
}

static void map_canceled_while_queued_ends_at_once(void **state)
{
    (void)state;
    cancel_while_queued("copy_in");
    cancel_while_queued("copy_out");
}

static void cancel_at(const char *point)
{
    struct private_map map;
    private_map_init(&map, N);
    private_gate_close(point);
    private_map_begin(&map, m, "add");
    private_gate_reached(&loop);
    mamuto_cancel(map.handle);
    mamuto_cancel(map.handle);
    few_turns();
    assert_int_equal(map.n_done, 0); /* a piece is at the copier: the array is not given back yet */
    private_gate_open();
    is_canceled(&map);
    few_turns();
    private_map_fini(&map);
    good_map();
}

static void map_canceled_while_copied_ends_behind_the_piece(void **state)
{
    (void)state;
    cancel_at("copy_in");
    cancel_at("copy_out");
}

static bool has_begun(void *unused)
{
    (void)unused;
    uv_run(&loop, UV_RUN_NOWAIT);
    return e2e_size("begun") >= 0;
}

static void map_canceled_while_running_ends(void **state)
{
    (void)state;
    struct private_map map;
    private_map_init(&map, N);
    private_map_begin(&map, m, "hold");
    assert_true(e2e_until(has_begun, NULL, E2E_PATIENCE_MS));
    mamuto_cancel(map.handle);
    is_canceled(&map);
    private_map_fini(&map);
    good_map();
}

static void map_canceled_right_after_its_call_ends(void **state)
{
    (void)state;
    for (int turns = 0; turns < 40; turns++) {
        struct private_map map;
        private_map_init(&map, N);
        private_map_begin(&map, m, "add");
        for (int i = 0; i < turns && !map.n_done; i++, e2e_nap())
            uv_run(&loop, UV_RUN_NOWAIT);
        if (!map.n_done)
            mamuto_cancel(map.handle);
        private_run_until(&loop, &map.n_done, 1);
        assert_true(map.status == MAMUTO_ECANCELED || map.status == 0);
        private_map_fini(&map);
    }
}

/* ---- Close -------------------------------------------------------------------------------------------------------- */

static int n_closed;
static struct private_map *closing;

static void on_close(void *data)
{
    (void)data;
    n_closed++;
    assert_int_equal(closing->n_done, 1); /* on_done came before */
}

/* on_done seals the arrays: whoever touches them between it and on_close, or later, dies. */
static void close_now(struct private_map *map)
{
    closing = map;
    n_closed = 0;
    assert_int_equal(mamuto_close(m, on_close), 0);
    uv_run(&loop, UV_RUN_NOWAIT); /* it begins to close; that it ends needs more turns, and the gate open */
    private_gate_open();
    private_run_until(&loop, &n_closed, 1);
    m = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    is_canceled(map);
    private_map_fini(map);
}

static void close_at(const char *point, const char *function)
{
    struct private_map map;
    private_map_init(&map, N);
    private_gate_close(point);
    private_map_begin(&map, m, function);
    if (*point)
        private_gate_reached(&loop);
    else
        assert_true(e2e_until(has_begun, NULL, E2E_PATIENCE_MS));
    close_now(&map);
}

static void close_while_copied_in_ends_map(void **state)
{
    (void)state;
    close_at("copy_in", "add");
}

static void close_while_copied_out_ends_map(void **state)
{
    (void)state;
    close_at("copy_out", "add");
}

static void close_while_running_ends_map(void **state)
{
    (void)state;
    close_at("", "hold");
}

static void close_right_after_the_call_ends_map(void **state)
{
    (void)state;
    struct private_map map;
    private_map_init(&map, N);
    private_map_begin(&map, m, "add");
    close_now(&map);
}

/* ---- Deaths ------------------------------------------------------------------------------------------------------- */

static void map_survives_death_of_all_processes_while_copied(void **state)
{
    (void)state;
    static const char *const points[] = { "copy_in", "copy_out" };
    for (int i = 0; i < 2; i++) {
        struct private_map map;
        private_map_init(&map, N);
        private_gate_close(points[i]);
        private_map_begin(&map, m, "add");
        private_gate_reached(&loop);
        e2e_kill_server();
        few_turns();
        private_gate_open();
        private_run_until(&loop, &map.n_done, 1);
        private_map_is_right(&map);
        private_map_fini(&map);
    }
}

static pid_t last_server;

static bool has_new_server(void *unused)
{
    (void)unused;
    uv_run(&loop, UV_RUN_NOWAIT);
    pid_t server = e2e_server();
    return server && server != last_server;
}

/* The fourth time in a row, the host is given up; the copier may have been quicker with what was left. */
static void map_ends_when_processes_die_again_and_again(void **state)
{
    (void)state;
    struct private_map map;
    private_map_init(&map, 20 * N);
    private_gate_close("copy_in");
    private_map_begin(&map, m, "add");
    private_gate_reached(&loop);
    for (int i = 0; i < 4; i++) {
        assert_true(e2e_until(has_new_server, NULL, E2E_PATIENCE_MS));
        last_server = e2e_server();
        if (i == 3)
            private_gate_open();
        assert_int_equal(kill(last_server, SIGKILL), 0);
    }
    private_run_until(&loop, &map.n_done, 1);
    assert_true(map.status == MAMUTO_EHOST || map.status == 0);
    private_map_fini(&map);
}

/* ---- Shortage ----------------------------------------------------------------------------------------------------- */

static void map_of_more_than_there_is_is_refused(void **state)
{
    (void)state;
    size_t bytes = (size_t)sysconf(_SC_PHYS_PAGES) * 4096 * 2;
    double *huge = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(huge != MAP_FAILED);
    double one = 1;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = "add",
                           .args = { mamuto_scatter(huge, bytes / 16), mamuto_broadcast(&one) },
                           .result = (char *)huge + bytes / 2 };
    e2e_is_error(mamuto_map(m, &call, NULL, &err), &err, MAMUTO_ENOMEM, "there is no room");
    munmap(huge, bytes);
    good_map();
}

/* An arena of 32 MB, in which one map of 24 MB has room: the others wait until it has given it back. */
static void maps_wait_for_each_others_room(void **state)
{
    (void)state;
    enum { N_MAPS = 6 };
    const size_t items = (24 << 20) / 24;
    struct rlimit old, low;
    struct private_map maps[N_MAPS];
    private_close(m, &loop);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = (struct rlimit){ sizeof(struct mm_board) + (32 << 20), old.rlim_max };
    /* the board is a file as well, and the arena as large as the limit: most of it is taken away */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    m = private_open(&loop, E2E_MODULE("stage_work"));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    mamuto_error_t err = { 0 };
    assert_non_null(mamuto_alloc(m, 1, sizeof(struct mm_board) & ~(size_t)4095, &err));
    for (int i = 0; i < N_MAPS; i++) {
        private_map_init(&maps[i], items);
        private_map_begin(&maps[i], m, "add");
    }
    mamuto_cancel(maps[3].handle);
    for (int i = 0; i < N_MAPS; i++) {
        private_run_until(&loop, &maps[i].n_done, 1);
        if (i == 3)
            assert_int_equal(maps[i].status, MAMUTO_ECANCELED);
        else
            private_map_is_right(&maps[i]);
        private_map_fini(&maps[i]);
    }
    struct private_map large;
    private_map_init(&large, 2 * items);
    mamuto_call_t call = { .function = "add",
                           .args = { mamuto_scatter(large.a, large.n), mamuto_scatter(large.b, large.n) },
                           .result = large.out };
    e2e_is_error(mamuto_map(m, &call, NULL, &err), &err, MAMUTO_ENOMEM, "there is no room");
    large.n_done = 1;
    private_map_fini(&large);
}

static void map_without_heap_is_refused(void **state)
{
    (void)state;
    long failed = 0;
    struct private_map map;
    private_map_init(&map, N);
    good_map();
    for (long n = 1;; n++) {
        mamuto_error_t err = { 0 };
        mamuto_call_t call = { .function = "add",
                               .args = { mamuto_scatter(map.a, N), mamuto_scatter(map.b, N) },
                               .result = map.out };
        mamuto_map_t *handle = NULL;
        mm_alloc_fail_at(n);
        int code = mamuto_map(m, &call, &handle, &err);
        mm_alloc_fail_at(0);
        if (code == 0)
            break;
        e2e_is_error(code, &err, MAMUTO_ENOMEM, NULL);
        failed++;
    }
    assert_true(failed > 0);
    map.n_done = 1; /* the last one was begun without on_done: close waits for it */
    private_close(m, &loop);
    m = NULL;
    private_map_fini(&map);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(map_canceled_while_queued_ends_at_once),
        TEST(map_canceled_while_copied_ends_behind_the_piece),
        TEST(map_canceled_while_running_ends),
        TEST(map_canceled_right_after_its_call_ends),
        TEST(close_while_copied_in_ends_map),
        TEST(close_while_copied_out_ends_map),
        TEST(close_while_running_ends_map),
        TEST(close_right_after_the_call_ends_map),
        TEST(map_survives_death_of_all_processes_while_copied),
        TEST(map_ends_when_processes_die_again_and_again),
        TEST(map_of_more_than_there_is_is_refused),
        TEST(maps_wait_for_each_others_room),
        TEST(map_without_heap_is_refused),
    };
    private_deny();
    uv_loop_init(&loop); /* the first one opens what libuv keeps */
    uv_loop_close(&loop);
    return cmocka_run_group_tests_name("private_stages", tests, NULL, NULL);
}
