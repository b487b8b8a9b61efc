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

/* Each item of the call once, however many runs and groups it takes. */
static void host_counts_items_of_reductions_and_emitters(void **state)
{
    (void)state;
    enum { MANY = 30000 };
    static const int32_t one[MANY];
    mamuto_host_t host;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config_text = "{\"hosts\": {\"localhost\": 2}}",
                                 .modules = (const char *[]){ E2E_MODULE("varout"), E2E_MODULE("reduce"), NULL } };
    mamuto_t *m;
    assert_int_equal(mamuto_open_wait(&m, &options, &err), 0);
    mamuto_var_t var;
    mamuto_call_t emit = { .function = "varout.pieces", .args = { mamuto_scatter(one, MANY) }, .result_var = &var };
    assert_int_equal(mamuto_map_wait(m, &emit, &err), 0);
    mamuto_hosts(m, &host, 1);
    assert_int_equal(host.items, MANY);
    int32_t sum;
    mamuto_call_t fold = { .fold = "varout.sum", .args = { mamuto_scatter(one, MANY) }, .value = &sum };
    assert_int_equal(mamuto_reduce_wait(m, &fold, &err), 0);
    mamuto_hosts(m, &host, 1);
    assert_int_equal(host.items, 2 * MANY);
    static const uint64_t x[MANY];
    static const size_t counts[] = { 500, MANY }; /* items stored and then folded, and both at once */
    uint64_t before = host.items;
    for (int i = 0; i < 2; before += counts[i++]) {
        int64_t total;
        mamuto_call_t both = { .function = "reduce.item_i8",
                               .fold = "reduce.fold_i8",
                               .args = { mamuto_scatter(x, counts[i]) },
                               .value = &total };
        assert_int_equal(mamuto_reduce_wait(m, &both, &err), 0);
        mamuto_hosts(m, &host, 1);
        assert_int_equal(host.items, before + counts[i]);
    }
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

static void on_lost_done(mamuto_map_t *handle, int status, const mamuto_error_t *err)
{
    (void)handle, (void)err;
    assert_int_equal(status, MAMUTO_EHOST);
}

/* Its fork server is killed again and again, with an item in flight that waits for it: that is for good. */
enum { MANY = 70 }; /* more than a node takes at once */

static struct {
    int32_t in, out[MANY];
    int told, refused;
} many;

/* Begins anew what the lost host did not do: refused, so that there is an end to it. */
static void on_many_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    mamuto_error_t again = { 0 };
    mamuto_call_t call = { .function = "items.gate",
                           .args = { mamuto_scatter(&many.in, 1) },
                           .result = mamuto_map_data(map),
                           .on_done = on_many_done };
    assert_int_equal(status, MAMUTO_EHOST);
    assert_int_equal(err->code, MAMUTO_EHOST);
    many.told++;
    many.refused += mamuto_map(seen.m, &call, NULL, &again) == MAMUTO_EHOST;
}

static void kill_for_good(void)
{
    for (int told = 1; seen.n < 8;) {
        pid_t server = e2e_server();
        if (server > 0 && seen.n == told) {
            assert_int_equal(kill(server, SIGKILL), 0);
            told += told < 7 ? 2 : 1;
        }
        uv_run(&seen.loop, UV_RUN_ONCE);
    }
}

static void queued_maps_of_a_lost_host_are_told_once(void **state)
{
    (void)state;
    e2e_scratch_begin();
    open_on_loop();
    memset(&many, 0, sizeof many);
    many.in = 1;
    for (int i = 0; i < MANY; i++) {
        mamuto_call_t call = { .function = "items.gate",
                               .args = { mamuto_scatter(&many.in, 1) },
                               .result = &many.out[i],
                               .data = &many.out[i],
                               .retries = 20,
                               .on_done = on_many_done };
        assert_int_equal(mamuto_map(seen.m, &call, NULL, NULL), 0);
    }
    kill_for_good();
    uv_run(&seen.loop, UV_RUN_DEFAULT);
    assert_in_range(many.told, MANY, MANY + 1); /* the first was told before the loss was known, and began anew */
    assert_in_range(many.refused, MANY - 1, MANY);
    assert_int_equal(mamuto_close(seen.m, NULL), 0);
    uv_run(&seen.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&seen.loop), 0);
    e2e_scratch_end();
}

static void host_is_lost_for_good(void **state)
{
    (void)state;
    e2e_scratch_begin();
    open_on_loop();
    int32_t one = 1, result = 0;
    mamuto_call_t call = { .function = "items.gate",
                           .args = { mamuto_scatter(&one, 1) },
                           .result = &result,
                           .retries = 20, /* it is the only one to blame */
                           .on_done = on_lost_done };
    assert_int_equal(mamuto_map(seen.m, &call, NULL, NULL), 0);
    kill_for_good();
    static const char *const states[] = { "up", "lost", "up", "lost", "up", "lost", "up", "lost" };
    for (int i = 0; i < 8; i++)
        assert_string_equal(seen.states[i], states[i]);
    uv_run(&seen.loop, UV_RUN_DEFAULT);
    mamuto_host_t host;
    mamuto_hosts(seen.m, &host, 1);
    assert_string_equal(host.state, "lost");
    assert_non_null(strstr(host.reason, "died 4 times in a row"));
    assert_int_equal(mamuto_close(seen.m, NULL), 0);
    uv_run(&seen.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&seen.loop), 0);
    e2e_scratch_end();
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
        cmocka_unit_test(host_counts_items_of_reductions_and_emitters),
        cmocka_unit_test(host_is_lost_and_comes_back),
        cmocka_unit_test(host_is_lost_for_good),
        cmocka_unit_test(queued_maps_of_a_lost_host_are_told_once),
        cmocka_unit_test(mapper_is_closed_in_on_host),
    };
    return cmocka_run_group_tests_name("e2e_hosts", tests, NULL, NULL);
}
