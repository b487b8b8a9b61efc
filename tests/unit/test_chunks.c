/* Sizes of grains, parts and chunks: what must hold for every size and cost, at random and at the extremes. */
#include "shm/chunks.h"

#include "core/mamuto.h"
#include "shm/board.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const double TICKS_PER_US = 2100;
static uint64_t seed, random_state;

static uint64_t draw(void)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = random_state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t up_to(unsigned bits) { return draw() >> (63 - draw() % bits); } /* every magnitude equally often */

/* What holds for every cut. */
static void check_cut(uint64_t n, double item_ticks, size_t out_size, uint32_t lanes)
{
    struct mm_cut cut = mm_cut_map(n, item_ticks, TICKS_PER_US, out_size, lanes, 10);
    bool covers = cut.grain_items >= 1 && cut.n_grains >= 1 && (cut.n_grains - 1) * cut.grain_items < n &&
                  cut.n_grains * cut.grain_items >= n;
    bool bounded =
        cut.n_grains <= MM_MAX_GRAINS && cut.n_parts >= 1 && cut.n_parts <= lanes && cut.n_parts <= cut.n_grains;
    bool aligned = cut.grain_items == 1 || !out_size || cut.grain_items % MM_LINE == 0 ||
                   cut.grain_items * out_size % MM_LINE == 0;
    bool worth =
        item_ticks <= 0 || cut.n_grains == 1 || (double)(cut.grain_items + 1) * item_ticks >= 0.25 * TICKS_PER_US;
    if (!covers || !bounded || !aligned || !worth)
        fail_msg("n %" PRIu64 " ticks %g size %zu lanes %u: %u grains of %" PRIu64 ", %u parts (MAMUTO_SEED=%" PRIu64
                 ")",
                 n, item_ticks, out_size, lanes, cut.n_grains, cut.grain_items, cut.n_parts, seed);
}

static void cut_of_any_map_covers_it(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        uint64_t n = 1 + up_to(47);
        double ticks = draw() % 3 ? (double)up_to(40) / 1000 : 0;
        check_cut(n, ticks, up_to(16), 1 + (uint32_t)(draw() % MM_MAX_LANES));
    }
}

static void cut_at_the_extremes_covers_it(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {
        1, 2, MM_MAX_GRAINS - 1, MM_MAX_GRAINS, MM_MAX_GRAINS + 1, 2 * MM_MAX_GRAINS + 1, MAMUTO_MAX_ITEMS - 1
    };
    static const double costs[] = { 0, 1e-300, 1e-3, 1, 525, 1e9, 1e300 };
    static const size_t outs[] = { 0, 1, 3, 8, 24, 63, 64, 65, 4096, (size_t)1 << 40 };
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (unsigned c = 0; c < sizeof costs / sizeof *costs; c++)
            for (unsigned o = 0; o < sizeof outs / sizeof *outs; o++)
                for (uint32_t lanes = 1; lanes <= MM_MAX_LANES; lanes += 85)
                    check_cut(sizes[i], costs[c], outs[o], lanes);
}

static void cut_of_unknown_cost_has_a_part_for_each_lane(void **state)
{
    (void)state;
    struct mm_cut cut = mm_cut_map(1000, 0, TICKS_PER_US, 8, 4, 10);
    assert_int_equal(cut.n_parts, 4);
    assert_int_equal(cut.grain_items, 1);
    assert_int_equal(cut.n_grains, 1000);
    assert_int_equal(mm_cut_map(3, 0, TICKS_PER_US, 8, 4, 10).n_parts, 3);
}

static void cut_of_little_work_has_few_parts(void **state)
{
    (void)state;
    assert_int_equal(mm_cut_map(1000, TICKS_PER_US / 100, TICKS_PER_US, 8, 4, 10).n_parts, 1); /* 10 µs in all */
    assert_int_equal(mm_cut_map(1000, TICKS_PER_US / 40, TICKS_PER_US, 8, 4, 10).n_parts, 2);
    assert_int_equal(mm_cut_map(1000, TICKS_PER_US, TICKS_PER_US, 8, 4, 10).n_parts, 4);
}

static void cut_of_cheap_items_has_grains_of_a_quarter_microsecond(void **state)
{
    (void)state;
    struct mm_cut cut = mm_cut_map(1000000, TICKS_PER_US / 1000, TICKS_PER_US, 8, 4, 10); /* 1 ns an item */
    assert_true(cut.grain_items >= 250 && cut.grain_items <= 256);
    assert_int_equal(cut.grain_items * 8 % MM_LINE, 0);
}

static void check_chunk(const struct mm_pace *pace, uint32_t left, uint64_t grain_items, uint32_t cap_us)
{
    uint32_t take = mm_chunk_grains(pace, left, grain_items, TICKS_PER_US, cap_us);
    double grain_us = pace->item_ticks * (double)grain_items / TICKS_PER_US, us = grain_us * take;
    bool known = pace->item_ticks > 0;
    bool in_range = take >= 1 && take <= left;
    bool halves = take == 1 || take <= (left + 1) / 2 || (known && us <= 10.001);
    bool capped = !known || take == 1 || us <= cap_us * 1.001;
    bool enough = !known || take == left || us + grain_us >= (cap_us < 10 ? cap_us : 10) * 0.999;
    if (!in_range || !halves || !capped || !enough)
        fail_msg("%u of %u grains of %" PRIu64 " items, %g ticks each, cap %u us (MAMUTO_SEED=%" PRIu64 ")", take, left,
                 grain_items, pace->item_ticks, cap_us, seed);
}

static void chunk_of_any_map_is_within_its_bounds(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        struct mm_pace pace = { .item_ticks = draw() % 3 ? (double)up_to(40) / 100 : 0, .probe = (uint32_t)up_to(32) };
        check_chunk(&pace, 1 + (uint32_t)up_to(18), 1 + up_to(30), draw() % 2 ? 1000 : 1 + (uint32_t)up_to(12));
    }
}

static void chunk_at_the_extremes_is_within_its_bounds(void **state)
{
    (void)state;
    static const double costs[] = { 0, 1e-300, 1e-9, 1, 1e12, 1e300 };
    static const uint32_t lefts[] = { 1, 2, 3, MM_MAX_GRAINS };
    for (unsigned c = 0; c < sizeof costs / sizeof *costs; c++)
        for (unsigned l = 0; l < sizeof lefts / sizeof *lefts; l++)
            for (int big = 0; big < 2; big++) {
                struct mm_pace pace = { .item_ticks = costs[c], .probe = big ? UINT32_MAX : 0 };
                uint32_t take =
                    mm_chunk_grains(&pace, lefts[l], big ? MAMUTO_MAX_ITEMS / MM_MAX_GRAINS : 1, TICKS_PER_US, 1000);
                assert_true(take >= 1 && take <= lefts[l]);
            }
}

static void chunk_of_unknown_cost_grows_by_two(void **state)
{
    (void)state;
    struct mm_pace pace = { 0 };
    for (uint32_t want = 1; want <= 64; want *= 2) {
        assert_int_equal(mm_chunk_grains(&pace, 1000, 1, TICKS_PER_US, 1000), want);
        mm_pace_learn(&pace, want, 100, TICKS_PER_US); /* far too little to tell */
        assert_true(pace.item_ticks <= 0);
    }
    assert_int_equal(mm_chunk_grains(&pace, 10, 1, TICKS_PER_US, 1000), 5);
    assert_int_equal(mm_chunk_grains(&pace, 1, 1, TICKS_PER_US, 1000), 1);
}

static void pace_learns_from_two_microseconds_on(void **state)
{
    (void)state;
    struct mm_pace pace = { 0 };
    mm_pace_learn(&pace, 100, (uint64_t)(2 * TICKS_PER_US), TICKS_PER_US);
    assert_true(pace.item_ticks > 41.9 && pace.item_ticks < 42.1);
    mm_pace_learn(&pace, 10, 0, TICKS_PER_US); /* a clock that stands still: never 0, which would be "not known" */
    assert_true(pace.item_ticks > 0);
}

static int set_up(void **state)
{
    (void)state;
    const char *text = getenv("MAMUTO_SEED");
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", seed);
    random_state = seed;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_of_any_map_covers_it),
        cmocka_unit_test(cut_at_the_extremes_covers_it),
        cmocka_unit_test(cut_of_unknown_cost_has_a_part_for_each_lane),
        cmocka_unit_test(cut_of_little_work_has_few_parts),
        cmocka_unit_test(cut_of_cheap_items_has_grains_of_a_quarter_microsecond),
        cmocka_unit_test(chunk_of_any_map_is_within_its_bounds),
        cmocka_unit_test(chunk_at_the_extremes_is_within_its_bounds),
        cmocka_unit_test(chunk_of_unknown_cost_grows_by_two),
        cmocka_unit_test(pace_learns_from_two_microseconds_on),
    };
    return cmocka_run_group_tests_name("chunks", tests, set_up, NULL);
}
