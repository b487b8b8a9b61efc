/* Peer: OpenMP, static halves. "omp N" computes like3 over N items, again and again; "omp N reduce" their
 * sum. */
#include <omp.h>

#include "tests/bench/peer_like.h"

enum { LANES = 2 };

static void once(void *ctx)
{
    struct like *l = ctx;
#pragma omp parallel for schedule(static) num_threads(LANES)
    for (size_t lane = 0; lane < LANES; lane++) {
        size_t begin = l->n * lane / LANES, end = l->n * (lane + 1) / LANES;
        like3_range(l->p + 3 * begin, l->data, l->out + begin, end - begin);
    }
}

static double sum;

/* As one writes it: the loop with a clause. */
static void reduce(void *ctx)
{
    const struct like *l = ctx;
    const double *p = l->p, d0 = l->data[0], d1 = l->data[1], d2 = l->data[2];
    double all = 0;
#pragma omp parallel for schedule(static) num_threads(LANES) reduction(+ : all)
    for (size_t i = 0; i < l->n; i++) {
        const double a = d0 - p[3 * i], b = d1 - p[3 * i + 1], c = d2 - p[3 * i + 2];
        all += -50.0 * (a * a + b * b + c * c);
    }
    sum = all;
}

static void reduce_turn(void *ctx, double ms, long arg)
{
    (void)arg;
    peer_figure("time", peer_mean_us(reduce, ctx, ms), "us");
}

int main(int argc, char **argv)
{
    struct like l;
    omp_set_dynamic(0);
    like_make(&l, argc > 1 ? strtoul(argv[1], NULL, 10) : 1000);
    if (argc < 3)
        return like_serve(&l, once);
    reduce(&l);
    like_check_sum(&l, sum);
    return peer_serve(reduce_turn, NULL, &l);
}
