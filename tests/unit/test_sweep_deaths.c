/* Lanes that run the engine's own code (claim, run, commit) are cut off at every point between two stores, also two of
 * them before either is swept, and one again and again; after the sweep another lane finishes the map: no grain is lost, no
 * failure is counted twice, and no item fails but one that ran singly. A lane dies by longjmp: all that is left of it is
 * what it has stored. */
#include "shm/run.h"
#include "shm/sweep.h"
#include "tests/support/handmade.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { WORKERS = 3, MAX_ITEMS = 256, SLOT = 2 };

static struct mm_board *board;
static struct mm_board_map *map;
static uint64_t gen;
static bool dead[MM_MAX_LANES];

static void forked_again(uint32_t lane)
{
    dead[lane] = false;
    atomic_store(&board->lanes[lane].claim, 0);
    atomic_store(&board->lanes[lane].in, 0);
    atomic_store(&board->lanes[lane].moves, 0);
}

/* ---- A lane ---------------------------------------------------------------------------------------------------------- */

static struct {
    jmp_buf out;
    uint32_t lane;    /* that is to die; UINT32_MAX: nobody */
    unsigned at, n;   /* its at-th point; how many it has passed */
    uint32_t running; /* the lane that runs */
    char last[32];    /* the point where it died */
} cut;

static const struct mm_board_arg shared = { .where = MM_WHERE_ARENA, .stride = 8, .size = 8, .len = 1 };
static uint64_t arena[2 * MAX_ITEMS]; /* arguments, then results */
static unsigned modulus;              /* items that leave 1 fail; 0: none */

static void cut_off(const char *name)
{
    if (cut.running != cut.lane || ++cut.n != cut.at)
        return;
    snprintf(cut.last, sizeof cut.last, "%s", name);
    longjmp(cut.out, 1);
}

static int run_items(mamuto_chunk_t *chunk)
{
    for (size_t i = 0; i < chunk->count; i++) {
        uint64_t x;
        memcpy(&x, chunk->in[0].data + (ptrdiff_t)i * chunk->in[0].stride, sizeof x);
        if (modulus && x % modulus == 1)
            (chunk->fail)(chunk, i, 7, "asked for"); /* cmocka has a macro of that name */
        x = 3 * x + 1;
        memcpy(chunk->out + i * chunk->out_size, &x, sizeof x);
    }
    return 0;
}

/* A lane's life until nothing is left to claim; true: it was cut off. */
static bool live(uint32_t lane)
{
    static const mamuto_descriptor_t descriptor = { .size = sizeof descriptor, .name = "run", .run = run_items };
    static const mamuto_descriptor_t *functions[] = { &descriptor };
    static struct mm_loaded modules[MM_MAX_MODULES] = { { .functions = functions, .n = 1 } };
    static struct mm_view view;
    static struct mm_runner runners[WORKERS];
    struct mm_runner *runner = &runners[lane];
    uint64_t entered;
    struct mm_taken taken;
    view = (struct mm_view){ .arena_read = (const char *)arena, .arena_write = (char *)arena };
    *runner = (struct mm_runner){ .board = board, .self = lane, .view = &view, .modules = modules, .eventfd = -1 };
    cut.running = lane;
    cut.n = 0;
    if (setjmp(cut.out))
        return true;
    if (mm_board_enter(board, &board->lanes[lane], SLOT, &entered) && mm_runner_prepare(runner, map, entered))
        while (mm_claim_next(board, map, entered, lane, &runner->pace[SLOT], &taken))
            mm_runner_execute(runner, &taken);
    mm_board_leave(board, &board->lanes[lane]);
    return false;
}

/* ---- A map ----------------------------------------------------------------------------------------------------------- */

/* What a map begins with. */
struct beginning {
    const char *name;
    uint64_t n, grain_items;
    uint32_t words[WORKERS][2];
    struct mm_taken returned[2];
    unsigned modulus;
    uint32_t retries;
};

static const struct beginning beginnings[] = {
    { .name = "own parts", .n = 24, .grain_items = 2, .words = { { 0, 4 }, { 4, 8 }, { 8, 12 } } },
    { .name = "one part", .n = 11, .grain_items = 1, .words = { { 0, 11 } } },
    { .name = "failures", .n = 13, .grain_items = 3, .words = { { 0, 1 }, { 1, 3 }, { 3, 5 } }, .modulus = 3 },
    { .name = "failures, retries",
      .n = 13,
      .grain_items = 3,
      .words = { { 0, 1 }, { 1, 3 }, { 3, 5 } },
      .modulus = 3,
      .retries = 1 },
    { .name = "returned",
      .n = 18,
      .grain_items = 3,
      .words = { { 0, 1 } },
      .retries = 0,
      .modulus = 7,
      .returned = { { .begin = 1, .end = 3, .singly = true, .first_item = 3 }, { .begin = 3, .end = 6 } } },
    { .name = "returned, retries",
      .n = 18,
      .grain_items = 3,
      .words = { { 0, 1 } },
      .retries = 2,
      .modulus = 7,
      .returned = { { .begin = 1, .end = 3, .singly = true, .first_item = 3 }, { .begin = 3, .end = 6 } } },
    { .name = "one item", .n = 1, .grain_items = 1, .words = { { 0, 0 }, { 0, 1 } }, .retries = 1 },
};
enum { N_BEGINNINGS = sizeof beginnings / sizeof *beginnings };

static void begin(const struct beginning *beginning)
{
    map = handmade_map(board, SLOT, beginning->n, beginning->grain_items);
    gen = atomic_load(&map->gen);
    map->retries = beginning->retries;
    modulus = beginning->modulus;
    map->n_in = 1;
    map->in[0] = map->out = shared;
    map->out.offset = MAX_ITEMS * 8;
    for (uint64_t i = 0; i < MAX_ITEMS; i++)
        arena[i] = i;
    memset(arena + MAX_ITEMS, 0xa5, sizeof arena / 2);
    for (uint32_t i = 0; i < WORKERS; i++) {
        forked_again(i);
        handmade_word(map, i, beginning->words[i][0], beginning->words[i][1]);
    }
    for (int i = 0; i < 2 && beginning->returned[i].end; i++)
        assert_true(mm_returned_add(map, &beginning->returned[i]));
}

static void sweep_arena(uint32_t lane)
{
    const struct mm_death death = { .lane = lane, .status = SIGKILL };
    enum mm_swept swept = mm_sweep(board, map, gen, &death, dead, (char *)(arena + MAX_ITEMS), NULL);
    assert_int_not_equal(swept, MM_SWEPT_LATER);
    forked_again(lane);
}

static bool is_recorded(uint64_t item)
{
    for (uint32_t i = 0; i < map->n_records; i++)
        if (map->records[i].ready == mm_map_tag(gen) && map->records[i].item == item)
            return true;
    return false;
}

/* The map is done; beyond those that must fail, at most `losses` items have. */
static void expect_right(const struct beginning *beginning, unsigned losses)
{
    uint64_t counted, failed = 0;
    if (!mm_map_all_done(map, gen, &counted))
        fail_msg("%s: grains are missing", beginning->name);
    for (uint64_t i = 0; i < map->n; i++) {
        bool must = modulus && i % modulus == 1, is = is_recorded(i);
        uint64_t result = arena[MAX_ITEMS + i];
        failed += is;
        if (must && !is)
            fail_msg("%s: item %" PRIu64 " is not recorded", beginning->name, i);
        if (result != (is ? 0 : 3 * i + 1))
            fail_msg("%s: item %" PRIu64 " has result %" PRIx64, beginning->name, i, result);
        if (is && !must && losses-- == 0)
            fail_msg("%s: item %" PRIu64 " is lost, after %s", beginning->name, i, cut.last);
    }
    if (counted != failed)
        fail_msg("%s: %" PRIu64 " failures are counted, %" PRIu64 " recorded; after %s", beginning->name, counted,
                 failed, cut.last);
}

/* ---- Tests ----------------------------------------------------------------------------------------------------------- */

static bool runs_singly(const struct beginning *beginning)
{
    return (beginning->modulus || beginning->returned[0].singly) && !beginning->retries;
}

static bool die(uint32_t lane, unsigned at)
{
    cut.lane = lane;
    cut.at = at;
    dead[lane] = live(lane);
    return dead[lane];
}

static void finish_by(uint32_t lane)
{
    cut.lane = UINT32_MAX;
    assert_false(live(lane));
}

static void sweep_death_at_any_point_loses_nothing(void **state)
{
    (void)state;
    unsigned n = 0;
    for (unsigned b = 0; b < N_BEGINNINGS; b++)
        for (unsigned at = 1;; at++, n++) {
            begin(&beginnings[b]);
            if (!die(1, at))
                break;
            sweep_arena(1);
            finish_by(0);
            expect_right(&beginnings[b], runs_singly(&beginnings[b]));
        }
    print_message("%u deaths\n", n);
    assert_true(n > 300);
}

/* Both are dead before either is swept, in both orders. */
static void sweep_two_deaths_at_any_points_lose_nothing(void **state)
{
    (void)state;
    unsigned n = 0;
    for (unsigned b = 0; b < N_BEGINNINGS; b++)
        for (unsigned first = 1, more = 1; more; first++)
            for (unsigned second = 1;; second++, n++) {
                begin(&beginnings[b]);
                more = die(1, first);
                if (!more || !die(2, second))
                    break;
                sweep_arena(n & 1 ? 1 : 2);
                sweep_arena(n & 1 ? 2 : 1);
                finish_by(0);
                expect_right(&beginnings[b], runs_singly(&beginnings[b]) ? 2 : 0);
            }
    print_message("%u pairs of deaths\n", n);
    assert_true(n > 1000);
}

/* The same lane dies again and again, each time in the next point of its next life. */
static void sweep_deaths_without_end_settle_every_item(void **state)
{
    (void)state;
    for (unsigned b = 0; b < N_BEGINNINGS; b++)
        for (unsigned every = 20; every < 60; every++) {
            begin(&beginnings[b]);
            for (int lives = 0; die(1, every); lives++) {
                assert_true(lives < 1000);
                sweep_arena(1);
            }
            finish_by(0);
            expect_right(&beginnings[b], (unsigned)beginnings[b].n);
        }
}

static int set_up(void **state)
{
    (void)state;
    board = handmade_board(WORKERS);
    mm_test_point = cut_off;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mm_test_point = NULL;
    handmade_free(board);
    return 0;
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sweep_death_at_any_point_loses_nothing),
        TEST(sweep_two_deaths_at_any_points_lose_nothing),
        TEST(sweep_deaths_without_end_settle_every_item),
    };
    return cmocka_run_group_tests_name("sweep_deaths", tests, NULL, NULL);
}
