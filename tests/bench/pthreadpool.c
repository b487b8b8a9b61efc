/* Peer: pthreadpool, tiled. "pthreadpool N TILES" computes like3 over N items in TILES tiles, again and again. */
#include <pthreadpool.h>

#include "tests/bench/peer_like.h"

enum { LANES = 2 };

static pthreadpool_t pool;
static size_t tile;

static void run_tile(void *ctx, size_t begin, size_t count)
{
    struct like *l = ctx;
    like3_range(l->p + 3 * begin, l->data, l->out + begin, count);
}

static void once(void *ctx)
{
    struct like *l = ctx;
    pthreadpool_parallelize_1d_tile_1d(pool, run_tile, l, l->n, tile, 0);
}

int main(int argc, char **argv)
{
    struct like l;
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000, tiles = argc > 2 ? strtoul(argv[2], NULL, 10) : LANES;
    pool = pthreadpool_create(LANES);
    if (!pool || tiles == 0)
        peer_die("pthreadpool_create failed");
    tile = (n + tiles - 1) / tiles;
    like_make(&l, n);
    return like_serve(&l, once);
}
