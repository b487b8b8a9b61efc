/* The node of another host keeps the contract: its agent is reached by a launch command, here a shell of this machine. Each
 * way of its stream is a kind of its own. It is lost by killing each agent that it starts. */
#include "tests/contract/contract.h"
#include "tests/support/e2e.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static int run_kind(const char *settings)
{
    char config[PATH_MAX + 256];
    const char *agent = getenv("MAMUTO_AGENT");
    if (!agent)
        return 1;
    snprintf(config, sizeof config,
             "{\"hosts\": {\"far\": {\"cores\": 2, \"launch\": [\"sh\", \"-c\"], \"agent\": \"%s\"%s}}}", agent,
             settings);
    struct contract_kind kind = { .ops = &mm_node_remote,
                                  .config = config,
                                  .module = E2E_MODULE("functions"),
                                  .no_module = "/nonexistent/functions.c" };
    return contract_run_all(&kind);
}

int main(void)
{
    int failed = run_kind(", \"transport\": \"ssh\"");
    failed += run_kind(", \"transport\": \"tcp\"");
    failed += run_kind(", \"transport\": \"tcp\", \"encrypt\": false");
    return failed != 0;
}
