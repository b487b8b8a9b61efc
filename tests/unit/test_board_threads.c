/* The board with threads in the place of workers, in one process: thousands of small maps, submitted and
 * ended by the master's own code (shm/jobs.c), claimed, run and committed by the lanes' (claim.c, run.c, park.c). Every
 * item is run exactly once, results are there when a map has ended, nobody writes for it any more, no wake-up is lost.
 * ThreadSanitizer, which does not see from process to process, sees the board's memory order here.
 *
 * Sizes are random: the seed is printed, $MAMUTO_SEED replays it. $MAMUTO_THREADS_MAPS sets how many maps.
 */
#include "core/alloc.h"
#include "shm/jobs.h"
#include "shm/park.h"
#include "tests/support/handmade.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { LANES = 3, IN_FLIGHT = 4, MAX_ITEMS = 3000, MAPS = 20000, DEADLINE_MS = 20000 };

/* A map, and what has become of its items. Item i's result is 3 i + 1. */
struct task {
    struct mm_run run;
    struct mm_job *job;
    uint64_t x[MAX_ITEMS], out[MAX_ITEMS];
    _Atomic uint8_t times[MAX_ITEMS];
    uint64_t fail_modulus, spin;
    _Atomic bool ended; /* nobody may run it any more */
    bool canceled;
};

static struct {
    struct mm_board *board;
    struct mm_pool pool;
    struct mm_jobs jobs;
    struct mm_function function;
    struct mm_loaded modules[MM_MAX_MODULES];
    struct mm_view view;
    struct lane {
        pthread_t thread;
        struct mm_runner runner;
        bool woken;
    } lanes[LANES];
    struct task tasks[IN_FLIGHT];
    int event;
    _Atomic bool quit;
    uint64_t seed, random;
    unsigned n_maps; /* submitted */
    uint64_t n_items;
} world;

static uint64_t draw(void)
{
    world.random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = world.random;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t below(uint64_t n) { return draw() % n; }

/* ---- The function --------------------------------------------------------------------------------------------------- */

/* Argument 0: the item's number; argument 1: the task, which all items have in common. */
static int run_items(mamuto_chunk_t *chunk)
{
    union {
        uint64_t number;
        struct task *task;
    } common = { 0 };
    memcpy(&common.number, chunk->in[1].data, sizeof common.number);
    struct task *task = common.task;
    if (task->ended)
        abort(); /* after its end */
    for (size_t i = 0; i < chunk->count; i++) {
        uint64_t x;
        memcpy(&x, chunk->in[0].data + (ptrdiff_t)i * chunk->in[0].stride, sizeof x);
        atomic_fetch_add_explicit(&task->times[chunk->first + i], 1, memory_order_relaxed);
        for (uint64_t k = 0; k < task->spin; k++)
            __asm__ volatile("" ::: "memory");
        if (task->fail_modulus && x % task->fail_modulus == 0)
            (chunk->fail)(chunk, i, 7, "asked for"); /* cmocka has a macro of that name */
        uint64_t y = 3 * x + 1;
        memcpy(chunk->out + i * chunk->out_size, &y, sizeof y);
    }
    return 0;
}

/* ---- The lanes ------------------------------------------------------------------------------------------------------- */

static bool serve_map(struct lane *lane, unsigned slot)
{
    struct mm_runner *runner = &lane->runner;
    struct mm_board *board = world.board;
    struct mm_board_map *map = &board->maps[slot];
    struct mm_lane *own = &board->lanes[runner->self];
    struct mm_taken taken;
    uint64_t gen;
    bool any = false;
    if (!mm_board_enter(board, own, slot, &gen))
        return false;
    bool ready = !mm_map_stopped(map) && mm_runner_prepare(runner, map, gen);
    while (ready && mm_claim_next(board, map, gen, runner->self, &runner->pace[slot], &taken)) {
        any = true;
        if (!mm_map_is_small(map))
            mm_lane_busy(own);
        if ((lane->woken || taken.left_rest) && mm_map_has_work(map, gen))
            mm_wake_lanes(board, board->n_workers, 2, runner->self, -1);
        lane->woken = false;
        mm_runner_execute(runner, &taken);
        if (atomic_load_explicit(&board->active, memory_order_relaxed) != UINT64_C(1) << slot)
            break;
    }
    if (mm_board_leave(board, own))
        mm_wake_master(board, runner->eventfd);
    return any;
}

static bool serve(void *lane)
{
    bool any = false;
    for (uint64_t active = atomic_load_explicit(&world.board->active, memory_order_acquire); active;
         active &= active - 1)
        any |= serve_map(lane, (unsigned)__builtin_ctzll(active));
    return any;
}

static void *run_lane(void *lane_)
{
    struct lane *lane = lane_;
    while (!world.quit) {
        if (serve(lane))
            continue;
        mm_lane_idle(world.board, lane->runner.self, world.event, 0, serve, lane);
        lane->woken = true;
    }
    return NULL;
}

/* ---- The master ------------------------------------------------------------------------------------------------------ */

static _Noreturn void give_up(const char *why, uint64_t item)
{
    fprintf(stderr, "%s (item %" PRIu64 "); MAMUTO_SEED=%" PRIu64 " replays it\n", why, item, world.seed);
    for (uint32_t i = 0; i <= LANES; i++) {
        struct mm_lane *lane = &world.board->lanes[i];
        fprintf(stderr, "lane %u: parked %u in %#" PRIx64 " claim %#" PRIx64 "\n", i, lane->parked, lane->in,
                lane->claim);
    }
    abort();
}

static void choose(struct task *task, bool wait)
{
    union {
        struct task *task;
        uint64_t number;
    } common = { task };
    static uint64_t commons[IN_FLIGHT];
    uint64_t *common_at = &commons[task - world.tasks];
    *common_at = common.number;
    uint64_t n = 1 + below(UINT64_C(1) << below(12));
    task->fail_modulus = below(4) ? 0 : 2 + below(200);
    task->spin = UINT64_C(1) << below(10);
    task->canceled = !wait && below(16) == 0;
    task->ended = false;
    for (uint64_t i = 0; i < n; i++) {
        task->out[i] = UINT64_MAX;
        task->times[i] = 0;
    }
    task->run = (struct mm_run){ .function = &world.function,
                                 .n = n,
                                 .n_in = 2,
                                 .result = task->out,
                                 .result_stride = 8,
                                 .out_size = 8,
                                 .out_len = 1,
                                 .retries = below(2) ? 0 : 2,
                                 .fail_fast = below(2) != 0,
                                 .wait = wait,
                                 .help = wait && below(2) };
    task->run.in[0] = (struct mm_run_arg){ .data = task->x, .stride = 8, .size = 8, .len = 1 };
    task->run.in[1] = (struct mm_run_arg){ .data = common_at, .size = 8, .len = 1 };
}

static void submit(struct task *task, bool wait)
{
    choose(task, wait);
    if (mm_jobs_submit(&world.jobs, &task->run, NULL) != 0)
        give_up("no slot is free", 0);
    world.n_maps++;
    world.n_items += task->run.n;
    task->job = task->run.job;
    if (task->canceled)
        mm_jobs_stop(&world.jobs, task->job, MAMUTO_ECANCELED);
}

static uint64_t failing(const struct task *task)
{
    return task->fail_modulus ? (task->run.n - 1) / task->fail_modulus + 1 : 0;
}

static void check_items(const struct task *task, bool whole)
{
    for (uint64_t i = 0; i < task->run.n; i++) {
        bool fails = task->fail_modulus && i % task->fail_modulus == 0;
        uint64_t right = fails ? 0 : 3 * i + 1, out = task->out[i];
        if (whole && out != right)
            give_up("a wrong result", i);
        if (!whole && out != right && out != UINT64_MAX && out != 3 * i + 1)
            give_up("a wrong result in a map that was stopped", i);
        if (!task->fail_modulus && whole && task->times[i] != 1)
            give_up("run more or less than once", i);
    }
}

static void finish(struct task *task)
{
    uint64_t failed;
    mamuto_error_t err = { 0 };
    task->ended = true;
    int status = mm_jobs_result(&world.jobs, task->job, &failed, &err, NULL, NULL);
    bool whole = status == 0 || (status == MAMUTO_EITEM && !task->run.fail_fast);
    if (task->canceled ? status && status != MAMUTO_ECANCELED : status != (failing(task) ? MAMUTO_EITEM : 0))
        give_up(err.text, 0);
    if (whole && failed != failing(task))
        give_up("a wrong number of failed items", failed);
    check_items(task, whole);
    mm_jobs_remove(&world.jobs, task->job);
    task->job = NULL;
}

static bool check_all(void)
{
    bool any = false;
    atomic_store(&world.board->polling, 1); /* before the look, in one order with what lanes store */
    for (int i = 0; i < IN_FLIGHT; i++) {
        struct task *task = &world.tasks[i];
        if (task->job && mm_jobs_check(&world.jobs, task->job) == MM_JOB_ENDED) {
            finish(task);
            any = true;
        }
    }
    return any;
}

/* Until one has ended, or more than one. A stopped map needs a look after its last lane has left: woken for that, too. */
static void wait_for_one(void)
{
    while (!check_all()) {
        struct pollfd fd = { world.event, POLLIN, 0 };
        uint64_t count;
        if (poll(&fd, 1, DEADLINE_MS) == 0)
            give_up("nobody wakes the master", 0);
        if (read(world.event, &count, sizeof count) < 0)
            continue;
    }
}

/* A caller that waits, beside others in flight or not. */
static void run_waited(struct task *task)
{
    submit(task, true);
    if (world.jobs.used == UINT64_C(1) << mm_map_slot(task->job->gen))
        atomic_store(&world.board->polling, 0);
    mm_jobs_assist(&world.jobs, task->job);
    while (task->job)
        wait_for_one();
}

static void board_threads_run_thousands_of_maps_every_item_once(void **state)
{
    (void)state;
    const char *text = getenv("MAMUTO_THREADS_MAPS");
    unsigned most = text ? (unsigned)strtoul(text, NULL, 10) : MAPS;
    while (world.n_maps < most) {
        unsigned want = 1 + (unsigned)below(IN_FLIGHT), i = 0;
        for (; i < want - 1; i++)
            if (!world.tasks[i].job)
                submit(&world.tasks[i], false);
        if (!world.tasks[i].job && below(2))
            run_waited(&world.tasks[i]);
        while (world.jobs.used && below(4))
            wait_for_one();
    }
    while (world.jobs.used)
        wait_for_one();
    print_message("%u maps, %" PRIu64 " items\n", world.n_maps, world.n_items);
}

/* ---- Set-up ---------------------------------------------------------------------------------------------------------- */

static void make_board(void)
{
    static const mamuto_descriptor_t descriptor = { .size = sizeof descriptor, .name = "run", .run = run_items };
    static const mamuto_descriptor_t *functions[] = { &descriptor };
    world.board = handmade_board(LANES);
    world.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(world.event >= 0);
    world.pool = (struct mm_pool){
        .control = -1, .event = world.event, .life = -1, .board = world.board, .arena.fd = -1, .config.workers = LANES
    };
    world.modules[0] = (struct mm_loaded){ .functions = functions, .n = 1 };
}

static int set_up(void **state)
{
    (void)state;
    const char *text = getenv("MAMUTO_SEED");
    world.seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", world.seed);
    world.random = world.seed;
    make_board();
    mm_jobs_init(&world.jobs, &world.pool, NULL);
    assert_int_equal(mm_jobs_add_module(&world.jobs, 0, 1, "", 0, NULL), 0);
    world.jobs.caller.modules = world.modules;
    for (int t = 0; t < IN_FLIGHT; t++)
        for (uint64_t i = 0; i < MAX_ITEMS; i++)
            world.tasks[t].x[i] = i;
    for (uint32_t i = 0; i < LANES; i++) {
        world.lanes[i].runner = (struct mm_runner){
            .board = world.board, .self = i, .view = &world.view, .modules = world.modules, .eventfd = world.event
        };
        assert_int_equal(pthread_create(&world.lanes[i].thread, NULL, run_lane, &world.lanes[i]), 0);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world.quit = true;
    for (int i = 0; i < LANES; i++) {
        while (pthread_tryjoin_np(world.lanes[i].thread, NULL) != 0) {
            mm_wake_all(world.board); /* one that was about to sleep does not see quit: again */
            nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
        }
        mm_runner_fini(&world.lanes[i].runner);
    }
    mm_jobs_fini(&world.jobs);
    close(world.event);
    handmade_free(world.board);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(board_threads_run_thousands_of_maps_every_item_once),
    };
    return cmocka_run_group_tests_name("board_threads", tests, set_up, tear_down);
}
