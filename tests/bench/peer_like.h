/* The arrays of a like peer, and the check that what it computes is right. */
#ifndef BENCH_PEER_LIKE_H
#define BENCH_PEER_LIKE_H

#include <math.h>

#include "tests/bench/like3.h"
#include "tests/bench/peer.h"

struct like {
    double *p, *out, data[3];
    size_t n;
};

static inline void like_make(struct like *l, size_t n)
{
    l->n = n;
    l->p = (double *)peer_memory(n * 3 * sizeof(double));
    l->out = (double *)peer_memory(n * sizeof(double));
    like3_fill(l->p, l->data, n);
}

/* The result must be the serial loop's, bit for bit: the flags forbid contraction. */
static inline void like_check(const struct like *l)
{
    double *right = (double *)peer_memory(l->n * sizeof(double));
    like3_range(l->p, l->data, right, l->n);
    for (size_t i = 0; i < l->n; i++)
        if (memcmp(&right[i], &l->out[i], sizeof *right))
            peer_die("item %zu is %.17g, and %.17g serially", i, l->out[i], right[i]);
    free(right);
}

/* A sum in another order than the serial one. */
static inline void like_check_sum(const struct like *l, double sum)
{
    double *right = (double *)peer_memory(l->n * sizeof(double)), serial = 0;
    like3_range(l->p, l->data, right, l->n);
    for (size_t i = 0; i < l->n; i++)
        serial += right[i];
    if (!(fabs(sum - serial) <= 1e-9 * fabs(serial)))
        peer_die("the sum is %.17g, and %.17g serially", sum, serial);
    free(right);
}

/* Runs it once, checks, and serves: a turn's figure is the mean time of a call. */
static void (*like_once)(void *);

static inline void like_turn(void *ctx, double ms, long arg)
{
    (void)arg;
    peer_figure("time", peer_mean_us(like_once, ctx, ms), "us");
}

static inline int like_serve(struct like *l, void (*once)(void *))
{
    like_once = once;
    once(l);
    like_check(l);
    return peer_serve(like_turn, NULL, l);
}

#endif
