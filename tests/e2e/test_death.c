/* Deaths that no item is to blame for: workers and fork servers killed or stopped from outside, at any time; also in
 * programs that reap everything, or nothing. No item is lost, and nothing remains. */
#include "tests/support/e2e.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

enum { WORKERS = 4, N = 20000 };

static mamuto_t *m;
static uv_loop_t loop;
static uv_async_t alive; /* while it is referenced, the loop looks at what an idle mapper watches too */
static int32_t in[N], out[N];
static struct {
    int done, status;
    mamuto_error_t err;
} ended;

static int begin(void **state)
{
    (void)state;
    e2e_scratch_begin();
    return 0;
}

static int end(void **state)
{
    (void)state;
    e2e_scratch_end();
    return 0;
}

/* ---- A mapper on a loop: something can be done while a map runs -------------------------------------------------- */

static void turn(void)
{
    uv_ref((uv_handle_t *)&alive);
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_unref((uv_handle_t *)&alive);
}

static void on_open(mamuto_t *mapper, int status, const mamuto_error_t *err)
{
    (void)mapper;
    if (status)
        fail_msg("cannot open: %s", err->text);
}

static void open_on_loop(int workers)
{
    mamuto_error_t err = { 0 };
    char config[64];
    snprintf(config, sizeof config, "{\"hosts\": {\"localhost\": %d}}", workers);
    mamuto_options_t options = { .config_text = config,
                                 .modules = (const char *[]){ E2E_MODULE("items"), NULL },
                                 .loop = &loop,
                                 .on_open = on_open };
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_async_init(&loop, &alive, NULL), 0);
    uv_unref((uv_handle_t *)&alive);
    assert_int_equal(mamuto_open(&m, &options, &err), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
}

static void close_on_loop(void)
{
    assert_int_equal(mamuto_close(m, NULL), 0);
    uv_close((uv_handle_t *)&alive, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    (void)map;
    ended.done++;
    ended.status = status;
    ended.err = err ? *err : (mamuto_error_t){ 0 };
}

static void begin_map(const char *function, int n, int on_error)
{
    mamuto_error_t err = { 0 };
    for (int i = 0; i < n; i++)
        out[i] = -1;
    memset(&ended, 0, sizeof ended);
    mamuto_call_t call = { .function = function,
                           .args = { mamuto_scatter(in, (size_t)n) },
                           .result = out,
                           .on_done = on_done,
                           .on_error = on_error };
    if (mamuto_map(m, &call, NULL, &err) != 0)
        fail_msg("%s", err.text);
}

static void inputs(int n, int32_t value)
{
    for (int i = 0; i < n; i++)
        in[i] = value;
}

static bool turn_until_done(void *unused)
{
    (void)unused;
    turn();
    return ended.done;
}

static void ends_right(int n)
{
    if (!e2e_until(turn_until_done, NULL, E2E_PATIENCE_MS))
        fail_msg("the map does not end");
    if (ended.status)
        fail_msg("%s", ended.err.text);
    for (int i = 0; i < n; i++)
        if (out[i] != i * 2 + 1)
            fail_msg("item %d is %d", i, out[i]);
}

static bool turn_until_begun(void *at_least)
{
    turn();
    return e2e_size("begun") >= *(long *)at_least;
}

static void wait_for_begun(long at_least) { assert_true(e2e_until(turn_until_begun, &at_least, E2E_PATIENCE_MS)); }

struct wanted_workers {
    int n;
    pid_t pids[E2E_MAX_PIDS];
};

static bool turn_until_all_workers(void *wanted_)
{
    struct wanted_workers *wanted = wanted_;
    turn();
    return e2e_workers(wanted->pids, E2E_MAX_PIDS) == wanted->n;
}

static bool turn_until_server(void *pid)
{
    turn();
    return (*(pid_t *)pid = e2e_server()) != 0;
}

static void kill_server(void) /* as soon as there is one */
{
    pid_t server;
    assert_true(e2e_until(turn_until_server, &server, E2E_PATIENCE_MS));
    kill(server, SIGKILL);
}

/* Just after a fork a worker has not taken its name yet; just after a kill it still has it. */
static void find_workers(pid_t *pids, int n)
{
    static struct wanted_workers wanted;
    wanted.n = n;
    assert_true(e2e_until(turn_until_all_workers, &wanted, E2E_PATIENCE_MS));
    memcpy(pids, wanted.pids, (size_t)n * sizeof *pids);
}

static void wait_for_workers(int n)
{
    pid_t pids[E2E_MAX_PIDS];
    find_workers(pids, n);
}

static struct {
    pid_t pids[64];
    int n;
} left;

static bool all_gone(void *unused)
{
    (void)unused;
    for (int i = 0; i < left.n; i++)
        if (e2e_is_alive(left.pids[i]))
            return false;
    return true;
}

/* ---- Workers ----------------------------------------------------------------------------------------------------- */

static void worker_killed_when_idle_is_replaced(void **state)
{
    (void)state;
    open_on_loop(WORKERS);
    inputs(N, 0);
    for (int round = 0; round < 5; round++) {
        pid_t pids[WORKERS];
        find_workers(pids, WORKERS);
        for (int i = 0; i <= round && i < WORKERS; i++)
            kill(pids[i], SIGKILL);
        begin_map("item", N, MAMUTO_ON_ERROR_FAIL);
        ends_right(N);
        memcpy(left.pids, pids, sizeof pids);
        left.n = round < WORKERS ? round + 1 : WORKERS;
        assert_true(e2e_until(all_gone, NULL, E2E_PATIENCE_MS));
    }
    wait_for_workers(WORKERS);
    close_on_loop();
}

/* All workers wait inside an item when they are killed: each item has been killed once, none has failed. */
static void worker_killed_in_an_item_costs_nothing(void **state)
{
    (void)state;
    open_on_loop(WORKERS);
    inputs(WORKERS, 1);
    begin_map("gate", WORKERS, MAMUTO_ON_ERROR_FAIL);
    wait_for_begun(WORKERS);
    pid_t pids[WORKERS];
    find_workers(pids, WORKERS);
    for (int i = 0; i < WORKERS; i++)
        kill(pids[i], SIGKILL);
    wait_for_begun(2 * WORKERS); /* they are run again */
    e2e_touch("go");
    ends_right(WORKERS);
    close_on_loop();
}

static void worker_killed_twice_in_an_item_fails_it_alone(void **state)
{
    (void)state;
    open_on_loop(2);
    inputs(1000, 0);
    in[700] = 1;
    begin_map("gate", 1000, MAMUTO_ON_ERROR_SKIP);
    for (int kills = 1; kills <= 2; kills++) {
        wait_for_begun(kills);
        pid_t pids[2];
        int n = e2e_workers(pids, 2);
        for (int i = 0; i < n; i++) {
            char name[32];
            snprintf(name, sizeof name, "in-%d", (int)pids[i]);
            if (e2e_size(name) > 0)
                kill(pids[i], SIGKILL);
        }
    }
    assert_true(e2e_until(turn_until_done, NULL, E2E_PATIENCE_MS));
    e2e_is_error(ended.status, &ended.err, MAMUTO_EITEM, "1 of 1000 items failed; the first: item 700: worker ");
    assert_int_equal(ended.err.signal, SIGKILL);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(out[i], i == 700 ? 0 : i * 2 + 1);
    assert_int_equal(e2e_size("begun"), 2);
    close_on_loop();
}

/* Kills as they come, as many as there can be while a map of some tenths of a second runs. */
static void workers_killed_again_and_again_cost_nothing(void **state)
{
    (void)state;
    open_on_loop(WORKERS);
    inputs(N, 40);
    int kills = 0;
    begin_map("work", N, MAMUTO_ON_ERROR_SKIP);
    for (unsigned k = 0; !ended.done; k++) {
        pid_t pids[WORKERS];
        int n = e2e_workers(pids, WORKERS);
        if (n == WORKERS && kills < 100) { /* one at a time: no item is hit in its second run too, but by rare chance */
            kill(pids[k % WORKERS], SIGKILL);
            kills++;
        }
        for (int i = 0; i < 5 && !ended.done; i++) {
            turn();
            e2e_nap();
        }
    }
    assert_true(kills > 3);
    int wrong = 0;
    for (int i = 0; i < N; i++)
        wrong += out[i] != i * 2 + 1;
    if (ended.status) { /* stored + failed = n */
        char text[64];
        snprintf(text, sizeof text, "%d of %d items failed", wrong, N);
        e2e_is_error(ended.status, &ended.err, MAMUTO_EITEM, text);
    } else
        assert_int_equal(wrong, 0);
    close_on_loop();
}

static void worker_that_is_stopped_delays_its_items_alone(void **state)
{
    (void)state;
    open_on_loop(2);
    inputs(400, 0);
    in[0] = 1; /* one worker is in there */
    begin_map("gate", 400, MAMUTO_ON_ERROR_FAIL);
    wait_for_begun(1);
    pid_t pids[2];
    find_workers(pids, 2);
    for (int i = 0; i < 2; i++)
        kill(pids[i], SIGSTOP);
    e2e_touch("go");
    for (int i = 0; i < 50; i++) {
        turn();
        e2e_nap();
    }
    assert_int_equal(ended.done, 0);
    for (int i = 0; i < 2; i++)
        kill(pids[i], SIGCONT);
    ends_right(400);
    assert_int_equal(e2e_size("begun"), 1);
    close_on_loop();
}

static void worker_that_is_stopped_does_not_hinder_cancel_or_close(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        open_on_loop(2);
        inputs(2, 1);
        remove(e2e_path("begun"));
        begin_map("gate", 2, MAMUTO_ON_ERROR_FAIL);
        wait_for_begun(2);
        pid_t pids[2];
        find_workers(pids, 2);
        for (int i = 0; i <= round; i++)
            kill(pids[i], SIGSTOP);
        close_on_loop();
        assert_int_equal(ended.status, MAMUTO_ECANCELED);
        assert_int_equal(ended.done, 1);
        memcpy(left.pids, pids, sizeof pids);
        left.n = 2;
        assert_true(e2e_until(all_gone, NULL, 5000));
    }
}

/* ---- Fork server ------------------------------------------------------------------------------------------------- */

static void server_killed_when_idle_is_replaced(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    open_on_loop(WORKERS);
    inputs(N, 0);
    for (int round = 0; round < 6; round++) { /* more often than it may die without a map between */
        kill_server();
        begin_map("item", N, MAMUTO_ON_ERROR_FAIL);
        ends_right(N);
        wait_for_workers(WORKERS);
    }
    close_on_loop();
    e2e_holds_as(&before);
}

static void server_killed_in_mid_map_costs_nothing(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    open_on_loop(WORKERS);
    inputs(N, 0);
    in[N / 2] = 1;
    begin_map("gate", N, MAMUTO_ON_ERROR_FAIL);
    wait_for_begun(1);
    kill_server();
    wait_for_begun(2);
    e2e_touch("go");
    ends_right(N);
    begin_map("item", N, MAMUTO_ON_ERROR_FAIL);
    inputs(N, 0);
    ends_right(N);
    close_on_loop();
    e2e_holds_as(&before);
}

static void server_killed_with_many_maps_in_flight_costs_nothing(void **state)
{
    (void)state;
    open_on_loop(2);
    inputs(N, 3);
    begin_map("work", N, MAMUTO_ON_ERROR_FAIL);
    static int32_t more[80][100];
    mamuto_error_t err = { 0 };
    for (int k = 0; k < 80; k++) { /* also queued ones */
        mamuto_call_t call = { .function = "work", .args = { mamuto_scatter(in, 100) }, .result = more[k] };
        assert_int_equal(mamuto_map(m, &call, NULL, &err), 0);
    }
    kill_server();
    ends_right(N);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (int k = 0; k < 80; k++)
        for (int i = 0; i < 100; i++)
            assert_int_equal(more[k][i], i * 2 + 1);
    close_on_loop();
}

static void server_that_dies_again_and_again_ends_the_map(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    open_on_loop(2);
    inputs(1, 1);
    begin_map("gate", 1, MAMUTO_ON_ERROR_FAIL);
    for (int kills = 0; kills < 40 && !ended.done; kills++) {
        static struct wanted_workers two = { .n = 2 };
        e2e_until(turn_until_all_workers, &two, 200);
        pid_t server = e2e_server();
        if (server)
            kill(server, SIGKILL);
        for (int i = 0; i < 20; i++) {
            turn();
            e2e_nap();
        }
    }
    assert_int_equal(ended.done, 1);
    assert_true(ended.status == MAMUTO_EHOST || ended.status == MAMUTO_ECRASH);
    close_on_loop();
    e2e_holds_as(&before);
}

static void server_that_is_stopped_does_not_hinder_close(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    open_on_loop(2);
    pid_t server = e2e_server();
    assert_true(server > 0);
    kill(server, SIGSTOP);
    close_on_loop();
    e2e_holds_as(&before);
}

/* Whatever the mapper is at after so many turns of the loop: it can be closed. */
static void server_killed_before_close_leaves_nothing(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    for (int turns = 0; turns < 10; turns++) {
        open_on_loop(2);
        inputs(N, 3);
        begin_map("work", N, MAMUTO_ON_ERROR_FAIL);
        kill_server();
        for (int i = 0; i < turns; i++) {
            turn();
            e2e_nap();
        }
        close_on_loop();
        assert_int_equal(ended.done, 1);
        assert_true(ended.status == 0 || ended.status == MAMUTO_ECANCELED);
    }
    e2e_holds_as(&before);
}

static int open_status;
static bool open_told;

static void on_opened(mamuto_t *mapper, int status, const mamuto_error_t *err)
{
    (void)mapper, (void)err;
    assert_false(open_told);
    open_told = true;
    open_status = status;
}

static bool turn_until_told(void *unused)
{
    (void)unused;
    turn();
    return open_told;
}

/* Killed at any turn of the opening: it is opened all the same, or is an error, once. */
static void server_killed_while_opening_is_told(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    for (int turns = 0; turns < 15; turns++) {
        mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 2}}",
                                     .loop = &loop,
                                     .modules = (const char *[]){ E2E_MODULE("items"), NULL },
                                     .on_open = on_opened };
        assert_int_equal(uv_loop_init(&loop), 0);
        assert_int_equal(uv_async_init(&loop, &alive, NULL), 0);
        open_told = false;
        assert_int_equal(mamuto_open(&m, &options, NULL), 0);
        for (int i = 0; i < turns; i++) {
            turn();
            e2e_nap();
        }
        pid_t server = e2e_server();
        if (server) /* 0: it has not taken its name yet */
            kill(server, SIGKILL);
        assert_true(e2e_until(turn_until_told, NULL, E2E_PATIENCE_MS));
        inputs(N, 0);
        if (open_status == 0) {
            begin_map("item", N, MAMUTO_ON_ERROR_FAIL);
            ends_right(N);
        } else
            assert_true(open_status == MAMUTO_EHOST || open_status == MAMUTO_ECRASH);
        close_on_loop();
    }
    e2e_holds_as(&before);
}

static _Atomic bool killing;
static _Atomic int n_kills;

static void *kill_workers(void *unused)
{
    for (unsigned k = 0; killing; k++) {
        pid_t pids[WORKERS];
        int n = e2e_workers(pids, WORKERS);
        if (n == WORKERS) {
            pid_t server = k % 16 == 15 ? e2e_server() : 0; /* 0: between two of them */
            kill(server ? server : pids[k % WORKERS], SIGKILL);
            n_kills++;
        }
        for (int i = 0; i < 3; i++)
            e2e_nap();
    }
    return unused;
}

/* A caller that waits, spins or helps is served like any other. An item that is hit twice needs its retries. */
static void kills_while_the_caller_waits_cost_nothing(void **state)
{
    (void)state;
    m = e2e_open(WORKERS, E2E_MODULE("items"));
    int32_t *shared = mamuto_alloc(m, 2 * N, sizeof *shared, NULL);
    assert_non_null(shared);
    memset(shared, 0, N * sizeof *shared);
    inputs(N, 0);
    pthread_t thread;
    killing = true;
    n_kills = 0;
    assert_int_equal(pthread_create(&thread, NULL, kill_workers, NULL), 0);
    char wrong[700] = "";
    for (int round = 0; n_kills < 100 && round < 20000 && !*wrong; round++) {
        int n = round % 3 == 0 ? N : round % 3 == 1 ? 1000 : 10;
        int32_t *to = round & 4 ? shared + N : out;
        mamuto_error_t err = { 0 };
        mamuto_call_t call = { .function = round & 8 ? "chunk" : "item",
                               .args = { mamuto_scatter(round & 4 ? shared : in, (size_t)n) },
                               .result = to,
                               .help = round >> 4 & 1,
                               .retries = 100 };
        memset(to, 0xff, (size_t)n * sizeof *to);
        if (mamuto_map_wait(m, &call, &err) != 0)
            snprintf(wrong, sizeof wrong, "round %d: %s", round, err.text);
        for (int i = 0; i < n && !*wrong; i++)
            if (to[i] != i * 2 + 1)
                snprintf(wrong, sizeof wrong, "round %d: item %d of %d is %d", round, i, n, to[i]);
    }
    killing = false;
    pthread_join(thread, NULL);
    if (*wrong)
        fail_msg("%s", wrong);
    assert_true(n_kills > 10);
    e2e_close(m);
}

static void server_killed_while_a_module_is_loaded_ends_the_load(void **state)
{
    (void)state;
    open_on_loop(1);
    close_on_loop();
    mamuto_t *own = e2e_open(1, NULL);
    const char *path = e2e_path("killer.c");
    static const char text[] =
        "#include <mamuto.h>\n#include <signal.h>\n#include <unistd.h>\n"
        "MAMUTO_FUNCTION(f, \"f8 -> f8\") { return 0; }\n"
        "__attribute__((constructor)) static void begin(void) { kill(getppid(), SIGKILL); pause(); }\n";
    e2e_write(path, text, sizeof text - 1);
    mamuto_error_t err = { 0 };
    int code = mamuto_load_wait(own, path, &err);
    assert_true(code == MAMUTO_ECRASH || code == MAMUTO_EHOST);
    assert_int_equal(err.code, code);
    assert_int_equal(mamuto_load_wait(own, E2E_MODULE("items"), &err), MAMUTO_OK);
    e2e_close(own);
}

/* ---- Programs with ways of their own ------------------------------------------------------------------------------ */

static int forks_with_an_open_mapper(void *unused)
{
    (void)unused;
    _exit(0); /* the copy just ends: the mapper is its parent's */
}

static void program_that_forks_keeps_its_mapper(void **state)
{
    (void)state;
    open_on_loop(2);
    inputs(N, 0);
    for (int round = 0; round < 10; round++) {
        begin_map("item", N, MAMUTO_ON_ERROR_FAIL);
        assert_int_equal(e2e_child(forks_with_an_open_mapper, NULL), 0);
        ends_right(N);
    }
    close_on_loop();
}

static _Atomic bool reaping;

static void *reap_everything(void *unused)
{
    while (reaping)
        if (waitpid(-1, NULL, WNOHANG) <= 0)
            e2e_nap();
    return unused;
}

static void program_that_reaps_everything_is_served(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    pthread_t thread;
    reaping = true;
    assert_int_equal(pthread_create(&thread, NULL, reap_everything, NULL), 0);
    for (int round = 0; round < 5; round++) {
        open_on_loop(WORKERS);
        inputs(N, 0);
        kill_server(); /* reaped by the other thread */
        begin_map("item", N, MAMUTO_ON_ERROR_FAIL);
        ends_right(N);
        close_on_loop();
    }
    reaping = false;
    pthread_join(thread, NULL);
    e2e_holds_as(&before);
}

static void program_that_ignores_its_children_is_served(void **state)
{
    (void)state;
    struct e2e_held before = e2e_hold();
    void (*old)(int) = signal(SIGCHLD, SIG_IGN);
    for (int round = 0; round < 3; round++) {
        open_on_loop(WORKERS);
        inputs(N, 0);
        pid_t pids[WORKERS];
        find_workers(pids, WORKERS);
        kill(pids[0], SIGKILL); /* the fork server must see this, whatever it has inherited */
        begin_map("item", N, MAMUTO_ON_ERROR_FAIL);
        ends_right(N);
        wait_for_workers(WORKERS);
        close_on_loop();
    }
    signal(SIGCHLD, old);
    e2e_holds_as(&before);
}

static void program_that_blocks_signals_is_served(void **state)
{
    (void)state;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    open_on_loop(2);
    inputs(500, 0);
    in[77] = 1;
    begin_map("crashing", 500, MAMUTO_ON_ERROR_FAIL); /* abort must end a worker all the same */
    ends_right(500);
    close_on_loop();
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(worker_killed_when_idle_is_replaced, begin, end),
        cmocka_unit_test_setup_teardown(worker_killed_in_an_item_costs_nothing, begin, end),
        cmocka_unit_test_setup_teardown(worker_killed_twice_in_an_item_fails_it_alone, begin, end),
        cmocka_unit_test_setup_teardown(workers_killed_again_and_again_cost_nothing, begin, end),
        cmocka_unit_test_setup_teardown(worker_that_is_stopped_delays_its_items_alone, begin, end),
        cmocka_unit_test_setup_teardown(worker_that_is_stopped_does_not_hinder_cancel_or_close, begin, end),
        cmocka_unit_test_setup_teardown(server_killed_when_idle_is_replaced, begin, end),
        cmocka_unit_test_setup_teardown(server_killed_in_mid_map_costs_nothing, begin, end),
        cmocka_unit_test_setup_teardown(server_killed_with_many_maps_in_flight_costs_nothing, begin, end),
        cmocka_unit_test_setup_teardown(server_that_dies_again_and_again_ends_the_map, begin, end),
        cmocka_unit_test_setup_teardown(server_that_is_stopped_does_not_hinder_close, begin, end),
        cmocka_unit_test_setup_teardown(server_killed_before_close_leaves_nothing, begin, end),
        cmocka_unit_test_setup_teardown(server_killed_while_opening_is_told, begin, end),
        cmocka_unit_test_setup_teardown(kills_while_the_caller_waits_cost_nothing, begin, end),
        cmocka_unit_test_setup_teardown(program_that_forks_keeps_its_mapper, begin, end),
        cmocka_unit_test_setup_teardown(program_that_reaps_everything_is_served, begin, end),
        cmocka_unit_test_setup_teardown(program_that_ignores_its_children_is_served, begin, end),
        cmocka_unit_test_setup_teardown(program_that_blocks_signals_is_served, begin, end),
        cmocka_unit_test_setup_teardown(server_killed_while_a_module_is_loaded_ends_the_load, begin, end),
    };
    return cmocka_run_group_tests_name("e2e_death", tests, NULL, NULL);
}
