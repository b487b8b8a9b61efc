/* The random numbers of mamuto.h: Random123's known answers for philox4x32 with 10 rounds, the stream that is made of it,
 * and that it looks random in the plainest ways. The bounds are five standard deviations and the numbers are always the
 * same, so nothing here can fail by chance. */
#include "core/mamuto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>

static const struct {
    uint32_t counter[4], key[2], out[4];
} known[] = {
    { { 0 }, { 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
    { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
      { 0xffffffff, 0xffffffff },
      { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
    { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
      { 0xa4093822, 0x299f31d0 },
      { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
};

static void random_philox_gives_the_known_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        mamuto_philox(known[i].key, known[i].counter, out);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
}

/* Seed, item and block are the key and the halves of the counter of the third known answer. */
static void random_stream_is_philox_of_seed_item_and_block(void **state)
{
    (void)state;
    mamuto_rng_t r = mamuto_rng(UINT64_C(0x299f31d0a4093822), UINT64_C(0x0370734413198a2e));
    r.counter[0] = 0x243f6a88;
    r.counter[1] = 0x85a308d3;
    assert_true(mamuto_random(&r) == UINT64_C(0x94fdccebd16cfe09));
    assert_true(mamuto_random(&r) == UINT64_C(0x24126ea15001e420));
    r = mamuto_rng(0, 0);
    assert_int_equal(mamuto_random32(&r), 0x6627e8d5);
    assert_int_equal(mamuto_random32(&r), 0xe169c58d);
}

static void random_stream_goes_on_beyond_2_to_the_32_blocks(void **state)
{
    (void)state;
    mamuto_rng_t r = mamuto_rng(1, 2);
    uint32_t counter[4] = { 0, 1, 2, 0 }, out[4];
    r.counter[0] = UINT32_MAX;
    mamuto_random(&r);
    mamuto_random(&r);
    mamuto_philox(r.key, counter, out);
    assert_int_equal(mamuto_random32(&r), out[0]);
}

static void random_streams_of_other_seeds_or_items_differ(void **state)
{
    (void)state;
    enum { N = 1000 };
    static uint64_t first[2 * N];
    for (uint64_t i = 0; i < N; i++) {
        mamuto_rng_t by_item = mamuto_rng(0, i), by_seed = mamuto_rng(i + 1, 0);
        first[i] = mamuto_random(&by_item);
        first[N + i] = mamuto_random(&by_seed);
    }
    for (int i = 0; i < 2 * N; i++)
        for (int j = 0; j < i; j++)
            assert_true(first[i] != first[j]);
    mamuto_rng_t high = mamuto_rng(UINT64_C(1) << 32, 0), far = mamuto_rng(0, UINT64_C(1) << 32);
    assert_true(mamuto_random(&high) != first[0] && mamuto_random(&far) != first[0]);
}

static void random_uniform_is_in_0_to_1_with_53_bits(void **state)
{
    (void)state;
    mamuto_rng_t r = mamuto_rng(0, 0);
    r.left = 2; /* the next words are given */
    r.word[2] = r.word[3] = UINT32_MAX;
    assert_true(mamuto_uniform(&r) == 1 - 0x1p-53);
    r.left = 2;
    r.word[2] = r.word[3] = 0;
    assert_true(mamuto_uniform(&r) == 0);
    r.left = 2;
    r.word[2] = 1 << 11;
    assert_true(mamuto_uniform(&r) == 0x1p-53);
}

/* Mean, variance, bins and neighbours of a million, within one stream and across items. */
static void check_uniform(bool across)
{
    enum { N = 1000000, BINS = 100 };
    static unsigned bins[BINS];
    double sum = 0, squares = 0, products = 0, last = 0.5, chi = 0, expected = (double)N / BINS;
    mamuto_rng_t r = mamuto_rng(42, 7);
    memset(bins, 0, sizeof bins);
    for (uint64_t i = 0; i < N; i++) {
        if (across)
            r = mamuto_rng(42, i);
        double u = mamuto_uniform(&r);
        assert_true(u >= 0 && u < 1);
        sum += u - 0.5;
        squares += (u - 0.5) * (u - 0.5);
        products += (u - 0.5) * (last - 0.5);
        bins[(int)(u * BINS)]++;
        last = u;
    }
    for (int i = 0; i < BINS; i++)
        chi += (bins[i] - expected) * (bins[i] - expected) / expected;
    assert_true(sum > -5 * 288.7 && sum < 5 * 288.7);                             /* sqrt(N / 12) */
    assert_true(squares - N / 12.0 > -5 * 74.6 && squares - N / 12.0 < 5 * 74.6); /* sqrt(N / 180) */
    assert_true(products > -5 * 83.4 && products < 5 * 83.4);                     /* sqrt(N) / 12 */
    assert_true(chi > 99 - 5 * 14.1 && chi < 99 + 5 * 14.1);                      /* sqrt(2 * 99) */
}

static void random_stream_is_uniform(void **state)
{
    (void)state;
    check_uniform(false);
}

static void random_first_numbers_of_items_are_uniform(void **state)
{
    (void)state;
    check_uniform(true);
}

static void random_bits_are_ones_half_of_the_time(void **state)
{
    (void)state;
    enum { N = 100000 };
    unsigned ones[64] = { 0 };
    mamuto_rng_t r = mamuto_rng(3, 1);
    for (int i = 0; i < N; i++) {
        uint64_t word = mamuto_random(&r);
        for (int b = 0; b < 64; b++)
            ones[b] += (unsigned)(word >> b & 1);
    }
    for (int b = 0; b < 64; b++)
        assert_true(ones[b] > N / 2 - 5 * 158 && ones[b] < N / 2 + 5 * 158); /* sqrt(N) / 2 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_philox_gives_the_known_answers),
        cmocka_unit_test(random_stream_is_philox_of_seed_item_and_block),
        cmocka_unit_test(random_stream_goes_on_beyond_2_to_the_32_blocks),
        cmocka_unit_test(random_streams_of_other_seeds_or_items_differ),
        cmocka_unit_test(random_uniform_is_in_0_to_1_with_53_bits),
        cmocka_unit_test(random_stream_is_uniform),
        cmocka_unit_test(random_first_numbers_of_items_are_uniform),
        cmocka_unit_test(random_bits_are_ones_half_of_the_time),
    };
    return cmocka_run_group_tests_name("unit_random", tests, NULL, NULL);
}
