/* The article's example over several hosts: the log-likelihood of a million points, and who computed how much of it.
 *
 * Maps like3 (examples/modules/model.c) three times over every host of a config, compares each result with that of one worker
 * of this machine, bit for bit, and prints of each host its items and their rate. Without a config the second host is another
 * agent on this machine, which a shell starts: everything but the distance is as with ssh.
 *
 *   cluster [CONFIG]
 */
#include <mamuto.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { N = 1000000, ROUNDS = 3, MOST_HOSTS = 64 };

static const char here[] = "{\"hosts\": {\"localhost\": 1, \"second\": {\"cores\": 1, \"launch\": [\"sh\", \"-c\"]}}}";

static double points[N][3], alone[N], together[N];

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Points in [0, 1)^3 of a fixed seed. */
static void generate(void)
{
    mamuto_rng_t r = mamuto_rng(42, 0);
    for (size_t i = 0; i < N; i++)
        for (int k = 0; k < 3; k++)
            points[i][k] = mamuto_uniform(&r);
}

static int fail(const char *what, const mamuto_error_t *err)
{
    fprintf(stderr, "cluster: %s: %s\n", what, err->text);
    return EXIT_FAILURE;
}

static int is_same(const double *a, const double *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t x, y;
        memcpy(&x, &a[i], sizeof x);
        memcpy(&y, &b[i], sizeof y);
        if (x != y)
            return 0;
    }
    return 1;
}

static int map(mamuto_t *m, double *result, mamuto_error_t *err)
{
    static const double data[3] = { 0.5, 0.25, 0.125 };
    mamuto_call_t call = { .function = "model.like3",
                           .args = { mamuto_scatter(points, N), mamuto_broadcast(data) },
                           .result = result };
    return mamuto_map_wait(m, &call, err);
}

static int open_mapper(mamuto_t **m, const char *config, const char *text, mamuto_error_t *err)
{
    static const char *const modules[] = { EXAMPLE_MODULES "/model.c", NULL };
    mamuto_options_t options = { .config = config, .config_text = text, .modules = modules };
    return mamuto_open_wait(m, &options, err);
}

static void print_hosts(mamuto_t *m, double took)
{
    mamuto_host_t hosts[MOST_HOSTS];
    size_t n = mamuto_hosts(m, hosts, MOST_HOSTS);
    for (size_t i = 0; i < n && i < MOST_HOSTS; i++)
        printf("%-12s %-8s %8llu items, %6.1f million a second%s%s\n", hosts[i].name,
               hosts[i].transport ? hosts[i].transport : hosts[i].state, (unsigned long long)hosts[i].items,
               (double)hosts[i].items / took / 1e6, hosts[i].reason ? ": " : "",
               hosts[i].reason ? hosts[i].reason : "");
}

int main(int argc, char **argv)
{
    mamuto_error_t err = { 0 };
    mamuto_t *m;
    const char *config = argc > 1 ? argv[1] : NULL;
    generate();
    if (open_mapper(&m, NULL, "{\"hosts\": {\"localhost\": 1}}", &err) || map(m, alone, &err))
        return fail("one worker", &err);
    mamuto_close_wait(m);
    if (open_mapper(&m, config, config ? NULL : here, &err))
        return fail("open", &err);
    double begun = seconds();
    for (int i = 0; i < ROUNDS; i++) {
        memset(together, 0, sizeof together);
        if (map(m, together, &err))
            return fail("map", &err);
        if (!is_same(alone, together, N)) {
            fprintf(stderr, "cluster: other bits than those of one worker: do the hosts compile to the same code?\n");
            return EXIT_FAILURE;
        }
    }
    print_hosts(m, seconds() - begun);
    printf("the same bits as one worker's\n");
    mamuto_close_wait(m);
    return EXIT_SUCCESS;
}
