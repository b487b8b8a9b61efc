/* The node of this machine keeps the contract. It is lost by killing each fork server that it starts. */
#include "tests/contract/contract.h"
#include "tests/support/e2e.h"

#include <signal.h>
#include <unistd.h>

static void lose(struct mm_node *node)
{
    pid_t servers[4];
    (void)node;
    int n = e2e_descendants(getpid(), "mamuto-server", servers, 4);
    for (int i = 0; i < n; i++)
        kill(servers[i], SIGKILL);
}

static const struct contract_kind shm = {
    .ops = &mm_node_shm, .module = E2E_MODULE("functions"), .no_module = "/nonexistent/functions.c", .lose = lose
};

int main(void) { return contract_run_all(&shm); }
