/* Functions of inputs of variable length: of a text, of numbers, of both and a fixed-size one; and one that dies where
 * its text says so. */
#include "mamuto.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Order matters: a byte too many, or at another place, changes it. */
static uint64_t sum_of(const uint8_t *p, size_t n)
{
    uint64_t sum = n;
    for (size_t k = 0; k < n; k++)
        sum = sum * 31 + p[k];
    return sum;
}

MAMUTO_FUNCTION(text, "bytes -> u8")
{
    MAMUTO_OUT(uint64_t) = sum_of(MAMUTO_ARRAY(uint8_t, 0), MAMUTO_LEN(0));
    return 0;
}

MAMUTO_FUNCTION(numbers, "i4[*] -> i8[2]")
{
    const int32_t *x = MAMUTO_ARRAY(int32_t, 0);
    int64_t *out = MAMUTO_OUT(int64_t[2]);
    out[0] = (int64_t)MAMUTO_LEN(0);
    out[1] = 0;
    for (size_t k = 0; k < MAMUTO_LEN(0); k++)
        out[1] += (int64_t)x[k] * (int64_t)(k + 1);
    return 0;
}

/* Variable, fixed, variable (an own length), broadcast in any of them. */
MAMUTO_FUNCTION(mixed, "i8[*], i4, bytes -> u8[2]")
{
    const int64_t *x = MAMUTO_ARRAY(int64_t, 0);
    uint64_t *out = MAMUTO_OUT(uint64_t[2]), sum = (uint64_t)MAMUTO_IN(int32_t, 1);
    for (size_t k = 0; k < MAMUTO_LEN(0); k++)
        sum = sum * 3 + (uint64_t)x[k];
    out[0] = sum;
    out[1] = sum_of(MAMUTO_ARRAY(uint8_t, 2), MAMUTO_LEN(2));
    return 0;
}

/* "!crash", "!fail", and "!kill", which kills the first to come from outside. */
MAMUTO_FUNCTION(faulty, "bytes -> u8")
{
    const char *text = MAMUTO_ARRAY(char, 0);
    size_t n = MAMUTO_LEN(0);
    char path[4096];
    MAMUTO_OUT(uint64_t) = 99;
    if (n == 6 && !memcmp(text, "!crash", 6))
        raise(SIGSEGV);
    if (n == 5 && !memcmp(text, "!fail", 5))
        MAMUTO_FAIL(7, "it was told to fail");
    if (n == 5 && !memcmp(text, "!kill", 5) && getenv("E2E_DIR")) {
        snprintf(path, sizeof path, "%s/killed", getenv("E2E_DIR"));
        FILE *mark = access(path, F_OK) ? fopen(path, "w") : NULL;
        if (mark) {
            fclose(mark);
            raise(SIGKILL);
        }
    }
    MAMUTO_OUT(uint64_t) = sum_of((const uint8_t *)text, n);
    return 0;
}
