/* A program outside of the tree: consumer MODULE. Maps a function of the module, over an ordinary argument and one that is
 * kept, folds the results, maps to results of variable length, and compares with its own loops; then asks for a function
 * that is not there, and must be told so. */
#include <mamuto.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 10007, LINES = 500 };

static double x[N], out[N];
static const double factor = 0.5;

static int check(const double *found)
{
    for (int i = 0; i < N; i++) {
        if (found[i] != x[i] * factor) {
            fprintf(stderr, "item %d is %g; right would be %g\n", i, found[i], x[i] * factor);
            return 1;
        }
    }
    return 0;
}

static int map(mamuto_t *m, mamuto_arg_t by, mamuto_error_t *err)
{
    memset(out, 0, sizeof out);
    mamuto_call_t call = { .function = "scale.scale", .args = { mamuto_scatter(x, N), by }, .result = out };
    return mamuto_map_wait(m, &call, err) || check(out);
}

static int map_with_kept(mamuto_t *m, mamuto_error_t *err)
{
    mamuto_kept_t *kept;
    mamuto_keep_t keep = { .type = "f8", .arg = mamuto_broadcast(&factor) };
    if (mamuto_keep_wait(m, &keep, &kept, err))
        return 1;
    int failed = map(m, mamuto_resident(kept), err);
    return mamuto_forget(kept) || failed;
}

static int reduce(mamuto_t *m, mamuto_error_t *err)
{
    double sum = 0;
    mamuto_call_t call = { .function = "scale.scale",
                           .args = { mamuto_scatter(x, N), mamuto_broadcast(&factor) },
                           .fold = "scale.add",
                           .value = &sum };
    if (mamuto_reduce_wait(m, &call, err))
        return 1;
    if (sum == N * (N - 1.0) / 2 * factor) /* of halves: exact in any order */
        return 0;
    fprintf(stderr, "the sum is %g\n", sum);
    return 1;
}

static int check_lines(const mamuto_var_t *lines)
{
    const int32_t *numbers = lines->data;
    for (int i = 0; i < LINES; i++)
        for (int64_t k = lines->offsets[i]; k < lines->offsets[i + 1]; k++)
            if (lines->offsets[i + 1] - lines->offsets[i] != i % 7 || numbers[k] != k - lines->offsets[i])
                return fprintf(stderr, "line %d is wrong\n", i), 1;
    return lines->count != LINES || lines->offsets[LINES] != LINES / 7 * 21 + 3; /* 500 = 71 * 7 + 3: 0 + 1 + 2 */
}

static int emit(mamuto_t *m, mamuto_error_t *err)
{
    static int32_t lengths[LINES];
    mamuto_var_t lines = { 0 };
    for (int i = 0; i < LINES; i++)
        lengths[i] = i % 7;
    mamuto_call_t call = { .function = "scale.count_up",
                           .args = { mamuto_scatter(lengths, LINES) },
                           .result_var = &lines };
    if (mamuto_map_wait(m, &call, err))
        return 1;
    int failed = check_lines(&lines);
    return mamuto_free(m, lines.data) || failed;
}

static int miss(mamuto_t *m)
{
    mamuto_error_t expected = { 0 };
    mamuto_call_t call = { .function = "scale.scales",
                           .args = { mamuto_scatter(x, N), mamuto_broadcast(&factor) },
                           .result = out };
    if (mamuto_map_wait(m, &call, &expected) == MAMUTO_EFUNCTION)
        return 0;
    fprintf(stderr, "a function that does not exist was accepted\n");
    return 1;
}

static int compute(mamuto_t *m, mamuto_error_t *err)
{
    for (int i = 0; i < N; i++)
        x[i] = i;
    return map(m, mamuto_broadcast(&factor), err) || map_with_kept(m, err) || reduce(m, err) || emit(m, err) || miss(m);
}

int main(int argc, char **argv)
{
    mamuto_t *m;
    mamuto_error_t err = { 0 };
    const char *modules[] = { argc > 1 ? argv[1] : "scale.c", NULL };
    mamuto_options_t options = { .modules = modules };

    int failed = mamuto_open_wait(&m, &options, &err);
    if (!failed) {
        failed = compute(m, &err);
        failed |= mamuto_close_wait(m);
    }
    if (err.code)
        fprintf(stderr, "%s: %s\n", mamuto_strerror(err.code), err.text);
    if (!failed)
        printf("mamuto %s: %d items\n", mamuto_version(), N);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
