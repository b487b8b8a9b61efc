/* Ranges are taken back from the node of this machine while its workers are killed: each item is settled by exactly one of
 * the two, the node or whoever has taken it. The seed is printed; MAMUTO_SEED replays sizes and choices. */
#include "tests/contract/contract.h"
#include "tests/support/e2e.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROUNDS = 100, KILLS = 4, MOST_ITEMS = 60000, PATIENCE_MS = 20000, RETRIES = 20 };

static uint64_t seed, random_state;
static unsigned n_kills, n_given, n_both;

static uint64_t below(uint64_t n)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = random_state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % n;
}

static void kill_worker(void)
{
    pid_t pids[8];
    int n = e2e_descendants(getpid(), "mamuto-worker", pids, 8);
    if (n && kill(pids[below((uint64_t)n)], SIGKILL) == 0)
        n_kills++;
}

static void take(struct contract *c, struct contract_run *r)
{
    uint64_t first, got = c->kind->ops->give_back(c->node, &r->run, 1 + below(r->run.n), &first);
    CONTRACT_CHECK(c, !got || (first >= r->run.first && first + got <= r->run.first + r->run.n), "beyond the run");
    for (uint64_t i = first; got && i < first + got; i++) {
        CONTRACT_CHECK(c, !r->given[i], "item %d was given back twice", (int)i);
        r->given[i] = true;
    }
    n_given += got > 0;
}

static void one_round(struct contract *c)
{
    static const char *const names[] = { "twice", "indexed", "mixed" };
    uint64_t total = 2 + below(MOST_ITEMS), first = below(total / 2);
    struct contract_run *r = contract_new_run(c, names[below(3)], total, first, total - first);
    unsigned kills = (unsigned)below(KILLS), before = n_kills, given = n_given;
    r->given = calloc(total, sizeof *r->given);
    r->run.retries = RETRIES; /* whoever is killed alone with an item is not told from one who dies of it */
    CONTRACT_CHECK(c, r->given && contract_begin(c, r) == 0, "no room");
    contract_set_deadline(c, "a run whose workers are killed");
    while (!r->ran && !c->wrong[0]) {
        if (n_kills - before < kills && below(3) == 0)
            kill_worker();
        if (below(2))
            take(c, r);
        uv_run(&c->loop, UV_RUN_NOWAIT);
    }
    n_both += n_kills > before && n_given > given;
    contract_check_run(c, r);
    free(r->in);
    free(r->out);
    free(r->given);
    r->in = r->out = NULL;
    r->given = NULL;
    c->n_runs--;
    memset(r, 0, sizeof *r);
}

static void rounds(struct contract *c)
{
    contract_open_loaded(c);
    for (int i = 0; i < ROUNDS && !c->wrong[0]; i++)
        one_round(c);
}

static const struct contract_kind shm = { .ops = &mm_node_shm,
                                          .module = E2E_MODULE("functions"),
                                          .no_module = "/nonexistent/functions.c" };

static void give_back_beside_deaths_settles_each_item_once(void **state)
{
    static const struct contract_case one = { "node_gives_ranges_back_while_workers_are_killed", rounds };
    char wrong[CONTRACT_TEXT];
    (void)state;
    if (!contract_try(&shm, &one, PATIENCE_MS, wrong))
        fail_msg("%s; MAMUTO_SEED=%" PRIu64 " replays it", wrong, seed);
    print_message("%u kills, %u ranges, %u runs with both\n", n_kills, n_given, n_both);
    assert_true(n_both > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(give_back_beside_deaths_settles_each_item_once) };
    const char *text = getenv("MAMUTO_SEED");
    seed = random_state = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", seed);
    return cmocka_run_group_tests_name("give_back", tests, NULL, NULL);
}
