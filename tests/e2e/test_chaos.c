/* Workers are killed at random while maps run, some are stopped for a moment, now and then the fork server dies: each map
 * settles all of its items, every stored value is right, and nothing is left over at the end.
 *
 * A hit is a kill of a worker that was in a map, whose death was seen. There must be 1,000 of them in 60 s; the default.
 * $MAMUTO_CHAOS_SECONDS sets the length, $MAMUTO_SEED replays the sizes, costs and choices of an earlier run (the moments
 * differ, of course). The killer is a thread beside the loop; it knows the workers from the board.
 */
#include "shm/board.h"
#include "tests/support/e2e.h"
#include "tests/support/faults.h"
#include "tests/support/reference.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

enum { WORKERS = 4, IN_FLIGHT = 4, MAX_ITEMS = 4096, SECONDS = 60, HITS_PER_MINUTE = 1000, DEADLINE_MS = 20000 };
enum { SERVER_EVERY_MS = 1500, KILLS_BETWEEN_ENDS = 6, UNTIL_SEEN_MS = 500 };
static const uint64_t MOST_NS = 6000000; /* serial cost of a map, about */

static uint64_t seed;

struct slot {
    struct faults_map map;
    uint64_t *shared_x, *private_x;
    uint64_t (*shared_out)[2], (*private_out)[2];
    unsigned seen_before;
    bool private_arrays, reduces; /* reduces: the items' results are folded, too */
    uint64_t value[2];
};

static struct {
    uv_loop_t loop;
    uv_timer_t timer;
    mamuto_t *mapper;
    struct mm_board *board;
    struct slot slots[IN_FLIGHT];
    uint64_t random;
    unsigned in_flight, next_mark;
    unsigned ended, failed_maps, lost_items; /* maps; of them with failures; items that should not have failed */
    unsigned reductions, lost_folds;
    bool last; /* the maps of the end, which nobody disturbs */
} chaos;

/* Written by the killer, but for ends and over. */
static struct {
    pthread_t thread;
    uint64_t random;
    _Atomic unsigned begun, seen; /* deaths that it causes: counted before, and when they were seen */
    unsigned hits, stops, servers;
    _Atomic unsigned ends; /* of maps */
    _Atomic bool over;
} killer;

static uint64_t draw(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t below(uint64_t *state, uint64_t n) { return draw(state) % n; }

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void nap_us(uint64_t us) { nanosleep(&(struct timespec){ .tv_nsec = (long)us * 1000 }, NULL); }

static _Noreturn void give_up(const char *why)
{
    fprintf(stderr, "%s\nMAMUTO_SEED=%" PRIu64 " replays it; %u maps had ended, %u hits\n", why, seed, chaos.ended,
            killer.hits);
    faults_print_board(stderr, chaos.board);
    _exit(1);
}

/* ---- The killer ---------------------------------------------------------------------------------------------------- */

static bool is_gone(uint32_t lane, pid_t pid)
{
    for (uint64_t end = now_ms() + UNTIL_SEEN_MS; now_ms() < end;) {
        if (atomic_load(&chaos.board->lanes[lane].pid) != pid)
            return true;
        nap_us(50);
    }
    return false;
}

static void kill_worker(uint32_t lane, pid_t pid)
{
    bool in_map = atomic_load(&chaos.board->lanes[lane].in) != 0;
    atomic_fetch_add(&killer.begun, 1);
    if (kill(pid, SIGKILL) != 0 || !is_gone(lane, pid))
        return;
    killer.hits += in_map;
    atomic_fetch_add(&killer.seen, 1);
}

static void stop_worker(uint32_t lane, pid_t pid)
{
    killer.stops++;
    if (kill(pid, SIGSTOP) != 0)
        return;
    nap_us(below(&killer.random, 3000));
    if (below(&killer.random, 3) == 0)
        kill_worker(lane, pid);
    else
        kill(pid, SIGCONT);
}

/* The fork server dies, and all workers with it. */
static void kill_server(pid_t worker)
{
    pid_t server = faults_parent(worker), workers[WORKERS];
    if (server <= 1 || faults_parent(server) != getpid())
        return;
    for (uint32_t i = 0; i < WORKERS; i++)
        workers[i] = atomic_load(&chaos.board->lanes[i].pid);
    killer.servers++;
    atomic_fetch_add(&killer.begun, WORKERS);
    kill(server, SIGKILL);
    for (uint32_t i = 0; i < WORKERS; i++)
        if (is_gone(i, workers[i]))
            atomic_fetch_add(&killer.seen, 1);
}

static void strike(uint64_t *last_server)
{
    uint32_t lane = (uint32_t)below(&killer.random, WORKERS);
    uint64_t choice = below(&killer.random, 100), now = now_ms();
    pid_t pid = atomic_load(&chaos.board->lanes[lane].pid);
    if (faults_worker_state(pid) == 0)
        return; /* it is being forked */
    if (choice < 5 && now - *last_server > SERVER_EVERY_MS) {
        *last_server = now;
        kill_server(pid);
    } else if (choice < 15)
        stop_worker(lane, pid);
    else
        kill_worker(lane, pid);
}

/* More than 3 x workers deaths without any progress would rightly end a map: on a busy machine the maps must catch up. */
static void let_maps_end(void)
{
    unsigned ends = atomic_load(&killer.ends);
    for (uint64_t start = now_ms(); atomic_load(&killer.ends) == ends && !atomic_load(&killer.over); nap_us(200))
        if (now_ms() - start > DEADLINE_MS)
            give_up("no map ends any more");
}

static void *kill_at_random(void *unused)
{
    (void)unused;
    uint64_t last_server = now_ms();
    for (unsigned i = 1; !atomic_load(&killer.over); i++) {
        strike(&last_server);
        nap_us(below(&killer.random, 12000));
        if (i % KILLS_BETWEEN_ENDS == 0)
            let_maps_end();
    }
    return NULL;
}

/* ---- Maps ---------------------------------------------------------------------------------------------------------- */

static void choose_failures(struct faults_map *map)
{
    uint64_t choice = below(&chaos.random, 8);
    if (choice < 3) {
        map->knobs[FAULTS_FAIL_MODULUS] = 5 + below(&chaos.random, 300);
        map->knobs[FAULTS_FAIL_REST] = below(&chaos.random, map->knobs[FAULTS_FAIL_MODULUS]);
    }
    if (choice == 2 || choice == 3) {
        map->knobs[FAULTS_CRASH_ITEM] = below(&chaos.random, map->n);
        map->knobs[FAULTS_CRASH_MARK] = ++chaos.next_mark;
    }
}

static void choose(struct slot *slot)
{
    static const uint64_t costs[] = { 0, 100, 1000, 5000, 50000 };
    struct faults_map *map = &slot->map;
    memset(map->knobs, 0, sizeof map->knobs);
    map->n = 1 + (size_t)below(&chaos.random, UINT64_C(1) << below(&chaos.random, 13));
    uint64_t cost = costs[below(&chaos.random, sizeof costs / sizeof *costs)], most = MOST_NS / map->n;
    map->knobs[FAULTS_COST_NS] = cost < most ? cost : most;
    if (below(&chaos.random, 4) == 0) {
        map->knobs[FAULTS_HEAVY_BELOW] = map->n / 8 + 1;
        map->knobs[FAULTS_HEAVY_NS] = 8 * map->knobs[FAULTS_COST_NS];
    }
    map->retries = below(&chaos.random, 2) ? 0 : 1 + (int)below(&chaos.random, 3);
    map->on_error = below(&chaos.random, 3) ? MAMUTO_ON_ERROR_SKIP : MAMUTO_ON_ERROR_FAIL;
    slot->private_arrays = below(&chaos.random, 3) == 0;
    slot->reduces = below(&chaos.random, 4) == 0;
    if (!chaos.last)
        choose_failures(map);
}

static void chain(const void *a_, const void *b_, void *out_, size_t dim)
{
    const uint64_t *a = a_, *b = b_;
    uint64_t *out = out_;
    (void)dim;
    out[0] = a[0] * 31 + b[0];
    out[1] = a[1] * 37 + b[1];
}

/* The value is that of the items that did not fail. */
static bool value_is_right(const struct slot *slot)
{
    static uint8_t absent[MAX_ITEMS];
    const struct faults_map *map = &slot->map;
    struct reference reference = { .size = sizeof slot->value, .fold = chain, .absent = absent };
    uint64_t expected[2];
    memset(absent, 0, sizeof absent);
    for (unsigned f = 0; f < map->n_failures; f++)
        absent[map->failures[f].item] = 1;
    bool any = reference_reduce(&reference, map->out, map->n, expected);
    return !any || memcmp(expected, slot->value, sizeof expected) == 0;
}

/* A fold that ran alone may have been killed as an item may. */
static bool fold_was_killed(const struct slot *slot, unsigned kills)
{
    const mamuto_error_t *err = &slot->map.err;
    return slot->reduces && kills > 0 && err->code == MAMUTO_ECRASH && strstr(err->text, "a fold: worker ");
}

static void start_map(struct slot *slot);

static void on_done(mamuto_map_t *handle, int status, const mamuto_error_t *err)
{
    struct slot *slot = mamuto_map_data(handle);
    struct faults_map *map = &slot->map;
    char text[640];
    unsigned kills = chaos.last ? 0 : atomic_load(&killer.begun) - slot->seen_before;
    map->status = status;
    if (err)
        map->err = *err;
    /* Items behind one that fails may run singly at once: then a crash is the item's own. */
    bool crash_item = kills > 0 || map->knobs[FAULTS_FAIL_MODULUS], killed = fold_was_killed(slot, kills);
    if (!killed && !faults_is_right(map, &(struct faults_loss){ kills, kills, crash_item }, text, sizeof text))
        give_up(text);
    bool has_value = slot->reduces && (status == 0 || status == MAMUTO_EITEM) &&
                     (status == 0 || map->on_error == MAMUTO_ON_ERROR_SKIP);
    if (has_value && !value_is_right(slot))
        give_up("the value of a reduction is wrong");
    chaos.reductions += slot->reduces;
    chaos.lost_folds += killed;
    for (unsigned f = 0; f < map->n_failures; f++)
        chaos.lost_items += map->failures[f].code == MAMUTO_ECRASH;
    chaos.failed_maps += status != 0;
    chaos.ended++;
    chaos.in_flight--;
    atomic_fetch_add(&killer.ends, 1);
    if (!atomic_load(&killer.over))
        start_map(slot);
}

static void on_item_error(mamuto_map_t *handle, const mamuto_error_t *err)
{
    struct slot *slot = mamuto_map_data(handle);
    faults_take_down(&slot->map, err);
}

static void start_map(struct slot *slot)
{
    mamuto_call_t call;
    mamuto_error_t err = { 0 };
    choose(slot);
    slot->map.x = slot->private_arrays ? slot->private_x : slot->shared_x;
    slot->map.out = slot->private_arrays ? slot->private_out : slot->shared_out;
    faults_prepare(&slot->map, &call);
    call.data = slot;
    call.on_done = on_done;
    call.on_item_error = on_item_error;
    slot->seen_before = atomic_load(&killer.seen);
    if (slot->reduces) {
        call.fold = "faults.chain";
        call.value = slot->value;
    }
    if ((slot->reduces ? mamuto_reduce : mamuto_map)(chaos.mapper, &call, NULL, &err) != 0)
        give_up(err.text);
    chaos.in_flight++;
}

/* ---- The run ------------------------------------------------------------------------------------------------------- */

static void on_open(mamuto_t *m, int status, const mamuto_error_t *err)
{
    (void)m;
    if (status)
        give_up(err->text);
}

/* The first loop of a process makes two descriptors that stay. */
static void warm_libuv_up(void)
{
    assert_int_equal(uv_loop_init(&chaos.loop), 0);
    assert_int_equal(uv_loop_close(&chaos.loop), 0);
}

static void open_mapper(void)
{
    mamuto_error_t err = { 0 };
    char config[64];
    snprintf(config, sizeof config, "{\"hosts\": {\"localhost\": %d}}", WORKERS);
    assert_int_equal(uv_loop_init(&chaos.loop), 0);
    mamuto_options_t options = { .config_text = config,
                                 .modules = (const char *[]){ E2E_MODULE("faults"), NULL },
                                 .loop = &chaos.loop,
                                 .on_open = on_open };
    if (mamuto_open(&chaos.mapper, &options, &err) != 0)
        give_up(err.text);
    uv_run(&chaos.loop, UV_RUN_DEFAULT);
    chaos.board = faults_board();
    assert_non_null(chaos.board);
    for (int i = 0; i < IN_FLIGHT; i++) {
        struct slot *slot = &chaos.slots[i];
        slot->shared_x = mamuto_alloc(chaos.mapper, MAX_ITEMS, sizeof *slot->shared_x, &err);
        slot->shared_out = mamuto_alloc(chaos.mapper, MAX_ITEMS, sizeof *slot->shared_out, &err);
        slot->private_x = calloc(MAX_ITEMS, sizeof *slot->private_x);
        slot->private_out = calloc(MAX_ITEMS, sizeof *slot->private_out);
        assert_true(slot->shared_x && slot->shared_out && slot->private_x && slot->private_out);
        for (uint64_t x = 0; x < MAX_ITEMS; x++)
            slot->shared_x[x] = slot->private_x[x] = x;
    }
}

static void close_mapper(void)
{
    assert_int_equal(mamuto_close(chaos.mapper, NULL), 0);
    uv_run(&chaos.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&chaos.loop), 0);
    for (int i = 0; i < IN_FLIGHT; i++) {
        free(chaos.slots[i].private_x);
        free(chaos.slots[i].private_out);
    }
}

static void on_time_over(uv_timer_t *timer)
{
    atomic_store(&killer.over, true);
    pthread_join(killer.thread, NULL);
    uv_close((uv_handle_t *)timer, NULL);
}

static void start_all(void)
{
    for (int i = 0; i < IN_FLIGHT; i++)
        start_map(&chaos.slots[i]);
}

static void run_chaos(unsigned seconds)
{
    start_all();
    uv_timer_init(&chaos.loop, &chaos.timer);
    uv_timer_start(&chaos.timer, on_time_over, (uint64_t)seconds * 1000, 0);
    assert_int_equal(pthread_create(&killer.thread, NULL, kill_at_random, NULL), 0);
    uv_run(&chaos.loop, UV_RUN_DEFAULT);
    assert_int_equal(chaos.in_flight, 0);
}

static void chaos_workers_die_at_random_every_map_ends_right(void **state)
{
    (void)state;
    const char *text = getenv("MAMUTO_CHAOS_SECONDS");
    unsigned seconds = text ? (unsigned)strtoul(text, NULL, 10) : SECONDS;
    warm_libuv_up();
    struct e2e_held before = e2e_hold();
    open_mapper();
    run_chaos(seconds);
    chaos.last = true;
    start_all();
    uv_run(&chaos.loop, UV_RUN_DEFAULT);
    assert_int_equal(chaos.in_flight, 0);
    close_mapper();
    print_message("%u hits in %u s, %u kills, %u stops, %u fork servers; %u maps, %u with failures; %u items lost; "
                  "%u reductions, %u folds lost\n",
                  killer.hits, seconds, atomic_load(&killer.begun), killer.stops, killer.servers, chaos.ended,
                  chaos.failed_maps, chaos.lost_items, chaos.reductions, chaos.lost_folds);
    e2e_holds_as(&before);
    assert_true(killer.hits >= HITS_PER_MINUTE * seconds / 60);
}

static int set_up(void **state)
{
    (void)state;
    const char *text = getenv("MAMUTO_SEED");
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", seed);
    chaos.random = seed;
    killer.random = ~seed;
    e2e_scratch_begin();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    e2e_scratch_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chaos_workers_die_at_random_every_map_ends_right),
    };
    return cmocka_run_group_tests_name("chaos", tests, set_up, tear_down);
}
