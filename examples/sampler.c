/* Data that stay, parameters that change: a Markov chain (Metropolis) that asks ten thousand times how likely the same
 * measurements are for other parameters. The measurements are kept by the mapper once; a call sends two numbers.
 *
 * Prints what the chain finds beside the measurements' own mean and deviation, and the time of a call beside the time
 * of the same call with the measurements as an ordinary array.
 *
 *   sampler [CALLS [CONFIG]]
 */
#include <mamuto.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { N = 10000, WARM_UP = 500 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Two independent normal numbers (Box and Muller). */
static void normals(mamuto_rng_t *random, double out[2])
{
    double r = sqrt(-2 * log(1 - mamuto_uniform(random))), angle = 2 * acos(-1.0) * mamuto_uniform(random);
    out[0] = r * cos(angle);
    out[1] = r * sin(angle);
}

/* What is known of the measurements for parameters p; data: how they are handed over. */
static double log_likelihood(mamuto_t *m, mamuto_arg_t data, const double p[2], mamuto_error_t *err)
{
    double sum = -INFINITY;
    mamuto_call_t call = {
        .function = "normal.log_likelihood", .args = { data, mamuto_broadcast(p) }, .fold = "normal.add", .value = &sum
    };
    mamuto_reduce_wait(m, &call, err);
    return sum;
}

/* The chain: the means of both parameters, behind the warm-up. */
static void sample(mamuto_t *m, mamuto_arg_t data, int calls, double mean[2], mamuto_error_t *err)
{
    mamuto_rng_t random = mamuto_rng(7, 0);
    double p[2] = { 0, 1 }, at = log_likelihood(m, data, p, err), sum[2] = { 0, 0 };
    for (int i = 0; i < calls && !err->code; i++) {
        double step[2];
        normals(&random, step);
        double next[2] = { p[0] + 0.02 * step[0], fabs(p[1] + 0.02 * step[1]) };
        double there = log_likelihood(m, data, next, err);
        if (log(1 - mamuto_uniform(&random)) < there - at) {
            memcpy(p, next, sizeof p);
            at = there;
        }
        for (int k = 0; k < 2 && i >= WARM_UP; k++)
            sum[k] += p[k];
    }
    for (int k = 0; k < 2; k++)
        mean[k] = sum[k] / (calls - WARM_UP);
}

static void measure(double *data, double own[2])
{
    mamuto_rng_t random = mamuto_rng(42, 0);
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i += 2)
        normals(&random, data + i);
    for (int i = 0; i < N; i++) {
        data[i] = 3 + 2 * data[i];
        sum += data[i];
    }
    for (int i = 0; i < N; i++)
        squares += (data[i] - sum / N) * (data[i] - sum / N);
    own[0] = sum / N;
    own[1] = sqrt(squares / N);
}

static int run(mamuto_t *m, int calls, mamuto_error_t *err)
{
    static double data[N];
    double own[2], kept_mean[2], mean[2];
    mamuto_kept_t *kept = NULL;
    measure(data, own);
    mamuto_keep_t keep = { .type = "f8", .arg = mamuto_scatter(data, N) };
    if (mamuto_keep_wait(m, &keep, &kept, err) != 0)
        return 1;
    double start = seconds();
    sample(m, mamuto_resident(kept), calls, kept_mean, err);
    double middle = seconds();
    sample(m, mamuto_scatter(data, N), calls, mean, err);
    double end = seconds();
    mamuto_forget(kept);
    if (err->code)
        return 1;
    printf("%d measurements: mean %.3f, deviation %.3f\n", N, own[0], own[1]);
    printf("the chain found: mean %.3f, deviation %.3f\n", kept_mean[0], kept_mean[1]);
    printf("a call: %.1f us with kept measurements, %.1f us with an ordinary array\n", (middle - start) / calls * 1e6,
           (end - middle) / calls * 1e6);
    if (kept_mean[0] != mean[0] || kept_mean[1] != mean[1]) {
        fprintf(stderr, "sampler: the two chains differ\n");
        return 1;
    }
    return fabs(mean[0] - own[0]) < 0.05 && fabs(mean[1] - own[1]) < 0.05 ? 0 : 1;
}

int main(int argc, char **argv)
{
    int calls = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 10000;
    mamuto_options_t options = { .config = argc > 2 ? argv[2] : NULL,
                                 .modules = (const char *[]){ EXAMPLE_MODULES "/normal.c", NULL } };
    mamuto_error_t err = { 0 };
    mamuto_t *m;
    int status = 1;
    if (calls <= WARM_UP) {
        fprintf(stderr, "sampler: more than %d calls are needed\n", WARM_UP);
        return 1;
    }
    if (mamuto_open_wait(&m, &options, &err) == 0) {
        status = run(m, calls, &err);
        mamuto_close_wait(m);
    }
    if (err.code)
        fprintf(stderr, "sampler: %s\n", err.text);
    return status;
}
