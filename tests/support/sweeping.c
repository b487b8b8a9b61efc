/* Set-up of the sweep's tests; see sweeping.h. The map is in slot 2; its results are 0xa5 until something is stored. */
#include "tests/support/sweeping.h"

#include "shm/run.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

enum { SLOT = 2 };

struct sweeping sweeping;

int sweeping_set_up(void **state)
{
    (void)state;
    sweeping.board = handmade_board(SWEEPING_WORKERS);
    memset(sweeping.dead, 0, sizeof sweeping.dead);
    return 0;
}

int sweeping_tear_down(void **state)
{
    (void)state;
    handmade_free(sweeping.board);
    return 0;
}

void sweeping_open_map(uint64_t n, uint64_t grain_items)
{
    sweeping.map = handmade_map(sweeping.board, SLOT, n, grain_items);
    sweeping.gen = atomic_load(&sweeping.map->gen);
    memset(sweeping.results, 0xa5, sizeof sweeping.results);
}

enum mm_swept sweeping_death_as(uint32_t lane, int status, enum mm_verdict verdict)
{
    struct mm_death death = {
        .lane = lane, .status = status, .verdict = verdict, .verdict_at = sweeping.board->lanes[lane].cursor
    };
    sweeping.dead[lane] = true;
    return mm_sweep(sweeping.board, sweeping.map, sweeping.gen, &death, sweeping.dead, (char *)sweeping.results, NULL);
}

enum mm_swept sweeping_death(uint32_t lane) { return sweeping_death_as(lane, SIGKILL, MM_VERDICT_NONE); }

void sweeping_set_cursor(uint32_t lane, uint64_t item, uint32_t failed, uint32_t attempts)
{
    struct mm_lane *at = &sweeping.board->lanes[lane];
    at->cursor = item;
    at->failed[item & 1] = failed;
    at->failed[~item & 1] = 99;
    at->attempts = attempts | MM_SPARED;
}

void sweeping_mark_done(uint32_t begin, uint32_t end)
{
    for (uint32_t i = begin; i < end; i++)
        mm_grain_commit(sweeping.map, sweeping.gen, i, 0);
}

void sweeping_expect_entry(unsigned index, uint32_t begin, uint32_t end, bool singly)
{
    struct mm_returned *entry = handmade_ready(sweeping.map, index);
    assert_non_null(entry);
    assert_int_equal(entry->begin, begin);
    assert_int_equal(entry->end, end);
    assert_int_equal(entry->singly, singly);
    assert_true(sweeping.map->ready != 0);
}

void sweeping_expect_no_entry(unsigned index) { assert_null(handmade_ready(sweeping.map, index)); }
