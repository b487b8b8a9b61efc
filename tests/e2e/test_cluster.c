/* One map over several hosts. The hosts are agents on this machine, each behind a launch command, so everything but the
 * distance is real: processes, streams, keys, modules that are sent and built. What is right is what one worker computes. */
#include "tests/support/cluster.h"
#include "tests/support/e2e.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const modules[] = { E2E_MODULE("cluster"), NULL };

static const double values[4] = { 1.25, -3, 7, 20 };

static double *numbers(size_t n)
{
    double *p = malloc(n * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (double)i;
    return p;
}

static void busy_map(mamuto_t *m, size_t n)
{
    mamuto_error_t err = { 0 };
    double *x = numbers(n), *out = calloc(n, 2 * sizeof *out);
    mamuto_call_t call = { .function = "cluster.busy",
                           .args = { mamuto_scatter(x, n), mamuto_broadcast(values) },
                           .result = out };
    if (mamuto_map_wait(m, &call, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < n; i++)
        if (out[2 * i] != x[i] * values[0] + values[1] || out[2 * i + 1] != (double)i * values[2])
            fail_msg("item %zu is %g, %g", i, out[2 * i], out[2 * i + 1]);
    free(x);
    free(out);
}

static const char *const kinds[] = { ", \"transport\": \"ssh\"", ", \"transport\": \"tcp\"",
                                     ", \"transport\": \"tcp\", \"encrypt\": false", "" };

static void each_host_computes_on_every_kind_of_stream(void **state)
{
    (void)state;
    e2e_close(cluster_open(cluster_config(1, 0, ""), NULL)); /* libuv opens two descriptors once */
    struct e2e_held before = e2e_hold();
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        mamuto_t *m = cluster_open(cluster_config(1, 2, kinds[k]), modules);
        for (int i = 0; i < 3; i++)
            busy_map(m, 5000);
        uint64_t sum = 0;
        static const char *const names[] = { "localhost", "far1", "far2" };
        for (int i = 0; i < 3; i++) {
            mamuto_host_t host = cluster_host(m, names[i]);
            assert_string_equal(host.state, "up");
            assert_int_equal(host.cores, i ? 2 : 1);
            if (!host.items)
                fail_msg("%s: %s has computed nothing", kinds[k], names[i]);
            sum += host.items;
        }
        assert_int_equal(sum, 15000);
        e2e_close(m);
    }
    e2e_holds_as(&before);
}

static void a_mapper_without_this_machine_works(void **state)
{
    (void)state;
    mamuto_t *m = cluster_open(cluster_config(0, 2, ""), modules);
    mamuto_host_t hosts[4];
    assert_int_equal(mamuto_hosts(m, hosts, 4), 2);
    busy_map(m, 1);
    busy_map(m, 3000);
    e2e_close(m);
}

static void lengths_and_counts_of_all_sizes_are_right(void **state)
{
    (void)state;
    mamuto_t *m = cluster_open(cluster_config(1, 2, ""), modules);
    for (size_t n = 0; n < 20; n++)
        busy_map(m, n);
    busy_map(m, 4097);
    e2e_close(m);
}

static void results_larger_than_a_frame_arrive(void **state)
{
    (void)state;
    enum { N = 12, LEN = 200000 };
    mamuto_t *m = cluster_open(cluster_config(1, 2, ""), modules);
    mamuto_error_t err = { 0 };
    double *x = numbers(N), *out = calloc(N, LEN * sizeof *out);
    mamuto_call_t call = { .function = "cluster.big", .args = { mamuto_scatter(x, N) }, .result = out };
    if (mamuto_map_wait(m, &call, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < LEN; k++)
            if (out[i * LEN + k] != (double)(i + k))
                fail_msg("item %zu, element %zu is %g", i, k, out[i * LEN + k]);
    free(x);
    free(out);
    e2e_close(m);
}

static void items_that_fail_are_named_and_all_others_are_there(void **state)
{
    (void)state;
    enum { N = 3000 };
    mamuto_t *m = cluster_open(cluster_config(1, 2, ""), modules);
    mamuto_error_t err = { 0 };
    double *x = numbers(N), *out = calloc(N, sizeof *out);
    mamuto_call_t call = {
        .function = "cluster.odd", .args = { mamuto_scatter(x, N) }, .result = out, .on_error = MAMUTO_ON_ERROR_SKIP
    };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EITEM, "cluster.odd: 429 of 3000 items failed");
    for (size_t i = 0; i < N; i++)
        assert_true(out[i] == (i % 7 == 3 ? 0 : 2 * x[i]));
    call.on_error = MAMUTO_ON_ERROR_FAIL;
    err = (mamuto_error_t){ 0 };
    e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EITEM, "failed with code 7: asked for");
    busy_map(m, 1000);
    free(x);
    free(out);
    e2e_close(m);
}

static void an_item_that_kills_its_worker_is_named(void **state)
{
    (void)state;
    enum { N = 2000 };
    mamuto_t *m = cluster_open(cluster_config(1, 2, ""), modules);
    double *x = numbers(N), *out = calloc(N, sizeof *out);
    for (int deadly = 5; deadly < N; deadly += 663) {
        mamuto_error_t err = { 0 };
        double one = deadly;
        mamuto_call_t call = { .function = "cluster.deadly",
                               .args = { mamuto_scatter(x, N), mamuto_broadcast(&one) },
                               .result = out,
                               .on_error = MAMUTO_ON_ERROR_SKIP };
        e2e_is_error(mamuto_map_wait(m, &call, &err), &err, MAMUTO_EITEM, "died of signal 11");
        assert_int_equal(err.item, deadly);
        for (int i = 0; i < N; i++)
            assert_true(out[i] == (i == deadly ? 0 : x[i] + 1));
    }
    free(x);
    free(out);
    e2e_close(m);
}

static void a_reduction_has_the_bits_of_one_worker(void **state)
{
    (void)state;
    enum { N = 100003 };
    double *x = numbers(N), one = 0, several = 1;
    mamuto_call_t call = { .function = "cluster.third", .fold = "cluster.sum", .args = { mamuto_scatter(x, N) } };
    for (int i = 0; i < 2; i++) {
        mamuto_error_t err = { 0 };
        mamuto_t *m = cluster_open(i ? cluster_config(1, 2, "") : cluster_config(1, 0, ""), modules);
        call.value = i ? &several : &one;
        if (mamuto_reduce_wait(m, &call, &err))
            fail_msg("%s", err.text);
        e2e_close(m);
    }
    assert_memory_equal(&one, &several, sizeof one);
    free(x);
}

static void items_of_variable_length_are_sent(void **state)
{
    (void)state;
    enum { N = 4000 };
    mamuto_t *m = cluster_open(cluster_config(1, 2, ""), modules);
    mamuto_error_t err = { 0 };
    int64_t *offsets = malloc((N + 1) * sizeof *offsets);
    double *out = calloc(N, 2 * sizeof *out);
    offsets[0] = 0;
    for (int i = 0; i < N; i++)
        offsets[i + 1] = offsets[i] + i % 13;
    double *data = numbers((size_t)offsets[N]);
    mamuto_call_t call = { .function = "cluster.length",
                           .args = { mamuto_scatter_var(data, offsets, N) },
                           .result = out };
    if (mamuto_map_wait(m, &call, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < N; i++) {
        double sum = 0;
        for (int64_t k = offsets[i]; k < offsets[i + 1]; k++)
            sum += data[k];
        if (out[2 * i] != sum || out[2 * i + 1] != i % 13)
            fail_msg("item %d: %g, %g", i, out[2 * i], out[2 * i + 1]);
    }
    free(offsets);
    free(data);
    free(out);
    e2e_close(m);
}

static void data_is_kept_on_every_host(void **state)
{
    (void)state;
    enum { N = 3000 };
    mamuto_t *m = cluster_open(cluster_config(1, 2, ""), modules);
    mamuto_error_t err = { 0 };
    mamuto_kept_t *x = NULL, *y = NULL;
    double *at = numbers(N), four[4], *out = calloc(N, 2 * sizeof *out);
    memcpy(four, values, sizeof four);
    mamuto_keep_t keep_x = { .type = "f8", .arg = mamuto_scatter(at, N) };
    mamuto_keep_t keep_y = { .type = "f8[4]", .arg = mamuto_broadcast(four) };
    if (mamuto_keep_wait(m, &keep_x, &x, &err) || mamuto_keep_wait(m, &keep_y, &y, &err))
        fail_msg("%s", err.text);
    memset(at, 0, N * sizeof *at);
    memset(four, 0, sizeof four);
    uint64_t sent = cluster_host(m, "far1").bytes_out + cluster_host(m, "far2").bytes_out;
    for (int round = 0; round < 3; round++) {
        mamuto_call_t call = { .function = "cluster.busy",
                               .args = { mamuto_resident(x), mamuto_resident(y) },
                               .result = out };
        if (mamuto_map_wait(m, &call, &err))
            fail_msg("%s", err.text);
        for (int i = 0; i < N; i++)
            assert_true(out[2 * i] == i * values[0] + values[1] && out[2 * i + 1] == i * values[2]);
    }
    sent = cluster_host(m, "far1").bytes_out + cluster_host(m, "far2").bytes_out - sent;
    assert_in_range(sent, 1, 60000); /* names of ranges, and no data */
    mamuto_forget(x);
    mamuto_forget(y);
    free(at);
    free(out);
    e2e_close(m);
}

/* --- losses ------------------------------------------------------------------------------------------------------- */

struct losing {
    int killed;
    bool done;
    int status;
    char text[512];
};

/* All of it goes in a frame without a byte. */
static void data_without_a_byte_is_kept_on_every_host(void **state)
{
    (void)state;
    enum { N = 500 };
    mamuto_t *m = cluster_open(cluster_config(0, 2, ""), modules);
    mamuto_error_t err = { 0 };
    mamuto_kept_t *items = NULL, *none = NULL;
    double out[N][2];
    mamuto_keep_t keep_items = { .type = "f8", .arg = mamuto_scatter(NULL, 0) };
    mamuto_keep_t keep_none = { .type = "f8[*]", .arg = mamuto_broadcast_var(NULL, 0) };
    if (mamuto_keep_wait(m, &keep_items, &items, &err) || mamuto_keep_wait(m, &keep_none, &none, &err))
        fail_msg("%s", err.text);
    memset(out, 0x55, sizeof out);
    mamuto_call_t call = { .function = "cluster.length", .args = { mamuto_resident(none) }, .count = N, .result = out };
    if (mamuto_map_wait(m, &call, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < N; i++)
        assert_true(out[i][0] == 0 && out[i][1] == 0);
    assert_string_equal(cluster_host(m, "far1").state, "up");
    assert_string_equal(cluster_host(m, "far2").state, "up");
    mamuto_forget(items);
    mamuto_forget(none);
    busy_map(m, 100);
    e2e_close(m);
}

static void note_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    struct losing *l = mamuto_map_data(map);
    l->done = true;
    l->status = status;
    if (err)
        snprintf(l->text, sizeof l->text, "%s", err->text);
}

static void note_progress(mamuto_map_t *map, const mamuto_progress_t *progress)
{
    struct losing *l = mamuto_map_data(map);
    if (!l->killed && progress->done > 500)
        l->killed = cluster_kill_agents();
}

static bool is_back(void *m)
{
    mamuto_dispatch(m);
    return strcmp(cluster_host(m, "far1").state, "up") == 0 && strcmp(cluster_host(m, "far2").state, "up") == 0;
}

static void agents_that_are_killed_lose_nothing_and_come_back(void **state)
{
    (void)state;
    enum { N = 30000 };
    mamuto_t *m = cluster_open(cluster_config(1, 2, ""), modules);
    mamuto_error_t err = { 0 };
    struct losing l = { 0 };
    double *x = numbers(N), *out = calloc(N, 2 * sizeof *out), slow[4] = { 1.25, -3, 7, 60 };
    mamuto_call_t call = { .function = "cluster.busy",
                           .args = { mamuto_scatter(x, N), mamuto_broadcast(slow) },
                           .result = out,
                           .data = &l,
                           .on_done = note_done,
                           .on_progress = note_progress };
    assert_int_equal(mamuto_map(m, &call, NULL, &err), 0);
    while (!l.done) {
        mamuto_dispatch(m);
        e2e_nap();
    }
    if (l.status)
        fail_msg("%s", l.text);
    assert_true(l.killed >= 2);
    for (size_t i = 0; i < N; i++)
        if (out[2 * i] != x[i] * 1.25 - 3 || out[2 * i + 1] != (double)i * 7)
            fail_msg("item %zu is %g, %g", i, out[2 * i], out[2 * i + 1]);
    assert_true(e2e_until(is_back, m, E2E_PATIENCE_MS));
    for (int i = 0; i < 3; i++)
        busy_map(m, 5000);
    free(x);
    free(out);
    e2e_close(m);
}

static void a_cancelled_map_ends_on_every_host(void **state)
{
    (void)state;
    enum { N = 30000 };
    mamuto_t *m = cluster_open(cluster_config(1, 2, ""), modules);
    mamuto_error_t err = { 0 };
    mamuto_map_t *map = NULL;
    struct losing l = { 0 };
    double *x = numbers(N), *out = calloc(N, 2 * sizeof *out), slow[4] = { 1.25, -3, 7, 1000 };
    mamuto_call_t call = { .function = "cluster.busy",
                           .args = { mamuto_scatter(x, N), mamuto_broadcast(slow) },
                           .result = out,
                           .data = &l,
                           .on_done = note_done };
    assert_int_equal(mamuto_map(m, &call, &map, &err), 0);
    for (int i = 0; i < 200; i++) {
        mamuto_dispatch(m);
        e2e_nap();
    }
    assert_false(l.done);
    assert_int_equal(mamuto_cancel(map), 0);
    while (!l.done) {
        mamuto_dispatch(m);
        e2e_nap();
    }
    assert_int_equal(l.status, MAMUTO_ECANCELED);
    free(x); /* nobody touches them any more */
    free(out);
    busy_map(m, 5000);
    e2e_close(m);
}

static void a_host_that_cannot_be_reached_is_done_without_unless_required(void **state)
{
    (void)state;
    mamuto_t *m = cluster_open("{\"hosts\": {\"localhost\": 1, \"gone\": {\"agent\": \"none\", \"launch\": [\"sh\", "
                               "\"-c\", \"echo no such place >&2; exit 3\"]}}}",
                               modules);
    mamuto_host_t host = cluster_host(m, "gone");
    assert_string_equal(host.state, "lost");
    assert_non_null(strstr(host.reason, "host gone: "));
    assert_non_null(strstr(host.reason, "it exited with status 3"));
    assert_non_null(strstr(host.reason, "no such place"));
    busy_map(m, 1000);
    e2e_close(m);
    mamuto_error_t err = { 0 };
    mamuto_t *none = NULL;
    mamuto_options_t options = {
        .config_text = "{\"hosts\": {\"localhost\": 1, \"gone\": {\"required\": true, \"agent\": \"none\", "
                       "\"launch\": [\"sh\", \"-c\", \"exit 3\"]}}}",
        .modules = modules
    };
    e2e_is_error(mamuto_open_wait(&none, &options, &err), &err, MAMUTO_EHOST, "host gone: ");
    assert_null(none);
}

/* --- what is told ------------------------------------------------------------------------------------------------- */

static int lines[3];

static void note_output(mamuto_t *m, const char *host, int worker, int fd, const char *line, size_t n)
{
    (void)m, (void)worker;
    if (fd == 1 && n > 5 && memcmp(line, "item ", 5) == 0)
        lines[strcmp(host, "far1") == 0 ? 1 : strcmp(host, "far2") == 0 ? 2 : 0]++;
}

static void what_workers_print_comes_with_their_hosts_name(void **state)
{
    (void)state;
    enum { N = 600 };
    mamuto_t *m = NULL;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config_text = cluster_config(1, 2, ""),
                                 .modules = modules,
                                 .on_output = note_output };
    if (mamuto_open_wait(&m, &options, &err))
        fail_msg("%s", err.text);
    double *x = numbers(N), *out = calloc(N, sizeof *out);
    mamuto_call_t call = { .function = "cluster.say", .args = { mamuto_scatter(x, N) }, .result = out };
    if (mamuto_map_wait(m, &call, &err))
        fail_msg("%s", err.text);
    assert_true(lines[0] + lines[1] + lines[2] >= N); /* a straggler's copy prints, too */
    assert_true(lines[1] > 0 && lines[2] > 0);
    free(x);
    free(out);
    e2e_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_host_computes_on_every_kind_of_stream),
        cmocka_unit_test(a_mapper_without_this_machine_works),
        cmocka_unit_test(lengths_and_counts_of_all_sizes_are_right),
        cmocka_unit_test(results_larger_than_a_frame_arrive),
        cmocka_unit_test(items_that_fail_are_named_and_all_others_are_there),
        cmocka_unit_test(an_item_that_kills_its_worker_is_named),
        cmocka_unit_test(a_reduction_has_the_bits_of_one_worker),
        cmocka_unit_test(items_of_variable_length_are_sent),
        cmocka_unit_test(data_is_kept_on_every_host),
        cmocka_unit_test(data_without_a_byte_is_kept_on_every_host),
        cmocka_unit_test(agents_that_are_killed_lose_nothing_and_come_back),
        cmocka_unit_test(a_cancelled_map_ends_on_every_host),
        cmocka_unit_test(a_host_that_cannot_be_reached_is_done_without_unless_required),
        cmocka_unit_test(what_workers_print_comes_with_their_hosts_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
