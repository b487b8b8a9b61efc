/* Strings in upper case, by a mapper: arguments in shared arrays, two workers, no help. The result is freed within
 * what is timed, as it is made within it. */
#include "tests/bench/ours.h"

#include "tests/bench/peer_texts.h"

enum { LANES = 2 };

struct ours_texts {
    mamuto_t *m;
    mamuto_call_t call;
    mamuto_var_t out;
};

static void once(void *ctx)
{
    struct ours_texts *o = ctx;
    ours_map(o->m, &o->call);
    mamuto_free(o->m, o->out.data);
}

static void turn(void *ctx, double ms, long arg)
{
    (void)arg;
    peer_figure("time", peer_mean_us(once, ctx, ms), "us");
}

int ours_var_out(void)
{
    struct ours_texts o = { .m = ours_open(LANES, "", "texts", NULL) };
    struct texts texts = { .at = ours_alloc(o.m, TEXTS_ITEMS + 1, sizeof(int64_t)) };
    texts.text = ours_alloc(o.m, texts_measure(texts.at), 1);
    texts_fill(&texts);
    o.call = (mamuto_call_t){ .function = "texts.upper",
                              .args = { mamuto_scatter_var(texts.text, texts.at, TEXTS_ITEMS) },
                              .result_var = &o.out };
    for (int i = 0; i < 3; i++) { /* until the lengths are known, and the memory is warm */
        ours_map(o.m, &o.call);
        texts_check(&texts, o.out.data, o.out.offsets);
        mamuto_free(o.m, o.out.data);
    }
    peer_serve(turn, NULL, &o);
    return mamuto_close_wait(o.m) ? 1 : 0;
}
