/* The node that is made of nodes keeps the contract: of this machine alone, of it and two others, and of others alone, which
 * are fakes in this process. The seed is printed; MAMUTO_SEED replays it. */
#include "core/team.h"
#include "tests/contract/contract.h"
#include "tests/contract/fake.h"
#include "tests/support/e2e.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST_HOSTS = 4 };

static struct mm_config_host hosts[MOST_HOSTS]; /* of the team that is open */

static int open_team(struct mm_node **node, const struct mm_config_host *config, bool here, int others, uv_loop_t *loop,
                     const struct mm_node_events *events, void *owner, mamuto_error_t *err)
{
    static char labels[][2] = { "a", "b", "c" };
    size_t n = 0;
    if (here)
        hosts[n++] = *config;
    for (int i = 0; i < others; i++, n++) {
        hosts[n] = *config;
        hosts[n].local = false;
        hosts[n].label = labels[i];
    }
    return mm_team_open(node, &(struct mm_team_hosts){ hosts, n, &mm_node_shm, &fake_node }, loop, events, owner, err);
}

static int open_mixture(struct mm_node **node, const struct mm_config_host *config, uv_loop_t *loop,
                        const struct mm_node_events *events, void *owner, mamuto_error_t *err)
{
    return open_team(node, config, true, 2, loop, events, owner, err);
}

static int open_others(struct mm_node **node, const struct mm_config_host *config, uv_loop_t *loop,
                       const struct mm_node_events *events, void *owner, mamuto_error_t *err)
{
    return open_team(node, config, false, 3, loop, events, owner, err);
}

static void lose_here(struct mm_node *node)
{
    pid_t servers[4];
    (void)node;
    int n = e2e_descendants(getpid(), "mamuto-server", servers, 4);
    for (int i = 0; i < n; i++)
        kill(servers[i], SIGKILL);
}

static void lose_others(struct mm_node *node)
{
    (void)node;
    for (const char *label = "abc"; *label; label++) {
        struct mm_node *other = fake_find((char[]){ *label, '\0' });
        if (other)
            fake_lose(other);
    }
}

static void lose_all(struct mm_node *node)
{
    lose_here(node);
    lose_others(node);
}

int main(void)
{
    const char *text = getenv("MAMUTO_SEED");
    struct mm_node_ops mixture = mm_node_team, others = mm_node_team;
    struct contract_kind kind = {
        .ops = &mm_node_team, .module = E2E_MODULE("functions"), .no_module = "/nonexistent/none.c", .lose = lose_here
    };
    fake_settings.functions = fake_functions;
    fake_settings.seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", fake_settings.seed);
    int failed = contract_run_all(&kind);
    mixture.kind = "team of this machine and two others";
    mixture.open = open_mixture;
    kind.ops = &mixture;
    kind.lose = lose_all;
    kind.workers = 6;
    failed += contract_run_all(&kind);
    others.kind = "team of three others";
    others.open = open_others;
    kind.ops = &others;
    kind.lose = lose_others;
    return failed + contract_run_all(&kind);
}
