/* Boards for unit tests: every field is set as the master would, but by hand, so that a test can put it into any state. */
#include "tests/support/handmade.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>

#include <cmocka.h>

struct mm_board *handmade_board(uint32_t n_workers)
{
    void *p = mmap(NULL, sizeof(struct mm_board), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0); /* large and sparse, and aligned to pages */
    assert_true(p != MAP_FAILED);
    struct mm_board *board = p;
    board->n_workers = n_workers;
    board->ticks_per_us = 1000;
    board->spin_max = 1;
    atomic_store(&board->caller_cpu, -1);
    for (uint32_t i = 0; i <= n_workers; i++)
        atomic_store(&board->lanes[i].cpu, -1);
    return board;
}

void handmade_free(struct mm_board *board) { assert_int_equal(munmap(board, sizeof *board), 0); }

struct mm_board_map *handmade_map(struct mm_board *board, unsigned slot, uint64_t n, uint64_t grain_items)
{
    struct mm_board_map *map = &board->maps[slot];
    uint64_t gen = ((atomic_load(&map->gen) >> 6) + 1) << 6 | slot;
    map->first = 0;
    map->n = n;
    map->grain_items = grain_items;
    map->n_grains = (uint32_t)((n + grain_items - 1) / grain_items);
    map->n_lanes = board->n_workers + 1;
    map->chunk_cap_us = 1000;
    map->retries = 0;
    map->flags = 0;
    map->out = (struct mm_board_arg){ .where = MM_WHERE_ARENA, .stride = 8, .size = 8, .len = 1 };
    atomic_store(&map->n_done, 0);
    atomic_store(&map->stop, 0);
    atomic_store(&map->ready, 0);
    atomic_store(&map->n_records, 0);
    for (uint32_t i = 0; i < map->n_lanes; i++)
        atomic_store(&mm_map_words(map)[i], 0);
    for (uint32_t i = 0; mm_map_is_small(map) && i < map->n_grains; i++)
        atomic_store(&mm_map_done(map)[i], 0);
    for (unsigned i = 0; i < MM_MAX_RETURNED; i++)
        atomic_store(&map->returned[i].state, atomic_load(&map->returned[i].state) >> 16 << 16);
    atomic_store(&map->gen, gen);
    atomic_fetch_or(&board->active, UINT64_C(1) << slot);
    return map;
}

void handmade_word(struct mm_board_map *map, uint32_t lane, uint32_t begin, uint32_t end)
{
    atomic_store(&mm_map_words(map)[lane], mm_word_pack(atomic_load(&map->gen), begin, end));
}

void handmade_claim(struct mm_board *board, uint32_t lane, const struct mm_board_map *map, enum mm_claim_state state,
                    bool singly, uint32_t begin, uint32_t end)
{
    atomic_store(&board->lanes[lane].in, atomic_load(&map->gen));
    atomic_store(&board->lanes[lane].claim, mm_claim_pack(state, singly, (unsigned)(map - board->maps), begin, end));
}

bool handmade_is_done(struct mm_board_map *map, uint32_t grain)
{
    return atomic_load(&mm_map_done(map)[grain]) >> 32 == mm_map_tag(atomic_load(&map->gen));
}

struct mm_returned *handmade_ready(struct mm_board_map *map, unsigned index)
{
    for (unsigned i = 0; i < MM_MAX_RETURNED; i++)
        if ((atomic_load(&map->returned[i].state) & 0xff) == MM_ENTRY_READY && index-- == 0)
            return &map->returned[i];
    return NULL;
}
