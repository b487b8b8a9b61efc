/* Everything in one file: the function that is mapped is part of the program.
 *
 * mamuto_main() must be the first line of main(): the workers are this program, started again.
 *
 *   single_file [N]
 */
#include <mamuto.h>

#include <stdio.h>
#include <stdlib.h>

/* Steps until n becomes 1 in Collatz' sequence: n/2 if it is even, else 3n + 1. */
MAMUTO_FUNCTION(collatz, "u8 -> u4", "length of a Collatz sequence")
{
    uint64_t n = MAMUTO_IN(uint64_t, 0);
    uint32_t steps = 0;
    if (n == 0)
        MAMUTO_FAIL(1, "the sequence of 0 never reaches 1");
    for (; n != 1; steps++)
        n = n % 2 ? 3 * n + 1 : n / 2;
    MAMUTO_OUT(uint32_t) = steps;
    return 0;
}

static int longest(mamuto_t *m, size_t n, mamuto_error_t *err)
{
    uint64_t *numbers = malloc(n * sizeof *numbers);
    uint32_t *steps = malloc(n * sizeof *steps);
    size_t best = 0;
    for (size_t i = 0; numbers && i < n; i++)
        numbers[i] = i + 1;
    mamuto_call_t call = { .function = "collatz", .args = { mamuto_scatter(numbers, n) }, .result = steps };
    int code = mamuto_map_wait(m, &call, err);
    for (size_t i = 0; !code && i < n; i++)
        if (steps[i] > steps[best])
            best = i;
    if (!code)
        printf("the longest Collatz sequence below %zu begins at %zu: %u steps\n", n + 1, best + 1, steps[best]);
    free(numbers);
    free(steps);
    return code;
}

int main(int argc, char **argv)
{
    mamuto_main(argc, argv);
    mamuto_t *m;
    mamuto_error_t err = { 0 };
    long n = argc > 1 ? strtol(argv[1], NULL, 10) : 1000000;
    if (n < 1)
        return fprintf(stderr, "usage: single_file [N], N at least 1\n"), 2;
    int code = mamuto_open_wait(&m, NULL, &err);
    if (!code) {
        code = longest(m, (size_t)n, &err);
        mamuto_close_wait(m);
    }
    if (code)
        fprintf(stderr, "single_file: %s\n", err.text);
    return code ? 1 : 0;
}
