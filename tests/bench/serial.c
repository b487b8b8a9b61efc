/* Peer: one process, one core, no library.
 *   serial like                 like3 over as many items as the turn says
 *   serial uneven LOW_US N SHAPE   one pass over N items of uneven cost
 *   serial memcpy BYTES         one copy of BYTES between warm buffers */
#include "tests/bench/peer_like.h"
#include "tests/bench/work.h"

enum { LIKE_MAX = 1000000 };

struct uneven {
    uint32_t *steps;
    uint64_t *out;
    size_t n;
};

struct copy {
    char *from, *to;
    size_t bytes;
};

static void once_like(void *ctx)
{
    struct like *l = ctx;
    like3_range(l->p, l->data, l->out, l->n);
    __asm__ volatile("" : : "r"(l->out) : "memory"); /* the result is wanted each time */
}

static void turn_like(void *ctx, double ms, long n)
{
    struct like *l = ctx;
    if (n < 1 || n > LIKE_MAX)
        peer_die("%ld items are out of range", n);
    l->n = (size_t)n;
    peer_figure("time", peer_mean_us(once_like, l, ms), "us");
}

static void once_uneven(void *ctx)
{
    struct uneven *u = ctx;
    for (size_t i = 0; i < u->n; i++)
        u->out[i] = work_chain(u->steps[i]);
    __asm__ volatile("" : : "r"(u->out) : "memory");
}

static void turn_uneven(void *ctx, double ms, long arg)
{
    (void)arg;
    peer_figure("time", peer_mean_us(once_uneven, ctx, ms), "us");
}

static void once_copy(void *ctx)
{
    struct copy *c = ctx;
    memcpy(c->to, c->from, c->bytes);
    __asm__ volatile("" : : "r"(c->to) : "memory");
}

static void turn_copy(void *ctx, double ms, long arg)
{
    (void)arg;
    peer_figure("time", peer_mean_us(once_copy, ctx, ms), "us");
}

static int serve_uneven(double low_us, size_t n, const char *shape)
{
    struct uneven u = { peer_memory(n * sizeof(uint32_t)), peer_memory(n * sizeof(uint64_t)), n };
    if (work_fill(shape, low_us, u.steps, n))
        peer_die("no shape \"%s\"", shape);
    return peer_serve(turn_uneven, NULL, &u);
}

static int serve_copy(size_t bytes)
{
    struct copy c = { peer_memory(bytes), peer_memory(bytes), bytes };
    memset(c.from, 1, bytes);
    return peer_serve(turn_copy, NULL, &c);
}

int main(int argc, char **argv)
{
    if (argc == 5 && !strcmp(argv[1], "uneven"))
        return serve_uneven(atof(argv[2]), strtoul(argv[3], NULL, 10), argv[4]);
    if (argc == 3 && !strcmp(argv[1], "memcpy"))
        return serve_copy(strtoul(argv[2], NULL, 10));
    struct like l;
    like_make(&l, LIKE_MAX);
    return peer_serve(turn_like, NULL, &l);
}
