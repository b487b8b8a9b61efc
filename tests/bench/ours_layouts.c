/* One column of a matrix, and lines of text, by a mapper: shared arrays, two workers, no help. */
#include "tests/bench/ours.h"

#include "tests/bench/peer_layouts.h"

enum { LANES = 2 };

struct ours_layouts {
    mamuto_t *m;
    mamuto_call_t call;
};

static void once(void *ctx)
{
    struct ours_layouts *o = ctx;
    ours_map(o->m, &o->call);
}

static void turn(void *ctx, double ms, long arg)
{
    (void)arg;
    peer_figure("time", peer_mean_us(once, ctx, ms), "us");
}

int ours_strided(void)
{
    struct ours_layouts o = { .m = ours_open(LANES, "", "layouts", NULL) };
    struct column c = { ours_alloc(o.m, COLUMN_BYTES, 1), ours_alloc(o.m, COLUMN_ITEMS, sizeof(double)) };
    column_fill(&c);
    o.call = (mamuto_call_t){ .function = "layouts.column",
                              .args = { mamuto_scatter_strided(c.x, COLUMN_ITEMS, COLUMN_STEP * sizeof(double)) },
                              .result = c.y };
    once(&o);
    column_check(&c);
    peer_serve(turn, NULL, &o);
    return mamuto_close_wait(o.m) ? 1 : 0;
}

int ours_var_lines(void)
{
    struct ours_layouts o = { .m = ours_open(LANES, "", "layouts", NULL) };
    struct lines l = { ours_alloc(o.m, LINES_BYTES, 1), ours_alloc(o.m, LINES_OFFSETS, 1),
                       ours_alloc(o.m, LINES_RESULTS, 1) };
    lines_fill(&l);
    o.call = (mamuto_call_t){ .function = "layouts.words",
                              .args = { mamuto_scatter_var(l.text, l.at, LINES_ITEMS) },
                              .result = l.words };
    once(&o);
    lines_check(&l);
    peer_serve(turn, NULL, &o);
    return mamuto_close_wait(o.m) ? 1 : 0;
}
