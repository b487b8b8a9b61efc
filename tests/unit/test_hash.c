/* The hash of cache keys: pinned values, splitting, avalanche, and no collision in a crowd of short strings.
 * Random parts print their seed; MAMUTO_SEED replays one. */
#include "core/hash.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static uint64_t random_state;

static uint64_t next_random(void) /* xorshift64* */
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1d;
}

static void seed_random(const char *test)
{
    const char *given = getenv("MAMUTO_SEED");
    random_state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761u + 1;
    print_message("%s: MAMUTO_SEED=%" PRIu64 "\n", test, random_state);
    random_state += !random_state;
}

static void fill_random(unsigned char *p, size_t n)
{
    for (size_t k = 0; k < n; k++)
        p[k] = (unsigned char)(next_random() >> 56);
}

static void hash_of(const void *data, size_t bytes, char hex[33])
{
    struct mm_hash hash;
    mm_hash_init(&hash);
    mm_hash_add(&hash, data, bytes);
    mm_hash_hex(&hash, hex);
}

/* These must never change: they are in the names of files that are cached on the users' machines. */
static void hash_of_known_bytes_is_pinned(void **state)
{
    (void)state;
    char hex[33];
    unsigned char bytes[256];
    for (unsigned k = 0; k < sizeof bytes; k++)
        bytes[k] = (unsigned char)k;
    hash_of("", 0, hex);
    assert_string_equal(hex, "3d7d7ef3f25c5aad24adbb730882d45f");
    hash_of("a", 1, hex);
    assert_string_equal(hex, "d142c0a3ac54d4bdda59594b56427a78");
    hash_of("0123456789abcdef", 16, hex);
    assert_string_equal(hex, "2f7f67d6e99eabec7c8d37e4ac5d6de0");
    hash_of(bytes, 255, hex);
    assert_string_equal(hex, "388dacf262c3a6f8664aa150ce7937a4");
    hash_of(bytes, 256, hex);
    assert_string_equal(hex, "413d7e1a36b4e2c54dc775f3b616bb3b");
}

static void hash_hex_is_32_lowercase_digits(void **state)
{
    (void)state;
    char hex[34];
    memset(hex, '!', sizeof hex);
    hash_of("abc", 3, hex);
    assert_int_equal(strspn(hex, "0123456789abcdef"), 32);
    assert_int_equal(hex[32], '\0');
    assert_int_equal(hex[33], '!');
}

static void hash_split_anyhow_is_the_same(void **state)
{
    (void)state;
    seed_random("hash_split_anyhow_is_the_same");
    unsigned char data[200];
    char whole[33], parts[33];
    fill_random(data, sizeof data);
    for (int round = 0; round < 5000; round++) {
        size_t bytes = (size_t)(next_random() % (sizeof data + 1)), at = 0;
        struct mm_hash hash;
        mm_hash_init(&hash);
        while (at < bytes) { /* parts of 0 bytes are among them */
            size_t part = (size_t)(next_random() % 40);
            part = part < bytes - at ? part : bytes - at;
            mm_hash_add(&hash, data + at, part);
            at += part;
        }
        hash_of(data, bytes, whole);
        mm_hash_hex(&hash, parts);
        assert_string_equal(parts, whole);
    }
}

static void hash_byte_by_byte_with_hex_between_is_the_same(void **state)
{
    (void)state;
    char whole[33], so_far[33];
    const char *text = "hex() looks at the hash, and does not change what comes of it";
    struct mm_hash hash;
    mm_hash_init(&hash);
    for (size_t n = 0; n < strlen(text); n++) {
        hash_of(text, n, whole);
        mm_hash_hex(&hash, so_far);
        assert_string_equal(so_far, whole);
        mm_hash_add(&hash, text + n, 1);
        mm_hash_add(&hash, NULL, 0);
    }
}

static void hash_of_texts_tells_their_ends_apart(void **state)
{
    (void)state;
    static const char *const lists[][3] = {
        { "a", "bc", "" }, { "ab", "c", "" }, { "", "abc", "" }, { "abc", "", "" }
    };
    char hex[4][33];
    for (int k = 0; k < 4; k++) {
        struct mm_hash hash;
        mm_hash_init(&hash);
        for (int j = 0; j < 3; j++)
            mm_hash_add_text(&hash, lists[k][j]);
        mm_hash_hex(&hash, hex[k]);
        for (int j = 0; j < k; j++)
            assert_string_not_equal(hex[k], hex[j]);
    }
}

static void hash_of_zeros_depends_on_how_many(void **state)
{
    (void)state;
    static const unsigned char zeros[100];
    char hex[101][33];
    for (size_t n = 0; n <= 100; n++) {
        hash_of(zeros, n, hex[n]);
        for (size_t j = 0; j < n; j++)
            assert_string_not_equal(hex[n], hex[j]);
    }
}

static void to_words(const char *hex, uint64_t words[2])
{
    for (size_t half = 0; half < 2; half++) {
        char digits[17] = "";
        memcpy(digits, hex + 16 * half, 16);
        words[half] = strtoull(digits, NULL, 16);
    }
}

enum { AVALANCHE_BYTES = 48, AVALANCHE_ROUNDS = 100 };

/* Flips each bit of random inputs, and counts for each input bit how many output bits flip (of 128, 64 is ideal; over
 * 100 rounds the mean's deviation is 0.57), and for each output bit how often it flips. */
static void count_flips(double mean[AVALANCHE_BYTES * 8], double rate[128])
{
    for (int round = 0; round < AVALANCHE_ROUNDS; round++) {
        unsigned char data[AVALANCHE_BYTES];
        char hex[33];
        uint64_t before[2], after[2];
        fill_random(data, sizeof data);
        hash_of(data, sizeof data, hex);
        to_words(hex, before);
        for (int bit = 0; bit < AVALANCHE_BYTES * 8; bit++) {
            data[bit / 8] ^= (unsigned char)(1 << bit % 8);
            hash_of(data, sizeof data, hex);
            data[bit / 8] ^= (unsigned char)(1 << bit % 8);
            to_words(hex, after);
            for (int out = 0; out < 128; out++) {
                bool flipped = (before[out / 64] ^ after[out / 64]) >> out % 64 & 1;
                mean[bit] += flipped / (double)AVALANCHE_ROUNDS;
                rate[out] += flipped / (AVALANCHE_ROUNDS * AVALANCHE_BYTES * 8.0);
            }
        }
    }
}

static void hash_of_one_flipped_bit_flips_half_of_the_result(void **state)
{
    (void)state;
    seed_random("hash_of_one_flipped_bit_flips_half_of_the_result");
    static double mean[AVALANCHE_BYTES * 8], rate[128];
    count_flips(mean, rate);
    for (int bit = 0; bit < AVALANCHE_BYTES * 8; bit++)
        assert_true(mean[bit] > 60 && mean[bit] < 68); /* 7 deviations */
    for (int out = 0; out < 128; out++)
        assert_true(rate[out] > 0.48 && rate[out] < 0.52); /* 8 deviations */
}

static int compare(const void *a, const void *b) { return memcmp(a, b, sizeof(uint64_t)); }

enum { N_STRINGS = 100000 };

/* No two of 10^5 short strings share either half: by chance one pair in 3.7 * 10^9 runs would. */
static void hash_of_many_short_strings_has_no_collision(void **state)
{
    (void)state;
    static uint64_t halves[2][N_STRINGS];
    for (int k = 0; k < N_STRINGS; k++) {
        char text[32], hex[33];
        uint64_t words[2];
        int n = snprintf(text, sizeof text, k % 2 ? "%d" : "-O%d.c", k);
        hash_of(text, (size_t)n, hex);
        to_words(hex, words);
        halves[0][k] = words[0];
        halves[1][k] = words[1];
    }
    for (int half = 0; half < 2; half++) {
        qsort(halves[half], N_STRINGS, sizeof(uint64_t), compare);
        for (int k = 1; k < N_STRINGS; k++)
            assert_true(halves[half][k] != halves[half][k - 1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_of_known_bytes_is_pinned),
        cmocka_unit_test(hash_hex_is_32_lowercase_digits),
        cmocka_unit_test(hash_split_anyhow_is_the_same),
        cmocka_unit_test(hash_byte_by_byte_with_hex_between_is_the_same),
        cmocka_unit_test(hash_of_texts_tells_their_ends_apart),
        cmocka_unit_test(hash_of_zeros_depends_on_how_many),
        cmocka_unit_test(hash_of_one_flipped_bit_flips_half_of_the_result),
        cmocka_unit_test(hash_of_many_short_strings_has_no_collision),
    };
    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
