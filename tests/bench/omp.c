/* Peer: OpenMP, static halves. "omp N" computes like3 over N items, again and again; "omp strided" and "omp var-lines" what
 * the rows of that name do. */
#include <omp.h>

#include "tests/bench/peer_layouts.h"
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

static void once_strided(void *ctx)
{
    struct column *c = ctx;
#pragma omp parallel for schedule(static) num_threads(LANES)
    for (size_t i = 0; i < COLUMN_ITEMS; i++)
        c->y[i] = column_item(c->x[i * COLUMN_STEP]);
}

static void once_lines(void *ctx)
{
    struct lines *l = ctx;
#pragma omp parallel for schedule(static) num_threads(LANES)
    for (size_t i = 0; i < LINES_ITEMS; i++)
        l->words[i] = lines_words(l->text + l->at[i], (size_t)(l->at[i + 1] - l->at[i]));
}

static void (*once_of_turn)(void *);

static void turn(void *ctx, double ms, long arg)
{
    (void)arg;
    peer_figure("time", peer_mean_us(once_of_turn, ctx, ms), "us");
}

static int serve_strided(void)
{
    struct column c = { peer_memory(COLUMN_BYTES), peer_memory(COLUMN_ITEMS * sizeof(double)) };
    column_fill(&c);
    once_strided(&c);
    column_check(&c);
    once_of_turn = once_strided;
    return peer_serve(turn, NULL, &c);
}

static int serve_lines(void)
{
    struct lines l = { peer_memory(LINES_BYTES), peer_memory(LINES_OFFSETS), peer_memory(LINES_RESULTS) };
    lines_fill(&l);
    once_lines(&l);
    lines_check(&l);
    once_of_turn = once_lines;
    return peer_serve(turn, NULL, &l);
}

int main(int argc, char **argv)
{
    struct like l;
    omp_set_dynamic(0);
    if (argc == 2 && !strcmp(argv[1], "strided"))
        return serve_strided();
    if (argc == 2 && !strcmp(argv[1], "var-lines"))
        return serve_lines();
    like_make(&l, argc > 1 ? strtoul(argv[1], NULL, 10) : 1000);
    return like_serve(&l, once);
}
