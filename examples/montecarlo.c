/* Random numbers and a reduction: pi, from points that fall into a square. The same seed gives the same digits on any
 * number of workers: here on 1, on 7, and on all cores.
 *
 *   montecarlo [SEED]
 */
#include <mamuto.h>

#include <stdio.h>
#include <stdlib.h>

enum { ITEMS = 2000 };

static const int64_t POINTS = 20000; /* of an item */

/* config: NULL: all cores of this machine. */
static int64_t hits(const char *config, uint64_t seed, mamuto_error_t *err)
{
    int64_t inside = -1;
    mamuto_t *m;
    mamuto_options_t options = { .config_text = config, .modules = (const char *[]){ EXAMPLE_MODULES "/pi.c", NULL } };
    if (mamuto_open_wait(&m, &options, err) != 0)
        return -1;
    mamuto_call_t call = { .function = "pi.hits",
                           .args = { mamuto_broadcast(&POINTS) },
                           .count = ITEMS,
                           .fold = "pi.add",
                           .value = &inside,
                           .seed = seed };
    mamuto_reduce_wait(m, &call, err);
    mamuto_close_wait(m);
    return inside;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *config;
    } runs[] = { { "1 worker", "{ \"hosts\": { \"localhost\": 1 } }" },
                 { "7 workers", "{ \"hosts\": { \"localhost\": 7 } }" },
                 { "all cores", NULL } };
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 2026;
    int64_t first = -1;
    for (int i = 0; i < 3; i++) {
        mamuto_error_t err = { 0 };
        int64_t inside = hits(runs[i].config, seed, &err);
        if (err.code) {
            fprintf(stderr, "montecarlo: %s\n", err.text);
            return 1;
        }
        printf("%-9s  pi is about %.9f (%lld of %lld points inside)\n", runs[i].name,
               4.0 * (double)inside / (double)(ITEMS * POINTS), (long long)inside, (long long)(ITEMS * POINTS));
        if (i > 0 && inside != first) {
            fprintf(stderr, "montecarlo: these digits are not those of 1 worker\n");
            return 1;
        }
        first = inside;
    }
    return 0;
}
