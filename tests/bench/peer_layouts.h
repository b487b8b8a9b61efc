/* The arrays of the rows strided and var-lines, and the check that what is computed is right. */
#ifndef BENCH_PEER_LAYOUTS_H
#define BENCH_PEER_LAYOUTS_H

#include "tests/bench/layouts.h"
#include "tests/bench/peer.h"

struct column {
    double *x, *y;
};

struct lines {
    char *text;
    int64_t *at;
    uint32_t *words;
};

static inline uint32_t layouts_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static inline void column_fill(struct column *c)
{
    uint64_t state = 42;
    for (size_t i = 0; i < (size_t)COLUMN_ITEMS * COLUMN_STEP; i++)
        c->x[i] = (double)layouts_random(&state) / 65536;
}

static inline void column_check(const struct column *c)
{
    for (size_t i = 0; i < COLUMN_ITEMS; i++)
        if (c->y[i] != column_item(c->x[i * COLUMN_STEP]))
            peer_die("item %zu is %.17g", i, c->y[i]);
}

static inline void lines_fill(struct lines *l)
{
    uint64_t state = 42;
    size_t n = 0;
    l->at[0] = 0;
    for (size_t i = 0; i < LINES_ITEMS; i++) {
        size_t length = LINES_MEAN - LINES_SPREAD / 2 + layouts_random(&state) % LINES_SPREAD;
        for (size_t k = 0; k < length && n < LINES_BYTES; k++)
            l->text[n++] = layouts_random(&state) % 6 ? 'x' : ' ';
        l->at[i + 1] = (int64_t)n;
    }
}

static inline void lines_check(const struct lines *l)
{
    for (size_t i = 0; i < LINES_ITEMS; i++)
        if (l->words[i] != lines_words(l->text + l->at[i], (size_t)(l->at[i + 1] - l->at[i])))
            peer_die("line %zu has %u words", i, l->words[i]);
}

#endif
