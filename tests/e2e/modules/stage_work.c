/* Functions for the tests of private arrays. */
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

MAMUTO_FUNCTION(table, "i4, f8[12800], f8[n] -> f8", "a value of a large table plus one of a small one")
{
    const double *table = MAMUTO_IN(double[12800], 1), *small = MAMUTO_ARRAY(double, 2);
    unsigned i = (unsigned)MAMUTO_IN(int32_t, 0);
    MAMUTO_OUT(double) = table[i % 12800] + small[i % MAMUTO_DIM(0)];
    return 0;
}

MAMUTO_FUNCTION(picky, "i4 -> i4[3]", "fails at multiples of 1,000, dies at -1")
{
    int32_t x = MAMUTO_IN(int32_t, 0), *out = MAMUTO_OUT_ARRAY(int32_t);
    out[0] = out[1] = out[2] = x + 1;
    if (x == -1)
        raise(SIGKILL);
    if (x % 1000 == 0)
        MAMUTO_FAIL(7, "a multiple of a thousand");
    return 0;
}

MAMUTO_FUNCTION(where, "u8 -> u8", "the process that ran it")
{
    MAMUTO_OUT(uint64_t) = (uint64_t)getpid();
    return 0;
}

static int is_there(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("E2E_DIR"), name);
    return access(path, F_OK) == 0;
}

MAMUTO_FUNCTION(hold, "f8, f8 -> f8", "the sum; the item 0 says \"begun\" and waits for \"go\", 20 s at most")
{
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) + MAMUTO_IN(double, 1);
    if (MAMUTO_INDEX)
        return 0;
    char path[4096];
    snprintf(path, sizeof path, "%s/begun", getenv("E2E_DIR"));
    FILE *file = fopen(path, "w");
    if (file)
        fclose(file);
    for (int i = 0; i < 20000 && !is_there("go"); i++)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    return 0;
}
