/* A program outside of the tree: consumer MODULE. Maps a function of the module and compares with its own loop; then
 * asks for a function that is not there, and must be told so. */
#include <mamuto.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 10007 };

static int check(const double *x, double factor, const double *out)
{
    for (int i = 0; i < N; i++) {
        if (out[i] != x[i] * factor) {
            fprintf(stderr, "item %d is %g; right would be %g\n", i, out[i], x[i] * factor);
            return 1;
        }
    }
    return 0;
}

static int compute(mamuto_t *m, mamuto_error_t *err)
{
    static double x[N], out[N];
    double factor = 0.5;
    for (int i = 0; i < N; i++)
        x[i] = i;

    mamuto_call_t call = { .function = "scale.scale",
                           .args = { mamuto_scatter(x, N), mamuto_broadcast(&factor) },
                           .result = out };
    if (mamuto_map_wait(m, &call, err) || check(x, factor, out))
        return 1;

    mamuto_error_t expected = { 0 };
    call.function = "scale.scales";
    if (mamuto_map_wait(m, &call, &expected) != MAMUTO_EFUNCTION) {
        fprintf(stderr, "a function that does not exist was accepted\n");
        return 1;
    }
    return 0;
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
