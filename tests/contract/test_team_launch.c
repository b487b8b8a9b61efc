/* The node that is made of nodes, of this machine and of hosts that a launch command reaches: shells of this machine, each
 * with an agent of its own. The contract holds, and mappers of such hosts compute the same bits as one of this machine. */
#include "core/team.h"
#include "tests/contract/contract.h"
#include "tests/support/e2e.h"

#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 3 * PATH_MAX, N = 30000, FEW = 2000, KEPT = 5 };

static char here_and_far[MOST], far_alone[MOST];

static void describe(char *config, const char *first)
{
    const char *agent = getenv("MAMUTO_AGENT");
    assert_non_null(agent);
    char how[PATH_MAX + 128];
    snprintf(how, sizeof how, "{\"cores\": 2, \"launch\": [\"sh\", \"-c\"], \"agent\": \"%s\", \"transport\": \"ssh\"}",
             agent);
    snprintf(config, MOST, "{\"hosts\": {%s \"far\": %s, \"away\": %s}}", first, how, how);
}

/* ---- The contract -------------------------------------------------------------------------------------------------- */

static int open_three(struct mm_node **node, const struct mm_config_host *hosts, uv_loop_t *loop,
                      const struct mm_node_events *events, void *owner, mamuto_error_t *err)
{
    return mm_team_open(node, &(struct mm_team_hosts){ hosts, 3, &mm_node_shm, &mm_node_remote }, loop, events, owner,
                        err);
}

static int open_two(struct mm_node **node, const struct mm_config_host *hosts, uv_loop_t *loop,
                    const struct mm_node_events *events, void *owner, mamuto_error_t *err)
{
    return mm_team_open(node, &(struct mm_team_hosts){ hosts, 2, &mm_node_shm, &mm_node_remote }, loop, events, owner,
                        err);
}

static int keep_the_contract(void)
{
    struct mm_node_ops team = mm_node_team;
    struct contract_kind kind = { .ops = &team,
                                  .config = here_and_far,
                                  .module = E2E_MODULE("functions"),
                                  .no_module = "/nonexistent/functions.c",
                                  .workers = 6 };
    team.kind = "team of this machine and two others";
    team.open = open_three;
    int failed = contract_run_all(&kind);
    team.kind = "team of two others";
    team.open = open_two;
    kind.config = far_alone;
    kind.workers = 4;
    return failed + contract_run_all(&kind);
}

/* ---- Mappers -------------------------------------------------------------------------------------------------------- */

static double x[N], y[N], right[N];

static mamuto_t *open_with(const char *config)
{
    mamuto_t *m = NULL;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config_text = config, .modules = (const char *[]){ E2E_MODULE("functions"), NULL } };
    if (mamuto_open_wait(&m, &options, &err))
        fail_msg("%s", err.text);
    return m;
}

static void map(mamuto_t *m, const char *function, size_t n, double *result)
{
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = function, .args = { mamuto_scatter(x, n) }, .result = result };
    if (mamuto_map_wait(m, &call, &err))
        fail_msg("%s", err.text);
}

static double reduce(mamuto_t *m, const char *function)
{
    double value = -1;
    mamuto_error_t err = { 0 };
    mamuto_call_t call = { .function = function, .fold = "plus", .args = { mamuto_scatter(x, N) }, .value = &value };
    if (mamuto_reduce_wait(m, &call, &err))
        fail_msg("%s", err.text);
    return value;
}

static void fill(void)
{
    for (int i = 0; i < N; i++) {
        x[i] = 1.0 / (i + 1);
        y[i] = -1;
    }
}

static void team_computes_the_same_bits_anywhere(void **state)
{
    const char *configs[] = { "{\"hosts\": {\"localhost\": 1}}", here_and_far, far_alone };
    double sums[3] = { 0 };
    (void)state;
    for (int i = 0; i < 3; i++) {
        mamuto_t *m = open_with(configs[i]);
        fill();
        map(m, "indexed", N, y);
        if (!i)
            memcpy(right, y, sizeof y);
        assert_memory_equal(y, right, sizeof y);
        map(m, "naps", FEW, y);
        for (int k = 0; k < FEW; k++)
            assert_true(y[k] == 2 * x[k]);
        sums[i] = reduce(m, "twice");
        assert_memory_equal(&sums[i], &sums[0], sizeof sums[0]);
        double folded = reduce(m, NULL);
        assert_true(2 * folded == sums[0]);
        e2e_close(m);
    }
}

static void team_shares_what_takes_its_time(void **state)
{
    (void)state;
    mamuto_t *m = open_with(here_and_far);
    mamuto_host_t hosts[3];
    uint64_t sum = 0;
    fill();
    uint64_t began = uv_hrtime();
    map(m, "naps", FEW, y);
    print_message("%d ms\n", (int)((uv_hrtime() - began) / 1000000));
    assert_int_equal(mamuto_hosts(m, hosts, 3), 3);
    for (int i = 0; i < 3; i++) {
        print_message("%s: %d items\n", hosts[i].name, (int)hosts[i].items);
        assert_true(hosts[i].items > 0);
        sum += hosts[i].items;
    }
    assert_int_equal(sum, FEW);
    e2e_close(m);
}

static void team_keeps_data_on_far_hosts(void **state)
{
    (void)state;
    mamuto_t *m = open_with(far_alone);
    mamuto_kept_t *kept = NULL;
    mamuto_error_t err = { 0 };
    fill();
    mamuto_keep_t keep = { .type = "f8", .arg = mamuto_scatter(x, N) };
    if (mamuto_keep_wait(m, &keep, &kept, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < KEPT; i++) {
        mamuto_call_t call = { .function = "twice", .args = { mamuto_resident(kept) }, .result = y };
        if (mamuto_map_wait(m, &call, &err))
            fail_msg("%s", err.text);
        for (int k = 0; k < N; k++)
            assert_true(y[k] == 2 * x[k]);
    }
    assert_int_equal(mamuto_forget(kept), 0);
    static const int64_t offsets[FEW + 1]; /* all items are empty */
    keep = (mamuto_keep_t){ .type = "f8[*]", .arg = mamuto_scatter_var(x, offsets, FEW) };
    if (mamuto_keep_wait(m, &keep, &kept, &err))
        fail_msg("%s", err.text);
    assert_int_equal(mamuto_forget(kept), 0);
    e2e_close(m);
}

static struct {
    uint64_t items;
    bool killed;
} seen;

/* All agents but for the fork server of this machine's: which is no child of a shell. */
static void on_spans(mamuto_map_t *map_, const mamuto_span_t *spans, size_t n)
{
    pid_t pids[16];
    (void)map_;
    for (size_t i = 0; i < n; i++)
        seen.items += spans[i].count;
    if (seen.killed || seen.items < FEW / 10)
        return;
    int agents = e2e_descendants(getpid(), "mamuto-agent", pids, 16);
    seen.killed = agents > 0;
    if (agents)
        kill(pids[0], SIGKILL);
}

static void team_goes_on_without_an_agent_that_is_killed(void **state)
{
    (void)state;
    mamuto_t *m = open_with(here_and_far);
    mamuto_error_t err = { 0 };
    fill();
    memset(&seen, 0, sizeof seen);
    mamuto_call_t call = { .function = "naps", .args = { mamuto_scatter(x, FEW) }, .result = y, .on_spans = on_spans };
    if (mamuto_map_wait(m, &call, &err))
        fail_msg("%s", err.text);
    assert_true(seen.killed);
    assert_int_equal(seen.items, FEW);
    for (int k = 0; k < FEW; k++)
        assert_true(y[k] == 2 * x[k]);
    e2e_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(team_computes_the_same_bits_anywhere),
        cmocka_unit_test(team_shares_what_takes_its_time),
        cmocka_unit_test(team_keeps_data_on_far_hosts),
        cmocka_unit_test(team_goes_on_without_an_agent_that_is_killed),
    };
    describe(here_and_far, "\"localhost\": {\"cores\": 2},");
    describe(far_alone, "");
    int failed = cmocka_run_group_tests_name("team", tests, NULL, NULL);
    return failed + keep_the_contract();
}
