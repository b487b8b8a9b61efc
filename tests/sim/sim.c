/* One call, or a few, over this machine and up to four others, in a world that is drawn from a seed: how fast and how
 * far hosts are, what breaks when, which items fail or kill, what the program asks for, when there is no memory. After
 * each event, what has been written is known to be right (tests/sim/items.c); when a call ends, all of it is looked at.
 *
 *   sim                 MAMUTO_SIM_SEEDS seeds (10,000) from MAMUTO_SIM_FROM on (1)
 *   MAMUTO_SEED=N sim   that one; with MAMUTO_TRACE=1 it tells what happens
 *   sim plant           each planted bug, until it is found
 *
 * A failure prints the seed. Same seed, same run: nothing is asked of the machine.
 */
#include "core/alloc.h"
#include "core/error.h"
#include "core/span.h"
#include "core/team.h"
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_STEPS = 400000, MOST_FAULTS = 8, MOST_DEATHS = 8 };

enum sim_plant sim_plant;
const char *const sim_plant_names[SIM_N_PLANTS] = {
#define NAME(name_) #name_,
    SIM_PLANTS(NAME)
#undef NAME
};
const struct mm_node_ops *const mm_node_kinds[MM_N_KINDS] = { &sim_local, &mm_node_remote };
bool sim_is_poor;
unsigned sim_fail_percent, sim_flaky_percent, sim_kill_permille;

static struct world {
    struct mm_node *team;
    struct mm_config_host hosts[SIM_HOSTS + 1];
    size_t n_hosts;
    int n_others, n_calls, n_over, n_faults;
    bool here, up, loaded, closing, closed, no_host;
    uint64_t length_ns; /* of a call, about */
    struct mm_function function;
} world;

static char labels[][10] = { "localhost", "a", "b", "c", "d" };

/* ---- a call ------------------------------------------------------------------------------------------------------ */

static uint64_t n_items(void)
{
    static const uint64_t most[] = { 3, 20, 100, 300 };
    return 1 + sim_below(most[sim_below(4)]);
}

static void make_call(int k)
{
    static const size_t sizes[] = { 8, 8, 24, 2500 };
    struct sim_call *call = &sim_calls[k];
    struct mm_run *run = &call->run;
    *call = (struct sim_call){ .number = k };
    *run = (struct mm_run){ .function = &world.function, .n = n_items(), .n_in = 2, .seed = 1 };
    run->first = ((uint64_t)k + 1) * (UINT64_C(1) << 32) + sim_below(100);
    run->out_size = sizes[sim_below(4)];
    run->out_len = run->out_size / 8;
    run->result_stride = (ptrdiff_t)(run->out_size + (sim_percent(30) ? 8 : 0));
    run->once = call->once = sim_percent(20);
    run->fail_fast = sim_percent(15);
    run->priority = (int)sim_below(3);
    call->result_bytes = run->n * (size_t)run->result_stride;
    call->in = sim_keep(run->n * sizeof(uint64_t));
    call->value = sim_keep(sizeof(uint64_t));
    call->result = sim_keep(call->result_bytes);
    call->items = sim_keep(run->n * sizeof *call->items);
    memset(call->result, 0xa5, call->result_bytes);
    for (uint64_t i = 0; i < run->n; i++) {
        uint64_t value = sim_hash(run->first + i, 9);
        memcpy(call->in + i * sizeof value, &value, sizeof value);
    }
    run->in[0] = (struct mm_run_arg){
        .data = mm_span_array((char *)call->in, run->first * 8), .stride = 8, .size = 8, .len = 1
    };
    run->in[1] = (struct mm_run_arg){ .data = call->value, .size = 8, .len = 1 };
    run->result = mm_span_array((char *)call->result, run->first * (size_t)run->result_stride);
    if (sim_percent(50))
        run->marks = call->marks = sim_keep(run->n);
    if (sim_plant == SIM_PLANT_copies_with_once)
        run->once = false;
}

static void on_run(void *owner)
{
    struct sim_call *call = owner;
    mamuto_error_t err = { 0 };
    if (world.closing || world.no_host)
        return;
    call->begun = true;
    sim_trace("call %d: %" PRIu64 " items of %zu bytes%s%s", call->number, call->run.n, call->run.out_size,
              call->run.once ? ", once" : "", call->run.fail_fast ? ", fail_fast" : "");
    int code = mm_node_team.run(world.team, &call->run, &err);
    if (!code)
        return;
    if (code != MAMUTO_ENOHOST && code != MAMUTO_EHOST && !(code == MAMUTO_ENOMEM && sim_is_poor))
        sim_broken("call %d cannot begin: %d, %s", call->number, code, err.text);
    call->ended = true;
    world.n_over++;
}

static void on_cancel(void *owner)
{
    struct sim_call *call = owner;
    if (!call->begun || call->ended || world.closing)
        return;
    sim_trace("call %d is cancelled", call->number);
    call->canceled = true;
    mm_node_team.cancel(world.team, &call->run);
}

/* ---- what has become of it --------------------------------------------------------------------------------------- */

static void check_item(const struct sim_call *call, uint64_t i)
{
    const struct sim_item *item = &call->items[i];
    unsigned char expected[4096] = { 0 };
    const unsigned char *at = call->result + i * (size_t)call->run.result_stride;
    if (item->state != SIM_SETTLED)
        sim_broken("call %d: item %" PRIu64 " is not settled (state %d, of host %d)", call->number, i, item->state,
                   item->host);
    if (!item->failed)
        sim_value(call->run.first + i, sim_hash(call->run.first + i, 9), expected, call->run.out_size);
    if (memcmp(at, expected, call->run.out_size))
        sim_broken("call %d: item %" PRIu64 " of host %d has a wrong value (failed: %d)", call->number, i, item->host,
                   item->failed);
    if (call->marks && call->marks[i] != item->failed)
        sim_broken("call %d: item %" PRIu64 " of host %d has mark %d, but failed: %d", call->number, i, item->host,
                   call->marks[i], item->failed);
    if (item->failed != item->told && !sim_is_poor)
        sim_broken("call %d: item %" PRIu64 " of host %d failed: %d, told: %d", call->number, i, item->host,
                   item->failed, item->told);
    if (item->failed && item->host != SIM_TEAM && !sim_fails(call->run.first + i, item->host))
        sim_broken("call %d: item %" PRIu64 " of host %d need not have failed", call->number, i, item->host);
    if (item->failed && item->host == SIM_TEAM && !call->once && !item->deaths && !sim_crashes)
        sim_broken("call %d: item %" PRIu64 " was given up, which killed nobody", call->number, i);
}

static void check_whole(const struct sim_call *call, uint64_t failed)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < call->run.n; i++) {
        check_item(call, i);
        n += call->items[i].failed;
    }
    if (n != failed)
        sim_broken("call %d: %" PRIu64 " items failed, %" PRIu64 " are told", call->number, n, failed);
}

static void check_ended(const struct sim_call *call, int status, uint64_t failed)
{
    bool ends_early = call->run.fail_fast && status == MAMUTO_EITEM;
    for (uint64_t i = 0; i < call->run.n; i++)
        if (call->items[i].state == SIM_RUNNING || call->items[i].state == SIM_CLAIMED)
            sim_broken("call %d has ended, but item %" PRIu64 " is at host %d", call->number, i, call->items[i].host);
    if (status == MAMUTO_ECANCELED && call->canceled)
        return;
    if ((status == MAMUTO_ENOHOST && !world.here) || (status == MAMUTO_ENOMEM && sim_is_poor))
        return;
    if (call->run.fail_fast && (status == MAMUTO_ECRASH || status == MAMUTO_EITEM))
        return;
    if (status && status != MAMUTO_EITEM && status != MAMUTO_ECRASH)
        sim_broken("call %d ends with %d", call->number, status);
    if (!ends_early)
        check_whole(call, failed);
    if ((status != 0) != (failed != 0))
        sim_broken("call %d ends with %d, though %" PRIu64 " items failed", call->number, status, failed);
}

static struct sim_call *call_of(const struct mm_run *run)
{
    for (int k = 0; k < world.n_calls; k++)
        if (&sim_calls[k].run == run)
            return &sim_calls[k];
    sim_broken("an event of no run of the program");
}

static void on_ran(void *owner, struct mm_run *run, int status, uint64_t failed, const mamuto_error_t *err)
{
    struct sim_call *call = call_of(run);
    (void)owner, (void)err;
    sim_trace("call %d ends with %d, %" PRIu64 " failed", call->number, status, failed);
    if (call->ended)
        sim_broken("call %d ends twice", call->number);
    check_ended(call, status, failed);
    call->ended = true;
    world.n_over++;
}

static void on_item_error(void *owner, struct mm_run *run, const mamuto_error_t *err)
{
    struct sim_call *call = call_of(run);
    struct sim_item *item = sim_item(err->item, NULL);
    (void)owner;
    if (call->ended || err->item - run->first >= run->n)
        sim_broken("a failed item of another call is told");
    if (item->told)
        sim_broken("call %d: item %" PRIu64 " is told twice", call->number, err->item - run->first);
    item->told = true;
}

/* ---- the mapper's part ------------------------------------------------------------------------------------------- */

/* One of the next allocations fails; and again, later. */
static void on_poverty(void *owner)
{
    (void)owner;
    if (world.closing)
        return;
    mm_alloc_fail_at(1 + (long)sim_below(6));
    sim_at(sim_below(world.length_ns) + SIM_US, on_poverty, NULL);
}

static void on_loaded(void *owner, uint32_t module, int status, const mamuto_error_t *err)
{
    (void)owner, (void)module, (void)err;
    if (status && world.here)
        sim_broken("the module is not loaded: %d", status);
    world.loaded = status == 0;
    world.no_host |= status != 0;
    if (sim_is_poor)
        sim_at(SIM_US, on_poverty, NULL);
    for (int k = 0; k < world.n_calls; k++) {
        uint64_t begin = k ? sim_below(world.length_ns) : 0;
        sim_at(begin, on_run, &sim_calls[k]);
        if (sim_percent(12))
            sim_at(begin + sim_below(2 * world.length_ns), on_cancel, &sim_calls[k]);
    }
}

static void on_up(void *owner, int status, const mamuto_error_t *err)
{
    mamuto_error_t why = { 0 };
    (void)owner, (void)err;
    world.up = status == 0;
    world.no_host |= status != 0;
    if (status && world.here)
        sim_broken("the team is not up: %d", status);
    if (!status && mm_node_team.load(world.team, 0, "f.c", &world.hosts[0], &why))
        sim_broken("the module cannot be loaded");
}

static void on_function(void *owner, uint32_t module, const char *name, const char *signature, const char *doc,
                        int form, int line)
{
    (void)owner, (void)module, (void)name, (void)signature, (void)doc, (void)form, (void)line;
}
static void on_state(void *owner) { (void)owner; }
static void on_lost(void *owner, const mamuto_error_t *err)
{
    (void)owner, (void)err;
    world.no_host = true;
}
static void on_closed(void *owner)
{
    (void)owner;
    world.closed = true;
}

static const struct mm_node_events events = { .on_up = on_up,
                                              .on_function = on_function,
                                              .on_loaded = on_loaded,
                                              .on_item_error = on_item_error,
                                              .on_ran = on_ran,
                                              .on_state = on_state,
                                              .on_lost = on_lost,
                                              .on_closed = on_closed };

/* ---- a world ----------------------------------------------------------------------------------------------------- */

static void on_fault(void *owner)
{
    (void)owner;
    if (world.n_others && !world.closing)
        sim_fault(&sim_hosts[sim_below((uint64_t)world.n_others)], (enum sim_fault)sim_below(SIM_N_FAULTS));
}

static void make_host(int i)
{
    static const uint64_t trips[] = { 30, 300, 5000, 100000 }, budgets[] = { 200, 5000, 1 << 20 };
    struct mm_config_host *config = &world.hosts[world.n_hosts++];
    *config = (struct mm_config_host){ .label = labels[i + 1], .port = i };
    config->inflight_bytes = (int)budgets[sim_below(3)];
    sim_hosts[i] = (struct sim_host){ .number = i,
                                      .trip_ns = trips[sim_below(4)] * SIM_US,
                                      .item_ns = sim_local_item_ns * (1 + sim_below(4)) / 2,
                                      .slice = 100 + sim_below(900),
                                      .workers = 1 + (int)sim_below(4),
                                      .no_return = sim_percent(20),
                                      .slow_sender = sim_percent(20) };
    if (sim_percent(10) && sim_hosts[i].item_ns < 5 * SIM_MS)
        sim_hosts[i].item_ns *= 50;
    if (sim_percent(5))
        sim_hosts[i].unreachable_until = UINT64_MAX;
}

static void make_items(void)
{
    static const unsigned fail[] = { 0, 0, 3, 50 };
    sim_fail_percent = fail[sim_below(4)];
    sim_flaky_percent = sim_percent(20) ? 20 : 0;
    sim_kill_permille = sim_percent(10) ? 10 : 0;
    sim_local_item_ns = (1 + sim_below(10)) * (sim_percent(30) ? 10 : 1) * (sim_percent(10) ? 2 * SIM_MS : 30 * SIM_US);
    sim_local_workers = 1 + (int)sim_below(4);
}

static void make_world(void)
{
    mamuto_error_t err = { 0 };
    world = (struct world){ .n_others = (int)sim_below(SIM_HOSTS + 1), .n_calls = 1 };
    world.here = !world.n_others || sim_percent(75);
    world.n_calls = sim_percent(80) ? 1 : 1 + (int)sim_below(SIM_CALLS);
    make_items();
    if (world.here)
        world.hosts[world.n_hosts++] = (struct mm_config_host){ .label = labels[0], .local = true };
    for (int i = 0; i < world.n_others; i++)
        make_host(i);
    memset(sim_calls, 0, sizeof sim_calls);
    sim_crashes = 0;
    for (int k = 0; k < world.n_calls; k++) {
        make_call(k);
        world.length_ns += sim_calls[k].run.n * sim_local_item_ns;
    }
    sim_is_poor = sim_percent(8);
    int n_faults = sim_percent(50) ? (int)sim_below(MOST_FAULTS) : 0;
    for (int i = 0; i < n_faults; i++)
        sim_at(50 * SIM_MS + sim_below(2 * world.length_ns), on_fault, NULL);
    if (mm_team_open(&world.team, &(struct mm_team_hosts){ world.hosts, world.n_hosts, &sim_local, &mm_node_remote },
                     NULL, &events, NULL, &err))
        sim_broken("the team cannot be opened: %s", err.text);
}

static void close_world(void *unused)
{
    (void)unused;
    world.closing = true;
    mm_node_team.close(world.team);
}

static bool is_over(void) { return world.n_over == world.n_calls || world.no_host; }

static void run_seed(uint64_t seed)
{
    uint64_t steps = 0;
    sim_begin(seed);
    make_world();
    if (sim_percent(4))
        sim_at(sim_below(2 * world.length_ns + SIM_MS), close_world, NULL);
    while (!world.closing && !is_over()) {
        if (!sim_step())
            sim_broken("nothing happens any more, and %d calls have not ended", world.n_calls - world.n_over);
        if (++steps > MOST_STEPS)
            sim_broken("it does not end");
    }
    mm_alloc_fail_at(0);
    if (!world.closing)
        close_world(NULL);
    while (!world.closed && steps++ < 2 * MOST_STEPS)
        if (!sim_step())
            break;
    if (!world.closed)
        sim_broken("it is not closed");
    sim_end();
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static char words[64]; /* of a crash */

static void on_crash(int number)
{
    if (write(1, words, sizeof words) < 0)
        _exit(4);
    signal(number, SIG_DFL);
    raise(number);
}

static void run_seeds(uint64_t from, uint64_t n)
{
    for (uint64_t seed = from; seed < from + n; seed++) {
        snprintf(words, sizeof words, "MAMUTO_SEED=%" PRIu64 ": a crash%20s\n", seed, "");
        run_seed(seed);
    }
}

/* A child runs seeds until the bug is found: 3. */
static bool is_found(enum sim_plant plant, uint64_t from, uint64_t n)
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        sim_plant = plant;
        run_seeds(from, n);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return false;
    bool found = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    printf("planted bug: %s: %s\n", sim_plant_names[plant], found ? "found" : "NOT FOUND");
    return found;
}

static int run_plants(uint64_t from, uint64_t n)
{
    int missing = 0;
    for (int plant = 1; plant < SIM_N_PLANTS; plant++)
        missing += !is_found((enum sim_plant)plant, from, n);
    return missing != 0;
}

int main(int argc, char **argv)
{
    uint64_t seed = number_of("MAMUTO_SEED", 0), n = number_of("MAMUTO_SIM_SEEDS", 10000);
    uint64_t from = number_of("MAMUTO_SIM_FROM", 1);
    signal(SIGABRT, on_crash);
    signal(SIGSEGV, on_crash);
    if (argc > 1 && strcmp(argv[1], "plant") == 0)
        return run_plants(from, n);
    run_seeds(seed ? seed : from, seed ? 1 : n);
    printf("%" PRIu64 " seeds from %" PRIu64 "\n", seed ? 1 : n, seed ? seed : from);
    return 0;
}
