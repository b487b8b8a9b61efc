/* mamuto_functions, mamuto_hosts and on_host: what a mapper has, what it has done, and what it says when its processes
 * are killed. */
#include "tests/e2e/modules/items.h"
#include "tests/support/e2e.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <uv.h>

#include <cmocka.h>

enum { N = 5000 };

static int32_t in[N], out[N];

/* ---- Functions ---------------------------------------------------------------------------------------------------- */

static void functions_are_listed_by_module_and_line(void **state)
{
    (void)state;
    mamuto_error_t err = { 0 };
    mamuto_function_t infos[32];
    mamuto_t *m = e2e_open(1, E2E_MODULE("items"));
    size_t n = mamuto_functions(m, NULL, 0);
    static const char *const names[] = { "item", "chunk", "flaky", "crashing", "gate", "work" };
    assert_true(n >= 6 && n < 32);
    assert_int_equal(mamuto_functions(m, infos, 32), n);
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(infos[i].name, names[i]);
        assert_string_equal(infos[i].module, "items");
        assert_string_equal(infos[i].signature, "i4 -> i4");
        assert_int_equal(infos[i].n_in, 1);
    }
    assert_string_equal(infos[0].doc, "does what its input says");
    assert_int_equal(infos[0].form, MAMUTO_FORM_ITEM);
    assert_int_equal(infos[1].form, MAMUTO_FORM_CHUNK);
    if (mamuto_load_wait(m, E2E_MODULE("basic"), &err) != 0)
        fail_msg("%s", err.text);
    assert_true(mamuto_functions(m, infos, 32) > n);
    assert_string_equal(infos[n].module, "basic");
    e2e_close(m);
}

static void functions_beyond_max_are_counted_alone(void **state)
{
    (void)state;
    mamuto_t *m = e2e_open(1, E2E_MODULE("items"));
    mamuto_function_t infos[2] = { { 0 }, { .name = "untouched" } };
    assert_true(mamuto_functions(m, infos, 1) >= 6);
    assert_string_equal(infos[0].name, "item");
    assert_string_equal(infos[1].name, "untouched");
    e2e_close(m);
}

static void functions_of_no_module_are_none(void **state)
{
    (void)state;
    mamuto_t *m = e2e_open(1, NULL);
    assert_int_equal(mamuto_functions(m, NULL, 0), 0);
    assert_int_equal(mamuto_functions(NULL, NULL, 0), 0);
    e2e_close(m);
}

/* ---- Hosts -------------------------------------------------------------------------------------------------------- */

static void map(mamuto_t *m, const char *function, size_t n, int on_error, int expected)
{
    mamuto_error_t err = { 0 };
    mamuto_call_t call = {
        .function = function, .args = { mamuto_scatter(in, n) }, .result = out, .on_error = on_error
    };
    int code = mamuto_map_wait(m, &call, &err);
    if (code != expected)
        fail_msg("%d: %s", code, err.text);
}

static void host_counts_items_and_time(void **state)
{
    (void)state;
    mamuto_host_t host;
    mamuto_t *m = e2e_open(3, E2E_MODULE("items"));
    assert_int_equal(mamuto_hosts(m, NULL, 0), 1);
    assert_int_equal(mamuto_hosts(m, &host, 1), 1);
    assert_string_equal(host.name, "localhost");
    assert_string_equal(host.state, "up");
    assert_null(host.reason);
    assert_int_equal(host.cores, 3);
    assert_int_equal(host.items, 0);
    assert_true(host.busy == 0 && host.rtt_us == 0);
    for (int i = 0; i < N; i++)
        in[i] = 20; /* µs */
    map(m, "items.work", N, MAMUTO_ON_ERROR_FAIL, 0);
    mamuto_hosts(m, &host, 1);
    assert_int_equal(host.items, N);
    assert_true(host.busy > 0 && host.busy <= 1);
    double before = host.busy;
    memset(in, 0, sizeof in);
    in[17] = ACT_FAIL; /* a failed one is settled, too */
    map(m, "items.item", 100, MAMUTO_ON_ERROR_SKIP, MAMUTO_EITEM);
    mamuto_hosts(m, &host, 1);
    assert_int_equal(host.items, N + 100);
    assert_true(host.busy > 0 && host.busy <= 1 && before <= 1);
    e2e_close(m);
}

static struct {
    uv_loop_t loop;
    mamuto_t *m;
    char states[16][16];
    int n;
    int opened_after;
    bool close;
} seen;

static void on_host(mamuto_t *m, const mamuto_host_t *host)
{
    assert_string_equal(host->name, "localhost");
    assert_true((host->reason != NULL) == (strcmp(host->state, "lost") == 0));
    if (seen.n < 16)
        strncpy(seen.states[seen.n++], host->state, sizeof seen.states[0] - 1);
    if (seen.close && strcmp(host->state, "lost") == 0)
        assert_int_equal(mamuto_close(m, NULL), 0);
}

static void on_open(mamuto_t *m, int status, const mamuto_error_t *err)
{
    (void)m;
    if (status)
        fail_msg("cannot open: %s", err->text);
    seen.opened_after = seen.n;
}

static void open_on_loop(void)
{
    mamuto_error_t err = { 0 };
    memset(&seen, 0, sizeof seen);
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 2}}",
                                 .modules = (const char *[]){ E2E_MODULE("items"), NULL },
                                 .loop = &seen.loop,
                                 .on_open = on_open,
                                 .on_host = on_host };
    assert_int_equal(uv_loop_init(&seen.loop), 0);
    assert_int_equal(mamuto_open(&seen.m, &options, &err), 0);
    mamuto_host_t host;
    assert_int_equal(mamuto_hosts(seen.m, &host, 1), 1);
    assert_string_equal(host.state, "starting");
    uv_run(&seen.loop, UV_RUN_DEFAULT);
    assert_int_equal(seen.opened_after, 1);
    assert_string_equal(seen.states[0], "up");
}

static void on_done(mamuto_map_t *handle, int status, const mamuto_error_t *err)
{
    (void)handle;
    if (status && status != MAMUTO_ECANCELED)
        fail_msg("%s", err->text);
}

/* Kills the fork server under a map that then ends all the same. */
static void kill_under_a_map(void)
{
    mamuto_error_t err = { 0 };
    for (int i = 0; i < N; i++)
        in[i] = 100;
    mamuto_call_t call = {
        .function = "items.work", .args = { mamuto_scatter(in, N) }, .result = out, .on_done = on_done
    };
    assert_int_equal(mamuto_map(seen.m, &call, NULL, &err), 0);
    assert_int_equal(kill(e2e_server(), SIGKILL), 0);
    uv_run(&seen.loop, UV_RUN_DEFAULT);
}

static void host_is_lost_and_comes_back(void **state)
{
    (void)state;
    open_on_loop();
    kill_under_a_map();
    assert_int_equal(seen.n, 3);
    assert_string_equal(seen.states[1], "lost");
    assert_string_equal(seen.states[2], "up");
    mamuto_host_t host;
    mamuto_hosts(seen.m, &host, 1);
    assert_string_equal(host.state, "up");
    assert_int_equal(host.items, N);
    assert_int_equal(mamuto_close(seen.m, NULL), 0);
    uv_run(&seen.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&seen.loop), 0);
}

static void mapper_is_closed_in_on_host(void **state)
{
    (void)state;
    open_on_loop();
    seen.close = true;
    kill_under_a_map();
    assert_int_equal(uv_loop_close(&seen.loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_listed_by_module_and_line),
        cmocka_unit_test(functions_beyond_max_are_counted_alone),
        cmocka_unit_test(functions_of_no_module_are_none),
        cmocka_unit_test(host_counts_items_and_time),
        cmocka_unit_test(host_is_lost_and_comes_back),
        cmocka_unit_test(mapper_is_closed_in_on_host),
    };
    return cmocka_run_group_tests_name("e2e_hosts", tests, NULL, NULL);
}
