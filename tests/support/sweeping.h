/* What the tests of the sweep share: a board that is built by hand, one map on it, lanes that die in it. */
#ifndef MM_TESTS_SUPPORT_SWEEPING_H
#define MM_TESTS_SUPPORT_SWEEPING_H

#include "shm/sweep.h"
#include "tests/support/handmade.h"

enum { SWEEPING_WORKERS = 3, SWEEPING_ITEMS = 256 };

/* Of the test that runs. */
extern struct sweeping {
    struct mm_board *board;
    struct mm_board_map *map;
    uint64_t gen, results[SWEEPING_ITEMS];
    bool dead[MM_MAX_LANES];
} sweeping;

int sweeping_set_up(void **state);
int sweeping_tear_down(void **state);
#define SWEEPING_TEST(name_) cmocka_unit_test_setup_teardown(name_, sweeping_set_up, sweeping_tear_down)

void sweeping_open_map(uint64_t n, uint64_t grain_items);
/* The lane dies, and is swept: of a kill from outside, or of this; a verdict is on the item at the cursor. */
enum mm_swept sweeping_death(uint32_t lane);
enum mm_swept sweeping_death_as(uint32_t lane, int status, enum mm_verdict verdict);
/* It runs this item, singly, and a worker died of its range before. */
void sweeping_set_cursor(uint32_t lane, uint64_t item, uint32_t failed, uint32_t attempts);
void sweeping_mark_done(uint32_t begin, uint32_t end);
/* The index-th returned range is this one; there is none. */
void sweeping_expect_entry(unsigned index, uint32_t begin, uint32_t end, bool singly);
void sweeping_expect_no_entry(unsigned index);

#endif
