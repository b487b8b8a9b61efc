/* Claims against an array of one entry an item: random calls of all kinds, and what the bounds of the structure promise.
 * The seed is printed; MAMUTO_SEED replays it. */
#include "core/claims.h"
#include "core/alloc.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 200, SOURCES = 5, CALLS = 2000, TRIES = 200 };

struct plain {
    uint64_t first, n;
    enum mm_claim_of state[MOST];
    uint32_t source[MOST];
};

static uint64_t chance;

static uint64_t below(uint64_t n)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance % n;
}

static void seed(void)
{
    const char *text = getenv("MAMUTO_SEED");
    uint64_t of = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    print_message("MAMUTO_SEED=%" PRIu64 "\n", of);
    chance = of * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

static uint64_t settled_of(const struct plain *plain)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < plain->n; i++)
        n += plain->state[i] == MM_ITEM_SETTLED;
    return n;
}

/* Looked at from a random item on, to the end: each stretch is of one kind, and the longest that is. */
static void compare(const struct mm_claims *claims, const struct plain *plain)
{
    uint64_t begin = below(plain->n), end = begin + 1 + below(plain->n - begin);
    assert_int_equal(mm_claims_settled(claims), settled_of(plain));
    for (uint64_t at = begin, n; at < end; at += n) {
        enum mm_claim_of state;
        uint32_t source;
        n = mm_claims_look(claims, plain->first + at, end - at, &state, &source);
        assert_in_range(n, 1, end - at);
        for (uint64_t i = at; i < at + n; i++) {
            assert_int_equal(state, plain->state[i]);
            if (state == MM_ITEM_CLAIMED)
                assert_int_equal(source, plain->source[i]);
        }
        if (at + n == end)
            break;
        assert_true(plain->state[at + n] != state || (state == MM_ITEM_CLAIMED && plain->source[at + n] != source));
    }
}

/* The stretch around a random item that is alike, or a part of it. */
static uint64_t stretch(const struct plain *plain, uint64_t at)
{
    uint64_t n = 1;
    while (at + n < plain->n && plain->state[at + n] == plain->state[at] && plain->source[at + n] == plain->source[at])
        n++;
    return 1 + below(n);
}

static void set(struct plain *plain, uint64_t at, uint64_t n, enum mm_claim_of state, uint32_t source)
{
    for (uint64_t i = at; i < at + n; i++) {
        plain->state[i] = state;
        plain->source[i] = source;
    }
}

static void release(struct plain *plain, uint32_t source)
{
    for (uint64_t i = 0; i < plain->n; i++)
        if (plain->state[i] == MM_ITEM_CLAIMED && plain->source[i] == source)
            set(plain, i, 1, MM_ITEM_OPEN, 0);
}

/* One call of both; sometimes without memory, and then nothing may have changed. */
static void change(struct mm_claims *claims, struct plain *plain)
{
    uint64_t at = below(plain->n), n = stretch(plain, at);
    uint32_t source = 1 + (uint32_t)below(SOURCES);
    bool poor = below(4) == 0;
    int code = 0;
    if (poor)
        mm_alloc_fail_at(1);
    if (plain->state[at] == MM_ITEM_OPEN) {
        code = mm_claims_take(claims, plain->first + at, n, source);
        if (!code)
            set(plain, at, n, MM_ITEM_CLAIMED, source);
    } else if (plain->state[at] == MM_ITEM_CLAIMED && below(3)) {
        code = mm_claims_settle(claims, plain->first + at, n, plain->source[at]);
        if (!code)
            set(plain, at, n, MM_ITEM_SETTLED, 0);
    } else if (!below(4)) {
        mm_claims_release(claims, source);
        release(plain, source);
    }
    mm_alloc_fail_at(0);
    if (code)
        assert_true(poor && code == MAMUTO_ENOMEM);
}

static void claims_random_calls_are_as_an_array(void **unused)
{
    (void)unused;
    seed();
    for (int try = 0; try < TRIES; try++) {
        struct plain plain = { .first = below(3) ? below(1000) : UINT64_MAX - 2 * MOST, .n = 1 + below(MOST) };
        struct mm_claims *claims = mm_claims_new(plain.first, plain.n);
        assert_non_null(claims);
        for (int i = 0; i < CALLS / (1 + try % 20) && settled_of(&plain) < plain.n; i++) {
            change(claims, &plain);
            compare(claims, &plain);
        }
        mm_claims_free(claims);
    }
}

static void claims_without_memory_are_not_made(void **unused)
{
    (void)unused;
    for (long n = 1; n <= 2; n++) {
        mm_alloc_fail_at(n);
        assert_null(mm_claims_new(0, 10));
        mm_alloc_fail_at(0);
    }
    mm_claims_free(NULL);
}

static void claims_settled_all_over_are_one_stretch(void **unused)
{
    enum mm_claim_of state;
    uint32_t source;
    struct mm_claims *claims = mm_claims_new(7, 1000);
    (void)unused;
    for (uint64_t i = 0; i < 1000; i++) { /* in an order that merges with either neighbour, or none, or both */
        uint64_t item = 7 + i * 617 % 1000;
        assert_int_equal(mm_claims_take(claims, item, 1, 1 + (uint32_t)(i % 3)), 0);
        assert_int_equal(mm_claims_settle(claims, item, 1, 1 + (uint32_t)(i % 3)), 0);
    }
    assert_int_equal(mm_claims_settled(claims), 1000);
    assert_int_equal(mm_claims_look(claims, 7, 1000, &state, &source), 1000);
    assert_int_equal(state, MM_ITEM_SETTLED);
    mm_claims_free(claims);
}

/* Every second item is somebody's: a hundred thousand intervals. Should each call go through all of them, this would
 * take minutes, not moments. */
static void claims_of_a_hundred_thousand_intervals_are_quick(void **unused)
{
    enum { N = 200000 };
    enum mm_claim_of state;
    uint32_t source;
    struct mm_claims *claims = mm_claims_new(0, N);
    (void)unused;
    for (uint64_t i = 1; i < N; i += 2)
        assert_int_equal(mm_claims_take(claims, i, 1, 1 + (uint32_t)(i / 2 % 2)), 0);
    for (uint64_t i = 0; i < N; i++) {
        assert_int_equal(mm_claims_look(claims, i, N - i, &state, &source), 1);
        assert_int_equal(state, i % 2 ? MM_ITEM_CLAIMED : MM_ITEM_OPEN);
    }
    mm_claims_release(claims, 1);
    assert_int_equal(mm_claims_look(claims, 0, N, &state, &source), 3);
    for (uint64_t i = 3; i < N; i += 4)
        assert_int_equal(mm_claims_settle(claims, i, 1, 2), 0);
    assert_int_equal(mm_claims_settled(claims), N / 4);
    mm_claims_free(claims);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(claims_random_calls_are_as_an_array),
                                        cmocka_unit_test(claims_without_memory_are_not_made),
                                        cmocka_unit_test(claims_settled_all_over_are_one_stretch),
                                        cmocka_unit_test(claims_of_a_hundred_thousand_intervals_are_quick) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
