/* The built-in functions that gather what was emitted, on a board map and an arena made by hand: right, and where the
 * numbers that they follow are damaged, as a function's stray write may leave them. */
#include "shm/gather.h"

#include "core/varlen.h"
#include "shm/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ITEMS = 6, GROUP = 2, GROUPS = ITEMS / GROUP, PART = 64, RESULT = 128, AROUND = 64 };

static struct {
    char part[PART];
    mm_varlen_record records[ITEMS];
    uint64_t before[GROUPS + 1], ran[GROUPS];
    _Alignas(8) char arena[AROUND + RESULT + AROUND];
    struct mm_board_map *map;
    struct mm_runner *runner;
    struct mm_view view;
} it;

static int set_up(void **state)
{
    (void)state;
    memset(&it, 0, sizeof it);
    it.map = aligned_alloc(_Alignof(struct mm_board_map), sizeof *it.map);
    it.runner = calloc(1, sizeof *it.runner);
    assert_non_null(it.map);
    memset(it.map, 0, sizeof *it.map);
    memset(it.arena, 7, sizeof it.arena);
    for (int i = 0; i < PART; i++)
        it.part[i] = (char)('a' + i % 26);
    for (uint64_t i = 0; i < ITEMS; i++) /* backwards, three bytes each */
        it.records[i] = mm_varlen_pack(3 * (ITEMS - 1 - i), 3);
    for (uint64_t g = 0; g <= GROUPS; g++)
        it.before[g] = 3 * GROUP * g;
    it.map->group = GROUP;
    it.map->emitted_items = ITEMS;
    it.map->element = 1;
    it.map->offsets_at = 64;
    it.map->in[4].offset = AROUND;
    it.map->in[4].size = RESULT;
    it.view.arena_write = it.arena;
    *it.runner = (struct mm_runner){ .map = it.map, .view = &it.view };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(it.map);
    free(it.runner);
    return 0;
}

static void gather(uint64_t group)
{
    mamuto_chunk_t chunk = { .first = group, .count = 1, .out = (char *)&it.ran[group], .host = it.runner };
    chunk.in[0] = (mamuto_chunk_in_t){ .data = (const char *)it.records, .size = sizeof it.records };
    chunk.in[1] = (mamuto_chunk_in_t){ .data = it.part, .size = sizeof it.part };
    chunk.in[2] = (mamuto_chunk_in_t){ .data = it.part };
    chunk.in[3] = (mamuto_chunk_in_t){ .data = (const char *)it.before, .size = sizeof it.before };
    mm_gather_function(MM_OP_GATHER)(&chunk);
}

static void gather_of_all_groups_is_in_the_order_of_the_items(void **state)
{
    (void)state;
    for (uint64_t g = 0; g < GROUPS; g++)
        gather(g);
    assert_false(mm_map_stopped(it.map));
    assert_memory_equal(it.arena + AROUND, "pqrmnojklghidefabc", 3 * ITEMS);
    for (int i = 0; i <= ITEMS; i++) {
        int64_t offset;
        memcpy(&offset, it.arena + AROUND + 64 + 8 * i, sizeof offset);
        assert_int_equal(offset, 3 * i);
    }
    assert_int_equal(it.arena[AROUND + 3 * ITEMS], 7);
}

static void is_damaged(uint64_t group)
{
    char before[sizeof it.arena];
    memcpy(before, it.arena, sizeof before);
    gather(group);
    assert_true(mm_map_stopped(it.map));
    assert_int_equal(it.map->ended[0].code, MAMUTO_EPROTOCOL);
    assert_memory_equal(it.arena, before, sizeof before);
}

static void gather_to_a_place_that_is_damaged_is_refused(void **state)
{
    (void)state;
    static const uint64_t wrong[][2] = { /* before its bytes, and behind them */
                                         { UINT64_MAX - 1, 12 },
                                         { UINT64_MAX - 5, 0 },
                                         { 6, 5 },
                                         { 62, 68 },
                                         { (uint64_t)-AROUND, (uint64_t)-AROUND + 6 },
                                         { UINT64_C(1) << 40, (UINT64_C(1) << 40) + 6 }
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        tear_down(state);
        set_up(state);
        memcpy(it.before + 1, wrong[i], sizeof wrong[i]);
        is_damaged(1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gather_of_all_groups_is_in_the_order_of_the_items, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gather_to_a_place_that_is_damaged_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
