/* The article's example: the log-likelihood of n points, on every core of this machine.
 *
 * Maps like3 (examples/modules/model.c) over n = 1,000 and n = 100,000 points of a fixed seed, compares each result with
 * a serial loop's, bit for bit, and prints the times of both, the medians of many runs.
 *
 *   loglike [CONFIG]
 */
#include <mamuto.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MOST_RUNS = 2001 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The loop that the map replaces; out of line, and compiled with the module's flags, so that it is a fair one. */
static __attribute__((noinline)) void serial(const double *points, const double *data, double *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < 3; k++) {
            double d = data[k] - points[3 * i + (size_t)k];
            sum -= d * d / 0.02;
        }
        out[i] = sum;
    }
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median_us(double *times, int n)
{
    qsort(times, (size_t)n, sizeof *times, ascending);
    return times[n / 2] * 1e6;
}

/* Points in [0, 1)^3: a linear congruential generator (Knuth's MMIX constants) of a fixed seed. */
static void generate(double (*points)[3], size_t n)
{
    uint64_t state = 42;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 3; k++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            points[i][k] = (double)(state >> 11) * 0x1p-53;
        }
}

/* Sum over the bits of all results (FNV-1a): the same on any machine that computes the same doubles. */
static uint64_t checksum(const double *out, size_t n)
{
    uint64_t sum = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &out[i], sizeof bits);
        sum = (sum ^ bits) * UINT64_C(1099511628211);
    }
    return sum;
}

static int fail(const char *what, const mamuto_error_t *err)
{
    fprintf(stderr, "loglike: %s: %s\n", what, err->text);
    return -1;
}

static int measure(mamuto_t *m, const mamuto_call_t *call, size_t n, double *expected, mamuto_error_t *err)
{
    static double ours[MOST_RUNS], theirs[MOST_RUNS];
    int runs = n > 10000 ? 201 : MOST_RUNS;
    for (int i = 0; i < runs; i++) {
        double start = seconds();
        if (mamuto_map_wait(m, call, err))
            return fail("map", err);
        ours[i] = seconds() - start;
    }
    for (int i = 0; i < runs; i++) {
        double start = seconds();
        serial(call->args[0].data, call->args[1].data, expected, n);
        theirs[i] = seconds() - start;
    }
    if (memcmp(expected, call->result, n * sizeof *expected) != 0) {
        fprintf(stderr, "loglike: n = %zu: the map's results differ from the serial loop's\n", n);
        return -1;
    }
    printf("n = %6zu  same bits as the serial loop, checksum %016llx, map %.1f us, serial %.1f us\n", n,
           (unsigned long long)checksum(expected, n), median_us(ours, runs), median_us(theirs, runs));
    return 0;
}

static int run(mamuto_t *m, size_t n, mamuto_error_t *err)
{
    static const double data[3] = { 0.3, 0.5, 0.7 };
    double(*points)[3] = mamuto_alloc(m, n, sizeof *points, err); /* in place: workers read and write it where it is */
    double *out = mamuto_alloc(m, n, sizeof *out, err), *expected = malloc(n * sizeof *expected);
    int code = -1;
    if (points && out && expected) {
        generate(points, n);
        mamuto_call_t call = { .function = "model.like3",
                               .args = { mamuto_scatter(points, n), mamuto_broadcast(data) },
                               .result = out };
        code = measure(m, &call, n, expected, err);
    } else
        fail("memory", err);
    mamuto_free(m, points);
    mamuto_free(m, out);
    free(expected);
    return code;
}

int main(int argc, char **argv)
{
    mamuto_t *m;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config = argc > 1 ? argv[1] : NULL,
                                 .modules = (const char *[]){ EXAMPLE_MODULES "/model.c", NULL } };
    if (mamuto_open_wait(&m, &options, &err))
        return fail("open", &err), 1;
    int code = run(m, 1000, &err);
    if (!code)
        code = run(m, 100000, &err);
    mamuto_close_wait(m);
    return code ? 1 : 0;
}
