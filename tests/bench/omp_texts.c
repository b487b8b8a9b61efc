/* Peer of the row var-out: OpenMP, static halves. As one would write it where lengths are not known beforehand, but
 * can be found out cheaply: each thread sums the lengths of its own range, then knows where its first result belongs,
 * and works. The result array is there already, and warm. */
#include <omp.h>

#include "tests/bench/peer_texts.h"

enum { LANES = 2, LINE = 64 };

struct job {
    struct texts texts;
    char *out;
    int64_t *at;
    struct {
        _Alignas(LINE) int64_t bytes;
    } of[LANES];
};

static void work(struct job *j, size_t begin, size_t end, int64_t place)
{
    const int64_t *from = j->texts.at;
    for (size_t i = begin; i < end; i++) {
        size_t n = (size_t)(from[i + 1] - from[i]);
        j->at[i] = place;
        texts_upper(j->texts.text + from[i], n, j->out + place);
        place += (int64_t)n;
    }
    if (end == TEXTS_ITEMS)
        j->at[end] = place;
}

static void once(void *ctx)
{
    struct job *j = ctx;
#pragma omp parallel num_threads(LANES)
    {
        size_t lane = (size_t)omp_get_thread_num();
        size_t begin = TEXTS_ITEMS * lane / LANES, end = TEXTS_ITEMS * (lane + 1) / LANES;
        int64_t sum = 0, place = 0;
        for (size_t i = begin; i < end; i++)
            sum += j->texts.at[i + 1] - j->texts.at[i];
        j->of[lane].bytes = sum;
#pragma omp barrier
        for (size_t k = 0; k < lane; k++)
            place += j->of[k].bytes;
        work(j, begin, end, place);
    }
}

static void turn(void *ctx, double ms, long arg)
{
    (void)arg;
    peer_figure("time", peer_mean_us(once, ctx, ms), "us");
}

int main(void)
{
    static struct job j;
    omp_set_dynamic(0);
    j.texts.at = peer_memory((TEXTS_ITEMS + 1) * sizeof *j.at);
    j.at = peer_memory((TEXTS_ITEMS + 1) * sizeof *j.at);
    size_t bytes = texts_measure(j.texts.at);
    j.texts.text = peer_memory(bytes);
    j.out = peer_memory(bytes);
    texts_fill(&j.texts);
    once(&j);
    texts_check(&j.texts, j.out, j.at);
    return peer_serve(turn, NULL, &j);
}
