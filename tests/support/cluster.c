/* Hosts that are agents on this machine: net/launch.c does not see the difference. */
#include "tests/support/cluster.h"

#include "tests/support/e2e.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { CONFIG = 16384 };

const char *cluster_config(int local, int far, const char *settings)
{
    static char text[CONFIG];
    const char *agent = getenv("MAMUTO_AGENT");
    size_t n = 0;
    assert_non_null(agent);
    n += (size_t)snprintf(text + n, sizeof text - n, "{\"hosts\": {");
    if (local)
        n += (size_t)snprintf(text + n, sizeof text - n, "\"localhost\": %d%s", local, far ? ", " : "");
    for (int i = 1; i <= far; i++)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "\"far%d\": {\"cores\": 2, \"launch\": [\"sh\", \"-c\"], \"agent\": \"%s\"%s}%s", i,
                              agent, settings, i < far ? ", " : "");
    n += (size_t)snprintf(text + n, sizeof text - n, "}}");
    assert_in_range(n, 1, sizeof text - 1);
    return text;
}

mamuto_t *cluster_open(const char *config, const char *const *modules)
{
    mamuto_t *m = NULL;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config_text = config, .modules = modules };
    if (mamuto_open_wait(&m, &options, &err))
        fail_msg("%s", err.text);
    return m;
}

/* An agent is a child of the launch command's shell, or has taken its place; its own children are fork servers. */
int cluster_kill_agents(void)
{
    pid_t pids[E2E_MAX_PIDS];
    int n = e2e_descendants(getpid(), "mamuto-agent", pids, E2E_MAX_PIDS);
    for (int i = 0; i < n; i++)
        kill(pids[i], SIGKILL);
    return n;
}

mamuto_host_t cluster_host(mamuto_t *m, const char *name)
{
    mamuto_host_t hosts[64];
    size_t n = mamuto_hosts(m, hosts, 64);
    for (size_t i = 0; i < n && i < 64; i++)
        if (strcmp(hosts[i].name, name) == 0)
            return hosts[i];
    fail_msg("there is no host %s", name);
    return hosts[0];
}
