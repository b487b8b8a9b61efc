/* Functions for the tests of kept arrays. The folder for what they wait for is $E2E_DIR. */
#include <mamuto.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

MAMUTO_FUNCTION(add, "f8, f8 -> f8")
{
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) + MAMUTO_IN(double, 1);
    return 0;
}

MAMUTO_KERNEL(add_chunk, "f8, f8 -> f8")
{
    const double *a = MAMUTO_PACKED(double, 0), *b = MAMUTO_PACKED(double, 1);
    double *out = MAMUTO_PACKED_OUT(double);
    if (!a || !b)
        return 1;
    for (size_t i = 0; i < MAMUTO_COUNT; i++)
        out[i] = a[i] + b[i];
    return 0;
}

MAMUTO_FUNCTION(dot, "f8[d], f8[d] -> f8")
{
    const double *a = MAMUTO_ARRAY(double, 0), *b = MAMUTO_ARRAY(double, 1);
    double sum = 0;
    for (size_t k = 0; k < MAMUTO_LEN(0); k++)
        sum += a[k] * b[k];
    MAMUTO_OUT(double) = sum;
    return 0;
}

MAMUTO_FUNCTION(table, "i4, f8[3, e] -> f8")
{
    MAMUTO_OUT(double) = MAMUTO_ARRAY(double, 1)[(size_t)MAMUTO_IN(int32_t, 0) % (3 * MAMUTO_DIM(0))];
    return 0;
}

MAMUTO_FUNCTION(picky, "f8, f8 -> f8", "the sum; 100 fails, 101 dies")
{
    double x = MAMUTO_IN(double, 0);
    MAMUTO_OUT(double) = x + MAMUTO_IN(double, 1);
    if (x == 101)
        raise(SIGSEGV);
    if (x == 100)
        MAMUTO_FAIL(7, "a hundred");
    return 0;
}

MAMUTO_FUNCTION(scribble, "f8, f8 -> f8", "writes into its second argument")
{
    union {
        const double *read;
        double *write;
    } b = { &MAMUTO_IN(double, 1) };
    *(volatile double *)b.write = 1;
    MAMUTO_OUT(double) = 0;
    return 0;
}

static int is_there(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("E2E_DIR"), name);
    return access(path, F_OK) == 0;
}

MAMUTO_FUNCTION(hold, "f8, f8 -> f8", "the sum, as soon as there is \"go\", after 20 s at most")
{
    for (int i = 0; i < 20000 && !is_there("go"); i++)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) + MAMUTO_IN(double, 1);
    return 0;
}

MAMUTO_FUNCTION(pair, "f8[2], f8 -> f8")
{
    const double *x = MAMUTO_IN(double[2], 0);
    MAMUTO_OUT(double) = x[0] + 1000 * x[1] + MAMUTO_IN(double, 1);
    return 0;
}

MAMUTO_FUNCTION(many, "f8[d], f8 -> f8")
{
    const double *x = MAMUTO_ARRAY(double, 0);
    double sum = MAMUTO_IN(double, 1);
    for (size_t k = 0; k < MAMUTO_DIM(0); k++)
        sum += (double)(k % 7) * x[k];
    MAMUTO_OUT(double) = sum;
    return 0;
}

MAMUTO_FUNCTION(total, "f8[*], f8 -> f8")
{
    const double *x = MAMUTO_ARRAY(double, 0);
    double sum = MAMUTO_IN(double, 1);
    for (size_t k = 0; k < MAMUTO_LEN(0); k++)
        sum += (double)(k + 1) * x[k];
    MAMUTO_OUT(double) = sum;
    return 0;
}

MAMUTO_FUNCTION(length, "bytes -> u8")
{
    MAMUTO_OUT(uint64_t) = MAMUTO_LEN(0);
    return 0;
}
