/* The arrays of the row var-out, and the check that what is computed is right. */
#ifndef BENCH_PEER_TEXTS_H
#define BENCH_PEER_TEXTS_H

#include "tests/bench/peer.h"
#include "tests/bench/texts.h"

struct texts {
    char *text;
    int64_t *at; /* TEXTS_ITEMS + 1 offsets */
};

static inline uint32_t texts_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* The offsets; returns the bytes of all. */
static inline size_t texts_measure(int64_t *at)
{
    uint64_t state = 42;
    at[0] = 0;
    for (size_t i = 0; i < TEXTS_ITEMS; i++)
        at[i + 1] = at[i] + TEXTS_SHORTEST + texts_random(&state) % (TEXTS_LONGEST - TEXTS_SHORTEST + 1);
    return (size_t)at[TEXTS_ITEMS];
}

static inline void texts_fill(struct texts *t)
{
    uint64_t state = 43;
    for (int64_t k = 0; k < t->at[TEXTS_ITEMS]; k++)
        t->text[k] = (char)(' ' + texts_random(&state) % 95);
}

static inline void texts_check(const struct texts *t, const char *out, const int64_t *at)
{
    char right[TEXTS_LONGEST];
    for (size_t i = 0; i < TEXTS_ITEMS; i++) {
        size_t n = (size_t)(t->at[i + 1] - t->at[i]);
        texts_upper(t->text + t->at[i], n, right);
        if (at[i] != t->at[i] || memcmp(out + at[i], right, n))
            peer_die("string %zu is wrong", i);
    }
    if (at[TEXTS_ITEMS] != t->at[TEXTS_ITEMS])
        peer_die("the last offset is wrong");
}

#endif
