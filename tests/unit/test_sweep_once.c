/* Maps in which no item may be run twice, on lanes that run the engine's own code and are cut off at every point between
 * two stores, also two of them before either is swept, and one again and again; after the sweep another lane finishes the
 * map: no item has run twice, each is stored or recorded, and of those that had not begun none has failed. A lane dies by
 * longjmp: all that is left of it is what it has stored.
 */
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
static bool whole_blocks;             /* they fail by what the function returns */
static unsigned ran[MAX_ITEMS];

static void cut_off(const char *name)
{
    if (cut.running != cut.lane || ++cut.n != cut.at)
        return;
    snprintf(cut.last, sizeof cut.last, "%s", name);
    longjmp(cut.out, 1);
}

static int run_items(mamuto_chunk_t *chunk)
{
    int code = 0;
    for (size_t i = 0; i < chunk->count; i++) {
        uint64_t x;
        memcpy(&x, chunk->in[0].data + (ptrdiff_t)i * chunk->in[0].stride, sizeof x);
        ran[x]++;
        bool fails = modulus && x % modulus == 1;
        if (fails && whole_blocks)
            code = 8;
        else if (fails)
            (chunk->fail)(chunk, i, 7, "asked for"); /* cmocka has a macro of that name */
        x = 3 * x + 1;
        memcpy(chunk->out + i * chunk->out_size, &x, sizeof x);
        cut_off("in-item");
    }
    return code;
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
        while (mm_claim_next(board, map, entered, lane, &runner->pace[SLOT], &taken)) {
            mm_runner_execute(runner, &taken);
            runner->pace[SLOT].item_ticks = map->item_ticks; /* blocks stay as short as the test says */
        }
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
    bool whole_blocks;
    double item_ticks; /* of 2,000 a block; 0: blocks of one grain */
    unsigned block;    /* most items of one */
};

static const struct beginning beginnings[] = {
    { .name = "own parts", .n = 24, .grain_items = 1, .words = { { 0, 8 }, { 8, 16 }, { 16, 24 } }, .block = 1 },
    { .name = "one part", .n = 11, .grain_items = 1, .words = { { 0, 11 } }, .block = 1 },
    { .name = "large grains", .n = 23, .grain_items = 3, .words = { { 0, 4 }, { 4, 8 } }, .block = 3 },
    { .name = "blocks of 4",
      .n = 40,
      .grain_items = 1,
      .words = { { 0, 20 }, { 20, 40 } },
      .item_ticks = 500,
      .block = 4 },
    { .name = "failures",
      .n = 13,
      .grain_items = 3,
      .words = { { 0, 1 }, { 1, 3 }, { 3, 5 } },
      .modulus = 3,
      .block = 3 },
    { .name = "failures in blocks of 4",
      .n = 40,
      .grain_items = 2,
      .words = { { 0, 10 }, { 10, 20 } },
      .item_ticks = 500,
      .modulus = 3,
      .block = 4 },
    { .name = "failed calls",
      .n = 40,
      .grain_items = 2,
      .words = { { 0, 10 }, { 10, 20 } },
      .item_ticks = 500,
      .modulus = 9,
      .whole_blocks = true,
      .block = 4 },
    { .name = "returned",
      .n = 18,
      .grain_items = 1,
      .words = { { 0, 1 } },
      .modulus = 7,
      .returned = { { .begin = 1, .end = 9 }, { .begin = 9, .end = 18 } },
      .block = 1 },
};
enum { N_BEGINNINGS = sizeof beginnings / sizeof *beginnings };

static void begin(const struct beginning *beginning)
{
    map = handmade_map(board, SLOT, beginning->n, beginning->grain_items);
    gen = atomic_load(&map->gen);
    map->flags = MM_MAP_ONCE;
    map->retries = 3; /* of no effect */
    map->item_ticks = beginning->item_ticks;
    modulus = beginning->modulus;
    whole_blocks = beginning->whole_blocks;
    map->n_in = 1;
    map->in[0] = map->out = shared;
    map->out.offset = MAX_ITEMS * 8;
    for (uint64_t i = 0; i < MAX_ITEMS; i++)
        arena[i] = i;
    memset(arena + MAX_ITEMS, 0xa5, sizeof arena / 2);
    memset(ran, 0, sizeof ran);
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

static const struct mm_record *record_of(uint64_t item)
{
    const struct mm_record *found = NULL;
    for (uint32_t i = 0; i < map->n_records; i++)
        if (map->records[i].ready == mm_map_tag(gen) && map->records[i].item == item) {
            assert_null(found);
            found = &map->records[i];
        }
    return found;
}

/* The map is done; so many lanes died, each of which may have lost a block. */
static void expect_right(const struct beginning *beginning, unsigned deaths)
{
    uint64_t counted, failed = 0, lost = 0;
    if (!mm_map_all_done(map, gen, &counted))
        fail_msg("%s: grains are missing, after %s", beginning->name, cut.last);
    for (uint64_t i = 0; i < map->n; i++) {
        const struct mm_record *record = record_of(i);
        bool must = modulus && i % modulus == 1 && !whole_blocks;
        uint64_t result = arena[MAX_ITEMS + i];
        failed += record != NULL;
        lost += record && record->code == MAMUTO_ECRASH;
        if (ran[i] > 1)
            fail_msg("%s: item %" PRIu64 " ran %u times, after %s", beginning->name, i, ran[i], cut.last);
        if (!record && (must || ran[i] != 1))
            fail_msg("%s: item %" PRIu64 " has not failed, and ran %u times", beginning->name, i, ran[i]);
        if (record && record->code != MAMUTO_ECRASH && !modulus)
            fail_msg("%s: item %" PRIu64 " failed with %d", beginning->name, i, record->code);
        if (result != (record ? 0 : 3 * i + 1))
            fail_msg("%s: item %" PRIu64 " has result %" PRIx64 ", after %s", beginning->name, i, result, cut.last);
    }
    if (counted != failed)
        fail_msg("%s: %" PRIu64 " failures are counted, %" PRIu64 " recorded; after %s", beginning->name, counted,
                 failed, cut.last);
    if (lost > deaths * beginning->block)
        fail_msg("%s: %" PRIu64 " items are lost by %u deaths, after %s", beginning->name, lost, deaths, cut.last);
}

/* ---- Tests ----------------------------------------------------------------------------------------------------------- */

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

static void once_death_at_any_point_runs_nothing_twice(void **state)
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
            expect_right(&beginnings[b], 1);
        }
    print_message("%u deaths\n", n);
    assert_true(n > 500);
}

/* Both are dead before either is swept, in both orders. */
static void once_two_deaths_at_any_points_run_nothing_twice(void **state)
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
                expect_right(&beginnings[b], 2);
            }
    print_message("%u pairs of deaths\n", n);
    assert_true(n > 1000);
}

/* The same lane dies again and again, each time in the next point of its next life. */
static void once_deaths_without_end_settle_every_item(void **state)
{
    (void)state;
    for (unsigned b = 0; b < N_BEGINNINGS; b++)
        for (unsigned every = 24; every < 60; every++) {
            begin(&beginnings[b]);
            for (int lives = 0; die(1, every); lives++) {
                assert_true(lives < 1000);
                sweep_arena(1);
            }
            finish_by(0);
            expect_right(&beginnings[b], (unsigned)beginnings[b].n);
        }
}

/* Before the first block is named, between two of them, and behind the last nothing can be lost. */
static void once_death_between_blocks_loses_no_item(void **state)
{
    (void)state;
    static const char *const harmless[] = {
        "owned", "once-cursor", "grain-counted", "intent", "own-swapped", "released"
    };
    for (unsigned b = 0; b < N_BEGINNINGS; b++)
        for (unsigned at = 1;; at++) {
            begin(&beginnings[b]);
            if (!die(1, at))
                break;
            bool is_harmless = false;
            for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
                is_harmless |= strcmp(cut.last, harmless[i]) == 0;
            sweep_arena(1);
            finish_by(0);
            if (beginnings[b].block == beginnings[b].grain_items) /* a block of one grain is done at once */
                expect_right(&beginnings[b], !is_harmless);
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
        TEST(once_death_at_any_point_runs_nothing_twice),
        TEST(once_death_between_blocks_loses_no_item),
        TEST(once_two_deaths_at_any_points_run_nothing_twice),
        TEST(once_deaths_without_end_settle_every_item),
    };
    return cmocka_run_group_tests_name("sweep_once", tests, NULL, NULL);
}
