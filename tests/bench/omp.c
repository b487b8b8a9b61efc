/* Peer: OpenMP, static halves. "omp N" computes like3 over N items, again and again. */
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

int main(int argc, char **argv)
{
    struct like l;
    omp_set_dynamic(0);
    like_make(&l, argc > 1 ? strtoul(argv[1], NULL, 10) : 1000);
    return like_serve(&l, once);
}
