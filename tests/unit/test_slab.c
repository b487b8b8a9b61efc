/* Emitting without processes: lanes that take turns, as they come, on the parts of one map; what their records stand
 * for is gathered and compared with what was emitted, at random and in the corners. */
#include "core/varlen.h"
#include "shm/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { ITEMS = 300, LANES = 3, ARENA = 80 << 20, WANT = 1 << 20 };

static char *arena, *result;
static struct mm_board_map *map;
static struct mm_runner runners[LANES];
static struct mm_view view;
static union {
    mm_varlen_record records[ITEMS];
    char bytes[ITEMS * sizeof(mm_varlen_record)];
} out;
static uint8_t *want[ITEMS];
static size_t length[ITEMS];
static int failures;
static uint64_t generation;

static void on_fail(mamuto_chunk_t *chunk, size_t i, int code, const char *text)
{
    (void)chunk, (void)i, (void)text;
    assert_int_equal(code, MAMUTO_ENOMEM);
    failures++;
}

/* A map whose elements have so many bytes, with parts of so many. */
static void set_map(size_t element, uint64_t bytes, uint64_t more, uint64_t slab)
{
    generation += 1 << 6;
    map->flags = MM_MAP_EMITS;
    map->element = element;
    for (int i = 0; i < 2; i++) {
        map->parts[i].offset = i ? bytes : 0;
        map->parts[i].bytes = i ? more : bytes;
        map->parts[i].slab = slab;
        map->parts[i].used = 0;
    }
    view.arena_write = arena;
    memset(out.bytes, 0xee, sizeof out.bytes);
    memset(length, 0, sizeof length);
    failures = 0;
    for (int i = 0; i < LANES; i++) {
        runners[i].map = map;
        runners[i].gen = generation;
        runners[i].view = &view;
        runners[i].base.out = out.bytes;
    }
}

static mamuto_chunk_t chunk_of(struct mm_runner *runner, uint64_t begin, uint64_t end)
{
    mm_slab_begin(runner, begin, end);
    return (mamuto_chunk_t){ .first = begin,
                             .count = (size_t)(end - begin),
                             .out_size = (size_t)map->element,
                             .fail = on_fail,
                             .host = runner };
}

static unsigned random_state;
static unsigned next(void)
{
    random_state = random_state * 1103515245u + 12345u;
    return random_state >> 8;
}

static int emit(mamuto_chunk_t *chunk, size_t i, size_t n)
{
    static uint8_t some[WANT];
    size_t bytes = n * chunk->out_size, item = (size_t)chunk->first + i;
    assert_true(bytes <= WANT || n > WANT);
    for (size_t k = 0; k < bytes && k < WANT; k += 64)
        some[k] = (uint8_t)next();
    int code = mm_slab_emit(chunk, i, some, n);
    if (code)
        return code;
    want[item] = realloc(want[item], length[item] + bytes + 1);
    memcpy(want[item] + length[item], some, bytes);
    length[item] += bytes;
    return 0;
}

/* All items' elements are there, in order; nothing lies outside what the counters say. */
static void check(uint64_t n)
{
    uint64_t sum, at = 0, used[2] = { map->parts[0].used, map->parts[1].used };
    static int64_t offsets[ITEMS];
    assert_true(used[0] <= map->parts[0].bytes && used[1] <= map->parts[1].bytes);
    struct mm_varlen_parts parts = { { arena, arena + map->parts[1].offset }, { used[0], used[1] } };
    assert_true(mm_varlen_sum(&parts, out.records, n, &sum));
    assert_true(sum <= ARENA);
    assert_true(mm_varlen_gather(&parts, out.records, n, (size_t)map->element, false, result, offsets, &at, sum));
    at = 0;
    for (uint64_t i = 0; i < n; at += length[i++]) {
        assert_int_equal(offsets[i], at / map->element);
        assert_memory_equal(result + at, want[i], length[i]);
    }
    assert_int_equal(at, sum);
}

static size_t some_elements(void) { return next() % 40 ? next() % 30 : next() % 3000; }

static void slab_at_random_keeps_what_is_emitted(void **state)
{
    (void)state;
    const char *text = getenv("MAMUTO_SEED");
    random_state = text ? (unsigned)strtoul(text, NULL, 10) : (unsigned)time(NULL);
    print_message("MAMUTO_SEED=%u\n", random_state);
    for (int round = 0; round < 300; round++) {
        set_map((size_t)1 << next() % 5, 1 << 20, 60 << 20, round % 2 ? 4096 : 1 << 16);
        for (uint64_t begin = 0, end; begin < ITEMS; begin = end) {
            end = begin + next() % 20 + 1 < ITEMS ? begin + next() % 20 + 1 : ITEMS;
            end = end > ITEMS ? ITEMS : end;
            mamuto_chunk_t chunk = chunk_of(&runners[next() % LANES], begin, end);
            for (size_t i = 0; i < chunk.count; i++)
                for (unsigned k = next() % 6; k; k--)
                    assert_int_equal(emit(&chunk, i, some_elements()), 0);
        }
        check(ITEMS);
    }
}

/* The elements of one that goes on and on pass from slab to slab, and it becomes a long one on its way. */
static void slab_of_items_that_grow_together_keeps_them_apart(void **state)
{
    (void)state;
    set_map(1, 1 << 16, 78 << 20, 4096);
    mamuto_chunk_t a = chunk_of(&runners[0], 0, 1), b = chunk_of(&runners[1], 1, 2);
    for (int k = 0; k < 170; k++) {
        assert_int_equal(emit(&a, 0, 100001), 0);
        assert_int_equal(emit(&b, 0, 1000), 0);
    }
    assert_int_equal(mm_varlen_short(out.records[0]), MM_VARLEN_LONG);
    check(2);
}

static void slab_of_just_long_items_has_their_length(void **state)
{
    (void)state;
    set_map(1, 1 << 16, 78 << 20, 4096);
    mamuto_chunk_t chunk = chunk_of(&runners[0], 0, 4);
    for (size_t i = 0; i < 4; i++) { /* one byte less than a long one; just one; more */
        for (int k = 0; k < 16; k++)
            assert_int_equal(emit(&chunk, i, (1 << 20) - 1), 0);
        assert_int_equal(emit(&chunk, i, 14 + i), 0);
    }
    assert_int_equal(mm_varlen_short(out.records[0]), MM_VARLEN_LONG - 1);
    assert_int_equal(mm_varlen_short(out.records[1]), MM_VARLEN_LONG);
    check(4);
}

static void slab_of_two_items_by_turns_keeps_each_whole(void **state)
{
    (void)state;
    set_map(8, 1 << 20, 1 << 20, 4096);
    mamuto_chunk_t chunk = chunk_of(&runners[0], 0, 2); /* no item form does so, but a chunk might */
    for (int k = 0; k < 60; k++)
        assert_int_equal(emit(&chunk, (size_t)k % 2, 3), 0);
    check(2);
}

static void slab_that_is_undone_is_used_again(void **state)
{
    (void)state;
    set_map(1, 1 << 20, 0, 1 << 16);
    mamuto_chunk_t chunk = chunk_of(&runners[0], 0, 1);
    emit(&chunk, 0, 1000);
    for (int k = 0; k < 5000; k++) { /* 50 MB, if each were kept */
        chunk = chunk_of(&runners[0], 1, 2);
        length[1] = 0;
        assert_int_equal(emit(&chunk, 0, 10000), 0);
        mm_slab_undo(&runners[0]);
    }
    chunk = chunk_of(&runners[0], 1, 2);
    length[1] = 0;
    emit(&chunk, 0, 10);
    assert_int_equal(map->parts[0].used, 1 << 16);
    check(2);
}

static void slab_without_room_fails_the_item_alone(void **state)
{
    (void)state;
    set_map(4, 20000, 30000, 4096);
    mamuto_chunk_t chunk = chunk_of(&runners[0], 0, 3);
    assert_int_equal(emit(&chunk, 0, 4000), 0);
    assert_int_equal(emit(&chunk, 1, 20000), MAMUTO_ENOMEM);
    assert_int_equal(emit(&chunk, 2, SIZE_MAX / 4096), MAMUTO_ENOMEM);
    assert_int_equal(mm_slab_emit(&chunk, 2, NULL, SIZE_MAX), MAMUTO_ENOMEM);
    assert_int_equal(mm_slab_emit(&chunk, 2, NULL, 0), 0);
    assert_int_equal(failures, 3);
    assert_int_equal(emit(&chunk, 2, 6000), 0); /* what there is, still is */
    check(3);
}

int main(void)
{
    arena = malloc(ARENA);
    result = malloc(ARENA);
    map = aligned_alloc(_Alignof(struct mm_board_map), sizeof *map);
    if (!arena || !result || !map)
        return 1;
    memset(map, 0, sizeof *map);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slab_at_random_keeps_what_is_emitted),
        cmocka_unit_test(slab_of_items_that_grow_together_keeps_them_apart),
        cmocka_unit_test(slab_of_just_long_items_has_their_length),
        cmocka_unit_test(slab_of_two_items_by_turns_keeps_each_whole),
        cmocka_unit_test(slab_that_is_undone_is_used_again),
        cmocka_unit_test(slab_without_room_fails_the_item_alone),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 0; i < ITEMS; i++)
        free(want[i]);
    free(map);
    free(result);
    free(arena);
    return failed;
}
